//! From two pages of the ledger to the tables `corelane top` shows. Pure.

use std::collections::BTreeMap;

use super::super::output::{Cell, Report, Table};
use crate::edge::ledger_page::{CorePage, DurationsPage, LedgerPage, ShardPage, SlowPage};
use crate::ledger::STAGES;

/// Durations between two pages, over all shards.
#[derive(Clone, PartialEq, Debug, Default)]
struct Durations {
    /// By the largest value that falls into the bucket.
    buckets: BTreeMap<u64, u64>,
    count: u64,
    sum_ns: u64,
}

impl Durations {
    fn add(&mut self, before: Option<&DurationsPage>, now: &DurationsPage) {
        let before_buckets: BTreeMap<u64, u64> =
            before.into_iter().flat_map(|page| page.buckets.iter().copied()).collect();
        for (max_ns, count) in &now.buckets {
            let count = count.saturating_sub(*before_buckets.get(max_ns).unwrap_or(&0));
            if count > 0 {
                *self.buckets.entry(*max_ns).or_default() += count;
                self.count += count;
            }
        }
        self.sum_ns += now.sum_ns.saturating_sub(before.map_or(0, |page| page.sum_ns));
    }

    /// In microseconds, to the buckets' sixteenth.
    fn quantile(&self, share: f64) -> Cell {
        let rank = (self.count as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (max_ns, count) in &self.buckets {
            seen += count;
            if seen >= rank {
                return micros(*max_ns);
            }
        }
        Cell::Absent
    }
}

fn micros(ns: u64) -> Cell {
    Cell::Decimal(ns as f64 / 1_000.0)
}

/// `now` minus `before`, or since the start without a `before`.
pub fn report(before: Option<&LedgerPage>, now: &LedgerPage, slowest_count: usize) -> Report {
    let mut report = Report::new();
    report.field("status", now.status.as_str());
    report.field("version", now.version.as_str());
    let seconds = before.map(|before| now.mono_ns.saturating_sub(before.mono_ns) as f64 / 1e9);
    report.field("interval_s", seconds.map(Cell::Decimal).unwrap_or(Cell::Absent));
    report.table("cores", cores(before, now));
    let (apis, stages) = durations(before, now, seconds);
    report.table("requests_us", apis);
    report.table("stages_us", stages);
    report.table("slowest_us", slowest(now, slowest_count));
    report
}

fn shard_of(page: Option<&LedgerPage>, shard: usize) -> Option<&ShardPage> {
    page?.shards.iter().find(|page| page.shard == shard)
}

fn cores(before: Option<&LedgerPage>, now: &LedgerPage) -> Table {
    let mut table = Table::new(&[
        "shard",
        "busy_pct",
        "kernel_pct",
        "spin_pct",
        "idle_pct",
        "requests",
        "turns",
        "received_kb",
        "sent_kb",
        "written_kb",
        "connections",
    ]);
    for page in &now.shards {
        let earlier = shard_of(before, page.shard);
        let time = division(earlier.map(|page| &page.core), &page.core);
        let mut row = vec![page.shard.into()];
        row.extend(time.map(|share| Cell::Decimal(share * 100.0)));
        let count = |name: &str| {
            let value = |page: &ShardPage| page.counters.get(name).copied().unwrap_or(0);
            let more = value(page).saturating_sub(earlier.map_or(0, value));
            i64::try_from(more).unwrap_or(i64::MAX)
        };
        row.extend([count("requests").into(), count("turns").into()]);
        for name in ["received_bytes", "sent_bytes", "disk_written_bytes"] {
            row.push((count(name) / 1024).into());
        }
        let open = page.counters.get("connections").copied().unwrap_or(0);
        row.push(i64::try_from(open).unwrap_or(i64::MAX).into());
        table.push(row);
    }
    table
}

/// Shares of a core's time: its own work, the kernel's for it, looking for work, nothing.
fn division(before: Option<&CorePage>, now: &CorePage) -> [f64; 4] {
    let start = CorePage::default();
    let before = before.unwrap_or(&start);
    let more = |field: fn(&CorePage) -> u64| field(now).saturating_sub(field(before)) as f64;
    let handling = more(|core| core.handling_ns);
    let (entering, waiting) = (more(|core| core.entering_ns), more(|core| core.waiting_ns));
    let spinning = more(|core| core.spinning_ns);
    let wall = handling + entering + waiting + spinning;
    if wall <= 0.0 {
        return [0.0, 0.0, 0.0, 1.0];
    }
    // What the thread ran beyond our own work it ran in the kernel. CPU time is about a second
    // old, so that the parts are kept within the whole.
    let cpu = more(|core| core.cpu_ns);
    let kernel = (cpu - handling - spinning).clamp(entering.min(wall), entering + waiting);
    let idle = (wall - handling - spinning - kernel).max(0.0);
    [handling, kernel, spinning, idle].map(|part| part / wall)
}

fn durations(
    before: Option<&LedgerPage>,
    now: &LedgerPage,
    seconds: Option<f64>,
) -> (Table, Table) {
    let mut totals: BTreeMap<&str, Durations> = BTreeMap::new();
    let mut stages: BTreeMap<(&str, usize), Durations> = BTreeMap::new();
    for shard in &now.shards {
        let earlier = shard_of(before, shard.shard);
        for api in &shard.apis {
            let old = earlier.and_then(|page| page.apis.iter().find(|old| old.api == api.api));
            let total = totals.entry(&api.api).or_default();
            total.add(old.map(|old| &old.total), &api.total);
            for stage in &api.stages {
                let Some(place) = STAGES.iter().position(|name| *name == stage.stage) else {
                    continue;
                };
                let old = old.and_then(|old| old.stages.iter().find(|o| o.stage == stage.stage));
                let sum = stages.entry((&api.api, place)).or_default();
                sum.add(old.map(|old| &old.durations), &stage.durations);
            }
        }
    }
    let mut requests = Table::new(&["api", "count", "per_s", "p50", "p90", "p99", "p999", "max"]);
    for (api, total) in totals.iter().filter(|(_, total)| total.count > 0) {
        let count = i64::try_from(total.count).unwrap_or(i64::MAX);
        let mut row = vec![(*api).into(), count.into()];
        row.push(seconds.map_or(Cell::Absent, |s| Cell::Decimal(total.count as f64 / s)));
        row.extend([0.5, 0.9, 0.99, 0.999, 1.0].map(|share| total.quantile(share)));
        requests.push(row);
    }
    let mut divided = Table::new(&["api", "stage", "count", "share_pct", "p50", "p99", "max"]);
    for ((api, place), stage) in stages.iter().filter(|(_, stage)| stage.count > 0) {
        let whole = totals.get(api).map_or(0, |total| total.sum_ns);
        let share = if whole == 0 { 0.0 } else { stage.sum_ns as f64 / whole as f64 };
        let count = i64::try_from(stage.count).unwrap_or(i64::MAX);
        let mut row = vec![(*api).into(), STAGES[*place].into(), count.into()];
        row.push(Cell::Decimal(share * 100.0));
        row.extend([0.5, 0.99, 1.0].map(|share| stage.quantile(share)));
        divided.push(row);
    }
    (requests, divided)
}

fn slowest(now: &LedgerPage, count: usize) -> Table {
    let mut table = Table::new(&[
        "shard",
        "api",
        "topic",
        "partition",
        "request_bytes",
        "response_bytes",
        "ago_s",
        "total",
        "where",
    ]);
    let mut all: Vec<(usize, &SlowPage)> = now
        .shards
        .iter()
        .flat_map(|page| page.slowest.iter().map(|slow| (page.shard, slow)))
        .collect();
    all.sort_by_key(|(_, slow)| std::cmp::Reverse(slow.busy_ns));
    for (shard, slow) in all.into_iter().take(count) {
        let mut stages: Vec<&(String, u64)> = slow.stages.iter().collect();
        stages.sort_by_key(|(_, ns)| std::cmp::Reverse(*ns));
        let parts = stages.iter().map(|(name, ns)| format!("{name} {:.1}", *ns as f64 / 1e3));
        table.push(vec![
            shard.into(),
            slow.api.as_str().into(),
            slow.topic.clone().into(),
            slow.partition.into(),
            i64::from(slow.request_bytes).into(),
            i64::from(slow.response_bytes).into(),
            Cell::Decimal(slow.sent_ago_ns as f64 / 1e9),
            micros(slow.total_ns),
            Cell::Texts(parts.collect()),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::ledger_page::{ApiPage, StagePage};

    fn some(buckets: &[(u64, u64)]) -> DurationsPage {
        let sum_ns = buckets.iter().map(|(ns, count)| ns * count).sum();
        let count = buckets.iter().map(|(_, count)| count).sum();
        DurationsPage { count, sum_ns, buckets: buckets.to_vec(), ..DurationsPage::default() }
    }

    fn page(mono_ns: u64, core: CorePage, buckets: &[(u64, u64)]) -> LedgerPage {
        let stage = StagePage { stage: "sync".to_owned(), durations: some(buckets) };
        let api = ApiPage { api: "Produce".to_owned(), total: some(buckets), stages: vec![stage] };
        let shard = ShardPage {
            shard: 0,
            core,
            counters: BTreeMap::from([("requests".to_owned(), mono_ns / 1_000)]),
            apis: vec![api],
            slowest: Vec::new(),
        };
        LedgerPage {
            version: "0".to_owned(),
            status: "ok".to_owned(),
            mono_ns,
            shards: vec![shard],
        }
    }

    fn printed(report: &Report) -> serde_json::Value {
        let mut out = Vec::new();
        super::super::print_report(&mut out, super::super::Format::Json, report).expect("memory");
        serde_json::from_slice(&out).expect("JSON")
    }

    #[test]
    fn figures_are_those_between_the_two_pages() {
        let core = CorePage { handling_ns: 100, waiting_ns: 900, ..CorePage::default() };
        let before = page(1_000_000, core, &[(1_000, 90), (9_000_000, 10)]);
        let core =
            CorePage { handling_ns: 400, waiting_ns: 1_600, cpu_ns: 500, ..CorePage::default() };
        let now =
            page(1_001_000_000, core, &[(1_000, 90), (2_000, 99), (5_000, 1), (9_000_000, 10)]);
        let told = printed(&report(Some(&before), &now, 5));
        let requests = &told["requests_us"][0];
        assert_eq!(requests["count"], 100);
        assert_eq!(requests["p50"], 2.0);
        assert_eq!(requests["p999"], 5.0);
        assert_eq!(told["stages_us"][0]["share_pct"], 100.0);
        let core = &told["cores"][0];
        let parts = ["busy_pct", "kernel_pct", "idle_pct"].map(|name| core[name].as_f64());
        assert_eq!(parts, [Some(30.0), Some(20.0), Some(50.0)]);
    }

    #[test]
    fn without_an_earlier_page_figures_count_from_the_start() {
        let now = page(5_000, CorePage::default(), &[(1_000, 1)]);
        let told = printed(&report(None, &now, 5));
        assert_eq!(told["requests_us"][0]["count"], 1);
        assert_eq!(told["interval_s"], serde_json::Value::Null);
    }
}
