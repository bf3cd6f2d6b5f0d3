//! Random histories: requests, lost answers, failed appends and markers, restarts anywhere.
//!
//! Checked all along by the rig (markers follow durable decisions, one answer each, memory is the
//! log) and here: partitions see each producer epoch ended one way only, and in the end every
//! transaction that was decided is complete.

use std::collections::BTreeMap;

use storage::prng::Prng;

use super::*;

const HISTORIES: u64 = 60;
const STEPS: usize = 120;

#[test]
fn no_history_ends_a_transaction_two_ways_or_leaves_it_undecided() {
    for seed in 0..HISTORIES {
        run(seed);
    }
}

fn run(seed: u64) {
    let mut prng = Prng::new(seed);
    let mut rig = Rig::new();
    let mut producers = vec![rig.init()];
    for _ in 0..STEPS {
        rig.hold_appends = prng.next_u64().is_multiple_of(4);
        rig.hold_markers = prng.next_u64().is_multiple_of(3);
        let pick = (prng.next_u64() % producers.len() as u64) as usize;
        let recent = producers.len() - 1;
        let producer = producers[if prng.next_u64().is_multiple_of(4) { pick } else { recent }];
        let version =
            if prng.next_u64().is_multiple_of(2) { TxnVersion::V2 } else { TxnVersion::V0 };
        let partition = at("t", (prng.next_u64() % 3) as i32);
        match prng.next_u64() % 12 {
            0 | 1 => {
                let transactional_id = ID.to_owned();
                let own = prng.next_u64().is_multiple_of(2);
                let expected = own.then_some((producer.id, producer.epoch));
                rig.send(TxnAsk::Init { transactional_id, timeout_ms: TIMEOUT_MS, expected });
            }
            2..=5 => {
                rig.send(TxnAsk::Verify {
                    transactional_id: ID.to_owned(),
                    producer_id: producer.id,
                    producer_epoch: producer.epoch,
                    partitions: vec![partition],
                    together: vec![at("t", (prng.next_u64() % 3) as i32)],
                    add: true,
                });
            }
            6..=8 => {
                rig.send(end_ask(producer, prng.next_u64().is_multiple_of(2), version));
            }
            9 => rig.advance(prng.next_u64() % 40_000),
            10 => rig.restart(),
            _ => {
                if !rig.appends.is_empty() {
                    rig.fail_append(ErrorCode::KafkaStorageError);
                } else if !rig.markers.is_empty() {
                    rig.release_marker(ErrorCode::NotLeaderOrFollower);
                }
            }
        }
        // An answer that is not taken is one that was lost: half of the producers hear nothing.
        for answer in std::mem::take(&mut rig.replies).into_values() {
            if let TxnAnswer::Init(producer) | TxnAnswer::Ended(producer) = answer
                && producer.error == ErrorCode::None
                && prng.next_u64().is_multiple_of(2)
            {
                producers.push(producer);
            }
        }
    }
    rig.hold_appends = false;
    rig.hold_markers = false;
    rig.pump();
    rig.advance(u64::try_from(TIMEOUT_MS).expect("positive") + 20_000);
    let idle = rig.coordinator.state_image();
    for one in idle.partitions.values().flat_map(BTreeMap::values) {
        assert!(one.state.is_idle(), "seed {seed}: {one:?}");
    }
    // With KIP-890 an epoch is one transaction: it was committed or aborted, never both.
    let mut ends: BTreeMap<(i64, i16), bool> = BTreeMap::new();
    for (_, marker) in rig.marked.iter().filter(|(_, one)| one.version == TxnVersion::V2) {
        let key = (marker.producer_id, marker.producer_epoch);
        let end = *ends.entry(key).or_insert(marker.commit);
        assert_eq!(end, marker.commit, "seed {seed}: {key:?} ended both ways");
    }
}
