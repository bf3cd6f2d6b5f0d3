//! The members of one group, in the order they joined, and what they have in common.
//!
//! The order is what makes a group repeatable where Kafka's depends on a hash: the first to join
//! leads, and when the leader goes, the oldest member follows it. Counts of offered protocols and
//! of members that wait in a join are kept with the members, so that no decision walks them.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::api::ReplyToken;
use super::timers::TimerHandle;

/// A request that waits inside a group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Parked {
    pub(super) reply: ReplyToken,
    pub(super) api_version: i16,
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) id: Arc<str>,
    /// Set for a static member (KIP-345).
    pub(super) instance: Option<Arc<str>>,
    pub(super) client_id: String,
    pub(super) client_host: String,
    pub(super) rebalance_timeout_ms: i32,
    pub(super) session_timeout_ms: i32,
    pub(super) assignment: Bytes,
    pub(super) awaiting_sync: Option<Parked>,
    /// Until its first join is answered: nothing excuses its silence but the longer timeout.
    pub(super) is_new: bool,
    pub(super) session: Option<TimerHandle>,
    protocols: Vec<(String, Bytes)>,
    awaiting_join: Option<Parked>,
}

impl Member {
    pub(super) fn new(
        id: Arc<str>,
        instance: Option<Arc<str>>,
        client_id: String,
        client_host: String,
        rebalance_timeout_ms: i32,
        session_timeout_ms: i32,
        protocols: Vec<(String, Bytes)>,
    ) -> Self {
        Self {
            id,
            instance,
            client_id,
            client_host,
            rebalance_timeout_ms,
            session_timeout_ms,
            assignment: Bytes::new(),
            awaiting_sync: None,
            is_new: false,
            session: None,
            protocols,
            awaiting_join: None,
        }
    }

    pub(super) fn is_static(&self) -> bool {
        self.instance.is_some()
    }

    pub(super) fn awaiting_join(&self) -> Option<Parked> {
        self.awaiting_join
    }

    /// What it offers, most wanted first.
    pub(super) fn protocols(&self) -> &[(String, Bytes)] {
        &self.protocols
    }

    /// Its metadata for a protocol; empty when it does not offer it.
    pub(super) fn metadata(&self, protocol: &str) -> Bytes {
        self.protocols
            .iter()
            .find(|(name, _)| name == protocol)
            .map_or_else(Bytes::new, |(_, metadata)| metadata.clone())
    }

    /// Whether silence is no reason to remove it: it waits for the group, not the group for it.
    pub(super) fn is_excused(&self) -> bool {
        !self.is_new && (self.awaiting_join.is_some() || self.awaiting_sync.is_some())
    }

    fn protocols_bytes(&self) -> usize {
        self.protocols.iter().map(|(name, metadata)| name.len() + metadata.len()).sum()
    }
}

/// Members by age and by id.
#[derive(Default, Debug)]
pub(super) struct Members {
    by_age: BTreeMap<u64, Member>,
    ages: BTreeMap<Arc<str>, u64>,
    instances: BTreeMap<Arc<str>, Arc<str>>,
    offers: BTreeMap<String, usize>,
    next_age: u64,
    awaiting_join_count: usize,
    metadata_bytes: usize,
}

impl Members {
    pub(super) fn count(&self) -> usize {
        self.by_age.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_age.is_empty()
    }

    pub(super) fn awaiting_join_count(&self) -> usize {
        self.awaiting_join_count
    }

    /// Bytes of protocol names and metadata of all members.
    pub(super) fn metadata_bytes(&self) -> usize {
        self.metadata_bytes
    }

    pub(super) fn contains(&self, id: &str) -> bool {
        self.ages.contains_key(id)
    }

    pub(super) fn get(&self, id: &str) -> Option<&Member> {
        self.by_age.get(self.ages.get(id)?)
    }

    pub(super) fn get_mut(&mut self, id: &str) -> Option<&mut Member> {
        self.by_age.get_mut(self.ages.get(id)?)
    }

    /// Oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Member> {
        self.by_age.values()
    }

    /// Oldest first.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Member> {
        self.by_age.values_mut()
    }

    /// Ids, oldest first.
    pub(super) fn ids(&self) -> Vec<Arc<str>> {
        self.by_age.values().map(|member| member.id.clone()).collect()
    }

    /// The member id of an instance.
    pub(super) fn of_instance(&self, instance: &str) -> Option<&Arc<str>> {
        self.instances.get(instance)
    }

    /// Adds the youngest.
    pub(super) fn add(&mut self, member: Member) {
        let age = self.next_age;
        self.next_age += 1;
        self.insert(age, member);
    }

    pub(super) fn remove(&mut self, id: &str) -> Option<Member> {
        self.take(id).map(|(_, member)| member)
    }

    /// Gives a member another id; its age, and so its turn to lead, stays.
    pub(super) fn rename(&mut self, old: &str, new: Arc<str>) {
        let (age, mut member) = self.take(old).expect("only a member is renamed");
        member.id = new;
        self.insert(age, member);
    }

    /// Replaces what a member offers.
    pub(super) fn set_protocols(&mut self, id: &str, protocols: Vec<(String, Bytes)>) {
        let (age, mut member) = self.take(id).expect("only a member changes its protocols");
        member.protocols = protocols;
        self.insert(age, member);
    }

    /// Parks a member's join; `Some` is the one that was parked before.
    pub(super) fn park_join(&mut self, id: &str, parked: Parked) -> Option<Parked> {
        let before = self.expect_mut(id).awaiting_join.replace(parked);
        self.awaiting_join_count += usize::from(before.is_none());
        before
    }

    /// Takes a member's parked join.
    pub(super) fn take_join(&mut self, id: &str) -> Option<Parked> {
        let parked = self.get_mut(id)?.awaiting_join.take();
        self.awaiting_join_count -= usize::from(parked.is_some());
        parked
    }

    /// Whether any of the names is offered by every member.
    pub(super) fn all_offer_one_of<'a>(&self, mut names: impl Iterator<Item = &'a str>) -> bool {
        let all = self.count();
        names.any(|name| self.offers.get(name).copied().unwrap_or(0) == all)
    }

    /// The protocol with the most votes among those that every member offers; each member votes for
    /// the one it wants most. On a tie the one an older member voted for.
    ///
    /// `None` without members, or when they offer nothing in common.
    pub(super) fn elect_protocol(&self) -> Option<String> {
        let mut votes: Vec<(&str, usize)> = Vec::new();
        for member in self.iter() {
            let wanted = member
                .protocols
                .iter()
                .map(|(name, _)| name.as_str())
                .find(|name| self.offers.get(*name) == Some(&self.count()))?;
            match votes.iter_mut().find(|(name, _)| *name == wanted) {
                Some((_, count)) => *count += 1,
                None => votes.push((wanted, 1)),
            }
        }
        // max_by_key keeps the last of equals; reversed, that is the first to be voted for.
        votes.iter().rev().max_by_key(|(_, count)| *count).map(|(name, _)| (*name).to_owned())
    }

    /// The longest rebalance timeout, in milliseconds; 0 without members.
    pub(super) fn rebalance_timeout_ms(&self) -> u64 {
        let longest = self.iter().map(|member| member.rebalance_timeout_ms).max().unwrap_or(0);
        u64::try_from(longest).unwrap_or(0)
    }

    fn expect_mut(&mut self, id: &str) -> &mut Member {
        self.get_mut(id).expect("only a member's join is parked")
    }

    fn insert(&mut self, age: u64, member: Member) {
        if let Some(instance) = &member.instance {
            let before = self.instances.insert(instance.clone(), member.id.clone());
            assert!(before.is_none(), "an instance is one member");
        }
        for (name, _) in &member.protocols {
            *self.offers.entry(name.clone()).or_insert(0) += 1;
        }
        self.metadata_bytes += member.protocols_bytes();
        self.awaiting_join_count += usize::from(member.awaiting_join.is_some());
        assert!(self.ages.insert(member.id.clone(), age).is_none(), "a member joins once");
        self.by_age.insert(age, member);
    }

    fn take(&mut self, id: &str) -> Option<(u64, Member)> {
        let age = self.ages.remove(id)?;
        let member = self.by_age.remove(&age).expect("every id has its member");
        if let Some(instance) = &member.instance {
            self.instances.remove(instance);
        }
        for (name, _) in &member.protocols {
            let count = self.offers.get_mut(name).expect("every offer is counted");
            *count -= 1;
            if *count == 0 {
                self.offers.remove(name);
            }
        }
        self.metadata_bytes -= member.protocols_bytes();
        self.awaiting_join_count -= usize::from(member.awaiting_join.is_some());
        Some((age, member))
    }
}
