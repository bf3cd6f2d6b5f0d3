//! Where the records of a shard's requests add up: histograms by API and stage, the slowest
//! requests, and what the core's time went to.
//!
//! One writer, the shard's thread, with plain loads and stores; the admin thread reads whenever it
//! likes and may see counts of two moments. Nothing here is locked or allocated per request: an
//! API's histograms are made at its first request.

use std::sync::Arc;
use std::sync::OnceLock;

use protocol::api::ApiKey;
use protocol::types::Uuid;

use super::counters::Counter;
use super::reactor::Spent;
use crate::ledger::{Record, STAGES_COUNT, Split};
use crate::limits::{LEDGER_SLOWEST_COUNT, LEDGER_WINDOW_NS};

/// Buckets per power of two: a value is known to 1/16, its bucket's middle to 1/32.
const SUB_BITS: u32 = 4;
const SUBS: usize = 1 << SUB_BITS;

/// Values of so many bits and more, 18 minutes, share the last bucket.
const VALUE_BITS: u32 = 40;

/// Buckets of a histogram: below 16 ns each value has its own.
pub const BUCKETS_COUNT: usize = SUBS + (VALUE_BITS - SUB_BITS) as usize * SUBS;

/// Durations in nanoseconds, log-linear, of bounded size: 4.7 KB.
#[derive(Debug)]
pub struct Histogram {
    counts: [Counter; BUCKETS_COUNT],
    sum_ns: Counter,
    max_ns: Counter,
}

/// What a histogram held when it was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reading {
    counts: Vec<u64>,
    pub count: u64,
    pub sum_ns: u64,
    pub max_ns: u64,
}

fn bucket(ns: u64) -> usize {
    let ns = ns.min((1 << VALUE_BITS) - 1);
    if ns < SUBS as u64 {
        return ns as usize;
    }
    let power = 63 - ns.leading_zeros();
    let sub = (ns >> (power - SUB_BITS)) as usize & (SUBS - 1);
    ((power - SUB_BITS + 1) as usize) << SUB_BITS | sub
}

/// The largest value that falls into a bucket.
pub fn bucket_max(index: usize) -> u64 {
    if index < SUBS {
        return index as u64;
    }
    let power = (index >> SUB_BITS) as u32 - 1;
    let sub = (index & (SUBS - 1)) as u64;
    ((SUBS as u64 + sub + 1) << power) - 1
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: [const { Counter::new() }; BUCKETS_COUNT],
            sum_ns: Counter::new(),
            max_ns: Counter::new(),
        }
    }
}

impl Histogram {
    /// `count` times the same value.
    fn add(&self, ns: u64, count: u64) {
        self.counts[bucket(ns)].add(count);
        self.sum_ns.add(ns * count);
        if ns > self.max_ns.get() {
            self.max_ns.set(ns);
        }
    }

    fn read(&self) -> Reading {
        let counts: Vec<u64> = self.counts.iter().map(Counter::get).collect();
        Reading {
            count: counts.iter().sum(),
            counts,
            sum_ns: self.sum_ns.get(),
            max_ns: self.max_ns.get(),
        }
    }
}

impl Reading {
    /// The value that `share` of all values do not exceed, to 1/16; 0 without values.
    pub fn quantile(&self, share: f64) -> u64 {
        let rank = (self.count as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return bucket_max(index).min(self.max_ns);
            }
        }
        self.max_ns
    }

    /// How many values are at most `ns`; exact where `ns + 1` is a power of two.
    pub fn count_to(&self, ns: u64) -> u64 {
        self.counts[..=bucket(ns)].iter().sum()
    }

    /// Buckets that hold something: the largest value that falls into each, and how many did.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> {
        let full = self.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        full.map(|(index, count)| (bucket_max(index), *count))
    }
}

/// The histograms of one API: 71 KB.
#[derive(Debug)]
struct Stages {
    stages: [Histogram; STAGES_COUNT],
    total: Histogram,
}

/// What the histograms of one API held.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ApiReading {
    pub api: ApiKey,
    /// By stage. A request counts in those in which it spent time.
    pub stages: Vec<Reading>,
    pub total: Reading,
}

/// A shard's histograms. At most one set per API that Kafka has, whatever clients send.
#[derive(Debug)]
pub struct Ledger {
    apis: Vec<OnceLock<Box<Stages>>>,
}

impl Default for Ledger {
    fn default() -> Self {
        let ledger = Self { apis: ApiKey::ALL.iter().map(|_| OnceLock::new()).collect() };
        for api in [ApiKey::Produce, ApiKey::Fetch] {
            ledger.stages(api);
        }
        ledger
    }
}

impl Ledger {
    /// Adds `count` requests of one split. Only the owner calls it.
    pub fn add(&self, api: ApiKey, split: &Split, count: u64) {
        let histograms = self.stages(api);
        for (histogram, ns) in histograms.stages.iter().zip(split.stages_ns) {
            if ns > 0 {
                histogram.add(ns, count);
            }
        }
        histograms.total.add(split.total_ns, count);
    }

    fn stages(&self, api: ApiKey) -> &Stages {
        // Keys are consecutive from 0 but for those that brokers keep to themselves.
        let key = api as i16 as usize;
        let index = match ApiKey::ALL.get(key) {
            Some(same) if *same == api => key,
            Some(_) | None => {
                let found = ApiKey::ALL.iter().position(|known| *known == api);
                found.expect("the list holds every API")
            }
        };
        self.apis[index].get_or_init(|| {
            Box::new(Stages {
                stages: std::array::from_fn(|_| Histogram::default()),
                total: Histogram::default(),
            })
        })
    }

    /// What is known of every API that was used, by key.
    pub fn read(&self) -> Vec<ApiReading> {
        let known = ApiKey::ALL.iter().zip(&self.apis);
        let used = known.filter_map(|(api, stages)| Some((*api, stages.get()?)));
        let readings = used.map(|(api, stages)| ApiReading {
            api,
            stages: stages.stages.iter().map(Histogram::read).collect(),
            total: stages.total.read(),
        });
        readings.filter(|reading| reading.total.count > 0).collect()
    }
}

/// A value, and how many in a row had it.
#[derive(Clone, Copy, Default, Debug)]
struct Run {
    ns: u64,
    count: u64,
}

impl Run {
    fn add(&mut self, ns: u64, count: u64, histogram: &Histogram) {
        if self.ns != ns {
            self.flush(histogram);
            self.ns = ns;
        }
        self.count += count;
    }

    fn flush(&mut self, histogram: &Histogram) {
        if self.count > 0 {
            histogram.add(self.ns, self.count);
        }
        *self = Self::default();
    }
}

/// Requests of one API on their way into its histograms.
#[derive(Default, Debug)]
struct Runs {
    stages: [Run; STAGES_COUNT],
    total: Run,
    is_used: bool,
}

impl Runs {
    fn add(&mut self, split: &Split, count: u64, histograms: &Stages) {
        self.is_used = true;
        let stages = self.stages.iter_mut().zip(&histograms.stages);
        for ((run, histogram), ns) in stages.zip(split.stages_ns) {
            if ns > 0 {
                run.add(ns, count, histogram);
            }
        }
        self.total.add(split.total_ns, count, &histograms.total);
    }

    fn flush(&mut self, histograms: &Stages) {
        if std::mem::take(&mut self.is_used) {
            for (run, histogram) in self.stages.iter_mut().zip(&histograms.stages) {
                run.flush(histogram);
            }
            self.total.flush(&histograms.total);
        }
    }
}

/// The finished requests of one turn. Produces and fetches of a turn pass most points together: the
/// same duration in a row is added once, with how often it came.
#[derive(Default, Debug)]
pub struct Tally {
    produces: Runs,
    fetches: Runs,
}

impl Tally {
    /// Adds `count` requests of one split; they are in the ledger at the latest after `flush`.
    pub fn add(&mut self, ledger: &Ledger, api: ApiKey, split: &Split, count: u64) {
        let runs = match api {
            ApiKey::Produce => &mut self.produces,
            ApiKey::Fetch => &mut self.fetches,
            _ => return ledger.add(api, split, count),
        };
        runs.add(split, count, ledger.stages(api));
    }

    /// The turn is over.
    pub fn flush(&mut self, ledger: &Ledger) {
        self.produces.flush(ledger.stages(ApiKey::Produce));
        self.fetches.flush(ledger.stages(ApiKey::Fetch));
    }
}

/// One of the slowest requests, with its topic's name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SlowRequest {
    pub record: Record,
    pub topic: Option<Arc<str>>,
}

/// The slowest requests of the last two windows. What a long poll waited for news is not counted.
#[derive(Debug, Default)]
pub struct Slowest {
    window_end_ns: u64,
    /// Unordered, at most `LEDGER_SLOWEST_COUNT` each: time and record.
    current: Vec<(u64, Record)>,
    previous: Vec<(u64, Record)>,
    /// What a request must exceed to be kept.
    floor_ns: u64,
}

impl Slowest {
    /// A request is over.
    pub fn offer(&mut self, record: &Record, split: &Split) {
        let busy_ns = split.busy_ns();
        if busy_ns > self.floor_ns {
            self.keep(busy_ns, *record);
        }
    }

    #[cold]
    fn keep(&mut self, busy_ns: u64, record: Record) {
        if self.current.len() < LEDGER_SLOWEST_COUNT {
            self.current.push((busy_ns, record));
        } else if let Some(least) = self.current.iter_mut().min_by_key(|(ns, _)| *ns) {
            *least = (busy_ns, record);
        }
        if self.current.len() == LEDGER_SLOWEST_COUNT {
            self.floor_ns = self.current.iter().map(|(ns, _)| *ns).min().unwrap_or(0);
        }
    }

    /// Begins another window when one is over.
    pub fn turn_window(&mut self, now_ns: u64) {
        if now_ns >= self.window_end_ns {
            self.window_end_ns = now_ns + LEDGER_WINDOW_NS;
            std::mem::swap(&mut self.previous, &mut self.current);
            self.current.clear();
            self.floor_ns = 0;
        }
    }

    /// The slowest of both windows, the slowest first.
    pub fn fill(&self, list: &mut Vec<SlowRequest>, name: impl Fn(Uuid) -> Option<Arc<str>>) {
        let mut all: Vec<&(u64, Record)> = self.current.iter().chain(&self.previous).collect();
        all.sort_by_key(|(ns, _)| std::cmp::Reverse(*ns));
        list.extend(
            all.into_iter()
                .take(LEDGER_SLOWEST_COUNT)
                .map(|(_, record)| SlowRequest { record: *record, topic: name(record.topic) }),
        );
    }
}

/// What a core's time went to since its thread started, in nanoseconds.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct CoreTime {
    /// Handling what happened, outside the kernel.
    pub handling_ns: Counter,
    /// In the kernel without being asked to wait.
    pub entering_ns: Counter,
    /// In the kernel with leave to sleep until something happens.
    pub waiting_ns: Counter,
    /// Looking for work (`--busy-poll`).
    pub spinning_ns: Counter,
    /// CPU time of the thread, kernel included; about a second old.
    pub cpu_ns: Counter,
    /// When the last turn began, on the monotonic clock.
    pub turn_ns: Counter,
}

impl CoreTime {
    /// A turn began at `turn_ns`, was over at `entered_ns`, and the next one begins at `now_ns`.
    pub(super) fn note_turn(&self, turn_ns: u64, entered_ns: u64, now_ns: u64, spent: Spent) {
        self.handling_ns.add(entered_ns - turn_ns);
        let between_ns = now_ns - entered_ns;
        match spent {
            Spent::Entering => self.entering_ns.add(between_ns),
            Spent::Waiting => self.waiting_ns.add(between_ns),
            Spent::Spinning => self.spinning_ns.add(between_ns),
        }
        self.turn_ns.set(now_ns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{Arrival, Point};

    #[test]
    fn every_value_falls_into_a_bucket_that_is_at_most_a_sixteenth_wide() {
        let mut ns = 0;
        while ns < 1 << VALUE_BITS {
            let max = bucket_max(bucket(ns));
            assert!(ns <= max && max - ns <= ns / 16, "{ns} falls into the bucket to {max}");
            ns = ns * 33 / 32 + 1;
        }
        assert_eq!(bucket(u64::MAX), BUCKETS_COUNT - 1);
    }

    #[test]
    fn buckets_follow_each_other_without_a_gap() {
        for index in 1..BUCKETS_COUNT {
            assert_eq!(bucket(bucket_max(index - 1) + 1), index);
            assert_eq!(bucket(bucket_max(index)), index);
        }
    }

    #[test]
    fn quantiles_are_those_of_the_values_to_a_sixteenth() {
        let histogram = Histogram::default();
        for ns in 1..=100_000 {
            histogram.add(ns, 1);
        }
        let reading = histogram.read();
        for (share, exact) in [(0.5, 50_000.0), (0.99, 99_000.0), (1.0, 100_000.0)] {
            let told = reading.quantile(share) as f64;
            assert!((exact..=exact * 1.0625).contains(&told), "{share}: {told}");
        }
        assert_eq!((reading.count, reading.max_ns), (100_000, 100_000));
        assert_eq!(reading.count_to((1 << 16) - 1), (1 << 16) - 1);
    }

    #[test]
    fn a_turn_adds_up_to_what_its_requests_would_have_one_by_one() {
        let (tallied, single, mut tally) = (Ledger::default(), Ledger::default(), Tally::default());
        for index in 0..1_000_u64 {
            let api = [ApiKey::Produce, ApiKey::Fetch, ApiKey::Metadata][index as usize % 3];
            let mut record = Record::new(api, Arrival::at(1_000), 1_000 + index / 7, 10);
            record.pass(Point::Synced, 5_000);
            record.pass(Point::Sent, 5_000 + 100 * (index / 50 % 3));
            tally.add(&tallied, api, &record.split(), 1 + index % 2);
            single.add(api, &record.split(), 1 + index % 2);
            if index.is_multiple_of(101) {
                tally.flush(&tallied);
                assert_eq!(tallied.read(), single.read());
            }
        }
        tally.flush(&tallied);
        assert_eq!(tallied.read(), single.read());
    }

    fn record(total_ns: u64) -> Record {
        let mut record = Record::new(ApiKey::Produce, Arrival::at(1_000), 1_000, 10);
        record.pass(Point::Sent, 1_000 + total_ns);
        record
    }

    #[test]
    fn the_slowest_of_two_windows_are_kept_and_older_ones_forgotten() {
        let mut slowest = Slowest::default();
        let mut now_ns = 0;
        for window in 0..3 {
            slowest.turn_window(now_ns);
            for index in 0..200 {
                let record = record(1_000 * (3 - window) + index);
                slowest.offer(&record, &record.split());
            }
            now_ns += LEDGER_WINDOW_NS;
        }
        let mut list = Vec::new();
        slowest.fill(&mut list, |_| None);
        let totals: Vec<u64> = list.iter().map(|slow| slow.record.split().total_ns).collect();
        let expected: Vec<u64> = (0..LEDGER_SLOWEST_COUNT as u64).map(|n| 2_199 - n).collect();
        assert_eq!(totals, expected);
    }

    #[test]
    fn an_api_counts_from_its_first_request() {
        let ledger = Ledger::default();
        assert_eq!(ledger.read(), []);
        let split = record(70).split();
        for api in ApiKey::ALL {
            ledger.add(*api, &split, 1);
            ledger.add(*api, &split, 1);
        }
        let readings = ledger.read();
        assert_eq!(readings.len(), ApiKey::ALL.len());
        for reading in readings {
            assert_eq!((reading.total.count, reading.total.sum_ns), (2, 140));
            let stages: u64 = reading.stages.iter().map(|stage| stage.sum_ns).sum();
            assert_eq!(stages, 140);
        }
    }
}
