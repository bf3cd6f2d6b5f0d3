//! The high watermark never falls: not between two answers, not over a restart.
//!
//! Answers on different connections may overtake each other, so an answer is held against what was
//! known when its request was sent.

use std::collections::BTreeMap;

use super::{FoundLog, Held, PartitionKey};

/// The highest watermark anyone was told, per partition.
#[derive(Debug, Default)]
pub struct Watermarks {
    told: BTreeMap<PartitionKey, i64>,
}

impl Watermarks {
    /// What an answer to a request sent now may not be below.
    pub fn floor(&self, partition: PartitionKey) -> i64 {
        self.told.get(&partition).copied().unwrap_or(0)
    }

    /// An answer says so.
    pub fn told(&mut self, partition: PartitionKey, floor: i64, high_watermark: i64) -> Held {
        if high_watermark < floor {
            return Err(breach!(
                "the high watermark never falls",
                "the high watermark of {partition:?} fell from {floor} to {high_watermark}"
            ));
        }
        let told = self.told.entry(partition).or_default();
        *told = high_watermark.max(*told);
        Ok(())
    }

    /// The log at the end reaches what was told.
    pub fn check_log(&self, partition: PartitionKey, log: &FoundLog) -> Held {
        let floor = self.floor(partition);
        if log.high_watermark < floor {
            return Err(breach!(
                "the high watermark never falls",
                "the log ends at {}, below the high watermark {floor} that was told",
                log.high_watermark
            ));
        }
        if log.end.max(log.log_start) < log.high_watermark {
            return Err(breach!(
                "the high watermark never falls",
                "it is read to {}, below its {}",
                log.end,
                log.high_watermark
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fall_is_seen_and_an_overtaken_answer_is_none() {
        let here = PartitionKey { topic: protocol::types::Uuid::ZERO, partition: 0 };
        let mut checker = Watermarks::default();
        let early = checker.floor(here);
        assert_eq!(checker.told(here, 0, 5), Ok(()));
        assert_eq!(checker.told(here, early, 3), Ok(()), "its request was sent before");
        assert!(checker.told(here, checker.floor(here), 4).is_err(), "it fell");
    }
}
