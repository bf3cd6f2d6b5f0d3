//! The arithmetic of quotas against figures worked out by hand, and Kafka's order of precedence.

use std::net::IpAddr;

use super::bucket::Bucket;
use super::key::QuotaKey;
use super::rate::{Rate, Window};
use super::rules::{Owner, Rules};
use crate::image::{QuotaEntity, QuotaName, Quotas};

const S: u64 = 1_000_000_000;

fn window() -> Window {
    Window::new(11, 1)
}

#[test]
fn a_burst_counts_as_if_spread_over_all_windows_but_one() {
    let mut rate = Rate::default();
    rate.record(window(), 10_000.0, 5 * S);
    // 10,000 in ten seconds are 1,000 per second.
    assert_eq!(rate.throttle_ns(window(), 1000.0, 5 * S), 0);
    rate.record(window(), 10_000.0, 5 * S);
    // Twice the rate: as long again as it was measured over.
    assert_eq!(rate.throttle_ns(window(), 1000.0, 5 * S), 10 * S);
}

#[test]
fn what_left_the_windows_is_forgotten() {
    let mut rate = Rate::default();
    rate.record(window(), 1e9, 0);
    assert!(rate.throttle_ns(window(), 1.0, 10 * S) > 0);
    assert_eq!(rate.throttle_ns(window(), 1.0, 11 * S), 0);
    assert!(rate.is_idle(window(), 11 * S));
}

#[test]
fn what_is_taken_back_does_not_count() {
    let mut rate = Rate::default();
    rate.record(window(), 20_000.0, 0);
    rate.record(window(), -20_000.0, 0);
    assert_eq!(rate.throttle_ns(window(), 1.0, 0), 0);
}

#[test]
fn a_bucket_serves_until_it_is_below_zero_and_waits_until_it_is_not() {
    let mut bucket = Bucket::default();
    let throttle = |bucket: &mut Bucket, at| bucket.throttle_ns(window(), 0.5, at);
    // It holds 0.5 × 11 = 5.5 tokens.
    bucket.take(0.5, 5.0, 0);
    assert_eq!(throttle(&mut bucket, 0), 0);
    bucket.take(0.5, 1.0, 0);
    assert_eq!(throttle(&mut bucket, 0), S);
    assert_eq!(throttle(&mut bucket, S), 0);
    assert!(!bucket.is_full(0.5, 11 * S));
    assert!(bucket.is_full(0.5, 12 * S));
}

fn quotas(entities: &[(Option<&str>, Option<&str>, f64)]) -> Quotas {
    let name = |text: &str| match text {
        "*" => QuotaName::Default,
        text => QuotaName::Named(text.to_owned()),
    };
    let entity = |user: Option<&str>, client_id: Option<&str>| QuotaEntity {
        user: user.map(name),
        client_id: client_id.map(name),
        ip: None,
    };
    let values = |value| [(QuotaKey::Produce.name().to_owned(), value)].into();
    entities.iter().map(|(user, id, value)| (entity(*user, *id), values(*value))).collect()
}

#[test]
fn the_most_specific_quota_counts_in_kafkas_order() {
    let mut all = vec![
        (Some("u"), Some("c"), 1.0),
        (Some("u"), Some("*"), 2.0),
        (Some("u"), None, 3.0),
        (Some("*"), Some("c"), 4.0),
        (Some("*"), Some("*"), 5.0),
        (Some("*"), None, 6.0),
        (None, Some("c"), 7.0),
        (None, Some("*"), 8.0),
    ];
    while let Some((_, _, first)) = all.first().copied() {
        let rules = Rules::new(&quotas(&all));
        let found = rules.of_client(QuotaKey::Produce, "u", "c").expect("one of them counts");
        assert_eq!(found.1, first);
        all.remove(0);
    }
}

#[test]
fn a_users_quota_is_shared_by_his_clients_and_a_pairs_is_its_own() {
    let rules = Rules::new(&quotas(&[(Some("u"), None, 1.0), (Some("u"), Some("c"), 2.0)]));
    let owner = |client| rules.of_client(QuotaKey::Produce, "u", client).map(|found| found.0);
    assert_eq!(owner("a"), owner("b"));
    assert_ne!(owner("a"), owner("c"));
    assert_eq!(rules.of_client(QuotaKey::Produce, "v", "c"), None);
    assert_eq!(rules.of_client(QuotaKey::Fetch, "u", "c"), None, "another key is not set");
}

#[test]
fn an_address_without_a_quota_has_that_of_all() {
    let entity = |name| QuotaEntity { ip: Some(name), ..QuotaEntity::default() };
    let values = |value| [(QuotaKey::ConnectionCreation.name().to_owned(), value)].into();
    let quotas: Quotas = [
        (entity(QuotaName::Default), values(1.0)),
        (entity(QuotaName::Named("192.0.2.1".to_owned())), values(2.0)),
    ]
    .into();
    let rules = Rules::new(&quotas);
    let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
    let found = |text| rules.of_address(ip(text));
    assert_eq!(found("192.0.2.1"), Some((Owner::Address(ip("192.0.2.1")), 2.0)));
    assert_eq!(found("192.0.2.2"), Some((Owner::Address(ip("192.0.2.2")), 1.0)));
}
