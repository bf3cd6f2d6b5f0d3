//! Memory equals replay: what the shards hold is what a start from their disk comes to.
//!
//! Compared at random moments when nothing is on its way to the disk: metadata, log bounds, the
//! producers' states that recognise retries, transactions, groups and their offsets.

use std::collections::BTreeMap;

use broker::shard::inspect::DurableState;
use storage::types::PartitionId;

use super::Held;

/// `memory` and `replayed` are the shards' states, in order; the same number of shards.
pub fn check(memory: &[DurableState], replayed: &[DurableState]) -> Held {
    for (shard, (memory, replayed)) in memory.iter().zip(replayed).enumerate() {
        let wrong = |what: String| Err(breach!("memory equals replay", "shard {shard}: {what}"));
        if memory.image_fingerprint != replayed.image_fingerprint {
            return wrong("the metadata differs from its replay".to_owned());
        }
        let ids: BTreeMap<&PartitionId, ()> =
            memory.logs.keys().chain(replayed.logs.keys()).map(|id| (id, ())).collect();
        for id in ids.into_keys() {
            let (here, there) = (memory.logs.get(id), replayed.logs.get(id));
            if here != there {
                return wrong(format!("{id}: memory has {here:?}, replay gives {there:?}"));
            }
        }
        if memory.transactions != replayed.transactions {
            return wrong(format!(
                "transactions: memory has {:?}, replay gives {:?}",
                memory.transactions, replayed.transactions
            ));
        }
        if memory.groups != replayed.groups {
            return wrong(format!(
                "groups: memory has {:?}, replay gives {:?}",
                memory.groups, replayed.groups
            ));
        }
    }
    Ok(())
}
