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

impl StoreProbe {
    /// What two stores have done.
    pub fn plus(self, other: Self) -> Self {
        Self {
            appends_count: self.appends_count + other.appends_count,
            append_bytes: self.append_bytes + other.append_bytes,
            refused_count: self.refused_count + other.refused_count,
            duplicates_count: self.duplicates_count + other.duplicates_count,
            journal_writes_count: self.journal_writes_count + other.journal_writes_count,
            journal_frames_count: self.journal_frames_count + other.journal_frames_count,
            journal_bytes: self.journal_bytes + other.journal_bytes,
            checkpoints_count: self.checkpoints_count + other.checkpoints_count,
            checkpoint_bytes: self.checkpoint_bytes + other.checkpoint_bytes,
            tail_reads_count: self.tail_reads_count + other.tail_reads_count,
            block_reads_count: self.block_reads_count + other.block_reads_count,
            disk_reads_count: self.disk_reads_count + other.disk_reads_count,
            blocks_count: self.blocks_count + other.blocks_count,
            block_bytes: self.block_bytes + other.block_bytes,
            cleaner_rounds_count: self.cleaner_rounds_count + other.cleaner_rounds_count,
            cleaner_swaps_count: self.cleaner_swaps_count + other.cleaner_swaps_count,
            cleaner_read_bytes: self.cleaner_read_bytes + other.cleaner_read_bytes,
            cleaner_written_bytes: self.cleaner_written_bytes + other.cleaner_written_bytes,
            cleaner_records_read: self.cleaner_records_read + other.cleaner_records_read,
            cleaner_records_kept: self.cleaner_records_kept + other.cleaner_records_kept,
        }
    }
}
