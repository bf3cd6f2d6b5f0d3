//! How often a transaction waits for the disk, one wait after the other.
//!
//! The disk answers in rounds: everything that is under way at once. So many rounds until a client
//! has its answer are so many waits in sequence, whatever a device takes for one.

use protocol::batch::{BatchBuilder, BatchOptions};
use protocol::compress::Codecs;
use protocol::messages::add_partitions_to_txn::AddPartitionsToTxnTopic;
use protocol::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use protocol::messages::{AddPartitionsToTxnRequest, EndTxnRequest, InitProducerIdResponse};

use super::transactions::{ADDS, begin};
use super::{Core, Event, Rig};

const PARTITIONS: i32 = 3;
const RECORDS: usize = 100;

/// Lets the disk answer what is under way until so many answers are there; the waits it took.
fn waits_for(rig: &mut Rig, answers: usize) -> usize {
    let mut waits = 0;
    for _ in 0..1000 {
        rig.settle();
        if rig.sent.len() >= answers {
            return waits;
        }
        if rig.disk.in_flight() == 0 {
            // Somebody asks again in a moment: a wait, but not for the disk.
            rig.advance_ms(1);
            continue;
        }
        let mut done = Vec::new();
        while rig.disk.in_flight() > 0 {
            done.extend(rig.disk.poll_complete());
        }
        for (shard, done) in done {
            rig.shards[usize::from(shard)].handle_event(Event::Disk(done), rig.now);
        }
        waits += 1;
    }
    panic!("{} of {answers} answers came", rig.sent.len());
}

/// 100 records over all partitions, in one request; of a transaction with those before it that had
/// the same epoch.
fn records(producer: Option<(&InitProducerIdResponse, usize)>) -> ProduceRequest {
    let partition = |index: i32| {
        let here = (0..RECORDS).filter(|record| record % PARTITIONS as usize == index as usize);
        let options = match producer {
            None => BatchOptions::default(),
            Some((producer, before)) => BatchOptions {
                producer_id: producer.producer_id,
                producer_epoch: producer.producer_epoch,
                base_sequence: (before * here.clone().count()) as i32,
                transactional: true,
                ..BatchOptions::default()
            },
        };
        let mut builder = BatchBuilder::new(options);
        for _ in here {
            builder.append(1_700_000_000_000, None, Some(b"v"), &[]);
        }
        let mut bytes = Vec::new();
        builder.build(&mut Codecs::default(), &mut bytes);
        PartitionProduceData { index, records: Some(bytes.into()) }
    };
    let partition_data = (0..PARTITIONS).map(partition).collect();
    ProduceRequest {
        transactional_id: producer.map(|_| "id".to_owned()),
        acks: -1,
        timeout_ms: 1000,
        topic_data: vec![TopicProduceData {
            name: "t".to_owned(),
            partition_data,
            ..TopicProduceData::default()
        }],
    }
}

/// Sends the records; the waits until they are acknowledged.
fn produce(rig: &mut Rig, version: i16, request: &ProduceRequest) -> usize {
    rig.send(0, version, request);
    let waits = waits_for(rig, 1);
    let answer = rig.take::<ProduceRequest>(version).expect("it was waited for");
    for partition in &answer.responses[0].partition_responses {
        assert_eq!(partition.error_code, 0, "{partition:?}");
    }
    assert_eq!(answer.responses[0].partition_responses.len(), PARTITIONS as usize);
    waits
}

fn commit(rig: &mut Rig, version: i16, producer: &mut InitProducerIdResponse) -> usize {
    let request = EndTxnRequest {
        transactional_id: "id".to_owned(),
        producer_id: producer.producer_id,
        producer_epoch: producer.producer_epoch,
        committed: true,
    };
    rig.send(0, version, &request);
    let waits = waits_for(rig, 1);
    let ended = rig.take::<EndTxnRequest>(version).expect("it was waited for");
    assert_eq!(ended.error_code, 0, "{ended:?}");
    if version >= 5 {
        (producer.producer_id, producer.producer_epoch) = (ended.producer_id, ended.producer_epoch);
    }
    waits
}

fn add(rig: &mut Rig, version: i16, producer: &InitProducerIdResponse) -> usize {
    let request = AddPartitionsToTxnRequest {
        v3_and_below_transactional_id: "id".to_owned(),
        v3_and_below_producer_id: producer.producer_id,
        v3_and_below_producer_epoch: producer.producer_epoch,
        v3_and_below_topics: vec![AddPartitionsToTxnTopic {
            name: "t".to_owned(),
            partitions: (0..PARTITIONS).collect(),
        }],
        ..AddPartitionsToTxnRequest::default()
    };
    rig.send(0, version, &request);
    let waits = waits_for(rig, 1);
    let answer = rig.take::<AddPartitionsToTxnRequest>(version).expect("it was waited for");
    for partition in &answer.results_by_topic_v3_and_below[0].results_by_partition {
        assert_eq!(partition.partition_error_code, 0, "{partition:?}");
    }
    waits
}

/// A broker at rest with the topic, and a producer; the waits of the same records without one.
fn rig(shards: u16) -> (Rig, InitProducerIdResponse, usize) {
    let mut rig = Rig::new(shards);
    rig.create_topic("t", PARTITIONS);
    let producer = begin(&mut rig);
    rig.disk_runs = false;
    let plain = produce(&mut rig, 11, &records(None));
    assert_eq!(plain, 1, "every journal is written at the same time");
    (rig, producer, plain)
}

/// What follows the answer, and whatever else the disk was asked for.
fn rest(rig: &mut Rig) {
    rig.disk_runs = true;
    rig.settle();
    rig.advance_ms(100);
    rig.disk_runs = false;
}

#[test]
fn a_transaction_of_three_partitions_waits_for_the_disk_twice_beyond_its_records() {
    for shards in [1, 2, 3, 5] {
        let (mut rig, mut producer, plain) = rig(shards);
        for _ in 0..3 {
            let asked = produce(&mut rig, ADDS, &records(Some((&producer, 0))));
            let ended = commit(&mut rig, 5, &mut producer);
            assert!(asked + ended <= plain + 2, "{shards} shards: {asked} and {ended}");
            rest(&mut rig);
        }
    }
}

#[test]
fn a_client_that_adds_its_partitions_itself_waits_for_the_disk_twice_beyond_its_records() {
    for shards in [1, 2, 3] {
        for (adds, produces, ends) in [(0, 3, 0), (1, 7, 1), (3, 11, 4)] {
            let (mut rig, mut producer, plain) = rig(shards);
            for before in 0..3 {
                let added = add(&mut rig, adds, &producer);
                let written = produce(&mut rig, produces, &records(Some((&producer, before))));
                let ended = commit(&mut rig, ends, &mut producer);
                let all = added + written + ended;
                assert!(all <= plain + 2, "{shards} shards: {added}, {written} and {ended}");
                rest(&mut rig);
            }
        }
    }
}
