//! `corelane topic`: create, list, describe, alter, delete, add-partitions, trim.

use std::collections::BTreeMap;
use std::io::Write;

use clap::{Args, Subcommand};
use protocol::ErrorCode;
use protocol::messages::create_partitions::CreatePartitionsTopic;
use protocol::messages::create_topics::{CreatableTopic, CreatableTopicConfig};
use protocol::messages::delete_records::{DeleteRecordsPartition, DeleteRecordsTopic};
use protocol::messages::delete_topics::DeleteTopicState;
use protocol::messages::metadata::MetadataResponseTopic;
use protocol::messages::{
    CreatePartitionsRequest, CreateTopicsRequest, DeleteRecordsRequest, DeleteTopicsRequest,
};

use super::client::{Client, PerPartition, Special, Target, TopicPartition};
use super::config::{Assignment, Entity, alter, describe};
use super::error::{CliError, Outcome, Result, complain, refusal};
use super::moment::Position;
use super::offsets::resolve;
use super::options::Connect;
use super::output::{Cell, FormatOption, Report, Table, print_reports, print_table};

/// What to do with topics.
#[derive(Debug, Subcommand)]
pub enum TopicCommand {
    /// Create topics
    Create(Create),
    /// List topics
    List(List),
    /// Show partitions, leaders, offsets and configuration
    Describe(Describe),
    /// Change a topic's configuration
    Alter(Alter),
    /// Delete topics and their records
    Delete(Delete),
    /// Give a topic more partitions
    AddPartitions(AddPartitions),
    /// Delete the records before a position
    Trim(Trim),
}

/// `topic create`.
#[derive(Debug, Args)]
pub struct Create {
    /// Names of the topics
    #[arg(required = true)]
    topics: Vec<String>,
    /// How many partitions each gets [default: the broker's num.partitions]
    #[arg(long, short = 'p', value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,
    /// How many replicas each partition gets [default: the broker's default.replication.factor]
    #[arg(long, short = 'r', value_parser = clap::value_parser!(i16).range(1..))]
    replication_factor: Option<i16>,
    /// A topic's key; may be given several times
    #[arg(long = "config", short = 'c', value_name = "KEY=VALUE")]
    configs: Vec<Assignment>,
    /// Topics that exist already are no error
    #[arg(long)]
    if_not_exists: bool,
    /// Ask whether it would work, without creating
    #[arg(long)]
    validate_only: bool,
    #[command(flatten)]
    connect: Connect,
}

/// `topic list`.
#[derive(Debug, Args)]
pub struct List {
    /// Show the cluster's own topics, too
    #[arg(long)]
    internal: bool,
    #[command(flatten)]
    format: FormatOption,
    #[command(flatten)]
    connect: Connect,
}

/// `topic describe`.
#[derive(Debug, Args)]
pub struct Describe {
    /// Names of the topics
    #[arg(required = true)]
    topics: Vec<String>,
    /// Show every configuration key, not only those that were set
    #[arg(long)]
    all_configs: bool,
    #[command(flatten)]
    format: FormatOption,
    #[command(flatten)]
    connect: Connect,
}

/// `topic alter`.
#[derive(Debug, Args)]
pub struct Alter {
    /// Name of the topic
    topic: String,
    /// Set a key; may be given several times
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<Assignment>,
    /// Give a key its default back; may be given several times
    #[arg(long = "unset", value_name = "KEY")]
    unset: Vec<String>,
    #[command(flatten)]
    connect: Connect,
}

/// `topic delete`.
#[derive(Debug, Args)]
pub struct Delete {
    /// Names of the topics
    #[arg(required = true)]
    topics: Vec<String>,
    /// Topics that do not exist are no error
    #[arg(long)]
    if_exists: bool,
    #[command(flatten)]
    connect: Connect,
}

/// `topic add-partitions`.
#[derive(Debug, Args)]
pub struct AddPartitions {
    /// Name of the topic
    topic: String,
    /// How many partitions it has afterwards
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(i32).range(1..))]
    total: i32,
    #[command(flatten)]
    connect: Connect,
}

/// `topic trim`.
#[derive(Debug, Args)]
pub struct Trim {
    /// Name of the topic
    topic: String,
    /// First position that stays: latest, offset:N, time:T, or shift:N records from an end
    #[arg(long, value_name = "POSITION", allow_hyphen_values = true)]
    before: Position,
    /// Only these partitions
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    partitions: Vec<i32>,
    /// Delete; without it the plan is printed only
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    format: FormatOption,
    #[command(flatten)]
    connect: Connect,
}

impl TopicCommand {
    /// Does it.
    pub fn run(self, out: &mut dyn Write) -> Result<Outcome> {
        match self {
            Self::Create(create) => create.run(out),
            Self::List(list) => list.run(out),
            Self::Describe(describe) => describe.run(out),
            Self::Alter(alter) => alter.run(out),
            Self::Delete(delete) => delete.run(out),
            Self::AddPartitions(add) => add.run(out),
            Self::Trim(trim) => trim.run(out),
        }
    }
}

impl Create {
    fn run(self, out: &mut dyn Write) -> Result<Outcome> {
        let mut client = Client::new(self.connect.clone());
        let config = |assignment: &Assignment| CreatableTopicConfig {
            name: assignment.key.clone(),
            value: Some(assignment.value.clone()),
        };
        let topic = |name: &String| CreatableTopic {
            name: name.clone(),
            num_partitions: self.partitions.unwrap_or(-1),
            replication_factor: self.replication_factor.unwrap_or(-1),
            assignments: Vec::new(),
            configs: self.configs.iter().map(config).collect(),
        };
        let request = CreateTopicsRequest {
            topics: self.topics.iter().map(topic).collect(),
            timeout_ms: self.connect.request_timeout_ms(),
            validate_only: self.validate_only,
        };
        let response = client.call(Target::Any, &request)?;
        let mut failures = 0;
        for topic in response.topics {
            let exists = topic.error_code == ErrorCode::TopicAlreadyExists.code();
            if topic.error_code == ErrorCode::None.code() {
                let verb = if self.validate_only { "would create" } else { "created" };
                match topic.num_partitions {
                    count if count > 0 => writeln!(
                        out,
                        "{verb} {}: partitions={count} replication-factor={}",
                        topic.name, topic.replication_factor
                    )?,
                    _ => writeln!(out, "{verb} {}", topic.name)?,
                }
            } else if exists && self.if_not_exists {
                writeln!(out, "exists {}", topic.name)?;
            } else {
                failures += 1;
                let why = refusal(topic.error_code, topic.error_message.as_deref());
                complain(&format!("topic {}: {why}", topic.name));
            }
        }
        Ok(Outcome::of(failures))
    }
}

impl List {
    fn run(self, out: &mut dyn Write) -> Result<Outcome> {
        let mut client = Client::new(self.connect);
        let mut topics = client.metadata(None, false)?.topics;
        topics.retain(|topic| self.internal || !topic.is_internal);
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        let mut table =
            Table::new(&["topic", "partitions", "replication_factor", "internal", "topic_id"]);
        for topic in topics {
            let replicas = topic.partitions.iter().map(|p| p.replica_nodes.len()).max();
            table.push(vec![
                topic.name.into(),
                topic.partitions.len().into(),
                replicas.into(),
                topic.is_internal.into(),
                id_cell(topic.topic_id),
            ]);
        }
        print_table(out, self.format.format, &table)?;
        Ok(Outcome::Done)
    }
}

fn id_cell(id: protocol::Uuid) -> Cell {
    if id.is_zero() { Cell::Absent } else { Cell::Text(id.to_string()) }
}

impl Describe {
    fn run(self, out: &mut dyn Write) -> Result<Outcome> {
        let mut client = Client::new(self.connect.clone());
        let mut reports = Vec::new();
        let mut failures = 0;
        for name in &self.topics {
            let topic = match client.topic(name, false) {
                Ok(topic) => topic,
                Err(CliError::Failed(why)) => {
                    failures += 1;
                    complain(&why);
                    continue;
                }
                Err(other) => return Err(other),
            };
            let (report, wrong) = self.report(&mut client, name, topic)?;
            failures += wrong;
            reports.push(report);
        }
        print_reports(out, self.format.format, &reports)?;
        Ok(Outcome::of(failures))
    }

    fn report(
        &self,
        client: &mut Client,
        name: &str,
        mut topic: MetadataResponseTopic,
    ) -> Result<(Report, usize)> {
        topic.partitions.sort_by_key(|partition| partition.partition_index);
        let led: Vec<TopicPartition> = topic
            .partitions
            .iter()
            .filter(|partition| partition.leader_id >= 0)
            .map(|p| TopicPartition { topic: name.to_owned(), partition: p.partition_index })
            .collect();
        let at = |special: Special| -> BTreeMap<TopicPartition, i64> {
            led.iter().map(|key| (key.clone(), special.timestamp())).collect()
        };
        let starts = client.list_offsets(&at(Special::Earliest), false)?;
        let ends = client.list_offsets(&at(Special::Latest), false)?;
        let mut failures = 0;
        let mut table = Table::new(&[
            "partition",
            "leader",
            "leader_epoch",
            "replicas",
            "isr",
            "offline",
            "log_start",
            "high_watermark",
            "records",
        ]);
        for partition in &topic.partitions {
            let key =
                TopicPartition { topic: name.to_owned(), partition: partition.partition_index };
            let (start, end) = (offset_of(&starts, &key), offset_of(&ends, &key));
            if partition.leader_id < 0 {
                failures += 1;
                complain(&format!("{key}: no leader; `corelane cluster health` shows why"));
            } else if let Some(Err(why)) = ends.get(&key) {
                failures += 1;
                complain(&format!("{key}: {why}"));
            }
            table.push(vec![
                partition.partition_index.into(),
                (partition.leader_id >= 0).then_some(partition.leader_id).into(),
                (partition.leader_epoch >= 0).then_some(partition.leader_epoch).into(),
                partition.replica_nodes.as_slice().into(),
                partition.isr_nodes.as_slice().into(),
                partition.offline_replicas.as_slice().into(),
                start.into(),
                end.into(),
                start.zip(end).map(|(start, end)| end - start).into(),
            ]);
        }
        let entity = Entity::Topic(name.to_owned());
        let mut configs = describe(client, &entity, None)?;
        configs.retain(|config| self.all_configs || config.is_set_on(&entity));
        let mut keys = Table::new(&["key", "value", "source"]);
        for config in &configs {
            keys.push(vec![
                config.name.as_str().into(),
                config.value_cell(),
                config.source().into(),
            ]);
        }
        let mut report = Report::new();
        report.field("topic", name);
        report.field("topic_id", id_cell(topic.topic_id));
        report.field("internal", topic.is_internal);
        report.table("partitions", table);
        report.table("configs", keys);
        Ok((report, failures))
    }
}

fn offset_of(found: &PerPartition<super::client::OffsetAt>, key: &TopicPartition) -> Option<i64> {
    found.get(key)?.as_ref().ok().map(|at| at.offset)
}

impl Alter {
    fn run(self, out: &mut dyn Write) -> Result<Outcome> {
        let mut client = Client::new(self.connect.clone());
        let entity = Entity::Topic(self.topic.clone());
        alter(&mut client, &entity, &self.set, &self.unset, false, out)
    }
}

impl Delete {
    fn run(self, out: &mut dyn Write) -> Result<Outcome> {
        let mut client = Client::new(self.connect.clone());
        let state = |name: &String| DeleteTopicState {
            name: Some(name.clone()),
            ..DeleteTopicState::default()
        };
        let by_state = client.peer(Target::Any)?.choose(protocol::ApiKey::DeleteTopics);
        // Until version 5 the request names topics in a list of its own.
        let has_states = by_state.map_err(CliError::failed)? >= 6;
        let request = DeleteTopicsRequest {
            topics: if has_states { self.topics.iter().map(state).collect() } else { Vec::new() },
            topic_names: self.topics.clone(),
            timeout_ms: self.connect.request_timeout_ms(),
        };
        let response = client.call(Target::Any, &request)?;
        let mut failures = 0;
        for topic in response.responses {
            let name = topic.name.unwrap_or_default();
            let missing = topic.error_code == ErrorCode::UnknownTopicOrPartition.code();
            if topic.error_code == ErrorCode::None.code() {
                writeln!(out, "deleted {name}")?;
            } else if missing && self.if_exists {
                writeln!(out, "missing {name}")?;
            } else {
                failures += 1;
                let why = refusal(topic.error_code, topic.error_message.as_deref());
                complain(&format!("topic {name}: {why}"));
            }
        }
        Ok(Outcome::of(failures))
    }
}

impl AddPartitions {
    fn run(self, out: &mut dyn Write) -> Result<Outcome> {
        let mut client = Client::new(self.connect.clone());
        let topic = CreatePartitionsTopic {
            name: self.topic.clone(),
            count: self.total,
            assignments: None,
        };
        let request = CreatePartitionsRequest {
            topics: vec![topic],
            timeout_ms: self.connect.request_timeout_ms(),
            validate_only: false,
        };
        let response = client.call(Target::Any, &request)?;
        let mut failures = 0;
        for topic in response.results {
            if topic.error_code == ErrorCode::None.code() {
                writeln!(out, "{} has {} partitions", topic.name, self.total)?;
            } else {
                failures += 1;
                let why = refusal(topic.error_code, topic.error_message.as_deref());
                complain(&format!("topic {}: {why}", topic.name));
            }
        }
        Ok(Outcome::of(failures))
    }
}

impl Trim {
    fn run(self, out: &mut dyn Write) -> Result<Outcome> {
        let mut client = Client::new(self.connect.clone());
        let partitions = client.partitions_of(&self.topic, &self.partitions, false)?;
        let starts = client.special_offsets(&partitions, Special::Earliest, false)?;
        let resolved = resolve(&mut client, &partitions, self.before, None, false)?;
        let mut table =
            Table::new(&["topic", "partition", "log_start", "new_log_start", "records"]);
        let mut wanted = BTreeMap::new();
        for (key, &offset) in &resolved {
            let start = starts[key];
            // The start of a log never moves back.
            let offset = offset.max(start);
            table.push(vec![
                key.topic.as_str().into(),
                key.partition.into(),
                start.into(),
                offset.into(),
                (offset - start).into(),
            ]);
            if offset > start {
                wanted.insert(key.clone(), offset);
            }
        }
        print_table(out, self.format.format, &table)?;
        if !self.yes {
            complain("nothing is deleted yet; add --yes to delete these records");
            return Ok(Outcome::Done);
        }
        let done = delete_records(&mut client, &wanted)?;
        let mut failures = 0;
        for (key, result) in done {
            if let Err(why) = result {
                failures += 1;
                complain(&format!("{key}: {why}"));
            }
        }
        Ok(Outcome::of(failures))
    }
}

/// Moves the starts of logs to these offsets; answers with where they are.
fn delete_records(
    client: &mut Client,
    wanted: &BTreeMap<TopicPartition, i64>,
) -> Result<PerPartition<i64>> {
    let timeout_ms = client.connect_options().request_timeout_ms();
    client.ask_leaders(wanted, |client, target, items| {
        let mut request = DeleteRecordsRequest { topics: Vec::new(), timeout_ms };
        for (key, &offset) in items {
            let partition = DeleteRecordsPartition { partition_index: key.partition, offset };
            match request.topics.last_mut().filter(|topic| topic.name == key.topic) {
                Some(topic) => topic.partitions.push(partition),
                None => request.topics.push(DeleteRecordsTopic {
                    name: key.topic.clone(),
                    partitions: vec![partition],
                }),
            }
        }
        let response = client.call(target, &request)?;
        let mut answers = Vec::new();
        for topic in response.topics {
            for found in topic.partitions {
                let key =
                    TopicPartition { topic: topic.name.clone(), partition: found.partition_index };
                let failed = found.error_code != ErrorCode::None.code();
                let answer = if failed { Err(found.error_code) } else { Ok(found.low_watermark) };
                answers.push((key, answer));
            }
        }
        Ok(answers)
    })
}
