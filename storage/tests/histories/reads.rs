//! Reading: at random between crashes, whole logs after them.

use storage::buffer::SharedBuf;
use storage::types::{PartitionId, ReadError, ReadOutcome, ReadToken, StoreEvent};

use super::world::{Shard, World};

pub struct PendingRead {
    pub id: PartitionId,
    pub ask: Ask,
}

#[derive(Clone, Copy)]
pub struct Ask {
    pub from: i64,
    pub max_bytes: u32,
    pub at_least_one: bool,
    /// Where the answer must stop: bound and high watermark when it was asked.
    pub bound: i64,
}

impl World {
    pub fn read_some(&mut self) {
        let Some(id) = self.any_log() else { return };
        let (shard, log) = self.homes[&id];
        let store = &self.shards[shard].store;
        let start = store.log_start(log).expect("it exists");
        let end = self.logs[&id].end();
        let from = start - 1 + self.work.below((end - start + 3) as u64) as i64;
        let ask = Ask {
            from,
            max_bytes: self.work.pick(&[0, 100, 5_000, 1 << 20]),
            at_least_one: self.work.one_in(2),
            bound: if self.work.one_in(4) { from + 3 } else { i64::MAX },
        };
        self.read(&id, ask);
    }

    fn read(&mut self, id: &PartitionId, mut ask: Ask) {
        let (shard, log) = self.homes[id];
        let mut out = Vec::new();
        let Shard { store, pending, .. } = &mut self.shards[shard];
        let (from, max_bytes, at_least_one) = (ask.from, ask.max_bytes, ask.at_least_one);
        let answer = store.read(log, from, max_bytes, at_least_one, ask.bound, &mut out);
        let start = store.log_start(log).expect("it exists");
        let model = &self.logs[id];
        ask.bound = ask.bound.min(model.high_watermark());
        let in_range = (start..=model.end()).contains(&ask.from);
        match answer {
            Ok(ReadOutcome::Done { bytes }) => {
                assert!(in_range, "offset {} of {start}..={}", ask.from, model.end());
                let total: usize = out.iter().map(SharedBuf::len).sum();
                assert_eq!(bytes as usize, total);
                self.totals.reads += 1;
                self.check_read(id, ask, &out);
            }
            Ok(ReadOutcome::Pending(token)) => {
                assert!(in_range);
                let read = PendingRead { id: *id, ask };
                assert!(pending.insert(token, read).is_none(), "tokens are used once");
            }
            Err(ReadError::OffsetOutOfRange { .. }) => assert!(!in_range),
            Err(ReadError::Busy) => {}
            Err(ReadError::Failed) if self.is_offline(id) => {}
            Err(error) => panic!("a read failed: {error}"),
        }
    }

    pub fn check_read(&self, id: &PartitionId, ask: Ask, out: &[SharedBuf]) {
        let model = &self.logs[id];
        let first = model.batches.partition_point(|batch| batch.next <= ask.from);
        let readable = model.batches[first..].iter().take_while(|batch| batch.next <= ask.bound);
        let mut got: Vec<u8> = Vec::new();
        out.iter().for_each(|slice| got.extend_from_slice(slice.as_slice()));
        let mut rest = got.as_slice();
        let mut count = 0;
        for batch in readable.clone() {
            if rest.is_empty() {
                break;
            }
            let same = rest.starts_with(&batch.stored);
            assert!(same, "read of {id:?} from {}: the batch at {} differs", ask.from, batch.base);
            rest = &rest[batch.stored.len()..];
            count += 1;
        }
        assert!(rest.is_empty(), "read of {id:?} from {}: {} bytes too many", ask.from, rest.len());
        let exempt = ask.at_least_one && count == 1;
        assert!(got.len() <= ask.max_bytes as usize || exempt, "more than was asked for");
        let some = readable.clone().next().is_some();
        assert!(
            !(ask.at_least_one && some && count == 0),
            "read of {id:?} from {}: nothing",
            ask.from
        );
    }

    /// Every byte of a log that readers may see.
    pub fn read_whole(&mut self, id: &PartitionId) {
        let (shard, log) = self.homes[id];
        let end = self.logs[id].high_watermark();
        let mut from = self.shards[shard].store.log_start(log).expect("it exists");
        while from < end {
            let ask = Ask { from, max_bytes: 200_000, at_least_one: true, bound: i64::MAX };
            let mut out = Vec::new();
            let store = &mut self.shards[shard].store;
            let slices = match store.read(log, from, ask.max_bytes, true, i64::MAX, &mut out) {
                Ok(ReadOutcome::Done { .. }) => out,
                Ok(ReadOutcome::Pending(token)) => self.wait_for(shard, token),
                Err(error) => panic!("a read failed: {error}"),
            };
            self.check_read(id, Ask { bound: end, ..ask }, &slices);
            let bytes: usize = slices.iter().map(SharedBuf::len).sum();
            let model = &self.logs[id];
            let first = model.batches.partition_point(|batch| batch.next <= from);
            let mut left = bytes;
            for batch in &model.batches[first..] {
                if left == 0 {
                    break;
                }
                left -= batch.stored.len();
                from = batch.next;
            }
        }
    }

    fn wait_for(&mut self, shard: usize, token: ReadToken) -> Vec<SharedBuf> {
        loop {
            self.shards[shard].store.seal(self.mono_ns);
            while let Some(op) = self.shards[shard].store.poll_op() {
                self.disk.submit(shard as u16, op);
            }
            let mut answer = None;
            while let Some(event) = self.shards[shard].store.poll_event() {
                match event {
                    StoreEvent::ReadDone { token: done, result } if done == token => {
                        answer = Some(result.expect("the disk did nothing wrong"));
                    }
                    event => self.handle_event(shard, event),
                }
            }
            if let Some(slices) = answer {
                return slices;
            }
            assert!(self.disk.in_flight() > 0, "a pending read waits for the disk");
            if let Some((other, done)) = self.disk.poll_complete() {
                let store = &mut self.shards[usize::from(other)].store;
                store.handle_disk(done, self.mono_ns, self.wall_ms);
            }
        }
    }
}
