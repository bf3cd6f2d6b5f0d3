//! The uniform assignor: balanced first, then as few moves as possible.
//!
//! Members that read the same topics differ by at most one partition in the end. Where
//! subscriptions differ, partitions go to the reader with the least, and then move while a move
//! makes two members more even. What a member has in the target so far it keeps as far as the
//! balance allows. Source: KIP-848's uniform assignor.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use protocol::types::Uuid;

use super::Input;
use crate::coordinator::group::consumer::member::Partitions;
use crate::coordinator::limits::ASSIGNMENT_PASSES_MAX;

pub(super) fn assign(input: &Input<'_>) -> BTreeMap<Arc<str>, Partitions> {
    if input.members.is_empty() {
        return BTreeMap::new();
    }
    let mut parts = Parts::kept(input);
    if input.is_homogeneous() {
        parts.level(input);
    } else {
        parts.give_to_the_least(input);
        parts.balance(input);
    }
    let ids = input.members.iter().map(|member| member.id.clone());
    ids.zip(parts.members).collect()
}

/// An assignment that is being made.
struct Parts {
    /// By the member's place in the input.
    members: Vec<Partitions>,
    loads: Vec<usize>,
    /// Partitions without an owner, by topic.
    free: Partitions,
}

impl Parts {
    /// What members have and may keep; everything else is free.
    fn kept(input: &Input<'_>) -> Self {
        let mut free: Partitions =
            input.topics.iter().map(|(topic, count)| (*topic, (0..*count).collect())).collect();
        let mut members = Vec::with_capacity(input.members.len());
        let mut loads = Vec::with_capacity(input.members.len());
        for member in &input.members {
            let mut part = Partitions::new();
            let mut load = 0;
            for (topic, partitions) in member.target.into_iter().flatten() {
                let Some(free) = free.get_mut(topic) else { continue };
                if !member.topics.contains(topic) {
                    continue;
                }
                let kept: BTreeSet<i32> =
                    partitions.iter().copied().filter(|index| free.remove(index)).collect();
                if !kept.is_empty() {
                    load += kept.len();
                    part.insert(*topic, kept);
                }
            }
            members.push(part);
            loads.push(load);
        }
        Self { members, loads, free }
    }

    fn give(&mut self, member: usize, topic: Uuid, partition: i32) {
        self.members[member].entry(topic).or_default().insert(partition);
        self.loads[member] += 1;
    }

    /// Brings every member to its quota: those above give back, those below get.
    fn level(&mut self, input: &Input<'_>) {
        let readable = &input.members[0].topics;
        let total: usize = readable
            .iter()
            .filter_map(|topic| input.topics.get(topic))
            .map(|count| usize::try_from(*count).unwrap_or(0))
            .sum();
        let quota = total / self.members.len();
        let mut extras = total % self.members.len();
        for member in 0..self.members.len() {
            let mut allowed = quota;
            if self.loads[member] > quota && extras > 0 {
                allowed += 1;
                extras -= 1;
            }
            self.shrink(member, allowed);
        }
        let mut free = std::mem::take(&mut self.free)
            .into_iter()
            .filter(|(topic, _)| readable.contains(topic))
            .flat_map(|(topic, partitions)| partitions.into_iter().map(move |p| (topic, p)))
            .collect::<Vec<_>>()
            .into_iter();
        for member in 0..self.members.len() {
            let mut allowed = quota;
            if self.loads[member] <= quota && extras > 0 {
                allowed += 1;
                extras -= 1;
            }
            while self.loads[member] < allowed
                && let Some((topic, partition)) = free.next()
            {
                self.give(member, topic, partition);
            }
        }
        assert!(free.next().is_none(), "quotas sum to the number of partitions");
    }

    fn shrink(&mut self, member: usize, allowed: usize) {
        while self.loads[member] > allowed {
            let mut last = self.members[member].last_entry().expect("a load is of partitions");
            let topic = *last.key();
            let partition = last.get_mut().pop_last().expect("no topic without partitions");
            if last.get().is_empty() {
                last.remove();
            }
            self.loads[member] -= 1;
            self.free.entry(topic).or_default().insert(partition);
        }
    }

    /// Gives every free partition to the reader of its topic that has the least. Topics with few
    /// readers go first: they have the least choice.
    fn give_to_the_least(&mut self, input: &Input<'_>) {
        let mut topics: Vec<(usize, Uuid)> =
            self.free.keys().map(|topic| (readers(input, topic).len(), *topic)).collect();
        topics.sort_unstable();
        for (readers_count, topic) in topics {
            let free = self.free.remove(&topic).unwrap_or_default();
            if readers_count == 0 || free.is_empty() {
                continue;
            }
            let mut order = self.by_load(&readers(input, &topic));
            for partition in free {
                let (load, member) = order.pop_first().expect("somebody reads it");
                self.give(member, topic, partition);
                order.insert((load + 1, member));
            }
        }
    }

    fn by_load(&self, members: &[usize]) -> BTreeSet<(usize, usize)> {
        members.iter().map(|member| (self.loads[*member], *member)).collect()
    }

    /// Moves partitions from those who have more to those who have less, topic by topic, until no
    /// move makes two members more even. Each move makes the sum of squares smaller, so it ends.
    fn balance(&mut self, input: &Input<'_>) {
        for _ in 0..ASSIGNMENT_PASSES_MAX {
            let mut moved = false;
            for topic in input.topics.keys() {
                moved |= self.balance_topic(&readers(input, topic), *topic);
            }
            if !moved {
                return;
            }
        }
    }

    fn balance_topic(&mut self, readers: &[usize], topic: Uuid) -> bool {
        let mut order = self.by_load(readers);
        let mut moved = false;
        // From the fullest down: who has nothing of the topic cannot give.
        let mut givers: Vec<usize> = order.iter().rev().map(|(_, member)| *member).collect();
        givers.retain(|member| self.members[*member].contains_key(&topic));
        for giver in givers {
            while let Some(&(least, taker)) = order.first()
                && self.loads[giver] >= least + 2
                && let Some(partitions) = self.members[giver].get_mut(&topic)
            {
                let partition = partitions.pop_last().expect("no topic without partitions");
                if partitions.is_empty() {
                    self.members[giver].remove(&topic);
                }
                order.remove(&(self.loads[giver], giver));
                order.remove(&(least, taker));
                self.loads[giver] -= 1;
                self.give(taker, topic, partition);
                order.insert((self.loads[giver], giver));
                order.insert((self.loads[taker], taker));
                moved = true;
            }
        }
        moved
    }
}

fn readers(input: &Input<'_>, topic: &Uuid) -> Vec<usize> {
    let members = input.members.iter().enumerate();
    members.filter(|(_, member)| member.topics.contains(topic)).map(|(place, _)| place).collect()
}
