//! The end of a transaction in one partition: the marker that its coordinator has sent to the
//! partition's owner.
//!
//! Markers come from coordinators of this process only. Kafka takes them from any client by
//! WriteTxnMarkers; here that is not served (`docs/compatibility.md`). Rules: KIP-98, KIP-1228,
//! in `storage`'s producer states. Called by `offsets.rs` as every question about a partition is.

use protocol::error_code::ErrorCode;
use storage::types::{AppendHow, LogId, Origin, TxnMarker};

use super::error::append_code;
use super::offsets::Found;
use crate::shard::Shard;
use crate::shard::ask::Answer;

/// Appends the marker; the answer leaves when it is on stable storage, whatever the topic's
/// durability: the coordinator forgets the transaction then.
pub(super) fn append(
    shard: &mut Shard,
    log: LogId,
    leader_epoch: i32,
    marker: &TxnMarker,
) -> Found {
    if shard.is_flushing() {
        return Found::Now(answer(ErrorCode::NotLeaderOrFollower));
    }
    if shard.journal_failed {
        return Found::Now(answer(ErrorCode::KafkaStorageError));
    }
    let how = AppendHow {
        leader_epoch,
        origin: Origin::Internal,
        mono_ns: shard.now.mono_ns,
        wall_ms: shard.now.wall_ms,
        log_append_time: false,
    };
    match shard.store.append_marker(log, marker, how) {
        Ok(appended) => {
            shard.verifications.note_marker(log, marker.producer_id);
            Found::After(appended.commit, answer(ErrorCode::None))
        }
        Err(error) => Found::Now(answer(append_code(&error))),
    }
}

fn answer(error: ErrorCode) -> Answer {
    Answer::Marker { error_code: error.code() }
}
