//! What a start does with a disk on which a bit flipped: it comes to the same, or it says so.
//!
//! The copy is of a moment when nothing was on its way to the disk, so that memory is what there
//! was. A start may refuse, with its reason; it may take offline what is damaged, by name; it may
//! cut a torn end, which one broker alone cannot tell from damage there, with a line. It never
//! panics, and it never comes up with less, or with something else, without a word.

use std::collections::{BTreeMap, BTreeSet};

use broker::shard::inspect::DurableState;
use protocol::batch::BatchHeader;
use protocol::error_code::ErrorCode;
use storage::types::PartitionId;

use super::Held;
use crate::sim::world::CopyStart;

/// A frame of a journal that does not read, in its entries or its header: at the end it is cut,
/// and elsewhere nobody knows whose records it had, except where something follows them. Or a
/// whole data folder is offline. No partition is named then.
const UNNAMED: [&str; 4] = ["torn", "taken for the end", "damaged frame", "data folder"];

/// Whether it is as it must be; the mark of what it was.
pub fn check(memory: &[DurableState], start: &CopyStart) -> Result<&'static str, String> {
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

/// Whether what is served after it is what a start from the same disk without damage serves, as far
/// as it goes: no other byte, nothing beyond it, and no less without a word. Not of compacted logs:
/// how far they are cleaned may differ.
pub fn check_contents(sound: &CopyStart, start: &CopyStart) -> Held {
    let wrong = |id: &PartitionId, what: String| {
        let (place, told) = (&start.place, &start.told);
        Err(breach!("damage is told", "{place}: {id}: {what}; told: {told:?}"))
    };
    let says = |what: &str| start.told.iter().any(|line| line.contains(what));
    for (id, there) in &start.contents {
        let is_told = UNNAMED.into_iter().any(says) || says(&id.to_string());
        let Some(whole) = sound.contents.get(id) else {
            if there.batches.is_empty() || is_told {
                continue;
            }
            return wrong(id, "it is served, and there is no such log".to_owned());
        };
        let first = whole.batches.first_key_value().map_or(0, |(offset, _)| *offset);
        let last = whole.batches.keys().next_back();
        for (offset, bytes) in &there.batches {
            // That records were deleted may be what was lost.
            if *offset < first && is_told {
                continue;
            }
            match whole.batches.get(offset) {
                Some(batch) if batch == bytes => {}
                Some(_) => return wrong(id, format!("another batch is served at {offset}")),
                // A coordinator that lost how its transaction ended sends the marker once more.
                None if is_told && is_marker(bytes) && last < Some(offset) => {}
                None => {
                    let (some, all) = (offsets(&there.batches), offsets(&whole.batches));
                    let what = format!("a batch that is not there at {offset}: {some:?}, {all:?}");
                    return wrong(id, what);
                }
            }
        }
        let offline = there.error_code == ErrorCode::KafkaStorageError.code();
        if there.error_code != whole.error_code && !offline && !is_told {
            return wrong(id, format!("a reader is answered {}", there.error_code));
        }
        let less = there.batches.len() < whole.batches.len();
        if there.error_code == whole.error_code && less && !is_told {
            let (some, all) = (there.batches.len(), whole.batches.len());
            return wrong(id, format!("{some} of {all} batches are served"));
        }
    }
    Ok(())
}

/// Whether a batch ends a transaction.
fn is_marker(batch: &[u8]) -> bool {
    BatchHeader::parse(batch).is_ok_and(|header| header.is_control())
}

/// First offsets of batches, and which are markers of transactions.
fn offsets(batches: &BTreeMap<i64, Vec<u8>>) -> Vec<(i64, bool)> {
    batches.iter().map(|(offset, batch)| (*offset, is_marker(batch))).collect()
}
