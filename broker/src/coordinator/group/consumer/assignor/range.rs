//! The range assignor: per topic, neighbouring partitions in the order of the members.
//!
//! Static members come first, by instance, so that their ranges survive a restart; the others by
//! member id. Members of the same subscription get the same ranges of topics with as many
//! partitions, which is what joins need. Source: KIP-848's range assignor.

use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::types::Uuid;

use super::{Input, Subscriber};
use crate::coordinator::group::consumer::member::Partitions;

/// What of a topic is still to be given.
struct Ranges {
    next: i32,
    count: i32,
    /// Partitions for each reader, and readers that get one more.
    each: i32,
    extra: i32,
}

pub(super) fn assign(input: &Input<'_>) -> BTreeMap<Arc<str>, Partitions> {
    let mut members: Vec<&Subscriber<'_>> = input.members.iter().collect();
    members.sort_by_key(|member| (member.instance.is_none(), &member.instance, &member.id));
    let mut readers: BTreeMap<Uuid, i32> = BTreeMap::new();
    for topic in members.iter().flat_map(|member| member.topics.iter()) {
        *readers.entry(*topic).or_insert(0) += 1;
    }
    let mut ranges: BTreeMap<Uuid, Ranges> = input
        .topics
        .iter()
        .filter_map(|(topic, &count)| {
            let readers = *readers.get(topic)?;
            let (each, extra) = (count / readers, count % readers);
            Some((*topic, Ranges { next: 0, count, each, extra }))
        })
        .collect();
    let mut assignment = BTreeMap::new();
    for member in members {
        let mut part = Partitions::new();
        for topic in member.topics.iter() {
            let Some(range) = ranges.get_mut(topic) else { continue };
            let quota = range.each + i32::from(range.extra > 0);
            range.extra -= i32::from(range.extra > 0);
            let end = range.next.saturating_add(quota).min(range.count);
            if range.next < end {
                part.insert(*topic, (range.next..end).collect());
            }
            range.next = end;
        }
        assignment.insert(member.id.clone(), part);
    }
    assignment
}
