//! ElectLeaders and partition reassignments: what is true of them where every partition's leader is
//! its
//! only replica.
//!
//! Pure; see `mod.rs`. Elections are never needed and no move is ever under way; what a request
//! gets wrong
//! is still told with Kafka's codes.

use protocol::ErrorCode;
use protocol::messages::alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, ReassignablePartition,
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use protocol::messages::elect_leaders::{
    ElectLeadersRequest, ElectLeadersResponse, PartitionResult, ReplicaElectionResult,
};
use protocol::messages::list_partition_reassignments::ListPartitionReassignmentsResponse;

use super::assignment::validate_manual;
use super::{Decision, Refusal};
use crate::image::{Image, Topic};

/// Preferred (0) or unclean (1).
fn known_election(election_type: i8) -> bool {
    matches!(election_type, 0 | 1)
}

/// Decides an ElectLeaders request.
pub fn decide_elect_leaders(
    image: &Image,
    request: &ElectLeadersRequest,
) -> Decision<ElectLeadersResponse> {
    let results = match &request.topic_partitions {
        // Of all partitions only those whose leader changed are named: none.
        None if !known_election(request.election_type) => Vec::new(),
        None => image
            .topics()
            .map(|topic| ReplicaElectionResult {
                topic: topic.name.clone(),
                partition_result: Vec::new(),
            })
            .collect(),
        Some(topics) => topics
            .iter()
            .map(|wanted| ReplicaElectionResult {
                topic: wanted.topic.clone(),
                partition_result: wanted
                    .partitions
                    .iter()
                    .map(|partition| {
                        let refusal =
                            elect(image, request.election_type, &wanted.topic, *partition);
                        PartitionResult {
                            partition_id: *partition,
                            error_code: refusal.code as i16,
                            error_message: refusal.message,
                        }
                    })
                    .collect(),
            })
            .collect(),
    };
    // A request that names nothing is not looked at.
    let names_none = request.topic_partitions.as_ref().is_some_and(Vec::is_empty);
    let code = match known_election(request.election_type) || names_none {
        true => ErrorCode::None,
        false => ErrorCode::InvalidRequest,
    };
    let response = ElectLeadersResponse {
        throttle_time_ms: 0,
        error_code: code as i16,
        replica_election_results: results,
    };
    Decision { records: Vec::new(), response }
}

fn elect(image: &Image, election_type: i8, topic: &str, partition: i32) -> Refusal {
    if !known_election(election_type) {
        let why = format!("Unknown election type {election_type}");
        return Refusal::new(ErrorCode::InvalidRequest, why);
    }
    let unknown = |why: String| Refusal::new(ErrorCode::UnknownTopicOrPartition, why);
    match image.topic(topic).map(|known| known.partition(partition)) {
        None => unknown(format!("No such topic as {topic}")),
        Some(None) => unknown(format!("No such partition as {topic}-{partition}")),
        Some(Some(_)) => Refusal::new(
            ErrorCode::ElectionNotNeeded,
            "Leader election not needed for topic partition.",
        ),
    }
}

/// Answers ListPartitionReassignments: nothing moves.
pub fn list_partition_reassignments() -> ListPartitionReassignmentsResponse {
    ListPartitionReassignmentsResponse {
        error_message: None,
        ..ListPartitionReassignmentsResponse::default()
    }
}

/// Decides an AlterPartitionReassignments request.
pub fn decide_alter_partition_reassignments(
    image: &Image,
    request: &AlterPartitionReassignmentsRequest,
) -> Decision<AlterPartitionReassignmentsResponse> {
    let responses = request
        .topics
        .iter()
        .map(|topic| ReassignableTopicResponse {
            name: topic.name.clone(),
            partitions: topic
                .partitions
                .iter()
                .map(|wanted| {
                    let refusal = reassign(image, &topic.name, wanted)
                        .err()
                        .unwrap_or(Refusal::bare(ErrorCode::None));
                    ReassignablePartitionResponse {
                        partition_index: wanted.partition_index,
                        error_code: refusal.code as i16,
                        error_message: refusal.message,
                    }
                })
                .collect(),
        })
        .collect();
    // A request that names nothing is not looked at.
    let names_none = request.topics.is_empty();
    let response = AlterPartitionReassignmentsResponse {
        throttle_time_ms: 0,
        allow_replication_factor_change: request.allow_replication_factor_change || names_none,
        error_code: ErrorCode::None as i16,
        error_message: names_none.then(String::new),
        responses,
    };
    Decision { records: Vec::new(), response }
}

fn reassign(image: &Image, name: &str, wanted: &ReassignablePartition) -> Result<(), Refusal> {
    let unknown = |why: String| Refusal::new(ErrorCode::UnknownTopicOrPartition, why);
    let topic: &Topic = image
        .topic(name)
        .ok_or_else(|| unknown(format!("Unable to find a topic named {name}.")))?;
    let partition = topic.partition(wanted.partition_index).ok_or_else(|| {
        unknown(format!("Unable to find partition {name}:{}.", wanted.partition_index))
    })?;
    let Some(replicas) = &wanted.replicas else {
        return Err(Refusal::bare(ErrorCode::NoReassignmentInProgress));
    };
    validate_manual(image, replicas, None)?;
    if partition.replicas.as_slice() == replicas.as_slice() {
        return Ok(());
    }
    let why = "Replicas are not moved between brokers.";
    Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, why))
}
