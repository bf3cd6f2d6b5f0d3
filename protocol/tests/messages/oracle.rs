//! Round trips through this crate and through the `kafka-protocol` crate, an independent
//! implementation generated from Kafka's schemas.
//!
//! The sampler makes bytes with every field set; both sides must read them whole and write the same
//! bytes again. A row of the wrong type, order, version or nullability changes them.

use std::collections::BTreeMap;

use bytes::Bytes;
use kafka_protocol::protocol::{Decodable, Encodable, Message as TheirMessage};

use super::sample::{Fill, sample};
use super::{Case, cases, for_each_version};

/// The other crate's messages. Names it lacks stand for others, and `ABSENT` keeps them out.
mod theirs {
    pub use kafka_protocol::messages::*;

    pub type StreamsGroupHeartbeatRequest = HeartbeatRequest;
    pub type StreamsGroupHeartbeatResponse = HeartbeatResponse;
    pub type StreamsGroupDescribeRequest = HeartbeatRequest;
    pub type StreamsGroupDescribeResponse = HeartbeatResponse;
}

const ABSENT: [&str; 4] = [
    "StreamsGroupHeartbeatRequest",
    "StreamsGroupHeartbeatResponse",
    "StreamsGroupDescribeRequest",
    "StreamsGroupDescribeResponse",
];

const SEEDS: [(Fill, u64); 6] = [
    (Fill::Full, 1),
    (Fill::Full, 2),
    (Fill::Sparse, 3),
    (Fill::Mixed, 4),
    (Fill::Mixed, 5),
    (Fill::Mixed, 6),
];

struct Their {
    min: i16,
    max: i16,
    again: fn(Bytes, i16) -> Result<Vec<u8>, String>,
}

fn their<M: TheirMessage + Decodable + Encodable>() -> Their {
    Their {
        min: M::VERSIONS.min,
        max: M::VERSIONS.max,
        again: |mut bytes, version| {
            let message = M::decode(&mut bytes, version).map_err(|error| format!("{error:#}"))?;
            if !bytes.is_empty() {
                return Err(format!("{} bytes left", bytes.len()));
            }
            let mut out = Vec::new();
            message.encode(&mut out, version).map_err(|error| format!("{error:#}"))?;
            Ok(out)
        },
    }
}

macro_rules! their_cases {
    ($($key:ident => $request:ident, $response:ident;)*) => {
        fn their_cases() -> BTreeMap<&'static str, Their> {
            BTreeMap::from([
                $(
                    (stringify!($request), their::<theirs::$request>()),
                    (stringify!($response), their::<theirs::$response>()),
                )*
                (
                    "ConsumerProtocolSubscription",
                    their::<theirs::ConsumerProtocolSubscription>(),
                ),
                ("ConsumerProtocolAssignment", their::<theirs::ConsumerProtocolAssignment>()),
            ])
        }
    };
}

protocol::for_each_api!(their_cases);

fn assert_same(case: &Case, version: i16, fill: Fill, expected: &[u8], actual: &[u8], who: &str) {
    assert!(
        expected == actual,
        "{} v{version} {fill:?}: {who} writes\n{actual:02x?}\nof\n{expected:02x?}\n{}",
        case.name,
        (case.debug)(expected, version),
    );
}

#[test]
fn ours_reads_and_writes_the_same_bytes_in_every_version() {
    for_each_version(|case, version| {
        for (fill, seed) in SEEDS {
            let bytes = sample(case.info, case.schema, version, fill, seed);
            let read = (case.copying)(&bytes, version)
                .unwrap_or_else(|error| panic!("{} v{version} {fill:?}: {error}", case.name));
            assert_eq!(read.consumed, bytes.len(), "{} v{version} {fill:?}", case.name);
            let written = read.encoded.expect("what was read can be written");
            assert_same(case, version, fill, &bytes, &written, "ours");
            assert_eq!(read.size, bytes.len(), "{} v{version} {fill:?}: size", case.name);
        }
    });
}

#[test]
fn theirs_reads_and_writes_the_same_bytes_in_every_version_it_has() {
    let theirs = their_cases();
    let mut compared = 0;
    let mut alone = Vec::new();
    for case in cases() {
        let their = &theirs[case.name];
        for version in case.schema.versions.min..=case.schema.versions.max {
            let absent = ABSENT.contains(&case.name);
            if absent || version < their.min || version > their.max {
                alone.push(format!("{} v{version}", case.name));
                continue;
            }
            compared += 1;
            for (fill, seed) in SEEDS {
                let bytes = sample(case.info, case.schema, version, fill, seed);
                let written = (their.again)(bytes.clone().into(), version)
                    .unwrap_or_else(|error| panic!("{} v{version} {fill:?}: {error}", case.name));
                assert_same(&case, version, fill, &bytes, &written, "theirs");
            }
        }
    }
    println!("compared {compared}; not in the other crate: {alone:?}");
    assert!(compared > 400, "only {compared} versions compared; alone: {alone:?}");
}
