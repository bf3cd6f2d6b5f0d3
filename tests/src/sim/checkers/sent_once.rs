//! Nothing is invented, and what was sent once stands there once and in order.
//!
//! Every record in a log was sent, to that partition. A producer that is idempotent, or that never
//! retries, is found there at most once; the idempotent one in the order it sent. Without sequences
//! a batch on an old connection may arrive after one on the next.

use std::collections::{BTreeMap, BTreeSet};

use super::{Held, PartitionKey, Record};

/// What a producer's records are promised.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Promise {
    /// They retry without sequences: they may stand there twice.
    Sent,
    Once,
    OnceInOrder,
}

/// Where each record of each producer was sent.
#[derive(Debug, Default)]
pub struct SentOnce {
    sent: BTreeMap<u32, Vec<PartitionKey>>,
    promises: BTreeMap<u32, Promise>,
    next_producer: u32,
}

impl SentOnce {
    /// A producer of its own name.
    pub fn register(&mut self, promise: Promise) -> u32 {
        let producer = self.next_producer;
        self.next_producer += 1;
        self.promises.insert(producer, promise);
        self.sent.insert(producer, Vec::new());
        producer
    }

    /// The numbers of the next `count` records of a producer, which go to `partition`.
    pub fn send(&mut self, producer: u32, partition: PartitionKey, count: u64) -> u64 {
        let sent = self.sent.entry(producer).or_default();
        let first = sent.len() as u64;
        sent.extend((0..count).map(|_| partition));
        first
    }

    /// Records read anywhere must have been sent there.
    pub fn check_read(&self, partition: PartitionKey, records: &[(i64, Record)]) -> Held {
        for (offset, record) in records {
            let sent = self.sent.get(&record.producer);
            match sent.and_then(|sent| sent.get(record.number as usize)) {
                Some(to) if *to == partition => {}
                Some(to) => {
                    return Err(breach!("sent once", "{record:?} at {offset} was sent to {to:?}"));
                }
                None => return Err(breach!("sent once", "{record:?} at {offset} was never sent")),
            }
        }
        Ok(())
    }

    /// A whole log, from its start.
    pub fn check_log(&self, partition: PartitionKey, records: &[(i64, Record)]) -> Held {
        self.check_read(partition, records)?;
        let mut next_of: BTreeMap<u32, u64> = BTreeMap::new();
        let mut seen: BTreeSet<Record> = BTreeSet::new();
        for (offset, record) in records {
            let promise = self.promises.get(&record.producer).copied().unwrap_or(Promise::Sent);
            if promise == Promise::Sent {
                continue;
            }
            if !seen.insert(*record) {
                return Err(breach!("sent once", "{record:?} at {offset} stands there twice"));
            }
            let next = next_of.entry(record.producer).or_default();
            if record.number < *next && promise == Promise::OnceInOrder {
                return Err(breach!(
                    "sent once",
                    "{record:?} at {offset} stands there out of order"
                ));
            }
            *next = record.number + 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inventions_duplicates_and_strangers_are_seen() {
        let here = PartitionKey { topic: protocol::types::Uuid::ZERO, partition: 0 };
        let there = PartitionKey { partition: 1, ..here };
        let mut checker = SentOnce::default();
        let producer = checker.register(Promise::OnceInOrder);
        checker.send(producer, here, 2);
        let at = |offset, number| (offset, Record { producer, number });
        assert_eq!(checker.check_log(here, &[at(0, 0), at(1, 1)]), Ok(()));
        assert!(checker.check_log(here, &[at(0, 0), at(1, 0)]).is_err(), "it stands there twice");
        assert!(checker.check_log(here, &[at(0, 1), at(1, 0)]).is_err(), "the order is wrong");
        assert!(checker.check_log(here, &[at(0, 2)]).is_err(), "it was never sent");
        assert!(checker.check_log(there, &[at(0, 0)]).is_err(), "it was sent elsewhere");
    }
}
