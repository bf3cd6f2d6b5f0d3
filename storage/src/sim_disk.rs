//! A disk that can lose, tear, refuse, fill and stall: `DiskOp`s on 512-byte sectors in memory.
//!
//! For tests and the simulator. Two faces over one machine: `BlockingDisk` for recovery, `submit`
//! and `poll_complete` for running stores, of which there may be several (a client each). Same
//! seed and calls, same answers. What the edge would answer with EINVAL or in no order panics here.
//!
//! An operation takes effect when it completes. A power cut keeps any subset of the sectors that no
//! sync made durable, of completed and half-done writes alike, and any subset of names in folders
//! that were not synced. Source of the rules: ext4 and XFS on a disk with a volatile cache.

mod execute;
mod faults;
mod file;
mod memory;
mod names;
mod requests;
#[cfg(test)]
mod tests;
mod timed;

use std::collections::{BTreeMap, BTreeSet};

use crate::limits::BLOCK_BYTES;
use crate::op::{BlockingDisk, DiskDone, DiskError, DiskOp, DiskPath, DiskTimes, FileId, Root};
use crate::prng::Prng;
use crate::types::Volume;

pub use faults::{Effect, Fault, Ops, SimCounts};
pub use file::SectorCounts;
pub use memory::SimMemory;
pub use names::NameCounts;

use file::SimFile;
use names::{Names, Node};
use requests::{file_id, write_bytes, write_range};

/// What a power cut keeps or loses as one.
pub const SECTOR_BYTES: usize = 512;

const EIO: i32 = 5;
const EFBIG: i32 = 27;
/// The client of the blocking face.
const BLOCKING: u16 = u16::MAX;

/// How long operations take, in steps of `poll_complete`.
#[derive(Clone, Copy, Debug)]
pub struct SimDiskConfig {
    /// Each operation waits between 0 and this many steps.
    pub delay_steps_max: u64,
    /// Bytes of files below the data and journal folders together, lengths counted.
    pub space_bytes: Option<u64>,
}

impl Default for SimDiskConfig {
    fn default() -> Self {
        Self { delay_steps_max: 8, space_bytes: None }
    }
}

/// A simulated disk.
#[derive(Debug)]
pub struct SimDisk {
    config: SimDiskConfig,
    names: Names,
    nodes: BTreeMap<Node, SimFile>,
    next_node: Node,
    handles: BTreeMap<(u16, FileId), Handle>,
    in_flight: Vec<InFlight>,
    faults: Vec<Fault>,
    /// Volumes whose device is gone.
    broken: BTreeSet<Volume>,
    read_only: bool,
    powered: bool,
    step: u64,
    order: Prng,
    tears: Prng,
    counts: SimCounts,
}

#[derive(Debug)]
struct Handle {
    node: Node,
    path: DiskPath,
    writable: bool,
}

#[derive(Debug)]
struct InFlight {
    client: u16,
    op: DiskOp,
    /// Steps at which it may complete; `u64::MAX` while stuck.
    ready_step: u64,
    effect: Option<Effect>,
    /// What a sync covers: changes made before it was submitted.
    mark: u64,
}

impl SimDisk {
    /// An empty disk, switched on.
    pub fn new(seed: u64, config: SimDiskConfig) -> Self {
        let prng = Prng::new(seed);
        Self {
            config,
            names: Names::default(),
            nodes: BTreeMap::new(),
            next_node: 0,
            handles: BTreeMap::new(),
            in_flight: Vec::new(),
            faults: Vec::new(),
            broken: BTreeSet::new(),
            read_only: false,
            powered: true,
            step: 0,
            order: prng.fork(1),
            tears: prng.fork(2),
            counts: SimCounts::default(),
        }
    }

    /// Adds something that goes wrong. Faults are looked through in the order they were added; the
    /// first that meets an operation acts, and every one counts what passes it.
    pub fn inject(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    /// Takes back every fault that has not acted, and the sticky ones; broken volumes are mended.
    pub fn clear_faults(&mut self) {
        self.faults.clear();
        self.broken.clear();
    }

    /// Sets the bytes there are; `None` for plenty.
    pub fn set_space(&mut self, space_bytes: Option<u64>) {
        self.config.space_bytes = space_bytes;
    }

    /// Bytes that count against the space.
    pub fn used_bytes(&self) -> u64 {
        let on_disk = self.names.files().filter(|(path, _)| path.root != Root::Memory);
        on_disk.map(|(_, node)| self.nodes[&node].current.len() as u64).sum()
    }

    /// From here on everything that changes the disk answers EROFS, or not any more.
    pub fn set_read_only(&mut self, read_only: bool) {
        self.read_only = read_only;
    }

    /// Flips one bit of a file, on the medium too. False when the file does not reach so far.
    pub fn flip_bit(&mut self, path: &DiskPath, byte: u64, bit: u8) -> bool {
        let Some(file) = self.names.get(path).and_then(|node| self.nodes.get_mut(&node)) else {
            return false;
        };
        if byte >= file.current.len() as u64 {
            return false;
        }
        file.flip(byte as usize, bit);
        self.counts.bits_flipped += 1;
        true
    }

    /// Lets the operations go on that were stuck.
    pub fn release_stuck(&mut self) {
        for waiting in &mut self.in_flight {
            if waiting.ready_step == u64::MAX {
                waiting.ready_step = self.step;
            }
        }
    }

    /// Operations submitted and not completed.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Whether the machine is up; a fault may have cut its power.
    pub fn is_powered(&self) -> bool {
        self.powered
    }

    /// What happened so far.
    pub fn counts(&self) -> &SimCounts {
        &self.counts
    }

    /// Every file by name, with what a read of it would give.
    pub fn files(&self) -> impl Iterator<Item = (&DiskPath, &[u8])> {
        self.names.files().map(|(path, node)| (path, self.nodes[&node].current.as_slice()))
    }

    /// What a read of the file would give.
    pub fn contents(&self, path: &DiskPath) -> Option<&[u8]> {
        self.names.get(path).map(|node| self.nodes[&node].current.as_slice())
    }

    /// Puts a file there, durable but for its root's promise. Used for what did not come through
    /// the disk: shared memory after a kill, goldens.
    pub fn put_file(&mut self, path: &DiskPath, bytes: Vec<u8>) {
        let file = match path.root {
            Root::Memory => SimFile::volatile(bytes),
            Root::Data | Root::Journal => SimFile::durable(bytes),
        };
        let node = self.add_node(file);
        self.names.link(path, node);
        let folder = names::parent(path).expect("a file has a name");
        self.names.sync(&folder, u64::MAX);
    }

    /// Starts an operation of a running store. Without power it goes nowhere.
    pub fn submit(&mut self, client: u16, op: DiskOp) {
        assert!(client != BLOCKING, "the last client is the blocking face's");
        if self.powered {
            let waiting = self.admit(client, op);
            self.in_flight.push(waiting);
        }
    }

    /// Lets a step of time pass and completes one of the operations that are ready, chosen by the
    /// seed. `None` when none is; call again while `in_flight` says there are some.
    pub fn poll_complete(&mut self) -> Option<(u16, DiskDone)> {
        if !self.powered {
            return None;
        }
        self.step += 1;
        self.complete_ready()
    }

    /// The power goes now, or went in a fault: what was not durable is kept or lost as `seed` says.
    /// The machine stays off until `restart`.
    pub fn power_cut(&mut self, seed: u64) {
        self.counts.power_cuts += 1;
        self.powered = false;
        let mut prng = Prng::new(seed);
        self.half_finish(&mut prng, true);
        for file in self.nodes.values_mut().filter(|file| file.has_pending()) {
            file.cut(&mut prng, &mut self.counts.sectors);
        }
        self.names.retain(|path| path.root != Root::Memory);
        self.names.cut(&mut prng, &mut self.counts.names);
        self.forget_process();
    }

    /// The processes die, the machine lives: completed operations stay as they are, those under way
    /// are done wholly, partly or not at all.
    pub fn kill(&mut self, seed: u64) {
        self.counts.kills += 1;
        self.half_finish(&mut Prng::new(seed), false);
        self.forget_process();
    }

    /// The process ended in good order: every operation has completed, what it left open is closed.
    pub fn close_all(&mut self) {
        assert!(self.in_flight.is_empty(), "a clean stop leaves no operation under way");
        self.forget_process();
    }

    /// A volume's device is gone: nothing below any of its roots can be done, until it is mended.
    pub fn break_volume(&mut self, volume: Volume) {
        self.broken.insert(volume);
    }

    /// The device is back, with what was on it.
    pub fn mend_volume(&mut self, volume: Volume) {
        self.broken.remove(&volume);
    }

    /// Switches the machine on again.
    pub fn restart(&mut self) {
        assert!(self.in_flight.is_empty(), "a power cut or a kill comes first");
        self.powered = true;
    }

    /// The same medium on another machine, switched on, with nothing open, under way or wrong: to
    /// see what several power cuts would make of one state.
    pub fn twin(&self, seed: u64) -> Self {
        let config = SimDiskConfig { space_bytes: None, ..self.config };
        let (names, nodes) = (self.names.clone(), self.nodes.clone());
        Self { names, nodes, next_node: self.next_node, ..Self::new(seed, config) }
    }

    fn forget_process(&mut self) {
        self.handles.clear();
        let names = &self.names;
        self.nodes.retain(|node, _| names.reaches(*node));
    }

    fn add_node(&mut self, file: SimFile) -> Node {
        let node = self.next_node;
        self.next_node += 1;
        self.nodes.insert(node, file);
        node
    }

    // --- From submission to completion ---

    fn admit(&mut self, client: u16, op: DiskOp) -> InFlight {
        self.check_caller(client, &op);
        let effect = self.meet_fault(client, &op);
        let mut ready_step = self.step + self.order.between(0, self.config.delay_steps_max);
        match effect {
            Some(Effect::Slow { steps }) => {
                self.counts.slow += 1;
                ready_step += steps;
            }
            Some(Effect::Stuck) => {
                self.counts.stuck += 1;
                ready_step = u64::MAX;
            }
            Some(Effect::Fail(_) | Effect::Tear | Effect::Short | Effect::PowerCut) | None => {}
        }
        let mark = match &op {
            DiskOp::Sync { file, .. } => self.file_of(client, *file).mark(),
            DiskOp::SyncDir { .. } => self.names.mark(),
            _ => 0,
        };
        InFlight { client, op, ready_step, effect, mark }
    }

    /// What the edge cannot answer well is a mistake of the store.
    fn check_caller(&self, client: u16, op: &DiskOp) {
        if let Some((file, position, bytes)) = write_range(op) {
            let handle = self.handle(client, file);
            assert!(handle.writable, "{:?} is open for reading only", handle.path);
            assert!(position.is_multiple_of(BLOCK_BYTES as u64), "a write starts at a block");
            assert!(bytes > 0 && bytes.is_multiple_of(BLOCK_BYTES), "a write is whole blocks");
            for other in &self.in_flight {
                let Some((other_file, at, length)) = write_range(&other.op) else { continue };
                let same = self.handle(other.client, other_file).node == handle.node;
                let apart = position + bytes as u64 <= at || at + length as u64 <= position;
                assert!(
                    !same || apart,
                    "{:?}: writes under way overlap: order unknown",
                    handle.path
                );
            }
        }
        match op {
            DiskOp::Read { file, position, buffer, .. } => {
                let asked = if buffer.is_empty() { buffer.capacity() } else { buffer.len() };
                self.handle(client, *file);
                assert!(position.is_multiple_of(BLOCK_BYTES as u64), "a read starts at a block");
                assert!(asked.is_multiple_of(BLOCK_BYTES), "a read is whole blocks");
            }
            DiskOp::Open { file, .. } => {
                assert!(!self.handles.contains_key(&(client, *file)), "a file id is used once");
            }
            DiskOp::Close { file, .. } => {
                self.handle(client, *file);
                let busy = self
                    .in_flight
                    .iter()
                    .any(|other| other.client == client && file_id(&other.op) == Some(*file));
                assert!(!busy, "a file is closed when nothing is under way on it");
            }
            DiskOp::Sync { file, .. } | DiskOp::Truncate { file, .. } => {
                self.handle(client, *file);
            }
            DiskOp::Write { .. }
            | DiskOp::WriteVectored { .. }
            | DiskOp::Rename { .. }
            | DiskOp::Remove { .. }
            | DiskOp::RemoveTree { .. }
            | DiskOp::CreateDir { .. }
            | DiskOp::SyncDir { .. }
            | DiskOp::List { .. }
            | DiskOp::ReplaceFile { .. }
            | DiskOp::ReadFile { .. }
            | DiskOp::Clean { .. } => {}
        }
    }

    fn meet_fault(&mut self, client: u16, op: &DiskOp) -> Option<Effect> {
        if self.faults.is_empty() && self.broken.is_empty() {
            return None;
        }
        let path = self.path_of(client, op);
        let harmless = matches!(op, DiskOp::Close { .. } | DiskOp::Clean { .. });
        if self.broken.contains(&path.volume) && !harmless {
            return Some(Effect::Fail(DiskError::Io { errno: EIO }));
        }
        let mut acting = None;
        for (index, fault) in self.faults.iter_mut().enumerate() {
            let named = fault.path.as_ref().is_none_or(|part| path.path.contains(part));
            if !named || !fault.ops.takes(op) {
                continue;
            }
            if fault.skip > 0 {
                fault.skip -= 1;
            } else if acting.is_none() {
                acting = Some(index);
            }
        }
        let index = acting?;
        let effect = self.faults[index].effect;
        if !self.faults[index].sticky {
            self.faults.remove(index);
        }
        Some(effect)
    }

    fn path_of(&self, client: u16, op: &DiskOp) -> DiskPath {
        match op {
            DiskOp::Open { path, .. }
            | DiskOp::Rename { from: path, .. }
            | DiskOp::Remove { path, .. }
            | DiskOp::RemoveTree { path, .. }
            | DiskOp::CreateDir { path, .. }
            | DiskOp::SyncDir { path, .. }
            | DiskOp::List { path, .. }
            | DiskOp::ReplaceFile { path, .. }
            | DiskOp::ReadFile { path, .. } => path.clone(),
            DiskOp::Clean { .. } => DiskPath::data("cleaner's work"),
            DiskOp::Close { file, .. }
            | DiskOp::Write { file, .. }
            | DiskOp::WriteVectored { file, .. }
            | DiskOp::Read { file, .. }
            | DiskOp::Sync { file, .. }
            | DiskOp::Truncate { file, .. } => self.handle(client, *file).path.clone(),
        }
    }

    fn handle(&self, client: u16, file: FileId) -> &Handle {
        self.handles.get(&(client, file)).expect("operations name files that are open")
    }

    fn file_of(&self, client: u16, file: FileId) -> &SimFile {
        &self.nodes[&self.handle(client, file).node]
    }

    fn file_mut(&mut self, client: u16, file: FileId) -> &mut SimFile {
        let node = self.handle(client, file).node;
        self.nodes.get_mut(&node).expect("an open file keeps its node")
    }

    /// `None` when the power went.
    fn complete(&mut self, waiting: InFlight) -> Option<DiskDone> {
        self.counts.ops += 1;
        self.counts.writes += u64::from(Ops::Write.takes(&waiting.op));
        self.counts.syncs += u64::from(Ops::Sync.takes(&waiting.op));
        let op = waiting.op.id();
        let result = match waiting.effect {
            Some(Effect::PowerCut) => {
                self.powered = false;
                self.in_flight.push(waiting);
                return None;
            }
            Some(Effect::Fail(error)) => {
                self.counts.failed += 1;
                if let DiskOp::Sync { file, .. } = waiting.op {
                    self.file_mut(waiting.client, file).forsake(waiting.mark);
                }
                Err(error)
            }
            Some(Effect::Tear) => {
                self.counts.torn += 1;
                self.tear(&waiting);
                Err(DiskError::Io { errno: EIO })
            }
            Some(Effect::Short) => self.execute_short(waiting),
            Some(Effect::Slow { .. } | Effect::Stuck) | None => self.execute_whole(waiting),
        };
        Some(DiskDone { op, result, times: DiskTimes::default() })
    }

    /// Some sectors of a write that does not complete.
    fn tear(&mut self, waiting: &InFlight) {
        let mut prng = self.tears.fork(self.counts.ops);
        self.write_some(waiting, &mut prng);
    }

    fn write_some(&mut self, waiting: &InFlight, prng: &mut Prng) {
        let Some((file, position, bytes)) = write_range(&waiting.op) else {
            return;
        };
        let end = position + bytes as u64;
        if !self.has_space_for(waiting.client, file, end) {
            return;
        }
        let data = write_bytes(&waiting.op);
        let in_eight = prng.pick(&[0, 1, 4, 7, 8]);
        let target = self.file_mut(waiting.client, file);
        for (index, sector) in data.chunks(SECTOR_BYTES).enumerate() {
            if prng.below(8) < in_eight {
                target.write(position as usize + index * SECTOR_BYTES, sector);
            }
        }
    }

    /// What was under way when the power or the process went. Operations under way have no order.
    fn half_finish(&mut self, prng: &mut Prng, power: bool) {
        let mut left = std::mem::take(&mut self.in_flight);
        while !left.is_empty() {
            let waiting = left.swap_remove(prng.below(left.len() as u64) as usize);
            match &waiting.op {
                DiskOp::Write { .. } | DiskOp::WriteVectored { .. } => {
                    self.write_some(&waiting, prng);
                }
                DiskOp::ReplaceFile { path, bytes, .. } => {
                    let (path, bytes) = (path.clone(), bytes.clone());
                    self.half_replace(&path, &bytes, prng, power);
                }
                DiskOp::Open { .. }
                | DiskOp::Truncate { .. }
                | DiskOp::Rename { .. }
                | DiskOp::Remove { .. }
                | DiskOp::RemoveTree { .. }
                | DiskOp::CreateDir { .. }
                | DiskOp::Sync { .. }
                | DiskOp::SyncDir { .. } => {
                    if prng.one_in(2) {
                        // Its answer reaches nobody.
                        let _ = self.execute_whole(waiting);
                    }
                }
                DiskOp::Close { .. }
                | DiskOp::Read { .. }
                | DiskOp::List { .. }
                | DiskOp::ReadFile { .. }
                | DiskOp::Clean { .. } => {}
            }
        }
    }

    /// A replacement stopped at one of its stages: temporary file begun, written, renamed.
    fn half_replace(&mut self, path: &DiskPath, bytes: &[u8], prng: &mut Prng, power: bool) {
        let temporary = DiskPath { path: format!("{}.tmp", path.path), ..path.clone() };
        match prng.below(4) {
            0 => {}
            1 => {
                let begun = prng.between(0, bytes.len() as u64) as usize;
                let mut file = SimFile::default();
                file.write(0, &bytes[..begun]);
                let node = self.add_node(file);
                self.names.link(&temporary, node);
            }
            2 => {
                let node = self.add_node(SimFile::durable(bytes.to_vec()));
                self.names.link(&temporary, node);
            }
            _ => {
                let node = self.add_node(SimFile::durable(bytes.to_vec()));
                self.names.link(&temporary, node);
                self.names.rename(&temporary, path);
                if !power || prng.one_in(2) {
                    let folder = names::parent(path).expect("a file has a name");
                    self.names.sync(&folder, u64::MAX);
                }
            }
        }
    }
}

impl BlockingDisk for SimDisk {
    /// Without power every operation fails with EIO.
    fn execute(&mut self, op: DiskOp) -> DiskDone {
        let id = op.id();
        let times = DiskTimes::default();
        let dead = DiskDone { op: id, result: Err(DiskError::Io { errno: EIO }), times };
        if !self.powered {
            return dead;
        }
        let waiting = self.admit(BLOCKING, op);
        self.complete(waiting).unwrap_or(dead)
    }
}
