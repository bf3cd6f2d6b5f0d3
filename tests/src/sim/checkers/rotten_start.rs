//! What a start does with a disk on which a bit flipped: it comes to the same, or it says so.
//!
//! The copy is of a moment when nothing was on its way to the disk, so that memory is what there
//! was. A start may refuse, with its reason; it may take offline what is damaged, by name; it may
//! cut a torn end, which one broker alone cannot tell from damage there, with a line. It never
//! panics, and it never comes up with less, or with something else, without a word.

use std::collections::BTreeSet;

use broker::shard::inspect::DurableState;
use storage::types::PartitionId;

use crate::sim::world::RottenStart;

/// A frame of a journal that does not read, in its entries or its header: at the end it is cut,
/// and elsewhere nobody knows whose records it had, except where something follows them. Or a
/// whole data folder is offline. No partition is named then.
const UNNAMED: [&str; 4] = ["torn", "taken for the end", "damaged frame", "data folder"];

/// Whether it is as it must be; the mark of what it was.
pub fn check(memory: &[DurableState], start: &RottenStart) -> Result<&'static str, String> {
    let wrong = |what: String| -> Result<&'static str, String> {
        let (place, told) = (&start.place, &start.told);
        Err(breach!("damage is told", "{place}: {what}; told: {told:?}"))
    };
    let Some(states) = &start.states else {
        return match start.told.iter().all(|why| why.is_empty()) {
            true => wrong("a start refuses and does not say why".to_owned()),
            false => Ok("damage refused"),
        };
    };
    let says = |what: &str| start.told.iter().any(|line| line.contains(what));
    let is_told = UNNAMED.into_iter().any(says);
    let offline = says("offline") || says("damaged");
    let (mut same, ids) = (true, memory.iter().chain(states).flat_map(|state| state.logs.keys()));
    for id in ids.collect::<BTreeSet<&PartitionId>>() {
        let of =
            |states: &[DurableState]| states.iter().find_map(|state| state.logs.get(id)).cloned();
        let (before, after) = (of(memory), of(states));
        if before == after {
            continue;
        }
        same = false;
        if !is_told && !says(&id.to_string()) {
            return wrong(format!("{id} was {before:?} and is {after:?}"));
        }
    }
    for (shard, (before, after)) in memory.iter().zip(states).enumerate() {
        let equal = before.image_fingerprint == after.image_fingerprint
            && before.groups == after.groups
            && before.transactions == after.transactions;
        same &= equal;
        if !equal && !is_told && !offline {
            return wrong(format!("shard {shard}: metadata, groups or transactions are others"));
        }
    }
    Ok(match (same, offline, is_told) {
        (_, _, true) => "damaged frame left out",
        (true, false, _) => "damage without effect",
        _ => "damage taken offline",
    })
}
