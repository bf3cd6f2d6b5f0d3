//! What was promised to clients, and whether a log keeps it.
//!
//! One log per partition: every acknowledged record is at its offset, nothing is there that nobody
//! sent, no idempotent record is there twice, and each producer's records are in the order it sent
//! them.

use std::collections::BTreeMap;

/// A record of a producer: who sent it and its number there. Also its value on the wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Record {
    pub producer: u32,
    pub number: u64,
}

impl Record {
    /// The record's value.
    pub fn to_value(self) -> String {
        format!("{}:{}", self.producer, self.number)
    }

    /// The record with this value.
    pub fn from_value(value: &[u8]) -> Option<Self> {
        let (producer, number) = std::str::from_utf8(value).ok()?.split_once(':')?;
        Some(Self { producer: producer.parse().ok()?, number: number.parse().ok()? })
    }
}

/// What is known of one partition.
#[derive(Debug, Default)]
pub struct PartitionModel {
    /// Acknowledged, by offset.
    pub acknowledged: BTreeMap<i64, Record>,
    /// How many records each producer has sent here, acknowledged or not.
    pub sent: BTreeMap<u32, u64>,
    /// The highest high watermark a client was told.
    pub high_watermark: i64,
}

impl PartitionModel {
    /// Checks a whole log, read from its start.
    pub fn check_log(&self, log: &[(i64, Record)]) -> Result<(), String> {
        let mut next_of: BTreeMap<u32, u64> = BTreeMap::new();
        for (expected, (offset, record)) in log.iter().enumerate() {
            if *offset != expected as i64 {
                return Err(format!("offset {offset} where {expected} must be: not dense"));
            }
            let sent = self.sent.get(&record.producer).copied().unwrap_or(0);
            if record.number >= sent {
                return Err(format!("{record:?} at {offset} was never sent"));
            }
            let next = next_of.entry(record.producer).or_default();
            if record.number < *next {
                return Err(format!("{record:?} at {offset} stands there twice or out of order"));
            }
            *next = record.number + 1;
        }
        for (offset, record) in &self.acknowledged {
            let found = usize::try_from(*offset).ok().and_then(|index| log.get(index));
            if found.map(|(_, found)| found) != Some(record) {
                return Err(format!("{record:?} acknowledged at {offset}, found {found:?}"));
            }
        }
        if (log.len() as i64) < self.high_watermark {
            return Err(format!(
                "{} records below high watermark {}",
                log.len(),
                self.high_watermark
            ));
        }
        Ok(())
    }

    /// Checks records that a consumer was given while the broker ran.
    pub fn check_fetched(&self, fetched: &[(i64, Record)]) -> Result<(), String> {
        for (offset, record) in fetched {
            if let Some(known) = self.acknowledged.get(offset)
                && known != record
            {
                return Err(format!(
                    "offset {offset} was acknowledged as {known:?}, read {record:?}"
                ));
            }
            if record.number >= self.sent.get(&record.producer).copied().unwrap_or(0) {
                return Err(format!("{record:?} read at {offset} was never sent"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> PartitionModel {
        let mut model = PartitionModel::default();
        model.sent.insert(1, 3);
        model.acknowledged.insert(0, Record { producer: 1, number: 0 });
        model
    }

    fn log(numbers: &[u64]) -> Vec<(i64, Record)> {
        let records = numbers.iter().map(|number| Record { producer: 1, number: *number });
        (0..).zip(records).collect()
    }

    #[test]
    fn a_log_that_keeps_its_promises_passes() {
        assert_eq!(model().check_log(&log(&[0, 1, 2])), Ok(()));
    }

    #[test]
    fn loss_duplicates_invention_and_gaps_are_seen() {
        assert!(model().check_log(&[]).is_err(), "the acknowledged record is lost");
        assert!(model().check_log(&log(&[0, 0])).is_err(), "a record stands there twice");
        assert!(model().check_log(&log(&[0, 7])).is_err(), "a record was never sent");
        let gap = [(0, Record { producer: 1, number: 0 }), (2, Record { producer: 1, number: 1 })];
        assert!(model().check_log(&gap).is_err(), "an offset is missing");
    }
}
