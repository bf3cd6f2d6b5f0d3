//! Members go: by their own word or because they were silent.
//!
//! What a member had is free at once, and the group's epoch rises so that the others get it with
//! their next heartbeats. Source: KIP-1071 and what Kafka 4.3 answers.

use std::sync::Arc;

use protocol::messages::streams_group_heartbeat::{
    StreamsGroupHeartbeatRequest, StreamsGroupHeartbeatResponse,
};

use super::state::{group_value, tombstones_of};
use super::{Streams, StreamsHeartbeat, heartbeat};
use crate::coordinator::group::consumer::Refusal;
use crate::coordinator::streams_records::StreamsRecord;

impl Streams {
    /// What removes a member from the group.
    pub(super) fn fence(&mut self, member: &Arc<str>) -> Vec<StreamsRecord> {
        let mut records: Vec<StreamsRecord> = tombstones_of(member).into();
        let state = &self.state;
        records.push(StreamsRecord::Group(Some(group_value(
            state.epoch.saturating_add(1),
            state.metadata_hash,
            state.validated_topology_epoch,
            &state.assignment_configs,
        ))));
        records
    }

    /// A member says that it leaves.
    pub(super) fn leave_by_heartbeat(
        &mut self,
        request: &StreamsGroupHeartbeatRequest,
    ) -> Result<heartbeat::Decided, Refusal> {
        if request.shutdown_application {
            self.soft.shutdown_by.get_or_insert_with(|| request.member_id.as_str().into());
        }
        let id = self.member(&request.group_id, &request.member_id)?.id.clone();
        let response = StreamsGroupHeartbeatResponse {
            member_id: id.to_string(),
            member_epoch: request.member_epoch,
            ..StreamsGroupHeartbeatResponse::default()
        };
        let answer = StreamsHeartbeat { response, to_create: Vec::new() };
        Ok((self.fence(&id), vec![id], answer))
    }
}
