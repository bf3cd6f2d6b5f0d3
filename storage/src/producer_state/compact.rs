//! Producer states in our own checkpoint: all the batches of the window, in differences.
//!
//! Kafka's snapshot keeps one batch of each producer, so a retry of an older one is not recognised
//! after a restart. This keeps them all in about as many bytes, because neighbours differ little.
//! The checkpoint around it carries the CRC. Varints: count; per producer: id less the id before,
//! epoch, coordinator epoch, last timestamp, transaction's first offset + 1 (0: none), batches; per
//! batch, against the batch before it: last offset, last sequence, offset delta (plain), timestamp
//! less the last timestamp.

use super::{ProducedBatch, Producer, ProducerStates};
use crate::limits::PRODUCER_BATCHES_COUNT;
use crate::varint;

/// Bytes that are not an encoding of producer states.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("producer states do not decode")]
pub struct CompactError;

impl ProducerStates {
    /// Adds the encoding to `out`.
    pub fn encode_compact(&self, out: &mut Vec<u8>) {
        varint::put(out, self.len() as u64);
        let mut id_before = 0;
        for (producer_id, producer) in self.iter() {
            varint::put_signed(out, producer_id.wrapping_sub(id_before));
            id_before = producer_id;
            varint::put_signed(out, i64::from(producer.epoch));
            varint::put_signed(out, i64::from(producer.coordinator_epoch));
            varint::put_signed(out, producer.last_timestamp);
            varint::put(out, producer.txn_first_offset.map_or(0, |offset| offset as u64 + 1));
            varint::put(out, u64::from(producer.count));
            let mut before = ProducedBatch::default();
            for batch in producer.batches() {
                let sequence_step =
                    i64::from(batch.last_sequence) - i64::from(before.last_sequence);
                varint::put_signed(out, batch.last_offset.wrapping_sub(before.last_offset));
                varint::put_signed(out, sequence_step);
                varint::put_signed(out, i64::from(batch.offset_delta));
                varint::put_signed(out, batch.timestamp.wrapping_sub(producer.last_timestamp));
                before = *batch;
            }
        }
    }

    /// Takes an encoding off the front of `bytes`. `now_ms` is when this process hears of it.
    pub fn decode_compact(bytes: &mut &[u8], now_ms: i64) -> Result<Self, CompactError> {
        Self::read_compact(bytes, now_ms).ok_or(CompactError)
    }

    fn read_compact(bytes: &mut &[u8], now_ms: i64) -> Option<Self> {
        let mut states = Self::default();
        let mut producer_id = 0i64;
        // The count is not trusted with memory: each producer takes at least a byte to be read.
        for _ in 0..varint::get(bytes)? {
            producer_id = producer_id.wrapping_add(varint::get_signed(bytes)?);
            let mut producer = Producer {
                epoch: i16::try_from(varint::get_signed(bytes)?).ok()?,
                coordinator_epoch: i32::try_from(varint::get_signed(bytes)?).ok()?,
                last_timestamp: varint::get_signed(bytes)?,
                txn_first_offset: match varint::get(bytes)? {
                    0 => None,
                    offset => Some(i64::try_from(offset - 1).ok()?),
                },
                ..Producer::UNKNOWN
            };
            let batches = varint::get(bytes)?;
            if batches > PRODUCER_BATCHES_COUNT as u64 {
                return None;
            }
            let mut before = ProducedBatch::default();
            for _ in 0..batches {
                let last_offset = before.last_offset.wrapping_add(varint::get_signed(bytes)?);
                let step = varint::get_signed(bytes)?;
                let last_sequence = i64::from(before.last_sequence).checked_add(step)?;
                let batch = ProducedBatch {
                    last_sequence: i32::try_from(last_sequence).ok()?,
                    offset_delta: i32::try_from(varint::get_signed(bytes)?).ok()?,
                    last_offset,
                    timestamp: producer.last_timestamp.wrapping_add(varint::get_signed(bytes)?),
                };
                if batch.last_sequence < -1
                    || batch.offset_delta < 0
                    || batch.last_offset < i64::from(batch.offset_delta)
                {
                    return None;
                }
                producer.push(batch);
                before = batch;
            }
            if producer_id < 0 || !states.restore(producer_id, producer, now_ms) {
                return None;
            }
        }
        Some(states)
    }
}
