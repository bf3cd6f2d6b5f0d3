//! Everything that was appended is read back through the store: from the tail, from segments,
//! across both, before and after restarts; and found by time.

mod world;

use storage::prng::Prng;
use world::{World, random_step, small_log};

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
