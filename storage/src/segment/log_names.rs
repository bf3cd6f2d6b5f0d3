//! Names of a partition's files, as Kafka 4.3 gives them: the first offset in 20 digits and a
//! suffix.
//!
//! The writer makes names, recovery and the dump read them back. Strict on reading: a name Kafka
//! would not write is not ours to touch.

use std::fmt;

/// A suffix of a file waiting to be removed.
pub const DELETED_SUFFIX: &str = ".deleted";
/// Name of the list of leader epochs in a partition's folder.
pub const LEADER_EPOCHS: &str = "leader-epoch-checkpoint";

/// What a file of a log holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum LogFileKind {
    /// Batches.
    Log,
    /// Offset to position.
    OffsetIndex,
    /// Timestamp to offset.
    TimeIndex,
    /// Aborted transactions.
    TxnIndex,
    /// Producers' states as of the offset in the name.
    Snapshot,
}

impl LogFileKind {
    /// Every kind, in the order a segment's files are removed: data first, so that a crash between
    /// leaves indexes without a log, which recovery removes.
    pub const ALL: [Self; 5] =
        [Self::Log, Self::OffsetIndex, Self::TimeIndex, Self::TxnIndex, Self::Snapshot];

    /// The suffix, with its dot.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Log => ".log",
            Self::OffsetIndex => ".index",
            Self::TimeIndex => ".timeindex",
            Self::TxnIndex => ".txnindex",
            Self::Snapshot => ".snapshot",
        }
    }
}

/// A file name of a log, read or to be written.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LogName {
    /// First offset of the segment; for a snapshot the offset it stands at. Not negative.
    pub offset: i64,
    pub kind: LogFileKind,
    /// Renamed, to be removed after `file.delete.delay.ms`.
    pub deleted: bool,
}

impl LogName {
    /// The name of a live file. `offset` is not negative.
    pub fn new(offset: i64, kind: LogFileKind) -> Self {
        assert!(offset >= 0, "a file is named by an offset");
        Self { offset, kind, deleted: false }
    }

    /// The same file on its way out.
    pub fn as_deleted(self) -> Self {
        Self { deleted: true, ..self }
    }

    /// Reads a name back; `None` for anything Kafka would not have written.
    pub fn parse(name: &str) -> Option<Self> {
        let (name, deleted) = match name.strip_suffix(DELETED_SUFFIX) {
            Some(name) => (name, true),
            None => (name, false),
        };
        let (digits, suffix) = name.split_at_checked(20)?;
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let offset = digits.parse().ok()?;
        let kind = LogFileKind::ALL.into_iter().find(|kind| kind.suffix() == suffix)?;
        Some(Self { offset, kind, deleted })
    }
}

impl fmt::Display for LogName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let deleted = if self.deleted { DELETED_SUFFIX } else { "" };
        write!(f, "{:020}{}{deleted}", self.offset, self.kind.suffix())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kafkas() {
        let name = |kind| LogName::new(368_769, kind).to_string();
        assert_eq!(name(LogFileKind::Log), "00000000000000368769.log");
        assert_eq!(name(LogFileKind::OffsetIndex), "00000000000000368769.index");
        assert_eq!(name(LogFileKind::TimeIndex), "00000000000000368769.timeindex");
        assert_eq!(name(LogFileKind::TxnIndex), "00000000000000368769.txnindex");
        assert_eq!(name(LogFileKind::Snapshot), "00000000000000368769.snapshot");
        let deleted = LogName::new(0, LogFileKind::Log).as_deleted();
        assert_eq!(deleted.to_string(), "00000000000000000000.log.deleted");
    }

    #[test]
    fn every_name_reads_back() {
        for kind in LogFileKind::ALL {
            for offset in [0, 1, i64::MAX] {
                let name = LogName::new(offset, kind);
                assert_eq!(LogName::parse(&name.to_string()), Some(name));
                let deleted = name.as_deleted();
                assert_eq!(LogName::parse(&deleted.to_string()), Some(deleted));
            }
        }
    }

    #[test]
    fn strangers_are_left_alone() {
        for name in [
            "",
            "leader-epoch-checkpoint",
            "partition.metadata",
            "0.log",
            "00000000000000000000",
            "00000000000000000000.logs",
            "0000000000000000000a.log",
            "99999999999999999999.log",
            "-0000000000000000001.log",
            "+0000000000000000001.log",
            "00000000000000000000.log.cleaned",
            "0000000000000000000é.log",
        ] {
            assert_eq!(LogName::parse(name), None, "{name}");
        }
    }
}
