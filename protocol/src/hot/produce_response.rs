//! Writes a Produce response's body, v3 to v13, into the caller's buffer, in one pass.
//!
//! Counts are announced before their elements and checked at the end: a response whose counts lie
//! would desynchronise the client, so that it is an assertion. Fields that a version lacks are left
//! out; that they carry nothing the client must know is Kafka's rule, not a check of ours.

use super::TopicRef;
use super::writer::{
    LeaderIdAndEpoch, NodeEndpoint, put_endpoints, put_i16, put_i32, put_i64, put_leader_tag,
    put_length, put_nullable_string, put_topic,
};

const FLEXIBLE_VERSION_MIN: i16 = 9;
const TOPIC_ID_VERSION_MIN: i16 = 13;

/// A record that made its batch fail (v8+). KIP-467.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordErrorMessage<'a> {
    /// Ordinal of the record within the batch.
    pub batch_index: i32,
    /// Why, for people.
    pub message: Option<&'a str>,
}

/// The answer for one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducePartitionResponse<'a> {
    /// The partition's index.
    pub index: i32,
    /// Kafka's error code, 0 for none.
    pub error_code: i16,
    /// Offset of the batch's first record, -1 on errors.
    pub base_offset: i64,
    /// The broker's time if the topic uses it, else -1.
    pub log_append_time_ms: i64,
    /// First offset of the log (v5+), -1 if unknown.
    pub log_start_offset: i64,
    /// Records that made the batch fail (v8+).
    pub record_errors: &'a [RecordErrorMessage<'a>],
    /// What was wrong, for people (v8+).
    pub error_message: Option<&'a str>,
    /// The leader to turn to (v10+, tagged).
    pub current_leader: Option<LeaderIdAndEpoch>,
}

impl ProducePartitionResponse<'_> {
    /// An answer that carries only an error code.
    pub fn error(index: i32, error_code: i16) -> Self {
        Self {
            index,
            error_code,
            base_offset: -1,
            log_append_time_ms: -1,
            log_start_offset: -1,
            record_errors: &[],
            error_message: None,
            current_leader: None,
        }
    }
}

/// Appends one response body: `new`, then per topic `topic` and its `partition`s, then `finish`.
#[derive(Debug)]
pub struct ProduceResponseWriter<'o> {
    out: &'o mut Vec<u8>,
    version: i16,
    topics_left: usize,
    partitions_left: usize,
}

impl<'o> ProduceResponseWriter<'o> {
    /// Starts a body of `topics_count` topics. The version must be one of 3 to 13.
    pub fn new(out: &'o mut Vec<u8>, version: i16, topics_count: usize) -> Self {
        assert!((3..=13).contains(&version), "Produce v{version} is not served");
        put_length(out, version >= FLEXIBLE_VERSION_MIN, topics_count);
        Self { out, version, topics_left: topics_count, partitions_left: 0 }
    }

    /// Starts a topic with `partitions_count` partitions, named as the version names topics.
    pub fn topic(&mut self, topic: TopicRef<'_>, partitions_count: usize) {
        assert!(self.partitions_left == 0, "the topic before has all its partitions");
        assert!(self.topics_left > 0, "no more topics than announced");
        self.topics_left -= 1;
        self.partitions_left = partitions_count;
        let flexible = self.version >= FLEXIBLE_VERSION_MIN;
        put_topic(self.out, flexible, self.version >= TOPIC_ID_VERSION_MIN, topic);
        put_length(self.out, flexible, partitions_count);
        self.close_topic_if_complete();
    }

    /// Adds a partition to the topic begun last.
    pub fn partition(&mut self, partition: &ProducePartitionResponse<'_>) {
        assert!(self.partitions_left > 0, "no more partitions than announced");
        self.partitions_left -= 1;
        let flexible = self.version >= FLEXIBLE_VERSION_MIN;
        let out = &mut *self.out;
        put_i32(out, partition.index);
        put_i16(out, partition.error_code);
        put_i64(out, partition.base_offset);
        put_i64(out, partition.log_append_time_ms);
        if self.version >= 5 {
            put_i64(out, partition.log_start_offset);
        }
        if self.version >= 8 {
            put_length(out, flexible, partition.record_errors.len());
            for error in partition.record_errors {
                put_i32(out, error.batch_index);
                put_nullable_string(out, flexible, error.message);
                if flexible {
                    out.push(0);
                }
            }
            put_nullable_string(out, flexible, partition.error_message);
        }
        if flexible {
            match partition.current_leader {
                Some(leader) if self.version >= 10 => {
                    out.push(1);
                    put_leader_tag(out, 0, leader);
                }
                Some(_) | None => out.push(0),
            }
        }
        self.close_topic_if_complete();
    }

    /// Ends the body. `endpoints` (v10+) say where the leaders named in it listen.
    pub fn finish(self, throttle_time_ms: i32, endpoints: &[NodeEndpoint<'_>]) {
        assert!(self.topics_left == 0, "as many topics as announced");
        assert!(self.partitions_left == 0, "as many partitions as announced");
        put_i32(self.out, throttle_time_ms);
        if self.version >= FLEXIBLE_VERSION_MIN {
            put_endpoints(self.out, if self.version >= 10 { endpoints } else { &[] });
        }
    }

    fn close_topic_if_complete(&mut self) {
        if self.partitions_left == 0 && self.version >= FLEXIBLE_VERSION_MIN {
            self.out.push(0);
        }
    }
}
