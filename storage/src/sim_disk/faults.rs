//! What goes wrong on a simulated disk, when, and how often it did.

use super::file::SectorCounts;
use super::names::NameCounts;
use crate::op::{DiskError, DiskOp};

/// Which operations a fault waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ops {
    Any,
    /// `Write`, `WriteVectored`, `ReplaceFile`.
    Write,
    /// `Read`, `ReadFile`.
    Read,
    /// `Sync`, `SyncDir`.
    Sync,
    /// `Open`.
    Open,
    /// `Rename`, `Remove`, `RemoveTree`, `CreateDir`.
    Name,
    /// Those that change something: all but `Read`, `ReadFile`, `List`, `Close` and opening for
    /// reading.
    Change,
}

impl Ops {
    pub(super) fn takes(self, op: &DiskOp) -> bool {
        match self {
            Self::Any => true,
            Self::Write => matches!(
                op,
                DiskOp::Write { .. } | DiskOp::WriteVectored { .. } | DiskOp::ReplaceFile { .. }
            ),
            Self::Read => matches!(op, DiskOp::Read { .. } | DiskOp::ReadFile { .. }),
            Self::Sync => matches!(op, DiskOp::Sync { .. } | DiskOp::SyncDir { .. }),
            Self::Open => matches!(op, DiskOp::Open { .. }),
            Self::Name => matches!(
                op,
                DiskOp::Rename { .. }
                    | DiskOp::Remove { .. }
                    | DiskOp::RemoveTree { .. }
                    | DiskOp::CreateDir { .. }
            ),
            Self::Change => !matches!(
                op,
                DiskOp::Read { .. }
                    | DiskOp::ReadFile { .. }
                    | DiskOp::List { .. }
                    | DiskOp::Close { .. }
                    | DiskOp::Clean { .. }
            ),
        }
    }
}

/// What happens to the operation a fault meets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// It changes nothing and fails so. A failed sync also forsakes what it covered: a later sync
    /// succeeds without making that durable.
    Fail(DiskError),
    /// A write that changes some of its sectors and then fails with EIO. Others just fail.
    Tear,
    /// A write or a read of fewer bytes than asked for, whole blocks. Others are not touched.
    Short,
    /// It takes so many steps longer.
    Slow { steps: u64 },
    /// It does not complete until `SimDisk::release_stuck`.
    Stuck,
    /// The power goes while it is under way.
    PowerCut,
}

/// One thing that goes wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    pub ops: Ops,
    /// Only operations on a path that contains this.
    pub path: Option<String>,
    /// So many of them pass first.
    pub skip: u64,
    /// Goes on with every such operation, instead of once.
    pub sticky: bool,
    pub effect: Effect,
}

impl Fault {
    /// `effect` on the operation after `skip` of `ops`, once.
    pub fn once(ops: Ops, skip: u64, effect: Effect) -> Self {
        Self { ops, path: None, skip, sticky: false, effect }
    }

    /// `effect` on every operation of `ops` whose path contains `path`.
    pub fn always(ops: Ops, path: impl Into<String>, effect: Effect) -> Self {
        Self { ops, path: Some(path.into()), skip: 0, sticky: true, effect }
    }
}

/// What was done and what went wrong.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct SimCounts {
    /// Operations executed, successful or not.
    pub ops: u64,
    pub writes: u64,
    pub syncs: u64,
    pub failed: u64,
    pub torn: u64,
    pub short: u64,
    pub slow: u64,
    pub stuck: u64,
    pub no_space: u64,
    pub read_only: u64,
    pub power_cuts: u64,
    pub kills: u64,
    pub bits_flipped: u64,
    pub sectors: SectorCounts,
    pub names: NameCounts,
}
