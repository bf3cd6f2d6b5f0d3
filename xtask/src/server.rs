//! A broker for the client suites: Corelane's release binary, or Apache Kafka as the oracle.
//!
//! Both start on free loopback ports in an empty folder, and stop when their value drops.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::ServerKind;
use crate::coverage;
use crate::process::{self, Service};
use crate::provision;
use crate::workspace::Workspace;

/// Settings of a broker under test, the same for both kinds.
const OVERRIDES: [(&str, &str); 9] = [
    ("group.initial.rebalance.delay.ms", "0"),
    ("offsets.topic.replication.factor", "1"),
    ("offsets.topic.num.partitions", "4"),
    ("transaction.state.log.replication.factor", "1"),
    ("transaction.state.log.min.isr", "1"),
    ("share.coordinator.state.topic.replication.factor", "1"),
    ("share.coordinator.state.topic.min.isr", "1"),
    ("num.partitions", "1"),
    // Files of a deleted topic go while the suite still runs: a dump then sees live topics alone.
    ("log.segment.delete.delay.ms", "500"),
];

const CORELANE_READY_SECONDS: u64 = 20;
const KAFKA_READY_SECONDS: u64 = 90;

/// How long a stop may take: what Corelane itself allows, and time to end.
const STOP_MAX: Duration = Duration::from_secs(65);

/// A broker that serves.
#[derive(Debug)]
pub struct Server {
    kind: ServerKind,
    service: Service,
    /// `HOST:PORT` for clients.
    pub bootstrap: String,
    /// `HOST:PORT` of Corelane's admin endpoint; empty for Kafka.
    pub admin: String,
    /// Where it keeps its data.
    pub data: PathBuf,
    /// From starting the process to serving.
    pub ready_after: Duration,
    /// Where its suite's counts of requests are kept.
    pub counts: PathBuf,
}

/// What a start needs to know; a broker may be started from it again after a kill.
#[derive(Debug, Clone)]
pub struct Plan {
    kind: ServerKind,
    name: String,
    folder: PathBuf,
    /// Kept between starts, so that clients find the restarted broker. 0 before the first start.
    port: u16,
    /// Where Corelane listens for clients.
    host: String,
    binary: PathBuf,
    java_libs: PathBuf,
    /// As it is meant to run, on these cores alone; else as small as a suite can bear.
    measured_on: Option<String>,
    /// Where Kafka's log says how it is written: to standard error, which nobody has to read.
    java_logging: PathBuf,
    /// A folder of classes that Kafka loads beside its own.
    java_classes: Option<PathBuf>,
    /// Its data folders, at least one.
    folders_count: usize,
    /// Settings on top of the common ones.
    extra: Vec<(&'static str, String)>,
    /// A program that sets something up and becomes Corelane.
    wrapper: Vec<String>,
    /// Where the suite's counts of requests are kept.
    counts: PathBuf,
}

impl Plan {
    /// A broker with an empty folder; `name` names it in `target/xtask`.
    pub fn new(
        workspace: &Workspace,
        kind: ServerKind,
        binary: PathBuf,
        name: &str,
    ) -> Result<Plan, String> {
        let folder = workspace.scratch().join(name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let counts = coverage::path(workspace, name);
        let _ = fs::remove_file(&counts);
        Ok(Plan {
            counts,
            kind,
            name: name.to_string(),
            folder,
            port: 0,
            host: "127.0.0.1".to_string(),
            binary,
            java_libs: provision::java_libs(workspace),
            java_logging: workspace.root.join("tests/conformance/java/log4j2.xml"),
            java_classes: None,
            folders_count: 1,
            extra: Vec::new(),
            measured_on: None,
            wrapper: Vec::new(),
        })
    }

    /// To be measured: bound to these cores, as in 0,1, the JVM with the heap and collector Kafka
    /// ships with.
    pub fn measured_on(self, cores: &str) -> Plan {
        Plan { measured_on: Some(cores.to_string()), ..self }
    }

    /// Corelane where clients reach it at another address than loopback: in a namespace.
    pub fn listening_on(self, host: &str) -> Plan {
        Plan { host: host.to_string(), ..self }
    }

    /// The same with one more setting.
    pub fn with(mut self, key: &'static str, value: impl Into<String>) -> Plan {
        self.extra.push((key, value.into()));
        self
    }

    /// The same with so many data folders (`log.dirs`).
    pub fn with_folders(self, folders_count: usize) -> Plan {
        Plan { folders_count, ..self }
    }

    /// Kafka finds these classes, too.
    pub fn with_java_classes(mut self, folder: PathBuf) -> Plan {
        self.java_classes = Some(folder);
        self
    }

    /// Where everything of this broker is, its log among it.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where Corelane keeps its data; the first folder of several.
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// What `log.dirs` says.
    fn data_dirs(&self) -> String {
        let others = (1..self.folders_count).map(|number| format!("data-{number}"));
        let names = std::iter::once("data".to_string()).chain(others);
        let paths = names.map(|name| self.folder.join(name).display().to_string());
        paths.collect::<Vec<_>>().join(",")
    }

    /// Runs Corelane under this program, which becomes the broker: the process id stays.
    pub fn wrapped_in(&mut self, program: &[&str]) {
        self.wrapper = program.iter().map(ToString::to_string).collect();
    }

    /// Starts (again), and waits until it serves.
    pub fn start(&mut self) -> Result<Server, String> {
        let server = match self.kind {
            ServerKind::Corelane => self.start_corelane(),
            ServerKind::Kafka => self.start_kafka(),
        }
        .map_err(|reason| format!("{:?} for {} did not start: {reason}", self.kind, self.name))?;
        self.port = server.bootstrap.rsplit(':').next().and_then(|p| p.parse().ok()).unwrap_or(0);
        Ok(server)
    }

    /// Corelane's program.
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// Corelane's command line for this plan.
    pub fn command(&self) -> std::process::Command {
        let mut command = match self.wrapper.split_first() {
            None => process::command(&self.binary),
            Some((program, arguments)) => {
                let mut command = process::command(program);
                command.args(arguments).arg(&self.binary);
                command
            }
        };
        command
            .arg("start")
            .args(["--listen", &format!("{}:{}", self.host, self.port)])
            .args(["--admin-listen", "127.0.0.1:0", "--data-dir"])
            .arg(self.data_dirs());
        if let Some(cores) = &self.measured_on {
            command.args(["--cores", cores]);
        }
        let common = OVERRIDES.iter().map(|(key, value)| (*key, *value));
        let extra = self.extra.iter().map(|(key, value)| (*key, value.as_str()));
        for (key, value) in common.chain(extra) {
            command.args(["--override", &format!("{key}={value}")]);
        }
        command
    }

    fn start_corelane(&self) -> Result<Server, String> {
        let data = self.folder.join("data");
        let mut command = self.command();
        let service = Service::start(&mut command, &self.folder.join("broker.log"))
            .map_err(|error| format!("{}: {error}", self.binary.display()))?;
        let ready = service.wait_line(Duration::from_secs(CORELANE_READY_SECONDS), |line| {
            let mut words = line.strip_prefix("ready kafka=")?.split(' ');
            let bootstrap = words.next()?.to_string();
            Some((bootstrap, words.next()?.strip_prefix("admin=")?.to_string()))
        });
        let (bootstrap, admin) = ready?;
        let ready_after = service.spawned().elapsed();
        let counts = self.counts.clone();
        Ok(Server { kind: self.kind, service, bootstrap, admin, data, ready_after, counts })
    }

    fn start_kafka(&self) -> Result<Server, String> {
        let data = self.folder.join("data");
        let properties = self.folder.join("server.properties");
        let port = if self.port == 0 { free_port()? } else { self.port };
        if !data.exists() {
            let mut text = kafka_properties(port, free_port()?, &self.data_dirs());
            for (key, value) in &self.extra {
                text.push_str(&format!("{key}={value}\n"));
            }
            fs::write(&properties, text).map_err(|error| error.to_string())?;
            self.format_kafka(&properties)?;
        }
        let mut command = self.java("512m");
        command.arg("kafka.Kafka").arg(&properties);
        let mut service = Service::start(&mut command, &self.folder.join("broker.log"))
            .map_err(|error| error.to_string())?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let deadline = Instant::now() + Duration::from_secs(KAFKA_READY_SECONDS);
        while TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_err() {
            if Instant::now() > deadline || !service.alive() {
                return Err(service.tail());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let ready_after = service.spawned().elapsed();
        let bootstrap = address.to_string();
        let (admin, counts) = (String::new(), self.counts.clone());
        Ok(Server { kind: self.kind, service, bootstrap, admin, data, ready_after, counts })
    }

    fn format_kafka(&self, properties: &Path) -> Result<(), String> {
        // Any 16 bytes in base64 make a cluster id.
        let id = "Y29yZWxhbmUtb3JhY2xlMQ";
        let mut command = self.java("256m");
        command.args(["kafka.tools.StorageTool", "format", "--standalone", "-t", id, "-c"]);
        command.arg(properties);
        let done = process::run(&mut command, Duration::from_secs(60), |_| {})
            .map_err(|error| error.to_string())?;
        if done.success() { Ok(()) } else { Err(done.reason()) }
    }

    fn java(&self, heap: &str) -> std::process::Command {
        let mut command = match &self.measured_on {
            None => process::command("java"),
            Some(cores) => {
                let mut command = process::command("taskset");
                command.args(["-c", cores, "java"]);
                command
            }
        };
        match &self.measured_on {
            // Quick to start is all a suite asks for.
            None => command
                .arg(format!("-Xmx{heap}"))
                .args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]),
            Some(_) => command.args(["-Xms2g", "-Xmx2g", "-server", "-XX:+UseG1GC"]).args([
                "-XX:MaxGCPauseMillis=20",
                "-XX:InitiatingHeapOccupancyPercent=35",
                "-XX:+ExplicitGCInvokesConcurrent",
                "-Djava.awt.headless=true",
            ]),
        };
        let logging = self.java_logging.display();
        command.arg(format!("-Dlog4j2.configurationFile={logging}"));
        let mut classes = self.java_libs.join("*").into_os_string();
        if let Some(folder) = &self.java_classes {
            classes.push(":");
            classes.push(folder);
        }
        command.arg("-cp").arg(classes);
        command.current_dir(&self.folder);
        command
    }
}

impl Server {
    /// Whether the process still runs.
    pub fn alive(&mut self) -> bool {
        self.service.alive()
    }

    /// The end of its log.
    pub fn tail(&self) -> String {
        self.service.tail()
    }

    /// `kill -9`.
    pub fn kill(self) {
        self.service.kill();
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.service.pid()
    }

    /// SIGTERM; an error says how a clean stop failed.
    pub fn stop(self) -> Result<(), String> {
        self.end(libc::SIGTERM)
    }

    /// SIGINT, which is to do the same.
    pub fn interrupt(self) -> Result<(), String> {
        self.end(libc::SIGINT)
    }

    fn end(self, signal: i32) -> Result<(), String> {
        coverage::note(&self);
        let tail = self.service.tail();
        match (self.kind, self.service.stop(signal, STOP_MAX)) {
            (_, None) => {
                let seconds = STOP_MAX.as_secs();
                Err(format!("still ran {seconds} s after signal {signal} and was killed; {tail}"))
            }
            // A JVM that ended by SIGTERM says 143 when all went well.
            (ServerKind::Kafka, Some(_)) => Ok(()),
            (ServerKind::Corelane, Some(status)) if status.success() => Ok(()),
            (ServerKind::Corelane, Some(status)) => {
                Err(format!("signal {signal} ended it with {status}; {tail}"))
            }
        }
    }
}

fn kafka_properties(port: u16, controller_port: u16, data_dirs: &str) -> String {
    let mut text = format!(
        "process.roles=broker,controller\n\
         node.id=1\n\
         controller.quorum.bootstrap.servers=127.0.0.1:{controller_port}\n\
         listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{port},\
         CONTROLLER://127.0.0.1:{controller_port}\n\
         controller.listener.names=CONTROLLER\n\
         inter.broker.listener.name=PLAINTEXT\n\
         listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT\n\
         log.dirs={data_dirs}\n"
    );
    for (key, value) in OVERRIDES {
        text.push_str(&format!("{key}={value}\n"));
    }
    text
}

fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    listener.local_addr().map(|address| address.port()).map_err(|error| error.to_string())
}
