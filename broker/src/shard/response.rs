//! A response on its way out: encoded bytes with record ranges spliced in, so that records are sent
//! from the buffers that hold them.
//!
//! Built by `api`, sent by the edge, given back to the shard with `Event::Sent` so that its memory
//! is used again.

use storage::buffer::SharedBuf;

use crate::ledger::Record;

/// A complete response frame, the four length bytes included.
#[derive(Debug, Default)]
pub struct Response {
    /// Everything but the spliced ranges, in order.
    pub head: Vec<u8>,
    /// Ranges to send between the bytes of `head`, ascending by position.
    pub splices: Vec<Splice>,
}

/// A range sent after the first `at` bytes of the head.
#[derive(Debug)]
pub struct Splice {
    pub at: u32,
    pub records: SharedBuf,
}

impl Response {
    /// Length of the whole frame in bytes.
    pub fn len(&self) -> usize {
        self.head.len() + self.splices.iter().map(|splice| splice.records.len()).sum::<usize>()
    }

    /// Memory that the response holds while it waits to be sent, in bytes, with its request's
    /// record: of a small answer that is several times its length. The same from when it was
    /// encoded until it is cleared.
    pub fn held_bytes(&self) -> usize {
        let spliced = self.splices.iter().map(|splice| splice.records.len()).sum::<usize>();
        size_of::<Self>()
            + size_of::<Record>()
            + self.head.capacity()
            + self.splices.capacity() * size_of::<Splice>()
            + spliced
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.head.is_empty() && self.splices.is_empty()
    }

    /// Forgets the contents, keeps the memory.
    pub fn clear(&mut self) {
        self.head.clear();
        self.splices.clear();
    }

    /// The bytes to send, in order. Empty pieces are left out.
    pub fn chunks(&self) -> impl Iterator<Item = &[u8]> {
        let mut from = 0usize;
        let tail_from = self.splices.last().map_or(0, |splice| splice.at as usize);
        self.splices
            .iter()
            .flat_map(move |splice| {
                let piece = &self.head[from..splice.at as usize];
                from = splice.at as usize;
                [piece, splice.records.as_slice()]
            })
            .chain(std::iter::once(&self.head[tail_from..]))
            .filter(|piece| !piece.is_empty())
    }
}
