//! A consumer group as it will be once a decision is carried out.
//!
//! Most of a heartbeat's decision rests on one changed member; this lays it over the state without
//! copying the others. Used by `heartbeat`, `leave` and `target`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use protocol::types::Uuid;

use super::member::Member;
use super::state::{Index, State};
use super::{Consumer, Metadata, Refusal};
use crate::coordinator::consumer_records::{ConsumerRecord, GroupValue};
use crate::coordinator::limits;
use protocol::error_code::ErrorCode;

/// The state with some members changed.
pub(super) struct View<'a> {
    pub(super) state: &'a State,
    index: &'a Index,
    /// Members that will be as given, or gone.
    changed: BTreeMap<Arc<str>, Option<&'a Member>>,
    /// Expressions that will stand for these topics, or be gone.
    regexes: BTreeMap<String, Option<BTreeSet<String>>>,
}

impl<'a> View<'a> {
    pub(super) fn new(state: &'a State, index: &'a Index) -> Self {
        Self { state, index, changed: BTreeMap::new(), regexes: BTreeMap::new() }
    }

    /// A member will be gone.
    pub(super) fn without(&mut self, id: &Arc<str>) {
        self.changed.insert(id.clone(), None);
    }

    /// A member will be as given.
    pub(super) fn with(&mut self, member: &'a Member) {
        self.changed.insert(member.id.clone(), Some(member));
    }

    /// Every member, by id.
    pub(super) fn members(&self) -> impl Iterator<Item = &Member> {
        let unchanged = self.state.members.values();
        let unchanged = unchanged.filter(|member| !self.changed.contains_key(&member.id));
        let changed = self.changed.values().filter_map(|member| *member);
        let mut members: Vec<&Member> = unchanged.chain(changed).collect();
        members.sort_by(|one, other| one.id.cmp(&other.id));
        members.into_iter()
    }

    /// How a count of something changes with the members that do.
    fn count(&self, before: usize, has: impl Fn(&Member) -> bool) -> usize {
        let mut count = before;
        for (id, after) in &self.changed {
            count += usize::from(after.is_some_and(&has));
            count -= usize::from(self.state.members.get(id).is_some_and(&has));
        }
        count
    }

    /// Whether anybody will subscribe by an expression.
    fn needs_regex(&self, regex: &str) -> bool {
        let before = self.index.patterns.get(regex).copied().unwrap_or(0);
        self.count(before, |member| member.regex.as_deref() == Some(regex)) > 0
    }

    /// The topics an expression will stand for.
    pub(super) fn regex_topics(&self, regex: &str) -> Option<&BTreeSet<String>> {
        match self.regexes.get(regex) {
            Some(changed) => changed.as_ref(),
            None => self.state.regexes.get(regex).map(|resolved| &resolved.topics),
        }
    }

    /// Names of all topics that somebody will read.
    pub(super) fn names(&self) -> BTreeSet<&str> {
        let mut names: BTreeSet<&str> = self
            .index
            .names
            .iter()
            .filter(|(name, count)| self.count(**count, |m| m.names.contains(*name)) > 0)
            .map(|(name, _)| name.as_str())
            .collect();
        for member in self.changed.values().filter_map(|member| *member) {
            names.extend(member.names.iter().map(String::as_str));
        }
        for (regex, resolved) in &self.state.regexes {
            if !self.regexes.contains_key(regex) {
                names.extend(resolved.topics.iter().map(String::as_str));
            }
        }
        names.extend(self.regexes.values().flatten().flatten().map(String::as_str));
        names
    }

    /// Ids of the topics that a member will read and that exist.
    pub(super) fn topics_of(&self, member: &Member, metadata: Metadata<'_>) -> BTreeSet<Uuid> {
        let by_regex = member.regex.as_deref().and_then(|regex| self.regex_topics(regex));
        let names = member.names.iter().chain(by_regex.into_iter().flatten());
        names.filter_map(|name| metadata.topics.topic_id(name)).collect()
    }

    /// A fingerprint of the topics that somebody will read: names, ids, numbers of partitions.
    ///
    /// Kafka's is another function of the same things. They are never compared with each other
    /// except after moving a log from one to the other: then the group's epoch rises once.
    pub(super) fn metadata_hash(&self, metadata: Metadata<'_>) -> i64 {
        let mut hash = 0;
        for name in self.names() {
            let Some(id) = metadata.topics.topic_id(name) else { continue };
            let count = metadata.topics.partitions_count(name);
            // FNV-1a per topic; the sum does not depend on an order.
            let mut one = 0xcbf2_9ce4_8422_2325_u64;
            for byte in name.bytes().chain(*id.as_bytes()).chain(count.to_be_bytes()) {
                one = (one ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
            }
            hash = one.wrapping_add(hash);
        }
        hash.cast_signed()
    }

    /// The record of the group with a new epoch.
    pub(super) fn next_epoch(&self, metadata: Metadata<'_>) -> ConsumerRecord {
        ConsumerRecord::Group(Some(GroupValue {
            epoch: self.state.epoch.saturating_add(1),
            metadata_hash: self.metadata_hash(metadata),
        }))
    }
}

impl Consumer {
    /// Lays the change of the group's expressions over a view: those that are new are matched, all
    /// are matched again when the topics changed, those that nobody uses go.
    ///
    /// # Errors
    /// When a new one cannot be compiled or the group has too many.
    pub(super) fn refresh_regexes(
        view: &mut View<'_>,
        patterns: &mut super::pattern::Patterns,
        metadata: Metadata<'_>,
        topics_changed: bool,
        now_ms: i64,
        records: &mut Vec<ConsumerRecord>,
    ) -> Result<(), Refusal> {
        let changed = view.changed.values().filter_map(|member| *member);
        let mut wanted: BTreeSet<String> =
            changed.filter_map(|member| member.regex.clone()).collect();
        wanted.extend(view.state.regexes.keys().cloned());
        for regex in wanted {
            let known = view.state.regexes.get(&regex);
            if !view.needs_regex(&regex) {
                if known.is_some() {
                    records.push(ConsumerRecord::Regex(regex.clone(), None));
                    view.regexes.insert(regex, None);
                }
            } else if known.is_none() || topics_changed {
                if known.is_none() && view.state.regexes.len() >= limits::REGEXES_PER_GROUP_MAX {
                    return Err(ErrorCode::GroupMaxSizeReached.into());
                }
                let topics = match patterns.resolve(&regex, metadata) {
                    Ok(topics) => topics,
                    // Another broker took it: what it stood for then still counts.
                    Err(_) if known.is_some() => continue,
                    Err(refusal) => return Err(refusal),
                };
                if known.is_none_or(|known| known.topics != topics) {
                    let value = super::state::regex_value(&topics, metadata.version, now_ms);
                    records.push(ConsumerRecord::Regex(regex.clone(), Some(value)));
                    view.regexes.insert(regex, Some(topics));
                }
            }
        }
        patterns.retain(|regex| view.needs_regex(regex));
        Ok(())
    }
}
