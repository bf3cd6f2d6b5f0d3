//! Bounds of this crate, each with what happens there.

/// Longest file that is read. The rest of a longer one is not looked at; of the files read here
/// only a mount table of thousands of lines comes near.
pub const READ_BYTES_MAX: u64 = 4 << 20;

/// Most names of a folder that are looked at; /proc with every process is the longest one.
pub const NAMES_MAX: usize = 1 << 17;

/// Highest number of a core, as Linux is built at most (`NR_CPUS`); a higher one is no core list.
pub const CORE_MAX: u32 = 8191;

/// Longest journal that is read. A longer one is refused: ours has a few hundred bytes per file.
pub const JOURNAL_BYTES_MAX: u64 = 64 << 20;

/// Most disks below one data folder (striped, mirrored, encrypted in layers); more are not judged.
pub const DISKS_MAX: usize = 64;

/// Layers of block devices on block devices that are followed.
pub const LAYERS_MAX: usize = 8;

/// Longest output of a bench that is kept. What comes after it is read and thrown away, so that
/// the bench does not block, and no result is found in it.
pub const BENCH_OUTPUT_BYTES_MAX: u64 = 16 << 20;

/// Most rounds of one measurement.
pub const ROUNDS_MAX: u32 = 100;

const _: () = assert!(READ_BYTES_MAX <= JOURNAL_BYTES_MAX, "a journal holds what files held");
