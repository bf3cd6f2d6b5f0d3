//! Fetches under way: reading, waiting for news, waking, and reading for other shards.
//!
//! An operation is evaluated in rounds. A round reads every part: from the tail at once, from disk
//! or another shard with an answer to come. When all parts are in, the operation is answered, or
//! parked on its logs until one advances (never by polling), or until its deadline.

use storage::buffer::SharedBuf;
use storage::segment::format::BatchMeta;
use storage::types::{FindOutcome, LogId, ReadError, ReadOutcome, ReadToken};
use storage::volumes::Volumes;

use protocol::error_code::ErrorCode;
use protocol::hot::AbortedTransaction;

use super::Shard;
use super::ask::ReplyTo;
use super::connection::SlotId;
use super::event::ShardId;
use super::load::Coordinated;
use super::mesh::{MeshMessage, RemotePart};
use super::op::{FetchHome, FetchOp, FetchOutcome, FetchPart, Op, OpKey, PartTopic};
use crate::api;
use crate::limits;
use crate::planted::{self, Bug};

impl Shard {
    /// Runs a round of the operation, and further ones while news came in meanwhile.
    pub(crate) fn evaluate_fetch(&mut self, key: OpKey) {
        let Some(Op::Fetch(mut op)) = self.ops.take(key) else { return };
        op.round = op.round.wrapping_add(1);
        op.buffers.clear();
        op.aborted.clear();
        op.pending = 0;
        op.woken = false;
        op.parked = false;
        let mut left = op.max_bytes;
        let mut any = false;
        let mut remote = false;
        for index in 0..op.parts.len() {
            let part = &op.parts[index];
            match part.owner {
                None => {}
                Some(owner) if owner != self.config.shard => remote = true,
                Some(_) => {
                    let bytes = self.read_part(key, &mut op, index, left, !any);
                    any |= bytes > 0;
                    left = left.saturating_sub(bytes);
                }
            }
        }
        if remote {
            self.ask_shards_to_read(key, &mut op, left);
        }
        self.settle_fetch(key, op);
    }

    /// Reads one part of this shard's; returns the bytes found at once.
    fn read_part(
        &mut self,
        key: OpKey,
        op: &mut FetchOp,
        index: usize,
        left: u32,
        at_least_one: bool,
    ) -> u32 {
        let part = &mut op.parts[index];
        let Some((log, mut outcome)) = self.check_part(part) else { return 0 };
        if outcome.error_code != 0 || outcome.diverging.is_some() {
            part.outcome = outcome;
            return 0;
        }
        let start = op.buffers.len();
        let wanted = part.max_bytes.unwrap_or(0).min(left);
        let from = part.fetch_offset;
        let bound =
            if op.read_committed { outcome.last_stable_offset } else { outcome.high_watermark };
        let read = self.store.read(log, from, wanted, at_least_one, bound, &mut op.buffers);
        match read {
            Ok(ReadOutcome::Done { bytes }) => {
                outcome.buffers_start = start as u32;
                outcome.buffers_count = (op.buffers.len() - start) as u32;
                outcome.bytes = bytes;
                if op.read_committed {
                    let records = &op.buffers[start..];
                    add_aborted(&self.store, log, from, records, &mut op.aborted, &mut outcome);
                }
                part.outcome = outcome;
                bytes
            }
            Ok(ReadOutcome::Pending(token)) => {
                part.outcome = outcome;
                op.pending += 1;
                let waiter = ReadWaiter::Fetch { op: key, round: op.round, part: index as u32 };
                self.reads.insert(token, waiter);
                0
            }
            Err(error) => {
                part.outcome = FetchOutcome::error(read_error(error));
                0
            }
        }
    }

    /// What can be said of a part before reading: epochs and bounds. `None`: its log is gone.
    fn check_part(&mut self, part: &mut FetchPart) -> Option<(LogId, FetchOutcome)> {
        let unknown = match part.topic {
            PartTopic::Name(_) => ErrorCode::UnknownTopicOrPartition,
            PartTopic::Id(_) => ErrorCode::UnknownTopicId,
        };
        let found = self.topics.find_id(part.topic_id);
        let found = found.and_then(|topic| self.topics.partition(topic, part.partition));
        let Some((log, leader_epoch)) = found.and_then(|f| Some((f.log?, f.leader_epoch))) else {
            part.owner = None;
            part.outcome = FetchOutcome::error(unknown.code());
            return None;
        };
        part.log = Some(log);
        if self.topics.log(log).is_none_or(|local| local.failed) {
            part.outcome = FetchOutcome::error(ErrorCode::KafkaStorageError.code());
            return None;
        }
        if let Some(error) = epoch_error(part.current_leader_epoch, leader_epoch) {
            return Some((log, FetchOutcome::error(error.code())));
        }
        let bounds = self.bounds(log);
        let outcome = FetchOutcome {
            high_watermark: bounds.high_watermark,
            last_stable_offset: self.store.last_stable(log).unwrap_or(-1),
            log_start_offset: bounds.log_start,
            ..FetchOutcome::EMPTY
        };
        if part.last_fetched_epoch >= 0 {
            if part.last_fetched_epoch > leader_epoch {
                return Some((log, FetchOutcome::error(ErrorCode::OffsetOutOfRange.code())));
            }
            // The leader's own epoch began when it began to lead, also in a log that holds nothing.
            let end = if part.last_fetched_epoch == leader_epoch {
                Some((leader_epoch, bounds.log_end))
            } else {
                let end = self.store.epoch_end(log, part.last_fetched_epoch);
                end.map(|end| (end.epoch, end.end_offset))
            };
            if let Some((epoch, end_offset)) = end
                && (epoch < part.last_fetched_epoch || end_offset < part.fetch_offset)
            {
                let diverging = Some((epoch, end_offset));
                return Some((log, FetchOutcome { diverging, ..outcome }));
            }
        }
        if part.fetch_offset < bounds.log_start || part.fetch_offset > bounds.log_end {
            return Some((log, FetchOutcome::error(ErrorCode::OffsetOutOfRange.code())));
        }
        if part.max_bytes.is_none() && part.fetch_offset < bounds.high_watermark {
            // Kafka answers UNKNOWN_SERVER_ERROR, and only where there is something to read.
            return Some((log, FetchOutcome::error(ErrorCode::InvalidRequest.code())));
        }
        Some((log, outcome))
    }

    fn ask_shards_to_read(&mut self, key: OpKey, op: &mut FetchOp, left: u32) {
        let watch = match &op.home {
            FetchHome::Client(client) => client.deadline_ns > self.now.mono_ns,
            FetchHome::Shard { .. } => false,
        };
        for shard in (0..self.config.shards_count).map(ShardId) {
            if shard == self.config.shard {
                continue;
            }
            let parts: Vec<RemotePart> = op
                .parts
                .iter()
                .enumerate()
                .filter(|(_, part)| part.owner == Some(shard))
                .map(|(index, part)| RemotePart {
                    part: index as u32,
                    topic_id: part.topic_id,
                    partition: part.partition,
                    fetch_offset: part.fetch_offset,
                    max_bytes: part.max_bytes,
                    current_leader_epoch: part.current_leader_epoch,
                    last_fetched_epoch: part.last_fetched_epoch,
                })
                .collect();
            if parts.is_empty() {
                continue;
            }
            op.pending += 1;
            if watch && !op.watching.contains(&shard) {
                op.watching.push(shard);
            }
            let (round, max_bytes, read_committed) = (op.round, left, op.read_committed);
            let message =
                MeshMessage::FetchRead { op: key, round, max_bytes, read_committed, watch, parts };
            self.send_mesh(shard, message);
        }
    }

    /// Answers, parks or waits on, once a round has done what it can.
    fn settle_fetch(&mut self, key: OpKey, mut op: Box<FetchOp>) {
        if op.pending > 0 {
            self.ops.put_back(key, Op::Fetch(op));
            return;
        }
        match op.home {
            FetchHome::Client(client) => {
                trim_to(&mut op);
                let satisfied = op.bytes() >= u64::from(client.min_bytes)
                    || op.has_error()
                    || op.parts.is_empty()
                    || client.deadline_ns <= self.now.mono_ns
                    || self.is_stopping()
                    || self.ops.len() >= limits::PARKED_FETCHES_MAX;
                if satisfied {
                    api::fetch::respond(self, &client, &mut op);
                    self.end_fetch(key, op);
                } else if op.woken || self.reads_moved_log(&op) {
                    self.ops.put_back(key, Op::Fetch(op));
                    self.evaluate_fetch(key);
                } else {
                    if !std::mem::replace(&mut op.timed, true) {
                        let ops = &self.ops;
                        self.timers.insert(client.deadline_ns, key, |key| ops.is_live(key));
                    }
                    self.park_fetch(key, op);
                }
            }
            FetchHome::Shard { shard, op: home, round, watch } => {
                let outcomes = op.parts.iter().map(|part| part.outcome);
                let parts = op.numbers.iter().copied().zip(outcomes).collect();
                let message = MeshMessage::FetchData {
                    op: home,
                    round,
                    parts,
                    buffers: std::mem::take(&mut op.buffers),
                    aborted: std::mem::take(&mut op.aborted),
                    taken_ns: op.taken_ns,
                    read_ns: op.read_ns,
                };
                self.send_mesh(shard, message);
                if !watch {
                    self.end_fetch(key, op);
                } else if op.woken || self.reads_moved_log(&op) {
                    self.send_mesh(shard, MeshMessage::FetchWoken { op: home, round });
                    self.end_fetch(key, op);
                } else {
                    self.remote_watches.insert((shard, home), key);
                    self.park_fetch(key, op);
                }
            }
        }
    }

    fn park_fetch(&mut self, key: OpKey, mut op: Box<FetchOp>) {
        op.parked = true;
        if let FetchHome::Client(client) = &op.home
            && let Some(connection) = self.connections.get_mut(client.tag.slot.conn)
        {
            connection.parked.push(key);
        }
        for part in &op.parts {
            if let Some(local) = part.log.and_then(|log| self.topics.log_mut(log)) {
                local.watchers.push(key);
            }
        }
        self.ops.put_back(key, Op::Fetch(op));
    }

    /// Takes the operation off the logs it waits on.
    fn unwatch(&mut self, key: OpKey, op: &FetchOp) {
        if let FetchHome::Client(client) = &op.home
            && let Some(connection) = self.connections.get_mut(client.tag.slot.conn)
        {
            connection.parked.retain(|parked| *parked != key);
        }
        for part in &op.parts {
            if let Some(local) = part.log.and_then(|log| self.topics.log_mut(log)) {
                local.watchers.retain(|watcher| *watcher != key);
            }
        }
    }

    /// Ends an operation that was taken out, wherever it waits.
    fn end_fetch(&mut self, key: OpKey, mut op: Box<FetchOp>) {
        if op.parked {
            self.unwatch(key, &op);
        }
        while let Some(shard) = op.watching.pop() {
            self.send_mesh(shard, MeshMessage::Unwatch { op: key });
        }
        self.ops.end(key);
        self.pool.give_fetch(op);
    }

    /// A log's high watermark moved, or its fate changed: whoever waits for it looks again.
    pub(crate) fn wake_watchers(&mut self, log: LogId) {
        if planted::is(Bug::LongPollNeverWoken) {
            return;
        }
        let Some(local) = self.topics.log_mut(log) else { return };
        while let Some(key) = local.watchers.pop() {
            self.woken.push_back(key);
        }
    }

    /// An operation on one of whose logs something happened.
    pub(crate) fn wake_fetch(&mut self, key: OpKey) {
        let Some(Op::Fetch(mut op)) = self.ops.take(key) else { return };
        if !op.parked {
            op.woken = true;
            self.ops.put_back(key, Op::Fetch(op));
            return;
        }
        self.unwatch(key, &op);
        op.parked = false;
        match op.home {
            FetchHome::Client(client) => {
                self.note_woken(client.tag.slot);
                self.ops.put_back(key, Op::Fetch(op));
                self.evaluate_fetch(key);
            }
            FetchHome::Shard { shard, op: home, round, .. } => {
                self.remote_watches.remove(&(shard, home));
                self.send_mesh(shard, MeshMessage::FetchWoken { op: home, round });
                self.end_fetch(key, op);
            }
        }
    }

    /// A client is gone: what it waited for is not waited for any longer.
    pub(crate) fn drop_fetch(&mut self, key: OpKey) {
        if let Some(Op::Fetch(op)) = self.ops.take(key) {
            self.end_fetch(key, op);
        }
    }

    /// The operation's deadline has come: it is answered with what there is.
    pub(crate) fn expire(&mut self, key: OpKey) {
        let Some(Op::Fetch(op)) = self.ops.get_mut(key) else { return };
        // Not parked: a read is under way, and settling sees that the deadline has passed.
        if op.parked && matches!(op.home, FetchHome::Client(_)) {
            let Some(Op::Fetch(op)) = self.ops.take(key) else { return };
            self.settle_expired(key, op);
        }
    }

    fn settle_expired(&mut self, key: OpKey, mut op: Box<FetchOp>) {
        let FetchHome::Client(client) = op.home else { return };
        if client.deadline_ns > self.now.mono_ns && !self.is_stopping() {
            // A deadline of an earlier use of this key's memory cannot come here: keys have
            // generations.
            self.ops.put_back(key, Op::Fetch(op));
            return;
        }
        self.note_woken(client.tag.slot);
        api::fetch::respond(self, &client, &mut op);
        self.end_fetch(key, op);
    }

    fn note_woken(&mut self, slot: SlotId) {
        let now_ns = self.now.mono_ns;
        if let Some(record) = self.record_mut(slot) {
            record.wake(now_ns);
        }
    }

    /// A disk read came back.
    pub(crate) fn handle_read_done(
        &mut self,
        token: ReadToken,
        result: Result<Vec<SharedBuf>, ReadError>,
    ) {
        match self.reads.remove(&token) {
            None => {}
            Some(ReadWaiter::Load { whose, partition }) => {
                self.handle_load_read(whose, partition, result);
            }
            Some(ReadWaiter::Time { .. }) => unreachable!("a search is not a read"),
            Some(ReadWaiter::Fetch { op: key, round, part }) => {
                let Some(Op::Fetch(mut op)) = self.ops.take(key) else { return };
                if op.round != round {
                    self.ops.put_back(key, Op::Fetch(op));
                    return;
                }
                op.pending -= 1;
                let start = op.buffers.len() as u32;
                let FetchPart { outcome, log, fetch_offset, .. } = &mut op.parts[part as usize];
                match result {
                    Ok(records) => {
                        if let (true, Some(log)) = (op.read_committed, *log) {
                            let from = *fetch_offset;
                            let aborted = &mut op.aborted;
                            add_aborted(&self.store, log, from, &records, aborted, outcome);
                        }
                        outcome.buffers_start = start;
                        outcome.buffers_count = records.len() as u32;
                        outcome.bytes = records.iter().map(|r| r.len() as u32).sum();
                        op.buffers.extend(records);
                    }
                    Err(error) => *outcome = FetchOutcome::error(read_error(error)),
                }
                op.read_ns = self.now.mono_ns;
                if let FetchHome::Client(client) = &op.home {
                    let (slot, now_ns) = (client.tag.slot, self.now.mono_ns);
                    if let Some(record) = self.record_mut(slot) {
                        record.read_here(now_ns);
                    }
                }
                self.settle_fetch(key, op);
            }
        }
    }

    /// Whether a log that was read is not the partition's any more: nothing would wake who waits
    /// for it. It moved to another data folder while the disk was asked.
    fn reads_moved_log(&self, op: &FetchOp) -> bool {
        let here = op.parts.iter().filter(|part| part.owner == Some(self.config.shard));
        here.filter_map(|part| part.log).any(|log| self.topics.log(log).is_none())
    }

    /// A search by time came back.
    pub(crate) fn handle_find_done(
        &mut self,
        token: ReadToken,
        result: Result<FindOutcome, ReadError>,
    ) {
        match self.reads.remove(&token) {
            None => {}
            Some(ReadWaiter::Time { reply, search }) => {
                let answer = api::offsets::finish_search(self, search, result);
                self.answer(reply, answer);
            }
            Some(ReadWaiter::Load { .. } | ReadWaiter::Fetch { .. }) => {
                unreachable!("a read is not a search")
            }
        }
    }

    /// Another shard asks for partitions of this one.
    pub(crate) fn handle_fetch_read(
        &mut self,
        from: ShardId,
        home: OpKey,
        round: u32,
        (max_bytes, read_committed): (u32, bool),
        watch: bool,
        parts: &[RemotePart],
    ) {
        self.forget_remote_watch(from, home);
        let mut op = self.pool.fetch();
        op.home = FetchHome::Shard { shard: from, op: home, round, watch };
        op.max_bytes = max_bytes;
        op.read_committed = read_committed;
        op.taken_ns = self.now.mono_ns;
        for asked in parts {
            op.numbers.push(asked.part);
            op.parts.push(FetchPart {
                topic: PartTopic::Id(asked.topic_id),
                owner: Some(self.config.shard),
                topic_id: asked.topic_id,
                partition: asked.partition,
                log: None,
                fetch_offset: asked.fetch_offset,
                max_bytes: asked.max_bytes,
                current_leader_epoch: asked.current_leader_epoch,
                last_fetched_epoch: asked.last_fetched_epoch,
                told: None,
                outcome: FetchOutcome::EMPTY,
            });
        }
        let key = self.ops.insert(Op::Fetch(op));
        self.evaluate_fetch(key);
    }

    /// Another shard has read its parts of an operation of ours.
    pub(crate) fn handle_fetch_data(
        &mut self,
        key: OpKey,
        round: u32,
        parts: Vec<(u32, FetchOutcome)>,
        (buffers, aborted): (Vec<SharedBuf>, Vec<AbortedTransaction>),
        (taken_ns, read_ns): (u64, u64),
    ) {
        let Some(Op::Fetch(mut op)) = self.ops.take(key) else { return };
        if op.round != round {
            self.ops.put_back(key, Op::Fetch(op));
            return;
        }
        let now_ns = self.now.mono_ns;
        if let FetchHome::Client(client) = &op.home
            && let Some(record) = self.record_mut(client.tag.slot)
        {
            record.read_there(taken_ns, read_ns, now_ns);
        }
        op.pending -= 1;
        let (base, base_aborted) = (op.buffers.len() as u32, op.aborted.len() as u32);
        for (index, mut outcome) in parts {
            outcome.buffers_start += base;
            outcome.aborted_start += base_aborted;
            let part = &mut op.parts[index as usize];
            let by_name = matches!(part.topic, PartTopic::Name(_));
            if by_name && outcome.error_code == ErrorCode::UnknownTopicId.code() {
                outcome.error_code = ErrorCode::UnknownTopicOrPartition.code();
            }
            part.outcome = outcome;
        }
        op.buffers.extend(buffers);
        op.aborted.extend(aborted);
        self.settle_fetch(key, op);
    }

    /// A log of another shard advanced.
    pub(crate) fn handle_fetch_woken(&mut self, key: OpKey, round: u32) {
        if let Some(Op::Fetch(op)) = self.ops.get_mut(key)
            && op.round == round
        {
            self.woken.push_back(key);
        }
    }

    /// A fetch of another shard no longer waits here.
    pub(crate) fn forget_remote_watch(&mut self, from: ShardId, home: OpKey) {
        if let Some(key) = self.remote_watches.remove(&(from, home))
            && let Some(Op::Fetch(op)) = self.ops.take(key)
        {
            self.end_fetch(key, op);
        }
    }
}

/// Who waits for a disk read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReadWaiter {
    Fetch {
        op: OpKey,
        round: u32,
        part: u32,
    },
    /// A coordinator's partition that is being loaded.
    Load {
        whose: Coordinated,
        partition: i32,
    },
    /// A search by time.
    Time {
        reply: ReplyTo,
        search: api::offsets::TimeSearch,
    },
}

/// Answers of several shards may exceed the bound together: later parts give way, the first with
/// data stays (KIP-74).
fn trim_to(op: &mut FetchOp) {
    let mut left = u64::from(op.max_bytes);
    let mut first = true;
    for part in &mut op.parts {
        let bytes = u64::from(part.outcome.bytes);
        if bytes == 0 {
            continue;
        }
        if bytes > left && !first {
            part.outcome.bytes = 0;
            part.outcome.buffers_count = 0;
            part.outcome.aborted_count = 0;
        }
        first = false;
        left = left.saturating_sub(bytes);
    }
}

/// Notes which transactions the reader of `records` must leave out. Without records there is
/// nothing to leave out.
fn add_aborted(
    store: &Volumes,
    log: LogId,
    from: i64,
    records: &[SharedBuf],
    aborted: &mut Vec<AbortedTransaction>,
    outcome: &mut FetchOutcome,
) {
    outcome.aborted_start = aborted.len() as u32;
    let mut found = Vec::new();
    if let Some(to) = records.last().and_then(|records| end_of(records.as_slice())) {
        store.aborted_between(log, from, to, &mut found);
    }
    outcome.aborted_count = found.len() as u32;
    aborted.extend(found.iter().map(|ended| AbortedTransaction {
        producer_id: ended.producer_id,
        first_offset: ended.first_offset,
    }));
}

/// Offset after the last of some whole batches.
fn end_of(mut records: &[u8]) -> Option<i64> {
    let mut end = None;
    while let Ok(batch) = BatchMeta::read(records) {
        end = Some(batch.next_offset());
        records = records.get(batch.bytes as usize..)?;
    }
    end
}

/// Fences by leader epoch (KIP-320). Negative: the client does not know one.
pub(crate) fn epoch_error(asked: i32, ours: i32) -> Option<ErrorCode> {
    if asked < 0 || asked == ours {
        None
    } else if asked < ours {
        Some(ErrorCode::FencedLeaderEpoch)
    } else {
        Some(ErrorCode::UnknownLeaderEpoch)
    }
}

pub(crate) fn read_error(error: ReadError) -> i16 {
    match error {
        ReadError::OffsetOutOfRange { .. } => ErrorCode::OffsetOutOfRange.code(),
        // Of what fits, the one that every consumer tries again: Java's ends at codes that it does
        // not expect of a fetch.
        ReadError::Failed | ReadError::Busy => ErrorCode::KafkaStorageError.code(),
        ReadError::Removed => ErrorCode::UnknownTopicOrPartition.code(),
    }
}
