//! Topics: an id is given once, what was created is there, what was deleted stays deleted, and a
//! log start moves only as far as it was asked to.

use std::collections::{BTreeMap, BTreeSet};

use protocol::types::Uuid;

use super::{FoundLog, Held, PartitionKey};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Life {
    There,
    /// Its deletion was asked for and not answered: either is right.
    Leaving,
    /// Its deletion was acknowledged then.
    Gone {
        at_ns: u64,
    },
}

#[derive(Clone, Debug)]
struct Topic {
    name: String,
    /// Partitions that were promised.
    partitions: i32,
    since_ns: u64,
    life: Life,
    /// Log starts that were asked for, and those that were acknowledged.
    starts_asked: BTreeMap<i32, i64>,
    starts_acked: BTreeMap<i32, i64>,
}

/// A topic as a client of the simulation finds it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Known {
    pub id: Uuid,
    pub name: String,
    pub partitions: i32,
}

/// Why a topic is kept apart: what it holds has promises of its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Apart {
    /// It has `memory` durability.
    Memory,
    /// It is written in transactions only.
    Transactions,
    /// It is compacted.
    Compacted,
}

/// Every topic there ever was.
#[derive(Debug, Default)]
pub struct Topics {
    by_id: BTreeMap<Uuid, Topic>,
    lasting: BTreeSet<String>,
    apart: BTreeMap<Apart, String>,
}

impl Topics {
    /// A topic of this name is never deleted.
    pub fn promise(&mut self, name: &str) {
        self.lasting.insert(name.to_owned());
    }

    /// The names that are never deleted, whether or not their topics are there yet.
    pub fn promised(&self) -> Vec<String> {
        self.lasting.iter().cloned().collect()
    }

    /// The topic of this name is kept apart. Only those who ask for it are told of it.
    pub fn keep_apart(&mut self, why: Apart, name: &str) {
        self.apart.insert(why, name.to_owned());
    }

    /// A topic was created, by its answer or by what Metadata shows after an answer was lost.
    pub fn created(&mut self, id: Uuid, name: &str, partitions: i32, now_ns: u64) -> Held {
        if id == Uuid::ZERO {
            return Err(breach!("topics", "{name} was given no id"));
        }
        match self.by_id.get_mut(&id) {
            Some(topic) if topic.name != name => {
                Err(breach!("topics", "{name} was given the id of {}", topic.name))
            }
            Some(topic) if matches!(topic.life, Life::Gone { .. }) => {
                Err(breach!("topics", "{name} was given the id it had before it was deleted"))
            }
            Some(topic) => {
                topic.partitions = topic.partitions.max(partitions);
                Ok(())
            }
            None => {
                let topic = Topic {
                    name: name.to_owned(),
                    partitions,
                    since_ns: now_ns,
                    life: Life::There,
                    starts_asked: BTreeMap::new(),
                    starts_acked: BTreeMap::new(),
                };
                self.by_id.insert(id, topic);
                Ok(())
            }
        }
    }

    /// It has this many partitions now.
    pub fn grown(&mut self, id: Uuid, partitions: i32) {
        if let Some(topic) = self.by_id.get_mut(&id) {
            topic.partitions = topic.partitions.max(partitions);
        }
    }

    /// Its deletion is asked for.
    pub fn leaving(&mut self, id: Uuid) {
        if let Some(topic) = self.by_id.get_mut(&id)
            && topic.life == Life::There
        {
            topic.life = Life::Leaving;
        }
    }

    /// Its deletion is acknowledged, or it was seen to be gone.
    pub fn gone(&mut self, id: Uuid, now_ns: u64) {
        if let Some(topic) = self.by_id.get_mut(&id)
            && !matches!(topic.life, Life::Gone { .. })
        {
            topic.life = Life::Gone { at_ns: now_ns };
        }
    }

    /// Whether it may be gone by now.
    pub fn may_be_gone(&self, id: Uuid) -> bool {
        self.by_id.get(&id).is_none_or(|topic| topic.life != Life::There)
    }

    /// A request sent at `sent_ns` found the topic.
    pub fn found(&self, id: Uuid, sent_ns: u64) -> Held {
        match self.by_id.get(&id) {
            Some(topic) => match topic.life {
                Life::Gone { at_ns } if at_ns < sent_ns => {
                    Err(breach!("topics", "{} was deleted and is there again", topic.name))
                }
                Life::Gone { .. } | Life::Leaving | Life::There => Ok(()),
            },
            None => Ok(()),
        }
    }

    /// All topics, as an answer to a Metadata request sent at `sent_ns` names them.
    pub fn listed(&self, listed: &BTreeMap<Uuid, (String, i32)>, sent_ns: u64) -> Held {
        for id in listed.keys() {
            self.found(*id, sent_ns)?;
        }
        for (id, topic) in &self.by_id {
            if topic.life != Life::There || topic.since_ns >= sent_ns {
                continue;
            }
            match listed.get(id) {
                None => {
                    return Err(breach!("topics", "{} was created and is not there", topic.name));
                }
                Some((name, _)) if *name != topic.name => {
                    return Err(breach!("topics", "{} is called {name}", topic.name));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// DeleteRecords up to `offset` is asked for.
    pub fn trim_asked(&mut self, partition: PartitionKey, offset: i64) {
        if let Some(topic) = self.by_id.get_mut(&partition.topic) {
            let asked = topic.starts_asked.entry(partition.partition).or_default();
            *asked = offset.max(*asked);
        }
    }

    /// The highest log start that was acknowledged.
    pub fn trim_acked(&self, partition: PartitionKey) -> i64 {
        let topic = self.by_id.get(&partition.topic);
        topic.and_then(|topic| topic.starts_acked.get(&partition.partition)).copied().unwrap_or(0)
    }

    /// DeleteRecords is acknowledged, which was asked for when `before` was: somebody else may
    /// have been told of more since.
    pub fn trimmed(&mut self, partition: PartitionKey, low_watermark: i64, before: i64) -> Held {
        let asked = self.trim_floor(partition);
        if let Some(topic) = self.by_id.get_mut(&partition.topic) {
            let acked = topic.starts_acked.entry(partition.partition).or_default();
            *acked = low_watermark.max(*acked);
            return check_between(low_watermark, before, asked);
        }
        Ok(())
    }

    /// The highest log start that was asked for.
    pub fn trim_floor(&self, partition: PartitionKey) -> i64 {
        let topic = self.by_id.get(&partition.topic);
        topic.and_then(|topic| topic.starts_asked.get(&partition.partition)).copied().unwrap_or(0)
    }

    /// The log of the end begins where it may.
    pub fn check_log_start(&self, partition: PartitionKey, log_start: i64) -> Held {
        if !self.by_id.contains_key(&partition.topic) {
            return Ok(());
        }
        check_between(log_start, self.trim_acked(partition), self.trim_floor(partition))
    }

    /// Every partition that must be there was found.
    pub fn check_all_found(&self, logs: &BTreeMap<PartitionKey, FoundLog>) -> Held {
        for (id, topic) in self.by_id.iter().filter(|(_, topic)| topic.life == Life::There) {
            for partition in 0..topic.partitions {
                if !logs.contains_key(&PartitionKey { topic: *id, partition }) {
                    return Err(breach!("topics", "{}-{partition} is not there", topic.name));
                }
            }
        }
        Ok(())
    }

    /// Topics that are there for all a client may know.
    pub fn known(&self) -> Vec<Known> {
        let mut known = self.there();
        known.retain(|topic| self.apart.values().all(|name| *name != topic.name));
        known
    }

    /// The topic that is kept apart for this reason, when it is there.
    pub fn apart(&self, why: Apart) -> Option<Known> {
        let name = self.apart.get(&why)?;
        self.there().into_iter().find(|topic| topic.name == *name)
    }

    /// Why this topic is kept apart.
    pub fn why_apart(&self, id: Uuid) -> Option<Apart> {
        let name = &self.by_id.get(&id)?.name;
        self.apart.iter().find(|(_, apart)| *apart == name).map(|(why, _)| *why)
    }

    fn there(&self) -> Vec<Known> {
        let there = self.by_id.iter().filter(|(_, topic)| topic.life == Life::There);
        let known = there.map(|(id, topic)| Known {
            id: *id,
            name: topic.name.clone(),
            partitions: topic.partitions,
        });
        known.collect()
    }

    /// Those that are never deleted.
    pub fn lasting(&self) -> Vec<Known> {
        self.known().into_iter().filter(|topic| self.lasting.contains(&topic.name)).collect()
    }

    /// A partition's name for people.
    pub fn describe(&self, partition: PartitionKey) -> String {
        let name = self.by_id.get(&partition.topic).map_or("?", |topic| &topic.name);
        format!("{name}-{}", partition.partition)
    }
}

/// A log starts no lower than was acknowledged, and no higher than was asked for.
fn check_between(log_start: i64, acked: i64, asked: i64) -> Held {
    if log_start > asked {
        return Err(breach!("topics", "the log starts at {log_start}, only {asked} was asked for"));
    }
    if log_start < acked {
        return Err(breach!("topics", "the log starts at {log_start}, {acked} was acknowledged"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(bits: u128) -> Uuid {
        Uuid::from_random(bits).expect("it is not reserved")
    }

    #[test]
    fn an_id_given_twice_and_a_topic_that_returns_are_seen() {
        let mut checker = Topics::default();
        assert_eq!(checker.created(id(1 << 70), "a", 1, 5), Ok(()));
        assert!(checker.created(id(1 << 70), "b", 1, 6).is_err(), "a has that id");
        checker.leaving(id(1 << 70));
        assert_eq!(checker.found(id(1 << 70), 9), Ok(()), "it is not gone yet");
        checker.gone(id(1 << 70), 10);
        assert!(checker.found(id(1 << 70), 11).is_err(), "it came back");
        assert_eq!(checker.found(id(1 << 70), 9), Ok(()), "the request was sent before");
    }

    #[test]
    fn a_topic_that_vanishes_and_a_log_start_that_runs_ahead_are_seen() {
        let mut checker = Topics::default();
        checker.created(id(1 << 70), "a", 1, 5).expect("a first id is fine");
        let here = PartitionKey { topic: id(1 << 70), partition: 0 };
        assert!(checker.listed(&BTreeMap::new(), 6).is_err(), "it is not there");
        assert_eq!(checker.listed(&BTreeMap::new(), 5), Ok(()), "the question came first");
        assert!(checker.check_all_found(&BTreeMap::new()).is_err(), "its log is not there");
        assert!(checker.check_log_start(here, 3).is_err(), "nobody asked for it");
        checker.trim_asked(here, 3);
        assert_eq!(checker.check_log_start(here, 0), Ok(()));
        assert_eq!(checker.trimmed(here, 3, 0), Ok(()));
        assert!(checker.check_log_start(here, 0).is_err(), "it was acknowledged");
        assert_eq!(checker.trimmed(here, 2, 0), Ok(()), "it was asked for before that");
        assert!(checker.trimmed(here, 2, 3).is_err(), "it was asked for after that");
    }
}
