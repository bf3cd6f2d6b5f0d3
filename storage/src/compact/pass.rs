//! One piece of cleaning: a run of a segment's bytes, looked at or filtered, as a pure value.
//!
//! `store::clean` fills it and sends it off by `DiskOp::Clean`; the executor calls `run` wherever
//! it does not hold up the shard and sends it back. Nothing here waits, reads a clock or touches a
//! file.

use protocol::batch::header::BatchHeader;
use protocol::batch::records::RecordIter;

use super::offset_map::OffsetMap;
use super::retention::{self, CleanRules, Kept, RecordCounts, Scratch};
use super::transactions::CleanedTransactions;
use crate::buffer::AlignedBuf;
use crate::planted::{self, Bug};
use crate::segment::format::{BatchError, BatchMeta, BatchScanner, CrcCheck};

/// What is to be done with the bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Task {
    /// Keys go into the map.
    Index,
    /// What stays goes to `out`.
    Filter,
    /// The map's memory goes.
    Release,
}

/// A batch that stays, as the indexes of its segment must know it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeptBatch {
    pub last_offset: i64,
    pub max_timestamp: i64,
    pub bytes: u32,
}

/// The work and all it needs.
#[derive(Debug)]
pub struct Pass {
    pub task: Task,
    pub rules: CleanRules,
    pub map: OffsetMap,
    pub transactions: CleanedTransactions,
    scratch: Scratch,
    /// What was read, of which `skip` bytes lie before the first batch and `held` count.
    pub input: Option<AlignedBuf>,
    pub skip: usize,
    pub held: usize,
    /// No batch may start below.
    pub next_offset: i64,
    /// No batch may end above.
    pub end_offset: i64,
    /// Bytes of the whole batches that were taken.
    pub consumed: usize,
    /// Bytes that the first batch needs, when `held` has not all of them.
    pub needed: Option<u64>,
    /// A batch that does not read: where, and why.
    pub damage: Option<(usize, String)>,
    /// The map took no other key.
    pub full: bool,
    /// What stays, batch by batch.
    pub out: Vec<u8>,
    pub kept: Vec<KeptBatch>,
    /// Something did not stay as it was.
    pub changed: bool,
    pub counts: RecordCounts,
}

impl Pass {
    /// The first of a round: looks at the dirty section.
    pub fn new(rules: CleanRules, map: OffsetMap, transactions: CleanedTransactions) -> Self {
        Self {
            task: Task::Index,
            rules,
            map,
            transactions,
            scratch: Scratch::default(),
            input: None,
            skip: 0,
            held: 0,
            next_offset: 0,
            end_offset: 0,
            consumed: 0,
            needed: None,
            damage: None,
            full: false,
            out: Vec::new(),
            kept: Vec::new(),
            changed: false,
            counts: RecordCounts::default(),
        }
    }

    /// Does the work.
    pub fn run(&mut self) {
        (self.consumed, self.needed, self.damage) = (0, None, None);
        if self.task == Task::Release {
            self.map = OffsetMap::new([0; 2], 0, 0);
            return;
        }
        let Some(input) = self.input.take() else { return };
        let held = &input.as_slice()[self.skip..self.skip + self.held];
        let mut scanner =
            BatchScanner::new(held, self.next_offset, CrcCheck::Verify).ending(self.end_offset);
        while let Some(found) = scanner.next() {
            match found {
                Ok(batch) => match self.take(batch.bytes, &batch.meta) {
                    Ok(()) if self.full => break,
                    Ok(()) => {
                        self.consumed = scanner.valid_bytes();
                        self.next_offset = scanner.next_offset();
                    }
                    Err(why) => {
                        self.damage = Some((batch.position, why));
                        break;
                    }
                },
                Err(stopped) => {
                    match stopped.why {
                        BatchError::Cut { needed, .. } if self.consumed == 0 => {
                            self.needed = Some(needed);
                        }
                        BatchError::Cut { .. } => {}
                        why => self.damage = Some((stopped.position, why.to_string())),
                    }
                    break;
                }
            }
        }
        self.input = Some(input);
    }

    fn take(&mut self, batch: &[u8], meta: &BatchMeta) -> Result<(), String> {
        match self.task {
            Task::Index => self.index(batch, meta),
            Task::Filter => self.filter(batch, meta),
            Task::Release => Ok(()),
        }
    }

    fn index(&mut self, batch: &[u8], meta: &BatchMeta) -> Result<(), String> {
        let header = BatchHeader::parse(batch).map_err(|error| error.to_string())?;
        let bytes_max = self.rules.records_bytes_max;
        if meta.is_control() {
            let kind = retention::marker_kind(batch, &header, &mut self.scratch, bytes_max)?;
            self.transactions.on_marker(meta, kind);
        } else if !self.transactions.on_batch(meta) || planted::is(Bug::AbortedRecordsReplace) {
            let plain = retention::open(batch, &header, &mut self.scratch, bytes_max)?;
            for record in RecordIter::new(&plain, header.records_count) {
                let record = record.map_err(|error| error.to_string())?;
                let offset = record.offset(&header);
                self.counts.read += 1;
                if let Some(key) = record.key.filter(|_| offset >= self.rules.dirty_from)
                    && !self.map.put(key, offset)
                {
                    self.full = true;
                    break;
                }
            }
            retention::give_back(&mut self.scratch, plain);
        }
        if !self.full && meta.last_offset() >= self.rules.dirty_from {
            self.map.note_end(meta.last_offset());
        }
        Ok(())
    }

    fn filter(&mut self, batch: &[u8], meta: &BatchMeta) -> Result<(), String> {
        let before = self.out.len();
        let kept = retention::filter(
            batch,
            meta,
            &self.rules,
            &self.map,
            &mut self.transactions,
            &mut self.scratch,
            &mut self.counts,
            &mut self.out,
        )?;
        let max_timestamp = match kept {
            Kept::Nothing => {
                self.changed = true;
                return Ok(());
            }
            Kept::Whole => meta.max_timestamp,
            Kept::Rewritten { max_timestamp } => {
                self.changed |= self.out[before..] != *batch;
                max_timestamp
            }
        };
        let bytes = (self.out.len() - before) as u32;
        self.kept.push(KeptBatch { last_offset: meta.last_offset(), max_timestamp, bytes });
        Ok(())
    }
}
