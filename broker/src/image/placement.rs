//! Which shard owns a partition: a slot kept in metadata, and slot to shard for a number of shards.
//!
//! A topic's slots are consecutive, so that its partitions go round the shards; they begin at a
//! hash of
//! the topic's id, so that a thousand topics of one partition spread as well. The slot is stored
//! and the
//! shard is not: a restart with another number of cores places every partition anew, and every
//! shard
//! computes the same answer without asking.

use protocol::types::Uuid;

use crate::controller::limits::PARTITIONS_PER_TOPIC_MAX;

/// First slots are below this: a topic's last slot still fits an `i32`.
const BASE_END: u32 = 1 << 30;

const _: () = assert!((BASE_END as i64) + (PARTITIONS_PER_TOPIC_MAX as i64) < i32::MAX as i64);

/// The slot of a partition. `partition` is not negative and within the limit of a topic.
pub fn slot(topic_id: &Uuid, partition: i32) -> i32 {
    assert!((0..PARTITIONS_PER_TOPIC_MAX).contains(&partition), "partition index within its limit");
    (hash(topic_id) % BASE_END) as i32 + partition
}

/// The shard of a slot, among this many.
pub fn shard(slot: i32, shards_count: u16) -> u16 {
    assert!(slot >= 0, "slots are not negative");
    assert!(shards_count > 0, "a broker has a shard");
    (slot as u32 % u32::from(shards_count)) as u16
}

/// FNV-1a over the id, folded: ids may be drawn at random, or counted by a simulation.
fn hash(topic_id: &Uuid) -> u32 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in topic_id.as_bytes() {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    // The low bits of FNV are its weakest, and `% shards_count` looks at them first.
    hash ^= hash >> 32;
    hash = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (hash >> 32) as u32
}

#[cfg(test)]
mod tests {
    //! Spread, measured as the fullest shard against the mean, for one to sixteen shards.

    use super::*;

    fn fullest(shards: u16, slots: impl Iterator<Item = i32>) -> f64 {
        let mut counts = vec![0_u32; shards.into()];
        let mut total = 0;
        for slot in slots {
            counts[usize::from(shard(slot, shards))] += 1;
            total += 1;
        }
        let max = counts.iter().max().copied().unwrap_or(0);
        f64::from(max) * f64::from(shards) / f64::from(total)
    }

    #[test]
    fn a_topic_of_a_thousand_partitions_spreads_evenly() {
        let id = Uuid::from_u64s(7, 9);
        for shards in 1..=16 {
            let ratio = fullest(shards, (0..1000).map(|partition| slot(&id, partition)));
            assert!(ratio <= 1.02, "{shards} shards: {ratio}");
        }
    }

    #[test]
    fn a_thousand_topics_of_one_partition_spread() {
        for counted in [true, false] {
            for shards in 1..=16 {
                let ids = (0..1000_u64).map(|n| {
                    let mixed = n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29) ^ n;
                    if counted { Uuid::from_u64s(0, n) } else { Uuid::from_u64s(mixed, !mixed) }
                });
                let ratio = fullest(shards, ids.map(|id| slot(&id, 0)));
                // Balls into bins: the fullest stays within four standard deviations of the mean.
                let bound = 1.0 + 4.0 / (1000.0 / f64::from(shards)).sqrt();
                assert!(ratio <= bound, "{shards} shards, counted {counted}: {ratio}");
            }
        }
    }

    #[test]
    fn consecutive_partitions_are_on_consecutive_shards() {
        let id = Uuid::from_u64s(1, 2);
        for partition in 0..20 {
            let here = shard(slot(&id, partition), 5);
            assert_eq!(shard(slot(&id, partition + 1), 5), (here + 1) % 5);
        }
    }
}
