//! Disks whose bits flip: in segments, in indexes, in the journal. What is damaged is never served,
//! and never taken for the end of what there was.

mod world;

use storage::op::DiskPath;
use storage::prng::Prng;
use storage::segment::format::{BatchMeta, BatchScanner, CrcCheck};
use storage::types::*;
use storage::{RecoverConfig, RecoverError, Recovery};
use world::scenes::{count, failed_partitions, fill, world};
use world::{World, id, small_log};

#[test]
fn a_rotten_batch_in_a_segment_is_never_served() {
    let mut world = world(2);
    fill(&mut world, 0, 200, 700);
    fill(&mut world, 1, 50, 700);
    world.settle();
    world.stop();
    world.recover(1).expect("it starts");
    let path = DiskPath::data(format!("{}/{:020}.log", id(0).folder(), 0));
    assert!(world.disk.flip_bit(&path, 3_000, 2));
    world.events.clear();
    let (store, log) = world.log(id(0));
    let mut out = Vec::new();
    let read = store.read(log, 0, 1 << 20, true, i64::MAX, &mut out);
    assert!(matches!(read, Ok(ReadOutcome::Pending(_))));
    world.end_turn();
    world.complete(100);
    let done = world.events.iter().find_map(|(_, event)| match event {
        StoreEvent::ReadDone { result, .. } => Some(result.is_ok()),
        _ => None,
    });
    // The batches before the bad one may be served, or nothing; the bad one takes the partition.
    if done == Some(true) {
        let (store, log) = world.log(id(0));
        let mut out = Vec::new();
        let _ = store.read(log, 8, 1 << 20, true, i64::MAX, &mut out);
        world.end_turn();
        world.complete(100);
    }
    assert_eq!(failed_partitions(&world), 1);
    assert!(world.append(id(1), 10, 1, None).is_ok(), "the other partition goes on");
}

#[test]
fn a_batch_whose_first_offset_rotted_is_an_error_and_no_end_of_the_log() {
    // The CRC does not cover it. Further up it would look like the end of what may be read, and a
    // reader would wait for ever.
    for bit in 0..7 {
        let mut world = world(1);
        fill(&mut world, 0, 20, 700);
        world.settle();
        world.stop();
        world.recover(1).expect("it starts");
        let path = DiskPath::data(format!("{}/{:020}.log", id(0).folder(), 0));
        // The second byte of the first batch's offset.
        assert!(world.disk.flip_bit(&path, 1, bit));
        world.events.clear();
        let (store, log) = world.log(id(0));
        let read = store.read(log, 0, 1 << 20, true, i64::MAX, &mut Vec::new());
        assert!(matches!(read, Ok(ReadOutcome::Pending(_))));
        world.end_turn();
        world.complete(100);
        assert_eq!(failed_partitions(&world), 1, "bit {bit}");
        let failed =
            |event: &StoreEvent| matches!(event, StoreEvent::ReadDone { result: Err(_), .. });
        assert_eq!(count(&world, failed), 1, "bit {bit}: who reads is told");
    }
}

#[test]
fn a_start_hands_on_no_batch_of_a_segment_whose_first_offset_rotted() {
    let mut world = world(1);
    fill(&mut world, 0, 12, 700);
    world.settle();
    world.stop();
    let path = DiskPath::data(format!("{}/{:020}.log", id(0).folder(), 0));
    let segment = world.disk.contents(&path).expect("it is there").to_vec();
    let starts: Vec<usize> = BatchScanner::new(&segment, 0, CrcCheck::Verify)
        .flatten()
        .map(|batch| batch.position)
        .collect();
    assert!(starts.len() > 4, "a segment has a middle");
    for (index, start) in starts.into_iter().enumerate() {
        // The second byte of its offset, which the CRC does not cover: it may pass for one behind a
        // gap that cleaning left.
        let flip = |world: &mut World| assert!(world.disk.flip_bit(&path, start as u64 + 1, 3));
        flip(&mut world);
        let config = RecoverConfig { life: 9_999, wall_ms: world.wall_ms() };
        let mut recovery = Recovery::open(&mut world.disk, config).expect("the manifest is whole");
        let mut taken = 0;
        let read = recovery.read_partition(&mut world.disk, &id(0), &mut |_| taken += 1);
        assert!(matches!(read, Err(RecoverError::Partition { .. })), "batch {index}: {read:?}");
        assert_eq!(taken, index, "those before it, and nothing of it");
        world.disk.close_all();
        flip(&mut world);
    }
}

#[test]
fn damage_in_what_was_durable_in_the_journal_is_quarantine_not_truncation() {
    let mut quarantined = 0;
    for seed in 0..60 {
        let mut world = world(2);
        world.config.flush_ms = 1 << 30;
        world.recover(1).expect("it starts");
        fill(&mut world, 0, 8, 200);
        fill(&mut world, 1, 8, 200);
        world.settle();
        world.power_cut(seed);
        let files: Vec<(DiskPath, usize)> = world
            .disk
            .files()
            .filter(|(path, _)| path.path.contains("shard-0/"))
            .map(|(path, bytes)| (path.clone(), bytes.len()))
            .collect();
        let mut prng = Prng::new(seed);
        // The first frames: all but the last are known to have been durable.
        let at = prng.below(12) * 4096 + prng.below(300);
        assert!(world.disk.flip_bit(&files[0].0, at, prng.below(8) as u8));
        world.recover(1).expect("it starts all the same");
        for partition in 0..2 {
            let (store, log) = world.log(id(partition));
            let whole = store.log_end(log) == Some(16);
            let offline = store.failure(log).is_some();
            assert!(
                whole || offline,
                "seed {seed}: partition {partition} was shortened without a word"
            );
            quarantined += usize::from(offline);
        }
        assert_eq!(world.report.quarantined.is_empty(), !offline_any(&mut world));
    }
    assert!(quarantined > 30, "quarantined {quarantined} times");
}

#[test]
fn a_frame_whose_header_rotted_is_no_end_of_the_journal_without_a_word() {
    let (mut offline, mut told) = (0, 0);
    for seed in 0..150 {
        let mut world = world(2);
        world.config.flush_ms = 1 << 30;
        world.config.flush_bytes = 1 << 20;
        world.recover(1).expect("it starts");
        // More than one file of the journal, none of it in a segment.
        let batches = 14 + seed as usize % 8;
        fill(&mut world, 0, batches, 3_000);
        fill(&mut world, 1, 3, 200);
        world.settle();
        let ends = |world: &mut World| {
            [0, 1].map(|partition| {
                let (store, log) = world.log(id(partition));
                (store.log_end(log), store.failure(log).is_some())
            })
        };
        let before = ends(&mut world);
        world.power_cut(seed);
        let mut prng = Prng::new(seed);
        let headers: Vec<(DiskPath, u64)> = world
            .disk
            .files()
            .filter(|(path, bytes)| path.path.contains("shard-0/") && bytes[..4] != [0; 4])
            .flat_map(|(path, bytes)| {
                let blocks = bytes.chunks(4096).enumerate();
                let magic = bytes[..4].to_vec();
                let starts = blocks.filter(move |(_, block)| block[..4] == magic[..]);
                starts.map(|(at, _)| (path.clone(), at as u64 * 4096)).collect::<Vec<_>>()
            })
            .collect();
        // Every other time the first frame of a file.
        let firsts: Vec<_> = headers.iter().filter(|(_, at)| *at == 0).cloned().collect();
        let choices = if seed % 2 == 0 { firsts } else { headers };
        let (path, at) = &choices[prng.below(choices.len() as u64) as usize];
        assert!(world.disk.flip_bit(path, at + prng.below(64), prng.below(8) as u8));
        world.recover(1).expect("it starts all the same");
        let after = ends(&mut world);
        let says = world.report.notices.iter().any(|line| line.contains("damaged frame"));
        for (partition, (before, after)) in before.into_iter().zip(after).enumerate() {
            assert!(
                before == after || after.1 || says,
                "seed {seed}, {path:?} at {at}: partition {partition} was {before:?}, is {after:?}"
            );
            offline += usize::from(after.1);
        }
        told += usize::from(says);
    }
    assert!(offline > 10 && told > 20, "{offline} offline, {told} told");
}

fn offline_any(world: &mut World) -> bool {
    (0..2).any(|partition| {
        let (store, log) = world.log(id(partition));
        store.failure(log).is_some()
    })
}

#[test]
fn a_flipped_bit_of_an_offset_index_hides_no_batch() {
    let (mut offline, mut served) = (0, 0);
    // A number without a common divisor with the bits of an entry: every place in one comes.
    for at in (0..16 * 8 * 8_u64).step_by(5) {
        for offset in [9, 20, 29] {
            let mut world = World::new(3, 1);
            // Its first segment is finished: only the disk has its index.
            let segment_bytes = 8 << 10;
            world.create(0, LogConfig { segment_bytes, index_interval_bytes: 1, ..small_log() });
            fill(&mut world, 0, 24, 400);
            world.settle();
            world.stop();
            world.recover(1).expect("it starts");
            let path = DiskPath::data(format!("{}/{:020}.index", id(0).folder(), 0));
            let (byte, bit) = (at / 8, (at % 8) as u8);
            if !world.disk.flip_bit(&path, byte, bit) {
                continue;
            }
            let (store, log) = world.log(id(0));
            let read = store.read(log, offset, 1, true, i64::MAX, &mut Vec::new());
            assert!(matches!(read, Ok(ReadOutcome::Pending(_))), "it is on disk: {read:?}");
            world.end_turn();
            world.complete(100);
            let (store, log) = world.log(id(0));
            if store.failure(log).is_some() {
                offline += 1;
                continue;
            }
            let mut out = Vec::new();
            let read = store.read(log, offset, 1, true, i64::MAX, &mut out);
            assert!(matches!(read, Ok(ReadOutcome::Done { .. })), "it was brought: {read:?}");
            let first = BatchMeta::read(out[0].as_slice()).expect("a batch");
            let holds = (first.base_offset..=first.last_offset()).contains(&offset);
            assert!(holds, "byte {byte}, bit {bit}: {first:?} for {offset}");
            served += 1;
        }
    }
    assert!(offline > 50 && served > 50, "{offline} offline, {served} served");
}

#[test]
fn a_checkpoint_that_rotted_stops_the_start_and_is_named() {
    for seed in 0..40 {
        let mut world = world(2);
        for _ in 0..4 {
            fill(&mut world, 0, 12, 900);
            fill(&mut world, 1, 12, 900);
        }
        world.power_cut(seed);
        let mut prng = Prng::new(seed);
        let files = world.disk.files().filter(|(path, _)| path.path.contains("checkpoint/shard-0"));
        let files: Vec<(DiskPath, usize)> =
            files.map(|(path, bytes)| (path.clone(), bytes.len())).collect();
        let (path, bytes) = files[prng.below(files.len() as u64) as usize].clone();
        let at = prng.below(bytes as u64);
        assert!(world.disk.flip_bit(&path, at, prng.below(8) as u8));
        let refused = world.recover(1).expect_err("it is damaged");
        assert!(refused.to_string().contains(&path.path), "{refused}");
    }
}
