//! What a change is worth: the bench with it and without it, in turns, on this very machine.
//!
//! The runs of one change alternate (without, with, with, without, …), so that a machine that
//! becomes slower by itself does not decide. A change pays if the medians differ by more than the
//! widest range of equal runs and by more than the operator's bound; what does not pay is undone.
//! Every write goes through the journal: a killed measurement is undone like anything else.

use crate::bench::BenchError;
use crate::change::{Applied, Wrote, apply};
use crate::files::Files;
use crate::journal::{Journal, JournalError};
use crate::limits::ROUNDS_MAX;
use crate::setting::Change;
use crate::undo::{How, undo};

/// Which figures are the good ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// Latencies, costs.
    Lower,
    /// Rates.
    Higher,
}

/// When a change pays.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub better: Better,
    /// Runs with and as many without, from 2 to [`ROUNDS_MAX`].
    pub rounds: u32,
    /// Least gain worth keeping, whatever the noise.
    pub gain_percent_min: f64,
}

/// Figures of one change.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figures {
    /// Median of the runs without it.
    pub before: f64,
    /// Median of the runs with it.
    pub after: f64,
    /// How much better, in percent of `before`; negative is worse.
    pub gain_percent: f64,
    /// The wider range of equal runs, in percent of `before`.
    pub noise_percent: f64,
}

/// What became of one setting.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// It pays and stays.
    Kept(Figures),
    /// It does not, and is undone.
    Reverted(Figures),
    /// The kernel took none of it; why.
    Refused(String),
    /// The bench failed with it, and it is undone; why.
    Failed(String),
}

/// One setting, measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// Name of the setting; `together` for all that were kept.
    pub setting: String,
    pub changes: Vec<Change>,
    pub verdict: Verdict,
}

/// Why a measurement ended early. What it was at is undone; what was kept before stays.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("without any change: {0}")]
    Bench(BenchError),
    #[error("interrupted; what was being measured is undone")]
    Interrupted,
    #[error("{path} was changed by somebody else meanwhile: `corelane tune undo` shows it")]
    Disturbed { path: String },
    #[error("{path} could not be put back: {why}; `corelane tune undo` tries again")]
    Stuck { path: String, why: String },
}

/// Name of the last row.
pub const TOGETHER: &str = "together";

/// A bench with the machine it judges.
pub struct Measurement<'a> {
    pub files: &'a mut dyn Files,
    pub journal: &'a mut Journal,
    /// This boot.
    pub boot: Option<&'a str>,
    pub rules: Rules,
    /// Runs the bench once.
    pub bench: &'a mut dyn FnMut() -> Result<f64, BenchError>,
}

impl std::fmt::Debug for Measurement<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Measurement").field("rules", &self.rules).finish_non_exhaustive()
    }
}

impl Measurement<'_> {
    /// Measures setting by setting, in the order of the changes; `told` hears of each at once.
    pub fn run(
        &mut self,
        changes: &[Change],
        told: &mut dyn FnMut(&Measured),
    ) -> Result<(), MeasureError> {
        assert!((2..=ROUNDS_MAX).contains(&self.rules.rounds), "rounds were checked");
        let first = self.journal.entries().len();
        let mut kept: Vec<Change> = Vec::new();
        let mut kept_settings = 0;
        for setting in changes.chunk_by(|a, b| a.about.name == b.about.name) {
            let name = setting[0].about.name;
            let verdict = self.one(setting)?;
            if matches!(verdict, Verdict::Kept(_)) {
                kept.extend_from_slice(setting);
                kept_settings += 1;
            }
            told(&Measured { setting: name.to_owned(), changes: setting.to_vec(), verdict });
        }
        // Gains need not add up: what two changes save may be the same microsecond.
        if kept_settings > 1 {
            self.take_back(first)?;
            let verdict = self.one(&kept)?;
            told(&Measured { setting: TOGETHER.to_owned(), changes: kept, verdict });
        }
        Ok(())
    }

    fn one(&mut self, changes: &[Change]) -> Result<Verdict, MeasureError> {
        let first = self.journal.entries().len();
        let (mut without, mut with) = (Vec::new(), Vec::new());
        let mut is_applied = false;
        for round in 0..self.rules.rounds {
            for has_change in [round % 2 == 1, round % 2 == 0] {
                if has_change && !is_applied {
                    let applied = apply(self.files, changes, self.journal)?;
                    if let Some(why) = refusal(&applied) {
                        return Ok(Verdict::Refused(why));
                    }
                    is_applied = true;
                } else if !has_change && is_applied {
                    self.take_back(first)?;
                    is_applied = false;
                }
                match (self.bench)() {
                    Ok(figure) if has_change => with.push(figure),
                    Ok(figure) => without.push(figure),
                    Err(BenchError::Interrupted) => {
                        self.take_back(first)?;
                        return Err(MeasureError::Interrupted);
                    }
                    Err(error) => {
                        self.take_back(first)?;
                        return match has_change {
                            true => Ok(Verdict::Failed(error.to_string())),
                            false => Err(MeasureError::Bench(error)),
                        };
                    }
                }
            }
        }
        let Some(figures) = compare(&mut without, &mut with, self.rules.better) else {
            self.take_back(first)?;
            let why = "its figure without any change is 0, of which nothing is a part";
            return Err(MeasureError::Bench(BenchError::Output(why.to_owned())));
        };
        let least = figures.noise_percent.max(self.rules.gain_percent_min);
        if figures.gain_percent > least {
            if !is_applied {
                apply(self.files, changes, self.journal)?;
            }
            return Ok(Verdict::Kept(figures));
        }
        self.take_back(first)?;
        Ok(Verdict::Reverted(figures))
    }

    fn take_back(&mut self, from_entry: usize) -> Result<(), MeasureError> {
        let how = How { from_entry, ..How::default() };
        for undone in undo(self.files, self.journal, self.boot, how)? {
            match undone.result {
                crate::undo::Back::Left => {
                    return Err(MeasureError::Disturbed { path: undone.path });
                }
                crate::undo::Back::Failed(trouble) => {
                    let why = trouble.to_string();
                    return Err(MeasureError::Stuck { path: undone.path, why });
                }
                crate::undo::Back::Restored
                | crate::undo::Back::Already
                | crate::undo::Back::Booted
                | crate::undo::Back::Gone => {}
            }
        }
        Ok(())
    }
}

/// Why nothing is different, if nothing is.
fn refusal(applied: &[Applied]) -> Option<String> {
    let changed =
        |applied: &Applied| matches!(applied.result, Ok(Wrote::Value | Wrote::Otherwise(_)));
    if applied.iter().any(changed) {
        return None;
    }
    let why = applied.iter().find_map(|applied| applied.result.as_ref().err());
    Some(why.map_or_else(|| "it is like that already".to_owned(), ToString::to_string))
}

/// `None` if there is nothing to be a percentage of.
fn compare(without: &mut [f64], with: &mut [f64], better: Better) -> Option<Figures> {
    without.sort_by(f64::total_cmp);
    with.sort_by(f64::total_cmp);
    let (before, after) = (median(without), median(with));
    if before == 0.0 {
        return None;
    }
    let percent = |part: f64| part / before.abs() * 100.0;
    let range = |sorted: &[f64]| sorted[sorted.len() - 1] - sorted[0];
    let gain = match better {
        Better::Lower => before - after,
        Better::Higher => after - before,
    };
    Some(Figures {
        before,
        after,
        gain_percent: percent(gain),
        noise_percent: percent(range(without).max(range(with))),
    })
}

fn median(sorted: &[f64]) -> f64 {
    assert!(!sorted.is_empty(), "a round has a run of each kind");
    let middle = sorted.len() / 2;
    match sorted.len() % 2 {
        0 => f64::midpoint(sorted[middle - 1], sorted[middle]),
        _ => sorted[middle],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gain_is_a_part_of_the_median_without_the_change() {
        let mut without = [100.0, 104.0, 98.0];
        let mut with = [80.0, 79.0, 82.0];
        let figures = compare(&mut without, &mut with, Better::Lower).expect("not 0");
        assert_eq!((figures.before, figures.after), (100.0, 80.0));
        assert_eq!((figures.gain_percent, figures.noise_percent), (20.0, 6.0));
        let figures = compare(&mut without, &mut with, Better::Higher).expect("not 0");
        assert_eq!(figures.gain_percent, -20.0);
        assert_eq!(compare(&mut [0.0, 0.0], &mut [1.0, 1.0], Better::Lower), None);
    }
}
