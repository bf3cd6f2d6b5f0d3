//! Disks that refuse, fail, fill and rot: what fails, what goes on, and that nothing acked is lost.
//!
//! Each test makes one thing go wrong under a running store and looks at who is told. The rows are
//! those of the table of what a broker must do about its disk.

mod world;

use storage::RecoverError;
use storage::op::{DiskError, DiskPath};
use storage::prng::Prng;
use storage::sim_disk::{Effect, Fault, Ops};
use storage::types::*;
use world::scenes::{count, failed_partitions, fill, world};
use world::{World, id, random_step, small_log};

const EIO: DiskError = DiskError::Io { errno: 5 };

#[test]
fn a_failed_journal_write_is_final_and_loses_nothing_acked() {
    for effect in [Effect::Fail(EIO), Effect::Short, Effect::Tear] {
        let mut world = world(2);
        fill(&mut world, 0, 20, 300);
        world
            .disk
            .inject(Fault { path: Some("journal".into()), ..Fault::once(Ops::Write, 0, effect) });
        fill(&mut world, 0, 20, 300);
        let told = count(&world, |event| matches!(event, StoreEvent::JournalFailed { .. }));
        assert_eq!(told, 1, "{effect:?}: the shard is told once");
        assert_eq!(world.append(id(1), 10, 1, None), Err(AppendError::Failed));
        let acked = world.partitions[&id(0)].sent.iter().filter(|sent| sent.acked).count();
        assert_eq!(acked, 20, "{effect:?}: nothing is acked after it");
        world.power_cut(1);
        world.recover(1).expect("it starts");
        world.check();
    }
}

#[test]
fn a_failed_segment_takes_its_partition_and_its_batches_stay_in_the_journal() {
    for ops in [Ops::Write, Ops::Sync, Ops::Open] {
        let mut world = world(2);
        let folder = id(0).folder();
        world.disk.inject(Fault::always(ops, format!("{folder}/"), Effect::Fail(EIO)));
        // Far more than the journal holds, so that it is used over and over.
        fill(&mut world, 0, 30, 400);
        let other = fill(&mut world, 1, 600, 1_500);
        assert_eq!(failed_partitions(&world), 1, "{ops:?}: one partition fails");
        assert_eq!(world.append(id(0), 10, 1, None), Err(AppendError::Failed));
        assert!(other > 500, "{ops:?}: the other goes on: {other}");
        world.power_cut(3);
        world.recover(1).expect("the disk is whole again");
        world.check();
        world.check_reads();
        assert!(world.partitions[&id(0)].sent.len() >= 10, "{ops:?}: its batches were kept");
    }
}

#[test]
fn a_full_disk_refuses_appends_serves_reads_and_heals() {
    let mut world = world(2);
    fill(&mut world, 0, 60, 900);
    world.settle();
    let used = world.disk.used_bytes();
    world.disk.set_space(Some(used));
    let mut refused = None;
    for _ in 0..2_000 {
        match world.append(id(0), 900, 2, None) {
            Ok(_) => {}
            Err(error) => refused = Some(error),
        }
        world.end_turn();
        world.complete(30);
        world.pass_ms(20);
    }
    assert_eq!(refused, Some(AppendError::Full));
    assert_eq!(count(&world, |event| matches!(event, StoreEvent::SpaceLow)), 1);
    assert_eq!(failed_partitions(&world), 0, "no partition fails for want of space");
    world.settle();
    world.check_reads();
    world.events.clear();
    world.disk.set_space(None);
    for _ in 0..200 {
        world.end_turn();
        world.complete(30);
        world.pass_ms(100);
    }
    assert_eq!(count(&world, |event| matches!(event, StoreEvent::SpaceBack)), 1);
    assert!(world.append(id(0), 900, 2, None).is_ok(), "appends go on by themselves");
    world.settle();
    world.power_cut(5);
    world.recover(1).expect("it starts");
    world.check();
    world.check_reads();
}

/// A process without descriptors once lost the partition whose segment was due for as long as it
/// ran: a crowd of connections was enough.
#[test]
fn want_of_descriptors_delays_a_flush_and_takes_no_partition() {
    let mut world = world(2);
    world.disk.inject(Fault::always(Ops::Open, "", Effect::Fail(DiskError::TooManyFiles)));
    let taken = fill(&mut world, 0, 20, 300);
    for _ in 0..200 {
        world.end_turn();
        world.complete(30);
        world.pass_ms(100);
    }
    assert!(taken > 0);
    assert_eq!(failed_partitions(&world), 0);
    world.disk.clear_faults();
    for _ in 0..200 {
        world.end_turn();
        world.complete(30);
        world.pass_ms(100);
    }
    assert_eq!(fill(&mut world, 0, 20, 300), 20, "appends go on by themselves");
    world.settle();
    world.power_cut(7);
    world.recover(1).expect("it starts");
    world.check();
    world.check_reads();
}

#[test]
fn a_cold_read_without_a_descriptor_is_refused_for_a_moment_only() {
    let mut world = world(1);
    fill(&mut world, 0, 100, 900);
    world.settle();
    world.stop();
    world.recover(1).expect("it starts");
    world.disk.inject(Fault::always(Ops::Open, "", Effect::Fail(DiskError::TooManyFiles)));
    let (store, log) = world.log(id(0));
    let mut out = Vec::new();
    let read = store.read(log, 0, 1 << 20, true, i64::MAX, &mut out);
    assert!(matches!(read, Ok(ReadOutcome::Pending(_))), "{read:?}");
    world.end_turn();
    world.complete(30);
    world.end_turn();
    let refused = |event: &StoreEvent| {
        matches!(event, StoreEvent::ReadDone { result: Err(ReadError::Busy), .. })
    };
    assert_eq!(count(&world, refused), 1);
    assert_eq!(failed_partitions(&world), 0);
    world.disk.clear_faults();
    world.check_reads();
}

#[test]
fn old_and_many_bytes_leave_by_whole_segments_and_their_files_later() {
    let mut world = world(0);
    world.create(0, LogConfig { retention_bytes: 30 << 10, ..small_log() });
    world.create(1, LogConfig { retention_ms: 500, ..small_log() });
    world.create(2, small_log());
    for partition in 0..3 {
        fill(&mut world, partition, 120, 900);
    }
    for _ in 0..60 {
        world.pass_ms(50);
        world.end_turn();
        world.complete(60);
    }
    let kept = |world: &mut World, partition: i32| {
        let (store, log) = world.log(id(partition));
        (store.log_start(log).unwrap_or(-1), store.log_bytes(log).unwrap_or(0))
    };
    let (start, bytes) = kept(&mut world, 0);
    assert!(start > 0 && (30 << 10..45 << 10).contains(&bytes), "by size: {start} {bytes}");
    let (start, bytes) = kept(&mut world, 1);
    assert_eq!((start, bytes), (240, 0), "by time everything goes, the growing segment too");
    let (start, bytes) = kept(&mut world, 2);
    assert!(start == 0 && bytes > 100 << 10, "without limits nothing goes: {start} {bytes}");
    let files = |world: &World, partition: i32| {
        let folder = id(partition).folder();
        let logs = world.disk.files().filter(|(path, _)| path.path.starts_with(&folder));
        logs.filter(|(path, _)| path.path.ends_with(".log")).count()
    };
    assert!(files(&world, 0) <= 4, "files of removed segments go: {}", files(&world, 0));
    assert_eq!(files(&world, 1), 0);
    fill(&mut world, 1, 5, 100);
    world.settle();
    let (store, log) = world.log(id(1));
    assert_eq!(store.log_end(log), Some(250), "offsets go on");
}

#[test]
fn a_removed_partition_leaves_no_file_behind() {
    let mut world = world(2);
    fill(&mut world, 0, 100, 900);
    fill(&mut world, 1, 100, 900);
    world.settle();
    world.remove(id(0));
    for _ in 0..40 {
        world.pass_ms(60);
        world.end_turn();
        world.complete(60);
    }
    let left = world.disk.files().filter(|(path, _)| path.path.starts_with(&id(0).folder()));
    assert_eq!(left.count(), 0);
    world.power_cut(2);
    world.recover(1).expect("it starts");
    world.check();
}

#[test]
fn a_thousand_new_partitions_cost_no_operation() {
    let mut world = world(0);
    world.settle();
    let used = world.disk.used_bytes();
    for partition in 0..1_000 {
        world.create(partition, small_log());
    }
    world.end_turn();
    assert_eq!(world.disk.in_flight(), 0);
    assert_eq!(world.disk.used_bytes(), used);
}

#[test]
fn histories_with_slow_and_failing_segments_lose_nothing_acked() {
    for seed in 0..30 {
        let mut world = World::new(seed, 1);
        for partition in 0..3 {
            world.create(partition, small_log());
        }
        let mut prng = Prng::new(seed);
        for ops in [Ops::Write, Ops::Sync, Ops::Open, Ops::Name] {
            world.disk.inject(Fault {
                path: Some("topics/".into()),
                ..Fault::once(ops, prng.below(60), Effect::Fail(EIO))
            });
        }
        world.disk.inject(Fault::once(Ops::Any, prng.below(200), Effect::Slow { steps: 500 }));
        for _ in 0..1_500 {
            random_step(&mut world, &mut prng);
        }
        world.power_cut(seed);
        world.recover(1).expect("the disk is whole again");
        world.check();
        world.check_reads();
    }
}

#[test]
fn a_log_whose_last_segment_retention_sealed_goes_on_after_a_clean_stop() {
    // Retention seals a growing segment that is too old; a stop may come before the sealed one is
    // removed, and an empty segment is in no checkpoint. Appends must not go into the sealed one.
    let mut world = world(0);
    world.config.retention_check_ms = 1;
    world.create(0, LogConfig { retention_ms: 500, segment_bytes: 1 << 20, ..small_log() });
    fill(&mut world, 0, 10, 300);
    world.pass_ms(100);
    world.settle();
    world.pass_ms(2_000);
    world.stop();
    world.recover(1).expect("it starts");
    fill(&mut world, 0, 10, 300);
    world.settle();
    world.power_cut(1);
    world.recover(1).expect("it starts");
    world.check();
    world.check_reads();
}

#[test]
fn a_segment_that_fails_in_recovery_takes_its_partition_and_its_batches_wait() {
    for ops in [Ops::Write, Ops::Sync, Ops::Open] {
        let mut world = world(2);
        // Nothing is flushed before the power goes.
        world.config.flush_ms = 1 << 30;
        world.config.flush_bytes = 1 << 20;
        world.config.journal_file_bytes = 1 << 20;
        world.config.journal_bytes = 3 << 20;
        world.recover(1).expect("it starts");
        fill(&mut world, 0, 10, 300);
        fill(&mut world, 1, 10, 300);
        world.settle();
        let folder = format!("{}/", id(0).folder());
        for life in 0..3 {
            world.power_cut(life);
            world.disk.inject(Fault::always(ops, folder.clone(), Effect::Fail(EIO)));
            world.recover(1).unwrap_or_else(|error| panic!("{ops:?}: {error}"));
            let offline: Vec<_> = world.report.quarantined.iter().map(|(id, _)| *id).collect();
            assert_eq!(offline, [id(0)], "{ops:?}: one partition is offline, and said to be");
            assert_eq!(world.append(id(0), 10, 1, None), Err(AppendError::Failed));
            fill(&mut world, 1, 5, 300);
            world.settle();
            if life == 1 {
                world.stop();
            }
        }
        world.power_cut(9);
        world.recover(1).expect("the disk is whole again");
        assert_eq!(world.report.quarantined, []);
        world.check();
        world.check_reads();
        assert_eq!(world.partitions[&id(0)].sent.len(), 10, "{ops:?}: nothing is lost");
        fill(&mut world, 0, 5, 300);
        world.settle();
        world.stop();
        world.check_files();
    }
}

#[test]
fn no_space_in_recovery_is_said_so_and_the_next_start_has_everything() {
    let mut world = world(2);
    world.config.flush_ms = 1 << 30;
    world.config.flush_bytes = 1 << 20;
    world.config.journal_file_bytes = 1 << 20;
    world.config.journal_bytes = 3 << 20;
    world.recover(1).expect("it starts");
    fill(&mut world, 0, 10, 900);
    world.settle();
    world.power_cut(1);
    world.disk.set_space(Some(world.disk.used_bytes() + 600));
    let error = world.recover(1).expect_err("there is no room for its segments");
    assert!(matches!(error, RecoverError::NoSpace { .. }), "{error:?}");
    assert!(error.to_string().contains("free some space"), "{error}");
    world.power_cut(2);
    world.disk.set_space(None);
    world.recover(1).expect("there is room");
    world.check();
    world.check_reads();
}

#[test]
fn deleting_records_on_a_full_disk_brings_space_back() {
    let mut world = world(2);
    let config = LogConfig { file_delete_delay_ms: 60_000, ..small_log() };
    let (store, log) = world.log(id(0));
    store.set_config(log, config);
    fill(&mut world, 0, 100, 900);
    world.settle();
    world.disk.set_space(Some(world.disk.used_bytes()));
    // Nobody gives space back but the deletion.
    let mut refused = 0;
    for _ in 0..2_000 {
        refused += u64::from(world.append(id(0), 900, 2, None).is_err());
        world.end_turn();
        world.complete(30);
        world.pass_ms(20);
    }
    assert!(refused > 100, "the disk is full");
    let (store, log) = world.log(id(0));
    let high = store.high_watermark(log).expect("it is there");
    let deleted = store.delete_records(log, high - 20);
    assert!(deleted.is_ok(), "a deletion is taken: {deleted:?}");
    world.events.clear();
    for _ in 0..300 {
        world.end_turn();
        world.complete(30);
        world.pass_ms(20);
    }
    assert_eq!(count(&world, |event| matches!(event, StoreEvent::SpaceBack)), 1);
    assert!(world.append(id(1), 900, 2, None).is_ok(), "appends go on");
    world.settle();
    let files = world.disk.files().filter(|(path, _)| path.path.ends_with(".log")).count();
    assert!(files < 8, "the deleted segments' files are gone: {files}");
}

#[test]
fn files_deleted_without_a_checkpoint_are_not_missed_after_a_power_cut() {
    // Their log start is in the journal, the checkpoint still lists the segments.
    for seed in 0..20 {
        let mut world = world(2);
        fill(&mut world, 0, 60, 900);
        world.pass_ms(100);
        world.settle();
        let checkpoint = |path: &str| Fault {
            path: Some(path.into()),
            sticky: true,
            ..Fault::once(Ops::Change, 0, Effect::Fail(EIO))
        };
        world.disk.inject(checkpoint("checkpoint/"));
        fill(&mut world, 0, 6, 900);
        let (store, log) = world.log(id(0));
        let high = store.high_watermark(log).expect("it is there");
        let before = if seed % 2 == 0 { high } else { high - 15 };
        world.delete_records(id(0), before);
        for _ in 0..40 {
            world.pass_ms(60);
            world.end_turn();
            world.complete(60);
        }
        let left = world.disk.files().filter(|(path, _)| path.path.ends_with(".log")).count();
        assert!(left <= 2, "seed {seed}: files went without a checkpoint: {left}");
        fill(&mut world, 0, 6, 900);
        world.power_cut(seed);
        world.recover(1).expect("it starts");
        assert_eq!(world.report.quarantined, []);
        world.check();
        world.check_reads();
        fill(&mut world, 0, 6, 900);
        world.settle();
        world.stop();
        world.check_strays();
    }
}

#[test]
fn a_batch_larger_than_a_journal_file_is_taken() {
    let mut world = world(0);
    world.config.journal_file_bytes = 256 << 10;
    world.config.journal_bytes = 2 << 20;
    world.recover(1).expect("it starts");
    let config = LogConfig { max_batch_bytes: 1 << 20, segment_bytes: 8 << 20, ..small_log() };
    world.create(0, config);
    for bytes in [1_000_000, 10, 300_000, 700_000, 1_048_000] {
        assert!(world.append(id(0), bytes, 1, None).is_ok(), "{bytes} bytes");
        world.settle();
        world.pass_ms(100);
        world.settle();
    }
    let refused = world.append(id(0), 1_048_600, 1, None);
    assert!(matches!(refused, Err(AppendError::MessageTooLarge { .. })), "{refused:?}");
    world.check_reads();
    world.power_cut(1);
    world.recover(1).expect("it starts");
    world.check();
    world.check_reads();
}

#[test]
fn a_clean_stop_takes_shared_memory_away_and_a_kill_leaves_it() {
    let memory = DiskPath::memory("shard-0.frames");
    for clean in [true, false] {
        let mut world = world(0);
        world.with_memory = true;
        world.recover(1).expect("it starts");
        world.create(0, LogConfig { durability: DurabilityClass::Memory, ..small_log() });
        world.append(id(0), 100, 1, None).expect("it is taken");
        world.end_turn();
        world.disk.put_file(&memory, vec![0; 4096]);
        if clean {
            world.stop();
        } else {
            world.kill(1);
        }
        assert_eq!(world.disk.contents(&memory).is_none(), clean);
    }
}

#[test]
fn a_partition_that_is_removed_during_a_stop_does_not_delay_it() {
    let config = LogConfig { file_delete_delay_ms: 60_000, ..small_log() };
    let mut removed = 0;
    for completed in (0..10_000).step_by(30) {
        let mut world = world(0);
        for partition in 0..100 {
            world.create(partition, config);
            world.append(id(partition), 100, 1, None).expect("it is taken");
        }
        world.settle();
        world.begin_stop();
        world.complete(completed);
        let is_told =
            |world: &World| count(world, |event| matches!(event, StoreEvent::Stopped)) > 0;
        if is_told(&world) {
            break;
        }
        world.remove(id(2));
        world.end_turn();
        removed += 1;
        for _ in 0..1_000 {
            world.end_turn();
            world.complete(16);
            world.pass_ms(1);
        }
        assert!(is_told(&world), "after {completed} operations");
    }
    assert!(removed > 5, "it has operations: {removed}");
}
