//! Kafka's error codes: number, name, whether trying again can help, and a sentence of ours.
//!
//! Not a Rust error type of this crate: a code is what a response says to a client. What goes wrong
//! inside has its own types, mapped to a code in one place by the broker.
//! Source: `org.apache.kafka.common.protocol.Errors` of Kafka 4.3.1 (codes, names, which exceptions
//! are retriable).

use std::fmt;

macro_rules! error_codes {
    ($($name:ident = $code:literal, $text:literal, $again:ident, $message:literal;)*) => {
        /// What a response says went wrong, or [`ErrorCode::None`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(i16)]
        pub enum ErrorCode {
            $(
                #[doc = concat!("`", $text, "` (", stringify!($code), "): ", $message, ".")]
                $name = $code,
            )*
        }

        impl ErrorCode {
            /// All of them, by code.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The code of a number; `Option::None` for numbers Kafka 4.3 does not use.
            pub const fn from_i16(code: i16) -> Option<Self> {
                match code {
                    $($code => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// Kafka's name, `NOT_COORDINATOR` and the like.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            /// One short sentence without a full stop.
            pub const fn message(self) -> &'static str {
                match self {
                    $(Self::$name => $message,)*
                }
            }

            /// Whether a client may try the same request again.
            pub const fn retriable(self) -> bool {
                match self {
                    $(Self::$name => again!($again),)*
                }
            }
        }
    };
}

macro_rules! again {
    (retriable) => {
        true
    };
    (final) => {
        false
    };
}

error_codes! {
    UnknownServerError = -1, "UNKNOWN_SERVER_ERROR", final,
        "something failed that the server has no better word for";
    None = 0, "NONE", final,
        "no error";
    OffsetOutOfRange = 1, "OFFSET_OUT_OF_RANGE", final,
        "the offset is outside the partition's log";
    CorruptMessage = 2, "CORRUPT_MESSAGE", retriable,
        "the record batch is damaged or malformed";
    UnknownTopicOrPartition = 3, "UNKNOWN_TOPIC_OR_PARTITION", retriable,
        "this broker has no such topic or partition";
    InvalidFetchSize = 4, "INVALID_FETCH_SIZE", final,
        "the requested fetch size makes no sense";
    LeaderNotAvailable = 5, "LEADER_NOT_AVAILABLE", retriable,
        "the partition has no leader at the moment";
    NotLeaderOrFollower = 6, "NOT_LEADER_OR_FOLLOWER", retriable,
        "this broker does not lead, or does not follow, the partition";
    RequestTimedOut = 7, "REQUEST_TIMED_OUT", retriable,
        "the request took longer than it may";
    BrokerNotAvailable = 8, "BROKER_NOT_AVAILABLE", final,
        "the broker is not available";
    ReplicaNotAvailable = 9, "REPLICA_NOT_AVAILABLE", retriable,
        "the replica is not available";
    MessageTooLarge = 10, "MESSAGE_TOO_LARGE", final,
        "the batch is larger than the topic allows";
    StaleControllerEpoch = 11, "STALE_CONTROLLER_EPOCH", final,
        "another controller has taken over";
    OffsetMetadataTooLarge = 12, "OFFSET_METADATA_TOO_LARGE", final,
        "the metadata of a committed offset is too long";
    NetworkException = 13, "NETWORK_EXCEPTION", retriable,
        "the connection broke before the response";
    CoordinatorLoadInProgress = 14, "COORDINATOR_LOAD_IN_PROGRESS", retriable,
        "the coordinator is still loading its state";
    CoordinatorNotAvailable = 15, "COORDINATOR_NOT_AVAILABLE", retriable,
        "no coordinator is available";
    NotCoordinator = 16, "NOT_COORDINATOR", retriable,
        "another broker coordinates this";
    InvalidTopicException = 17, "INVALID_TOPIC_EXCEPTION", final,
        "the topic's name or use is not valid";
    RecordListTooLarge = 18, "RECORD_LIST_TOO_LARGE", final,
        "the batch is larger than a segment may be";
    NotEnoughReplicas = 19, "NOT_ENOUGH_REPLICAS", retriable,
        "too few in-sync replicas to accept the write";
    NotEnoughReplicasAfterAppend = 20, "NOT_ENOUGH_REPLICAS_AFTER_APPEND", retriable,
        "written, but too few replicas took part";
    InvalidRequiredAcks = 21, "INVALID_REQUIRED_ACKS", final,
        "acks must be 0, 1 or -1";
    IllegalGeneration = 22, "ILLEGAL_GENERATION", final,
        "the group has moved to another generation";
    InconsistentGroupProtocol = 23, "INCONSISTENT_GROUP_PROTOCOL", final,
        "the member's protocols do not fit the group's";
    InvalidGroupId = 24, "INVALID_GROUP_ID", final,
        "the group id is not valid";
    UnknownMemberId = 25, "UNKNOWN_MEMBER_ID", final,
        "the group does not know this member";
    InvalidSessionTimeout = 26, "INVALID_SESSION_TIMEOUT", final,
        "the session timeout is outside the broker's range";
    RebalanceInProgress = 27, "REBALANCE_IN_PROGRESS", final,
        "the group is rebalancing: join again";
    InvalidCommitOffsetSize = 28, "INVALID_COMMIT_OFFSET_SIZE", final,
        "the committed offset is too large to store";
    TopicAuthorizationFailed = 29, "TOPIC_AUTHORIZATION_FAILED", final,
        "not allowed on this topic";
    GroupAuthorizationFailed = 30, "GROUP_AUTHORIZATION_FAILED", final,
        "not allowed on this group";
    ClusterAuthorizationFailed = 31, "CLUSTER_AUTHORIZATION_FAILED", final,
        "not allowed on the cluster";
    InvalidTimestamp = 32, "INVALID_TIMESTAMP", final,
        "the record's timestamp is out of range";
    UnsupportedSaslMechanism = 33, "UNSUPPORTED_SASL_MECHANISM", final,
        "the SASL mechanism is not enabled";
    IllegalSaslState = 34, "ILLEGAL_SASL_STATE", final,
        "the request does not fit the state of the authentication";
    UnsupportedVersion = 35, "UNSUPPORTED_VERSION", final,
        "the broker does not speak this version";
    TopicAlreadyExists = 36, "TOPIC_ALREADY_EXISTS", final,
        "a topic of this name exists";
    InvalidPartitions = 37, "INVALID_PARTITIONS", final,
        "the number of partitions is not valid";
    InvalidReplicationFactor = 38, "INVALID_REPLICATION_FACTOR", final,
        "the replication factor is not valid";
    InvalidReplicaAssignment = 39, "INVALID_REPLICA_ASSIGNMENT", final,
        "the replica assignment is not valid";
    InvalidConfig = 40, "INVALID_CONFIG", final,
        "the configuration is not valid";
    NotController = 41, "NOT_CONTROLLER", retriable,
        "this broker is not the controller";
    InvalidRequest = 42, "INVALID_REQUEST", final,
        "the request contradicts itself or is malformed";
    UnsupportedForMessageFormat = 43, "UNSUPPORTED_FOR_MESSAGE_FORMAT", final,
        "the log's record format cannot serve the request";
    PolicyViolation = 44, "POLICY_VIOLATION", final,
        "the request breaks a policy of the cluster";
    OutOfOrderSequenceNumber = 45, "OUT_OF_ORDER_SEQUENCE_NUMBER", final,
        "a producer's sequence number is out of order";
    DuplicateSequenceNumber = 46, "DUPLICATE_SEQUENCE_NUMBER", final,
        "a producer's sequence number was used before";
    InvalidProducerEpoch = 47, "INVALID_PRODUCER_EPOCH", final,
        "the producer's epoch is old";
    InvalidTxnState = 48, "INVALID_TXN_STATE", final,
        "the transaction's state does not allow this";
    InvalidProducerIdMapping = 49, "INVALID_PRODUCER_ID_MAPPING", final,
        "the producer id does not belong to this transactional id";
    InvalidTransactionTimeout = 50, "INVALID_TRANSACTION_TIMEOUT", final,
        "the transaction timeout is longer than allowed";
    ConcurrentTransactions = 51, "CONCURRENT_TRANSACTIONS", retriable,
        "another operation on the transaction is under way";
    TransactionCoordinatorFenced = 52, "TRANSACTION_COORDINATOR_FENCED", final,
        "a newer transaction coordinator has taken over";
    TransactionalIdAuthorizationFailed = 53, "TRANSACTIONAL_ID_AUTHORIZATION_FAILED", final,
        "not allowed on this transactional id";
    SecurityDisabled = 54, "SECURITY_DISABLED", final,
        "no authorizer is configured";
    OperationNotAttempted = 55, "OPERATION_NOT_ATTEMPTED", final,
        "skipped because an earlier part failed";
    KafkaStorageError = 56, "KAFKA_STORAGE_ERROR", retriable,
        "the log's disk failed";
    LogDirNotFound = 57, "LOG_DIR_NOT_FOUND", final,
        "the broker has no such log directory";
    SaslAuthenticationFailed = 58, "SASL_AUTHENTICATION_FAILED", final,
        "authentication failed";
    UnknownProducerId = 59, "UNKNOWN_PRODUCER_ID", final,
        "the partition does not know this producer id";
    ReassignmentInProgress = 60, "REASSIGNMENT_IN_PROGRESS", final,
        "a reassignment of the partition is under way";
    DelegationTokenAuthDisabled = 61, "DELEGATION_TOKEN_AUTH_DISABLED", final,
        "delegation tokens are not enabled";
    DelegationTokenNotFound = 62, "DELEGATION_TOKEN_NOT_FOUND", final,
        "no such delegation token";
    DelegationTokenOwnerMismatch = 63, "DELEGATION_TOKEN_OWNER_MISMATCH", final,
        "not the owner or a renewer of the token";
    DelegationTokenRequestNotAllowed = 64, "DELEGATION_TOKEN_REQUEST_NOT_ALLOWED", final,
        "tokens cannot be requested over this connection";
    DelegationTokenAuthorizationFailed = 65, "DELEGATION_TOKEN_AUTHORIZATION_FAILED", final,
        "not allowed on this delegation token";
    DelegationTokenExpired = 66, "DELEGATION_TOKEN_EXPIRED", final,
        "the delegation token has expired";
    InvalidPrincipalType = 67, "INVALID_PRINCIPAL_TYPE", final,
        "the principal's type is not supported";
    NonEmptyGroup = 68, "NON_EMPTY_GROUP", final,
        "the group still has members";
    GroupIdNotFound = 69, "GROUP_ID_NOT_FOUND", final,
        "no such group";
    FetchSessionIdNotFound = 70, "FETCH_SESSION_ID_NOT_FOUND", retriable,
        "no such fetch session";
    InvalidFetchSessionEpoch = 71, "INVALID_FETCH_SESSION_EPOCH", retriable,
        "the fetch session is at another epoch";
    ListenerNotFound = 72, "LISTENER_NOT_FOUND", retriable,
        "the leader has no listener of this name";
    TopicDeletionDisabled = 73, "TOPIC_DELETION_DISABLED", final,
        "deleting topics is disabled";
    FencedLeaderEpoch = 74, "FENCED_LEADER_EPOCH", retriable,
        "the request's leader epoch is old";
    UnknownLeaderEpoch = 75, "UNKNOWN_LEADER_EPOCH", retriable,
        "the request's leader epoch is not known here yet";
    UnsupportedCompressionType = 76, "UNSUPPORTED_COMPRESSION_TYPE", final,
        "the client cannot read the partition's compression";
    StaleBrokerEpoch = 77, "STALE_BROKER_EPOCH", final,
        "the broker has restarted since";
    OffsetNotAvailable = 78, "OFFSET_NOT_AVAILABLE", retriable,
        "the leader does not know its high watermark yet";
    MemberIdRequired = 79, "MEMBER_ID_REQUIRED", final,
        "join again with the member id just given";
    PreferredLeaderNotAvailable = 80, "PREFERRED_LEADER_NOT_AVAILABLE", retriable,
        "the preferred leader is not available";
    GroupMaxSizeReached = 81, "GROUP_MAX_SIZE_REACHED", final,
        "the group is full";
    FencedInstanceId = 82, "FENCED_INSTANCE_ID", final,
        "another member uses this group instance id";
    EligibleLeadersNotAvailable = 83, "ELIGIBLE_LEADERS_NOT_AVAILABLE", retriable,
        "no eligible leader is available";
    ElectionNotNeeded = 84, "ELECTION_NOT_NEEDED", retriable,
        "the partition has the wanted leader";
    NoReassignmentInProgress = 85, "NO_REASSIGNMENT_IN_PROGRESS", final,
        "no reassignment is under way";
    GroupSubscribedToTopic = 86, "GROUP_SUBSCRIBED_TO_TOPIC", final,
        "the group is subscribed to the topic";
    InvalidRecord = 87, "INVALID_RECORD", final,
        "a record is not valid";
    UnstableOffsetCommit = 88, "UNSTABLE_OFFSET_COMMIT", retriable,
        "offsets of an open transaction stand in the way";
    ThrottlingQuotaExceeded = 89, "THROTTLING_QUOTA_EXCEEDED", retriable,
        "a quota is exhausted: try later";
    ProducerFenced = 90, "PRODUCER_FENCED", final,
        "a newer producer uses this transactional id";
    ResourceNotFound = 91, "RESOURCE_NOT_FOUND", final,
        "no such resource";
    DuplicateResource = 92, "DUPLICATE_RESOURCE", final,
        "the resource is named twice";
    UnacceptableCredential = 93, "UNACCEPTABLE_CREDENTIAL", final,
        "the credential does not meet the requirements";
    InconsistentVoterSet = 94, "INCONSISTENT_VOTER_SET", final,
        "the voters do not agree about who votes";
    InvalidUpdateVersion = 95, "INVALID_UPDATE_VERSION", final,
        "the feature version is not valid";
    FeatureUpdateFailed = 96, "FEATURE_UPDATE_FAILED", final,
        "the feature update failed";
    PrincipalDeserializationFailure = 97, "PRINCIPAL_DESERIALIZATION_FAILURE", final,
        "a forwarded principal could not be read";
    SnapshotNotFound = 98, "SNAPSHOT_NOT_FOUND", final,
        "no such snapshot";
    PositionOutOfRange = 99, "POSITION_OUT_OF_RANGE", final,
        "the position lies outside the snapshot";
    UnknownTopicId = 100, "UNKNOWN_TOPIC_ID", retriable,
        "this broker has no topic with this id";
    DuplicateBrokerRegistration = 101, "DUPLICATE_BROKER_REGISTRATION", final,
        "another broker has registered this id";
    BrokerIdNotRegistered = 102, "BROKER_ID_NOT_REGISTERED", final,
        "no broker has registered this id";
    InconsistentTopicId = 103, "INCONSISTENT_TOPIC_ID", retriable,
        "the topic was created anew under the same name";
    InconsistentClusterId = 104, "INCONSISTENT_CLUSTER_ID", final,
        "the request is for another cluster";
    TransactionalIdNotFound = 105, "TRANSACTIONAL_ID_NOT_FOUND", final,
        "no such transactional id";
    FetchSessionTopicIdError = 106, "FETCH_SESSION_TOPIC_ID_ERROR", retriable,
        "the fetch session mixes topic ids and names";
    IneligibleReplica = 107, "INELIGIBLE_REPLICA", final,
        "a replica may not join the in-sync replicas";
    NewLeaderElected = 108, "NEW_LEADER_ELECTED", final,
        "the partition changed and has a new leader";
    OffsetMovedToTieredStorage = 109, "OFFSET_MOVED_TO_TIERED_STORAGE", final,
        "the offset has moved to remote storage";
    FencedMemberEpoch = 110, "FENCED_MEMBER_EPOCH", final,
        "the member's epoch is old: join again";
    UnreleasedInstanceId = 111, "UNRELEASED_INSTANCE_ID", final,
        "the group instance id is still in use";
    UnsupportedAssignor = 112, "UNSUPPORTED_ASSIGNOR", final,
        "the assignor is not known to the group";
    StaleMemberEpoch = 113, "STALE_MEMBER_EPOCH", final,
        "the member's epoch is not up to date";
    MismatchedEndpointType = 114, "MISMATCHED_ENDPOINT_TYPE", final,
        "this kind of endpoint cannot answer";
    UnsupportedEndpointType = 115, "UNSUPPORTED_ENDPOINT_TYPE", final,
        "this kind of endpoint is not known";
    UnknownControllerId = 116, "UNKNOWN_CONTROLLER_ID", final,
        "no such controller";
    UnknownSubscriptionId = 117, "UNKNOWN_SUBSCRIPTION_ID", final,
        "the telemetry subscription has changed";
    TelemetryTooLarge = 118, "TELEMETRY_TOO_LARGE", final,
        "the telemetry push is too large";
    InvalidRegistration = 119, "INVALID_REGISTRATION", final,
        "the broker's registration is not valid";
    TransactionAbortable = 120, "TRANSACTION_ABORTABLE", final,
        "the transaction can only be aborted";
    InvalidRecordState = 121, "INVALID_RECORD_STATE", final,
        "the record is not in a state to be acknowledged";
    ShareSessionNotFound = 122, "SHARE_SESSION_NOT_FOUND", retriable,
        "no such share session";
    InvalidShareSessionEpoch = 123, "INVALID_SHARE_SESSION_EPOCH", retriable,
        "the share session is at another epoch";
    FencedStateEpoch = 124, "FENCED_STATE_EPOCH", final,
        "the share group's state has moved on";
    InvalidVoterKey = 125, "INVALID_VOTER_KEY", final,
        "the voter's key is another one";
    DuplicateVoter = 126, "DUPLICATE_VOTER", final,
        "is a voter";
    VoterNotFound = 127, "VOTER_NOT_FOUND", final,
        "is not a voter";
    InvalidRegularExpression = 128, "INVALID_REGULAR_EXPRESSION", final,
        "the regular expression is not valid";
    RebootstrapRequired = 129, "REBOOTSTRAP_REQUIRED", final,
        "what the client knows of the cluster is too old: start anew";
    StreamsInvalidTopology = 130, "STREAMS_INVALID_TOPOLOGY", final,
        "the streams topology is not valid";
    StreamsInvalidTopologyEpoch = 131, "STREAMS_INVALID_TOPOLOGY_EPOCH", final,
        "the streams topology epoch is not valid";
    StreamsTopologyFenced = 132, "STREAMS_TOPOLOGY_FENCED", final,
        "the streams topology is an old one";
    ShareSessionLimitReached = 133, "SHARE_SESSION_LIMIT_REACHED", retriable,
        "too many share sessions";
}

// `None` is the commonest value of a response's field, and zero on the wire.
#[expect(clippy::derivable_impls, reason = "the macro's variants carry no default marker")]
impl Default for ErrorCode {
    fn default() -> Self {
        Self::None
    }
}

impl ErrorCode {
    /// The number on the wire.
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// Whether it is anything but [`ErrorCode::None`].
    pub const fn is_error(self) -> bool {
        !matches!(self, Self::None)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl From<ErrorCode> for i16 {
    fn from(error: ErrorCode) -> Self {
        error.code()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_no_gap_and_read_back() {
        let codes: Vec<i16> = ErrorCode::ALL.iter().map(|error| error.code()).collect();
        assert_eq!(codes, (-1..=133).collect::<Vec<i16>>());
        for &error in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_i16(error.code()), Some(error));
        }
        assert_eq!(ErrorCode::from_i16(134), None);
        assert_eq!(ErrorCode::from_i16(-2), None);
    }

    #[test]
    fn names_are_the_variants_in_capitals() {
        for &error in ErrorCode::ALL {
            let letters = error.name().replace('_', "").to_lowercase();
            assert_eq!(letters, format!("{error:?}").to_lowercase());
        }
    }
}
