//! Leader epochs of a partition's log: which epoch began at which offset.
//!
//! Answers "where did epoch e end?", by which a follower or a client finds what it has beyond the
//! leader (KIP-101, KIP-279, KIP-320). A function of the log: recovery rebuilds it from the
//! batches. Written in Kafka's `leader-epoch-checkpoint` text. Source: Kafka 4.3's
//! `LeaderEpochFileCache`.

use std::fmt::Write;

use crate::limits::LEADER_EPOCHS_MAX;

/// An epoch and the first offset written in it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct EpochEntry {
    pub epoch: i32,
    pub start_offset: i64,
}

/// Where an epoch ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EpochEnd {
    /// The largest epoch not above the one asked for.
    pub epoch: i32,
    /// Exclusive.
    pub end_offset: i64,
}

/// The epochs of one log. Both numbers grow from entry to entry.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct EpochCache {
    /// At most `LEADER_EPOCHS_MAX`.
    entries: Vec<EpochEntry>,
}

impl EpochCache {
    /// The batch at `start_offset` was written in `epoch`. Gives whether this starts an epoch.
    ///
    /// Entries it contradicts go: those of this epoch or a later one, and those that start here or
    /// later.
    pub fn assign(&mut self, epoch: i32, start_offset: i64) -> bool {
        if epoch < 0 || start_offset < 0 {
            // A batch that was never in a leader's log carries epoch -1.
            return false;
        }
        if self
            .latest()
            .is_some_and(|last| last.epoch == epoch && last.start_offset <= start_offset)
        {
            return false;
        }
        self.entries.retain(|entry| entry.epoch < epoch && entry.start_offset < start_offset);
        if self.entries.len() == LEADER_EPOCHS_MAX {
            self.entries.remove(0);
        }
        self.entries.push(EpochEntry { epoch, start_offset });
        true
    }

    /// Where `epoch` ended in a log that ends at `log_end`. `None` when the epoch is later than any
    /// known here, or nothing is known.
    pub fn end_offset_for(&self, epoch: i32, log_end: i64) -> Option<EpochEnd> {
        let latest = self.latest()?;
        if epoch == latest.epoch {
            return Some(EpochEnd { epoch, end_offset: log_end });
        }
        let above = self.entries.partition_point(|entry| entry.epoch <= epoch);
        let end_offset = self.entries.get(above)?.start_offset;
        // Below every epoch known: the epoch itself is answered, ending where the first known one
        // starts.
        let epoch = above.checked_sub(1).map_or(epoch, |below| self.entries[below].epoch);
        (epoch >= 0).then_some(EpochEnd { epoch, end_offset })
    }

    /// The epoch of the record at `offset`.
    pub fn epoch_of(&self, offset: i64) -> Option<i32> {
        let after = self.entries.partition_point(|entry| entry.start_offset <= offset);
        after.checked_sub(1).map(|at| self.entries[at].epoch)
    }

    /// The log now ends at `end_offset`: epochs that start there or later go.
    pub fn truncate_from_end(&mut self, end_offset: i64) {
        self.entries.retain(|entry| entry.start_offset < end_offset);
    }

    /// The log now starts at `start_offset`: epochs that ended before it go, and the one it lies in
    /// starts there.
    pub fn truncate_from_start(&mut self, start_offset: i64) {
        let kept = self.entries.partition_point(|entry| entry.start_offset <= start_offset);
        if let Some(first) = kept.checked_sub(1) {
            self.entries.drain(..first);
            self.entries[0].start_offset = start_offset;
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// The last epoch.
    pub fn latest(&self) -> Option<EpochEntry> {
        self.entries.last().copied()
    }

    /// The entries, oldest first.
    pub fn entries(&self) -> &[EpochEntry] {
        &self.entries
    }

    /// The text of `leader-epoch-checkpoint`: version 0, the number of entries, an entry on each
    /// line.
    pub fn encode(&self) -> String {
        let mut out = format!("0\n{}\n", self.entries.len());
        for entry in &self.entries {
            writeln!(out, "{} {}", entry.epoch, entry.start_offset).expect("a string takes all");
        }
        out
    }

    /// Reads the text back. An error means: rebuild from the log.
    pub fn decode(text: &[u8]) -> Result<Self, EpochFileError> {
        let text = str::from_utf8(text).map_err(|_| EpochFileError { line: 1 })?;
        let mut lines = text.lines().zip(1..);
        let mut number = |line: usize| {
            lines.next().and_then(|(text, _)| text.parse().ok()).ok_or(EpochFileError { line })
        };
        let version: u64 = number(1)?;
        let count: u64 = number(2)?;
        if version != 0 {
            return Err(EpochFileError { line: 1 });
        }
        if count > LEADER_EPOCHS_MAX as u64 {
            return Err(EpochFileError { line: 2 });
        }
        let mut entries: Vec<EpochEntry> = Vec::new();
        for (text, line) in lines {
            let entry = parse_entry(text).ok_or(EpochFileError { line })?;
            let grows = entries.last().is_none_or(|last| {
                last.epoch < entry.epoch && last.start_offset < entry.start_offset
            });
            if !grows || entry.epoch < 0 || entry.start_offset < 0 {
                return Err(EpochFileError { line });
            }
            entries.push(entry);
        }
        if entries.len() as u64 != count {
            return Err(EpochFileError { line: 2 });
        }
        Ok(Self { entries })
    }
}

/// A `leader-epoch-checkpoint` that cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("leader epochs do not read at line {line}")]
pub struct EpochFileError {
    pub line: usize,
}

fn parse_entry(text: &str) -> Option<EpochEntry> {
    let (epoch, start_offset) = text.split_once(' ')?;
    Some(EpochEntry { epoch: epoch.parse().ok()?, start_offset: start_offset.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Epochs 2, 4 and 7 from offsets 0, 10 and 30.
    fn cache() -> EpochCache {
        let mut cache = EpochCache::default();
        for (epoch, start_offset) in [(2, 0), (4, 10), (7, 30)] {
            assert!(cache.assign(epoch, start_offset));
        }
        cache
    }

    fn pairs(cache: &EpochCache) -> Vec<(i32, i64)> {
        cache.entries().iter().map(|entry| (entry.epoch, entry.start_offset)).collect()
    }

    #[test]
    fn batches_of_the_same_epoch_change_nothing() {
        let mut cache = cache();
        assert!(!cache.assign(7, 31));
        assert!(!cache.assign(-1, 40));
        assert_eq!(pairs(&cache), [(2, 0), (4, 10), (7, 30)]);
    }

    #[test]
    fn an_assignment_removes_what_it_contradicts() {
        for (epoch, start_offset, left) in [
            (8, 20, vec![(2, 0), (4, 10), (8, 20)]),
            (4, 40, vec![(2, 0), (4, 40)]),
            (9, 0, vec![(9, 0)]),
            (7, 5, vec![(2, 0), (7, 5)]),
        ] {
            let mut cache = cache();
            assert!(cache.assign(epoch, start_offset));
            assert_eq!(pairs(&cache), left, "epoch {epoch} at {start_offset}");
        }
    }

    #[test]
    fn an_epoch_ends_where_the_next_one_known_starts() {
        let end = |epoch| cache().end_offset_for(epoch, 50).map(|end| (end.epoch, end.end_offset));
        assert_eq!(end(7), Some((7, 50)));
        assert_eq!(end(8), None);
        assert_eq!(end(6), Some((4, 30)));
        assert_eq!(end(4), Some((4, 30)));
        assert_eq!(end(3), Some((2, 10)));
        assert_eq!(end(1), Some((1, 0)));
        assert_eq!(end(-1), None);
        assert_eq!(EpochCache::default().end_offset_for(0, 50), None);
    }

    #[test]
    fn a_record_has_the_epoch_that_had_begun() {
        let cache = cache();
        assert_eq!(cache.epoch_of(0), Some(2));
        assert_eq!(cache.epoch_of(29), Some(4));
        assert_eq!(cache.epoch_of(30), Some(7));
        assert_eq!(EpochCache::default().epoch_of(3), None);
    }

    #[test]
    fn truncation_from_the_end_removes_epochs_that_start_there_or_later() {
        for (end, left) in [(31, 3), (30, 2), (10, 1), (0, 0)] {
            let mut cache = cache();
            cache.truncate_from_end(end);
            assert_eq!(cache.entries().len(), left, "to {end}");
        }
    }

    #[test]
    fn truncation_from_the_start_keeps_the_epoch_it_lies_in() {
        for (start, left) in [
            (0, vec![(2, 0), (4, 10), (7, 30)]),
            (9, vec![(2, 9), (4, 10), (7, 30)]),
            (10, vec![(4, 10), (7, 30)]),
            (100, vec![(7, 100)]),
        ] {
            let mut cache = cache();
            cache.truncate_from_start(start);
            assert_eq!(pairs(&cache), left, "to {start}");
        }
        let mut later = EpochCache::default();
        later.assign(3, 20);
        later.truncate_from_start(5);
        assert_eq!(pairs(&later), [(3, 20)]);
    }

    #[test]
    fn the_text_is_kafkas_and_reads_back() {
        let cache = cache();
        assert_eq!(cache.encode(), "0\n3\n2 0\n4 10\n7 30\n");
        assert_eq!(EpochCache::decode(cache.encode().as_bytes()), Ok(cache));
        let empty = EpochCache::default();
        assert_eq!(EpochCache::decode(empty.encode().as_bytes()), Ok(empty));
    }

    #[test]
    fn a_damaged_text_is_refused_with_its_line() {
        for (text, line) in [
            ("", 1),
            ("1\n0\n", 1),
            ("0\nx\n", 2),
            ("0\n2\n0 0\n", 2),
            ("0\n1\n0 0\n1 5\n", 2),
            ("0\n99999999999\n", 2),
            ("0\n1\n0\n", 3),
            ("0\n2\n1 0\n1 5\n", 4),
            ("0\n2\n1 5\n2 5\n", 4),
            ("0\n1\n-1 5\n", 3),
        ] {
            assert_eq!(
                EpochCache::decode(text.as_bytes()),
                Err(EpochFileError { line }),
                "{text:?}"
            );
        }
        assert!(EpochCache::decode(&[0xff, 0xfe]).is_err());
    }

    #[test]
    fn at_the_bound_the_oldest_epoch_goes() {
        let mut cache = EpochCache::default();
        for epoch in 0..=LEADER_EPOCHS_MAX as i32 {
            cache.assign(epoch, i64::from(epoch));
        }
        assert_eq!(cache.entries().len(), LEADER_EPOCHS_MAX);
        assert_eq!(cache.entries()[0].epoch, 1);
    }
}
