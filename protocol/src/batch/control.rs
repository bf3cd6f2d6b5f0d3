//! Control records: the markers that end a producer's transaction in a partition.
//!
//! A control batch holds one record whose key says which kind it is. Only brokers write them
//! (KIP-98); `validate` refuses them from clients. The kinds that Kafka's own quorum writes
//! are named here so that a reader of its logs can tell them apart, and not decoded.

use super::builder::{BatchBuilder, BatchOptions};
use super::header::{BatchHeader, NO_SEQUENCE};
use crate::compress::Codecs;

/// What a control record is, from its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ControlType {
    /// The transaction was aborted.
    Abort,
    /// The transaction was committed.
    Commit,
    /// A quorum's new leader.
    LeaderChange,
    /// Start of a quorum's snapshot.
    SnapshotHeader,
    /// End of a quorum's snapshot.
    SnapshotFooter,
    /// A quorum's version. KIP-853.
    KRaftVersion,
    /// A quorum's voters. KIP-853.
    KRaftVoters,
    /// A number that Kafka 4.3 does not name. Consumers skip it.
    Unknown(i16),
}

impl ControlType {
    /// The number in the key.
    pub fn id(self) -> i16 {
        match self {
            Self::Abort => 0,
            Self::Commit => 1,
            Self::LeaderChange => 2,
            Self::SnapshotHeader => 3,
            Self::SnapshotFooter => 4,
            Self::KRaftVersion => 5,
            Self::KRaftVoters => 6,
            Self::Unknown(id) => id,
        }
    }

    fn from_id(id: i16) -> Self {
        match id {
            0 => Self::Abort,
            1 => Self::Commit,
            2 => Self::LeaderChange,
            3 => Self::SnapshotHeader,
            4 => Self::SnapshotFooter,
            5 => Self::KRaftVersion,
            6 => Self::KRaftVoters,
            id => Self::Unknown(id),
        }
    }
}

/// Why a control record cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// Null, or shorter than its fields.
    #[error("control record {part} is null or cut off")]
    Truncated {
        /// "key" or "value".
        part: &'static str,
    },
    /// Versions start at 0. Newer ones keep the fields of 0 in front, so they are read.
    #[error("control record {part} has version {version}")]
    Version {
        /// "key" or "value".
        part: &'static str,
        /// The version found.
        version: i16,
    },
}

/// Version of key and value that we write.
const VERSION: i16 = 0;

/// Reads a control record's key: version (2), kind (2).
pub fn read_control_key(key: Option<&[u8]>) -> Result<ControlType, ControlError> {
    let rest = read_version(key, "key")?;
    let kind = rest.first_chunk().ok_or(ControlError::Truncated { part: "key" })?;
    Ok(ControlType::from_id(i16::from_be_bytes(*kind)))
}

/// Reads an end-of-transaction marker's value, version (2), coordinator epoch (4): the epoch of the
/// transaction coordinator that wrote it, by which a stale coordinator is told apart.
pub fn read_end_txn_value(value: Option<&[u8]>) -> Result<i32, ControlError> {
    let rest = read_version(value, "value")?;
    let epoch = rest.first_chunk().ok_or(ControlError::Truncated { part: "value" })?;
    Ok(i32::from_be_bytes(*epoch))
}

fn read_version<'a>(field: Option<&'a [u8]>, part: &'static str) -> Result<&'a [u8], ControlError> {
    let (version, rest) =
        field.and_then(<[u8]>::split_first_chunk).ok_or(ControlError::Truncated { part })?;
    match i16::from_be_bytes(*version) {
        version if version < 0 => Err(ControlError::Version { part, version }),
        _ => Ok(rest),
    }
}

/// An end-of-transaction marker to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndTxnMarker {
    /// Committed rather than aborted.
    pub committed: bool,
    /// Whose transaction ends.
    pub producer_id: i64,
    /// The producer's epoch.
    pub producer_epoch: i16,
    /// Epoch of the coordinator that decided.
    pub coordinator_epoch: i32,
    /// When it was decided.
    pub timestamp_ms: i64,
    /// Offset at which the marker is appended.
    pub base_offset: i64,
    /// Epoch of the appending leader.
    pub partition_leader_epoch: i32,
}

/// Appends the control batch of `marker` to `out`.
pub fn write_end_txn_marker(
    marker: &EndTxnMarker,
    codecs: &mut Codecs,
    out: &mut Vec<u8>,
) -> BatchHeader {
    let kind = if marker.committed { ControlType::Commit } else { ControlType::Abort };
    let mut key = [0; 4];
    key[..2].copy_from_slice(&VERSION.to_be_bytes());
    key[2..].copy_from_slice(&kind.id().to_be_bytes());
    let mut value = [0; 6];
    value[..2].copy_from_slice(&VERSION.to_be_bytes());
    value[2..].copy_from_slice(&marker.coordinator_epoch.to_be_bytes());
    let mut builder = BatchBuilder::new(BatchOptions {
        base_offset: marker.base_offset,
        partition_leader_epoch: marker.partition_leader_epoch,
        producer_id: marker.producer_id,
        producer_epoch: marker.producer_epoch,
        // KIP-98: markers carry no sequence.
        base_sequence: NO_SEQUENCE,
        transactional: true,
        control: true,
        ..BatchOptions::default()
    });
    builder.append(marker.timestamp_ms, Some(&key), Some(&value), &[]);
    builder.build(codecs, out)
}
