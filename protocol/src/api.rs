//! The API keys, their versions, and the headers before every request and response.
//!
//! Not a list of what a broker serves: it decides what it advertises (Kafka advertises Produce from
//! version 0 though it refuses 0 to 2). Keys without a message here are those only Kafka's own
//! brokers and controllers speak with each other, and the four that Kafka 4 removed.
//! Source: `org.apache.kafka.common.protocol.ApiKeys`, `RequestHeader`, KIP-482, KIP-511.

use std::borrow::Cow;
use std::fmt;

use crate::message::{Message, Request, Schema, Versions};
use crate::messages::*;
use crate::primitive::{DecodeError, EncodeError, EncodeErrorKind, Reader, Writer};

macro_rules! apis {
    ($($name:ident = $code:literal $(=> $request:ident + $response:ident)?,)*) => {
        /// An API key by Kafka's name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(i16)]
        pub enum ApiKey {
            $(
                #[doc = concat!("Key ", stringify!($code), ".")]
                $name = $code,
            )*
        }

        impl ApiKey {
            /// All of them, by number.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The key of a number, if Kafka 4.3 knows it.
            pub const fn from_i16(code: i16) -> Option<Self> {
                match code {
                    $($code => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// Kafka's name of it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }

            /// Versions of request and response; `None` where this crate has no messages.
            pub const fn schema(self) -> Option<Schema> {
                match self {
                    $(Self::$name => schema!($($request)?),)*
                }
            }
        }

        $($(
            impl Request for $request {
                const KEY: ApiKey = ApiKey::$name;
                type Response = $response;
            }

            // Request and response change versions together.
            const _: () = {
                let request = <$request as Message>::SCHEMA;
                let response = <$response as Message>::SCHEMA;
                assert!(request.versions.min == response.versions.min);
                assert!(request.versions.max == response.versions.max);
                assert!(request.flexible.min == response.flexible.min);
            };
        )?)*

        /// Calls a macro with one `Key => Request, Response;` per API that has messages: for
        /// dispatch over all of them without another list to keep.
        #[macro_export]
        macro_rules! for_each_api {
            ($callback:ident) => {
                $callback! { $($( $name => $request, $response; )?)* }
            };
        }
    };
}

macro_rules! schema {
    () => {
        None
    };
    ($request:ident) => {
        Some(<$request as Message>::SCHEMA)
    };
}

apis! {
    Produce = 0 => ProduceRequest + ProduceResponse,
    Fetch = 1 => FetchRequest + FetchResponse,
    ListOffsets = 2 => ListOffsetsRequest + ListOffsetsResponse,
    Metadata = 3 => MetadataRequest + MetadataResponse,
    LeaderAndIsr = 4,
    StopReplica = 5,
    UpdateMetadata = 6,
    ControlledShutdown = 7,
    OffsetCommit = 8 => OffsetCommitRequest + OffsetCommitResponse,
    OffsetFetch = 9 => OffsetFetchRequest + OffsetFetchResponse,
    FindCoordinator = 10 => FindCoordinatorRequest + FindCoordinatorResponse,
    JoinGroup = 11 => JoinGroupRequest + JoinGroupResponse,
    Heartbeat = 12 => HeartbeatRequest + HeartbeatResponse,
    LeaveGroup = 13 => LeaveGroupRequest + LeaveGroupResponse,
    SyncGroup = 14 => SyncGroupRequest + SyncGroupResponse,
    DescribeGroups = 15 => DescribeGroupsRequest + DescribeGroupsResponse,
    ListGroups = 16 => ListGroupsRequest + ListGroupsResponse,
    SaslHandshake = 17 => SaslHandshakeRequest + SaslHandshakeResponse,
    ApiVersions = 18 => ApiVersionsRequest + ApiVersionsResponse,
    CreateTopics = 19 => CreateTopicsRequest + CreateTopicsResponse,
    DeleteTopics = 20 => DeleteTopicsRequest + DeleteTopicsResponse,
    DeleteRecords = 21 => DeleteRecordsRequest + DeleteRecordsResponse,
    InitProducerId = 22 => InitProducerIdRequest + InitProducerIdResponse,
    OffsetForLeaderEpoch = 23 => OffsetForLeaderEpochRequest + OffsetForLeaderEpochResponse,
    AddPartitionsToTxn = 24 => AddPartitionsToTxnRequest + AddPartitionsToTxnResponse,
    AddOffsetsToTxn = 25 => AddOffsetsToTxnRequest + AddOffsetsToTxnResponse,
    EndTxn = 26 => EndTxnRequest + EndTxnResponse,
    WriteTxnMarkers = 27 => WriteTxnMarkersRequest + WriteTxnMarkersResponse,
    TxnOffsetCommit = 28 => TxnOffsetCommitRequest + TxnOffsetCommitResponse,
    DescribeAcls = 29 => DescribeAclsRequest + DescribeAclsResponse,
    CreateAcls = 30 => CreateAclsRequest + CreateAclsResponse,
    DeleteAcls = 31 => DeleteAclsRequest + DeleteAclsResponse,
    DescribeConfigs = 32 => DescribeConfigsRequest + DescribeConfigsResponse,
    AlterConfigs = 33 => AlterConfigsRequest + AlterConfigsResponse,
    AlterReplicaLogDirs = 34 => AlterReplicaLogDirsRequest + AlterReplicaLogDirsResponse,
    DescribeLogDirs = 35 => DescribeLogDirsRequest + DescribeLogDirsResponse,
    SaslAuthenticate = 36 => SaslAuthenticateRequest + SaslAuthenticateResponse,
    CreatePartitions = 37 => CreatePartitionsRequest + CreatePartitionsResponse,
    CreateDelegationToken = 38 => CreateDelegationTokenRequest + CreateDelegationTokenResponse,
    RenewDelegationToken = 39 => RenewDelegationTokenRequest + RenewDelegationTokenResponse,
    ExpireDelegationToken = 40 => ExpireDelegationTokenRequest + ExpireDelegationTokenResponse,
    DescribeDelegationToken = 41
        => DescribeDelegationTokenRequest + DescribeDelegationTokenResponse,
    DeleteGroups = 42 => DeleteGroupsRequest + DeleteGroupsResponse,
    ElectLeaders = 43 => ElectLeadersRequest + ElectLeadersResponse,
    IncrementalAlterConfigs = 44
        => IncrementalAlterConfigsRequest + IncrementalAlterConfigsResponse,
    AlterPartitionReassignments = 45
        => AlterPartitionReassignmentsRequest + AlterPartitionReassignmentsResponse,
    ListPartitionReassignments = 46
        => ListPartitionReassignmentsRequest + ListPartitionReassignmentsResponse,
    OffsetDelete = 47 => OffsetDeleteRequest + OffsetDeleteResponse,
    DescribeClientQuotas = 48 => DescribeClientQuotasRequest + DescribeClientQuotasResponse,
    AlterClientQuotas = 49 => AlterClientQuotasRequest + AlterClientQuotasResponse,
    DescribeUserScramCredentials = 50
        => DescribeUserScramCredentialsRequest + DescribeUserScramCredentialsResponse,
    AlterUserScramCredentials = 51
        => AlterUserScramCredentialsRequest + AlterUserScramCredentialsResponse,
    Vote = 52,
    BeginQuorumEpoch = 53,
    EndQuorumEpoch = 54,
    DescribeQuorum = 55 => DescribeQuorumRequest + DescribeQuorumResponse,
    AlterPartition = 56,
    UpdateFeatures = 57 => UpdateFeaturesRequest + UpdateFeaturesResponse,
    Envelope = 58,
    FetchSnapshot = 59,
    DescribeCluster = 60 => DescribeClusterRequest + DescribeClusterResponse,
    DescribeProducers = 61 => DescribeProducersRequest + DescribeProducersResponse,
    BrokerRegistration = 62,
    BrokerHeartbeat = 63,
    UnregisterBroker = 64 => UnregisterBrokerRequest + UnregisterBrokerResponse,
    DescribeTransactions = 65 => DescribeTransactionsRequest + DescribeTransactionsResponse,
    ListTransactions = 66 => ListTransactionsRequest + ListTransactionsResponse,
    AllocateProducerIds = 67,
    ConsumerGroupHeartbeat = 68 => ConsumerGroupHeartbeatRequest + ConsumerGroupHeartbeatResponse,
    ConsumerGroupDescribe = 69 => ConsumerGroupDescribeRequest + ConsumerGroupDescribeResponse,
    ControllerRegistration = 70,
    GetTelemetrySubscriptions = 71
        => GetTelemetrySubscriptionsRequest + GetTelemetrySubscriptionsResponse,
    PushTelemetry = 72 => PushTelemetryRequest + PushTelemetryResponse,
    AssignReplicasToDirs = 73,
    ListConfigResources = 74 => ListConfigResourcesRequest + ListConfigResourcesResponse,
    DescribeTopicPartitions = 75
        => DescribeTopicPartitionsRequest + DescribeTopicPartitionsResponse,
    ShareGroupHeartbeat = 76 => ShareGroupHeartbeatRequest + ShareGroupHeartbeatResponse,
    ShareGroupDescribe = 77 => ShareGroupDescribeRequest + ShareGroupDescribeResponse,
    ShareFetch = 78 => ShareFetchRequest + ShareFetchResponse,
    ShareAcknowledge = 79 => ShareAcknowledgeRequest + ShareAcknowledgeResponse,
    AddRaftVoter = 80 => AddRaftVoterRequest + AddRaftVoterResponse,
    RemoveRaftVoter = 81 => RemoveRaftVoterRequest + RemoveRaftVoterResponse,
    UpdateRaftVoter = 82,
    InitializeShareGroupState = 83,
    ReadShareGroupState = 84,
    WriteShareGroupState = 85,
    DeleteShareGroupState = 86,
    ReadShareGroupStateSummary = 87,
    StreamsGroupHeartbeat = 88 => StreamsGroupHeartbeatRequest + StreamsGroupHeartbeatResponse,
    StreamsGroupDescribe = 89 => StreamsGroupDescribeRequest + StreamsGroupDescribeResponse,
    DescribeShareGroupOffsets = 90
        => DescribeShareGroupOffsetsRequest + DescribeShareGroupOffsetsResponse,
    AlterShareGroupOffsets = 91 => AlterShareGroupOffsetsRequest + AlterShareGroupOffsetsResponse,
    DeleteShareGroupOffsets = 92
        => DeleteShareGroupOffsetsRequest + DeleteShareGroupOffsetsResponse,
}

impl ApiKey {
    /// The number on the wire.
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// Versions that decode and encode; none where this crate has no messages.
    pub const fn versions(self) -> Versions {
        match self.schema() {
            Some(schema) => schema.versions,
            None => Versions::NONE,
        }
    }

    /// Whether a version of it is flexible. Answers for versions beyond the highest too, because a
    /// request too new is still parsed up to its body.
    pub const fn is_flexible(self, version: i16) -> bool {
        match self.schema() {
            Some(schema) => schema.flexible.contains(version),
            None => false,
        }
    }

    /// Version of the header before a request: 2 if flexible, else 1.
    pub const fn request_header_version(self, version: i16) -> i16 {
        if self.is_flexible(version) { 2 } else { 1 }
    }

    /// Version of the header before a response: 1 if flexible, else 0.
    ///
    /// KIP-511: the one before an ApiVersions response is always 0, because its reader does not
    /// know yet what the broker speaks.
    pub const fn response_header_version(self, version: i16) -> i16 {
        if matches!(self, Self::ApiVersions) {
            0
        } else if self.is_flexible(version) {
            1
        } else {
            0
        }
    }
}

impl fmt::Display for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a request header could not be read. Kafka closes the connection for each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// No API has this number.
    #[error("no API has key {api_key}")]
    UnknownApi { api_key: i16 },
    /// The bytes are no header.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// A request's header, borrowed from the frame: nothing is allocated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestHeaderRef<'a> {
    /// Which API.
    pub api_key: ApiKey,
    /// Which version of it; not checked against what the API has.
    pub api_version: i16,
    /// Comes back in the response.
    pub correlation_id: i32,
    /// The client's name for itself, as sent.
    pub client_id: Option<&'a [u8]>,
}

impl<'a> RequestHeaderRef<'a> {
    /// Reads the header at the start of a frame's content; also returns where the body begins.
    ///
    /// An unsupported version still gives a header, so that it can be answered (ApiVersions) or
    /// named in a log line.
    pub fn parse(frame: &'a [u8]) -> Result<(Self, usize), HeaderError> {
        let mut reader = Reader::new(frame);
        let header = Self::read(&mut reader)?;
        Ok((header, reader.position()))
    }

    /// Reads the header and leaves the reader at the body.
    pub fn read(reader: &mut Reader<'a>) -> Result<Self, HeaderError> {
        reader.enter("RequestHeader");
        let number = reader.i16()?;
        let api_key =
            ApiKey::from_i16(number).ok_or(HeaderError::UnknownApi { api_key: number })?;
        let api_version = reader.i16()?;
        let correlation_id = reader.i32()?;
        reader.enter("RequestHeader.client_id");
        // Never compact, whatever the header's version: a broker must be able to read it before
        // it knows the version. Every negative length is null.
        let client_id = match reader.short_length()? {
            Some(length) => Some(reader.take(length)?),
            None => None,
        };
        if api_key.request_header_version(api_version) >= 2 {
            reader.enter("RequestHeader tagged fields");
            reader.tagged_fields(|_, _| Ok(false))?;
        }
        Ok(Self { api_key, api_version, correlation_id, client_id })
    }

    /// The client id as text; bytes that are no UTF-8 become replacement characters.
    pub fn client_id_text(&self) -> Option<Cow<'a, str>> {
        self.client_id.map(String::from_utf8_lossy)
    }
}

/// A request's header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHeader {
    /// Which API.
    pub api_key: ApiKey,
    /// Which version of it.
    pub api_version: i16,
    /// Comes back in the response.
    pub correlation_id: i32,
    /// The client's name for itself.
    pub client_id: Option<String>,
}

impl RequestHeader {
    /// Reads the header and leaves the reader at the body.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, HeaderError> {
        Ok(RequestHeaderRef::read(reader)?.into())
    }

    /// Appends the header. Errs when the client id is longer than a two-byte length can say.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let mut writer = Writer::new(out);
        writer.enter("RequestHeader.client_id");
        let length = match self.client_id.as_ref().map(String::len) {
            None => -1,
            Some(length) => i16::try_from(length)
                .map_err(|_| writer.error(EncodeErrorKind::TooLong { length }))?,
        };
        writer.raw(&self.api_key.code().to_be_bytes());
        writer.raw(&self.api_version.to_be_bytes());
        writer.raw(&self.correlation_id.to_be_bytes());
        writer.raw(&length.to_be_bytes());
        writer.raw(self.client_id.as_deref().unwrap_or("").as_bytes());
        if self.api_key.request_header_version(self.api_version) >= 2 {
            writer.unsigned_varint(0);
        }
        Ok(())
    }

    /// Bytes that `encode` appends.
    pub fn size(&self) -> usize {
        let tagged = usize::from(self.api_key.request_header_version(self.api_version) >= 2);
        10 + self.client_id.as_ref().map_or(0, String::len) + tagged
    }
}

impl From<RequestHeaderRef<'_>> for RequestHeader {
    fn from(header: RequestHeaderRef<'_>) -> Self {
        Self {
            api_key: header.api_key,
            api_version: header.api_version,
            correlation_id: header.correlation_id,
            client_id: header.client_id_text().map(Cow::into_owned),
        }
    }
}

/// A response's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResponseHeader {
    /// The request's.
    pub correlation_id: i32,
}

impl ResponseHeader {
    /// Reads the header before a response to `key` in `version`.
    pub fn decode(reader: &mut Reader<'_>, key: ApiKey, version: i16) -> Result<Self, DecodeError> {
        reader.enter("ResponseHeader");
        let correlation_id = reader.i32()?;
        if key.response_header_version(version) >= 1 {
            reader.tagged_fields(|_, _| Ok(false))?;
        }
        Ok(Self { correlation_id })
    }

    /// Appends the header before a response to `key` in `version`.
    pub fn encode(&self, out: &mut Vec<u8>, key: ApiKey, version: i16) {
        out.extend_from_slice(&self.correlation_id.to_be_bytes());
        if key.response_header_version(version) >= 1 {
            out.push(0);
        }
    }

    /// Bytes that `encode` appends.
    pub const fn size(key: ApiKey, version: i16) -> usize {
        4 + key.response_header_version(version) as usize
    }
}
