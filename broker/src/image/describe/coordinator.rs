//! FindCoordinator, versions 0 to 6: which broker coordinates a group, a transaction, a share
//! partition.
//!
//! Pure. Which partition a key belongs to is the coordinator's rule and comes in as a function; who
//! leads that partition is in the image. Source: Kafka 4.3.1's answers.

use protocol::ErrorCode;
use protocol::messages::find_coordinator::{
    Coordinator, FindCoordinatorRequest, FindCoordinatorResponse,
};

use super::INVALID_REQUEST;
use crate::image::topic_name::{CONSUMER_OFFSETS, TRANSACTION_STATE};
use crate::image::{Broker, Image};

/// The answer, and the internal topic that must be created before it can be a good one.
#[derive(Clone, PartialEq, Debug)]
pub struct CoordinatorAnswer {
    pub response: FindCoordinatorResponse,
    pub missing: Option<&'static str>,
}

/// First version that names several keys.
const BATCHED_SINCE: i16 = 4;
/// First version with share partitions.
const SHARE_SINCE: i16 = 6;

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
    let mut missing = None;
    let mut found = |key: &str| -> Result<&Broker, ErrorCode> {
        let topic = topic_of(request.key_type, key, version, transactions)?;
        let Some(known) = image.topic(topic) else {
            missing = Some(topic);
            return Err(ErrorCode::CoordinatorNotAvailable);
        };
        let partition = partition_of(key, known.partitions.len() as i32);
        let leader = known.partition(partition).map(|partition| partition.leader);
        leader
            .and_then(|leader| image.brokers().get(&leader))
            .ok_or(ErrorCode::CoordinatorNotAvailable)
    };
    let response = if version >= BATCHED_SINCE {
        // Kafka gives a text here only to a type that it does not know at all.
        let text = if matches!(request.key_type, 0..=2) { "" } else { INVALID_REQUEST };
        let keys = request.coordinator_keys.iter();
        FindCoordinatorResponse {
            coordinators: keys.map(|key| coordinator(key, found(key), text)).collect(),
            error_message: None,
            ..FindCoordinatorResponse::default()
        }
    } else {
        let found = found(&request.key);
        let text = match found {
            Ok(_) => "NONE",
            Err(ErrorCode::InvalidRequest) => INVALID_REQUEST,
            Err(_) => "The coordinator is not available.",
        };
        let one = coordinator(&request.key, found, text);
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

/// The internal topic whose partitions' leaders coordinate keys of this type.
fn topic_of(
    key_type: i8,
    key: &str,
    version: i16,
    transactions: bool,
) -> Result<&'static str, ErrorCode> {
    match key_type {
        0 => Ok(CONSUMER_OFFSETS),
        1 if transactions => Ok(TRANSACTION_STATE),
        1 => Err(ErrorCode::CoordinatorNotAvailable),
        // Share groups are not served: a key that could be one has no coordinator.
        2 if version >= SHARE_SINCE && is_share_key(key) => Err(ErrorCode::CoordinatorNotAvailable),
        _ => Err(ErrorCode::InvalidRequest),
    }
}

/// Whether a key is `group:topic id:partition`, the id in 22 characters of base64.
fn is_share_key(key: &str) -> bool {
    let mut parts = key.split(':');
    let (group, id, partition) = (parts.next(), parts.next(), parts.next());
    let id_character = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    group.is_some_and(|group| !group.is_empty())
        && id.is_some_and(|id| id.len() == 22 && id.bytes().all(id_character))
        && partition.is_some_and(|partition| partition.parse::<i32>().is_ok())
        && parts.next().is_none()
}

fn coordinator(key: &str, found: Result<&Broker, ErrorCode>, text: &str) -> Coordinator {
    let error_message = Some(text.to_string());
    match found {
        Ok(broker) => Coordinator {
            key: key.to_string(),
            node_id: broker.id,
            host: broker.host.clone(),
            port: broker.port.into(),
            error_code: ErrorCode::None as i16,
            error_message,
        },
        Err(code) => Coordinator {
            key: key.to_string(),
            node_id: -1,
            host: String::new(),
            port: -1,
            error_code: code as i16,
            error_message,
        },
    }
}
