//! The rules one by one, then both encodings against states that random histories reach.

use super::*;
use crate::segment::format::BatchMeta;
use crate::segment::format::sample::{Sample, batch};

const TRANSACTIONAL: i16 = 0x10;

fn produced(producer_id: i64, epoch: i16, sequence: i32, count: i32) -> BatchMeta {
    meta(Sample {
        producer_id,
        producer_epoch: epoch,
        base_sequence: sequence,
        records_count: count,
        ..Sample::default()
    })
}

fn meta(sample: Sample) -> BatchMeta {
    BatchMeta::read(&batch(sample)).expect("a whole batch")
}

/// Producer 7, epoch 0, batches of 10 records from sequence 0 at offset 100.
fn with_batches(count: i32) -> ProducerStates {
    let mut states = ProducerStates::default();
    for index in 0..count {
        states.record(&produced(7, 0, index * 10, 10), 100 + i64::from(index) * 10, 0);
    }
    states
}

fn check(states: &ProducerStates, epoch: i16, sequence: i32, count: i32) -> Option<SequenceError> {
    states.check(&produced(7, epoch, sequence, count)).err()
}

#[test]
fn the_next_sequence_is_appended_and_a_gap_is_not() {
    let states = with_batches(3);
    assert_eq!(states.check(&produced(7, 0, 30, 1)), Ok(Verdict::Append));
    let gap = SequenceError::OutOfOrder { sequence: 31, last_sequence: 29 };
    assert_eq!(check(&states, 0, 31, 1), Some(gap));
}

#[test]
fn each_of_the_last_five_batches_is_recognised_with_its_own_offsets_and_timestamp() {
    let mut states = with_batches(6);
    let late = Sample { timestamp: 9_999, ..Sample::default() };
    let late = Sample { producer_id: 7, producer_epoch: 0, base_sequence: 60, ..late };
    states.record(&meta(late), 160, 0);
    for index in 2..6 {
        let base_offset = 100 + i64::from(index) * 10;
        let duplicate =
            Verdict::Duplicate { base_offset, last_offset: base_offset + 9, timestamp: 1_000 };
        assert_eq!(states.check(&produced(7, 0, index * 10, 10)), Ok(duplicate));
    }
    let duplicate = Verdict::Duplicate { base_offset: 160, last_offset: 160, timestamp: 9_999 };
    assert_eq!(states.check(&meta(late)), Ok(duplicate));
}

#[test]
fn a_retry_older_than_the_window_is_out_of_order_as_in_kafka() {
    let states = with_batches(6);
    let error = SequenceError::OutOfOrder { sequence: 0, last_sequence: 59 };
    assert_eq!(check(&states, 0, 0, 10), Some(error));
}

#[test]
fn a_retry_with_another_length_is_no_duplicate() {
    let states = with_batches(2);
    assert!(matches!(check(&states, 0, 10, 9), Some(SequenceError::OutOfOrder { .. })));
}

#[test]
fn an_unknown_producer_may_start_anywhere() {
    let states = with_batches(1);
    assert_eq!(states.check(&produced(8, 3, 12_345, 2)), Ok(Verdict::Append));
}

#[test]
fn an_older_epoch_is_fenced_even_when_its_batch_was_appended() {
    let mut states = with_batches(1);
    states.record(&produced(7, 1, 0, 1), 110, 0);
    let fenced = SequenceError::InvalidProducerEpoch { epoch: 0, current: 1 };
    assert_eq!(check(&states, 0, 0, 10), Some(fenced));
}

#[test]
fn a_later_epoch_starts_at_zero() {
    let states = with_batches(1);
    assert_eq!(check(&states, 1, 0, 5), None);
    let error = SequenceError::OutOfOrder { sequence: 10, last_sequence: -1 };
    assert_eq!(check(&states, 1, 10, 5), Some(error));
}

#[test]
fn a_later_epoch_forgets_the_window_of_the_one_before() {
    let mut states = with_batches(2);
    states.record(&produced(7, 1, 0, 10), 120, 0);
    let duplicate = Verdict::Duplicate { base_offset: 120, last_offset: 129, timestamp: 1_000 };
    assert_eq!(states.check(&produced(7, 1, 0, 10)), Ok(duplicate));
    assert_eq!(states.get(7).map(|producer| producer.batches().len()), Some(1));
}

#[test]
fn sequences_wrap_between_and_inside_batches() {
    let mut states = ProducerStates::default();
    states.record(&produced(7, 0, i32::MAX - 1, 2), 0, 0);
    assert_eq!(check(&states, 0, 0, 1), None);
    assert!(check(&states, 0, 1, 1).is_some());

    let mut states = ProducerStates::default();
    let across = produced(7, 0, i32::MAX - 1, 5);
    states.record(&across, 0, 0);
    assert_eq!(states.get(7).map(Producer::last_sequence), Some(2));
    let duplicate = Verdict::Duplicate { base_offset: 0, last_offset: 4, timestamp: 1_000 };
    assert_eq!(states.check(&across), Ok(duplicate));
    assert_eq!(check(&states, 0, 3, 1), None);
}

#[test]
fn a_batch_without_a_producer_leaves_no_trace() {
    let mut states = ProducerStates::default();
    let plain = meta(Sample::default());
    assert_eq!(states.check(&plain), Ok(Verdict::Append));
    states.record(&plain, 0, 0);
    assert!(states.is_empty());
}

#[test]
fn a_transaction_is_open_from_its_first_batch_to_its_marker() {
    let mut states = ProducerStates::default();
    let transactional = |sequence| {
        let sample = Sample { producer_id: 7, producer_epoch: 0, ..Sample::default() };
        meta(Sample { base_sequence: sequence, attributes: TRANSACTIONAL, ..sample })
    };
    states.record(&transactional(0), 50, 0);
    states.record(&transactional(1), 51, 0);
    assert_eq!(states.first_open_transaction(), Some(50));
    let outside = SequenceError::InvalidTxnState { first_offset: 50 };
    assert_eq!(check(&states, 0, 2, 1), Some(outside));
    assert_eq!(states.record_end_of_transaction(7, 1, 4, 2_000, 0), Some(50));
    assert_eq!(states.first_open_transaction(), None);
    let producer = states.get(7).expect("known");
    assert_eq!((producer.epoch, producer.coordinator_epoch), (1, 4));
    assert_eq!((producer.last_timestamp, producer.last_sequence()), (2_000, -1));
    assert_eq!(check(&states, 1, 0, 1), None);
    assert!(check(&states, 1, 5, 1).is_some());
}

/// Producer 7 at epoch 3, with a transaction open or ended by a marker of coordinator epoch 5.
fn in_transaction(open: bool) -> ProducerStates {
    let mut states = ProducerStates::default();
    let sample = Sample { producer_id: 7, producer_epoch: 3, ..Sample::default() };
    let sample = Sample { base_sequence: 0, attributes: TRANSACTIONAL, ..sample };
    states.record(&meta(sample), 50, 0);
    if !open {
        states.record_end_of_transaction(7, 3, 5, 2_000, 0);
    }
    states
}

fn marker(producer_epoch: i16, coordinator_epoch: i32, transaction_version: i8) -> TxnMarker {
    TxnMarker {
        producer_id: 7,
        producer_epoch,
        coordinator_epoch,
        commit: true,
        transaction_version,
    }
}

/// KIP-1228: a version 2 marker that came late carries the epoch of the transaction it would cut.
#[test]
fn a_marker_of_version_two_needs_an_epoch_above_that_of_the_open_transaction() {
    let states = in_transaction(true);
    let refused = SequenceError::InvalidProducerEpoch { epoch: 3, current: 3 };
    assert_eq!(states.check_marker(&marker(3, 5, 2)), Err(refused));
    assert_eq!(states.check_marker(&marker(4, 5, 2)), Ok(()));
    assert_eq!(states.check_marker(&marker(3, 5, 1)), Ok(()), "the epoch stays in version 1");
    let refused = SequenceError::InvalidProducerEpoch { epoch: 2, current: 3 };
    assert_eq!(states.check_marker(&marker(2, 5, 1)), Err(refused));
}

#[test]
fn a_marker_is_repeated_without_harm() {
    let states = in_transaction(false);
    assert_eq!(states.check_marker(&marker(3, 5, 2)), Ok(()));
    assert_eq!(states.check_marker(&marker(3, 5, 0)), Ok(()));
}

#[test]
fn a_marker_of_a_replaced_coordinator_is_fenced() {
    let states = in_transaction(false);
    let fenced = SequenceError::CoordinatorFenced { epoch: 4, current: 5 };
    assert_eq!(states.check_marker(&marker(4, 4, 2)), Err(fenced));
}

#[test]
fn a_marker_of_epochs_below_none_is_refused_also_for_a_producer_that_nobody_knows() {
    let states = ProducerStates::default();
    let fenced = SequenceError::CoordinatorFenced { epoch: -2, current: -1 };
    assert_eq!(states.check_marker(&marker(0, -2, 0)), Err(fenced));
    let refused = SequenceError::InvalidProducerEpoch { epoch: -2, current: -1 };
    assert_eq!(states.check_marker(&marker(-2, 0, 0)), Err(refused));
    assert_eq!(states.check_marker(&marker(0, -1, 0)), Ok(()));
}

#[test]
fn at_the_last_epoch_a_marker_of_version_two_cannot_be_higher() {
    let mut states = ProducerStates::default();
    let sample = Sample { producer_id: 7, producer_epoch: i16::MAX, ..Sample::default() };
    let sample = Sample { base_sequence: 0, attributes: TRANSACTIONAL, ..sample };
    states.record(&meta(sample), 50, 0);
    assert_eq!(states.check_marker(&marker(i16::MAX, 5, 2)), Ok(()));
}

#[test]
fn a_transaction_with_an_epoch_of_its_own_starts_at_sequence_zero() {
    let states = ProducerStates::default();
    let sample = Sample { producer_id: 7, producer_epoch: 3, ..Sample::default() };
    let batch = |sequence| meta(Sample { base_sequence: sequence, ..sample });
    let gap = SequenceError::OutOfOrder { sequence: 4, last_sequence: -1 };
    assert_eq!(states.check_verified(&batch(4), true), Err(gap));
    assert_eq!(states.check_verified(&batch(0), true), Ok(Verdict::Append));
    assert_eq!(states.check_verified(&batch(4), false), Ok(Verdict::Append), "it was forgotten");
}

#[test]
fn silent_producers_expire_but_not_in_a_transaction() {
    let mut states = ProducerStates::default();
    states.record(&produced(1, 0, 0, 1), 0, 1_000);
    let open = Sample { producer_id: 2, producer_epoch: 0, base_sequence: 0, ..Sample::default() };
    states.record(&meta(Sample { attributes: TRANSACTIONAL, ..open }), 1, 1_000);
    assert_eq!(states.expire(1_999, 1_000), 0);
    assert_eq!(states.expire(2_000, 1_000), 1);
    assert_eq!(states.iter().map(|(id, _)| id).collect::<Vec<_>>(), [2]);
}

#[test]
fn a_producer_of_old_timestamps_lives_while_it_writes() {
    let mut states = ProducerStates::default();
    states.record(&produced(1, 0, 0, 1), 0, 1_000_000);
    assert_eq!(states.expire(1_000_500, 1_000), 0);
    assert_eq!(states.expire(1_001_000, 1_000), 1);
}

#[test]
fn a_full_table_forgets_those_whose_last_batch_is_oldest() {
    let mut states = ProducerStates::default();
    let max = PRODUCERS_PER_PARTITION_MAX as i64;
    for id in 0..max {
        states.record(&produced(id, 0, 0, 1), id, 0);
    }
    states.record(&produced(0, 0, 1, 1), max, 0);
    states.record(&produced(max, 0, 0, 1), max + 1, 0);
    assert_eq!(states.len() as i64, max - max / 16 + 1);
    assert!(states.get(0).is_some(), "it wrote just before");
    assert!(states.get(1).is_none());
    assert!(states.get(max).is_some());
}

/// As many producers as a partition remembers, each with a transaction open.
fn full_of_open_transactions() -> ProducerStates {
    let mut states = ProducerStates::default();
    for id in 0..PRODUCERS_PER_PARTITION_MAX as i64 {
        let sample = Sample { producer_id: id, producer_epoch: 0, ..Sample::default() };
        let sample = Sample { base_sequence: 0, attributes: TRANSACTIONAL, ..sample };
        states.record(&meta(sample), id, 0);
    }
    states
}

#[test]
fn a_table_full_of_open_transactions_refuses_another_producer() {
    let states = full_of_open_transactions();
    let max = PRODUCERS_PER_PARTITION_MAX;
    let full = SequenceError::TooManyProducers { count: max };
    let another = produced(max as i64, 0, 0, 1);
    assert_eq!(states.check(&another), Err(full));
    assert_eq!(states.check_coordinator(&another), Err(full));
    assert_eq!(states.check_coordinator(&produced(0, 0, 1, 1)), Ok(()));
    assert!(!matches!(check(&states, 0, 1, 1), Some(SequenceError::TooManyProducers { .. })));
}

/// WriteTxnMarkers names any producer: each was remembered, though nobody could be forgotten.
#[test]
fn a_marker_of_a_stranger_does_not_grow_a_table_full_of_open_transactions() {
    let mut states = full_of_open_transactions();
    let max = PRODUCERS_PER_PARTITION_MAX;
    for stranger in 0..3 {
        let ended = states.record_end_of_transaction(max as i64 + stranger, 5, 0, 0, 0);
        assert_eq!(ended, None);
    }
    assert_eq!(states.len(), max);
    assert_eq!(states.record_end_of_transaction(7, 0, 0, 0, 0), Some(7), "its own is ended");
    assert_eq!(states.record_end_of_transaction(max as i64, 5, 0, 0, 0), None);
    assert!(states.get(max as i64).is_some(), "one without a transaction made room");
    assert!(states.len() <= max);
}

#[test]
fn a_snapshot_keeps_the_last_batch_of_each_producer() {
    let states = with_batches(3);
    let bytes = states.encode_snapshot();
    let read = ProducerStates::decode_snapshot(&bytes, 0).expect("just written");
    let producer = read.get(7).expect("written");
    assert_eq!(producer.batches(), &states.get(7).expect("recorded").batches()[2..]);
    assert_eq!(read.encode_snapshot(), bytes);
}

#[test]
fn every_changed_bit_of_a_snapshot_is_noticed() {
    let good = with_batches(3).encode_snapshot();
    for at in 0..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 0x04;
        assert!(ProducerStates::decode_snapshot(&bytes, 0).is_err(), "bit at {at}");
        assert!(ProducerStates::decode_snapshot(&good[..at], 0).is_err(), "cut at {at}");
    }
}

#[test]
fn the_compact_encoding_of_a_full_window_is_below_sixty_bytes() {
    let mut out = Vec::new();
    with_batches(9).encode_compact(&mut out);
    assert!(out.len() <= 60, "{} bytes", out.len());
}

proptest::proptest! {
    #[test]
    fn states_of_random_histories_survive_the_compact_encoding(
        history in proptest::collection::vec(
            (0i64..6, 0i16..3, 0i32..i32::MAX, 1i32..20, 0i64..10_000, 0u8..4),
            0..60,
        ),
    ) {
        let mut states = ProducerStates::default();
        let mut offset = 0;
        for entry in history {
            let (producer_id, producer_epoch, base_sequence, records_count, ..) = entry;
            let (.., timestamp, kind) = entry;
            let sample = Sample {
                producer_id, producer_epoch, base_sequence, records_count, timestamp,
                attributes: if kind == 1 { TRANSACTIONAL } else { 0 },
                ..Sample::default()
            };
            if kind == 2 {
                states.record_end_of_transaction(producer_id, producer_epoch, 3, timestamp, 0);
                offset += 1;
            } else {
                states.record(&meta(sample), offset, 0);
                offset += i64::from(records_count);
            }
        }
        let mut out = Vec::new();
        states.encode_compact(&mut out);
        let mut bytes = out.as_slice();
        let read = ProducerStates::decode_compact(&mut bytes, 0).expect("just written");
        proptest::prop_assert!(bytes.is_empty());
        proptest::prop_assert_eq!(&read, &states);
        proptest::prop_assert_eq!(read.first_open_transaction(), states.first_open_transaction());
        for end in 0..out.len() {
            proptest::prop_assert!(ProducerStates::decode_compact(&mut &out[..end], 0).is_err());
        }
    }

    #[test]
    fn any_bytes_decode_or_are_refused(
        bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..120),
    ) {
        let _ = ProducerStates::decode_snapshot(&bytes, 0);
        if let Ok(states) = ProducerStates::decode_compact(&mut bytes.as_slice(), 0) {
            let mut out = Vec::new();
            states.encode_compact(&mut out);
            proptest::prop_assert_eq!(
                ProducerStates::decode_compact(&mut out.as_slice(), 0), Ok(states)
            );
        }
    }
}
