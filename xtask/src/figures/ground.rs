//! What every figure stands on: brokers on their core, loads on theirs, and what the kernel says
//! about a broker's process.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Options;
use super::table::{json_in, number};
use crate::ServerKind;
use crate::process::{self, Service};
use crate::server::{Plan, Server};
use crate::workspace::Workspace;

pub const BROKER_CORE: u32 = 0;
pub const CLIENT_CORE: &str = "1";
pub const RUN_TIMEOUT: Duration = Duration::from_secs(180);

/// What a figure has to work with.
#[derive(Debug)]
pub struct Ground<'a> {
    pub workspace: &'a Workspace,
    pub binary: PathBuf,
    pub options: &'a Options,
}

/// A figure in two situations of one broker: values by round.
#[derive(Debug, Default)]
pub struct Pair {
    pub loaded: Vec<f64>,
    pub plain: Vec<f64>,
}

impl Ground<'_> {
    /// A broker on its core, in an empty folder.
    pub fn plan(&self, kind: ServerKind, name: &str) -> Result<Plan, String> {
        let plan = Plan::new(self.workspace, kind, self.binary.clone(), name)?;
        Ok(plan.measured_on(&BROKER_CORE.to_string()))
    }

    /// Corelane alone: `set` chooses its settings, `with` measures. Its folder goes afterwards.
    pub fn corelane<T>(
        &self,
        name: &str,
        set: impl FnOnce(Plan) -> Plan,
        with: impl FnOnce(&Server) -> Result<T, String>,
    ) -> Result<T, String> {
        let mut plan = set(self.plan(ServerKind::Corelane, name)?);
        let measured = plan.start().and_then(|server| {
            let measured = with(&server)?;
            server.stop()?;
            Ok(measured)
        });
        let _ = fs::remove_dir_all(plan.folder());
        measured
    }

    /// `corelane bench` against a broker, not yet started.
    pub fn bench(&self, server: &Server, load: &[&str], more: &[&str]) -> Command {
        self.bench_under(process::command(&self.binary), server, load, more)
    }

    /// The same as a load that gets what the others leave of the load's core.
    pub fn bench_behind(&self, server: &Server, load: &[&str]) -> Command {
        self.bench_under(self.behind(), server, load, &[])
    }

    /// `corelane` where it disturbs the load least.
    pub fn behind(&self) -> Command {
        let mut command = process::command("chrt");
        command.args(["--idle", "0", "taskset", "-c", CLIENT_CORE]).arg(&self.binary);
        command
    }

    fn bench_under(
        &self,
        mut command: Command,
        server: &Server,
        load: &[&str],
        more: &[&str],
    ) -> Command {
        let pid = server.pid().to_string();
        command.arg("bench").args(load).args(more);
        command.args(["--bootstrap", &server.bootstrap, "--server-pid", &pid]);
        command.args(["--cores", CLIENT_CORE, "--format", "json", "--allow-slow-client"]);
        command
    }

    /// Runs `corelane bench` and reads its JSON.
    pub fn load(&self, server: &Server, load: &[&str], more: &[&str]) -> Result<Value, String> {
        let mut command = self.bench(server, load, more);
        let done = process::run(&mut command, RUN_TIMEOUT, |_| {}).map_err(|e| e.to_string())?;
        json_in(&done.output).ok_or_else(|| format!("bench {}: {}", load.join(" "), done.reason()))
    }

    /// As `load`, for the measured seconds; tells the reader what came of it.
    pub fn measure(&self, server: &Server, who: &str, load: &[&str]) -> Result<Value, String> {
        let seconds = self.seconds();
        let result = self.load(server, load, &["--duration", &seconds, "--warm-up", "2s"])?;
        self.note(who, &result)?;
        Ok(result)
    }

    /// Measured seconds of a run, as the bench takes them.
    pub fn seconds(&self) -> String {
        format!("{}s", self.options.seconds)
    }

    /// Tells the reader, and the raw file, what came of one run.
    pub fn note(&self, who: &str, result: &Value) -> Result<(), String> {
        for doubt in result["doubts"].as_array().into_iter().flatten() {
            println!("  {who:<10} DOUBT: {}", doubt.as_str().unwrap_or_default());
        }
        if let Some(path) = &self.options.raw {
            let text = |error: std::io::Error| format!("{}: {error}", path.display());
            let mut file =
                fs::File::options().create(true).append(true).open(path).map_err(text)?;
            let entry = serde_json::json!({ "run": who, "result": result });
            writeln!(file, "{entry}").map_err(text)?;
        }
        Ok(())
    }

    /// A figure of two loads on one broker in turn, A B B A.
    pub fn in_turn(
        &self,
        at: &[&str],
        mut run: impl FnMut(bool) -> Result<Value, String>,
    ) -> Result<Pair, String> {
        let mut pair = Pair::default();
        for round in 0..self.options.rounds {
            let order = if round % 2 == 0 { [true, false] } else { [false, true] };
            for loaded in order {
                let value = number(&run(loaded)?, at);
                if loaded { pair.loaded.extend(value) } else { pair.plain.extend(value) }
            }
        }
        Ok(pair)
    }

    /// A load in the background; it ends when the value drops.
    pub fn background(&self, name: &str, mut command: Command) -> Result<Service, String> {
        let log = self.workspace.scratch().join(format!("{name}.log"));
        Service::start(&mut command, &log).map_err(|error| format!("{name}: {error}"))
    }

    /// `corelane topic ...` against a broker.
    pub fn topic(&self, server: &Server, arguments: &[&str]) -> Result<(), String> {
        self.topic_under(process::command(&self.binary), server, arguments)
    }

    /// The same, behind the load.
    pub fn topic_behind(&self, server: &Server, arguments: &[&str]) -> Result<(), String> {
        self.topic_under(self.behind(), server, arguments)
    }

    fn topic_under(
        &self,
        mut command: Command,
        server: &Server,
        arguments: &[&str],
    ) -> Result<(), String> {
        command.arg("topic").args(arguments).args(["--bootstrap", &server.bootstrap]);
        command.args(["--timeout-ms", "120000"]);
        let done = process::run(&mut command, RUN_TIMEOUT, |_| {}).map_err(|e| e.to_string())?;
        match done.success() {
            true => Ok(()),
            false => Err(format!("topic {}: {}", arguments.join(" "), done.reason())),
        }
    }
}

/// Resident memory of a process, in KiB.
pub fn resident_kib(pid: u32) -> Result<f64, String> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    kib.ok_or_else(|| format!("{path} has no VmRSS"))
}

/// CPU time of all threads of a process so far, in seconds.
fn cpu_seconds(pid: u32) -> Result<f64, String> {
    let folder = format!("/proc/{pid}/task");
    let threads = fs::read_dir(&folder).map_err(|error| format!("{folder}: {error}"))?;
    let stats = threads.flatten().map(|thread| fs::read_to_string(thread.path().join("schedstat")));
    let ns = stats.flatten().filter_map(|stat| stat.split(' ').next()?.parse::<f64>().ok());
    Ok(ns.sum::<f64>() / 1e9)
}

/// The share of a core that a process takes while nobody asks it for anything.
pub fn idle_share(pid: u32, time: Duration) -> Result<f64, String> {
    let (before, began) = (cpu_seconds(pid)?, Instant::now());
    std::thread::sleep(time);
    Ok((cpu_seconds(pid)? - before) / began.elapsed().as_secs_f64())
}

/// The sum of a metric of Corelane over its shards; `None` for Kafka.
pub fn metric(server: &Server, name: &str) -> Option<f64> {
    let text = crate::coverage::metrics(server)?;
    let lines = text
        .lines()
        .filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])));
    Some(lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
}

/// The page cache is the machine's: only root may empty it.
pub fn drop_page_cache() -> Result<(), String> {
    let mut sync = process::command("sync");
    process::run(&mut sync, RUN_TIMEOUT, |_| {}).map_err(|error| error.to_string())?;
    fs::write("/proc/sys/vm/drop_caches", "3\n")
        .map_err(|error| format!("fetch-cold has to empty the page cache, as root: {error}"))
}
