//! DescribeGroups and ListGroups: what operators see.
//!
//! Reads only. Source: Kafka 4.3; KIP-518 (states), KIP-848 (types), KIP-1043 (group not found).

use bytes::Bytes;
use protocol::error_code::ErrorCode;
use protocol::messages::describe_groups::{DescribedGroup, DescribedGroupMember};
use protocol::messages::list_groups::{ListGroupsRequest, ListedGroup};

use super::classic::{Group, State};
use super::member::Member;

/// The types of groups kept here, in ListGroups.
const CLASSIC_TYPE: &str = "classic";
const CONSUMER_TYPE: &str = "consumer";
const STREAMS_TYPE: &str = "streams";
/// From this version a group that does not exist is an error.
const NOT_FOUND_SINCE: i16 = 6;

/// What anybody may do with a group where nobody is refused: read, delete, describe, describe and
/// alter its configs, as bits numbered by `AclOperation`.
pub(super) const GROUP_OPERATIONS: i32 = 1 << 3 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 11;

/// The same answer with the operations that were asked for; an error has none.
pub(super) fn with_operations(group: DescribedGroup) -> DescribedGroup {
    if group.error_code == ErrorCode::None as i16 {
        DescribedGroup { authorized_operations: GROUP_OPERATIONS, ..group }
    } else {
        group
    }
}

/// A group that does not exist: dead, as far as anyone can tell.
pub(super) fn not_found(group_id: String, version: i16) -> DescribedGroup {
    let (error, message) = if version >= NOT_FOUND_SINCE {
        (ErrorCode::GroupIdNotFound, Some(format!("Group {group_id} not found.")))
    } else {
        (ErrorCode::None, None)
    };
    DescribedGroup {
        error_code: error as i16,
        error_message: message,
        group_id,
        group_state: State::Dead.name().to_owned(),
        ..DescribedGroup::default()
    }
}

/// A group of another type: dead, as far as this API goes.
pub(super) fn not_classic(group_id: String, version: i16) -> DescribedGroup {
    let message = format!("Group {group_id} is not a classic group.");
    let described = not_found(group_id, version);
    let error_message = described.error_message.is_some().then_some(message);
    DescribedGroup { error_message, ..described }
}

/// A group that cannot be described here and now.
pub(super) fn failed(group_id: String, error: ErrorCode) -> DescribedGroup {
    DescribedGroup { error_code: error as i16, group_id, ..DescribedGroup::default() }
}

/// Which groups a ListGroups asks for.
#[derive(Debug)]
pub(super) struct Filter {
    states: Vec<String>,
    types: Vec<String>,
}

impl Filter {
    pub(super) fn new(request: &ListGroupsRequest) -> Self {
        let lower = |names: &[String]| names.iter().map(|name| name.to_lowercase()).collect();
        let mut states: Vec<String> = lower(&request.states_filter);
        for state in &mut states {
            *state = state.trim().to_owned();
        }
        Self { states, types: lower(&request.types_filter) }
    }

    /// An empty filter lets everything through, an unknown name nothing.
    pub(super) fn allows(&self, group: &Group) -> bool {
        // Kafka's filter has its own word for one state.
        let state = match group.state_name() {
            "NotReady" => "not_ready".to_owned(),
            name => name.to_lowercase(),
        };
        (self.states.is_empty() || self.states.contains(&state))
            && (self.types.is_empty() || self.types.iter().any(|name| name == group.type_name()))
    }
}

impl Group {
    pub(super) fn describe(&self) -> DescribedGroup {
        // Before the group is stable its members' metadata belongs to no generation. Assignments
        // are those of the last one, until a leader makes others.
        let protocol = match self.state() {
            State::Stable => self.protocol_name.as_deref(),
            State::Empty | State::PreparingRebalance | State::CompletingRebalance | State::Dead => {
                None
            }
        };
        DescribedGroup {
            group_id: self.id.to_string(),
            group_state: self.state().name().to_owned(),
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            protocol_data: protocol.unwrap_or("").to_owned(),
            members: self.members.iter().map(|member| describe_member(member, protocol)).collect(),
            ..DescribedGroup::default()
        }
    }

    /// Kafka's name of its state.
    fn state_name(&self) -> &'static str {
        match (&self.consumer, &self.streams) {
            (Some(consumer), _) => consumer.state_name(),
            (None, Some(streams)) => streams.state_name(),
            (None, None) => self.state().name(),
        }
    }

    fn type_name(&self) -> &'static str {
        match (&self.consumer, &self.streams) {
            (Some(_), _) => CONSUMER_TYPE,
            (None, Some(_)) => STREAMS_TYPE,
            (None, None) => CLASSIC_TYPE,
        }
    }

    pub(super) fn list(&self) -> ListedGroup {
        let protocol_type = if self.consumer.is_some() || self.streams.is_some() {
            self.type_name().to_owned()
        } else {
            self.protocol_type.clone().unwrap_or_default()
        };
        ListedGroup {
            group_id: self.id.to_string(),
            protocol_type,
            group_state: self.state_name().to_owned(),
            group_type: self.type_name().to_owned(),
        }
    }
}

fn describe_member(member: &Member, protocol: Option<&str>) -> DescribedGroupMember {
    DescribedGroupMember {
        member_id: member.id.to_string(),
        group_instance_id: member.instance.as_deref().map(Into::into),
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        member_metadata: protocol.map_or_else(Bytes::new, |protocol| member.metadata(protocol)),
        member_assignment: member.assignment.clone(),
    }
}
