//! Commits are never lost and never invented: what a group reads back is what was last committed.
//!
//! Each commit carries a text of its own, so that a reading names the commit it saw. A commit
//! without an answer may take effect at any later time or never; one that was refused never does.
//! Two commits whose times overlap may be seen in either order.

use std::collections::BTreeMap;

use super::Held;
use super::one_owner::Named;

/// Names one commit of one partition.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct CommitId(pub u64);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    /// No answer: it may still take effect.
    Open,
    At(u64),
    Refused,
}

#[derive(Clone, Debug)]
struct Commit {
    group: String,
    partition: Named,
    offset: i64,
    began_ns: u64,
    end: End,
}

/// Every commit of every group.
#[derive(Debug, Default)]
pub struct Commits {
    commits: Vec<Commit>,
    of: BTreeMap<(String, Named), Vec<u64>>,
}

impl Commits {
    /// A commit is sent; `text` goes with it as its metadata.
    pub fn begin(
        &mut self,
        group: &str,
        partition: &Named,
        offset: i64,
        now_ns: u64,
    ) -> (CommitId, String) {
        let id = self.commits.len() as u64;
        self.commits.push(Commit {
            group: group.to_owned(),
            partition: partition.clone(),
            offset,
            began_ns: now_ns,
            end: End::Open,
        });
        self.of.entry((group.to_owned(), partition.clone())).or_default().push(id);
        (CommitId(id), format!("commit {id}"))
    }

    /// It was answered.
    pub fn end(&mut self, id: CommitId, accepted: bool, now_ns: u64) {
        self.commits[id.0 as usize].end = if accepted { End::At(now_ns) } else { End::Refused };
    }

    /// A question sent at `asked_ns` is answered: an offset and its text, or nothing.
    pub fn read(
        &self,
        group: &str,
        partition: &Named,
        found: Option<(i64, &str)>,
        asked_ns: u64,
    ) -> Held {
        let key = (group.to_owned(), partition.clone());
        let ids = self.of.get(&key).map_or(&[][..], Vec::as_slice);
        // What must be over: a commit that was acknowledged before the question was sent.
        let acked = ids.iter().filter_map(|id| match self.commits[*id as usize].end {
            End::At(at_ns) if at_ns < asked_ns => Some(&self.commits[*id as usize]),
            End::At(_) | End::Open | End::Refused => None,
        });
        let latest_begin = acked.map(|commit| commit.began_ns).max();
        let Some((offset, text)) = found else {
            return match latest_begin {
                Some(_) => Err(breach!(
                    "commits are neither lost nor invented",
                    "the commits of {group} for {partition:?} are lost"
                )),
                None => Ok(()),
            };
        };
        let id = text.strip_prefix("commit ").and_then(|id| id.parse::<u64>().ok());
        let commit = id.and_then(|id| self.commits.get(id as usize));
        let Some(commit) = commit else {
            return Err(breach!(
                "commits are neither lost nor invented",
                "{group} committed no {text:?} for {partition:?}"
            ));
        };
        if commit.group != group || commit.partition != *partition || commit.offset != offset {
            return Err(breach!(
                "commits are neither lost nor invented",
                "{group} reads {offset} with {text:?} for {partition:?}"
            ));
        }
        let ended_ns = match commit.end {
            End::Refused => {
                return Err(breach!(
                    "commits are neither lost nor invented",
                    "{text:?} of {group} was refused and is there"
                ));
            }
            End::Open => u64::MAX,
            End::At(at_ns) => at_ns,
        };
        if latest_begin.is_some_and(|began_ns| began_ns > ended_ns) {
            return Err(breach!(
                "commits are neither lost nor invented",
                "{group} reads {text:?} for {partition:?}, a later one is lost"
            ));
        }
        Ok(())
    }

    /// Every group and partition with a commit.
    pub fn all(&self) -> impl Iterator<Item = &(String, Named)> {
        self.of.keys()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_old_and_invented_commits_are_seen() {
        let here = ("t".to_owned(), 0);
        let mut checker = Commits::default();
        assert_eq!(checker.read("g", &here, None, 5), Ok(()));
        let (first, first_text) = checker.begin("g", &here, 10, 10);
        assert_eq!(checker.read("g", &here, None, 12), Ok(()), "it is not answered yet");
        assert_eq!(checker.read("g", &here, Some((10, &first_text)), 12), Ok(()));
        checker.end(first, true, 20);
        assert!(checker.read("g", &here, None, 25).is_err(), "it is lost");
        let (second, second_text) = checker.begin("g", &here, 11, 30);
        checker.end(second, true, 40);
        assert!(checker.read("g", &here, Some((10, &first_text)), 45).is_err(), "it is old");
        assert_eq!(checker.read("g", &here, Some((11, &second_text)), 45), Ok(()));
        assert!(checker.read("g", &here, Some((12, &second_text)), 45).is_err(), "invented");
        let (third, third_text) = checker.begin("g", &here, 12, 50);
        checker.end(third, false, 60);
        assert!(checker.read("g", &here, Some((12, &third_text)), 65).is_err(), "it was refused");
    }
}
