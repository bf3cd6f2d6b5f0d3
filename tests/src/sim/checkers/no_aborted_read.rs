//! A reader of committed records sees no record of a transaction that is open or aborted, and
//! leaves none out that is committed.

use super::acked_stays::AckedStays;
use super::transactions::{Fate, Transactions};
use super::{Held, PartitionKey, Record};

/// Records that a reader of committed ones was given, of the offsets from `from` to below `to`.
pub fn check(
    transactions: &Transactions,
    acked: &AckedStays,
    partition: PartitionKey,
    (from, to): (i64, i64),
    records: &[(i64, Record)],
) -> Held {
    for (offset, record) in records {
        let Some(id) = transactions.of(*record) else {
            return Err(breach!(
                "no aborted read",
                "{record:?} at {offset} was sent in no transaction"
            ));
        };
        let fate = transactions.fate(id);
        if !fate.may_be_seen() {
            return Err(breach!(
                "no aborted read",
                "{record:?} at {offset} of {id:?} is read as committed, it is {fate:?}"
            ));
        }
    }
    let mut read = records.iter().peekable();
    for (offset, record) in acked.between(partition, from, to) {
        while read.next_if(|(at, _)| *at < offset).is_some() {}
        let there = read.peek().is_some_and(|(at, _)| *at == offset);
        let id = transactions.of(record);
        let committed = id.is_some_and(|id| transactions.fate(id) == Fate::Committed);
        if committed && !there {
            return Err(breach!(
                "no aborted read",
                "{record:?} at {offset} of {id:?} is committed and left out"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::checkers::Facts;

    const HERE: PartitionKey = PartitionKey { topic: protocol::types::Uuid::ZERO, partition: 0 };

    #[test]
    fn what_is_not_committed_is_not_read_and_what_is_is() {
        let mut transactions = Transactions::default();
        let mut acked = AckedStays::default();
        let id = transactions.begin(&Facts::default(), 0, 1_000, true);
        transactions.send(id, 3, 1, true);
        let record = Record { producer: 3, number: 0 };
        acked.acknowledged(HERE, 0, std::iter::once(record)).expect("a first ack is fine");
        let check = |transactions: &Transactions, records: &[(i64, Record)]| {
            check(transactions, &acked, HERE, (0, 2), records)
        };
        assert!(check(&transactions, &[(0, record)]).is_err(), "it is open");
        assert_eq!(check(&transactions, &[]), Ok(()));
        transactions.ends(id, Fate::Asked);
        assert_eq!(check(&transactions, &[(0, record)]), Ok(()));
        assert_eq!(check(&transactions, &[]), Ok(()), "it may be either");
        transactions.ends(id, Fate::Committed);
        assert!(check(&transactions, &[]).is_err(), "it is left out");
        let stranger = Record { producer: 4, number: 0 };
        assert!(check(&transactions, &[(1, stranger)]).is_err(), "it is in no transaction");
    }
}
