//! Power is cut at every change of the disk in a long scripted history, and in the recovery after
//! it.
//!
//! The same history runs again and again; each time one later operation is the last. Then any
//! subset of the unsynced sectors and names survives. A batch acked and missing, a byte changed, a
//! gap, or a batch nobody sent would fail it.

mod world;

use storage::prng::Prng;
use storage::sim_disk::{Effect, Fault, Ops};
use storage::types::{DurabilityClass, LogConfig};
use world::{World, id, random_step, small_log};

const SEED: u64 = 42;

/// The script. Ends early when the power goes.
fn history(world: &mut World, steps: usize) {
    let mut prng = Prng::new(SEED);
    for partition in 0..3 {
        world.create(partition, small_log());
    }
    for _ in 0..steps {
        if !world.disk.is_powered() {
            return;
        }
        random_step(world, &mut prng);
    }
    world.settle();
}

/// The history with the power cut at its change number `cut`; false when it ended before.
fn run(cut: u64, steps: usize) -> bool {
    let mut world = World::new(SEED, 1);
    world.disk.inject(Fault::once(Ops::Change, cut, Effect::PowerCut));
    history(&mut world, steps);
    let survived = world.disk.is_powered();
    world.power_cut(cut);
    world.recover(1).unwrap_or_else(|error| panic!("cut {cut}: {error}"));
    world.check();
    // It goes on from there.
    let mut prng = Prng::new(cut);
    for _ in 0..40 {
        random_step(&mut world, &mut prng);
    }
    world.settle();
    world.power_cut(cut + 1);
    world.recover(1).unwrap_or_else(|error| panic!("after cut {cut}: {error}"));
    world.check();
    !survived
}

#[test]
fn every_acked_batch_survives_a_power_cut_at_any_change() {
    let mut cut = 0;
    while run(cut, 600) {
        cut += 1;
    }
    assert!(cut > 300, "the history is long: {cut} changes");
}

#[test]
fn recovery_survives_power_cuts_in_itself() {
    let mut in_recovery = 0;
    for seed in 0..12 {
        let mut world = World::new(seed, 1);
        world.disk.inject(Fault::once(Ops::Change, 60 + seed * 23, Effect::PowerCut));
        history(&mut world, 1_500);
        world.power_cut(seed);
        for cut in 0.. {
            world.disk.inject(Fault::once(Ops::Change, cut, Effect::PowerCut));
            let recovered = world.recover(1).is_ok();
            if recovered && world.disk.is_powered() {
                break;
            }
            in_recovery += 1;
            world.power_cut(seed * 1_000 + cut);
        }
        world.disk.clear_faults();
        world.check();
        world.stop();
        world.check_strays();
    }
    assert!(in_recovery > 60, "cut {in_recovery} times while recovering");
}

#[test]
fn a_recovery_that_loses_power_leaves_no_file_that_no_log_has() {
    // After a kill, recovery adopts frames from shared memory and from the disk's cache and writes
    // them into segments. A power cut in it takes those frames away, and the segments stay.
    let mut in_recovery = 0;
    for seed in 0..60 {
        let mut world = World::new(seed, 1);
        world.with_memory = true;
        world.config.flush_ms = 1 << 30;
        world.recover(1).expect("it starts");
        for partition in 0..3 {
            let durability = DurabilityClass::Memory;
            world
                .create(partition, LogConfig { durability, segment_bytes: 4 << 10, ..small_log() });
        }
        let mut prng = Prng::new(seed);
        for _ in 0..prng.between(20, 300) {
            random_step(&mut world, &mut prng);
        }
        world.end_turn();
        world.kill(seed);
        world.disk.inject(Fault::once(Ops::Change, prng.between(1, 40), Effect::PowerCut));
        let _ = world.recover(1);
        in_recovery += u64::from(!world.disk.is_powered());
        world.power_cut(seed);
        world.recover(1).expect("it starts");
        world.check();
        for _ in 0..prng.between(0, 60) {
            random_step(&mut world, &mut prng);
        }
        world.settle();
        world.stop();
        world.check_strays();
    }
    assert!(in_recovery > 30, "cut {in_recovery} times while recovering");
}

#[test]
fn a_batch_larger_than_a_frame_survives_a_power_cut_at_any_change() {
    // With files of 256 KiB a frame takes 64 KiB: batches of up to 200 KB are in pieces, the small
    // ones between them are not.
    let mut cut = 0;
    loop {
        let mut world = World::new(SEED, 1);
        world.config.journal_file_bytes = 256 << 10;
        world.config.journal_bytes = 768 << 10;
        world.recover(1).expect("an empty disk starts");
        for partition in 0..2 {
            world.create(partition, LogConfig { max_batch_bytes: 300_000, ..small_log() });
        }
        world.disk.inject(Fault::once(Ops::Change, cut, Effect::PowerCut));
        let mut prng = Prng::new(7);
        let mut taken = 0;
        for step in 0..60 {
            if !world.disk.is_powered() {
                break;
            }
            let partition = prng.below(2) as i32;
            let value_bytes =
                if step % 3 == 0 { prng.between(60_000, 200_000) } else { prng.between(1, 900) };
            let answer = world.append(id(partition), value_bytes as usize, 1, None);
            taken += usize::from(answer.is_ok() && value_bytes > 65_536);
            world.end_turn();
            world.complete(prng.below(30) as usize);
        }
        world.settle();
        let survived = world.disk.is_powered();
        world.power_cut(cut);
        world.recover(1).unwrap_or_else(|error| panic!("cut {cut}: {error}"));
        world.check();
        world.check_reads();
        if survived {
            assert!(taken > 5, "large batches were taken: {taken}");
            break;
        }
        cut += 1;
    }
    assert!(cut > 60, "the history is long: {cut} changes");
}

#[test]
fn a_clean_stop_leaves_files_that_agree_and_nothing_to_replay() {
    for seed in 0..20 {
        let mut world = World::new(seed, 1);
        history(&mut world, 1_000);
        world.stop();
        world.check_files();
        world.recover(1).expect("a clean disk starts");
        assert_eq!(world.report.frames_count, 0, "nothing was left in the journal");
        world.check();
        let mut prng = Prng::new(seed);
        for _ in 0..300 {
            random_step(&mut world, &mut prng);
        }
        world.settle();
        world.stop();
        world.check_files();
    }
}

#[test]
fn a_restart_with_another_number_of_shards_keeps_everything() {
    for seed in 0..20 {
        let mut world = World::new(seed, 1);
        history(&mut world, 700);
        let mut prng = Prng::new(seed);
        for shards_count in [2, 1, 3, 2] {
            world.power_cut(seed);
            world.recover(shards_count).expect("any number of shards starts");
            world.check();
            for _ in 0..300 {
                random_step(&mut world, &mut prng);
            }
        }
    }
}

#[test]
fn a_memory_ack_survives_kill_minus_nine_and_a_persisted_one_also_power() {
    let (mut adopted, mut memory_acks) = (0, 0);
    for seed in 0..40 {
        let mut world = World::new(seed, 1);
        world.with_memory = true;
        world.stop();
        world.recover(1).expect("it starts");
        let memory = DurabilityClass::Memory;
        world.create(0, LogConfig { durability: memory, ..small_log() });
        world.create(1, small_log());
        world.create(2, LogConfig { durability: memory, ..small_log() });
        let mut prng = Prng::new(seed);
        for round in 0..4 {
            for _ in 0..prng.between(50, 400) {
                random_step(&mut world, &mut prng);
            }
            world.end_turn();
            memory_acks += world.memory_acks_in_memory_only();
            if round % 2 == 0 {
                world.kill(seed);
            } else {
                world.power_cut(seed);
            }
            world.recover(1).expect("it starts");
            adopted += world.report.adopted_count;
            world.check();
        }
    }
    assert!(memory_acks > 100, "acks before the disk had anything: {memory_acks}");
    assert!(adopted > 40, "frames adopted from shared memory: {adopted}");
}
