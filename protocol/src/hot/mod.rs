//! The hot wire: Produce and Fetch without allocation and without a copy of records.
//!
//! Views ([`ProduceView`], [`FetchView`]) borrow the frame; writers ([`ProduceResponseWriter`],
//! [`FetchResponseWriter`]) append to a buffer of the caller. All other APIs go through the field
//! tables of `messages`. A frame's header is not handled here: bodies only.
//! Layouts: Kafka's `ProduceRequest.json`, `FetchRequest.json` and their responses.

mod fetch;
mod fetch_response;
mod produce;
mod produce_response;
mod reader;
mod writer;

pub use fetch::{
    FetchPartition, FetchPartitions, FetchView, ForgottenPartition, ForgottenPartitions,
};
pub use fetch_response::{
    AbortedTransaction, EpochEndOffset, FetchPartitionResponse, FetchResponseHead,
    FetchResponseWriter, SnapshotId,
};
pub use produce::{ProducePartition, ProducePartitions, ProduceView};
pub use produce_response::{ProducePartitionResponse, ProduceResponseWriter, RecordErrorMessage};
pub use reader::ViewError;
pub use writer::{LeaderIdAndEpoch, NodeEndpoint};

/// How a request names a topic: by name in older versions, by id in newer ones.
///
/// The wide tag aligns the id: packed behind a byte, its copies straddle words, and each store that
/// the next load has to wait for shows in the decoders' nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u64)]
pub enum TopicRef<'a> {
    /// The name's bytes as sent. Kafka does not check that they are UTF-8 either; a topic of such
    /// a name cannot exist, so that a lookup says "unknown".
    Name(&'a [u8]),
    /// The topic's UUID, most significant byte first.
    Id([u8; 16]),
}

impl<'a> TopicRef<'a> {
    /// The name, if the request used one and it is UTF-8.
    pub fn name(&self) -> Option<&'a str> {
        match self {
            Self::Name(bytes) => std::str::from_utf8(bytes).ok(),
            Self::Id(_) => None,
        }
    }

    /// The UUID, if the request used one.
    pub fn id(&self) -> Option<[u8; 16]> {
        match self {
            Self::Name(_) => None,
            Self::Id(id) => Some(*id),
        }
    }
}
