//! What `cargo xtask figures` measures: loads, where their figures are, and what they have to be.
//!
//! Rows only; `super` runs them.

/// One figure of one run: where it is in the JSON of `corelane bench`.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    pub label: &'static str,
    pub at: &'static [&'static str],
    /// From the JSON's unit to the table's.
    pub scale: f64,
    pub bound: Bound,
}

/// What the ratio Corelane / Kafka has to be.
#[derive(Debug, Clone, Copy)]
pub enum Bound {
    AtMost(f64),
    AtLeast(f64),
    /// Corelane's value, whatever Kafka's is.
    Own(f64),
    None,
}

/// A load that both brokers get.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    pub name: &'static str,
    pub what: &'static str,
    /// Arguments of `corelane bench`.
    pub load: &'static [&'static str],
    /// Kafka's alone: what makes it keep the same promise.
    pub kafka_only: &'static [&'static str],
    /// Corelane's alone: another promise.
    pub corelane_only: &'static [&'static str],
    pub metrics: &'static [Metric],
    /// What must be in the topic before: arguments of a `bench produce`.
    pub data: Option<&'static [&'static str]>,
    /// How long Kafka gets this very load before, on top of the common warming.
    pub kafka_warm_seconds: u32,
    /// Each run has its own topic, deleted at its end: the disk.
    pub fresh: bool,
}

impl Row {
    /// What most rows do without.
    pub const EMPTY: Row = Row {
        name: "",
        what: "",
        load: &[],
        kafka_only: &[],
        corelane_only: &[],
        metrics: &[],
        data: None,
        kafka_warm_seconds: 0,
        fresh: false,
    };
}

const CPU_PER_GB: &[&str] = &["server", "cpu_seconds_per_gigabyte"];
const CPU_PER_MILLION: &[&str] = &["server", "cpu_seconds_per_million_requests"];
const REQUESTS: &[&str] = &["load", "requests_per_second"];

const fn at_most(
    label: &'static str,
    at: &'static [&'static str],
    scale: f64,
    ratio: f64,
) -> Metric {
    Metric { label, at, scale, bound: Bound::AtMost(ratio) }
}

const fn shown(label: &'static str, at: &'static [&'static str], scale: f64) -> Metric {
    Metric { label, at, scale, bound: Bound::None }
}

const MB_PER_SECOND: Metric = shown("MB/s", &["load", "megabytes_per_second"], 1.0);

/// Of a load that reads: what a GB costs Corelane at most.
const fn reading(cpu_most: f64) -> [Metric; 2] {
    let bound = Bound::Own(cpu_most);
    [Metric { label: "CPU-s per GB", at: CPU_PER_GB, scale: 1.0, bound }, MB_PER_SECOND]
}

const LONE: [Metric; 3] = [
    at_most("CPU-s per million requests", CPU_PER_MILLION, 1.0, 1.0 / 12.0),
    shown("requests/s", REQUESTS, 1.0),
    shown("p99, µs", &["latency", "p99_ns"], 1e-3),
];

const END_TO_END: [Metric; 5] = [
    at_most("p50, µs", &["latency", "p50_ns"], 1e-3, 0.7),
    at_most("p99, µs", &["latency", "p99_ns"], 1e-3, 1.0 / 10.0),
    at_most("p99.9, µs", &["latency", "p99_9_ns"], 1e-3, 1.0 / 15.0),
    at_most("p99.99, µs", &["latency", "p99_99_ns"], 1e-3, 1.0 / 15.0),
    shown("CPU-s per million requests", CPU_PER_MILLION, 1.0),
];

const END_TO_END_MEMORY: [Metric; 3] = [
    at_most("p50, µs", &["latency", "p50_ns"], 1e-3, 1.0 / 3.0),
    shown("p99, µs", &["latency", "p99_ns"], 1e-3),
    shown("p99.9, µs", &["latency", "p99_9_ns"], 1e-3),
];

/// Of transactions: a request is a whole one, from its records to the answer that it is committed.
const TRANSACTIONS: [Metric; 4] = [
    shown("transactions/s", REQUESTS, 1.0),
    shown("p50, µs", &["latency", "p50_ns"], 1e-3),
    shown("p99, µs", &["latency", "p99_ns"], 1e-3),
    shown("CPU-s per 1,000", CPU_PER_MILLION, 1e-3),
];

const MEMORY: &[&str] = &["--topic-config", "corelane.durability=memory"];

/// CPU-seconds per GB that receiving readers cost the kernel on this kind of machine, and a fifth
/// more: what is in the page cache or in memory, and what comes from the disk.
const FETCH_HOT_MOST: f64 = 1.2 * 0.24;
const FETCH_COLD_MOST: f64 = 1.2 * 0.27;

/// Against Kafka.
pub const ROWS: [Row; 15] = [
    Row {
        name: "produce-gb",
        what: "1 KiB records in 64 KiB batches, acks=all, 4 connections × 2 in flight",
        load: &[
            "produce",
            "--closed",
            "--connections",
            "4",
            "--in-flight",
            "2",
            "--batch-bytes",
            "65536",
        ],
        metrics: &[at_most("CPU-s per GB", CPU_PER_GB, 1.0, 1.0 / 4.0), MB_PER_SECOND],
        // After 16 s of everything its cost per GB was still falling.
        kafka_warm_seconds: 40,
        fresh: true,
        ..Row::EMPTY
    },
    Row {
        name: "lone-1",
        what: "1-record produces of 1 KiB, 16 connections × 8, 1 partition",
        load: &["produce", "--closed", "--connections", "16", "--in-flight", "8"],
        metrics: &LONE,
        ..Row::EMPTY
    },
    Row {
        name: "lone-200",
        what: "the same over 200 partitions",
        load: &[
            "produce",
            "--closed",
            "--connections",
            "16",
            "--in-flight",
            "8",
            "--partitions",
            "200",
        ],
        metrics: &LONE,
        ..Row::EMPTY
    },
    Row {
        name: "lone-1000",
        what: "the same over 1000 partitions",
        load: &[
            "produce",
            "--closed",
            "--connections",
            "16",
            "--in-flight",
            "8",
            "--partitions",
            "1000",
        ],
        metrics: &LONE,
        ..Row::EMPTY
    },
    Row {
        name: "lone-synced",
        what: "1-record produces, Kafka with flush.messages=1",
        load: &["produce", "--closed", "--connections", "16", "--in-flight", "8"],
        kafka_only: &["--topic-config", "flush.messages=1"],
        metrics: &[
            Metric { label: "requests/s", at: REQUESTS, scale: 1.0, bound: Bound::AtLeast(25.0) },
            shown("CPU-s per million requests", CPU_PER_MILLION, 1.0),
        ],
        ..Row::EMPTY
    },
    Row {
        name: "gb-synced",
        what: "1 KiB records in 64 KiB batches, Kafka with flush.messages=1",
        load: &[
            "produce",
            "--closed",
            "--connections",
            "4",
            "--in-flight",
            "2",
            "--batch-bytes",
            "65536",
        ],
        kafka_only: &["--topic-config", "flush.messages=1"],
        metrics: &[Metric {
            label: "MB/s",
            at: &["load", "megabytes_per_second"],
            scale: 1.0,
            bound: Bound::AtLeast(5.0),
        }],
        fresh: true,
        ..Row::EMPTY
    },
    Row {
        name: "fetch-hot",
        what: "reading the last 128 MB again and again, 2 connections",
        load: &["consume", "--connections", "2", "--read-again"],
        metrics: &reading(FETCH_HOT_MOST),
        data: Some(&["--rate", "2000", "--batch-bytes", "65536", "--duration", "1s"]),
        ..Row::EMPTY
    },
    Row {
        name: "fetch-cold",
        what: "reading 1 GB from the start after the page cache was dropped, 1 connection",
        load: &["consume", "--connections", "1", "--duration", "1s", "--warm-up", "100ms"],
        metrics: &reading(FETCH_COLD_MOST),
        data: Some(&["--rate", "4000", "--batch-bytes", "65536", "--duration", "4s"]),
        ..Row::EMPTY
    },
    Row {
        name: "e2e",
        what: "5,000 records/s of 256 B, open loop, from intended time to the reader",
        load: &["e2e", "--rate", "5000", "--record-bytes", "256"],
        metrics: &END_TO_END,
        kafka_warm_seconds: 8,
        ..Row::EMPTY
    },
    Row {
        name: "e2e-1k",
        what: "1,000 records/s of 256 B, open loop, from intended time to the reader",
        load: &["e2e", "--rate", "1000", "--record-bytes", "256"],
        metrics: &END_TO_END,
        kafka_warm_seconds: 8,
        ..Row::EMPTY
    },
    Row {
        name: "e2e-memory",
        what: "5,000 records/s of 256 B, Corelane with `memory` durability",
        load: &["e2e", "--rate", "5000", "--record-bytes", "256"],
        corelane_only: MEMORY,
        metrics: &END_TO_END_MEMORY,
        kafka_warm_seconds: 8,
        ..Row::EMPTY
    },
    Row {
        name: "e2e-memory-1k",
        what: "1,000 records/s of 256 B, Corelane with `memory` durability",
        load: &["e2e", "--rate", "1000", "--record-bytes", "256"],
        corelane_only: MEMORY,
        metrics: &END_TO_END_MEMORY,
        kafka_warm_seconds: 8,
        ..Row::EMPTY
    },
    Row {
        name: "txn-1",
        what: "transactions of 100 records of 256 B over 3 partitions, 1 producer",
        load: &["transactions", "--producers", "1", "--partitions", "6"],
        metrics: &TRANSACTIONS,
        kafka_warm_seconds: 8,
        ..Row::EMPTY
    },
    Row {
        name: "txn-16",
        what: "the same, 16 producers",
        load: &["transactions", "--producers", "16", "--partitions", "6"],
        metrics: &TRANSACTIONS,
        kafka_warm_seconds: 8,
        ..Row::EMPTY
    },
    Row {
        name: "txn-256",
        what: "the same, 256 producers",
        load: &["transactions", "--producers", "256", "--partitions", "6"],
        metrics: &TRANSACTIONS,
        kafka_warm_seconds: 8,
        ..Row::EMPTY
    },
];

/// A load that takes turns with the floor's: `corelane bench floor`.
#[derive(Debug, Clone, Copy)]
pub struct FloorRow {
    pub name: &'static str,
    pub what: &'static str,
    /// Whether the floor appends durably.
    pub durable: bool,
    pub load: &'static [&'static str],
    /// The figure of the comparison that counts, and what its ratio has to be.
    pub figure: &'static str,
    pub at_most: f64,
}

/// Against the floor.
pub const FLOORS: [FloorRow; 3] = [
    FloorRow {
        name: "floor-gb",
        what: "64 KiB batches against receive, check, one copy, durable append",
        durable: true,
        load: &["produce", "--closed", "--connections", "4", "--batch-bytes", "65536"],
        figure: "CPU-s per GB",
        at_most: 1.3,
    },
    FloorRow {
        name: "floor-lone",
        what: "1-record produces against receive, check, one copy, durable append",
        durable: true,
        load: &["produce", "--closed", "--connections", "16"],
        figure: "CPU-s per million requests",
        at_most: 1.3,
    },
    FloorRow {
        name: "floor-memory",
        what: "1-record produces on `memory` against an echo",
        durable: false,
        load: &[
            "produce",
            "--closed",
            "--connections",
            "16",
            "--topic-config",
            "corelane.durability=memory",
        ],
        figure: "CPU-s per million requests",
        at_most: 1.3,
    },
];
