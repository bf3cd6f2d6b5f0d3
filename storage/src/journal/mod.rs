//! One shard's journal: frames are filled, sealed, written one group at a time, and then durable.
//!
//! It decides when a frame is sealed and what goes into one write; it knows batches only as bytes.
//! The store calls `append` for each batch and `seal` once per turn of the event loop. Frames stay
//! in memory as the tail, until the store lets them go.

pub mod frame;
pub(crate) mod pool;
pub(crate) mod ring;
mod room;

use std::collections::VecDeque;
use std::sync::Arc;

use self::frame::{
    ENTRY_ALIGN, ENTRY_HEADER_BYTES, EntryHeader, EntryKind, FrameHeader, HEADER_BYTES, entry_crc,
};
use self::pool::{FrameBuf, FramePool};
use self::ring::Ring;
use crate::buffer::{AlignedBuf, SharedBuf};
use crate::limits::{
    GROUP_BYTES_MAX, GROUP_FRAMES_MAX, UNAWAITED_BYTES_MAX, UNAWAITED_FRAMES_MAX,
    UNAWAITED_WRITE_NS,
};
use crate::op::{DiskError, DiskOk, DiskOp, DiskTimes, Durability, WriteBuf};
use crate::segment::format::BATCH_HEADER_BYTES;
use crate::store::ops::Ops;
use crate::types::{LogId, WriteTimes};

/// A log that has entries in a frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Touched {
    pub log: LogId,
    /// The log's end after its last batch in the frame.
    pub end: i64,
    /// Committed when sealed.
    pub memory: bool,
}

/// Where an entry's payload lies: the frame, and the place in it. Of a batch in pieces, the frame
/// of the last one, and `IN_LARGE`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Placed {
    pub sequence: u64,
    pub start: u32,
}

/// What of an entry is put together before it goes into a frame: its header and the batch's.
const HEAD_BYTES: usize = ENTRY_HEADER_BYTES + BATCH_HEADER_BYTES;

/// Aligned for the checksum, which takes eight bytes at a time.
#[repr(align(8))]
struct Head([u8; HEAD_BYTES]);

/// The place of a batch that stands beside its frame, because the journal has it in pieces.
pub(crate) const IN_LARGE: u32 = u32::MAX;

/// A frame in memory: open, sealed, or kept as tail.
#[derive(Debug)]
pub(crate) struct Frame {
    pub sequence: u64,
    memory: FrameBuf,
    pub touched: Vec<Touched>,
    entries_count: u32,
    entries_crc: u32,
    /// Holds entries that count as committed when the frame is sealed.
    pub has_memory: bool,
    /// Holds entries that count when the frame is written.
    has_persisted: bool,
    /// Capacity of all buffers before this frame's, ever.
    capacity_before: u64,
    /// Ends with a piece of a batch that goes on in the next frame.
    continues: bool,
    /// The whole batch whose last piece is in the frame, for readers and the flusher.
    large: Option<Arc<AlignedBuf>>,
}

impl Frame {
    /// In memory that outlives the process.
    pub fn lent(&self) -> bool {
        self.memory.lent
    }

    /// A range of a sealed frame.
    pub fn slice(&self, start: u32, len: u32) -> SharedBuf {
        let (buf, start) = self.place(start);
        SharedBuf::new(Arc::clone(buf)).slice(start, len as usize)
    }

    /// A range of the frame's bytes.
    pub fn bytes(&self, start: u32, len: u32) -> &[u8] {
        let (buf, start) = self.place(start);
        &buf.as_slice()[start..start + len as usize]
    }

    fn place(&self, start: u32) -> (&Arc<AlignedBuf>, usize) {
        match start {
            IN_LARGE => (self.large.as_ref().expect("it has the batch beside it"), 0),
            start => (&self.memory.buf, start as usize),
        }
    }

    /// Memory it takes, in bytes.
    fn memory_bytes(&self) -> usize {
        self.memory.buf.capacity() + self.large.as_ref().map_or(0, |large| large.capacity())
    }

    fn len(&self) -> usize {
        self.memory.buf.len()
    }
}

/// A write under way.
#[derive(Clone, Copy, Debug)]
struct InFlight {
    last: u64,
    bytes: u64,
    number: u32,
    position: u64,
    started_ns: u64,
}

/// The journal of one shard in one life.
#[derive(Debug)]
pub(crate) struct Journal {
    shard: u16,
    life: u64,
    pool: FramePool,
    pub ring: Ring,
    /// Consecutive frames, the oldest in the tail first. The last is open if `open`.
    frames: VecDeque<Frame>,
    first: u64,
    open: bool,
    /// Checksum of the last sealed frame.
    chain: u32,
    sealed: u64,
    written: u64,
    durable: u64,
    in_flight: Option<InFlight>,
    /// The highest sealed frame whose write acks wait for.
    awaited: u64,
    /// When the oldest frame that is sealed and in no write was sealed.
    unwritten_since: u64,
    /// Capacity of all frames' buffers.
    tail_bytes: usize,
    /// The same, of all frames that ever were.
    capacity_bytes: u64,
    /// Bytes sealed or open and not durable.
    backlog_bytes: usize,
    group_bytes_last: usize,
    spare_touched: Vec<Vec<Touched>>,
    pub writes_count: u64,
    pub written_bytes: u64,
    /// The time its owner last told, for `WriteTimes`.
    pub now_ns: u64,
    pub last_write: WriteTimes,
    failed: bool,
    batch_bytes_max: usize,
    /// Recovery's way: frames are durable when sealed, because they came from a journal.
    replaying: bool,
}

impl Journal {
    pub fn new(shard: u16, life: u64, ring: Ring, idle_bytes_max: usize, replaying: bool) -> Self {
        Self {
            shard,
            life,
            pool: FramePool::new(idle_bytes_max),
            ring,
            frames: VecDeque::new(),
            first: 1,
            open: false,
            chain: 0,
            sealed: 0,
            written: 0,
            durable: 0,
            in_flight: None,
            awaited: 0,
            unwritten_since: 0,
            tail_bytes: 0,
            capacity_bytes: 0,
            backlog_bytes: 0,
            group_bytes_last: 0,
            spare_touched: Vec::new(),
            writes_count: 0,
            written_bytes: 0,
            now_ns: 0,
            last_write: WriteTimes::default(),
            failed: false,
            batch_bytes_max: 0,
            replaying,
        }
    }

    /// Ends recovery's way. Every frame must have been let go.
    pub fn start_life(&mut self, ring: Ring) {
        assert!(self.frames.is_empty(), "a life starts with an empty tail");
        assert!(self.replaying, "a life starts once");
        self.ring = ring;
        self.replaying = false;
        self.batch_bytes_max = self.find_batch_bytes_max();
        self.first = 1;
        self.chain = 0;
        self.sealed = 0;
        self.written = 0;
        self.durable = 0;
        self.awaited = 0;
    }

    /// Highest sealed sequence.
    pub fn sealed(&self) -> u64 {
        self.sealed
    }

    /// Highest sequence on stable storage.
    pub fn durable(&self) -> u64 {
        self.durable
    }

    pub fn shard(&self) -> u16 {
        self.shard
    }

    pub fn life(&self) -> u64 {
        self.life
    }

    /// Sequence of the frame that the next entry goes into, or the last that has any.
    pub fn open_sequence(&self) -> u64 {
        self.sealed + u64::from(self.open)
    }

    pub fn failed(&self) -> bool {
        self.failed
    }

    /// Its device is lost, whoever noticed.
    pub fn fail(&mut self) {
        self.failed = true;
    }

    pub fn backlog_bytes(&self) -> usize {
        self.backlog_bytes
    }

    /// The highest durable sequence after which replay may start: not between the pieces of a
    /// batch.
    pub fn durable_boundary(&self) -> u64 {
        let mut sequence = self.durable;
        while self.frame(sequence).is_some_and(|frame| frame.continues) {
            sequence -= 1;
        }
        sequence
    }

    /// Adds an entry, to the open frame or in pieces to several. `patch` changes the copy of the
    /// batch's header before it is summed; of a payload that is none it gets what there is.
    ///
    /// The caller has checked `has_room`, or `has_room_to_delete`.
    pub fn append(
        &mut self,
        entry: &EntryHeader,
        payload: &[u8],
        touched: Touched,
        patch: impl FnOnce(&mut [u8]),
    ) -> Placed {
        if payload.len() <= self.piece_bytes_max() {
            return self.append_entry(entry, payload, touched, patch);
        }
        let mut large = AlignedBuf::new(payload.len());
        large.extend_from_slice(payload);
        patch(&mut large.as_mut_slice()[..BATCH_HEADER_BYTES]);
        let piece_bytes_max = self.piece_bytes_max();
        let last = (payload.len() - 1) / piece_bytes_max;
        let mut sequence = 0;
        for (index, piece) in large.as_slice().chunks(piece_bytes_max).enumerate() {
            let kind = if index == last { EntryKind::LastPiece } else { EntryKind::Piece };
            let header = EntryHeader { kind, payload_bytes: piece.len() as u32, ..*entry };
            // Before the last piece nothing of the batch counts.
            let end = if index == last { touched.end } else { 0 };
            let touched = Touched { end, ..touched };
            sequence = self.append_entry(&header, piece, touched, |_| {}).sequence;
            if index < last {
                self.frames.back_mut().expect("it was just filled").continues = true;
                self.seal_open();
            }
        }
        self.tail_bytes += large.capacity();
        self.capacity_bytes += large.capacity() as u64;
        let frame = self.frames.back_mut().expect("it holds the last piece");
        assert!(frame.large.is_none(), "a batch in pieces ends in a frame no other ends in");
        frame.large = Some(Arc::new(large));
        Placed { sequence, start: IN_LARGE }
    }

    fn append_entry(
        &mut self,
        entry: &EntryHeader,
        payload: &[u8],
        touched: Touched,
        patch: impl FnOnce(&mut [u8]),
    ) -> Placed {
        let needed = entry.entry_bytes();
        if self.open {
            let frame = self.last_frame();
            let full = frame.len() + needed > self.frame_bytes_max();
            if full || frame.memory.buf.remaining() < needed {
                self.seal_open();
            }
        }
        if !self.open {
            self.open_frame(needed);
        }
        let frame = self.frames.back_mut().expect("a frame is open");
        let buf = Arc::get_mut(&mut frame.memory.buf).expect("nobody else holds an open frame");
        let start = buf.len() + ENTRY_HEADER_BYTES;
        // Changed and summed here, where it is in the cache: a frame's memory is not, and what was
        // just stored there would be waited for.
        let mut head = Head([0; HEAD_BYTES]);
        let (batch_header, rest) = payload.split_at(payload.len().min(BATCH_HEADER_BYTES));
        let head = &mut head.0[..ENTRY_HEADER_BYTES + batch_header.len()];
        head[..ENTRY_HEADER_BYTES].copy_from_slice(&entry.encode());
        head[ENTRY_HEADER_BYTES..].copy_from_slice(batch_header);
        patch(&mut head[ENTRY_HEADER_BYTES..]);
        frame.entries_crc = entry_crc(frame.entries_crc, entry.kind, head, rest);
        let padding = needed - ENTRY_HEADER_BYTES - payload.len();
        buf.extend_from_parts([head, rest, &[0; ENTRY_ALIGN][..padding]]);
        frame.entries_count += 1;
        frame.has_memory |= touched.memory;
        frame.has_persisted |= !touched.memory;
        match frame.touched.iter_mut().rev().take(4).find(|known| known.log == touched.log) {
            Some(known) => {
                known.end = known.end.max(touched.end);
                known.memory |= touched.memory;
            }
            None => frame.touched.push(touched),
        }
        self.backlog_bytes += needed;
        Placed { sequence: frame.sequence, start: start as u32 }
    }

    /// Ends a turn: seals the open frame when its entries can leave at once or count as committed
    /// by being sealed, and starts a write when none is under way.
    pub fn seal(&mut self, ops: &mut Ops) {
        if self.failed {
            return;
        }
        let idle = self.in_flight.is_none() && self.ring.room() > 0;
        if self.open && (idle || self.replaying || self.last_frame().has_memory) {
            self.seal_open();
        }
        if self.replaying {
            self.written = self.sealed;
            self.durable = self.sealed;
            self.backlog_bytes = 0;
            return;
        }
        self.start_write(ops);
    }

    /// Takes the completion of the write in flight: the file's number, position and error when it
    /// failed.
    pub fn handle_written(
        &mut self,
        result: Result<DiskOk, DiskError>,
        times: DiskTimes,
    ) -> Result<(), (u32, u64, DiskError)> {
        let write = self.in_flight.take().expect("a completion belongs to the write in flight");
        let error = match result {
            Ok(DiskOk::Written { bytes, .. }) if bytes == write.bytes => None,
            // A short write: the device did not do it, whatever it did.
            Ok(_) => Some(DiskError::Io { errno: 0 }),
            Err(error) => Some(error),
        };
        if let Some(error) = error {
            // Final: the bytes may or may not be there, and a sync that failed once says nothing
            // later.
            self.failed = true;
            return Err((write.number, write.position, error));
        }
        let submitted_ns = match times.submitted_ns {
            0 => write.started_ns,
            noticed_ns => noticed_ns,
        };
        self.last_write =
            WriteTimes { submitted_ns, written_ns: times.moved_ns, synced_ns: self.now_ns };
        let first = (self.durable + 1 - self.first) as usize;
        self.durable = write.last;
        let count = (self.durable + 1 - self.first) as usize - first;
        for frame in self.frames.iter_mut().skip(first).take(count).filter(|f| f.lent()) {
            // The tail keeps a copy: there is little lent memory, and the journal has the frame.
            let mut copy = self.pool.take_heap(frame.memory.buf.len());
            let buf = Arc::get_mut(&mut copy.buf).expect("the pool gives buffers nobody holds");
            buf.extend_from_slice(frame.memory.buf.as_slice());
            self.tail_bytes = self.tail_bytes + buf.capacity() - frame.memory.buf.capacity();
            frame.memory = copy;
        }
        let rest = self.frames.iter().skip((self.durable + 1 - self.first) as usize);
        self.backlog_bytes = rest.map(Frame::len).sum();
        Ok(())
    }

    /// A frame still in memory.
    pub fn frame(&self, sequence: u64) -> Option<&Frame> {
        self.frames.get(sequence.checked_sub(self.first)? as usize)
    }

    /// Bytes the frames in memory take.
    pub fn tail_bytes(&self) -> usize {
        self.tail_bytes
    }

    /// About how much memory the frames after `sequence` take.
    pub fn bytes_after(&self, sequence: u64) -> u64 {
        let index = (sequence + 1).saturating_sub(self.first) as usize;
        self.frames.get(index).map_or(0, |frame| self.capacity_bytes - frame.capacity_before)
    }

    /// The oldest frame in memory, unless it is open.
    pub fn oldest(&self) -> Option<&Frame> {
        let frame = self.frames.front()?;
        (frame.sequence <= self.sealed).then_some(frame)
    }

    /// Lets the oldest frame go.
    pub fn evict_oldest(&mut self) {
        let mut frame = self.frames.pop_front().expect("the caller looked at the oldest frame");
        assert!(frame.sequence <= self.durable, "a frame is durable before it is let go");
        self.first = frame.sequence + 1;
        self.tail_bytes -= frame.memory_bytes();
        frame.touched.clear();
        self.spare_touched.push(frame.touched);
        self.pool.give(frame.memory);
    }

    fn last_frame(&self) -> &Frame {
        self.frames.back().expect("a frame is open")
    }

    fn open_frame(&mut self, needed: usize) {
        let queued = self.backlog_bytes.min(GROUP_BYTES_MAX);
        let wanted = self.group_bytes_last.max(2 * queued);
        let frame_bytes_max = if self.replaying { GROUP_BYTES_MAX } else { self.frame_bytes_max() };
        let wanted = if self.replaying { frame_bytes_max } else { wanted.min(frame_bytes_max) };
        let mut memory = self.pool.take(HEADER_BYTES + needed, wanted, frame_bytes_max);
        let buf = Arc::get_mut(&mut memory.buf).expect("the pool gives buffers nobody holds");
        buf.extend_from_slice(&[0; HEADER_BYTES]);
        self.tail_bytes += buf.capacity();
        let capacity_before = self.capacity_bytes;
        self.capacity_bytes += buf.capacity() as u64;
        self.backlog_bytes += HEADER_BYTES;
        self.frames.push_back(Frame {
            sequence: self.sealed + 1,
            memory,
            touched: self.spare_touched.pop().unwrap_or_default(),
            entries_count: 0,
            entries_crc: 0,
            has_memory: false,
            has_persisted: false,
            capacity_before,
            continues: false,
            large: None,
        });
        self.open = true;
    }

    fn seal_open(&mut self) {
        let frame = self.frames.back_mut().expect("a frame is open");
        let buf = Arc::get_mut(&mut frame.memory.buf).expect("nobody else holds an open frame");
        let header = FrameHeader {
            shard: self.shard,
            life: self.life,
            sequence: frame.sequence,
            durable_up_to: self.durable,
            payload_bytes: (buf.len() - HEADER_BYTES) as u32,
            entries_count: frame.entries_count,
            previous_crc: self.chain,
            entries_crc: frame.entries_crc,
        };
        let (bytes, crc) = header.encode();
        let unpadded = buf.len();
        buf.pad_to_block();
        self.backlog_bytes += buf.len() - unpadded;
        buf.as_mut_slice()[..HEADER_BYTES].copy_from_slice(&bytes);
        self.chain = crc;
        if frame.has_persisted || !frame.lent() {
            self.awaited = frame.sequence;
        }
        if self.written == self.sealed {
            self.unwritten_since = self.now_ns;
        }
        self.sealed = frame.sequence;
        self.open = false;
    }

    /// When `seal` is due though nothing was appended: for frames that no ack waits for.
    pub fn due_at(&self) -> Option<u64> {
        let waiting = self.in_flight.is_none() && self.written != self.sealed && !self.failed;
        // Without room for it a write follows what makes some.
        let due = waiting && self.awaited <= self.written && self.write_room().is_some();
        due.then_some(self.unwritten_since + UNAWAITED_WRITE_NS)
    }

    /// What the next write may carry: the rest of the current file is filled first, and a frame
    /// that does not fit starts the next one. `None`: not even one frame.
    fn write_room(&self) -> Option<usize> {
        let head = self.frames[(self.written + 1 - self.first) as usize].len();
        let current = self.ring.current_room() as usize;
        let room = if head <= current { current } else { self.ring.room() as usize };
        (head <= room).then_some(room)
    }

    /// Whether what is sealed is to be written though no ack waits for it.
    fn is_due(&self) -> bool {
        (self.sealed - self.written) as usize >= UNAWAITED_FRAMES_MAX
            || self.backlog_bytes >= UNAWAITED_BYTES_MAX
            || self.now_ns >= self.unwritten_since + UNAWAITED_WRITE_NS
    }

    fn start_write(&mut self, ops: &mut Ops) {
        if self.in_flight.is_some() || self.written == self.sealed {
            return;
        }
        let awaited = self.awaited > self.written;
        if !awaited && !self.is_due() {
            return;
        }
        let from = (self.written + 1 - self.first) as usize;
        let count = (self.sealed - self.written) as usize;
        let Some(room) = self.write_room() else { return };
        let (mut bytes, mut frames) = (0, 0);
        for frame in self.frames.range(from..from + count.min(GROUP_FRAMES_MAX)) {
            let more = bytes + frame.len();
            if frames > 0 && (more > GROUP_BYTES_MAX || more > room) {
                break;
            }
            bytes = more;
            frames += 1;
        }
        let last = self.written + frames as u64;
        let place = self.ring.place(bytes as u64, last).expect("the ring said that there is room");
        let durability = Durability::Synced;
        let (file, position) = (place.file, place.position);
        let group = self.frames.range(from..from + frames);
        let mut shared = group.map(|frame| SharedBuf::new(Arc::clone(&frame.memory.buf)));
        if frames == 1 {
            let buffer = WriteBuf::Shared(shared.next().expect("the group has one frame"));
            ops.submit_write(awaited, |op| DiskOp::Write {
                op,
                file,
                position,
                buffer,
                durability,
            });
        } else {
            let buffers = shared.collect();
            ops.submit_write(awaited, |op| DiskOp::WriteVectored {
                op,
                file,
                position,
                buffers,
                durability,
            });
        }
        self.written = last;
        self.writes_count += 1;
        self.written_bytes += bytes as u64;
        self.group_bytes_last = bytes;
        let started_ns = self.now_ns;
        self.in_flight = Some(InFlight {
            last,
            bytes: bytes as u64,
            number: place.number,
            position,
            started_ns,
        });
    }
}
