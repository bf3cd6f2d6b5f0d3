//! Where logs begin: what a client is told of a log start is on the disk.

use protocol::error_code::ErrorCode;
use protocol::messages::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};

use super::produce::{only, produce};
use super::{Rig, batch};

fn delete(partition: i32, offset: i64) -> DeleteRecordsRequest {
    let partitions = vec![DeleteRecordsPartition { partition_index: partition, offset }];
    let topics = vec![DeleteRecordsTopic { name: "t".to_owned(), partitions }];
    DeleteRecordsRequest { topics, timeout_ms: 1_000 }
}

/// The code and the low watermark of the oldest answer that was not taken yet.
fn taken(rig: &mut Rig) -> Option<(i16, i64)> {
    let answer = rig.take::<DeleteRecordsRequest>(2)?;
    let part = &answer.topics[0].partitions[0];
    Some((part.error_code, part.low_watermark))
}

/// Three records in each of two partitions, so that with two shards one of them is a hop away.
fn rig(shards_count: u16) -> Rig {
    let mut rig = Rig::new(shards_count);
    rig.create_topic("t", 2);
    for partition in 0..2 {
        let sent = rig.request(0, 9, &produce("t", partition, batch(&["a", "b", "c"])));
        assert_eq!(only(&sent), (0, 0));
    }
    rig
}

#[test]
fn a_log_start_that_another_request_has_moved_is_told_when_it_is_durable() {
    for (shards_count, partition) in [(1, 0), (2, 0), (2, 1)] {
        let mut rig = rig(shards_count);
        rig.disk_runs = false;
        for offset in [2, 1, 2] {
            rig.send(0, 2, &delete(partition, offset));
        }
        assert_eq!(taken(&mut rig), None, "nothing says so on the disk yet");
        rig.disk_runs = true;
        rig.settle();
        for asked in ["the one that moved it", "below it", "at it"] {
            assert_eq!(taken(&mut rig), Some((0, 2)), "{asked}");
        }
    }
}

#[test]
fn a_log_start_that_is_durable_is_told_at_once() {
    for (shards_count, partition) in [(1, 0), (2, 0), (2, 1)] {
        let mut rig = rig(shards_count);
        rig.send(0, 2, &delete(partition, 2));
        assert_eq!(taken(&mut rig), Some((0, 2)));
        rig.disk_runs = false;
        rig.send(0, 2, &delete(partition, 1));
        assert_eq!(taken(&mut rig), Some((0, 2)), "nothing has to be written");
        rig.send(0, 2, &delete(partition, 4));
        let refused = Some((ErrorCode::OffsetOutOfRange.code(), -1));
        assert_eq!(taken(&mut rig), refused, "nor for what is refused");
    }
}
