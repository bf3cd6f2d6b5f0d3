//! Two data folders on a simulated disk each: a whole start, work, a folder that fails or is not
//! there, and the start after it.

use std::sync::Arc;

use protocol::error_code::ErrorCode;
use protocol::messages::alter_replica_log_dirs::{
    AlterReplicaLogDir, AlterReplicaLogDirTopic, AlterReplicaLogDirsRequest,
};
use protocol::messages::describe_log_dirs::{DescribeLogDirsRequest, DescribeLogDirsResult};
use protocol::messages::fetch::FetchRequest;
use protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use protocol::messages::produce::{ProduceRequest, TopicProduceData};
use storage::op::DiskPath;
use storage::sim_disk::{SimDisk, SimDiskConfig};
use storage::store::StoreConfig;
use storage::types::Volume;

use super::fetch::{fetch, only as fetched};
use super::produce::{only, produce};
use super::{Rig, batch};
use crate::boot::{self, BootError, DataDir, META_PROPERTIES, Settings};
use crate::config::BrokerConfig;
use crate::time::Now;

const FIRST: Volume = Volume::FIRST;
const SECOND: Volume = Volume(1);
const STORAGE_ERROR: i16 = ErrorCode::KafkaStorageError as i16;

pub fn start(mut disk: SimDisk, folders: &[&str], shards_count: u16) -> Result<Rig, BootError> {
    let (broker, _) = BrokerConfig::from_fixed(Default::default()).expect("valid defaults");
    let now = Now { mono_ns: 1_000_000_000, wall_ms: 1_700_000_000_000 };
    let dir = |path: &&str| DataDir { path: (*path).to_owned(), failed: None };
    let store =
        StoreConfig { journal_bytes: 8 << 20, journal_file_bytes: 4 << 20, ..Default::default() };
    // Every start draws anew.
    let starts = disk.counts().kills + disk.counts().power_cuts;
    let entropy = [starts as u8 + 1; 32];
    let settings = Settings {
        broker: Arc::new(broker),
        shards_count,
        advertised_host: "localhost".to_owned(),
        advertised_port: 9092,
        data_dirs: folders.iter().map(dir).collect(),
        now,
        entropy,
        store: Some(store),
    };
    let booted = boot::boot(&mut disk, Vec::new(), &settings)?;
    Ok(Rig::of(booted.shards, disk, now))
}

fn new_disk() -> SimDisk {
    SimDisk::new(1, SimDiskConfig::default())
}

pub fn two(shards_count: u16) -> Rig {
    start(new_disk(), &["a", "b"], shards_count).expect("two new folders")
}

/// Kills the process and gives its disk.
pub fn kill(rig: Rig) -> SimDisk {
    let mut disk = rig.disk;
    disk.kill(7);
    disk
}

pub fn send(rig: &mut Rig, topic: &str, partition: i32) -> (i16, i64) {
    only(&rig.request::<ProduceRequest>(0, 9, &produce(topic, partition, batch(&["x"]))))
}

/// Error and end of a partition, as a consumer is told.
pub fn read(rig: &mut Rig, topic: &str, partition: i32) -> (i16, i64) {
    let response = rig.request::<FetchRequest>(0, 12, &fetch(topic, partition, 0));
    let (error_code, high_watermark, _) = fetched(&response);
    (error_code, high_watermark)
}

/// Error, and partitions of `topic`, of each folder.
fn folders(rig: &mut Rig, topic: &str) -> Vec<(String, i16, Vec<i32>)> {
    let response = rig.request(0, 4, &DescribeLogDirsRequest { topics: None });
    let described = |result: &DescribeLogDirsResult| {
        let topics = result.topics.iter().filter(|found| found.name == topic);
        let partitions = topics.flat_map(|topic| &topic.partitions);
        let partitions = partitions.map(|partition| partition.partition_index).collect();
        (result.log_dir.clone(), result.error_code, partitions)
    };
    response.results.iter().map(described).collect()
}

fn at(path: &str, error_code: i16, partitions: &[i32]) -> (String, i16, Vec<i32>) {
    (path.to_owned(), error_code, partitions.to_vec())
}

/// Leader and offline replicas by partition.
fn leaders(rig: &mut Rig, topic: &str) -> Vec<(i16, i32, Vec<i32>)> {
    let request = MetadataRequest {
        topics: Some(vec![MetadataRequestTopic {
            name: Some(topic.to_owned()),
            ..MetadataRequestTopic::default()
        }]),
        ..MetadataRequest::default()
    };
    let response = rig.request(0, 9, &request);
    let partitions = response.topics[0].partitions.iter();
    let told = partitions.map(|p| (p.error_code, p.leader_id, p.offline_replicas.clone()));
    told.collect()
}

pub fn alter(rig: &mut Rig, path: &str, topic: &str, partition: i32) -> i16 {
    let topic = AlterReplicaLogDirTopic { name: topic.to_owned(), partitions: vec![partition] };
    let dir = AlterReplicaLogDir { path: path.to_owned(), topics: vec![topic] };
    let response = rig.request(0, 2, &AlterReplicaLogDirsRequest { dirs: vec![dir] });
    response.results[0].partitions[0].error_code
}

fn file(volume: Volume) -> DiskPath {
    DiskPath::data(META_PROPERTIES).on(volume)
}

fn text(disk: &SimDisk, volume: Volume) -> String {
    let bytes = disk.contents(&file(volume)).expect("the folder has its file");
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn partitions_go_round_the_folders_and_are_there_after_a_kill_on_other_cores() {
    let mut rig = two(2);
    rig.create_topic("t", 4);
    let expected = [at("a", 0, &[0, 2]), at("b", 0, &[1, 3])];
    assert_eq!(folders(&mut rig, "t"), expected);
    for partition in 0..4 {
        assert_eq!(send(&mut rig, "t", partition), (0, 0));
    }
    for shards_count in [3, 1] {
        rig = start(kill(rig), &["a", "b"], shards_count).expect("both folders are there");
        assert_eq!(folders(&mut rig, "t"), expected);
        for partition in 0..4 {
            assert_eq!(read(&mut rig, "t", partition), (0, 1), "{shards_count} shards");
        }
    }
}

#[test]
fn a_produce_to_two_folders_is_answered_when_both_have_it() {
    let mut rig = two(1);
    rig.create_topic("t", 2);
    let mut request = produce("t", 0, batch(&["x"]));
    let second = produce("t", 1, batch(&["y", "z"]));
    let TopicProduceData { partition_data, .. } = &mut request.topic_data[0];
    partition_data.extend(second.topic_data[0].partition_data.clone());
    let response = rig.request::<ProduceRequest>(0, 9, &request);
    let parts = &response.responses[0].partition_responses;
    let told: Vec<_> = parts.iter().map(|part| (part.error_code, part.base_offset)).collect();
    assert_eq!(told, [(0, 0), (0, 0)]);
    assert_eq!((read(&mut rig, "t", 0), read(&mut rig, "t", 1)), ((0, 1), (0, 2)));
    // One of them cannot have it.
    rig.disk.break_volume(SECOND);
    let response = rig.request::<ProduceRequest>(0, 9, &request);
    let parts = &response.responses[0].partition_responses;
    let told: Vec<_> = parts.iter().map(|part| (part.error_code, part.base_offset)).collect();
    assert_eq!(told, [(0, 1), (STORAGE_ERROR, -1)]);
}

#[test]
fn a_folder_that_is_added_takes_new_partitions_and_the_old_ones_stay() {
    let mut rig = start(new_disk(), &["a"], 1).expect("a new folder");
    rig.create_topic("old", 3);
    assert_eq!(send(&mut rig, "old", 1), (0, 0));
    rig = start(kill(rig), &["a", "b"], 1).expect("one more folder");
    assert_eq!(folders(&mut rig, "old"), [at("a", 0, &[0, 1, 2]), at("b", 0, &[])]);
    assert_eq!(read(&mut rig, "old", 1), (0, 1));
    rig.create_topic("new", 3);
    assert_eq!(folders(&mut rig, "new"), [at("a", 0, &[]), at("b", 0, &[0, 1, 2])]);
}

#[test]
fn a_folder_that_fails_takes_only_its_partitions_offline() {
    let mut rig = two(3);
    rig.create_topic("t", 4);
    for partition in 0..4 {
        assert_eq!(send(&mut rig, "t", partition), (0, 0));
    }
    rig.disk.break_volume(SECOND);
    // The shard that sees it tells the other.
    assert_eq!(send(&mut rig, "t", 1), (STORAGE_ERROR, -1));
    assert_eq!(rig.halted, Vec::<String>::new());
    for (partition, told) in [(0, (0, 1)), (1, (STORAGE_ERROR, -1)), (2, (0, 1))] {
        assert_eq!(send(&mut rig, "t", partition), told, "partition {partition}");
    }
    assert_eq!(send(&mut rig, "t", 3), (STORAGE_ERROR, -1), "it is on the other shard");
    assert_eq!(read(&mut rig, "t", 3).0, STORAGE_ERROR);
    assert_eq!(read(&mut rig, "t", 2), (0, 2));
    let no_leader = (ErrorCode::LeaderNotAvailable as i16, -1, vec![1]);
    let fine = (0, 1, vec![]);
    assert_eq!(leaders(&mut rig, "t"), [fine.clone(), no_leader.clone(), fine, no_leader]);
    assert_eq!(folders(&mut rig, "t"), [at("a", 0, &[0, 2]), at("b", STORAGE_ERROR, &[])]);
    rig.create_topic("later", 2);
    assert_eq!(folders(&mut rig, "later")[0], at("a", 0, &[0, 1]));
    // The device is back, with what it had acknowledged.
    let mut disk = kill(rig);
    disk.mend_volume(SECOND);
    let mut rig = start(disk, &["a", "b"], 2).expect("both folders are there again");
    for (partition, end) in [(0, 2), (1, 1), (2, 2), (3, 1)] {
        assert_eq!(read(&mut rig, "t", partition), (0, end), "partition {partition}");
    }
    assert_eq!(send(&mut rig, "t", 1), (0, 1));
}

#[test]
fn a_folder_that_cannot_be_read_at_the_start_takes_only_its_partitions_offline() {
    let mut rig = two(2);
    rig.create_topic("t", 2);
    for partition in 0..2 {
        assert_eq!(send(&mut rig, "t", partition), (0, 0));
    }
    let mut disk = kill(rig);
    disk.break_volume(SECOND);
    let mut rig = start(disk, &["a", "b"], 1).expect("the other folder is there");
    assert_eq!(send(&mut rig, "t", 0), (0, 1));
    assert_eq!(send(&mut rig, "t", 1), (STORAGE_ERROR, -1));
    assert_eq!(leaders(&mut rig, "t")[1].1, -1);
    assert_eq!(folders(&mut rig, "t"), [at("a", 0, &[0]), at("b", STORAGE_ERROR, &[])]);
    let mut disk = kill(rig);
    disk.mend_volume(SECOND);
    let mut rig = start(disk, &["a", "b"], 2).expect("both folders are there again");
    assert_eq!((read(&mut rig, "t", 0), read(&mut rig, "t", 1)), ((0, 2), (0, 1)));
}

#[test]
fn an_empty_folder_in_the_place_of_another_brings_no_empty_partition() {
    let mut rig = two(1);
    rig.create_topic("t", 2);
    assert_eq!(send(&mut rig, "t", 1), (0, 0));
    let mut rig = start(kill(rig), &["a"], 1).expect("the folder of the metadata log is there");
    assert_eq!(send(&mut rig, "t", 0), (0, 0));
    assert_eq!(send(&mut rig, "t", 1), (STORAGE_ERROR, -1));
    assert_eq!(leaders(&mut rig, "t")[1].1, -1);
    assert_eq!(folders(&mut rig, "t"), [at("a", 0, &[0])]);
    assert_eq!((alter(&mut rig, "a", "t", 0), alter(&mut rig, "a", "t", 1)), (0, STORAGE_ERROR));
    let mut rig = start(kill(rig), &["a", "b"], 1).expect("the other is back");
    assert_eq!(read(&mut rig, "t", 1), (0, 1));
}

#[test]
fn without_the_folder_of_the_metadata_log_the_broker_stops() {
    let mut rig = two(2);
    rig.create_topic("t", 2);
    rig.disk.break_volume(FIRST);
    assert_eq!(send(&mut rig, "t", 0), (STORAGE_ERROR, -1));
    assert!(rig.halted[0].starts_with("the data folder a failed"), "{:?}", rig.halted);
    let refused = start(kill(rig), &["a", "b"], 2).map(drop);
    assert!(matches!(refused, Err(BootError::MetadataFolder { .. })), "{refused:?}");
}

#[test]
fn a_power_cut_loses_nothing_acknowledged_in_either_folder() {
    for seed in 0..20 {
        let mut rig = two(2);
        rig.create_topic("t", 4);
        for round in 0..3 {
            for partition in 0..4 {
                assert_eq!(send(&mut rig, "t", partition), (0, round));
            }
        }
        let mut disk = rig.disk;
        disk.power_cut(seed);
        disk.restart();
        let mut rig = start(disk, &["a", "b"], 2).expect("both folders are there");
        for partition in 0..4 {
            assert_eq!(read(&mut rig, "t", partition), (0, 3), "seed {seed}");
        }
    }
}

#[test]
fn a_replica_is_asked_for_where_it_is_or_before_it_is() {
    let mut rig = two(1);
    rig.create_topic("t", 2);
    assert_eq!(alter(&mut rig, "a", "t", 0), 0);
    assert_eq!(alter(&mut rig, "c", "t", 0), ErrorCode::LogDirNotFound as i16);
    let unknown = ErrorCode::UnknownTopicOrPartition as i16;
    for partition in 0..2 {
        assert_eq!(alter(&mut rig, "b", "later", partition), unknown);
    }
    rig.create_topic("later", 2);
    assert_eq!(folders(&mut rig, "later"), [at("a", 0, &[]), at("b", 0, &[0, 1])]);
    rig.disk.break_volume(SECOND);
    send(&mut rig, "t", 1);
    assert_eq!(alter(&mut rig, "b", "t", 0), STORAGE_ERROR);
    assert_eq!(alter(&mut rig, "a", "t", 1), STORAGE_ERROR);
}

#[test]
fn a_folder_of_another_cluster_is_refused() {
    let mut disk = kill(two(1));
    let foreign = text(&disk, SECOND).replace("cluster.id=", "cluster.id=x");
    disk.put_file(&file(SECOND), foreign.into_bytes());
    let refused = start(disk, &["a", "b"], 1).map(drop);
    assert!(matches!(refused, Err(BootError::Meta { .. })), "{refused:?}");
}

#[test]
fn a_folder_copied_with_its_id_is_refused() {
    let mut disk = kill(two(1));
    let copy = text(&disk, FIRST);
    disk.put_file(&file(SECOND), copy.into_bytes());
    let refused = start(disk, &["a", "b"], 1).map(drop);
    assert!(matches!(refused, Err(BootError::Meta { .. })), "{refused:?}");
}

#[test]
fn a_folder_with_data_and_no_id_is_refused() {
    let mut rig = two(1);
    rig.create_topic("t", 2);
    send(&mut rig, "t", 1);
    let mut disk = kill(rig);
    let op = storage::op::DiskOp::Remove { op: storage::op::OpId(1), path: file(SECOND) };
    storage::op::BlockingDisk::execute(&mut disk, op).result.expect("it is there");
    let refused = start(disk, &["a", "b"], 1).map(drop);
    assert!(matches!(refused, Err(BootError::Nameless { .. })), "{refused:?}");
}

#[test]
fn partitions_that_the_metadata_log_has_elsewhere_are_refused() {
    let mut rig = two(1);
    rig.create_topic("t", 2);
    for partition in 0..2 {
        send(&mut rig, "t", partition);
    }
    let mut disk = kill(rig);
    // As if the folder had been given another id: its partitions belong to nobody.
    let text = text(&disk, SECOND);
    let own = text.lines().find(|line| line.starts_with("directory.id=")).expect("it has one");
    let other = text.replace(own, "directory.id=AAAAAAAAAAAAAAAAAAAAKg");
    disk.put_file(&file(SECOND), other.into_bytes());
    let refused = start(disk, &["a", "b"], 1).map(drop);
    assert!(matches!(refused, Err(BootError::Misplaced { .. })), "{refused:?}");
}
