//! What many of something cost: partitions, connections, shards. They concern Corelane alone.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::ground::{BROKER_CORE, CLIENT_CORE, Ground, idle_share, metric, resident_kib};
use super::table::{Line, against, alone, median, noted, number, rounded, shown};
use crate::ServerKind;
use crate::process;
use crate::server::Server;

const CPU_PER_MILLION: &[&str] = &["server", "cpu_seconds_per_million_requests"];
const TAIL: &[&str] = &["latency", "p99_9_ns"];

/// What was begun is written, and what is kept for a while is let go.
const CALM: Duration = Duration::from_secs(3);

/// Resident memory of an idle broker, and how soon one with 100 partitions serves.
pub fn hundred(ground: &Ground<'_>) -> Result<Vec<Line>, String> {
    let mut plan = ground.plan(ServerKind::Corelane, "figures-idle")?;
    let server = plan.start()?;
    ground.topic(&server, &["create", "hundred", "--partitions", "100"])?;
    server.stop()?;
    let mut ready = Vec::new();
    let mut resident = Vec::new();
    for _ in 0..5 {
        let server = plan.start()?;
        ready.push(server.ready_after.as_secs_f64() * 1e3);
        resident.push(resident_kib(server.pid())? / 1024.0);
        server.stop()?;
    }
    let _ = std::fs::remove_dir_all(plan.folder());
    let shown = |value: Option<f64>| value.map(|value| (value, format!("{value:.1}")));
    Ok(vec![
        alone("idle: resident, MiB", "100 partitions", shown(median(&mut resident)), 64.0),
        alone("idle: start to ready, ms", "100 partitions", shown(median(&mut ready)), 100.0),
    ])
}

const PARTITIONS: &str = "10000";
const MANY_LOAD: [&str; 5] = ["produce", "--rate", "5000", "--record-bytes", "256"];
/// Long enough for a hundredth of a core to be told from nothing.
const IDLE_TIME: Duration = Duration::from_secs(6);
const PARTITION_KIB: f64 = 16.0;

/// 10,000 partitions: what they cost at rest and in the tail.
pub fn partitions(ground: &Ground<'_>) -> Result<Vec<Line>, String> {
    let count: f64 = PARTITIONS.parse().expect("it is a number");
    let mut plan = ground.plan(ServerKind::Corelane, "figures-partitions")?;
    let server = plan.start()?;
    let settled = ["--keep-topic", "--warm-up", "0s", "--duration", "4s"];
    let one = ["--topic", "one"];
    let many = ["--topic", "many", "--partitions", PARTITIONS];
    ground.load(&server, &MANY_LOAD, &[&settled[..], &one].concat())?;
    std::thread::sleep(CALM);
    let empty_kib = resident_kib(server.pid())?;
    // One request may not create as many.
    ground.topic(&server, &["create", "many", "--partitions", "5000"])?;
    ground.topic(&server, &["add-partitions", "many", "--total", PARTITIONS])?;
    std::thread::sleep(CALM);
    let created_kib = resident_kib(server.pid())?;
    let created_share = idle_share(server.pid(), IDLE_TIME)?;
    println!("  created: {created_kib:.0} KiB, before {empty_kib:.0}; idle {created_share:.4}");
    ground.load(&server, &MANY_LOAD, &[&settled[..], &many].concat())?;
    let tails = ground.in_turn(TAIL, |is_many| {
        let (who, topic) = if is_many { ("10,000", &many[..]) } else { ("1", &one[..]) };
        let result = ground.measure(&server, who, &[&MANY_LOAD, topic].concat())?;
        println!("  {who:<10} p99.9 {} µs", rounded(micros(&result)));
        Ok(result)
    })?;
    let began = Instant::now();
    if let Err(reason) = server.stop() {
        // It gives up flushing after a while, and then the next start recovers: a result, too.
        println!("  {reason}");
    }
    let stop_s = began.elapsed().as_secs_f64();
    // What is left when the records' own memory is gone.
    let started = match plan.start() {
        Ok(server) => Some(started(server)?),
        // Not in time: the rows that need it say so.
        Err(reason) => {
            println!("  {reason}");
            None
        }
    };
    let _ = std::fs::remove_dir_all(plan.folder());
    let what = "10,000 partitions on one core";
    let loads = "5,000 produces/s of 256 B over 10,000 partitions, against 1";
    let (mut loaded, mut plain) = (micros_of(tails.loaded), micros_of(tails.plain));
    let written_kib = started.as_ref().map(|started| started.resident_kib);
    // Nothing is taken off for the broker itself: what was resident before had a load's memory.
    let written_each = written_kib.map(|written| written / count);
    let share = started.as_ref().map_or(0.0, |started| started.idle_share);
    let share = created_share.max(share) * 100.0;
    Ok(vec![
        alone("partitions: idle CPU, % of a core", what, shown(Some(share)), 1.0),
        alone(
            "partitions: resident each, just created, KiB",
            what,
            shown(Some((created_kib - empty_kib) / count)),
            PARTITION_KIB,
        ),
        alone(
            "partitions: resident, all over partitions, with records and started again, KiB",
            what,
            shown(written_each),
            PARTITION_KIB,
        ),
        noted("partitions: to stop, s (10: gave up)", what, shown(Some(stop_s))),
        noted("partitions: start to ready, s", what, shown(started.map(|s| s.ready_s))),
        against("partitions: p99.9, µs", loads, median(&mut loaded), median(&mut plain), 1.3),
    ])
}

/// A broker that was started again and does nothing.
#[derive(Debug)]
struct Started {
    ready_s: f64,
    resident_kib: f64,
    idle_share: f64,
}

fn started(server: Server) -> Result<Started, String> {
    std::thread::sleep(CALM);
    let started = Started {
        ready_s: server.ready_after.as_secs_f64(),
        resident_kib: resident_kib(server.pid())?,
        idle_share: idle_share(server.pid(), IDLE_TIME)?,
    };
    println!("  with records, started again: {started:?}");
    if let Err(reason) = server.stop() {
        println!("  {reason}");
    }
    Ok(started)
}

const CONNECTIONS: usize = 10_000;
/// For all else that has files open.
const SPARE_FILES: u64 = 500;
const CONNECTION_KIB: f64 = 8.0;

/// 10,000 connections that asked once and are silent.
pub fn connections(ground: &Ground<'_>) -> Result<Vec<Line>, String> {
    let files = process::raise_open_files().map_err(|error| error.to_string())?;
    let count = CONNECTIONS.min(files.saturating_sub(SPARE_FILES) as usize);
    if count < CONNECTIONS {
        println!("  only {count}: the limit of open files is {files}");
    }
    ground.corelane(
        "figures-connections",
        |plan| plan,
        |server| {
            drop(ask(server)?);
            std::thread::sleep(CALM);
            let before_kib = resident_kib(server.pid())?;
            let streams = (0..count).map(|_| ask(server)).collect::<Result<Vec<_>, String>>()?;
            std::thread::sleep(CALM);
            let open = metric(server, "corelane_connections");
            if open != Some(count as f64) {
                return Err(format!("{open:?} connections are open, and {count} were opened"));
            }
            let after_kib = resident_kib(server.pid())?;
            let share = idle_share(server.pid(), IDLE_TIME)? * 100.0;
            println!("  {count}: {before_kib:.0} to {after_kib:.0} KiB; idle {share:.2} %");
            drop(streams);
            let what = format!("{count} connections, each has asked for ApiVersions");
            let each = (after_kib - before_kib) / count as f64;
            Ok(vec![
                alone("connections: resident each, KiB", &what, shown(Some(each)), CONNECTION_KIB),
                noted("connections: idle CPU, % of a core", &what, shown(Some(share))),
            ])
        },
    )
}

/// A connection whose first request was answered.
fn ask(server: &Server) -> Result<TcpStream, String> {
    let text = |error: std::io::Error| format!("a connection: {error}");
    let mut stream = TcpStream::connect(&server.bootstrap).map_err(text)?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).map_err(text)?;
    // Length, key 18, version 0, correlation 1, no client id.
    stream.write_all(&[0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff]).map_err(text)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length).map_err(text)?;
    let mut answer = vec![0; (u32::from_be_bytes(length) as usize).min(1 << 20)];
    stream.read_exact(&mut answer).map_err(text)?;
    Ok(stream)
}

const ACTIVE_LOAD: [&str; 3] = ["produce", "--rate", "20000"];

/// The same requests by 1,000 connections and by one.
pub fn active(ground: &Ground<'_>) -> Result<Vec<Line>, String> {
    ground.corelane(
        "figures-active",
        |plan| plan,
        |server| {
            let costs = ground.in_turn(CPU_PER_MILLION, |is_many| {
                let count = if is_many { "1000" } else { "1" };
                let load = [&ACTIVE_LOAD[..], &["--connections", count]].concat();
                let result = ground.measure(server, count, &load)?;
                println!("  {count:<10} CPU-s per million {}", rounded(cost(&result)));
                Ok(result)
            })?;
            let (mut loaded, mut plain) = (costs.loaded, costs.plain);
            let what = "20,000 1-record produces/s, open loop, by 1,000 connections against 1";
            let name = "active: CPU-s per million requests";
            Ok(vec![against(name, what, median(&mut loaded), median(&mut plain), 1.5)])
        },
    )
}

const SHARDS_LOAD: [&str; 8] =
    ["produce", "--closed", "--connections", "16", "--in-flight", "8", "--partitions", "16"];

/// Two shards against one, and what a hop costs. The second shard shares its core with the load.
pub fn shards(ground: &Ground<'_>) -> Result<Vec<Line>, String> {
    let cores = format!("{BROKER_CORE},{CLIENT_CORE}");
    let mut plans = [
        ground.plan(ServerKind::Corelane, "figures-shard")?,
        ground.plan(ServerKind::Corelane, "figures-shards")?.measured_on(&cores),
    ];
    let (one, two) = (plans[0].start()?, plans[1].start()?);
    let mut hops = Vec::new();
    let costs = ground.in_turn(CPU_PER_MILLION, |is_two| {
        let (who, server) = if is_two { ("2 shards", &two) } else { ("1 shard", &one) };
        let before = messages_and_requests(server);
        let result = ground.measure(server, who, &SHARDS_LOAD)?;
        if let (true, Some(before), Some(after)) = (is_two, before, messages_and_requests(server)) {
            // A question and its answer are a hop.
            hops.push((after.0 - before.0) / 2.0 / (after.1 - before.1).max(1.0));
        }
        println!("  {who:<10} CPU-s per million {}", rounded(cost(&result)));
        Ok(result)
    })?;
    one.stop()?;
    two.stop()?;
    for plan in &plans {
        let _ = std::fs::remove_dir_all(plan.folder());
    }
    let (mut loaded, mut plain) = (costs.loaded, costs.plain);
    let (loaded, plain) = (median(&mut loaded), median(&mut plain));
    let hops = median(&mut hops).filter(|hops| *hops > 0.0);
    // CPU-seconds per million requests are microseconds per request.
    let per_hop = loaded.zip(plain).zip(hops).map(|((two, one), hops)| (two - one) / hops);
    let what = "1-record produces over 16 partitions, 16 connections × 8";
    let hop = format!("the same; {} hops per request", rounded(hops));
    Ok(vec![
        against("shards: CPU-s per million requests, 2 against 1", what, loaded, plain, 1.1),
        alone("shards: CPU per hop, µs", &hop, shown(per_hop), 1.0),
    ])
}

fn messages_and_requests(server: &Server) -> Option<(f64, f64)> {
    metric(server, "corelane_mesh_messages_total").zip(metric(server, "corelane_requests_total"))
}

fn cost(result: &Value) -> Option<f64> {
    number(result, CPU_PER_MILLION)
}

fn micros(result: &Value) -> Option<f64> {
    number(result, TAIL).map(|ns| ns / 1e3)
}

fn micros_of(mut ns: Vec<f64>) -> Vec<f64> {
    ns.iter_mut().for_each(|ns| *ns /= 1e3);
    ns
}
