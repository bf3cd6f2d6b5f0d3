//! The journal's files: prepared before they are needed, filled one after the other, used again.
//!
//! A file is prepared by writing zeros over all of it and syncing it, so that a frame's write
//! changes no metadata. It knows positions and sequences, not frames. A file is free again when a
//! checkpoint says that everything in it is in segments.

use crate::buffer::AlignedBuf;
use crate::limits::{BLOCK_BYTES, PREPARE_BYTES};
use crate::op::{
    DiskDone, DiskError, DiskOk, DiskOp, DiskPath, Durability, FileId, OpenMode, WriteBuf,
};
use crate::store::ops::{Ops, Purpose};

/// The folder of a shard's journal, below `Root::Journal`.
pub fn folder(shard: u16) -> String {
    format!("journal/shard-{shard}")
}

/// A journal file's path, below `Root::Journal`.
pub fn file_path(shard: u16, number: u32) -> String {
    format!("{}/{number:08}.journal", folder(shard))
}

/// Reads a file's number back from its name.
pub fn file_number(name: &str) -> Option<u32> {
    let digits = name.strip_suffix(".journal")?;
    (digits.len() == 8 && digits.bytes().all(|b| b.is_ascii_digit()))
        .then(|| digits.parse().ok())?
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Not there, or not of the right length.
    Absent,
    /// Being opened; `prepared` says whether its bytes are there already.
    Opening {
        prepared: bool,
    },
    /// Zeros are written up to `position`.
    Zeroing {
        position: u64,
    },
    Syncing,
    SyncingFolder,
    Free,
    Current,
    /// Holds frames up to `last`.
    Full {
        last: u64,
    },
}

#[derive(Debug)]
struct RingFile {
    number: u32,
    file: FileId,
    bytes: u64,
    state: State,
}

/// A place for a write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub file: FileId,
    pub number: u32,
    pub position: u64,
}

/// Files of one shard's journal.
#[derive(Debug)]
pub(crate) struct Ring {
    shard: u16,
    /// Bytes of each file.
    file_bytes: u64,
    files: Vec<RingFile>,
    current: Option<usize>,
    position: u64,
    /// Last sequence placed.
    last: u64,
    preparing: bool,
    /// Preparing a file failed, and none has been prepared since: those that are missing cannot be
    /// counted on.
    starved: bool,
    /// It is time to try again.
    retrying: bool,
}

impl Ring {
    /// Files of `journal_bytes` in all: at least three, so that one is freed while another fills
    /// and a third takes what is certain.
    pub fn files_count(journal_bytes: u64, file_bytes: u64) -> u32 {
        (journal_bytes / file_bytes).clamp(3, 1 << 16) as u32
    }

    /// A ring of no file, for recovery.
    pub fn none(shard: u16) -> Self {
        Self {
            shard,
            file_bytes: 0,
            files: Vec::new(),
            current: None,
            position: 0,
            last: 0,
            preparing: false,
            starved: false,
            retrying: false,
        }
    }

    /// A ring of `count` files of `file_bytes`; those numbers of which `prepared` holds exist,
    /// whole.
    pub fn new(shard: u16, file_bytes: u64, count: u32, prepared: &[u32], ops: &mut Ops) -> Self {
        let mut ring = Self { file_bytes, ..Self::none(shard) };
        for number in 0..count {
            let file = ops.next_file();
            let state = if prepared.contains(&number) {
                let slot = number as usize;
                ring.open(slot, file, number, OpenMode::ReadWrite, ops);
                State::Opening { prepared: true }
            } else {
                State::Absent
            };
            ring.files.push(RingFile { number, file, bytes: file_bytes, state });
        }
        ring
    }

    /// Bytes all files hold.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// Bytes of one file: no frame may be larger.
    pub fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// Bytes that can be placed without any file being freed.
    pub fn free_bytes(&self) -> u64 {
        let rest = self.current.map_or(0, |slot| self.files[slot].bytes - self.position);
        rest + self.free_files() * self.file_bytes()
    }

    /// Bytes that are certain to find a place, however they fall into frames: three quarters of
    /// each file that is free or will be prepared, because no frame is larger than the rest.
    pub fn certain_bytes(&self) -> u64 {
        self.free_files() * (self.file_bytes() / 4 * 3)
    }

    /// The same for a ring of which one file is being filled and the others are free.
    pub fn certain_bytes_max(&self) -> u64 {
        (self.files.len() as u64).saturating_sub(1) * (self.file_bytes() / 4 * 3)
    }

    /// Whether files are missing because the disk did not take them.
    pub fn is_starved(&self) -> bool {
        self.starved
    }

    /// Files that are free or will be prepared. On a disk that takes no more files, those that are
    /// there.
    pub fn free_files(&self) -> u64 {
        let free = |file: &&RingFile| match file.state {
            State::Free | State::Opening { prepared: true } => true,
            State::Absent
            | State::Opening { prepared: false }
            | State::Zeroing { .. }
            | State::Syncing
            | State::SyncingFolder => !self.starved,
            State::Current | State::Full { .. } => false,
        };
        self.files.iter().filter(free).count() as u64
    }

    /// Bytes that can go into the place that `place` would give next, if any.
    pub fn room(&self) -> u64 {
        let rest = self.current.map_or(0, |slot| self.files[slot].bytes - self.position);
        match self.next_free() {
            Some(slot) => rest.max(self.files[slot].bytes),
            None => rest,
        }
    }

    /// A place for `bytes` that end with frame `last`; `None` until a file is freed or prepared.
    pub fn place(&mut self, bytes: u64, last: u64) -> Option<Place> {
        let fits = self.current.is_some_and(|slot| self.position + bytes <= self.files[slot].bytes);
        if !fits {
            let next = self.next_free()?;
            assert!(bytes <= self.files[next].bytes, "no frame is larger than a file");
            if let Some(slot) = self.current {
                self.files[slot].state = State::Full { last: self.last };
            }
            self.files[next].state = State::Current;
            self.current = Some(next);
            self.position = 0;
        }
        let slot = self.current.expect("there is a current file");
        let file = &self.files[slot];
        let place = Place { file: file.file, number: file.number, position: self.position };
        self.position += bytes;
        self.last = last;
        Some(place)
    }

    /// Bytes left in the current file.
    pub fn current_room(&self) -> u64 {
        self.current.map_or(0, |slot| self.files[slot].bytes - self.position)
    }

    /// Everything below `sequence` is in segments: files that hold nothing else are free.
    pub fn release_below(&mut self, sequence: u64) {
        for file in &mut self.files {
            match file.state {
                State::Full { last } if last < sequence => file.state = State::Free,
                State::Full { .. }
                | State::Absent
                | State::Opening { .. }
                | State::Zeroing { .. }
                | State::Syncing
                | State::SyncingFolder
                | State::Free
                | State::Current => {}
            }
        }
    }

    /// Prepares one more file when fewer than `ready_min` are ready: with two, one is never waited
    /// for, and a young broker does not spend its first seconds writing zeros.
    pub fn prepare(&mut self, ready_min: usize, ops: &mut Ops) {
        if self.preparing || self.starved && !self.retrying {
            return;
        }
        let ready = |file: &&RingFile| {
            matches!(file.state, State::Free | State::Opening { prepared: true })
        };
        if self.files.iter().filter(ready).count() >= ready_min {
            return;
        }
        let Some(slot) = self.files.iter().position(|file| file.state == State::Absent) else {
            return;
        };
        self.preparing = true;
        self.retrying = false;
        let (file, number) = (self.files[slot].file, self.files[slot].number);
        self.files[slot].state = State::Opening { prepared: false };
        self.open(slot, file, number, OpenMode::CreateOrOpen, ops);
    }

    /// Space may be back: preparing is tried again.
    pub fn retry(&mut self) {
        self.retrying = true;
    }

    /// Takes a completion of a file's preparation. An error other than want of space is told once
    /// and leaves the file out of the ring.
    pub fn handle_disk(
        &mut self,
        slot: usize,
        done: DiskDone,
        ops: &mut Ops,
    ) -> Result<(), (String, DiskError)> {
        let path = file_path(self.shard, self.files[slot].number);
        let ok = match done.result {
            Ok(ok) => ok,
            Err(error) => {
                self.give_up(slot, ops);
                return Err((path, error));
            }
        };
        let file = &mut self.files[slot];
        file.state = match (file.state, ok) {
            (State::Opening { prepared: true }, DiskOk::Opened { bytes })
                if bytes >= file.bytes =>
            {
                State::Free
            }
            (State::Opening { .. }, _) => State::Zeroing { position: 0 },
            (State::Zeroing { position }, DiskOk::Written { bytes, .. }) => {
                // A short write of whole blocks goes on where it ended; one of nothing would never
                // end.
                let whole = bytes - bytes % BLOCK_BYTES as u64;
                if whole == 0 {
                    self.give_up(slot, ops);
                    return Err((path, DiskError::Io { errno: 0 }));
                }
                State::Zeroing { position: position + whole }
            }
            (State::Syncing, _) => State::SyncingFolder,
            (State::SyncingFolder, _) => State::Free,
            (state, _) => state,
        };
        let (id, bytes) = (file.file, file.bytes);
        match file.state {
            State::Zeroing { position } if position >= bytes => {
                file.state = State::Syncing;
                ops.submit(Purpose::RingFile { slot }, |op| DiskOp::Sync { op, file: id });
            }
            State::Zeroing { position } => {
                self.preparing = true;
                let mut zeros =
                    AlignedBuf::new((bytes - position).min(PREPARE_BYTES as u64) as usize);
                let len = zeros.capacity();
                zeros.set_len(len);
                ops.submit(Purpose::RingFile { slot }, |op| DiskOp::Write {
                    op,
                    file: id,
                    position,
                    buffer: WriteBuf::Owned(zeros),
                    durability: Durability::Volatile,
                });
            }
            State::SyncingFolder => {
                let path = DiskPath::journal(folder(self.shard));
                ops.submit(Purpose::RingFile { slot }, |op| DiskOp::SyncDir { op, path });
            }
            State::Free => {
                self.preparing = false;
                self.starved = false;
            }
            State::Absent
            | State::Opening { .. }
            | State::Syncing
            | State::Current
            | State::Full { .. } => {}
        }
        Ok(())
    }

    /// Preparing a file failed: it is closed, and opened anew under another name at the next try.
    fn give_up(&mut self, slot: usize, ops: &mut Ops) {
        self.preparing = false;
        self.starved = true;
        let RingFile { file, state, .. } = self.files[slot];
        if !matches!(state, State::Opening { .. }) {
            ops.submit(Purpose::Ignored, |op| DiskOp::Close { op, file });
        }
        self.files[slot].state = State::Absent;
        self.files[slot].file = ops.next_file();
    }

    fn open(&self, slot: usize, file: FileId, number: u32, mode: OpenMode, ops: &mut Ops) {
        let path = DiskPath::journal(file_path(self.shard, number));
        ops.submit(Purpose::RingFile { slot }, |op| DiskOp::Open { op, file, path, mode });
    }

    fn next_free(&self) -> Option<usize> {
        self.files.iter().position(|file| file.state == State::Free)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::BLOCK_BYTES;

    const FILE_BYTES: u64 = 4 * BLOCK_BYTES as u64;

    /// Answers everything under way, as a disk that has room for `names_left` more files.
    fn run(ring: &mut Ring, ops: &mut Ops, names_left: &mut u32) {
        while let Some(op) = ops.poll() {
            let id = op.id();
            let result = match op {
                DiskOp::Open { .. } if *names_left == 0 => Err(DiskError::NoSpace),
                DiskOp::Open { .. } => {
                    *names_left -= 1;
                    Ok(DiskOk::Opened { bytes: 0 })
                }
                DiskOp::Write { buffer, .. } => Ok(DiskOk::Written {
                    bytes: buffer.as_slice().len() as u64,
                    buffer: buffer.into_owned(),
                }),
                _ => Ok(DiskOk::Done),
            };
            if let Purpose::RingFile { slot } = ops.complete(id) {
                let _ = ring.handle_disk(
                    slot,
                    DiskDone { op: id, result, times: Default::default() },
                    ops,
                );
                ring.prepare(2, ops);
            }
        }
    }

    /// A disk filled up before the last files were made: a record was taken that found no place in
    /// any file, and its producer had no answer for as long as the disk stayed full.
    #[test]
    fn files_that_a_full_disk_did_not_take_are_not_counted_on() {
        let mut ops = Ops::default();
        let mut ring = Ring::new(0, FILE_BYTES, 4, &[], &mut ops);
        assert_eq!(ring.free_files(), 4, "all will be prepared");
        let mut names_left = 1;
        ring.prepare(2, &mut ops);
        run(&mut ring, &mut ops, &mut names_left);
        assert!(ring.is_starved());
        assert_eq!(ring.free_files(), 1);
        assert_eq!(ring.free_bytes(), FILE_BYTES);

        ring.retry();
        ring.prepare(2, &mut ops);
        assert_eq!(ring.free_files(), 1, "a try is no success");
        run(&mut ring, &mut ops, &mut names_left);
        assert_eq!(ring.free_files(), 1);

        names_left = 9;
        ring.retry();
        ring.prepare(2, &mut ops);
        run(&mut ring, &mut ops, &mut names_left);
        assert!(!ring.is_starved());
        assert_eq!(ring.free_files(), 4);
    }
}
