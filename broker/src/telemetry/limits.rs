//! Every bound of client telemetry, with what happens there.
//!
//! A client chooses everything it pushes; what is kept of it is at most
//! `SHARD_BYTES_MAX` and a push per instance more.

/// Client instances a shard knows. At the bound the one that was silent longest is forgotten with
/// its metrics; if it comes back it begins anew.
pub const INSTANCES_MAX: usize = 1024;

/// Series one client instance may have. Further ones of a push are dropped, and counted.
pub const INSTANCE_SERIES_MAX: usize = 512;

/// Data points of one push that are looked at. The rest is dropped, and counted as one.
pub const PUSH_POINTS_MAX: usize = 2048;

/// Bytes that the metrics of all instances of a shard may take. Beyond it instances are forgotten,
/// those that were silent longest first.
pub const SHARD_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Bytes of a metric's name. A longer one is dropped, and counted: two that are cut would be one.
pub const NAME_BYTES_MAX: usize = 128;

/// Labels of one series, its resource's included. Further ones are left out.
pub const LABELS_MAX: usize = 12;

/// Bytes of a label's name. A longer label is left out.
pub const LABEL_NAME_BYTES_MAX: usize = 64;

/// Bytes of a label's value and of what a client says about itself. More is cut.
pub const LABEL_VALUE_BYTES_MAX: usize = 128;

/// Bytes counted for a series beside its text: the number and its place in the tree.
pub const SERIES_OVERHEAD_BYTES: usize = 64;

/// Bytes of a compiled pattern of a subscription. One that needs more matches nobody; the
/// controller refuses what needs half of it.
pub const PATTERN_PROGRAM_BYTES_MAX: usize = 1 << 17;

/// An instance is forgotten when it was silent for three of its intervals, and at least this long,
/// in nanoseconds. Kafka's cache does the same.
pub const INSTANCE_SILENT_NS_MIN: u64 = 60_000_000_000;

/// Silent instances are looked for this often, in nanoseconds.
pub const SWEEP_NS: u64 = 10_000_000_000;

const _: () = assert!(INSTANCE_SERIES_MAX <= PUSH_POINTS_MAX);
const _: () = assert!(
    INSTANCE_SERIES_MAX
        * (NAME_BYTES_MAX
            + LABELS_MAX * (LABEL_NAME_BYTES_MAX + 2 * LABEL_VALUE_BYTES_MAX + 4)
            + SERIES_OVERHEAD_BYTES)
        <= SHARD_BYTES_MAX,
    "one instance fits"
);
