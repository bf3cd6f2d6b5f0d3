//! A Fetch request's body, v4 to v18, as a view: what is asked of each partition, in place.
//!
//! [`FetchView::parse`] walks the whole structure once; the iterators afterwards cannot fail. What
//! an incremental request means is the session's matter (KIP-227), not this file's.

use super::TopicRef;
use super::reader::{Reader, ViewError, i32_at, i64_at};

/// First version with compact lengths and tagged fields.
const FLEXIBLE_VERSION_MIN: i16 = 12;
/// First version that names topics by id. KIP-516.
const TOPIC_ID_VERSION_MIN: i16 = 13;

/// A Fetch request, borrowed from its frame. Fields that a version lacks have Kafka's defaults.
#[derive(Debug, Clone, Copy)]
pub struct FetchView<'a> {
    /// The request's API version.
    pub version: i16,
    /// The cluster that the asker believes in (v12+, tagged). Kafka ignores it from clients.
    pub cluster_id: Option<&'a [u8]>,
    /// -1 for consumers, else the asking broker.
    pub replica_id: i32,
    /// The asking broker's epoch (v15+), -1 if unknown.
    pub replica_epoch: i64,
    /// How long the answer may wait for `min_bytes`.
    pub max_wait_ms: i32,
    /// Bytes worth answering for.
    pub min_bytes: i32,
    /// Soft bound of the records in the answer.
    pub max_bytes: i32,
    /// 0: read uncommitted, 1: read committed. Other values are passed on.
    pub isolation_level: i8,
    /// 0 without a session (v7+).
    pub session_id: i32,
    /// -1 for a full fetch outside sessions, 0 to open one, else the next of the session (v7+).
    pub session_epoch: i32,
    /// The consumer's rack (v11+), empty if none.
    pub rack_id: &'a [u8],
    /// Topics asked for.
    pub topics_count: u32,
    /// Partitions over all topics.
    pub partitions_count: u32,
    partitions: FetchPartitions<'a>,
    forgotten: ForgottenPartitions<'a>,
}

/// What is asked of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchPartition<'a> {
    /// The topic, repeated for each of its partitions.
    pub topic: TopicRef<'a>,
    /// Ordinal of the topic within the request.
    pub topic_index: u32,
    /// The partition's index.
    pub index: i32,
    /// The leader epoch that the asker knows (v9+), -1 if none.
    pub current_leader_epoch: i32,
    /// Where to start.
    pub fetch_offset: i64,
    /// Epoch of the asker's last record (v12+), -1 if none.
    pub last_fetched_epoch: i32,
    /// The follower's log start (v5+), -1 for consumers.
    pub log_start_offset: i64,
    /// Bound of this partition's records in the answer.
    pub partition_max_bytes: i32,
    /// The follower's directory (v17+), zero if not sent.
    pub replica_directory_id: [u8; 16],
    /// The follower's high watermark (v18+), `i64::MAX` if not sent. KIP-1166.
    pub high_watermark: i64,
}

/// A partition that the session is to drop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForgottenPartition<'a> {
    /// The topic.
    pub topic: TopicRef<'a>,
    /// The partition's index.
    pub index: i32,
}

impl<'a> FetchView<'a> {
    /// Reads the body of a Fetch request and checks its structure to the end.
    ///
    /// Errs if the version is not one of 4 to 18, or if the bytes do not hold what they declare.
    pub fn parse(version: i16, body: &'a [u8]) -> Result<Self, ViewError> {
        if !(4..=18).contains(&version) {
            return Err(ViewError::Version { api: "Fetch", version });
        }
        let flexible = version >= FLEXIBLE_VERSION_MIN;
        let mut reader = Reader::new(body);
        let mut replica_id = if version <= 14 { reader.i32("ReplicaId")? } else { -1 };
        let max_wait_ms = reader.i32("MaxWaitMs")?;
        let min_bytes = reader.i32("MinBytes")?;
        let max_bytes = reader.i32("MaxBytes")?;
        let isolation_level = reader.i8("IsolationLevel")?;
        let (session_id, session_epoch) = if version >= 7 {
            (reader.i32("SessionId")?, reader.i32("SessionEpoch")?)
        } else {
            (0, -1)
        };
        let topics_count = reader.count(flexible, topic_bytes_min(version), "Topics")?;
        let partitions = FetchPartitions {
            reader,
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
        let mut reader = walk.reader;

        let forgotten_count = if version >= 7 {
            reader.count(flexible, topic_bytes_min(version), "ForgottenTopicsData")?
        } else {
            0
        };
        let forgotten = ForgottenPartitions {
            reader,
            version,
            topics_left: forgotten_count,
            partitions_left: 0,
            topic: TopicRef::Name(&[]),
        };
        let mut walk = forgotten;
        while walk.step()?.is_some() {}
        let mut reader = walk.reader;

        let rack_id = if version >= 11 { reader.string(flexible, "RackId")? } else { &[] };
        let mut cluster_id = None;
        let mut replica_epoch = -1;
        if flexible {
            reader.tags("tagged fields", |tag, mut field| {
                match tag {
                    0 => cluster_id = field.nullable_string(true, "ClusterId")?,
                    1 if version >= 15 => {
                        replica_id = field.i32("ReplicaId")?;
                        replica_epoch = field.i64("ReplicaEpoch")?;
                    }
                    _ => {}
                }
                Ok(())
            })?;
        }
        Ok(Self {
            version,
            cluster_id,
            replica_id,
            replica_epoch,
            max_wait_ms,
            min_bytes,
            max_bytes,
            isolation_level,
            session_id,
            session_epoch,
            rack_id,
            topics_count,
            partitions_count,
            partitions,
            forgotten,
        })
    }

    /// The partitions in the request's order. A topic without partitions does not appear.
    #[inline]
    pub fn partitions(&self) -> FetchPartitions<'a> {
        self.partitions
    }

    /// The partitions that the session is to drop (v7+).
    #[inline]
    pub fn forgotten(&self) -> ForgottenPartitions<'a> {
        self.forgotten
    }
}

/// Smallest encoding of a topic with no partitions.
fn topic_bytes_min(version: i16) -> usize {
    match version {
        TOPIC_ID_VERSION_MIN.. => 16 + 1 + 1,
        FLEXIBLE_VERSION_MIN.. => 1 + 1 + 1,
        _ => 2 + 4,
    }
}

/// Smallest encoding of what is asked of a partition.
fn partition_bytes_min(version: i16) -> usize {
    match version {
        FLEXIBLE_VERSION_MIN.. => 4 + 4 + 8 + 4 + 8 + 4 + 1,
        9.. => 4 + 4 + 8 + 8 + 4,
        5.. => 4 + 8 + 8 + 4,
        _ => 4 + 8 + 4,
    }
}

#[inline]
fn read_topic<'a>(reader: &mut Reader<'a>, version: i16) -> Result<TopicRef<'a>, ViewError> {
    if version >= TOPIC_ID_VERSION_MIN {
        Ok(TopicRef::Id(reader.array("TopicId")?))
    } else {
        Ok(TopicRef::Name(reader.string(version >= FLEXIBLE_VERSION_MIN, "Topic")?))
    }
}

/// Iterator over a Fetch request's partitions; see [`FetchView::partitions`].
#[derive(Debug, Clone, Copy)]
pub struct FetchPartitions<'a> {
    reader: Reader<'a>,
    version: i16,
    topics_left: u32,
    partitions_left: u32,
    topic: TopicRef<'a>,
    topics_begun: u32,
}

impl<'a> FetchPartitions<'a> {
    /// Inlined where it is used: what the walk of `parse` does not look at is not built there.
    #[inline(always)]
    fn step(&mut self) -> Result<Option<FetchPartition<'a>>, ViewError> {
        let version = self.version;
        let flexible = version >= FLEXIBLE_VERSION_MIN;
        while self.partitions_left == 0 {
            if self.topics_left == 0 {
                return Ok(None);
            }
            self.topic = read_topic(&mut self.reader, version)?;
            self.partitions_left =
                self.reader.count(flexible, partition_bytes_min(version), "Partitions")?;
            if self.partitions_left == 0 && flexible {
                self.reader.skip_tags("tagged fields of Topics")?;
            }
            self.topics_left -= 1;
            self.topics_begun += 1;
        }
        let mut partition = self.read_fields()?;
        if flexible && !self.reader.has_no_tags() {
            read_partition_tags(&mut self.reader, version, &mut partition)?;
        }
        self.partitions_left -= 1;
        if self.partitions_left == 0 && flexible {
            self.reader.skip_tags("tagged fields of Topics")?;
        }
        Ok(Some(partition))
    }
}

impl<'a> FetchPartitions<'a> {
    /// A partition's fields before its tags: of one length per version, so that one check of the
    /// remaining bytes does for all.
    #[inline(always)]
    fn read_fields(&mut self) -> Result<FetchPartition<'a>, ViewError> {
        const FIELD: &str = "Partitions";
        let mut partition = FetchPartition {
            topic: self.topic,
            topic_index: self.topics_begun - 1,
            index: 0,
            current_leader_epoch: -1,
            fetch_offset: 0,
            last_fetched_epoch: -1,
            log_start_offset: -1,
            partition_max_bytes: 0,
            replica_directory_id: [0; 16],
            high_watermark: i64::MAX,
        };
        if self.version >= FLEXIBLE_VERSION_MIN {
            let block = self.reader.block::<32>(FIELD)?;
            partition.index = i32_at(block, 0);
            partition.current_leader_epoch = i32_at(block, 4);
            partition.fetch_offset = i64_at(block, 8);
            partition.last_fetched_epoch = i32_at(block, 16);
            partition.log_start_offset = i64_at(block, 20);
            partition.partition_max_bytes = i32_at(block, 28);
        } else if self.version >= 9 {
            let block = self.reader.block::<28>(FIELD)?;
            partition.index = i32_at(block, 0);
            partition.current_leader_epoch = i32_at(block, 4);
            partition.fetch_offset = i64_at(block, 8);
            partition.log_start_offset = i64_at(block, 16);
            partition.partition_max_bytes = i32_at(block, 24);
        } else if self.version >= 5 {
            let block = self.reader.block::<24>(FIELD)?;
            partition.index = i32_at(block, 0);
            partition.fetch_offset = i64_at(block, 4);
            partition.log_start_offset = i64_at(block, 12);
            partition.partition_max_bytes = i32_at(block, 20);
        } else {
            let block = self.reader.block::<16>(FIELD)?;
            partition.index = i32_at(block, 0);
            partition.fetch_offset = i64_at(block, 4);
            partition.partition_max_bytes = i32_at(block, 12);
        }
        Ok(partition)
    }
}

/// The tags that a follower sets. Consumers send none.
#[cold]
fn read_partition_tags(
    reader: &mut Reader<'_>,
    version: i16,
    partition: &mut FetchPartition<'_>,
) -> Result<(), ViewError> {
    reader.tags("tagged fields of Partitions", |tag, mut field| {
        match tag {
            0 if version >= 17 => {
                partition.replica_directory_id = field.array("ReplicaDirectoryId")?;
            }
            1 if version >= 18 => partition.high_watermark = field.i64("HighWatermark")?,
            _ => {}
        }
        Ok(())
    })
}

impl<'a> Iterator for FetchPartitions<'a> {
    type Item = FetchPartition<'a>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.step().expect("parse() walked these same bytes to their end")
    }
}

/// Iterator over the partitions that a session drops; see [`FetchView::forgotten`].
#[derive(Debug, Clone, Copy)]
pub struct ForgottenPartitions<'a> {
    reader: Reader<'a>,
    version: i16,
    topics_left: u32,
    partitions_left: u32,
    topic: TopicRef<'a>,
}

impl<'a> ForgottenPartitions<'a> {
    #[inline]
    fn step(&mut self) -> Result<Option<ForgottenPartition<'a>>, ViewError> {
        let flexible = self.version >= FLEXIBLE_VERSION_MIN;
        while self.partitions_left == 0 {
            if self.topics_left == 0 {
                return Ok(None);
            }
            self.topic = read_topic(&mut self.reader, self.version)?;
            self.partitions_left = self.reader.count(flexible, 4, "Partitions")?;
            if self.partitions_left == 0 && flexible {
                self.reader.skip_tags("tagged fields of ForgottenTopicsData")?;
            }
            self.topics_left -= 1;
        }
        let index = self.reader.i32("Partitions")?;
        self.partitions_left -= 1;
        if self.partitions_left == 0 && flexible {
            self.reader.skip_tags("tagged fields of ForgottenTopicsData")?;
        }
        Ok(Some(ForgottenPartition { topic: self.topic, index }))
    }
}

impl<'a> Iterator for ForgottenPartitions<'a> {
    type Item = ForgottenPartition<'a>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.step().expect("parse() walked these same bytes to their end")
    }
}
