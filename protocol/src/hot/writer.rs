//! Appending fields of a response to a buffer: the bottom of the hot writers.
//!
//! Values come from the broker itself, so that a length which its field cannot hold is our own bug
//! and an assertion; nothing here errs.

use super::TopicRef;
use crate::varint;

/// The leader that a client should turn to, with the epoch in which it leads. KIP-951.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaderIdAndEpoch {
    /// The broker's id, -1 if unknown.
    pub leader_id: i32,
    /// The leader's epoch, -1 if unknown.
    pub leader_epoch: i32,
}

/// Where a leader named in the same response listens. KIP-951.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeEndpoint<'a> {
    /// The broker's id.
    pub node_id: i32,
    /// The advertised host.
    pub host: &'a str,
    /// The advertised port.
    pub port: i32,
    /// The broker's rack.
    pub rack: Option<&'a str>,
}

#[inline]
pub(super) fn put_i16(out: &mut Vec<u8>, value: i16) {
    out.extend_from_slice(&value.to_be_bytes());
}

#[inline]
pub(super) fn put_i32(out: &mut Vec<u8>, value: i32) {
    out.extend_from_slice(&value.to_be_bytes());
}

#[inline]
pub(super) fn put_i64(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// A count or a length of bytes, in either form.
#[inline]
pub(super) fn put_length(out: &mut Vec<u8>, flexible: bool, length: usize) {
    let length = i32::try_from(length).expect("a response's lengths are below 2 GiB");
    if flexible {
        varint::write_uvarint(out, length as u32 + 1);
    } else {
        put_i32(out, length);
    }
}

/// The null of an array or of bytes.
#[inline]
pub(super) fn put_null_length(out: &mut Vec<u8>, flexible: bool) {
    if flexible { out.push(0) } else { put_i32(out, -1) }
}

#[inline]
pub(super) fn put_string(out: &mut Vec<u8>, flexible: bool, value: &[u8]) {
    let length = i16::try_from(value.len()).expect("a response's strings are below 32 KiB");
    if flexible {
        varint::write_uvarint(out, length as u32 + 1);
    } else {
        put_i16(out, length);
    }
    out.extend_from_slice(value);
}

#[inline]
pub(super) fn put_nullable_string(out: &mut Vec<u8>, flexible: bool, value: Option<&str>) {
    match value {
        Some(value) => put_string(out, flexible, value.as_bytes()),
        None if flexible => out.push(0),
        None => put_i16(out, -1),
    }
}

#[inline]
pub(super) fn put_topic(out: &mut Vec<u8>, flexible: bool, by_id: bool, topic: TopicRef<'_>) {
    match topic {
        TopicRef::Id(id) => {
            assert!(by_id, "this version names topics by name");
            out.extend_from_slice(&id);
        }
        TopicRef::Name(name) => {
            assert!(!by_id, "this version names topics by id");
            put_string(out, flexible, name);
        }
    }
}

/// The tagged `CurrentLeader`: two numbers and an empty tag section.
pub(super) fn put_leader_tag(out: &mut Vec<u8>, tag: u8, leader: LeaderIdAndEpoch) {
    out.extend_from_slice(&[tag, 4 + 4 + 1]);
    put_i32(out, leader.leader_id);
    put_i32(out, leader.leader_epoch);
    out.push(0);
}

/// The response's closing tag section, with `NodeEndpoints` as tag 0 if there are any and the
/// version knows them.
pub(super) fn put_endpoints(out: &mut Vec<u8>, endpoints: &[NodeEndpoint<'_>]) {
    if endpoints.is_empty() {
        out.push(0);
        return;
    }
    let bytes: usize = varint::uvarint_bytes(endpoints.len() as u32 + 1)
        + endpoints.iter().map(endpoint_bytes).sum::<usize>();
    out.extend_from_slice(&[1, 0]);
    varint::write_uvarint(out, u32::try_from(bytes).expect("endpoints are below 4 GiB"));
    put_length(out, true, endpoints.len());
    for endpoint in endpoints {
        put_i32(out, endpoint.node_id);
        put_string(out, true, endpoint.host.as_bytes());
        put_i32(out, endpoint.port);
        put_nullable_string(out, true, endpoint.rack);
        out.push(0);
    }
}

fn endpoint_bytes(endpoint: &NodeEndpoint<'_>) -> usize {
    let string_bytes = |value: &str| varint::uvarint_bytes(value.len() as u32 + 1) + value.len();
    4 + string_bytes(endpoint.host) + 4 + endpoint.rack.map_or(1, string_bytes) + 1
}
