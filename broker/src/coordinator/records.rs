//! The records of `__consumer_offsets`, in Kafka's own bytes.
//!
//! A key begins with two bytes that say what kind of record it is, a value with two bytes that say
//! its version. Written as Kafka 4.3 writes them: group metadata in version 3, offsets in version
//! 4, or in version 1 when the client asked for a retention of its own, which only that version can
//! say. Read in every version Kafka 4.3 reads. The records of consumer groups are in
//! `consumer_records`, those of streams groups in `streams_records`; kinds of other group types are
//! none of ours and come back as [`Parsed::Other`]. Source: `OffsetCommit{Key,Value}` and
//! `GroupMetadata{Key,Value}` of Kafka 4.3.1; the golden bytes in `tests/golden.rs` come from
//! Kafka's own classes.

use bytes::Bytes;
use protocol::message::Message;
use protocol::primitive::{DecodeError, Reader};
use protocol::types::Uuid;

use super::CoordinatorRecord;
use super::consumer_records::ConsumerRecord;
use super::streams_records::StreamsRecord;

/// Kind 0: an offset, from before Kafka kept group metadata beside it. Read only.
const KIND_LEGACY_OFFSET: i16 = 0;
/// Kind 1: an offset.
const KIND_OFFSET: i16 = 1;
/// Kind 2: a classic group.
const KIND_GROUP: i16 = 2;

/// Version of an offset's value with an expiry of its own.
const OFFSET_VALUE_WITH_EXPIRY: i16 = 1;
/// Version of every other offset's value.
const OFFSET_VALUE: i16 = 4;
/// Version of a group's value.
const GROUP_VALUE: i16 = 3;

protocol::message! {
    /// Key of an offset: which group read which partition.
    pub struct OffsetCommitKey[protocol::message::versions(0, 0)] {
        group: String, protocol::message::since(0);
        topic: String, protocol::message::since(0);
        partition: i32, protocol::message::since(0);
    }

    /// Value of an offset: how far.
    pub struct OffsetCommitValue[protocol::message::versions(0, 4).flexible(4)] {
        /// The next offset to read.
        offset: i64, protocol::message::since(0);
        /// Leader epoch of the record before it; −1 when the client did not say.
        leader_epoch: i32 = -1, protocol::message::since(3).ignorable();
        /// What the client wanted kept with it.
        metadata: String, protocol::message::since(0);
        /// When it was committed, in milliseconds since the Unix epoch.
        commit_timestamp: i64, protocol::message::since(0);
        /// When it expires; −1 when the broker's retention decides.
        expire_timestamp: i64 = -1, protocol::message::in_versions(1, 1).ignorable();
        /// Id of the topic; zeros when it was not known.
        topic_id: Uuid, protocol::message::since(4).tag(0).ignorable();
    }

    /// Key of a classic group.
    pub struct GroupMetadataKey[protocol::message::versions(0, 0)] {
        group: String, protocol::message::since(0);
    }

    /// Value of a classic group: one generation of it, assignments included.
    pub struct GroupMetadataValue[protocol::message::versions(0, 4).flexible(4)] {
        /// Empty for a group that never had members.
        protocol_type: String, protocol::message::since(0);
        generation: i32, protocol::message::since(0);
        protocol: Option<String> = Some(String::new()), protocol::message::since(0).nullable(0);
        leader: Option<String> = Some(String::new()), protocol::message::since(0).nullable(0);
        /// When the group entered its state, in milliseconds since the Unix epoch; −1 unknown.
        current_state_timestamp: i64 = -1, protocol::message::since(2).ignorable();
        members: Vec<MemberMetadata>, protocol::message::since(0);
    }

    /// A member of [`GroupMetadataValue`].
    pub struct MemberMetadata {
        member_id: String, protocol::message::since(0);
        group_instance_id: Option<String>, protocol::message::since(3).nullable(3).ignorable();
        client_id: String, protocol::message::since(0);
        client_host: String, protocol::message::since(0);
        /// Milliseconds; −1 before version 1: then the session timeout counts.
        rebalance_timeout: i32 = -1, protocol::message::since(1).ignorable();
        /// Milliseconds.
        session_timeout: i32, protocol::message::since(0);
        subscription: Bytes, protocol::message::since(0);
        assignment: Bytes, protocol::message::since(0);
    }
}

/// One change of a coordinator's durable state.
#[derive(Clone, PartialEq, Debug)]
pub enum GroupRecord {
    /// An offset, or its tombstone.
    Offset { key: OffsetCommitKey, value: Option<OffsetCommitValue> },
    /// A classic group, or its tombstone.
    Group { key: GroupMetadataKey, value: Option<GroupMetadataValue> },
    /// A change of a consumer group.
    Consumer { group: String, record: Box<ConsumerRecord> },
    /// A change of a streams group.
    Streams { group: String, record: Box<StreamsRecord> },
}

impl GroupRecord {
    /// The tombstone of an offset.
    pub fn offset_tombstone(group: &str, topic: &str, partition: i32) -> Self {
        let key = OffsetCommitKey { group: group.into(), topic: topic.into(), partition };
        Self::Offset { key, value: None }
    }

    /// The tombstone of a group.
    pub fn group_tombstone(group: &str) -> Self {
        Self::Group { key: GroupMetadataKey { group: group.into() }, value: None }
    }

    /// The bytes for the log.
    ///
    /// # Panics
    /// When a string is longer than 32,767 bytes: the coordinator refuses those where they come in.
    pub fn encode(&self, timestamp_ms: i64) -> CoordinatorRecord {
        let (key, value) = match self {
            Self::Offset { key, value } => (
                versioned(key, KIND_OFFSET, 0),
                value.as_ref().map(|value| {
                    let own_expiry = value.expire_timestamp != -1;
                    let version = if own_expiry { OFFSET_VALUE_WITH_EXPIRY } else { OFFSET_VALUE };
                    versioned(value, version, version)
                }),
            ),
            Self::Group { key, value } => (
                versioned(key, KIND_GROUP, 0),
                value.as_ref().map(|value| versioned(value, GROUP_VALUE, GROUP_VALUE)),
            ),
            Self::Consumer { group, record } => record.encode(group),
            Self::Streams { group, record } => record.encode(group),
        };
        CoordinatorRecord { key, value, timestamp_ms }
    }
}

/// `prefix` in two bytes, then the message.
pub(super) fn versioned<M: Message>(message: &M, prefix: i16, version: i16) -> Bytes {
    let mut out = Vec::with_capacity(2 + message.size(version));
    out.extend_from_slice(&prefix.to_be_bytes());
    message.encode(&mut out, version).expect("strings were bounded where they came in");
    out.into()
}

/// What a record of the topic says.
#[derive(Clone, PartialEq, Debug)]
pub enum Parsed {
    /// Ours.
    Record(GroupRecord),
    /// A kind that this coordinator does not keep: another type of group, or one from a newer
    /// Kafka.
    Other { kind: i16 },
}

/// A record of `__consumer_offsets` that is ours by kind and not readable. The partition's state is
/// not what its log says without it, so whoever loads decides what that means for the partition.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RecordError {
    /// The key does not decode.
    #[error("key of a record of kind {kind}: {source}")]
    Key { kind: i16, source: DecodeError },
    /// The key has no kind.
    #[error("key of {bytes} bytes has no kind")]
    NoKind { bytes: usize },
    /// The value does not decode.
    #[error("value of a record of kind {kind}: {source}")]
    Value { kind: i16, source: DecodeError },
    /// A record was loaded twice or out of order.
    #[error("offset {offset} after offset {last}")]
    Order { offset: i64, last: i64 },
    /// The partition is not being loaded.
    #[error("partition {partition} is not being loaded")]
    NotLoading { partition: i32 },
}

/// Reads a record.
pub fn parse(key: &[u8], value: Option<&[u8]>) -> Result<Parsed, RecordError> {
    let mut reader = Reader::new(key);
    let kind = reader.i16().map_err(|_| RecordError::NoKind { bytes: key.len() })?;
    let record = match kind {
        KIND_LEGACY_OFFSET | KIND_OFFSET => {
            let key = OffsetCommitKey::decode(&mut reader, 0)
                .map_err(|source| RecordError::Key { kind, source })?;
            GroupRecord::Offset { key, value: parse_value(kind, value)? }
        }
        KIND_GROUP => {
            let key = GroupMetadataKey::decode(&mut reader, 0)
                .map_err(|source| RecordError::Key { kind, source })?;
            GroupRecord::Group { key, value: parse_value(kind, value)? }
        }
        _ => match ConsumerRecord::parse(kind, &mut reader, value)? {
            Some((group, record)) => GroupRecord::Consumer { group, record: Box::new(record) },
            None => match StreamsRecord::parse(kind, &mut reader, value)? {
                Some((group, record)) => GroupRecord::Streams { group, record: Box::new(record) },
                None => return Ok(Parsed::Other { kind }),
            },
        },
    };
    Ok(Parsed::Record(record))
}

pub(super) fn parse_value<M: Message>(
    kind: i16,
    value: Option<&[u8]>,
) -> Result<Option<M>, RecordError> {
    let Some(bytes) = value else { return Ok(None) };
    let mut reader = Reader::new(bytes);
    let message = reader
        .i16()
        .and_then(|version| M::decode(&mut reader, version))
        .map_err(|source| RecordError::Value { kind, source })?;
    Ok(Some(message))
}
