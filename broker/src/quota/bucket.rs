//! A bucket of tokens, as Kafka's `TokenBucket`: for changes of metadata, which come in bursts.
//!
//! A change may take more than is there; the next waits until the bucket is no longer below zero.

use super::rate::Window;

/// See the module. Full when it is new.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bucket {
    /// Tokens below full.
    missing: f64,
    since_ns: u64,
}

impl Bucket {
    fn refill(&mut self, limit: f64, now_ns: u64) {
        let seconds = now_ns.saturating_sub(self.since_ns) as f64 / 1e9;
        self.missing = (self.missing - limit * seconds).max(0.0);
        self.since_ns = now_ns;
    }

    /// Takes tokens.
    pub fn take(&mut self, limit: f64, tokens: f64, now_ns: u64) {
        self.refill(limit, now_ns);
        self.missing += tokens;
    }

    /// How long until the bucket is not below zero, in nanoseconds. It holds what `limit` per
    /// second gives in all windows.
    pub fn throttle_ns(&mut self, window: Window, limit: f64, now_ns: u64) -> u64 {
        self.refill(limit, now_ns);
        let burst = limit * window.memory_ns() as f64 / 1e9;
        let below = self.missing - burst;
        if below > 0.0 { (below / limit * 1e9) as u64 } else { 0 }
    }

    /// Whether it is full.
    pub fn is_full(&mut self, limit: f64, now_ns: u64) -> bool {
        self.refill(limit, now_ns);
        self.missing <= 0.0
    }
}
