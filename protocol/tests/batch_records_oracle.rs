//! Record batches against the `kafka-protocol` crate: each side reads what the other wrote, for
//! every codec and for records of any shape.

use bytes::{Bytes, BytesMut};
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records as oracle;
use proptest::prelude::*;
use protocol::batch::header::check_crc;
use protocol::batch::{BatchBuilder, BatchOptions, Header, TimestampType, open_records};
use protocol::compress::{Codecs, Compression};

const BOUND: usize = 1 << 22;

#[derive(Debug, Clone, PartialEq)]
struct Values {
    timestamp_ms: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    /// Names differ, because the oracle keeps headers in a map.
    headers: Vec<(String, Option<Vec<u8>>)>,
}

fn any_values() -> impl Strategy<Value = Values> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..300);
    let field = || proptest::option::of(bytes());
    let headers = proptest::collection::vec(field(), 0..4);
    (0..2_i64 << 40, field(), field(), headers).prop_map(|(timestamp_ms, key, value, headers)| {
        let named = |(index, value)| (format!("header-{index}"), value);
        Values {
            timestamp_ms,
            key,
            value,
            headers: headers.into_iter().enumerate().map(named).collect(),
        }
    })
}

fn oracle_codec(codec: Compression) -> oracle::Compression {
    match codec {
        Compression::None => oracle::Compression::None,
        Compression::Gzip => oracle::Compression::Gzip,
        Compression::Snappy => oracle::Compression::Snappy,
        Compression::Lz4 => oracle::Compression::Lz4,
        Compression::Zstd => oracle::Compression::Zstd,
    }
}

fn oracle_record(values: &Values, index: usize) -> oracle::Record {
    let mut record = oracle::Record {
        transactional: true,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: 4,
        producer_id: 77,
        producer_epoch: 5,
        timestamp_type: oracle::TimestampType::Creation,
        offset: 1000 + index as i64,
        sequence: 30 + index as i32,
        timestamp: values.timestamp_ms,
        key: values.key.clone().map(Bytes::from),
        value: values.value.clone().map(Bytes::from),
        headers: Default::default(),
    };
    for (name, value) in &values.headers {
        let name = StrBytes::from_string(name.clone());
        record.headers.insert(name, value.clone().map(Bytes::from));
    }
    record
}

fn our_batch(values: &[Values], compression: Compression) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions {
        base_offset: 1000,
        partition_leader_epoch: 4,
        compression,
        producer_id: 77,
        producer_epoch: 5,
        base_sequence: 30,
        transactional: true,
        ..BatchOptions::default()
    });
    for Values { timestamp_ms, key, value, headers } in values {
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| Header { key: name.as_bytes(), value: value.as_deref() })
            .collect();
        builder.append(*timestamp_ms, key.as_deref(), value.as_deref(), &headers);
    }
    let mut out = Vec::new();
    builder.build(&mut Codecs::new(), &mut out);
    out
}

fn check_both_ways(values: &[Values], codec: Compression) {
    let records: Vec<_> =
        values.iter().enumerate().map(|(index, values)| oracle_record(values, index)).collect();
    let options = oracle::RecordEncodeOptions { version: 2, compression: oracle_codec(codec) };
    let mut theirs = BytesMut::new();
    oracle::RecordBatchEncoder::encode(&mut theirs, &records, &options).expect("encodes");
    assert_eq!(check_crc(&theirs), Ok(()));

    let mut codecs = Codecs::new();
    let (header, read) = open_records(&theirs, &mut codecs, BOUND).expect("the oracle's batch");
    assert_eq!(header.compression(), Some(codec));
    assert_eq!(header.timestamp_type(), TimestampType::CreateTime);
    assert_eq!((header.base_offset, header.partition_leader_epoch), (1000, 4));
    assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (77, 5, 30));
    assert!(header.is_transactional() && !header.is_control());
    assert_eq!(header.last_offset(), 1000 + values.len() as i64 - 1);
    let mut found = Vec::new();
    for (record, offset) in read.zip(1000..) {
        let record = record.expect("valid");
        assert_eq!(record.offset(&header), offset);
        found.push(Values {
            timestamp_ms: record.timestamp_ms(&header),
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: record
                .headers
                .map(|header| {
                    let name = String::from_utf8(header.key.to_vec()).expect("UTF-8");
                    (name, header.value.map(<[u8]>::to_vec))
                })
                .collect(),
        });
    }
    assert_eq!(found, values);

    let mut ours = Bytes::from(our_batch(values, codec));
    let decoded = oracle::RecordBatchDecoder::decode(&mut ours).expect("our batch");
    assert!(ours.is_empty());
    assert_eq!(decoded.records, records);
}

#[test]
fn batches_above_every_block_size_are_read_both_ways() {
    let values: Vec<_> = (0..500_i64)
        .map(|index| Values {
            timestamp_ms: 1_000_000 - index,
            key: Some(format!("key-{index}").into_bytes()),
            value: Some(format!("{index}:").repeat(100).into_bytes()),
            headers: vec![("origin".to_owned(), Some(vec![index as u8; 5]))],
        })
        .collect();
    for codec in Compression::ALL {
        check_both_ways(&values, codec);
    }
}

proptest! {
    #[test]
    fn records_of_any_shape_are_read_both_ways(
        values in proptest::collection::vec(any_values(), 1..12),
        codec in 0_i16..5,
    ) {
        check_both_ways(&values, Compression::from_attributes(codec).expect("five codecs"));
    }
}
