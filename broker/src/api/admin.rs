//! Topic and configuration requests: to the control plane on shard 0, and their answers back.
//!
//! DescribeConfigs only reads, so the shard of the connection answers it from its own image.

use protocol::api::{ApiKey, RequestHeaderRef};
use protocol::messages::{
    AlterClientQuotasRequest, AlterConfigsRequest, AlterUserScramCredentialsRequest,
    CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, DescribeConfigsRequest,
    IncrementalAlterConfigsRequest,
};

use crate::controller;
use crate::shard::Shard;
use crate::shard::ask::{Answer, Ask, GatherRequest};
use crate::shard::control::{ControlRequest, ControlResponse};
use crate::shard::event::ShardId;
use crate::shard::op::RequestTag;

/// Takes an admin request.
pub fn handle(shard: &mut Shard, tag: RequestTag, header: &RequestHeaderRef<'_>, body: &[u8]) {
    let client_id = header.client_id_text().map_or_else(String::new, |text| text.into_owned());
    let request = match header.api_key {
        ApiKey::CreateTopics => {
            let request = shard.decode::<CreateTopicsRequest>(tag, body);
            request.map(|request| ControlRequest::CreateTopics(request, client_id))
        }
        ApiKey::DeleteTopics => {
            let request = shard.decode::<DeleteTopicsRequest>(tag, body);
            request.map(|request| ControlRequest::DeleteTopics(request, client_id))
        }
        ApiKey::CreatePartitions => {
            let request = shard.decode::<CreatePartitionsRequest>(tag, body);
            request.map(|request| ControlRequest::CreatePartitions(request, client_id))
        }
        ApiKey::AlterConfigs => {
            shard.decode::<AlterConfigsRequest>(tag, body).map(ControlRequest::AlterConfigs)
        }
        ApiKey::IncrementalAlterConfigs => shard
            .decode::<IncrementalAlterConfigsRequest>(tag, body)
            .map(ControlRequest::IncrementalAlterConfigs),
        ApiKey::AlterClientQuotas => shard
            .decode::<AlterClientQuotasRequest>(tag, body)
            .map(ControlRequest::AlterClientQuotas),
        ApiKey::AlterUserScramCredentials => shard
            .decode::<AlterUserScramCredentialsRequest>(tag, body)
            .map(ControlRequest::AlterScram),
        ApiKey::DescribeConfigs => return describe_configs(shard, tag, body),
        other => unreachable!("{other:?} is not an admin request"),
    };
    let Some(request) = request else { return };
    let ask = Ask::Control { version: tag.version, request };
    shard.gather(tag, GatherRequest::Control, vec![(ShardId(0), Ok(ask))]);
}

fn describe_configs(shard: &mut Shard, tag: RequestTag, body: &[u8]) {
    let Some(request) = shard.decode::<DescribeConfigsRequest>(tag, body) else { return };
    let response = controller::describe_configs(&shard.image, &shard.broker, &request);
    shard.reply::<DescribeConfigsRequest>(tag, &response);
}

/// Writes the control plane's answer.
pub(crate) fn finish(shard: &mut Shard, tag: RequestTag, answers: Vec<Answer>) {
    let Some(Answer::Control(response)) = answers.into_iter().next() else {
        unreachable!("the control plane answers its requests");
    };
    match response {
        ControlResponse::CreateTopics(response) => {
            shard.mute_ms(tag, response.throttle_time_ms);
            shard.reply::<CreateTopicsRequest>(tag, &response)
        }
        ControlResponse::DeleteTopics(response) => {
            shard.mute_ms(tag, response.throttle_time_ms);
            shard.reply::<DeleteTopicsRequest>(tag, &response)
        }
        ControlResponse::CreatePartitions(response) => {
            shard.mute_ms(tag, response.throttle_time_ms);
            shard.reply::<CreatePartitionsRequest>(tag, &response);
        }
        ControlResponse::AlterConfigs(response) => {
            shard.reply::<AlterConfigsRequest>(tag, &response)
        }
        ControlResponse::IncrementalAlterConfigs(response) => {
            shard.reply::<IncrementalAlterConfigsRequest>(tag, &response);
        }
        ControlResponse::AlterClientQuotas(response) => {
            shard.reply::<AlterClientQuotasRequest>(tag, &response);
        }
        ControlResponse::AlterScram(response) => {
            shard.reply::<AlterUserScramCredentialsRequest>(tag, &response);
        }
        ControlResponse::AutoCreateTopic(_)
        | ControlResponse::Done
        | ControlResponse::Directories(_) => {
            unreachable!("only the broker itself asks for this")
        }
        // The records may or may not be in the log: only a closed connection says "unknown".
        ControlResponse::Failed(_) => {
            shard.close(tag.slot.conn, Some("the metadata log could not be written"));
        }
    }
}
