//! `kafka-reassign-partitions` with `log_dirs`: a replica goes to the other data folder and back
//! while a producer writes to it.

use std::cell::RefCell;
use std::fs;
use std::time::Duration;

use serde_json::Value;

use super::{
    CONSUMER_PERFORMANCE, LOG_DIRS, OFFSETS, PRODUCER_PERFORMANCE, REASSIGN, Run, TOPICS, Tools,
};
use crate::process::Service;
use crate::suites::conformance;

/// Records, and how many of them in a second: longer than the tools take that move the replica.
const RECORDS: &str = "40000";
const RECORDS_PER_SECOND: &str = "1000";
const LOAD_SECONDS: u64 = 120;
/// Each is a JVM of its own, and takes a second at least.
const LOOKS_MAX: u32 = 30;

/// Runs it on a broker of its own with two data folders.
pub(super) fn run(run: &mut Run) {
    let started = run.plan("tools-folders").and_then(|plan| plan.with_folders(2).start());
    let server = match started {
        Ok(server) => server,
        Err(reason) => return run.tally.fail("tools/folders", &reason),
    };
    Tools { run, server: Some(&server) }.moves(&server.bootstrap);
    conformance::stop(server, &mut run.tally);
}

impl Tools<'_, '_> {
    fn moves(&mut self, bootstrap: &str) {
        let create = ["--create", "--topic", "moved", "--partitions", "1"];
        self.tool("folders_topic", TOPICS, &create, None, |said| said.contains("Created topic"));
        let Some([from, to]) = self.folders("folders_before") else { return };
        let libs = crate::provision::java_libs(self.run.workspace);
        let mut load = conformance::jvm(self.run, &libs);
        load.arg(PRODUCER_PERFORMANCE).args(["--bootstrap-server", bootstrap, "--topic", "moved"]);
        load.args(["--num-records", RECORDS, "--throughput", RECORDS_PER_SECOND]);
        load.args(["--record-size", "1000", "--command-property", "acks=all"]);
        let log = self.run.workspace.scratch().join("tools/load.log");
        let mut load = match Service::start(&mut load, &log) {
            Ok(load) => load,
            Err(error) => return self.run.tally.fail("tools/folders_load", &error.to_string()),
        };
        // The first records are there before the replica leaves.
        let first = ["--topic-partitions", "moved:0"];
        self.until("folders_load_begins", OFFSETS, &first, |said| {
            said.contains("moved:0:") && !said.contains("moved:0:0")
        });
        self.move_to("there", &to);
        self.check("folders_load_goes_on", load.alive());
        self.move_to("back", &from);
        let sent = load.output(Duration::from_secs(LOAD_SECONDS));
        let whole = format!("{RECORDS} records sent");
        self.check("folders_load", sent.is_ok_and(|said| said.contains(&whole)));
        // The producer is idempotent: nothing is lost, nothing twice.
        let end = format!("moved:0:{RECORDS}");
        self.tool("folders_end", OFFSETS, &first, None, |said| said.lines().any(|l| l == end));
        let consume = ["--topic", "moved", "--num-records", RECORDS, "--timeout", "20000"];
        self.tool("folders_consumer", CONSUMER_PERFORMANCE, &consume, None, |said| {
            said.lines().any(|line| line.split(", ").nth(4) == Some(RECORDS))
        });
        let now = self.folders("folders_after");
        self.check("folders_back_again", now.is_some_and(|[at, _]| at == from));
    }

    /// Moves the replica, and waits until the tool says that it is there.
    fn move_to(&mut self, name: &str, folder: &str) {
        let file = self.run.workspace.scratch().join("tools/reassign.json");
        let wanted = format!(
            "{{\"version\":1,\"partitions\":[{{\"topic\":\"moved\",\"partition\":0,\
             \"replicas\":[1],\"log_dirs\":[\"{folder}\"]}}]}}"
        );
        if let Err(error) = fs::write(&file, wanted) {
            return self.run.tally.fail("tools/reassign.json", &error.to_string());
        }
        let file = file.display().to_string();
        let file = ["--reassignment-json-file", &file];
        let execute = [&file[..], &["--execute"]].concat();
        self.tool(&format!("reassign_{name}"), REASSIGN, &execute, None, |said| {
            let started = "Successfully started moving log directory to";
            said.contains(&format!("{started} {folder} for replica moved-0 with broker 1"))
        });
        let verify = [&file[..], &["--verify"]].concat();
        self.until(&format!("reassign_{name}_verify"), REASSIGN, &verify, |said| {
            said.contains("Reassignment of replica moved-0-1 completed successfully")
        });
    }

    /// The folder that the replica is in, and the other one.
    fn folders(&mut self, name: &str) -> Option<[String; 2]> {
        let found = RefCell::new(None);
        let describe = ["--describe", "--topic-list", "moved"];
        self.tool(name, LOG_DIRS, &describe, None, |said| {
            let document = said.lines().find_map(|line| serde_json::from_str::<Value>(line).ok());
            let broker = document.as_ref().and_then(|document| document["brokers"].get(0));
            let folders: Vec<(String, bool)> = broker
                .and_then(|broker| broker["logDirs"].as_array())
                .into_iter()
                .flatten()
                .filter_map(|folder| {
                    let path = folder["logDir"].as_str()?.to_string();
                    let mut partitions = folder["partitions"].as_array()?.iter();
                    Some((path, partitions.any(|known| known["partition"] == "moved-0")))
                })
                .collect();
            let place = |has: bool| {
                folders.iter().find(|(_, known)| *known == has).map(|(path, _)| path.clone())
            };
            *found.borrow_mut() = place(true).zip(place(false)).map(|(at, other)| [at, other]);
            folders.len() == 2 && found.borrow().is_some()
        });
        found.into_inner()
    }

    /// Asks a tool until it says what is waited for.
    fn until(&mut self, name: &str, class: &str, arguments: &[&str], says: impl Fn(&str) -> bool) {
        for _ in 1..LOOKS_MAX {
            if self.says(class, arguments, &says) {
                return self.run.tally.pass(&format!("tools/{name}"));
            }
        }
        self.tool(name, class, arguments, None, says);
    }

    fn check(&mut self, name: &str, holds: bool) {
        let name = format!("tools/{name}");
        match holds {
            true => self.run.tally.pass(&name),
            false => self.run.tally.fail(&name, "see load.log"),
        }
    }
}
