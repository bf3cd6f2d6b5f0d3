//! Everything that was appended is read back through the store: from the tail, from segments,
//! across both, before and after restarts; and found by time.

mod world;

use storage::prng::Prng;
use storage::types::{LogConfig, ReadOutcome, StoreEvent};
use world::{World, id, random_step, small_log};

fn busy_world(seed: u64, steps: usize) -> (World, Prng) {
    let mut world = World::new(seed, 2);
    let mut prng = Prng::new(seed);
    for partition in 0..3 {
        world.create(partition, small_log());
    }
    for _ in 0..steps {
        random_step(&mut world, &mut prng);
    }
    world.settle();
    (world, prng)
}

#[test]
fn what_was_sent_is_read_from_tail_and_segments() {
    for seed in 0..20 {
        let (mut world, _) = busy_world(seed, 1_500);
        world.check_reads();
    }
}

#[test]
fn what_survived_a_restart_is_read_from_segments_and_then_from_both() {
    for seed in 0..20 {
        let (mut world, mut prng) = busy_world(seed, 1_000);
        world.power_cut(seed);
        world.recover(1).expect("it starts");
        world.check();
        world.check_reads();
        for _ in 0..600 {
            random_step(&mut world, &mut prng);
        }
        world.settle();
        world.check_reads();
        world.stop();
        world.recover(2).expect("it starts");
        world.check();
        world.check_reads();
    }
}

#[test]
fn a_timestamp_is_found_in_tail_and_segments() {
    for seed in 0..20 {
        let (mut world, mut prng) = busy_world(seed, 1_000);
        for restart in [false, true] {
            if restart {
                world.power_cut(seed);
                world.recover(1).expect("it starts");
                world.check();
            }
            let (first, last) = (1_700_000_000_000i64, world.wall_ms());
            for _ in 0..40 {
                let timestamp = prng.between(first as u64, last as u64 + 5) as i64;
                world.check_find(timestamp);
            }
        }
    }
}

#[test]
fn readers_of_one_range_cost_the_disk_one_read() {
    let one = id(0);
    let mut world = World::new(1, 1);
    world.create(0, LogConfig { segment_bytes: 1 << 20, ..small_log() });
    for _ in 0..16 {
        world.append(one, 100, 2, None).expect("there is room");
        world.settle();
    }
    world.power_cut(1);
    world.recover(1).expect("it starts");
    world.check();
    // None of them asks for the same offset, and none waits for another.
    let tokens: Vec<_> = (0..8)
        .map(|from| {
            let (store, log) = world.log(one);
            let read = store.read(log, from, 1 << 20, true, i64::MAX, &mut Vec::new());
            match read.expect("it is readable") {
                ReadOutcome::Pending(token) => token,
                ReadOutcome::Done { .. } => panic!("nothing is in memory after a start"),
            }
        })
        .collect();
    world.settle();
    let answered = |token| {
        world.events.iter().any(|(_, event)| match event {
            StoreEvent::ReadDone { token: of, result } => *of == token && result.is_ok(),
            _ => false,
        })
    };
    assert!(tokens.into_iter().all(answered), "each got its answer");
    let (store, _) = world.log(one);
    assert_eq!(store.probe().blocks_count, 1);
}
