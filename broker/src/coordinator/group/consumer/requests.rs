//! Requests of the consumer group protocol: what is checked before a group is asked, and who
//! answers when there is none.
//!
//! A heartbeat of a member that joins makes the group; what it does to a classic group is in
//! `migrate`. Source: what a plain Kafka 4.3 answers.

use std::sync::Arc;

use protocol::error_code::ErrorCode;
use protocol::messages::consumer_group_describe::{
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, DescribedGroup,
};
use protocol::messages::consumer_group_heartbeat::ConsumerGroupHeartbeatRequest;

use super::{Job, Refusal, describe, heartbeat};
use crate::coordinator::group::api::{GroupResponse, ReplyToken, RequestContext, TopicLookup};
use crate::coordinator::group::classic::Group;
use crate::coordinator::group::describe::GROUP_OPERATIONS;
use crate::coordinator::group::{GroupCoordinator, requests};
use crate::coordinator::limits;
use crate::time::Now;

impl GroupCoordinator {
    pub(in crate::coordinator::group) fn consumer_heartbeat(
        &mut self,
        now: Now,
        context: RequestContext<'_>,
        request: ConsumerGroupHeartbeatRequest,
        reply: ReplyToken,
        topics: &dyn TopicLookup,
    ) {
        let id = request.group_id.clone();
        if let Err(refusal) = self.admit_heartbeat(now, context.api_version, &request) {
            let response = GroupResponse::ConsumerGroupHeartbeat(heartbeat::refused(refusal));
            return self.effects.reply(reply, response);
        }
        let job = Job::Heartbeat { request, client: (&context).into(), reply };
        self.consumer_job(now, &id, job, topics);
    }

    /// Makes sure that there is a consumer group to ask.
    fn admit_heartbeat(
        &mut self,
        now: Now,
        version: i16,
        request: &ConsumerGroupHeartbeatRequest,
    ) -> Result<(), Refusal> {
        if !self.config.consumer.enabled {
            return Err(ErrorCode::UnsupportedVersion.into());
        }
        heartbeat::validate(request, version, &self.config.consumer.assignors)?;
        requests::check_length(&request.group_id)?;
        let partition = self.partition_of(&request.group_id)?;
        let joins = request.member_epoch == 0;
        let not_found = |text: String| Refusal::new(ErrorCode::GroupIdNotFound, text);
        let id = &request.group_id;
        if self.group(id).is_none() {
            if !joins {
                let kind = if request.member_epoch > 0 { "Consumer group" } else { "Group" };
                return Err(not_found(format!("{kind} {id} not found.")));
            }
            if self.groups_count() >= limits::GROUPS_MAX {
                return Err(ErrorCode::GroupMaxSizeReached.into());
            }
            self.effects.may_append()?;
            let index = partition;
            let partition = self.partitions.get_mut(&index).expect("looked up above");
            let id: Arc<str> = id.as_str().into();
            let mut group = Group::new(id.clone(), index, Some(now.wall_ms));
            group.consumer = Some(Box::default());
            partition.groups.insert(id, group);
        }
        if self.group(id).is_some_and(|group| group.streams.is_some()) {
            return Err(not_found(format!("Group {id} is not a consumer group.")));
        }
        Ok(())
    }

    /// A group that was made for a heartbeat that was refused is unmade.
    pub(in crate::coordinator::group) fn drop_unused_consumer(&mut self, id: &str) {
        if let Some(group) = self.group_mut(id)
            && group.consumer.as_ref().is_some_and(|consumer| consumer.is_vacuous())
        {
            group.consumer = None;
        }
        self.drop_if_vacuous(id);
    }

    pub(in crate::coordinator::group) fn consumer_describe(
        &mut self,
        request: ConsumerGroupDescribeRequest,
        reply: ReplyToken,
        topics: &dyn TopicLookup,
    ) {
        let operations = request.include_authorized_operations;
        let groups = request.group_ids.into_iter().map(|id| {
            let mut described = self.describe_one(id, topics);
            if operations && described.error_code == 0 {
                described.authorized_operations = GROUP_OPERATIONS;
            }
            described
        });
        let groups = groups.collect();
        let response = ConsumerGroupDescribeResponse { groups, ..Default::default() };
        self.effects.reply(reply, GroupResponse::ConsumerGroupDescribe(response));
    }

    fn describe_one(&self, id: String, topics: &dyn TopicLookup) -> DescribedGroup {
        if let Err(error) = self.partition_of(&id) {
            let error_code = error as i16;
            return DescribedGroup { error_code, group_id: id, ..DescribedGroup::default() };
        }
        match self.group(&id).filter(|group| !group.is_dead()) {
            None => describe::not_a_consumer_group(id, false),
            Some(group) => match &group.consumer {
                None => describe::not_a_consumer_group(id, true),
                Some(consumer) => {
                    consumer.describe(&id, &self.config.consumer.of_group(&id), topics)
                }
            },
        }
    }
}
