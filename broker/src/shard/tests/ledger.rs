//! The ledger under injected delays: time passes while one thing is held up, and the stage of that
//! thing must show it, all of it, and the stages must sum to the total.

use protocol::api::ApiKey;
use protocol::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use protocol::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use protocol::messages::metadata::MetadataRequest;
use storage::store::StoreConfig;

use super::produce::produce;
use super::{Core, Rig, batch};
use crate::ledger::{Arrival, Point, Record};

/// Far more than everything else, which takes no time at all here.
const DELAY_NS: u64 = 5_000_000;

impl Rig {
    /// Records of finished requests of a shard, of one API.
    fn finished(&mut self, shard: usize, api: ApiKey) -> Vec<Record> {
        let mut records = Vec::new();
        self.shards[shard].swap_finished(&mut records);
        records.retain(|record| record.api == api);
        records
    }

    fn pass(&mut self, ns: u64) {
        self.now.mono_ns += ns;
    }
}

/// The delay is in that stage and nowhere else.
fn assert_in(record: &Record, point: Point, ns: u64) {
    let split = record.split();
    assert!(record.is_ordered(), "{record:?}");
    assert_eq!(split.stages_ns.iter().sum::<u64>(), split.total_ns);
    assert_eq!(split.stages_ns[point as usize - 1], ns, "{point:?} of {split:?}");
    assert_eq!(split.total_ns, ns, "{split:?}");
}

fn rig(shards: u16) -> Rig {
    let mut rig = Rig::new(shards);
    rig.create_topic("t", i32::from(shards));
    rig
}

fn long_poll(offset: i64) -> FetchRequest {
    let asked = FetchPartition {
        partition: 0,
        fetch_offset: offset,
        partition_max_bytes: 64 << 10,
        ..Default::default()
    };
    let topic = FetchTopic { topic: "t".into(), partitions: vec![asked], ..Default::default() };
    FetchRequest {
        max_wait_ms: 1_000,
        min_bytes: 1,
        max_bytes: 1 << 20,
        session_epoch: -1,
        topics: vec![topic],
        ..Default::default()
    }
}

#[test]
fn a_slow_disk_is_found_in_sync() {
    let mut rig = rig(1);
    rig.disk_runs = false;
    rig.send(0, 9, &produce("t", 0, batch(&["a"])));
    rig.pass(DELAY_NS);
    rig.disk_runs = true;
    rig.settle();
    let records = rig.finished(0, ApiKey::Produce);
    assert_eq!(records.len(), 1);
    assert_in(&records[0], Point::Synced, DELAY_NS);
    assert_eq!(records[0].partition, 0);
    assert_eq!(rig.shards[0].topic_name(records[0].topic).as_deref(), Some("t"));
}

#[test]
fn a_disk_that_writes_slowly_and_syncs_apart_is_found_in_write() {
    let mut rig = rig(1);
    rig.disk_runs = false;
    rig.send(0, 9, &produce("t", 0, batch(&["a"])));
    rig.pass(DELAY_NS);
    rig.disk_moved_ns = rig.now.mono_ns;
    rig.pass(2 * DELAY_NS);
    rig.disk_runs = true;
    rig.settle();
    let records = rig.finished(0, ApiKey::Produce);
    let split = records[0].split();
    let stage = |point: Point| split.stages_ns[point as usize - 1];
    assert_eq!([stage(Point::Written), stage(Point::Synced)], [DELAY_NS, 2 * DELAY_NS]);
    assert_eq!(split.total_ns, 3 * DELAY_NS, "{split:?}");
    assert!(records[0].is_ordered());
}

/// On one node the watermark moves in the event that brings the sync: only between the store's
/// look at that and the shard's is there room for a delay.
#[test]
fn time_between_the_sync_and_the_watermark_is_found_in_commit() {
    let mut rig = rig(1);
    rig.disk_runs = false;
    rig.send(0, 9, &produce("t", 0, batch(&["a"])));
    while rig.disk.in_flight() > 0 {
        let Some((_, done)) = rig.disk.poll_complete() else { continue };
        rig.shards[0].store.handle_disk(done, rig.now.mono_ns, rig.now.wall_ms);
    }
    rig.pass(DELAY_NS);
    rig.shards[0].now = rig.now;
    rig.shards[0].drain_store();
    rig.disk_runs = true;
    rig.settle();
    assert_in(&rig.finished(0, ApiKey::Produce)[0], Point::Committed, DELAY_NS);
}

#[test]
fn a_slow_disk_under_a_cold_fetch_is_found_in_read() {
    // Nothing stays in memory that is in a segment.
    let store = StoreConfig { tail_bytes: 0, flush_bytes: 1, flush_ms: 1, ..Default::default() };
    let mut rig = Rig::with_store(1, store);
    rig.create_topic("t", 1);
    let value = "v".repeat(16 << 10);
    for _ in 0..4 {
        rig.send(0, 9, &produce("t", 0, batch(&[&value])));
        rig.advance_ms(1_000);
    }
    rig.disk_runs = false;
    rig.send(0, 12, &long_poll(0));
    rig.pass(DELAY_NS);
    rig.disk_runs = true;
    rig.settle();
    assert_in(&rig.finished(0, ApiKey::Fetch)[0], Point::Read, DELAY_NS);
}

#[test]
fn a_slow_disk_under_a_cold_fetch_by_a_hop_is_found_in_read() {
    let store = StoreConfig { tail_bytes: 0, flush_bytes: 1, flush_ms: 1, ..Default::default() };
    let mut rig = Rig::with_store(2, store);
    rig.create_topic("t", 2);
    let shard = stranger(&rig);
    let value = "v".repeat(16 << 10);
    for _ in 0..4 {
        rig.send(shard, 9, &produce("t", 0, batch(&[&value])));
        rig.advance_ms(1_000);
    }
    rig.disk_runs = false;
    rig.send(shard, 12, &long_poll(0));
    rig.pass(DELAY_NS);
    rig.disk_runs = true;
    rig.settle();
    assert_in(&rig.finished(shard, ApiKey::Fetch)[0], Point::Read, DELAY_NS);
}

#[test]
fn a_decision_that_waits_for_its_log_record_is_found_in_handle() {
    let mut rig = rig(1);
    rig.finished(0, ApiKey::CreateTopics);
    rig.disk_runs = false;
    let topic = CreatableTopic {
        name: "u".into(),
        num_partitions: 1,
        replication_factor: 1,
        ..Default::default()
    };
    let create =
        CreateTopicsRequest { topics: vec![topic], timeout_ms: 1_000, ..Default::default() };
    rig.send(0, 7, &create);
    rig.pass(DELAY_NS);
    rig.disk_runs = true;
    rig.settle();
    assert_in(&rig.finished(0, ApiKey::CreateTopics)[0], Point::Answered, DELAY_NS);
}

#[test]
fn a_write_that_is_in_the_way_is_found_in_gather() {
    let mut rig = rig(1);
    rig.disk_runs = false;
    rig.send(0, 9, &produce("t", 0, batch(&["a"])));
    rig.send(0, 9, &produce("t", 0, batch(&["b"])));
    rig.pass(DELAY_NS);
    rig.disk_runs = true;
    rig.settle();
    let records = rig.finished(0, ApiKey::Produce);
    assert_eq!(records.len(), 2);
    assert_in(&records[0], Point::Synced, DELAY_NS);
    assert_in(&records[1], Point::Submitted, DELAY_NS);
}

#[test]
fn a_frame_that_came_slowly_is_found_in_receive_and_one_that_had_to_wait_in_admit() {
    let mut rig = rig(1);
    let (first, now) = (rig.now.mono_ns, rig.now.mono_ns + DELAY_NS);
    rig.now.mono_ns = now;
    let pieces = Arrival { ready_ns: first, framed_ns: now };
    rig.send_at(0, 9, &produce("t", 0, batch(&["a"])), pieces);
    rig.send_at(0, 9, &produce("t", 0, batch(&["a"])), Arrival::at(first));
    let records = rig.finished(0, ApiKey::Produce);
    assert_in(&records[0], Point::Framed, DELAY_NS);
    assert_in(&records[1], Point::Dispatched, DELAY_NS);
}

#[test]
fn an_earlier_request_in_the_way_of_the_answer_is_found_in_in_order() {
    let mut rig = rig(1);
    rig.disk_runs = false;
    rig.send(0, 9, &produce("t", 0, batch(&["a"])));
    rig.send(0, 9, &MetadataRequest::default());
    rig.pass(DELAY_NS);
    rig.disk_runs = true;
    rig.settle();
    let records = rig.finished(0, ApiKey::Metadata);
    assert_eq!(records.len(), 1);
    assert_in(&records[0], Point::Queued, DELAY_NS);
}

#[test]
fn a_client_that_does_not_read_is_found_in_send() {
    let mut rig = rig(1);
    rig.sends_run = false;
    rig.send(0, 9, &produce("t", 0, batch(&["a"])));
    assert!(rig.finished(0, ApiKey::Produce).is_empty());
    rig.pass(DELAY_NS);
    rig.sends_run = true;
    rig.settle();
    assert_in(&rig.finished(0, ApiKey::Produce)[0], Point::Sent, DELAY_NS);
}

#[test]
fn a_long_poll_waits_in_park_and_is_not_slow() {
    let mut rig = rig(1);
    rig.send(0, 12, &long_poll(0));
    rig.pass(DELAY_NS);
    rig.send(0, 9, &produce("t", 0, batch(&["a"])));
    let records = rig.finished(0, ApiKey::Fetch);
    assert_eq!(records.len(), 1);
    assert_in(&records[0], Point::Woken, DELAY_NS);
    assert_eq!(records[0].split().busy_ns(), 0);
    rig.send(0, 12, &long_poll(1));
    rig.advance_ms(2_000);
    assert_in(&rig.finished(0, ApiKey::Fetch)[0], Point::Woken, 1_000_000_000);
}

/// Another shard than the one that owns partition 0.
fn stranger(rig: &Rig) -> usize {
    let index = rig.shards[0].topics.find_name("t").expect("the topic was created");
    let place = rig.shards[0].topics.partition(index, 0).expect("it has a partition 0");
    1 - usize::from(place.owner.0)
}

#[test]
fn a_hop_shows_the_way_there_the_owners_disk_and_the_way_back() {
    let mut rig = rig(2);
    let shard = stranger(&rig);
    rig.finished(shard, ApiKey::Produce);
    // Held up on its way to the owner, at the owner's disk, and on its way back.
    rig.mesh_runs = false;
    rig.disk_runs = false;
    rig.send(shard, 9, &produce("t", 0, batch(&["a"])));
    rig.pass(DELAY_NS);
    rig.mesh_runs = true;
    rig.settle();
    rig.mesh_runs = false;
    rig.pass(2 * DELAY_NS);
    rig.disk_runs = true;
    rig.settle();
    rig.pass(3 * DELAY_NS);
    rig.mesh_runs = true;
    rig.settle();
    let records = rig.finished(shard, ApiKey::Produce);
    assert_eq!(records.len(), 1);
    let split = records[0].split();
    let stage = |point: Point| split.stages_ns[point as usize - 1];
    let found = [Point::HopOut, Point::Synced, Point::HopIn].map(stage);
    assert_eq!(found, [DELAY_NS, 2 * DELAY_NS, 3 * DELAY_NS], "{split:?}");
    assert_eq!(split.total_ns, 6 * DELAY_NS);
    assert!(records[0].is_ordered());
}

#[test]
fn a_fetch_by_a_hop_shows_the_way_there_and_back() {
    let mut rig = rig(2);
    let shard = stranger(&rig);
    rig.send(shard, 9, &produce("t", 0, batch(&["a"])));
    rig.mesh_runs = false;
    rig.send(shard, 12, &long_poll(0));
    rig.pass(DELAY_NS);
    rig.mesh_runs = true;
    rig.settle();
    assert_in(&rig.finished(shard, ApiKey::Fetch)[0], Point::HopOut, DELAY_NS);
}

#[test]
fn nothing_is_recorded_without_a_ledger() {
    let mut rig = Rig::without_ledger(1);
    rig.create_topic("t", 1);
    rig.request(0, 9, &produce("t", 0, batch(&["a"])));
    let mut records = Vec::new();
    rig.shards[0].swap_finished(&mut records);
    assert_eq!(records, []);
}
