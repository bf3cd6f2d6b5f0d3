//! What comes over the wire, to a broker or to a client: headers, bodies, batches, records, codecs.

use protocol::batch::control::{read_control_key, read_end_txn_value};
use protocol::batch::{
    BatchHeader, HEADER_BYTES, RecordChecks, RecordIter, TimestampType, ValidateConfig, header,
    open_records, validate_produce,
};
use protocol::client::{Connect, Connection};
use protocol::compress::{Codecs, Compression};
use protocol::hot::{FetchView, ProduceView};
use protocol::messages::*;
use protocol::{ApiKey, Message, Reader, RequestHeader, murmur2, varint};

/// Bound of decompression while fuzzing: small, so that many inputs are tried.
const OUTPUT_BYTES_MAX: usize = 64 << 10;

/// A Produce body. The first byte is the version.
pub fn produce_view(data: &[u8]) {
    let Some((&version, body)) = data.split_first() else { return };
    let Ok(view) = ProduceView::parse(i16::from(version), body) else { return };
    let mut count = 0;
    for partition in view.partitions() {
        count += 1;
        assert!(partition.topic_index < view.topics_count);
        if let Some(records) = partition.records {
            let end = partition.records_start + records.len();
            assert_eq!(body.get(partition.records_start..end), Some(records));
        }
    }
    assert_eq!(count, view.partitions_count);
}

/// A Fetch body. The first byte is the version.
pub fn fetch_view(data: &[u8]) {
    let Some((&version, body)) = data.split_first() else { return };
    let Ok(view) = FetchView::parse(i16::from(version), body) else { return };
    let partitions = view.partitions().inspect(|partition| {
        assert!(partition.topic_index < view.topics_count);
    });
    assert_eq!(partitions.count(), view.partitions_count as usize);
    assert!(view.forgotten().count() <= body.len());
}

/// A produced batch, as it is and with its length and checksum made right, so that mutations get
/// past them.
pub fn batch(data: &[u8]) {
    check_batch(data);
    if data.len() >= HEADER_BYTES {
        let mut mended = data.to_vec();
        let length = (data.len() - header::LOG_OVERHEAD_BYTES) as i32;
        mended[8..12].copy_from_slice(&length.to_be_bytes());
        mended[..8].fill(0);
        mended[16] = 2;
        header::set_crc(&mut mended);
        assert_eq!(header::check_crc(&mended), Ok(()));
        check_batch(&mended);
    }
}

fn check_batch(data: &[u8]) {
    let mut codecs = Codecs::new();
    for record_checks in [RecordChecks::HeaderOnly, RecordChecks::All] {
        for (compacted, timestamp_type) in
            [(false, TimestampType::CreateTime), (true, TimestampType::LogAppendTime)]
        {
            let config = ValidateConfig {
                compacted,
                timestamp_type,
                timestamp_after_max_ms: i64::MAX,
                records_bytes_max: OUTPUT_BYTES_MAX,
                record_checks,
                ..ValidateConfig::new(0)
            };
            match validate_produce(data, &config, &mut codecs) {
                Ok(valid) => {
                    assert!(valid.header.total_bytes() <= data.len());
                    assert_eq!(valid.header.next_offset(), i64::from(valid.header.records_count));
                }
                Err(error) => {
                    assert!(error.error_code() > 0);
                    assert!(!error.to_string().is_empty());
                }
            }
        }
    }
    if let Ok((header, records)) = open_records(data, &mut codecs, OUTPUT_BYTES_MAX) {
        for record in records.flatten() {
            record.timestamp_ms(&header);
            record.offset(&header);
        }
    }
    if let Ok(header) = BatchHeader::parse(data) {
        assert_eq!(header.to_bytes()[..], data[..HEADER_BYTES]);
        assert_eq!(header::base_offset(data), Some(header.base_offset));
        assert_eq!(header::last_offset(data), Some(header.last_offset()));
        assert!(header.last_sequence() >= -1);
        header.next_offset();
    }
}

/// Uncompressed records. The first byte is their count.
pub fn records(data: &[u8]) {
    let Some((&count, bytes)) = data.split_first() else { return };
    let mut read = 0;
    for record in RecordIter::new(bytes, i32::from(count)) {
        let Ok(record) = record else { break };
        read += 1;
        assert!(record.bytes.len() <= bytes.len());
        assert_eq!(record.headers.len(), record.headers.count());
    }
    assert!(read <= usize::from(count));
}

/// Compressed bytes. The first byte is the codec.
pub fn decompress(data: &[u8]) {
    let Some((&codec, bytes)) = data.split_first() else { return };
    let Some(codec) = Compression::from_attributes(i16::from(codec)) else { return };
    let mut codecs = Codecs::new();
    let mut out = Vec::new();
    match codecs.decompress(codec, bytes, OUTPUT_BYTES_MAX, &mut out) {
        Ok(()) => assert!(out.len() <= OUTPUT_BYTES_MAX),
        Err(_) => assert!(out.is_empty()),
    }
    // Twice with the same contexts: a failure must not spoil them.
    let mut again = Vec::new();
    let result = codecs.decompress(codec, bytes, OUTPUT_BYTES_MAX, &mut again);
    assert!(result.is_err() || again == out);
}

/// The small decoders: control records, numbers, the key hash.
pub fn small(data: &[u8]) {
    let _ = read_control_key(Some(data));
    let _ = read_end_txn_value(Some(data));
    assert!((0..7).contains(&murmur2::partition_for_key(data, 7)));
    for read in [
        |rest: &mut &[u8]| varint::read_uvarint(rest).is_some(),
        |rest: &mut &[u8]| varint::read_varint(rest).is_some(),
        |rest: &mut &[u8]| varint::read_varlong(rest).is_some(),
    ] {
        let mut rest = data;
        let ok = read(&mut rest);
        assert_eq!(ok, rest.len() < data.len());
    }
}

/// A request's header in front of its body.
pub fn request_header(data: &[u8]) {
    let mut reader = Reader::new(data);
    if let Ok(header) = RequestHeader::decode(&mut reader) {
        let mut out = Vec::new();
        if header.encode(&mut out).is_ok() {
            assert_eq!(out.len(), header.size());
        }
    }
}

macro_rules! message_decoders {
    ($($key:ident => $request:ident, $response:ident;)*) => {
        fn decode_request(key: ApiKey, version: i16, body: &[u8]) {
            match key {
                $(ApiKey::$key => decode::<$request>(version, body),)*
                _ => {}
            }
        }

        fn decode_response(key: ApiKey, version: i16, body: &[u8]) {
            match key {
                $(ApiKey::$key => decode::<$response>(version, body),)*
                _ => {}
            }
        }
    };
}

protocol::for_each_api!(message_decoders);

fn decode<M: Message>(version: i16, body: &[u8]) {
    if !M::SCHEMA.versions.contains(version) {
        return;
    }
    let mut reader = Reader::new(body);
    if let Ok(message) = M::decode(&mut reader, version) {
        assert!(!format!("{message:?}").is_empty());
    }
}

/// A request of any API. The first bytes are the API key and the version.
pub fn request(data: &[u8]) {
    let [key, version, body @ ..] = data else { return };
    if let Some(key) = ApiKey::from_i16(i16::from(*key)) {
        decode_request(key, i16::from(*version), body);
    }
}

/// A response of any API. The first bytes are the API key and the version.
pub fn response(data: &[u8]) {
    let [key, version, body @ ..] = data else { return };
    if let Some(key) = ApiKey::from_i16(i16::from(*key)) {
        decode_response(key, i16::from(*version), body);
    }
}

/// What a client reads from its connection: ApiVersions, then answers to three requests, in pieces
/// of the size that the first byte says.
pub fn client(data: &[u8]) {
    let Some((&piece, bytes)) = data.split_first() else { return };
    let mut sent = Vec::new();
    let connection = Connection::new(Some("fuzz".to_owned())).with_frame_bytes_max(1 << 16);
    let Ok(connect) = Connect::start(connection, None, &mut sent) else {
        panic!("a client can ask for versions");
    };
    let mut connect = Some(connect);
    let mut ready: Option<Connection> = None;
    for chunk in bytes.chunks(usize::from(piece).max(1)) {
        if let Some(mut connecting) = connect.take() {
            match connecting.handle_bytes(chunk, &mut sent) {
                Ok(false) => connect = Some(connecting),
                Ok(true) => {
                    let mut connection = connecting.finish().expect("it says that it is over");
                    // A peer may offer none of the versions we have: then nothing is sent.
                    let _ = connection.send(&MetadataRequest::default(), &mut sent);
                    let _ = connection.send(&FetchRequest::default(), &mut sent);
                    let _ = connection.send(&ProduceRequest::default(), &mut sent);
                    ready = Some(connection);
                }
                Err(error) => return assert!(!error.to_string().is_empty()),
            }
        } else if let Some(connection) = &mut ready {
            connection.handle_bytes(chunk);
        }
        while let Some(connection) = &mut ready {
            match connection.poll_response() {
                Ok(Some(response)) => match response.key {
                    ApiKey::Metadata => drop(response.decode::<MetadataRequest>()),
                    ApiKey::Fetch => drop(response.decode::<FetchRequest>()),
                    _ => drop(response.decode::<ProduceRequest>()),
                },
                Ok(None) => break,
                Err(error) => return assert!(!error.to_string().is_empty()),
            }
        }
    }
}
