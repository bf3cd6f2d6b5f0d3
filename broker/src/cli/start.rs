//! `corelane start`: options and `server.properties` become the edge's configuration, then the
//! broker runs.
//!
//! Options are nothing but keys: each becomes the key it stands for, over the file and the
//! overrides, and the registry judges all of them alike. A bad value is one line and exit code 2.

use std::collections::BTreeMap;
use std::net::{IpAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use storage::edge::files::SyncPath;

use crate::config::broker::{JournalSync, Reread};
use crate::config::properties::{apply_override, parse_properties};
use crate::config::{BrokerConfig, ConfigError, Configs};
use crate::edge::config::{ConnectionBounds, EdgeConfig, Endpoint, SocketOptions};
use crate::edge::cpu;
use crate::edge::log;
use crate::edge::run::{self, BootContext, BootError};
use crate::shard::event::{Core, LogLevel, LogLine};

/// Options of `corelane start`.
#[derive(Clone, Debug, Default, Args)]
pub struct StartArgs {
    /// Kafka's server.properties; keys that cannot apply are named in a warning
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Data folder, or several with commas between them (log.dirs) [default: ./data]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<String>,
    /// Where clients connect (listeners); port 0 picks a free one [default: 127.0.0.1:9092]
    #[arg(long, value_name = "HOST:PORT")]
    pub listen: Option<Endpoint>,
    /// Health, metrics and the ledger over HTTP (corelane.admin.listen) [default: 127.0.0.1:9644]
    #[arg(long, value_name = "HOST:PORT")]
    pub admin_listen: Option<Endpoint>,
    /// Cores that run a shard, as in 0,2-5 (corelane.cores) [default: all]
    #[arg(long, value_name = "LIST")]
    pub cores: Option<String>,
    /// Any key of server.properties; may be given several times
    #[arg(long = "override", value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
    /// Spin instead of sleeping: lower latency, cores always at 100 % (corelane.busy.poll)
    #[arg(long)]
    pub busy_poll: bool,
    /// Keep no latency ledger: only to measure what it costs
    #[arg(long, hide = true)]
    pub no_ledger: bool,
}

/// Runs a broker. `boot` recovers the data and makes a core per shard.
pub fn execute<C: Core + Send + 'static>(
    args: &StartArgs,
    boot: impl FnOnce(BootContext<'_>, &BrokerConfig) -> Result<Vec<C>, BootError>,
) -> ExitCode {
    let prepared = configs(args)
        .and_then(|configs| BrokerConfig::from_fixed(configs).map_err(usage))
        .and_then(|(config, warnings)| Ok((edge_config(&config)?, config, warnings)));
    let (mut edge, config, warnings) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => {
            say(LogLevel::Error, error.line);
            return ExitCode::from(error.exit_code);
        }
    };
    for warning in warnings {
        say(LogLevel::Warn, warning.to_string());
    }
    edge.ledger = !args.no_ledger;
    let again = args.clone();
    let started = config.clone();
    let on_hang_up = Box::new(move |log: &log::Logger| match &again.config {
        Some(_) => reread(&again, &started, log),
        None => {
            log.info("SIGHUP: no configuration file was given, nothing to read again");
            None
        }
    });
    run::run(&edge, on_hang_up, |context| boot(context, &config))
}

/// Reads the file again. Options and overrides of the command line go before it, as at the start.
fn reread(
    args: &StartArgs,
    started: &BrokerConfig,
    log: &log::Logger,
) -> Option<Arc<BrokerConfig>> {
    let fresh = configs(args).map_err(|error| error.line);
    match fresh.and_then(|fresh| started.reread(&fresh).map_err(|error| error.to_string())) {
        Ok((config, Reread { applied, at_next_start })) => {
            let list = |keys: &[String]| match keys {
                [] => "nothing".to_owned(),
                keys => keys.join(", "),
            };
            log.info(format!("SIGHUP: differs from the start: {}", list(&applied)));
            if !at_next_start.is_empty() {
                log.warn(format!("SIGHUP: only at the next start: {}", list(&at_next_start)));
            }
            Some(Arc::new(config))
        }
        Err(error) => {
            log.warn(format!("SIGHUP: nothing changes, the settings are not valid: {error}"));
            None
        }
    }
}

fn say(level: LogLevel, text: String) {
    log::print(&LogLine { level, text });
}

fn usage(error: ConfigError) -> BootError {
    BootError::usage(error)
}

/// The file, then the overrides, then the options with a name of their own.
fn configs(args: &StartArgs) -> Result<Configs, BootError> {
    let mut configs = match &args.config {
        Some(file) => {
            let name = file.display().to_string();
            let content = std::fs::read(file)
                .map_err(|error| BootError::usage(format!("--config {name}: {error}")))?;
            parse_properties(&name, &content).map_err(usage)?
        }
        None => Configs::new(),
    };
    for text in &args.overrides {
        apply_override(&mut configs, text).map_err(usage)?;
    }
    let named = [
        ("log.dirs", args.data_dir.clone()),
        ("listeners", args.listen.as_ref().map(|endpoint| format!("PLAINTEXT://{endpoint}"))),
        ("corelane.admin.listen", args.admin_listen.as_ref().map(Endpoint::to_string)),
        ("corelane.cores", args.cores.clone()),
        ("corelane.busy.poll", args.busy_poll.then(|| "true".to_owned())),
    ];
    for (key, value) in named {
        if let Some(value) = value {
            configs.insert(key.to_owned(), value);
        }
    }
    Ok(configs)
}

/// What of the configuration is the edge's.
fn edge_config(config: &BrokerConfig) -> Result<EdgeConfig, BootError> {
    let available = cpu::available().map_err(BootError::failed)?;
    let cores = match &config.cores {
        Some(cores) => cores.iter().map(|core| usize::from(*core)).collect(),
        None => available.clone(),
    };
    cpu::check(&cores, &available)
        .map_err(|error| BootError::usage(format!("corelane.cores: {error}")))?;
    let admin_listen = config
        .admin_listen
        .parse()
        .map_err(|error| BootError::usage(format!("corelane.admin.listen: {error}")))?;
    let socket = &config.socket;
    let listeners = socket.listeners.iter();
    let listen = listeners
        .map(|listener| Endpoint { host: listener.host.clone(), port: listener.port })
        .collect();
    // Kafka's default of 100 KiB would take the system's adaptation away: only what was asked for
    // counts.
    let asked = |key: &str, bytes: i32| match u32::try_from(bytes) {
        Ok(bytes) if config.fixed.contains_key(key) => Some(bytes),
        Ok(_) | Err(_) => None,
    };
    let bounded = |count: i32| u32::try_from(count).unwrap_or(0);
    let mut hosts = BTreeMap::new();
    for host in socket.connections_per_ip_overrides.keys() {
        if host.parse::<IpAddr>().is_err() {
            hosts.insert(host.clone(), addresses_of(host)?);
        }
    }
    let storage = &config.storage;
    Ok(EdgeConfig {
        cores,
        listen,
        admin_listen,
        journal_dir: storage.journal_dir.as_ref().map(PathBuf::from),
        memory_parent_dir: PathBuf::from(&storage.memory_dir),
        frame_bytes_max: bounded(socket.request_bytes_max),
        connections: ConnectionBounds::of(socket, hosts),
        sockets: SocketOptions {
            backlog: socket.backlog.max(1),
            send_buffer_bytes: asked("socket.send.buffer.bytes", socket.send_buffer_bytes),
            receive_buffer_bytes: asked("socket.receive.buffer.bytes", socket.receive_buffer_bytes),
        },
        idle_ms: u64::try_from(socket.idle_ms_max).unwrap_or(u64::MAX),
        busy_poll: config.busy_poll,
        sync_path: match storage.journal_sync {
            JournalSync::Dsync => SyncPath::Dsync,
            JournalSync::Fdatasync => SyncPath::LinkedFdatasync,
        },
        data_dirs: storage.data_dirs.iter().map(PathBuf::from).collect(),
        ..EdgeConfig::new(&storage.data_dirs[0])
    })
}

/// Where clients are told to find the broker: the first advertised listener, else where it listens.
/// A listener on every address is advertised under the machine's name, as Kafka does.
pub fn advertised(config: &BrokerConfig, listening: &Endpoint) -> (String, u16) {
    let told = config.socket.advertised.first();
    let host = told.map_or(listening.host.as_str(), |listener| listener.host.as_str());
    let port = told.map_or(0, |listener| listener.port);
    let everywhere = host.is_empty() || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified());
    let host = if everywhere {
        std::fs::read_to_string("/proc/sys/kernel/hostname")
            .map_or_else(|_| "localhost".to_owned(), |name| name.trim().to_owned())
    } else {
        host.to_owned()
    };
    (host, if port == 0 { listening.port } else { port })
}

fn addresses_of(host: &str) -> Result<Vec<IpAddr>, BootError> {
    let found = (host, 0).to_socket_addrs().map_err(|error| {
        BootError::usage(format!("max.connections.per.ip.overrides={host}: {error}"))
    })?;
    Ok(found.map(|address| address.ip().to_canonical()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge_of(args: &StartArgs) -> Result<EdgeConfig, BootError> {
        let (config, _) = BrokerConfig::from_fixed(configs(args)?).map_err(usage)?;
        edge_config(&config)
    }

    #[test]
    fn without_options_it_serves_on_loopback_with_all_cores() {
        let edge = edge_of(&StartArgs::default()).expect("the defaults work");
        assert_eq!(edge.listen[0].to_string(), "127.0.0.1:9092");
        assert_eq!(edge.admin_listen.to_string(), "127.0.0.1:9644");
        assert_eq!(edge.cores, cpu::available().expect("affinity"));
        assert_eq!(edge.data_dirs, [PathBuf::from("./data")]);
        assert_eq!(edge.sockets.receive_buffer_bytes, None);
        assert_eq!(edge.connections.per_ip_max, u32::MAX);
        assert_eq!(edge.idle_ms, 600_000);
        assert_eq!(edge.sync_path, SyncPath::Dsync);
        assert!(!edge.busy_poll);
    }

    #[test]
    fn options_win_over_overrides() {
        let args = StartArgs {
            data_dir: Some("/somewhere".into()),
            listen: Some("[::1]:0".parse().expect("an endpoint")),
            overrides: vec![
                "log.dirs=/elsewhere".into(),
                "socket.request.max.bytes=5000".into(),
                "socket.send.buffer.bytes=4096".into(),
                "max.connections.per.ip=7".into(),
                "max.connections.per.ip.overrides=127.0.0.1:3".into(),
            ],
            busy_poll: true,
            ..StartArgs::default()
        };
        let edge = edge_of(&args).expect("good options");
        assert_eq!(edge.data_dirs, [PathBuf::from("/somewhere")]);
        assert_eq!(edge.listen, [Endpoint { host: "::1".into(), port: 0 }]);
        assert_eq!(edge.frame_bytes_max, 5_000);
        assert_eq!(edge.sockets.send_buffer_bytes, Some(4_096));
        assert_eq!(edge.connections.per_ip_max, 7);
        let overrides = edge.connections.per_ip_overrides;
        assert_eq!(overrides, [("127.0.0.1".parse().expect("an address"), 3)]);
        assert!(edge.busy_poll);
    }

    #[test]
    fn a_core_that_is_not_there_is_one_line_and_exit_code_2() {
        let args = StartArgs { cores: Some("4000".into()), ..StartArgs::default() };
        let error = edge_of(&args).expect_err("no such core");
        assert!(error.line.starts_with("corelane.cores: core 4000 is not available"), "{error}");
        assert_eq!(error.exit_code, 2);
    }
}
