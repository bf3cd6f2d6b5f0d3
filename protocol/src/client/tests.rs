//! The client half against a scripted server made of the same messages.
//!
//! The server side is `RequestHeaderRef` and `encode_response`, so a disagreement between the two
//! halves about headers, versions or order shows as a decode error or a wrong value.

use bytes::Bytes;

use super::*;
use crate::api::RequestHeaderRef;
use crate::error_code::ErrorCode;
use crate::frame::{Frame, PREFIX_BYTES, encode_response, split};
use crate::limits;
use crate::message::{Message, Request};
use crate::messages::*;
use crate::primitive::Reader;

/// Takes one request off the front of what the client sent.
fn take_request<R: Request>(sent: &mut Vec<u8>) -> (i16, i32, R) {
    let Ok(Frame::Complete { end }) = split(sent, 1 << 20) else { panic!("no whole request") };
    let frame = Bytes::from(sent.drain(..end).collect::<Vec<u8>>());
    let content = frame.slice(PREFIX_BYTES..);
    let (header, body) = RequestHeaderRef::parse(&content).expect("a header");
    assert_eq!(header.api_key, R::KEY);
    assert_eq!(header.client_id, Some(&b"test"[..]));
    let mut reader = Reader::new(&content[body..]);
    let request = R::decode(&mut reader, header.api_version).expect("a body");
    assert_eq!(reader.remaining(), 0);
    (header.api_version, header.correlation_id, request)
}

fn reply<R: Request>(version: i16, correlation_id: i32, body: &R::Response) -> Vec<u8> {
    let mut out = Vec::new();
    encode_response::<R>(&mut out, version, correlation_id, body).expect("encodes");
    out
}

fn offering(offers: &[(ApiKey, i16, i16)]) -> ApiVersionsResponse {
    let api_keys = offers.iter().map(|&(key, min_version, max_version)| {
        let api_key = key.code();
        api_versions::ApiVersion { api_key, min_version, max_version }
    });
    ApiVersionsResponse { api_keys: api_keys.collect(), ..Default::default() }
}

fn connection() -> Connection {
    Connection::new(Some("test".into()))
}

fn connected(offers: &[(ApiKey, i16, i16)]) -> Connection {
    let mut connection = connection();
    connection.set_peer(offering(offers).into());
    connection
}

#[test]
fn the_highest_common_version_is_spoken() {
    let mut connection = connected(&[(ApiKey::Metadata, 0, 99), (ApiKey::Fetch, 4, 12)]);
    assert_eq!(connection.version_of(ApiKey::Metadata), Ok(13));
    assert_eq!(connection.version_of(ApiKey::Fetch), Ok(12));
    let mut sent = Vec::new();
    connection.send(&FetchRequest::default(), &mut sent).expect("sends");
    assert_eq!(take_request::<FetchRequest>(&mut sent).0, 12);
    let names_only = Versions { min: 0, max: 9 };
    connection.send_within(&MetadataRequest::default(), names_only, &mut sent).expect("sends");
    assert_eq!(take_request::<MetadataRequest>(&mut sent).0, 9);
}

#[test]
fn what_the_peer_does_not_speak_is_an_error_before_a_byte_is_sent() {
    let mut sent = Vec::new();
    let unknown = connection().send(&MetadataRequest::default(), &mut sent);
    assert_eq!(unknown, Err(ClientError::NotNegotiated { key: ApiKey::Metadata }));
    let mut connection = connected(&[(ApiKey::Fetch, 0, 3)]);
    let absent = connection.send(&MetadataRequest::default(), &mut sent);
    assert_eq!(absent, Err(ClientError::NotOffered { key: ApiKey::Metadata }));
    let old = connection.send(&FetchRequest::default(), &mut sent);
    assert!(matches!(old, Err(ClientError::NoCommonVersion { key: ApiKey::Fetch, .. })));
    assert!(sent.is_empty());
    assert_eq!(connection.in_flight_count(), 0);
}

#[test]
fn responses_are_cut_from_bytes_that_arrive_in_any_portions() {
    let mut connection = connected(&[(ApiKey::Heartbeat, 0, 4)]);
    let mut sent = Vec::new();
    let mut answers = Vec::new();
    for code in [0, 27, 25] {
        connection.send(&HeartbeatRequest::default(), &mut sent).expect("sends");
        let (version, id, _) = take_request::<HeartbeatRequest>(&mut sent);
        let body = HeartbeatResponse { error_code: code, ..Default::default() };
        answers.extend(reply::<HeartbeatRequest>(version, id, &body));
    }
    let mut codes = Vec::new();
    for byte in answers {
        connection.handle_bytes(&[byte]);
        while let Some(response) = connection.poll_response().expect("in step") {
            codes.push(response.decode::<HeartbeatRequest>().expect("a heartbeat").error_code);
        }
    }
    assert_eq!(codes, [0, 27, 25]);
    assert_eq!(connection.in_flight_count(), 0);
}

#[test]
fn a_response_out_of_order_ends_the_connection() {
    let mut connection = connected(&[(ApiKey::Heartbeat, 0, 4)]);
    let mut sent = Vec::new();
    let first = connection.send(&HeartbeatRequest::default(), &mut sent).expect("sends");
    let second = connection.send(&HeartbeatRequest::default(), &mut sent).expect("sends");
    connection.handle_bytes(&reply::<HeartbeatRequest>(4, second, &Default::default()));
    let expected = ClientError::WrongCorrelation { expected: first, found: second };
    assert_eq!(connection.poll_response(), Err(expected));
}

#[test]
fn a_response_to_nothing_is_an_error() {
    let mut connection = connection();
    connection.handle_bytes(&reply::<HeartbeatRequest>(4, 9, &Default::default()));
    let expected = ClientError::UnexpectedResponse { found: 9 };
    assert_eq!(connection.poll_response(), Err(expected));
    connection.handle_bytes(&[0; 4]);
    let empty = ClientError::UnexpectedResponse { found: -1 };
    assert_eq!(connection.poll_response(), Err(empty));
}

#[test]
fn a_produce_without_acks_waits_for_nothing() {
    let mut connection = connection();
    let mut sent = Vec::new();
    connection.send_unanswered(&ProduceRequest::default(), 9, &mut sent).expect("sends");
    assert_eq!(connection.in_flight_count(), 0);
    let next = connection.send_at(&HeartbeatRequest::default(), 4, &mut sent);
    assert_eq!(next, Ok(1), "correlation ids go on");
}

#[test]
fn requests_in_flight_are_bounded() {
    let mut connection = connected(&[(ApiKey::Heartbeat, 0, 4)]);
    let mut sent = Vec::new();
    for _ in 0..limits::CLIENT_IN_FLIGHT_MAX {
        connection.send(&HeartbeatRequest::default(), &mut sent).expect("below the bound");
    }
    let length = sent.len();
    let refused = connection.send(&HeartbeatRequest::default(), &mut sent);
    let count = limits::CLIENT_IN_FLIGHT_MAX;
    assert_eq!(refused, Err(ClientError::InFlightFull { count }));
    assert_eq!(sent.len(), length);
}

#[test]
fn a_response_above_the_bound_is_refused_by_its_length() {
    let mut connection = connection().with_frame_bytes_max(100);
    connection.handle_bytes(&101_i32.to_be_bytes());
    assert!(matches!(connection.poll_response(), Err(ClientError::Frame(_))));
}

#[test]
fn a_prepared_body_is_sent_as_it_is() {
    let mut connection = connection();
    let request = HeartbeatRequest { group_id: "g".into(), ..Default::default() };
    let body = request.to_vec(4).expect("encodes");
    let (mut prepared, mut built) = (Vec::new(), Vec::new());
    connection.send_body(ApiKey::Heartbeat, 4, &body, &mut prepared).expect("sends");
    self::connection().send_at(&request, 4, &mut built).expect("sends");
    assert_eq!(prepared, built);
    assert_eq!(connection.in_flight_count(), 1);
}

#[test]
fn connecting_agrees_on_versions() {
    let mut sent = Vec::new();
    let mut connect = Connect::start(connection(), None, &mut sent).expect("starts");
    let (version, id, request) = take_request::<ApiVersionsRequest>(&mut sent);
    assert_eq!((version, request.client_software_name.as_str()), (4, "corelane"));
    let mut answer = offering(&[(ApiKey::Metadata, 0, 12)]);
    answer.finalized_features_epoch = 3;
    answer.finalized_features.push(api_versions::FinalizedFeatureKey {
        name: "transaction.version".into(),
        max_version_level: 2,
        min_version_level: 1,
    });
    let reply = reply::<ApiVersionsRequest>(version, id, &answer);
    assert_eq!(connect.handle_bytes(&reply, &mut sent), Ok(true));
    let connection = connect.finish().expect("ready");
    let peer = connection.peer().expect("known");
    assert_eq!(peer.choose(ApiKey::Metadata), Ok(12));
    assert_eq!(peer.finalized_level("transaction.version"), Some(2));
    assert_eq!(peer.finalized_level("group.version"), None);
}

#[test]
fn a_peer_that_lacks_our_api_versions_is_asked_again_in_its_own() {
    // KIP-511: error 35 comes in version 0, whatever was asked; it may name the range or not.
    for (named, asked_again) in [(true, 2), (false, 0)] {
        let mut sent = Vec::new();
        let mut connect = Connect::start(connection(), None, &mut sent).expect("starts");
        let (_, id, _) = take_request::<ApiVersionsRequest>(&mut sent);
        let offers: &[_] = if named { &[(ApiKey::ApiVersions, 0, 2)] } else { &[] };
        let code = ErrorCode::UnsupportedVersion.code();
        let refusal = ApiVersionsResponse { error_code: code, ..offering(offers) };
        let bytes = reply::<ApiVersionsRequest>(0, id, &refusal);
        assert_eq!(connect.handle_bytes(&bytes, &mut sent), Ok(false));
        let (version, id, _) = take_request::<ApiVersionsRequest>(&mut sent);
        assert_eq!(version, asked_again);
        let answer = offering(&[(ApiKey::Metadata, 0, 1)]);
        let bytes = reply::<ApiVersionsRequest>(version, id, &answer);
        assert_eq!(connect.handle_bytes(&bytes, &mut sent), Ok(true));
        assert!(connect.finish().is_some());
    }
}

#[test]
fn a_peer_that_refuses_twice_is_given_up() {
    let mut sent = Vec::new();
    let mut connect = Connect::start(connection(), None, &mut sent).expect("starts");
    let code = ErrorCode::UnsupportedVersion.code();
    let refusal = ApiVersionsResponse { error_code: code, ..Default::default() };
    let first = connect.handle_bytes(&reply::<ApiVersionsRequest>(0, 0, &refusal), &mut sent);
    assert_eq!(first, Ok(false));
    let second = connect.handle_bytes(&reply::<ApiVersionsRequest>(0, 1, &refusal), &mut sent);
    assert_eq!(second, Err(ClientError::VersionsRefused { code }));
    assert!(connect.finish().is_none());
}

const SASL: [(ApiKey, i16, i16); 2] =
    [(ApiKey::SaslHandshake, 0, 1), (ApiKey::SaslAuthenticate, 0, 2)];

fn authenticating(sent: &mut Vec<u8>) -> Connect {
    let plain = Plain::new("ada".into(), "secret".into());
    let mut connect = Connect::start(connection(), Some(Box::new(plain)), sent).expect("starts");
    let (version, id, _) = take_request::<ApiVersionsRequest>(sent);
    let bytes = reply::<ApiVersionsRequest>(version, id, &offering(&SASL));
    assert_eq!(connect.handle_bytes(&bytes, sent), Ok(false));
    connect
}

#[test]
fn plain_authenticates_in_two_requests() {
    let mut sent = Vec::new();
    let mut connect = authenticating(&mut sent);
    let (version, id, handshake) = take_request::<SaslHandshakeRequest>(&mut sent);
    assert_eq!(handshake.mechanism, "PLAIN");
    let bytes = reply::<SaslHandshakeRequest>(version, id, &Default::default());
    assert_eq!(connect.handle_bytes(&bytes, &mut sent), Ok(false));
    let (version, id, authenticate) = take_request::<SaslAuthenticateRequest>(&mut sent);
    assert_eq!(authenticate.auth_bytes, "\0ada\0secret");
    let bytes = reply::<SaslAuthenticateRequest>(version, id, &Default::default());
    assert_eq!(connect.handle_bytes(&bytes, &mut sent), Ok(true));
    assert!(connect.finish().is_some());
}

#[test]
fn wrong_credentials_are_told_apart_from_a_wrong_mechanism() {
    let mut sent = Vec::new();
    let mut connect = authenticating(&mut sent);
    let (version, id, _) = take_request::<SaslHandshakeRequest>(&mut sent);
    let code = ErrorCode::UnsupportedSaslMechanism.code();
    let refusal =
        SaslHandshakeResponse { error_code: code, mechanisms: vec!["SCRAM-SHA-256".into()] };
    let bytes = reply::<SaslHandshakeRequest>(version, id, &refusal);
    let message = "the peer offers SCRAM-SHA-256".to_owned();
    let expected = ClientError::AuthenticationFailed { code, message };
    assert_eq!(connect.handle_bytes(&bytes, &mut sent), Err(expected));

    let mut connect = authenticating(&mut sent);
    let (version, id, _) = take_request::<SaslHandshakeRequest>(&mut sent);
    let bytes = reply::<SaslHandshakeRequest>(version, id, &Default::default());
    assert_eq!(connect.handle_bytes(&bytes, &mut sent), Ok(false));
    let (version, id, _) = take_request::<SaslAuthenticateRequest>(&mut sent);
    let code = ErrorCode::SaslAuthenticationFailed.code();
    let error_message = Some("no".to_owned());
    let refusal =
        SaslAuthenticateResponse { error_code: code, error_message, ..Default::default() };
    let bytes = reply::<SaslAuthenticateRequest>(version, id, &refusal);
    let expected = ClientError::AuthenticationFailed { code, message: "no".into() };
    assert_eq!(connect.handle_bytes(&bytes, &mut sent), Err(expected));
}

#[test]
fn a_password_is_not_printed() {
    let plain = Plain::new("ada".into(), "secret".into());
    assert!(!format!("{plain:?}").contains("secret"));
}
