//! Batches: header, in-place changes, records, building, markers. Validation has its own file.

use proptest::prelude::*;

use super::control::{
    ControlError, ControlType, EndTxnMarker, read_control_key, read_end_txn_value,
    write_end_txn_marker,
};
use super::header::*;
use super::*;
use crate::compress::{Codecs, Compression};
use crate::crc::crc32c;

mod validate;

const BOUND: usize = 1 << 20;

/// A batch of `count` records with keys, values and a header each.
fn batch_of(count: i32, options: BatchOptions) -> Vec<u8> {
    let mut builder = BatchBuilder::new(options);
    for index in 0..count {
        let key = format!("key-{index}");
        let headers = [Header { key: b"trace", value: Some(b"on") }];
        let at_ms = 1_000_000 + i64::from(index);
        builder.append(at_ms, Some(key.as_bytes()), Some(&[index as u8; 50]), &headers);
    }
    let mut out = Vec::new();
    builder.build(&mut Codecs::new(), &mut out);
    out
}

#[test]
fn a_header_comes_back_from_its_bytes() {
    let header = BatchHeader {
        base_offset: 1 << 40,
        batch_length: 1234,
        partition_leader_epoch: 5,
        magic: MAGIC,
        crc: 0xdead_beef,
        attributes: 0x7b,
        last_offset_delta: 9,
        base_timestamp: 111,
        max_timestamp: 222,
        producer_id: 333,
        producer_epoch: 44,
        base_sequence: 55,
        records_count: 10,
    };
    let bytes = header.to_bytes();
    assert_eq!(BatchHeader::parse(&bytes), Ok(header));
    assert_eq!(header.total_bytes(), 1246);
    assert_eq!(header.last_offset(), (1 << 40) + 9);
    assert_eq!(header.next_offset(), (1 << 40) + 10);
    assert_eq!(header.last_sequence(), 64);
    assert_eq!(header.compression(), Some(Compression::Lz4));
    assert_eq!(header.timestamp_type(), TimestampType::LogAppendTime);
    assert!(header.is_transactional() && header.is_control() && header.has_delete_horizon());

    assert_eq!(base_offset(&bytes), Some(1 << 40));
    assert_eq!(total_bytes(&bytes), Some(1246));
    assert_eq!(partition_leader_epoch(&bytes), Some(5));
    assert_eq!(magic(&bytes), Some(MAGIC));
    assert_eq!(attributes(&bytes), Some(0x7b));
    assert_eq!(last_offset(&bytes), Some((1 << 40) + 9));
    assert_eq!(max_timestamp(&bytes), Some(222));
    assert_eq!(producer_id(&bytes), Some(333));
    assert_eq!(records_count(&bytes), Some(10));
}

#[test]
fn a_header_is_refused_by_magic_then_length_then_size() {
    let bytes = batch_of(1, BatchOptions::default());
    for (magic, error) in [
        (0, BatchError::OldMagic { magic: 0 }),
        (1, BatchError::OldMagic { magic: 1 }),
        (3, BatchError::Magic { magic: 3 }),
        (-1, BatchError::Magic { magic: -1 }),
    ] {
        let mut changed = bytes.clone();
        changed[16] = magic as u8;
        assert_eq!(BatchHeader::parse(&changed[..17]), Err(error));
    }
    let mut changed = bytes.clone();
    changed[8..12].copy_from_slice(&48_i32.to_be_bytes());
    assert_eq!(BatchHeader::parse(&changed), Err(BatchError::Length { batch_length: 48 }));
    assert_eq!(BatchHeader::parse(&bytes[..60]), Err(BatchError::Incomplete { bytes: 60 }));
}

#[test]
fn sequences_go_from_the_greatest_to_zero() {
    assert_eq!(sequence_add(i32::MAX, 1), 0);
    assert_eq!(sequence_add(i32::MAX - 2, 5), 2);
    assert_eq!(sequence_add(7, 0), 7);
    let options = BatchOptions {
        producer_id: 1,
        producer_epoch: 0,
        base_sequence: i32::MAX,
        ..BatchOptions::default()
    };
    let header = BatchHeader::parse(&batch_of(3, options)).expect("valid");
    assert_eq!(header.last_sequence(), 1);
    let plain = BatchHeader::parse(&batch_of(3, BatchOptions::default())).expect("valid");
    assert_eq!(plain.last_sequence(), NO_SEQUENCE);
}

#[test]
fn base_offset_and_leader_epoch_change_without_the_checksum() {
    let mut bytes = batch_of(3, BatchOptions::default());
    let crc = BatchHeader::parse(&bytes).expect("valid").crc;
    set_base_offset(&mut bytes, 77);
    set_partition_leader_epoch(&mut bytes, 12);
    let header = BatchHeader::parse(&bytes).expect("valid");
    assert_eq!((header.base_offset, header.partition_leader_epoch, header.crc), (77, 12, crc));
    assert_eq!(check_crc(&bytes), Ok(()));
}

#[test]
fn append_time_changes_attributes_timestamp_and_checksum() {
    let mut bytes = batch_of(3, BatchOptions::default());
    let before = BatchHeader::parse(&bytes).expect("valid");
    set_max_timestamp_and_type(&mut bytes, TimestampType::LogAppendTime, 5_000_000);
    assert_eq!(check_crc(&bytes), Ok(()));
    let after = BatchHeader::parse(&bytes).expect("valid");
    assert_eq!(after.timestamp_type(), TimestampType::LogAppendTime);
    assert_eq!(after.max_timestamp, 5_000_000);
    assert_ne!(after.crc, before.crc);
    let mut codecs = Codecs::new();
    let (header, records) = open_records(&bytes, &mut codecs, BOUND).expect("valid");
    for record in records {
        assert_eq!(record.expect("valid").timestamp_ms(&header), 5_000_000);
    }
    set_max_timestamp_and_type(&mut bytes, TimestampType::CreateTime, before.max_timestamp);
    assert_eq!(BatchHeader::parse(&bytes), Ok(before));
}

#[test]
fn an_unchanged_timestamp_leaves_even_a_wrong_checksum_alone() {
    let mut bytes = batch_of(1, BatchOptions::default());
    bytes[17] ^= 0xff;
    let copy = bytes.clone();
    set_max_timestamp_and_type(&mut bytes, TimestampType::CreateTime, 1_000_000);
    assert_eq!(bytes, copy);
}

#[test]
fn a_flipped_bit_after_the_checksum_is_found() {
    let bytes = batch_of(2, BatchOptions::default());
    for at in 17..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1;
        assert!(matches!(check_crc(&flipped), Err(BatchError::Crc { .. })), "at {at}");
    }
    assert!(matches!(check_crc(&bytes[..100]), Err(BatchError::Incomplete { bytes: 100 })));
}

#[test]
fn nulls_and_empties_are_told_apart() {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    let headers = [
        Header { key: b"", value: None },
        Header { key: b"h", value: Some(b"") },
        Header { key: b"h", value: Some(b"again") },
    ];
    builder.append(5, None, None, &headers);
    builder.append(3, Some(b""), Some(b""), &[]);
    let mut out = Vec::new();
    builder.build(&mut Codecs::new(), &mut out);
    let mut codecs = Codecs::new();
    let (header, records) = open_records(&out, &mut codecs, BOUND).expect("valid");
    let records: Vec<_> = records.map(|record| record.expect("valid")).collect();
    assert_eq!((records[0].key, records[0].value), (None, None));
    assert_eq!(records[0].headers.collect::<Vec<_>>(), headers);
    assert_eq!((records[1].key, records[1].value), (Some(&b""[..]), Some(&b""[..])));
    assert_eq!(records[1].headers.len(), 0);
    assert_eq!(records[1].timestamp_delta, -2);
    assert_eq!((header.base_timestamp, header.max_timestamp), (5, 5));
    assert_eq!(records[0].bytes.len() + records[1].bytes.len(), out.len() - HEADER_BYTES);
}

#[test]
fn a_builder_starts_over_after_each_batch() {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    let mut codecs = Codecs::new();
    let mut out = Vec::new();
    builder.append(9, None, Some(b"first"), &[]);
    let first = builder.build(&mut codecs, &mut out);
    assert!(builder.is_empty());
    builder.append(4, None, Some(b"second"), &[]);
    let second = builder.build(&mut codecs, &mut out);
    assert_eq!((second.base_timestamp, second.max_timestamp, second.records_count), (4, 4, 1));
    assert_eq!(BatchHeader::parse(&out), Ok(first));
    let rest = &out[first.total_bytes()..];
    assert_eq!(BatchHeader::parse(rest), Ok(second));
    assert_eq!(check_crc(rest), Ok(()));
}

#[test]
fn compaction_may_leave_gaps_in_the_offsets() {
    let options = BatchOptions { base_offset: 100, ..BatchOptions::default() };
    let mut builder = BatchBuilder::new(options);
    builder.append_at(2, 0, None, None, &[]);
    builder.append_at(7, 0, None, None, &[]);
    let mut out = Vec::new();
    let header = builder.build(&mut Codecs::new(), &mut out);
    assert_eq!((header.records_count, header.last_offset()), (2, 107));
    let mut codecs = Codecs::new();
    let (header, records) = open_records(&out, &mut codecs, BOUND).expect("valid");
    let offsets: Vec<_> = records.map(|record| record.expect("valid").offset(&header)).collect();
    assert_eq!(offsets, [102, 107]);
}

#[test]
fn recompression_keeps_everything_but_the_codec() {
    let mut codecs = Codecs::new();
    for source in Compression::ALL {
        let options = BatchOptions {
            compression: source,
            producer_id: 8,
            producer_epoch: 2,
            base_sequence: 30,
            transactional: true,
            ..BatchOptions::default()
        };
        let batch = batch_of(20, options);
        let before = BatchHeader::parse(&batch).expect("valid");
        for target in Compression::ALL {
            let mut out = vec![1, 2, 3];
            let after = recompress(&batch, target, None, &mut codecs, BOUND, &mut out);
            let after = after.expect("valid");
            let out = &out[3..];
            assert_eq!(check_crc(out), Ok(()));
            assert_eq!(BatchHeader::parse(out), Ok(after));
            assert_eq!(after.compression(), Some(target));
            let BatchHeader { batch_length, crc, attributes, .. } = before;
            assert_eq!(BatchHeader { batch_length, crc, attributes, ..after }, before);
            let mut other = Codecs::new();
            let (_, records) = open_records(&batch, &mut other, BOUND).expect("valid");
            let (_, again) = open_records(out, &mut codecs, BOUND).expect("valid");
            assert!(records.eq(again), "{} to {}", source.name(), target.name());
        }
    }
}

#[test]
fn malformed_records_are_named_by_their_ordinal_and_end_the_iteration() {
    let good = [14, 0, 0, 0, 2, b'k', 2, b'v', 0];
    let mut good_length = good;
    good_length[0] = 2 * 8;
    let check = |second: &[u8], reason: &str| {
        let bytes = [&good_length, second].concat();
        let mut records = RecordIter::new(&bytes, 2);
        assert!(records.next().is_some_and(|record| record.is_ok()));
        let Some(Err(BatchError::Malformed { index: 1, reason: found })) = records.next() else {
            panic!("{second:?} must be malformed");
        };
        assert_eq!(found, reason);
        assert!(records.next().is_none());
    };
    check(&[], "its length is cut off");
    check(&[1], "its length is negative");
    check(&[20, 0], "it is longer than the batch's bytes");
    check(&[4, 0, 0], "its fields go past its length");
    check(&[12, 0, 0, 0, 1, 1, 1], "its header count is impossible");
    check(&[14, 0, 0, 0, 1, 1, 4, 0], "its header count is impossible");
    check(&[16, 0, 0, 0, 1, 1, 2, 1, 0], "its headers go past its length");
    check(&[14, 0, 0, 0, 1, 1, 0, 0], "bytes follow its last field");

    let both = [good_length, good_length].concat();
    assert_eq!(RecordIter::new(&both, 2).filter(Result::is_ok).count(), 2);
    let last = RecordIter::new(&both, 1).last();
    assert!(matches!(last, Some(Err(BatchError::Malformed { index: 1, .. }))));
    assert!(RecordIter::new(&[], -5).next().is_none());
}

#[test]
fn a_marker_is_a_transactional_control_batch_without_sequence() {
    for committed in [false, true] {
        let marker = EndTxnMarker {
            committed,
            producer_id: 4000,
            producer_epoch: 3,
            coordinator_epoch: 17,
            timestamp_ms: 99,
            base_offset: 55,
            partition_leader_epoch: 2,
        };
        let mut out = Vec::new();
        let header = write_end_txn_marker(&marker, &mut Codecs::new(), &mut out);
        assert_eq!(check_crc(&out), Ok(()));
        assert!(header.is_control() && header.is_transactional());
        assert_eq!((header.base_offset, header.base_sequence), (55, NO_SEQUENCE));
        assert_eq!((header.producer_id, header.producer_epoch), (4000, 3));
        let mut codecs = Codecs::new();
        let (_, mut records) = open_records(&out, &mut codecs, BOUND).expect("valid");
        let record = records.next().expect("one record").expect("valid");
        let kind = if committed { ControlType::Commit } else { ControlType::Abort };
        assert_eq!(read_control_key(record.key), Ok(kind));
        assert_eq!(read_end_txn_value(record.value), Ok(17));
    }
}

#[test]
fn control_records_of_newer_versions_are_read_and_broken_ones_refused() {
    assert_eq!(read_control_key(Some(&[0, 9, 0, 1, 7, 7])), Ok(ControlType::Commit));
    assert_eq!(read_control_key(Some(&[0, 0, 0, 99])), Ok(ControlType::Unknown(99)));
    assert_eq!(read_end_txn_value(Some(&[0, 1, 0, 0, 0, 5, 1])), Ok(5));
    let version = ControlError::Version { part: "key", version: -1 };
    assert_eq!(read_control_key(Some(&[0xff, 0xff, 0, 1])), Err(version));
    for short in [None, Some(&[][..]), Some(&[0]), Some(&[0, 0, 0])] {
        assert_eq!(read_control_key(short), Err(ControlError::Truncated { part: "key" }));
        assert_eq!(read_end_txn_value(short), Err(ControlError::Truncated { part: "value" }));
    }
    for id in -1..9 {
        let key = [0_i16.to_be_bytes(), i16::to_be_bytes(id)].concat();
        assert_eq!(read_control_key(Some(&key)).map(ControlType::id), Ok(id));
    }
}

type RecordValues = (i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<(Vec<u8>, Option<Vec<u8>>)>);

fn any_record() -> impl Strategy<Value = RecordValues> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..200);
    let headers = proptest::collection::vec((bytes(), proptest::option::of(bytes())), 0..4);
    let field = || proptest::option::of(bytes());
    (any::<i64>(), field(), field(), headers)
}

proptest! {
    #[test]
    fn any_records_come_back_through_any_codec(
        values in proptest::collection::vec(any_record(), 1..20),
        codec in 0_i16..5,
        base_offset in 0..i64::MAX / 2,
    ) {
        let compression = Compression::from_attributes(codec).expect("five codecs");
        let options = BatchOptions { compression, base_offset, ..BatchOptions::default() };
        let mut builder = BatchBuilder::new(options);
        for (at_ms, key, value, headers) in &values {
            let headers: Vec<_> = headers
                .iter()
                .map(|(key, value)| Header { key, value: value.as_deref() })
                .collect();
            builder.append(*at_ms, key.as_deref(), value.as_deref(), &headers);
        }
        let mut codecs = Codecs::new();
        let mut out = Vec::new();
        let built = builder.build(&mut codecs, &mut out);
        prop_assert_eq!(check_crc(&out), Ok(()));
        prop_assert_eq!(built.crc, crc32c(&out[21..]));
        let (header, records) = open_records(&out, &mut codecs, BOUND).expect("valid");
        prop_assert_eq!(header, built);
        prop_assert_eq!(header.max_timestamp, values.iter().map(|v| v.0).fold(-1, i64::max));
        let mut read = Vec::new();
        for (record, index) in records.zip(0..) {
            let record = record.expect("valid");
            prop_assert_eq!(record.offset(&header), base_offset + index);
            let headers = record
                .headers
                .map(|header| (header.key.to_vec(), header.value.map(<[u8]>::to_vec)))
                .collect::<Vec<_>>();
            let (key, value) = (record.key.map(<[u8]>::to_vec), record.value.map(<[u8]>::to_vec));
            read.push((record.timestamp_ms(&header), key, value, headers));
        }
        prop_assert_eq!(read, values);
    }
}
