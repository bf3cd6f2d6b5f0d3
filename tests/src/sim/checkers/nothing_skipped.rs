//! A group that is past a record has been given it: nothing that was acknowledged is skipped.
//!
//! Members of a group read densely on from where the group said it stands (`dense`, `reads_agree`),
//! so that all they were given is one piece from the log's beginning on. Nobody may begin beyond
//! its end, whichever member read before, over which protocol, in which life of the broker.

use std::collections::BTreeMap;

use super::{Held, PartitionKey};

/// How far each group was given each log.
#[derive(Debug, Default)]
pub struct NothingSkipped {
    given: BTreeMap<String, BTreeMap<PartitionKey, i64>>,
}

impl NothingSkipped {
    fn end(&self, group: &str, key: PartitionKey) -> i64 {
        self.given.get(group).and_then(|logs| logs.get(&key)).copied().unwrap_or(0)
    }

    /// A member is told that its group stands at `offset`.
    pub fn begins(&self, group: &str, key: PartitionKey, offset: i64) -> Held {
        let end = self.end(group, key);
        if offset > end {
            return Err(breach!(
                "groups skip nothing",
                "{group} goes on at {offset} of {key:?}, and was given the records below {end}"
            ));
        }
        Ok(())
    }

    /// A member was given all records from `from` to below `to`.
    pub fn given(&mut self, group: &str, key: PartitionKey, (from, to): (i64, i64)) -> Held {
        self.begins(group, key, from)?;
        if to > self.end(group, key) {
            self.given.entry(group.to_owned()).or_default().insert(key, to);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_begins_past_what_the_group_was_given_is_seen() {
        let key = PartitionKey { topic: protocol::types::Uuid::ZERO, partition: 0 };
        let mut checker = NothingSkipped::default();
        assert_eq!(checker.begins("g", key, 0), Ok(()));
        assert_eq!(checker.given("g", key, (0, 7)), Ok(()));
        assert_eq!(checker.given("g", key, (3, 5)), Ok(()), "some were given again");
        assert_eq!(checker.begins("g", key, 7), Ok(()));
        assert!(checker.begins("g", key, 8).is_err(), "7 was given to nobody");
        assert!(checker.given("g", key, (9, 10)).is_err(), "7 and 8 were given to nobody");
        assert!(checker.begins("h", key, 1).is_err(), "another group was given nothing");
    }
}
