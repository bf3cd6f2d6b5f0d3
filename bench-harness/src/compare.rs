//! Two brokers under the same load, turn about, and a verdict only where it is beyond chance.
//!
//! Rounds go A B B A, so that a machine that gets slower hits both. Each figure is judged by the
//! exact Mann-Whitney test on the rounds' values: no assumption about how they are distributed, and
//! one odd round moves neither medians nor ranks by much.

use std::io::Write;

use clap::Parser;
use serde::Serialize;

use crate::args::{Command, CompareArgs, Format};
use crate::error::BenchError;
use crate::outcome::Outcome;
use crate::{Verdict, measure};

/// Below this probability of chance a difference is called one.
const CHANCE_MAX: f64 = 0.05;

/// A finished comparison.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    /// Of every figure both brokers have.
    pub figures: Vec<Figure>,
    /// Every run, in the order they were made.
    pub runs: Vec<Run>,
}

/// One run.
#[derive(Debug, Clone, Serialize)]
pub struct Run {
    /// `a` or `b`.
    pub side: &'static str,
    /// What it found.
    pub outcome: Outcome,
}

/// One figure of both.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figure {
    /// What it is, with its unit.
    pub name: &'static str,
    /// Medians and extremes of the rounds.
    pub a: Spread,
    pub b: Spread,
    /// Median of A by median of B.
    pub ratio: f64,
    /// Probability of ranks this different if there were no difference.
    pub chance: f64,
    /// `a`, `b`, or `null` where chance explains it.
    pub lower: Option<&'static str>,
}

/// A figure's values over the rounds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

#[derive(Parser)]
#[command(name = "bench", no_binary_name = true)]
struct Load {
    #[command(subcommand)]
    command: Command,
}

/// Runs the rounds and prints what they came to.
pub fn run(args: &CompareArgs, out: &mut dyn Write) -> Result<Verdict, BenchError> {
    let command = parse(&args.load)?;
    let mut runs = Vec::new();
    let mut sound = true;
    for round in 0..args.rounds.count {
        let order = if round % 2 == 0 { ["a", "b"] } else { ["b", "a"] };
        for which in order {
            let (server, pid) = match which {
                "a" => (&args.a, args.pid_a),
                _ => (&args.b, args.pid_b),
            };
            let mut command = command.clone();
            let common = command.common_mut().expect("parse refuses what is no load");
            common.bootstrap = vec![server.clone()];
            common.server_pid = pid;
            let outcome = measure(&command)?;
            for doubt in &outcome.doubts {
                eprintln!("corelane: round {}, {which}: {doubt}", round + 1);
            }
            sound &= outcome.verdict(args.rounds.allow_slow_client) == Verdict::Sound;
            runs.push(Run { side: which, outcome });
        }
    }
    let comparison = Comparison { figures: figures(&runs), runs };
    match args.rounds.format {
        Format::Json => {
            serde_json::to_writer_pretty(&mut *out, &comparison)
                .map_err(|error| BenchError::Output(error.into()))?;
            writeln!(out)?;
        }
        Format::Table => page(args, &comparison, out)?,
    }
    Ok(if sound { Verdict::Sound } else { Verdict::Doubtful })
}

/// The load that is written after `--`.
pub fn parse(load: &[String]) -> Result<Command, BenchError> {
    let words: Vec<&String> = load.iter().collect();
    let parsed = Load::try_parse_from(words).map_err(|error| {
        let text = error.render().to_string();
        BenchError::Usage(text.lines().next().unwrap_or("no load").to_owned())
    })?;
    let mut command = parsed.command;
    let what = match command.common_mut() {
        Some(common) if common.hdr_log.is_none() => return Ok(command),
        Some(_) => "--hdr-log keeps one run: measure without compare",
        None => "compare runs a load: produce, consume or e2e with its options after --",
    };
    Err(BenchError::Usage(what.to_owned()))
}

/// Names and values of what is compared.
fn values(outcome: &Outcome) -> Vec<(&'static str, Option<f64>)> {
    let micros = |ns: u64| Some(ns as f64 / 1e3);
    let server = outcome.server.as_ref();
    vec![
        ("p50, µs", micros(outcome.latency.p50_ns)),
        ("p99, µs", micros(outcome.latency.p99_ns)),
        ("p99.9, µs", micros(outcome.latency.p99_9_ns)),
        ("p99.99, µs", micros(outcome.latency.p99_99_ns)),
        ("requests/s", Some(outcome.load.requests_per_second)),
        ("MB/s", Some(outcome.load.megabytes_per_second)),
        ("CPU-s per GB", server.and_then(|server| server.cpu_seconds_per_gigabyte)),
        (
            "CPU-s per million requests",
            server.and_then(|server| server.cpu_seconds_per_million_requests),
        ),
    ]
}

fn figures(runs: &[Run]) -> Vec<Figure> {
    let Some(first) = runs.first() else { return Vec::new() };
    let names: Vec<&'static str> = values(&first.outcome).iter().map(|(name, _)| *name).collect();
    let of = |side: &str, index: usize| -> Vec<f64> {
        let mine = runs.iter().filter(|run| run.side == side);
        mine.filter_map(|run| values(&run.outcome)[index].1).collect()
    };
    let compared = names.into_iter().enumerate().filter_map(|(index, name)| {
        let (a, b) = (of("a", index), of("b", index));
        figure(name, &a, &b)
    });
    compared.collect()
}

/// Compares two series; `None` if one is empty.
pub fn figure(name: &'static str, a: &[f64], b: &[f64]) -> Option<Figure> {
    let (spread_a, spread_b) = (spread(a)?, spread(b)?);
    let chance = chance(a, b);
    let lower =
        (chance < CHANCE_MAX).then_some(if spread_a.median < spread_b.median { "a" } else { "b" });
    let ratio = spread_a.median / spread_b.median;
    Some(Figure { name, a: spread_a, b: spread_b, ratio, chance, lower })
}

fn spread(values: &[f64]) -> Option<Spread> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (first, last) = (*sorted.first()?, *sorted.last()?);
    let middle = sorted.len() / 2;
    let median = match sorted.len() % 2 {
        1 => sorted[middle],
        _ => (sorted[middle - 1] + sorted[middle]) / 2.0,
    };
    Some(Spread { median, min: first, max: last })
}

/// Two-sided exact probability of ranks at least this uneven, if order were chance.
///
/// Counts, for every possible sum, in how many ways `a.len()` of all ranks add up to it. Ties count
/// half to each side, which makes the probability a little too high: the careful direction.
fn chance(a: &[f64], b: &[f64]) -> f64 {
    let all = a.len() + b.len();
    // Pairs that A wins, doubled so that a tie is 1.
    let wins: usize = a
        .iter()
        .flat_map(|x| b.iter().map(move |y| usize::from(x > y) * 2 + usize::from(x == y)))
        .sum();
    let mean = a.len() * b.len();
    let uneven = wins.abs_diff(mean);
    // ways[k][s]: subsets of k ranks with sum s.
    let sum_max = all * (all + 1) / 2;
    let mut ways = vec![vec![0.0_f64; sum_max + 1]; a.len() + 1];
    ways[0][0] = 1.0;
    for rank in 1..=all {
        for count in (1..=a.len()).rev() {
            for sum in (rank..=sum_max).rev() {
                ways[count][sum] += ways[count - 1][sum - rank];
            }
        }
    }
    let least = a.len() * (a.len() + 1) / 2;
    let total: f64 = ways[a.len()].iter().sum();
    let as_uneven = |sum: usize| sum >= least && ((sum - least) * 2).abs_diff(mean) >= uneven;
    let found: f64 =
        (0..=sum_max).filter(|sum| as_uneven(*sum)).map(|sum| ways[a.len()][sum]).sum();
    found / total
}

fn page(args: &CompareArgs, comparison: &Comparison, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "A {}   B {}   {} rounds, A B B A", args.a, args.b, args.rounds.count)?;
    writeln!(out, "{}", args.load.join(" "))?;
    if let Some(run) = comparison.runs.first() {
        writeln!(out, "{}", run.outcome.host.line())?;
    }
    writeln!(
        out,
        "\n{:<28} {:>34} {:>34} {:>8}  verdict",
        "", "A: median (min to max)", "B: median (min to max)", "A / B"
    )?;
    for figure in &comparison.figures {
        let show = |s: Spread| format!("{:.2} ({:.2} to {:.2})", s.median, s.min, s.max);
        let verdict = match figure.lower {
            Some("a") => format!("A is lower (chance {:.3})", figure.chance),
            Some(_) => format!("B is lower (chance {:.3})", figure.chance),
            None => format!("within noise (chance {:.2})", figure.chance),
        };
        writeln!(
            out,
            "{:<28} {:>34} {:>34} {:>8.3}  {verdict}",
            figure.name,
            show(figure.a),
            show(figure.b),
            figure.ratio
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probability_is_the_exact_one() {
        // 2 of the C(8,4) = 70 orders are as uneven as a clean separation.
        let (low, high) = ([1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]);
        assert!((chance(&low, &high) - 2.0 / 70.0).abs() < 1e-12);
        assert!((chance(&high, &low) - 2.0 / 70.0).abs() < 1e-12);
        // 2 of C(6,3) = 20: three clean rounds are not enough for a verdict.
        assert!((chance(&low[..3], &high[..3]) - 0.1).abs() < 1e-12);
        assert!((chance(&[1.0, 1.0], &[1.0, 1.0]) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn noise_gets_no_verdict_and_a_difference_does() {
        let a = [10.0, 11.0, 10.5, 10.2, 10.8];
        let same = figure("x", &a, &[10.1, 10.9, 10.4, 10.3, 10.7]).expect("both have values");
        assert_eq!(same.lower, None);
        let other = figure("x", &a, &[12.1, 12.9, 12.4, 12.3, 12.7]).expect("both have values");
        assert_eq!((other.lower, other.a.median), (Some("a"), 10.5));
        assert_eq!(figure("x", &a, &[]), None);
    }

    #[test]
    fn only_a_load_can_be_compared() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert!(parse(&words("produce --closed")).is_ok());
        assert!(parse(&words("compare a b -- produce")).is_err());
        assert!(parse(&words("produce --no-such-option")).is_err());
        assert!(parse(&words("produce --hdr-log x.hlog")).is_err(), "each run would replace it");
    }
}
