//! Telemetry of clients in virtual time: who may ask and push when, what is kept, what is dropped.
//!
//! Pushes are OTLP messages written field by field here. That Kafka answers the same codes is
//! asked of it in `tests/differential`; that stock clients are understood, in `tests/conformance`.

use std::net::{IpAddr, Ipv4Addr};

use protocol::ErrorCode;
use protocol::compress::{Codecs, Compression};
use protocol::messages::{GetTelemetrySubscriptionsResponse, PushTelemetryRequest};
use protocol::types::Uuid;

use super::Telemetry;
use super::limits::{
    INSTANCE_SERIES_MAX, INSTANCES_MAX, LABEL_VALUE_BYTES_MAX, PUSH_POINTS_MAX, SHARD_BYTES_MAX,
};
use super::subscription::Client;
use crate::config::Configs;

const BYTES_MAX: usize = 1 << 20;
const SECOND_NS: u64 = 1_000_000_000;

fn id(number: u64) -> Uuid {
    Uuid::from_u64s(7, number + 2)
}

fn client() -> Client {
    Client {
        client_id: Some("orders-1".to_owned()),
        software_name: "apache-kafka-java".to_owned(),
        software_version: "4.3.1".to_owned(),
        address: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 7)),
        port: 50_123,
    }
}

fn configs(pairs: &[(&str, &str)]) -> Configs {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// A field of bytes.
fn bytes(number: u8, value: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut length = value.len();
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(value);
    out
}

fn double(number: u8, value: f64) -> Vec<u8> {
    let mut out = vec![number << 3 | 1];
    out.extend_from_slice(&value.to_le_bytes());
    out
}

fn label(number: u8, name: &str, value: &str) -> Vec<u8> {
    let any = bytes(1, value.as_bytes());
    bytes(number, &[bytes(1, name.as_bytes()), bytes(2, &any)].concat())
}

fn point(value: f64, labels: &[(&str, &str)]) -> Vec<u8> {
    let mut out = double(4, value);
    for (name, value) in labels {
        out.extend(label(7, name, value));
    }
    bytes(1, &out)
}

fn gauge(name: &str, points: &[Vec<u8>]) -> Vec<u8> {
    bytes(2, &[bytes(1, name.as_bytes()), bytes(5, &points.concat())].concat())
}

/// A sum with its temporality: 1 delta, 2 cumulative.
fn sum(name: &str, temporality: u8, points: &[Vec<u8>]) -> Vec<u8> {
    // The temporality behind the points, as encoders write it.
    let data = [points.concat(), vec![2 << 3, temporality]].concat();
    bytes(2, &[bytes(1, name.as_bytes()), bytes(7, &data)].concat())
}

/// A whole message; the resource's labels behind its metrics, which protobuf allows.
fn message(resource: &[(&str, &str)], metrics: &[Vec<u8>]) -> Vec<u8> {
    let labels: Vec<u8> = resource.iter().flat_map(|(name, value)| label(1, name, value)).collect();
    let scope = bytes(2, &metrics.concat());
    bytes(1, &[scope, bytes(1, &labels)].concat())
}

struct Rig {
    telemetry: Telemetry,
    codecs: Codecs,
    now_ns: u64,
}

impl Rig {
    fn new() -> Rig {
        let mut telemetry = Telemetry::default();
        telemetry.set_subscription("all", &configs(&[("metrics", "*"), ("interval.ms", "1000")]));
        Rig { telemetry, codecs: Codecs::default(), now_ns: 5 * SECOND_NS }
    }

    fn get(&mut self, instance: Uuid) -> GetTelemetrySubscriptionsResponse {
        self.telemetry.get(instance, id(999), &client(), BYTES_MAX as i32, self.now_ns)
    }

    fn request(&mut self, instance: Uuid, metrics: Vec<u8>) -> PushTelemetryRequest {
        let wanted = self.telemetry.subscriptions.wanted(&client(), instance);
        PushTelemetryRequest {
            client_instance_id: instance,
            subscription_id: wanted.subscription_id,
            metrics: metrics.into(),
            ..PushTelemetryRequest::default()
        }
    }

    fn send(&mut self, request: &PushTelemetryRequest) -> i16 {
        let (codecs, now_ns) = (&mut self.codecs, self.now_ns);
        self.telemetry.push(request, &client(), BYTES_MAX, codecs, now_ns).error_code
    }

    /// Pushes a second after what was before.
    fn push(&mut self, instance: Uuid, metrics: Vec<u8>) -> i16 {
        self.now_ns += SECOND_NS;
        let request = self.request(instance, metrics);
        self.send(&request)
    }

    /// Every series of an instance, `name{labels value`.
    fn series(&self, instance: Uuid) -> Vec<String> {
        let known = self.telemetry.published().find(|one| one.instance == instance);
        let known = known.expect("the instance is known");
        known.series().map(|(name, labels, value)| format!("{name}{{{labels}}} {value}")).collect()
    }
}

fn code(error: ErrorCode) -> i16 {
    error.code()
}

#[test]
fn a_client_without_an_id_gets_one_and_all_that_was_subscribed() {
    let mut rig = Rig::new();
    let answer = rig.get(Uuid::ZERO);
    assert_eq!(answer.error_code, 0);
    assert_eq!(answer.client_instance_id, id(999));
    assert_eq!(answer.accepted_compression_types, [4, 3, 1, 2]);
    assert_eq!(answer.push_interval_ms, 1000);
    assert_eq!(answer.telemetry_max_bytes, BYTES_MAX as i32);
    assert!(answer.delta_temporality);
    assert_eq!(answer.requested_metrics, ["*"]);
}

#[test]
fn subscriptions_that_match_are_joined_and_the_shortest_interval_counts() {
    let mut rig = Rig::new();
    rig.telemetry.set_subscription("all", &Configs::new());
    let subscriptions: [(&str, &[(&str, &str)]); 4] = [
        ("a", &[("metrics", "org.a,org.b"), ("interval.ms", "9000"), ("match", "client_id=or.*")]),
        ("b", &[("metrics", "org.b"), ("interval.ms", "4000")]),
        // The whole attribute has to match, and every attribute.
        ("c", &[("metrics", "org.c"), ("interval.ms", "100"), ("match", "client_id=orders")]),
        (
            "d",
            &[
                ("metrics", "org.d"),
                ("match", "client_source_port=50123, client_source_address=10.0.0.8"),
            ],
        ),
    ];
    for (name, texts) in subscriptions {
        rig.telemetry.set_subscription(name, &configs(texts));
    }
    let answer = rig.get(id(1));
    assert_eq!(answer.requested_metrics, ["org.a", "org.b"]);
    assert_eq!(answer.push_interval_ms, 4000);
}

#[test]
fn without_a_subscription_nothing_is_asked_for_every_five_minutes() {
    let mut rig = Rig::new();
    rig.telemetry.set_subscription("all", &Configs::new());
    let answer = rig.get(id(1));
    assert_eq!(answer.requested_metrics, Vec::<String>::new());
    assert_eq!(answer.push_interval_ms, 300_000);
}

#[test]
fn who_asks_or_pushes_before_its_interval_is_throttled() {
    let mut rig = Rig::new();
    assert_eq!(rig.get(id(1)).error_code, 0);
    assert_eq!(rig.get(id(1)).error_code, code(ErrorCode::ThrottlingQuotaExceeded));
    let request = rig.request(id(1), Vec::new());
    assert_eq!(rig.send(&request), 0, "the first push after asking may come at once");
    assert_eq!(rig.send(&request), code(ErrorCode::ThrottlingQuotaExceeded));
    rig.now_ns += SECOND_NS;
    assert_eq!(rig.send(&request), 0);
    let last = PushTelemetryRequest { terminating: true, ..request };
    assert_eq!(rig.send(&last), 0, "who goes may push at once");
    rig.now_ns += SECOND_NS;
    assert_eq!(rig.send(&last), code(ErrorCode::InvalidRequest), "but only once");
}

#[test]
fn a_changed_subscription_is_told_by_the_next_push_and_fetched_at_once() {
    let mut rig = Rig::new();
    assert_eq!(rig.get(id(1)).error_code, 0);
    let stale = rig.request(id(1), Vec::new());
    rig.telemetry.set_subscription("more", &configs(&[("metrics", "x"), ("interval.ms", "500")]));
    assert_eq!(rig.send(&stale), code(ErrorCode::UnknownSubscriptionId));
    let answer = rig.get(id(1));
    assert_eq!((answer.error_code, answer.push_interval_ms), (0, 500));
}

#[test]
fn wrong_pushes_get_the_codes_of_kafka() {
    let mut rig = Rig::new();
    for wrong in [Uuid::ZERO, Uuid::METADATA_TOPIC] {
        assert_eq!(rig.push(wrong, Vec::new()), code(ErrorCode::InvalidRequest));
    }
    rig.now_ns += SECOND_NS;
    let right = rig.request(id(1), Vec::new());
    let wrong = PushTelemetryRequest { compression_type: 9, ..right.clone() };
    assert_eq!(rig.send(&wrong), code(ErrorCode::UnsupportedCompressionType));
    assert_eq!(rig.push(id(1), vec![0; BYTES_MAX + 1]), code(ErrorCode::TelemetryTooLarge));
    assert_eq!(rig.push(id(1), b"no protobuf".to_vec()), code(ErrorCode::InvalidRecord));
    rig.now_ns += SECOND_NS;
    let wrong =
        PushTelemetryRequest { compression_type: 4, metrics: "no zstd".into(), ..right.clone() };
    assert_eq!(rig.send(&wrong), code(ErrorCode::InvalidRecord));
    assert_eq!(rig.push(id(1), Vec::new()), 0);
}

#[test]
fn what_grows_too_large_when_it_is_decompressed_is_refused() {
    let mut rig = Rig::new();
    for codec in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
        let mut bomb = Vec::new();
        rig.codecs.compress(codec, None, &vec![0; 16 * BYTES_MAX], &mut bomb);
        assert!(bomb.len() <= BYTES_MAX, "it goes through the first check");
        rig.now_ns += SECOND_NS;
        let request = rig.request(id(1), bomb);
        let request = PushTelemetryRequest { compression_type: codec.id() as i8, ..request };
        assert_eq!(rig.send(&request), code(ErrorCode::InvalidRecord), "{codec:?}");
    }
}

#[test]
fn pushed_metrics_are_kept_by_name_and_label_whatever_codec_they_came_in() {
    for codec in Compression::ALL {
        let mut rig = Rig::new();
        let name = "org.apache.kafka.producer.record.queue.time.avg";
        let points = [point(1.5, &[]), point(2.5, &[("node.id", "3"), ("say", "a\"b\\c\nd")])];
        let plain = message(&[("group_id", "g")], &[gauge(name, &points)]);
        let mut sent = Vec::new();
        rig.codecs.compress(codec, None, &plain, &mut sent);
        let request = rig.request(id(1), sent);
        let request = PushTelemetryRequest { compression_type: codec.id() as i8, ..request };
        assert_eq!(rig.send(&request), 0, "{codec:?}");
        assert_eq!(
            rig.series(id(1)),
            [
                r#"producer_record_queue_time_avg{group_id="g"} 1.5"#,
                r#"producer_record_queue_time_avg{group_id="g",node_id="3",say="a\"b\\c\nd"} 2.5"#,
            ]
        );
    }
}

#[test]
fn deltas_add_up_and_everything_else_replaces() {
    let mut rig = Rig::new();
    for value in [1.0, 2.0, f64::NAN, 4.0] {
        let metrics = [
            sum("d", 1, &[point(value, &[])]),
            sum("c", 2, &[point(value, &[])]),
            gauge("g", &[point(value, &[])]),
        ];
        assert_eq!(rig.push(id(1), message(&[], &metrics)), 0);
    }
    assert_eq!(rig.series(id(1)), ["c{} 4", "d{} 7", "g{} 4"]);
}

#[test]
fn labels_cannot_pretend_to_be_the_brokers_and_long_ones_are_cut() {
    let mut rig = Rig::new();
    let long = "é".repeat(LABEL_VALUE_BYTES_MAX);
    let labels =
        [("client_id", "other"), ("__name__", "x"), ("a-b", "1"), ("a.b", "2"), ("l", &long)];
    assert_eq!(rig.push(id(1), message(&[], &[gauge("9 lives", &[point(1.0, &labels)])])), 0);
    let cut = "é".repeat(LABEL_VALUE_BYTES_MAX / 2);
    assert_eq!(rig.series(id(1)), [format!("_9_lives{{a_b=\"1\",l=\"{cut}\"}} 1")]);
}

#[test]
fn one_client_has_so_many_series_and_no_more() {
    let mut rig = Rig::new();
    for round in 0..4 {
        let names = (0..PUSH_POINTS_MAX).map(|n| format!("m{round}_{n}"));
        let metrics: Vec<Vec<u8>> = names.map(|name| gauge(&name, &[point(1.0, &[])])).collect();
        assert_eq!(rig.push(id(1), message(&[], &metrics)), 0);
    }
    assert_eq!(rig.series(id(1)).len(), INSTANCE_SERIES_MAX);
    let probe = rig.telemetry.probe;
    assert_eq!(probe.points, INSTANCE_SERIES_MAX as u64);
    assert_eq!(probe.points + probe.points_dropped, 4 * PUSH_POINTS_MAX as u64);
}

#[test]
fn instances_of_a_hostile_client_push_each_other_out_and_not_the_broker() {
    let mut rig = Rig::new();
    let value = "v".repeat(LABEL_VALUE_BYTES_MAX);
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let labels = names.map(|name| (name, value.as_str()));
    let metrics: Vec<Vec<u8>> =
        (0..INSTANCE_SERIES_MAX).map(|n| gauge(&format!("m{n}"), &[point(1.0, &labels)])).collect();
    let large = message(&[], &metrics);
    for number in 0..60 {
        assert_eq!(rig.push(id(number), large.clone()), 0);
        assert!(rig.telemetry.series_bytes() <= SHARD_BYTES_MAX);
    }
    assert!(rig.telemetry.instances_count() < 30);
    for number in 0..2 * INSTANCES_MAX as u64 {
        rig.get(id(100 + number));
        assert!(rig.telemetry.instances_count() <= INSTANCES_MAX);
    }
    assert_eq!(rig.telemetry.series_bytes(), 0, "all of the large ones were silent longest");
    assert!(rig.telemetry.probe.instances_evicted >= INSTANCES_MAX as u64);
}

#[test]
fn a_silent_instance_is_forgotten_with_its_metrics() {
    let mut rig = Rig::new();
    assert_eq!(rig.push(id(1), message(&[], &[gauge("g", &[point(1.0, &[])])])), 0);
    while let Some(at_ns) = rig.telemetry.poll_timeout() {
        assert!(at_ns < rig.now_ns + 80 * SECOND_NS, "it is forgotten after a minute");
        rig.telemetry.handle_timeout(at_ns);
    }
    assert_eq!(rig.telemetry.instances_count(), 0);
    assert_eq!(rig.telemetry.series_bytes(), 0);
}

#[test]
fn no_bytes_make_the_reader_panic_and_every_prefix_of_a_message_is_wrong_or_shorter() {
    let metrics = [
        gauge("g", &[point(1.0, &[("a", "b")])]),
        sum("s", 1, &[point(2.0, &[("c", "d")]), point(3.0, &[])]),
    ];
    let whole = message(&[("r", "s")], &metrics);
    for end in 0..whole.len() {
        let mut points = 0;
        let read = super::otlp::read(&whole[..end], 8, &mut |_| {
            points += 1;
            super::otlp::Flow::Continue
        });
        assert!(read.is_err() || end == 0, "cut at {end}");
        assert!(points <= 3);
    }
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut wrong = whole.clone();
            wrong[at] ^= 1 << bit;
            let _ = super::otlp::read(&wrong, 8, &mut |_| super::otlp::Flow::Continue);
        }
    }
}
