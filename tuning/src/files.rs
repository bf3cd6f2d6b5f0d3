//! The only door to the host's files: everything is read and written below one root folder.
//!
//! Paths are the host's (`/sys/…`, `/proc/…`), whatever the root is. A root that is not `/` is a
//! copy of a host, in which the files are plain; there a file that offers choices
//! (`always [madvise] never`) keeps offering them when one is written, as the kernel's does.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::limits::{NAMES_MAX, READ_BYTES_MAX};
use crate::setting::{choices, chosen};

/// Why a file may not be touched here, in words for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// Not on this machine, or not with this kernel.
    #[error("there is no {0}")]
    Absent(String),
    /// The file's mode has no write bit: no user may.
    #[error("the kernel keeps this one to itself (it can only be read)")]
    Fixed,
    /// The file system is mounted for reading.
    #[error("mounted read-only, as in a container: set it on the host")]
    ReadOnly,
    /// This user may not.
    #[error("permission denied: run as root, on the host itself")]
    Denied,
    /// A link that leads out of the root folder.
    #[error("it leads outside of the root folder")]
    Outside,
    /// Anything else, in the kernel's words.
    #[error("the kernel says: {0}")]
    Refused(String),
}

/// Reads and writes a host's files by their paths on the host.
pub trait Files {
    /// The whole content.
    fn read_bytes(&self, path: &str) -> Result<Vec<u8>, Trouble>;

    /// Whether a write would be let in. Changes nothing.
    fn may_write(&self, path: &str) -> Result<(), Trouble>;

    /// Replaces the content in one write, as `echo` would. Never creates a file.
    fn write(&mut self, path: &str, text: &str) -> Result<(), Trouble>;

    /// The names in a folder, sorted; none if it cannot be read.
    fn names(&self, path: &str) -> Vec<String>;

    /// The path without links, below the root; `None` if there is nothing or it leads outside.
    fn resolve(&self, path: &str) -> Option<String>;

    /// Whether this is the machine we run on, and not a copy of one.
    fn is_live(&self) -> bool;

    /// The content as text; bytes that are no UTF-8 become question marks.
    fn read(&self, path: &str) -> Result<String, Trouble> {
        self.read_bytes(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The content without surrounding white space, `None` if it cannot be read.
    fn text(&self, path: &str) -> Option<String> {
        self.read(path).ok().map(|text| text.trim().to_owned())
    }
}

/// The files below a root folder.
#[derive(Clone, Debug)]
pub struct Below {
    root: PathBuf,
    live: bool,
}

impl Below {
    /// `root` must be a folder; `/` is the machine itself.
    pub fn new(root: &Path) -> io::Result<Self> {
        let root = root.canonicalize()?;
        if !root.is_dir() {
            return Err(ErrorKind::NotADirectory.into());
        }
        let live = root == Path::new("/");
        Ok(Self { root, live })
    }

    /// Where a path of the host is for this process.
    pub fn place(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    fn writable(&self, path: &str) -> Result<PathBuf, Trouble> {
        let place = self.place(path).canonicalize().map_err(|error| trouble(path, &error))?;
        if !place.starts_with(&self.root) {
            return Err(Trouble::Outside);
        }
        let mode = fs::metadata(&place).map_err(|error| trouble(path, &error))?.permissions();
        // Root may open a file that nobody may write; the kernel refuses the write then.
        if mode.mode() & 0o222 == 0 {
            return Err(Trouble::Fixed);
        }
        Ok(place)
    }
}

impl Files for Below {
    fn read_bytes(&self, path: &str) -> Result<Vec<u8>, Trouble> {
        let failed = |error| trouble(path, &error);
        let place = self.place(path).canonicalize().map_err(failed)?;
        if !place.starts_with(&self.root) {
            return Err(Trouble::Outside);
        }
        let mut bytes = Vec::new();
        let file = fs::File::open(place).map_err(failed)?;
        file.take(READ_BYTES_MAX).read_to_end(&mut bytes).map_err(failed)?;
        Ok(bytes)
    }

    fn may_write(&self, path: &str) -> Result<(), Trouble> {
        let place = self.writable(path)?;
        OpenOptions::new().write(true).open(place).map_err(|error| trouble(path, &error))?;
        Ok(())
    }

    fn write(&mut self, path: &str, text: &str) -> Result<(), Trouble> {
        let failed = |error| trouble(path, &error);
        let place = self.writable(path)?;
        let before = if self.live { String::new() } else { self.read(path)? };
        let text = match choices(&before) {
            Some(_) => choose(&before, text.trim())?,
            None => text.to_owned(),
        };
        let mut options = OpenOptions::new();
        let mut file = options.write(true).truncate(true).open(place).map_err(failed)?;
        // One write: the kernel takes each call for a value of its own.
        let written = file.write(text.as_bytes()).map_err(failed)?;
        if written < text.len() {
            return Err(Trouble::Refused(format!("only {written} bytes of the value were taken")));
        }
        Ok(())
    }

    fn names(&self, path: &str) -> Vec<String> {
        let Ok(folder) = fs::read_dir(self.place(path)) else { return Vec::new() };
        let names = folder.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<String> = names.take(NAMES_MAX).collect();
        names.sort();
        names
    }

    fn resolve(&self, path: &str) -> Option<String> {
        let place = self.place(path).canonicalize().ok()?;
        let below = place.strip_prefix(&self.root).ok()?.to_str()?;
        Some(format!("/{below}"))
    }

    fn is_live(&self) -> bool {
        self.live
    }
}

/// What a file that offered `before` shows after `word` was chosen.
fn choose(before: &str, word: &str) -> Result<String, Trouble> {
    let words = choices(before).unwrap_or_default();
    if !words.contains(&word) {
        return Err(Trouble::Refused("Invalid argument".to_owned()));
    }
    let old = chosen(before).unwrap_or_default();
    let free = before.replace(&format!("[{old}]"), old);
    let parts = free.split(' ').map(|part| match part.trim() == word {
        true => part.replace(word, &format!("[{word}]")),
        false => part.to_owned(),
    });
    Ok(parts.collect::<Vec<_>>().join(" "))
}

fn trouble(path: &str, error: &io::Error) -> Trouble {
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => Trouble::Absent(path.to_owned()),
        ErrorKind::PermissionDenied => Trouble::Denied,
        ErrorKind::ReadOnlyFilesystem => Trouble::ReadOnly,
        _ => {
            let text = error.to_string();
            let words = text.split(" (os error").next().unwrap_or(&text);
            Trouble::Refused(words.to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_moves_the_brackets_and_nothing_else() {
        assert_eq!(
            choose("none [mq-deadline] bfq \n", "bfq"),
            Ok("none mq-deadline [bfq] \n".into())
        );
        assert_eq!(choose("[none] mq-deadline\n", "none"), Ok("[none] mq-deadline\n".into()));
        let refused = choose("[none] mq-deadline\n", "deadline");
        assert!(matches!(refused, Err(Trouble::Refused(_))), "{refused:?}");
    }
}
