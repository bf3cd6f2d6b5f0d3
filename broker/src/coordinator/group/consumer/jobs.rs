//! What a consumer group has to decide, and what follows a decision.
//!
//! A [`Job`] is a request or a deadline that waits for its turn in the group's queue; an [`After`]
//! is the answer that waits for an append. Values and how each is answered; the queue is in the
//! parent.

use std::sync::Arc;

use protocol::error_code::ErrorCode;
use protocol::messages::consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
};
use protocol::messages::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use protocol::messages::join_group::{JoinGroupRequest, JoinGroupResponse};
use protocol::messages::leave_group::{LeaveGroupRequest, LeaveGroupResponse};
use protocol::messages::sync_group::SyncGroupRequest;

use super::heartbeat::refused;
use crate::coordinator::group::api::{GroupResponse, ReplyToken, RequestContext};
use crate::coordinator::group::classic::{join_error, sync_error};
use crate::coordinator::group::effects::Env;
use crate::coordinator::group::member_id::clip;
use crate::coordinator::group::turns;
use crate::coordinator::limits;

/// Who asked, kept while a request waits.
#[derive(Clone, Debug)]
pub(in crate::coordinator::group) struct Client {
    pub(in crate::coordinator::group) id: String,
    pub(in crate::coordinator::group) host: String,
}

impl From<&RequestContext<'_>> for Client {
    fn from(context: &RequestContext<'_>) -> Self {
        let clip = |text| clip(text, limits::STRING_BYTES_MAX).to_owned();
        Self { id: clip(context.client_id), host: clip(context.client_host) }
    }
}

impl Client {
    /// The context it asked in.
    pub(super) fn context(&self, api_version: i16) -> RequestContext<'_> {
        RequestContext { client_id: &self.id, client_host: &self.host, api_version }
    }
}

/// Something to decide.
#[derive(Debug)]
pub(in crate::coordinator::group) enum Job {
    Heartbeat {
        request: ConsumerGroupHeartbeatRequest,
        client: Client,
        reply: ReplyToken,
    },
    Leave {
        request: LeaveGroupRequest,
        version: i16,
        reply: ReplyToken,
    },
    ClassicJoin {
        request: JoinGroupRequest,
        client: Client,
        version: i16,
        reply: ReplyToken,
    },
    ClassicSync {
        request: SyncGroupRequest,
        version: i16,
        reply: ReplyToken,
    },
    ClassicHeartbeat {
        request: HeartbeatRequest,
        reply: ReplyToken,
    },
    SessionOver {
        member: Arc<str>,
    },
    RebalanceOver {
        member: Arc<str>,
        epoch: i32,
    },
    /// A classic member had time to join again, or to ask for what it is assigned.
    ClassicOver {
        member: Arc<str>,
    },
}

impl turns::Job for Job {
    fn is_from_client(&self) -> bool {
        match self {
            Self::Heartbeat { .. }
            | Self::Leave { .. }
            | Self::ClassicJoin { .. }
            | Self::ClassicSync { .. }
            | Self::ClassicHeartbeat { .. } => true,
            Self::SessionOver { .. } | Self::RebalanceOver { .. } | Self::ClassicOver { .. } => {
                false
            }
        }
    }

    fn fail(self, env: &mut Env<'_>, error: ErrorCode) {
        match self {
            Self::Heartbeat { reply, .. } => {
                let response = refused(error.into());
                env.effects.reply(reply, GroupResponse::ConsumerGroupHeartbeat(response));
            }
            Self::Leave { reply, .. } => After::leave_failed(env, reply, error),
            Self::ClassicJoin { reply, request, version, .. } => {
                let response = join_error(version, request.member_id, error);
                env.effects.reply(reply, GroupResponse::JoinGroup(response));
            }
            Self::ClassicSync { reply, .. } => {
                env.effects.reply(reply, GroupResponse::SyncGroup(sync_error(error)));
            }
            Self::ClassicHeartbeat { reply, .. } => {
                let response = HeartbeatResponse { error_code: error as i16, ..Default::default() };
                env.effects.reply(reply, GroupResponse::Heartbeat(response));
            }
            Self::SessionOver { .. } | Self::RebalanceOver { .. } | Self::ClassicOver { .. } => {}
        }
    }
}

/// What follows an append of a consumer group.
#[derive(Debug)]
pub(in crate::coordinator::group) enum After {
    /// The answer to a heartbeat, leaving included.
    Heartbeat { reply: ReplyToken, response: Box<ConsumerGroupHeartbeatResponse> },
    /// The answer to a LeaveGroup.
    Leave { reply: ReplyToken, response: LeaveGroupResponse },
    /// The answer to a JoinGroup.
    Join { reply: ReplyToken, version: i16, response: Box<JoinGroupResponse> },
    /// Nobody waits for it: a member was silent.
    Nothing,
}

impl After {
    /// Whether a client waits for it.
    pub(super) fn is_for_client(&self) -> bool {
        match self {
            Self::Heartbeat { .. } | Self::Leave { .. } | Self::Join { .. } => true,
            Self::Nothing => false,
        }
    }

    pub(in crate::coordinator::group) fn answer(
        self,
        env: &mut Env<'_>,
        result: Result<(), ErrorCode>,
    ) {
        match (self, result) {
            (Self::Heartbeat { reply, response }, Ok(())) => {
                env.effects.reply(reply, GroupResponse::ConsumerGroupHeartbeat(*response));
            }
            (Self::Heartbeat { reply, .. }, Err(error)) => {
                let response = refused(error.into());
                env.effects.reply(reply, GroupResponse::ConsumerGroupHeartbeat(response));
            }
            (Self::Leave { reply, response }, Ok(())) => {
                env.effects.reply(reply, GroupResponse::LeaveGroup(response));
            }
            (Self::Leave { reply, .. }, Err(error)) => Self::leave_failed(env, reply, error),
            (Self::Join { reply, response, .. }, Ok(())) => {
                env.effects.reply(reply, GroupResponse::JoinGroup(*response));
            }
            (Self::Join { reply, version, response }, Err(error)) => {
                let response = join_error(version, response.member_id, error);
                env.effects.reply(reply, GroupResponse::JoinGroup(response));
            }
            (Self::Nothing, Ok(()) | Err(_)) => {}
        }
    }

    fn leave_failed(env: &mut Env<'_>, reply: ReplyToken, error: ErrorCode) {
        let response =
            LeaveGroupResponse { error_code: error as i16, ..LeaveGroupResponse::default() };
        env.effects.reply(reply, GroupResponse::LeaveGroup(response));
    }
}
