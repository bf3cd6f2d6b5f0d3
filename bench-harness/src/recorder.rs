//! What a run writes down while it goes: latencies, their course over time, counts.
//!
//! One per load core, no sharing; cores' recorders are merged at the end. Only what was intended
//! inside the measured window counts.

use std::collections::BTreeMap;
use std::ops::Range;

use hdrhistogram::Histogram;

use crate::limits;

/// Latencies in nanoseconds, three significant digits.
pub fn latencies() -> Histogram<u64> {
    Histogram::new_with_bounds(1, limits::LATENCY_NS_MAX, 3).expect("the bounds are valid")
}

/// Figures of one load core.
#[derive(Debug, Clone)]
pub struct Recorder {
    /// Intended (open) or sent (closed) inside it counts. Nanoseconds of the run's clock.
    pub window: Range<u64>,
    /// From the intended time to the answer.
    pub latency: Histogram<u64>,
    /// From the intended time to the hand-over to a connection: the client's own fault.
    pub lateness: Histogram<u64>,
    /// From the intended time until the request was written to its socket.
    pub written: Histogram<u64>,
    /// End to end and transactions: from the intended time to the answer of the produce.
    pub acknowledged: Histogram<u64>,
    /// Requests answered without an error.
    pub requests: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes of record batches in them.
    pub bytes: u64,
    /// Answers with an error, by code.
    pub errors: BTreeMap<i16, u64>,
    /// Came due and were never sent.
    pub missed: u64,
    /// Sent and never answered.
    pub unanswered: u64,
    /// End to end only: acknowledged requests whose records have not arrived at a reader. Below
    /// zero on a core that reads what another wrote; the sum counts.
    pub absent: i64,
    interval_ns: u64,
    intervals: Vec<Option<Histogram<u64>>>,
}

/// Latency inside one interval of the run.
#[derive(Debug, Clone, Copy)]
pub struct Interval {
    /// Start, in nanoseconds from the window's.
    pub at_ns: u64,
    /// Requests.
    pub count: u64,
    /// Median.
    pub p50_ns: u64,
    /// 99th percentile.
    pub p99_ns: u64,
    /// Highest.
    pub max_ns: u64,
}

impl Recorder {
    /// For what is intended inside `window`.
    pub fn new(window: Range<u64>) -> Self {
        let length = window.end - window.start;
        let interval_ns = (length / limits::INTERVALS_MAX).max(limits::INTERVAL_NS_MIN);
        let count = length.div_ceil(interval_ns) as usize;
        Self {
            window,
            latency: latencies(),
            lateness: latencies(),
            written: latencies(),
            acknowledged: latencies(),
            requests: 0,
            records: 0,
            bytes: 0,
            errors: BTreeMap::new(),
            missed: 0,
            unanswered: 0,
            absent: 0,
            interval_ns,
            intervals: vec![None; count],
        }
    }

    /// Whether a request intended then counts.
    #[inline]
    pub fn counts(&self, intended_ns: u64) -> bool {
        self.window.contains(&intended_ns)
    }

    /// A request intended at `intended_ns` has come to its end.
    #[inline]
    pub fn record(&mut self, intended_ns: u64, done_ns: u64) {
        if !self.counts(intended_ns) {
            return;
        }
        let latency_ns = done_ns.saturating_sub(intended_ns).max(1);
        self.latency.saturating_record(latency_ns);
        let at = ((intended_ns - self.window.start) / self.interval_ns) as usize;
        // Two digits: a hundred intervals of three would take megabytes.
        let interval = self.intervals[at].get_or_insert_with(|| {
            Histogram::new_with_bounds(1, limits::LATENCY_NS_MAX, 2).expect("valid bounds")
        });
        interval.saturating_record(latency_ns);
    }

    /// What it came to.
    #[inline]
    pub fn count(&mut self, intended_ns: u64, error_code: i16, records: u32, bytes: usize) {
        if !self.counts(intended_ns) {
            return;
        }
        if error_code == 0 {
            self.requests += 1;
            self.records += u64::from(records);
            self.bytes += bytes as u64;
        } else {
            *self.errors.entry(error_code).or_default() += 1;
        }
    }

    /// Adds another core's figures of the same window.
    pub fn merge(&mut self, other: &Self) {
        assert!(self.window == other.window, "cores measure one window");
        let same = "all histograms have one range";
        self.latency.add(&other.latency).expect(same);
        self.lateness.add(&other.lateness).expect(same);
        self.written.add(&other.written).expect(same);
        self.acknowledged.add(&other.acknowledged).expect(same);
        self.requests += other.requests;
        self.records += other.records;
        self.bytes += other.bytes;
        self.absent += other.absent;
        self.missed += other.missed;
        self.unanswered += other.unanswered;
        for (code, count) in &other.errors {
            *self.errors.entry(*code).or_default() += count;
        }
        for (mine, theirs) in self.intervals.iter_mut().zip(&other.intervals) {
            match (mine.as_mut(), theirs) {
                (Some(mine), Some(theirs)) => mine.add(theirs).expect(same),
                (None, Some(theirs)) => *mine = Some(theirs.clone()),
                (_, None) => {}
            }
        }
    }

    /// Latencies of each interval that has any: its start in nanoseconds from the window's, its
    /// length, and they.
    pub fn intervals(&self) -> impl Iterator<Item = (u64, u64, &Histogram<u64>)> {
        let found = self.intervals.iter().enumerate();
        found.filter_map(|(index, interval)| {
            Some((index as u64 * self.interval_ns, self.interval_ns, interval.as_ref()?))
        })
    }

    /// Latency over time; intervals without a request are left out.
    pub fn course(&self) -> Vec<Interval> {
        let found = self.intervals().map(|(at_ns, _, interval)| Interval {
            at_ns,
            count: interval.len(),
            p50_ns: interval.value_at_quantile(0.5),
            p99_ns: interval.value_at_quantile(0.99),
            max_ns: interval.max(),
        });
        found.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_window_counts_and_cores_add_up() {
        let window = 1_000_000_000..3_000_000_000;
        let mut one = Recorder::new(window.clone());
        one.record(999_999_999, 1_000_000_500);
        one.record(1_000_000_000, 1_000_001_000);
        one.count(1_000_000_000, 0, 3, 100);
        one.count(3_000_000_000, 0, 3, 100);
        let mut two = Recorder::new(window);
        two.record(2_999_999_999, 5_000_000_000);
        two.count(2_999_999_999, 7, 1, 100);
        one.merge(&two);
        assert_eq!((one.latency.len(), one.requests, one.records), (2, 1, 3));
        assert_eq!(one.errors.get(&7), Some(&1));
        assert_eq!(one.course().len(), 2);
    }
}
