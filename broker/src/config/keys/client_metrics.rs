//! Keys of a client metrics subscription (KIP-714). `telemetry::subscription` acts on them.
//!
//! A table, read by `config::registry`. Source: Kafka 4.3.1's DescribeConfigs.

use crate::config::key::Check::Between;
use crate::config::key::{Key, int, list};

/// See the module.
pub static KEYS: &[Key] = &[
    int("interval.ms", "Time between two pushes of a client's metrics.")
        .or("300000")
        .check(Between(100, 3_600_000)),
    list("match", "Which clients push, as attribute=pattern.").or(""),
    list("metrics", "Prefixes of the metrics that are pushed.").or(""),
];
