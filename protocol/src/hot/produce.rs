//! A Produce request's body, v3 to v13, as a view: partitions and their records in place.
//!
//! [`ProduceView::parse`] walks the whole structure once, so that a request is refused before any
//! part of it acts; the iterators afterwards cannot fail. Records are not looked into: that is
//! `batch::validate`, for the shard that owns the partition.

use super::TopicRef;
use super::reader::{Reader, ViewError};

/// First version with compact lengths and tagged fields.
const FLEXIBLE_VERSION_MIN: i16 = 9;
/// First version that names topics by id. KIP-516.
const TOPIC_ID_VERSION_MIN: i16 = 13;

/// A Produce request, borrowed from its frame.
#[derive(Debug, Clone, Copy)]
pub struct ProduceView<'a> {
    /// The request's API version.
    pub version: i16,
    /// Id of the transaction's owner, or `None` outside transactions.
    pub transactional_id: Option<&'a [u8]>,
    /// 0: no answer at all, 1: the leader's log, -1: every in-sync replica's.
    pub acks: i16,
    /// How long the answer may wait for the acks.
    pub timeout_ms: i32,
    /// Topics in the request.
    pub topics_count: u32,
    /// Partitions over all topics.
    pub partitions_count: u32,
    partitions: ProducePartitions<'a>,
}

/// One partition's part of a Produce request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducePartition<'a> {
    /// The topic, repeated for each of its partitions.
    pub topic: TopicRef<'a>,
    /// Ordinal of the topic within the request: where it changes, the response starts a topic.
    pub topic_index: u32,
    /// The partition's index.
    pub index: i32,
    /// The record batch as sent, or `None` for null.
    pub records: Option<&'a [u8]>,
    /// Where the records start in the body, so that the owner of the frame's buffer can hand out a
    /// shared slice instead of a copy. Meaningful if `records` is some.
    pub records_start: usize,
}

impl<'a> ProduceView<'a> {
    /// Reads the body of a Produce request and checks its structure to the end.
    ///
    /// Errs if the version is not one of 3 to 13, or if the bytes do not hold what they declare.
    pub fn parse(version: i16, body: &'a [u8]) -> Result<Self, ViewError> {
        if !(3..=13).contains(&version) {
            return Err(ViewError::Version { api: "Produce", version });
        }
        let flexible = version >= FLEXIBLE_VERSION_MIN;
        let mut reader = Reader::new(body);
        let transactional_id = reader.nullable_string(flexible, "TransactionalId")?;
        let acks = reader.i16("Acks")?;
        let timeout_ms = reader.i32("TimeoutMs")?;
        let topic_bytes_min = match version {
            TOPIC_ID_VERSION_MIN.. => 16 + 1 + 1,
            FLEXIBLE_VERSION_MIN.. => 1 + 1 + 1,
            _ => 2 + 4,
        };
        let topics_count = reader.count(flexible, topic_bytes_min, "TopicData")?;
        let partitions = ProducePartitions {
            reader,
            body_bytes: body.len(),
            version,
            topics_left: topics_count,
            partitions_left: 0,
            topic: TopicRef::Name(&[]),
            topics_begun: 0,
        };
        let mut walk = partitions;
        let mut partitions_count = 0;
        while walk.step()?.is_some() {
            partitions_count += 1;
        }
        if flexible {
            walk.reader.skip_tags("tagged fields")?;
        }
        Ok(Self {
            version,
            transactional_id,
            acks,
            timeout_ms,
            topics_count,
            partitions_count,
            partitions,
        })
    }

    /// The partitions in the request's order. A topic without partitions does not appear, as in
    /// Kafka's answer.
    #[inline]
    pub fn partitions(&self) -> ProducePartitions<'a> {
        self.partitions
    }
}

/// Iterator over a Produce request's partitions; see [`ProduceView::partitions`].
#[derive(Debug, Clone, Copy)]
pub struct ProducePartitions<'a> {
    reader: Reader<'a>,
    body_bytes: usize,
    version: i16,
    topics_left: u32,
    partitions_left: u32,
    topic: TopicRef<'a>,
    topics_begun: u32,
}

impl<'a> ProducePartitions<'a> {
    /// Inlined where it is used: what the walk of `parse` does not look at is not built there.
    #[inline(always)]
    fn step(&mut self) -> Result<Option<ProducePartition<'a>>, ViewError> {
        let flexible = self.version >= FLEXIBLE_VERSION_MIN;
        while self.partitions_left == 0 {
            if self.topics_left == 0 {
                return Ok(None);
            }
            self.begin_topic(flexible)?;
        }
        let index = self.reader.i32("Index")?;
        let records = self.reader.nullable_bytes(flexible, "Records")?;
        let records_start =
            self.body_bytes - self.reader.remaining() - records.map_or(0, <[u8]>::len);
        if flexible {
            self.reader.skip_tags("tagged fields of PartitionData")?;
        }
        self.partitions_left -= 1;
        if self.partitions_left == 0 && flexible {
            self.reader.skip_tags("tagged fields of TopicData")?;
        }
        Ok(Some(ProducePartition {
            topic: self.topic,
            topic_index: self.topics_begun - 1,
            index,
            records,
            records_start,
        }))
    }

    #[inline]
    fn begin_topic(&mut self, flexible: bool) -> Result<(), ViewError> {
        self.topic = if self.version >= TOPIC_ID_VERSION_MIN {
            TopicRef::Id(self.reader.array("TopicId")?)
        } else {
            TopicRef::Name(self.reader.string(flexible, "Name")?)
        };
        let partition_bytes_min = if flexible { 4 + 1 + 1 } else { 4 + 4 };
        self.partitions_left = self.reader.count(flexible, partition_bytes_min, "PartitionData")?;
        if self.partitions_left == 0 && flexible {
            self.reader.skip_tags("tagged fields of TopicData")?;
        }
        self.topics_left -= 1;
        self.topics_begun += 1;
        Ok(())
    }
}

impl<'a> Iterator for ProducePartitions<'a> {
    type Item = ProducePartition<'a>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.step().expect("parse() walked these same bytes to their end")
    }
}
