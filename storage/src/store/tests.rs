//! The store over a disk that does everything at once and never fails. Power cuts are in `tests/`.

use super::*;
use crate::op::{DiskOk, DiskOp, DiskTimes};
use crate::segment::format::sample::{Sample, batch};
use crate::types::{AppendHow, Origin, ReadOutcome, TopicId};

fn how() -> AppendHow {
    AppendHow {
        leader_epoch: 7,
        origin: Origin::Client,
        mono_ns: 0,
        wall_ms: 1_000,
        log_append_time: false,
    }
}

fn partition(partition: i32) -> PartitionId {
    PartitionId { topic_id: TopicId([1; 16]), partition }
}

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
