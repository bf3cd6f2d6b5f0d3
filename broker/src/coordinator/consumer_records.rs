//! The records of consumer groups (KIP-848) in `__consumer_offsets`, in Kafka's own bytes.
//!
//! Six kinds: the group, its members, the target assignment (its epoch, and each member's part),
//! what each member has, and what a regular expression stands for. `records` reads and writes the
//! topic and calls in here. Kind 4, the metadata of partitions, is what Kafka wrote before 4.1: it
//! is skipped. Source: the `ConsumerGroup*` schemas of Kafka 4.3.1; `tests/golden.rs` has the bytes
//! of Kafka's own classes.

use bytes::Bytes;
use protocol::message::Message;
use protocol::primitive::{At, DecodeError, EncodeError, Field, Kind, Reader, Writer};
use protocol::types::Uuid;

use super::records::{RecordError, parse_value, versioned};

const KIND_GROUP: i16 = 3;
const KIND_MEMBER: i16 = 5;
const KIND_TARGET: i16 = 6;
const KIND_TARGET_MEMBER: i16 = 7;
const KIND_CURRENT: i16 = 8;
const KIND_REGEX: i16 = 16;

protocol::message! {
    /// Key of what a group has once.
    pub struct OfGroupKey[protocol::message::versions(0, 0)] {
        group: String, protocol::message::since(0);
    }

    /// Key of what each member has.
    pub struct OfMemberKey[protocol::message::versions(0, 0)] {
        group: String, protocol::message::since(0);
        member: String, protocol::message::since(0);
    }

    /// Key of a regular expression.
    pub struct OfRegexKey[protocol::message::versions(0, 0)] {
        group: String, protocol::message::since(0);
        regex: String, protocol::message::since(0);
    }

    /// Value of a group.
    pub struct GroupValue[protocol::message::versions(0, 0).flexible(0)] {
        /// Rises whenever the target assignment has to be made anew.
        epoch: i32, protocol::message::since(0);
        /// Changes with the topics that the group reads: their ids and numbers of partitions.
        metadata_hash: i64, protocol::message::since(0).tag(0);
    }

    /// Value of a member.
    pub struct MemberValue[protocol::message::versions(0, 0).flexible(0)] {
        instance_id: Option<String>, protocol::message::since(0).nullable(0);
        rack_id: Option<String>, protocol::message::since(0).nullable(0);
        client_id: String, protocol::message::since(0);
        client_host: String, protocol::message::since(0);
        /// In order of their names.
        subscribed_topic_names: Vec<String>, protocol::message::since(0);
        subscribed_topic_regex: Option<String>, protocol::message::since(0).nullable(0);
        /// Milliseconds.
        rebalance_timeout_ms: i32 = -1, protocol::message::since(0);
        server_assignor: Option<String>, protocol::message::since(0).nullable(0);
        /// Only of members that use the classic protocol.
        classic: Classic = Classic::written(), protocol::message::since(0).tag(0);
    }

    /// Part of [`MemberValue`].
    pub struct ClassicValue {
        /// Milliseconds.
        session_timeout_ms: i32, protocol::message::since(0);
        supported_protocols: Vec<ClassicProtocol>, protocol::message::since(0);
    }

    /// Part of [`ClassicValue`].
    pub struct ClassicProtocol {
        name: String, protocol::message::since(0);
        metadata: Bytes, protocol::message::since(0);
    }

    /// Value of a target assignment.
    pub struct TargetValue[protocol::message::versions(0, 0).flexible(0)] {
        /// The group's epoch that it was made for.
        assignment_epoch: i32, protocol::message::since(0);
        /// When it was made, in milliseconds since the Unix epoch.
        assignment_timestamp: i64, protocol::message::since(0).tag(0);
    }

    /// Value of one member's part of the target assignment.
    pub struct TargetMemberValue[protocol::message::versions(0, 0).flexible(0)] {
        topic_partitions: Vec<TargetPartitions>, protocol::message::since(0);
    }

    /// Part of [`TargetMemberValue`].
    pub struct TargetPartitions {
        topic_id: Uuid, protocol::message::since(0);
        partitions: Vec<i32>, protocol::message::since(0);
    }

    /// Value of what a member has.
    pub struct CurrentValue[protocol::message::versions(0, 0).flexible(0)] {
        member_epoch: i32, protocol::message::since(0);
        previous_member_epoch: i32, protocol::message::since(0);
        state: i8, protocol::message::since(0);
        assigned_partitions: Vec<CurrentPartitions>, protocol::message::since(0);
        partitions_pending_revocation: Vec<CurrentPartitions>, protocol::message::since(0);
    }

    /// Part of [`CurrentValue`].
    pub struct CurrentPartitions {
        topic_id: Uuid, protocol::message::since(0);
        partitions: Vec<i32>, protocol::message::since(0);
        /// The member's epoch when it got each partition; null in records of older versions.
        assignment_epochs: Option<Vec<i32>> = Some(Vec::new()),
            protocol::message::since(0).nullable(0).tag(0);
    }

    /// Value of a regular expression.
    pub struct RegexValue[protocol::message::versions(0, 0).flexible(0)] {
        /// The topics that it matched, in order of their names.
        topics: Vec<String>, protocol::message::since(0);
        /// Version of the metadata that it was matched against.
        version: i64, protocol::message::since(0);
        /// When it was matched, in milliseconds since the Unix epoch.
        timestamp: i64, protocol::message::since(0);
    }
}

/// The classic part of [`MemberValue`], or none.
///
/// Kafka's schema gives it a default that is not null, so that null is written: as a tagged field
/// of one byte, 0, where other nullable structs have −1.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Classic(pub Option<ClassicValue>);

impl Classic {
    /// The schema's default, which is the only one that is left out.
    fn written() -> Self {
        Self(Some(ClassicValue::default()))
    }
}

impl Field for Classic {
    const KIND: Kind = Kind::Nullable(&<ClassicValue as Field>::KIND);

    fn wire_size_min(_: At) -> usize {
        1
    }

    fn read(reader: &mut Reader<'_>, at: At) -> Result<Self, DecodeError> {
        if reader.i8()? <= 0 {
            return Ok(Self(None));
        }
        ClassicValue::read(reader, at).map(|value| Self(Some(value)))
    }

    fn write(&self, writer: &mut Writer<'_>, at: At) -> Result<(), EncodeError> {
        writer.raw(&[u8::from(self.0.is_some())]);
        self.0.as_ref().map_or(Ok(()), |value| value.write(writer, at))
    }

    fn wire_size(&self, at: At) -> usize {
        1 + self.0.as_ref().map_or(0, |value| value.wire_size(at))
    }
}

/// One change of a consumer group; `None` is a tombstone.
#[derive(Clone, PartialEq, Debug)]
pub enum ConsumerRecord {
    /// The group itself.
    Group(Option<GroupValue>),
    /// A member, by its id.
    Member(String, Option<MemberValue>),
    /// The epoch of the target assignment.
    Target(Option<TargetValue>),
    /// A member's part of the target assignment.
    TargetMember(String, Option<TargetMemberValue>),
    /// What a member has.
    Current(String, Option<CurrentValue>),
    /// A regular expression.
    Regex(String, Option<RegexValue>),
}

impl ConsumerRecord {
    /// Whether it takes something away.
    pub fn is_tombstone(&self) -> bool {
        match self {
            Self::Group(value) => value.is_none(),
            Self::Member(_, value) => value.is_none(),
            Self::Target(value) => value.is_none(),
            Self::TargetMember(_, value) => value.is_none(),
            Self::Current(_, value) => value.is_none(),
            Self::Regex(_, value) => value.is_none(),
        }
    }

    /// Key and value for the log.
    ///
    /// # Panics
    /// When a string is longer than 32,767 bytes: the coordinator refuses those where they come in.
    pub(super) fn encode(&self, group: &str) -> (Bytes, Option<Bytes>) {
        let of_group = |kind| group_key(group, kind);
        let of_member = |member: &str, kind| member_key(group, member, kind);
        match self {
            Self::Group(value) => (of_group(KIND_GROUP), body(value.as_ref())),
            Self::Member(member, value) => (of_member(member, KIND_MEMBER), body(value.as_ref())),
            Self::Target(value) => (of_group(KIND_TARGET), body(value.as_ref())),
            Self::TargetMember(member, value) => {
                (of_member(member, KIND_TARGET_MEMBER), body(value.as_ref()))
            }
            Self::Current(member, value) => (of_member(member, KIND_CURRENT), body(value.as_ref())),
            Self::Regex(regex, value) => {
                let key = OfRegexKey { group: group.into(), regex: regex.clone() };
                (versioned(&key, KIND_REGEX, 0), body(value.as_ref()))
            }
        }
    }

    /// Reads the rest of a key after its kind, and the value: the group, and what changes in it.
    /// `None`: a kind that is not of consumer groups.
    pub(super) fn parse(
        kind: i16,
        reader: &mut Reader<'_>,
        value: Option<&[u8]>,
    ) -> Result<Option<(String, Self)>, RecordError> {
        Ok(Some(match kind {
            KIND_GROUP => of_group(kind, reader, value, Self::Group)?,
            KIND_MEMBER => of_member(kind, reader, value, Self::Member)?,
            KIND_TARGET => of_group(kind, reader, value, Self::Target)?,
            KIND_TARGET_MEMBER => of_member(kind, reader, value, Self::TargetMember)?,
            KIND_CURRENT => of_member(kind, reader, value, Self::Current)?,
            KIND_REGEX => {
                let key: OfRegexKey = key(kind, reader)?;
                (key.group, Self::Regex(key.regex, parse_value(kind, value)?))
            }
            _ => return Ok(None),
        }))
    }
}

/// The key of what a group has once.
pub(super) fn group_key(group: &str, kind: i16) -> Bytes {
    versioned(&OfGroupKey { group: group.into() }, kind, 0)
}

/// The key of what each member has.
pub(super) fn member_key(group: &str, member: &str, kind: i16) -> Bytes {
    versioned(&OfMemberKey { group: group.into(), member: member.into() }, kind, 0)
}

/// A value; `None` is a tombstone.
pub(super) fn body<M: Message>(value: Option<&M>) -> Option<Bytes> {
    value.map(|value| versioned(value, 0, 0))
}

/// Reads what a group has once, after its kind: the group, and what changes in it.
pub(super) fn of_group<V: Message, R>(
    kind: i16,
    reader: &mut Reader<'_>,
    value: Option<&[u8]>,
    record: fn(Option<V>) -> R,
) -> Result<(String, R), RecordError> {
    let key: OfGroupKey = key(kind, reader)?;
    Ok((key.group, record(parse_value(kind, value)?)))
}

/// Reads what a member has, after its kind: the group, and what changes in it.
pub(super) fn of_member<V: Message, R>(
    kind: i16,
    reader: &mut Reader<'_>,
    value: Option<&[u8]>,
    record: fn(String, Option<V>) -> R,
) -> Result<(String, R), RecordError> {
    let key: OfMemberKey = key(kind, reader)?;
    Ok((key.group, record(key.member, parse_value(kind, value)?)))
}

fn key<M: Message>(kind: i16, reader: &mut Reader<'_>) -> Result<M, RecordError> {
    M::decode(reader, 0).map_err(|source| RecordError::Key { kind, source })
}
