//! What `cargo sim` is told and what it prints.
//!
//! Seeds go to as many threads as `--jobs` says; each run stays on its thread, so that a seed's
//! trace does not depend on the others. The first failure is shrunk and reported, and ends it all.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use storage::planted::{self, Bug};

use crate::sim::pinned::{Verdict, check_all};
use crate::sim::sensitivity::{Finding, look_for_all};
use crate::sim::shrink::shrink;
use crate::sim::{Broken, Outcome, Plan, Workload, keep_panics, plan};

/// How it is called.
pub const USAGE: &str = "\
usage: cargo sim [--seed N | --seeds A..B | --first-seed N] [--soak MINUTES | --soak-seconds S]
                 [--workload mix|logs|groups|moving|admin|deletions|transactions|compaction|
                             indexes|folders|hostile|calm]
                 [--steps K] [--jobs N]
                 [--faults none|I,J,..] [--trace] [--hash] [--marks] [--speed] [--pinned]
                 [--no-shrink] [--keep-going] [--plant BUG] [--sensitivity]
  --steps K       events before the faults stop and everything must complete
  --faults LIST   only these of the seed's faults, by their place in its schedule
  --marks         list rare states no run came through, and fail when there are some
  --speed         simulated seconds per real second, one node, two shards, ten clients
  --pinned        bugs that were here: each is found with its fix taken back, and only then
  --plant BUG     with a bug planted in the broker (feature `planted`)
  --sensitivity   plants every bug in turn; each must be found";

/// What the command line asks for.
#[derive(Clone, Debug)]
pub struct Options {
    pub first: u64,
    /// Exclusive.
    pub end: u64,
    pub soak: Option<Duration>,
    pub jobs: usize,
    pub plan: Plan,
    pub hash: bool,
    pub marks: bool,
    pub speed: bool,
    pub pinned: bool,
    pub sensitivity: bool,
    pub shrink: bool,
    /// Name every failing seed instead of ending with the first.
    pub keep_going: bool,
}

/// Reads the command line; `None` when it makes no sense.
pub fn parse(mut arguments: impl Iterator<Item = String>) -> Option<Options> {
    let mut options = Options {
        first: 1,
        end: 2,
        soak: None,
        jobs: 1,
        plan: Plan::new(1),
        hash: false,
        marks: false,
        speed: false,
        pinned: false,
        sensitivity: false,
        shrink: true,
        keep_going: false,
    };
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
            "--soak" => {
                let minutes: u64 = arguments.next()?.parse().ok()?;
                options.soak = Some(Duration::from_secs(60 * minutes));
                options.end = u64::MAX;
            }
            "--workload" => options.plan.workload = Workload::from_name(&arguments.next()?)?,
            "--steps" => options.plan.steps = arguments.next()?.parse().ok()?,
            "--jobs" => options.jobs = arguments.next()?.parse().ok().filter(|jobs| *jobs > 0)?,
            "--faults" => {
                let list = arguments.next()?;
                let kept = list.split(',').filter(|item| *item != "none").map(str::parse);
                options.plan.faults = Some(kept.collect::<Result<_, _>>().ok()?);
            }
            "--trace" => options.plan.trace = true,
            "--hash" => options.hash = true,
            "--marks" => options.marks = true,
            "--speed" => options.speed = true,
            "--plant" => options.plan.planted = Some(Bug::from_name(&arguments.next()?)?),
            "--sensitivity" => options.sensitivity = true,
            "--pinned" => options.pinned = true,
            "--keep-going" => options.keep_going = true,
            "--no-shrink" => options.shrink = false,
            _ => return None,
        }
    }
    Some(options)
}

/// Does what is asked for.
pub fn run(options: &Options) -> ExitCode {
    keep_panics();
    if options.speed {
        return speed();
    }
    let plants = options.plan.planted.is_some() || options.sensitivity || options.pinned;
    if plants && !planted::COMPILED_IN {
        eprintln!("bugs can be planted with `--features planted` only");
        return ExitCode::from(2);
    }
    if options.sensitivity {
        return sensitivity(options.jobs);
    }
    if options.pinned {
        return pinned(options);
    }
    let began = now();
    let (total, failure) = try_seeds(options, began);
    if let Some((plan, broken)) = failure {
        report(&plan, &broken, options.shrink);
        println!("{} passed, 1 failed", total.runs);
        return ExitCode::FAILURE;
    }
    let took = began.elapsed().as_secs_f64().max(1e-9);
    println!("{} seeds from {}: {total}", total.runs, options.first);
    println!(
        "{:.1} s: {:.1} seeds/s, {:.0} simulated seconds per second",
        took,
        total.runs as f64 / took,
        total.virtual_ns as f64 / 1e9 / took
    );
    let missed: Vec<_> = total.marks.missed().collect();
    if options.marks {
        print!("{}", total.marks.write());
        for (mark, meaning) in &missed {
            println!("never hit: {mark} ({meaning})");
        }
    }
    let failed = options.marks && !missed.is_empty();
    println!("{} passed, {} failed", total.runs, u32::from(failed));
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

#[expect(clippy::disallowed_methods, reason = "how long it takes is the tool's time")]
fn now() -> Instant {
    Instant::now()
}

type Failure = Option<(Plan, Broken)>;

/// All seeds, or as many as the time allows, on several threads.
fn try_seeds(options: &Options, began: Instant) -> (Outcome, Failure) {
    let next = AtomicU64::new(options.first);
    let over = AtomicBool::new(false);
    let (sender, receiver) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..options.jobs {
            let sender = sender.clone();
            scope.spawn(|| {
                let sender = sender;
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let late = options.soak.is_some_and(|soak| began.elapsed() >= soak);
                    if seed >= options.end || late || over.load(Ordering::Relaxed) {
                        return;
                    }
                    let plan = Plan { seed, ..options.plan.clone() };
                    let result = crate::sim::run(&plan);
                    if sender.send((plan, result)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut total = Outcome::default();
        let mut failure: Failure = None;
        for (plan, result) in receiver {
            match result {
                Ok(outcome) => {
                    if options.hash || options.end - options.first == 1 {
                        let hash = outcome.trace_hash;
                        println!("seed {}: trace {hash:016x}, {outcome}", plan.seed);
                    }
                    total.add(&outcome);
                }
                Err(broken) if options.keep_going => {
                    println!("seed {}: {broken}", plan.seed);
                    failure.get_or_insert((plan, broken));
                }
                Err(broken) => {
                    over.store(true, Ordering::Relaxed);
                    // Several threads may fail before they hear of it: the lowest seed is told.
                    if failure.as_ref().is_none_or(|(first, _)| plan.seed < first.seed) {
                        failure = Some((plan, broken));
                    }
                }
            }
        }
        (total, failure)
    })
}

/// A failing run, made small, and how to run it again.
fn report(plan: &Plan, broken: &Broken, shrinks: bool) {
    println!("seed {}: {broken}", plan.seed);
    println!("again: {}", plan.command());
    let (plan, broken) = if shrinks {
        let shrunk = shrink(plan, broken);
        println!("shrunk in {} runs: {}", shrunk.tries, shrunk.broken);
        println!("again: {} --trace", shrunk.plan.command());
        (shrunk.plan, shrunk.broken)
    } else {
        (plan.clone(), broken.clone())
    };
    println!("{:?}", plan::knobs(&plan));
    for fault in plan::schedule(&plan) {
        println!("fault at event {}: {:?}", fault.step, fault.kind);
    }
    for line in &broken.last {
        println!("{line}");
    }
}

/// Plants every bug in turn and says how many seeds it took to find it.
fn sensitivity(jobs: usize) -> ExitCode {
    let began = now();
    let findings = look_for_all(jobs, &|| began.elapsed());
    let mut missed = 0;
    println!("{:<28} {:<38} {:>5} {:>7}", "bug", "promise that it broke", "seeds", "seconds");
    for Finding { bug, seeds, took, breach } in &findings {
        let promise = breach.as_ref().map_or("NOT FOUND", |breach| &breach.promise);
        let seconds = took.as_secs_f64();
        println!("{:<28} {promise:<38} {seeds:>5} {seconds:>7.1}", bug.name());
    }
    for Finding { bug, breach, .. } in &findings {
        match breach {
            Some(breach) => {
                let what: String = breach.what.chars().take(160).collect();
                println!("{}: {what}\n    {}", bug.name(), breach.command);
            }
            None => missed += 1,
        }
    }
    println!("{} passed, {missed} failed", findings.len() - missed);
    if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Looks for every bug that was here with its fix taken back, and holds the same runs to every
/// promise with the fix in place.
fn pinned(options: &Options) -> ExitCode {
    let mut failed = 0;
    let verdicts = check_all(options.jobs);
    for (case, verdict) in &verdicts {
        let name = case.bug.name();
        match verdict {
            Verdict::Holds { seed, outcome } => {
                println!("{name}: found at seed {seed} without its fix; with it: {outcome}");
            }
            Verdict::Broken { plan, broken } => {
                failed += 1;
                println!("{name}: its fix does not hold. It taught: {}", case.found);
                report(plan, broken, options.shrink);
            }
            Verdict::NotFound => {
                failed += 1;
                println!("{name}: nothing finds it any more, from seed {} on", case.first_seed);
            }
        }
    }
    println!("{} passed, {failed} failed", verdicts.len() - failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// How fast it simulates: nothing goes wrong, ten clients on two shards.
fn speed() -> ExitCode {
    let began = now();
    let plan = Plan { workload: Workload::Calm, steps: 400_000, ..Plan::new(1) };
    match crate::sim::run(&plan) {
        Ok(outcome) => {
            let took = began.elapsed().as_secs_f64().max(1e-9);
            let ratio = outcome.virtual_ns as f64 / 1e9 / took;
            println!("{outcome} in {took:.2} s");
            println!("{ratio:.0} simulated seconds per second");
            ExitCode::SUCCESS
        }
        Err(broken) => {
            report(&plan, &broken, true);
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Option<Options> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn a_plan_is_run_again_by_the_command_it_prints() {
        let plan = Plan {
            workload: Workload::Groups,
            steps: 77,
            faults: Some(vec![1, 4]),
            ..Plan::new(9)
        };
        let command = plan.command();
        let arguments = command.strip_prefix("cargo sim ").expect("it begins so");
        let options = parsed(arguments).expect("it is understood");
        assert_eq!(Plan { seed: options.first, ..options.plan }, plan);
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(parsed("--seeds 3").is_none());
        assert!(parsed("--workload nothing").is_none());
        assert!(parsed("--jobs 0").is_none());
        assert!(parsed("--faults none").is_some_and(|it| it.plan.faults == Some(Vec::new())));
    }
}
