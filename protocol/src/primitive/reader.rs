//! Reads primitives from one message's bytes, within the bounds of what arrived.
//!
//! Total: any input gives a value or a [`DecodeError`], never a panic. A reader over `Bytes` hands
//! out slices of it without copying; one over a plain slice copies. It keeps a heap budget
//! proportional to the input, because a few wire bytes can ask for many bytes of memory.

use bytes::Bytes;

use crate::limits;
use crate::varint::{self, VARINT_BYTES_MAX};

/// Why a message could not be decoded, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} at byte {offset}: {kind}")]
pub struct DecodeError {
    /// `Message.field` that was being read.
    pub field: &'static str,
    /// Bytes from the start of the input.
    pub offset: usize,
    /// What is wrong.
    pub kind: DecodeErrorKind,
}

/// What is wrong with the bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeErrorKind {
    /// The input, or the tagged field being read, ends too early.
    #[error("needs {needed} bytes but {remaining} remain")]
    Truncated { needed: usize, remaining: usize },
    /// Null where this version of the message has no null.
    #[error("must not be null")]
    NullNotAllowed,
    /// A varint runs on beyond its longest form.
    #[error("varint without an end")]
    VarintTooLong,
    /// Longer than [`limits::STRING_BYTES_MAX`].
    #[error("string of {bytes} bytes is too long")]
    StringTooLong { bytes: usize },
    /// More elements declared than the remaining bytes could hold.
    #[error("array of {elements} elements in {remaining} remaining bytes")]
    ArrayTooLong { elements: usize, remaining: usize },
    /// Decoding would take more memory than the input's length justifies.
    #[error("message would take too much memory for its length")]
    HeapBudget,
    /// A tagged field's content does not have the size its prefix says.
    #[error("tagged field {tag} does not fill its declared {declared} bytes")]
    TagSize { tag: u32, declared: usize },
    /// The message does not exist in this version.
    #[error("version {version} does not exist")]
    UnsupportedVersion { version: i16 },
}

/// A cursor over one message.
#[derive(Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    shared: Option<&'a Bytes>,
    position: usize,
    /// Exclusive; inside a tagged field the end of that field.
    end: usize,
    heap_budget: usize,
    field: &'static str,
}

impl<'a> Reader<'a> {
    /// Over a plain slice: byte fields are copied out.
    pub fn new(bytes: &'a [u8]) -> Self {
        let heap_budget = bytes
            .len()
            .saturating_mul(limits::DECODE_HEAP_PER_BYTE)
            .saturating_add(limits::DECODE_HEAP_FLOOR);
        Self { bytes, shared: None, position: 0, end: bytes.len(), heap_budget, field: "message" }
    }

    /// Over a shared buffer: byte fields (records among them) are slices of it, uncopied.
    pub fn shared(bytes: &'a Bytes) -> Self {
        Self { shared: Some(bytes), ..Self::new(bytes) }
    }

    /// Bytes consumed so far.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Bytes left, of the message or of the tagged field being read.
    pub fn remaining(&self) -> usize {
        self.end - self.position
    }

    /// The unread bytes, without consuming them.
    pub fn rest(&self) -> &'a [u8] {
        &self.bytes[self.position..self.end]
    }

    /// Names the field about to be read, for errors.
    #[inline]
    pub fn enter(&mut self, field: &'static str) {
        self.field = field;
    }

    /// An error here, in the field last entered.
    #[cold]
    pub fn error(&self, kind: DecodeErrorKind) -> DecodeError {
        DecodeError { field: self.field, offset: self.position, kind }
    }

    /// Consumes `count` bytes.
    #[inline]
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let remaining = self.remaining();
        if count > remaining {
            return Err(self.error(DecodeErrorKind::Truncated { needed: count, remaining }));
        }
        let taken = &self.bytes[self.position..self.position + count];
        self.position += count;
        Ok(taken)
    }

    /// Consumes a fixed number of bytes.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    /// Consumes `count` bytes as a slice of the shared buffer, or as a copy.
    pub fn take_bytes(&mut self, count: usize) -> Result<Bytes, DecodeError> {
        let start = self.position;
        let taken = self.take(count)?;
        match self.shared {
            Some(shared) => Ok(shared.slice(start..start + count)),
            None => {
                self.charge(count)?;
                Ok(Bytes::copy_from_slice(taken))
            }
        }
    }

    /// One signed byte.
    #[inline]
    pub fn i8(&mut self) -> Result<i8, DecodeError> {
        Ok(i8::from_be_bytes(self.array()?))
    }

    /// Two bytes, big-endian.
    #[inline]
    pub fn i16(&mut self) -> Result<i16, DecodeError> {
        Ok(i16::from_be_bytes(self.array()?))
    }

    /// Four bytes, big-endian.
    #[inline]
    pub fn i32(&mut self) -> Result<i32, DecodeError> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    /// Eight bytes, big-endian.
    #[inline]
    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    /// An unsigned varint of at most five bytes.
    #[inline]
    pub fn unsigned_varint(&mut self) -> Result<u32, DecodeError> {
        let mut rest = self.rest();
        match varint::read_uvarint(&mut rest) {
            Some(value) => {
                self.position = self.end - rest.len();
                Ok(value)
            }
            None if self.remaining() < VARINT_BYTES_MAX => {
                let remaining = self.remaining();
                Err(self.error(DecodeErrorKind::Truncated { needed: remaining + 1, remaining }))
            }
            None => Err(self.error(DecodeErrorKind::VarintTooLong)),
        }
    }

    /// Length of a compact field: the varint is one more than it, zero is null.
    ///
    /// As in Kafka every negative length is null, also those that overflow makes.
    #[inline]
    pub fn compact_length(&mut self) -> Result<Option<usize>, DecodeError> {
        let raw = self.unsigned_varint()? as i32;
        Ok(usize::try_from(raw.wrapping_sub(1)).ok())
    }

    /// Length of a field with a two-byte prefix; every negative one is null.
    #[inline]
    pub fn short_length(&mut self) -> Result<Option<usize>, DecodeError> {
        Ok(usize::try_from(self.i16()?).ok())
    }

    /// Length of a field with a four-byte prefix; every negative one is null.
    #[inline]
    pub fn int_length(&mut self) -> Result<Option<usize>, DecodeError> {
        Ok(usize::try_from(self.i32()?).ok())
    }

    /// Takes `bytes` from what this message may still put on the heap.
    #[inline]
    pub fn charge(&mut self, bytes: usize) -> Result<(), DecodeError> {
        match self.heap_budget.checked_sub(bytes) {
            Some(left) => {
                self.heap_budget = left;
                Ok(())
            }
            None => Err(self.error(DecodeErrorKind::HeapBudget)),
        }
    }

    /// Reads a string of known length; bytes that are no UTF-8 become replacement characters,
    /// because Kafka's Java strings do the same.
    pub fn string(&mut self, length: usize) -> Result<String, DecodeError> {
        if length > limits::STRING_BYTES_MAX {
            return Err(self.error(DecodeErrorKind::StringTooLong { bytes: length }));
        }
        let bytes = self.take(length)?;
        self.charge(length)?;
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }

    /// Reads the tagged section that ends a flexible struct.
    ///
    /// `known` reads the field of a tag and says so, or leaves it alone; tags it does not know are
    /// skipped, which is how an older reader survives a newer writer (KIP-482).
    pub fn tagged_fields(
        &mut self,
        mut known: impl FnMut(&mut Self, u32) -> Result<bool, DecodeError>,
    ) -> Result<(), DecodeError> {
        let count = self.unsigned_varint()? as usize;
        // A tagged field takes at least its tag and its size.
        if count > self.remaining() / 2 {
            let remaining = self.remaining();
            return Err(self.error(DecodeErrorKind::ArrayTooLong { elements: count, remaining }));
        }
        for _ in 0..count {
            let tag = self.unsigned_varint()?;
            let declared = self.unsigned_varint()? as usize;
            let remaining = self.remaining();
            if declared > remaining {
                return Err(self.error(DecodeErrorKind::Truncated { needed: declared, remaining }));
            }
            let outer_end = self.end;
            let field_end = self.position + declared;
            self.end = field_end;
            if known(self, tag)? && self.position != field_end {
                return Err(self.error(DecodeErrorKind::TagSize { tag, declared }));
            }
            self.position = field_end;
            self.end = outer_end;
        }
        Ok(())
    }
}
