//! DescribeQuorum, AddRaftVoter, RemoveRaftVoter, UnregisterBroker, UpdateFeatures: a metadata log
//! with one member, and features whose levels go with the program.
//!
//! Pure; offsets and time come in. Source: KIP-595, KIP-853, KIP-584; Kafka 4.3.1, asked.

use protocol::ErrorCode;
use protocol::messages::describe_quorum::{
    DescribeQuorumRequest, DescribeQuorumResponse, Node, ReplicaState, ResponsePartitionData,
    ResponseTopicData,
};
use protocol::messages::update_features::{
    FeatureUpdateKey, UpdatableFeatureResult, UpdateFeaturesRequest, UpdateFeaturesResponse,
};
use protocol::messages::{
    AddRaftVoterRequest, AddRaftVoterResponse, RemoveRaftVoterRequest, RemoveRaftVoterResponse,
    UnregisterBrokerRequest, UnregisterBrokerResponse,
};
use protocol::types::Uuid;

use super::{FEATURES, Feature};
use crate::image::Image;

/// The name clients know the metadata log by.
pub const METADATA_TOPIC: &str = "__cluster_metadata";

/// The listener Kafka's tools expect of a voter.
const CONTROLLER: &str = "CONTROLLER";

/// Where the metadata log is, and when that was so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogState {
    pub high_watermark: i64,
    pub log_end: i64,
    /// Milliseconds since the Unix epoch.
    pub now_ms: i64,
}

/// The id of the folder in which a node keeps the metadata log: the same as long as the cluster is.
pub fn directory_id(image: &Image, node_id: i32) -> Uuid {
    let hash =
        |salt: u64| {
            let node = node_id.to_be_bytes();
            image.cluster_id().bytes().chain(node).fold(salt, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
            })
        };
    let bits =
        u128::from(hash(0xcbf2_9ce4_8422_2325)) << 64 | u128::from(hash(0x9e37_79b9_7f4a_7c15));
    // Only a handful of ids are reserved; one of them changes its last bit.
    Uuid::from_random(bits).or_else(|| Uuid::from_random(bits ^ 1)).unwrap_or(Uuid::ZERO)
}

/// Answers DescribeQuorum. Anything but the one partition of the metadata log is unknown.
pub fn describe_quorum(
    image: &Image,
    node_id: i32,
    log: LogState,
    request: &DescribeQuorumRequest,
    version: i16,
) -> DescribeQuorumResponse {
    let text = |text: &str| Some(if version >= 2 { text.to_owned() } else { String::new() });
    let right = match request.topics.as_slice() {
        [topic] => {
            topic.topic_name == METADATA_TOPIC
                && topic.partitions.len() == 1
                && topic.partitions[0].partition_index == 0
        }
        _ => false,
    };
    let partition = |index: i32| {
        if !right {
            return ResponsePartitionData {
                partition_index: index,
                error_code: ErrorCode::UnknownTopicOrPartition as i16,
                error_message: text("This server does not host this topic-partition."),
                ..ResponsePartitionData::default()
            };
        }
        let timestamp = if version >= 1 { log.now_ms } else { -1 };
        let voter = ReplicaState {
            replica_id: node_id,
            replica_directory_id: match version {
                ..2 => Uuid::ZERO,
                _ => directory_id(image, node_id),
            },
            log_end_offset: log.log_end,
            last_fetch_timestamp: timestamp,
            last_caught_up_timestamp: timestamp,
        };
        ResponsePartitionData {
            partition_index: index,
            error_code: 0,
            error_message: text(""),
            leader_id: node_id,
            leader_epoch: 1,
            high_watermark: log.high_watermark,
            current_voters: vec![voter],
            observers: Vec::new(),
        }
    };
    let topics = request.topics.iter().map(|topic| ResponseTopicData {
        topic_name: topic.topic_name.clone(),
        partitions: topic.partitions.iter().map(|asked| partition(asked.partition_index)).collect(),
    });
    DescribeQuorumResponse {
        error_code: 0,
        error_message: text(""),
        topics: topics.collect(),
        // There is no listener of controllers: the node serves none.
        nodes: match right && version >= 2 {
            true => vec![Node { node_id, listeners: Vec::new() }],
            false => Vec::new(),
        },
    }
}

/// Why a request that names the cluster or a voter wrongly is refused.
fn voter_refusal(
    image: &Image,
    cluster_id: Option<&str>,
    (voter_id, directory): (i32, Uuid),
    verb: &str,
) -> Option<(ErrorCode, String)> {
    if let Some(given) = cluster_id.filter(|given| *given != image.cluster_id()) {
        let own = image.cluster_id();
        let why = format!("The given id \"{given}\" doesn't match the cluster id \"{own}\"");
        return Some((ErrorCode::InconsistentClusterId, why));
    }
    if voter_id < 0 || directory.is_zero() {
        let why = format!("{verb} voter request didn't include a valid voter");
        return Some((ErrorCode::InvalidRequest, why));
    }
    None
}

/// Answers AddRaftVoter: the only voter is there, and no other can be added.
pub fn add_voter(
    image: &Image,
    node_id: i32,
    request: &AddRaftVoterRequest,
) -> AddRaftVoterResponse {
    let voter = (request.voter_id, request.voter_directory_id);
    let own = directory_id(image, node_id);
    let (code, why) = voter_refusal(image, request.cluster_id.as_deref(), voter, "Add")
        .or_else(|| {
            let listens = request.listeners.iter().any(|listener| listener.name == CONTROLLER);
            (!listens).then(|| {
                let named: Vec<String> = request
                    .listeners
                    .iter()
                    .map(|listener| {
                        let name = listener.name.to_uppercase();
                        let (host, port) = (&listener.host, listener.port);
                        format!("ListenerName({name})={host}/<unresolved>:{port}")
                    })
                    .collect();
                let why = format!(
                    "Add voter request didn't include the endpoint (Endpoints(endpoints={{{}}})) \
                     for the default listener ListenerName({CONTROLLER})",
                    named.join(", ")
                );
                (ErrorCode::InvalidRequest, why)
            })
        })
        .unwrap_or_else(|| {
            if request.voter_id == node_id {
                let (id, directory) = voter;
                let why = format!(
                    "The voter id for ReplicaKey(id={id}, directoryId={directory}) is already part \
                     of the set of voters [ReplicaKey(id={node_id}, directoryId={own})]."
                );
                return (ErrorCode::DuplicateVoter, why);
            }
            let why = "The metadata log has one member; another broker cannot join it";
            (ErrorCode::RequestTimedOut, why.to_owned())
        });
    AddRaftVoterResponse { throttle_time_ms: 0, error_code: code as i16, error_message: Some(why) }
}

/// Answers RemoveRaftVoter: the last voter stays.
pub fn remove_voter(
    image: &Image,
    node_id: i32,
    request: &RemoveRaftVoterRequest,
) -> RemoveRaftVoterResponse {
    let (id, directory) = (request.voter_id, request.voter_directory_id);
    let own = directory_id(image, node_id);
    let (code, why) = voter_refusal(
        image,
        request.cluster_id.as_deref(),
        (id, directory),
        "Remove",
    )
    .unwrap_or_else(|| {
        let why = format!(
            "Cannot remove voter ReplicaKey(id={id}, directoryId={directory}) from the set of \
                 voters [ReplicaKey(id={node_id}, directoryId={own})]"
        );
        (ErrorCode::VoterNotFound, why)
    });
    RemoveRaftVoterResponse {
        throttle_time_ms: 0,
        error_code: code as i16,
        error_message: Some(why),
    }
}

/// Answers UnregisterBroker. The one broker there is runs, and is not removed.
pub fn unregister_broker(
    image: &Image,
    request: &UnregisterBrokerRequest,
) -> UnregisterBrokerResponse {
    let id = request.broker_id;
    let (code, why) = match image.brokers().contains_key(&id) {
        // Kafka removes it, and with it the only broker of the cluster.
        true => (ErrorCode::InvalidRequest, format!("Broker ID {id} is running")),
        false => (
            ErrorCode::BrokerIdNotRegistered,
            format!("Broker ID {id} is not currently registered"),
        ),
    };
    UnregisterBrokerResponse {
        throttle_time_ms: 0,
        error_code: code as i16,
        error_message: Some(why),
    }
}

/// Answers UpdateFeatures: a feature is at the level the program brings, and stays there.
pub fn update_features(
    image: &Image,
    node_id: i32,
    request: &UpdateFeaturesRequest,
    version: i16,
) -> UpdateFeaturesResponse {
    for update in &request.feature_updates {
        if let Err(why) = check_feature(image, node_id, update, version) {
            let why = format!(
                "The update failed for all features since the following feature had an error: {why}"
            );
            return UpdateFeaturesResponse {
                throttle_time_ms: 0,
                error_code: ErrorCode::InvalidUpdateVersion as i16,
                error_message: Some(why),
                results: Vec::new(),
            };
        }
    }
    let results = request.feature_updates.iter().map(|update| UpdatableFeatureResult {
        feature: update.feature.clone(),
        error_code: 0,
        error_message: Some("NONE".to_owned()),
    });
    UpdateFeaturesResponse {
        throttle_time_ms: 0,
        error_code: 0,
        error_message: None,
        results: if version < 2 { results.collect() } else { Vec::new() },
    }
}

fn check_feature(
    image: &Image,
    node_id: i32,
    update: &FeatureUpdateKey,
    version: i16,
) -> Result<(), String> {
    const UPGRADE: i8 = 1;
    let (name, level) = (update.feature.as_str(), update.max_version_level);
    let wrong =
        |why: String| Err(format!("Invalid update version {level} for feature {name}. {why}"));
    let downgrades = match version {
        0 => update.allow_downgrade,
        _ => update.upgrade_type > UPGRADE,
    };
    if version > 0 && !(1..=3).contains(&update.upgrade_type) {
        return wrong("The controller does not support the given upgrade type.".into());
    }
    if level < 0 {
        return wrong("A feature version cannot be less than 0.".into());
    }
    let known = FEATURES.iter().any(|feature| feature.name == name);
    if level == 0 && !known {
        return wrong(format!("Feature {name} not found."));
    }
    let Some(Feature { min, max, .. }) = FEATURES.iter().find(|feature| feature.name == name)
    else {
        return wrong(format!("Local controller {node_id} does not support this feature."));
    };
    if !(*min..=*max).contains(&level) {
        return wrong(format!("Local controller {node_id} only supports versions {min}-{max}"));
    }
    let current = image.features().get(name).copied().unwrap_or(0);
    if level == current {
        return Ok(());
    }
    // Of the quorum's, version 0 of the request has no word.
    if level < current && name == "kraft.version" && version > 0 && downgrades {
        return wrong("Can't downgrade the version of this feature.".into());
    }
    if level < current && (!downgrades || name == "kraft.version") {
        return wrong(
            "Can't downgrade the version of this feature without setting the upgrade type to \
             either safe or unsafe downgrade."
                .into(),
        );
    }
    if name == "metadata.version" {
        return Err(format!(
            "Unsupported metadata.version downgrade from {current} to {level}. Refusing to perform \
             the requested downgrade because it might delete metadata information."
        ));
    }
    wrong(format!("This broker serves the feature at version {current} and no other."))
}
