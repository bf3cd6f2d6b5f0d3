//! Partitions come and go: loading from the log, replay, unloading.
//!
//! Replay is the one way durable state changes. While a partition is loaded its records build the
//! groups anew; later they only confirm what the group decided. Source: Kafka 4.3.

use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::error_code::ErrorCode;

use super::classic::Group;
use super::consumer::Metadata;
use super::effects::{Env, Then};
use super::timers::Timers;
use super::{GroupCoordinator, Partition, errors};
use crate::coordinator::consumer_records::ConsumerRecord;
use crate::coordinator::limits;
use crate::coordinator::records::{GroupRecord, Parsed, RecordError, parse};
use crate::coordinator::streams_records::StreamsRecord;
use crate::time::Now;

impl GroupRecord {
    /// Group, topic and partition of an offset.
    pub(super) fn offset_slot(&self) -> Option<(Arc<str>, Arc<str>, i32)> {
        match self {
            Self::Offset { key, .. } => {
                Some((key.group.as_str().into(), key.topic.as_str().into(), key.partition))
            }
            Self::Group { .. } | Self::Consumer { .. } | Self::Streams { .. } => None,
        }
    }
}

impl GroupCoordinator {
    /// This coordinator gets a partition of `__consumer_offsets`. Its records follow, then
    /// `finish_load`; until then its groups answer `COORDINATOR_LOAD_IN_PROGRESS`.
    pub fn begin_load(&mut self, partition: i32) {
        self.unload(partition);
        let loading = Partition {
            loading: true,
            replayed_to: -1,
            durable_to: None,
            groups: BTreeMap::new(),
            transactions: BTreeMap::new(),
        };
        self.partitions.insert(partition, loading);
    }

    /// The next record of a partition that is being loaded.
    ///
    /// Records of other kinds of groups are skipped and counted. A group that hashes to another
    /// partition, in a log that was written with another partition count, is kept and not found.
    ///
    /// # Errors
    /// When the record cannot be read, is out of order, or the partition is not being loaded.
    /// Nothing has changed then.
    pub fn load_record(
        &mut self,
        index: i32,
        key: &[u8],
        value: Option<&[u8]>,
        offset: i64,
    ) -> Result<(), RecordError> {
        self.load_record_of(index, key, value, offset, None)
    }

    /// As `load_record`, for a record that may belong to a producer's transaction.
    ///
    /// # Errors
    /// As there.
    pub fn load_record_of(
        &mut self,
        index: i32,
        key: &[u8],
        value: Option<&[u8]>,
        offset: i64,
        producer_id: Option<i64>,
    ) -> Result<(), RecordError> {
        let partition = self
            .partitions
            .get_mut(&index)
            .filter(|partition| partition.loading)
            .ok_or(RecordError::NotLoading { partition: index })?;
        if offset <= partition.replayed_to {
            return Err(RecordError::Order { offset, last: partition.replayed_to });
        }
        let parsed = parse(key, value)?;
        partition.replayed_to = offset;
        match parsed {
            Parsed::Record(record) => self.replay(index, record, producer_id, offset),
            Parsed::Other { .. } => self.effects.probe.records_skipped += 1,
        }
        Ok(())
    }

    /// The next marker of a partition that is being loaded.
    pub fn load_transaction_end(&mut self, index: i32, producer_id: i64, commit: bool) {
        self.end_transaction(index, producer_id, commit);
    }

    /// The partition's log is read to its end: its groups serve from here on.
    pub fn finish_load(&mut self, now: Now, index: i32) {
        let partition = self.partitions.get_mut(&index).expect("a load begins before it finishes");
        assert!(partition.loading, "a load finishes once");
        partition.loading = false;
        let size_max = self.config.group_size_max.min(limits::MEMBERS_PER_GROUP_MAX);
        for group in partition.groups.values_mut() {
            let mut env = Env { now, config: &self.config, effects: &mut self.effects };
            for member in group.members.ids() {
                group.renew_session(&mut env, &member);
            }
            group.consumer_loaded(&mut env);
            group.streams_loaded(&mut env);
            if group.members.count() > size_max {
                // The limit was lowered: those who rejoin first fill the places.
                group.prepare_rebalance(&mut env);
            }
        }
        self.set_expiry_timer(now, index);
    }

    /// This coordinator loses a partition: whoever waits in it is told `NOT_COORDINATOR`.
    pub fn unload(&mut self, index: i32) {
        let Some(mut partition) = self.partitions.remove(&index) else { return };
        for group in partition.groups.values_mut() {
            group.unload(&mut self.effects);
            let now = Now::default();
            let mut env = Env { now, config: &self.config, effects: &mut self.effects };
            group.unload_consumer(&mut env);
            group.unload_streams(&mut env);
        }
        self.effects.timers.cancel_expiry(index);
        self.unload_verifications(index);
        let error = ErrorCode::NotCoordinator;
        let nothing = Metadata { topics: &errors::AnyTopic, version: 0 };
        for (token, append) in self.effects.take_appends_of(index) {
            match append.then {
                // What waited in the group was answered with the group.
                Then::Nothing
                | Then::Created { .. }
                | Then::Assigned { .. }
                | Then::Replaced { .. } => {}
                then @ (Then::Consumer { .. }
                | Then::Streams { .. }
                | Then::Committed { .. }
                | Then::TxnCommitted { .. }
                | Then::OffsetsDeleted { .. }
                | Then::Deleted { .. }) => self.finish(Now::default(), nothing, then, Err(error)),
            }
            self.answer_fetches(token);
        }
    }

    /// Applies a record, which is at this offset and may belong to a producer's transaction, to the
    /// durable state of a partition.
    pub(super) fn replay(
        &mut self,
        index: i32,
        record: GroupRecord,
        producer_id: Option<i64>,
        offset: i64,
    ) {
        let partition =
            self.partitions.get_mut(&index).expect("records are of a partition we have");
        let loading = partition.loading;
        let groups = &mut partition.groups;
        match record {
            GroupRecord::Offset { key, value: Some(value) } => {
                let group = group_or_new(groups, &key.group, index);
                match producer_id {
                    None => group.offsets.set(&key.topic, key.partition, value.into(), offset),
                    Some(producer_id) => {
                        let (topic, entry) = (&key.topic, value.into());
                        let offsets = &mut group.offsets;
                        offsets.set_pending(topic, key.partition, producer_id, entry, offset);
                        let groups = partition.transactions.entry(producer_id).or_default();
                        groups.insert(key.group.into());
                    }
                }
            }
            GroupRecord::Offset { key, value: None } => {
                if let Some(group) = groups.get_mut(key.group.as_str()) {
                    group.offsets.remove(&key.topic, key.partition);
                }
            }
            GroupRecord::Group { key, value: Some(value) } => {
                let group = group_or_new(groups, &key.group, index);
                if loading {
                    group.become_loaded(value);
                } else {
                    group.durable = Some(value);
                }
            }
            GroupRecord::Group { key, value: None }
                if !loading
                    && groups
                        .get(key.group.as_str())
                        .is_some_and(|g| g.is_modern() || g.streams.is_some()) =>
            {
                // The group goes on under the other protocol.
                groups.get_mut(key.group.as_str()).expect("looked up").durable = None;
            }
            GroupRecord::Consumer { group: id, record } => {
                let gone = matches!(*record, ConsumerRecord::Group(None));
                let group = group_or_new(groups, &id, index);
                group.finish_upgrade(&mut self.effects.timers);
                group.replay_consumer(*record);
                // Its own tombstones come before what it becomes: the append's end makes that.
                if gone && !group.consumer.as_ref().is_some_and(|consumer| consumer.is_busy()) {
                    end_members(groups, &id, &mut self.effects.timers);
                }
            }
            GroupRecord::Streams { group: id, record } => {
                let gone = matches!(*record, StreamsRecord::Group(None));
                if record.is_tombstone()
                    && groups.get(id.as_str()).is_none_or(|group| group.streams.is_none())
                {
                    // The last of a group that is gone already.
                    return;
                }
                let group = group_or_new(groups, &id, index);
                group.replay_streams(*record);
                if gone {
                    end_members(groups, &id, &mut self.effects.timers);
                }
            }
            GroupRecord::Group { key, value: None } => {
                let Some(group) = groups.get_mut(key.group.as_str()) else { return };
                group.cancel_timers(&mut self.effects.timers);
                leave_offsets(groups, &key.group);
            }
        }
    }
}

/// The last record of a consumer or streams group is a tombstone: it has no members ever since.
fn end_members(groups: &mut BTreeMap<Arc<str>, Group>, id: &str, timers: &mut Timers) {
    let Some(group) = groups.get_mut(id) else { return };
    group.cancel_timers(timers);
    group.consumer = None;
    group.streams = None;
    if group.is_dead() || (group.offsets.count() == 0 && group.durable.is_none()) {
        leave_offsets(groups, id);
    }
}

/// Of a group that is gone offsets may stay: those of consumers that manage their partitions
/// themselves.
fn leave_offsets(groups: &mut BTreeMap<Arc<str>, Group>, id: &str) {
    let Some(group) = groups.remove(id) else { return };
    if group.offsets.count() > 0 {
        let mut simple = Group::new(group.id.clone(), group.partition, None);
        simple.offsets = group.offsets;
        groups.insert(group.id, simple);
    }
}

fn group_or_new<'a>(
    groups: &'a mut BTreeMap<Arc<str>, Group>,
    id: &str,
    partition: i32,
) -> &'a mut Group {
    if !groups.contains_key(id) {
        let id: Arc<str> = id.into();
        groups.insert(id.clone(), Group::new(id, partition, None));
    }
    groups.get_mut(id).expect("inserted above")
}
