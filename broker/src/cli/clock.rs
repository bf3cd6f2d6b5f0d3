//! The command line's clock: it waits for people and brokers, so it reads real time.
//!
//! The only file of the command line that does; everything else takes instants as arguments or asks
//! here.
#![expect(clippy::disallowed_methods, reason = "the command line is outside the core")]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Now, for deadlines and durations.
pub fn now() -> Instant {
    Instant::now()
}

/// Milliseconds since 1970.
pub fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Waits.
pub fn sleep(duration: Duration) {
    std::thread::sleep(duration);
}
