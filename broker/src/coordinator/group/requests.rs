//! Requests, one function per API: what is checked before a group is asked, and who answers when
//! there is no group.
//!
//! Source: what a plain Kafka 4.3 answers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use protocol::error_code::ErrorCode;
use protocol::messages::delete_groups::DeleteGroupsRequest;
use protocol::messages::describe_groups::{DescribeGroupsRequest, DescribeGroupsResponse};
use protocol::messages::heartbeat::HeartbeatRequest;
use protocol::messages::join_group::JoinGroupRequest;
use protocol::messages::leave_group::{LeaveGroupRequest, LeaveGroupResponse};
use protocol::messages::list_groups::{ListGroupsRequest, ListGroupsResponse};
use protocol::messages::offset_commit::OffsetCommitRequest;
use protocol::messages::offset_delete::OffsetDeleteRequest;
use protocol::messages::offset_fetch::OffsetFetchRequest;
use protocol::messages::sync_group::SyncGroupRequest;
use protocol::types::Uuid;

use super::api::{GroupRequest, GroupResponse, ReplyToken, RequestContext, TopicLookup};
use super::classic::{Group, State, join_error, sync_error};
use super::commit::Commit;
use super::consumer::{Job, Metadata, answer_heartbeat};
use super::delete::{OffsetDeletion, offset_delete_error};
use super::effects::Env;
use super::fetch::{FetchGroup, ParkedFetch};
use super::{GroupCoordinator, describe, fetch, join, leave, sync};
use crate::coordinator::limits;
use crate::time::Now;

/// From this version a commit to a group that does not exist says so.
const COMMIT_NOT_FOUND_SINCE: i16 = 9;

/// Whether a group may have this id where Kafka asks for a proper one.
pub(super) fn check_id(group: &str) -> Result<(), ErrorCode> {
    if group.is_empty() { Err(ErrorCode::InvalidGroupId) } else { check_length(group) }
}

pub(super) fn check_length(group: &str) -> Result<(), ErrorCode> {
    if group.len() > limits::STRING_BYTES_MAX { Err(ErrorCode::InvalidGroupId) } else { Ok(()) }
}

impl GroupCoordinator {
    /// Takes a request. Its response comes out of `poll_action` under `reply`, now or later.
    pub fn handle_request(
        &mut self,
        now: Now,
        context: RequestContext<'_>,
        request: GroupRequest,
        reply: ReplyToken,
        topics: &dyn TopicLookup,
    ) {
        self.effects.expect_reply(reply);
        let version = context.api_version;
        match request {
            GroupRequest::JoinGroup(request) => self.join(now, context, request, reply, topics),
            GroupRequest::SyncGroup(request) => self.sync(now, version, request, reply, topics),
            GroupRequest::Heartbeat(request) => self.heartbeat(now, request, reply, topics),
            GroupRequest::LeaveGroup(request) => self.leave(now, version, request, reply, topics),
            GroupRequest::OffsetCommit(request) => {
                self.commit(now, version, request, reply, topics);
            }
            GroupRequest::TxnOffsetCommit(request) => {
                self.txn_commit(version, request, reply, topics);
            }
            GroupRequest::OffsetFetch(request) => self.fetch(version, request, reply, topics),
            GroupRequest::OffsetDelete(request) => self.offset_delete(now, request, reply, topics),
            GroupRequest::DescribeGroups(request) => self.describe(version, request, reply),
            GroupRequest::ListGroups(request) => self.list(&request, reply),
            GroupRequest::DeleteGroups(request) => self.delete(now, request, reply),
            GroupRequest::ConsumerGroupHeartbeat(request) => {
                self.consumer_heartbeat(now, context, request, reply, topics);
            }
            GroupRequest::ConsumerGroupDescribe(request) => {
                self.consumer_describe(request, reply, topics);
            }
            GroupRequest::StreamsGroupHeartbeat(request) => {
                self.streams_heartbeat(now, context, request, reply, topics);
            }
            GroupRequest::StreamsGroupDescribe(request) => self.streams_describe(request, reply),
        }
    }

    fn join(
        &mut self,
        now: Now,
        context: RequestContext<'_>,
        request: JoinGroupRequest,
        reply: ReplyToken,
        topics: &dyn TopicLookup,
    ) {
        let allowed = check_id(&request.group_id)
            .and_then(|()| join::validate(&self.config, &request))
            .and_then(|()| self.partition_of(&request.group_id))
            .and_then(|partition| self.group_to_join(now, partition, &request));
        let created = match allowed {
            Ok(created) => created,
            Err(error) => {
                let response = join_error(context.api_version, request.member_id, error);
                return self.effects.reply(reply, GroupResponse::JoinGroup(response));
            }
        };
        let id = request.group_id.clone();
        if self.group(&id).is_some_and(Group::is_modern) {
            let (client, version) = ((&context).into(), context.api_version);
            let job = Job::ClassicJoin { request, client, version, reply };
            return self.consumer_job(now, &id, job, topics);
        }
        self.with_group(now, &id, |env, group| {
            group.join(env, &context, &request, reply);
            if created {
                group.write_creation(env);
            }
        });
        if created && self.group(&id).is_some_and(|group| group.members.is_empty()) {
            self.drop_if_vacuous(&id);
        }
    }

    /// Makes sure that the group exists; whether it was created for this join.
    fn group_to_join(
        &mut self,
        now: Now,
        partition: i32,
        request: &JoinGroupRequest,
    ) -> Result<bool, ErrorCode> {
        if let Some(group) = self.group(&request.group_id) {
            if group.streams.is_some() {
                // A group of tasks has no partitions to share with readers of another protocol.
                return Err(ErrorCode::InconsistentGroupProtocol);
            }
            return Ok(false);
        }
        if !request.member_id.is_empty() {
            return Err(ErrorCode::UnknownMemberId);
        }
        if self.groups_count() >= limits::GROUPS_MAX {
            return Err(ErrorCode::GroupMaxSizeReached);
        }
        self.effects.may_append()?;
        self.create_group(now, partition, &request.group_id);
        Ok(true)
    }

    fn create_group(&mut self, now: Now, index: i32, id: &str) {
        let partition = self.partitions.get_mut(&index).expect("looked up by the caller");
        let id: Arc<str> = id.into();
        partition.groups.insert(id.clone(), Group::new(id, index, Some(now.wall_ms)));
    }

    pub(super) fn metadata<'a>(&self, topics: &'a dyn TopicLookup) -> Metadata<'a> {
        Metadata { topics, version: self.metadata_version }
    }

    /// Lets a group that is, or is about to be, a consumer group do a job.
    pub(super) fn consumer_job(&mut self, now: Now, id: &str, job: Job, topics: &dyn TopicLookup) {
        let metadata = self.metadata(topics);
        self.with_group(now, id, |env, group| group.consumer_job(env, metadata, job));
        self.drop_unused_consumer(id);
    }

    fn sync(
        &mut self,
        now: Now,
        version: i16,
        request: SyncGroupRequest,
        reply: ReplyToken,
        topics: &dyn TopicLookup,
    ) {
        let id = request.group_id.clone();
        let mut allowed = check_id(&id);
        if !sync::names_protocol(&request, version) {
            allowed = Err(ErrorCode::InconsistentGroupProtocol);
        }
        let found = allowed.and_then(|()| self.partition_of(&id)).and_then(|_| {
            let group = self.group(&id).ok_or(ErrorCode::UnknownMemberId)?;
            Ok(group.is_modern())
        });
        match found {
            Ok(true) => {
                self.consumer_job(now, &id, Job::ClassicSync { request, version, reply }, topics);
            }
            Ok(false) => {
                self.with_group(now, &id, |env, group| group.sync(env, version, &request, reply));
            }
            Err(error) => {
                self.effects.reply(reply, GroupResponse::SyncGroup(sync_error(error)));
            }
        }
    }

    fn heartbeat(
        &mut self,
        now: Now,
        request: HeartbeatRequest,
        reply: ReplyToken,
        topics: &dyn TopicLookup,
    ) {
        let id = request.group_id.as_str();
        let found = check_id(id).and_then(|()| self.partition_of(id));
        if found.is_ok() && self.group(id).is_some_and(Group::is_modern) {
            let id = request.group_id.clone();
            let job = Job::ClassicHeartbeat { request, reply };
            return self.consumer_job(now, &id, job, topics);
        }
        let result = found.and_then(|_| {
            self.with_group(now, id, |env, group| group.heartbeat(env, &request))
                .unwrap_or(Err(ErrorCode::UnknownMemberId))
        });
        let result = match result {
            // The members are about to be loaded: nothing is wrong with this one.
            Err(ErrorCode::CoordinatorLoadInProgress) => Ok(()),
            result => result,
        };
        let mut env = Env { now, config: &self.config, effects: &mut self.effects };
        answer_heartbeat(&mut env, reply, result);
    }

    fn leave(
        &mut self,
        now: Now,
        version: i16,
        request: LeaveGroupRequest,
        reply: ReplyToken,
        topics: &dyn TopicLookup,
    ) {
        let id = request.group_id.clone();
        if self.group(&id).is_some_and(Group::is_modern) && self.partition_of(&id).is_ok() {
            return self.consumer_job(now, &id, Job::Leave { request, version, reply }, topics);
        }
        let response = match check_id(&id).and_then(|()| self.partition_of(&id)) {
            Err(error) => LeaveGroupResponse { error_code: error as i16, ..Default::default() },
            Ok(_) => {
                let mut members = Some(leave::leaving(request, version));
                let left = self.with_group(now, &id, |env, group| {
                    group.leave(env, members.take().unwrap_or_default(), version)
                });
                left.unwrap_or_else(|| {
                    leave::response(members.unwrap_or_default(), version, |_| {
                        Err(ErrorCode::UnknownMemberId)
                    })
                })
            }
        };
        self.effects.reply(reply, GroupResponse::LeaveGroup(response));
    }

    fn commit(
        &mut self,
        now: Now,
        version: i16,
        mut request: OffsetCommitRequest,
        reply: ReplyToken,
        topics: &dyn TopicLookup,
    ) {
        let commit = Commit::resolve(std::mem::take(&mut request.topics), version, topics);
        let allowed = if commit.is_decided() {
            Err(ErrorCode::None)
        } else {
            check_length(&request.group_id)
                .and_then(|()| self.partition_of(&request.group_id))
                .and_then(|partition| {
                    let generation = request.generation_id_or_member_epoch;
                    let unknown = |()| {
                        if version >= COMMIT_NOT_FOUND_SINCE {
                            ErrorCode::GroupIdNotFound
                        } else {
                            ErrorCode::IllegalGeneration
                        }
                    };
                    self.group_to_commit(now, partition, &request.group_id, generation, unknown)
                })
        };
        if let Err(error) = allowed {
            let response = GroupResponse::OffsetCommit(commit.fail(error));
            return self.effects.reply(reply, response);
        }
        self.with_group(now, &request.group_id, |env, group| {
            group.commit(env, &request, version, commit, reply);
        });
        self.drop_if_vacuous(&request.group_id);
    }

    /// Makes sure that the group exists, if who commits needs no membership; else it is `unknown`.
    pub(super) fn group_to_commit(
        &mut self,
        now: Now,
        partition: i32,
        id: &str,
        generation: i32,
        unknown: impl FnOnce(()) -> ErrorCode,
    ) -> Result<(), ErrorCode> {
        if self.group(id).is_some() {
            return Ok(());
        }
        if generation >= 0 {
            return Err(unknown(()));
        }
        if self.groups_count() >= limits::GROUPS_MAX {
            return Err(ErrorCode::InvalidCommitOffsetSize);
        }
        self.create_group(now, partition, id);
        Ok(())
    }

    fn fetch(
        &mut self,
        version: i16,
        request: OffsetFetchRequest,
        reply: ReplyToken,
        topics: &dyn TopicLookup,
    ) {
        let stable = request.require_stable;
        let groups = fetch::resolve(request, version, topics);
        let ids = self.unnamed_ids(&groups, topics);
        if stable {
            let partitions: BTreeSet<i32> =
                groups.iter().filter_map(|g| self.partition_of(&g.group_id).ok()).collect();
            let waits_for = self.effects.newest_appends_of(&partitions);
            if !waits_for.is_empty() {
                self.parked_fetches.push(ParkedFetch { reply, version, groups, ids, waits_for });
                return;
            }
        }
        self.answer_fetch(reply, version, &groups, &ids, stable);
    }

    /// Ids of the topics whose offsets do not say them, where everything is asked for.
    fn unnamed_ids(
        &self,
        groups: &[FetchGroup],
        topics: &dyn TopicLookup,
    ) -> BTreeMap<String, Uuid> {
        groups
            .iter()
            .filter(|asked| asked.is_everything())
            .filter_map(|asked| self.group(&asked.group_id))
            .flat_map(|group| group.offsets.iter())
            .filter(|(_, _, entry)| entry.topic_id.is_zero())
            .filter_map(|(name, _, _)| Some((name.to_owned(), topics.topic_id(name)?)))
            .collect()
    }

    pub(super) fn answer_fetch(
        &mut self,
        reply: ReplyToken,
        version: i16,
        groups: &[FetchGroup],
        ids: &BTreeMap<String, Uuid>,
        stable: bool,
    ) {
        let answers = groups.iter().map(|asked| match self.partition_of(&asked.group_id) {
            Ok(_) => asked.answer(self.group(&asked.group_id), version, ids, stable),
            Err(error) => asked.fail(version, error),
        });
        let response = fetch::response(answers.collect(), version);
        self.effects.reply(reply, GroupResponse::OffsetFetch(response));
    }

    fn offset_delete(
        &mut self,
        now: Now,
        request: OffsetDeleteRequest,
        reply: ReplyToken,
        topics: &dyn TopicLookup,
    ) {
        // The group is asked even when no partition exists: an unknown one is told first.
        let deletion = OffsetDeletion::resolve(request.topics, topics);
        let id = request.group_id;
        let found = check_id(&id).and_then(|()| self.partition_of(&id)).and_then(|_| {
            self.with_group(now, &id, |env, group| group.delete_offsets(env, deletion, reply))
                .ok_or(ErrorCode::GroupIdNotFound)
        });
        if let Err(error) = found {
            let response = GroupResponse::OffsetDelete(offset_delete_error(error));
            self.effects.reply(reply, response);
        }
    }

    fn describe(&mut self, version: i16, request: DescribeGroupsRequest, reply: ReplyToken) {
        let operations = request.include_authorized_operations;
        let groups = request.groups.into_iter().map(|id| {
            let group = match self.partition_of(&id) {
                Err(error) => describe::failed(id, error),
                Ok(_) => match self.group(&id).filter(|group| group.state() != State::Dead) {
                    Some(group) if group.consumer.is_some() || group.streams.is_some() => {
                        describe::not_classic(id, version)
                    }
                    Some(group) => group.describe(),
                    None => describe::not_found(id, version),
                },
            };
            if operations { describe::with_operations(group) } else { group }
        });
        let response = DescribeGroupsResponse { groups: groups.collect(), ..Default::default() };
        self.effects.reply(reply, GroupResponse::DescribeGroups(response));
    }

    fn list(&mut self, request: &ListGroupsRequest, reply: ReplyToken) {
        let filter = describe::Filter::new(request);
        let loading = self.partitions.values().any(|partition| partition.loading);
        let response = if loading {
            let error_code = ErrorCode::CoordinatorLoadInProgress as i16;
            ListGroupsResponse { error_code, ..Default::default() }
        } else {
            let groups = self
                .partitions
                .values()
                .flat_map(|partition| partition.groups.values())
                .filter(|group| group.state() != State::Dead && filter.allows(group))
                .map(Group::list);
            ListGroupsResponse { groups: groups.collect(), ..Default::default() }
        };
        self.effects.reply(reply, GroupResponse::ListGroups(response));
    }

    fn delete(&mut self, now: Now, request: DeleteGroupsRequest, reply: ReplyToken) {
        let (deletion, ids) = self.deletions.open(reply, request.groups_names);
        for (index, id) in ids.iter().enumerate() {
            let begun = self.partition_of(id).and_then(|partition| {
                let groups = &mut self.partitions.get_mut(&partition).expect("looked up").groups;
                let group = groups.get_mut(id.as_str()).ok_or(ErrorCode::GroupIdNotFound)?;
                let mut env = Env { now, config: &self.config, effects: &mut self.effects };
                group.delete(&mut env, Some((deletion, index)))
            });
            if let Err(error) = begun {
                self.deletions.decide(&mut self.effects, deletion, index, Err(error));
            }
        }
        self.deletions.close_if_decided(&mut self.effects, deletion);
    }
}
