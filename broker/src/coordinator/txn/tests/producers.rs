//! InitProducerId and the partitions of a transaction: who gets which epoch, who is shut out.

use super::*;
use crate::coordinator::txn::{Producer, limits};

#[test]
fn the_first_epoch_is_0_and_every_new_producer_gets_the_next() {
    let mut rig = Rig::new();
    let first = rig.init();
    assert_eq!((first.error, first.epoch), (ErrorCode::None, 0));
    let second = rig.init();
    assert_eq!((second.error, second.id, second.epoch), (ErrorCode::None, first.id, 1));
    assert_eq!(rig.add(first, &[at("t", 0)]), ErrorCode::ProducerFenced);
}

#[test]
fn timeouts_outside_the_bounds_are_refused() {
    let mut rig = Rig::new();
    for timeout_ms in [0, -1, 900_001] {
        assert_eq!(rig.init_as(timeout_ms, None).error, ErrorCode::InvalidTransactionTimeout);
    }
    assert_eq!(rig.init_as(900_000, None).error, ErrorCode::None);
}

#[test]
fn a_producer_that_goes_on_is_bumped_once_however_often_it_asks() {
    let mut rig = Rig::new();
    let first = rig.init();
    let named = Some((first.id, first.epoch));
    let bumped = rig.init_as(TIMEOUT_MS, named);
    assert_eq!((bumped.error, bumped.epoch), (ErrorCode::None, 1));
    let again = rig.init_as(TIMEOUT_MS, named);
    assert_eq!((again.error, again.epoch), (ErrorCode::None, 1), "its answer was lost");
    let other = rig.init();
    assert_eq!(other.epoch, 2);
    assert_eq!(rig.init_as(TIMEOUT_MS, named).error, ErrorCode::ProducerFenced);
    let stranger = Some((first.id + 50, 2));
    assert_eq!(rig.init_as(TIMEOUT_MS, stranger).error, ErrorCode::ProducerFenced);
}

#[test]
fn an_id_that_nobody_knows_welcomes_a_producer_that_thinks_otherwise() {
    let mut rig = Rig::new();
    let producer = rig.init_as(TIMEOUT_MS, Some((77, 3)));
    assert_eq!((producer.error, producer.epoch), (ErrorCode::None, 0));
}

#[test]
fn an_open_transaction_is_aborted_before_another_producer_is_let_in() {
    let mut rig = Rig::new();
    let first = rig.init();
    assert_eq!(rig.add(first, &[at("t", 0)]), ErrorCode::None);
    assert_eq!(rig.init().error, ErrorCode::ConcurrentTransactions);
    assert_eq!(rig.marked.len(), 1);
    let (_, marker) = &rig.marked[0];
    assert!(!marker.commit);
    assert_eq!(marker.producer_epoch, 1, "the marker's epoch shuts the old producer out");
    let second = rig.init();
    assert_eq!((second.error, second.epoch), (ErrorCode::None, 2));
    assert_eq!(rig.end(first, true, TxnVersion::V0).error, ErrorCode::ProducerFenced);
}

#[test]
fn used_up_epochs_give_another_producer_id() {
    let (mut rig, producer) = Rig::with_epoch(i16::MAX - 1);
    let rotated = rig.init();
    assert_eq!((rotated.error, rotated.epoch), (ErrorCode::None, 0));
    assert_ne!(rotated.id, producer.id);
}

#[test]
fn a_producer_whose_epochs_were_used_up_may_ask_again() {
    let (mut rig, producer) = Rig::with_epoch(i16::MAX - 1);
    let named = Some((producer.id, producer.epoch));
    let rotated = rig.init_as(TIMEOUT_MS, named);
    assert_eq!((rotated.error, rotated.epoch), (ErrorCode::None, 0));
    let again = rig.init_as(TIMEOUT_MS, named);
    assert_eq!((again.error, again.id, again.epoch), (ErrorCode::None, rotated.id, 0));
}

#[test]
fn an_id_takes_one_step_at_a_time() {
    let mut rig = Rig::new();
    let producer = rig.init();
    rig.hold_appends = true;
    let first = rig.send(TxnAsk::Add {
        transactional_id: ID.to_owned(),
        producer_id: producer.id,
        producer_epoch: producer.epoch,
        partitions: vec![at("t", 0)],
    });
    assert_eq!(rig.add(producer, &[at("t", 1)]), ErrorCode::ConcurrentTransactions);
    assert_eq!(rig.init().error, ErrorCode::ConcurrentTransactions);
    rig.hold_appends = false;
    rig.pump();
    assert_eq!(rig.take(first), TxnAnswer::Added(ErrorCode::None));
    assert_eq!(rig.add(producer, &[at("t", 1)]), ErrorCode::None);
}

#[test]
fn partitions_that_are_in_cost_no_append() {
    let mut rig = Rig::new();
    let producer = rig.init();
    assert_eq!(rig.add(producer, &[at("t", 0), at("t", 1)]), ErrorCode::None);
    let before = rig.appends_count;
    assert_eq!(rig.add(producer, &[at("t", 1)]), ErrorCode::None);
    assert_eq!(rig.appends_count, before);
}

#[test]
fn verification_tells_what_is_in_and_adds_when_told_to() {
    let mut rig = Rig::new();
    let producer = rig.init();
    rig.add(producer, &[at("t", 0)]);
    let asked = [at("t", 0), at("t", 1)];
    let errors = rig.verify(producer, &asked, false);
    assert_eq!(errors, [ErrorCode::None, ErrorCode::TransactionAbortable]);
    assert_eq!(rig.verify(producer, &asked, true), [ErrorCode::None; 2]);
    assert_eq!(rig.verify(producer, &asked, false), [ErrorCode::None; 2]);
    let stale = Producer { epoch: producer.epoch - 1, ..producer };
    assert_eq!(rig.verify(stale, &asked, false), [ErrorCode::ProducerFenced; 2]);
    let stranger = Producer { id: producer.id + 1, ..producer };
    assert_eq!(rig.verify(stranger, &asked, true), [ErrorCode::InvalidProducerIdMapping; 2]);
}

#[test]
fn ids_and_coordinators_that_are_not_there_have_their_codes() {
    let mut rig = Rig::new();
    let nobody = Producer { error: ErrorCode::None, id: 1, epoch: 0 };
    assert_eq!(rig.add(nobody, &[at("t", 0)]), ErrorCode::InvalidProducerIdMapping);
    let end = rig.end(nobody, true, TxnVersion::V2);
    assert_eq!(end.error, ErrorCode::InvalidProducerIdMapping);
    let index = crate::coordinator::partition_for_group(ID, PARTITIONS);
    rig.coordinator.begin_load(index, EPOCH);
    assert_eq!(rig.init().error, ErrorCode::CoordinatorLoadInProgress);
    assert_eq!(rig.list(ListFilter::default()).0, ErrorCode::CoordinatorLoadInProgress);
    rig.coordinator.unload(index);
    assert_eq!(rig.init().error, ErrorCode::NotCoordinator);
    let unnamed = TxnAsk::Describe { transactional_id: String::new() };
    match rig.ask(unnamed) {
        TxnAnswer::Described(state) => {
            assert_eq!(state.error_code, ErrorCode::InvalidRequest.code());
        }
        other => panic!("{other:?}"),
    }
    rig.restart();
}

pub(super) fn add_ask(producer: Producer, partitions: &[i32], together: &[i32]) -> TxnAsk {
    let of = |partitions: &[i32]| partitions.iter().map(|index| at("t", *index)).collect();
    TxnAsk::Verify {
        transactional_id: ID.to_owned(),
        producer_id: producer.id,
        producer_epoch: producer.epoch,
        partitions: of(partitions),
        together: of(together),
        add: true,
    }
}

const ADDED: ErrorCode = ErrorCode::None;

#[test]
fn partitions_that_ask_one_after_the_other_are_under_way_at_the_same_time() {
    let mut rig = Rig::new();
    let producer = rig.init();
    rig.hold_appends = true;
    let before = rig.appends_count;
    let asked = [0, 1, 2].map(|part| rig.send(add_ask(producer, &[part], &[])));
    assert_eq!(rig.appends_count - before, 3, "none waits for another");
    rig.release_append();
    rig.pump();
    assert_eq!(rig.take(asked[0]), TxnAnswer::Verified(vec![ADDED]));
    let known = rig.verify(producer, &[at("t", 0), at("t", 1)], false);
    assert_eq!(known, [ADDED, ErrorCode::TransactionAbortable], "only what is durable counts");
    rig.hold_appends = false;
    rig.pump();
    for reply in [asked[1], asked[2]] {
        assert_eq!(rig.take(reply), TxnAnswer::Verified(vec![ADDED]));
    }
    rig.restart();
    let all = [at("t", 0), at("t", 1), at("t", 2)];
    assert_eq!(rig.verify(producer, &all, false), [ADDED; 3]);
}

#[test]
fn partitions_named_together_are_one_record_and_a_stranger_is_refused_alone() {
    let mut rig = Rig::new();
    let producer = rig.init();
    let stranger = Producer { epoch: producer.epoch + 1, ..producer };
    rig.hold_appends = true;
    let before = rig.appends_count;
    let asked = [0, 1, 2].map(|part| rig.send(add_ask(producer, &[part], &[0, 1, 2])));
    let refused = rig.send(add_ask(stranger, &[1], &[0, 1, 2]));
    assert_eq!(rig.appends_count - before, 1, "the first has them all");
    let fenced = TxnAnswer::Verified(vec![ErrorCode::ProducerFenced]);
    assert_eq!(rig.take(refused), fenced);
    let end = rig.end(producer, true, TxnVersion::V2);
    assert_eq!(end.error, ErrorCode::ConcurrentTransactions);
    rig.hold_appends = false;
    rig.pump();
    for reply in asked {
        assert_eq!(rig.take(reply), TxnAnswer::Verified(vec![ADDED]));
    }
}

#[test]
fn who_waits_for_a_record_that_fails_hears_of_it_unless_another_has_the_partitions() {
    let failed = TxnAnswer::Verified(vec![ErrorCode::NotCoordinator]);
    let added = TxnAnswer::Verified(vec![ADDED]);
    for (first_fails, second_fails) in [(true, true), (true, false), (false, true)] {
        let mut rig = Rig::new();
        let producer = rig.init();
        rig.hold_appends = true;
        let first = rig.send(add_ask(producer, &[0], &[1]));
        let with_first = rig.send(add_ask(producer, &[1], &[]));
        let second = rig.send(add_ask(producer, &[2], &[3]));
        let with_second = rig.send(add_ask(producer, &[3], &[]));
        for fails in [first_fails, second_fails] {
            if fails {
                rig.fail_append(ErrorCode::KafkaStorageError);
            } else {
                rig.release_append();
                rig.pump();
            }
        }
        let told = |fails: bool| if fails { failed.clone() } else { added.clone() };
        assert_eq!(rig.take(first), told(first_fails));
        assert_eq!(rig.take(second), told(second_fails));
        // The second record has the partitions of the first, too.
        assert_eq!(rig.take(with_first), told(first_fails && second_fails));
        assert_eq!(rig.take(with_second), told(second_fails));
        rig.hold_appends = false;
        rig.restart();
    }
}

#[test]
fn a_partition_too_many_for_a_transaction_is_refused_and_those_named_together_are_left_out() {
    let mut rig = Rig::new();
    let producer = rig.init();
    let count = limits::PARTITIONS_PER_TRANSACTION_MAX as i32;
    let most: Vec<i32> = (0..count - 1).collect();
    rig.hold_appends = true;
    let many = rig.send(add_ask(producer, &most, &[]));
    let last = rig.send(add_ask(producer, &[count], &[count + 1, count + 2]));
    let beyond = rig.send(add_ask(producer, &[count + 1], &[]));
    assert_eq!(rig.take(beyond), TxnAnswer::Verified(vec![ErrorCode::InvalidRequest]));
    rig.hold_appends = false;
    rig.pump();
    assert!(rig.take(many) == TxnAnswer::Verified(vec![ADDED; most.len()]), "they fit");
    assert_eq!(rig.take(last), TxnAnswer::Verified(vec![ADDED]));
}

#[test]
fn requests_beyond_what_one_transaction_has_under_way_are_told_to_come_back() {
    let mut rig = Rig::new();
    let producer = rig.init();
    rig.hold_appends = true;
    let records = limits::ADDITIONS_UNDER_WAY_MAX as i32;
    let asked: Vec<ReplyToken> =
        (0..records).map(|part| rig.send(add_ask(producer, &[part], &[]))).collect();
    let beyond = rig.send(add_ask(producer, &[records], &[]));
    let busy = TxnAnswer::Verified(vec![ErrorCode::ConcurrentTransactions]);
    assert_eq!(rig.take(beyond), busy);
    rig.hold_appends = false;
    rig.pump();
    for reply in asked {
        assert_eq!(rig.take(reply), TxnAnswer::Verified(vec![ADDED]));
    }
    assert_eq!(rig.verify(producer, &[at("t", records)], true), [ADDED]);
}

#[test]
fn partitions_that_wait_to_be_added_hear_when_the_coordinator_goes() {
    let mut rig = Rig::new();
    let producer = rig.init();
    rig.hold_appends = true;
    let asked: Vec<ReplyToken> =
        [&[0], &[0], &[1]].map(|part| rig.send(add_ask(producer, part, &[]))).into();
    for partition in 0..PARTITIONS {
        rig.coordinator.unload(partition);
    }
    rig.pump();
    for reply in asked {
        assert_eq!(rig.take(reply), TxnAnswer::Verified(vec![ErrorCode::NotCoordinator]));
    }
    rig.hold_appends = false;
    rig.restart();
}

#[test]
fn a_failed_append_leaves_everything_as_it_was() {
    let mut rig = Rig::new();
    rig.hold_appends = true;
    let transactional_id = ID.to_owned();
    let init = TxnAsk::Init { transactional_id, timeout_ms: TIMEOUT_MS, expected: None };
    let reply = rig.send(init);
    rig.fail_append(ErrorCode::KafkaStorageError);
    let refused = TxnAnswer::Init(Producer::refused(ErrorCode::NotCoordinator));
    assert_eq!(rig.take(reply), refused);
    assert_eq!(
        rig.coordinator.state_image().partitions.values().map(BTreeMap::len).sum::<usize>(),
        0
    );
    rig.hold_appends = false;
    let producer = rig.init();
    assert_eq!((producer.error, producer.epoch), (ErrorCode::None, 0));
}

#[test]
fn listing_filters_by_state_producer_time_and_pattern() {
    let mut rig = Rig::new();
    let producer = rig.init();
    rig.add(producer, &[at("t", 0)]);
    rig.now.wall_ms += 500;
    // What a client leaves out: a negative duration lets everything through.
    let all = || ListFilter { duration_ms: -1, ..ListFilter::default() };
    let one = (ErrorCode::None, 1);
    let none = (ErrorCode::None, 0);
    assert_eq!(rig.list(all()), one);
    let states = |name: &str| ListFilter { states: vec![name.to_owned()], ..all() };
    assert_eq!(rig.list(states("Ongoing")), one);
    assert_eq!(rig.list(states("Empty")), none);
    let by = |id| ListFilter { producer_ids: vec![id], ..all() };
    assert_eq!(rig.list(by(producer.id)), one);
    assert_eq!(rig.list(by(producer.id + 1)), none);
    let longer = |duration_ms| ListFilter { duration_ms, ..all() };
    assert_eq!(rig.list(longer(499)), one);
    assert_eq!(rig.list(longer(500)), none);
    let pattern = |text: &str| ListFilter { pattern: text.to_owned(), ..all() };
    assert_eq!(rig.list(pattern("t.")), one);
    assert_eq!(rig.list(pattern("t")), none, "the whole id must match");
    assert_eq!(rig.list(pattern("(")).0, ErrorCode::InvalidRegularExpression);
    assert_eq!(rig.list(pattern("x)|(?:tx")).0, ErrorCode::InvalidRegularExpression);
    let odd = ListFilter { states: vec!["Odd".into(), "Odd".into(), "Dead".into()], ..all() };
    match rig.ask(TxnAsk::List(odd)) {
        TxnAnswer::Listed(listed) => assert_eq!(listed.unknown_state_filters, ["Odd"]),
        other => panic!("{other:?}"),
    }
}
