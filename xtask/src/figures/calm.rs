//! Latency under good and under bad conditions: spinning for work, beside cold readers, beside
//! topics that come and go. They concern Corelane alone.
//!
//! What goes on beside the measured load runs on the load's core in the scheduler's idle class, and
//! both park instead of spinning: else the figures would be of two clients that take turns, and of
//! the kernel's threads on that core, which complete what the broker has written and had to wait
//! for a client that spins, for seconds.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::ground::{Ground, RUN_TIMEOUT, metric};
use super::table::{Line, against, alone, json_in, median, noted, number, rounded, shown};
use crate::server::Server;

const TAIL: &[&str] = &["latency", "p99_9_ns"];
const E2E: [&str; 7] = ["e2e", "--rate", "5000", "--record-bytes", "256", "--wait", "park"];

const LONE_LOAD: [&str; 7] = [
    "e2e",
    "--rate",
    "1000",
    "--record-bytes",
    "256",
    "--topic-config",
    "corelane.durability=memory",
];
const BUSY_MICROS: f64 = 30.0;

/// End to end without disk and without sleep, and the same with sleep.
pub fn busy_poll(ground: &Ground<'_>) -> Result<Vec<Line>, String> {
    let what = "1,000 records/s of 256 B on `memory`, end to end";
    let mut lines = Vec::new();
    for busy in [true, false] {
        let name = if busy { "busy-poll" } else { "sleeping" };
        let set = |plan: crate::server::Plan| match busy {
            true => plan.with("corelane.busy.poll", "true"),
            false => plan,
        };
        let mut p50 = Vec::new();
        let mut p99 = Vec::new();
        ground.corelane("figures-busy-poll", set, |server| {
            for _ in 0..ground.options.rounds {
                let result = ground.measure(server, name, &LONE_LOAD)?;
                p50.extend(number(&result, &["latency", "p50_ns"]).map(|ns| ns / 1e3));
                p99.extend(number(&result, &["latency", "p99_ns"]).map(|ns| ns / 1e3));
                let last = |values: &[f64]| rounded(values.last().copied());
                println!("  {name:<10} p50 {}, p99 {} µs", last(&p50), last(&p99));
            }
            Ok(())
        })?;
        let (p50, p99) = (shown(median(&mut p50)), shown(median(&mut p99)));
        lines.push(match busy {
            true => alone("busy-poll: p50, µs", what, p50, BUSY_MICROS),
            false => noted("busy-poll: p50 without it, µs", what, p50),
        });
        let with = if busy { "" } else { " without it" };
        lines.push(noted(&format!("busy-poll: p99{with}, µs"), what, p99));
    }
    Ok(lines)
}

const COLD: [&str; 9] = [
    "produce",
    "--topic",
    "cold",
    "--keep-topic",
    "--rate",
    "4000",
    "--batch-bytes",
    "65536",
    "--warm-up",
];
const READERS: &str = "8";
/// Readers have begun, or what they began is over.
const BEGUN: Duration = Duration::from_secs(1);

/// The tail while others read what is long on disk, as fast as they can.
pub fn cold_readers(ground: &Ground<'_>) -> Result<Vec<Line>, String> {
    let mut rates = Vec::new();
    let tails = ground.corelane(
        "figures-cold",
        |plan| plan,
        |server| {
            // 2 GB: many times what stays in memory.
            ground.load(server, &COLD, &["0s", "--duration", "8s"])?;
            ground.load(server, &E2E, &["--warm-up", "0s", "--duration", "3s"])?;
            ground.in_turn(TAIL, |beside| {
                let readers = beside.then(|| {
                    let lasts = format!("{}s", ground.options.seconds + 30);
                    let load = ["consume", "--topic", "cold", "--connections", READERS];
                    let how = ["--read-again", "--warm-up", "0s", "--duration", &lasts];
                    let command = ground.bench_behind(server, &[&load[..], &how].concat());
                    ground.background("figures-cold-readers", command)
                });
                let _readers = readers.transpose()?;
                std::thread::sleep(BEGUN);
                let (before, began) = (sent_and_read(server)?, Instant::now());
                let who = if beside { "readers" } else { "none" };
                let result = ground.measure(server, who, &E2E)?;
                let after = sent_and_read(server)?;
                let took = began.elapsed().as_secs_f64() * 1e6;
                let (sent, read) = ((after.0 - before.0) / took, (after.1 - before.1) / took);
                let tail = number(&result, TAIL).map(|ns| ns / 1e3);
                println!(
                    "  {who:<10} p99.9 {} µs; {sent:.0} MB/s sent, {read:.0} MB/s read from disk",
                    rounded(tail)
                );
                if beside {
                    rates.push(read);
                }
                Ok(result)
            })
        },
    )?;
    let what = "5,000 records/s of 256 B end to end, beside 8 readers of 2 GB, against none";
    let rate = median(&mut rates);
    Ok(vec![
        tail_line("cold-readers", what, tails, 1.1),
        noted("cold-readers: read from disk meanwhile, MB/s", what, shown(rate)),
    ])
}

fn sent_and_read(server: &Server) -> Result<(f64, f64), String> {
    let sent = metric(server, "corelane_sent_bytes_total");
    let read = metric(server, "corelane_disk_read_bytes_total");
    sent.zip(read).ok_or_else(|| "the broker's metrics cannot be read".to_owned())
}

/// Small segments that roll, and that retention takes.
const ROLLING: [&str; 14] = [
    "produce",
    "--wait",
    "park",
    "--topic",
    "rolling",
    "--rate",
    "100",
    "--batch-bytes",
    "65536",
    "--topic-config",
    "segment.bytes=4194304",
    "--topic-config",
    "retention.bytes=8388608",
    "--warm-up",
];
/// Keyed records in small segments; what becomes of them says the policy that follows.
const KEYED: [&str; 18] = [
    "produce",
    "--wait",
    "park",
    "--topic",
    "compacted",
    "--rate",
    "100",
    "--batch-bytes",
    "16384",
    "--record-bytes",
    "256",
    "--key-bytes",
    "8",
    "--topic-config",
    "segment.bytes=1048576",
    "--topic-config",
    "min.cleanable.dirty.ratio=0.01",
    "--topic-config",
];
const COMPACT: [&str; 2] = ["cleanup.policy=compact", "--warm-up"];
const KEEP: [&str; 2] = ["cleanup.policy=delete", "--warm-up"];

/// The tail while topics come and go, segments roll, and retention and compaction run.
pub fn churn(ground: &Ground<'_>) -> Result<Vec<Line>, String> {
    let set = |plan: crate::server::Plan| {
        plan.with("log.retention.check.interval.ms", "1000").with("log.cleaner.backoff.ms", "500")
    };
    let tails = ground.corelane("figures-churn", set, |server| {
        ground.load(server, &E2E, &["--warm-up", "0s", "--duration", "3s"])?;
        let mut topics = 0;
        ground.in_turn(TAIL, |beside| match beside {
            true => beside_churn(ground, server, &mut topics),
            false => {
                // Cleaning of what the run before wrote is over.
                std::thread::sleep(2 * BEGUN);
                let result = ground.measure(server, "none", &E2E)?;
                told("none", &result);
                Ok(result)
            }
        })
    })?;
    let what = "5,000 records/s of 256 B end to end, while topics are created and deleted, \
                segments roll, retention and compaction run, against none";
    Ok(vec![tail_line("churn", what, tails, 1.2)])
}

fn beside_churn(ground: &Ground<'_>, server: &Server, topics: &mut u32) -> Result<Value, String> {
    let lasts = format!("{}s", ground.options.seconds + 30);
    let compacted = [&KEYED[..], &COMPACT].concat();
    let loads = [&ROLLING[..], &compacted].map(|load| {
        let command = ground.bench_behind(server, &[load, &["0s", "--duration", &lasts]].concat());
        ground.background("figures-churn-load", command)
    });
    let loads = loads.into_iter().collect::<Result<Vec<_>, String>>()?;
    std::thread::sleep(2 * BEGUN);
    let before = churned(server);
    let began = Instant::now();
    let seconds = ground.seconds();
    let more = ["--duration", seconds.as_str(), "--warm-up", "2s"];
    let measured =
        ground.background("figures-churn-measured", ground.bench(server, &E2E, &more))?;
    let created = *topics;
    while began.elapsed() < Duration::from_secs(u64::from(ground.options.seconds) + 2) {
        *topics += 1;
        let name = format!("churn-{topics}");
        ground.topic_behind(server, &["create", &name, "--partitions", "10"])?;
        ground.topic_behind(server, &["delete", &name])?;
    }
    let output = measured.output(RUN_TIMEOUT)?;
    let result = json_in(&output).ok_or_else(|| format!("bench e2e said: {output}"))?;
    ground.note("churn", &result)?;
    told("churn", &result);
    let after = churned(server);
    drop(loads);
    let (rounds, flushes) = (after.0 - before.0, after.1 - before.1);
    let count = *topics - created;
    println!("  {count} topics came and went; {rounds} cleanings, {flushes} flushes");
    if count == 0 || rounds <= 0.0 || flushes <= 0.0 {
        return Err("churn: nothing went on beside the load".to_owned());
    }
    for name in ["rolling", "compacted"] {
        // Each load would have deleted its topic, had it ended by itself.
        ground.topic(server, &["delete", name])?;
    }
    Ok(result)
}

/// The tail beside a topic that is cleaned as fast as it is written, against the same writes to one
/// that is not.
pub fn cleaning(ground: &Ground<'_>) -> Result<Vec<Line>, String> {
    let set = |plan: crate::server::Plan| plan.with("log.cleaner.backoff.ms", "500");
    let tails = ground.corelane("figures-cleaning", set, |server| {
        ground.load(server, &E2E, &["--warm-up", "0s", "--duration", "3s"])?;
        ground.in_turn(TAIL, |beside| {
            let lasts = format!("{}s", ground.options.seconds + 30);
            let policy = if beside { &COMPACT } else { &KEEP };
            let load = [&KEYED[..], policy, &["0s", "--duration", &lasts]].concat();
            let load =
                ground.background("figures-cleaning-load", ground.bench_behind(server, &load))?;
            std::thread::sleep(2 * BEGUN);
            let before = churned(server).0;
            let who = if beside { "cleaned" } else { "kept" };
            let result = ground.measure(server, who, &E2E)?;
            let swapped = churned(server).0 - before;
            drop(load);
            told(who, &result);
            println!("  {swapped} segments cleaned");
            if beside != (swapped > 0.0) {
                return Err(format!("cleaning: {swapped} segments cleaned of a topic {who}"));
            }
            // The load would have deleted its topic, had it ended by itself.
            ground.topic(server, &["delete", "compacted"])?;
            Ok(result)
        })
    })?;
    let what = "5,000 records/s of 256 B end to end, beside 100 keyed batches/s of 16 KiB to a \
                compacted topic, against the same to one that keeps all";
    Ok(vec![tail_line("cleaning", what, tails, 1.1)])
}

/// Rounds of cleaning and flushes so far.
fn churned(server: &Server) -> (f64, f64) {
    let count = |name: &str| metric(server, name).unwrap_or(0.0);
    (count("corelane_cleaner_swaps_total"), count("corelane_checkpoints_total"))
}

fn told(who: &str, result: &Value) {
    println!("  {who:<10} p99.9 {} µs", rounded(number(result, TAIL).map(|ns| ns / 1e3)));
}

fn tail_line(name: &str, what: &str, tails: super::ground::Pair, most: f64) -> Line {
    let micros = |mut ns: Vec<f64>| median(&mut ns).map(|ns| ns / 1e3);
    let (loaded, plain) = (micros(tails.loaded), micros(tails.plain));
    against(&format!("{name}: p99.9, µs"), what, loaded, plain, most)
}
