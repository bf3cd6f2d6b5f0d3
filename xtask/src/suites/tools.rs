//! Kafka's own command line tools against the broker, and its dump tool on the files left behind.
//!
//! Each step is one JVM and states what a user would look for in the tool's output.

mod moves;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Run, conformance};
use crate::server::Server;
use crate::{ServerKind, process, provision};

const TOOL_SECONDS: u64 = 60;
const LINES: usize = 500;
const PERFORMANCE_RECORDS: &str = "20000";

const LOG_DIRS: &str = "org.apache.kafka.tools.LogDirsCommand";
const REASSIGN: &str = "org.apache.kafka.tools.reassign.ReassignPartitionsCommand";
const PRODUCER_PERFORMANCE: &str = "org.apache.kafka.tools.ProducerPerformance";
const CONSUMER_PERFORMANCE: &str = "org.apache.kafka.tools.ConsumerPerformance";
const TOPICS: &str = "org.apache.kafka.tools.TopicCommand";
const PRODUCER: &str = "org.apache.kafka.tools.ConsoleProducer";
const CONSUMER: &str = "org.apache.kafka.tools.consumer.ConsoleConsumer";
const OFFSETS: &str = "org.apache.kafka.tools.GetOffsetShell";
const GROUPS: &str = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
const CONFIGS: &str = "kafka.admin.ConfigCommand";
const DUMP: &str = "org.apache.kafka.tools.DumpLogSegments";

/// Runs every tool, stops the broker, dumps its files.
pub fn run(run: &mut Run) {
    if let Err(reason) = provision::java(run.workspace) {
        return run.tally.missing("tools", &reason);
    }
    if !run.broker_is_there() {
        return;
    }
    let server = match conformance::start(run, "tools") {
        Ok(server) => server,
        Err(reason) => return run.tally.fail("tools", &reason),
    };
    let data = server.data.clone();
    Tools { run, server: Some(&server) }.online();
    conformance::stop(server, &mut run.tally);
    Tools { run, server: None }.dump(&data);
    moves::run(run);
}

struct Tools<'a, 'b> {
    run: &'a mut Run<'b>,
    /// `None` when it has stopped.
    server: Option<&'a Server>,
}

impl Tools<'_, '_> {
    fn online(&mut self) {
        self.topics();
        self.console();
        self.groups();
        self.configs();
        self.verifiable();
        self.performance();
        self.records_and_the_rest();
        self.quotas();
        self.cluster();
    }

    fn topics(&mut self) {
        let create = ["--create", "--topic", "tools", "--partitions", "3"];
        let with = ["--replication-factor", "1", "--config", "retention.ms=86400000"];
        self.tool("topic_create", TOPICS, &[&create[..], &with[..]].concat(), None, |said| {
            said.contains("Created topic tools.")
        });
        self.tool("topic_create_again_is_refused", TOPICS, &create, None, |said| {
            said.contains("already exists")
        });
        self.tool("topic_list", TOPICS, &["--list"], None, |said| {
            said.lines().any(|line| line == "tools")
        });
        let grow = ["--alter", "--topic", "tools", "--partitions", "4"];
        self.tool("topic_add_partition", TOPICS, &grow, None, |_| true);
        let describe = ["--describe", "--topic", "tools"];
        self.tool("topic_describe", TOPICS, &describe, None, |said| {
            said.contains("PartitionCount: 4")
                && said.contains("ReplicationFactor: 1")
                && said.contains("retention.ms=86400000")
                && said.matches("Leader: 1").count() == 4
        });
        let one = ["--create", "--topic", "perf", "--partitions", "2"];
        self.tool("topic_create_perf", TOPICS, &one, None, |said| said.contains("Created topic"));
    }

    fn console(&mut self) {
        let lines: Vec<String> = (0..LINES).map(|n| format!("key-{n}:value-{n}")).collect();
        let input = self.run.workspace.scratch().join("tools/lines.txt");
        if let Err(error) = fs::write(&input, lines.join("\n") + "\n") {
            return self.run.tally.fail("tools/lines", &error.to_string());
        }
        let keys = ["--reader-property", "parse.key=true", "--reader-property", "key.separator=:"];
        let produce = ["--topic", "tools", "--compression-codec", "lz4"];
        let produce = [&produce[..], &keys[..]].concat();
        self.tool("console_producer", PRODUCER, &produce, Some(&input), |said| {
            !said.contains("ERROR")
        });
        let keys =
            ["--formatter-property", "print.key=true", "--formatter-property", "key.separator=:"];
        let count = LINES.to_string();
        let consume = ["--topic", "tools", "--from-beginning", "--max-messages", &count];
        let group = ["--group", "tools-group", "--timeout-ms", "20000"];
        let consume = [&consume[..], &group[..], &keys[..]].concat();
        self.tool("console_consumer", CONSUMER, &consume, None, |said| {
            let mut got: Vec<&str> = said.lines().filter(|line| line.starts_with("key-")).collect();
            let mut sent: Vec<&str> = lines.iter().map(String::as_str).collect();
            got.sort_unstable();
            sent.sort_unstable();
            got == sent
        });
        self.tool("get_offset_shell", OFFSETS, &["--topic", "tools"], None, |said| {
            let ends = said.lines().filter_map(|line| line.strip_prefix("tools:"));
            let ends = ends.filter_map(|line| line.split(':').nth(1)?.parse::<usize>().ok());
            ends.sum::<usize>() == LINES
        });
        let earliest = ["--topic", "tools", "--time", "earliest"];
        self.tool("get_offset_shell_earliest", OFFSETS, &earliest, None, |said| {
            said.lines().filter(|line| line.starts_with("tools:") && line.ends_with(":0")).count()
                == 4
        });
    }

    fn groups(&mut self) {
        self.tool("group_list", GROUPS, &["--list"], None, |said| {
            said.lines().any(|line| line == "tools-group")
        });
        let describe = ["--describe", "--group", "tools-group"];
        self.tool("group_describe", GROUPS, &describe, None, |said| {
            lags(said) == Some((4, 0)) && said.contains("has no active members")
        });
        let state = ["--describe", "--state", "--group", "tools-group"];
        self.tool("group_state", GROUPS, &state, None, |said| said.contains("Empty"));
        let reset = ["--reset-offsets", "--group", "tools-group", "--topic", "tools"];
        let earliest = [&reset[..], &["--to-earliest", "--execute"]].concat();
        self.tool("group_reset_offsets", GROUPS, &earliest, None, |said| {
            said.lines().filter(|line| line.starts_with("tools-group")).count() == 4
        });
        self.tool("group_describe_after_reset", GROUPS, &describe, None, |said| {
            lags(said) == Some((4, LINES))
        });
        let offsets = ["--topic", "__consumer_offsets", "--from-beginning"];
        let formatter = "org.apache.kafka.tools.consumer.OffsetsMessageFormatter";
        let offsets = [&offsets[..], &["--formatter", formatter, "--timeout-ms", "5000"]].concat();
        self.tool_ending(
            "offsets_topic_is_kafkas",
            CONSUMER,
            &offsets,
            None,
            Ending::Any,
            |said| {
                said.contains("\"group\":\"tools-group\"") && said.contains("\"topic\":\"tools\"")
            },
        );
        let delete = ["--delete", "--group", "tools-group"];
        self.tool("group_delete", GROUPS, &delete, None, |said| said.contains("was successful"));
    }

    fn configs(&mut self) {
        let topic = ["--entity-type", "topics", "--entity-name", "tools"];
        let alter = [&topic[..], &["--alter", "--add-config", "max.message.bytes=65536"]].concat();
        self.tool("config_alter", CONFIGS, &alter, None, |said| {
            said.contains("Completed updating")
        });
        let describe = [&topic[..], &["--describe"]].concat();
        self.tool("config_describe", CONFIGS, &describe, None, |said| {
            said.contains("max.message.bytes=65536") && said.contains("DYNAMIC_TOPIC_CONFIG")
        });
        let wrong = [&topic[..], &["--alter", "--add-config", "no.such.key=1"]].concat();
        self.tool_ending("config_wrong_key", CONFIGS, &wrong, None, Ending::Failure, |said| {
            said.contains("InvalidConfigurationException")
        });
        let drop = [&topic[..], &["--alter", "--delete-config", "max.message.bytes"]].concat();
        self.tool("config_delete", CONFIGS, &drop, None, |said| {
            said.contains("Completed updating")
        });
        let broker = ["--entity-type", "brokers", "--entity-name", "1", "--describe", "--all"];
        self.tool("config_broker", CONFIGS, &broker, None, |said| {
            ["log.segment.bytes=", "message.max.bytes=", "num.partitions=", "node.id="]
                .iter()
                .all(|key| said.contains(key))
        });
    }

    fn verifiable(&mut self) {
        let count = ["--max-messages", "2000"];
        let produce = [&["--topic", "perf", "--acks", "-1"][..], &count[..]].concat();
        let class = "org.apache.kafka.tools.VerifiableProducer";
        self.tool("verifiable_producer", class, &produce, None, |said| {
            said.contains("\"name\":\"tool_data\"") && said.contains("\"acked\":2000")
        });
        let consume = ["--topic", "perf", "--group-id", "verifiable", "--reset-policy", "earliest"];
        let consume = [&consume[..], &count[..]].concat();
        let class = "org.apache.kafka.tools.VerifiableConsumer";
        self.tool("verifiable_consumer", class, &consume, None, |said| {
            said.contains("\"name\":\"partitions_assigned\"")
                && said.contains("\"name\":\"shutdown_complete\"")
                && consumed(said) >= 2000
        });
    }

    fn performance(&mut self) {
        let class = PRODUCER_PERFORMANCE;
        let produce = ["--topic", "perf", "--num-records", PERFORMANCE_RECORDS];
        let shape =
            ["--record-size", "200", "--throughput", "-1", "--command-property", "acks=all"];
        let produce = [&produce[..], &shape[..]].concat();
        self.tool("producer_performance", class, &produce, None, |said| {
            said.contains(&format!("{PERFORMANCE_RECORDS} records sent"))
        });
        let class = CONSUMER_PERFORMANCE;
        let consume = ["--topic", "perf", "--num-records", PERFORMANCE_RECORDS];
        let consume = [&consume[..], &["--timeout", "20000"]].concat();
        self.tool("consumer_performance", class, &consume, None, |said| {
            said.lines().any(|line| {
                let count = line.split(", ").nth(4).and_then(|n| n.parse::<usize>().ok());
                count.is_some_and(|count| count >= 20_000)
            })
        });
    }

    fn records_and_the_rest(&mut self) {
        let file = self.run.workspace.scratch().join("tools/delete.json");
        let wanted = "{\"version\":1,\"partitions\":[{\"topic\":\"perf\",\"partition\":0,\
                      \"offset\":100}]}";
        if let Err(error) = fs::write(&file, wanted) {
            return self.run.tally.fail("tools/delete.json", &error.to_string());
        }
        let file = file.display().to_string();
        let class = "org.apache.kafka.tools.DeleteRecordsCommand";
        self.tool("delete_records", class, &["--offset-json-file", &file], None, |said| {
            said.contains("low_watermark: 100")
        });
        let earliest = ["--topic-partitions", "perf:0", "--time", "earliest"];
        self.tool("offsets_after_delete_records", OFFSETS, &earliest, None, |said| {
            said.contains("perf:0:100")
        });
        let class = "org.apache.kafka.tools.BrokerApiVersionsCommand";
        self.tool("api_versions", class, &[], None, |said| {
            said.contains("Produce(0)") && said.contains("Fetch(1)")
        });
        let class = LOG_DIRS;
        self.tool("log_dirs", class, &["--describe"], None, |said| said.contains("\"perf-0\""));
        let delete = ["--delete", "--topic", "tools"];
        self.tool("topic_delete", TOPICS, &delete, None, |_| true);
        self.tool("topic_list_after_delete", TOPICS, &["--list"], None, |said| {
            said.lines().any(|line| line == "perf") && !said.lines().any(|line| line == "tools")
        });
    }

    fn quotas(&mut self) {
        let client = ["--entity-type", "clients", "--entity-name", "tools-client"];
        let rates = "producer_byte_rate=1048576,consumer_byte_rate=2097152";
        let alter = [&client[..], &["--alter", "--add-config", rates]].concat();
        self.tool("quota_alter", CONFIGS, &alter, None, |said| said.contains("Completed updating"));
        let describe = [&client[..], &["--describe"]].concat();
        self.tool("quota_describe", CONFIGS, &describe, None, |said| {
            said.contains("Quota configs for client-id 'tools-client' are")
                && said.contains("producer_byte_rate=1048576.0")
                && said.contains("consumer_byte_rate=2097152.0")
        });
        let user = ["--entity-type", "users", "--entity-name", "tools-user", "--alter"];
        let scram = "SCRAM-SHA-256=[iterations=8192,password=secret]";
        let scram = [&user[..], &["--add-config", scram]].concat();
        self.tool("scram_alter", CONFIGS, &scram, None, |said| said.contains("Completed updating"));
        let class = "org.apache.kafka.tools.ClientMetricsCommand";
        let add = ["--alter", "--name", "tools-metrics", "--metrics", "org.apache.kafka."];
        let add = [&add[..], &["--interval", "60000"]].concat();
        self.tool("client_metrics_alter", class, &add, None, |said| {
            said.contains("Altered client metrics config")
        });
    }

    fn cluster(&mut self) {
        let class = "org.apache.kafka.tools.FeatureCommand";
        self.tool("features", class, &["describe"], None, |said| {
            said.contains("Feature: metadata.version") && said.contains("Feature: kraft.version")
        });
        let class = "org.apache.kafka.tools.MetadataQuorumCommand";
        self.tool("quorum", class, &["describe", "--status"], None, |said| {
            said.contains("LeaderId:") && said.contains("HighWatermark:")
        });
        let class = "org.apache.kafka.tools.LeaderElectionCommand";
        let elect = ["--election-type", "preferred", "--topic", "perf", "--partition", "0"];
        self.tool("leader_election", class, &elect, None, |said| {
            said.contains("Valid replica already elected for partitions perf-0")
        });
        let class = REASSIGN;
        self.tool("reassignments", class, &["--list"], None, |said| {
            said.contains("No partition reassignments found")
        });
    }

    /// Kafka's dump tool reads every file that a clean stop left.
    fn dump(&mut self, data: &Path) {
        let root = match self.run.options.server {
            ServerKind::Corelane => data.join("topics"),
            ServerKind::Kafka => data.to_path_buf(),
        };
        let logs = files(&root, &["log"]);
        let indexes = files(&root, &["index", "timeindex"]);
        if logs.is_empty() || indexes.is_empty() {
            let reason = format!("{} holds no .log or no index", root.display());
            return self.run.tally.fail("tools/dump", &reason);
        }
        let dump = ["--deep-iteration", "--files", &join(&logs)];
        self.tool("dump_logs", DUMP, &dump, None, |said| {
            let records = said.lines().filter(|line| line.starts_with("| offset:")).count();
            // The topic of the performance tools alone; the console's topic is deleted.
            records >= 22_000 && intact(said)
        });
        let check = ["--index-sanity-check", "--files", &join(&indexes)];
        let expected = indexes.len();
        self.tool("dump_indexes_sanity", DUMP, &check, None, |said| {
            let sound = said.matches("passed sanity check").count();
            let empty = said.matches(" is empty.").count();
            sound > 0 && sound + empty == expected && intact(said)
        });
        let verify = ["--verify-index-only", "--files", &join(&indexes)];
        self.tool("dump_indexes_verify", DUMP, &verify, None, intact);
        if self.run.options.server == ServerKind::Corelane {
            self.corelane_log(data, &logs);
        }
        let snapshots = files(&root, &["snapshot"]);
        if !snapshots.is_empty() {
            let dump = ["--files", &join(&snapshots)];
            self.tool("dump_producer_snapshots", DUMP, &dump, None, |said| {
                said.contains("producerId:") && intact(said)
            });
        }
    }

    /// Corelane's own dump and verify find what Kafka's tool finds in the same files.
    fn corelane_log(&mut self, data: &Path, logs: &[PathBuf]) {
        let binary = self.run.workspace.target.join("release/corelane");
        let wait = Duration::from_secs(TOOL_SECONDS);
        let mut verify = process::command(&binary);
        verify.args(["log", "verify", "--strict", "--data-dir"]).arg(data);
        match process::run(&mut verify, wait, |_| {}) {
            Ok(done) if done.success() => self.run.tally.pass("tools/corelane_verify"),
            Ok(done) => self.run.tally.fail("tools/corelane_verify", &done.reason()),
            Err(error) => self.run.tally.fail("tools/corelane_verify", &error.to_string()),
        }
        let mut ours = process::command(&binary);
        ours.args(["log", "dump", "--records"]).args(logs);
        let lines = |said: &str| -> Vec<String> {
            let kept =
                said.lines().filter(|l| l.starts_with("| offset") || l.starts_with("baseOff"));
            kept.map(str::to_string).collect()
        };
        let ours = match process::run(&mut ours, wait, |_| {}) {
            Ok(done) if done.success() => lines(&done.output),
            Ok(done) => return self.run.tally.fail("tools/corelane_dump", &done.reason()),
            Err(error) => return self.run.tally.fail("tools/corelane_dump", &error.to_string()),
        };
        let dump = ["--deep-iteration", "--files", &join(logs)];
        self.tool("corelane_dump", DUMP, &dump, None, |said| lines(said) == ours);
    }

    fn tool(
        &mut self,
        name: &str,
        class: &str,
        arguments: &[&str],
        input: Option<&Path>,
        says: impl Fn(&str) -> bool,
    ) {
        // These report a refused request on their output and exit as they please.
        let ending = if class == TOPICS { Ending::Any } else { Ending::Success };
        self.tool_ending(name, class, arguments, input, ending, says);
    }

    fn tool_ending(
        &mut self,
        name: &str,
        class: &str,
        arguments: &[&str],
        input: Option<&Path>,
        ending: Ending,
        says: impl Fn(&str) -> bool,
    ) {
        let name = format!("tools/{name}");
        let done = match self.run_tool(class, arguments, input) {
            Ok(done) => done,
            Err(error) => return self.run.tally.fail(&name, &error.to_string()),
        };
        let ended = match ending {
            Ending::Success => done.success(),
            Ending::Failure => done.status.is_some_and(|status| !status.success()),
            Ending::Any => done.status.is_some(),
        };
        if ended && says(&done.output) {
            self.run.tally.pass(&name);
        } else {
            let _ = fs::write(
                self.run.workspace.scratch().join(format!("{}.txt", name.replace('/', "-"))),
                &done.output,
            );
            let short = class.rsplit('.').next().unwrap_or(class);
            let arguments: String = arguments.join(" ").chars().take(200).collect();
            self.run.tally.fail(&name, &format!("{short} {arguments}: {}", done.reason()));
        }
    }

    /// Whether a tool says it now; no check.
    fn says(&mut self, class: &str, arguments: &[&str], says: impl Fn(&str) -> bool) -> bool {
        self.run_tool(class, arguments, None).is_ok_and(|done| done.success() && says(&done.output))
    }

    fn run_tool(
        &mut self,
        class: &str,
        arguments: &[&str],
        input: Option<&Path>,
    ) -> io::Result<process::Finished> {
        let libs = provision::java_libs(self.run.workspace);
        let mut command = conformance::jvm(self.run, &libs);
        command.arg(class);
        if let Some(server) = self.server {
            command.args(["--bootstrap-server", &server.bootstrap]);
        }
        command.args(arguments);
        if let Some(input) = input {
            command.stdin(File::open(input)?);
        }
        process::run(&mut command, Duration::from_secs(TOOL_SECONDS), |_| {})
    }
}

/// How a tool has to end.
#[derive(Clone, Copy)]
enum Ending {
    Success,
    Failure,
    Any,
}

/// Number of partitions and their lag together, of `ConsumerGroupCommand --describe`.
fn lags(said: &str) -> Option<(usize, usize)> {
    let header = said.lines().find(|line| line.starts_with("GROUP"))?;
    let column = header.split_whitespace().position(|name| name == "LAG")?;
    let mut found = (0, 0);
    for line in said.lines().filter(|line| line.starts_with("tools-group")) {
        let lag = line.split_whitespace().nth(column)?;
        // A partition never consumed has no lag to show.
        found = (found.0 + 1, found.1 + lag.parse::<usize>().unwrap_or(0));
    }
    Some(found)
}

/// Sum of the counts in VerifiableConsumer's `records_consumed` events.
fn consumed(said: &str) -> usize {
    said.lines()
        .filter(|line| line.contains("\"name\":\"records_consumed\""))
        .filter_map(|line| {
            let count = line.split("\"count\":").nth(1)?;
            count.split([',', '}']).next()?.parse::<usize>().ok()
        })
        .sum()
}

/// None of the dump tool's complaints.
fn intact(said: &str) -> bool {
    let complaints = [
        "isvalid: false",
        "Mismatches in",
        "not found in",
        "invalid bytes",
        "Found timestamp",
        "Exception",
        "orrupt",
    ];
    complaints.iter().all(|complaint| !said.contains(complaint))
}

/// Files below `root` with one of the extensions.
fn files(root: &Path, extensions: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let extension = path.extension().map(|extension| extension.to_string_lossy());
            if path.is_dir() {
                // Kafka keeps its metadata log there too, and deleted topics for a while.
                let name = entry.file_name().to_string_lossy().into_owned();
                if name != "__cluster_metadata-0" && !name.ends_with("-delete") {
                    folders.push(path);
                }
            } else if extension.is_some_and(|found| extensions.contains(&found.as_ref())) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn join(files: &[PathBuf]) -> String {
    let names: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    names.join(",")
}
