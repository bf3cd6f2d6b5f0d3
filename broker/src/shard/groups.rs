//! The group coordinator of this shard: its questions and its appends.
//!
//! The coordinator decides and replays; here its records become batches of `__consumer_offsets` on
//! this core, and what commits is told back. What a start replays comes from `load.rs`.

use std::collections::BTreeMap;

use protocol::batch::{BatchBuilder, BatchOptions};
use protocol::compress::Codecs;
use protocol::error_code::ErrorCode;
use protocol::types::Uuid;
use storage::types::{AppendHow, Appended, DurabilityClass, Origin};

use super::Shard;
use super::acks::AckAction;
use super::ask::{Answer, ClientContext, ReplyTo};
use super::moves::HeldRecords;
use super::topics::Topics;
use crate::config::{BrokerConfig, Configs, GroupsConfig};
use crate::controller::internal::CONSUMER_OFFSETS as OFFSETS_TOPIC;
use crate::coordinator::CoordinatorRecord;
use crate::coordinator::group::{
    Action, AppendToken, Assignor, ConsumerConfig, ConsumerOverrides, GroupConfig, GroupRequest,
    MigrationPolicy, ReplyToken, RequestContext, StreamsConfig, StreamsOverrides, TopicLookup,
};
use crate::image::{ConfigResource, ResourceType};

/// What the shard remembers for its coordinator.
#[derive(Debug, Default)]
pub struct Groups {
    replies: BTreeMap<u64, ReplyTo>,
    next_reply: u64,
}

impl TopicLookup for Topics {
    fn topic_name(&self, topic_id: Uuid) -> Option<String> {
        self.find_id(topic_id).map(|index| self.get(index).name.to_string())
    }

    fn topic_id(&self, name: &str) -> Option<Uuid> {
        self.find_name(name).map(|index| self.get(index).id)
    }

    fn partitions_count(&self, name: &str) -> i32 {
        let count = self.find_name(name).map_or(0, |index| self.get(index).partitions.len());
        i32::try_from(count).expect("partitions are numbered by i32")
    }

    fn each_name(&self, name: &mut dyn FnMut(&str)) {
        self.iter().for_each(|(_, topic)| name(&topic.name));
    }

    fn has_partition(&self, name: &str, partition: i32) -> bool {
        self.find_name(name).is_some_and(|index| self.partition(index, partition).is_some())
    }
}

impl Shard {
    pub(crate) fn handle_group_ask(
        &mut self,
        reply: ReplyTo,
        client: ClientContext,
        request: GroupRequest,
    ) {
        let token = self.groups.next_reply;
        self.groups.next_reply += 1;
        self.groups.replies.insert(token, reply);
        let context = RequestContext {
            client_id: &client.client_id,
            client_host: &client.client_host,
            api_version: client.api_version,
        };
        self.coordinator.handle_request(
            self.now,
            context,
            request,
            ReplyToken(token),
            &self.topics,
        );
        self.drain_coordinator();
    }

    /// Does what the coordinator wants done.
    pub(crate) fn drain_coordinator(&mut self) {
        while let Some(action) = self.coordinator.poll_action() {
            match action {
                Action::Append { partition, records, producer, append } => {
                    if self.holds_partition(OFFSETS_TOPIC, partition) {
                        let held = HeldRecords::Groups { partition, records, producer, append };
                        self.hold_records(held);
                    } else {
                        self.append_coordinator(partition, &records, producer, append);
                    }
                }
                Action::Verify { verification, asked } => {
                    self.verify_offsets(verification, asked);
                }
                Action::Reply { reply, response } => {
                    if let Some(reply) = self.groups.replies.remove(&reply.0) {
                        self.answer(reply, Answer::Group(response));
                    }
                }
            }
        }
    }

    /// Appends a coordinator's records to its partition of this shard.
    pub(super) fn append_records(
        &mut self,
        topic: &str,
        partition: i32,
        records: &[CoordinatorRecord],
        producer: Option<(i64, i16)>,
    ) -> Result<Appended, ErrorCode> {
        let place =
            self.topics.find_name(topic).and_then(|index| self.topics.partition(index, partition));
        let log = place.and_then(|place| place.log).ok_or(ErrorCode::NotLeaderOrFollower)?;
        if self.journal_failed(log.volume()) {
            return Err(ErrorCode::KafkaStorageError);
        }
        let batch = build_batch(records, producer, &mut self.codecs);
        let how = AppendHow {
            leader_epoch: 0,
            origin: Origin::Internal,
            mono_ns: self.now.mono_ns,
            wall_ms: self.now.wall_ms,
            log_append_time: false,
        };
        let appended = self.store.append(log, &batch, how);
        appended.map_err(|error| crate::api::error::append_code(&error))
    }

    pub(super) fn append_coordinator(
        &mut self,
        partition: i32,
        records: &[CoordinatorRecord],
        producer: Option<(i64, i16)>,
        append: AppendToken,
    ) {
        match self.append_records(OFFSETS_TOPIC, partition, records, producer) {
            Ok(appended) => {
                let offset = appended.base_offset;
                let action = AckAction::Coordinator { append, offset };
                self.acks.push(DurabilityClass::Persisted, appended.commit, action);
            }
            Err(error) => {
                self.coordinator.handle_appended(self.now, append, Err(error), &self.topics);
            }
        }
    }

    pub(crate) fn finish_coordinator_append(
        &mut self,
        append: AppendToken,
        offset: i64,
        error_code: i16,
    ) {
        let result = match ErrorCode::from_i16(error_code) {
            Some(ErrorCode::None) => Ok(offset),
            Some(error) => Err(error),
            None => Err(ErrorCode::UnknownServerError),
        };
        self.coordinator.handle_appended(self.now, append, result, &self.topics);
        self.drain_coordinator();
    }
}

/// One batch of a coordinator's records, in a producer's transaction if there is one.
fn build_batch(
    records: &[CoordinatorRecord],
    producer: Option<(i64, i16)>,
    codecs: &mut Codecs,
) -> Vec<u8> {
    let options = match producer {
        None => BatchOptions::default(),
        // The coordinator writes it, not the producer: it has no sequence.
        Some((producer_id, producer_epoch)) => BatchOptions {
            producer_id,
            producer_epoch,
            transactional: true,
            ..BatchOptions::default()
        },
    };
    let mut builder = BatchBuilder::new(options);
    for record in records {
        builder.append(record.timestamp_ms, Some(&record.key), record.value.as_deref(), &[]);
    }
    let mut batch = Vec::new();
    builder.build(codecs, &mut batch);
    batch
}

/// The coordinator's settings out of the broker's.
pub(super) fn coordinator_config(broker: &BrokerConfig) -> GroupConfig {
    let groups = &broker.groups;
    GroupConfig {
        offsets_partitions_count: groups.offsets_topic_partitions.max(1),
        initial_rebalance_delay_ms: u32::try_from(groups.initial_rebalance_delay_ms).unwrap_or(0),
        session_timeout_min_ms: groups.session_timeout_ms_min,
        session_timeout_max_ms: groups.session_timeout_ms_max,
        group_size_max: usize::try_from(groups.members_max).unwrap_or(usize::MAX),
        offset_metadata_max: usize::try_from(groups.offset_metadata_bytes_max).unwrap_or(0),
        offsets_retention_ms: groups.offsets_retention_ms,
        offsets_retention_check_interval_ms: u64::try_from(groups.offsets_retention_check_ms)
            .unwrap_or(1)
            .max(1),
        consumer: consumer_config(groups),
        streams: streams_config(groups),
        ..GroupConfig::default()
    }
}

fn consumer_config(groups: &GroupsConfig) -> ConsumerConfig {
    let number = |key: &str| groups.group_bounds.get(key).copied().unwrap_or(0).max(0);
    let policy = match groups.consumer_migration_policy.as_str() {
        "disabled" => MigrationPolicy::Disabled,
        "upgrade" => MigrationPolicy::Upgrade,
        "downgrade" => MigrationPolicy::Downgrade,
        // The registry lets only one other word through.
        _ => MigrationPolicy::Bidirectional,
    };
    let milliseconds = |key| u64::try_from(number(key)).unwrap_or(0);
    ConsumerConfig {
        enabled: groups.rebalance_protocols.iter().any(|name| name == "consumer"),
        session_timeout_ms: milliseconds("group.consumer.session.timeout.ms"),
        heartbeat_interval_ms: i32::try_from(number("group.consumer.heartbeat.interval.ms"))
            .unwrap_or(i32::MAX),
        assignment_interval_ms: milliseconds("group.consumer.assignment.interval.ms"),
        group_size_max: usize::try_from(number("group.consumer.max.size")).unwrap_or(usize::MAX),
        assignors: groups
            .consumer_assignors
            .iter()
            .filter_map(|name| Assignor::from_name(name))
            .collect(),
        migration_policy: policy,
        ..ConsumerConfig::default()
    }
}

fn streams_config(groups: &GroupsConfig) -> StreamsConfig {
    let number = |key: &str| groups.group_bounds.get(key).copied().unwrap_or(0).max(0);
    let milliseconds = |key| u64::try_from(number(key)).unwrap_or(0);
    StreamsConfig {
        enabled: groups.rebalance_protocols.iter().any(|name| name == "streams"),
        session_timeout_ms: milliseconds("group.streams.session.timeout.ms"),
        heartbeat_interval_ms: i32::try_from(number("group.streams.heartbeat.interval.ms"))
            .unwrap_or(i32::MAX),
        group_size_max: usize::try_from(number("group.streams.max.size")).unwrap_or(usize::MAX),
        standby_replicas: u32::try_from(number("group.streams.num.standby.replicas"))
            .unwrap_or(u32::MAX),
        initial_rebalance_delay_ms: milliseconds("group.streams.initial.rebalance.delay.ms"),
        assignment_interval_ms: milliseconds("group.streams.assignment.interval.ms"),
        ..StreamsConfig::default()
    }
}

/// What a group's own texts give it; texts that do not parse were never stored.
fn group_overrides(own: &Configs) -> (ConsumerOverrides, StreamsOverrides) {
    let number = |key: &str| own.get(key).and_then(|text| text.trim().parse::<i32>().ok());
    let milliseconds = |key: &str| number(key).and_then(|number| u64::try_from(number).ok());
    let consumer = ConsumerOverrides {
        session_timeout_ms: milliseconds("consumer.session.timeout.ms"),
        heartbeat_interval_ms: number("consumer.heartbeat.interval.ms"),
        assignment_interval_ms: milliseconds("consumer.assignment.interval.ms"),
    };
    let replicas = number("streams.num.standby.replicas");
    let streams = StreamsOverrides {
        session_timeout_ms: milliseconds("streams.session.timeout.ms"),
        heartbeat_interval_ms: number("streams.heartbeat.interval.ms"),
        standby_replicas: replicas.and_then(|number| u32::try_from(number).ok()),
        initial_rebalance_delay_ms: milliseconds("streams.initial.rebalance.delay.ms"),
        assignment_interval_ms: milliseconds("streams.assignment.interval.ms"),
    };
    (consumer, streams)
}

impl Shard {
    /// A group got, or lost, settings of its own.
    pub(super) fn update_group_config(&mut self, group: &str) {
        let resource = ConfigResource::new(ResourceType::Group, group);
        let (consumer, streams) = group_overrides(self.image.configs(&resource));
        self.coordinator.set_group_config(group, consumer, streams);
    }
}
