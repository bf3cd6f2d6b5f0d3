//! `corelane consume`: records of a topic, printed, alone or as a member of a group.
//!
//! `fetch` reads partitions from their leaders, `member` is the group's side. This file holds the
//! options and the loop.

mod fetch;
mod member;

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};

use clap::Args;

use self::fetch::{Fetcher, Isolation, Seen};
use self::member::Member;
use super::client::{Client, TopicPartition};
use super::error::{CliError, Outcome, Result, complain};
use super::interrupt::Interrupt;
use super::moment::Position;
use super::offsets::resolve;
use super::options::{Connect, milliseconds};
use super::record_format::{Shown, Template, write_json};

/// How records are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum RecordFormat {
    /// By --format-string
    Text,
    /// One JSON object per line
    Json,
}

/// `corelane consume`.
#[derive(Debug, Args)]
pub struct Consume {
    /// Name of the topic
    topic: String,
    /// Where to begin: earliest, latest, offset:N, time:T, or shift:N (-N counts back from the
    /// end). In a group only for partitions without a committed offset
    #[arg(long, default_value = "earliest", value_name = "POSITION", allow_hyphen_values = true)]
    from: Position,
    /// Where to stop, exclusive: latest (as of the start), offset:N or time:T
    #[arg(long, value_name = "POSITION", conflicts_with = "follow")]
    to: Option<Position>,
    /// Only these partitions
    #[arg(long, value_delimiter = ',', value_name = "LIST", conflicts_with = "group")]
    partitions: Vec<i32>,
    /// Stop after so many records
    #[arg(long, short = 'n', value_name = "COUNT")]
    max_records: Option<u64>,
    /// Wait for more at the end; the default on a terminal and in a group, unless --to is given
    #[arg(long, short = 'f')]
    follow: bool,
    /// Stop at the end the topic had at the start; the default when the output is no terminal
    #[arg(long, conflicts_with_all = ["follow", "group"])]
    no_follow: bool,
    /// Read as a member of this group, and commit what was printed
    #[arg(long, short = 'g', conflicts_with = "to")]
    group: Option<String>,
    /// How long the group waits for a member that has gone silent
    #[arg(long, default_value_t = 10_000, value_name = "MS", value_parser = milliseconds)]
    session_timeout_ms: u32,
    /// How often a group's offsets are committed
    #[arg(long, default_value_t = 5_000, value_name = "MS", value_parser = milliseconds)]
    commit_interval_ms: u32,
    /// Whether records of open and aborted transactions are printed
    #[arg(long, value_enum, default_value = "read-uncommitted")]
    isolation: Isolation,
    /// How to print records
    #[arg(long, value_enum, default_value = "text")]
    format: RecordFormat,
    /// What to print of a record: %k key, %v value, %o offset, %p partition, %t timestamp in ms,
    /// %T topic, %h headers, %% a percent sign; \n \t \r \0 \\ \xHH. A newline follows
    #[arg(long, short = 's', default_value = "%v", value_name = "FORMAT")]
    format_string: String,
    /// What to print for a null key or value
    #[arg(long, default_value = "null", value_name = "TEXT")]
    null: String,
    /// Print no newline after a record
    #[arg(long)]
    no_newline: bool,
    #[command(flatten)]
    connect: Connect,
}

/// Prints records and counts them.
struct Printer<'a> {
    out: &'a mut dyn Write,
    template: Option<Template>,
    newline: bool,
    escaped: bool,
    left: u64,
    buffer: Vec<u8>,
}

impl Printer<'_> {
    /// Prints one record; says whether more may follow.
    fn print(&mut self, shown: &Shown<'_>) -> Result<Seen> {
        self.buffer.clear();
        match &self.template {
            Some(template) => template.write(shown, self.escaped, &mut self.buffer),
            None => write_json(shown, &mut self.buffer),
        }
        if self.newline {
            self.buffer.push(b'\n');
        }
        self.out.write_all(&self.buffer)?;
        self.left -= 1;
        Ok(if self.left == 0 { Seen::Enough } else { Seen::More })
    }
}

impl Consume {
    /// Does it. Ctrl-C is an ordinary end.
    pub fn run(self, out: &mut dyn Write) -> Result<Outcome> {
        let template = match self.format {
            RecordFormat::Text => Some(
                Template::parse(&self.format_string, &self.null)
                    .map_err(|why| CliError::usage(format!("--format-string: {why}")))?,
            ),
            RecordFormat::Json => None,
        };
        if self.to.is_some_and(|to| matches!(to, Position::Earliest | Position::Shift(_))) {
            return Err(CliError::usage("--to takes latest, offset:N or time:T"));
        }
        let newline = self.format == RecordFormat::Json || !self.no_newline;
        let escaped = std::io::stdout().is_terminal();
        let left = self.max_records.unwrap_or(u64::MAX);
        if left == 0 {
            return Ok(Outcome::Done);
        }
        let mut client = Client::new(self.connect.clone());
        client.set_interrupt(Interrupt::install()?);
        let mut printer = Printer { out, template, newline, escaped, left, buffer: Vec::new() };
        let result = match &self.group {
            Some(group) => self.in_group(&mut client, group, &mut printer),
            None => self.alone(&mut client, &mut printer),
        };
        match result {
            Err(CliError::Interrupted) => {
                printer.out.flush()?;
                Ok(Outcome::Done)
            }
            other => other,
        }
    }

    fn follows(&self) -> bool {
        let by_default = std::io::stdout().is_terminal() && !self.no_follow && self.to.is_none();
        self.follow || by_default
    }

    fn alone(&self, client: &mut Client, printer: &mut Printer<'_>) -> Result<Outcome> {
        let partitions = client.partitions_of(&self.topic, &self.partitions, false)?;
        let committed = self.isolation == Isolation::ReadCommitted;
        // The end first: what is written between the two questions is read, not skipped.
        let ends = if self.follows() {
            BTreeMap::new()
        } else {
            let to = self.to.unwrap_or(Position::Latest);
            resolve(client, &partitions, to, None, committed)?
        };
        let starts = resolve(client, &partitions, self.from, None, committed)?;
        let mut fetcher = Fetcher::new(self.isolation);
        for (key, start) in starts {
            let end = ends.get(&key).copied().unwrap_or(i64::MAX);
            fetcher.assign(key, start, end);
        }
        let mut failures = 0;
        while !fetcher.is_finished() {
            let round = fetcher.round(client, &mut |shown| printer.print(shown));
            printer.out.flush()?;
            let round = round?;
            for (key, why) in round.failed {
                failures += 1;
                complain(&format!("{key}: {why}"));
            }
            if round.enough {
                break;
            }
        }
        Ok(Outcome::of(failures))
    }

    fn in_group(
        &self,
        client: &mut Client,
        group: &str,
        printer: &mut Printer<'_>,
    ) -> Result<Outcome> {
        // A topic that is not there is an error, not a group that waits forever.
        client.topic(&self.topic, false)?;
        let session_timeout_ms = i32::try_from(self.session_timeout_ms).unwrap_or(i32::MAX);
        let mut member = Member::new(group, &self.topic, session_timeout_ms);
        let result = self.member_loop(client, &mut member, printer);
        // Whatever ended it: what was printed is committed and the group need not wait.
        client.ignore_interrupts();
        let flushed = printer.out.flush();
        let committed = if flushed.is_ok() { member.commit(client) } else { Ok(()) };
        let left = member.leave(client);
        match result {
            Err(CliError::Interrupted) => {}
            other => {
                other?;
            }
        }
        flushed?;
        committed?;
        left?;
        Ok(Outcome::Done)
    }

    fn member_loop(
        &self,
        client: &mut Client,
        member: &mut Member,
        printer: &mut Printer<'_>,
    ) -> Result<()> {
        let commit_interval = std::time::Duration::from_millis(self.commit_interval_ms.into());
        loop {
            let assigned = member.join(client)?;
            let mut fetcher = Fetcher::new(self.isolation);
            for (key, start) in self.starts(client, member, &assigned)? {
                fetcher.assign(key, start, i64::MAX);
            }
            while member.is_stable() {
                if client.interrupted() {
                    return Ok(());
                }
                let round = fetcher.round(client, &mut |shown| {
                    let seen = printer.print(shown)?;
                    member.printed(shown.topic, shown.partition, shown.offset + 1);
                    Ok(seen)
                });
                printer.out.flush()?;
                let round = round?;
                for (key, why) in round.failed {
                    // The log has moved past what the group committed: begin as a new group would.
                    complain(&format!("{key}: {why}; beginning again at --from"));
                    let from = resolve(client, &[key], self.from, None, false)?;
                    for (key, start) in from {
                        fetcher.assign(key, start, i64::MAX);
                    }
                }
                for (key, position) in fetcher.positions() {
                    member.passed(key, position);
                }
                if round.enough {
                    return Ok(());
                }
                member.heartbeat_if_due(client)?;
                member.commit_if_due(client, commit_interval)?;
            }
            // What was printed belongs to us until the group has moved on.
            member.commit(client)?;
        }
    }

    /// Where each assigned partition begins: at the group's offset, else at `--from`.
    fn starts(
        &self,
        client: &mut Client,
        member: &mut Member,
        assigned: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, i64>> {
        let mut starts = member.committed(client, assigned)?;
        let fresh: Vec<TopicPartition> =
            assigned.iter().filter(|key| !starts.contains_key(key)).cloned().collect();
        if !fresh.is_empty() {
            starts.extend(resolve(client, &fresh, self.from, None, false)?);
        }
        Ok(starts)
    }
}
