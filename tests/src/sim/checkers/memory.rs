//! Memory is bounded by what clients have under way, and nothing is left when they have gone.

use broker::limits;
use broker::shard::inspect::Load;

use super::Held;

/// At any moment: no more work than the connections may have, and what one read of each had
/// brought beyond it.
pub fn check_bounded(load: &Load, connections_seen: usize) -> Held {
    let each_max = limits::CONNECTION_REQUESTS_MAX + limits::CONNECTION_HELD_FRAMES_MAX;
    let ops_max = connections_seen.max(load.connections) * each_max;
    if load.ops > ops_max {
        return Err(breach!(
            "memory is bounded",
            "{} operations of {connections_seen} connections",
            load.ops
        ));
    }
    if load.backlog_bytes > 2 * storage::limits::BACKLOG_BYTES_MAX {
        return Err(breach!(
            "memory is bounded",
            "{} bytes wait for the journal",
            load.backlog_bytes
        ));
    }
    Ok(())
}

/// When every client has gone and everything under way has ended, markers excepted that a damaged
/// partition never takes: `hangs`.
pub fn check_empty(load: &Load, hangs: bool) -> Held {
    let left = [
        ("connections", load.connections),
        ("operations", if hangs { 0 } else { load.ops }),
        ("reads of the disk", load.reads),
        ("fetches parked for other shards", load.remote_watches),
        ("answers waiting for a commit", load.acks),
        ("bytes waiting for the journal", load.backlog_bytes),
    ];
    match left.into_iter().find(|(_, count)| *count > 0) {
        Some((what, count)) => {
            Err(breach!("memory is bounded", "{count} {what} are left though nobody is there"))
        }
        None => Ok(()),
    }
}
