//! Quotas of the broker, over one to three shards, in virtual time.
//!
//! Each shard has a connection of the same client, which sends as soon as it is not held. What the
//! shards allow together must be what the quota allows: Kafka's windows forgive one burst of all
//! windows but one, and nothing after it.

use std::net::{IpAddr, Ipv4Addr};

use protocol::error_code::ErrorCode;
use protocol::messages::alter_client_quotas::{
    AlterClientQuotasRequest, EntityData, EntryData, OpData,
};
use protocol::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use protocol::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use protocol::messages::produce::ProduceRequest;

use super::produce::{only, produce};
use super::{CONN, ConnId, Event, Rig, batch};

fn set(rig: &mut Rig, kind: &str, name: &str, key: &str, value: f64) {
    let request = AlterClientQuotasRequest {
        entries: vec![EntryData {
            entity: vec![EntityData {
                entity_type: kind.to_owned(),
                entity_name: Some(name.to_owned()),
            }],
            ops: vec![OpData { key: key.to_owned(), value, remove: false }],
        }],
        validate_only: false,
    };
    let response = rig.request(0, 1, &request);
    assert_eq!(response.entries[0].error_code, 0, "{response:?}");
}

fn is_held(rig: &Rig, shard: usize, conn: ConnId) -> bool {
    rig.shards[shard].connections.get(conn).is_some_and(|connection| connection.muted_until_ns > 0)
}

/// Produces on all shards for so long; returns the bytes that were taken.
fn produce_for(rig: &mut Rig, seconds: u64, value: &str) -> u64 {
    let mut taken = 0;
    for _ in 0..seconds * 100 {
        for shard in 0..rig.shards.len() {
            if !is_held(rig, shard, CONN) {
                let request = produce("t", 0, batch(&[value]));
                let response = rig.request(shard, 9, &request);
                assert_eq!(only(&response).0, 0);
                assert_eq!(response.throttle_time_ms > 0, is_held(rig, shard, CONN));
                taken += value.len() as u64;
            }
        }
        rig.advance_ms(10);
    }
    taken
}

#[test]
fn producers_on_several_shards_share_one_rate() {
    const RATE: u64 = 100_000;
    for shards in 1..=3 {
        let mut rig = Rig::new(shards);
        rig.create_topic("t", 1);
        set(&mut rig, "client-id", "test", "producer_byte_rate", RATE as f64);
        let value = "x".repeat(5_000);
        let first = produce_for(&mut rig, 11, &value);
        // All windows and the one that goes; and what the other shards take before they know that
        // it was too much: a request or two for each connection.
        assert!(first <= RATE * 12 + 50_000, "{shards} shards took {first} bytes at first");
        let later = produce_for(&mut rig, 66, &value);
        assert!(later <= RATE * 66 * 11 / 10, "{shards} shards took {later} bytes in 66 s");
        assert!(later >= RATE * 66 / 2, "{shards} shards took only {later} bytes in 66 s");
    }
}

#[test]
fn a_held_connection_is_not_read_and_what_came_before_is_answered_after_its_time() {
    let mut rig = Rig::new(1);
    rig.create_topic("t", 1);
    set(&mut rig, "client-id", "test", "producer_byte_rate", 1000.0);
    let value = "x".repeat(20_000);
    let response = rig.request(0, 9, &produce("t", 0, batch(&[&value])));
    assert!((9_000..12_000).contains(&response.throttle_time_ms), "{response:?}");
    assert_eq!(rig.paused.last(), Some(&(0, CONN, true)));
    rig.send(0, 9, &produce("t", 0, batch(&["y"])));
    assert!(rig.take::<ProduceRequest>(9).is_none(), "it waits");
    rig.advance_ms(response.throttle_time_ms as u64 - 1);
    assert!(rig.take::<ProduceRequest>(9).is_none(), "it still waits");
    rig.advance_ms(2);
    let second = rig.take::<ProduceRequest>(9).expect("it is answered");
    assert_eq!(only(&second), (0, 1));
}

#[test]
fn a_client_that_is_gone_is_not_waited_for() {
    let mut rig = Rig::new(1);
    rig.create_topic("t", 1);
    set(&mut rig, "client-id", "test", "producer_byte_rate", 1.0);
    rig.request(0, 9, &produce("t", 0, batch(&["x"])));
    rig.event(0, Event::Disconnected { conn: CONN });
    rig.advance_ms(1000);
    assert!(rig.shards[0].quotas.poll_timeout().is_none());
}

fn fetch(session_epoch: i32, offset: i64) -> FetchRequest {
    FetchRequest {
        max_wait_ms: 0,
        min_bytes: 1,
        max_bytes: 1 << 20,
        session_epoch,
        topics: vec![FetchTopic {
            topic: "t".to_owned(),
            partitions: vec![FetchPartition {
                partition: 0,
                fetch_offset: offset,
                partition_max_bytes: 1 << 20,
                ..FetchPartition::default()
            }],
            ..FetchTopic::default()
        }],
        ..FetchRequest::default()
    }
}

#[test]
fn a_fetch_over_its_quota_brings_nothing_and_costs_nothing() {
    let mut rig = Rig::new(1);
    rig.create_topic("t", 1);
    let value = "x".repeat(20_000);
    rig.request(0, 9, &produce("t", 0, batch(&[&value])));
    set(&mut rig, "client-id", "test", "consumer_byte_rate", 1000.0);
    let response = rig.request(0, 11, &fetch(0, 0));
    assert!(response.throttle_time_ms > 9_000, "{}", response.throttle_time_ms);
    assert!(response.responses.is_empty());
    assert_eq!(response.session_id, 0);
    assert_eq!(rig.shards[0].sessions.len(), 0, "no session is left behind");
    rig.advance_ms(response.throttle_time_ms as u64);
    let second = rig.request(0, 11, &fetch(-1, 1));
    assert_eq!(second.throttle_time_ms, 0, "what was not sent does not count");
}

#[test]
fn the_time_of_requests_is_paid_for_by_who_sent_them() {
    let mut rig = Rig::new(1);
    rig.create_topic("t", 1);
    set(&mut rig, "client-id", "test", "request_percentage", 1.0);
    // Each turn takes ten milliseconds: in a second far more than one percent.
    let mut held = None;
    for turn in 0..100 {
        rig.now.mono_ns += 1_000_000;
        rig.send_slowly(0, 9, &produce("t", 0, batch(&["x"])), 10_000_000);
        let response = rig.take::<ProduceRequest>(9).expect("answered");
        if response.throttle_time_ms > 0 {
            held = Some((turn, response.throttle_time_ms));
            break;
        }
    }
    let (turn, throttle_ms) = held.expect("it is held at last");
    // One percent of ten seconds are ten turns.
    assert!((9..=12).contains(&turn), "{turn}");
    assert!(throttle_ms <= 1000, "one window at most, not {throttle_ms}");
}

#[test]
fn connections_beyond_an_addresss_rate_are_closed_when_their_time_is_over() {
    let mut rig = Rig::new(2);
    set(&mut rig, "ip", "192.0.2.1", "connection_creation_rate", 2.0);
    let peer = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    for number in 0..60 {
        rig.event(
            number % 2,
            Event::Connected { conn: ConnId(100 + number as u64), peer, port: 1 },
        );
        rig.advance_ms(20);
    }
    // Ten seconds' worth, give or take what is told late.
    let refused = (0..60)
        .filter(|number| {
            let conn = ConnId(100 + *number as u64);
            rig.shards[number % 2].connections.get(conn).is_some_and(|c| c.doomed)
        })
        .count();
    assert!((33..=40).contains(&refused), "{refused}");
    rig.advance_ms(30_000);
    assert_eq!(rig.closed.len(), refused);
    let other = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));
    rig.event(0, Event::Connected { conn: ConnId(1000), peer: other, port: 1 });
    assert!(!is_held(&rig, 0, ConnId(1000)));
}

#[test]
fn changes_of_metadata_beyond_a_clients_rate_are_refused_until_tokens_are_back() {
    let mut rig = Rig::new(2);
    set(&mut rig, "client-id", "test", "controller_mutation_rate", 0.5);
    let create = |name: &str, partitions| CreateTopicsRequest {
        topics: vec![CreatableTopic {
            name: name.to_owned(),
            num_partitions: partitions,
            replication_factor: 1,
            ..CreatableTopic::default()
        }],
        timeout_ms: 1000,
        ..CreateTopicsRequest::default()
    };
    let first = rig.request(0, 7, &create("a", 8));
    assert_eq!((first.topics[0].error_code, first.throttle_time_ms), (0, 0));
    let second = rig.request(1, 7, &create("b", 1));
    assert_eq!(second.topics[0].error_code, ErrorCode::ThrottlingQuotaExceeded.code());
    assert!((4_900..=5_000).contains(&second.throttle_time_ms), "{}", second.throttle_time_ms);
    assert!(is_held(&rig, 1, CONN));
    rig.advance_ms(second.throttle_time_ms as u64 + 1);
    let third = rig.request(1, 7, &create("b", 1));
    assert_eq!((third.topics[0].error_code, third.throttle_time_ms), (0, 0));
    // An older version does not know the code: it is served, and waits.
    let fourth = rig.request(1, 5, &create("c", 1));
    assert_eq!(fourth.topics[0].error_code, 0);
    assert!(fourth.throttle_time_ms > 0);
}
