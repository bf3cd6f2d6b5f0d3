//! The store over a disk that does everything at once and never fails. Power cuts are in `tests/`.

use super::*;
use crate::op::{DiskOk, DiskOp, DiskTimes};
use crate::segment::format::sample::{Sample, batch, how, partition};
use crate::types::{AppendHow, ReadOutcome};

/// Completes every operation as a disk without faults would, writes of the journal only if
/// `writes`.
fn pump(store: &mut Store, writes: bool) {
    let mut held = Vec::new();
    while let Some(op) = store.poll_op() {
        let id = op.id();
        let ok = match op {
            DiskOp::WriteVectored { buffers, .. } if writes => DiskOk::Written {
                bytes: buffers.iter().map(|buffer| buffer.len() as u64).sum(),
                buffer: None,
            },
            DiskOp::Write { durability: crate::op::Durability::Synced, .. } if !writes => {
                held.push(id);
                continue;
            }
            DiskOp::Write { buffer, .. } => {
                DiskOk::Written { bytes: buffer.as_slice().len() as u64, buffer: None }
            }
            DiskOp::Open { .. } => DiskOk::Opened { bytes: 0 },
            _ => DiskOk::Done,
        };
        let times = DiskTimes::default();
        store.handle_disk(DiskDone { op: id, result: Ok(ok), times }, 0, 0);
    }
}

#[test]
fn a_batch_is_readable_when_its_frame_is_on_stable_storage_and_not_before() {
    let mut store = Store::create(0, 1, StoreConfig::default());
    let log = store.create_partition(partition(0), LogConfig::default()).expect("there is room");
    pump(&mut store, true);
    let bytes = batch(Sample::default());
    let appended = store.append(log, &bytes, how()).expect("it is a good batch");
    store.seal(0);
    let mut out = Vec::new();
    let read = store.read(log, 0, 1 << 20, true, i64::MAX, &mut out);
    assert_eq!(read, Ok(ReadOutcome::Done { bytes: 0 }));
    pump(&mut store, true);
    assert_eq!(store.committed(DurabilityClass::Persisted), appended.commit);
    let read = store.read(log, 0, 1 << 20, true, i64::MAX, &mut out);
    assert_eq!(read, Ok(ReadOutcome::Done { bytes: bytes.len() as u32 }));
    assert_eq!(out[0].as_slice()[20..], bytes[20..], "the bytes are the producer's");
}

/// Appends one batch, has it flushed, and counts opens, syncs and closes below the data folder.
fn flush_one(store: &mut Store, log: LogId, mono_ns: u64) -> [usize; 3] {
    let how = AppendHow { mono_ns, ..how() };
    store.append(log, &batch(Sample::default()), how).expect("it is a good batch");
    store.seal(mono_ns);
    let mut counts = [0; 3];
    for pass in 0..2 {
        if pass == 1 {
            store.handle_timeout(mono_ns + 60_000_000_000, 0);
        }
        while let Some(op) = store.poll_op() {
            let id = op.id();
            let ok = match op {
                DiskOp::Open { .. } => {
                    counts[0] += pass;
                    DiskOk::Opened { bytes: 0 }
                }
                DiskOp::Sync { .. } => {
                    counts[1] += pass;
                    DiskOk::Done
                }
                DiskOp::Close { .. } => {
                    counts[2] += pass;
                    DiskOk::Done
                }
                DiskOp::Write { buffer, .. } => {
                    let bytes = buffer.as_slice().len() as u64;
                    DiskOk::Written { bytes, buffer: buffer.into_owned() }
                }
                _ => DiskOk::Done,
            };
            let now = mono_ns + pass as u64 * 60_000_000_000;
            store.handle_disk(
                DiskDone { op: id, result: Ok(ok), times: DiskTimes::default() },
                now,
                0,
            );
        }
    }
    assert!(!store.flusher.busy(), "the round has ended");
    counts
}

#[test]
fn a_log_that_grows_keeps_its_file_open_between_rounds_and_needs_no_sync_of_its_own() {
    let mut store = Store::create(0, 1, StoreConfig::default());
    let log = store.create_partition(partition(0), LogConfig::default()).expect("there is room");
    pump(&mut store, true);
    let first = flush_one(&mut store, log, 1);
    assert_eq!(first, [1, 0, 0], "opened, and left open");
    for round in 1..5 {
        let again = flush_one(&mut store, log, 1 + round * 100_000_000_000);
        assert_eq!(again, [0, 0, 0], "round {round}");
    }
}

#[test]
fn a_removed_log_leaves_no_file_open() {
    let mut store = Store::create(0, 1, StoreConfig::default());
    let log = store.create_partition(partition(0), LogConfig::default()).expect("there is room");
    pump(&mut store, true);
    flush_one(&mut store, log, 1);
    store.forget_flush_file(log, Some(1));
    assert!(store.poll_op().is_none(), "another segment's file is not meant");
    store.forget_flush_file(log, None);
    assert!(matches!(store.poll_op(), Some(DiskOp::Close { .. })));
}

/// A store with lent memory, a log whose acks need no write, and one whose acks do.
fn with_memory() -> (Store, LogId, LogId) {
    let mut store = Store::create(0, 1, StoreConfig::default());
    store.set_region_source(Box::new(crate::sim_disk::SimMemory::new(4096, 64, &[])));
    let in_memory = LogConfig { durability: DurabilityClass::Memory, ..LogConfig::default() };
    let memory = store.create_partition(partition(0), in_memory).expect("there is room");
    let persisted =
        store.create_partition(partition(1), LogConfig::default()).expect("there is room");
    pump(&mut store, true);
    store.seal(0);
    pump(&mut store, true);
    (store, memory, persisted)
}

/// Appends a batch in a turn of its own at `mono_ns`; whether acks wait for the write that the turn
/// began with, and `None` without a write.
fn append_in_turn(store: &mut Store, log: LogId, mono_ns: u64) -> Option<bool> {
    let how = AppendHow { mono_ns, ..how() };
    store.append(log, &batch(Sample::default()), how).expect("it is a good batch");
    store.seal(mono_ns);
    begun_write(store)
}

fn begun_write(store: &mut Store) -> Option<bool> {
    if store.poll_urgent_op().is_some() {
        return Some(true);
    }
    let synced = |op: &DiskOp| match op {
        DiskOp::Write { durability, .. } | DiskOp::WriteVectored { durability, .. } => {
            *durability == crate::op::Durability::Synced
        }
        _ => false,
    };
    std::iter::from_fn(|| store.poll_op()).any(|op| synced(&op)).then_some(false)
}

#[test]
fn frames_that_no_ack_waits_for_are_written_together_when_the_oldest_is_a_millisecond_old() {
    let (mut store, memory, _) = with_memory();
    assert_eq!(append_in_turn(&mut store, memory, 1_000), None);
    assert!(store.committed(DurabilityClass::Memory) > store.committed(DurabilityClass::Persisted));
    let due = 1_000 + crate::limits::UNAWAITED_WRITE_NS;
    assert_eq!(append_in_turn(&mut store, memory, 500_000), None);
    assert!(store.poll_timeout().is_some_and(|at| at <= due), "it asks to be woken");
    assert_eq!(store.journal.due_at(), Some(due));
    store.handle_timeout(due, 0);
    assert_eq!(begun_write(&mut store), Some(false));
    assert_eq!(store.journal.due_at(), None, "both went");
}

#[test]
fn a_persisted_record_takes_the_frames_before_it_along_at_once() {
    let (mut store, memory, persisted) = with_memory();
    assert_eq!(append_in_turn(&mut store, memory, 1_000), None);
    assert_eq!(append_in_turn(&mut store, persisted, 2_000), Some(true));
    assert_eq!(store.journal.due_at(), None, "both went");
}

#[test]
fn many_frames_that_no_ack_waits_for_are_written_before_lent_memory_is_short() {
    let (mut store, memory, _) = with_memory();
    let begun = (1..64).find(|turn| append_in_turn(&mut store, memory, *turn).is_some());
    assert_eq!(begun, Some(crate::limits::UNAWAITED_FRAMES_MAX as u64));
}

#[test]
fn where_memory_is_not_lent_acks_wait_for_the_write_at_once() {
    let mut store = Store::create(0, 1, StoreConfig::default());
    let in_memory = LogConfig { durability: DurabilityClass::Memory, ..LogConfig::default() };
    let log = store.create_partition(partition(0), in_memory).expect("there is room");
    pump(&mut store, true);
    assert_eq!(append_in_turn(&mut store, log, 1_000), Some(true));
}
