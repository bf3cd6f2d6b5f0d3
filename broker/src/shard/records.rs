//! Walking the records of this broker's own topics, when they are replayed.

use protocol::batch::{BatchError, BatchHeader, Record, open_records};
use protocol::compress::Codecs;

use crate::api::rules::RECORDS_BYTES_MAX;

/// Calls `visit` with every record of the whole batches in `bytes` (header, offset, timestamp,
/// record), those of control batches included; returns the offset after the last batch.
///
/// Errs on bytes that are no whole batches: what storage read has
/// been checked, so that is corruption.
pub fn for_each_record(
    codecs: &mut Codecs,
    mut bytes: &[u8],
    visit: &mut dyn FnMut(&BatchHeader, i64, i64, &Record<'_>),
) -> Result<i64, BatchError> {
    let mut next_offset = -1;
    while !bytes.is_empty() {
        let (header, records) = open_records(bytes, codecs, RECORDS_BYTES_MAX)?;
        for record in records {
            let record = record?;
            visit(&header, record.offset(&header), record.timestamp_ms(&header), &record);
        }
        next_offset = header.next_offset();
        bytes = &bytes[header.total_bytes()..];
    }
    Ok(next_offset)
}
