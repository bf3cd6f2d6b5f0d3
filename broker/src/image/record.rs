//! The records of the metadata log: everything the control plane may change, and their bytes.
//!
//! Nothing but replaying one of these changes an `Image`. A record is a varint of its kind, a
//! varint of
//! its version, and the body in that version's rows; all records of one decision travel in one
//! batch, so
//! that a topic without its partitions cannot exist. Decoding is total and takes no more memory
//! than the
//! bytes justify.

use bytes::Bytes;
use protocol::message::Message;
use protocol::primitive::{DecodeError, EncodeError, Reader};
use protocol::types::Uuid;

protocol::message! {
    /// Names the cluster. The first record of every metadata log.
    pub struct ClusterRecord[versions(0, 0).flexible(0)] {
        cluster_id: String, since(0);
    }

    /// A broker and where clients find it.
    pub struct BrokerRecord[versions(0, 0).flexible(0)] {
        broker_id: i32, since(0);
        host: String, since(0);
        port: i32, since(0);
        rack: Option<String>, since(0).nullable(0);
    }

    /// The finalized level of a feature; 0 takes it away.
    pub struct FeatureRecord[versions(0, 0).flexible(0)] {
        name: String, since(0);
        level: i16, since(0);
    }

    /// A topic, without its partitions.
    pub struct TopicRecord[versions(0, 0).flexible(0)] {
        name: String, since(0);
        topic_id: Uuid, since(0);
        /// Milliseconds since the Unix epoch.
        created_ms: i64, since(0);
    }

    /// A partition: added, or changed. The topic's record stands before it; partitions are added in
    /// order, beginning at 0.
    pub struct PartitionRecord[versions(0, 2).flexible(0)] {
        topic_id: Uuid, since(0);
        partition: i32, since(0);
        replicas: Vec<i32>, since(0);
        isr: Vec<i32>, since(0);
        /// -1 when nobody leads.
        leader: i32 = -1, since(0);
        leader_epoch: i32, since(0);
        partition_epoch: i32, since(0);
        /// See `placement.rs`.
        slot: i32, since(0);
        /// The data folder of the replica on this node; zero: the one with the metadata log.
        directory: Uuid, since(1);
        /// The data folder that the replica is being moved to; zero: none.
        moving_to: Uuid, since(2);
        /// Data folders that may still have a copy, which counts for nothing.
        left: Vec<Uuid>, since(2);
    }

    /// A topic is gone, and its partitions and configs with it.
    pub struct RemoveTopicRecord[versions(0, 0).flexible(0)] {
        topic_id: Uuid, since(0);
    }

    /// One key of a resource is set, or with null taken back.
    pub struct ConfigRecord[versions(0, 0).flexible(0)] {
        /// Kafka's `ConfigResource.Type`.
        resource_type: i8, since(0);
        resource_name: String, since(0);
        key: String, since(0);
        value: Option<String>, since(0).nullable(0);
    }

    /// A rate of a quota entity is set, or taken back.
    pub struct ClientQuotaRecord[versions(0, 0).flexible(0)] {
        entity: Vec<QuotaPart>, since(0);
        key: String, since(0);
        value: f64, since(0);
        remove: bool, since(0);
    }

    /// Part of [`ClientQuotaRecord`]. A null name is the default of its type.
    pub struct QuotaPart {
        kind: String, since(0);
        name: Option<String>, since(0).nullable(0);
    }

    /// A user's SCRAM credential for one mechanism is set, or with no iterations taken back.
    pub struct ScramRecord[versions(0, 0).flexible(0)] {
        user: String, since(0);
        mechanism: i8, since(0);
        iterations: i32, since(0);
        salt: Bytes, since(0).secret();
        stored_key: Bytes, since(0).secret();
        server_key: Bytes, since(0).secret();
    }

    /// Producer ids below this one may be in use.
    pub struct ProducerIdsRecord[versions(0, 0).flexible(0)] {
        broker_id: i32, since(0);
        next_producer_id: i64, since(0);
    }
}

/// One record.
#[derive(Clone, PartialEq, Debug)]
pub enum MetadataRecord {
    Cluster(ClusterRecord),
    Broker(BrokerRecord),
    Feature(FeatureRecord),
    Topic(TopicRecord),
    Partition(PartitionRecord),
    RemoveTopic(RemoveTopicRecord),
    Config(ConfigRecord),
    ProducerIds(ProducerIdsRecord),
    ClientQuota(ClientQuotaRecord),
    Scram(ScramRecord),
}

/// Bytes that are no record this version knows.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RecordError {
    #[error("metadata record: {0}")]
    Body(#[from] DecodeError),
    #[error("metadata record of kind {kind}, version {version}: written by a later version")]
    Unknown { kind: u32, version: u32 },
    #[error("metadata record: {0} bytes after its end")]
    Trailing(usize),
}

/// Version of every body written but those that need a row of a later one.
const VERSION: i16 = 0;
/// Of partitions in a folder of their own choice.
const PARTITION_VERSION_PLACED: i16 = 1;
/// Of partitions that move between folders, or have.
const PARTITION_VERSION_MAX: i16 = 2;

impl MetadataRecord {
    fn kind(&self) -> u32 {
        match self {
            MetadataRecord::Cluster(_) => 1,
            MetadataRecord::Broker(_) => 2,
            MetadataRecord::Feature(_) => 3,
            MetadataRecord::Topic(_) => 4,
            MetadataRecord::Partition(_) => 5,
            MetadataRecord::RemoveTopic(_) => 6,
            MetadataRecord::Config(_) => 7,
            MetadataRecord::ProducerIds(_) => 8,
            MetadataRecord::ClientQuota(_) => 16,
            MetadataRecord::Scram(_) => 17,
        }
    }

    /// The version it is written in: the lowest that says it all.
    pub(super) fn version(&self) -> i16 {
        match self {
            MetadataRecord::Partition(body)
                if !body.moving_to.is_zero() || !body.left.is_empty() =>
            {
                PARTITION_VERSION_MAX
            }
            MetadataRecord::Partition(body) if !body.directory.is_zero() => {
                PARTITION_VERSION_PLACED
            }
            MetadataRecord::Cluster(_)
            | MetadataRecord::Broker(_)
            | MetadataRecord::Feature(_)
            | MetadataRecord::Topic(_)
            | MetadataRecord::Partition(_)
            | MetadataRecord::RemoveTopic(_)
            | MetadataRecord::Config(_)
            | MetadataRecord::ProducerIds(_)
            | MetadataRecord::ClientQuota(_)
            | MetadataRecord::Scram(_) => VERSION,
        }
    }

    /// Appends the record's bytes. Errs when a text or list is longer than its length field can
    /// say;
    /// `controller/limits.rs` keeps every decision far below that.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        // Kinds and versions below 128 are their own varint.
        out.push(self.kind() as u8);
        out.push(self.version() as u8);
        match self {
            MetadataRecord::Cluster(body) => body.encode(out, VERSION),
            MetadataRecord::Broker(body) => body.encode(out, VERSION),
            MetadataRecord::Feature(body) => body.encode(out, VERSION),
            MetadataRecord::Topic(body) => body.encode(out, VERSION),
            MetadataRecord::Partition(body) => body.encode(out, self.version()),
            MetadataRecord::RemoveTopic(body) => body.encode(out, VERSION),
            MetadataRecord::Config(body) => body.encode(out, VERSION),
            MetadataRecord::ProducerIds(body) => body.encode(out, VERSION),
            MetadataRecord::ClientQuota(body) => body.encode(out, VERSION),
            MetadataRecord::Scram(body) => body.encode(out, VERSION),
        }
    }

    /// Reads a record that is exactly these bytes.
    pub fn decode(bytes: &[u8]) -> Result<MetadataRecord, RecordError> {
        let mut reader = Reader::new(bytes);
        let kind = reader.unsigned_varint()?;
        let version = reader.unsigned_varint()?;
        let unknown = RecordError::Unknown { kind, version };
        let Ok(body_version) = i16::try_from(version) else { return Err(unknown) };
        let known = if kind == 5 { PARTITION_VERSION_MAX } else { VERSION };
        if body_version > known {
            return Err(unknown);
        }
        let record = match kind {
            1 => MetadataRecord::Cluster(Message::decode(&mut reader, body_version)?),
            2 => MetadataRecord::Broker(Message::decode(&mut reader, body_version)?),
            3 => MetadataRecord::Feature(Message::decode(&mut reader, body_version)?),
            4 => MetadataRecord::Topic(Message::decode(&mut reader, body_version)?),
            5 => MetadataRecord::Partition(Message::decode(&mut reader, body_version)?),
            6 => MetadataRecord::RemoveTopic(Message::decode(&mut reader, body_version)?),
            7 => MetadataRecord::Config(Message::decode(&mut reader, body_version)?),
            8 => MetadataRecord::ProducerIds(Message::decode(&mut reader, body_version)?),
            16 => MetadataRecord::ClientQuota(Message::decode(&mut reader, body_version)?),
            17 => MetadataRecord::Scram(Message::decode(&mut reader, body_version)?),
            _ => return Err(unknown),
        };
        match reader.remaining() {
            0 => Ok(record),
            left => Err(RecordError::Trailing(left)),
        }
    }
}
