//! What the clients of a history do: partitions that come and go, batches, retries, deletions; and
//! what they hold the answers to.

use storage::segment::format::BatchMeta;
use storage::segment::format::sample::{Sample, batch};
use storage::types::{
    AppendError, AppendHow, DeleteRecordsError, DurabilityClass, LogConfig, Origin, PartitionId,
    TopicId,
};

use super::model::{ModelBatch, ModelLog, stored};
use super::world::World;

impl World {
    pub fn create_partition(&mut self) {
        self.topics += 1;
        let mut topic_id = [0; 16];
        topic_id[8..].copy_from_slice(&self.topics.to_be_bytes());
        let id = PartitionId { topic_id: TopicId(topic_id), partition: self.work.below(3) as i32 };
        let config = LogConfig {
            segment_bytes: self.work.pick(&[1_000, 10_000, 100_000, 1 << 30]),
            segment_ms: self.work.pick(&[100, 10_000, i64::MAX]),
            retention_ms: self.work.pick(&[-1, -1, -1, 60_000]),
            retention_bytes: self.work.pick(&[-1, -1, -1, 20_000]),
            index_interval_bytes: self.work.pick(&[0, 100, 4_096]),
            index_bytes_max: self.work.pick(&[48, 480, 1 << 20]),
            file_delete_delay_ms: self.work.pick(&[0, 1_000]),
            producer_expiration_ms: i64::MAX,
            durability: self.work.pick(&[DurabilityClass::Persisted, DurabilityClass::Memory]),
            ..LogConfig::default()
        };
        self.note(format!("create {id:?} {config:?}"));
        self.logs.insert(id, ModelLog::new(config));
        let shard = self.work.below(self.shards.len() as u64) as usize;
        if self.shards[shard].journal_failed {
            self.logs.remove(&id);
            return;
        }
        self.place(id, shard);
    }

    pub fn place(&mut self, id: PartitionId, shard: usize) {
        let config = self.logs[&id].config;
        let log = self.shards[shard].store.create_partition(id, config);
        self.homes.insert(id, (shard, log.expect("there is room and it is not there")));
    }

    pub fn remove_partition(&mut self) {
        let Some(id) = self.any_log() else { return };
        let (shard, log) = self.homes[&id];
        self.note(format!("remove {id:?}"));
        self.totals.removals += 1;
        self.shards[shard].store.remove_partition(log, self.mono_ns);
        self.logs.remove(&id);
        self.homes.remove(&id);
    }

    pub fn append_some(&mut self) {
        if self.logs.is_empty() {
            self.create_partition();
        }
        let count = self.work.pick(&[1, 1, 2, 3, 6]);
        for _ in 0..count {
            let Some(id) = self.any_log() else { return };
            if self.work.one_in(6) {
                self.retry(id);
            } else if self.work.one_in(4) {
                self.transact(id);
            } else {
                self.append(id);
            }
        }
        if !self.work.one_in(4) {
            self.end_turns();
        }
    }

    fn batch_bytes(&mut self) -> usize {
        let (low, high) = match self.work.below(100) {
            0..=64 => (30, 400),
            65..=91 => (400, 4_000),
            92..=98 => (4_000, 40_000),
            _ => (40_000, 300_000),
        };
        (self.work.between(low, high) as usize).min(self.batch_bytes_max)
    }

    fn append(&mut self, id: PartitionId) {
        let value_bytes = self.batch_bytes();
        let records_count = self.work.pick(&[1, 1, 2, 7]);
        let timestamp = self.wall_ms - self.work.below(2_000) as i64;
        let mut sample = Sample {
            records_count,
            timestamp,
            value_bytes,
            fill: self.work.next_u64() as u8,
            ..Sample::default()
        };
        if !self.work.one_in(3) {
            let producer_id = self.work.below(4) as i64;
            let known = self.logs[&id].producers.get(producer_id);
            let (epoch, last) = known.map_or((0, -1), |p| (p.epoch, p.last_sequence()));
            sample.producer_id = producer_id;
            (sample.producer_epoch, sample.base_sequence) = match self.work.below(12) {
                0 => (epoch + 1, 0),
                _ if last == i32::MAX => (epoch, 0),
                _ => (epoch, last + 1),
            };
            if known.is_none() && self.work.one_in(4) {
                sample.base_sequence = i32::MAX - self.work.below(6) as i32;
            }
        }
        let sent = batch(sample);
        self.append_batch(id, &sent, Origin::Client);
    }

    /// Sends a batch again that its producer may not have heard of.
    fn retry(&mut self, id: PartitionId) {
        let model = &self.logs[&id];
        let recent: Vec<usize> =
            model.batches.iter().enumerate().rev().take(12).map(|b| b.0).collect();
        if recent.is_empty() {
            return;
        }
        let batch = model.batches[self.work.pick(&recent)].clone();
        let meta = BatchMeta::read(&batch.sent).expect("the driver makes good batches");
        let in_window = model.producers.get(meta.producer_id).is_some_and(|producer| {
            let known = producer.batches().iter().any(|known| known.base_offset() == batch.base);
            known && producer.epoch == meta.producer_epoch
        });
        if !meta.has_producer_id() || !in_window {
            return;
        }
        let (shard, log) = self.homes[&id];
        let how = self.how(&id, false);
        let answer = self.shards[shard].store.append(log, &batch.sent, how);
        self.note(format!("retry {id:?} at {}: {answer:?}", batch.base));
        match answer {
            Ok(appended) => {
                assert!(appended.duplicate, "a batch of the window is a duplicate");
                assert_eq!(
                    (appended.base_offset, appended.last_offset),
                    (batch.base, batch.next - 1)
                );
                assert!(
                    appended.commit.0 <= batch.commit,
                    "its ack waits for the original's frame"
                );
                assert!(
                    batch.acked || appended.commit.0 == batch.commit,
                    "the retry of a batch under way waits for it"
                );
                self.totals.duplicates += 1;
            }
            Err(AppendError::Failed) if self.is_offline(&id) => {}
            Err(error) => panic!("a retry was refused: {error}"),
        }
    }

    pub fn how(&mut self, id: &PartitionId, log_append_time: bool) -> AppendHow {
        AppendHow {
            leader_epoch: self.logs[id].leader_epoch,
            origin: Origin::Client,
            mono_ns: self.mono_ns,
            wall_ms: self.wall_ms,
            log_append_time,
        }
    }

    pub fn append_batch(&mut self, id: PartitionId, sent: &[u8], origin: Origin) {
        let log_append_time = self.work.one_in(5);
        if self.work.one_in(20) {
            self.logs.get_mut(&id).expect("it exists").leader_epoch += 1;
        }
        let how = AppendHow { origin, ..self.how(&id, log_append_time) };
        let (shard, log) = self.homes[&id];
        let answer = self.shards[shard].store.append(log, sent, how);
        self.note(format!("append {id:?} {} bytes: {answer:?}", sent.len()));
        let model = self.logs.get_mut(&id).expect("it exists");
        match answer {
            Ok(appended) => {
                assert!(!appended.duplicate, "a batch never sent before");
                assert_eq!(appended.base_offset, model.end(), "offsets are dense");
                let time = log_append_time.then_some(how.wall_ms);
                assert_eq!(appended.log_append_time_ms, time.unwrap_or(-1));
                let stored = stored(sent, appended.base_offset, how.leader_epoch, time);
                model.push(ModelBatch {
                    sent: sent.into(),
                    stored,
                    base: appended.base_offset,
                    next: appended.last_offset + 1,
                    commit: appended.commit.0,
                    persisted: false,
                    acked: false,
                    marker: None,
                });
                self.totals.appends += 1;
            }
            Err(AppendError::Busy) => {}
            Err(AppendError::Full) if self.faulty => self.totals.refused += 1,
            Err(AppendError::Failed) if self.is_offline(&id) => self.totals.refused += 1,
            Err(error) => panic!("an append was refused: {error}"),
        }
    }

    pub fn delete_some(&mut self) {
        let Some(id) = self.any_log() else { return };
        let (shard, log) = self.homes[&id];
        let high_watermark = self.logs[&id].high_watermark();
        if high_watermark == 0 {
            return;
        }
        let before = self.work.between(0, high_watermark as u64) as i64;
        let store = &mut self.shards[shard].store;
        let was = store.log_start(log).expect("it exists");
        let answer = store.delete_records(log, before);
        self.note(format!("delete {id:?} before {before}: {answer:?}"));
        let commit = match answer {
            Ok(commit) => commit,
            Err(DeleteRecordsError::Failed) if self.is_offline(&id) => return,
            Err(DeleteRecordsError::Busy) => return,
            Err(error) => panic!("a deletion was refused: {error}"),
        };
        let model = self.logs.get_mut(&id).expect("it exists");
        if before > was {
            model.start_max = model.start_max.max(before);
            model.deletions.push((commit.0, before));
            self.totals.deletions += 1;
        }
    }
}
