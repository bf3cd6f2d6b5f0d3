//! The records of streams groups (KIP-1071) in `__consumer_offsets`, in Kafka's own bytes.
//!
//! Six kinds: the group, its members, its topology, the target assignment (its epoch, and each
//! member's tasks) and what each member has. `records` reads and writes the topic and calls in
//! here. Kind 18 belongs to what Kafka wrote before 4.1: it is skipped. Source: the `StreamsGroup*`
//! schemas of Kafka 4.3.1.

use bytes::Bytes;
use protocol::primitive::Reader;

use super::consumer_records::{body, group_key, member_key, of_group, of_member};
use super::records::RecordError;

const KIND_GROUP: i16 = 17;
const KIND_MEMBER: i16 = 19;
const KIND_TARGET: i16 = 20;
const KIND_TARGET_MEMBER: i16 = 21;
const KIND_CURRENT: i16 = 22;
const KIND_TOPOLOGY: i16 = 23;

protocol::message! {
    /// Value of a group.
    pub struct GroupValue[protocol::message::versions(0, 0).flexible(0)] {
        /// Rises whenever the target assignment has to be made anew.
        epoch: i32, protocol::message::since(0);
        /// Changes with the topics that the topology needs: their ids and numbers of partitions.
        metadata_hash: i64, protocol::message::since(0);
        /// The topology whose topics were all there, as partitioned as they have to be.
        validated_topology_epoch: i32 = -1, protocol::message::since(0).tag(0);
        /// Settings that the last target assignment was wanted for.
        last_assignment_configs: Option<Vec<AssignmentConfig>>,
            protocol::message::since(0).nullable(0).tag(1);
    }

    /// Part of [`GroupValue`].
    pub struct AssignmentConfig {
        key: String, protocol::message::since(0);
        value: String, protocol::message::since(0);
    }

    /// Value of a member.
    pub struct MemberValue[protocol::message::versions(0, 0).flexible(0)] {
        instance_id: Option<String>, protocol::message::since(0).nullable(0);
        rack_id: Option<String>, protocol::message::since(0).nullable(0);
        client_id: String, protocol::message::since(0);
        client_host: String, protocol::message::since(0);
        /// Milliseconds.
        rebalance_timeout_ms: i32 = -1, protocol::message::since(0);
        topology_epoch: i32, protocol::message::since(0);
        /// Members of one process share its state directory.
        process_id: String, protocol::message::since(0);
        user_endpoint: Option<EndpointValue>, protocol::message::since(0).nullable(0);
        client_tags: Vec<Tag>, protocol::message::since(0);
    }

    /// Part of [`MemberValue`].
    pub struct EndpointValue {
        host: String, protocol::message::since(0);
        port: u16, protocol::message::since(0);
    }

    /// Part of [`MemberValue`].
    pub struct Tag {
        key: String, protocol::message::since(0);
        value: String, protocol::message::since(0);
    }

    /// Value of a topology.
    pub struct TopologyValue[protocol::message::versions(0, 0).flexible(0)] {
        epoch: i32, protocol::message::since(0);
        subtopologies: Vec<SubtopologyValue>, protocol::message::since(0);
    }

    /// Part of [`TopologyValue`].
    pub struct SubtopologyValue {
        subtopology_id: String, protocol::message::since(0);
        source_topics: Vec<String>, protocol::message::since(0);
        source_topic_regex: Vec<String>, protocol::message::since(0);
        state_changelog_topics: Vec<TopicValue>, protocol::message::since(0);
        repartition_sink_topics: Vec<String>, protocol::message::since(0);
        repartition_source_topics: Vec<TopicValue>, protocol::message::since(0);
        copartition_groups: Vec<CopartitionValue>, protocol::message::since(0);
    }

    /// Part of [`SubtopologyValue`]: topics by their places in its lists.
    pub struct CopartitionValue {
        source_topics: Vec<i16>, protocol::message::since(0);
        source_topic_regex: Vec<i16>, protocol::message::since(0);
        repartition_source_topics: Vec<i16>, protocol::message::since(0);
    }

    /// Part of [`SubtopologyValue`]: an internal topic.
    pub struct TopicValue {
        name: String, protocol::message::since(0);
        /// 0: as many as the subtopologies that write and read it need.
        partitions: i32, protocol::message::since(0);
        /// 0: the broker's default.
        replication_factor: i16, protocol::message::since(0);
        topic_configs: Vec<TopicConfigValue>, protocol::message::since(0);
    }

    /// Part of [`TopicValue`].
    pub struct TopicConfigValue {
        key: String, protocol::message::since(0);
        value: String, protocol::message::since(0);
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
        active_tasks: Vec<TargetTasks>, protocol::message::since(0);
        standby_tasks: Vec<TargetTasks>, protocol::message::since(0);
        warmup_tasks: Vec<TargetTasks>, protocol::message::since(0);
    }

    /// Part of [`TargetMemberValue`].
    pub struct TargetTasks {
        subtopology_id: String, protocol::message::since(0);
        partitions: Vec<i32>, protocol::message::since(0);
    }

    /// Value of what a member has.
    pub struct CurrentValue[protocol::message::versions(0, 0).flexible(0)] {
        member_epoch: i32, protocol::message::since(0);
        previous_member_epoch: i32, protocol::message::since(0);
        state: i8, protocol::message::since(0);
        active_tasks: Vec<CurrentTasks>, protocol::message::since(0);
        standby_tasks: Vec<CurrentTasks>, protocol::message::since(0);
        warmup_tasks: Vec<CurrentTasks>, protocol::message::since(0);
        active_tasks_pending_revocation: Vec<CurrentTasks>, protocol::message::since(0);
        standby_tasks_pending_revocation: Vec<CurrentTasks>, protocol::message::since(0);
        warmup_tasks_pending_revocation: Vec<CurrentTasks>, protocol::message::since(0);
    }

    /// Part of [`CurrentValue`].
    pub struct CurrentTasks {
        subtopology_id: String, protocol::message::since(0);
        partitions: Vec<i32>, protocol::message::since(0);
        /// The member's epoch when it got each task; only of active tasks.
        assignment_epochs: Option<Vec<i32>>, protocol::message::since(0).nullable(0).tag(0);
    }
}

/// One change of a streams group; `None` is a tombstone.
#[derive(Clone, PartialEq, Debug)]
pub enum StreamsRecord {
    /// The group itself.
    Group(Option<GroupValue>),
    /// A member, by its id.
    Member(String, Option<MemberValue>),
    /// What the application computes.
    Topology(Option<TopologyValue>),
    /// The epoch of the target assignment.
    Target(Option<TargetValue>),
    /// A member's part of the target assignment.
    TargetMember(String, Option<TargetMemberValue>),
    /// What a member has.
    Current(String, Option<CurrentValue>),
}

impl StreamsRecord {
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
            Self::Topology(value) => (of_group(KIND_TOPOLOGY), body(value.as_ref())),
            Self::Target(value) => (of_group(KIND_TARGET), body(value.as_ref())),
            Self::TargetMember(member, value) => {
                (of_member(member, KIND_TARGET_MEMBER), body(value.as_ref()))
            }
            Self::Current(member, value) => (of_member(member, KIND_CURRENT), body(value.as_ref())),
        }
    }

    /// Reads the rest of a key after its kind, and the value: the group, and what changes in it.
    /// `None`: a kind that is not of streams groups.
    pub(super) fn parse(
        kind: i16,
        reader: &mut Reader<'_>,
        value: Option<&[u8]>,
    ) -> Result<Option<(String, Self)>, RecordError> {
        Ok(Some(match kind {
            KIND_GROUP => of_group(kind, reader, value, Self::Group)?,
            KIND_MEMBER => of_member(kind, reader, value, Self::Member)?,
            KIND_TOPOLOGY => of_group(kind, reader, value, Self::Topology)?,
            KIND_TARGET => of_group(kind, reader, value, Self::Target)?,
            KIND_TARGET_MEMBER => of_member(kind, reader, value, Self::TargetMember)?,
            KIND_CURRENT => of_member(kind, reader, value, Self::Current)?,
            _ => return Ok(None),
        }))
    }

    /// Whether it takes something away.
    pub fn is_tombstone(&self) -> bool {
        match self {
            Self::Group(value) => value.is_none(),
            Self::Member(_, value) => value.is_none(),
            Self::Topology(value) => value.is_none(),
            Self::Target(value) => value.is_none(),
            Self::TargetMember(_, value) => value.is_none(),
            Self::Current(_, value) => value.is_none(),
        }
    }
}
