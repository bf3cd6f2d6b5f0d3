//! A cursor over a request's body that checks every step: the bottom of the hot views.
//!
//! It never allocates and never panics: each method moves past a field or says which field the
//! bytes do not hold. Kafka's laxness is kept: bytes after the last field are not looked at, and
//! any negative length of a nullable field is null.

use crate::varint;

/// Why a request's body is not what its version's layout says.
///
/// The broker answers nothing to such a frame and closes the connection, as Kafka does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ViewError {
    /// The layout of this version is not known here.
    #[error("{api} version {version} is not supported")]
    Version {
        /// The API's name.
        api: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// The body ends inside this field, or its length goes past the body.
    #[error("the request ends inside {field}")]
    Truncated {
        /// Kafka's name of the field.
        field: &'static str,
    },
    /// More elements than the rest of the body can hold, even at their smallest.
    #[error("{field} declares {count} elements but {remaining} bytes follow")]
    Count {
        /// Kafka's name of the array.
        field: &'static str,
        /// The declared count.
        count: u32,
        /// Bytes after the count.
        remaining: usize,
    },
    /// Null where the version's layout has no null.
    #[error("{field} is null")]
    Null {
        /// Kafka's name of the field.
        field: &'static str,
    },
}

/// The bytes not yet read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    #[inline]
    pub(crate) fn new(body: &'a [u8]) -> Self {
        Self { rest: body }
    }

    #[inline]
    pub(crate) fn remaining(&self) -> usize {
        self.rest.len()
    }

    #[inline]
    pub(crate) fn array<const N: usize>(
        &mut self,
        field: &'static str,
    ) -> Result<[u8; N], ViewError> {
        let (head, tail) =
            self.rest.split_first_chunk::<N>().ok_or(ViewError::Truncated { field })?;
        self.rest = tail;
        Ok(*head)
    }

    /// As [`Reader::array`], in place: several fields behind one check.
    #[inline]
    pub(crate) fn block<const N: usize>(
        &mut self,
        field: &'static str,
    ) -> Result<&'a [u8; N], ViewError> {
        let (head, tail) =
            self.rest.split_first_chunk::<N>().ok_or(ViewError::Truncated { field })?;
        self.rest = tail;
        Ok(head)
    }

    #[inline]
    pub(crate) fn i8(&mut self, field: &'static str) -> Result<i8, ViewError> {
        self.array(field).map(i8::from_be_bytes)
    }

    #[inline]
    pub(crate) fn i16(&mut self, field: &'static str) -> Result<i16, ViewError> {
        self.array(field).map(i16::from_be_bytes)
    }

    #[inline]
    pub(crate) fn i32(&mut self, field: &'static str) -> Result<i32, ViewError> {
        self.array(field).map(i32::from_be_bytes)
    }

    #[inline]
    pub(crate) fn i64(&mut self, field: &'static str) -> Result<i64, ViewError> {
        self.array(field).map(i64::from_be_bytes)
    }

    #[inline]
    pub(crate) fn uvarint(&mut self, field: &'static str) -> Result<u32, ViewError> {
        varint::read_uvarint(&mut self.rest).ok_or(ViewError::Truncated { field })
    }

    /// The length of a compact field: stored plus one, so that zero is null (negative here).
    #[inline]
    fn compact_length(&mut self, field: &'static str) -> Result<i32, ViewError> {
        Ok((self.uvarint(field)? as i32).wrapping_sub(1))
    }

    #[inline]
    pub(crate) fn take(
        &mut self,
        bytes_count: usize,
        field: &'static str,
    ) -> Result<&'a [u8], ViewError> {
        let (head, tail) =
            self.rest.split_at_checked(bytes_count).ok_or(ViewError::Truncated { field })?;
        self.rest = tail;
        Ok(head)
    }

    #[inline]
    pub(crate) fn nullable_string(
        &mut self,
        flexible: bool,
        field: &'static str,
    ) -> Result<Option<&'a [u8]>, ViewError> {
        let length =
            if flexible { self.compact_length(field)? } else { i32::from(self.i16(field)?) };
        match usize::try_from(length) {
            Ok(bytes_count) => self.take(bytes_count, field).map(Some),
            Err(_) => Ok(None),
        }
    }

    #[inline]
    pub(crate) fn string(
        &mut self,
        flexible: bool,
        field: &'static str,
    ) -> Result<&'a [u8], ViewError> {
        self.nullable_string(flexible, field)?.ok_or(ViewError::Null { field })
    }

    #[inline]
    pub(crate) fn nullable_bytes(
        &mut self,
        flexible: bool,
        field: &'static str,
    ) -> Result<Option<&'a [u8]>, ViewError> {
        let length = if flexible { self.compact_length(field)? } else { self.i32(field)? };
        match usize::try_from(length) {
            Ok(bytes_count) => self.take(bytes_count, field).map(Some),
            Err(_) => Ok(None),
        }
    }

    /// The element count of an array that may not be null, checked against what the body can hold
    /// when an element takes at least `element_bytes_min`.
    #[inline]
    pub(crate) fn count(
        &mut self,
        flexible: bool,
        element_bytes_min: usize,
        field: &'static str,
    ) -> Result<u32, ViewError> {
        let count = if flexible { self.compact_length(field)? } else { self.i32(field)? };
        let count = u32::try_from(count).map_err(|_| ViewError::Null { field })?;
        let remaining = self.rest.len();
        if u64::from(count) * element_bytes_min as u64 > remaining as u64 {
            return Err(ViewError::Count { field, count, remaining });
        }
        Ok(count)
    }

    /// Skips a section of tagged fields.
    #[inline]
    pub(crate) fn skip_tags(&mut self, field: &'static str) -> Result<(), ViewError> {
        if self.has_no_tags() {
            return Ok(());
        }
        self.tags(field, |_, _| Ok(()))
    }

    /// Moves past an empty section of tagged fields, by far the most frequent one, if it is next.
    #[inline]
    pub(crate) fn has_no_tags(&mut self) -> bool {
        let Some((0, tail)) = self.rest.split_first() else { return false };
        self.rest = tail;
        true
    }

    /// Hands each tagged field to `each` as (tag, its bytes).
    #[cold]
    pub(crate) fn tags(
        &mut self,
        field: &'static str,
        mut each: impl FnMut(u32, Reader<'a>) -> Result<(), ViewError>,
    ) -> Result<(), ViewError> {
        // A count that the bytes cannot hold ends with `Truncated` after at most one pass over
        // them, because every field takes two bytes at least.
        for _ in 0..self.uvarint(field)? {
            let tag = self.uvarint(field)?;
            let bytes_count = self.uvarint(field)? as usize;
            each(tag, Reader::new(self.take(bytes_count, field)?))?;
        }
        Ok(())
    }
}

/// The number at `at` of a block, whose length is known: no check is left after inlining.
#[inline(always)]
pub(crate) fn i32_at<const N: usize>(block: &[u8; N], at: usize) -> i32 {
    i32::from_be_bytes(*block[at..].first_chunk().expect("the field lies within the block"))
}

/// As [`i32_at`], for 64 bits.
#[inline(always)]
pub(crate) fn i64_at<const N: usize>(block: &[u8; N], at: usize) -> i64 {
    i64::from_be_bytes(*block[at..].first_chunk().expect("the field lies within the block"))
}
