//! What a transactional producer asks of the broker: each request from what it knows.
//!
//! When it asks is in `mod.rs`, what it makes of the answers in `answers.rs`.

use bytes::Bytes;
use protocol::compress::Compression;
use protocol::messages::add_partitions_to_txn::AddPartitionsToTxnTopic;
use protocol::messages::fetch::{FetchPartition, FetchTopic};
use protocol::messages::offset_fetch::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use protocol::messages::produce::{PartitionProduceData, TopicProduceData};
use protocol::messages::txn_offset_commit::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, EndTxnRequest, FetchRequest,
    FindCoordinatorRequest, InitProducerIdRequest, OffsetFetchRequest, ProduceRequest,
    TxnOffsetCommitRequest,
};

use super::super::Cx;
use super::super::records::{self, Stamp};
use super::{Asked, Batch, SOURCE, Sending, State, Transactor};
use crate::sim::checkers::topics::{Apart, Known};
use crate::sim::checkers::transactions::Fate;
use crate::sim::checkers::{PartitionKey, Record};

/// Records a pipeline takes into one transaction at most.
const INPUT_MAX: usize = 12;
const OF_TRANSACTION: i8 = 1;

impl Transactor {
    /// The request is sent; by the second protocol the client now and then gives up on it at once,
    /// and it arrives long after.
    fn sent(&mut self, cx: &mut Cx<'_>, asked: Asked) {
        self.asked.push_back(asked);
        if self.bumps && !cx.facts.calm && cx.prng.one_in(60) {
            cx.checkers.marks.hit("request given up and late");
            let late_ms = cx.prng.between(5, 400);
            cx.wire.close_late(late_ms * 1_000_000);
        }
    }

    pub(super) fn named(&self) -> (i64, i16) {
        self.session.expect("a producer at work has its id")
    }

    pub(super) fn find_coordinator(&mut self, cx: &mut Cx<'_>) {
        let of_group = self.pipe.is_some() && !self.group_found;
        let key = match &self.pipe {
            Some(pipe) if of_group => pipe.group.clone(),
            Some(_) | None => self.id.clone(),
        };
        let request = FindCoordinatorRequest {
            key_type: if of_group { 0 } else { OF_TRANSACTION },
            coordinator_keys: vec![key],
            ..FindCoordinatorRequest::default()
        };
        cx.wire.send(cx.now_ns, 4, &request);
        self.sent(cx, Asked::Coordinator { of_group });
    }

    pub(super) fn init(&mut self, cx: &mut Cx<'_>) {
        let request = InitProducerIdRequest {
            transactional_id: Some(self.id.clone()),
            transaction_timeout_ms: self.timeout_ms,
            ..InitProducerIdRequest::default()
        };
        cx.wire.send(cx.now_ns, 4, &request);
        self.sent(cx, Asked::Init);
    }

    /// The partition that a pipeline reads.
    fn source(&self, cx: &Cx<'_>) -> Option<(Known, i32)> {
        let pipe = self.pipe.as_ref()?;
        let lasting = cx.checkers.topics.lasting();
        let topic = lasting.into_iter().find(|topic| topic.name == SOURCE)?;
        let partition = pipe.partition % topic.partitions;
        Some((topic, partition))
    }

    pub(super) fn ask_position(&mut self, cx: &mut Cx<'_>) {
        let Some((topic, partition)) = self.source(cx) else { return };
        let group = self.pipe.as_ref().map(|pipe| pipe.group.clone()).unwrap_or_default();
        let floor = cx.checkers.exactly_once.floor(&cx.checkers.transactions, &group);
        let topic = OffsetFetchRequestTopics {
            name: topic.name,
            partition_indexes: vec![partition],
            ..OffsetFetchRequestTopics::default()
        };
        let group = OffsetFetchRequestGroup {
            group_id: group,
            topics: Some(vec![topic]),
            ..OffsetFetchRequestGroup::default()
        };
        let request = OffsetFetchRequest {
            groups: vec![group],
            require_stable: true,
            ..OffsetFetchRequest::default()
        };
        cx.wire.send(cx.now_ns, 8, &request);
        self.sent(cx, Asked::Position { floor });
    }

    pub(super) fn read_input(&mut self, cx: &mut Cx<'_>) {
        let Some((topic, partition)) = self.source(cx) else { return };
        let fetch_offset = self.pipe.as_ref().map_or(0, |pipe| pipe.position);
        let partition = FetchPartition {
            partition,
            fetch_offset,
            partition_max_bytes: 2 << 10,
            ..FetchPartition::default()
        };
        let topic =
            FetchTopic { topic: topic.name, topic_id: topic.id, partitions: vec![partition] };
        let request = FetchRequest {
            max_wait_ms: 50,
            min_bytes: 1,
            max_bytes: 2 << 10,
            isolation_level: 1,
            topics: vec![topic],
            ..FetchRequest::default()
        };
        cx.wire.send(cx.now_ns, 13, &request);
        self.asked.push_back(Asked::Input);
    }

    /// What a pipeline read.
    pub(super) fn take_input(&mut self, records: &[(i64, Record)]) {
        let Some(pipe) = &mut self.pipe else { return };
        pipe.input = records.iter().take(INPUT_MAX).map(|(offset, _)| *offset).collect();
    }

    pub(super) fn topic(&self, cx: &Cx<'_>) -> Option<Known> {
        let apart = if self.keyed { Apart::Compacted } else { Apart::Transactions };
        cx.checkers.topics.apart(apart)
    }

    fn topic_name(&self, cx: &Cx<'_>) -> String {
        self.topic(cx).map(|topic| topic.name).unwrap_or_default()
    }

    pub(super) fn add_partitions(&mut self, cx: &mut Cx<'_>) {
        let Some(txn) = &self.txn else { return };
        let (producer_id, epoch) = self.named();
        let topic = AddPartitionsToTxnTopic {
            name: self.topic_name(cx),
            partitions: txn.partitions.iter().map(|key| key.partition).collect(),
        };
        let request = AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: self.id.clone(),
            v3_and_below_producer_id: producer_id,
            v3_and_below_producer_epoch: epoch,
            v3_and_below_topics: vec![topic],
            ..AddPartitionsToTxnRequest::default()
        };
        cx.wire.send(cx.now_ns, 3, &request);
        self.sent(cx, Asked::Add);
    }

    /// Batches that wait, or fresh ones; false when there are none.
    pub(super) fn produce(&mut self, cx: &mut Cx<'_>) -> bool {
        let mut parts = self.waiting();
        // A pipeline may have nothing for a round before the last.
        while parts.is_empty() && self.txn.as_ref().is_some_and(|txn| txn.rounds > 0) {
            parts = self.fresh(cx);
        }
        if parts.is_empty() {
            return false;
        }
        let (producer_id, epoch) = self.named();
        let name = self.topic_name(cx);
        let Some(txn) = &self.txn else { return false };
        let mut partition_data = Vec::new();
        for (key, first) in &parts {
            let batch = txn.batches.iter().find(|batch| batch.first == *first);
            let batch = batch.expect("a part has its batch");
            let stamp = Stamp {
                idempotent: Some((producer_id, epoch, batch.base_sequence)),
                transactional: true,
                compression: Compression::None,
                timestamp_ms: 1_700_000_000_000 + batch.first as i64,
            };
            let padding_max = cx.facts.padding_max;
            let (first, count) = (batch.first, batch.count);
            let bytes = if self.keyed {
                records::build_keyed(self.producer, first, count, stamp)
            } else {
                records::build(self.producer, first, count, padding_max, stamp)
            };
            partition_data.push(PartitionProduceData {
                index: key.partition,
                records: Some(Bytes::from(bytes)),
            });
        }
        let topic = TopicProduceData { name, topic_id: parts[0].0.topic, partition_data };
        let request = ProduceRequest {
            transactional_id: Some(self.id.clone()),
            acks: -1,
            timeout_ms: 30_000,
            topic_data: vec![topic],
        };
        cx.wire.send(cx.now_ns, self.produce_version, &request);
        self.sent(cx, Asked::Produce(parts));
        true
    }

    /// The oldest batch of each partition that was sent before and is not acknowledged.
    fn waiting(&mut self) -> Vec<(PartitionKey, u64)> {
        let mut parts: Vec<(PartitionKey, u64)> = Vec::new();
        let Some(txn) = &mut self.txn else { return parts };
        for batch in txn.batches.iter_mut().filter(|batch| batch.sending == Sending::Waiting) {
            if parts.iter().all(|(key, _)| *key != batch.key) {
                batch.sending = Sending::InFlight;
                parts.push((batch.key, batch.first));
            }
        }
        parts.sort_unstable();
        parts
    }

    /// The batches of the next round, which there must be.
    fn fresh(&mut self, cx: &mut Cx<'_>) -> Vec<(PartitionKey, u64)> {
        let mut parts = Vec::new();
        let Some(txn) = &mut self.txn else { return parts };
        txn.rounds -= 1;
        for key in txn.partitions.clone() {
            let last = txn.rounds == 0 && key == txn.partitions[txn.partitions.len() - 1];
            let made: Vec<i64> = match &mut self.pipe {
                // The last batch takes what is left.
                Some(pipe) => {
                    let left = pipe.input.len() as u64;
                    let count = if last { left } else { cx.prng.between(0, left.min(3)) };
                    pipe.input.drain(..count as usize).collect()
                }
                None => Vec::new(),
            };
            let count = match &self.pipe {
                Some(_) => made.len() as u64,
                None => cx.prng.between(1, 5),
            };
            if count == 0 {
                continue;
            }
            let first = cx.checkers.sent_once.send(self.producer, key, count);
            cx.checkers.transactions.send(txn.id, self.producer, count, !self.keyed);
            if let Some(pipe) = &self.pipe {
                for (number, offset) in (first..).zip(made) {
                    let record = Record { producer: self.producer, number };
                    cx.checkers.exactly_once.makes(&pipe.group, record, offset);
                }
            }
            let sequence = self.sequences.entry(key).or_default();
            let base_sequence = *sequence;
            *sequence += count as i32;
            txn.batches.push(Batch {
                key,
                first,
                count,
                base_sequence,
                sending: Sending::InFlight,
            });
            parts.push((key, first));
        }
        parts
    }

    pub(super) fn add_offsets(&mut self, cx: &mut Cx<'_>) {
        let Some(pipe) = &self.pipe else { return };
        let (producer_id, producer_epoch) = self.named();
        let request = AddOffsetsToTxnRequest {
            transactional_id: self.id.clone(),
            producer_id,
            producer_epoch,
            group_id: pipe.group.clone(),
        };
        cx.wire.send(cx.now_ns, 3, &request);
        self.sent(cx, Asked::AddOffsets);
    }

    pub(super) fn commit_offset(&mut self, cx: &mut Cx<'_>, offset: i64) {
        let Some((topic, partition)) = self.source(cx) else { return };
        let Some(pipe) = &self.pipe else { return };
        let (producer_id, producer_epoch) = self.named();
        let partition = TxnOffsetCommitRequestPartition {
            partition_index: partition,
            committed_offset: offset,
            ..TxnOffsetCommitRequestPartition::default()
        };
        let request = TxnOffsetCommitRequest {
            transactional_id: self.id.clone(),
            group_id: pipe.group.clone(),
            producer_id,
            producer_epoch,
            topics: vec![TxnOffsetCommitRequestTopic {
                name: topic.name,
                partitions: vec![partition],
            }],
            ..TxnOffsetCommitRequest::default()
        };
        cx.wire.send(cx.now_ns, if self.bumps { 5 } else { 3 }, &request);
        self.sent(cx, Asked::Offsets);
    }

    /// It decides how its transaction ends.
    pub(super) fn end(&mut self, cx: &mut Cx<'_>, commit: bool) {
        let Some(txn) = &self.txn else { return };
        if commit {
            cx.checkers.transactions.ends(txn.id, Fate::Asked);
            if let Some(pipe) = &self.pipe {
                let to = pipe.position + Self::consumed(txn);
                cx.checkers.exactly_once.commits(&pipe.group, txn.id, to);
            }
        } else {
            cx.checkers.transactions.ends(txn.id, Fate::Doomed);
        }
        self.state = State::Ending { commit };
        self.ask_end(cx, commit);
    }

    /// Records of its source that a transaction of a pipeline took.
    pub(super) fn consumed(txn: &super::Txn) -> i64 {
        txn.batches.iter().map(|batch| batch.count as i64).sum()
    }

    pub(super) fn ask_end(&mut self, cx: &mut Cx<'_>, commit: bool) {
        let (producer_id, producer_epoch) = self.named();
        if self.txn.as_ref().is_some_and(|txn| txn.end_lost) {
            cx.checkers.marks.hit("EndTxn asked again");
        }
        let request = EndTxnRequest {
            transactional_id: self.id.clone(),
            producer_id,
            producer_epoch,
            committed: commit,
        };
        cx.wire.send(cx.now_ns, if self.bumps { 5 } else { 3 }, &request);
        self.sent(cx, Asked::End);
    }
}
