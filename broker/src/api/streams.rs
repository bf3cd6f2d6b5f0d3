//! The answer to a streams group's heartbeat, and the internal topics that it waits for.
//!
//! The coordinator says which topics the application needs and does not have; here the control
//! plane is asked for them before the answer leaves, so that the member's next heartbeat finds
//! them. What cannot be created is told where the answer names the missing topics. Source: KIP-1071
//! and Kafka 4.3's texts. (Kafka answers first and creates meanwhile.)

use protocol::messages::create_topics::CreatableTopicResult;
use protocol::messages::{
    CreateTopicsRequest, StreamsGroupHeartbeatRequest, StreamsGroupHeartbeatResponse,
};

use crate::coordinator::group::{MISSING_INTERNAL_TOPICS, StreamsHeartbeat};
use crate::shard::Shard;
use crate::shard::ask::{Answer, Ask, GatherRequest};
use crate::shard::control::{ControlRequest, ControlResponse};
use crate::shard::event::ShardId;
use crate::shard::op::RequestTag;
use protocol::error_code::ErrorCode;

/// Version of CreateTopics in whose terms the control plane is asked.
const CREATE_TOPICS_VERSION: i16 = 7;
/// Topics whose refusals are told at most.
const TOLD_MAX: usize = 3;

/// Sends the answer, after the topics that it waits for are created.
pub(super) fn answer(shard: &mut Shard, tag: RequestTag, answer: StreamsHeartbeat) {
    let StreamsHeartbeat { response, to_create } = answer;
    if to_create.is_empty() {
        return shard.reply::<StreamsGroupHeartbeatRequest>(tag, &response);
    }
    let request = CreateTopicsRequest { topics: to_create, ..CreateTopicsRequest::default() };
    // The broker asks, not the client: no quota of a client counts.
    let request = ControlRequest::CreateTopics(request, String::new());
    let ask = Ask::Control { version: CREATE_TOPICS_VERSION, request };
    let then = GatherRequest::StreamsTopics(Box::new(response));
    shard.gather(tag, then, vec![(ShardId(0), Ok(ask))]);
}

/// Sends the answer whose topics were created, or could not be.
pub(super) fn finish(
    shard: &mut Shard,
    tag: RequestTag,
    mut response: StreamsGroupHeartbeatResponse,
    answers: Vec<Answer>,
) {
    let mut refused = Vec::new();
    for answer in answers {
        if let Answer::Control(ControlResponse::CreateTopics(created)) = answer {
            refused.extend(created.topics.into_iter().filter(is_refused));
        }
    }
    if !refused.is_empty() {
        let lines = response.status.iter_mut().flatten();
        for line in lines.filter(|line| line.status_code == MISSING_INTERNAL_TOPICS) {
            line.status_detail.push_str(&format!("; Creation failed: {}.", told(&refused)));
        }
    }
    shard.reply::<StreamsGroupHeartbeatRequest>(tag, &response);
}

/// A topic that another member's heartbeat made meanwhile is as good.
fn is_refused(topic: &CreatableTopicResult) -> bool {
    topic.error_code != 0 && topic.error_code != ErrorCode::TopicAlreadyExists as i16
}

fn told(refused: &[CreatableTopicResult]) -> String {
    let named = refused.iter().take(TOLD_MAX).map(|topic| {
        format!("{} ({})", topic.name, topic.error_message.as_deref().unwrap_or("not created"))
    });
    let mut text = named.collect::<Vec<_>>().join(", ");
    if refused.len() > TOLD_MAX {
        text.push_str(&format!(" and {} more", refused.len() - TOLD_MAX));
    }
    text
}
