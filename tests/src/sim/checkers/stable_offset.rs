//! The last stable offset never falls, is never above the high watermark, and never passes a
//! transaction that is open.
//!
//! As the high watermark's: an answer is held against what was known when its request was sent.

use std::collections::BTreeMap;

use super::transactions::Transactions;
use super::{Facts, Held, PartitionKey};

/// The highest last stable offset anyone was told, per partition.
#[derive(Debug, Default)]
pub struct StableOffsets {
    told: BTreeMap<PartitionKey, i64>,
}

impl StableOffsets {
    /// What an answer to a request sent now may not be below.
    pub fn floor(&self, partition: PartitionKey) -> i64 {
        self.told.get(&partition).copied().unwrap_or(0)
    }

    /// An answer says so.
    pub fn told(
        &mut self,
        partition: PartitionKey,
        floor: i64,
        last_stable: i64,
        high_watermark: i64,
    ) -> Held {
        if last_stable < floor || last_stable > high_watermark {
            return Err(breach!(
                "the last stable offset",
                "it is {last_stable} in {partition:?}, {floor} was told before and the high \
                 watermark is {high_watermark}"
            ));
        }
        let told = self.told.entry(partition).or_default();
        *told = last_stable.max(*told);
        Ok(())
    }

    /// No transaction that is open at this moment lies below what was told.
    pub fn passes_nothing(
        &self,
        transactions: &Transactions,
        partition: PartitionKey,
        facts: &Facts,
        now_ns: u64,
    ) -> Held {
        let told = self.floor(partition);
        for (id, first) in transactions.surely_open(partition, facts, now_ns) {
            if first < told {
                return Err(breach!(
                    "the last stable offset",
                    "it is {told} in {partition:?}, {id:?} is open from {first} on"
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fall_and_a_passed_transaction_are_seen() {
        let here = PartitionKey { topic: protocol::types::Uuid::ZERO, partition: 0 };
        let mut checker = StableOffsets::default();
        assert_eq!(checker.told(here, 0, 5, 5), Ok(()));
        assert!(checker.told(here, 5, 4, 9).is_err(), "it fell");
        assert!(checker.told(here, 5, 10, 9).is_err(), "it is above the high watermark");
        let mut transactions = Transactions::default();
        let id = transactions.begin(&Facts::default(), 0, 1_000, true);
        transactions.acknowledged(id, here, 4);
        let facts = Facts::default();
        assert!(checker.passes_nothing(&transactions, here, &facts, 10).is_err(), "4 is open");
        let late_ns = 2_000_000_000;
        assert_eq!(checker.passes_nothing(&transactions, here, &facts, late_ns), Ok(()));
    }
}
