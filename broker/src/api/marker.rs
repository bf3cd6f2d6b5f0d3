//! The end of a transaction in one partition: the marker that its coordinator, or an operator by
//! WriteTxnMarkers, has sent to the partition's owner.
//!
//! An operator's is for a transaction that its coordinator knows nothing of (`kafka-transactions
//! abort`, KIP-664); the coordinator is not told. It is held to the same rules: KIP-98, KIP-1228,
//! in `storage`'s producer states. `append` is called by `offsets.rs` as every question about a
//! partition is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use protocol::error_code::ErrorCode;
use protocol::messages::write_txn_markers::{
    WritableTxnMarkerPartitionResult, WritableTxnMarkerResult, WritableTxnMarkerTopicResult,
};
use protocol::messages::{WriteTxnMarkersRequest, WriteTxnMarkersResponse};
use storage::types::{AppendHow, LogId, Origin, TxnMarker};

use super::error::append_code;
use super::offsets::{Found, partition_ask};
use crate::controller::internal::TRANSACTION_STATE;
use crate::shard::Shard;
use crate::shard::ask::{Answer, GatherRequest, PartitionAsk};
use crate::shard::op::RequestTag;

/// A producer and a partition that its marker goes to.
pub type Marked = (i64, Arc<str>, i32);

/// Takes a WriteTxnMarkers request.
pub fn handle(shard: &mut Shard, tag: RequestTag, body: &[u8]) {
    let Some(request) = shard.decode::<WriteTxnMarkersRequest>(tag, body) else { return };
    let mut marked: Vec<Marked> = Vec::new();
    let mut asks = Vec::new();
    for one in &request.markers {
        let marker = TxnMarker {
            producer_id: one.producer_id,
            producer_epoch: one.producer_epoch,
            coordinator_epoch: one.coordinator_epoch,
            commit: one.transaction_result,
            transaction_version: one.transaction_version,
        };
        // A marker goes to a partition once.
        let mut seen = BTreeSet::new();
        for topic in &one.topics {
            let name: Arc<str> = topic.name.as_str().into();
            for index in &topic.partition_indexes {
                if !seen.insert((Arc::clone(&name), *index)) {
                    continue;
                }
                let ask = partition_ask(shard, &name, *index, PartitionAsk::Marker(marker));
                asks.push(match refusal(&marker, &name) {
                    Some(error) if ask.1.is_ok() => (shard.id(), Err(answer(error))),
                    Some(_) | None => ask,
                });
                marked.push((one.producer_id, Arc::clone(&name), *index));
            }
        }
    }
    shard.gather(tag, GatherRequest::WriteTxnMarkers(marked), asks);
}

/// Why no partition of a topic takes this marker.
fn refusal(marker: &TxnMarker, topic: &str) -> Option<ErrorCode> {
    if marker.producer_id < 0 || marker.producer_epoch == -1 || marker.transaction_version == -1 {
        // Nobody's, or of no version; Kafka answers UNKNOWN_SERVER_ERROR.
        return Some(ErrorCode::InvalidRequest);
    }
    // The coordinators' own log is in no transaction.
    (topic == TRANSACTION_STATE).then_some(ErrorCode::InvalidTopicException)
}

/// Writes the WriteTxnMarkers answer: by producer, topic and partition, each once; of several
/// markers in one partition, the last one's.
pub(super) fn finish(
    shard: &mut Shard,
    tag: RequestTag,
    marked: Vec<Marked>,
    answers: Vec<Answer>,
) {
    let mut results: BTreeMap<i64, BTreeMap<Arc<str>, BTreeMap<i32, i16>>> = BTreeMap::new();
    for ((producer_id, topic, index), answer) in marked.into_iter().zip(answers) {
        let Answer::Marker { error_code } = answer else {
            unreachable!("a marker is answered by a marker, not {answer:?}");
        };
        results.entry(producer_id).or_default().entry(topic).or_default().insert(index, error_code);
    }
    let markers = results.into_iter().map(|(producer_id, topics)| {
        let topics = topics.into_iter().map(|(name, partitions)| {
            let partitions = partitions.into_iter().map(|(partition_index, error_code)| {
                WritableTxnMarkerPartitionResult { partition_index, error_code }
            });
            WritableTxnMarkerTopicResult {
                name: name.to_string(),
                partitions: partitions.collect(),
            }
        });
        WritableTxnMarkerResult { producer_id, topics: topics.collect() }
    });
    let response = WriteTxnMarkersResponse { markers: markers.collect() };
    shard.reply::<WriteTxnMarkersRequest>(tag, &response);
}

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
    if shard.journal_failed(log.volume()) {
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
