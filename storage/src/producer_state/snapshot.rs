//! Producer states in Kafka's `.snapshot` file, so that Kafka's tools read ours and we can adopt
//! theirs.
//!
//! Big endian: version (i16, 1), CRC-32C (u32) of everything after it, count (i32), entries of 46
//! bytes: producer id i64, epoch i16, last sequence i32, last offset i64, offset delta i32,
//! timestamp i64, coordinator epoch i32, first offset of the open transaction i64 (-1: none). It
//! holds only the last batch of each producer; the four before it are in our own checkpoint.
//! Source: Kafka 4.3's `ProducerStateManager`.

use super::{ProducedBatch, Producer, ProducerStates};

const VERSION: i16 = 1;
const CRC_AT: usize = 2;
const CRC_FROM: usize = 6;
const ENTRIES_AT: usize = 10;
const ENTRY_BYTES: usize = 46;

/// A snapshot that cannot be used: an older one is tried, or the log is replayed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error("{bytes} bytes do not hold {count} producers")]
    Length { bytes: usize, count: i32 },
    #[error("snapshot version {version} is not 1")]
    Version { version: i16 },
    #[error("CRC {stored:#010x} is stored, {computed:#010x} was computed")]
    Crc { stored: u32, computed: u32 },
    #[error("producer {producer_id} is listed twice or has impossible numbers")]
    Entry { producer_id: i64 },
}

impl ProducerStates {
    /// The file's bytes, producers in order of their ids.
    pub fn encode_snapshot(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(ENTRIES_AT + self.len() * ENTRY_BYTES);
        out.extend_from_slice(&VERSION.to_be_bytes());
        out.extend_from_slice(&[0; 4]);
        let count = i32::try_from(self.len()).expect("the number of producers is bounded");
        out.extend_from_slice(&count.to_be_bytes());
        for (producer_id, producer) in self.iter() {
            let delta = producer.batches().last().map_or(0, |batch| batch.offset_delta);
            out.extend_from_slice(&producer_id.to_be_bytes());
            out.extend_from_slice(&producer.epoch.to_be_bytes());
            out.extend_from_slice(&producer.last_sequence().to_be_bytes());
            out.extend_from_slice(&producer.last_offset().to_be_bytes());
            out.extend_from_slice(&delta.to_be_bytes());
            out.extend_from_slice(&producer.last_timestamp.to_be_bytes());
            out.extend_from_slice(&producer.coordinator_epoch.to_be_bytes());
            out.extend_from_slice(&producer.txn_first_offset.unwrap_or(-1).to_be_bytes());
        }
        let crc = crc32c::crc32c(&out[CRC_FROM..]);
        out[CRC_AT..CRC_FROM].copy_from_slice(&crc.to_be_bytes());
        out
    }

    /// The states a file holds. `now_ms` is when this process hears of them.
    pub fn decode_snapshot(bytes: &[u8], now_ms: i64) -> Result<Self, SnapshotError> {
        let Some(head) = bytes.first_chunk::<ENTRIES_AT>() else {
            return Err(SnapshotError::Length { bytes: bytes.len(), count: -1 });
        };
        let [v0, v1, c0, c1, c2, c3, n0, n1, n2, n3] = *head;
        let version = i16::from_be_bytes([v0, v1]);
        if version != VERSION {
            return Err(SnapshotError::Version { version });
        }
        let stored = u32::from_be_bytes([c0, c1, c2, c3]);
        let computed = crc32c::crc32c(&bytes[CRC_FROM..]);
        if stored != computed {
            return Err(SnapshotError::Crc { stored, computed });
        }
        let count = i32::from_be_bytes([n0, n1, n2, n3]);
        let (entries, rest) = bytes[ENTRIES_AT..].as_chunks::<ENTRY_BYTES>();
        if !rest.is_empty() || usize::try_from(count) != Ok(entries.len()) {
            return Err(SnapshotError::Length { bytes: bytes.len(), count });
        }
        let mut states = Self::default();
        for entry in entries {
            let (producer_id, producer) = decode_entry(entry)?;
            if !states.restore(producer_id, producer, now_ms) {
                return Err(SnapshotError::Entry { producer_id });
            }
        }
        Ok(states)
    }
}

fn decode_entry(entry: &[u8; ENTRY_BYTES]) -> Result<(i64, Producer), SnapshotError> {
    let i32_at = |at: usize| {
        i32::from_be_bytes(*entry[at..].first_chunk().expect("every field lies in the entry"))
    };
    let i64_at = |at: usize| {
        i64::from_be_bytes(*entry[at..].first_chunk().expect("every field lies in the entry"))
    };
    let producer_id = i64_at(0);
    let timestamp = i64_at(26);
    let txn_first_offset = i64_at(38);
    let mut producer = Producer {
        epoch: i16::from_be_bytes([entry[8], entry[9]]),
        coordinator_epoch: i32_at(34),
        last_timestamp: timestamp,
        txn_first_offset: (txn_first_offset >= 0).then_some(txn_first_offset),
        ..Producer::UNKNOWN
    };
    let batch = ProducedBatch {
        last_sequence: i32_at(10),
        offset_delta: i32_at(22),
        last_offset: i64_at(14),
        timestamp,
    };
    if producer_id < 0 || batch.last_sequence < -1 || batch.offset_delta < 0 {
        return Err(SnapshotError::Entry { producer_id });
    }
    if batch.last_offset >= 0 {
        if i64::from(batch.offset_delta) > batch.last_offset {
            return Err(SnapshotError::Entry { producer_id });
        }
        producer.push(batch);
    }
    Ok((producer_id, producer))
}
