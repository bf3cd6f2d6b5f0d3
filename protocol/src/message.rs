//! The `message!` macro: one row per field, from which decode, encode, size, `Debug`, `Default` and
//! the documentation's tables come.
//!
//! A message is declared once, as rows of name, type, default and versions; adding a version is
//! adding or changing a row. Every API of `messages/` is declared with it, and so are the broker's
//! own coordinator and metadata records.
//!
//! A field that the version asked for does not carry is dropped if the row says `ignorable` or the
//! value is the default, else encoding errs with [`EncodeErrorKind::FieldNotInVersion`]: Kafka's
//! rule, because a request that silently lost what it asked for is worse than none.

use std::fmt::{self, Debug};

use bytes::Bytes;

use crate::api::ApiKey;
use crate::primitive::{
    At, DecodeError, DecodeErrorKind, EncodeError, EncodeErrorKind, Field, Reader, Writer,
};

/// An inclusive range of versions; empty when `min > max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Versions {
    /// Lowest.
    pub min: i16,
    /// Highest.
    pub max: i16,
}

impl Versions {
    /// No version at all.
    pub const NONE: Self = Self { min: 0, max: -1 };

    /// Whether `version` is inside.
    #[inline]
    pub const fn contains(self, version: i16) -> bool {
        self.min <= version && version <= self.max
    }

    /// Whether nothing is inside.
    pub const fn is_empty(self) -> bool {
        self.min > self.max
    }

    /// The versions inside both.
    pub const fn intersect(self, other: Self) -> Self {
        Self {
            min: if self.min > other.min { self.min } else { other.min },
            max: if self.max < other.max { self.max } else { other.max },
        }
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            f.write_str("none")
        } else if self.max == i16::MAX {
            write!(f, "{}+", self.min)
        } else if self.min == self.max {
            write!(f, "{}", self.min)
        } else {
            write!(f, "{}-{}", self.min, self.max)
        }
    }
}

/// When a message exists and from when it is flexible.
#[derive(Debug, Clone, Copy)]
pub struct Schema {
    /// Versions that decode and encode.
    pub versions: Versions,
    /// Versions with compact lengths and tagged sections.
    pub flexible: Versions,
}

/// A message of versions `min` to `max`, none of them flexible.
pub const fn versions(min: i16, max: i16) -> Schema {
    Schema { versions: Versions { min, max }, flexible: Versions::NONE }
}

impl Schema {
    /// Flexible from this version on.
    pub const fn flexible(self, since: i16) -> Self {
        Self { flexible: Versions { min: since, max: i16::MAX }, ..self }
    }
}

/// A row's versions, nullability and tag.
#[derive(Debug, Clone, Copy)]
pub struct Spec {
    /// Versions that carry the field.
    pub versions: Versions,
    /// Versions in which it may be null.
    pub nullable: Versions,
    /// Its tag, if it lives in the tagged section.
    pub tag: Option<u32>,
    /// Whether a version that lacks it drops it whatever its value.
    pub ignorable: bool,
    /// Whether `Debug` hides its value.
    pub secret: bool,
}

/// A field carried since a version.
pub const fn since(min: i16) -> Spec {
    in_versions(min, i16::MAX)
}

/// A field carried from version `min` to `max`.
pub const fn in_versions(min: i16, max: i16) -> Spec {
    Spec {
        versions: Versions { min, max },
        nullable: Versions::NONE,
        tag: None,
        ignorable: false,
        secret: false,
    }
}

impl Spec {
    /// May be null since a version.
    pub const fn nullable(self, since: i16) -> Self {
        Self { nullable: Versions { min: since, max: i16::MAX }, ..self }
    }

    /// May be null from version `min` to `max`.
    pub const fn nullable_in(self, min: i16, max: i16) -> Self {
        Self { nullable: Versions { min, max }, ..self }
    }

    /// Lives in the tagged section.
    pub const fn tag(self, tag: u32) -> Self {
        Self { tag: Some(tag), ..self }
    }

    /// A version that lacks it drops it silently.
    pub const fn ignorable(self) -> Self {
        Self { ignorable: true, ..self }
    }

    /// `Debug` hides its value, so that no log shows a password or a token.
    pub const fn secret(self) -> Self {
        Self { secret: true, ..self }
    }

    /// Whether `version` carries it.
    #[inline]
    pub const fn carries(&self, version: i16) -> bool {
        self.versions.contains(version)
    }
}

/// A whole message: a request, a response, a record's key or value.
pub trait Message: Field + Default + Clone + PartialEq + Debug {
    /// Kafka's name of it.
    const NAME: &'static str;
    /// Its versions.
    const SCHEMA: Schema;

    /// Reads the body. Bytes after it stay unread: Kafka ignores them.
    fn decode(reader: &mut Reader<'_>, version: i16) -> Result<Self, DecodeError> {
        reader.enter(Self::NAME);
        match Self::at(version) {
            Some(at) => Self::read(reader, at),
            None => Err(reader.error(DecodeErrorKind::UnsupportedVersion { version })),
        }
    }

    /// Appends the body. On error `out` is as it was.
    fn encode(&self, out: &mut Vec<u8>, version: i16) -> Result<(), EncodeError> {
        let start = out.len();
        let mut writer = Writer::new(out);
        writer.enter(Self::NAME);
        let written = match Self::at(version) {
            Some(at) => self.write(&mut writer, at),
            None => Err(writer.error(EncodeErrorKind::UnsupportedVersion { version })),
        };
        if written.is_err() {
            out.truncate(start);
        }
        written
    }

    /// Bytes that `encode` appends when it succeeds; zero in a version that does not exist.
    fn size(&self, version: i16) -> usize {
        Self::at(version).map_or(0, |at| self.wire_size(at))
    }

    /// Reads the body from shared bytes; its byte fields are slices of them.
    fn from_bytes(bytes: &Bytes, version: i16) -> Result<Self, DecodeError> {
        Self::decode(&mut Reader::shared(bytes), version)
    }

    /// The body in a vector of exactly its size.
    fn to_vec(&self, version: i16) -> Result<Vec<u8>, EncodeError> {
        let mut out = Vec::with_capacity(self.size(version));
        self.encode(&mut out, version)?;
        Ok(out)
    }

    /// The form of a version; `None` if it does not exist.
    fn at(version: i16) -> Option<At> {
        let schema = Self::SCHEMA;
        schema.versions.contains(version).then(|| At {
            version,
            flexible: schema.flexible.contains(version),
            nullable: false,
        })
    }
}

/// A request's body: knows its key and what answers it.
pub trait Request: Message {
    /// Its key.
    const KEY: ApiKey;
    /// What answers it, in the same version.
    type Response: Message;
}

/// Whether a value is not its row's default. The macro's helper.
#[doc(hidden)]
pub fn differs<T: PartialEq>(value: &T, default: T) -> bool {
    *value != default
}

/// Whether a row is the one by which a response says that its sender is throttled. The macro's
/// helper.
#[doc(hidden)]
pub const fn is_throttle_time(name: &str) -> bool {
    let (name, wanted) = (name.as_bytes(), b"throttle_time_ms");
    if name.len() != wanted.len() {
        return false;
    }
    let mut at = 0;
    while at < wanted.len() {
        if name[at] != wanted[at] {
            return false;
        }
        at += 1;
    }
    true
}

/// A row's default. The macro's helper.
#[doc(hidden)]
#[macro_export]
macro_rules! row_default {
    () => {
        ::core::default::Default::default()
    };
    ($default:expr) => {
        $default
    };
}

/// Declares messages and the structs inside them; see the module `message`.
///
/// A struct with a schema in brackets is a whole message, one without is a part of one:
///
/// ```
/// protocol::message! {
///     /// Where a tram stops.
///     pub struct TramRequest[versions(0, 2).flexible(2)] {
///         line: String, since(0);
///         direction: i8 = -1, since(1).ignorable();
///         stops: Vec<TramRequestStop>, since(0);
///         depot: Option<String> = None, since(2).nullable(2).tag(0);
///     }
///     /// One stop.
///     pub struct TramRequestStop {
///         id: i32, since(0);
///     }
/// }
/// use protocol::message::Message;
/// let tram = TramRequest { line: "11".into(), ..Default::default() };
/// assert_eq!(tram.to_vec(0).unwrap(), b"\0\x0211\0\0\0\0");
/// ```
#[macro_export]
macro_rules! message {
    ($(
        $(#[$meta:meta])*
        pub struct $name:ident $([$schema:expr])? {
            $(
                $(#[$field_meta:meta])*
                $field:ident: $ty:ty $(= $default:expr)?, $spec:expr;
            )*
        }
    )*) => { $(
        $(#[$meta])*
        #[derive(Clone, PartialEq)]
        pub struct $name {
            $( $(#[$field_meta])* pub $field: $ty, )*
        }

        impl ::core::default::Default for $name {
            fn default() -> Self {
                Self { $( $field: $crate::row_default!($($default)?), )* }
            }
        }

        #[allow(unused_imports, unused_variables, unused_mut)]
        const _: () = {
            use $crate::message::{differs, in_versions, since, versions, Message, Schema, Spec};
            use $crate::primitive::{
                varint_size, At, DecodeError, EncodeError, EncodeErrorKind, Field, FieldInfo, Kind,
                Nullable, Reader, StructInfo, Writer,
            };

            impl ::core::fmt::Debug for $name {
                fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                    let mut all = f.debug_struct(stringify!($name));
                    $({
                        const SPEC: Spec = $spec;
                        if SPEC.secret {
                            all.field(stringify!($field), &format_args!("[secret]"));
                        } else {
                            all.field(stringify!($field), &self.$field);
                        }
                    })*
                    all.finish()
                }
            }

            static INFO: StructInfo = StructInfo {
                name: stringify!($name),
                fields: &[ $( FieldInfo {
                    name: stringify!($field),
                    kind: <$ty as Field>::KIND,
                    spec: $spec,
                }, )* ],
            };

            impl Field for $name {
                const KIND: Kind = Kind::Struct(&INFO);

                fn wire_size_min(at: At) -> usize {
                    let mut size = usize::from(at.flexible);
                    $({
                        const SPEC: Spec = $spec;
                        if SPEC.tag.is_none() && SPEC.carries(at.version) {
                            let at = at.with_null(SPEC.nullable.contains(at.version));
                            size += <$ty as Field>::wire_size_min(at);
                        }
                    })*
                    size
                }

                fn read(reader: &mut Reader<'_>, at: At) -> Result<Self, DecodeError> {
                    let mut message = Self::default();
                    $({
                        const SPEC: Spec = $spec;
                        if SPEC.tag.is_none() && SPEC.carries(at.version) {
                            reader.enter(concat!(stringify!($name), ".", stringify!($field)));
                            let at = at.with_null(SPEC.nullable.contains(at.version));
                            message.$field = <$ty as Field>::read(reader, at)?;
                        }
                    })*
                    if at.flexible {
                        reader.enter(concat!(stringify!($name), " tagged fields"));
                        reader.tagged_fields(|reader, tag| {
                            $({
                                const SPEC: Spec = $spec;
                                if SPEC.tag == Some(tag) && SPEC.carries(at.version) {
                                    reader.enter(concat!(
                                        stringify!($name), ".", stringify!($field)
                                    ));
                                    let at = at.with_null(SPEC.nullable.contains(at.version));
                                    message.$field = <$ty as Field>::read(reader, at)?;
                                    return Ok(true);
                                }
                            })*
                            Ok(false)
                        })?;
                    }
                    Ok(message)
                }

                fn write(&self, writer: &mut Writer<'_>, at: At) -> Result<(), EncodeError> {
                    let mut tagged = 0_u32;
                    $({
                        const SPEC: Spec = $spec;
                        writer.enter(concat!(stringify!($name), ".", stringify!($field)));
                        if !SPEC.carries(at.version) {
                            if !SPEC.ignorable
                                && differs::<$ty>(
                                    &self.$field, $crate::row_default!($($default)?),
                                )
                            {
                                return Err(writer.error(EncodeErrorKind::FieldNotInVersion {
                                    version: at.version,
                                }));
                            }
                        } else if SPEC.tag.is_none() {
                            let at = at.with_null(SPEC.nullable.contains(at.version));
                            Field::write(&self.$field, writer, at)?;
                        } else if differs::<$ty>(
                            &self.$field, $crate::row_default!($($default)?),
                        ) {
                            tagged += 1;
                        }
                    })*
                    if at.flexible {
                        writer.unsigned_varint(tagged);
                    }
                    if tagged > 0 {
                        $({
                            const SPEC: Spec = $spec;
                            if let Some(tag) = SPEC.tag
                                && SPEC.carries(at.version)
                                && differs::<$ty>(
                                    &self.$field, $crate::row_default!($($default)?),
                                )
                            {
                                writer.enter(concat!(stringify!($name), ".", stringify!($field)));
                                let at = at.with_null(SPEC.nullable.contains(at.version));
                                writer.unsigned_varint(tag);
                                writer.compact_size(Field::wire_size(&self.$field, at))?;
                                Field::write(&self.$field, writer, at)?;
                            }
                        })*
                    }
                    Ok(())
                }

                fn throttle_time_ms_mut(&mut self) -> Option<&mut i32> {
                    $(
                        // Decided when the macro is expanded; the other fields leave no code.
                        if const { $crate::message::is_throttle_time(stringify!($field)) } {
                            let field: &mut dyn ::core::any::Any = &mut self.$field;
                            return field.downcast_mut::<i32>();
                        }
                    )*
                    None
                }

                fn wire_size(&self, at: At) -> usize {
                    let mut size = 0;
                    let mut tagged = 0_u32;
                    $({
                        const SPEC: Spec = $spec;
                        if SPEC.carries(at.version) {
                            let at = at.with_null(SPEC.nullable.contains(at.version));
                            match SPEC.tag {
                                None => size += Field::wire_size(&self.$field, at),
                                Some(tag) => if differs::<$ty>(
                                    &self.$field, $crate::row_default!($($default)?),
                                ) {
                                    let content = Field::wire_size(&self.$field, at);
                                    tagged += 1;
                                    size += varint_size(tag as usize)
                                        + varint_size(content)
                                        + content;
                                },
                            }
                        }
                    })*
                    if at.flexible { size + varint_size(tagged as usize) } else { size }
                }
            }

            impl Nullable for $name {
                fn read_nullable(
                    reader: &mut Reader<'_>,
                    at: At,
                ) -> Result<Option<Self>, DecodeError> {
                    // A byte before the struct says whether it is there; negative is null.
                    if reader.i8()? < 0 {
                        return Ok(None);
                    }
                    Self::read(reader, at.with_null(false)).map(Some)
                }

                fn write_nullable(
                    value: Option<&Self>,
                    writer: &mut Writer<'_>,
                    at: At,
                ) -> Result<(), EncodeError> {
                    let presence: i8 = if value.is_some() { 1 } else { -1 };
                    writer.raw(&presence.to_be_bytes());
                    value.map_or(Ok(()), |value| value.write(writer, at.with_null(false)))
                }

                fn wire_size_nullable(value: Option<&Self>, at: At) -> usize {
                    1 + value.map_or(0, |value| value.wire_size(at.with_null(false)))
                }

                fn wire_size_nullable_min(_: At) -> usize {
                    1
                }
            }

            $(
                impl Message for $name {
                    const NAME: &'static str = stringify!($name);
                    const SCHEMA: Schema = $schema;
                }
            )?
        };
    )* };
}
