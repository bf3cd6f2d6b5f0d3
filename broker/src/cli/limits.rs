//! Every bound of the command line, and what happens at it.

/// Longest line `produce` reads. A longer one fails the command: it could not be sent either, since
/// a frame ends at the same bound.
pub const LINE_BYTES_MAX: usize = protocol::limits::FRAME_BYTES_MAX;

/// Bytes of records that the reader of the input hands over at once; one record may exceed it.
pub const CHUNK_BYTES: usize = 256 << 10;

/// Chunks that wait between the reader of the input and the sender: with the constant above at most
/// 16 MiB, or 64 huge records. The reader waits at the bound.
pub const CHUNKS_QUEUED_MAX: usize = 64;

/// Bytes that `consume` asks of one partition at once. A larger batch arrives whole.
pub const FETCH_PARTITION_BYTES_MAX: i32 = 1 << 20;

/// Bytes that `consume` asks of one broker at once. A larger batch arrives whole.
pub const FETCH_BYTES_MAX: i32 = 50 << 20;

/// Bytes that a fetched batch may decompress to. A larger one is an error that names its offset.
pub const BATCH_BYTES_MAX: usize = 256 << 20;

/// Distinct error lines a command prints; the rest is a count.
pub const ERROR_LINES_MAX: usize = 20;

/// Largest file `log dump` reads; Kafka's segments end at 2 GiB.
pub const LOG_FILE_BYTES_MAX: u64 = i32::MAX as u64 + 1;

/// Bytes of an answer of the admin endpoint: 100 cores that use 20 APIs need a tenth. A larger one
/// is an error.
pub const ADMIN_ANSWER_BYTES_MAX: u64 = 64 << 20;

/// A core whose event loop has not turned for so long is stuck: an idle one turns once a second.
pub const CORE_STUCK_NS: u64 = 5_000_000_000;
