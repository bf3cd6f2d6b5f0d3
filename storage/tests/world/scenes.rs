//! How tests of failing disks set a world up, fill it, and count what it tells.

use storage::types::StoreEvent;

use super::{World, id, small_log};

/// A world of one shard and so many partitions.
pub fn world(partitions: i32) -> World {
    let mut world = World::new(11, 1);
    for partition in 0..partitions {
        world.create(partition, small_log());
    }
    world
}

/// Appends to a partition and lets everything happen, flushes included; how many were taken.
pub fn fill(world: &mut World, partition: i32, batches: usize, value_bytes: usize) -> usize {
    let mut taken = 0;
    for _ in 0..batches {
        taken += usize::from(world.append(id(partition), value_bytes, 2, None).is_ok());
        world.end_turn();
        world.complete(40);
    }
    taken
}

/// Events of a kind.
pub fn count(world: &World, wanted: impl Fn(&StoreEvent) -> bool) -> usize {
    world.events.iter().filter(|(_, event)| wanted(event)).count()
}

/// Partitions that were told to have failed.
pub fn failed_partitions(world: &World) -> usize {
    count(world, |event| matches!(event, StoreEvent::PartitionFailed { .. }))
}
