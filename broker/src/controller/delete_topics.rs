//! DeleteTopics: by name, and from version 6 by id.
//!
//! Pure; see `mod.rs`.

use std::collections::{BTreeMap, BTreeSet};

use protocol::ErrorCode;
use protocol::messages::delete_topics::{
    DeletableTopicResult, DeleteTopicsRequest, DeleteTopicsResponse,
};
use protocol::types::Uuid;

use super::mutation::MutationQuota;
use super::{DUPLICATE_TOPIC_NAME, Decision, Refusal};
use crate::config::BrokerConfig;
use crate::image::record::RemoveTopicRecord;
use crate::image::{Image, MetadataRecord};

/// A topic as a request names it: by name, by id, both or neither.
type Wanted = (Option<String>, Uuid);

/// Decides a DeleteTopics request of this version.
pub fn decide_delete_topics(
    image: &Image,
    config: &BrokerConfig,
    request: &DeleteTopicsRequest,
    version: i16,
) -> Decision<DeleteTopicsResponse> {
    decide_delete_topics_within(image, config, request, version, &mut MutationQuota::unlimited())
}

/// Decides a DeleteTopics request of a client with a quota.
pub fn decide_delete_topics_within(
    image: &Image,
    config: &BrokerConfig,
    request: &DeleteTopicsRequest,
    version: i16,
    quota: &mut MutationQuota,
) -> Decision<DeleteTopicsResponse> {
    let wanted: Vec<Wanted> = request
        .topic_names
        .iter()
        .map(|name| (Some(name.clone()), Uuid::ZERO))
        .chain(request.topics.iter().map(|topic| (topic.name.clone(), topic.topic_id)))
        .collect();
    let mut counts: BTreeMap<&Wanted, usize> = BTreeMap::new();
    for one in &wanted {
        *counts.entry(one).or_default() += 1;
    }
    let whole = whole_request(config, request, version);
    let mut answered = BTreeSet::new();
    let mut results = Vec::new();
    let mut records = Vec::new();
    for one in &wanted {
        if !answered.insert(one) {
            continue;
        }
        let by_name_and_id = match image.topic_by_id(&one.1) {
            Some(topic) => counts.contains_key(&(Some(topic.name.clone()), Uuid::ZERO)),
            None => false,
        };
        if by_name_and_id {
            // Its name's own answer says so.
            continue;
        }
        match whole.clone().map_or_else(|| delete(image, one, &counts), Err) {
            Ok((name, topic_id)) => {
                let partitions = image.topic_by_id(&topic_id).map_or(0, |t| t.partitions.len());
                if let Err(refusal) = quota.take(partitions) {
                    results.push(result(Some(name), topic_id, refusal));
                    continue;
                }
                records.push(MetadataRecord::RemoveTopic(RemoveTopicRecord { topic_id }));
                results.push(result(Some(name), topic_id, Refusal::bare(ErrorCode::None)));
            }
            Err(refusal) => {
                results.push(result(one.0.clone(), id_of(image, one, &counts), refusal))
            }
        }
    }
    let throttle_time_ms = quota.throttle_ms();
    Decision { records, response: DeleteTopicsResponse { throttle_time_ms, responses: results } }
}

fn whole_request(
    config: &BrokerConfig,
    request: &DeleteTopicsRequest,
    version: i16,
) -> Option<Refusal> {
    if request.timeout_ms <= 0 {
        return Some(Refusal::bare(ErrorCode::RequestTimedOut));
    }
    if !config.delete_topics {
        // Versions before 3 do not know the specific code.
        let code = match version {
            ..3 => ErrorCode::InvalidRequest,
            _ => ErrorCode::TopicDeletionDisabled,
        };
        return Some(Refusal::new(code, "Topic deletion is disabled."));
    }
    None
}

fn delete(
    image: &Image,
    wanted: &Wanted,
    counts: &BTreeMap<&Wanted, usize>,
) -> Result<(String, Uuid), Refusal> {
    let request = |why: &str| Err(Refusal::new(ErrorCode::InvalidRequest, why));
    let twice = counts.get(wanted).is_some_and(|count| *count > 1);
    match wanted {
        (None, id) if id.is_zero() => request("Neither topic name nor id were specified."),
        (Some(_), id) if !id.is_zero() => {
            request("You may not specify both topic name and topic id.")
        }
        (Some(_), _) if twice => request(DUPLICATE_TOPIC_NAME),
        (None, _) if twice => request("Duplicate topic id."),
        (Some(name), _) => match image.topic(name) {
            Some(topic) if counts.contains_key(&(None, topic.id)) => {
                request("The provided topic name maps to an ID that was already supplied.")
            }
            Some(topic) => Ok((topic.name.clone(), topic.id)),
            None => Err(Refusal::new(
                ErrorCode::UnknownTopicOrPartition,
                "This server does not host this topic-partition.",
            )),
        },
        (None, id) => match image.topic_by_id(id) {
            Some(topic) => Ok((topic.name.clone(), topic.id)),
            None => Err(Refusal::new(
                ErrorCode::UnknownTopicId,
                "This server does not host this topic ID.",
            )),
        },
    }
}

/// The id beside a refused topic: the one it was asked by, also when that was in another place.
fn id_of(image: &Image, wanted: &Wanted, counts: &BTreeMap<&Wanted, usize>) -> Uuid {
    let named = wanted.0.as_deref().and_then(|name| image.topic(name));
    match named {
        Some(topic) if counts.contains_key(&(None, topic.id)) => topic.id,
        Some(_) | None => wanted.1,
    }
}

fn result(name: Option<String>, topic_id: Uuid, refusal: Refusal) -> DeletableTopicResult {
    DeletableTopicResult {
        name,
        topic_id,
        error_code: refusal.code as i16,
        error_message: refusal.message,
    }
}
