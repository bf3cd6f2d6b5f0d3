//! One test per promise and per fault. Most ask many seeds, because a fault is a choice among
//! outcomes: they collect what came out and demand exactly the outcomes a real disk could show.
//!
//! Here: what power cuts, kills and syncs leave, names, and order. `faults` is what single
//! operations meet.

mod faults;

use std::collections::BTreeSet;
use std::sync::Arc;

use super::*;
use crate::buffer::{AlignedBuf, RegionSource, SharedBuf};
use crate::op::{DiskOk, Durability, OpId, OpenMode, WriteBuf};

const SEEDS: u64 = 200;
const FILE: FileId = FileId(1);

struct Rig {
    disk: SimDisk,
    next_op: u64,
}

impl Rig {
    fn new(seed: u64) -> Self {
        Self { disk: SimDisk::new(seed, SimDiskConfig::default()), next_op: 0 }
    }

    fn op(&mut self) -> OpId {
        self.next_op += 1;
        OpId(self.next_op)
    }

    fn run(&mut self, op: DiskOp) -> Result<DiskOk, DiskError> {
        self.disk.execute(op).result
    }

    fn open(&mut self, path: &DiskPath, mode: OpenMode) -> Result<u64, DiskError> {
        let op = self.op();
        let open = DiskOp::Open { op, file: FILE, path: path.clone(), mode };
        match self.run(open)? {
            DiskOk::Opened { bytes } => Ok(bytes),
            other => panic!("an open answers with a length, not {other:?}"),
        }
    }

    /// A file whose name is durable, open.
    fn created(&mut self, path: &DiskPath) {
        self.open(path, OpenMode::Create).expect("it is not there yet");
        self.sync_dir(&names::parent(path).expect("a file"));
    }

    fn write(&mut self, at: u64, fill: u8, blocks: usize, synced: bool) -> Result<u64, DiskError> {
        let op = self.write_op(at, fill, blocks, synced);
        match self.run(op)? {
            DiskOk::Written { bytes, buffer: Some(_) } => Ok(bytes),
            other => panic!("a write gives its buffer back, not {other:?}"),
        }
    }

    fn write_op(&mut self, at: u64, fill: u8, blocks: usize, synced: bool) -> DiskOp {
        let buffer = WriteBuf::Owned(filled(fill, blocks));
        let durability = if synced { Durability::Synced } else { Durability::Volatile };
        DiskOp::Write { op: self.op(), file: FILE, position: at, buffer, durability }
    }

    fn sync(&mut self) -> Result<(), DiskError> {
        let op = self.op();
        self.run(DiskOp::Sync { op, file: FILE }).map(|_| ())
    }

    fn sync_dir(&mut self, path: &DiskPath) {
        let op = self.op();
        self.run(DiskOp::SyncDir { op, path: path.clone() }).expect("the folder is there");
    }

    fn rename(&mut self, from: &DiskPath, to: &DiskPath) -> Result<DiskOk, DiskError> {
        let op = self.op();
        self.run(DiskOp::Rename { op, from: from.clone(), to: to.clone() })
    }

    fn replace(&mut self, path: &DiskPath, bytes: &[u8]) -> Result<DiskOk, DiskError> {
        let op = self.op();
        let (bytes, durability) = (bytes.to_vec(), Durability::Synced);
        self.run(DiskOp::ReplaceFile { op, path: path.clone(), bytes, durability })
    }

    fn cut(&mut self, seed: u64) {
        self.disk.power_cut(seed);
        self.disk.restart();
    }

    fn contents(&self, path: &DiskPath) -> Vec<u8> {
        self.disk.contents(path).expect("the file is there").to_vec()
    }
}

fn filled(fill: u8, blocks: usize) -> AlignedBuf {
    let mut buffer = AlignedBuf::new(blocks * BLOCK_BYTES);
    buffer.extend_from_slice(&vec![fill; blocks * BLOCK_BYTES]);
    buffer
}

fn file() -> DiskPath {
    DiskPath::data("topics/a/0.log")
}

/// One letter per sector; `.` for zeros, `#` for a sector that is not of one byte.
fn sectors(bytes: &[u8]) -> String {
    let letter = |sector: &[u8]| match sector {
        [first, rest @ ..] if rest.iter().all(|byte| byte == first) => match first {
            0 => '.',
            first => char::from(*first),
        },
        _ => '#',
    };
    bytes.chunks(SECTOR_BYTES).map(letter).collect()
}

#[test]
fn a_synced_write_survives_every_power_cut() {
    for seed in 0..SEEDS {
        let mut rig = Rig::new(seed);
        rig.created(&file());
        rig.write(0, b'A', 2, true).expect("there is no fault");
        rig.cut(seed);
        assert_eq!(rig.contents(&file()), [b'A'; 2 * BLOCK_BYTES]);
    }
}

#[test]
fn a_sync_makes_earlier_writes_and_the_length_durable() {
    for seed in 0..SEEDS {
        let mut rig = Rig::new(seed);
        rig.created(&file());
        rig.write(0, b'A', 1, false).expect("there is no fault");
        rig.write(4096, b'B', 1, false).expect("there is no fault");
        rig.sync().expect("there is no fault");
        rig.cut(seed);
        assert_eq!(sectors(&rig.contents(&file())), "AAAAAAAABBBBBBBB");
    }
}

#[test]
fn any_subset_of_unsynced_sectors_survives_an_overwrite() {
    let mut seen = BTreeSet::new();
    for seed in 0..SEEDS {
        let mut rig = Rig::new(seed);
        rig.created(&file());
        rig.write(0, b'A', 1, true).expect("there is no fault");
        rig.write(0, b'B', 1, false).expect("there is no fault");
        assert_eq!(sectors(&rig.contents(&file())), "BBBBBBBB", "reads see it at once");
        rig.cut(seed);
        let left = sectors(&rig.contents(&file()));
        assert!(left.chars().all(|sector| "AB".contains(sector)), "{left}");
        seen.insert(left);
    }
    assert!(seen.contains("AAAAAAAA") && seen.contains("BBBBBBBB"));
    assert!(seen.len() > 20, "{} outcomes", seen.len());
}

#[test]
fn an_unsynced_extension_may_be_lost_or_read_as_zeros() {
    let mut lengths = BTreeSet::new();
    let mut zeros = false;
    for seed in 0..SEEDS {
        let mut rig = Rig::new(seed);
        rig.created(&file());
        rig.write(0, b'A', 1, true).expect("there is no fault");
        rig.write(4096, b'B', 1, false).expect("there is no fault");
        rig.cut(seed);
        let left = rig.contents(&file());
        lengths.insert(left.len());
        let left = sectors(&left);
        assert!(left.starts_with("AAAAAAAA"), "{left}");
        zeros |= left.contains('.');
    }
    assert_eq!(lengths, BTreeSet::from([4096, 8192]));
    assert!(zeros, "a kept length without its sectors reads as zeros");
}

#[test]
fn a_synced_write_leaves_other_writes_volatile() {
    let mut lost = false;
    for seed in 0..SEEDS {
        let mut rig = Rig::new(seed);
        rig.created(&file());
        rig.write(0, b'A', 1, false).expect("there is no fault");
        rig.write(4096, b'B', 1, true).expect("there is no fault");
        rig.cut(seed);
        let left = sectors(&rig.contents(&file()));
        assert!(left.ends_with("BBBBBBBB"), "{left}");
        lost |= left.contains('.');
    }
    assert!(lost);
}

#[test]
fn an_older_write_never_comes_back_over_a_synced_one() {
    for seed in 0..SEEDS {
        let mut rig = Rig::new(seed);
        rig.created(&file());
        rig.write(0, b'A', 3, false).expect("there is no fault");
        rig.write(4096, b'B', 1, true).expect("there is no fault");
        rig.cut(seed);
        assert_eq!(&sectors(&rig.contents(&file()))[8..16], "BBBBBBBB");
    }
}

#[test]
fn a_sync_covers_only_what_completed_before_it_was_submitted() {
    let mut lost = false;
    for seed in 0..SEEDS {
        let mut rig = Rig::new(seed);
        rig.created(&file());
        rig.write(0, b'A', 1, true).expect("there is no fault");
        let op = rig.op();
        let mark = rig.disk.file_of(BLOCKING, FILE).mark();
        rig.write(0, b'B', 1, false).expect("there is no fault");
        let sync = InFlight {
            client: BLOCKING,
            op: DiskOp::Sync { op, file: FILE },
            ready_step: 0,
            effect: None,
            mark,
        };
        assert!(matches!(rig.disk.complete(sync), Some(DiskDone { result: Ok(_), .. })));
        rig.cut(seed);
        lost |= sectors(&rig.contents(&file())).contains('A');
    }
    assert!(lost, "the write completed while the sync was under way");
}

#[test]
fn a_truncation_is_kept_or_lost_and_never_brings_old_bytes_back() {
    let mut seen = BTreeSet::new();
    for seed in 0..SEEDS {
        let mut rig = Rig::new(seed);
        rig.created(&file());
        rig.write(0, b'A', 2, true).expect("there is no fault");
        let op = rig.op();
        rig.run(DiskOp::Truncate { op, file: FILE, bytes: 100 }).expect("there is no fault");
        rig.cut(seed);
        seen.insert(rig.contents(&file()).len());
    }
    assert_eq!(seen, BTreeSet::from([100, 8192]));

    let mut rig = Rig::new(0);
    rig.created(&file());
    rig.write(0, b'A', 2, false).expect("there is no fault");
    let op = rig.op();
    rig.run(DiskOp::Truncate { op, file: FILE, bytes: 0 }).expect("there is no fault");
    rig.write(4096, b'B', 1, true).expect("there is no fault");
    assert_eq!(sectors(&rig.contents(&file())), "........BBBBBBBB");
    for seed in 0..SEEDS {
        let mut disk = Rig { disk: rig.disk.twin(seed), next_op: 0 };
        disk.cut(seed);
        assert_eq!(sectors(&disk.contents(&file())), "........BBBBBBBB");
    }
}

#[test]
fn a_name_whose_folder_was_not_synced_is_kept_or_lost() {
    let mut seen = BTreeSet::new();
    for seed in 0..SEEDS {
        let mut rig = Rig::new(seed);
        rig.open(&file(), OpenMode::Create).expect("it is not there yet");
        rig.write(0, b'A', 1, true).expect("there is no fault");
        rig.cut(seed);
        seen.insert(rig.disk.contents(&file()).is_some());
    }
    assert_eq!(seen.len(), 2);
}

#[test]
fn a_rename_without_a_folder_sync_leaves_the_old_or_the_new_name() {
    let (old, new) = (file(), DiskPath::data("topics/a/0.log.deleted"));
    let mut seen = BTreeSet::new();
    for seed in 0..SEEDS {
        let mut rig = Rig::new(seed);
        rig.created(&old);
        rig.write(0, b'A', 1, true).expect("there is no fault");
        rig.rename(&old, &new).expect("it is there");
        let synced = seed % 2 == 0;
        if synced {
            rig.sync_dir(&DiskPath::data("topics/a"));
        }
        rig.cut(seed);
        let names = (rig.disk.contents(&old).is_some(), rig.disk.contents(&new).is_some());
        assert!(names.0 != names.1, "exactly one name: {names:?}");
        assert!(!synced || names.1, "a synced rename stays");
        seen.insert(names);
    }
    assert_eq!(seen.len(), 2);
}

#[test]
fn a_removal_without_a_folder_sync_may_come_back() {
    let mut seen = BTreeSet::new();
    for seed in 0..SEEDS {
        let mut rig = Rig::new(seed);
        rig.created(&file());
        let op = rig.op();
        rig.run(DiskOp::RemoveTree { op, path: DiskPath::data("topics") }).expect("no fault");
        assert!(rig.disk.contents(&file()).is_none());
        rig.cut(seed);
        seen.insert(rig.disk.contents(&file()).is_some());
    }
    assert_eq!(seen.len(), 2);
}

#[test]
fn a_folder_is_removed_and_synced_without_its_namesake_on_another_volume() {
    let (here, there) = (DiskPath::data("topics"), file().on(Volume(1)));
    let mut seen = BTreeSet::new();
    for seed in 0..SEEDS {
        let mut rig = Rig::new(seed);
        rig.disk.put_file(&there, b"there".to_vec());
        let (create, remove) = (rig.op(), rig.op());
        rig.run(DiskOp::RemoveTree { op: remove, path: here.clone() }).expect("no fault");
        assert!(rig.disk.contents(&there).is_some());
        rig.run(DiskOp::CreateDir { op: create, path: here.clone() }).expect("no fault");
        rig.sync_dir(&names::parent(&there).expect("a file"));
        rig.cut(seed);
        assert!(rig.disk.contents(&there).is_some());
        seen.insert(rig.disk.names.has_folder(&here));
    }
    assert_eq!(seen.len(), 2, "what was not synced is kept or lost");
}

#[test]
fn a_replaced_file_is_old_or_new_and_whole_when_it_was_acknowledged() {
    let path = DiskPath::data("checkpoint");
    let mut outcomes = BTreeSet::new();
    for seed in 0..SEEDS {
        let mut rig = Rig::new(seed);
        rig.replace(&path, b"old").expect("there is no fault");
        rig.disk.inject(Fault::once(Ops::Write, 0, Effect::PowerCut));
        assert!(rig.replace(&path, b"newer").is_err());
        rig.cut(seed);
        outcomes.insert(rig.contents(&path));
        rig.replace(&path, b"newest").expect("there is no fault");
        rig.cut(seed);
        assert_eq!(rig.contents(&path), b"newest");
    }
    assert_eq!(outcomes, BTreeSet::from([b"old".to_vec(), b"newer".to_vec()]));
}

#[test]
fn a_power_cut_in_the_middle_of_a_synced_write_tears_it() {
    let mut seen = BTreeSet::new();
    for seed in 0..SEEDS {
        let mut rig = Rig::new(seed);
        rig.created(&file());
        rig.write(0, b'A', 1, true).expect("there is no fault");
        rig.disk.inject(Fault::once(Ops::Write, 0, Effect::PowerCut));
        assert!(rig.write(0, b'B', 1, true).is_err());
        assert!(!rig.disk.is_powered());
        assert_eq!(rig.sync(), Err(DiskError::Io { errno: EIO }), "nothing works without power");
        rig.cut(seed);
        seen.insert(sectors(&rig.contents(&file())));
    }
    assert!(seen.contains("AAAAAAAA") && seen.len() > 20, "{} outcomes", seen.len());
}

#[test]
fn a_power_cut_waits_for_the_operation_it_was_told() {
    let mut rig = Rig::new(1);
    rig.created(&file());
    rig.disk.inject(Fault::once(Ops::Write, 3, Effect::PowerCut));
    for block in 0..3 {
        rig.write(block * 4096, b'A', 1, true).expect("it comes at the fourth");
    }
    rig.write(0, b'B', 1, true).expect_err("this is the fourth");
    assert!(!rig.disk.is_powered());
}

#[test]
fn names_open_and_files_list_as_on_a_file_system() {
    let mut rig = Rig::new(0);
    assert_eq!(rig.open(&file(), OpenMode::ReadWrite), Err(DiskError::NotFound));
    rig.created(&file());
    rig.disk.close_all();
    assert_eq!(rig.open(&file(), OpenMode::Create), Err(DiskError::Exists));
    assert_eq!(rig.open(&file(), OpenMode::CreateOrOpen), Ok(0));
    rig.write(0, b'A', 1, false).expect("there is no fault");
    let op = rig.op();
    rig.run(DiskOp::CreateDir { op, path: DiskPath::data("topics/b/c") }).expect("no fault");
    let names = |rig: &mut Rig, path: &str| {
        let op = rig.op();
        match rig.run(DiskOp::List { op, path: DiskPath::data(path) }) {
            Ok(DiskOk::Names(names)) => {
                names.iter().map(|n| format!("{}{}{}", n.name, n.is_dir, n.bytes)).collect()
            }
            other => panic!("{other:?}"),
        }
    };
    let listed: Vec<String> = names(&mut rig, "topics");
    assert_eq!(listed, ["atrue0", "btrue0"]);
    assert_eq!(names(&mut rig, "topics/a"), ["0.logfalse4096"]);
    assert!(names(&mut rig, "nowhere").is_empty());
    let missing = DiskPath::data("x");
    assert!(matches!(rig.rename(&missing, &DiskPath::data("y")), Err(DiskError::NotFound)));
    let op = rig.op();
    let read = DiskOp::ReadFile { op, path: file(), bytes_max: 4095 };
    assert!(matches!(rig.run(read), Err(DiskError::Io { errno: EFBIG })));
    let op = rig.op();
    let read = DiskOp::ReadFile { op, path: missing, bytes_max: 1 };
    assert!(matches!(rig.run(read), Ok(DiskOk::Contents(None))));
}

#[test]
fn the_seed_decides_the_order_of_completions() {
    let order = |seed: u64| {
        let mut rig = Rig::new(seed);
        let mut order = Vec::new();
        let open = DiskOp::Open { op: OpId(0), file: FILE, path: file(), mode: OpenMode::Create };
        rig.disk.submit(3, open);
        while rig.disk.in_flight() > 0 {
            rig.disk.poll_complete();
        }
        for block in 0..6 {
            let op = rig.write_op(block * 4096, b'A', 1, true);
            rig.disk.submit(3, op);
        }
        while rig.disk.in_flight() > 0 {
            if let Some((client, done)) = rig.disk.poll_complete() {
                assert_eq!(client, 3);
                assert!(matches!(done.result, Ok(DiskOk::Written { bytes: 4096, .. })));
                order.push(done.op);
            }
        }
        order
    };
    assert_eq!(order(1), order(1));
    let orders: BTreeSet<_> = (0..50).map(order).collect();
    assert!(orders.len() > 20, "{} orders", orders.len());
}

#[test]
fn a_stuck_operation_waits_for_its_release_and_a_slow_one_for_its_steps() {
    let mut rig = Rig::new(0);
    rig.disk.put_file(&file(), vec![0; 8192]);
    let open = DiskOp::Open { op: OpId(0), file: FILE, path: file(), mode: OpenMode::ReadWrite };
    rig.disk.submit(0, open);
    while rig.disk.poll_complete().is_none() {}
    rig.disk.inject(Fault::once(Ops::Write, 0, Effect::Stuck));
    rig.disk.inject(Fault::once(Ops::Write, 1, Effect::Slow { steps: 1_000 }));
    for block in 0..2 {
        let op = rig.write_op(block * 4096, b'A', 1, true);
        rig.disk.submit(0, op);
    }
    let early = (0..900).find_map(|_| rig.disk.poll_complete());
    assert!(early.is_none());
    let slow = (0..200).find_map(|_| rig.disk.poll_complete());
    assert_eq!(slow.map(|(_, done)| done.op), Some(OpId(2)));
    assert!((0..900).find_map(|_| rig.disk.poll_complete()).is_none());
    rig.disk.release_stuck();
    assert_eq!(rig.disk.poll_complete().map(|(_, done)| done.op), Some(OpId(1)));
    assert_eq!((rig.disk.counts().stuck, rig.disk.counts().slow), (1, 1));
}

#[test]
fn a_kill_keeps_what_completed_and_any_part_of_what_was_under_way() {
    let mut seen = BTreeSet::new();
    for seed in 0..SEEDS {
        let mut rig = Rig::new(seed);
        rig.disk.put_file(&file(), vec![b'A'; 8192]);
        let mode = OpenMode::ReadWrite;
        rig.disk.submit(0, DiskOp::Open { op: OpId(0), file: FILE, path: file(), mode });
        while rig.disk.poll_complete().is_none() {}
        let op = rig.write_op(0, b'B', 1, false);
        rig.disk.submit(0, op);
        while rig.disk.poll_complete().is_none() {}
        let op = rig.write_op(4096, b'C', 1, true);
        rig.disk.submit(0, op);
        rig.disk.kill(seed);
        rig.disk.restart();
        let left = sectors(&rig.contents(&file()));
        assert!(left.starts_with("BBBBBBBB"), "{left}");
        seen.insert(left[8..].to_owned());
    }
    assert!(seen.contains("AAAAAAAA") && seen.contains("CCCCCCCC") && seen.len() > 20);
}

#[test]
fn shared_memory_survives_a_kill_and_not_a_power_cut() {
    let path = DiskPath::memory("frames-0");
    let memory = SimMemory::new(8192, 3, &[]);
    let mut source = memory.clone();
    let region = source.region(4096).expect("slots are free");
    let mut buffer = AlignedBuf::from_region(region);
    buffer.extend_from_slice(b"frame");
    let shared = SharedBuf::new(Arc::new(buffer));
    assert!(source.region(8193).is_none(), "larger than a slot");
    drop((shared, source));

    let mut rig = Rig::new(0);
    rig.disk.kill(0);
    rig.disk.put_file(&path, memory.file_bytes());
    assert_eq!(&rig.contents(&path)[..5], b"frame");
    let mut again = SimMemory::new(8192, 3, &rig.contents(&path));
    let slots: Vec<_> = (0..3).map(|_| again.region(8192).expect("three slots")).collect();
    assert_eq!(&slots[0].bytes()[..5], b"frame");
    assert!(again.region(1).is_none(), "all are lent");
    rig.cut(0);
    assert!(rig.disk.contents(&path).is_none());
}

#[test]
#[should_panic(expected = "writes under way overlap")]
fn overlapping_writes_under_way_are_a_mistake_of_the_store() {
    let mut rig = Rig::new(0);
    rig.disk.put_file(&file(), vec![0; 8192]);
    let open = DiskOp::Open { op: OpId(0), file: FILE, path: file(), mode: OpenMode::ReadWrite };
    rig.disk.submit(0, open);
    while rig.disk.poll_complete().is_none() {}
    for _ in 0..2 {
        let op = rig.write_op(4096, b'A', 1, true);
        rig.disk.submit(0, op);
    }
}

#[test]
#[should_panic(expected = "operations name files that are open")]
fn a_write_before_its_file_is_open_is_a_mistake_of_the_store() {
    let mut rig = Rig::new(0);
    let op = rig.write_op(0, b'A', 1, true);
    rig.disk.submit(0, op);
}
