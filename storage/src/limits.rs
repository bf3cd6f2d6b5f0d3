//! Every bound of storage, with what happens there.

/// Direct I/O granularity in bytes: positions, lengths and addresses are multiples of it. The
/// devices we measured have 512-byte logical and 4 KiB physical sectors; a smaller unit makes the
/// device read, modify and write.
pub const BLOCK_BYTES: usize = 4096;

/// Batches of an idempotent producer that a retry is recognised by, per partition. Kafka's number:
/// its clients keep at most five requests in flight. An older retry is out of order.
pub const PRODUCER_BATCHES_COUNT: usize = 5;

/// Producers a partition remembers: at about 200 bytes each, 13 MiB. At the bound the sixteenth
/// whose last batches are oldest is forgotten, as if expired, open transactions excepted; when all
/// have one, an unknown producer is refused, and its marker is written but not remembered.
pub const PRODUCERS_PER_PARTITION_MAX: usize = 65_536;

/// Leader epochs a log remembers. At the bound the oldest goes: a question about it is answered
/// with the first one known, as after its records were deleted.
pub const LEADER_EPOCHS_MAX: usize = 65_536;

/// Capacities of frame buffers. A frame starts in the class the last group commit filled; a batch
/// larger than the largest class gets a buffer of its own, which is not pooled. What a frame does
/// not fill is memory that counts but holds nothing, and makes flushes come sooner: steps of two,
/// so that it is a quarter on average.
pub const FRAME_CLASSES_BYTES: [usize; 9] = [
    4 << 10,
    8 << 10,
    16 << 10,
    32 << 10,
    64 << 10,
    128 << 10,
    256 << 10,
    512 << 10,
    FRAME_CLASS_BYTES_MAX,
];

/// The largest class of frame buffers.
pub const FRAME_CLASS_BYTES_MAX: usize = 1 << 20;

/// Bytes one journal write carries at most (unless a single frame is larger). More waits for the
/// next write: a longer one only delays those who came first.
pub const GROUP_BYTES_MAX: usize = 4 << 20;

/// Frames one journal write carries at most; more waits for the next write. Kernels take 1,024
/// buffers in a vectored write.
pub const GROUP_FRAMES_MAX: usize = 256;

/// Frames that no ack waits for (`memory` durability) go into one journal write, which starts when
/// the oldest is this old: a write per record would cost a core more than all else about it. A
/// power cut takes that much more.
pub const UNAWAITED_WRITE_NS: u64 = 1_000_000;

/// It starts at once with so many of them: each takes a slot of lent memory, and an edge lends at
/// least four times as many.
pub const UNAWAITED_FRAMES_MAX: usize = 16;

/// It starts at once with so many bytes: as cheap by the byte as it gets.
pub const UNAWAITED_BYTES_MAX: usize = 256 << 10;

/// Bytes that may wait for the journal. Beyond, `append` answers `AppendError::Busy`.
pub const BACKLOG_BYTES_MAX: usize = 64 << 20;

/// Memory for frames is mapped, and touched ahead, in pieces of this size: a huge page.
pub const ARENA_CHUNK_BYTES: usize = 2 << 20;

/// Bytes of a copy into lent memory from which the memory says how it is done. Shorter ones stay in
/// the cache: they are summed, sent or copied again before they would be there.
pub const STORE_BYTES_MIN: usize = 4 << 10;

/// Pieces kept touched ahead of need, per shard. A shard that needs more sooner maps them itself.
pub const ARENA_CHUNKS_AHEAD: usize = 2;

/// The largest segment, in bytes: positions in Kafka's indexes are signed 32-bit.
pub const SEGMENT_BYTES_MAX: u32 = i32::MAX as u32;

/// The smallest journal file, in bytes. Smaller ones on disk are replaced.
pub const JOURNAL_FILE_BYTES_MIN: u64 = 256 << 10;

/// Zeros written at once when a journal file is prepared, in bytes: small enough not to hold up an
/// ack.
pub const PREPARE_BYTES: usize = 1 << 20;

/// Volumes a node has at most: four bits of an operation's and of a log's name. More data folders
/// are refused where they are configured.
pub const VOLUMES_MAX: usize = 16;

/// Partitions one shard may hold on one volume. Beyond, `create_partition` errs.
pub const PARTITIONS_MAX: usize = 1 << 20;

/// Partitions flushed, and things removed, at the same time. Each has one operation under way, so
/// that the journal's write never waits behind more than these.
pub const FLUSH_JOBS_MAX: usize = 4;

/// The same when nobody is served, at a stop and in recovery: a file system commits what is to be
/// made durable at the same time together.
pub const FLUSH_JOBS_ALONE_MAX: usize = 64;

/// Threads on which recovery has the disk at most.
pub const BLOCKING_THREADS_MAX: usize = 16;

/// Files of growing segments that stay open between rounds, per shard. A log beyond them has its
/// file opened, synced and closed in each round; at the end of a round that found no place, files
/// of logs that were not written to are closed. Without descriptors the round is tried again later.
pub const FLUSH_FILES_MAX: usize = 1024;

/// Bytes of a log that make its flush worth while. With many logs a round starts later than
/// `StoreConfig::flush_bytes` says, but never later than at half of the journal.
pub const FLUSH_LOG_BYTES: u64 = 256 << 10;

/// Bytes one segment write carries, unless a single batch is larger. Large enough for the device's
/// full rate, small enough that a journal write behind it waits about a millisecond.
pub const FLUSH_RUN_BYTES: usize = 512 << 10;

/// Nanoseconds until a flush that found no space, or a checkpoint that failed, is tried again.
pub const RETRY_NS: u64 = 1_000_000_000;

/// The largest checkpoint read back, in bytes: 1 M partitions of about 200 bytes, and their
/// producers. A larger file is refused as damaged.
pub const CHECKPOINT_BYTES_MAX: u64 = 1 << 30;

/// Bytes of a segment read at once: two of them cover what a fetch takes of a partition in 500 µs
/// on the devices we measured. A larger batch is read whole.
pub const READ_BLOCK_BYTES: usize = 256 << 10;

/// Bytes of a segment read ahead of a reader that goes on: the batch that the end of a read cuts is
/// read again with the next, and the larger the read the less that is.
pub const READ_AHEAD_BYTES: usize = 1 << 20;

/// Bytes of segments that the device is asked for at a time, per shard; a read that is larger goes
/// alone, others wait their turn. Two reads of a reader that goes on; more would stand before a
/// journal write in the device's queue.
pub const READ_IN_FLIGHT_BYTES_MAX: usize = 2 << 20;

/// Bytes of blocks of segments kept for other readers, per shard. The one unused for longest goes;
/// one is always kept, whatever its size. Readers of one log that are closer together than this
/// cost the disk one read. With more readers of different logs than fit, a block read ahead may go
/// before its reader comes, and is read again.
pub const READ_CACHE_BYTES: usize = 32 << 20;

/// Buffers of blocks that went, kept for blocks to come: their memory is touched already. The rest
/// is freed.
pub const READ_SPARES_COUNT: usize = 4;

/// Loads of blocks under way per shard. A read that needs one more answers `ReadError::Busy`.
pub const LOADS_MAX: usize = 64;

/// Reads that wait for loads per shard. One more answers `ReadError::Busy`.
pub const READS_PENDING_MAX: usize = 4096;

/// Indexes of sealed segments kept in memory, at most 10 MiB each and mostly far less. The oldest
/// goes.
pub const INDEX_CACHE_COUNT: usize = 16;

/// Bytes of a segment that the cleaner reads at once. A larger batch is read whole.
pub const CLEAN_READ_BYTES: usize = 1 << 20;

/// Most bytes a batch's records may inflate to for the cleaner. A log with a larger one is
/// uncleanable.
pub const CLEAN_RECORDS_BYTES_MAX: usize = 256 << 20;

/// Swaps of cleaned segments that no checkpoint knows of, per shard. At the bound the cleaner waits
/// for one.
pub const CLEAN_SWAPS_MAX: usize = 256;

/// Bytes of a file that the mover reads and writes at once while a log moves to another volume: one
/// operation of it is under way per shard, and a journal write behind it waits about a millisecond.
pub const MOVE_SLICE_BYTES: usize = 512 << 10;

/// Bytes the mover writes before it syncs them, so that no sync has much to do.
pub const MOVE_SYNC_BYTES: u64 = 8 << 20;

/// Bytes of a log that were flushed while the rest was copied from which its files are gone through
/// once more; with less the copy becomes a log, which takes what memory has.
pub const MOVE_AGAIN_BYTES: u64 = 4 << 20;

/// Bytes of batches that a turn of the event loop appends to a copy.
pub const MOVE_MIRROR_BYTES: usize = 1 << 20;

/// Bytes of a small file beside a segment (aborted transactions, producers) that are copied: 65 536
/// producers take 4 MiB.
pub const MOVE_SMALL_FILE_BYTES_MAX: u64 = 64 << 20;

/// Segment files kept open for reading. More are opened while all of these are in use; the first
/// unused one is closed.
pub const READ_FILES_MAX: usize = 64;

/// Folders of compacted logs that a start lists at once, for what a cut swap left: enough to keep a
/// device busy. More wait for these.
pub const FOLDERS_LISTED_AT_ONCE: usize = 64;

const _: () = assert!(FRAME_CLASSES_BYTES[0] == BLOCK_BYTES);
const _: () = assert!(ARENA_CHUNK_BYTES.is_multiple_of(FRAME_CLASS_BYTES_MAX));
const _: () = assert!(GROUP_BYTES_MAX >= FRAME_CLASS_BYTES_MAX);
const _: () = assert!(BACKLOG_BYTES_MAX > 4 * GROUP_BYTES_MAX);
