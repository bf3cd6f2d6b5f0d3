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
use world::{World, random_step, small_log};

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
    }
    assert!(in_recovery > 60, "cut {in_recovery} times while recovering");
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
