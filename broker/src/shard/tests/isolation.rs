//! Isolation level 1: readers of committed records, at the owner of the partition and a hop away.
//!
//! The batches of transactions and their markers are put into the log as a producer and a
//! coordinator would have them put, so that nothing but the reading is tested.

use protocol::batch::{BatchBuilder, BatchOptions};
use protocol::compress::Codecs;
use protocol::messages::fetch::{
    AbortedTransaction, FetchPartition, FetchRequest, FetchResponse, FetchTopic,
};
use protocol::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use storage::types::{AppendHow, LogId, Origin, TxnMarker};

use super::produce::produce;
use super::{Rig, batch};

/// Partitions of the topic in these tests, one for each shard.
const PARTITIONS: i32 = 2;

fn owner_of(rig: &Rig, partition: i32) -> (usize, LogId) {
    let mut owners = rig.shards.iter().enumerate().filter_map(|(shard, core)| {
        let index = core.topics.find_name("t")?;
        Some((shard, core.topics.partition(index, partition)?.log?))
    });
    owners.next_back().expect("the partition has an owner")
}

fn how(origin: Origin) -> AppendHow {
    AppendHow { leader_epoch: 0, origin, mono_ns: 0, wall_ms: 0, log_append_time: false }
}

/// A record of a transaction of the producer.
fn write(rig: &mut Rig, partition: i32, producer_id: i64, sequence: i32) {
    let mut builder = BatchBuilder::new(BatchOptions {
        producer_id,
        producer_epoch: 0,
        base_sequence: sequence,
        transactional: true,
        ..BatchOptions::default()
    });
    builder.append(1_700_000_000_000 + i64::from(sequence), None, Some(b"v"), &[]);
    let mut bytes = Vec::new();
    builder.build(&mut Codecs::default(), &mut bytes);
    let (shard, log) = owner_of(rig, partition);
    let how = how(Origin::Verified { epoch_bumps: false });
    rig.shards[shard].store.append(log, &bytes, how).expect("it is the next one");
    rig.settle();
}

fn end(rig: &mut Rig, partition: i32, producer_id: i64, commit: bool) {
    let marker = TxnMarker {
        producer_id,
        producer_epoch: 0,
        coordinator_epoch: 0,
        commit,
        transaction_version: 0,
    };
    let (shard, log) = owner_of(rig, partition);
    let store = &mut rig.shards[shard].store;
    store.append_marker(log, &marker, how(Origin::Internal)).expect("it may end");
    rig.settle();
}

fn fetch(partition: i32, offset: i64, isolation_level: i8) -> FetchRequest {
    FetchRequest {
        max_wait_ms: 500,
        min_bytes: 1,
        max_bytes: 1 << 20,
        isolation_level,
        topics: vec![FetchTopic {
            topic: "t".to_owned(),
            partitions: vec![FetchPartition {
                partition,
                fetch_offset: offset,
                partition_max_bytes: 1 << 20,
                ..FetchPartition::default()
            }],
            ..FetchTopic::default()
        }],
        ..FetchRequest::default()
    }
}

/// Watermark, stable offset, aborted transactions and number of batches.
fn only(response: &FetchResponse) -> (i64, i64, Option<Vec<AbortedTransaction>>, usize) {
    let part = &response.responses[0].partitions[0];
    assert_eq!(part.error_code, 0);
    let mut records = part.records.as_deref().unwrap_or_default();
    let mut count = 0;
    while let Ok(header) = protocol::batch::BatchHeader::parse(records) {
        records = &records[header.total_bytes()..];
        count += 1;
    }
    let aborted = part.aborted_transactions.clone();
    (part.high_watermark, part.last_stable_offset, aborted, count)
}

fn aborted(producer_id: i64, first_offset: i64) -> AbortedTransaction {
    AbortedTransaction { producer_id, first_offset }
}

/// Every partition as a reader of every shard sees it.
fn everywhere(rig: &mut Rig, mut test: impl FnMut(&mut Rig, usize, i32)) {
    for partition in 0..PARTITIONS {
        for reader in 0..rig.shards.len() {
            test(rig, reader, partition);
        }
    }
}

fn rig() -> Rig {
    let mut rig = Rig::new(2);
    rig.create_topic("t", PARTITIONS);
    rig
}

#[test]
fn an_open_transaction_is_read_by_those_only_who_do_not_mind() {
    let mut rig = rig();
    for partition in 0..PARTITIONS {
        rig.request(0, 9, &produce("t", partition, batch(&["plain"])));
        write(&mut rig, partition, 7, 0);
    }
    everywhere(&mut rig, |rig, reader, partition| {
        let committed = rig.request(reader, 12, &fetch(partition, 0, 1));
        assert_eq!(only(&committed), (2, 1, Some(vec![]), 1));
        let everything = rig.request(reader, 12, &fetch(partition, 0, 0));
        assert_eq!(only(&everything), (2, 1, None, 2));
    });
}

#[test]
fn the_end_of_a_transaction_wakes_those_who_wait_for_it() {
    for commit in [false, true] {
        let mut rig = rig();
        let mut sequence = 0;
        everywhere(&mut rig, |rig, reader, partition| {
            write(rig, partition, 7, sequence);
            sequence += 1;
            let start = owner_of(rig, partition);
            let start = rig.shards[start.0].store.last_stable(start.1).expect("it exists");
            rig.send(reader, 12, &fetch(partition, start, 1));
            write(rig, partition, 7, sequence);
            sequence += 1;
            assert!(rig.sent.is_empty(), "what is in the transaction is no news");
            end(rig, partition, 7, commit);
            let response = rig.take::<FetchRequest>(12).expect("the marker wakes the reader");
            let expected = if commit { vec![] } else { vec![aborted(7, start)] };
            let end = start + 3;
            assert_eq!(only(&response), (end, end, Some(expected), 3));
            sequence = if partition + 1 < PARTITIONS && reader + 1 == 2 { 0 } else { sequence };
        });
    }
}

#[test]
fn aborted_transactions_are_named_for_the_offsets_that_are_read() {
    let mut rig = rig();
    for partition in 0..PARTITIONS {
        write(&mut rig, partition, 7, 0);
        write(&mut rig, partition, 8, 0);
        end(&mut rig, partition, 7, false);
        end(&mut rig, partition, 8, true);
        write(&mut rig, partition, 9, 0);
        end(&mut rig, partition, 9, false);
    }
    everywhere(&mut rig, |rig, reader, partition| {
        let mut asked = |offset| only(&rig.request(reader, 12, &fetch(partition, offset, 1)));
        assert_eq!(asked(0), (6, 6, Some(vec![aborted(7, 0), aborted(9, 4)]), 6));
        assert_eq!(asked(2), (6, 6, Some(vec![aborted(7, 0), aborted(9, 4)]), 4));
        assert_eq!(asked(3), (6, 6, Some(vec![aborted(9, 4)]), 3));
    });
}

#[test]
fn the_end_of_what_is_committed_is_the_latest_offset() {
    let mut rig = rig();
    for partition in 0..PARTITIONS {
        rig.request(0, 9, &produce("t", partition, batch(&["plain"])));
        write(&mut rig, partition, 7, 5);
    }
    everywhere(&mut rig, |rig, reader, partition| {
        let mut ask = |timestamp, isolation_level| {
            let asked = ListOffsetsPartition {
                partition_index: partition,
                timestamp,
                ..ListOffsetsPartition::default()
            };
            let topic = ListOffsetsTopic { name: "t".to_owned(), partitions: vec![asked] };
            let topics = vec![topic];
            let request =
                ListOffsetsRequest { replica_id: -1, isolation_level, topics, timeout_ms: 0 };
            let response = rig.request(reader, 7, &request);
            response.topics[0].partitions[0].offset
        };
        assert_eq!((ask(-1, 0), ask(-1, 1)), (2, 1));
        assert_eq!((ask(-3, 0), ask(-3, 1)), (1, -1), "the youngest record is not committed");
        let later = 1_700_000_000_005;
        assert_eq!((ask(later, 0), ask(later, 1)), (1, -1));
    });
}
