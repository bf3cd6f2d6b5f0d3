//! `corelane group seek`: moves a group's committed offsets while nobody is in it.
//!
//! Without `--yes` it prints the plan. A group with members is refused: they would go on from where
//! they are and overwrite what was set.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use clap::Args;
use protocol::ErrorCode;

use super::super::client::{Client, TopicPartition};
use super::super::error::{CliError, Outcome, Result, complain, refusal};
use super::super::moment::Position;
use super::super::offsets::resolve;
use super::super::options::Connect;
use super::super::output::{FormatOption, Table, print_table};
use super::describe::view;
use super::offsets::{commit_offsets, fetch_offsets};

/// `group seek`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("which").required(true).multiple(false))]
pub struct Seek {
    /// Name of the group
    group: String,
    /// Where to: earliest, latest, offset:N, time:T, or shift:N records from where it is
    #[arg(long, value_name = "POSITION", allow_hyphen_values = true)]
    to: Position,
    /// In this topic; may be given several times. TOPIC:0,2 names partitions
    #[arg(long = "topic", value_name = "TOPIC", group = "which")]
    topics: Vec<String>,
    /// In every topic the group has offsets of
    #[arg(long, group = "which")]
    all_topics: bool,
    /// Print the plan only, which is the default
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Do it
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    format: FormatOption,
    #[command(flatten)]
    connect: Connect,
}

impl Seek {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<Outcome> {
        let mut client = Client::new(self.connect.clone());
        let found = view(&mut client, &self.group)?;
        if !found.is_idle() {
            return Err(CliError::failed(format!(
                "group {} is {} with {} members; stop them first",
                self.group,
                found.state,
                found.members.len()
            )));
        }
        let committed = fetch_offsets(&mut client, &self.group)?;
        let partitions = self.partitions(&mut client, &committed)?;
        let targets = resolve(&mut client, &partitions, self.to, Some(&committed), false)?;
        let mut table = Table::new(&["topic", "partition", "committed", "new", "change"]);
        let mut moved = BTreeMap::new();
        for (key, &target) in &targets {
            let at = committed.get(key).copied();
            table.push(vec![
                key.topic.as_str().into(),
                key.partition.into(),
                at.into(),
                target.into(),
                at.map(|at| target - at).into(),
            ]);
            if at != Some(target) {
                moved.insert(key.clone(), target);
            }
        }
        print_table(out, self.format.format, &table)?;
        if !self.yes {
            complain("nothing is changed yet; add --yes to move the group");
            return Ok(Outcome::Done);
        }
        if moved.is_empty() {
            return Ok(Outcome::Done);
        }
        let mut failures = 0;
        for (key, code) in commit_offsets(&mut client, &self.group, -1, "", &moved)? {
            if code != ErrorCode::None.code() {
                failures += 1;
                complain(&format!("group {}: {key}: {}", self.group, refusal(code, None)));
            }
        }
        Ok(Outcome::of(failures))
    }

    fn partitions(
        &self,
        client: &mut Client,
        committed: &BTreeMap<TopicPartition, i64>,
    ) -> Result<Vec<TopicPartition>> {
        if self.all_topics {
            if committed.is_empty() {
                return Err(CliError::failed(format!(
                    "group {} has no offsets; name a topic with --topic",
                    self.group
                )));
            }
            return Ok(committed.keys().cloned().collect());
        }
        let mut all = BTreeSet::new();
        for named in &self.topics {
            let (topic, only) = read_topic(named)?;
            all.extend(client.partitions_of(&topic, &only, false)?);
        }
        Ok(all.into_iter().collect())
    }
}

/// `TOPIC` or `TOPIC:0,2`.
fn read_topic(text: &str) -> Result<(String, Vec<i32>)> {
    let Some((topic, list)) = text.split_once(':') else {
        return Ok((text.to_owned(), Vec::new()));
    };
    let number = |text: &str| match text.parse::<i32>() {
        Ok(number) if number >= 0 => Ok(number),
        _ => Err(CliError::usage(format!(
            "`{text}` is no partition in --topic {topic}:{list}; write TOPIC or TOPIC:0,2"
        ))),
    };
    Ok((topic.to_owned(), list.split(',').map(number).collect::<Result<_>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_may_name_partitions() {
        assert_eq!(read_topic("orders"), Ok(("orders".to_owned(), vec![])));
        assert_eq!(read_topic("orders:0,12"), Ok(("orders".to_owned(), vec![0, 12])));
        for text in ["orders:", "orders:x", "orders:-1", "orders:1,"] {
            assert!(matches!(read_topic(text), Err(CliError::Usage(_))), "{text}");
        }
    }
}
