//! The contents of a disk with a volatile write cache.
//!
//! Pure. What is written is volatile until the next flush. When the power is cut each volatile
//! 512-byte sector is kept or lost by chance, whatever the order they were written in: a drive
//! promises neither order nor whole pages. `fuse.rs` serves it to the kernel.

use std::collections::BTreeMap;

/// What a drive writes whole.
pub const SECTOR_BYTES: usize = 512;

/// Memory is taken in pieces of this size, when something is written there.
const CHUNK_BYTES: usize = 64 * 1024;

/// The disk is broken in this way until `heal`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Faults {
    /// Without power nothing works.
    pub is_off: bool,
    pub fails_reads: bool,
    pub fails_writes: bool,
    /// Writes succeed, the flush after them fails; what was written is lost to the next cut.
    pub fails_flushes: bool,
}

/// A disk in memory.
#[derive(Debug)]
pub struct CachedDisk {
    bytes: u64,
    durable: Vec<Option<Box<[u8]>>>,
    volatile: BTreeMap<u64, [u8; SECTOR_BYTES]>,
    pub faults: Faults,
    armed: Option<Armed>,
    last_cut: Option<Cut>,
}

/// A cut that comes with the operation after so many more.
#[derive(Clone, Copy, Debug)]
struct Armed {
    operations: u64,
    seed: u64,
    kept_percent: u64,
}

/// What a power cut did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cut {
    /// Volatile sectors that reached the medium all the same.
    pub kept: usize,
    pub lost: usize,
}

/// The operation failed as a broken device's does: EIO.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Failed;

impl CachedDisk {
    /// An empty disk; `bytes` is rounded up to whole pieces.
    pub fn new(bytes: u64) -> Self {
        let chunks = (bytes as usize).div_ceil(CHUNK_BYTES);
        Self {
            bytes: (chunks * CHUNK_BYTES) as u64,
            durable: (0..chunks).map(|_| None).collect(),
            volatile: BTreeMap::new(),
            faults: Faults::default(),
            armed: None,
            last_cut: None,
        }
    }

    /// Its size.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Reads whole sectors; what lies beyond the end is missing from the answer.
    pub fn read(&self, at: u64, count: usize) -> Result<Vec<u8>, Failed> {
        if self.faults.is_off || self.faults.fails_reads {
            return Err(Failed);
        }
        let count = count.min(self.bytes.saturating_sub(at) as usize);
        let mut out = vec![0; count];
        let mut done = 0;
        while done < count {
            let (chunk, from) = place(at + done as u64);
            let piece = (CHUNK_BYTES - from).min(count - done);
            if let Some(bytes) = &self.durable[chunk] {
                out[done..done + piece].copy_from_slice(&bytes[from..from + piece]);
            }
            done += piece;
        }
        let first = at / SECTOR_BYTES as u64;
        let end = (at + count as u64).div_ceil(SECTOR_BYTES as u64);
        for (sector, bytes) in self.volatile.range(first..end) {
            // A read may begin inside a sector.
            let start = sector * SECTOR_BYTES as u64;
            let skip = at.saturating_sub(start) as usize;
            let to = (start + skip as u64 - at) as usize;
            let piece = (SECTOR_BYTES - skip).min(count - to);
            out[to..to + piece].copy_from_slice(&bytes[skip..skip + piece]);
        }
        Ok(out)
    }

    /// Writes whole sectors to the cache.
    pub fn write(&mut self, at: u64, bytes: &[u8]) -> Result<(), Failed> {
        self.count_operation();
        let is_aligned = at.is_multiple_of(SECTOR_BYTES as u64)
            && bytes.len().is_multiple_of(SECTOR_BYTES)
            && at + bytes.len() as u64 <= self.bytes;
        if self.faults.is_off || self.faults.fails_writes || !is_aligned {
            return Err(Failed);
        }
        let first = at / SECTOR_BYTES as u64;
        for (sector, bytes) in (first..).zip(bytes.chunks_exact(SECTOR_BYTES)) {
            let bytes = bytes.try_into().expect("a sector's size");
            self.volatile.insert(sector, bytes);
        }
        Ok(())
    }

    /// Makes everything written durable.
    pub fn flush(&mut self) -> Result<(), Failed> {
        self.count_operation();
        if self.faults.is_off || self.faults.fails_flushes {
            return Err(Failed);
        }
        for (sector, bytes) in std::mem::take(&mut self.volatile) {
            self.store(sector, &bytes);
        }
        Ok(())
    }

    /// Lets `operations` more writes and flushes happen, and cuts the power at the next one:
    /// between a write and its flush, or between two writes of one frame.
    pub fn arm(&mut self, operations: u64, seed: u64, kept_percent: u64) {
        self.last_cut = None;
        self.armed = Some(Armed { operations, seed, kept_percent });
    }

    /// What the last cut did, once it has come.
    pub fn last_cut(&self) -> Option<Cut> {
        self.last_cut
    }

    fn count_operation(&mut self) {
        match &mut self.armed {
            None => {}
            Some(Armed { operations: operations @ 1.., .. }) => *operations -= 1,
            Some(Armed { operations: 0, seed, kept_percent }) => {
                let (seed, kept_percent) = (*seed, *kept_percent);
                self.cut(seed, kept_percent);
            }
        }
    }

    /// Cuts the power: of the volatile sectors so many percent are kept, drawn from `seed`. Nothing
    /// works until `power_on`.
    pub fn cut(&mut self, seed: u64, kept_percent: u64) -> Cut {
        self.faults.is_off = true;
        self.armed = None;
        let mut random = Random(seed);
        let mut cut = Cut { kept: 0, lost: 0 };
        for (sector, bytes) in std::mem::take(&mut self.volatile) {
            if random.next() % 100 < kept_percent {
                self.store(sector, &bytes);
                cut.kept += 1;
            } else {
                cut.lost += 1;
            }
        }
        self.last_cut = Some(cut);
        cut
    }

    /// Works again, with what is durable and nothing else.
    pub fn power_on(&mut self) {
        self.faults = Faults::default();
    }

    fn store(&mut self, sector: u64, bytes: &[u8; SECTOR_BYTES]) {
        let (chunk, from) = place(sector * SECTOR_BYTES as u64);
        let chunk =
            self.durable[chunk].get_or_insert_with(|| vec![0; CHUNK_BYTES].into_boxed_slice());
        chunk[from..from + SECTOR_BYTES].copy_from_slice(bytes);
    }
}

fn place(at: u64) -> (usize, usize) {
    ((at / CHUNK_BYTES as u64) as usize, (at % CHUNK_BYTES as u64) as usize)
}

/// SplitMix64.
#[derive(Debug)]
pub struct Random(pub u64);

impl Random {
    /// The next number of the stream.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: u64 = CHUNK_BYTES as u64 - 1024;

    fn written(flushed: bool) -> CachedDisk {
        let mut disk = CachedDisk::new(1 << 20);
        disk.write(AT, &[7; 4096]).expect("works");
        if flushed {
            disk.flush().expect("works");
        }
        disk
    }

    #[test]
    fn what_was_written_is_read_before_and_after_the_flush() {
        for flushed in [false, true] {
            let disk = written(flushed);
            assert_eq!(disk.read(AT, 4096), Ok(vec![7; 4096]));
            assert_eq!(disk.read(AT - 512, 1024), Ok([[0; 512], [7; 512]].concat()));
            assert_eq!(
                disk.read(AT + 3584 + 100, 1000).map(|out| out[..412] == [7; 412]),
                Ok(true)
            );
            assert_eq!(disk.read((1 << 20) - 512, 4096).map(|out| out.len()), Ok(512));
        }
    }

    #[test]
    fn a_cut_loses_what_was_not_flushed_and_nothing_else() {
        let mut disk = written(true);
        disk.write(AT, &[9; 512]).expect("works");
        assert_eq!(disk.cut(1, 0), Cut { kept: 0, lost: 1 });
        assert_eq!(disk.read(AT, 512), Err(Failed));
        assert_eq!(disk.write(AT, &[1; 512]), Err(Failed));
        assert_eq!(disk.flush(), Err(Failed));
        disk.power_on();
        assert_eq!(disk.read(AT, 4096), Ok(vec![7; 4096]));
    }

    #[test]
    fn a_cut_tears_a_write_into_sectors() {
        let mut disk = written(false);
        let cut = disk.cut(3, 50);
        assert!(cut.kept > 0 && cut.lost > 0, "{cut:?}");
        disk.power_on();
        let found = disk.read(AT, 4096).expect("works");
        let kept = found.chunks(512).filter(|sector| *sector == [7; 512]).count();
        let lost = found.chunks(512).filter(|sector| *sector == [0; 512]).count();
        assert_eq!((kept, lost), (cut.kept, cut.lost));
    }

    #[test]
    fn an_armed_cut_comes_between_a_write_and_its_flush() {
        let mut disk = CachedDisk::new(1 << 20);
        disk.arm(1, 1, 0);
        disk.write(0, &[1; 1024]).expect("works");
        assert_eq!(disk.last_cut(), None);
        assert_eq!(disk.flush(), Err(Failed));
        assert_eq!(disk.last_cut(), Some(Cut { kept: 0, lost: 2 }));
        disk.power_on();
        assert_eq!(disk.read(0, 512), Ok(vec![0; 512]));
    }

    #[test]
    fn a_failed_flush_leaves_the_bytes_volatile() {
        let mut disk = written(false);
        disk.faults.fails_flushes = true;
        assert_eq!(disk.flush(), Err(Failed));
        disk.cut(1, 0);
        disk.power_on();
        assert_eq!(disk.read(AT, 512), Ok(vec![0; 512]));
    }
}
