//! A pipeline that commits what it read with what it made of it makes each of it once.
//!
//! A pipeline reads one partition and writes a record per record it read, in transactions that hold
//! the offset, too. What committed readers find of it is exactly what lies below its committed
//! offset, each once; and where it goes on after a restart is where a transaction of it ended.

use std::collections::{BTreeMap, BTreeSet};

use super::transactions::{Fate, Transactions, TxnId};
use super::{Held, Record};

#[derive(Clone, Copy, Debug)]
struct Step {
    txn: TxnId,
    /// The offset that it commits.
    to: i64,
}

#[derive(Clone, Debug, Default)]
struct Pipeline {
    steps: Vec<Step>,
}

/// Every pipeline, by its group.
#[derive(Debug, Default)]
pub struct ExactlyOnce {
    pipelines: BTreeMap<String, Pipeline>,
    /// Of which group and source offset each record is.
    made_of: BTreeMap<Record, (String, i64)>,
}

impl ExactlyOnce {
    /// A record is made of the one at `offset`.
    pub fn makes(&mut self, group: &str, record: Record, offset: i64) {
        self.made_of.insert(record, (group.to_owned(), offset));
    }

    /// A transaction commits the offset `to` for a group.
    pub fn commits(&mut self, group: &str, txn: TxnId, to: i64) {
        self.pipelines.entry(group.to_owned()).or_default().steps.push(Step { txn, to });
    }

    /// Groups that committed anything.
    pub fn groups(&self) -> impl Iterator<Item = &String> {
        self.pipelines.keys()
    }

    /// The highest offset that is committed for sure.
    pub fn floor(&self, transactions: &Transactions, group: &str) -> i64 {
        let steps = self.pipelines.get(group).map_or(&[][..], |pipeline| &pipeline.steps);
        let done = steps.iter().filter(|step| transactions.fate(step.txn) == Fate::Committed);
        done.map(|step| step.to).max().unwrap_or(0)
    }

    /// A group's committed offset is `offset`, 0 for none; `floor` was asked when the question was
    /// sent.
    pub fn reads(&self, transactions: &Transactions, group: &str, floor: i64, offset: i64) -> Held {
        let steps = self.pipelines.get(group).map_or(&[][..], |pipeline| &pipeline.steps);
        let known = offset == 0
            || steps
                .iter()
                .any(|step| step.to == offset && transactions.fate(step.txn).may_be_seen());
        if offset < floor || !known {
            return Err(breach!(
                "pipelines are exactly once",
                "{group} goes on at {offset}, {floor} is committed"
            ));
        }
        Ok(())
    }

    /// At the end: `committed` is every record that a reader of committed ones finds, `offsets` the
    /// committed offset of each group. Some records may be out of reach, where a partition is
    /// `offline`.
    pub fn check(
        &self,
        committed: impl Iterator<Item = Record>,
        offsets: &BTreeMap<String, i64>,
        offline: bool,
    ) -> Held {
        let mut made: BTreeMap<&str, BTreeSet<i64>> = BTreeMap::new();
        for record in committed {
            let Some((group, offset)) = self.made_of.get(&record) else { continue };
            if !made.entry(group).or_default().insert(*offset) {
                return Err(breach!(
                    "pipelines are exactly once",
                    "{group} made a record of {offset} twice"
                ));
            }
        }
        for (group, end) in offsets {
            let made = made.get(group.as_str());
            let count = made.map_or(0, BTreeSet::len) as i64;
            let last = made.and_then(BTreeSet::last).map_or(-1, |last| *last);
            let some = offline && count <= *end && last < *end;
            if !some && (count != *end || last + 1 != *end) {
                return Err(breach!(
                    "pipelines are exactly once",
                    "{group} has committed {end} and made {count} records, the last of {last}"
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::checkers::Facts;

    #[test]
    fn lost_doubled_and_invented_steps_are_seen() {
        let mut transactions = Transactions::default();
        let mut checker = ExactlyOnce::default();
        let first = transactions.begin(&Facts::default(), 0, 1_000, true);
        let record = |number| Record { producer: 1, number };
        for (number, offset) in [(0, 0), (1, 1), (2, 1)] {
            checker.makes("g", record(number), offset);
        }
        checker.commits("g", first, 2);
        transactions.ends(first, Fate::Committed);
        assert_eq!(checker.reads(&transactions, "g", 2, 2), Ok(()));
        assert!(checker.reads(&transactions, "g", 2, 0).is_err(), "it is lost");
        assert!(checker.reads(&transactions, "g", 2, 3).is_err(), "it is invented");
        let offsets = BTreeMap::from([("g".to_owned(), 2)]);
        assert_eq!(checker.check([0, 1].map(record).into_iter(), &offsets, false), Ok(()));
        assert!(checker.check([0].map(record).into_iter(), &offsets, false).is_err(), "1 is lost");
        assert_eq!(checker.check([0].map(record).into_iter(), &offsets, true), Ok(()));
        let twice = [0, 1, 2].map(record).into_iter();
        assert!(checker.check(twice, &offsets, true).is_err(), "1 is twice");
    }
}
