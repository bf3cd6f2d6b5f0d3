//! Which APIs this broker serves, and in which versions. Only what is here is advertised.
//!
//! Ranges are those that Kafka 4.3.1 advertises on a client listener.

use protocol::api::ApiKey;
use protocol::message::Versions;

const fn range_of(min: i16, max: i16) -> Versions {
    Versions { min, max }
}

/// Every served API with the versions it accepts, by key.
pub const SERVED: &[(ApiKey, Versions)] = &[
    (ApiKey::Produce, range_of(3, 13)),
    (ApiKey::Fetch, range_of(4, 18)),
    (ApiKey::ListOffsets, range_of(1, 11)),
    (ApiKey::Metadata, range_of(0, 13)),
    (ApiKey::OffsetCommit, range_of(2, 10)),
    (ApiKey::OffsetFetch, range_of(1, 10)),
    (ApiKey::FindCoordinator, range_of(0, 6)),
    (ApiKey::JoinGroup, range_of(0, 9)),
    (ApiKey::Heartbeat, range_of(0, 4)),
    (ApiKey::LeaveGroup, range_of(0, 5)),
    (ApiKey::SyncGroup, range_of(0, 5)),
    (ApiKey::DescribeGroups, range_of(0, 6)),
    (ApiKey::ListGroups, range_of(0, 5)),
    (ApiKey::SaslHandshake, range_of(0, 1)),
    (ApiKey::ApiVersions, range_of(0, 4)),
    (ApiKey::CreateTopics, range_of(2, 7)),
    (ApiKey::DeleteTopics, range_of(1, 6)),
    (ApiKey::DeleteRecords, range_of(0, 2)),
    (ApiKey::InitProducerId, range_of(0, 5)),
    (ApiKey::OffsetForLeaderEpoch, range_of(2, 4)),
    (ApiKey::AddPartitionsToTxn, range_of(0, 5)),
    (ApiKey::AddOffsetsToTxn, range_of(0, 4)),
    (ApiKey::EndTxn, range_of(0, 5)),
    (ApiKey::WriteTxnMarkers, range_of(1, 2)),
    (ApiKey::TxnOffsetCommit, range_of(0, 5)),
    (ApiKey::DescribeAcls, range_of(1, 3)),
    (ApiKey::CreateAcls, range_of(1, 3)),
    (ApiKey::DeleteAcls, range_of(1, 3)),
    (ApiKey::DescribeConfigs, range_of(1, 4)),
    (ApiKey::AlterConfigs, range_of(0, 2)),
    (ApiKey::AlterReplicaLogDirs, range_of(1, 2)),
    (ApiKey::DescribeLogDirs, range_of(1, 5)),
    (ApiKey::SaslAuthenticate, range_of(0, 2)),
    (ApiKey::CreatePartitions, range_of(0, 3)),
    (ApiKey::CreateDelegationToken, range_of(1, 3)),
    (ApiKey::RenewDelegationToken, range_of(1, 2)),
    (ApiKey::ExpireDelegationToken, range_of(1, 2)),
    (ApiKey::DescribeDelegationToken, range_of(1, 3)),
    (ApiKey::DeleteGroups, range_of(0, 2)),
    (ApiKey::ElectLeaders, range_of(0, 2)),
    (ApiKey::IncrementalAlterConfigs, range_of(0, 1)),
    (ApiKey::AlterPartitionReassignments, range_of(0, 1)),
    (ApiKey::ListPartitionReassignments, range_of(0, 0)),
    (ApiKey::OffsetDelete, range_of(0, 0)),
    (ApiKey::DescribeClientQuotas, range_of(0, 1)),
    (ApiKey::AlterClientQuotas, range_of(0, 1)),
    (ApiKey::DescribeUserScramCredentials, range_of(0, 0)),
    (ApiKey::AlterUserScramCredentials, range_of(0, 0)),
    (ApiKey::DescribeQuorum, range_of(0, 2)),
    (ApiKey::UpdateFeatures, range_of(0, 2)),
    (ApiKey::DescribeCluster, range_of(0, 2)),
    (ApiKey::DescribeProducers, range_of(0, 0)),
    (ApiKey::UnregisterBroker, range_of(0, 0)),
    (ApiKey::DescribeTransactions, range_of(0, 0)),
    (ApiKey::ListTransactions, range_of(0, 2)),
    (ApiKey::ConsumerGroupHeartbeat, range_of(0, 1)),
    (ApiKey::ConsumerGroupDescribe, range_of(0, 1)),
    (ApiKey::GetTelemetrySubscriptions, range_of(0, 0)),
    (ApiKey::PushTelemetry, range_of(0, 0)),
    (ApiKey::ListConfigResources, range_of(0, 1)),
    (ApiKey::DescribeTopicPartitions, range_of(0, 0)),
    (ApiKey::AddRaftVoter, range_of(0, 1)),
    (ApiKey::RemoveRaftVoter, range_of(0, 0)),
    (ApiKey::StreamsGroupHeartbeat, range_of(0, 0)),
    (ApiKey::StreamsGroupDescribe, range_of(0, 0)),
];

/// The versions of an API that are accepted, if it is served.
pub fn range(key: ApiKey) -> Option<Versions> {
    SERVED.iter().find(|(served, _)| *served == key).map(|(_, versions)| *versions)
}

/// The versions of an API that are advertised. Produce starts at 0 although 0–2 are refused: old
/// librdkafka picks its wire format by that number (KAFKA-18659).
pub fn advertised() -> impl Iterator<Item = (ApiKey, Versions)> {
    SERVED.iter().map(|(key, versions)| match key {
        ApiKey::Produce => (*key, range_of(0, versions.max)),
        _ => (*key, *versions),
    })
}

/// Whether an API is advertised only while clients' telemetry is taken.
pub fn is_telemetry(key: ApiKey) -> bool {
    matches!(key, ApiKey::GetTelemetrySubscriptions | ApiKey::PushTelemetry)
}
