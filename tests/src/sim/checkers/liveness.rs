//! When the faults have stopped, everything completes within a stated virtual time.
//!
//! Producers are acknowledged, consumers stand at the high watermark, groups are stable and have
//! committed what they read, administrators have their answers.

/// How long all of it may take: several sessions and rebalances of a group, whose longest waits are
/// seconds, and the retries of clients.
pub const WITHIN_NS: u64 = 60_000_000_000;

/// A clean stop: three seconds for the answers under way, and the flush.
pub const STOP_WITHIN_NS: u64 = 10_000_000_000;

/// The breach, with whom it left waiting.
pub fn breach(waiting: &[String]) -> String {
    let count = waiting.len();
    let some: Vec<&str> = waiting.iter().take(4).map(String::as_str).collect();
    breach!(
        "everything completes",
        "{count} clients are not done {} s after the faults stopped: {}",
        WITHIN_NS / 1_000_000_000,
        some.join("; ")
    )
}
