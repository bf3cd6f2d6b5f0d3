//! Reads one shard's journal: which frames are there, where it ends, and whether anything durable
//! is gone.
//!
//! One write is in flight at a time, so only frames of the last write can be torn. What tells torn
//! from damaged: every frame says up to which sequence the journal was durable when it was sealed,
//! and so does the checkpoint. A bad frame above every such number is the torn end and is cut; at
//! or below one of them it is damage. Frames in shared memory stand in for both.

use std::collections::BTreeMap;
use std::fmt;

use super::{FileReader, Ids, RecoverError, RecoverReport, list, memory_path};
use crate::journal::frame::{FrameHeader, FrameState, HEADER_BYTES, check_entries, entries};
use crate::journal::ring;
use crate::limits::{BLOCK_BYTES, GROUP_BYTES_MAX};
use crate::op::{BlockingDisk, DiskError, DiskPath};
use crate::planted::{self, Bug};
use crate::types::PartitionId;

/// Bytes after a bad frame that are searched for a later one. Had the bad frame been durable, the
/// next write would start within a group's bytes, or in the next file.
const SEARCH_BYTES: u64 = 2 * GROUP_BYTES_MAX as u64;

/// Where a frame's bytes are.
#[derive(Debug)]
pub(crate) enum Place {
    File {
        path: DiskPath,
        position: u64,
    },
    /// Adopted from shared memory.
    Memory(Vec<u8>),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, position } => write!(f, "{} at {position}", path.path),
            Self::Memory(_) => f.write_str("shared memory"),
        }
    }
}

/// A frame to replay.
#[derive(Debug)]
pub(crate) struct FrameRef {
    pub header: FrameHeader,
    pub place: Place,
}

/// What a shard's journal holds.
#[derive(Debug, Default)]
pub(crate) struct ShardScan {
    pub shard: u16,
    /// In order. With `lost_before`, not without gaps.
    pub frames: Vec<FrameRef>,
    /// Durable frames are missing before these indexes of `frames`: whose batches they held is not
    /// known.
    pub lost_before: Vec<usize>,
    /// Partitions of which a durable batch is damaged, and where.
    pub damaged: BTreeMap<PartitionId, String>,
    /// Files there are, by number.
    pub files: Vec<(u32, u64)>,
}

/// The settings of a scan.
#[derive(Debug)]
pub(crate) struct Scanner {
    shard: u16,
    life: u64,
    pub replay_from: u64,
    pub durable: u64,
    pub clean: bool,
}

/// A journal file with the sequence of its first frame.
#[derive(Debug)]
struct JournalFile {
    path: DiskPath,
    first: u64,
    /// That frame's header does not read any more.
    rotten: bool,
}

/// What a position in a file holds.
enum Found {
    Frame { header: FrameHeader, crc: u32, state: FrameState, intact: bool },
    Nothing,
}

impl Scanner {
    pub fn new(shard: u16, life: u64) -> Self {
        Self { shard, life, replay_from: 1, durable: 0, clean: false }
    }

    /// Walks the journal from `replay_from`.
    pub fn scan(
        self,
        disk: &mut dyn BlockingDisk,
        ids: &mut Ids,
        report: &mut RecoverReport,
    ) -> Result<ShardScan, RecoverError> {
        let mut scan = ShardScan { shard: self.shard, ..ShardScan::default() };
        let folder = ring::folder(self.shard);
        let mut files = Vec::new();
        for entry in list(disk, ids, DiskPath::journal(&folder))? {
            let Some(number) = ring::file_number(&entry.name) else { continue };
            scan.files.push((number, entry.bytes));
            if self.clean {
                continue;
            }
            let path = DiskPath::journal(ring::file_path(self.shard, number));
            let mut reader = FileReader::open(disk, ids, path.clone())?;
            if let Found::Frame { header, .. } = self.look(disk, ids, &mut reader, 0, true)? {
                files.push(JournalFile { path, first: header.sequence, rotten: false });
                reader.close(disk, ids);
            } else if let Some(sequence) = self.rotten_at(disk, ids, &mut reader, 0)? {
                let mut reader = Some(reader);
                let first = self.first_behind_rot(disk, ids, &mut reader, sequence)?;
                files.push(JournalFile { path, first, rotten: true });
                reader.expect("it is still open").close(disk, ids);
            } else {
                reader.close(disk, ids);
            }
        }
        if self.clean {
            return Ok(scan);
        }
        files.sort_by_key(|file| file.first);
        let memory = self.read_memory(disk, ids)?;
        self.walk(disk, ids, &files, &memory, &mut scan, report)?;
        if planted::is(Bug::RecoveryStopsOneShort) {
            scan.frames.pop();
        }
        Ok(scan)
    }

    fn walk(
        &self,
        disk: &mut dyn BlockingDisk,
        ids: &mut Ids,
        files: &[JournalFile],
        memory: &BTreeMap<u64, Vec<u8>>,
        scan: &mut ShardScan,
        report: &mut RecoverReport,
    ) -> Result<(), RecoverError> {
        let mut expected = self.replay_from;
        let mut durable = self.durable;
        // Checksum of the frame before, once known.
        let mut chain: Option<u32> = (expected == 1).then_some(0);
        let mut file = files.iter().rposition(|file| file.first <= expected);
        let mut reader = match file {
            Some(at) => Some(FileReader::open(disk, ids, files[at].path.clone())?),
            None => None,
        };
        let (mut position, mut lost) = (0u64, false);
        // Frames below the checkpoint are stepped over by their headers.
        let mut next_here = file.map_or(expected, |at| files[at].first);
        loop {
            let found = match &mut reader {
                Some(reader) => self.look(disk, ids, reader, position, next_here < expected)?,
                None => Found::Nothing,
            };
            let right = match &found {
                Found::Frame { header, crc: _, state, intact } => {
                    header.sequence == next_here
                        && (next_here < expected
                            || *state == FrameState::Whole
                                && *intact
                                && chain.is_none_or(|chain| chain == header.previous_crc))
                }
                Found::Nothing => false,
            };
            if right && let Found::Frame { header, crc, .. } = &found {
                durable = durable.max(header.durable_up_to);
                let path = files[file.expect("a reader has a file")].path.clone();
                if next_here >= expected {
                    if std::mem::take(&mut lost) {
                        scan.lost_before.push(scan.frames.len());
                    }
                    let place = Place::File { path, position };
                    scan.frames.push(FrameRef { header: *header, place });
                    expected += 1;
                }
                chain = Some(*crc);
                position += header.frame_bytes() as u64;
                next_here += 1;
                continue;
            }
            // The next file goes on with it.
            if next_here <= expected
                && let Some(at) = files.iter().position(|file| file.first == next_here)
                && Some(at) != file
            {
                self.switch(disk, ids, &mut reader, files, at)?;
                (file, position) = (Some(at), 0);
                continue;
            }
            if next_here < expected {
                // A frame below the checkpoint that does not read: look for the first that matters.
                let later = self.later(disk, ids, &mut reader, position, expected - 1)?;
                match later.into_iter().next() {
                    Some((at, header)) => (position, next_here) = (at, header.sequence),
                    None => next_here = expected,
                }
                if next_here >= expected {
                    chain = None;
                }
                continue;
            }
            // Shared memory has it: a frame that was sealed and not written, or not well.
            if let Some(bytes) = memory.get(&expected)
                && let Some((header, crc)) = FrameHeader::decode(bytes)
                && chain.is_none_or(|chain| chain == header.previous_crc)
            {
                durable = durable.max(header.durable_up_to);
                if std::mem::take(&mut lost) {
                    scan.lost_before.push(scan.frames.len());
                }
                position = match &found {
                    // It stands in the file too, torn: the frame after it follows.
                    Found::Frame { header: here, .. } if here.sequence == expected => {
                        position + header.frame_bytes() as u64
                    }
                    Found::Frame { .. } | Found::Nothing => position,
                };
                scan.frames.push(FrameRef { header, place: Place::Memory(bytes.clone()) });
                chain = Some(crc);
                expected += 1;
                next_here = expected;
                continue;
            }
            // The end, torn or not, or damage.
            let later = self.later(disk, ids, &mut reader, position, expected)?;
            let next_file = files.iter().position(|file| file.first > expected);
            let proof = later.iter().map(|(_, header)| header.durable_up_to).max().unwrap_or(0);
            let file_proof = match next_file {
                // The first frame of a later file says how much was durable before it.
                Some(at) => self.first_durable(disk, ids, &files[at])?,
                None => 0,
            };
            durable = durable.max(proof).max(file_proof);
            let place = match file {
                Some(at) => format!("{} at {position}", files[at].path.path),
                None => format!("{} (no file)", ring::folder(self.shard)),
            };
            if expected > durable {
                if let Found::Frame { header, .. } = &found
                    && header.sequence == expected
                {
                    report.notices.push(format!(
                        "torn frame cut: {place}, sequence {expected}, {} bytes; nothing of it was \
                         acknowledged",
                        header.frame_bytes()
                    ));
                } else if !later.is_empty() {
                    report.notices.push(format!(
                        "torn write cut: {place}, sequence {expected} and {} after it; nothing of \
                         it was acknowledged",
                        later.len()
                    ));
                } else if self.ends_in_rot(disk, ids, &mut reader, position, files, expected)? {
                    report.notices.push(format!(
                        "damaged frame header: {place}, sequence {expected}, taken for the end of \
                         the journal; if it was acknowledged, it is lost"
                    ));
                }
                break;
            }
            // Damage: at best it is known whose batches they were.
            if let Found::Frame { header, state: FrameState::Whole, crc, .. } = &found
                && header.sequence == expected
                && chain.is_none_or(|chain| chain == header.previous_crc)
            {
                report.notices.push(format!("damaged batch: {place}, sequence {expected}"));
                let path = files[file.expect("a frame was found")].path.clone();
                let reader = reader.as_mut().expect("a frame was found");
                let bytes = reader.at(disk, ids, position, header.frame_bytes())?;
                for entry in entries(header, bytes).filter(|entry| !entry.intact) {
                    let why = format!("damaged batch in the journal: {place}, sequence {expected}");
                    scan.damaged.entry(entry.header.partition).or_insert(why);
                }
                scan.frames
                    .push(FrameRef { header: *header, place: Place::File { path, position } });
                chain = Some(*crc);
                position += header.frame_bytes() as u64;
                expected += 1;
                next_here = expected;
                continue;
            }
            report.notices.push(format!("damaged frame: {place}, sequence {expected}"));
            lost = true;
            chain = None;
            match (later.first(), next_file) {
                (Some((at, header)), _) => {
                    position = *at;
                    expected = header.sequence;
                }
                (None, Some(at)) => {
                    self.switch(disk, ids, &mut reader, files, at)?;
                    (file, position) = (Some(at), 0);
                    expected = files[at].first;
                }
                (None, None) => {
                    scan.lost_before.push(scan.frames.len());
                    break;
                }
            }
            next_here = expected;
        }
        if let Some(reader) = reader {
            reader.close(disk, ids);
        }
        Ok(())
    }

    fn switch(
        &self,
        disk: &mut dyn BlockingDisk,
        ids: &mut Ids,
        reader: &mut Option<FileReader>,
        files: &[JournalFile],
        at: usize,
    ) -> Result<(), RecoverError> {
        if let Some(open) = reader.take() {
            open.close(disk, ids);
        }
        *reader = Some(FileReader::open(disk, ids, files[at].path.clone())?);
        Ok(())
    }

    fn first_durable(
        &self,
        disk: &mut dyn BlockingDisk,
        ids: &mut Ids,
        file: &JournalFile,
    ) -> Result<u64, RecoverError> {
        let mut reader = FileReader::open(disk, ids, file.path.clone())?;
        let found = self.look(disk, ids, &mut reader, 0, true)?;
        reader.close(disk, ids);
        Ok(match found {
            Found::Frame { header, .. } => header.durable_up_to,
            Found::Nothing => 0,
        })
    }

    /// Frames of this life above `sequence` that start within `SEARCH_BYTES` after `position`, the
    /// lowest sequence first.
    fn later(
        &self,
        disk: &mut dyn BlockingDisk,
        ids: &mut Ids,
        reader: &mut Option<FileReader>,
        position: u64,
        sequence: u64,
    ) -> Result<Vec<(u64, FrameHeader)>, RecoverError> {
        let mut later = Vec::new();
        let Some(reader) = reader else { return Ok(later) };
        let mut at = position;
        while at < (position + SEARCH_BYTES).min(reader.bytes) {
            if let Some((header, _)) = self.header_at(disk, ids, reader, at)?
                && header.sequence > sequence
            {
                later.push((at, header));
            }
            at += BLOCK_BYTES as u64;
        }
        later.sort_by_key(|(_, header)| header.sequence);
        Ok(later)
    }

    /// What stands at `position`; with `header_only` the entries are not looked at.
    fn look(
        &self,
        disk: &mut dyn BlockingDisk,
        ids: &mut Ids,
        reader: &mut FileReader,
        position: u64,
        header_only: bool,
    ) -> Result<Found, RecoverError> {
        let Some((header, crc)) = self.header_at(disk, ids, reader, position)? else {
            return Ok(Found::Nothing);
        };
        if header_only {
            return Ok(Found::Frame { header, crc, state: FrameState::Whole, intact: true });
        }
        let bytes = reader.at(disk, ids, position, header.frame_bytes())?;
        let state = check_entries(&header, bytes);
        let intact =
            state == FrameState::Whole && entries(&header, bytes).all(|entry| entry.intact);
        Ok(Found::Frame { header, crc, state, intact })
    }

    fn header_at(
        &self,
        disk: &mut dyn BlockingDisk,
        ids: &mut Ids,
        reader: &mut FileReader,
        position: u64,
    ) -> Result<Option<(FrameHeader, u32)>, RecoverError> {
        let bytes = reader.at(disk, ids, position, HEADER_BYTES)?;
        Ok(FrameHeader::decode(bytes).filter(|(header, _)| self.is_ours(header)))
    }

    /// The sequence of a frame of this life at `position` whose header rotted, as far as it says.
    fn rotten_at(
        &self,
        disk: &mut dyn BlockingDisk,
        ids: &mut Ids,
        reader: &mut FileReader,
        position: u64,
    ) -> Result<Option<u64>, RecoverError> {
        let bytes = reader.at(disk, ids, position, HEADER_BYTES)?;
        Ok(FrameHeader::rotten_sequence(bytes, self.shard, self.life))
    }

    /// The sequence of a file's first frame, whose header rotted and says `sequence`: what follows
    /// it tells whether that is so.
    fn first_behind_rot(
        &self,
        disk: &mut dyn BlockingDisk,
        ids: &mut Ids,
        reader: &mut Option<FileReader>,
        sequence: u64,
    ) -> Result<u64, RecoverError> {
        let later = self.later(disk, ids, reader, 0, 0)?;
        let next = sequence.checked_add(1);
        let fits = later.iter().any(|(_, header)| Some(header.sequence) == next)
            || later.iter().all(|(_, header)| header.sequence < sequence);
        let following = later.iter().min_by_key(|(at, _)| *at);
        Ok(match following {
            Some((_, header)) if !fits => header.sequence - 1,
            Some(_) | None => sequence,
        })
    }

    /// Whether the journal ends at a frame whose header rotted: here, or where a file begins.
    fn ends_in_rot(
        &self,
        disk: &mut dyn BlockingDisk,
        ids: &mut Ids,
        reader: &mut Option<FileReader>,
        position: u64,
        files: &[JournalFile],
        expected: u64,
    ) -> Result<bool, RecoverError> {
        if files.iter().any(|file| file.rotten && file.first >= expected) {
            return Ok(true);
        }
        let Some(reader) = reader else { return Ok(false) };
        // Older frames of this life may stand there, whole or in part.
        let rotten = self.rotten_at(disk, ids, reader, position)?;
        Ok(rotten.is_some())
    }

    fn is_ours(&self, header: &FrameHeader) -> bool {
        header.life == self.life && header.shard == self.shard && header.sequence > 0
    }

    /// Whole frames of this life in shared memory, by sequence.
    fn read_memory(
        &self,
        disk: &mut dyn BlockingDisk,
        ids: &mut Ids,
    ) -> Result<BTreeMap<u64, Vec<u8>>, RecoverError> {
        let mut frames = BTreeMap::new();
        let mut reader = match FileReader::open(disk, ids, memory_path(self.shard)) {
            Ok(reader) => reader,
            Err(RecoverError::Disk { error: DiskError::NotFound, .. }) => return Ok(frames),
            Err(error) => return Err(error),
        };
        let mut at = 0;
        while at < reader.bytes {
            let mut step = BLOCK_BYTES;
            if let Some((header, _)) = self.header_at(disk, ids, &mut reader, at)?
                && header.sequence >= self.replay_from
            {
                let bytes = reader.at(disk, ids, at, header.frame_bytes())?;
                if bytes.len() == header.frame_bytes()
                    && check_entries(&header, bytes) == FrameState::Whole
                    && entries(&header, bytes).all(|entry| entry.intact)
                {
                    step = bytes.len();
                    frames.insert(header.sequence, bytes.to_vec());
                }
            }
            at += step as u64;
        }
        reader.close(disk, ids);
        Ok(frames)
    }
}
