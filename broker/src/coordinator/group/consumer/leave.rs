//! Members go: by their own word, by an operator's, or because they were silent.
//!
//! What a member had is free at once, and the group's epoch rises so that the others get it.
//! Source: KIP-848 and what Kafka 4.3 answers; KIP-345 (static members removed by operators).

use std::sync::Arc;

use protocol::error_code::ErrorCode;
use protocol::messages::leave_group::{LeaveGroupResponse, MemberIdentity};

use super::heartbeat::tombstones_of;
use super::view::View;
use super::{Consumer, Metadata};
use crate::coordinator::consumer_records::ConsumerRecord;
use crate::coordinator::group::leave as classic_leave;

impl Consumer {
    /// What removes members from the group. They must be members.
    pub(super) fn fence(
        &mut self,
        metadata: Metadata<'_>,
        members: &[Arc<str>],
    ) -> Vec<ConsumerRecord> {
        let mut records: Vec<ConsumerRecord> =
            members.iter().flat_map(|member| tombstones_of(member)).collect();
        let mut view = View::new(&self.state, &self.index);
        members.iter().for_each(|member| view.without(member));
        Self::refresh_regexes(&mut view, &mut self.patterns, metadata, false, 0, &mut records)
            .expect("nothing new is matched when members go");
        records.push(view.next_epoch(metadata));
        records
    }

    /// Takes members out on a LeaveGroup.
    pub(super) fn leave(
        &mut self,
        metadata: Metadata<'_>,
        members: Vec<MemberIdentity>,
        version: i16,
    ) -> (Vec<ConsumerRecord>, Vec<Arc<str>>, LeaveGroupResponse) {
        let mut gone: Vec<Arc<str>> = Vec::new();
        let response = classic_leave::response(members, version, |identity| {
            let id = self.leaving(identity)?;
            if gone.contains(&id) {
                return Err(ErrorCode::UnknownMemberId);
            }
            gone.push(id);
            Ok(())
        });
        let records = if gone.is_empty() { Vec::new() } else { self.fence(metadata, &gone) };
        (records, gone, response)
    }

    /// The member that an identity names: by id, or by instance alone.
    fn leaving(&self, identity: &MemberIdentity) -> Result<Arc<str>, ErrorCode> {
        let id = match identity.group_instance_id.as_deref() {
            None => self.state.members.get_key_value(identity.member_id.as_str()).map(|(id, _)| id),
            Some(instance) => self.index.instances.get(instance),
        };
        let id = id.ok_or(ErrorCode::UnknownMemberId)?;
        let names_another = !identity.member_id.is_empty() && *identity.member_id != **id;
        if names_another { Err(ErrorCode::FencedInstanceId) } else { Ok(id.clone()) }
    }
}
