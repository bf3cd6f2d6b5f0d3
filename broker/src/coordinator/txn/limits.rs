//! What a transaction coordinator holds at most, and what a client hears at the bound.
//!
//! One coordinator is one shard's. The numbers bound what hostile or broken clients can make it
//! keep; an ordinary client never meets them.

use crate::coordinator::limits::STRING_BYTES_MAX;

/// Transactional ids of one shard. InitProducerId with another one answers
/// `COORDINATOR_NOT_AVAILABLE` until some expire.
pub const TRANSACTIONAL_IDS_MAX: usize = 200_000;

/// Partitions of one transaction. Adding more answers `INVALID_REQUEST`: a record with all of them
/// must fit into a batch.
pub const PARTITIONS_PER_TRANSACTION_MAX: usize = 20_000;

/// Bytes of a transactional id: what a record's two length bytes can say. A longer one answers
/// `INVALID_REQUEST`.
pub const TRANSACTIONAL_ID_BYTES_MAX: usize = STRING_BYTES_MAX;

/// Appends under way of one shard, and requests that wait for a producer id. One more answers
/// `COORDINATOR_NOT_AVAILABLE`; the end of a transaction that is decided goes past it.
pub const UNDER_WAY_MAX: usize = 65_536;

/// Records under way that add partitions to one transaction, about one for each core that was given
/// some of them. One more answers `CONCURRENT_TRANSACTIONS`, and is tried again by whoever asks.
pub const ADDITIONS_UNDER_WAY_MAX: usize = 64;

/// Requests for partitions that such a record has already, and that wait for it. One more answers
/// `CONCURRENT_TRANSACTIONS`.
pub const ADDITIONS_WAITING_MAX: usize = 1_024;

/// Producer ids that were asked for and turned out not to be needed; more are let go unused.
pub const SPARE_PRODUCER_IDS_MAX: usize = 64;

/// Transactional ids that one append lets expire; the sweep makes as many appends as it needs.
pub const EXPIRED_PER_APPEND_MAX: usize = 1_000;

/// Wait before a marker or the record of a transaction's end is tried again, in milliseconds.
pub const RETRY_MS: u64 = 100;

/// Bytes that a compiled pattern of ListTransactions may take. A larger one answers
/// `INVALID_REGULAR_EXPRESSION`.
pub const PATTERN_BYTES_MAX: usize = 1 << 20;
