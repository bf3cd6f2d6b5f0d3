//! A salvage file's bytes: batches that a partition could not write into its segment.
//!
//! They would be lost with the journal's frames, so before those go the batches are put aside,
//! where the next start finds them: by a running shard when a segment fails, by recovery when one
//! fails again. A file belongs to one life and is replaced as a whole; a checkpoint says how many
//! batches of each log count. Values to bytes and back, and total. The drawing is in
//! `storage/README.md`.

use std::collections::BTreeMap;

use crate::journal::frame::{ENTRY_HEADER_BYTES, EntryHeader, EntryKind, batch_intact};
use crate::types::PartitionId;

const MAGIC: [u8; 4] = *b"CLSV";

/// A batch that a failed log could not write to its segment.
#[derive(Clone, Debug)]
pub(crate) struct Salvaged {
    pub offset: i64,
    pub leader_epoch: i32,
    pub rolled: bool,
    pub batch: Vec<u8>,
}

/// Batches of partitions, in order.
pub(crate) type Salvage = BTreeMap<PartitionId, Vec<Salvaged>>;

/// Path below the data folder of the file that recovery wrote when the life began, or of the one a
/// shard of that life wrote.
pub(crate) fn path(life: u64, shard: Option<u16>) -> String {
    match shard {
        None => format!("checkpoint/salvage-{life:016x}"),
        Some(shard) => format!("checkpoint/salvage-{life:016x}-{shard}"),
    }
}

impl Salvaged {
    /// As the entry of a journal that it was.
    pub fn entry(&self, partition: PartitionId) -> EntryHeader {
        EntryHeader {
            kind: EntryKind::Append,
            partition,
            leader_epoch: self.leader_epoch,
            offset: self.offset,
            payload_bytes: self.batch.len() as u32,
            rolled: self.rolled,
        }
    }
}

/// The file's bytes.
pub(crate) fn encode<'a>(logs: impl Iterator<Item = (PartitionId, &'a [Salvaged])>) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    for (id, batches) in logs {
        for batch in batches {
            bytes.extend_from_slice(&batch.entry(id).encode());
            bytes.extend_from_slice(&batch.batch);
        }
    }
    let crc = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes
}

/// Reads a file; `None` for bytes that are none.
pub(crate) fn decode(bytes: &[u8]) -> Option<Salvage> {
    let (body, crc) = bytes.split_at_checked(bytes.len().checked_sub(4)?)?;
    if crc != crc32c::crc32c(body).to_le_bytes() {
        return None;
    }
    let mut body = body.strip_prefix(&MAGIC)?;
    let mut salvage = Salvage::new();
    while !body.is_empty() {
        let entry = EntryHeader::decode(body)?;
        let (batch, rest) =
            body[ENTRY_HEADER_BYTES..].split_at_checked(entry.payload_bytes as usize)?;
        if !batch_intact(batch) {
            return None;
        }
        salvage.entry(entry.partition).or_default().push(Salvaged {
            offset: entry.offset,
            leader_epoch: entry.leader_epoch,
            rolled: entry.rolled,
            batch: batch.to_vec(),
        });
        body = rest;
    }
    Some(salvage)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::format::sample::{Sample, batch};
    use crate::types::TopicId;

    #[test]
    fn a_file_reads_back_and_a_damaged_one_is_none() {
        let id = PartitionId { topic_id: TopicId([3; 16]), partition: 4 };
        let batches: Vec<Salvaged> = (0..3)
            .map(|offset| Salvaged {
                offset,
                leader_epoch: 2,
                rolled: offset == 1,
                batch: batch(Sample { base_offset: offset, ..Sample::default() }),
            })
            .collect();
        let bytes = encode([(id, batches.as_slice())].into_iter());
        let read = decode(&bytes).expect("it was just written");
        let found: Vec<_> =
            read[&id].iter().map(|b| (b.offset, b.rolled, b.batch.clone())).collect();
        let sent: Vec<_> = batches.iter().map(|b| (b.offset, b.rolled, b.batch.clone())).collect();
        assert_eq!(found, sent);
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            assert!(decode(&bad).is_none(), "byte {at}");
            assert!(decode(&bytes[..at]).is_none(), "{at} bytes");
        }
    }
}
