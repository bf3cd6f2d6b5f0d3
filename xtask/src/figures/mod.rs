//! The table of figures: Corelane against Apache Kafka, both on core 0, the load on core 1, and
//! what concerns Corelane alone.
//!
//! All measuring is `corelane bench`. `rows` says with which options, `both` runs them against both
//! brokers, `floor` against the least possible server; `many`, `calm`, `restart` and `recovery`
//! hold what is no row of that kind. `ground` is what they stand on, `table` prints, `history`
//! keeps.

mod both;
mod calm;
pub mod compare;
mod floor;
mod ground;
mod history;
mod many;
mod rate;
mod recovery;
mod restart;
mod rows;
mod table;

use std::path::PathBuf;

use ground::Ground;
use rows::{FLOORS, FloorRow, ROWS, Row};
use table::Line;

use crate::suites::rust;
use crate::tally::Tally;
use crate::workspace::Workspace;

/// What `cargo xtask figures` was asked for.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Options {
    /// Only these rows (may be repeated); --list names them
    #[arg(long, value_name = "ROW")]
    only: Vec<String>,
    /// Rounds of each row, alternating who goes first
    #[arg(long, default_value_t = 2, value_name = "N")]
    rounds: u32,
    /// Measured seconds of each run
    #[arg(long, default_value_t = 5, value_name = "SECONDS")]
    seconds: u32,
    /// Measures this `corelane` instead of building one
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
    /// Writes every single result, as JSON lines, to this file too
    #[arg(long, value_name = "FILE")]
    raw: Option<PathBuf>,
    /// Appends the figures to bench-harness/history, and names what got worse since the last entry
    #[arg(long, conflicts_with = "only")]
    record: bool,
    /// Gigabytes that the row `restart` fills the broker with, less where the disk is too full
    #[arg(long, default_value_t = 10, value_name = "N")]
    gigabytes: u64,
    /// Lists the rows and ends
    #[arg(long)]
    list: bool,
}

/// A figure, or a few that are taken together, of Corelane alone.
struct Alone {
    name: &'static str,
    what: &'static str,
    lines: fn(&Ground<'_>) -> Result<Vec<Line>, String>,
}

const ALONE: [Alone; 11] = [
    Alone {
        name: "idle",
        what: "resident memory and start to ready with 100 partitions",
        lines: many::hundred,
    },
    Alone {
        name: "partitions",
        what: "10,000 partitions: idle CPU, memory each, p99.9 against 1",
        lines: many::partitions,
    },
    Alone {
        name: "connections",
        what: "10,000 idle connections: memory each",
        lines: many::connections,
    },
    Alone {
        name: "active",
        what: "1,000 active connections: CPU per request against 1",
        lines: many::active,
    },
    Alone {
        name: "shards",
        what: "two shards: CPU per request against 1, and per hop",
        lines: many::shards,
    },
    Alone {
        name: "busy-poll",
        what: "end to end on `memory` with --busy-poll: p50",
        lines: calm::busy_poll,
    },
    Alone {
        name: "cold-readers",
        what: "p99.9 beside 8 cold readers at full speed, against none",
        lines: calm::cold_readers,
    },
    Alone {
        name: "churn",
        what: "p99.9 while topics come and go, segments roll and are cleaned, against none",
        lines: calm::churn,
    },
    Alone {
        name: "cleaning",
        what: "p99.9 beside a topic that is cleaned, against one that is not",
        lines: calm::cleaning,
    },
    Alone {
        name: "restart",
        what: "start after kill -9 with many gigabytes (--gigabytes)",
        lines: restart::lines,
    },
    Alone {
        name: "recovery",
        what: "start after kill -9 with keys, producers and transactional ids",
        lines: recovery::lines,
    },
];

/// Names and descriptions of all rows.
fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    let against_kafka = ROWS.iter().map(|row| (row.name, row.what));
    let rate = std::iter::once((rate::NAME, rate::WHAT));
    let floors = FLOORS.iter().map(|row| (row.name, row.what));
    let alone = ALONE.iter().map(|alone| (alone.name, alone.what));
    against_kafka.chain(rate).chain(floors).chain(alone)
}

/// Measures the rows asked for and prints the table.
pub fn run(workspace: &Workspace, options: &Options) -> Tally {
    let mut tally = Tally::default();
    if options.list {
        for (name, what) in all() {
            println!("{name:<13} {what}");
        }
        return tally;
    }
    let known = |name: &String| all().any(|(known, _)| known == name);
    if let Some(name) = options.only.iter().find(|name| !known(name)) {
        tally.fail(&format!("figures: no row {name}"), "--list names the rows");
        return tally;
    }
    if options.binary.is_none()
        && let Err(reason) = rust::build_binary(workspace)
    {
        tally.fail("release build of corelane", &reason);
        return tally;
    }
    let lines = measure(workspace, options, &mut tally);
    println!("\n| figure | load | Corelane | Kafka 4.3.1 | ratio | bound |");
    println!("|---|---|---|---|---|---|");
    for line in &lines {
        println!("{}", line.text);
        // A figure that misses its bound is a result, not a failure of measuring.
        tally.pass_many(1);
    }
    if options.record
        && let Err(reason) = history::record(workspace, &lines)
    {
        tally.fail("figures: history", &reason);
    }
    tally
}

/// What could be measured; a row that could not fails, and the others go on.
fn measure(workspace: &Workspace, options: &Options, tally: &mut Tally) -> Vec<Line> {
    let built = workspace.target.join("release/corelane");
    let binary = options.binary.clone().unwrap_or(built);
    let ground = Ground { workspace, binary, options };
    let wanted =
        |name: &str| options.only.is_empty() || options.only.iter().any(|only| only == name);
    let rows: Vec<&Row> = ROWS.iter().filter(|row| wanted(row.name)).collect();
    let floors: Vec<&FloorRow> = FLOORS.iter().filter(|row| wanted(row.name)).collect();
    let mut lines = Vec::new();
    let mut take = |name: &str, measured: Result<Vec<Line>, String>| match measured {
        Ok(measured) => lines.extend(measured),
        Err(reason) => tally.fail(&format!("figures: {name}"), &reason),
    };
    if !rows.is_empty() || wanted(rate::NAME) {
        take("against Kafka", both::lines(&ground, &rows, wanted(rate::NAME)));
    }
    if !floors.is_empty() {
        take("floors", floor::lines(&ground, &floors));
    }
    for alone in ALONE.iter().filter(|alone| wanted(alone.name)) {
        println!("{}: {}", alone.name, alone.what);
        take(alone.name, (alone.lines)(&ground));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_a_name_of_its_own() {
        let mut names: Vec<&str> = all().map(|(name, _)| name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
