//! What a request to the disk says: its file, its place, its bytes.

use std::borrow::Cow;

use crate::buffer::{AlignedBuf, SharedBuf};
use crate::op::{DiskOp, Durability, FileId, WriteBuf};

pub(super) fn file_id(op: &DiskOp) -> Option<FileId> {
    match op {
        DiskOp::Open { file, .. }
        | DiskOp::Close { file, .. }
        | DiskOp::Write { file, .. }
        | DiskOp::WriteVectored { file, .. }
        | DiskOp::Read { file, .. }
        | DiskOp::Sync { file, .. }
        | DiskOp::Truncate { file, .. } => Some(*file),
        DiskOp::Rename { .. }
        | DiskOp::Remove { .. }
        | DiskOp::RemoveTree { .. }
        | DiskOp::CreateDir { .. }
        | DiskOp::SyncDir { .. }
        | DiskOp::List { .. }
        | DiskOp::ReplaceFile { .. }
        | DiskOp::ReadFile { .. }
        | DiskOp::Clean { .. } => None,
    }
}

/// File, position and bytes of a write.
pub(super) fn write_range(op: &DiskOp) -> Option<(FileId, u64, usize)> {
    match op {
        DiskOp::Write { file, position, buffer, .. } => {
            Some((*file, *position, buffer.as_slice().len()))
        }
        DiskOp::WriteVectored { file, position, buffers, .. } => {
            Some((*file, *position, buffers.iter().map(|buffer| buffer.len()).sum()))
        }
        _ => None,
    }
}

/// The bytes of a write; empty for anything else.
pub(super) fn write_bytes(op: &DiskOp) -> Cow<'_, [u8]> {
    match op {
        DiskOp::Write { buffer, .. } => Cow::Borrowed(buffer.as_slice()),
        DiskOp::WriteVectored { buffers, .. } => {
            let slices: Vec<&[u8]> = buffers.iter().map(SharedBuf::as_slice).collect();
            Cow::Owned(slices.concat())
        }
        _ => Cow::Borrowed(&[]),
    }
}

pub(super) fn write_durability(op: &DiskOp) -> Durability {
    match op {
        DiskOp::Write { durability, .. } | DiskOp::WriteVectored { durability, .. } => *durability,
        _ => Durability::Volatile,
    }
}

/// The buffer that goes back with a write's completion.
pub(super) fn returned(op: DiskOp) -> Option<AlignedBuf> {
    match op {
        DiskOp::Write { buffer: WriteBuf::Owned(buffer), .. } => Some(buffer),
        _ => None,
    }
}
