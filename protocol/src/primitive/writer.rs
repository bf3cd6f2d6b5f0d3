//! Writes primitives to the end of a byte vector, remembering which field is being written.
//!
//! Never panics on a value a message can hold: what the wire cannot express is an [`EncodeError`].

use crate::varint;

/// Why a value could not be encoded in the version asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {kind}")]
pub struct EncodeError {
    /// `Message.field` that was being written.
    pub field: &'static str,
    /// What is wrong.
    pub kind: EncodeErrorKind,
}

/// What the wire cannot say.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeErrorKind {
    /// The version lacks the field, its value is not the default, and dropping it would change
    /// what the message means.
    #[error("is set but does not exist in version {version}")]
    FieldNotInVersion { version: i16 },
    /// Null where this version has no null.
    #[error("must not be null in version {version}")]
    NullNotAllowed { version: i16 },
    /// Longer than its length prefix or Kafka's bound can say.
    #[error("{length} is too long")]
    TooLong { length: usize },
    /// The message does not exist in this version.
    #[error("version {version} does not exist")]
    UnsupportedVersion { version: i16 },
}

/// Appends to a vector.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut Vec<u8>,
    field: &'static str,
}

impl<'a> Writer<'a> {
    /// Appends to `out`.
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, field: "message" }
    }

    /// Names the field about to be written, for errors.
    #[inline]
    pub fn enter(&mut self, field: &'static str) {
        self.field = field;
    }

    /// An error in the field last entered.
    #[cold]
    pub fn error(&self, kind: EncodeErrorKind) -> EncodeError {
        EncodeError { field: self.field, kind }
    }

    /// Appends bytes as they are.
    #[inline]
    pub fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// Appends an unsigned varint.
    #[inline]
    pub fn unsigned_varint(&mut self, value: u32) {
        varint::write_uvarint(self.out, value);
    }

    /// Appends a compact length (one more than it) or zero for null.
    pub fn compact_length(&mut self, length: Option<usize>) -> Result<(), EncodeError> {
        let raw = match length {
            None => 0,
            Some(length) => match u32::try_from(length) {
                Ok(length) if length < i32::MAX as u32 => length + 1,
                Ok(_) | Err(_) => return Err(self.error(EncodeErrorKind::TooLong { length })),
            },
        };
        self.unsigned_varint(raw);
        Ok(())
    }

    /// Appends the size that precedes a tagged field.
    pub fn compact_size(&mut self, size: usize) -> Result<(), EncodeError> {
        match u32::try_from(size) {
            Ok(size) if size <= i32::MAX as u32 => {
                self.unsigned_varint(size);
                Ok(())
            }
            Ok(_) | Err(_) => Err(self.error(EncodeErrorKind::TooLong { length: size })),
        }
    }

    /// Appends a four-byte length or −1 for null.
    pub fn int_length(&mut self, length: Option<usize>) -> Result<(), EncodeError> {
        let raw = match length {
            None => -1,
            Some(length) => i32::try_from(length)
                .map_err(|_| self.error(EncodeErrorKind::TooLong { length }))?,
        };
        self.raw(&raw.to_be_bytes());
        Ok(())
    }
}
