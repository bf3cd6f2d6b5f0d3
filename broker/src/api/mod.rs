//! Kafka's APIs: what each request asks of the shard and how its answer is written.
//!
//! One file per family. Decisions about groups are the coordinator's, about metadata the
//! controller's; here requests are taken apart, sent to the owners of their parts, and answers put
//! together.

pub mod admin;
pub mod cluster;
pub mod error;
pub mod fetch;
pub mod fetch_session;
pub mod groups;
pub mod log_dirs;
pub mod marker;
pub mod metadata;
pub mod offsets;
pub mod produce;
mod produce_merge;
pub(crate) mod produce_refusal;
pub mod producers;
pub mod rules;
pub mod security;
pub mod served;
mod streams;
pub mod transactions;
pub mod versions;

use crate::shard::Shard;
use crate::shard::ask::{Answer, GatherRequest};
use crate::shard::op::RequestTag;

/// Writes the answer of a request whose questions are all answered.
pub(crate) fn finish(
    shard: &mut Shard,
    tag: RequestTag,
    request: GatherRequest,
    answers: Vec<Answer>,
) {
    match request {
        GatherRequest::ListOffsets(request) => offsets::finish_list(shard, tag, request, answers),
        GatherRequest::DeleteRecords(request) => {
            offsets::finish_delete(shard, tag, request, answers);
        }
        GatherRequest::OffsetForLeaderEpoch(request) => {
            offsets::finish_epoch_end(shard, tag, request, answers);
        }
        GatherRequest::AlterReplicaLogDirs(response) => {
            log_dirs::finish_alter(shard, tag, response, &answers);
        }
        GatherRequest::DescribeLogDirs(request) => log_dirs::finish(shard, tag, request, answers),
        GatherRequest::DescribeProducers(request) => {
            producers::finish_describe(shard, tag, request, answers);
        }
        GatherRequest::InitProducerId(_) => producers::finish_init(shard, tag, &answers),
        GatherRequest::FindCoordinator(request) => groups::finish_find(shard, tag, &request),
        GatherRequest::Metadata(request) => metadata::finish(shard, tag, &request),
        GatherRequest::Group(key) => groups::finish(shard, tag, key, answers),
        GatherRequest::StreamsTopics(response) => {
            streams::finish(shard, tag, *response, answers);
        }
        GatherRequest::DescribeQuorum(request) => {
            cluster::finish_quorum(shard, tag, &request, &answers);
        }
        GatherRequest::Control => admin::finish(shard, tag, answers),
        GatherRequest::Txn(request) => transactions::finish(shard, tag, request, answers),
        GatherRequest::WriteTxnMarkers(marked) => marker::finish(shard, tag, marked, answers),
    }
}
