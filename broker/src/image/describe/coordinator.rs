//! FindCoordinator, versions 0 to 6: which broker coordinates a group, a transaction, a share
//! partition.
//!
//! Pure. Which partition a key belongs to is the coordinator's rule and comes in as a function; who
//! leads that partition is in the image. Source: Kafka 4.3.1's answers.

use protocol::ErrorCode;
use protocol::messages::find_coordinator::{
    Coordinator, FindCoordinatorRequest, FindCoordinatorResponse,
};

use crate::image::topic_name::{CONSUMER_OFFSETS, TRANSACTION_STATE};
use crate::image::{Broker, Image};

/// The answer, and the internal topic that must be created before it can be a good one.
#[derive(Clone, PartialEq, Debug)]
pub struct CoordinatorAnswer {
    pub response: FindCoordinatorResponse,
    pub missing: Option<&'static str>,
}

/// Why there is no coordinator to name: a code and its text.
type Refusal = (ErrorCode, String);

/// The coordinator is there in principle and cannot be named now.
fn unavailable(why: &str) -> Refusal {
    (ErrorCode::CoordinatorNotAvailable, why.to_string())
}

/// Answers FindCoordinator of this version.
///
/// `partition_of` gives a key's partition among this many. `transactions` says whether transactions
/// are served; where they are not their coordinator is not available (15).
pub fn find_coordinator(
    image: &Image,
    request: &FindCoordinatorRequest,
    version: i16,
    transactions: bool,
    partition_of: &dyn Fn(&str, i32) -> i32,
) -> CoordinatorAnswer {
    let topic = match request.key_type {
        0 => Ok(CONSUMER_OFFSETS),
        1 if transactions => Ok(TRANSACTION_STATE),
        1 => Err(unavailable("Transactions are not served.")),
        // Share partitions, from version 6 on, and what nobody knows.
        2 if version >= 6 => Err(unavailable("Share groups are not served.")),
        other => Err((ErrorCode::InvalidRequest, format!("Unknown coordinator type {other}"))),
    };
    let mut missing = None;
    let mut found = |key: &str| -> Result<&Broker, Refusal> {
        let topic = topic.clone()?;
        let Some(known) = image.topic(topic) else {
            missing = Some(topic);
            return Err(unavailable("The coordinator is not available."));
        };
        let partition = partition_of(key, known.partitions.len() as i32);
        let leader = known.partition(partition).map(|partition| partition.leader);
        leader
            .and_then(|leader| image.brokers().get(&leader))
            .ok_or_else(|| unavailable("The coordinator is not available."))
    };
    let response = if version >= 4 {
        let coordinators = request.coordinator_keys.iter().map(|key| coordinator(key, found(key)));
        FindCoordinatorResponse {
            coordinators: coordinators.collect(),
            error_message: None,
            ..FindCoordinatorResponse::default()
        }
    } else {
        let one = coordinator(&request.key, found(&request.key));
        FindCoordinatorResponse {
            throttle_time_ms: 0,
            error_code: one.error_code,
            error_message: one.error_message,
            node_id: one.node_id,
            host: one.host,
            port: one.port,
            coordinators: Vec::new(),
        }
    };
    CoordinatorAnswer { response, missing }
}

fn coordinator(key: &str, found: Result<&Broker, Refusal>) -> Coordinator {
    match found {
        Ok(broker) => Coordinator {
            key: key.to_string(),
            node_id: broker.id,
            host: broker.host.clone(),
            port: broker.port.into(),
            error_code: ErrorCode::None as i16,
            error_message: None,
        },
        Err((code, why)) => Coordinator {
            key: key.to_string(),
            node_id: -1,
            host: String::new(),
            port: -1,
            error_code: code as i16,
            error_message: Some(why),
        },
    }
}
