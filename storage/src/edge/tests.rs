//! Both executors against a temporary folder: the same promises, operation by operation.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::blocking::PlainDisk;
use super::files::{Folders, SyncPath};
use super::region::SharedMemory;
use super::ring::{DISK_BIT, Ring, RingOptions, Wait};
use super::uring_disk::{DiskConfig, UringDisk};
use crate::buffer::{AlignedBuf, RegionSource, SharedBuf};
use crate::limits::BLOCK_BYTES;
use crate::op::{
    BlockingDisk, DirEntry, DiskDone, DiskError, DiskOk, DiskOp, DiskPath, Durability, FileId,
    OpId, OpenMode, WriteBuf,
};

static FOLDERS: AtomicU32 = AtomicU32::new(0);

struct TestFolder(PathBuf);

impl TestFolder {
    fn below(parent: PathBuf) -> Self {
        let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("corelane-disk-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a temporary folder");
        Self(path)
    }

    fn new() -> Self {
        Self::below(std::env::temp_dir())
    }

    fn folders(&self) -> Arc<Folders> {
        Arc::new(Folders::new(self.0.join("data"), self.0.join("journal"), self.0.join("memory")))
    }
}

impl Drop for TestFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The ring's executor, made to wait.
struct OnRing {
    ring: Ring,
    disk: UringDisk,
}

impl OnRing {
    fn new(folders: Arc<Folders>, sync_path: SyncPath, registered_files: u32) -> Self {
        let mut ring = Ring::new(RingOptions::default()).expect("a ring");
        let helper_name = "disk-test".into();
        let config = DiskConfig { folders, sync_path, registered_files, helper_name };
        let disk = UringDisk::new(config, &mut ring).expect("a disk");
        Self { ring, disk }
    }

    fn wait(&mut self) -> DiskDone {
        let mut batch = Vec::new();
        loop {
            if let Some(done) = self.disk.poll_done() {
                return done;
            }
            self.ring.enter(Wait::AtMost(5_000_000_000)).expect("entered");
            self.ring.reap(&mut batch);
            for completion in &batch {
                assert!(completion.user_data & DISK_BIT != 0);
                self.disk.handle_completion(&mut self.ring, *completion);
            }
        }
    }
}

impl BlockingDisk for OnRing {
    fn execute(&mut self, op: DiskOp) -> DiskDone {
        self.disk.submit(&mut self.ring, op);
        self.wait()
    }

    fn execute_all(&mut self, ops: Vec<DiskOp>) -> Vec<DiskDone> {
        let count = ops.len();
        ops.into_iter().for_each(|op| self.disk.submit(&mut self.ring, op));
        (0..count).map(|_| self.wait()).collect()
    }
}

/// Runs a test on every executor.
fn on_each(test: impl Fn(&mut dyn BlockingDisk)) {
    let folder = TestFolder::new();
    test(&mut PlainDisk::new(folder.folders()));
    for (sync_path, registered) in
        [(SyncPath::Dsync, 16), (SyncPath::LinkedFdatasync, 16), (SyncPath::Dsync, 0)]
    {
        let folder = TestFolder::new();
        test(&mut OnRing::new(folder.folders(), sync_path, registered));
    }
    // A file system in memory: direct I/O may be refused there.
    let folder = TestFolder::below(PathBuf::from("/dev/shm"));
    test(&mut OnRing::new(folder.folders(), SyncPath::Dsync, 16));
}

const OP: OpId = OpId(7);
const FILE: FileId = FileId(3);

fn block_of(byte: u8, blocks: usize) -> AlignedBuf {
    let mut buffer = AlignedBuf::new(blocks * BLOCK_BYTES);
    buffer.set_len(blocks * BLOCK_BYTES);
    buffer.as_mut_slice().fill(byte);
    buffer
}

fn ok(done: DiskDone) -> DiskOk {
    assert_eq!(done.op, OP);
    done.result.expect("the operation succeeds")
}

fn open(disk: &mut dyn BlockingDisk, path: &str, mode: OpenMode) -> Result<u64, DiskError> {
    let path = DiskPath::data(path);
    match disk.execute(DiskOp::Open { op: OP, file: FILE, path, mode }).result? {
        DiskOk::Opened { bytes } => Ok(bytes),
        other => panic!("{other:?}"),
    }
}

fn close(disk: &mut dyn BlockingDisk) {
    assert!(matches!(ok(disk.execute(DiskOp::Close { op: OP, file: FILE })), DiskOk::Done));
}

fn write(
    disk: &mut dyn BlockingDisk,
    position: u64,
    buffer: WriteBuf,
    durability: Durability,
) -> (u64, bool) {
    match ok(disk.execute(DiskOp::Write { op: OP, file: FILE, position, buffer, durability })) {
        DiskOk::Written { bytes, buffer } => (bytes, buffer.is_some()),
        other => panic!("{other:?}"),
    }
}

fn read(disk: &mut dyn BlockingDisk, position: u64, blocks: usize) -> Vec<u8> {
    let buffer = AlignedBuf::new(blocks * BLOCK_BYTES);
    match ok(disk.execute(DiskOp::Read { op: OP, file: FILE, position, buffer })) {
        DiskOk::Read { bytes, buffer } => {
            assert_eq!(bytes as usize, buffer.len());
            buffer.as_slice().to_vec()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_written_is_read_whatever_the_durability() {
    on_each(|disk| {
        assert_eq!(open(disk, "a/b/file", OpenMode::Create), Ok(0));
        let written = write(disk, 0, WriteBuf::Owned(block_of(1, 2)), Durability::Synced);
        assert_eq!(written, (2 * BLOCK_BYTES as u64, true));
        let shared = SharedBuf::new(Arc::new(block_of(2, 1)));
        let written =
            write(disk, 2 * BLOCK_BYTES as u64, WriteBuf::Shared(shared), Durability::Volatile);
        assert_eq!(written, (BLOCK_BYTES as u64, false));
        assert!(matches!(ok(disk.execute(DiskOp::Sync { op: OP, file: FILE })), DiskOk::Done));
        let bytes = read(disk, 0, 3);
        assert!(bytes[..2 * BLOCK_BYTES].iter().all(|byte| *byte == 1));
        assert!(bytes[2 * BLOCK_BYTES..].iter().all(|byte| *byte == 2));
        close(disk);
        assert_eq!(open(disk, "a/b/file", OpenMode::Read), Ok(3 * BLOCK_BYTES as u64));
        close(disk);
    });
}

#[test]
fn a_vectored_write_is_one_operation_however_many_pieces() {
    on_each(|disk| {
        open(disk, "file", OpenMode::CreateOrOpen).expect("created");
        let pieces = 2_500;
        let buffers = (0..pieces)
            .map(|index| SharedBuf::new(Arc::new(block_of((index % 251) as u8, 1))))
            .collect();
        let durability = Durability::Synced;
        let op = DiskOp::WriteVectored { op: OP, file: FILE, position: 0, buffers, durability };
        let DiskOk::Written { bytes, buffer: None } = ok(disk.execute(op)) else {
            panic!("a count and no buffer")
        };
        assert_eq!(bytes as usize, pieces * BLOCK_BYTES);
        let bytes = read(disk, 0, pieces);
        for (index, block) in bytes.chunks(BLOCK_BYTES).enumerate() {
            assert!(block.iter().all(|byte| *byte == (index % 251) as u8), "piece {index}");
        }
        close(disk);
    });
}

#[test]
fn a_read_ends_with_the_file() {
    on_each(|disk| {
        open(disk, "file", OpenMode::CreateOrOpen).expect("created");
        write(disk, 0, WriteBuf::Owned(block_of(9, 4)), Durability::Volatile);
        // A clean stop leaves lengths that are not whole blocks.
        let bytes = 2 * BLOCK_BYTES as u64 + 123;
        assert!(matches!(
            ok(disk.execute(DiskOp::Truncate { op: OP, file: FILE, bytes })),
            DiskOk::Done
        ));
        assert_eq!(read(disk, 0, 8).len() as u64, bytes);
        assert_eq!(read(disk, 2 * BLOCK_BYTES as u64, 1).len(), 123);
        assert_eq!(read(disk, 3 * BLOCK_BYTES as u64, 1).len(), 0);
        let mut buffer = AlignedBuf::new(4 * BLOCK_BYTES);
        buffer.set_len(BLOCK_BYTES);
        let op = DiskOp::Read { op: OP, file: FILE, position: 0, buffer };
        let DiskOk::Read { bytes, .. } = ok(disk.execute(op)) else { panic!("a read") };
        assert_eq!(bytes as usize, BLOCK_BYTES, "a length says how much is wanted");
        close(disk);
    });
}

#[test]
fn opening_says_what_is_missing_or_there_already() {
    on_each(|disk| {
        assert_eq!(open(disk, "none", OpenMode::Read), Err(DiskError::NotFound));
        assert_eq!(open(disk, "none/none", OpenMode::ReadWrite), Err(DiskError::NotFound));
        assert_eq!(open(disk, "x/file", OpenMode::Create), Ok(0));
        close(disk);
        assert_eq!(open(disk, "x/file", OpenMode::Create), Err(DiskError::Exists));
        assert_eq!(open(disk, "x/file", OpenMode::CreateOrOpen), Ok(0));
        close(disk);
    });
}

#[test]
fn independent_operations_executed_together_have_each_their_own_result() {
    on_each(|disk| {
        let each = |of: &mut dyn BlockingDisk, make: &dyn Fn(u32) -> DiskOp| {
            let mut done = of.execute_all((0..40).map(make).collect());
            done.sort_by_key(|done| done.op.0);
            done.into_iter().map(|done| done.result).collect::<Vec<_>>()
        };
        let (op, file) = (|of: u32| OpId(u64::from(of)), |of: u32| FileId(u64::from(of)));
        let path = |of: u32| DiskPath::data(format!("many/{of}"));
        each(disk, &|of| {
            let mode = OpenMode::Create;
            DiskOp::Open { op: op(of), file: file(of), path: path(of), mode }
        });
        each(disk, &|of| DiskOp::Write {
            op: op(of),
            file: file(of),
            position: 0,
            buffer: WriteBuf::Owned(block_of(of as u8, 1)),
            durability: Durability::Volatile,
        });
        each(disk, &|of| match of % 2 {
            0 => DiskOp::Sync { op: op(of), file: file(of) },
            _ => DiskOp::SyncDir { op: op(of), path: DiskPath::data("many") },
        });
        let read = each(disk, &|of| {
            let buffer = AlignedBuf::new(BLOCK_BYTES);
            DiskOp::Read { op: op(of), file: file(of), position: 0, buffer }
        });
        for (of, result) in read.into_iter().enumerate() {
            let Ok(DiskOk::Read { buffer, .. }) = result else { panic!("{result:?}") };
            assert_eq!(buffer.as_slice(), block_of(of as u8, 1).as_slice());
        }
        let missing = |of: u32| match of {
            7 => DiskOp::SyncDir { op: op(of), path: DiskPath::data("nowhere") },
            of => DiskOp::Truncate { op: op(of), file: file(of), bytes: 0 },
        };
        let results = each(disk, &missing);
        let failed: Vec<_> = (0..40).filter(|of| results[*of].is_err()).collect();
        assert_eq!(failed, [7]);
        each(disk, &|of| DiskOp::Close { op: op(of), file: file(of) });
    });
}

#[test]
fn names_are_created_listed_renamed_and_removed() {
    on_each(|disk| {
        let path = |text: &str| DiskPath::journal(text);
        let names = |disk: &mut dyn BlockingDisk, text: &str| match ok(
            disk.execute(DiskOp::List { op: OP, path: path(text) })
        ) {
            DiskOk::Names(names) => names,
            other => panic!("{other:?}"),
        };
        let mut done = |op| assert!(matches!(ok(disk.execute(op)), DiskOk::Done));
        done(DiskOp::CreateDir { op: OP, path: path("one/two") });
        done(DiskOp::CreateDir { op: OP, path: path("one/two") });
        done(DiskOp::ReplaceFile {
            op: OP,
            path: path("one/file"),
            bytes: vec![5; 10],
            durability: Durability::Synced,
        });
        done(DiskOp::ReplaceFile {
            op: OP,
            path: path("one/file"),
            bytes: vec![6; 20],
            durability: Durability::Synced,
        });
        done(DiskOp::ReplaceFile {
            op: OP,
            path: path("new/folder/file"),
            bytes: vec![],
            durability: Durability::Synced,
        });
        done(DiskOp::SyncDir { op: OP, path: path("one") });
        done(DiskOp::Rename { op: OP, from: path("one/file"), to: path("one/renamed") });
        assert_eq!(names(disk, "nowhere"), []);
        assert_eq!(
            names(disk, "one"),
            [
                DirEntry { name: "renamed".into(), is_dir: false, bytes: 20 },
                DirEntry { name: "two".into(), is_dir: true, bytes: 0 },
            ]
        );
        let contents = |disk: &mut dyn BlockingDisk, text: &str, bytes_max| {
            disk.execute(DiskOp::ReadFile { op: OP, path: path(text), bytes_max }).result
        };
        let read = contents(disk, "one/renamed", 20);
        assert!(matches!(read, Ok(DiskOk::Contents(Some(bytes))) if bytes == vec![6; 20]));
        assert!(matches!(contents(disk, "one/file", 20), Ok(DiskOk::Contents(None))));
        assert_eq!(
            contents(disk, "one/renamed", 19).expect_err("larger than allowed"),
            DiskError::Io { errno: libc::EFBIG }
        );
        let mut done = |op| assert!(matches!(ok(disk.execute(op)), DiskOk::Done));
        done(DiskOp::Remove { op: OP, path: path("one/renamed") });
        done(DiskOp::Remove { op: OP, path: path("one/renamed") });
        done(DiskOp::RemoveTree { op: OP, path: path("one") });
        done(DiskOp::RemoveTree { op: OP, path: path("one") });
        let from = path("one/file");
        let missing = disk.execute(DiskOp::Rename { op: OP, from, to: path("x") });
        assert_eq!(missing.result.expect_err("nothing there"), DiskError::NotFound);
    });
}

#[test]
fn a_full_file_system_is_no_space_and_an_open_file_limit_is_its_own_error() {
    assert_eq!(super::files::disk_error_of(libc::ENOSPC), DiskError::NoSpace);
    assert_eq!(super::files::disk_error_of(libc::EDQUOT), DiskError::NoSpace);
    assert_eq!(super::files::disk_error_of(libc::EROFS), DiskError::ReadOnly);
    assert_eq!(super::files::disk_error_of(libc::EMFILE), DiskError::TooManyFiles);
    assert_eq!(super::files::disk_error_of(libc::EIO), DiskError::Io { errno: libc::EIO });
}

#[test]
fn a_write_to_a_file_opened_for_reading_fails_and_says_so() {
    let folder = TestFolder::new();
    let mut disk = OnRing::new(folder.folders(), SyncPath::LinkedFdatasync, 16);
    open(&mut disk, "file", OpenMode::Create).expect("created");
    close(&mut disk);
    open(&mut disk, "file", OpenMode::Read).expect("opened");
    let buffer = WriteBuf::Owned(block_of(1, 1));
    let durability = Durability::Synced;
    let op = DiskOp::Write { op: OP, file: FILE, position: 0, buffer, durability };
    assert_eq!(
        disk.execute(op).result.expect_err("not writable"),
        DiskError::Io { errno: libc::EBADF }
    );
    assert_eq!(disk.disk.counters().errors, 1);
}

#[test]
fn many_operations_at_once_complete_each_with_its_own_buffer() {
    let folder = TestFolder::new();
    let mut disk = OnRing::new(folder.folders(), SyncPath::Dsync, 16);
    open(&mut disk, "file", OpenMode::Create).expect("created");
    // More than the submission queue holds.
    let count = 3_000u64;
    for index in 0..count {
        let buffer = WriteBuf::Owned(block_of((index % 250) as u8, 1));
        let position = index * BLOCK_BYTES as u64;
        let durability = Durability::Volatile;
        let op = OpId(index);
        disk.disk
            .submit(&mut disk.ring, DiskOp::Write { op, file: FILE, position, buffer, durability });
    }
    for _ in 0..count {
        let done = disk.wait();
        match done.result.expect("written") {
            DiskOk::Written { bytes, buffer: Some(buffer) } => {
                assert_eq!(bytes as usize, BLOCK_BYTES);
                assert_eq!(buffer.as_slice()[0], (done.op.0 % 250) as u8);
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(disk.disk.is_idle());
    let bytes = read(&mut disk, 0, count as usize);
    assert_eq!(bytes.len(), count as usize * BLOCK_BYTES);
    assert!(bytes.chunks(BLOCK_BYTES).enumerate().all(|(i, block)| block[0] == (i % 250) as u8));
}

#[test]
fn shared_memory_is_found_again_by_the_next_process() {
    let folder = TestFolder::new();
    let path = folder.0.join("memory/shard-0");
    let slot_bytes = 16 * BLOCK_BYTES;
    {
        let mut memory = SharedMemory::open(&path, slot_bytes, 3).expect("mapped");
        let mut regions: Vec<_> =
            (0..3).map(|_| memory.region(slot_bytes).expect("a free slot")).collect();
        assert!(memory.region(slot_bytes).is_none(), "three slots, not four");
        for (index, region) in regions.iter_mut().enumerate() {
            assert_eq!(region.bytes().len(), slot_bytes);
            region.bytes_mut().fill(index as u8 + 1);
        }
        regions.remove(1);
        assert_eq!(memory.slots_free(), 1);
        let mut again = AlignedBuf::from_region(memory.region(BLOCK_BYTES).expect("freed"));
        assert_eq!(again.capacity(), BLOCK_BYTES);
        again.extend_from_slice(b"second use");
        assert!(memory.region(slot_bytes + BLOCK_BYTES).is_none(), "larger than a slot");
    }
    let mut disk = PlainDisk::new(folder.folders());
    let (file, mode) = (DiskPath::memory("shard-0"), OpenMode::Read);
    ok(disk.execute(DiskOp::Open { op: OP, file: FILE, path: file, mode }));
    let bytes = read(&mut disk, 0, 3 * 16);
    assert_eq!(bytes[0], 1);
    assert_eq!(&bytes[slot_bytes..slot_bytes + 10], b"second use");
    assert_eq!(bytes[2 * slot_bytes], 3);
    let memory = SharedMemory::open(&path, slot_bytes, 3).expect("mapped again");
    assert_eq!(memory.slots_free(), 3);
}
