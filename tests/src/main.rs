//! `cargo sim`: runs the simulator for one seed or many, and says how to run a failing one again.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use tests::sim::{Outcome, Plan, run};

const USAGE: &str = "usage: cargo sim [--seed N | --seeds A..B | --first-seed N --soak-seconds S] \
                     [--steps K] [--trace]";

/// What the command line asks for.
#[derive(Clone, Debug)]
struct Options {
    first: u64,
    /// Exclusive.
    end: u64,
    soak: Option<Duration>,
    steps: u64,
    trace: bool,
}

fn parse(arguments: impl Iterator<Item = String>) -> Option<Options> {
    let mut options = Options { first: 1, end: 2, soak: None, steps: 20_000, trace: false };
    let mut arguments = arguments;
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--seed" => {
                options.first = arguments.next()?.parse().ok()?;
                options.end = options.first.checked_add(1)?;
            }
            "--seeds" => {
                let range = arguments.next()?;
                let (first, end) = range.split_once("..")?;
                options.first = first.parse().ok()?;
                options.end = end.parse().ok()?;
            }
            "--first-seed" => {
                options.first = arguments.next()?.parse().ok()?;
                options.end = u64::MAX;
            }
            "--soak-seconds" => {
                options.soak = Some(Duration::from_secs(arguments.next()?.parse().ok()?));
                options.end = u64::MAX;
            }
            "--steps" => options.steps = arguments.next()?.parse().ok()?,
            "--trace" => options.trace = true,
            _ => return None,
        }
    }
    Some(options)
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long to soak is the tool's time, not the world's"
)]
fn main() -> ExitCode {
    let Some(options) = parse(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let began = Instant::now();
    let mut total = Outcome::default();
    let mut count = 0_u64;
    for seed in options.first..options.end {
        if options.soak.is_some_and(|soak| began.elapsed() >= soak) {
            break;
        }
        let plan = Plan { seed, steps: options.steps, trace: options.trace };
        match run(&plan) {
            Ok(outcome) => {
                if options.end - options.first == 1 {
                    println!("seed {seed}: trace {:016x}, {outcome}", outcome.trace_hash);
                }
                total.add(&outcome);
                count += 1;
            }
            Err(broken) => {
                println!("seed {seed}: {broken}");
                println!("again: cargo sim --seed {seed} --steps {} --trace", options.steps);
                println!("{count} passed, 1 failed");
                return ExitCode::FAILURE;
            }
        }
    }
    println!("{count} seeds from {}: {total}", options.first);
    println!("{count} passed, 0 failed");
    ExitCode::SUCCESS
}
