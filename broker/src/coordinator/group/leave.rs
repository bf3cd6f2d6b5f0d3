//! LeaveGroup: members go, by their own word or by an operator's.
//!
//! A member names itself by id; an operator removes static members by instance alone.
//! Source: Kafka 4.3's classic groups; KIP-345 (batches, instances).

use protocol::error_code::ErrorCode;
use protocol::messages::leave_group::{
    LeaveGroupRequest, LeaveGroupResponse, MemberIdentity, MemberResponse,
};

use super::classic::{Group, State};
use super::effects::Env;

/// From this version a request names several members and its answer has a code for each.
const BATCHED_SINCE: i16 = 3;

/// The members a request names, whatever its version.
pub(super) fn leaving(request: LeaveGroupRequest, version: i16) -> Vec<MemberIdentity> {
    if version >= BATCHED_SINCE {
        return request.members;
    }
    vec![MemberIdentity { member_id: request.member_id, ..MemberIdentity::default() }]
}

/// An answer from one code per member, in the form of the version asked.
pub(super) fn response(
    members: Vec<MemberIdentity>,
    version: i16,
    mut code_of: impl FnMut(&MemberIdentity) -> Result<(), ErrorCode>,
) -> LeaveGroupResponse {
    let members: Vec<MemberResponse> = members
        .into_iter()
        .map(|member| MemberResponse {
            error_code: code_of(&member).err().unwrap_or(ErrorCode::None) as i16,
            member_id: member.member_id,
            group_instance_id: member.group_instance_id,
        })
        .collect();
    if version >= BATCHED_SINCE {
        LeaveGroupResponse { members, ..LeaveGroupResponse::default() }
    } else {
        let error_code = members.first().map_or(0, |member| member.error_code);
        LeaveGroupResponse { error_code, ..LeaveGroupResponse::default() }
    }
}

impl Group {
    /// Takes members out.
    pub(super) fn leave(
        &mut self,
        env: &mut Env<'_>,
        members: Vec<MemberIdentity>,
        version: i16,
    ) -> LeaveGroupResponse {
        if self.state() == State::Dead {
            let error_code = ErrorCode::CoordinatorNotAvailable as i16;
            return LeaveGroupResponse { error_code, ..LeaveGroupResponse::default() };
        }
        let mut anyone_left = false;
        let response = response(members, version, |member| {
            let left = self.leave_one(env, member);
            anyone_left |= left.is_ok();
            left
        });
        if anyone_left {
            self.after_removal(env);
        }
        response
    }

    fn leave_one(&mut self, env: &mut Env<'_>, member: &MemberIdentity) -> Result<(), ErrorCode> {
        let instance = member.group_instance_id.as_deref();
        if member.member_id.is_empty() {
            let id = instance.and_then(|instance| self.members.of_instance(instance)).cloned();
            let id = id.ok_or(ErrorCode::UnknownMemberId)?;
            self.remove_member(env, &id);
        } else if self.pending_joins.contains_key(member.member_id.as_str()) {
            self.remove_member(env, &member.member_id);
        } else {
            self.validate_member(&member.member_id, instance)?;
            self.remove_member(env, &member.member_id);
        }
        Ok(())
    }
}
