//! Our segment files against files that Apache Kafka 4.3.1 wrote with its own classes.
//!
//! `golden/Goldens.java` says how they were made. Everything is derived again from the `.log` file
//! and compared byte for byte with what Kafka derived; the dump is compared with the text of
//! Kafka's tool.

use std::path::Path;

use storage::epoch_cache::EpochCache;
use storage::log_dump::{self, SegmentFiles};
use storage::producer_state::{ProducerStates, Verdict};
use storage::segment::format::{BatchScanner, CrcCheck, ScannedBatch};
use storage::segment::indexes::SegmentIndexes;
use storage::segment::log_names::{LEADER_EPOCHS, LogFileKind, LogName};

const BASE: i64 = 1_000;

fn golden(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/kafka-4.3.1");
    std::fs::read(folder.join(name)).expect("the golden files are in the repository")
}

fn file(offset: i64, kind: LogFileKind) -> Vec<u8> {
    golden(&LogName::new(offset, kind).to_string())
}

fn scan(log: &[u8]) -> Vec<ScannedBatch<'_>> {
    let batches = BatchScanner::new(log, BASE, CrcCheck::Verify).collect::<Result<_, _>>();
    batches.expect("Kafka wrote whole batches")
}

#[test]
fn the_indexes_of_a_log_are_kafkas_byte_for_byte() {
    let log = file(BASE, LogFileKind::Log);
    let mut indexes = SegmentIndexes::new(BASE, 256, 4_096);
    for batch in scan(&log) {
        indexes.record(&batch.meta, batch.position as u32);
    }
    indexes.close();
    assert_eq!(indexes.offsets.as_bytes(), file(BASE, LogFileKind::OffsetIndex));
    assert_eq!(indexes.times.as_bytes(), file(BASE, LogFileKind::TimeIndex));
}

#[test]
fn the_producers_of_a_log_are_kafkas_byte_for_byte() {
    let log = file(BASE, LogFileKind::Log);
    let mut states = ProducerStates::default();
    let mut next_offset = BASE;
    for batch in scan(&log) {
        let meta = &batch.meta;
        next_offset = meta.next_offset();
        if meta.is_control() {
            // The marker's value ends the batch: version i16, coordinator epoch i32, no headers.
            let end = batch.bytes.len() - 1;
            let epoch = batch.bytes[end - 4..end].try_into().expect("four bytes");
            states.record_end_of_transaction(
                meta.producer_id,
                meta.producer_epoch,
                i32::from_be_bytes(epoch),
                meta.max_timestamp,
                0,
            );
        } else {
            assert_eq!(states.check(meta), Ok(Verdict::Append), "Kafka took it");
            states.record(meta, meta.base_offset, 0);
        }
    }
    let theirs = file(next_offset, LogFileKind::Snapshot);
    let read = ProducerStates::decode_snapshot(&theirs, 0).expect("Kafka wrote it");
    // Kafka's order is that of a hash map; ours is by id.
    assert_eq!(states.encode_snapshot(), read.encode_snapshot());
    assert_eq!(theirs.len(), states.encode_snapshot().len());
    assert_eq!(states.first_open_transaction(), Some(1_093));
}

#[test]
fn the_leader_epochs_of_a_log_are_kafkas_text() {
    let log = file(BASE, LogFileKind::Log);
    let mut epochs = EpochCache::default();
    for batch in scan(&log) {
        epochs.assign(batch.meta.leader_epoch, batch.meta.base_offset);
    }
    let theirs = golden(LEADER_EPOCHS);
    assert_eq!(epochs.encode().as_bytes(), theirs);
    assert_eq!(EpochCache::decode(&theirs), Ok(epochs));
}

#[test]
fn the_dump_is_the_text_of_kafkas_tool() {
    let log = file(BASE, LogFileKind::Log);
    let ours: Vec<String> = log_dump::batches(&log)
        .map(|batch| batch.expect("Kafka wrote whole batches").to_string())
        .collect();
    let text = String::from_utf8(golden("dump.txt")).expect("the dump is text");
    let theirs: Vec<&str> = text.lines().filter(|line| line.starts_with("baseOffset")).collect();
    assert_eq!(ours, theirs);
}

#[test]
fn nothing_is_found_wrong_with_kafkas_segment() {
    let findings = log_dump::verify_segment(SegmentFiles {
        base_offset: BASE,
        log: &file(BASE, LogFileKind::Log),
        offset_index: Some(&file(BASE, LogFileKind::OffsetIndex)),
        time_index: Some(&file(BASE, LogFileKind::TimeIndex)),
        closed: true,
    });
    assert_eq!(findings, []);
}
