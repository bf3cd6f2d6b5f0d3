//! Offsets in transactions: pending until the marker, fenced, replayed.

use super::*;
use protocol::messages::txn_offset_commit::{
    TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};

const PRODUCER: i64 = 4711;

fn txn_commit(offsets: &[(&str, i32, i64)]) -> TxnOffsetCommitRequest {
    let topics = offsets.iter().map(|(name, partition_index, committed_offset)| {
        TxnOffsetCommitRequestTopic {
            name: (*name).into(),
            partitions: vec![TxnOffsetCommitRequestPartition {
                partition_index: *partition_index,
                committed_offset: *committed_offset,
                ..TxnOffsetCommitRequestPartition::default()
            }],
        }
    });
    TxnOffsetCommitRequest {
        transactional_id: "tx".into(),
        group_id: GROUP.into(),
        producer_id: PRODUCER,
        producer_epoch: 3,
        topics: topics.collect(),
        ..TxnOffsetCommitRequest::default()
    }
}

impl Rig {
    fn txn_commit_as(&mut self, version: i16, request: TxnOffsetCommitRequest) -> ErrorCode {
        let reply = self.send(version, GroupRequest::TxnOffsetCommit(request));
        self.take_txn_commit(reply)
    }

    fn take_txn_commit(&mut self, reply: ReplyToken) -> ErrorCode {
        let GroupResponse::TxnOffsetCommit(response) = self.take(reply) else {
            panic!("not a commit in a transaction")
        };
        ErrorCode::from_i16(response.topics[0].partitions[0].error_code).expect("a code")
    }

    /// A marker is durable in the group's partition.
    fn end_transaction(&mut self, commit: bool) {
        let partition = partition_for_group(GROUP, self.config.offsets_partitions_count);
        let before = self.log.get(&partition).map_or(0, Vec::len) as i64;
        let transactional = self.transactional.entry(partition).or_default();
        transactional.ends.push((before, PRODUCER, commit));
        self.coordinator.handle_transaction_end(self.now, partition, PRODUCER, 3, commit);
        self.pump();
    }

    /// The code and the offset of a fetch of stable offsets.
    fn stable_offset(&mut self, topic: &str, partition: i32) -> (ErrorCode, i64) {
        let request = OffsetFetchRequest {
            require_stable: true,
            groups: vec![OffsetFetchRequestGroup {
                group_id: GROUP.into(),
                topics: Some(vec![OffsetFetchRequestTopics {
                    name: topic.into(),
                    partition_indexes: vec![partition],
                    ..OffsetFetchRequestTopics::default()
                }]),
                ..OffsetFetchRequestGroup::default()
            }],
            ..OffsetFetchRequest::default()
        };
        let GroupResponse::OffsetFetch(response) = self.ask(8, GroupRequest::OffsetFetch(request))
        else {
            panic!("not a fetch")
        };
        let found = &response.groups[0].topics[0].partitions[0];
        (ErrorCode::from_i16(found.error_code).expect("a code"), found.committed_offset)
    }
}

/// Redpanda let a group read its old offset while a commit was being decided, and it worked on its
/// records twice (#9571).
#[test]
fn an_offset_is_pending_until_its_transaction_commits() {
    let mut rig = Rig::new();
    assert_eq!(rig.commit(commit_request("", -1, &[("a", 1, 10)])), ErrorCode::None);
    assert_eq!(rig.txn_commit_as(3, txn_commit(&[("a", 1, 42)])), ErrorCode::None);
    assert_eq!(rig.committed("a", 1), 10);
    assert_eq!(rig.stable_offset("a", 1), (ErrorCode::UnstableOffsetCommit, -1));
    assert_eq!(rig.stable_offset("a", 2), (ErrorCode::None, -1), "others are stable");
    rig.restart();
    assert_eq!(rig.stable_offset("a", 1), (ErrorCode::UnstableOffsetCommit, -1));
    rig.end_transaction(true);
    assert_eq!(rig.stable_offset("a", 1), (ErrorCode::None, 42));
    rig.restart();
    assert_eq!(rig.stable_offset("a", 1), (ErrorCode::None, 42));
}

#[test]
fn an_offset_of_an_aborted_transaction_never_was() {
    let mut rig = Rig::new();
    assert_eq!(rig.txn_commit_as(3, txn_commit(&[("a", 1, 42)])), ErrorCode::None);
    rig.end_transaction(false);
    assert_eq!(rig.stable_offset("a", 1), (ErrorCode::None, -1));
    assert!(rig.image().partitions.values().all(BTreeMap::is_empty), "nor the group");
}

#[test]
fn what_was_committed_last_counts_whatever_is_decided_last() {
    let mut rig = Rig::new();
    assert_eq!(rig.txn_commit_as(3, txn_commit(&[("a", 1, 42)])), ErrorCode::None);
    assert_eq!(rig.commit(commit_request("", -1, &[("a", 1, 50)])), ErrorCode::None);
    rig.end_transaction(true);
    assert_eq!(rig.stable_offset("a", 1), (ErrorCode::None, 50));
}

#[test]
fn a_transaction_that_ends_while_it_is_verified_takes_no_more_offsets() {
    let mut rig = Rig::new();
    rig.hold_verifications = true;
    let request = txn_commit(&[("a", 1, 42)]);
    let reply = rig.send(5, GroupRequest::TxnOffsetCommit(request));
    let (token, asked) = rig.verifying.pop_front().expect("it is verified first");
    assert_eq!((asked.producer_id, asked.producer_epoch, asked.add), (PRODUCER, 3, true));
    rig.end_transaction(false);
    rig.coordinator.handle_verified(rig.now, token, ErrorCode::None);
    rig.pump();
    assert_eq!(rig.take_txn_commit(reply), ErrorCode::InvalidTxnState);
}

#[test]
fn codes_of_the_transaction_coordinator_are_told_in_words_the_client_knows() {
    let mut rig = Rig::new();
    for (said, version, heard) in [
        (ErrorCode::ProducerFenced, 5, ErrorCode::InvalidProducerEpoch),
        (ErrorCode::TransactionAbortable, 3, ErrorCode::InvalidTxnState),
        (ErrorCode::TransactionAbortable, 4, ErrorCode::TransactionAbortable),
        (ErrorCode::NotCoordinator, 5, ErrorCode::CoordinatorNotAvailable),
        (ErrorCode::ConcurrentTransactions, 5, ErrorCode::ConcurrentTransactions),
    ] {
        rig.verified = said;
        let request = txn_commit(&[("a", 1, 42)]);
        assert_eq!(rig.txn_commit_as(version, request), heard, "{said:?}");
    }
}

#[test]
fn members_are_fenced_by_generation_and_old_producers_are_not() {
    let mut rig = Rig::new();
    let joined = rig.stable(1);
    let of = |member: &str, generation_id| TxnOffsetCommitRequest {
        member_id: member.into(),
        generation_id,
        ..txn_commit(&[("a", 1, 42)])
    };
    let member = joined[0].member_id.as_str();
    assert_eq!(rig.txn_commit_as(3, of(member, 1)), ErrorCode::None);
    assert_eq!(rig.txn_commit_as(3, of(member, 0)), ErrorCode::IllegalGeneration);
    assert_eq!(rig.txn_commit_as(3, of("stranger", 1)), ErrorCode::UnknownMemberId);
    assert_eq!(rig.txn_commit_as(2, of("", -1)), ErrorCode::None, "KIP-447 came later");
    let nobody = TxnOffsetCommitRequest { group_id: "nobody's".into(), ..of("m", 3) };
    assert_eq!(rig.txn_commit_as(3, nobody), ErrorCode::IllegalGeneration);
    let unnamed = TxnOffsetCommitRequest { group_id: String::new(), ..of("", -1) };
    assert_eq!(rig.txn_commit_as(3, unnamed), ErrorCode::InvalidGroupId);
    assert_eq!(
        rig.txn_commit_as(3, txn_commit(&[("nowhere", 0, 1)])),
        ErrorCode::UnknownTopicOrPartition
    );
    rig.end_transaction(true);
    assert_eq!(rig.stable_offset("a", 1), (ErrorCode::None, 42));
}

#[test]
fn deleting_a_groups_offset_takes_what_is_pending_with_it() {
    let mut rig = Rig::new();
    assert_eq!(rig.txn_commit_as(3, txn_commit(&[("a", 1, 42)])), ErrorCode::None);
    rig.coordinator.topic_deleted(rig.now, "a");
    rig.pump();
    rig.end_transaction(true);
    assert_eq!(rig.stable_offset("a", 1), (ErrorCode::None, -1));
}
