//! Retention of offsets, and of groups that hold none any more.
//!
//! An offset expires when its group has been empty for the retention time; in a group that has
//! members, when none of them reads its topic and the retention passed since the commit; without a
//! group, since the commit. A client's own retention (versions before 5) overrides all of that.
//! A group goes with its last offset, if it is empty. Source: Kafka 4.3; KIP-211.

use super::classic::{Group, State};
use super::effects::{Env, Then};
use crate::coordinator::offsets::OffsetEntry;
use crate::coordinator::records::GroupRecord;

impl Group {
    /// Appends the tombstones of what has expired by now.
    pub(super) fn expire(&mut self, env: &mut Env<'_>) {
        if self.state() == State::Dead {
            return;
        }
        let expired: Vec<GroupRecord> = self
            .offsets
            .settled()
            .filter(|(topic, _, entry)| self.is_expired(env, topic, entry))
            .map(|(topic, partition, _)| GroupRecord::offset_tombstone(&self.id, topic, partition))
            .collect();
        let expired_count = expired.len() as u64;
        let nothing_left = expired.len() == self.offsets.count();
        let nobody_left = self.is_empty();
        if nothing_left && nobody_left {
            // Its offsets go with it.
            if self.delete(env, None).is_ok() {
                env.effects.probe.groups_expired += 1;
                env.effects.probe.offsets_expired += expired_count;
            }
        } else if !expired.is_empty() && env.effects.may_append().is_ok() {
            env.effects.probe.offsets_expired += expired_count;
            env.effects.append(env.now, self.partition, expired, Then::Nothing);
        }
    }

    fn is_expired(&self, env: &Env<'_>, topic: &str, entry: &OffsetEntry) -> bool {
        let now_ms = env.now.wall_ms;
        let Some(since_ms) = self.retention_since_ms(entry) else { return false };
        if self.is_subscribed_to(topic) {
            return false;
        }
        match entry.expire_timestamp_ms {
            Some(expire_ms) => now_ms >= expire_ms,
            None => now_ms.saturating_sub(since_ms) >= env.config.offsets_retention_ms,
        }
    }

    /// From when the retention of an offset counts; `None` while nothing expires in this group.
    fn retention_since_ms(&self, entry: &OffsetEntry) -> Option<i64> {
        if self.consumer.is_some() || self.streams.is_some() || self.protocol_type.is_none() {
            return Some(entry.commit_timestamp_ms);
        }
        match self.state() {
            State::Empty => Some(self.state_since_ms().unwrap_or(entry.commit_timestamp_ms)),
            State::Stable if self.is_consumer_protocol() && self.subscribed.is_some() => {
                Some(entry.commit_timestamp_ms)
            }
            State::Stable
            | State::PreparingRebalance
            | State::CompletingRebalance
            | State::Dead => None,
        }
    }

    /// Appends the tombstones of every offset of a topic that was deleted.
    pub(super) fn forget_topic(&mut self, env: &mut Env<'_>, topic: &str) {
        if self.state() == State::Dead {
            return;
        }
        let records: Vec<GroupRecord> = self
            .offsets
            .partitions_of(topic)
            .map(|partition| GroupRecord::offset_tombstone(&self.id, topic, partition))
            .collect();
        if !records.is_empty() {
            env.effects.append(env.now, self.partition, records, Then::Nothing);
        }
    }
}
