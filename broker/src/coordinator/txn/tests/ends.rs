//! How transactions end: EndTxn of both protocols, retries, markers, time that is up.

use super::producers::add_ask;
use super::*;

fn ongoing() -> (Rig, Producer) {
    let mut rig = Rig::new();
    let producer = rig.init();
    assert_eq!(rig.add(producer, &[at("t", 0), at("u", 1)]), ErrorCode::None);
    (rig, producer)
}

#[test]
fn a_commit_marks_every_partition_and_then_is_complete() {
    let (mut rig, producer) = ongoing();
    let ended = rig.end(producer, true, TxnVersion::V0);
    assert_eq!((ended.error, ended.epoch), (ErrorCode::None, 0));
    assert_eq!(rig.state(), "CompleteCommit");
    let marker = Marker {
        producer_id: producer.id,
        producer_epoch: 0,
        coordinator_epoch: EPOCH,
        commit: true,
        version: TxnVersion::V0,
    };
    assert_eq!(rig.marked, [(at("t", 0), marker), (at("u", 1), marker)]);
}

#[test]
fn with_kip_890_every_end_bumps_and_answers_the_epoch() {
    let (mut rig, producer) = ongoing();
    let ended = rig.end(producer, true, TxnVersion::V2);
    assert_eq!((ended.error, ended.id, ended.epoch), (ErrorCode::None, producer.id, 1));
    assert!(rig.marked.iter().all(|(_, marker)| marker.producer_epoch == 1));
    assert!(rig.marked.iter().all(|(_, marker)| marker.version == TxnVersion::V2));
    assert_eq!(rig.add(producer, &[at("t", 0)]), ErrorCode::ProducerFenced);
    assert_eq!(rig.add(ended, &[at("t", 0)]), ErrorCode::None);
}

/// Redpanda answered the retry of a commit whose answer was lost with INVALID_TXN_STATE (PR #3501):
/// the client believed a committed transaction aborted.
#[test]
fn a_retry_after_a_lost_answer_is_told_the_same() {
    for version in [TxnVersion::V0, TxnVersion::V2] {
        for commit in [true, false] {
            let (mut rig, producer) = ongoing();
            let ended = rig.end(producer, commit, version);
            assert_eq!(rig.end(producer, commit, version), ended, "{version:?} {commit}");
            let opposite = rig.end(producer, !commit, version);
            assert_eq!(opposite.error, ErrorCode::InvalidTxnState, "{version:?} {commit}");
        }
    }
}

#[test]
fn an_end_without_a_transaction() {
    let mut rig = Rig::new();
    let producer = rig.init();
    for commit in [true, false] {
        let ended = rig.end(producer, commit, TxnVersion::V0);
        assert_eq!(ended.error, ErrorCode::InvalidTxnState);
    }
    let committed = rig.end(producer, true, TxnVersion::V2);
    assert_eq!(committed.error, ErrorCode::InvalidTxnState);
    let aborted = rig.end(producer, false, TxnVersion::V2);
    assert_eq!((aborted.error, aborted.epoch), (ErrorCode::None, 1));
    let aborted = rig.end(aborted, false, TxnVersion::V2);
    assert_eq!((aborted.error, aborted.epoch), (ErrorCode::None, 2));
    assert_eq!(rig.marked, []);
}

#[test]
fn the_answer_waits_for_the_decision_and_not_for_markers() {
    let (mut rig, producer) = ongoing();
    rig.hold_appends = true;
    rig.hold_markers = true;
    let reply = rig.send(end_ask(producer, true, TxnVersion::V2));
    assert!(!rig.replies.contains_key(&reply), "not before the decision is durable");
    assert!(rig.markers.is_empty(), "nor does a marker go out");
    rig.release_append();
    rig.pump();
    assert!(rig.replies.contains_key(&reply));
    assert_eq!(rig.markers.len(), 2);
    let next = Producer { epoch: 1, ..producer };
    assert_eq!(rig.add(next, &[at("t", 0)]), ErrorCode::ConcurrentTransactions);
    rig.hold_markers = false;
    rig.pump();
    rig.release_append();
    rig.pump();
    rig.hold_appends = false;
    assert_eq!(rig.add(next, &[at("t", 0)]), ErrorCode::None);
}

#[test]
fn markers_that_fail_are_sent_again_until_they_are_there() {
    let (mut rig, producer) = ongoing();
    rig.hold_markers = true;
    rig.end(producer, true, TxnVersion::V0);
    rig.release_marker(ErrorCode::None);
    for _ in 0..3 {
        rig.release_marker(ErrorCode::KafkaStorageError);
        assert!(rig.markers.is_empty(), "not at once");
        rig.advance(100);
        assert_eq!(rig.markers.len(), 1, "only what is missing");
    }
    assert_eq!(rig.state(), "PrepareCommit");
    rig.hold_markers = false;
    rig.pump();
    assert_eq!(rig.state(), "CompleteCommit");
    assert_eq!(rig.coordinator.probe().markers_retried, 3);
}

#[test]
fn partitions_that_are_gone_need_no_marker() {
    let (mut rig, producer) = ongoing();
    rig.hold_markers = true;
    rig.end(producer, false, TxnVersion::V2);
    rig.release_marker(ErrorCode::UnknownTopicOrPartition);
    rig.release_marker(ErrorCode::None);
    rig.pump();
    assert_eq!(rig.state(), "CompleteAbort");
}

#[test]
fn an_end_that_cannot_be_recorded_is_recorded_later() {
    let (mut rig, producer) = ongoing();
    rig.hold_appends = true;
    rig.send(end_ask(producer, true, TxnVersion::V2));
    rig.release_append();
    rig.pump();
    rig.fail_append(ErrorCode::KafkaStorageError);
    assert!(rig.appends.is_empty());
    rig.advance(100);
    assert_eq!(rig.appends.len(), 1);
    rig.hold_appends = false;
    rig.pump();
    assert_eq!(rig.state(), "CompleteCommit");
}

#[test]
fn time_that_is_up_shuts_the_producer_out_and_aborts() {
    let (mut rig, producer) = ongoing();
    rig.advance(TIMEOUT_MS as u64 - 1);
    assert_eq!(rig.state(), "Ongoing");
    rig.advance(10_001);
    assert_eq!(rig.state(), "CompleteAbort");
    assert_eq!(rig.coordinator.probe().timed_out, 1);
    assert_eq!(rig.end(producer, true, TxnVersion::V0).error, ErrorCode::ProducerFenced);
    assert_eq!(rig.end(producer, true, TxnVersion::V2).error, ErrorCode::InvalidTxnState);
    assert_eq!(rig.add(producer, &[at("t", 0)]), ErrorCode::ProducerFenced);
    assert!(rig.coordinator.poll_timeout().is_some(), "ids still expire");
}

/// Records that add partitions overlap, so that a sweep need not find a moment without one.
#[test]
fn a_producer_that_adds_partitions_without_pause_does_not_put_off_the_end_of_its_time() {
    let (mut rig, producer) = ongoing();
    rig.hold_appends = true;
    let (mut taken, mut refused) = (Vec::new(), None);
    for partition in 1..100 {
        rig.advance(TIMEOUT_MS as u64 / 60);
        let reply = rig.send(add_ask(producer, &[partition], &[]));
        if rig.replies.contains_key(&reply) {
            refused = Some(rig.take(reply));
            break;
        }
        taken.push(reply);
        // One is always under way.
        if rig.appends.len() > 1 {
            rig.release_append();
            rig.pump();
        }
    }
    let busy = TxnAnswer::Verified(vec![ErrorCode::ConcurrentTransactions]);
    assert_eq!(refused, Some(busy), "its time is up");
    rig.hold_appends = false;
    rig.pump();
    assert_eq!(rig.state(), "CompleteAbort");
    assert_eq!(rig.coordinator.probe().timed_out, 1);
    for reply in taken {
        assert_eq!(rig.take(reply), TxnAnswer::Verified(vec![ErrorCode::None]));
    }
}

#[test]
fn epochs_that_are_used_up_end_in_another_producer_id() {
    let (mut rig, producer) = Rig::with_epoch(i16::MAX - 1);
    assert_eq!(rig.add(producer, &[at("t", 0)]), ErrorCode::None);
    let ended = rig.end(producer, true, TxnVersion::V2);
    assert_eq!((ended.error, ended.epoch), (ErrorCode::None, 0));
    assert_ne!(ended.id, producer.id);
    assert_eq!(rig.marked[0].1.producer_id, producer.id);
    assert_eq!(rig.marked[0].1.producer_epoch, i16::MAX);
    assert_eq!(rig.end(producer, true, TxnVersion::V2), ended, "its answer was lost");
    assert_eq!(rig.add(ended, &[at("t", 0)]), ErrorCode::None);
}

#[test]
fn time_that_is_up_in_the_last_epoch_gives_another_producer_id() {
    let (mut rig, producer) = Rig::with_epoch(i16::MAX - 1);
    rig.add(producer, &[at("t", 0)]);
    rig.advance(TIMEOUT_MS as u64 + 10_000);
    assert_eq!(rig.state(), "CompleteAbort");
    let next = rig.init();
    assert_eq!((next.error, next.epoch), (ErrorCode::None, 1));
    assert_ne!(next.id, producer.id);
}

#[test]
fn ids_that_nobody_uses_expire_and_open_transactions_do_not() {
    let mut rig = Rig::new();
    rig.config.expiration_ms = 1_000;
    rig.config.timeout_check_ms = 100 * 3_600_000;
    rig.coordinator.update_config(rig.config.clone());
    let producer = rig.init();
    rig.add(producer, &[at("t", 0)]);
    rig.advance(2 * 3_600_000);
    assert_eq!(rig.state(), "Ongoing");
    rig.end(producer, true, TxnVersion::V0);
    rig.advance(2 * 3_600_000);
    assert_eq!(rig.coordinator.probe().expired, 1);
    let again = rig.end(producer, true, TxnVersion::V0);
    assert_eq!(again.error, ErrorCode::InvalidProducerIdMapping);
    assert_ne!(rig.init().id, producer.id);
}

/// The goal of the exchange: adding and deciding are all a client waits for.
#[test]
fn a_transaction_is_two_durable_waits_for_its_client() {
    let mut rig = Rig::new();
    let producer = rig.init();
    let before = rig.appends_count;
    rig.hold_markers = true;
    rig.add(producer, &[at("t", 0), at("t", 1), at("t", 2)]);
    rig.end(producer, true, TxnVersion::V0);
    assert_eq!(rig.appends_count - before, 2);
    rig.hold_markers = false;
    rig.pump();
    assert_eq!(rig.appends_count - before, 3);
}
