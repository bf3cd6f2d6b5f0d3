//! What single operations meet on a disk that tears, fails, is full, is read-only, or rots.

use super::*;

#[test]
fn a_torn_write_fails_and_changes_some_sectors() {
    let mut seen = BTreeSet::new();
    for seed in 0..SEEDS {
        let mut rig = Rig::new(seed);
        rig.created(&file());
        rig.write(0, b'A', 1, true).expect("there is no fault");
        rig.disk.inject(Fault::once(Ops::Write, 0, Effect::Tear));
        assert_eq!(rig.write(0, b'B', 1, true), Err(DiskError::Io { errno: EIO }));
        assert_eq!(rig.disk.counts().torn, 1);
        seen.insert(sectors(&rig.contents(&file())));
    }
    assert!(seen.len() > 20, "{} outcomes", seen.len());
}

#[test]
fn a_short_write_and_a_short_read_say_how_far_they_came() {
    for seed in 0..SEEDS {
        let mut rig = Rig::new(seed);
        rig.created(&file());
        rig.disk.inject(Fault::once(Ops::Write, 0, Effect::Short));
        let written = rig.write(0, b'A', 4, true).expect("short is not an error");
        assert!(written < 4 * 4096 && written.is_multiple_of(4096));
        assert_eq!(rig.contents(&file()).len() as u64, written);
        rig.write(0, b'A', 4, true).expect("once only");

        rig.disk.inject(Fault::once(Ops::Read, 0, Effect::Short));
        let buffer = AlignedBuf::new(4 * 4096);
        let op = rig.op();
        match rig.run(DiskOp::Read { op, file: FILE, position: 0, buffer }) {
            Ok(DiskOk::Read { bytes, buffer }) => {
                assert!(bytes < 4 * 4096);
                assert_eq!(buffer.len(), bytes as usize);
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(rig.disk.counts().short, 2);
    }
}

#[test]
fn a_read_stops_at_the_end_of_the_file() {
    let mut rig = Rig::new(0);
    rig.created(&file());
    rig.write(0, b'A', 1, true).expect("there is no fault");
    let op = rig.op();
    rig.run(DiskOp::Truncate { op, file: FILE, bytes: 700 }).expect("there is no fault");
    for (position, expected) in [(0, 700), (4096, 0)] {
        let buffer = AlignedBuf::new(8192);
        let op = rig.op();
        match rig.run(DiskOp::Read { op, file: FILE, position, buffer }) {
            Ok(DiskOk::Read { bytes, buffer }) => {
                assert_eq!((bytes, buffer.len()), (expected, expected as usize));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn an_error_is_given_once_or_for_ever_and_only_where_it_was_put() {
    let error = DiskError::Io { errno: EIO };
    let mut rig = Rig::new(0);
    rig.created(&file());
    rig.disk.inject(Fault::once(Ops::Write, 1, Effect::Fail(error)));
    assert!(rig.write(0, b'A', 1, false).is_ok());
    assert_eq!(rig.write(0, b'B', 1, false), Err(error));
    assert_eq!(sectors(&rig.contents(&file())), "AAAAAAAA", "a failed write changes nothing");
    assert!(rig.write(0, b'C', 1, false).is_ok());
    rig.disk.inject(Fault::always(Ops::Sync, "0.log", Effect::Fail(error)));
    assert_eq!(rig.sync(), Err(error));
    assert_eq!(rig.sync(), Err(error));
    rig.sync_dir(&DiskPath::data("topics/a"));
    rig.disk.clear_faults();
    assert!(rig.sync().is_ok());
}

#[test]
fn what_a_failed_sync_covered_no_later_sync_makes_durable() {
    let mut lost = false;
    for seed in 0..SEEDS {
        let mut rig = Rig::new(seed);
        rig.created(&file());
        rig.write(0, b'A', 1, true).expect("there is no fault");
        rig.write(0, b'B', 1, false).expect("there is no fault");
        rig.disk.inject(Fault::once(Ops::Sync, 0, Effect::Fail(DiskError::Io { errno: EIO })));
        assert!(rig.sync().is_err());
        assert!(rig.sync().is_ok(), "as kernels do");
        rig.cut(seed);
        lost |= sectors(&rig.contents(&file())).contains('A');
    }
    assert!(lost);
}

#[test]
fn what_is_written_again_after_a_failed_sync_a_later_sync_makes_durable() {
    for seed in 0..SEEDS {
        let mut rig = Rig::new(seed);
        rig.created(&file());
        rig.write(0, b'A', 2, false).expect("there is no fault");
        rig.disk.inject(Fault::once(Ops::Sync, 0, Effect::Fail(DiskError::NoSpace)));
        assert!(rig.sync().is_err());
        rig.write(0, b'B', 2, false).expect("there is no fault");
        rig.sync().expect("there is no fault");
        rig.cut(seed);
        assert_eq!(sectors(&rig.contents(&file())), "BBBBBBBBBBBBBBBB");
    }
}

#[test]
fn a_full_disk_takes_overwrites_and_heals_with_space() {
    let mut rig = Rig::new(0);
    rig.disk.set_space(Some(10_000));
    rig.created(&file());
    rig.write(0, b'A', 2, false).expect("it fits");
    assert_eq!(rig.write(8192, b'B', 1, false), Err(DiskError::NoSpace));
    assert!(rig.write(0, b'C', 2, false).is_ok());
    let checkpoint = DiskPath::data("checkpoint");
    assert!(matches!(rig.replace(&checkpoint, &[0; 4000]), Err(DiskError::NoSpace)));
    assert!(rig.disk.contents(&checkpoint).is_none());
    assert_eq!(rig.disk.counts().no_space, 2);
    rig.disk.set_space(Some(20_000));
    assert!(rig.write(8192, b'B', 1, false).is_ok());
    assert_eq!(rig.disk.used_bytes(), 12_288);
}

#[test]
fn a_read_only_disk_reads_and_changes_nothing() {
    let mut rig = Rig::new(0);
    rig.created(&file());
    rig.write(0, b'A', 1, true).expect("there is no fault");
    rig.disk.set_read_only(true);
    assert_eq!(rig.write(0, b'B', 1, true), Err(DiskError::ReadOnly));
    assert_eq!(rig.sync(), Err(DiskError::ReadOnly));
    let op = rig.op();
    let read = DiskOp::ReadFile { op, path: file(), bytes_max: 1 << 20 };
    assert!(matches!(rig.run(read), Ok(DiskOk::Contents(Some(_)))));
    assert_eq!(rig.disk.counts().read_only, 2);
    rig.disk.set_read_only(false);
    assert!(rig.write(0, b'B', 1, true).is_ok());
}

#[test]
fn a_flipped_bit_is_on_the_medium() {
    let mut rig = Rig::new(0);
    rig.created(&file());
    rig.write(0, b'A', 1, true).expect("there is no fault");
    assert!(rig.disk.flip_bit(&file(), 600, 1));
    assert!(!rig.disk.flip_bit(&file(), 4096, 1));
    rig.cut(0);
    assert_eq!(sectors(&rig.contents(&file())), "A#AAAAAA");
}
