//! Compaction over a simulated disk: what is left of random histories is what a map of the last
//! values says, whatever is cut, killed or refused in the middle.
//!
//! A client appends keyed records, tombstones among them, some by idempotent producers, and
//! remembers all of them. Readers then must find: only records that were sent, in order and where
//! they were sent; of every key the last record, unless it is a tombstone whose time was up; below
//! the end of the cleaned part no other record of a key; of every producer its last sequence. A
//! swap that is not atomic, a record that is lost or comes back, an index that misses, or a file
//! that nobody knows would fail it.

mod keyed;
mod world;

use keyed::{Topic, cleaner, compacted};
use protocol::batch::BatchHeader;
use storage::op::{DiskError, DiskPath};
#[cfg(feature = "planted")]
use storage::planted::{self, Bug};
use storage::prng::Prng;
use storage::sim_disk::{Effect, Fault, Ops};
use storage::store::CleanerConfig;
use storage::types::*;
use world::id;

#[test]
fn what_is_left_of_random_histories_is_the_last_value_of_every_key() {
    let (rounds, dropped) = random_histories(0..25);
    assert!(rounds > 50 && dropped > 1_000, "{rounds} rounds dropped {dropped} records");
}

fn random_histories(seeds: std::ops::Range<u64>) -> (u64, u64) {
    let (mut rounds, mut dropped) = (0, 0);
    for seed in seeds {
        let mut prng = Prng::new(seed);
        let keys = prng.pick(&[3, 20, 200]);
        // Sometimes the map takes few keys, and a section takes many rounds.
        let map_bytes = if prng.one_in(3) { 24 * 8 } else { 1 << 20 };
        let lag = if prng.one_in(4) { 500 } else { 0 };
        let config = LogConfig { min_compaction_lag_ms: lag, ..compacted() };
        let mut topic = Topic::new(seed, config, CleanerConfig { map_bytes, ..cleaner() });
        for _ in 0..prng.between(200, 900) {
            topic.step(&mut prng, keys);
        }
        topic.clean();
        topic.check();
        topic.check_last_batches();
        topic.world.pass_ms(4_000);
        for _ in 0..200 {
            topic.step(&mut prng, keys);
        }
        topic.clean();
        topic.check();
        topic.check_last_batches();
        let (store, log) = topic.world.log(id(0));
        assert!(store.uncleanable(log).is_none(), "{:?}", store.uncleanable(log));
        let probe = store.probe();
        rounds += probe.cleaner_rounds_count;
        dropped += probe.cleaner_records_read - probe.cleaner_records_kept;
        topic.world.stop();
        topic.check_stopped();
        topic.world.recover(1).expect("it starts");
        topic.check();
        topic.check_producers();
    }
    (rounds, dropped)
}

/// With `--features planted`.
#[cfg(feature = "planted")]
#[test]
fn bugs_of_compaction_that_are_planted_are_found() {
    for (name, bug) in Bug::CLEANING {
        planted::plant(Some(bug));
        let found = std::panic::catch_unwind(|| match bug {
            Bug::SwapBeforeItIsNamed => (0..200).for_each(|cut| {
                run_cut(cut, Effect::PowerCut);
            }),
            _ => {
                random_histories(0..25);
            }
        });
        planted::plant(None);
        assert!(found.is_err(), "{name} is not found");
    }
}

#[test]
fn tombstones_go_after_their_time_and_not_before() {
    let mut topic = Topic::new(5, compacted(), cleaner());
    let mut prng = Prng::new(5);
    for _ in 0..300 {
        topic.step(&mut prng, 30);
    }
    topic.clean();
    let tombstones = |topic: &mut Topic| {
        let (store, log) = topic.world.log(id(0));
        let end = store.cleaned_end(log).expect("it is there");
        let found = topic.read();
        found.iter().filter(|(offset, _, value)| *offset < end && value.is_none()).count()
    };
    assert!(tombstones(&mut topic) > 0, "they stay for delete.retention.ms");
    // Past the horizon the next round, which needs something dirty, takes them.
    topic.world.pass_ms(10_000);
    let (store, log) = topic.world.log(id(0));
    let first_end = store.cleaned_end(log).expect("it is there");
    for _ in 0..200 {
        topic.step(&mut prng, 1_000_000);
    }
    topic.clean();
    let found = topic.read();
    let left = found.iter().filter(|(offset, _, value)| *offset < first_end && value.is_none());
    assert_eq!(left.count(), 0, "tombstones of the first round");
    topic.check();
}

/// The history with a fault at its change number `at`; gives whether the fault was met.
fn run_cut(at: u64, effect: Effect) -> bool {
    let mut topic = Topic::new(9, compacted(), cleaner());
    let mut prng = Prng::new(9);
    for _ in 0..260 {
        topic.step(&mut prng, 12);
    }
    topic.world.disk.inject(Fault::once(Ops::Change, at, effect));
    for _ in 0..12 {
        if topic.world.disk.is_powered() {
            topic.world.settle();
            topic.world.pass_ms(30);
            topic.note_acks();
        }
    }
    let met = !topic.world.disk.is_powered();
    topic.world.power_cut(at);
    topic.world.recover(1).unwrap_or_else(|error| panic!("cut {at}: {error}"));
    assert!(topic.world.report.quarantined.is_empty(), "{at}: {:?}", topic.world.report);
    assert_eq!(topic.cleaned_files(), [""; 0], "cut {at}");
    topic.check();
    topic.learn();
    for _ in 0..60 {
        topic.step(&mut prng, 12);
    }
    topic.clean();
    topic.check();
    topic.world.stop();
    topic.check_stopped();
    topic.world.recover(1).expect("it starts");
    topic.check();
    met
}

#[test]
fn a_power_cut_at_any_change_of_a_cleaning_leaves_the_old_segment_or_the_new_one() {
    let mut cut = 0;
    while run_cut(cut, Effect::PowerCut) {
        cut += 1;
    }
    assert!(cut > 60, "the cleaning is long: {cut} changes");
}

#[test]
fn a_recovery_that_is_cut_while_it_ends_a_swap_does_it_again() {
    let mut in_recovery = 0;
    for seed in 0..40 {
        let mut topic = Topic::new(seed, compacted(), cleaner());
        let mut prng = Prng::new(seed);
        for _ in 0..260 {
            topic.step(&mut prng, 12);
        }
        topic.world.disk.inject(Fault::once(Ops::Change, 10 + seed * 2, Effect::PowerCut));
        for _ in 0..12 {
            if topic.world.disk.is_powered() {
                topic.world.settle();
                topic.world.pass_ms(30);
                topic.note_acks();
            }
        }
        topic.world.power_cut(seed);
        for cut in 0.. {
            topic.world.disk.inject(Fault::once(Ops::Change, cut, Effect::PowerCut));
            if topic.world.recover(1).is_ok() && topic.world.disk.is_powered() {
                break;
            }
            in_recovery += 1;
            topic.world.power_cut(seed * 100 + cut);
        }
        topic.world.disk.clear_faults();
        topic.check();
        topic.learn();
        topic.clean();
        topic.check();
        topic.world.stop();
        topic.check_stopped();
    }
    assert!(in_recovery > 60, "cut {in_recovery} times while recovering");
}

/// A process killed while sync number `at` of a cleaning is under way, and the power cut as soon as
/// the next one has started; gives whether there was such a sync.
fn run_kill_and_cut(at: u64, seed: u64) -> bool {
    let mut topic = Topic::new(9, compacted(), cleaner());
    let mut prng = Prng::new(9);
    for _ in 0..260 {
        topic.step(&mut prng, 12);
    }
    topic.world.disk.inject(Fault::once(Ops::Sync, at, Effect::Stuck));
    for _ in 0..60 {
        topic.world.end_turn();
        topic.world.complete(64);
        topic.world.pass_ms(6);
        topic.note_acks();
    }
    let met = topic.world.disk.counts().stuck > 0;
    topic.world.kill(seed);
    topic.world.disk.clear_faults();
    topic.world.recover(1).unwrap_or_else(|error| panic!("killed at {at}: {error}"));
    topic.world.power_cut(seed);
    topic.world.recover(1).unwrap_or_else(|error| panic!("killed at {at}, then cut: {error}"));
    assert!(topic.world.report.quarantined.is_empty(), "{at}: {:?}", topic.world.report);
    topic.check();
    met
}

#[test]
fn a_power_cut_after_the_start_that_a_kill_in_a_cleaning_led_to_takes_no_name_back() {
    for seed in 0..4 {
        let killed = (0..).find(|at| !run_kill_and_cut(*at, seed)).expect("a cleaning ends");
        assert!(killed > 10, "the cleaning is long: {killed} syncs");
    }
}

#[test]
fn a_start_removes_cleaned_files_whose_removal_hung_when_the_broker_was_killed() {
    let mut left = 0;
    for at in 0.. {
        let mut topic = Topic::new(9, compacted(), cleaner());
        let mut prng = Prng::new(9);
        for _ in 0..260 {
            topic.step(&mut prng, 3);
        }
        // Renames are of these names, too.
        let fault = Fault::once(Ops::Name, at, Effect::Stuck);
        topic.world.disk.inject(Fault { path: Some(".cleaned".into()), ..fault });
        for _ in 0..120 {
            topic.world.end_turn();
            topic.world.complete(64);
            topic.world.pass_ms(6);
            topic.note_acks();
        }
        let met = topic.world.disk.counts().stuck > 0;
        topic.world.kill(at);
        left += usize::from(!topic.cleaned_files().is_empty());
        topic.world.disk.clear_faults();
        topic.world.recover(1).unwrap_or_else(|error| panic!("killed at {at}: {error}"));
        assert_eq!(topic.cleaned_files(), [""; 0], "killed at {at}");
        topic.check();
        if !met {
            break;
        }
    }
    assert!(left > 3, "{left} kills left a file");
}

#[test]
fn a_start_removes_the_cleaners_files_that_no_ledger_knows_and_nothing_else() {
    let mut topic = Topic::new(5, compacted(), cleaner());
    let mut prng = Prng::new(5);
    for _ in 0..260 {
        topic.step(&mut prng, 12);
    }
    topic.clean();
    topic.world.stop();
    let put = |topic: &mut Topic, name: &str| {
        let path = DiskPath::data(format!("{}/{name}", id(0).folder()));
        topic.world.disk.put_file(&path, vec![1; 4096]);
    };
    let orphans = ["log.cleaned", "index.cleaned", "txnindex.cleaned", "log.swap"];
    orphans.iter().for_each(|kind| put(&mut topic, &format!("00000000000000000007.{kind}")));
    // No name that a cleaner gives.
    put(&mut topic, "notes.cleaned");
    topic.world.recover(1).expect("it starts");
    let left = topic.cleaned_files();
    assert!(left.len() == 1 && left[0].ends_with("/notes.cleaned"), "{left:?}");
    topic.check();
}

#[test]
fn what_the_disk_refuses_the_cleaner_costs_a_round_and_not_the_partition() {
    let (mut uncleanable, mut notices) = (0, 0);
    for error in [DiskError::NoSpace, DiskError::Io { errno: 5 }] {
        for at in 0..25 {
            let mut topic = Topic::new(at, compacted(), cleaner());
            let mut prng = Prng::new(at);
            for _ in 0..260 {
                topic.step(&mut prng, 12);
            }
            topic.world.settle();
            let fault = Fault::once(Ops::Any, at % 8, Effect::Fail(error));
            topic.world.disk.inject(Fault { path: Some(".cleaned".into()), ..fault });
            topic.clean();
            notices += topic
                .world
                .events
                .iter()
                .filter(|(_, event)| matches!(event, StoreEvent::Notice(_)))
                .count();
            let (store, log) = topic.world.log(id(0));
            uncleanable += usize::from(store.uncleanable(log).is_some());
            let renames = store.failure(log).is_some_and(|why| why.contains("swapping"));
            if !renames {
                assert_eq!(store.failure(log), None, "it serves");
                topic.check();
                topic.append(&mut prng, 12);
                topic.world.settle();
            }
            topic.world.disk.clear_faults();
            topic.world.stop();
            topic.world.recover(1).expect("it starts");
            let (store, log) = topic.world.log(id(0));
            assert_eq!(store.failure(log), None, "the next start ends what was begun");
            topic.check();
            topic.clean();
            topic.check();
        }
    }
    assert!(notices > 20 && uncleanable > 3, "{notices} notices, {uncleanable} uncleanable");
}

#[test]
fn readers_of_a_log_that_is_cleaned_under_them_read_on() {
    for seed in 0..12 {
        let mut topic = Topic::new(seed, compacted(), cleaner());
        let mut prng = Prng::new(seed);
        for _ in 0..300 {
            topic.step(&mut prng, 10);
        }
        // Records in memory would hide the disk from readers.
        topic.world.settle();
        for round in 0..60 {
            topic.step(&mut prng, 10);
            topic.world.pass_ms(15);
            let (store, log) = topic.world.log(id(0));
            let high = store.high_watermark(log).expect("it is there");
            let from = prng.below(high.max(1) as u64) as i64;
            // Checked on the way: order, and that batches are whole.
            let found = topic.read_from(from, high);
            let last = topic.sent.iter().rfind(|sent| {
                sent.offset < high
                    && sent.transaction.is_none_or(|number| !topic.aborted.contains(&number))
            });
            let reached = found.last().map_or(-1, |(offset, ..)| *offset);
            assert!(
                reached >= last.map_or(-1, |sent| sent.offset),
                "seed {seed}, round {round}: {reached}"
            );
        }
        topic.clean();
        topic.check();
    }
}

#[test]
fn a_header_that_says_no_record_reads_back_as_a_batch() {
    let mut topic = Topic::new(3, compacted(), cleaner());
    let mut prng = Prng::new(3);
    for _ in 0..400 {
        topic.step(&mut prng, 2);
    }
    topic.clean();
    let (store, log) = topic.world.log(id(0));
    let high = store.high_watermark(log).expect("it is there");
    let (mut next, mut empty) = (0, 0);
    while next < high {
        let out = topic.world.read(id(0), next, 3_000, high);
        if out.is_empty() {
            break;
        }
        for bytes in &out {
            let header = BatchHeader::parse(bytes).expect("a header");
            empty += usize::from(header.records_count == 0);
            next = header.next_offset();
        }
    }
    assert!(empty > 0, "the last batch of a producer or a round stays as a header");
}
