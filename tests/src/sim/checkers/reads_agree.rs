//! Readers agree: what anyone was ever given at an offset is what everyone is given there.
//!
//! Reads end at the high watermark, so even a power cut must not change what was read.

use std::collections::BTreeMap;

use super::{Held, PartitionKey, Record};

/// Every record that was ever read.
#[derive(Debug, Default)]
pub struct ReadsAgree {
    /// By offset; offsets are dense and begin at 0.
    known: BTreeMap<PartitionKey, Vec<Option<Record>>>,
    count: u64,
}

impl ReadsAgree {
    /// Someone was given these.
    pub fn read(&mut self, partition: PartitionKey, records: &[(i64, Record)]) -> Held {
        let known = self.known.entry(partition).or_default();
        for (offset, record) in records {
            self.count += 1;
            let index = usize::try_from(*offset).map_err(|_| format!("offset {offset}"))?;
            if index >= known.len() {
                known.resize(index + 1, None);
            }
            match known[index].replace(*record) {
                Some(before) if before != *record => {
                    return Err(breach!(
                        "reads agree",
                        "offset {offset} was read as {before:?}, now {record:?}"
                    ));
                }
                Some(_) | None => {}
            }
        }
        Ok(())
    }

    /// Records read so far.
    pub fn count(&self) -> u64 {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_reading_that_differs_is_seen() {
        let here = PartitionKey { topic: protocol::types::Uuid::ZERO, partition: 0 };
        let mut checker = ReadsAgree::default();
        let record = |number| [(4, Record { producer: 1, number })];
        assert_eq!(checker.read(here, &record(0)), Ok(()));
        assert_eq!(checker.read(here, &record(0)), Ok(()));
        assert!(checker.read(here, &record(1)).is_err(), "another record is at 4");
    }
}
