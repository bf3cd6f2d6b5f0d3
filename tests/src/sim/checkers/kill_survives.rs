//! What `memory` durability acknowledges survives a killed process, and a power cut but for what
//! was acknowledged just before it.
//!
//! A record goes to the journal as soon as it is acknowledged, so on a disk that is neither slow
//! nor failing everything older than a few of its operations is there. What a cut may have taken is
//! known only when the log is read, or its offset is given to another record.

use std::collections::BTreeMap;

use super::{Facts, FoundLog, Held, PartitionKey, Record};

#[derive(Clone, Copy, Debug)]
struct Acked {
    record: Record,
    at_ns: u64,
    /// The power was cut when it need not have been on disk yet.
    doubtful: bool,
}

/// Every record acknowledged from memory.
#[derive(Debug, Default)]
pub struct KillSurvives {
    acked: BTreeMap<PartitionKey, BTreeMap<i64, Acked>>,
    /// What was acknowledged before is on disk.
    safe_ns: u64,
    lost: u64,
}

impl KillSurvives {
    /// Records at consecutive offsets are acknowledged.
    pub fn acknowledged(
        &mut self,
        facts: &Facts,
        partition: PartitionKey,
        base_offset: i64,
        records: impl Iterator<Item = Record>,
        now_ns: u64,
    ) -> Held {
        // The answers of a disk that was in order before count, not those it is still to give.
        if now_ns > facts.disturbed_until_ns.saturating_add(facts.slack_ns) && !facts.disk_failed {
            self.safe_ns = self.safe_ns.max(now_ns - facts.slack_ns.min(now_ns));
        }
        let log = self.acked.entry(partition).or_default();
        for (offset, record) in (base_offset..).zip(records) {
            let acked = Acked { record, at_ns: now_ns, doubtful: false };
            if let Some(before) = log.insert(offset, acked) {
                if !before.doubtful {
                    let before = before.record;
                    return Err(breach!(
                        "a kill loses nothing from memory",
                        "{before:?} and {record:?} are both acknowledged at {offset}"
                    ));
                }
                // The log was cut there: what came after it is gone, too.
                let gone: Vec<i64> = log
                    .range(offset + 1..)
                    .filter(|(_, one)| one.doubtful)
                    .map(|it| *it.0)
                    .collect();
                self.lost += 1 + gone.len() as u64;
                for offset in gone {
                    log.remove(&offset);
                }
            }
        }
        Ok(())
    }

    /// The power is cut.
    pub fn power_cut(&mut self) {
        let all = self.acked.values_mut().flat_map(BTreeMap::values_mut);
        for acked in all.filter(|acked| acked.at_ns >= self.safe_ns) {
            acked.doubtful = true;
        }
    }

    /// Whether something is acknowledged that need not be on disk yet.
    pub fn is_ahead(&self) -> bool {
        let mut all = self.acked.values().flat_map(BTreeMap::values);
        all.any(|acked| acked.at_ns >= self.safe_ns && !acked.doubtful)
    }

    /// Records a power cut is known to have taken.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Holds a whole log against what was acknowledged in it.
    pub fn check_log(&mut self, partition: PartitionKey, log: &FoundLog) -> Held {
        let Some(acked) = self.acked.get_mut(&partition) else { return Ok(()) };
        let found: BTreeMap<i64, Record> = log.records.iter().copied().collect();
        let mut gone = Vec::new();
        for (offset, acked) in acked.iter() {
            match found.get(offset) {
                Some(there) if *there == acked.record => {}
                None if log.offline => {}
                Some(_) | None if acked.doubtful => gone.push(*offset),
                there => {
                    let record = acked.record;
                    return Err(breach!(
                        "a kill loses nothing from memory",
                        "{record:?} acknowledged at {offset}, found {there:?}"
                    ));
                }
            }
        }
        self.lost += gone.len() as u64;
        for offset in gone {
            acked.remove(&offset);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: PartitionKey = PartitionKey { topic: protocol::types::Uuid::ZERO, partition: 0 };

    fn record(number: u64) -> Record {
        Record { producer: 1, number }
    }

    fn log(numbers: &[u64]) -> FoundLog {
        let records = (0..).zip(numbers.iter().map(|number| record(*number)));
        FoundLog { records: records.collect(), ..FoundLog::default() }
    }

    fn acked(at: &[(i64, u64, u64)]) -> KillSurvives {
        let facts = Facts { slack_ns: 10, ..Facts::default() };
        let mut checker = KillSurvives::default();
        for (offset, number, now_ns) in at {
            let records = std::iter::once(record(*number));
            let taken = checker.acknowledged(&facts, HERE, *offset, records, *now_ns);
            taken.expect("each offset is acknowledged once");
        }
        checker
    }

    #[test]
    fn nothing_is_lost_without_a_power_cut() {
        let mut checker = acked(&[(0, 0, 100), (1, 1, 105)]);
        assert_eq!(checker.check_log(HERE, &log(&[0, 1, 2])), Ok(()));
        assert!(checker.check_log(HERE, &log(&[0])).is_err(), "offset 1 is lost");
    }

    #[test]
    fn a_power_cut_takes_only_what_was_acknowledged_just_before() {
        let mut checker = acked(&[(0, 0, 100), (1, 1, 200), (2, 2, 205)]);
        checker.power_cut();
        assert!(checker.check_log(HERE, &log(&[])).is_err(), "offset 0 is old");
        assert_eq!(checker.check_log(HERE, &log(&[0, 1])), Ok(()));
        assert_eq!(checker.lost(), 1);
    }
}
