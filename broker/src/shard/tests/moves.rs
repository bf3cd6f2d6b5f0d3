//! Replicas that move between two data folders while they serve: through kills and power cuts, with
//! a folder that fails, and what waits while a log is held for its switch.

use protocol::error_code::ErrorCode;
use protocol::messages::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use protocol::messages::describe_log_dirs::DescribeLogDirsRequest;
use protocol::messages::fetch::FetchRequest;
use protocol::messages::find_coordinator::FindCoordinatorRequest;
use protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use protocol::messages::offset_fetch::{OffsetFetchRequest, OffsetFetchRequestTopic};
use protocol::messages::produce::ProduceRequest;
use protocol::messages::write_txn_markers::{WritableTxnMarker, WritableTxnMarkerTopic};
use protocol::messages::{DeleteTopicsRequest, WriteTxnMarkersRequest};
use storage::types::{LogId, Volume};

use super::fetch::fetch;
use super::produce::{only, produce};
use super::transactions::{ADDS, begin, stable, write};
use super::volumes::{alter, kill, read, send, start, two};
use super::{Core, Event, Rig, batch};
use crate::controller::internal::CONSUMER_OFFSETS;
use crate::coordinator::partition_for_group;
use crate::shard::ask::Ask;
use crate::shard::control::ControlRequest;
use crate::shard::event::ShardId;
use crate::shard::mesh::MeshMessage;

const SECOND: Volume = Volume(1);

/// Produces until a move has ended, and says where the partition is then.
fn work_until_moved(rig: &mut Rig, topic: &str, partition: i32, next: &mut i64) -> String {
    for _ in 0..400 {
        assert_eq!(send(rig, topic, partition), (0, *next));
        *next += 1;
        rig.advance_ms(20);
        let at = replicas(rig, topic, partition);
        if let [(path, false)] = &at[..] {
            return path.clone();
        }
    }
    panic!("it never ends: {:?}", replicas(rig, topic, partition));
}

/// The folders that a partition is shown in, and whether as a future replica.
fn replicas(rig: &mut Rig, topic: &str, partition: i32) -> Vec<(String, bool)> {
    let response = rig.request(0, 4, &DescribeLogDirsRequest { topics: None });
    let mut found = Vec::new();
    for folder in &response.results {
        let topics = folder.topics.iter().filter(|known| known.name == topic);
        let partitions = topics.flat_map(|topic| &topic.partitions);
        for known in partitions.filter(|known| known.partition_index == partition) {
            found.push((folder.log_dir.clone(), known.is_future_key));
        }
    }
    found
}

#[test]
fn a_replica_moves_there_and_back_while_it_serves_and_stays_where_it_is_after_a_kill() {
    for shards_count in [1, 2] {
        let mut rig = two(shards_count);
        rig.create_topic("t", 2);
        let mut next = 0;
        for to in ["b", "a", "b"] {
            for _ in 0..5 {
                assert_eq!(send(&mut rig, "t", 0), (0, next));
                next += 1;
            }
            assert_eq!(alter(&mut rig, to, "t", 0), 0);
            assert_eq!(work_until_moved(&mut rig, "t", 0, &mut next), to);
            assert_eq!(read(&mut rig, "t", 0), (0, next));
            for cores in [3 - shards_count, shards_count] {
                rig = start(kill(rig), &["a", "b"], cores).expect("both folders are there");
                assert_eq!(read(&mut rig, "t", 0), (0, next), "{to} on {cores}");
                assert_eq!(send(&mut rig, "t", 0), (0, next));
                next += 1;
            }
        }
        assert_eq!(replicas(&mut rig, "t", 1), [("b".to_owned(), false)]);
    }
}

#[test]
fn a_fetch_that_waits_while_its_replica_moves_is_woken_where_that_has_gone() {
    let mut rig = two(2);
    rig.advance_ms(100);
    // On either shard, and in either folder.
    for topic in ["t0", "t1", "t2", "t3", "t4", "t5"] {
        rig.create_topic(topic, 1);
        assert_eq!(send(&mut rig, topic, 0), (0, 0));
        rig.send(1, 12, &FetchRequest { max_wait_ms: 600_000, ..fetch(topic, 0, 1) });
        let (at, _) = replicas(&mut rig, topic, 0).remove(0);
        let to = if at == "a" { "b" } else { "a" };
        assert_eq!(alter(&mut rig, to, topic, 0), 0);
        let moved = [(to.to_owned(), false)];
        for _ in 0..200 {
            rig.advance_ms(20);
            if replicas(&mut rig, topic, 0) == moved {
                break;
            }
        }
        assert_eq!(replicas(&mut rig, topic, 0), moved);
        assert!(rig.sent.is_empty(), "{topic}: there is nothing to read yet");
        rig.send(0, 9, &produce(topic, 0, batch(&["y"])));
        let answered = rig.sent.drain(..).count();
        assert_eq!(answered, 2, "{topic}: the produce and the fetch that it wakes");
    }
}

/// What is there goes to files, and a move takes seconds for each block of them.
fn slow(rig: &mut Rig) {
    rig.advance_ms(40_000);
    rig.shards.iter_mut().for_each(|shard| shard.store.set_move_rate(1_000));
}

#[test]
fn a_move_is_seen_as_a_future_replica_and_the_present_folder_ends_it() {
    let mut rig = two(1);
    rig.create_topic("t", 1);
    assert_eq!(send(&mut rig, "t", 0), (0, 0));
    slow(&mut rig);
    assert_eq!(alter(&mut rig, "b", "t", 0), 0);
    let both = [("a".to_owned(), false), ("b".to_owned(), true)];
    assert_eq!(replicas(&mut rig, "t", 0), both);
    assert_eq!(alter(&mut rig, "a", "t", 0), 0);
    assert_eq!(replicas(&mut rig, "t", 0), both[..1]);
    for _ in 0..50 {
        rig.advance_ms(50);
    }
    assert_eq!(replicas(&mut rig, "t", 0), both[..1]);
    let mut rig = start(kill(rig), &["a", "b"], 1).expect("both folders are there");
    assert_eq!(read(&mut rig, "t", 0), (0, 1));
}

#[test]
fn a_move_goes_on_after_a_start_and_a_power_cut_anywhere_loses_nothing() {
    for seed in 0..60 {
        let mut rig = two(1 + (seed % 2) as u16);
        rig.create_topic("t", 2);
        let mut next = 0;
        for _ in 0..5 {
            assert_eq!(send(&mut rig, "t", 0), (0, next));
            next += 1;
        }
        // Moves wait for a moment after a start.
        rig.advance_ms(100);
        assert_eq!(alter(&mut rig, "b", "t", 0), 0);
        for _ in 0..seed % 12 {
            assert_eq!(send(&mut rig, "t", 0), (0, next));
            next += 1;
            rig.advance_ms(7);
        }
        let mut disk = rig.disk;
        disk.power_cut(seed);
        disk.restart();
        rig = start(disk, &["a", "b"], 1 + (seed / 2 % 2) as u16).expect("nothing contradicts");
        assert_eq!(read(&mut rig, "t", 0), (0, next), "seed {seed}");
        assert_eq!(work_until_moved(&mut rig, "t", 0, &mut next), "b", "seed {seed}");
        assert_eq!(read(&mut rig, "t", 0), (0, next), "seed {seed}");
    }
}

#[test]
fn a_target_that_fails_ends_the_move_and_its_folder_may_come_back() {
    let mut rig = two(1);
    rig.create_topic("t", 2);
    assert_eq!(send(&mut rig, "t", 0), (0, 0));
    slow(&mut rig);
    assert_eq!(alter(&mut rig, "b", "t", 0), 0);
    rig.disk.break_volume(SECOND);
    send(&mut rig, "t", 1);
    let mut next = 1;
    assert_eq!(work_until_moved(&mut rig, "t", 0, &mut next), "a");
    let mut disk = kill(rig);
    disk.mend_volume(SECOND);
    let mut rig = start(disk, &["a", "b"], 1).expect("what is left there counts for nothing");
    assert_eq!(read(&mut rig, "t", 0), (0, next));
    assert_eq!(alter(&mut rig, "b", "t", 0), 0);
    assert_eq!(work_until_moved(&mut rig, "t", 0, &mut next), "b");
}

#[test]
fn a_topic_that_is_deleted_while_it_moves_leaves_nothing() {
    let mut rig = two(2);
    rig.advance_ms(100);
    for round in 0..8 {
        let topic = format!("t{round}");
        rig.create_topic(&topic, 2);
        for partition in 0..2 {
            assert_eq!(send(&mut rig, &topic, partition), (0, 0));
            for to in ["a", "b"] {
                assert_eq!(alter(&mut rig, to, &topic, partition), 0);
            }
        }
        rig.advance_ms(round * 5);
        let request = DeleteTopicsRequest {
            topic_names: vec![topic],
            timeout_ms: 1_000,
            ..DeleteTopicsRequest::default()
        };
        let response = rig.request(0, 5, &request);
        assert_eq!(response.responses[0].error_code, 0);
    }
    let rig = start(kill(rig), &["a", "b"], 1).expect("nothing contradicts");
    drop(rig);
}

/// The log of a partition on the second shard, if that has it.
fn log_of(rig: &Rig, topic: &str, partition: i32) -> Option<LogId> {
    let topics = &rig.shards[1].topics;
    topics.partition(topics.find_name(topic)?, partition)?.log
}

/// The first partition of the second shard in the second folder.
fn there(rig: &Rig, topic: &str) -> i32 {
    let is_there = |at: &i32| log_of(rig, topic, *at).is_some_and(|log| log.volume() == SECOND);
    (0..8).find(is_there).expect("eight partitions are everywhere")
}

/// What the second shard asks of the first about replicas is on its way.
fn asks_about_replicas(rig: &Rig) -> bool {
    rig.mesh.iter().any(|(_, _, message)| match message {
        MeshMessage::Ask { ask, .. } => {
            matches!(**ask, Ask::Control { request: ControlRequest::Directories(_), .. })
        }
        _ => false,
    })
}

/// Two shards that were just started, whose second one moves this partition to the first folder,
/// holds its log, and waits for the record that is the switch: messages do not arrive.
fn switching(rig: Rig, topic: &str, partition: i32) -> Rig {
    let mut rig = start(kill(rig), &["a", "b"], 2).expect("both folders are there");
    assert_eq!(log_of(&rig, topic, partition).map(LogId::volume), Some(SECOND));
    // Moves wait for a moment after a start: nothing is begun before messages are held up.
    assert_eq!(alter(&mut rig, "a", topic, partition), 0);
    rig.mesh_runs = false;
    for _ in 0..100 {
        rig.advance_ms(10);
        if asks_about_replicas(&rig) {
            assert!(rig.shards[1].moves.holds());
            return rig;
        }
    }
    panic!("it is never held");
}

fn let_go(rig: &mut Rig) {
    rig.mesh_runs = true;
    rig.settle();
}

#[test]
fn what_changes_a_held_log_waits_for_its_switch_and_keeps_its_order() {
    let mut rig = two(2);
    rig.create_topic("t", 8);
    let partition = there(&rig, "t");
    let producer = begin(&mut rig);
    let sent = rig.request::<ProduceRequest>(0, ADDS, &write(partition, &producer, 0));
    assert_eq!(only(&sent), (0, 0));
    let mut rig = switching(rig, "t", partition);
    rig.send(1, ADDS, &write(partition, &producer, 1));
    let marker = WritableTxnMarker {
        producer_id: producer.producer_id,
        producer_epoch: producer.producer_epoch,
        transaction_result: true,
        topics: vec![WritableTxnMarkerTopic {
            name: "t".to_owned(),
            partition_indexes: vec![partition],
        }],
        coordinator_epoch: 0,
        transaction_version: 0,
    };
    rig.send(1, 2, &WriteTxnMarkersRequest { markers: vec![marker] });
    let topics = vec![DeleteRecordsTopic {
        name: "t".to_owned(),
        partitions: vec![DeleteRecordsPartition { partition_index: partition, offset: 1 }],
    }];
    rig.send(1, 2, &DeleteRecordsRequest { topics, timeout_ms: 1_000 });
    rig.advance_ms(100);
    assert!(rig.sent.is_empty(), "nobody is answered while the log is held");
    let_go(&mut rig);
    let sent = rig.take::<ProduceRequest>(ADDS).expect("the batch is answered");
    assert_eq!(only(&sent), (0, 1));
    let marked = rig.take::<WriteTxnMarkersRequest>(2).expect("the marker is answered");
    assert_eq!(marked.markers[0].topics[0].partitions[0].error_code, 0);
    let deleted = rig.take::<DeleteRecordsRequest>(2).expect("the deletion is answered");
    let deleted = &deleted.topics[0].partitions[0];
    assert_eq!((deleted.error_code, deleted.low_watermark), (0, 1));
    assert_eq!(replicas(&mut rig, "t", partition), [("a".to_owned(), false)]);
    // Both batches and the marker, which ended them.
    assert_eq!(stable(&mut rig, 8)[partition as usize], 3);
    let mut rig = start(kill(rig), &["a", "b"], 1).expect("both folders are there");
    assert_eq!(stable(&mut rig, 8)[partition as usize], 3);
}

/// A group whose offsets are in a partition of the second shard in the second folder, and that.
fn group(rig: &Rig) -> (String, i32) {
    let topics = &rig.shards[1].topics;
    let index = topics.find_name(CONSUMER_OFFSETS).expect("it was created");
    let count = topics.get(index).partitions.len() as i32;
    let groups = (0..500).map(|number| format!("g{number}"));
    let mut placed = groups.map(|group| (partition_for_group(&group, count), group));
    let found = placed.find(|(partition, _)| {
        log_of(rig, CONSUMER_OFFSETS, *partition).is_some_and(|log| log.volume() == SECOND)
    });
    let (partition, group) = found.expect("five hundred groups are everywhere");
    (group, partition)
}

fn with_groups() -> Rig {
    let mut rig = two(2);
    rig.create_topic("t", 8);
    let find = FindCoordinatorRequest {
        coordinator_keys: vec!["any".to_owned()],
        ..FindCoordinatorRequest::default()
    };
    rig.send(0, 6, &find);
    rig.take::<FindCoordinatorRequest>(6).expect("the topic is made and the answer comes");
    rig
}

fn commit(group: &str, offset: i64) -> OffsetCommitRequest {
    OffsetCommitRequest {
        group_id: group.to_owned(),
        topics: vec![OffsetCommitRequestTopic {
            name: "t".to_owned(),
            partitions: vec![OffsetCommitRequestPartition {
                committed_offset: offset,
                ..OffsetCommitRequestPartition::default()
            }],
            ..OffsetCommitRequestTopic::default()
        }],
        ..OffsetCommitRequest::default()
    }
}

/// The code that a commit was answered with.
fn committed(rig: &mut Rig) -> Option<i16> {
    let answer = rig.take::<OffsetCommitRequest>(8)?;
    Some(answer.topics[0].partitions[0].error_code)
}

/// Code and offset of a group's one partition.
fn fetched(rig: &mut Rig, group: &str) -> (i16, i64) {
    let topic = OffsetFetchRequestTopic { name: "t".to_owned(), partition_indexes: vec![0] };
    let request = OffsetFetchRequest {
        group_id: group.to_owned(),
        topics: Some(vec![topic]),
        ..OffsetFetchRequest::default()
    };
    let answer = rig.request(1, 7, &request);
    let offset = answer.topics.first().map_or(-1, |topic| topic.partitions[0].committed_offset);
    (answer.error_code, offset)
}

#[test]
fn commits_of_a_group_wait_while_its_partition_is_switched() {
    let mut rig = with_groups();
    let (group, partition) = group(&rig);
    rig.send(1, 8, &commit(&group, 5));
    assert_eq!(committed(&mut rig), Some(0));
    let mut rig = switching(rig, CONSUMER_OFFSETS, partition);
    assert_eq!(fetched(&mut rig, &group), (0, 5), "what is committed can be asked for");
    for offset in [6, 7] {
        rig.send(1, 8, &commit(&group, offset));
    }
    assert_eq!(committed(&mut rig), None, "nothing takes what it would be committed by");
    let_go(&mut rig);
    assert_eq!((committed(&mut rig), committed(&mut rig)), (Some(0), Some(0)));
    assert_eq!(fetched(&mut rig, &group), (0, 7));
    let mut rig = start(kill(rig), &["a", "b"], 2).expect("both folders are there");
    assert_eq!(log_of(&rig, CONSUMER_OFFSETS, partition).map(LogId::volume), Some(Volume::FIRST));
    assert_eq!(fetched(&mut rig, &group), (0, 7));
}

#[test]
fn a_coordinator_reads_its_partition_anew_when_the_folder_it_leaves_fails_during_the_switch() {
    let mut rig = with_groups();
    let (group, partition) = group(&rig);
    rig.send(1, 8, &commit(&group, 5));
    assert_eq!(committed(&mut rig), Some(0));
    let mut rig = switching(rig, CONSUMER_OFFSETS, partition);
    rig.send(1, 8, &commit(&group, 6));
    assert_eq!(committed(&mut rig), None, "it waits");
    rig.disk.break_volume(SECOND);
    let message = MeshMessage::VolumeFailed { volume: SECOND, why: "it is gone".to_owned() };
    rig.event(1, Event::Mesh { from: ShardId(0), message });
    assert_eq!(committed(&mut rig), Some(ErrorCode::NotCoordinator.code()));
    assert!(rig.shards[1].moves.holds(), "shard 0 has not answered");
    let_go(&mut rig);
    // What was acknowledged is there, where the partition is now.
    assert_eq!(fetched(&mut rig, &group), (0, 5));
    rig.send(1, 8, &commit(&group, 7));
    assert_eq!(committed(&mut rig), Some(0));
    let mut disk = kill(rig);
    disk.mend_volume(SECOND);
    let mut rig = start(disk, &["a", "b"], 2).expect("both folders are there again");
    assert_eq!(fetched(&mut rig, &group), (0, 7));
}

#[test]
fn a_folder_is_known_to_be_left_when_the_removal_of_its_copy_is_durable() {
    let mut rig = two(2);
    let topic_id = rig.create_topic("t", 8);
    let partition = there(&rig, "t");
    assert_eq!(send(&mut rig, "t", partition), (0, 0));
    let mut rig = switching(rig, "t", partition);
    let left = |rig: &Rig| {
        let topic = rig.shards[0].image.topic("t").expect("it is there");
        topic.partition(partition).expect("it is there").left.len()
    };
    // The record is written, and the shard hears of it when its disk has stopped.
    let asked = std::mem::take(&mut rig.mesh);
    for (from, to, message) in asked {
        let event = Event::Mesh { from: ShardId(from as u16), message };
        rig.shards[to].handle_event(event, rig.now);
    }
    rig.settle();
    rig.disk_runs = false;
    let_go(&mut rig);
    assert!(!rig.shards[1].moves.holds());
    assert_eq!(log_of(&rig, "t", partition).map(LogId::volume), Some(Volume::FIRST));
    rig.mesh_runs = false;
    // Whatever else is said of the partition, as by another wish.
    rig.shards[1].note_place(topic_id, partition);
    rig.settle();
    assert!(!asks_about_replicas(&rig), "a power cut would bring the copy back");
    assert_eq!(left(&rig), 1);
    rig.disk_runs = true;
    let_go(&mut rig);
    assert_eq!(left(&rig), 0);
}
