//! The disk of a shard: `DiskOp`s become entries on the core's ring, completions become
//! `DiskDone`s.
//!
//! Reads, writes and syncs go through the ring; what may block (opening, names, closing, lengths)
//! goes to one helper thread, so that the core never waits. It decides nothing: no retry of a
//! failed write or sync, short counts are reported as they are. Only a read goes on after a short
//! count, until the end of the file, because that is what a shorter count means to the store.
//!
//! The owner of the ring calls `submit` for each operation, `handle_completion` for each completion
//! whose user data has `DISK_BIT`, then `poll_done` until it is empty.
#![expect(unsafe_code, reason = "entries carry addresses of buffers the slots keep alive")]

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;

use hashbrown::HashMap;
use io_uring::{opcode, squeue, types};
use rustc_hash::FxBuildHasher;

use super::blocking::prepare_read;
use super::files::{Folders, PathOp, SyncPath, disk_error_of};
use super::helper::{Helper, Job, JobDone};
use super::ring::{Completion, DISK_BIT, Ring};
use super::slots::{PIECES_MAX, Pending, Slot, Slots};
use crate::limits::BLOCK_BYTES;
use crate::op::{DiskDone, DiskError, DiskOk, DiskOp, DiskTimes, Durability, FileId, OpId};

const PART_SHIFT: u32 = 32;
const PART_TRANSFER: u64 = 0;
const PART_SYNC: u64 = 1;
const PART_HELPER: u64 = 2;

/// How a shard's disk is set up.
#[derive(Debug)]
pub struct DiskConfig {
    pub folders: Arc<Folders>,
    pub sync_path: SyncPath,
    /// Places in the ring's table of registered files; files beyond it work by descriptor.
    pub registered_files: u32,
    /// Name of the helper thread.
    pub helper_name: String,
}

/// What the disk did so far.
#[derive(Clone, Copy, Default, Debug)]
pub struct DiskCounters {
    pub reads: u64,
    pub read_bytes: u64,
    pub writes: u64,
    pub written_bytes: u64,
    pub syncs: u64,
    /// What the helpers did: opening, closing, lengths, names, small files.
    pub helped: u64,
    pub errors: u64,
}

#[derive(Debug)]
struct OpenFile {
    file: Arc<File>,
    /// Place in the ring's table.
    fixed: Option<u32>,
}

/// The disk of a shard, on its core's ring.
#[derive(Debug)]
pub struct UringDisk {
    sync_path: SyncPath,
    files: HashMap<FileId, OpenFile, FxBuildHasher>,
    fixed_free: Vec<u32>,
    slots: Slots,
    done: VecDeque<DiskDone>,
    helper: Helper,
    /// Jobs the helper has not answered.
    helper_waiting: usize,
    /// The ring reads the helper's bell. Boxed: the kernel writes the count there.
    bell: Box<u64>,
    bell_armed: bool,
    counters: DiskCounters,
    /// The owner's clock when it last looked, for `DiskTimes`.
    now_ns: u64,
    /// Operations that the kernel has not been handed yet.
    fresh: Vec<u32>,
}

#[derive(Clone, Copy)]
enum Target {
    Fd(RawFd),
    Fixed(u32),
}

/// Builds an entry for a target of either kind.
macro_rules! on_target {
    ($target:expr, $fd:ident => $entry:expr) => {
        match $target {
            Target::Fd(fd) => {
                let $fd = types::Fd(fd);
                $entry
            }
            Target::Fixed(index) => {
                let $fd = types::Fixed(index);
                $entry
            }
        }
    };
}

fn user_data(part: u64, index: u32) -> u64 {
    DISK_BIT | part << PART_SHIFT | u64::from(index)
}

impl UringDisk {
    /// Registers the table of files with the ring, when it takes one, and starts the helper.
    pub fn new(config: DiskConfig, ring: &mut Ring) -> io::Result<Self> {
        let places = config.registered_files;
        let registered = places > 0 && ring.submitter().register_files_sparse(places).is_ok();
        Ok(Self {
            sync_path: config.sync_path,
            files: HashMap::default(),
            fixed_free: if registered { (0..places).rev().collect() } else { Vec::new() },
            slots: Slots::default(),
            done: VecDeque::with_capacity(64),
            helper: Helper::start(config.folders, &config.helper_name)?,
            helper_waiting: 0,
            bell: Box::new(0),
            bell_armed: false,
            counters: DiskCounters::default(),
            now_ns: 0,
            fresh: Vec::with_capacity(64),
        })
    }

    /// Whether nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.slots.len() == 0 && self.helper_waiting == 0 && self.done.is_empty()
    }

    /// Operations under way.
    pub fn under_way(&self) -> usize {
        self.slots.len() + self.helper_waiting
    }

    /// What it did so far.
    pub fn counters(&self) -> DiskCounters {
        self.counters
    }

    /// How durable writes are made.
    pub fn sync_path(&self) -> SyncPath {
        self.sync_path
    }

    /// Chooses how durable writes are made from the next one on.
    pub fn set_sync_path(&mut self, sync_path: SyncPath) {
        self.sync_path = sync_path;
    }

    /// The time from which completions are taken.
    pub fn set_now(&mut self, now_ns: u64) {
        self.now_ns = now_ns;
    }

    /// The ring is about to be entered.
    pub fn note_submitted(&mut self, now_ns: u64) {
        while let Some(index) = self.fresh.pop() {
            self.slots.get_mut(index).submitted_ns = now_ns;
        }
    }

    /// The next completed operation.
    pub fn poll_done(&mut self) -> Option<DiskDone> {
        self.done.pop_front()
    }

    /// Starts an operation.
    pub fn submit(&mut self, ring: &mut Ring, op: DiskOp) {
        match op {
            DiskOp::Write { op, file, position, buffer, durability } => {
                check_alignment(position, buffer.as_slice().len());
                let mut slot = Slot::new(op, file, position, Pending::Write { buffer });
                slot.durability = durability;
                self.start(ring, slot);
            }
            DiskOp::WriteVectored { op, file, position, buffers, durability } => {
                check_alignment(position, buffers.iter().map(|part| part.len()).sum());
                let pieces = self.slots.pieces();
                let pending = Pending::Vectored { buffers, pieces, pieces_done: 0 };
                let mut slot = Slot::new(op, file, position, pending);
                slot.durability = durability;
                self.start(ring, slot);
            }
            DiskOp::Read { op, file, position, mut buffer } => {
                prepare_read(&mut buffer);
                check_alignment(position, buffer.len());
                self.start(ring, Slot::new(op, file, position, Pending::Read { buffer }));
            }
            DiskOp::Sync { op, file } => {
                self.start(ring, Slot::new(op, file, 0, Pending::Sync));
            }
            DiskOp::Open { op, file, path, mode } => {
                assert!(!self.files.contains_key(&file), "a file id is used once");
                self.help(ring, Job::Open { op, file, path, mode });
            }
            DiskOp::Close { op, file } => {
                let open = self.files.remove(&file).expect("only an open file is closed");
                if let Some(place) = open.fixed {
                    let cleared = ring.submitter().register_files_update(place, &[-1]);
                    // A place that cannot be cleared is not used again.
                    if cleared.is_ok() {
                        self.fixed_free.push(place);
                    }
                }
                self.help(ring, Job::Close { op, file: open.file });
            }
            DiskOp::Truncate { op, file, bytes } => {
                let file = Arc::clone(&self.open_file(file).file);
                self.help(ring, Job::Truncate { op, file, bytes });
            }
            DiskOp::Rename { op, from, to } => {
                self.help_path(ring, op, PathOp::Rename { from, to });
            }
            DiskOp::Remove { op, path } => self.help_path(ring, op, PathOp::Remove { path }),
            DiskOp::RemoveTree { op, path } => {
                self.help_path(ring, op, PathOp::RemoveTree { path });
            }
            DiskOp::CreateDir { op, path } => self.help_path(ring, op, PathOp::CreateDir { path }),
            DiskOp::SyncDir { op, path } => self.help_path(ring, op, PathOp::SyncDir { path }),
            DiskOp::List { op, path } => self.help_path(ring, op, PathOp::List { path }),
            DiskOp::ReplaceFile { op, path, bytes, durability } => {
                self.help_path(ring, op, PathOp::ReplaceFile { path, bytes, durability });
            }
            DiskOp::Clean { op, work } => self.help(ring, Job::Clean { op, work }),
            DiskOp::ReadFile { op, path, bytes_max } => {
                self.help_path(ring, op, PathOp::ReadFile { path, bytes_max });
            }
        }
    }

    fn open_file(&self, file: FileId) -> &OpenFile {
        self.files.get(&file).expect("operations name files that are open")
    }

    fn help_path(&mut self, ring: &mut Ring, op: OpId, path_op: PathOp) {
        self.help(ring, Job::Path { op, path_op });
    }

    fn help(&mut self, ring: &mut Ring, job: Job) {
        self.helper.submit(job);
        self.helper_waiting += 1;
        self.arm_bell(ring);
    }

    fn arm_bell(&mut self, ring: &mut Ring) {
        if self.bell_armed {
            return;
        }
        self.bell_armed = true;
        let count: *mut u64 = &raw mut *self.bell;
        let entry = opcode::Read::new(types::Fd(self.helper.event()), count.cast(), 8)
            .build()
            .user_data(user_data(PART_HELPER, 0));
        // SAFETY: the count is boxed and lives as long as the disk, which outlives its operations.
        unsafe { ring.push(entry) };
    }

    fn start(&mut self, ring: &mut Ring, slot: Slot) {
        let index = self.slots.insert(slot);
        self.fresh.push(index);
        self.push_round(ring, index);
    }

    /// Pushes the part of an operation that is not done.
    fn push_round(&mut self, ring: &mut Ring, index: u32) {
        let slot = self.slots.get_mut(index);
        let open = self.files.get(&slot.file).expect("operations name files that are open");
        let target = match open.fixed {
            Some(place) => Target::Fixed(place),
            None => Target::Fd(open.file.as_raw_fd()),
        };
        let synced = match slot.durability {
            Durability::Volatile => false,
            Durability::Synced => true,
        };
        let (write_flags, linked) = match self.sync_path {
            SyncPath::Dsync if synced => (libc::RWF_DSYNC, false),
            SyncPath::LinkedFdatasync if synced => (0, true),
            SyncPath::Dsync | SyncPath::LinkedFdatasync => (0, false),
        };
        let position = slot.position + slot.moved;
        let entry = match &mut slot.pending {
            Pending::Write { buffer } => {
                let rest = &buffer.as_slice()[slot.moved as usize..];
                let (address, bytes) = (rest.as_ptr(), rest.len() as u32);
                on_target!(target, fd => opcode::Write::new(fd, address, bytes)
                    .offset(position)
                    .rw_flags(write_flags)
                    .build())
            }
            Pending::Vectored { buffers, pieces, pieces_done } => {
                pieces.clear();
                pieces.extend(buffers[*pieces_done..].iter().take(PIECES_MAX).map(|part| {
                    let bytes = part.as_slice();
                    libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() }
                }));
                let (address, count) = (pieces.as_ptr(), pieces.len() as u32);
                on_target!(target, fd => opcode::Writev::new(fd, address, count)
                    .offset(position)
                    .rw_flags(write_flags)
                    .build())
            }
            Pending::Read { buffer } => {
                let rest = &mut buffer.as_mut_slice()[slot.moved as usize..];
                let (address, bytes) = (rest.as_mut_ptr(), rest.len() as u32);
                on_target!(target, fd => opcode::Read::new(fd, address, bytes)
                    .offset(position)
                    .build())
            }
            Pending::Sync => sync_entry(target),
        };
        let entry = entry.user_data(user_data(PART_TRANSFER, index));
        slot.waiting = 1 + u8::from(linked);
        slot.sync_result = 0;
        if linked {
            let first = entry.flags(squeue::Flags::IO_LINK);
            let second = sync_entry(target).user_data(user_data(PART_SYNC, index));
            // SAFETY: the slot keeps buffers and pieces where they are until both completions
            // arrived.
            unsafe { ring.push_linked(first, second) };
        } else {
            // SAFETY: the slot keeps buffers and pieces where they are until the completion
            // arrived.
            unsafe { ring.push(entry) };
        }
    }

    /// Whether these are the bytes of a write whose sync has still to complete.
    pub fn is_synced_apart(&mut self, completion: Completion) -> bool {
        let part = (completion.user_data & !DISK_BIT) >> PART_SHIFT;
        part == PART_TRANSFER && self.slots.get_mut(completion.user_data as u32).waiting > 1
    }

    /// Takes a completion whose user data has `DISK_BIT`.
    pub fn handle_completion(&mut self, ring: &mut Ring, completion: Completion) {
        let index = completion.user_data as u32;
        match (completion.user_data & !DISK_BIT) >> PART_SHIFT {
            PART_HELPER => return self.handle_helper(ring),
            PART_TRANSFER => {
                let slot = self.slots.get_mut(index);
                slot.result = completion.result;
                slot.waiting -= 1;
                if slot.waiting > 0 {
                    slot.moved_ns = self.now_ns;
                }
            }
            PART_SYNC => {
                let slot = self.slots.get_mut(index);
                slot.sync_result = completion.result;
                slot.waiting -= 1;
            }
            part => unreachable!("the disk pushes no part {part}"),
        }
        if self.slots.get_mut(index).waiting == 0 {
            self.finish_round(ring, index);
        }
    }

    fn finish_round(&mut self, ring: &mut Ring, index: u32) {
        let slot = self.slots.get_mut(index);
        let transferred = slot.result;
        let is_sync = matches!(slot.pending, Pending::Sync);
        if !is_sync && matches!(-transferred, libc::EAGAIN | libc::EINTR) {
            // Nothing was transferred: the kernel asks for the same again.
            return self.push_round(ring, index);
        }
        if transferred < 0 {
            return self.complete(index, Err(disk_error_of(-transferred)));
        }
        let asked = match &slot.pending {
            Pending::Write { buffer } => buffer.as_slice().len() as u64 - slot.moved,
            Pending::Vectored { pieces, .. } => {
                pieces.iter().map(|piece| piece.iov_len as u64).sum()
            }
            Pending::Read { buffer } => buffer.len() as u64 - slot.moved,
            Pending::Sync => 0,
        };
        let bytes = transferred as u64;
        assert!(bytes <= asked, "the kernel moves at most what was asked");
        slot.moved += bytes;
        // A short write breaks the link and cancels the sync: the count says it, not the
        // cancellation.
        if bytes == asked && slot.sync_result < 0 {
            let errno = -slot.sync_result;
            return self.complete(index, Err(disk_error_of(errno)));
        }
        let goes_on = match &mut slot.pending {
            Pending::Vectored { buffers, pieces, pieces_done } if bytes == asked => {
                *pieces_done += pieces.len();
                *pieces_done < buffers.len()
            }
            Pending::Read { .. } => {
                bytes > 0 && bytes < asked && bytes.is_multiple_of(BLOCK_BYTES as u64)
            }
            Pending::Write { .. } | Pending::Vectored { .. } | Pending::Sync => false,
        };
        if goes_on {
            self.push_round(ring, index);
        } else {
            let moved = slot.moved;
            self.complete(index, Ok(moved));
        }
    }

    fn complete(&mut self, index: u32, result: Result<u64, DiskError>) {
        let slot = self.slots.remove(index);
        let counters = &mut self.counters;
        counters.errors += u64::from(result.is_err());
        let moved = *result.as_ref().unwrap_or(&0);
        let ok = match slot.pending {
            Pending::Write { buffer } => {
                counters.writes += 1;
                counters.written_bytes += moved;
                DiskOk::Written { bytes: moved, buffer: buffer.into_owned() }
            }
            Pending::Vectored { pieces, .. } => {
                counters.writes += 1;
                counters.written_bytes += moved;
                self.slots.recycle(pieces);
                DiskOk::Written { bytes: moved, buffer: None }
            }
            Pending::Read { mut buffer } => {
                counters.reads += 1;
                counters.read_bytes += moved;
                buffer.set_len(moved as usize);
                DiskOk::Read { bytes: moved as u32, buffer }
            }
            Pending::Sync => {
                counters.syncs += 1;
                DiskOk::Done
            }
        };
        let times = DiskTimes { submitted_ns: slot.submitted_ns, moved_ns: slot.moved_ns };
        self.done.push_back(DiskDone { op: slot.op, result: result.map(|_| ok), times });
    }

    fn handle_helper(&mut self, ring: &mut Ring) {
        self.bell_armed = false;
        while let Some(answer) = self.helper.poll() {
            self.helper_waiting -= 1;
            self.counters.helped += 1;
            let done = match answer {
                JobDone::Opened { op, file, result } => {
                    let result = result.map(|opened| self.adopt(ring, file, opened));
                    DiskDone { op, result, times: DiskTimes::default() }
                }
                JobDone::Other { op, result } => {
                    DiskDone { op, result, times: DiskTimes::default() }
                }
            };
            self.counters.errors += u64::from(done.result.is_err());
            self.done.push_back(done);
        }
        if self.helper_waiting > 0 {
            self.arm_bell(ring);
        }
    }

    fn adopt(&mut self, ring: &mut Ring, id: FileId, opened: super::files::OpenedFile) -> DiskOk {
        let fixed = self.fixed_free.pop().and_then(|place| {
            let fd = opened.file.as_raw_fd();
            match ring.submitter().register_files_update(place, &[fd]) {
                Ok(_) => Some(place),
                Err(_) => {
                    self.fixed_free.push(place);
                    None
                }
            }
        });
        self.files.insert(id, OpenFile { file: Arc::new(opened.file), fixed });
        DiskOk::Opened { bytes: opened.bytes }
    }
}

impl Drop for UringDisk {
    fn drop(&mut self) {
        if self.slots.len() > 0 {
            // The kernel may still write into these buffers: losing the memory is the lesser evil.
            std::mem::forget(std::mem::take(&mut self.slots));
        }
        if self.bell_armed {
            std::mem::forget(std::mem::replace(&mut self.bell, Box::new(0)));
        }
    }
}

fn sync_entry(target: Target) -> squeue::Entry {
    on_target!(target, fd => opcode::Fsync::new(fd).flags(types::FsyncFlags::DATASYNC).build())
}

fn check_alignment(position: u64, bytes: usize) {
    assert!(position.is_multiple_of(BLOCK_BYTES as u64), "a position is whole blocks");
    assert!(bytes.is_multiple_of(BLOCK_BYTES), "a transfer is whole blocks");
}
