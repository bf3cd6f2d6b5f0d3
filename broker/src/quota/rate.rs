//! A rate over the last few windows of time, as Kafka's `Rate` over a `WindowedSum`.
//!
//! The time it is divided by is never shorter than all windows but one, so that a burst after a
//! silence counts as if it had been spread over them; and what fell out of the windows is
//! forgotten.

use std::collections::VecDeque;

/// How a rate is measured: `quota.window.num` windows of `quota.window.size.seconds`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Window {
    /// At least 1.
    pub count: u32,
    /// Of one window, in nanoseconds. Not 0.
    pub length_ns: u64,
}

impl Window {
    /// From the configuration's numbers.
    pub fn new(count: i32, seconds: i32) -> Window {
        let count = u32::try_from(count).unwrap_or(1).max(1);
        let seconds = u64::try_from(seconds).unwrap_or(1).max(1);
        Window { count, length_ns: seconds * 1_000_000_000 }
    }

    /// The shortest time a rate is taken over, in nanoseconds.
    fn shortest_ns(self) -> u64 {
        u64::from(self.count - 1) * self.length_ns
    }

    /// The same in seconds: a limit times this is what one answer may carry at most.
    pub fn shortest_seconds(self) -> f64 {
        self.shortest_ns() as f64 / 1e9
    }

    /// After so long without use an account is as good as new.
    pub fn memory_ns(self) -> u64 {
        u64::from(self.count) * self.length_ns
    }
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    start_ns: u64,
    sum: f64,
}

/// What was used of one quota.
#[derive(Clone, Debug, Default)]
pub struct Rate {
    /// Oldest first; at most `Window::count` plus one.
    samples: VecDeque<Sample>,
}

impl Rate {
    /// Adds to the window of this moment. Negative takes back what was added just before.
    pub fn record(&mut self, window: Window, value: f64, now_ns: u64) {
        self.forget(window, now_ns);
        match self.samples.back_mut() {
            Some(last) if now_ns < last.start_ns + window.length_ns => last.sum += value,
            Some(_) | None => self.samples.push_back(Sample { start_ns: now_ns, sum: value }),
        }
    }

    fn forget(&mut self, window: Window, now_ns: u64) {
        while self.samples.front().is_some_and(|s| s.start_ns + window.memory_ns() <= now_ns) {
            self.samples.pop_front();
        }
    }

    /// The sum of the windows and the time it stands for, in nanoseconds.
    fn measure(&mut self, window: Window, now_ns: u64) -> (f64, u64) {
        self.forget(window, now_ns);
        let sum = self.samples.iter().map(|sample| sample.sum).sum();
        let since_ns = self.samples.front().map_or(0, |oldest| now_ns - oldest.start_ns);
        // Windows that did not pass yet count as if they had.
        let whole = since_ns / window.length_ns;
        let missing = u64::from(window.count - 1).saturating_sub(whole);
        (sum, (since_ns + missing * window.length_ns).max(1))
    }

    /// How long to wait, in nanoseconds, until the rate would be at `limit` per second; 0 when it
    /// is not above.
    pub fn throttle_ns(&mut self, window: Window, limit: f64, now_ns: u64) -> u64 {
        let (sum, time_ns) = self.measure(window, now_ns);
        let rate = sum / (time_ns as f64 / 1e9);
        if rate > limit { ((rate - limit) / limit * time_ns as f64) as u64 } else { 0 }
    }

    /// Whether nothing of it counts any more.
    pub fn is_idle(&self, window: Window, now_ns: u64) -> bool {
        self.samples.back().is_none_or(|last| last.start_ns + window.memory_ns() <= now_ns)
    }
}
