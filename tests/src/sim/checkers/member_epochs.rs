//! A partition of a group has one owner at a time, and one per epoch; and who lost it commits
//! nothing for it any more.
//!
//! Of members of both protocols, also where they share a group (KIP-848). A generation is an epoch.
//! Held as the members see it. A partition is a member's own from the answer that gives it to the
//! moment the member gives it back, leaves, or is told that it is out. A silent member cannot know
//! that it is out: its word counts until its session could be over, or its time to give back what
//! it was asked for. Both are counted from what it sent, which is before the coordinator counts.

use std::collections::BTreeMap;

use super::{Held, PartitionKey};

/// When a partition was given to a member: when it asked, and when it took the answer. The
/// coordinator decided in between, and an answer may be old when it comes.
#[derive(Clone, Copy, Debug)]
struct Given {
    sent_ns: u64,
    now_ns: u64,
}

/// What a member believes.
#[derive(Clone, Debug, Default)]
struct Belief {
    epoch: i32,
    held: BTreeMap<PartitionKey, Given>,
    /// When its last heartbeat that was answered well was sent.
    heard_ns: u64,
    /// It is asked to give something back, and has until then.
    revokes_by_ns: Option<u64>,
    /// It has given that back; whether in time, an answer will say.
    gave_back: bool,
    /// Counts how often somebody became a member.
    life: u64,
}

impl Belief {
    /// Until then nobody can have put it out.
    fn until_ns(&self, session_ns: u64) -> u64 {
        let until_ns = self.heard_ns + session_ns;
        self.revokes_by_ns.map_or(until_ns, |by_ns| by_ns.min(until_ns))
    }
}

/// A commit of a member, as far as others are concerned: it was sent after this one asked for the
/// partition, and got it.
pub type Rival = Option<usize>;

/// What every member of every group believes, and who had what in which epoch.
#[derive(Debug, Default)]
pub struct MemberEpochs {
    members: BTreeMap<(String, usize), Belief>,
    /// By group, epoch and partition: the member, and which of its lives it was.
    owners: BTreeMap<(String, i32, PartitionKey), (usize, u64)>,
    lives: u64,
    /// In which life of the broker its coordinator was last seen to know a group.
    known_in: BTreeMap<String, u32>,
}

/// An answer to a member's heartbeat.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    pub epoch: i32,
    /// All that is the member's, if the answer says so.
    pub assigned: Option<&'a [PartitionKey]>,
    pub sent_ns: u64,
    pub now_ns: u64,
    /// As long a member may be silent.
    pub session_ns: u64,
    /// As long it may take to give something back.
    pub rebalance_ns: u64,
    /// The group goes from one protocol to the other. A group that nobody is in begins anew then,
    /// and counts its epochs anew.
    pub moving: bool,
}

impl MemberEpochs {
    /// A coordinator answered as only one does that has read what it has of a group.
    pub fn known(&mut self, group: &str, broker_life: u32) {
        self.known_in.insert(group.to_owned(), broker_life);
    }

    /// Whether a Heartbeat of the classic protocol that was answered well says anything: to a
    /// coordinator that is still loading, as by Kafka, everybody is a member.
    pub fn is_known(&self, group: &str, broker_life: u32) -> bool {
        self.known_in.get(group) == Some(&broker_life)
    }

    /// A heartbeat of a member is answered well.
    pub fn told(&mut self, group: &str, member: usize, told: Told<'_>) -> Held {
        let lives = &mut self.lives;
        let belief = self.members.entry((group.to_owned(), member)).or_insert_with(|| {
            *lives += 1;
            Belief { life: *lives, ..Belief::default() }
        });
        if told.moving
            && told.epoch < belief.epoch
            && told.now_ns >= belief.until_ns(told.session_ns)
        {
            // It was out, and let in under its old id by a group that had begun anew, as by Kafka.
            *lives += 1;
            *belief = Belief { life: *lives, ..Belief::default() };
        }
        if told.epoch < belief.epoch {
            return Err(breach!(
                "member epochs only rise",
                "member {member} of {group} fell from epoch {} to {}",
                belief.epoch,
                told.epoch
            ));
        }
        let heard_before_ns = belief.heard_ns;
        belief.heard_ns = told.sent_ns;
        belief.epoch = told.epoch;
        if std::mem::take(&mut belief.gave_back) {
            belief.revokes_by_ns = None;
        }
        let Some(assigned) = told.assigned else { return Ok(()) };
        let life = belief.life;
        if belief.held.keys().any(|held| !assigned.contains(held)) {
            // An answer that was lost may have asked before; the one before that did not.
            belief.revokes_by_ns.get_or_insert(heard_before_ns + told.rebalance_ns);
        }
        let fresh: Vec<PartitionKey> =
            assigned.iter().filter(|named| !belief.held.contains_key(named)).copied().collect();
        let given = Given { sent_ns: told.sent_ns, now_ns: told.now_ns };
        belief.held.extend(fresh.iter().map(|named| (*named, given)));
        for named in assigned {
            let key = (group.to_owned(), told.epoch, *named);
            let before = self.owners.insert(key, (member, life));
            let other = before.filter(|(other, life)| {
                *other != member && (!told.moving || self.is_in(group, (*other, *life), &told))
            });
            if let Some((first, _)) = other {
                return Err(breach!(
                    "one owner per member epoch",
                    "{named:?} of {group} is member {member}'s and member {first}'s in epoch {}",
                    told.epoch
                ));
            }
        }
        for named in &fresh {
            if let Some(other) = self.other_owner(group, member, *named, &told) {
                return Err(breach!(
                    "one owner at a time",
                    "{named:?} of {group} is given to member {member}, member {other} has it"
                ));
            }
        }
        Ok(())
    }

    /// Whether a member has been in its group without a break, for sure.
    fn is_in(&self, group: &str, (member, life): (usize, u64), told: &Told<'_>) -> bool {
        let belief = self.members.get(&(group.to_owned(), member));
        belief.is_some_and(|belief| {
            belief.life == life && told.now_ns < belief.until_ns(told.session_ns)
        })
    }

    /// Who else has a partition for sure.
    fn other_owner(
        &self,
        group: &str,
        member: usize,
        named: PartitionKey,
        told: &Told<'_>,
    ) -> Option<usize> {
        let others = self.members.iter().filter(|((of, other), belief)| {
            of == group && *other != member && told.now_ns < belief.until_ns(told.session_ns)
        });
        // It had it before this member asked, and has it still.
        let mut owners = others.filter(|(_, belief)| {
            belief.held.get(&named).is_some_and(|given| given.now_ns < told.sent_ns)
        });
        owners.next().map(|((_, other), _)| *other)
    }

    /// A member gives back everything but these.
    pub fn keeps(&mut self, group: &str, member: usize, kept: &[PartitionKey]) {
        let Some(belief) = self.members.get_mut(&(group.to_owned(), member)) else { return };
        belief.held.retain(|named, _| kept.contains(named));
        belief.gave_back = true;
    }

    /// A classic member was told to join again, or joins again on its own, with these.
    pub fn rejoins(
        &mut self,
        group: &str,
        member: usize,
        kept: &[PartitionKey],
        rebalance_ns: u64,
    ) {
        let Some(belief) = self.members.get_mut(&(group.to_owned(), member)) else { return };
        // What it was told well before was the last that came before the group waited for it.
        belief.revokes_by_ns.get_or_insert(belief.heard_ns + rebalance_ns);
        self.keeps(group, member, kept);
    }

    /// A member has nothing and is nobody: it left, or was told that it is out.
    pub fn out(&mut self, group: &str, member: usize) {
        self.members.remove(&(group.to_owned(), member));
    }

    /// A member sends a commit of a partition whose giving it heard of at `since_ns`.
    pub fn commits(&self, group: &str, member: usize, named: PartitionKey, since_ns: u64) -> Rival {
        let mut others =
            self.members.iter().filter(|((of, other), _)| of == group && *other != member);
        let rival = others.find(|(_, belief)| {
            belief.held.get(&named).is_some_and(|given| given.sent_ns > since_ns)
        });
        rival.map(|((_, other), _)| *other)
    }

    /// Its commit was accepted.
    pub fn accepted(group: &str, member: usize, named: PartitionKey, rival: Rival) -> Held {
        match rival {
            Some(rival) => Err(breach!(
                "only owners commit",
                "member {member} of {group} committed for {named:?}, which was member {rival}'s"
            )),
            None => Ok(()),
        }
    }

    /// Why the members of a group do not share all of `partitions` in one epoch yet.
    pub fn unshared(&self, group: &str, partitions: &[PartitionKey]) -> Option<String> {
        let members = || self.members.iter().filter(|((of, _), _)| of == group);
        let epoch = members().next().map(|(_, belief)| belief.epoch)?;
        if members().any(|(_, belief)| belief.epoch != epoch) {
            return Some(format!("members of {group} are in different epochs"));
        }
        let missing = partitions
            .iter()
            .find(|named| !members().any(|(_, belief)| belief.held.contains_key(named)));
        missing.map(|named| format!("nobody has {named:?} in epoch {epoch} of {group}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(epoch: i32, assigned: &[PartitionKey], now_ns: u64) -> Told<'_> {
        Told {
            epoch,
            assigned: Some(assigned),
            sent_ns: now_ns - 1,
            now_ns,
            session_ns: 100,
            rebalance_ns: 300,
            moving: false,
        }
    }

    #[test]
    fn two_owners_at_a_time_are_seen_and_a_silent_one_is_none() {
        let all = [PartitionKey { topic: protocol::types::Uuid::ZERO, partition: 0 }];
        let mut checker = MemberEpochs::default();
        assert_eq!(checker.told("g", 0, told(1, &all, 10)), Ok(()));
        assert_eq!(checker.told("g", 1, told(2, &[], 20)), Ok(()));
        assert!(checker.told("g", 1, told(3, &all, 50)).is_err(), "it is member 0's");
        let mut checker = MemberEpochs::default();
        assert_eq!(checker.told("g", 0, told(1, &all, 10)), Ok(()));
        assert_eq!(checker.told("g", 1, told(3, &all, 110)), Ok(()), "its session may be over");
        assert_eq!(checker.commits("g", 0, all[0], 10), Some(1), "it has lost it");
        assert_eq!(checker.commits("g", 1, all[0], 110), None);
    }

    #[test]
    fn who_gives_back_late_may_be_out() {
        let [first, second] =
            [0, 1].map(|partition| PartitionKey { topic: protocol::types::Uuid::ZERO, partition });
        let mut checker = MemberEpochs::default();
        let kept = [first];
        let beat = |now_ns| Told { session_ns: 1_000, ..told(1, &kept, now_ns) };
        assert_eq!(checker.told("g", 0, told(1, &[first, second], 10)), Ok(()));
        assert_eq!(checker.told("g", 0, beat(20)), Ok(()), "it has to give the second back");
        assert_eq!(checker.told("g", 0, beat(300)), Ok(()));
        checker.keeps("g", 0, &[first]);
        let all = [first, second];
        let given = Told { session_ns: 1_000, ..told(2, &all, 320) };
        assert_eq!(checker.told("g", 1, given), Ok(()), "its time was up");
    }

    #[test]
    fn what_is_given_back_is_free_and_an_epoch_has_one_owner() {
        let all = [PartitionKey { topic: protocol::types::Uuid::ZERO, partition: 0 }];
        let mut checker = MemberEpochs::default();
        assert_eq!(checker.told("g", 0, told(1, &all, 10)), Ok(()));
        assert_eq!(checker.told("g", 0, told(1, &[], 20)), Ok(()));
        assert!(checker.unshared("g", &all).is_none(), "it has not given it back");
        checker.keeps("g", 0, &[]);
        assert!(checker.unshared("g", &all).is_some(), "nobody has it");
        assert!(checker.told("g", 1, told(1, &all, 30)).is_err(), "it was member 0's in epoch 1");
        checker.out("g", 1);
        assert_eq!(checker.told("g", 1, told(2, &all, 30)), Ok(()));
        assert!(checker.told("g", 1, told(1, &all, 40)).is_err(), "its epoch fell");
    }

    #[test]
    fn a_group_that_moves_may_count_its_epochs_anew_when_nobody_was_in() {
        let all = [PartitionKey { topic: protocol::types::Uuid::ZERO, partition: 0 }];
        let moving = |now_ns| Told { moving: true, ..told(1, &all, now_ns) };
        let mut checker = MemberEpochs::default();
        assert_eq!(checker.told("g", 0, moving(10)), Ok(()));
        assert_eq!(checker.told("g", 1, moving(120)), Ok(()), "its session may be over");
        checker.rejoins("g", 1, &[], 300);
        assert!(checker.told("g", 2, moving(130)).is_err(), "it was member 1's, who is in it");
        checker.out("g", 1);
        checker.out("g", 2);
        assert_eq!(checker.told("g", 3, moving(140)), Ok(()), "nobody was in it");
        let later = |epoch, now_ns| Told { epoch, ..moving(now_ns) };
        assert_eq!(checker.told("g", 3, later(9, 150)), Ok(()));
        assert!(checker.told("g", 3, later(2, 160)).is_err(), "it is in, and its epoch fell");
        assert_eq!(checker.told("g", 3, later(2, 300)), Ok(()), "it may have been out");
    }
}
