//! Two volumes over disks that do everything at once: what is told of one is not told of the other.

use super::*;
use crate::op::{DiskError, DiskOk, DiskTimes};
use crate::segment::format::sample::{Sample, batch, how, partition};
use crate::store::StoreConfig;

const SECOND: Volume = Volume(1);

fn two() -> Volumes {
    let store = || Store::create(0, 1, StoreConfig::default());
    let mut volumes = Volumes::new(vec![store(), store()]);
    pump(&mut volumes, None);
    volumes
}

/// Completes what waits; operations of `broken` fail.
fn pump(volumes: &mut Volumes, broken: Option<Volume>) {
    while let Some(op) = volumes.poll_op() {
        let id = op.id();
        let ok = match op {
            DiskOp::WriteVectored { buffers, .. } => DiskOk::Written {
                bytes: buffers.iter().map(|buffer| buffer.len() as u64).sum(),
                buffer: None,
            },
            DiskOp::Write { buffer, .. } => {
                let bytes = buffer.as_slice().len() as u64;
                DiskOk::Written { bytes, buffer: buffer.into_owned() }
            }
            DiskOp::Open { .. } => DiskOk::Opened { bytes: 0 },
            _ => DiskOk::Done,
        };
        let fails = broken == Some(id.volume());
        let result = if fails { Err(DiskError::Io { errno: 5 }) } else { Ok(ok) };
        volumes.handle_disk(DiskDone { op: id, result, times: DiskTimes::default() }, 0, 0);
    }
}

fn events(volumes: &mut Volumes) -> Vec<(Volume, StoreEvent)> {
    std::iter::from_fn(|| volumes.poll_event()).collect()
}

fn committed(events: &[(Volume, StoreEvent)]) -> Vec<CommitSeq> {
    let commits = events.iter().filter_map(|(_, event)| match event {
        StoreEvent::Committed { commit, .. } => Some(*commit),
        _ => None,
    });
    commits.collect()
}

#[test]
fn a_handle_a_commit_and_an_event_say_their_volume() {
    let mut volumes = two();
    let first = volumes.create_partition(Volume::FIRST, partition(0), LogConfig::default());
    let second = volumes.create_partition(SECOND, partition(1), LogConfig::default());
    let (first, second) = (first.expect("there is room"), second.expect("there is room"));
    assert_eq!((first.volume(), second.volume()), (Volume::FIRST, SECOND));
    assert_eq!(volumes.find_on(SECOND, &partition(1)), Some(second));
    assert_eq!(volumes.find_on(Volume::FIRST, &partition(1)), None);
    let bytes = batch(Sample::default());
    let appended = volumes.append(second, &bytes, how()).expect("it is a good batch");
    assert_eq!(appended.commit.volume(), SECOND);
    volumes.seal(0, 0);
    assert!(!volumes.is_committed(&appended));
    pump(&mut volumes, None);
    assert!(volumes.is_committed(&appended));
    let events = events(&mut volumes);
    assert_eq!(committed(&events), [appended.commit]);
    let advanced =
        |event: &StoreEvent| matches!(event, StoreEvent::Advanced(log) if *log == second);
    assert!(events.iter().any(|(volume, event)| *volume == SECOND && advanced(event)));
    assert_eq!(volumes.log_end(first), Some(0));
}

#[test]
fn operations_of_two_volumes_never_share_a_name() {
    let mut volumes = two();
    for (volume, number) in [(Volume::FIRST, 0), (SECOND, 1)] {
        let log = volumes.create_partition(volume, partition(number), LogConfig::default());
        let log = log.expect("there is room");
        volumes.append(log, &batch(Sample::default()), how()).expect("it is a good batch");
    }
    volumes.seal(0, 0);
    let writes: Vec<_> = std::iter::from_fn(|| volumes.poll_op()).collect();
    let placed = |op: &DiskOp| match op {
        DiskOp::Write { op, file, .. } | DiskOp::WriteVectored { op, file, .. } => {
            Some((op.volume(), file.volume()))
        }
        _ => None,
    };
    let placed: Vec<_> = writes.iter().filter_map(placed).collect();
    assert_eq!(placed, [(Volume::FIRST, Volume::FIRST), (SECOND, SECOND)]);
}

#[test]
fn a_journal_that_fails_takes_nothing_of_the_other_volume() {
    let mut volumes = two();
    let mut logs = Vec::new();
    for (volume, number) in [(Volume::FIRST, 0), (SECOND, 1)] {
        let log = volumes.create_partition(volume, partition(number), LogConfig::default());
        let log = log.expect("there is room");
        volumes.append(log, &batch(Sample::default()), how()).expect("it is a good batch");
        logs.push(log);
    }
    volumes.seal(0, 0);
    pump(&mut volumes, Some(SECOND));
    let told = events(&mut volumes);
    let failed = |(volume, event): &(Volume, StoreEvent)| match event {
        StoreEvent::JournalFailed { .. } => Some(*volume),
        _ => None,
    };
    assert_eq!(told.iter().filter_map(failed).collect::<Vec<_>>(), [SECOND]);
    assert_eq!(
        committed(&told).iter().map(|commit| commit.volume()).collect::<Vec<_>>(),
        [Volume::FIRST]
    );
    let again = volumes.append(logs[1], &batch(Sample::default()), how());
    assert_eq!(again, Err(AppendError::Failed));
    volumes.append(logs[0], &batch(Sample::default()), how()).expect("the other volume works");
}

#[test]
fn a_volume_taken_offline_serves_no_log_and_new_ones_are_offline_too() {
    let mut volumes = two();
    let config = LogConfig::default();
    let log = volumes.create_partition(SECOND, partition(0), config).expect("there is room");
    volumes.take_offline(SECOND, "gone");
    let later = volumes.create_partition(SECOND, partition(1), config).expect("there is room");
    for log in [log, later] {
        assert_eq!(volumes.failure(log), Some("gone"));
        let read = volumes.read(log, 0, 100, true, 0, &mut Vec::new());
        assert_eq!(read, Err(ReadError::Failed));
    }
    assert_eq!(volumes.poll_event().map(|(volume, _)| volume), None);
}

#[test]
fn a_stop_is_told_once_when_every_volume_has_stopped() {
    let mut volumes = Volumes::new(vec![
        Store::create(0, 1, StoreConfig::default()),
        Store::offline(0, StoreConfig::default(), "gone"),
    ]);
    pump(&mut volumes, None);
    volumes.stop(0);
    pump(&mut volumes, None);
    let told = events(&mut volumes);
    assert!(matches!(told[..], [(_, StoreEvent::Stopped)]), "{told:?}");
}
