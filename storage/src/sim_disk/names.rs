//! The simulated file system's names: what a listing shows, what survives for certain, and the
//! changes between the two, which last until their folder is synced.

use std::collections::{BTreeMap, BTreeSet};

use crate::op::DiskPath;
use crate::prng::Prng;

/// A file behind its names.
pub(super) type Node = usize;

/// Names of files and folders.
#[derive(Clone, Default, Debug)]
pub(super) struct Names {
    current: Tree,
    durable: Tree,
    pending: Vec<(u64, NameChange)>,
    next_seq: u64,
}

#[derive(Clone, Default, Debug)]
struct Tree {
    files: BTreeMap<DiskPath, Node>,
    folders: BTreeSet<DiskPath>,
}

#[derive(Clone, Debug)]
enum NameChange {
    Link { path: DiskPath, node: Node },
    Unlink { path: DiskPath },
    Rename { from: DiskPath, to: DiskPath, node: Node },
    MakeFolder { path: DiskPath },
    RemoveFolder { path: DiskPath },
}

/// What a power cut did to names.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct NameCounts {
    pub kept: u64,
    pub lost: u64,
}

impl Names {
    pub(super) fn get(&self, path: &DiskPath) -> Option<Node> {
        self.current.files.get(path).copied()
    }

    /// Every file by name.
    pub(super) fn files(&self) -> impl Iterator<Item = (&DiskPath, Node)> {
        self.current.files.iter().map(|(path, node)| (path, *node))
    }

    /// Whether a name or a durable name still leads to `node`.
    pub(super) fn reaches(&self, node: Node) -> bool {
        let named = |tree: &Tree| tree.files.values().any(|named| *named == node);
        let waits = |(_, change): &(u64, NameChange)| match change {
            NameChange::Link { node: linked, .. } | NameChange::Rename { node: linked, .. } => {
                *linked == node
            }
            NameChange::Unlink { .. }
            | NameChange::MakeFolder { .. }
            | NameChange::RemoveFolder { .. } => false,
        };
        named(&self.current) || named(&self.durable) || self.pending.iter().any(waits)
    }

    /// Names directly in `folder`: files with their node, folders without.
    pub(super) fn list(&self, folder: &DiskPath) -> Vec<(String, Option<Node>)> {
        let inside = |path: &DiskPath| {
            (parent(path).as_ref() == Some(folder)).then(|| base_name(path).to_owned())
        };
        let files = self.current.files.iter();
        let files = files.filter_map(|(path, node)| Some((inside(path)?, Some(*node))));
        let folders = self.current.folders.iter().filter_map(|path| Some((inside(path)?, None)));
        let mut names: Vec<_> = files.chain(folders).collect();
        names.sort();
        names
    }

    /// Changes made so far; a folder's sync covers those below the mark taken when it is submitted.
    pub(super) fn mark(&self) -> u64 {
        self.next_seq
    }

    pub(super) fn link(&mut self, path: &DiskPath, node: Node) {
        self.make_parents(path);
        self.change(NameChange::Link { path: path.clone(), node });
    }

    pub(super) fn unlink(&mut self, path: &DiskPath) {
        if self.current.files.contains_key(path) {
            self.change(NameChange::Unlink { path: path.clone() });
        }
    }

    /// False when there is no such file.
    pub(super) fn rename(&mut self, from: &DiskPath, to: &DiskPath) -> bool {
        let Some(node) = self.get(from) else {
            return false;
        };
        if from != to {
            self.change(NameChange::Rename { from: from.clone(), to: to.clone(), node });
        }
        true
    }

    pub(super) fn make_folder(&mut self, path: &DiskPath) {
        self.make_parents(path);
        if !path.path.is_empty() && !self.current.folders.contains(path) {
            self.change(NameChange::MakeFolder { path: path.clone() });
        }
    }

    /// Whether the folder is there; a root always is.
    pub(super) fn has_folder(&self, path: &DiskPath) -> bool {
        path.path.is_empty() || self.current.folders.contains(path)
    }

    pub(super) fn remove_tree(&mut self, path: &DiskPath) {
        let below = |other: &DiskPath| other == path || is_below(other, path);
        let files: Vec<_> = self.current.files.keys().filter(|p| below(p)).cloned().collect();
        let folders: Vec<_> =
            self.current.folders.iter().filter(|p| below(p)).rev().cloned().collect();
        files.into_iter().for_each(|path| self.change(NameChange::Unlink { path }));
        folders.into_iter().for_each(|path| self.change(NameChange::RemoveFolder { path }));
    }

    /// Makes the changes in `folder` below `mark` durable, and the folder's own name with those
    /// above.
    pub(super) fn sync(&mut self, folder: &DiskPath, mark: u64) {
        for (seq, change) in std::mem::take(&mut self.pending) {
            if seq < mark && change.is_made_durable_by(folder) {
                self.durable.apply(&change);
            } else {
                self.pending.push((seq, change));
            }
        }
    }

    /// Power is gone: keeps all, none, a prefix or a subset of the pending changes, and nothing of
    /// the shared memory.
    pub(super) fn cut(&mut self, prng: &mut Prng, counts: &mut NameCounts) {
        let pending = std::mem::take(&mut self.pending);
        let way = prng.below(4);
        let prefix = prng.between(0, pending.len() as u64);
        for (index, (_, change)) in pending.iter().enumerate() {
            let keep = match way {
                0 => false,
                1 => true,
                2 => (index as u64) < prefix,
                _ => prng.one_in(2),
            };
            if keep {
                self.durable.apply(change);
                counts.kept += 1;
            } else {
                counts.lost += 1;
            }
        }
        // A folder whose removal was kept but which still holds something was not empty after all.
        let files: Vec<_> = self.durable.files.keys().cloned().collect();
        files.iter().for_each(|path| self.durable.make_parents(path));
        self.current.clone_from(&self.durable);
    }

    /// Forgets every name the predicate does not keep, for certain.
    pub(super) fn retain(&mut self, keep: impl Fn(&DiskPath) -> bool) {
        for tree in [&mut self.current, &mut self.durable] {
            tree.files.retain(|path, _| keep(path));
            tree.folders.retain(&keep);
        }
        self.pending.retain(|(_, change)| keep(change.path()));
    }

    fn make_parents(&mut self, path: &DiskPath) {
        if let Some(parent) = parent(path) {
            self.make_folder(&parent);
        }
    }

    fn change(&mut self, change: NameChange) {
        self.current.apply(&change);
        self.pending.push((self.next_seq, change));
        self.next_seq += 1;
    }
}

impl NameChange {
    fn path(&self) -> &DiskPath {
        match self {
            Self::Link { path, .. }
            | Self::Unlink { path }
            | Self::Rename { to: path, .. }
            | Self::MakeFolder { path }
            | Self::RemoveFolder { path } => path,
        }
    }

    fn is_made_durable_by(&self, folder: &DiskPath) -> bool {
        let in_folder = |path: &DiskPath| parent(path).as_ref() == Some(folder);
        match self {
            Self::Link { path, .. } | Self::Unlink { path } | Self::RemoveFolder { path } => {
                in_folder(path)
            }
            Self::Rename { from, to, .. } => in_folder(from) || in_folder(to),
            Self::MakeFolder { path } => {
                in_folder(path) || path == folder || is_below(folder, path)
            }
        }
    }
}

impl Tree {
    fn apply(&mut self, change: &NameChange) {
        match change {
            NameChange::Link { path, node } => {
                self.make_parents(path);
                self.files.insert(path.clone(), *node);
            }
            NameChange::Unlink { path } => {
                self.files.remove(path);
            }
            NameChange::Rename { from, to, node } => {
                // The old name may lead to a later file by now.
                if self.files.get(from) == Some(node) {
                    self.files.remove(from);
                }
                self.make_parents(to);
                self.files.insert(to.clone(), *node);
            }
            NameChange::MakeFolder { path } => {
                self.make_parents(path);
                self.folders.insert(path.clone());
            }
            NameChange::RemoveFolder { path } => {
                self.folders.remove(path);
            }
        }
    }

    fn make_parents(&mut self, path: &DiskPath) {
        let mut above = parent(path);
        while let Some(folder) = above {
            if folder.path.is_empty() || !self.folders.insert(folder.clone()) {
                break;
            }
            above = parent(&folder);
        }
    }
}

/// The folder a name is in; `None` for a root.
pub(super) fn parent(path: &DiskPath) -> Option<DiskPath> {
    if path.path.is_empty() {
        return None;
    }
    let folder = path.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    Some(DiskPath { volume: path.volume, root: path.root, path: folder.to_owned() })
}

fn base_name(path: &DiskPath) -> &str {
    path.path.rsplit_once('/').map_or(&path.path, |(_, name)| name)
}

fn is_below(path: &DiskPath, folder: &DiskPath) -> bool {
    (path.volume, path.root) == (folder.volume, folder.root)
        && (folder.path.is_empty()
            || path.path.strip_prefix(&folder.path).is_some_and(|rest| rest.starts_with('/')))
}
