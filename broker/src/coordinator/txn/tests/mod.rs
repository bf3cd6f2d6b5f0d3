//! Tests of the transaction coordinator: a log in memory, a clock that is told, partitions that
//! take markers.
//!
//! [`Rig`] stands for the shard. Appends and markers become durable at once unless a test holds
//! them. At the end of each test the coordinator's durable state must be what its log says, and no
//! marker may have gone out before its decision was durable.

mod ends;
mod golden;
mod producers;
mod restarts;
mod simulation;

use std::collections::{BTreeMap, VecDeque};

use protocol::error_code::ErrorCode;

use super::{
    Action, AppendToken, ListFilter, Marker, MarkersToken, Producer, ReplyToken, TopicPartition,
    TxnAnswer, TxnAsk, TxnConfig, TxnCoordinator, TxnState, TxnVersion,
};
use crate::coordinator::CoordinatorRecord;
use crate::time::Now;

const ID: &str = "tx";
const PARTITIONS: i32 = 4;
const TIMEOUT_MS: i32 = 60_000;
const EPOCH: i32 = 5;

struct HeldAppend {
    token: AppendToken,
    partition: i32,
    records: Vec<CoordinatorRecord>,
}

struct HeldMarker {
    markers: MarkersToken,
    marker: Marker,
    partition: TopicPartition,
}

struct Rig {
    coordinator: TxnCoordinator,
    now: Now,
    config: TxnConfig,
    /// Durable records by partition; the index is the offset.
    log: BTreeMap<i32, Vec<CoordinatorRecord>>,
    appends: VecDeque<HeldAppend>,
    hold_appends: bool,
    markers: VecDeque<HeldMarker>,
    hold_markers: bool,
    /// Every marker that is durable in its partition.
    marked: Vec<(TopicPartition, Marker)>,
    replies: BTreeMap<ReplyToken, TxnAnswer>,
    next_reply: u64,
    next_producer_id: i64,
    appends_count: usize,
}

fn at(topic: &str, partition: i32) -> TopicPartition {
    (topic.into(), partition)
}

impl Rig {
    /// A rig whose coordinator has all partitions, loaded and empty.
    fn new() -> Self {
        let config = TxnConfig::default();
        let mut rig = Self {
            coordinator: TxnCoordinator::new(config.clone()),
            now: Now { mono_ns: 5_000_000_000, wall_ms: 1_700_000_000_000 },
            config,
            log: BTreeMap::new(),
            appends: VecDeque::new(),
            hold_appends: false,
            markers: VecDeque::new(),
            hold_markers: false,
            marked: Vec::new(),
            replies: BTreeMap::new(),
            next_reply: 0,
            next_producer_id: 1_000,
            appends_count: 0,
        };
        rig.restart();
        rig
    }

    /// The process dies; what is durable is loaded by another one.
    fn restart(&mut self) {
        self.appends.clear();
        self.markers.clear();
        self.coordinator = self.loaded();
        self.pump();
    }

    fn loaded(&self) -> TxnCoordinator {
        let mut coordinator = TxnCoordinator::new(self.config.clone());
        coordinator.set_partitions_count(PARTITIONS);
        for partition in 0..PARTITIONS {
            coordinator.begin_load(partition, EPOCH);
            let log = self.log.get(&partition).map_or(&[][..], Vec::as_slice);
            for (offset, record) in log.iter().enumerate() {
                coordinator
                    .load_record(partition, &record.key, record.value.as_deref(), offset as i64)
                    .expect("what was written can be read");
            }
            coordinator.finish_load(self.now, partition);
        }
        coordinator
    }

    fn send(&mut self, ask: TxnAsk) -> ReplyToken {
        let reply = ReplyToken(self.next_reply);
        self.next_reply += 1;
        self.coordinator.handle_request(self.now, ask, reply);
        self.pump();
        reply
    }

    fn take(&mut self, reply: ReplyToken) -> TxnAnswer {
        self.replies.remove(&reply).expect("it was answered")
    }

    fn ask(&mut self, ask: TxnAsk) -> TxnAnswer {
        let reply = self.send(ask);
        self.take(reply)
    }

    fn pump(&mut self) {
        loop {
            while let Some(action) = self.coordinator.poll_action() {
                match action {
                    Action::Append { partition, records, append } => {
                        self.appends_count += 1;
                        self.appends.push_back(HeldAppend { token: append, partition, records });
                    }
                    Action::SendMarkers { markers, marker, partitions } => {
                        let held = partitions.into_iter().map(|partition| HeldMarker {
                            markers,
                            marker,
                            partition,
                        });
                        self.markers.extend(held);
                    }
                    Action::NewProducerId => {
                        self.next_producer_id += 1;
                        let id = Ok(self.next_producer_id);
                        self.coordinator.handle_producer_id(self.now, id);
                    }
                    Action::Reply { reply, answer } => {
                        let before = self.replies.insert(reply, answer);
                        assert!(before.is_none(), "a request is answered once");
                    }
                }
            }
            if !self.hold_appends && !self.appends.is_empty() {
                self.release_append();
            } else if !self.hold_markers && !self.markers.is_empty() {
                self.release_marker(ErrorCode::None);
            } else {
                return;
            }
        }
    }

    /// Makes the oldest held append durable.
    fn release_append(&mut self) {
        let append = self.appends.pop_front().expect("an append is held");
        let log = self.log.entry(append.partition).or_default();
        let base_offset = log.len() as i64;
        log.extend(append.records);
        self.coordinator.handle_appended(self.now, append.token, Ok(base_offset));
    }

    fn fail_append(&mut self, error: ErrorCode) {
        let append = self.appends.pop_front().expect("an append is held");
        self.coordinator.handle_appended(self.now, append.token, Err(error));
        self.pump();
    }

    /// Answers the oldest held marker.
    fn release_marker(&mut self, error: ErrorCode) {
        let HeldMarker { markers, marker, partition } =
            self.markers.pop_front().expect("a marker is held");
        if error == ErrorCode::None {
            self.assert_decided(&marker);
            self.marked.push((partition.clone(), marker));
        }
        self.coordinator.handle_marker(self.now, markers, partition, error);
    }

    /// What is durable says that this marker's transaction ends so.
    fn assert_decided(&self, marker: &Marker) {
        let image = self.loaded().state_image();
        let mut known = image.partitions.values().flat_map(BTreeMap::values);
        let decided = known.any(|one| {
            one.producer_id == marker.producer_id
                && one.producer_epoch == marker.producer_epoch
                && one.state
                    == if marker.commit { TxnState::PrepareCommit } else { TxnState::PrepareAbort }
        });
        assert!(decided, "a marker follows a durable decision: {marker:?}");
    }

    /// Lets time pass, deadline by deadline.
    fn advance(&mut self, ms: u64) {
        let end_ns = self.now.mono_ns + ms * 1_000_000;
        let end_wall_ms = self.now.wall_ms + ms as i64;
        while let Some(due_ns) = self.coordinator.poll_timeout().filter(|due| *due <= end_ns) {
            let passed_ns = due_ns.saturating_sub(self.now.mono_ns);
            self.now.mono_ns += passed_ns;
            self.now.wall_ms += (passed_ns / 1_000_000) as i64;
            self.coordinator.handle_timeout(self.now);
            self.pump();
        }
        self.now = Now { mono_ns: end_ns, wall_ms: end_wall_ms };
    }

    fn init(&mut self) -> Producer {
        self.init_as(TIMEOUT_MS, None)
    }

    fn init_as(&mut self, timeout_ms: i32, expected: Option<(i64, i16)>) -> Producer {
        let transactional_id = ID.to_owned();
        match self.ask(TxnAsk::Init { transactional_id, timeout_ms, expected }) {
            TxnAnswer::Init(producer) => producer,
            other => panic!("{other:?}"),
        }
    }

    fn add(&mut self, producer: Producer, partitions: &[TopicPartition]) -> ErrorCode {
        let ask = TxnAsk::Add {
            transactional_id: ID.to_owned(),
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            partitions: partitions.to_vec(),
        };
        match self.ask(ask) {
            TxnAnswer::Added(error) => error,
            other => panic!("{other:?}"),
        }
    }

    fn verify(
        &mut self,
        producer: Producer,
        partitions: &[TopicPartition],
        add: bool,
    ) -> Vec<ErrorCode> {
        let ask = TxnAsk::Verify {
            transactional_id: ID.to_owned(),
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            partitions: partitions.to_vec(),
            together: Vec::new(),
            add,
        };
        match self.ask(ask) {
            TxnAnswer::Verified(errors) => errors,
            other => panic!("{other:?}"),
        }
    }

    fn end(&mut self, producer: Producer, commit: bool, version: TxnVersion) -> Producer {
        match self.ask(end_ask(producer, commit, version)) {
            TxnAnswer::Ended(producer) => producer,
            other => panic!("{other:?}"),
        }
    }

    fn state(&mut self) -> String {
        match self.ask(TxnAsk::Describe { transactional_id: ID.to_owned() }) {
            TxnAnswer::Described(described) => described.transaction_state,
            other => panic!("{other:?}"),
        }
    }

    fn list(&mut self, filter: ListFilter) -> (ErrorCode, usize) {
        match self.ask(TxnAsk::List(filter)) {
            TxnAnswer::Listed(listed) => (
                ErrorCode::from_i16(listed.error_code).expect("a code"),
                listed.transaction_states.len(),
            ),
            other => panic!("{other:?}"),
        }
    }

    /// An id whose epoch is the one given.
    fn with_epoch(epoch: i16) -> (Self, Producer) {
        let mut rig = Self::new();
        let producer = rig.init();
        let index = crate::coordinator::partition_for_group(ID, PARTITIONS);
        let last = rig.log[&index].last().expect("it was written").clone();
        let mut value = last.value.as_deref().expect("a value").to_vec();
        value[10..12].copy_from_slice(&epoch.to_be_bytes());
        let aged = CoordinatorRecord { value: Some(value.into()), ..last };
        rig.log.entry(index).or_default().push(aged);
        rig.restart();
        (rig, Producer { epoch, ..producer })
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(
                self.coordinator.state_image(),
                self.loaded().state_image(),
                "memory is what the log says"
            );
        }
    }
}

fn end_ask(producer: Producer, commit: bool, version: TxnVersion) -> TxnAsk {
    TxnAsk::End {
        transactional_id: ID.to_owned(),
        producer_id: producer.id,
        producer_epoch: producer.epoch,
        commit,
        version,
    }
}
