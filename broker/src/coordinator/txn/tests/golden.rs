//! Records against Kafka's own classes: `golden/records.txt` is what they wrote, `Records.java`
//! how.

use std::collections::{BTreeMap, BTreeSet};

use crate::coordinator::txn::records::{Parsed, RecordError, TxnRecord, parse};
use crate::coordinator::txn::state::{Metadata, TxnState, TxnVersion};

const GOLDEN: &str = include_str!("golden/records.txt");

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex"))
        .collect()
}

fn golden() -> BTreeMap<&'static str, (Vec<u8>, Option<Vec<u8>>)> {
    let lines = GOLDEN.lines().map(|line| {
        let mut fields = line.split(' ');
        let name = fields.next().expect("a name");
        let key = unhex(fields.next().expect("a key"));
        (name, (key, fields.next().filter(|value| *value != "null").map(unhex)))
    });
    lines.collect()
}

fn metadata(state: TxnState, producer_epoch: i16) -> Metadata {
    let ends = matches!(state, TxnState::CompleteCommit | TxnState::CompleteAbort);
    let partitions: &[(&str, i32)] = if ends { &[] } else { &[("t", 3)] };
    Metadata {
        producer_id: 4711,
        previous_producer_id: 4711,
        next_producer_id: -1,
        producer_epoch,
        last_producer_epoch: -1,
        timeout_ms: 60_000,
        state,
        partitions: partitions.iter().map(|(topic, index)| ((*topic).into(), *index)).collect(),
        started_ms: 1_700_000_000_123,
        updated_ms: 1_700_000_000_456,
        version: TxnVersion::V2,
    }
}

fn records() -> Vec<(&'static str, Option<Metadata>)> {
    let empty = Metadata {
        previous_producer_id: -1,
        partitions: BTreeSet::new(),
        started_ms: -1,
        version: TxnVersion::V0,
        ..metadata(TxnState::Empty, 0)
    };
    let last = metadata(TxnState::PrepareAbort, i16::MAX);
    let rotated = metadata(TxnState::CompleteAbort, 0);
    vec![
        ("empty", Some(empty)),
        (
            "ongoing-v0-client",
            Some(Metadata { version: TxnVersion::V0, ..metadata(TxnState::Ongoing, 1) }),
        ),
        ("ongoing", Some(metadata(TxnState::Ongoing, 1))),
        ("prepare-commit", Some(metadata(TxnState::PrepareCommit, 2))),
        ("prepare-abort-last-epoch", Some(Metadata { next_producer_id: 4712, ..last })),
        ("complete-commit", Some(metadata(TxnState::CompleteCommit, 2))),
        ("complete-abort-rotated", Some(Metadata { previous_producer_id: 4710, ..rotated })),
        ("tombstone", None),
    ]
}

#[test]
fn records_are_written_as_kafka_writes_them_and_read_back() {
    let golden = golden();
    for (name, metadata) in records() {
        let record = TxnRecord { id: "tx".into(), metadata };
        let (key, value) = &golden[name];
        let encoded = record.encode(77);
        assert_eq!(encoded.key, key, "key of {name}");
        assert_eq!(encoded.value.as_deref(), value.as_deref(), "value of {name}");
        assert_eq!(encoded.timestamp_ms, 77);
        assert_eq!(parse(key, value.as_deref()), Ok(Parsed::Record(record)), "{name}");
    }
}

#[test]
fn values_of_version_0_are_read() {
    let (key, value) = &golden()["old-ongoing"];
    let expected = Metadata {
        previous_producer_id: -1,
        version: TxnVersion::V0,
        ..metadata(TxnState::Ongoing, 1)
    };
    let expected = TxnRecord { id: "tx".into(), metadata: Some(expected) };
    assert_eq!(parse(key, value.as_deref()), Ok(Parsed::Record(expected)));
}

#[test]
fn damaged_records_are_errors_and_never_defaults() {
    assert_eq!(parse(&[0], None), Err(RecordError::NoKind { bytes: 1 }));
    assert_eq!(parse(&[0, 9], None), Ok(Parsed::Other { kind: 9 }));
    for (name, (key, value)) in golden() {
        for cut in 2..key.len() {
            let result = parse(&key[..cut], value.as_deref());
            assert!(matches!(result, Err(RecordError::Key(_))), "{name}: {result:?}");
        }
        let Some(value) = value else { continue };
        for cut in 0..value.len() {
            let result = parse(&key, Some(&value[..cut]));
            assert!(matches!(result, Err(RecordError::Value(_))), "{name} at {cut}: {result:?}");
        }
        let mut wrong = value.clone();
        wrong[16] = 6;
        let result = parse(&key, Some(&wrong));
        assert_eq!(result, Err(RecordError::State(6)), "{name}: no log holds a dead transaction");
    }
}
