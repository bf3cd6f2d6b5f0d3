//! `corelane config`: get, set, list, of topics, brokers and groups; and the registry of keys.

use std::io::Write;
use std::str::FromStr;

use clap::{Args, Subcommand};
use protocol::ErrorCode;
use protocol::messages::describe_configs::{
    DescribeConfigsResource, DescribeConfigsResourceResult,
};
use protocol::messages::incremental_alter_configs::{AlterConfigsResource, AlterableConfig};
use protocol::messages::{DescribeConfigsRequest, IncrementalAlterConfigsRequest};

use crate::config::document::changes;
use crate::config::key::Key;
use crate::config::registry;

use super::client::{Client, Target};
use super::error::{CliError, Outcome, Result, refusal};
use super::options::Connect;
use super::output::{Cell, FormatOption, Table, print_table};

/// Operations of IncrementalAlterConfigs.
const SET: i8 = 0;
const DELETE: i8 = 1;

/// `KEY=VALUE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The key, not empty.
    pub key: String,
    /// Everything after the first `=`.
    pub value: String,
}

impl FromStr for Assignment {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => {
                Ok(Self { key: key.trim().to_owned(), value: value.to_owned() })
            }
            _ => Err(format!("`{text}` sets nothing; write KEY=VALUE")),
        }
    }
}

/// What to do with configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Show values of single keys and where they come from
    Get(Get),
    /// Change keys
    Set(Set),
    /// Show what is configured, or which keys there are
    List(List),
}

/// Whose configuration.
#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = false)]
pub struct Whose {
    /// Of this topic
    #[arg(long)]
    topic: Option<String>,
    /// Of the broker with this id
    #[arg(long, value_name = "ID")]
    broker: Option<i32>,
    /// The default of all brokers
    #[arg(long)]
    cluster: bool,
    /// Of this group
    #[arg(long)]
    group: Option<String>,
}

/// `config get`.
#[derive(Debug, Args)]
pub struct Get {
    /// Keys
    #[arg(required = true)]
    keys: Vec<String>,
    #[command(flatten)]
    whose: Whose,
    #[command(flatten)]
    format: FormatOption,
    #[command(flatten)]
    connect: Connect,
}

/// `config set`.
#[derive(Debug, Args)]
pub struct Set {
    /// Keys and their values
    #[arg(value_name = "KEY=VALUE", required_unless_present = "unset")]
    set: Vec<Assignment>,
    /// Give a key its default back; may be given several times
    #[arg(long = "unset", value_name = "KEY")]
    unset: Vec<String>,
    /// Ask whether it would work, without changing
    #[arg(long)]
    validate_only: bool,
    #[command(flatten)]
    whose: Whose,
    #[command(flatten)]
    connect: Connect,
}

/// `config list`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(false))]
pub struct List {
    /// What is set on this topic
    #[arg(long, group = "what")]
    topic: Option<String>,
    /// What is set on the broker with this id
    #[arg(long, value_name = "ID", group = "what")]
    broker: Option<i32>,
    /// What is set for all brokers
    #[arg(long, group = "what")]
    cluster: bool,
    /// What is set on this group
    #[arg(long, group = "what")]
    group: Option<String>,
    /// The keys of Corelane's brokers, with type, default, range and meaning
    #[arg(long, group = "what")]
    broker_keys: bool,
    /// The keys of Corelane's topics
    #[arg(long, group = "what")]
    topic_keys: bool,
    /// The keys of Corelane's groups
    #[arg(long, group = "what")]
    group_keys: bool,
    /// Every key, not only those that were set
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    format: FormatOption,
    #[command(flatten)]
    connect: Connect,
}

/// What has a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entity {
    /// A topic.
    Topic(String),
    /// One broker.
    Broker(i32),
    /// All brokers.
    Cluster,
    /// A group.
    Group(String),
}

impl Entity {
    fn of(
        topic: Option<&String>,
        broker: Option<i32>,
        cluster: bool,
        group: Option<&String>,
    ) -> Result<Self> {
        match (topic, broker, cluster, group) {
            (Some(topic), None, false, None) => Ok(Self::Topic(topic.clone())),
            (None, Some(broker), false, None) => Ok(Self::Broker(broker)),
            (None, None, true, None) => Ok(Self::Cluster),
            (None, None, false, Some(group)) => Ok(Self::Group(group.clone())),
            _ => Err(CliError::usage("name one of --topic, --broker, --cluster and --group")),
        }
    }

    /// Kafka's number of the type.
    fn kind(&self) -> i8 {
        match self {
            Self::Topic(_) => 2,
            Self::Broker(_) | Self::Cluster => 4,
            Self::Group(_) => 32,
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Topic(name) | Self::Group(name) => name.clone(),
            Self::Broker(id) => id.to_string(),
            Self::Cluster => String::new(),
        }
    }

    /// Who knows: a broker's own keys only itself.
    fn target(&self, client: &mut Client) -> Result<Target> {
        match self {
            Self::Topic(_) | Self::Group(_) | Self::Cluster => Ok(Target::Any),
            Self::Broker(id) => {
                let brokers = client.brokers()?;
                if brokers.contains(id) {
                    return Ok(Target::Node(*id));
                }
                let known: Vec<String> = brokers.iter().map(i32::to_string).collect();
                let known = known.join(", ");
                Err(CliError::failed(format!("there is no broker {id}; there are {known}")))
            }
        }
    }

    fn title(&self) -> String {
        match self {
            Self::Topic(name) => format!("topic {name}"),
            Self::Group(name) => format!("group {name}"),
            Self::Broker(id) => format!("broker {id}"),
            Self::Cluster => "all brokers".to_owned(),
        }
    }
}

/// A configured value as the broker tells it.
#[derive(Debug, Clone)]
pub struct Configured(DescribeConfigsResourceResult);

impl std::ops::Deref for Configured {
    type Target = DescribeConfigsResourceResult;

    fn deref(&self) -> &DescribeConfigsResourceResult {
        &self.0
    }
}

impl Configured {
    /// Where the value comes from, in Kafka's words.
    pub fn source(&self) -> &'static str {
        source_name(self.config_source)
    }

    /// Whether the value was set on the entity itself, not inherited.
    pub fn is_set_on(&self, entity: &Entity) -> bool {
        match entity {
            Entity::Topic(_) => self.config_source == 1,
            // What its file says is a broker's own, too.
            Entity::Broker(_) => matches!(self.config_source, 2 | 4),
            Entity::Cluster => self.config_source == 3,
            Entity::Group(_) => self.config_source == 8,
        }
    }

    /// The value; secrets stay secret.
    pub fn value_cell(&self) -> Cell {
        if self.is_sensitive { "[hidden]".into() } else { self.value.clone().into() }
    }
}

fn source_name(source: i8) -> &'static str {
    match source {
        1 => "DYNAMIC_TOPIC_CONFIG",
        2 => "DYNAMIC_BROKER_CONFIG",
        3 => "DYNAMIC_DEFAULT_BROKER_CONFIG",
        4 => "STATIC_BROKER_CONFIG",
        5 => "DEFAULT_CONFIG",
        6 => "DYNAMIC_BROKER_LOGGER_CONFIG",
        7 => "DYNAMIC_CLIENT_METRICS_CONFIG",
        8 => "DYNAMIC_GROUP_CONFIG",
        _ => "UNKNOWN",
    }
}

fn type_name(kind: i8) -> &'static str {
    match kind {
        1 => "BOOLEAN",
        2 => "STRING",
        3 => "INT",
        4 => "SHORT",
        5 => "LONG",
        6 => "DOUBLE",
        7 => "LIST",
        8 => "CLASS",
        9 => "PASSWORD",
        _ => "UNKNOWN",
    }
}

/// The configuration of an entity, sorted by key; of some keys, or of all with `None`.
pub fn describe(
    client: &mut Client,
    entity: &Entity,
    keys: Option<&[String]>,
) -> Result<Vec<Configured>> {
    let target = entity.target(client)?;
    let request = DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource {
            resource_type: entity.kind(),
            resource_name: entity.name(),
            configuration_keys: keys.map(<[String]>::to_vec),
        }],
        include_synonyms: true,
        include_documentation: false,
    };
    let response = client.call(target, &request)?;
    let mut found = Vec::new();
    for result in response.results {
        if result.error_code != ErrorCode::None.code() {
            let why = refusal(result.error_code, result.error_message.as_deref());
            return Err(CliError::failed(format!("{}: {why}", entity.title())));
        }
        found.extend(result.configs.into_iter().map(Configured));
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// Sets and unsets keys of an entity.
pub fn alter(
    client: &mut Client,
    entity: &Entity,
    set: &[Assignment],
    unset: &[String],
    validate_only: bool,
    out: &mut dyn Write,
) -> Result<Outcome> {
    if set.is_empty() && unset.is_empty() {
        return Err(CliError::usage("nothing to change; use --set KEY=VALUE or --unset KEY"));
    }
    let target = entity.target(client)?;
    let changed = set.iter().map(|assignment| AlterableConfig {
        name: assignment.key.clone(),
        config_operation: SET,
        value: Some(assignment.value.clone()),
    });
    let removed = unset.iter().map(|key| AlterableConfig {
        name: key.clone(),
        config_operation: DELETE,
        value: None,
    });
    let request = IncrementalAlterConfigsRequest {
        resources: vec![AlterConfigsResource {
            resource_type: entity.kind(),
            resource_name: entity.name(),
            configs: changed.chain(removed).collect(),
        }],
        validate_only,
    };
    let response = client.call(target, &request)?;
    for result in &response.responses {
        if result.error_code != ErrorCode::None.code() {
            let why = refusal(result.error_code, result.error_message.as_deref());
            return Err(CliError::failed(format!("{}: {why}", entity.title())));
        }
    }
    let would = if validate_only { "would change " } else { "" };
    for assignment in set {
        let Assignment { key, value } = assignment;
        writeln!(out, "{would}{}: {key}={value}", entity.title())?;
    }
    for key in unset {
        writeln!(out, "{would}{}: {key} back to its default", entity.title())?;
    }
    Ok(Outcome::Done)
}

impl ConfigCommand {
    /// Does it.
    pub fn run(self, out: &mut dyn Write) -> Result<Outcome> {
        match self {
            Self::Get(get) => get.run(out),
            Self::Set(set) => set.run(out),
            Self::List(list) => list.run(out),
        }
    }
}

impl Whose {
    fn entity(&self) -> Result<Entity> {
        Entity::of(self.topic.as_ref(), self.broker, self.cluster, self.group.as_ref())
    }
}

impl Get {
    fn run(self, out: &mut dyn Write) -> Result<Outcome> {
        let entity = self.whose.entity()?;
        let mut client = Client::new(self.connect);
        let configs = describe(&mut client, &entity, Some(&self.keys))?;
        // Every level at which the key has a value, the strongest first.
        let mut table = Table::new(&["key", "value", "source", "synonym", "effective"]);
        for config in &configs {
            if config.synonyms.is_empty() {
                table.push(vec![
                    config.name.as_str().into(),
                    config.value_cell(),
                    config.source().into(),
                    Cell::Absent,
                    true.into(),
                ]);
            }
            for (index, synonym) in config.synonyms.iter().enumerate() {
                let hidden = config.is_sensitive;
                let value = if hidden { "[hidden]".into() } else { synonym.value.clone().into() };
                table.push(vec![
                    config.name.as_str().into(),
                    value,
                    source_name(synonym.source).into(),
                    synonym.name.as_str().into(),
                    (index == 0).into(),
                ]);
            }
        }
        print_table(out, self.format.format, &table)?;
        let mut failures = 0;
        for key in &self.keys {
            if !configs.iter().any(|config| config.name == *key) {
                failures += 1;
                let title = entity.title();
                super::error::complain(&format!(
                    "{title} has no value for {key}; `corelane config list --all` shows its keys"
                ));
            }
        }
        Ok(Outcome::of(failures))
    }
}

impl Set {
    fn run(self, out: &mut dyn Write) -> Result<Outcome> {
        let entity = self.whose.entity()?;
        let mut client = Client::new(self.connect);
        alter(&mut client, &entity, &self.set, &self.unset, self.validate_only, out)
    }
}

impl List {
    fn run(self, out: &mut dyn Write) -> Result<Outcome> {
        let table = if self.broker_keys {
            registry_table(registry::broker_keys(), true)
        } else if self.topic_keys {
            registry_table(registry::topic_keys(), false)
        } else if self.group_keys {
            registry_table(registry::group_keys(), false)
        } else {
            self.configured()?
        };
        print_table(out, self.format.format, &table)?;
        Ok(Outcome::Done)
    }

    fn configured(&self) -> Result<Table> {
        let entity =
            Entity::of(self.topic.as_ref(), self.broker, self.cluster, self.group.as_ref())?;
        let mut client = Client::new(self.connect.clone());
        let configs = describe(&mut client, &entity, None)?;
        let mut table = Table::new(&["key", "value", "source", "type", "read_only"]);
        for config in configs.iter().filter(|config| self.all || config.is_set_on(&entity)) {
            table.push(vec![
                config.name.as_str().into(),
                config.value_cell(),
                config.source().into(),
                type_name(config.config_type).into(),
                config.read_only.into(),
            ]);
        }
        Ok(table)
    }
}

/// The registry of keys as a table, sorted by name; the same facts as docs/configuration.md.
fn registry_table(keys: impl Iterator<Item = &'static Key>, of_brokers: bool) -> Table {
    let mut table = Table::new(&["key", "type", "default", "range", "dynamic", "acts", "doc"]);
    for key in registry::sorted(keys).into_iter().filter(|key| !key.hidden) {
        // Topic and group keys can always change.
        let dynamic = if of_brokers { changes(key) } else { "yes" };
        table.push(vec![
            key.name.into(),
            key.kind.name().into(),
            key.default.into(),
            key.range().into(),
            match dynamic {
                "start" => "no".into(),
                other => other.into(),
            },
            key.ignored.is_none().into(),
            key.ignored
                .map_or_else(|| key.doc.to_owned(), |why| format!("{} ({why})", key.doc))
                .into(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assignment_splits_at_the_first_equals_sign() {
        let read = "a.b=c=d".parse::<Assignment>().expect("an assignment");
        assert_eq!((read.key.as_str(), read.value.as_str()), ("a.b", "c=d"));
        assert_eq!("a=".parse::<Assignment>().map(|a| a.value), Ok(String::new()));
        assert!("a".parse::<Assignment>().is_err_and(|why| why.contains("KEY=VALUE")));
        assert!("=b".parse::<Assignment>().is_err());
    }

    #[test]
    fn the_registry_lists_every_visible_key_with_its_type() {
        let table = registry_table(registry::broker_keys(), true);
        let mut out = Vec::new();
        print_table(&mut out, super::super::output::Format::Json, &table).expect("prints");
        let rows: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
        let rows = rows.as_array().expect("a list");
        assert_eq!(rows.len(), registry::broker_keys().filter(|key| !key.hidden).count());
        let partitions = rows.iter().find(|row| row["key"] == "num.partitions").expect("listed");
        assert_eq!((&partitions["type"], &partitions["default"]), (&"INT".into(), &"1".into()));
        assert!(rows.iter().all(|row| row["doc"].as_str().is_some_and(|doc| !doc.is_empty())));
    }
}
