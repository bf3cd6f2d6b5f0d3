//! Within a generation every partition of a group has at most one owner, and the group has one list
//! of members.
//!
//! An assignment is written before anyone is given it, so this holds over restarts too. The list of
//! members a leader is given is not written yet: a restart may use its generation again.

use std::collections::BTreeMap;

use super::Held;

/// A partition by the name of its topic, as assignments name it.
pub type Named = (String, i32);

/// Who was given what.
#[derive(Debug, Default)]
pub struct OneOwner {
    owners: BTreeMap<(String, i32), BTreeMap<Named, String>>,
    members: BTreeMap<(u32, String, i32), Vec<String>>,
    /// What each living member of a group holds now, and of which generation.
    held: BTreeMap<(String, usize), (i32, Vec<Named>)>,
}

impl OneOwner {
    /// A member was given its part of a generation.
    pub fn assigned(
        &mut self,
        group: &str,
        generation: i32,
        member: &str,
        partitions: &[Named],
    ) -> Held {
        let owners = self.owners.entry((group.to_owned(), generation)).or_default();
        for partition in partitions {
            match owners.insert(partition.clone(), member.to_owned()) {
                Some(other) if other != member => {
                    return Err(breach!(
                        "one owner per generation",
                        "{partition:?} belongs to {other} and to {member} in generation \
                         {generation} of {group}"
                    ));
                }
                Some(_) | None => {}
            }
        }
        Ok(())
    }

    /// What a living member holds from here on; `None` when it is in no generation.
    pub fn holds(&mut self, group: &str, member: usize, held: Option<(i32, Vec<Named>)>) {
        let key = (group.to_owned(), member);
        match held {
            Some(held) => self.held.insert(key, held),
            None => self.held.remove(&key),
        };
    }

    /// Why the living members of a group do not share all of `partitions` yet.
    pub fn unshared(&self, group: &str, partitions: &[Named]) -> Option<String> {
        let held: Vec<&(i32, Vec<Named>)> =
            self.held.iter().filter(|((of, _), _)| of == group).map(|(_, held)| held).collect();
        let generation = held.first().map(|(generation, _)| *generation)?;
        if held.iter().any(|(other, _)| *other != generation) {
            return Some(format!("members of {group} are in different generations"));
        }
        let missing = partitions
            .iter()
            .find(|partition| !held.iter().any(|(_, partitions)| partitions.contains(partition)));
        missing.map(|partition| {
            format!("nobody reads {partition:?} in generation {generation} of {group}")
        })
    }

    /// A leader was told who is in a generation.
    pub fn led(
        &mut self,
        life: u32,
        group: &str,
        generation: i32,
        mut members: Vec<String>,
    ) -> Held {
        members.sort();
        let key = (life, group.to_owned(), generation);
        match self.members.get(&key) {
            Some(before) if *before != members => Err(breach!(
                "one owner per generation",
                "generation {generation} of {group} has the members {before:?} and {members:?}"
            )),
            Some(_) => Ok(()),
            None => {
                self.members.insert(key, members);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_that_nobody_reads_is_seen() {
        let mut checker = OneOwner::default();
        let all = [("t".to_owned(), 0), ("t".to_owned(), 1)];
        checker.holds("g", 0, Some((1, vec![all[0].clone()])));
        assert!(checker.unshared("g", &all).is_some(), "partition 1 has no reader");
        checker.holds("g", 1, Some((1, vec![all[1].clone()])));
        assert_eq!(checker.unshared("g", &all), None);
        checker.holds("g", 1, Some((2, vec![all[1].clone()])));
        assert!(checker.unshared("g", &all).is_some(), "they are in different generations");
    }

    #[test]
    fn two_owners_and_two_lists_are_seen() {
        let mut checker = OneOwner::default();
        let partition = [("t".to_owned(), 0)];
        assert_eq!(checker.assigned("g", 1, "a", &partition), Ok(()));
        assert_eq!(checker.assigned("g", 1, "a", &partition), Ok(()), "it was told again");
        assert_eq!(checker.assigned("g", 2, "b", &partition), Ok(()));
        assert!(checker.assigned("g", 2, "a", &partition).is_err(), "b has it");
        assert_eq!(checker.led(0, "g", 2, vec!["a".into(), "b".into()]), Ok(()));
        assert_eq!(checker.led(0, "g", 2, vec!["b".into(), "a".into()]), Ok(()));
        assert!(checker.led(0, "g", 2, vec!["a".into()]).is_err(), "b was in it");
    }
}
