//! The floor's durable append: two aligned images taking turns, one direct write in flight.
//!
//! What arrives while a write is under way goes into the other image and is written with the next:
//! group commit, without anything a log needs to be read again. Blocks of the file were written
//! once before, so that no write allocates. The ring belongs to `server`; this holds the bytes.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Writes are whole blocks at block offsets in block-aligned memory.
const BLOCK_BYTES: usize = 4096;
/// Bytes of an image: the most that one write carries.
pub const IMAGE_BYTES: usize = 4 << 20;
const CRC_BYTES: usize = 4;
/// Bytes of the file; at its end writing goes on at its start.
const FILE_BYTES: u64 = 256 << 20;

/// A request whose answer waits for a write: which connection, and its correlation id.
pub type Waiting = (u32, [u8; 4]);

/// A write to be made.
#[derive(Debug, Clone, Copy)]
pub struct DirectWrite {
    /// Memory, aligned; unchanged until `written`.
    pub address: *const u8,
    /// Whole blocks.
    pub length: u32,
    /// In the file.
    pub offset: u64,
}

#[derive(Debug)]
struct Image {
    /// Holds `IMAGE_BYTES` from `start`, which is aligned.
    memory: Vec<u8>,
    start: usize,
    filled: usize,
    waiting: Vec<Waiting>,
}

impl Image {
    fn new() -> Self {
        let memory = vec![0_u8; IMAGE_BYTES + BLOCK_BYTES];
        let start = memory.as_ptr().align_offset(BLOCK_BYTES);
        assert!(start < BLOCK_BYTES, "bytes can be aligned to a block");
        Self { memory, start, filled: 0, waiting: Vec::new() }
    }
}

/// The file and its images.
#[derive(Debug)]
pub struct Log {
    file: File,
    offset: u64,
    filling: Image,
    /// The other one: in flight, or empty.
    other: Image,
    in_flight: bool,
}

impl Log {
    /// Makes the file, under a name that is gone when the process ends however it ends.
    pub fn create(folder: &Path) -> io::Result<Self> {
        let path = folder.join(format!(".corelane-floor-{}", std::process::id()));
        let mut plain = OpenOptions::new().write(true).create_new(true).open(&path)?;
        let direct = OpenOptions::new().write(true).custom_flags(libc::O_DIRECT).open(&path);
        std::fs::remove_file(&path)?;
        let zeros = vec![0; 1 << 20];
        for _ in 0..FILE_BYTES / zeros.len() as u64 {
            plain.write_all(&zeros)?;
        }
        plain.sync_all()?;
        let file = direct?;
        let (filling, other) = (Image::new(), Image::new());
        Ok(Self { file, offset: 0, filling, other, in_flight: false })
    }

    /// The file's descriptor.
    pub fn descriptor(&self) -> RawFd {
        self.file.as_raw_fd()
    }

    /// Bytes of the largest request there can be room for.
    pub fn room_max(&self) -> usize {
        IMAGE_BYTES - CRC_BYTES
    }

    /// Checks a request's bytes as a broker must and copies them once. False if there is no room
    /// until the write in flight is over.
    pub fn append(&mut self, bytes: &[u8], waiting: Waiting) -> bool {
        let image = &mut self.filling;
        if image.filled + bytes.len() + CRC_BYTES > IMAGE_BYTES {
            return false;
        }
        let crc = protocol::crc::crc32c(bytes);
        let at = image.start + image.filled;
        image.memory[at..at + bytes.len()].copy_from_slice(bytes);
        image.memory[at + bytes.len()..at + bytes.len() + CRC_BYTES]
            .copy_from_slice(&crc.to_le_bytes());
        image.filled += bytes.len() + CRC_BYTES;
        image.waiting.push(waiting);
        true
    }

    /// The next write, if one is due and none is in flight.
    pub fn poll_write(&mut self) -> Option<DirectWrite> {
        if self.in_flight || self.filling.waiting.is_empty() {
            return None;
        }
        std::mem::swap(&mut self.filling, &mut self.other);
        self.in_flight = true;
        let image = &self.other;
        let length = image.filled.next_multiple_of(BLOCK_BYTES);
        if self.offset + length as u64 > FILE_BYTES {
            self.offset = 0;
        }
        let offset = self.offset;
        self.offset += length as u64;
        let address = image.memory[image.start..].as_ptr();
        Some(DirectWrite { address, length: length as u32, offset })
    }

    /// The write in flight is durable: whom to answer.
    pub fn written(&mut self) -> impl Iterator<Item = Waiting> + '_ {
        assert!(self.in_flight, "a write was under way");
        self.in_flight = false;
        self.other.filled = 0;
        self.other.waiting.drain(..)
    }
}
