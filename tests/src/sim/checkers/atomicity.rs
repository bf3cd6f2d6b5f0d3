//! A transaction is there wholly or not at all, over all its partitions.
//!
//! Held at the end against what a reader of committed records finds in every log.

use std::collections::BTreeMap;

use super::transactions::{Fate, Transactions, TxnId};
use super::{Held, Record};

/// `committed` is every record that a reader of committed ones finds, of all partitions; some may
/// be out of reach, where a partition is `offline`.
pub fn check(
    transactions: &Transactions,
    committed: impl Iterator<Item = Record>,
    offline: bool,
) -> Held {
    let mut found: BTreeMap<TxnId, u64> = BTreeMap::new();
    for record in committed {
        if let Some(id) = transactions.of(record) {
            *found.entry(id).or_default() += 1;
        }
    }
    for (id, fate, count) in transactions.all() {
        let there = found.get(&id).copied().unwrap_or(0);
        let right = match fate {
            Fate::Committed | Fate::Asked if offline => there <= count,
            Fate::Committed => there == count,
            Fate::Asked => there == count || there == 0,
            Fate::Open | Fate::Doomed | Fate::Refused => there == 0,
        };
        if !right {
            return Err(breach!(
                "transactions are all or nothing",
                "{id:?} is {fate:?}, {there} of its {count} records are there"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::checkers::Facts;

    #[test]
    fn half_a_transaction_is_seen() {
        let mut transactions = Transactions::default();
        let id = transactions.begin(&Facts::default(), 0, 1_000, true);
        transactions.send(id, 1, 2, true);
        let records = |count: u64| (0..count).map(|number| Record { producer: 1, number });
        transactions.ends(id, Fate::Asked);
        assert_eq!(check(&transactions, records(0), false), Ok(()));
        assert_eq!(check(&transactions, records(2), false), Ok(()));
        assert!(check(&transactions, records(1), false).is_err(), "one of two");
        transactions.ends(id, Fate::Committed);
        assert!(check(&transactions, records(0), false).is_err(), "it is lost");
        assert_eq!(check(&transactions, records(1), true), Ok(()), "one is out of reach");
        transactions.ends(id, Fate::Refused);
        assert!(check(&transactions, records(2), false).is_err(), "it was refused");
        assert!(check(&transactions, records(1), true).is_err(), "it was refused");
    }
}
