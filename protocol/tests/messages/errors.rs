//! What decoding and encoding refuse, drop and tolerate, one rule per test, Kafka's as observed.

use bytes::Bytes;
use protocol::messages::*;
use protocol::primitive::{DecodeErrorKind, EncodeErrorKind, Kind, Reader, StructInfo};
use protocol::{ApiKey, Message, RequestHeader, RequestHeaderRef, ResponseHeader, Uuid};

use super::cases;

fn decode<M: Message>(bytes: &[u8], version: i16) -> Result<M, DecodeErrorKind> {
    M::decode(&mut Reader::new(bytes), version).map_err(|error| error.kind)
}

#[test]
fn a_negative_array_length_is_null_where_null_is_allowed() {
    // Kafka 4.3.1 takes −2 for −1.
    let request: MetadataRequest = decode(&[0xff, 0xff, 0xff, 0xfe], 1).expect("null topics");
    assert_eq!(request.topics, None);
    let refused = decode::<MetadataRequest>(&[0xff, 0xff, 0xff, 0xfe], 0);
    assert_eq!(refused, Err(DecodeErrorKind::NullNotAllowed));
}

#[test]
fn a_negative_string_length_is_null_where_null_is_allowed() {
    let refused = decode::<SaslHandshakeRequest>(&[0xff, 0xfe], 1);
    assert_eq!(refused, Err(DecodeErrorKind::NullNotAllowed));
    let (header, body) =
        RequestHeaderRef::parse(&[0, 17, 0, 1, 0, 0, 0, 9, 0xff, 0xfe]).expect("null client id");
    assert_eq!((header.client_id, body), (None, 10));
}

#[test]
fn bytes_that_are_no_utf8_become_replacement_characters() {
    let request: SaslHandshakeRequest = decode(&[0, 3, b'a', 0xff, b'b'], 0).expect("a string");
    assert_eq!(request.mechanism, "a\u{fffd}b");
}

#[test]
fn an_array_longer_than_the_message_is_refused_before_it_is_reserved() {
    let refused = decode::<MetadataRequest>(&[0x7f, 0xff, 0xff, 0xff, 0, 0], 0);
    let elements = 0x7fff_ffff;
    assert_eq!(refused, Err(DecodeErrorKind::ArrayTooLong { elements, remaining: 2 }));
}

#[test]
fn a_compact_string_above_kafkas_bound_is_refused() {
    // 0x8000 bytes: one more than a two-byte length could say.
    let mut bytes = vec![0x81, 0x80, 0x02];
    bytes.resize(0x8000 + 10, b'x');
    let refused = decode::<SaslAuthenticateResponse>(&[&[0, 0][..], &bytes].concat(), 2);
    assert_eq!(refused, Err(DecodeErrorKind::StringTooLong { bytes: 0x8000 }));
}

#[test]
fn tagged_fields_nobody_knows_are_skipped() {
    let known = HeartbeatRequest { group_id: "g".into(), ..Default::default() };
    let mut bytes = known.to_vec(4).expect("a heartbeat");
    assert_eq!(bytes.pop(), Some(0), "an empty tagged section ends it");
    bytes.extend_from_slice(&[2, 7, 3, 1, 2, 3, 9, 0]);
    let mut reader = Reader::new(&bytes);
    assert_eq!(HeartbeatRequest::decode(&mut reader, 4), Ok(known));
    assert_eq!(reader.remaining(), 0);
}

#[test]
fn a_tagged_field_larger_than_the_message_is_refused() {
    let mut bytes = HeartbeatRequest::default().to_vec(4).expect("a heartbeat");
    bytes.pop();
    bytes.extend_from_slice(&[1, 7, 3, 1, 2]);
    let refused = decode::<HeartbeatRequest>(&bytes, 4);
    assert_eq!(refused, Err(DecodeErrorKind::Truncated { needed: 3, remaining: 2 }));
    bytes.truncate(bytes.len() - 5);
    bytes.extend_from_slice(&[0xff, 0xff, 0xff, 0xff, 0x07, 0, 0]);
    assert!(decode::<HeartbeatRequest>(&bytes, 4).is_err());
}

#[test]
fn a_known_tagged_field_must_fill_its_size() {
    let mut response = ApiVersionsResponse { finalized_features_epoch: 5, ..Default::default() }
        .to_vec(4)
        .expect("a response");
    // The epoch's eight bytes, tag 1, end the message; say nine.
    let size_at = response.len() - 9;
    assert_eq!(response[size_at - 1..=size_at], [1, 8]);
    response[size_at] = 9;
    response.push(0);
    let refused = decode::<ApiVersionsResponse>(&response, 4);
    assert_eq!(refused, Err(DecodeErrorKind::TagSize { tag: 1, declared: 9 }));
}

#[test]
fn a_set_field_the_version_lacks_is_dropped_only_if_it_may_be() {
    // `reason` is ignorable: KIP-800 lets older brokers miss it.
    let leave = JoinGroupRequest { reason: Some("why".into()), ..Default::default() };
    assert!(leave.to_vec(7).is_ok());
    // A topic asked for by id cannot be asked for in a version without ids.
    let fetch = OffsetFetchRequest { require_stable: true, ..Default::default() };
    let refused = fetch.to_vec(6).expect_err("would read unstable offsets");
    assert_eq!(refused.field, "OffsetFetchRequest.require_stable");
    assert_eq!(refused.kind, EncodeErrorKind::FieldNotInVersion { version: 6 });
}

#[test]
fn null_is_not_written_where_the_version_has_none() {
    let all = MetadataRequest { topics: None, ..Default::default() };
    assert!(all.to_vec(1).is_ok());
    let mut out = vec![1, 2, 3];
    let refused = all.encode(&mut out, 0).expect_err("v0 has no null");
    assert_eq!(refused.kind, EncodeErrorKind::NullNotAllowed { version: 0 });
    assert_eq!(out, [1, 2, 3], "a failed encode leaves nothing behind");
}

#[test]
fn a_string_too_long_for_the_wire_is_an_error() {
    let long = SaslHandshakeRequest { mechanism: "x".repeat(0x8000) };
    let refused = long.to_vec(1).expect_err("the length has two bytes");
    assert_eq!(refused.kind, EncodeErrorKind::TooLong { length: 0x8000 });
}

#[test]
fn records_are_slices_of_the_frame() {
    let request = ProduceRequest {
        topic_data: vec![produce::TopicProduceData {
            name: "t".into(),
            partition_data: vec![produce::PartitionProduceData {
                records: Some(Bytes::from_static(b"batch")),
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let frame = Bytes::from(request.to_vec(9).expect("a produce"));
    let read = ProduceRequest::from_bytes(&frame, 9).expect("the same produce");
    let records = read.topic_data[0].partition_data[0].records.as_ref().expect("records");
    assert!(frame.as_ptr_range().contains(&records.as_ptr()));
    assert_eq!(read, request);
}

#[test]
fn nullable_structs_are_announced_by_a_byte() {
    let without = DescribeTopicPartitionsRequest::default();
    assert_eq!(without.cursor, None);
    let mut expected = vec![1];
    expected.extend_from_slice(&2000_i32.to_be_bytes());
    expected.extend_from_slice(&[0xff, 0]);
    assert_eq!(without.to_vec(0).expect("encodes"), expected);
}

#[test]
fn tags_of_a_struct_ascend() {
    // Tagged fields are written in row order, and the wire wants them by tag (KIP-482).
    fn walk(info: &StructInfo) {
        let tags: Vec<u32> = info.fields.iter().filter_map(|field| field.spec.tag).collect();
        assert!(tags.is_sorted_by(|low, high| low < high), "{}: {tags:?}", info.name);
        for field in info.fields {
            visit(&field.kind);
        }
    }
    fn visit(kind: &Kind) {
        match kind {
            Kind::Array(inner) | Kind::Nullable(inner) => visit(inner),
            Kind::Struct(info) => walk(info),
            _ => {}
        }
    }
    for case in cases() {
        walk(case.info);
    }
}

#[test]
fn a_request_header_round_trips_in_both_forms() {
    for (version, tagged) in [(8, false), (9, true)] {
        let header = RequestHeader {
            api_key: ApiKey::Metadata,
            api_version: version,
            correlation_id: -7,
            client_id: Some("tram".into()),
        };
        let mut bytes = Vec::new();
        header.encode(&mut bytes).expect("a short client id");
        assert_eq!(bytes.len(), header.size());
        assert_eq!(bytes.len(), 14 + usize::from(tagged));
        let (parsed, body) = RequestHeaderRef::parse(&bytes).expect("a header");
        assert_eq!(body, bytes.len());
        assert_eq!(RequestHeader::from(parsed), header);
    }
}

#[test]
fn an_api_versions_response_never_has_the_flexible_header() {
    // KIP-511: its reader does not know yet what the broker speaks.
    let mut out = Vec::new();
    ResponseHeader { correlation_id: 1 }.encode(&mut out, ApiKey::ApiVersions, 4);
    assert_eq!(out, [0, 0, 0, 1]);
    ResponseHeader { correlation_id: 1 }.encode(&mut out, ApiKey::Metadata, 12);
    assert_eq!(out[4..], [0, 0, 0, 1, 0]);
    // A version from the future is parsed with the header of the newest.
    let frame = [0, 18, 0, 99, 0, 0, 0, 5, 0, 1, b'c', 0];
    let (header, body) = RequestHeaderRef::parse(&frame).expect("a header");
    assert_eq!((header.api_version, header.correlation_id, body), (99, 5, 12));
}

#[test]
fn an_unknown_key_is_named() {
    let refused = RequestHeaderRef::parse(&[0x7f, 0xff, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(refused.map_err(|error| error.to_string()), Err("no API has key 32767".to_owned()));
}

#[test]
fn defaults_are_kafkas() {
    let commit = OffsetCommitRequest::default();
    assert_eq!(commit.generation_id_or_member_epoch, -1);
    assert_eq!(fetch::FetchPartition::default().high_watermark, i64::MAX);
    assert_eq!(MetadataRequest::default().topics, Some(Vec::new()));
    assert_eq!(fetch::PartitionData::default().records, None);
    assert_eq!(fetch::FetchTopic::default().topic_id, Uuid::ZERO);
}

#[test]
fn secrets_are_not_printed() {
    let auth_bytes = Bytes::from_static(b"\0ada\0pass");
    let printed = format!("{:?}", SaslAuthenticateRequest { auth_bytes });
    assert_eq!(printed, "SaslAuthenticateRequest { auth_bytes: [secret] }");
}
