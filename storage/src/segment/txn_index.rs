//! Kafka's `.txnindex` file, the aborted transactions whose markers are in one segment, and the
//! marker as it stands in the log.
//!
//! Big endian entries of 34 bytes: version (i16, 0), producer id, first offset, last offset (the
//! marker's), last stable offset (i64 each). Values to bytes and back. A segment without aborted
//! transactions has no such file. Sources: KIP-98, Kafka 4.3's `AbortedTxn`.

use protocol::batch::control::{ControlType, read_control_key, read_end_txn_value};
use protocol::batch::records::RecordIter;

use super::format::{BATCH_HEADER_BYTES, BatchMeta};
use crate::types::AbortedTransaction;

/// Bytes of an entry.
pub const ENTRY_BYTES: usize = 34;

const VERSION: i16 = 0;

/// Bytes that are no index of aborted transactions.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TxnIndexError {
    #[error("{bytes} bytes are not a number of entries of {ENTRY_BYTES}")]
    Length { bytes: usize },
    #[error("entry {index} has version {version}")]
    Version { index: usize, version: i16 },
    #[error("entry {index} ends at {last_offset} and starts at {first_offset}")]
    Offsets { index: usize, first_offset: i64, last_offset: i64 },
}

/// The file's bytes.
pub fn encode<'a>(aborted: impl Iterator<Item = &'a AbortedTransaction>) -> Vec<u8> {
    let mut out = Vec::new();
    for ended in aborted {
        out.extend_from_slice(&VERSION.to_be_bytes());
        let AbortedTransaction { producer_id, first_offset, last_offset, last_stable_offset } =
            *ended;
        for field in [producer_id, first_offset, last_offset, last_stable_offset] {
            out.extend_from_slice(&field.to_be_bytes());
        }
    }
    out
}

/// The entries of a file.
pub fn decode(bytes: &[u8]) -> Result<Vec<AbortedTransaction>, TxnIndexError> {
    let (entries, rest) = bytes.as_chunks::<ENTRY_BYTES>();
    if !rest.is_empty() {
        return Err(TxnIndexError::Length { bytes: bytes.len() });
    }
    let mut aborted = Vec::with_capacity(entries.len());
    for (index, entry) in entries.iter().enumerate() {
        let version = i16::from_be_bytes([entry[0], entry[1]]);
        if version != VERSION {
            return Err(TxnIndexError::Version { index, version });
        }
        let field = |number: usize| {
            let at = 2 + 8 * number;
            i64::from_be_bytes(*entry[at..].first_chunk().expect("every field lies in the entry"))
        };
        let (first_offset, last_offset) = (field(1), field(2));
        if first_offset < 0 || last_offset < first_offset {
            return Err(TxnIndexError::Offsets { index, first_offset, last_offset });
        }
        aborted.push(AbortedTransaction {
            producer_id: field(0),
            first_offset,
            last_offset,
            last_stable_offset: field(3),
        });
    }
    Ok(aborted)
}

/// Whether the control batch commits, and its coordinator's epoch; `None` for any other control
/// batch, and for one that does not read.
pub fn read_marker(meta: &BatchMeta, batch: &[u8]) -> Option<(bool, i32)> {
    if !meta.is_control() || !meta.has_producer_id() || meta.codec() != 0 {
        return None;
    }
    let records = batch.get(BATCH_HEADER_BYTES..)?;
    let record = RecordIter::new(records, meta.records_count).next()?.ok()?;
    let committed = match read_control_key(record.key).ok()? {
        ControlType::Commit => true,
        ControlType::Abort => false,
        ControlType::LeaderChange
        | ControlType::SnapshotHeader
        | ControlType::SnapshotFooter
        | ControlType::KRaftVersion
        | ControlType::KRaftVoters
        | ControlType::Unknown(_) => return None,
    };
    Some((committed, read_end_txn_value(record.value).ok()?))
}

#[cfg(test)]
mod tests {
    use protocol::batch::control::{EndTxnMarker, write_end_txn_marker};
    use protocol::compress::Codecs;

    use super::*;

    const ABORTED: AbortedTransaction = AbortedTransaction {
        producer_id: 7,
        first_offset: 10,
        last_offset: 20,
        last_stable_offset: 15,
    };

    #[test]
    fn an_entry_is_kafkas_34_bytes() {
        let bytes = encode([ABORTED].iter());
        let mut expected = vec![0, 0];
        for field in [7u64, 10, 20, 15] {
            expected.extend_from_slice(&field.to_be_bytes());
        }
        assert_eq!(bytes, expected);
        assert_eq!(decode(&bytes), Ok(vec![ABORTED]));
    }

    #[test]
    fn bytes_that_are_no_entries_are_refused() {
        let bytes = encode([ABORTED].iter());
        assert_eq!(decode(&bytes[1..]), Err(TxnIndexError::Length { bytes: 33 }));
        let backwards = AbortedTransaction { last_offset: 9, ..ABORTED };
        let error = TxnIndexError::Offsets { index: 0, first_offset: 10, last_offset: 9 };
        assert_eq!(decode(&encode([backwards].iter())), Err(error));
    }

    #[test]
    fn a_marker_reads_back_as_it_was_written() {
        for committed in [false, true] {
            let marker = EndTxnMarker {
                committed,
                producer_id: 7,
                producer_epoch: 3,
                coordinator_epoch: 12,
                timestamp_ms: 1_000,
                base_offset: 0,
                partition_leader_epoch: 0,
            };
            let mut batch = Vec::new();
            write_end_txn_marker(&marker, &mut Codecs::new(), &mut batch);
            let meta = BatchMeta::read(&batch).expect("it is a batch");
            assert_eq!(read_marker(&meta, &batch), Some((committed, 12)));
            assert_eq!(read_marker(&meta, &batch[..70]), None, "cut off");
        }
    }
}
