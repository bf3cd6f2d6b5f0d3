//! `corelane group`: list, describe, seek, delete.

mod describe;
pub mod offsets;
mod seek;

use std::io::Write;

use clap::{Args, Subcommand};
use protocol::ErrorCode;
use protocol::messages::{DeleteGroupsRequest, ListGroupsRequest};

use self::describe::Describe;
use self::seek::Seek;
use super::client::{ANY_VERSION, Client, Target};
use super::error::{CliError, Outcome, Result, complain, refusal};
use super::options::Connect;
use super::output::{FormatOption, Table, print_table};

/// What to do with groups.
#[derive(Debug, Subcommand)]
pub enum GroupCommand {
    /// List groups
    List(List),
    /// Show members, offsets and lag
    Describe(Describe),
    /// Move a group's offsets; prints a plan unless --yes
    Seek(Seek),
    /// Delete groups and their offsets
    Delete(Delete),
}

/// `group list`.
#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    format: FormatOption,
    #[command(flatten)]
    connect: Connect,
}

/// `group delete`.
#[derive(Debug, Args)]
pub struct Delete {
    /// Names of the groups
    #[arg(required = true)]
    groups: Vec<String>,
    #[command(flatten)]
    connect: Connect,
}

impl GroupCommand {
    /// Does it.
    pub fn run(self, out: &mut dyn Write) -> Result<Outcome> {
        match self {
            Self::List(list) => list.run(out),
            Self::Describe(describe) => describe.run(out),
            Self::Seek(seek) => seek.run(out),
            Self::Delete(delete) => delete.run(out),
        }
    }
}

impl List {
    fn run(self, out: &mut dyn Write) -> Result<Outcome> {
        let mut client = Client::new(self.connect);
        let mut table = Table::new(&["group", "state", "type", "protocol", "coordinator"]);
        let mut rows = Vec::new();
        let mut failures = 0;
        // Each broker knows only the groups it coordinates.
        for node in client.brokers()? {
            let listed = client.until_healed(&format!("broker {node}"), |client| {
                let response = client.call(Target::Node(node), &ListGroupsRequest::default())?;
                let code = response.error_code;
                Ok((response, code))
            });
            match listed {
                Ok(response) => rows.extend(response.groups.into_iter().map(|g| (node, g))),
                Err(CliError::Failed(why)) => {
                    failures += 1;
                    complain(&why);
                }
                Err(other) => return Err(other),
            }
        }
        rows.sort_by(|(_, a), (_, b)| a.group_id.cmp(&b.group_id));
        let known = |text: String| (!text.is_empty()).then_some(text);
        for (node, group) in rows {
            table.push(vec![
                group.group_id.into(),
                known(group.group_state).into(),
                known(group.group_type).into(),
                known(group.protocol_type).into(),
                node.into(),
            ]);
        }
        print_table(out, self.format.format, &table)?;
        Ok(Outcome::of(failures))
    }
}

impl Delete {
    fn run(self, out: &mut dyn Write) -> Result<Outcome> {
        let mut client = Client::new(self.connect.clone());
        let mut failures = 0;
        for group in &self.groups {
            let request = DeleteGroupsRequest { groups_names: vec![group.clone()] };
            let code_of = |response: &protocol::messages::DeleteGroupsResponse| {
                let code = response.results.first().map_or(0, |result| result.error_code);
                // What does not heal is reported below, group by group.
                let heals = ErrorCode::from_i16(code).is_some_and(ErrorCode::retriable);
                if heals { code } else { 0 }
            };
            let response = client.ask_coordinator(group, &request, ANY_VERSION, code_of)?;
            let code = response.results.first().map_or(0, |result| result.error_code);
            if code == ErrorCode::None.code() {
                writeln!(out, "deleted {group}")?;
            } else {
                failures += 1;
                complain(&format!("group {group}: {}", refusal(code, None)));
            }
        }
        Ok(Outcome::of(failures))
    }
}
