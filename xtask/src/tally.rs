//! Counts of checks, and the problems by name for the end of the run.

use crate::workspace::Workspace;

/// What has been counted so far.
#[derive(Debug, Default)]
pub struct Tally {
    passed: usize,
    failures: Vec<String>,
    skips: Vec<String>,
}

impl Tally {
    /// Counts `count` passed checks without a line for each.
    pub fn pass_many(&mut self, count: usize) {
        self.passed += count;
    }

    /// Counts and prints one passed check.
    pub fn pass(&mut self, name: &str) {
        self.passed += 1;
        println!("    ok {name}");
    }

    /// Counts and prints one failed check.
    pub fn fail(&mut self, name: &str, reason: &str) {
        println!("    NOT OK {name}: {reason}");
        self.failures.push(format!("{name}: {reason}"));
    }

    /// Counts and prints a check that cannot apply here, whoever runs it.
    pub fn skip(&mut self, name: &str, reason: &str) {
        println!("    SKIPPED {name}: {reason}");
        self.skips.push(format!("{name}: {reason}"));
    }

    /// A part that this machine lacks: skipped for a developer, a failure in CI.
    pub fn missing(&mut self, name: &str, reason: &str) {
        if Workspace::is_ci() {
            self.fail(name, &format!("missing, and CI=true: {reason}"));
        } else {
            self.skip(name, reason);
        }
    }

    /// Adds another tally's counts.
    pub fn add(&mut self, other: Tally) {
        self.passed += other.passed;
        self.failures.extend(other.failures);
        self.skips.extend(other.skips);
    }

    /// Failed checks so far.
    pub fn failed(&self) -> usize {
        self.failures.len()
    }

    /// Repeats what was skipped and what failed, so that the end of a long log says it all.
    pub fn print_problems(&self) {
        for skip in &self.skips {
            println!("skipped: {skip}");
        }
        for failure in &self.failures {
            println!("failed: {failure}");
        }
    }

    /// The last line of a run.
    pub fn line(&self) -> String {
        let (failed, skipped) = (self.failures.len(), self.skips.len());
        format!("{} passed, {failed} failed, {skipped} skipped", self.passed)
    }
}
