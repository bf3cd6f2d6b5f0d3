//! What an operation does when it completes: whole, or cut short.
//!
//! When it does, and whether it meets a fault before, `sim_disk` has decided.

use super::file::SimFile;
use super::names::{self, Node};
use super::requests::{returned, write_bytes, write_durability, write_range};
use super::{EFBIG, Handle, InFlight, Ops, SimDisk};
use crate::buffer::AlignedBuf;
use crate::limits::BLOCK_BYTES;
use crate::op::{
    DirEntry, DiskError, DiskOk, DiskOp, DiskPath, Durability, FileId, OpenMode, Root,
};

impl SimDisk {
    pub(super) fn execute_short(&mut self, waiting: InFlight) -> Result<DiskOk, DiskError> {
        if let Some((file, position, bytes)) = write_range(&waiting.op) {
            self.counts.short += 1;
            let blocks = (bytes / BLOCK_BYTES) as u64;
            let written = self.tears.below(blocks) as usize * BLOCK_BYTES;
            let data = write_bytes(&waiting.op);
            let target = self.file_mut(waiting.client, file);
            target.write(position as usize, &data[..written]);
            return Ok(DiskOk::Written { bytes: written as u64, buffer: returned(waiting.op) });
        }
        let is_read = matches!(waiting.op, DiskOp::Read { .. });
        match self.execute_whole(waiting) {
            Ok(DiskOk::Read { bytes, mut buffer }) if is_read && bytes > 0 => {
                self.counts.short += 1;
                let blocks = u64::from(bytes).div_ceil(BLOCK_BYTES as u64);
                let bytes = self.tears.below(blocks) as u32 * BLOCK_BYTES as u32;
                buffer.set_len(bytes as usize);
                Ok(DiskOk::Read { bytes, buffer })
            }
            result => result,
        }
    }

    pub(super) fn execute_whole(&mut self, waiting: InFlight) -> Result<DiskOk, DiskError> {
        let InFlight { client, op, mark, .. } = waiting;
        if self.read_only && self.changes_something(&op) {
            self.counts.read_only += 1;
            return Err(DiskError::ReadOnly);
        }
        match op {
            DiskOp::Open { file, path, mode, .. } => self.open(client, file, path, mode),
            DiskOp::Close { file, .. } => {
                self.handles.remove(&(client, file));
                Ok(DiskOk::Done)
            }
            DiskOp::Write { .. } | DiskOp::WriteVectored { .. } => self.write(client, op),
            DiskOp::Read { file, position, buffer, .. } => {
                Ok(self.read(client, file, position, buffer))
            }
            DiskOp::Sync { file, .. } => {
                self.file_mut(client, file).sync(mark);
                Ok(DiskOk::Done)
            }
            DiskOp::Truncate { file, bytes, .. } => {
                if !self.has_space_for(client, file, bytes) {
                    return Err(self.no_space());
                }
                self.file_mut(client, file).set_length(bytes as usize);
                Ok(DiskOk::Done)
            }
            DiskOp::Rename { from, to, .. } => {
                let within = (from.volume, from.root) == (to.volume, to.root);
                assert!(within, "a rename stays within its root");
                let folder = names::parent(&to).expect("a file has a name");
                if !self.names.has_folder(&folder) || !self.names.rename(&from, &to) {
                    return Err(DiskError::NotFound);
                }
                Ok(DiskOk::Done)
            }
            DiskOp::Remove { path, .. } => {
                self.names.unlink(&path);
                Ok(DiskOk::Done)
            }
            DiskOp::RemoveTree { path, .. } => {
                self.names.remove_tree(&path);
                Ok(DiskOk::Done)
            }
            DiskOp::CreateDir { path, .. } => {
                self.names.make_folder(&path);
                Ok(DiskOk::Done)
            }
            DiskOp::SyncDir { path, .. } => {
                if !self.names.has_folder(&path) {
                    return Err(DiskError::NotFound);
                }
                self.names.sync(&path, mark);
                Ok(DiskOk::Done)
            }
            DiskOp::List { path, .. } => Ok(DiskOk::Names(self.list(&path))),
            DiskOp::ReplaceFile { path, bytes, durability, .. } => {
                self.replace(&path, bytes, durability)
            }
            DiskOp::Clean { mut work, .. } => {
                work.run();
                Ok(DiskOk::Cleaned(work))
            }
            DiskOp::ReadFile { path, bytes_max, .. } => match self.contents(&path) {
                Some(contents) if contents.len() as u64 > bytes_max => {
                    Err(DiskError::Io { errno: EFBIG })
                }
                contents => Ok(DiskOk::Contents(contents.map(<[u8]>::to_vec))),
            },
        }
    }

    fn changes_something(&self, op: &DiskOp) -> bool {
        match op {
            DiskOp::Open { path, mode, .. } => match mode {
                OpenMode::Read => false,
                OpenMode::ReadWrite | OpenMode::Create => true,
                OpenMode::CreateOrOpen => self.names.get(path).is_none(),
            },
            op => Ops::Change.takes(op),
        }
    }

    fn open(
        &mut self,
        client: u16,
        file: FileId,
        path: DiskPath,
        mode: OpenMode,
    ) -> Result<DiskOk, DiskError> {
        let (creates, must_create) = match mode {
            OpenMode::Read | OpenMode::ReadWrite => (false, false),
            OpenMode::Create => (true, true),
            OpenMode::CreateOrOpen => (true, false),
        };
        let node = match self.names.get(&path) {
            Some(_) if must_create => return Err(DiskError::Exists),
            Some(node) => node,
            None if creates => {
                let node = self.add_node(SimFile::default());
                self.names.link(&path, node);
                node
            }
            None => return Err(DiskError::NotFound),
        };
        let writable = mode != OpenMode::Read;
        self.handles.insert((client, file), Handle { node, path, writable });
        Ok(DiskOk::Opened { bytes: self.nodes[&node].current.len() as u64 })
    }

    fn write(&mut self, client: u16, op: DiskOp) -> Result<DiskOk, DiskError> {
        let (file, position, bytes) = write_range(&op).expect("the caller matched a write");
        if !self.has_space_for(client, file, position + bytes as u64) {
            return Err(self.no_space());
        }
        let data = write_bytes(&op);
        let target = self.file_mut(client, file);
        match write_durability(&op) {
            Durability::Volatile => target.write(position as usize, &data),
            Durability::Synced => target.write_synced(position as usize, &data),
        }
        Ok(DiskOk::Written { bytes: bytes as u64, buffer: returned(op) })
    }

    fn read(&self, client: u16, file: FileId, position: u64, mut buffer: AlignedBuf) -> DiskOk {
        if buffer.is_empty() {
            buffer.set_len(buffer.capacity());
        }
        let contents = &self.file_of(client, file).current;
        let start = (position as usize).min(contents.len());
        let bytes = buffer.len().min(contents.len() - start);
        buffer.set_len(bytes);
        buffer.as_mut_slice().copy_from_slice(&contents[start..start + bytes]);
        DiskOk::Read { bytes: bytes as u32, buffer }
    }

    fn list(&self, path: &DiskPath) -> Vec<DirEntry> {
        let entry = |(name, node): (String, Option<Node>)| DirEntry {
            name,
            is_dir: node.is_none(),
            bytes: node.map_or(0, |node| self.nodes[&node].current.len() as u64),
        };
        self.names.list(path).into_iter().map(entry).collect()
    }

    fn replace(
        &mut self,
        path: &DiskPath,
        bytes: Vec<u8>,
        durability: Durability,
    ) -> Result<DiskOk, DiskError> {
        // The old file is there until the new one is whole.
        let fits = |space: u64| self.used_bytes() + bytes.len() as u64 <= space;
        if path.root != Root::Memory && !self.config.space_bytes.is_none_or(fits) {
            return Err(self.no_space());
        }
        match durability {
            Durability::Volatile => {
                let mut file = SimFile::default();
                file.write(0, &bytes);
                let node = self.add_node(file);
                self.names.link(path, node);
            }
            Durability::Synced => {
                let node = self.add_node(SimFile::durable(bytes));
                self.names.link(path, node);
                let folder = names::parent(path).expect("a file has a name");
                let mark = self.names.mark();
                self.names.sync(&folder, mark);
            }
        }
        Ok(DiskOk::Done)
    }

    pub(super) fn has_space_for(&self, client: u16, file: FileId, length: u64) -> bool {
        let Some(space_bytes) = self.config.space_bytes else {
            return true;
        };
        let handle = self.handle(client, file);
        let now = self.nodes[&handle.node].current.len() as u64;
        handle.path.root == Root::Memory
            || length <= now
            || self.used_bytes() + (length - now) <= space_bytes
    }

    fn no_space(&mut self) -> DiskError {
        self.counts.no_space += 1;
        DiskError::NoSpace
    }
}
