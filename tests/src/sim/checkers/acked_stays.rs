//! What was acknowledged stays: the record is at its offset, whatever happens to the broker.

use std::collections::BTreeMap;

use super::{FoundLog, Held, PartitionKey, Record};

/// Every acknowledged record.
#[derive(Debug, Default)]
pub struct AckedStays {
    acked: BTreeMap<PartitionKey, BTreeMap<i64, Record>>,
    count: u64,
}

impl AckedStays {
    /// Records at consecutive offsets are acknowledged.
    pub fn acknowledged(
        &mut self,
        partition: PartitionKey,
        base_offset: i64,
        records: impl Iterator<Item = Record>,
    ) -> Held {
        if base_offset < 0 {
            return Err(breach!(
                "acked records stay",
                "a batch is acknowledged at offset {base_offset}"
            ));
        }
        let log = self.acked.entry(partition).or_default();
        for (offset, record) in (base_offset..).zip(records) {
            self.count += 1;
            let before = log.insert(offset, record);
            if before.is_some_and(|before| before != record) {
                return Err(breach!(
                    "acked records stay",
                    "{before:?} and {record:?} are both acknowledged at {offset}"
                ));
            }
        }
        Ok(())
    }

    /// Records acknowledged so far.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The offset after the last record that was acknowledged.
    pub fn end(&self, partition: PartitionKey) -> i64 {
        let last = self.acked.get(&partition).and_then(|acked| acked.last_key_value());
        last.map_or(0, |(offset, _)| offset + 1)
    }

    /// What was acknowledged at the offsets from `from` to below `to`.
    pub fn between(
        &self,
        partition: PartitionKey,
        from: i64,
        to: i64,
    ) -> impl Iterator<Item = (i64, Record)> {
        let acked = self.acked.get(&partition);
        let range = acked.map(|acked| acked.range(from..to.max(from)));
        range.into_iter().flatten().map(|(offset, record)| (*offset, *record))
    }

    /// Holds a whole log against what was acknowledged in it.
    pub fn check_log(&self, partition: PartitionKey, log: &FoundLog) -> Held {
        let Some(acked) = self.acked.get(&partition) else { return Ok(()) };
        let mut found = log.records.iter().peekable();
        for (offset, record) in acked.range(log.log_start..) {
            while found.next_if(|(at, _)| at < offset).is_some() {}
            match found.peek() {
                Some((at, there)) if at == offset && there == record => {}
                Some((at, there)) if at == offset => {
                    return Err(breach!(
                        "acked records stay",
                        "{record:?} acknowledged at {offset}, found {there:?}"
                    ));
                }
                Some(_) | None => {
                    return Err(breach!(
                        "acked records stay",
                        "{record:?} acknowledged at {offset} is lost"
                    ));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: PartitionKey = PartitionKey { topic: protocol::types::Uuid::ZERO, partition: 0 };

    fn log(numbers: &[u64]) -> FoundLog {
        let records = numbers.iter().map(|number| Record { producer: 1, number: *number });
        FoundLog { records: (0..).zip(records).collect(), ..FoundLog::default() }
    }

    #[test]
    fn loss_and_replacement_are_seen() {
        let mut checker = AckedStays::default();
        let acked = (0..2).map(|number| Record { producer: 1, number });
        checker.acknowledged(HERE, 0, acked).expect("a first ack is fine");
        assert_eq!(checker.check_log(HERE, &log(&[0, 1, 2])), Ok(()));
        assert!(checker.check_log(HERE, &log(&[0])).is_err(), "offset 1 is lost");
        assert!(checker.check_log(HERE, &log(&[0, 7])).is_err(), "another record is at 1");
        let trimmed = FoundLog { log_start: 2, ..FoundLog::default() };
        assert_eq!(checker.check_log(HERE, &trimmed), Ok(()), "below the log start all may go");
    }
}
