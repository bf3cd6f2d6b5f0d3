//! Counters of a store: plain integers, read by whoever publishes them.
//!
//! They only grow within a life. Nothing decides by them.

/// What a store has done since its life began.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct StoreProbe {
    /// Batches appended, and their bytes.
    pub appends_count: u64,
    pub append_bytes: u64,
    /// Appends refused: too much waited for the journal, or there was no space.
    pub refused_count: u64,
    /// Retries of idempotent producers answered without an append.
    pub duplicates_count: u64,
    /// Journal writes, the frames in them, and their bytes, padding included.
    pub journal_writes_count: u64,
    pub journal_frames_count: u64,
    pub journal_bytes: u64,
    /// Flush rounds that ended with a checkpoint, and bytes of the checkpoints.
    pub checkpoints_count: u64,
    pub checkpoint_bytes: u64,
    /// Reads answered from the tail, from blocks in memory, and after waiting for the disk.
    pub tail_reads_count: u64,
    pub block_reads_count: u64,
    pub disk_reads_count: u64,
    /// Blocks of segments read, and their bytes.
    pub blocks_count: u64,
    pub block_bytes: u64,
    /// Rounds of cleaning begun, and segments swapped in.
    pub cleaner_rounds_count: u64,
    pub cleaner_swaps_count: u64,
    /// Bytes the cleaner read and wrote.
    pub cleaner_read_bytes: u64,
    pub cleaner_written_bytes: u64,
    /// Records it filtered, and those that stayed.
    pub cleaner_records_read: u64,
    pub cleaner_records_kept: u64,
}
