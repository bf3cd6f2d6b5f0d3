//! Counts of checks, and the problems by name for the end of the run.

use crate::workspace::Workspace;

/// What has been counted so far.
#[derive(Debug, Default)]
pub struct Tally {
    passed: usize,
    failures: Vec<String>,
    skips: Vec<String>,
    unstable: Vec<String>,
}

/// Where a part of a run began, so that what it counted can be taken back.
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    passed: usize,
    failures: usize,
    skips: usize,
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

    /// The counts of now.
    pub fn mark(&self) -> Mark {
        Mark { passed: self.passed, failures: self.failures.len(), skips: self.skips.len() }
    }

    /// Whether a check has failed since.
    pub fn failed_since(&self, mark: Mark) -> bool {
        self.failures.len() > mark.failures
    }

    /// Forgets what was counted since; returns what had failed.
    pub fn take_back(&mut self, mark: Mark) -> Vec<String> {
        self.passed = mark.passed;
        self.skips.truncate(mark.skips);
        self.failures.split_off(mark.failures)
    }

    /// Notes checks that failed, and passed when they were repeated.
    pub fn unstable(&mut self, failures: Vec<String>) {
        self.unstable.extend(failures);
    }

    /// Adds another tally's counts.
    pub fn add(&mut self, other: Tally) {
        self.passed += other.passed;
        self.failures.extend(other.failures);
        self.skips.extend(other.skips);
        self.unstable.extend(other.unstable);
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
        for unstable in &self.unstable {
            println!("unstable, passed when repeated: {unstable}");
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

#[cfg(test)]
mod tests {
    use super::Tally;

    #[test]
    fn a_part_taken_back_counts_for_nothing_and_what_came_before_it_stays() {
        let mut tally = Tally::default();
        tally.pass_many(3);
        tally.fail("before", "stays");
        let mark = tally.mark();
        assert!(!tally.failed_since(mark));
        tally.pass_many(2);
        tally.fail("after", "goes");
        assert!(tally.failed_since(mark));
        assert_eq!(tally.take_back(mark), ["after: goes"]);
        assert_eq!(tally.line(), "3 passed, 1 failed, 0 skipped");
    }
}
