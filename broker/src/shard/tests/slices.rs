//! Batches that inflate to much, and the turns they are spread over.

use std::net::{IpAddr, Ipv4Addr};

use bytes::Bytes;
use protocol::batch::{BatchBuilder, BatchOptions};
use protocol::compress::{Codecs, Compression};
use protocol::error_code::ErrorCode;
use protocol::frame::{PREFIX_BYTES, encode_request};
use protocol::messages::InitProducerIdResponse;
use protocol::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};

use super::produce::{only, produce};
use super::transactions::{ADDS, begin, write};
use super::{CONN, ConnId, Core, Event, Rig, batch};
use crate::api::produce_refusal;
use crate::image::MetadataRecord;
use crate::image::record::RemoveTopicRecord;
use crate::ledger::Arrival;
use crate::limits::{SLICED_BYTES_MAX, TURN_UNPACKED_BYTES_MAX};

const PARTITIONS: i32 = 16;
const VERSION: i16 = 9;
/// Two of them are a turn's share.
const BOMB_BYTES: usize = TURN_UNPACKED_BYTES_MAX as usize / 2;

fn transactional(producer: &InitProducerIdResponse, base_sequence: i32) -> BatchOptions {
    BatchOptions {
        producer_id: producer.producer_id,
        producer_epoch: producer.producer_epoch,
        base_sequence,
        transactional: true,
        ..BatchOptions::default()
    }
}

/// A record of zeros.
fn bomb(options: BatchOptions) -> Vec<u8> {
    let options = BatchOptions { compression: Compression::Zstd, ..options };
    let mut builder = BatchBuilder::new(options);
    builder.append(1_700_000_000_000, None, Some(&vec![0; BOMB_BYTES]), &[]);
    let mut bytes = Vec::new();
    builder.build(&mut Codecs::default(), &mut bytes);
    bytes
}

/// One batch for each partition from 0 on.
fn request(transactional_id: Option<&str>, batches: Vec<Vec<u8>>) -> ProduceRequest {
    let parts = batches.into_iter().enumerate().map(|(index, records)| PartitionProduceData {
        index: index as i32,
        records: Some(Bytes::from(records)),
    });
    ProduceRequest {
        transactional_id: transactional_id.map(str::to_owned),
        acks: -1,
        timeout_ms: 1000,
        topic_data: vec![TopicProduceData {
            name: "t".to_owned(),
            partition_data: parts.collect(),
            ..TopicProduceData::default()
        }],
    }
}

/// Bombs a shard has unpacked so far.
fn unpacked(rig: &Rig, shard: usize) -> usize {
    rig.shards[shard].codecs.unpacked_bytes() as usize / BOMB_BYTES
}

/// A request comes, and the turn is not over.
fn hand(rig: &mut Rig, conn: ConnId, version: i16, request: &ProduceRequest) {
    let mut frame = Vec::new();
    encode_request(&mut frame, version, 1, Some("test"), request).expect("it can be encoded");
    let (frame, arrival) = (&frame[PREFIX_BYTES..], Arrival::at(rig.now.mono_ns));
    rig.shards[0].handle_event(Event::Frame { conn, frame, arrival }, rig.now);
}

/// Ends a turn of each shard and has everything that is under way happen. Whether there was any.
///
/// Meanwhile each shard unpacks three shares at most: of what another sends it, of what waits, of
/// what a coordinator's answer lets go on.
fn turn(rig: &mut Rig) -> bool {
    let mut moved = false;
    let before: Vec<usize> = (0..rig.shards.len()).map(|shard| unpacked(rig, shard)).collect();
    for shard in 0..rig.shards.len() {
        rig.shards[shard].end_turn(rig.now);
        while let Some(output) = rig.shards[shard].poll_output() {
            moved = true;
            rig.carry(shard, output);
        }
        moved |= !rig.shards[shard].slices.is_empty();
        let mut done = Vec::new();
        while rig.disk_runs && rig.disk.in_flight() > 0 {
            done.extend(rig.disk.poll_complete());
        }
        for (of, done) in done {
            moved = true;
            rig.shards[usize::from(of)].handle_event(Event::Disk(done), rig.now);
        }
    }
    for (shard, before) in before.into_iter().enumerate() {
        let count = unpacked(rig, shard) - before;
        assert!(count <= 6, "{count} batches were unpacked in one turn");
    }
    moved
}

fn assert_all_taken(rig: &mut Rig, version: i16) {
    while turn(rig) {}
    let answer = rig.take::<ProduceRequest>(version).expect("it is answered");
    let parts = &answer.responses[0].partition_responses;
    assert_eq!(parts.len(), PARTITIONS as usize);
    for (index, part) in parts.iter().enumerate() {
        assert_eq!((part.index, part.error_code, part.base_offset), (index as i32, 0, 0));
    }
}

fn bombs(count: i32) -> Vec<Vec<u8>> {
    vec![bomb(BatchOptions::default()); count as usize]
}

/// What the oldest answer to a request for one partition says: its code and offset.
fn next_answer(rig: &mut Rig) -> (i16, i64) {
    only(&rig.take::<ProduceRequest>(VERSION).expect("it is answered"))
}

#[test]
fn batches_of_a_request_that_unpack_to_much_are_spread_over_turns() {
    for shards_count in [1, 2] {
        let mut rig = Rig::new(shards_count);
        rig.create_topic("t", PARTITIONS);
        let before = unpacked(&rig, 0);
        hand(&mut rig, CONN, VERSION, &request(None, bombs(PARTITIONS)));
        assert_eq!(unpacked(&rig, 0) - before, 2, "of this shard's own");
        if shards_count == 1 {
            let due = rig.shards[0].poll_timeout();
            assert!(due.is_some_and(|at| at <= rig.now.mono_ns), "the others do not wait long");
        }
        assert_all_taken(&mut rig, VERSION);
    }
}

#[test]
fn what_a_connection_sends_after_a_batch_that_waits_is_appended_after_it() {
    for shards_count in [1, 2] {
        let mut rig = Rig::new(shards_count);
        rig.create_topic("t", PARTITIONS);
        hand(&mut rig, CONN, VERSION, &request(None, bombs(PARTITIONS)));
        for partition in (0..PARTITIONS).rev() {
            hand(&mut rig, CONN, VERSION, &produce("t", partition, batch(&["after"])));
        }
        assert_all_taken(&mut rig, VERSION);
        for _ in 0..PARTITIONS {
            assert_eq!(next_answer(&mut rig), (0, 1));
        }
    }
}

#[test]
fn another_connection_does_not_wait_for_what_waits() {
    const OTHER: ConnId = ConnId(2);
    let mut rig = Rig::new(1);
    rig.create_topic("t", PARTITIONS);
    let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
    rig.event(0, Event::Connected { conn: OTHER, peer, port: 4712 });
    hand(&mut rig, CONN, VERSION, &request(None, bombs(PARTITIONS)));
    hand(&mut rig, OTHER, VERSION, &produce("t", PARTITIONS - 1, batch(&["beside"])));
    // One that waits itself is taken in between.
    hand(&mut rig, OTHER, VERSION, &request(None, bombs(3)));
    turn(&mut rig);
    turn(&mut rig);
    let others: Vec<ConnId> = rig.sent.iter().map(|(_, conn, _)| *conn).collect();
    assert_eq!(others, [OTHER, OTHER], "the first request is under way");
    assert_eq!(next_answer(&mut rig), (0, 0));
    rig.sent.clear();
    while turn(&mut rig) {}
    let answer = rig.take::<ProduceRequest>(VERSION).expect("it is answered");
    let parts = &answer.responses[0].partition_responses;
    assert_eq!(parts[PARTITIONS as usize - 1].base_offset, 1);
    assert!(parts.iter().all(|part| part.error_code == 0), "{parts:?}");
}

#[test]
fn batches_of_a_transaction_that_waited_for_its_coordinator_are_spread_over_turns() {
    for shards_count in [1, 2] {
        let mut rig = Rig::new(shards_count);
        rig.create_topic("t", PARTITIONS);
        let producer = begin(&mut rig);
        let bomb = bomb(transactional(&producer, 0));
        hand(&mut rig, CONN, ADDS, &request(Some("id"), vec![bomb; PARTITIONS as usize]));
        assert_all_taken(&mut rig, ADDS);
    }
}

#[test]
fn batches_for_one_log_that_waited_for_its_coordinator_are_spread_over_turns_in_order() {
    let mut rig = Rig::new(1);
    rig.create_topic("t", 1);
    let producer = begin(&mut rig);
    for sequence in 0..PARTITIONS {
        let bomb = bomb(transactional(&producer, sequence));
        hand(&mut rig, CONN, ADDS, &request(Some("id"), vec![bomb]));
    }
    turn(&mut rig);
    // It comes while some of those before it wait.
    hand(&mut rig, CONN, ADDS, &write(0, &producer, PARTITIONS));
    while turn(&mut rig) {}
    for offset in 0..=i64::from(PARTITIONS) {
        let answer = rig.take::<ProduceRequest>(ADDS).expect("it is answered");
        assert_eq!(only(&answer), (0, offset));
    }
}

#[test]
fn what_waits_for_a_topic_that_is_deleted_is_refused() {
    let mut rig = Rig::new(1);
    rig.create_topic("t", 4);
    hand(&mut rig, CONN, VERSION, &request(None, bombs(4)));
    let index = rig.shards[0].topics.find_name("t").expect("it was created");
    let id = rig.shards[0].topics.get(index).id;
    let record = MetadataRecord::RemoveTopic(RemoveTopicRecord { topic_id: id });
    rig.shards[0].apply_records(&[record]);
    while turn(&mut rig) {}
    let answer = rig.take::<ProduceRequest>(VERSION).expect("it is answered");
    let codes: Vec<i16> =
        answer.responses[0].partition_responses.iter().map(|part| part.error_code).collect();
    let gone = produce_refusal::gone(VERSION).code();
    assert_eq!(codes[2..], [gone, gone], "{codes:?}");
}

#[test]
fn what_waits_for_a_connection_that_is_gone_is_appended_as_what_was_taken() {
    let mut rig = Rig::new(1);
    rig.create_topic("t", 4);
    let unanswered = ProduceRequest { acks: 0, ..request(None, bombs(4)) };
    hand(&mut rig, CONN, VERSION, &unanswered);
    rig.shards[0].handle_event(Event::Disconnected { conn: CONN }, rig.now);
    while turn(&mut rig) {}
    let index = rig.shards[0].topics.find_name("t").expect("it was created");
    for partition in 0..4 {
        let log = rig.shards[0].topics.partition(index, partition).and_then(|found| found.log);
        assert_eq!(rig.shards[0].bounds(log.expect("its log is here")).log_end, 1);
    }
    assert!(rig.sent.is_empty());
}

#[test]
fn a_stop_answers_what_waits() {
    let mut rig = Rig::new(1);
    rig.create_topic("t", PARTITIONS);
    hand(&mut rig, CONN, VERSION, &request(None, bombs(PARTITIONS)));
    rig.shards[0].handle_event(Event::Stop, rig.now);
    assert_all_taken(&mut rig, VERSION);
    assert!(rig.shards[0].is_flushing());
}

#[test]
fn more_than_may_wait_is_refused_with_a_code_to_try_again_on() {
    let mut rig = Rig::new(1);
    rig.create_topic("t", PARTITIONS);
    let rubbish = || vec![0; SLICED_BYTES_MAX / 2 - 1024];
    let bomb = bomb(BatchOptions::default());
    hand(&mut rig, CONN, VERSION, &request(None, vec![bomb.clone(), bomb, rubbish()]));
    hand(&mut rig, CONN, VERSION, &request(None, vec![rubbish()]));
    hand(&mut rig, CONN, VERSION, &request(None, vec![vec![0; 2048]]));
    rig.settle();
    let mut codes = Vec::new();
    while let Some(answer) = rig.take::<ProduceRequest>(VERSION) {
        codes.extend(answer.responses[0].partition_responses.iter().map(|part| part.error_code));
    }
    let rubbish = codes[2];
    assert!(rubbish != 0 && rubbish != ErrorCode::RequestTimedOut.code(), "it waited: {codes:?}");
    assert_eq!(codes, [0, 0, rubbish, rubbish, ErrorCode::RequestTimedOut.code()]);
    assert!(rig.shards[0].slices.is_empty());
}
