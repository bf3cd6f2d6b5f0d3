//! Restarts in every state: what was decided is completed, what was not goes on.

use super::*;

#[test]
fn a_decision_without_an_end_is_completed_after_a_restart() {
    for commit in [true, false] {
        let mut rig = Rig::new();
        let producer = rig.init();
        rig.add(producer, &[at("t", 0), at("t", 1)]);
        rig.hold_markers = true;
        rig.end(producer, commit, TxnVersion::V2);
        rig.release_marker(ErrorCode::None);
        rig.hold_markers = false;
        rig.restart();
        let name = if commit { "CompleteCommit" } else { "CompleteAbort" };
        assert_eq!(rig.state(), name);
        assert_eq!(rig.marked.len(), 3, "a marker that was there is sent again");
        let next = Producer { epoch: 1, ..producer };
        assert_eq!(rig.end(producer, commit, TxnVersion::V2), next);
    }
}

#[test]
fn an_open_transaction_has_the_time_it_had_left() {
    let mut rig = Rig::new();
    let producer = rig.init();
    rig.add(producer, &[at("t", 0)]);
    rig.advance(TIMEOUT_MS as u64 / 2);
    rig.restart();
    assert_eq!(rig.state(), "Ongoing");
    rig.advance(TIMEOUT_MS as u64 / 2 - 1);
    assert_eq!(rig.state(), "Ongoing");
    rig.advance(10_001);
    assert_eq!(rig.state(), "CompleteAbort");
}

#[test]
fn a_clock_that_was_set_back_gives_no_more_than_the_whole_time() {
    let mut rig = Rig::new();
    let producer = rig.init();
    rig.add(producer, &[at("t", 0)]);
    rig.now.wall_ms -= 86_400_000;
    rig.restart();
    rig.advance(TIMEOUT_MS as u64 + 10_000);
    assert_eq!(rig.state(), "CompleteAbort");
}

#[test]
fn what_was_not_durable_never_was() {
    let mut rig = Rig::new();
    let producer = rig.init();
    rig.add(producer, &[at("t", 0)]);
    rig.hold_appends = true;
    rig.send(end_ask(producer, true, TxnVersion::V2));
    rig.hold_appends = false;
    rig.restart();
    assert_eq!(rig.state(), "Ongoing");
    assert_eq!(rig.end(producer, false, TxnVersion::V2).error, ErrorCode::None);
    assert!(rig.marked.iter().all(|(_, marker)| !marker.commit));
}

#[test]
fn a_partition_that_goes_answers_everybody_who_waits() {
    let mut rig = Rig::new();
    let producer = rig.init();
    rig.add(producer, &[at("t", 0)]);
    rig.hold_appends = true;
    let reply = rig.send(end_ask(producer, true, TxnVersion::V2));
    for partition in 0..PARTITIONS {
        rig.coordinator.unload(partition);
    }
    rig.pump();
    let refused = TxnAnswer::Ended(Producer::refused(ErrorCode::NotCoordinator));
    assert_eq!(rig.take(reply), refused);
    rig.hold_appends = false;
    rig.restart();
}
