//! The time an edge hands to a shard with every event. Nothing in the cores reads a clock.

/// Two clocks read at one moment.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Now {
    /// Monotonic nanoseconds since an arbitrary start. Every timer and timeout runs on it.
    pub mono_ns: u64,
    /// Milliseconds since the Unix epoch. Only for record timestamps and retention; it may jump.
    pub wall_ms: i64,
}
