//! How each Rust type that a message row may name is read, written and measured.
//!
//! The [`crate::message!`] macro calls these for every row and implements them for the structs it
//! declares; nobody else needs to. `Option` means nullable, and what null looks like depends on the
//! type inside, hence [`Nullable`].

use bytes::Bytes;

use super::reader::{DecodeError, DecodeErrorKind, Reader};
use super::writer::{EncodeError, EncodeErrorKind, Writer};
use crate::limits;
use crate::message::Spec;
use crate::types::Uuid;
use crate::varint::uvarint_bytes;

/// What decides a field's form: the message's version and what that version makes of the field.
#[derive(Debug, Clone, Copy)]
pub struct At {
    /// Version of the whole message.
    pub version: i16,
    /// Compact lengths and tagged sections (KIP-482).
    pub flexible: bool,
    /// Whether this field may be null here.
    pub nullable: bool,
}

impl At {
    /// The same place for a field that may, or may not, be null.
    #[inline]
    pub const fn with_null(self, nullable: bool) -> Self {
        Self { nullable, ..self }
    }
}

/// A type's shape, as data: what documentation and test generators walk.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    Bool,
    I8,
    I16,
    U16,
    I32,
    U32,
    I64,
    F64,
    Uuid,
    String,
    Bytes,
    Array(&'static Kind),
    Nullable(&'static Kind),
    Struct(&'static StructInfo),
}

/// A declared struct, as data.
#[derive(Debug)]
pub struct StructInfo {
    /// Kafka's name of it.
    pub name: &'static str,
    /// Its rows in wire order.
    pub fields: &'static [FieldInfo],
}

/// One row of a declared struct, as data.
#[derive(Debug)]
pub struct FieldInfo {
    /// Kafka's name of it, in snake case.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// Its versions, tag and nullability.
    pub spec: Spec,
}

/// A type that a row may have.
pub trait Field: Sized {
    /// The type as data.
    const KIND: Kind;

    /// Fewest bytes it takes here; bounds what a declared array length may reserve.
    fn wire_size_min(at: At) -> usize;
    /// Reads it.
    fn read(reader: &mut Reader<'_>, at: At) -> Result<Self, DecodeError>;
    /// Appends it.
    fn write(&self, writer: &mut Writer<'_>, at: At) -> Result<(), EncodeError>;
    /// Bytes that `write` appends when it succeeds.
    fn wire_size(&self, at: At) -> usize;
    /// Of a response, where it says how long its sender is throttled, in milliseconds.
    fn throttle_time_ms_mut(&mut self) -> Option<&mut i32> {
        None
    }
}

/// A type whose wire form has a null.
pub trait Nullable: Field {
    /// Reads the form that may be null.
    fn read_nullable(reader: &mut Reader<'_>, at: At) -> Result<Option<Self>, DecodeError>;
    /// Appends the form that may be null.
    fn write_nullable(
        value: Option<&Self>,
        writer: &mut Writer<'_>,
        at: At,
    ) -> Result<(), EncodeError>;
    /// Bytes that `write_nullable` appends when it succeeds.
    fn wire_size_nullable(value: Option<&Self>, at: At) -> usize;
    /// Fewest bytes of the form that may be null.
    fn wire_size_nullable_min(at: At) -> usize;
}

impl<T: Nullable> Field for Option<T> {
    const KIND: Kind = Kind::Nullable(&T::KIND);

    fn wire_size_min(at: At) -> usize {
        if at.nullable { T::wire_size_nullable_min(at) } else { T::wire_size_min(at) }
    }

    fn read(reader: &mut Reader<'_>, at: At) -> Result<Self, DecodeError> {
        if at.nullable { T::read_nullable(reader, at) } else { T::read(reader, at).map(Some) }
    }

    fn write(&self, writer: &mut Writer<'_>, at: At) -> Result<(), EncodeError> {
        match self {
            _ if at.nullable => T::write_nullable(self.as_ref(), writer, at),
            Some(value) => value.write(writer, at),
            None => Err(writer.error(EncodeErrorKind::NullNotAllowed { version: at.version })),
        }
    }

    fn wire_size(&self, at: At) -> usize {
        match self {
            _ if at.nullable => T::wire_size_nullable(self.as_ref(), at),
            Some(value) => value.wire_size(at),
            None => 0,
        }
    }
}

macro_rules! fixed {
    ($($ty:ty, $kind:ident;)*) => { $(
        impl Field for $ty {
            const KIND: Kind = Kind::$kind;

            #[inline]
            fn wire_size_min(_: At) -> usize {
                size_of::<$ty>()
            }

            #[inline]
            fn read(reader: &mut Reader<'_>, _: At) -> Result<Self, DecodeError> {
                Ok(<$ty>::from_be_bytes(reader.array()?))
            }

            #[inline]
            fn write(&self, writer: &mut Writer<'_>, _: At) -> Result<(), EncodeError> {
                writer.raw(&self.to_be_bytes());
                Ok(())
            }

            #[inline]
            fn wire_size(&self, _: At) -> usize {
                size_of::<$ty>()
            }
        }
    )* };
}

fixed! { i8, I8; i16, I16; u16, U16; i32, I32; u32, U32; i64, I64; f64, F64; }

impl Field for bool {
    const KIND: Kind = Kind::Bool;

    fn wire_size_min(_: At) -> usize {
        1
    }

    fn read(reader: &mut Reader<'_>, _: At) -> Result<Self, DecodeError> {
        Ok(reader.i8()? != 0)
    }

    fn write(&self, writer: &mut Writer<'_>, _: At) -> Result<(), EncodeError> {
        writer.raw(&[u8::from(*self)]);
        Ok(())
    }

    fn wire_size(&self, _: At) -> usize {
        1
    }
}

impl Field for Uuid {
    const KIND: Kind = Kind::Uuid;

    fn wire_size_min(_: At) -> usize {
        16
    }

    fn read(reader: &mut Reader<'_>, _: At) -> Result<Self, DecodeError> {
        Ok(Self::from_bytes(reader.array()?))
    }

    fn write(&self, writer: &mut Writer<'_>, _: At) -> Result<(), EncodeError> {
        writer.raw(self.as_bytes());
        Ok(())
    }

    fn wire_size(&self, _: At) -> usize {
        16
    }
}

/// `Field` for a type whose only difference from its nullable form is that null is refused.
macro_rules! by_nullable_form {
    () => {
        fn wire_size_min(at: At) -> usize {
            Self::wire_size_nullable_min(at)
        }

        fn read(reader: &mut Reader<'_>, at: At) -> Result<Self, DecodeError> {
            match Self::read_nullable(reader, at)? {
                Some(value) => Ok(value),
                None => Err(reader.error(DecodeErrorKind::NullNotAllowed)),
            }
        }

        fn write(&self, writer: &mut Writer<'_>, at: At) -> Result<(), EncodeError> {
            Self::write_nullable(Some(self), writer, at)
        }

        fn wire_size(&self, at: At) -> usize {
            Self::wire_size_nullable(Some(self), at)
        }
    };
}

impl Field for String {
    const KIND: Kind = Kind::String;

    by_nullable_form!();
}

impl Nullable for String {
    fn read_nullable(reader: &mut Reader<'_>, at: At) -> Result<Option<Self>, DecodeError> {
        let length = if at.flexible { reader.compact_length()? } else { reader.short_length()? };
        length.map(|length| reader.string(length)).transpose()
    }

    fn write_nullable(
        value: Option<&Self>,
        writer: &mut Writer<'_>,
        at: At,
    ) -> Result<(), EncodeError> {
        let length = value.map(String::len);
        if let Some(length) = length.filter(|&length| length > limits::STRING_BYTES_MAX) {
            return Err(writer.error(EncodeErrorKind::TooLong { length }));
        }
        if at.flexible {
            writer.compact_length(length)?;
        } else {
            // The bound above fits an i16, as `limits` asserts.
            writer.raw(&length.map_or(-1, |length| length as i16).to_be_bytes());
        }
        writer.raw(value.map_or(&[], |value| value.as_bytes()));
        Ok(())
    }

    fn wire_size_nullable(value: Option<&Self>, at: At) -> usize {
        let length = value.map(String::len);
        let prefix = if at.flexible { compact_length_size(length) } else { 2 };
        prefix + length.unwrap_or(0)
    }

    fn wire_size_nullable_min(at: At) -> usize {
        if at.flexible { 1 } else { 2 }
    }
}

impl Field for Bytes {
    const KIND: Kind = Kind::Bytes;

    by_nullable_form!();
}

impl Nullable for Bytes {
    fn read_nullable(reader: &mut Reader<'_>, at: At) -> Result<Option<Self>, DecodeError> {
        let length = if at.flexible { reader.compact_length()? } else { reader.int_length()? };
        length.map(|length| reader.take_bytes(length)).transpose()
    }

    fn write_nullable(
        value: Option<&Self>,
        writer: &mut Writer<'_>,
        at: At,
    ) -> Result<(), EncodeError> {
        let length = value.map(Bytes::len);
        if at.flexible {
            writer.compact_length(length)?;
        } else {
            writer.int_length(length)?;
        }
        writer.raw(value.map_or(&[], |value| value));
        Ok(())
    }

    fn wire_size_nullable(value: Option<&Self>, at: At) -> usize {
        let length = value.map(Bytes::len);
        int_or_compact_size(length, at) + length.unwrap_or(0)
    }

    fn wire_size_nullable_min(at: At) -> usize {
        if at.flexible { 1 } else { 4 }
    }
}

impl<T: Field> Field for Vec<T> {
    const KIND: Kind = Kind::Array(&T::KIND);

    by_nullable_form!();
}

impl<T: Field> Nullable for Vec<T> {
    fn read_nullable(reader: &mut Reader<'_>, at: At) -> Result<Option<Self>, DecodeError> {
        let length = if at.flexible { reader.compact_length()? } else { reader.int_length()? };
        let Some(elements) = length else { return Ok(None) };
        let at = at.with_null(false);
        let remaining = reader.remaining();
        if elements > remaining / T::wire_size_min(at).max(1) {
            return Err(reader.error(DecodeErrorKind::ArrayTooLong { elements, remaining }));
        }
        reader.charge(elements.saturating_mul(size_of::<T>()))?;
        let mut out = Self::with_capacity(elements.min(limits::ARRAY_RESERVE_MAX));
        for _ in 0..elements {
            out.push(T::read(reader, at)?);
        }
        Ok(Some(out))
    }

    fn write_nullable(
        value: Option<&Self>,
        writer: &mut Writer<'_>,
        at: At,
    ) -> Result<(), EncodeError> {
        let length = value.map(Vec::len);
        if at.flexible {
            writer.compact_length(length)?;
        } else {
            writer.int_length(length)?;
        }
        let at = at.with_null(false);
        value.into_iter().flatten().try_for_each(|element| element.write(writer, at))
    }

    fn wire_size_nullable(value: Option<&Self>, at: At) -> usize {
        let prefix = int_or_compact_size(value.map(Vec::len), at);
        let at = at.with_null(false);
        prefix + value.into_iter().flatten().map(|element| element.wire_size(at)).sum::<usize>()
    }

    fn wire_size_nullable_min(at: At) -> usize {
        if at.flexible { 1 } else { 4 }
    }
}

fn int_or_compact_size(length: Option<usize>, at: At) -> usize {
    if at.flexible { compact_length_size(length) } else { 4 }
}

fn compact_length_size(length: Option<usize>) -> usize {
    varint_size(length.map_or(0, |length| length.saturating_add(1)))
}

/// Bytes of a length as a varint; one that the wire cannot say counts as the longest.
pub fn varint_size(length: usize) -> usize {
    uvarint_bytes(u32::try_from(length).unwrap_or(u32::MAX))
}
