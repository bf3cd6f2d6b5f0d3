//! Which part of a log is worth cleaning, and which of its segments become one.
//!
//! Functions of a log as memory knows it and of the wall clock; they change nothing. Source: Kafka
//! 4.3's `LogCleanerManager` and `Cleaner.groupSegmentsBySize`.

use std::collections::VecDeque;

use crate::log::Log;
use crate::log::segment::Segment;
use crate::planted::{self, Bug};

/// The dirty section of a log, and how dirty it makes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Dirty {
    /// First offset that no round has covered.
    pub from: i64,
    /// Exclusive end: a segment's base.
    pub end: i64,
    pub clean_bytes: u64,
    pub dirty_bytes: u64,
    /// `max.compaction.lag.ms` has passed for its oldest record.
    pub overdue: bool,
    /// A sealed segment waits for its files to be closed, and for a checkpoint that says so: the
    /// section ends before it.
    pub waits_for_files: bool,
}

impl Dirty {
    /// Share of the log that no round has covered, in millionths.
    pub fn ratio_ppm(&self) -> u64 {
        let total = self.clean_bytes.saturating_add(self.dirty_bytes);
        match total {
            0 => 0,
            total => (u128::from(self.dirty_bytes) * 1_000_000 / u128::from(total)) as u64,
        }
    }

    /// Whether it is to be cleaned: dirty enough, or overdue.
    pub fn is_due(&self, ratio_min_ppm: u32) -> bool {
        self.dirty_bytes > 0 && (self.overdue || self.ratio_ppm() > u64::from(ratio_min_ppm))
    }
}

/// The dirty section of a compacted log; `None` when it has none, or may not be cleaned.
///
/// It ends before the active segment, before the first record that is not stable, and before the
/// first segment with a record younger than `min.compaction.lag.ms`.
pub(crate) fn dirty(log: &Log, wall_ms: i64) -> Option<Dirty> {
    let config = &log.config;
    if !config.compact || log.failed.is_some() || log.uncleanable.is_some() {
        return None;
    }
    let from = match log.cleaned_end {
        end if end > log.log_end => log.log_start,
        end => end.max(log.log_start),
    };
    let stable = log.last_stable();
    let mut dirty = Dirty {
        from,
        end: from,
        clean_bytes: 0,
        dirty_bytes: 0,
        overdue: false,
        waits_for_files: false,
    };
    for (at, segment) in log.segments.iter().enumerate() {
        let Some(next) = log.segments.get(at + 1) else { break };
        if next.base <= from {
            dirty.clean_bytes += u64::from(segment.bytes);
            continue;
        }
        if next.base > stable || is_too_young(segment, config.min_compaction_lag_ms, wall_ms) {
            break;
        }
        dirty.dirty_bytes += u64::from(segment.bytes);
        let oldest = segment.first_timestamp.unwrap_or(-1);
        dirty.overdue |=
            oldest > 0 && oldest < wall_ms.saturating_sub(config.max_compaction_lag_ms);
        // A start would replay into a segment that its checkpoint knows unfinished, and that a
        // swap has replaced.
        let described = next.base <= log.described_end || planted::is(Bug::SwapBeforeCheckpoint);
        if !segment.finished || !described {
            dirty.waits_for_files = true;
            continue;
        }
        if !dirty.waits_for_files {
            dirty.end = next.base;
        }
    }
    (dirty.end > from || dirty.waits_for_files).then_some(dirty)
}

fn is_too_young(segment: &Segment, lag_ms: i64, wall_ms: i64) -> bool {
    let max = segment.max_timestamp().timestamp;
    let youngest = if max >= 0 { max } else { segment.created_ms };
    lag_ms > 0 && youngest > wall_ms.saturating_sub(lag_ms)
}

/// Bases of the segments below `end`, neighbours together that fit into one.
pub(crate) fn groups(log: &Log, end: i64) -> VecDeque<Vec<i64>> {
    let config = &log.config;
    let mut groups: VecDeque<Vec<i64>> = VecDeque::new();
    let (mut bytes, mut offsets, mut times) = (0u64, 0u64, 0u64);
    for (at, segment) in log.segments.iter().enumerate() {
        let last = log.segments.get(at + 1).map_or(log.log_end, |next| next.base) - 1;
        if segment.base >= end || !segment.finished {
            break;
        }
        let sizes = [segment.bytes, segment.offsets_bytes(), segment.times_bytes()].map(u64::from);
        let index_max = u64::from(config.index_bytes_max);
        let fits = groups.back().and_then(|group| group.first()).is_some_and(|first| {
            bytes + sizes[0] <= u64::from(config.segment_bytes)
                && offsets + sizes[1] <= index_max
                && times + sizes[2] <= index_max
                && last - first <= i64::from(i32::MAX)
        });
        if fits && let Some(group) = groups.back_mut() {
            group.push(segment.base);
            (bytes, offsets, times) = (bytes + sizes[0], offsets + sizes[1], times + sizes[2]);
        } else {
            groups.push_back(vec![segment.base]);
            [bytes, offsets, times] = sizes;
        }
    }
    groups
}
