//! Snapshots of the metadata image, so that a start replays little and the metadata log stays
//! short.
//!
//! One file per snapshot, named by the offset of the metadata log it holds everything below:
//! `metadata/%020d.snapshot`. Bytes, big endian: magic `CLMS`, version (u32), offset (i64), records
//! count (u32), then each record as length (u32) and bytes, then the CRC-32C of all that. A
//! snapshot that does not check is ignored: the one before it is removed only after the newer one
//! is durable.

use storage::op::{DiskDone, DiskOp, DiskPath, Durability, OpId};

use super::Shard;
use super::event::LogLevel;
use crate::image::MetadataRecord;
use crate::limits;

const MAGIC: &[u8; 4] = b"CLMS";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 4 + 4 + 8 + 4;

/// Where snapshots lie, below the data folder.
pub const FOLDER: &str = "metadata";

/// Operations of the shard itself have this bit; the store's do not.
const OWN_OP: u64 = 1 << 63;

/// What shard 0 knows of its snapshots.
#[derive(Debug, Default)]
pub struct SnapshotWriter {
    records_since: u64,
    /// Offset of the newest durable snapshot.
    newest: Option<i64>,
    writing: Option<i64>,
    next_op: u64,
}

impl SnapshotWriter {
    /// What a start found.
    pub(super) fn adopt(&mut self, newest: Option<i64>, records_since: u64) {
        self.newest = newest;
        self.records_since = records_since;
    }

    fn op(&mut self) -> OpId {
        self.next_op += 1;
        OpId(OWN_OP | self.next_op)
    }
}

/// Whether a completion is for the shard itself.
pub(super) fn is_own(op: OpId) -> bool {
    op.0 & OWN_OP != 0
}

/// The path of the snapshot that holds everything below `offset`.
pub fn path(offset: i64) -> DiskPath {
    DiskPath::data(format!("{FOLDER}/{offset:020}.snapshot"))
}

/// The offset in a snapshot's file name.
pub fn offset_of(name: &str) -> Option<i64> {
    let digits = name.strip_suffix(".snapshot")?;
    if digits.len() == 20 { digits.parse().ok() } else { None }
}

/// A snapshot's bytes.
pub fn encode(offset: i64, records: &[MetadataRecord]) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&VERSION.to_be_bytes());
    out.extend_from_slice(&offset.to_be_bytes());
    let count = u32::try_from(records.len()).expect("metadata is bounded far below 2^32 records");
    out.extend_from_slice(&count.to_be_bytes());
    for record in records {
        let at = out.len();
        out.extend_from_slice(&[0; 4]);
        record.encode(&mut out).expect("a record that was replayed can be encoded");
        let length = (out.len() - at - 4) as u32;
        out[at..at + 4].copy_from_slice(&length.to_be_bytes());
    }
    let crc = protocol::crc::crc32c(&out);
    out.extend_from_slice(&crc.to_be_bytes());
    out
}

/// Why bytes are no snapshot.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error("not a metadata snapshot, or one of a later version")]
    Format,
    #[error("the checksum does not match")]
    Checksum,
    #[error("a record does not decode: {0}")]
    Record(String),
}

/// Reads a snapshot: the offset it stands for and its records.
pub fn decode(bytes: &[u8]) -> Result<(i64, Vec<MetadataRecord>), SnapshotError> {
    let body_bytes = bytes.len().checked_sub(4).ok_or(SnapshotError::Format)?;
    let (body, crc) = bytes.split_at(body_bytes);
    if crc != protocol::crc::crc32c(body).to_be_bytes() {
        return Err(SnapshotError::Checksum);
    }
    let (header, mut rest) = body.split_at_checked(HEADER_BYTES).ok_or(SnapshotError::Format)?;
    let (magic, header) = header.split_at(4);
    let (version, header) = header.split_at(4);
    let (offset, count) = header.split_at(8);
    if magic != MAGIC || version != VERSION.to_be_bytes() {
        return Err(SnapshotError::Format);
    }
    let offset = offset.try_into().map(i64::from_be_bytes).map_err(|_| SnapshotError::Format)?;
    let count = count.try_into().map(u32::from_be_bytes).map_err(|_| SnapshotError::Format)?;
    let mut records = Vec::new();
    for _ in 0..count {
        let (length, after) = rest.split_first_chunk::<4>().ok_or(SnapshotError::Format)?;
        let length = u32::from_be_bytes(*length) as usize;
        let (record, after) = after.split_at_checked(length).ok_or(SnapshotError::Format)?;
        let record = MetadataRecord::decode(record);
        records.push(record.map_err(|error| SnapshotError::Record(error.to_string()))?);
        rest = after;
    }
    if rest.is_empty() { Ok((offset, records)) } else { Err(SnapshotError::Format) }
}

impl Shard {
    /// What a start found: the newest snapshot and how many records came after it.
    pub fn adopt_snapshots(&mut self, newest: Option<i64>, records_since: u64) {
        if let Some(control) = &mut self.control {
            control.snapshots.adopt(newest, records_since);
        }
    }

    /// Writes a snapshot when enough records have come since the last one.
    pub(super) fn consider_snapshot(&mut self, records: u64) {
        let Some(control) = self.control.as_mut() else { return };
        control.snapshots.records_since += records;
        let due = control.snapshots.records_since >= limits::METADATA_SNAPSHOT_RECORDS;
        let (Some(log), true, None) = (control.log, due, control.snapshots.writing) else {
            return;
        };
        let Some(offset) = self.store.log_end(log) else { return };
        let bytes = encode(offset, &self.image.snapshot_records());
        let snapshots = &mut control.snapshots;
        snapshots.records_since = 0;
        snapshots.writing = Some(offset);
        let op = snapshots.op();
        let path = path(offset).on(self.config.metadata_volume);
        let durability = Durability::Synced;
        self.push_disk(DiskOp::ReplaceFile { op, path, bytes, durability });
    }

    /// A disk operation of the shard itself is done.
    pub(super) fn handle_own_disk(&mut self, done: DiskDone) {
        let Some(control) = self.control.as_mut() else { return };
        let Some(offset) = control.snapshots.writing.take() else {
            // The removal of an older snapshot: one that stays is ignored by the next start.
            return;
        };
        if let Err(error) = done.result {
            let text = format!("metadata snapshot {offset}: {error}; the log is kept instead");
            self.log(LogLevel::Warn, text);
            return;
        }
        let older = control.snapshots.newest.replace(offset);
        let op = control.snapshots.op();
        let log = control.log;
        if let Some(older) = older.filter(|older| *older != offset) {
            let path = path(older).on(self.config.metadata_volume);
            self.push_disk(DiskOp::Remove { op, path });
        }
        if let Some(log) = log {
            // Failing to shorten the log costs only space; the next snapshot tries again.
            let _ = self.store.delete_records(log, offset);
        }
    }
}
