//! Record batches against bytes that Kafka's own Java classes wrote, for every codec.
//!
//! `golden/batches-4.3.1.txt` comes from `golden/BatchGolden.java`, whose values are repeated here.
//! Reading must find them; building without compression must give the same bytes; in-place changes
//! must lead to a checksum that is right. The other direction, Java reading our batches, is
//! `cargo run --example batch_lines | java ... BatchGolden.java read`.

use protocol::batch::control::{
    ControlType, EndTxnMarker, read_control_key, read_end_txn_value, write_end_txn_marker,
};
use protocol::batch::header::{self, TimestampType};
use protocol::batch::{
    BatchBuilder, BatchHeader, BatchOptions, Header, RecordChecks, ValidateConfig, open_records,
    recompress, validate_produce,
};
use protocol::compress::{Codecs, Compression};

const GOLDEN: &str = include_str!("golden/batches-4.3.1.txt");
const BOUND: usize = 1 << 20;
const APPEND_TIME_MS: i64 = 1_700_000_009_999;

/// The golden batches as (case, codec, bytes).
fn golden() -> impl Iterator<Item = (&'static str, Compression, Vec<u8>)> {
    GOLDEN.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let mut words = line.split(' ');
        let mut word = || words.next().expect("case, codec and bytes");
        let (case, codec, hex) = (word(), word(), word());
        let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
        let bytes = (0..hex.len()).step_by(2).map(byte).collect();
        (case, Compression::from_name(codec).expect("a codec"), bytes)
    })
}

fn options(compression: Compression) -> BatchOptions {
    BatchOptions {
        base_offset: 42,
        partition_leader_epoch: 7,
        compression,
        producer_id: 9000,
        producer_epoch: 3,
        base_sequence: 17,
        ..BatchOptions::default()
    }
}

/// Twin of `BatchGolden.small`.
fn add_small(builder: &mut BatchBuilder) {
    let headers = [
        Header { key: b"trace", value: Some(b"on") },
        Header { key: b"", value: None },
        Header { key: b"empty", value: Some(b"") },
    ];
    builder.append(1_700_000_000_000, Some(b"key"), Some(b"value"), &headers);
    builder.append(1_699_999_999_000, None, Some(&[b'x'; 200]), &[]);
    builder.append(1_700_000_000_500, Some(b""), None, &[]);
    builder.append(1_700_000_000_500, Some(b"k"), Some(b""), &[]);
}

/// Twin of `BatchGolden.large`.
fn add_large(builder: &mut BatchBuilder) {
    let value = b"0123456789abcdef".repeat(10);
    for index in 0..1000 {
        let key = format!("key-{index}");
        builder.append(1_700_000_000_000 + index, Some(key.as_bytes()), Some(&value), &[]);
    }
}

/// Our own batch of a golden case, not compressed.
fn twin(case: &str) -> Vec<u8> {
    let mut builder = BatchBuilder::new(options(Compression::None));
    match case {
        "small" => add_small(&mut builder),
        "append-time" => {
            builder.options_mut().log_append_time_ms = Some(APPEND_TIME_MS);
            builder.options_mut().transactional = true;
            add_small(&mut builder);
        }
        "large" => add_large(&mut builder),
        case => panic!("no twin of {case}"),
    }
    let mut out = Vec::new();
    builder.build(&mut Codecs::new(), &mut out);
    out
}

fn is_marker(case: &str) -> bool {
    case.starts_with("marker")
}

#[test]
fn uncompressed_batches_are_the_same_bytes_as_javas() {
    let mut seen = 0;
    for (case, codec, bytes) in golden() {
        if codec == Compression::None && !is_marker(case) {
            assert_eq!(twin(case), bytes, "{case}");
            seen += 1;
        }
    }
    assert_eq!(seen, 2);
}

#[test]
fn batches_of_every_codec_hold_what_java_put_into_them() {
    let (mut ours, mut javas) = (Codecs::new(), Codecs::new());
    let mut seen = 0;
    for (case, codec, bytes) in golden().filter(|(case, ..)| !is_marker(case)) {
        assert_eq!(header::check_crc(&bytes), Ok(()), "{case} {}", codec.name());
        let twin = twin(case);
        let (expected, records) = open_records(&twin, &mut ours, BOUND).expect("our own");
        let (found, java_records) = open_records(&bytes, &mut javas, BOUND).expect("Java's");
        assert_eq!(found.compression(), Some(codec));
        let BatchHeader { batch_length, crc, attributes, .. } = expected;
        assert_eq!(BatchHeader { batch_length, crc, attributes, ..found }, expected);
        assert_eq!(found.attributes & !0x07, attributes);
        assert!(records.eq(java_records), "{case} {}", codec.name());
        seen += 1;
    }
    assert_eq!(seen, 14);
}

#[test]
fn java_batches_pass_validation_once_their_offset_is_a_producers() {
    let config = ValidateConfig {
        record_checks: RecordChecks::All,
        ..ValidateConfig::new(1_700_000_000_000)
    };
    for (_, codec, mut bytes) in golden().filter(|(case, ..)| *case == "small" || *case == "large")
    {
        header::set_base_offset(&mut bytes, 0);
        let valid = validate_produce(&bytes, &config, &mut Codecs::new()).expect("valid");
        assert_eq!(valid.compression, codec);
        assert!(!valid.timestamps_change, "Java's max timestamp is that of the records");
    }
}

#[test]
fn setting_the_append_time_gives_javas_checksum() {
    let mut batches = golden().filter(|(case, codec, _)| {
        *codec == Compression::None && (*case == "small" || *case == "append-time")
    });
    let (_, _, small) = batches.next().expect("small");
    let (_, _, append_time) = batches.next().expect("append-time");
    let mut codecs = Codecs::new();
    // The two differ in the transactional bit as well; so start from a twin that has it.
    let mut changed = Vec::new();
    let mut builder = BatchBuilder::new(options(Compression::None));
    builder.options_mut().transactional = true;
    add_small(&mut builder);
    builder.build(&mut codecs, &mut changed);
    assert_eq!(changed.len(), small.len());
    header::set_max_timestamp_and_type(&mut changed, TimestampType::LogAppendTime, APPEND_TIME_MS);
    assert_eq!(changed, append_time);
}

#[test]
fn recompressing_javas_batch_to_none_gives_javas_uncompressed_bytes() {
    let (_, _, plain) = golden().next().expect("small none");
    let mut codecs = Codecs::new();
    for (case, codec, bytes) in golden().filter(|(case, ..)| *case == "small") {
        let mut out = Vec::new();
        recompress(&bytes, Compression::None, None, &mut codecs, BOUND, &mut out).expect("valid");
        assert_eq!(out, plain, "{case} {}", codec.name());
    }
}

#[test]
fn markers_are_the_same_bytes_as_javas_and_read_back() {
    let mut codecs = Codecs::new();
    let mut seen = 0;
    for (case, _, bytes) in golden().filter(|(case, ..)| is_marker(case)) {
        let committed = case == "marker-commit";
        let (header, mut records) = open_records(&bytes, &mut codecs, BOUND).expect("Java's");
        let record = records.next().expect("one record").expect("valid");
        let kind = if committed { ControlType::Commit } else { ControlType::Abort };
        assert_eq!(read_control_key(record.key), Ok(kind));
        assert_eq!(read_end_txn_value(record.value), Ok(21));
        let marker = EndTxnMarker {
            committed,
            producer_id: 9000,
            producer_epoch: 3,
            coordinator_epoch: 21,
            timestamp_ms: 1_700_000_000_123,
            base_offset: 1234,
            partition_leader_epoch: 6,
        };
        let mut out = Vec::new();
        assert_eq!(write_end_txn_marker(&marker, &mut Codecs::new(), &mut out), header);
        assert_eq!(out, bytes, "{case}");
        seen += 1;
    }
    assert_eq!(seen, 2);
}
