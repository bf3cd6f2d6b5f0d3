//! `corelane tune measure`: a bench with and without each change; what pays is kept.
//!
//! Which changes there are is `tune.rs`'s to find out, the crate `tuning`'s to try.

use std::io::Write;
use std::time::Duration;

use clap::{Args, ValueEnum};
use tuning::bench::Bench;
use tuning::change;
use tuning::journal::Journal;
use tuning::limits::ROUNDS_MAX;
use tuning::measure::{self, Figures, MeasureError, Measured, Measurement, Rules, Verdict};
use tuning::setting::{Change, Kind, Place};

use super::{JournalOption, Look, below, short};
use crate::cli::error::{CliError, Outcome, Result, complain};
use crate::cli::interrupt::Interrupt;
use crate::cli::output::{Cell, FormatOption, Table, print_table};

/// Figure of `bench e2e` that is compared.
const BENCH_FIELD: &str = "latency.p99_ns";

/// `tune measure`.
#[derive(Debug, Args)]
pub struct Measure {
    #[command(flatten)]
    look: Look,
    #[command(flatten)]
    journal: JournalOption,
    /// Command for sh; its last line is a number, or its output ends in JSON [default: this
    /// binary's `bench e2e --format json`, of which latency.p99_ns counts]
    #[arg(long, value_name = "COMMAND")]
    bench: Option<String>,
    /// Name of the number in the bench's JSON, as in latency.p99_ns
    #[arg(long, value_name = "NAME")]
    field: Option<String>,
    /// Which numbers are good
    #[arg(long, value_enum, default_value = "lower")]
    better: Better,
    /// Runs with each change, and as many without
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(2..=100))]
    rounds: u32,
    /// Least gain that is worth keeping a change
    #[arg(long, default_value_t = 1.0, value_name = "PERCENT")]
    gain_min: f64,
    /// Longest time one run of the bench may take
    #[arg(
        long,
        default_value_t = 120,
        value_name = "S",
        value_parser = clap::value_parser!(u64).range(1..=86_400)
    )]
    bench_timeout_s: u64,
    /// Say what would be measured, and run nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    format: FormatOption,
}

const _: () = assert!(ROUNDS_MAX == 100, "the range of --rounds");

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Better {
    Lower,
    Higher,
}

impl Measure {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<Outcome> {
        if !self.gain_min.is_finite() || self.gain_min < 0.0 {
            return Err(CliError::usage("--gain-min: write a percentage of 0 or more"));
        }
        let mut files = below(&self.look.root)?;
        let (host, findings) = self.look.survey(&files, "./data")?;
        let changes = change::changes(&findings);
        let is_measured =
            |change: &Change| change.about.kind == Kind::Speed || !self.look.only.is_empty();
        let (plan, skipped): (Vec<Change>, Vec<Change>) =
            changes.into_iter().partition(is_measured);
        let mut table = Table::new(&[
            "setting",
            "where",
            "new",
            "before",
            "after",
            "gain_percent",
            "noise_percent",
            "verdict",
            "note",
        ]);
        let mut failures = 0;
        let mut ended = Ok(());
        if self.dry_run {
            for group in plan.chunk_by(|a, b| a.about == b.about) {
                table.push(row(group[0].about.name, group, None, "would_measure", None));
            }
        } else if !plan.is_empty() {
            let bench = self.bench()?;
            let path = self.journal.path(&files);
            let mut interrupt = Interrupt::install()?;
            let mut journal =
                Journal::open(&path, host.boot.as_deref()).map_err(CliError::failed)?;
            let mut measurement = Measurement {
                files: &mut files,
                journal: &mut journal,
                boot: host.boot.as_deref(),
                rules: self.rules(),
                bench: &mut || bench.run(&mut || interrupt.arrived()),
            };
            ended = measurement.run(&plan, &mut |measured| {
                failures += usize::from(matches!(
                    measured.verdict,
                    Verdict::Refused(_) | Verdict::Failed(_)
                ));
                complain(&progress(measured));
                table.push(measured_row(measured));
            });
            if !journal.finish().map_err(CliError::failed)? {
                complain(&format!(
                    "what was kept is in {}; `corelane tune undo` restores it",
                    path.display()
                ));
            }
        }
        let note = "a short bench cannot show it: it helps in a bad hour; `tune apply` sets it";
        for group in skipped.chunk_by(|a, b| a.about == b.about) {
            table.push(row(group[0].about.name, group, None, "skipped", Some(note.to_owned())));
        }
        print_table(out, self.format.format, &table)?;
        match ended {
            Ok(()) => Ok(Outcome::of(failures)),
            Err(MeasureError::Interrupted) => Err(CliError::Interrupted),
            Err(
                error @ (MeasureError::Journal(_)
                | MeasureError::Bench(_)
                | MeasureError::Disturbed { .. }
                | MeasureError::Stuck { .. }),
            ) => Err(CliError::failed(error)),
        }
    }

    fn rules(&self) -> Rules {
        Rules {
            better: match self.better {
                Better::Lower => measure::Better::Lower,
                Better::Higher => measure::Better::Higher,
            },
            rounds: self.rounds,
            gain_percent_min: self.gain_min,
        }
    }

    fn bench(&self) -> Result<Bench> {
        let (command, field) = match &self.bench {
            Some(command) => (command.clone(), self.field.clone()),
            None => {
                let binary = std::env::current_exe().map_err(|error| {
                    CliError::failed(format!("cannot find this binary: {error}; give --bench"))
                })?;
                let binary = binary.display().to_string().replace('\'', "'\\''");
                let field = self.field.clone().unwrap_or_else(|| BENCH_FIELD.to_owned());
                (format!("exec '{binary}' bench e2e --format json"), Some(field))
            }
        };
        Ok(Bench { command, field, timeout: Duration::from_secs(self.bench_timeout_s) })
    }
}

fn progress(measured: &Measured) -> String {
    let name = &measured.setting;
    match &measured.verdict {
        Verdict::Kept(figures) => format!("{name}: kept, {:+.1} %", figures.gain_percent),
        Verdict::Reverted(figures) => {
            let (gain, noise) = (figures.gain_percent, figures.noise_percent);
            format!("{name}: reverted, {gain:+.1} % with noise of {noise:.1} %")
        }
        Verdict::Refused(why) => format!("{name}: refused: {why}"),
        Verdict::Failed(why) => format!("{name}: reverted: {why}"),
    }
}

fn measured_row(measured: &Measured) -> Vec<Cell> {
    let (figures, verdict, note) = match &measured.verdict {
        Verdict::Kept(figures) => (Some(*figures), "kept", None),
        Verdict::Reverted(figures) => (Some(*figures), "reverted", None),
        Verdict::Refused(why) => (None, "refused", Some(why.clone())),
        Verdict::Failed(why) => (None, "failed", Some(why.clone())),
    };
    row(&measured.setting, &measured.changes, figures, verdict, note)
}

fn row(
    setting: &str,
    changes: &[Change],
    figures: Option<Figures>,
    verdict: &str,
    note: Option<String>,
) -> Vec<Cell> {
    let places: Vec<Place> = changes.iter().map(|change| change.place.clone()).collect();
    let same = changes.iter().all(|change| change.value == changes[0].value);
    let new = same.then(|| short(&changes[0].value));
    let number = |of: fn(&Figures) -> f64| {
        figures.as_ref().map_or(Cell::Absent, |figures| Cell::Decimal(of(figures)))
    };
    vec![
        setting.into(),
        Place::summary(&places).into(),
        new.into(),
        number(|figures| figures.before),
        number(|figures| figures.after),
        number(|figures| figures.gain_percent),
        number(|figures| figures.noise_percent),
        verdict.into(),
        note.into(),
    ]
}
