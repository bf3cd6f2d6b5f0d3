//! A long poll is answered in time: at its deadline at the latest, and soon after the records it
//! waits for are acknowledged.
//!
//! Judged only while nothing makes the broker or the network slower than the knobs say.

use std::collections::BTreeMap;

use super::{Facts, Held, PartitionKey};

/// When each offset was first known to be committed.
#[derive(Debug, Default)]
pub struct LongPoll {
    /// Latest acknowledged end and when it was told.
    ends: BTreeMap<PartitionKey, Vec<(u64, i64)>>,
}

/// A fetch under way.
#[derive(Clone, Debug)]
pub struct Poll {
    pub sent_ns: u64,
    pub wait_ns: u64,
    /// Whether one byte is enough.
    pub any: bool,
    pub positions: Vec<(PartitionKey, i64)>,
}

impl LongPoll {
    /// A producer was told that the log reaches to `end`.
    pub fn committed(&mut self, partition: PartitionKey, end: i64, now_ns: u64) {
        let ends = self.ends.entry(partition).or_default();
        if ends.last().is_none_or(|(_, last)| *last < end) {
            ends.push((now_ns, end));
        }
    }

    /// A fetch is answered.
    pub fn answered(&self, facts: &Facts, poll: &Poll, now_ns: u64) -> Held {
        if poll.sent_ns <= facts.disturbed_until_ns || now_ns <= facts.disturbed_until_ns {
            return Ok(());
        }
        let took = now_ns - poll.sent_ns;
        if took > poll.wait_ns + facts.slack_ns {
            return Err(breach!(
                "long polls are answered in time",
                "a fetch that may wait {} us was answered after {} us",
                poll.wait_ns / 1_000,
                took / 1_000
            ));
        }
        if !poll.any {
            return Ok(());
        }
        for (partition, position) in &poll.positions {
            let Some(ends) = self.ends.get(partition) else { continue };
            let first = ends.partition_point(|(_, end)| end <= position);
            let Some((at_ns, end)) = ends.get(first) else { continue };
            let since = (*at_ns).max(poll.sent_ns);
            if now_ns > since + facts.slack_ns {
                return Err(breach!(
                    "long polls are answered in time",
                    "a fetch at {position} was answered {} us after offset {end} was acknowledged",
                    (now_ns - since) / 1_000
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
    fn late_answers_are_seen() {
        let here = PartitionKey { topic: protocol::types::Uuid::ZERO, partition: 0 };
        let facts = Facts { slack_ns: 10, ..Facts::default() };
        let poll = Poll { sent_ns: 100, wait_ns: 1_000, any: true, positions: vec![(here, 5)] };
        let mut checker = LongPoll::default();
        assert_eq!(checker.answered(&facts, &poll, 1_100), Ok(()));
        assert!(checker.answered(&facts, &poll, 1_200).is_err(), "the deadline has passed");
        checker.committed(here, 6, 200);
        assert_eq!(checker.answered(&facts, &poll, 205), Ok(()));
        assert!(checker.answered(&facts, &poll, 900).is_err(), "offset 5 was there at 200");
        let disturbed = Facts { disturbed_until_ns: 150, ..facts };
        assert_eq!(checker.answered(&disturbed, &poll, 900), Ok(()), "it was slow for a reason");
    }
}
