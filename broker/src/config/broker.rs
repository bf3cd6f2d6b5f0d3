//! The broker's configuration, resolved: what the shard, the storage and the edge act on.
//!
//! Pure. Built once from the file and the command line, and again whenever the image's altered
//! broker
//! configs change. Keys and ranges are the registry's; what is checked here is how values relate.

use std::collections::{BTreeMap, BTreeSet};

use super::cores::parse_cores;
use super::error::{ConfigError, ConfigWarning};
use super::key::Unit;
use super::layers::{Configs, Layers};
use super::listener::{Listener, SecurityProtocol, parse_listeners, protocol_of};
use super::reader::Reader;
use super::registry;
use super::start;
use super::topic::{Durability, TopicConfig, apply_broker_default};
use super::value::Value;
use crate::limits::DIRECTORIES_MAX;
use crate::quota::Window;

/// How a durable write is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum JournalSync {
    /// One write that is durable when it completes.
    Dsync,
    /// A write, then an fdatasync.
    Fdatasync,
}

/// A replication factor, and whether somebody asked for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReplicationFactor {
    pub value: i16,
    /// Set by the operator. What is only a default shrinks to the number of brokers.
    pub explicit: bool,
}

/// Connections and their bounds.
#[derive(Clone, PartialEq, Debug)]
pub struct SocketConfig {
    /// Listeners of clients; those of controllers are left out.
    pub listeners: Vec<Listener>,
    /// What clients are told, one per listener of `listeners`.
    pub advertised: Vec<Listener>,
    pub request_bytes_max: i32,
    /// -1 leaves it to the system.
    pub send_buffer_bytes: i32,
    /// -1 leaves it to the system.
    pub receive_buffer_bytes: i32,
    pub backlog: i32,
    pub connections_max: i32,
    /// Connections per second over all addresses; `None` for no bound.
    pub connection_rate_max: Option<f64>,
    pub connections_per_ip_max: i32,
    /// Other bounds for named addresses.
    pub connections_per_ip_overrides: BTreeMap<String, i32>,
    pub idle_ms_max: i64,
}

/// Where data lies and how it is made durable.
#[derive(Clone, PartialEq, Debug)]
pub struct StorageConfig {
    /// `log.dirs`: at least one, each once.
    pub data_dirs: Vec<String>,
    /// `metadata.log.dir`; `None`: the first, unless the metadata log is elsewhere.
    pub metadata_dir: Option<String>,
    /// The data folder itself when `None`.
    pub journal_dir: Option<String>,
    /// Of one core.
    pub journal_bytes: i64,
    pub journal_sync: JournalSync,
    pub memory_dir: String,
    /// Of one core.
    pub tail_bytes: i64,
    pub retention_check_ms: i64,
    pub producer_id_expiration_ms: i64,
    /// Of logs that move between data folders, of all cores together.
    pub move_bytes_per_second_max: i64,
    pub cleaner: CleanerConfig,
}

/// The cleaner of compacted topics.
#[derive(Clone, PartialEq, Debug)]
pub struct CleanerConfig {
    pub enable: bool,
    /// Of all cores together.
    pub dedupe_buffer_bytes: i64,
    /// Of all cores together.
    pub io_bytes_per_second_max: f64,
    pub backoff_ms: i64,
}

/// Groups and committed offsets.
#[derive(Clone, PartialEq, Debug)]
pub struct GroupsConfig {
    pub initial_rebalance_delay_ms: i32,
    pub session_timeout_ms_min: i32,
    pub session_timeout_ms_max: i32,
    pub members_max: i32,
    pub offset_metadata_bytes_max: i32,
    pub offsets_retention_ms: i64,
    pub offsets_retention_check_ms: i64,
    pub offsets_topic_partitions: i32,
    pub offsets_topic_replication: ReplicationFactor,
    pub offsets_topic_segment_bytes: i32,
    /// `group.coordinator.rebalance.protocols`.
    pub rebalance_protocols: Vec<String>,
    /// `group.consumer.assignors`: names or Kafka's classes. At least one.
    pub consumer_assignors: Vec<String>,
    /// `group.consumer.migration.policy`, in small letters.
    pub consumer_migration_policy: String,
    /// `group.consumer.*`, `group.share.*`, `group.streams.*`: defaults and bounds of group keys.
    pub group_bounds: BTreeMap<String, i64>,
}

/// Transactions.
#[derive(Clone, PartialEq, Debug)]
pub struct TransactionsConfig {
    pub timeout_ms_max: i32,
    pub state_topic_partitions: i32,
    pub state_topic_replication: ReplicationFactor,
    pub state_topic_segment_bytes: i32,
    pub state_topic_min_isr: i32,
    pub transactional_id_expiration_ms: i32,
    pub expiration_check_ms: i32,
    pub timeout_check_ms: i32,
    /// Longest pause before a busy coordinator is asked again. At least 1.
    pub retry_backoff_ms: i32,
    /// How long it is asked. Not negative.
    pub retry_ms_max: i32,
}

/// Windows over which the use of quotas is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QuotasConfig {
    pub window: Window,
    /// Of changes of metadata.
    pub controller_window: Window,
}

/// The broker's configuration.
#[derive(Clone, PartialEq, Debug)]
pub struct BrokerConfig {
    pub node_id: i32,
    pub rack: Option<String>,
    pub socket: SocketConfig,
    pub storage: StorageConfig,
    pub groups: GroupsConfig,
    pub transactions: TransactionsConfig,
    pub quotas: QuotasConfig,
    /// As host:port.
    pub admin_listen: String,
    /// `None` means all.
    pub cores: Option<Vec<u16>>,
    pub busy_poll: bool,
    pub partitions_default: i32,
    pub replication_default: i16,
    pub auto_create_topics: bool,
    pub delete_topics: bool,
    pub fetch_bytes_max: i32,
    pub fetch_sessions_max: i32,
    /// Whether clients may push their own metrics.
    pub client_telemetry: bool,
    /// Of one push, as it comes and decompressed.
    pub telemetry_bytes_max: i32,
    pub describe_partitions_max: i32,
    /// What a topic has that sets nothing itself.
    pub topic_defaults: TopicConfig,
    /// The file and the command line, for DescribeConfigs and for resolving again.
    pub fixed: Configs,
}

/// Keys that differ after the settings were read again.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Reread {
    /// In effect at once.
    pub applied: Vec<String>,
    /// In effect at the next start.
    pub at_next_start: Vec<String>,
}

impl BrokerConfig {
    /// Resolves what the file and the command line say. Returns with it what has no effect.
    pub fn from_fixed(fixed: Configs) -> Result<(BrokerConfig, Vec<ConfigWarning>), ConfigError> {
        let warnings: Vec<ConfigWarning> = fixed
            .keys()
            .filter_map(|key| {
                Some(ConfigWarning { key: key.clone(), why: registry::why_ignored(key)? })
            })
            .collect();
        let none = Configs::new();
        let layers = Layers { broker: &none, cluster: &none, fixed: &fixed };
        let config = BrokerConfig::resolve(&layers)?;
        start::check(&layers).map_err(|unfit| unfit.to_operator())?;
        Ok((config, warnings))
    }

    /// What counts after the operator's settings were read again as `fresh`: of keys that a running
    /// broker may change, the new values; of all others the present ones. Also names the keys of
    /// each kind that differ.
    pub fn reread(&self, fresh: &Configs) -> Result<(BrokerConfig, Reread), ConfigError> {
        // As a whole it must be what the next start accepts.
        BrokerConfig::from_fixed(fresh.clone())?;
        let mut reread = Reread::default();
        let mut fixed = self.fixed.clone();
        let keys: BTreeSet<&String> = self.fixed.keys().chain(fresh.keys()).collect();
        for key in keys {
            let (before, after) = (self.fixed.get(key), fresh.get(key));
            if before == after {
                continue;
            }
            if !registry::is_dynamic(key) {
                reread.at_next_start.push(key.clone());
                continue;
            }
            reread.applied.push(key.clone());
            match after {
                Some(value) => fixed.insert(key.clone(), value.clone()),
                None => fixed.remove(key),
            };
        }
        let (config, _) = BrokerConfig::from_fixed(fixed)?;
        Ok((config, reread))
    }

    /// What counts when these were altered while the broker ran: for this broker, and for all.
    pub fn with_altered(
        &self,
        broker: &Configs,
        cluster: &Configs,
    ) -> Result<BrokerConfig, ConfigError> {
        BrokerConfig::resolve(&Layers { broker, cluster, fixed: &self.fixed })
    }

    /// Resolves every layer.
    pub fn resolve(layers: &Layers<'_>) -> Result<BrokerConfig, ConfigError> {
        check_every_value(layers)?;
        let read = Reader::new(layers);
        let topic_defaults = topic_defaults(layers, &read)?;
        Ok(BrokerConfig {
            node_id: node_id(layers, &read)?,
            rack: read.text("broker.rack")?,
            socket: socket(&read)?,
            storage: storage(&read)?,
            groups: groups(layers, &read)?,
            transactions: transactions(layers, &read)?,
            quotas: QuotasConfig {
                window: Window::new(
                    read.int("quota.window.num")?,
                    read.int("quota.window.size.seconds")?,
                ),
                controller_window: Window::new(
                    read.int("controller.quota.window.num")?,
                    read.int("controller.quota.window.size.seconds")?,
                ),
            },
            admin_listen: read.word("corelane.admin.listen")?,
            cores: match read.text("corelane.cores")? {
                Some(text) => Some(parse_cores(&text)?),
                None => None,
            },
            busy_poll: read.boolean("corelane.busy.poll")?,
            partitions_default: read.int("num.partitions")?,
            replication_default: replication_default(&read)?,
            auto_create_topics: read.boolean("auto.create.topics.enable")?,
            delete_topics: read.boolean("delete.topic.enable")?,
            fetch_bytes_max: read.int("fetch.max.bytes")?,
            fetch_sessions_max: read.int("max.incremental.fetch.session.cache.slots")?,
            client_telemetry: read.boolean("corelane.client.telemetry")?,
            telemetry_bytes_max: read.int("telemetry.max.bytes")?,
            describe_partitions_max: read.int("max.request.partition.size.limit")?,
            topic_defaults,
            fixed: layers.fixed.clone(),
        })
    }
}

impl Default for BrokerConfig {
    /// What `corelane start` without arguments runs with.
    fn default() -> BrokerConfig {
        let (config, _) = BrokerConfig::from_fixed(Configs::new()).expect("the defaults resolve");
        config
    }
}

/// A wrong value is an error even where the key changes nothing: it would become one later.
fn check_every_value(layers: &Layers<'_>) -> Result<(), ConfigError> {
    for (name, text) in layers.fixed.iter().chain(layers.cluster).chain(layers.broker) {
        if let Some(key) = registry::broker_key(name) {
            key.parse(text).map_err(|error| ConfigError::value(key, &error, text))?;
        }
    }
    Ok(())
}

fn node_id(layers: &Layers<'_>, read: &Reader<'_>) -> Result<i32, ConfigError> {
    let broker_id = read.int("broker.id")?;
    let set = layers.text("node.id").is_some();
    let node_id = read.int("node.id")?;
    if broker_id >= 0 && set && broker_id != node_id {
        return Err(ConfigError::conflict(
            "broker.id",
            broker_id,
            "must equal node.id; leave broker.id out",
        ));
    }
    Ok(if broker_id >= 0 { broker_id } else { node_id })
}

fn replication_default(read: &Reader<'_>) -> Result<i16, ConfigError> {
    let key = "default.replication.factor";
    let value = read.int(key)?;
    i16::try_from(value)
        .ok()
        .filter(|value| *value >= 1)
        .ok_or_else(|| ConfigError::conflict(key, value, format!("give 1 to {}", i16::MAX)))
}

fn replication(
    layers: &Layers<'_>,
    read: &Reader<'_>,
    key: &'static str,
) -> Result<ReplicationFactor, ConfigError> {
    let value = i16::try_from(read.int(key)?).expect("a short key's value was parsed as i16");
    Ok(ReplicationFactor { value, explicit: layers.text(key).is_some() })
}

fn socket(read: &Reader<'_>) -> Result<SocketConfig, ConfigError> {
    let controllers = read.list("controller.listener.names")?;
    let is_controller =
        |l: &Listener| controllers.iter().any(|name| name.eq_ignore_ascii_case(&l.name));
    let map = read.word("listener.security.protocol.map")?;
    let mut listeners = parse_listeners("listeners", &read.list("listeners")?)?;
    listeners.retain(|listener| !is_controller(listener));
    if listeners.is_empty() {
        return Err(ConfigError::conflict(
            "listeners",
            "",
            "give at least one, as PLAINTEXT://127.0.0.1:9092",
        ));
    }
    for listener in &listeners {
        if protocol_of(&map, &listener.name)? != SecurityProtocol::Plaintext {
            return Err(ConfigError::conflict(
                "listeners",
                listener,
                "only listeners of protocol PLAINTEXT are served; map the name to PLAINTEXT",
            ));
        }
    }
    let mut advertised = match read.list("advertised.listeners")? {
        list if list.is_empty() => listeners.clone(),
        list => parse_listeners("advertised.listeners", &list)?,
    };
    advertised.retain(|listener| !is_controller(listener));
    let told = |name: &str| advertised.iter().find(|listener| listener.name == name).cloned();
    let advertised = listeners
        .iter()
        .map(|listener| {
            let told = told(&listener.name).unwrap_or_else(|| listener.clone());
            if told.host == "0.0.0.0" || told.host == "::" {
                let why =
                    "clients cannot connect to it; set advertised.listeners to their name for it";
                return Err(ConfigError::conflict("advertised.listeners", &told, why));
            }
            Ok(told)
        })
        .collect::<Result<_, _>>()?;
    Ok(SocketConfig {
        listeners,
        advertised,
        request_bytes_max: read.int("socket.request.max.bytes")?,
        send_buffer_bytes: read.int("socket.send.buffer.bytes")?,
        receive_buffer_bytes: read.int("socket.receive.buffer.bytes")?,
        backlog: read.int("socket.listen.backlog.size")?,
        connections_max: read.int("max.connections")?,
        connection_rate_max: match read.int("max.connection.creation.rate")? {
            i32::MAX => None,
            rate => Some(f64::from(rate)),
        },
        connections_per_ip_max: read.int("max.connections.per.ip")?,
        connections_per_ip_overrides: per_ip_overrides(read)?,
        idle_ms_max: read.long("connections.max.idle.ms")?,
    })
}

fn per_ip_overrides(read: &Reader<'_>) -> Result<BTreeMap<String, i32>, ConfigError> {
    let key = "max.connections.per.ip.overrides";
    let text = read.word(key)?;
    let mut overrides = BTreeMap::new();
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let parsed = pair
            .rsplit_once(':')
            .and_then(|(ip, count)| Some((ip.trim(), count.trim().parse().ok()?)));
        match parsed {
            Some((address, count)) if !address.is_empty() => {
                overrides.insert(address.to_string(), count)
            }
            _ => return Err(ConfigError::conflict(key, pair, "write address:count")),
        };
    }
    Ok(overrides)
}

fn storage(read: &Reader<'_>) -> Result<StorageConfig, ConfigError> {
    let mut dirs = read.list("log.dirs")?;
    if dirs.is_empty() {
        dirs = read.list("log.dir")?;
    }
    dirs.retain(|dir| !dir.is_empty());
    if dirs.is_empty() {
        return Err(ConfigError::conflict("log.dirs", "", "name a folder"));
    }
    if dirs.len() > DIRECTORIES_MAX {
        let why = format!("name at most {DIRECTORIES_MAX} folders");
        return Err(ConfigError::conflict("log.dirs", dirs.len(), why));
    }
    let mut seen = BTreeSet::new();
    if let Some(twice) = dirs.iter().find(|dir| !seen.insert(dir.trim_end_matches('/'))) {
        return Err(ConfigError::conflict("log.dirs", twice, "name each folder once"));
    }
    let metadata_dir = read.text("metadata.log.dir")?.filter(|dir| !dir.is_empty());
    let journal_dir = read.list("corelane.journal.dir")?.into_iter().find(|dir| !dir.is_empty());
    if let (Some(dir), true) = (&journal_dir, dirs.len() > 1) {
        let why = "each of several log.dirs has its own journal";
        return Err(ConfigError::conflict("corelane.journal.dir", dir, why));
    }
    Ok(StorageConfig {
        data_dirs: dirs,
        metadata_dir,
        journal_dir,
        journal_bytes: read.long("corelane.journal.bytes")?,
        journal_sync: match read.word("corelane.journal.sync")?.as_str() {
            "fdatasync" => JournalSync::Fdatasync,
            // The registry lets only one other word through.
            _ => JournalSync::Dsync,
        },
        memory_dir: read.word("corelane.memory.dir")?,
        tail_bytes: read.long("corelane.tail.bytes")?,
        retention_check_ms: read.long("log.retention.check.interval.ms")?,
        producer_id_expiration_ms: read.long("producer.id.expiration.ms")?,
        move_bytes_per_second_max: read.long("replica.alter.log.dirs.io.max.bytes.per.second")?,
        cleaner: CleanerConfig {
            enable: read.boolean("log.cleaner.enable")?,
            dedupe_buffer_bytes: read.long("log.cleaner.dedupe.buffer.size")?,
            io_bytes_per_second_max: read.double("log.cleaner.io.max.bytes.per.second")?,
            backoff_ms: read.long("log.cleaner.backoff.ms")?,
        },
    })
}

fn groups(layers: &Layers<'_>, read: &Reader<'_>) -> Result<GroupsConfig, ConfigError> {
    let (min, max) =
        (read.int("group.min.session.timeout.ms")?, read.int("group.max.session.timeout.ms")?);
    if min > max {
        return Err(ConfigError::conflict(
            "group.min.session.timeout.ms",
            min,
            format!("must not be above group.max.session.timeout.ms ({max})"),
        ));
    }
    let mut group_bounds = BTreeMap::new();
    for key in registry::broker_keys() {
        let of_groups = ["group.consumer.", "group.share.", "group.streams."];
        if of_groups.iter().any(|prefix| key.name.starts_with(prefix))
            && let Some(number) = read.optional_long(key.name)?
        {
            group_bounds.insert(key.name.to_string(), number);
        }
    }
    Ok(GroupsConfig {
        initial_rebalance_delay_ms: read.int("group.initial.rebalance.delay.ms")?,
        session_timeout_ms_min: min,
        session_timeout_ms_max: max,
        members_max: read.int("group.max.size")?,
        offset_metadata_bytes_max: read.int("offset.metadata.max.bytes")?,
        offsets_retention_ms: i64::from(read.int("offsets.retention.minutes")?) * 60_000,
        offsets_retention_check_ms: read.long("offsets.retention.check.interval.ms")?,
        offsets_topic_partitions: read.int("offsets.topic.num.partitions")?,
        offsets_topic_replication: replication(layers, read, "offsets.topic.replication.factor")?,
        offsets_topic_segment_bytes: read.int("offsets.topic.segment.bytes")?,
        rebalance_protocols: read.list("group.coordinator.rebalance.protocols")?,
        consumer_assignors: assignors(read)?,
        consumer_migration_policy: read
            .word("group.consumer.migration.policy")?
            .to_ascii_lowercase(),
        group_bounds,
    })
}

/// The assignors of consumer groups. Kafka can load others from classes; there is no JVM here.
fn assignors(read: &Reader<'_>) -> Result<Vec<String>, ConfigError> {
    const KEY: &str = "group.consumer.assignors";
    let names = read.list(KEY)?;
    let known = |name: &String| {
        let last = name.rsplit('.').next().unwrap_or("");
        ["uniform", "range", "UniformAssignor", "RangeAssignor"].contains(&last)
    };
    match names.iter().find(|name| !known(name)) {
        Some(name) => Err(ConfigError::conflict(KEY, name, "must be uniform or range".to_string())),
        None if names.is_empty() => {
            Err(ConfigError::conflict(KEY, "", "must name at least one assignor".to_string()))
        }
        None => Ok(names),
    }
}

fn transactions(layers: &Layers<'_>, read: &Reader<'_>) -> Result<TransactionsConfig, ConfigError> {
    Ok(TransactionsConfig {
        timeout_ms_max: read.int("transaction.max.timeout.ms")?,
        state_topic_partitions: read.int("transaction.state.log.num.partitions")?,
        state_topic_replication: replication(
            layers,
            read,
            "transaction.state.log.replication.factor",
        )?,
        state_topic_segment_bytes: read.int("transaction.state.log.segment.bytes")?,
        state_topic_min_isr: read.int("transaction.state.log.min.isr")?,
        transactional_id_expiration_ms: read.int("transactional.id.expiration.ms")?,
        expiration_check_ms: read
            .int("transaction.remove.expired.transaction.cleanup.interval.ms")?,
        timeout_check_ms: read
            .int("transaction.abort.timed.out.transaction.cleanup.interval.ms")?,
        retry_backoff_ms: read.int("add.partitions.to.txn.retry.backoff.ms")?,
        retry_ms_max: read
            .int("add.partitions.to.txn.retry.backoff.max.ms")?
            .min(read.int("request.timeout.ms")?)
            .max(0),
    })
}

/// The defaults of topics: each topic key's first synonym that is set, in its own unit.
fn topic_defaults(layers: &Layers<'_>, read: &Reader<'_>) -> Result<TopicConfig, ConfigError> {
    let mut config = TopicConfig::default();
    for key in registry::topic_keys() {
        for (name, unit) in key.synonyms {
            let Some(value) = read.value(name)? else { continue };
            let value = in_milliseconds(name, &value, *unit);
            apply_broker_default(&mut config, key.name, &value);
            break;
        }
    }
    config.durability = match read.word("corelane.default.durability")?.as_str() {
        _ if layers.text("corelane.default.durability").is_none() && config.flush_messages == 1 => {
            Durability::Persisted
        }
        "memory" => Durability::Memory,
        _ => Durability::Persisted,
    };
    Ok(config)
}

/// A time in its key's unit to milliseconds. Retention below zero means for ever, as -1 does.
fn in_milliseconds(name: &str, value: &Value, unit: Unit) -> Value {
    let factor = match unit {
        Unit::Same => 1,
        Unit::Minutes => 60_000,
        Unit::Hours => 3_600_000,
    };
    let Value::Integer(number) = value else { return value.clone() };
    if name.starts_with("log.retention.") && name != "log.retention.bytes" && *number < 0 {
        return Value::Integer(-1);
    }
    Value::Integer(number.saturating_mul(factor))
}

#[cfg(test)]
#[path = "broker_tests.rs"]
mod tests;
