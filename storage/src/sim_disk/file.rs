//! One simulated file: what reads see, what the medium is sure to hold, and the changes between the
//! two.
//!
//! Until a sync makes them durable, changes are kept one by one, so that a power cut can keep any
//! subset of their 512-byte sectors. Lengths change in order, as a journalling file system keeps
//! its metadata; what a kept length uncovers without its sectors reads as zeros.

use std::rc::Rc;

use super::SECTOR_BYTES;
use crate::prng::Prng;

/// A simulated file.
#[derive(Clone, Default, Debug)]
pub(super) struct SimFile {
    /// What a read gives while the machine is up.
    pub(super) current: Vec<u8>,
    /// What survives for certain.
    durable: Vec<u8>,
    pending: Vec<Pending>,
    next_seq: u64,
}

#[derive(Clone, Debug)]
struct Pending {
    seq: u64,
    /// A sync failed over it: no later sync makes it durable, as kernels drop pages whose write
    /// failed.
    forsaken: bool,
    change: Change,
}

#[derive(Clone, Debug)]
enum Change {
    /// `data[from..to]` at `position`.
    Write {
        position: usize,
        data: Rc<[u8]>,
        from: usize,
        to: usize,
    },
    Length(usize),
}

/// What a power cut did to files.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct SectorCounts {
    pub kept: u64,
    pub lost: u64,
    /// Changes of length that were lost.
    pub lengths_lost: u64,
}

impl SimFile {
    /// A file that is wholly durable.
    pub(super) fn durable(bytes: Vec<u8>) -> Self {
        Self { current: bytes.clone(), durable: bytes, ..Self::default() }
    }

    /// A file that only lives as long as the machine does.
    pub(super) fn volatile(bytes: Vec<u8>) -> Self {
        Self { current: bytes, ..Self::default() }
    }

    /// Changes made so far; a sync covers those below the mark taken when it is submitted.
    pub(super) fn mark(&self) -> u64 {
        self.next_seq
    }

    /// Whether a power cut could take anything away.
    pub(super) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Writes into what reads see.
    pub(super) fn write(&mut self, position: usize, data: &[u8]) {
        if data.is_empty() {
            return;
        }
        let end = position + data.len();
        if end > self.current.len() {
            self.set_length(end);
        }
        self.current[position..end].copy_from_slice(data);
        self.push(Change::Write { position, data: data.into(), from: 0, to: data.len() });
    }

    /// Writes and makes that durable, with the lengths that came before; other writes stay pending.
    pub(super) fn write_synced(&mut self, position: usize, data: &[u8]) {
        let end = position + data.len();
        if end > self.current.len() {
            self.current.resize(end, 0);
        }
        self.current[position..end].copy_from_slice(data);
        if end > self.durable.len() || self.has_pending_length() {
            self.commit_lengths();
        }
        self.apply_write(position, data);
        trim(&mut self.pending, position, end);
    }

    /// Sets the length, in bytes.
    pub(super) fn set_length(&mut self, bytes: usize) {
        self.current.resize(bytes, 0);
        self.push(Change::Length(bytes));
    }

    /// Makes the changes below `mark` durable.
    pub(super) fn sync(&mut self, mark: u64) {
        let pending = std::mem::take(&mut self.pending);
        let mut left: Vec<Pending> = Vec::new();
        for pending in pending {
            if pending.seq >= mark || pending.forsaken {
                left.push(pending);
                continue;
            }
            match &pending.change {
                Change::Write { position, data, from, to } => {
                    self.apply_write(*position, &data[*from..*to]);
                    trim(&mut left, *position, position + (to - from));
                }
                Change::Length(bytes) => {
                    self.durable.resize(*bytes, 0);
                    trim(&mut left, *bytes, usize::MAX);
                }
            }
        }
        self.pending = left;
    }

    /// A sync failed: the writes it covered are never made durable by a later one. Lengths are the
    /// file system's own and stay in its journal.
    pub(super) fn forsake(&mut self, mark: u64) {
        for pending in &mut self.pending {
            let covered = pending.seq < mark && matches!(pending.change, Change::Write { .. });
            pending.forsaken |= covered;
        }
    }

    /// Power is gone: keeps a subset of the pending sectors and a prefix of the pending lengths.
    pub(super) fn cut(&mut self, prng: &mut Prng, counts: &mut SectorCounts) {
        if self.pending.is_empty() {
            return;
        }
        let lengths = self.pending.iter().filter(|p| matches!(p.change, Change::Length(_))).count();
        let lengths_kept = prng.between(0, lengths as u64) as usize;
        counts.lengths_lost += (lengths - lengths_kept) as u64;
        // All, none or some: with independent sectors alone, all and none would hardly ever come
        // up.
        let sectors_in_eight = prng.pick(&[0, 1, 4, 4, 7, 8]);
        let mut lengths_seen = 0;
        for pending in std::mem::take(&mut self.pending) {
            match pending.change {
                Change::Length(bytes) => {
                    if lengths_seen < lengths_kept {
                        self.durable.resize(bytes, 0);
                    }
                    lengths_seen += 1;
                }
                Change::Write { position, data, from, to } => {
                    for (index, sector) in data[from..to].chunks(SECTOR_BYTES).enumerate() {
                        let keep = prng.below(8) < sectors_in_eight;
                        if keep {
                            self.apply_write(position + index * SECTOR_BYTES, sector);
                            counts.kept += 1;
                        } else {
                            counts.lost += 1;
                        }
                    }
                }
            }
        }
        self.current.clone_from(&self.durable);
    }

    /// Flips a bit on the medium and in what reads see.
    pub(super) fn flip(&mut self, byte: usize, bit: u8) {
        for image in [&mut self.current, &mut self.durable] {
            if let Some(byte) = image.get_mut(byte) {
                *byte ^= 1 << (bit % 8);
            }
        }
    }

    fn push(&mut self, change: Change) {
        self.pending.push(Pending { seq: self.next_seq, forsaken: false, change });
        self.next_seq += 1;
    }

    fn has_pending_length(&self) -> bool {
        self.pending.iter().any(|pending| matches!(pending.change, Change::Length(_)))
    }

    /// As far as the durable length reaches: sectors beyond it have no place.
    fn apply_write(&mut self, position: usize, data: &[u8]) {
        let end = (position + data.len()).min(self.durable.len());
        if position < end {
            self.durable[position..end].copy_from_slice(&data[..end - position]);
        }
    }

    fn commit_lengths(&mut self) {
        let mut left: Vec<Pending> = Vec::new();
        for pending in std::mem::take(&mut self.pending) {
            match pending.change {
                Change::Length(bytes) => {
                    self.durable.resize(bytes, 0);
                    trim(&mut left, bytes, usize::MAX);
                }
                Change::Write { .. } => left.push(pending),
            }
        }
        self.pending = left;
        if self.durable.len() < self.current.len() {
            self.durable.resize(self.current.len(), 0);
        }
    }
}

/// Takes `start..end` out of the pending writes: newer bytes are durable there.
fn trim(pending: &mut Vec<Pending>, start: usize, end: usize) {
    let overlaps = |pending: &Pending| match &pending.change {
        Change::Write { position, from, to, .. } => {
            *position < end && start < position + (to - from)
        }
        Change::Length(_) => false,
    };
    if !pending.iter().any(overlaps) {
        return;
    }
    for whole in std::mem::take(pending) {
        if !overlaps(&whole) {
            pending.push(whole);
            continue;
        }
        let Pending { seq, forsaken, change: Change::Write { position, data, from, to } } = whole
        else {
            unreachable!("only writes overlap");
        };
        let write_end = position + (to - from);
        let mut part = |position: usize, from: usize, to: usize| {
            if from < to {
                let change = Change::Write { position, data: Rc::clone(&data), from, to };
                pending.push(Pending { seq, forsaken, change });
            }
        };
        if position < start {
            part(position, from, from + (start - position));
        }
        if end < write_end {
            part(end, from + (end - position), to);
        }
    }
}
