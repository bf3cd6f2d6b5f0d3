//! How soon a broker with many gigabytes serves after `kill -9` under load. It concerns Corelane
//! alone; `recovery` is about many keys and producers.

use std::time::Duration;

use super::ground::{Ground, RUN_TIMEOUT, metric};
use super::table::{Line, alone, median, noted, number, rounded};
use crate::ServerKind;
use crate::process;
use crate::server::Server;

const BYTES: [&str; 9] = [
    "produce",
    "--closed",
    "--connections",
    "4",
    "--in-flight",
    "2",
    "--batch-bytes",
    "65536",
    "--keep-topic",
];
const TOPIC: [&str; 6] = ["--topic", "restart", "--partitions", "8", "--warm-up", "0s"];
const KILLS: u32 = 3;
/// Under load before each kill: the journal is full of what is not in segments.
const LOADED: Duration = Duration::from_secs(3);
/// What others on this disk need, the journal among them.
const SPARE_GIGABYTES: u64 = 4;
const MOST_SECONDS: f64 = 1.0;
/// More than a disk that writes 100 MB/s needs.
const PIECES_MAX: u32 = 60;

/// Fills, then kills and starts.
pub fn lines(ground: &Ground<'_>) -> Result<Vec<Line>, String> {
    let mut plan = ground.plan(ServerKind::Corelane, "figures-restart")?;
    let room = room_gigabytes(plan.folder())?.saturating_sub(SPARE_GIGABYTES);
    let wanted = ground.options.gigabytes.min(room);
    if wanted < ground.options.gigabytes {
        println!("  only {wanted} GB: the disk has room for no more");
    }
    let mut server = plan.start()?;
    let filled = fill(ground, &server, wanted as f64)?;
    println!("  {filled:.1} GB written");
    let mut ready = Vec::new();
    for _ in 0..KILLS {
        let lasts = format!("{}s", LOADED.as_secs() + 30);
        let load = [&BYTES[..], &TOPIC].concat();
        let command = ground.bench(&server, &load, &["--duration", &lasts]);
        let load = ground.background("figures-restart-load", command)?;
        std::thread::sleep(LOADED);
        let life = metric(&server, "corelane_append_bytes_total").unwrap_or(0.0) / 1e9;
        server.kill();
        drop(load);
        server = plan.start()?;
        let seconds = server.ready_after.as_secs_f64();
        println!("  ready after {seconds:.2} s; the life before took {life:.1} GB");
        ready.push(seconds);
    }
    // That it serves is seen by another load on the same topic.
    let check = [&BYTES[..], &TOPIC, &["--duration", "1s"]].concat();
    let result = ground.load(&server, &check, &[])?;
    if number(&result, &["load", "requests"]).is_none_or(|requests| requests < 1.0) {
        return Err("restart: the broker that was started again took no record".to_owned());
    }
    server.stop()?;
    let _ = std::fs::remove_dir_all(plan.folder());
    let what = format!("{filled:.0} GB in 8 partitions, killed under load, {KILLS} kills");
    let most = ready.iter().copied().fold(f64::NAN, f64::max);
    let shown = median(&mut ready)
        .map(|median| (median, format!("{} (max {most:.2})", rounded(Some(median)))));
    Ok(vec![
        alone("restart: kill -9 to ready, s", &what, shown, MOST_SECONDS),
        noted("restart: GB", &what, Some((filled, format!("{filled:.1}")))),
    ])
}

/// Writes until so many gigabytes of records were taken; says how many.
fn fill(ground: &Ground<'_>, server: &Server, gigabytes: f64) -> Result<f64, String> {
    for _ in 0..PIECES_MAX {
        let filled = metric(server, "corelane_append_bytes_total").unwrap_or(0.0) / 1e9;
        if filled >= gigabytes {
            return Ok(filled);
        }
        // In pieces, so that it ends near what was asked for.
        let load = [&BYTES[..], &TOPIC, &["--duration", "2s"]].concat();
        ground.load(server, &load, &[])?;
        // The broker's own count is about a second old.
        std::thread::sleep(Duration::from_millis(1_200));
    }
    Err(format!("restart: {gigabytes} GB were not written in {PIECES_MAX} runs of 2 s"))
}

/// Room on the disk of a folder.
fn room_gigabytes(folder: &std::path::Path) -> Result<u64, String> {
    let mut command = process::command("df");
    command.args(["--output=avail", "-B1000000000"]).arg(folder);
    let done = process::run(&mut command, RUN_TIMEOUT, |_| {}).map_err(|e| e.to_string())?;
    let room = done.output.lines().last().and_then(|line| line.trim().parse().ok());
    room.ok_or_else(|| format!("df: {}", done.reason()))
}
