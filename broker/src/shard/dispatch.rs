//! From a frame to the handler of its API.
//!
//! Decides only what every request shares: is the API served in this version, in whose turn is it,
//! and must the connection's next request wait for it. Source: the protocol guide; KIP-511 for
//! ApiVersions.

use protocol::api::{ApiKey, RequestHeaderRef};
use protocol::frame::encode_response;
use protocol::message::Request;
use protocol::primitive::{Field, Reader};

use super::Shard;
use super::ask::ClientContext;
use super::connection::SlotId;
use super::event::{ConnId, LogLevel};
use super::op::RequestTag;
use crate::api::{self, served};
use crate::ledger::{Arrival, Record};

impl Shard {
    pub(crate) fn handle_frame(&mut self, conn: ConnId, frame: &[u8], arrival: Arrival) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        if connection.is_closing() {
            return;
        }
        if connection.must_hold() {
            if !connection.hold(frame, arrival) {
                self.close(conn, Some("too many requests behind one that is not answered yet"));
            }
        } else {
            self.dispatch(conn, frame, arrival);
        }
        self.update_flow(conn);
    }

    pub(crate) fn dispatch(&mut self, conn: ConnId, frame: &[u8], arrival: Arrival) {
        let Ok((header, body_at)) = RequestHeaderRef::parse(frame) else {
            self.close(conn, Some("not a Kafka request"));
            return;
        };
        let body = &frame[body_at..];
        let version = header.api_version;
        let key = header.api_key;
        let is_served = served::range(key).is_some_and(|range| range.contains(version));
        if !is_served && key != ApiKey::ApiVersions {
            self.close(conn, Some("an API or version that is not served"));
            return;
        }
        let now_ns = self.now.mono_ns;
        let record = self.ledger_on.then(|| Record::new(key, arrival, now_ns, frame.len()));
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let seq = connection.open_slot(record);
        let tag = RequestTag {
            slot: SlotId { conn, seq },
            correlation_id: header.correlation_id,
            version,
        };
        if self.quotas.count_requests() {
            self.note_request(conn, &header, frame.len());
        }
        match key {
            ApiKey::Produce => {
                api::produce::handle(self, tag, &header, body);
                self.hold_back(conn, self.config.shard);
            }
            ApiKey::Fetch => api::fetch::handle(self, tag, body),
            ApiKey::ListOffsets => api::offsets::handle_list(self, tag, body),
            ApiKey::OffsetForLeaderEpoch => api::offsets::handle_epoch_end(self, tag, body),
            ApiKey::DeleteRecords => api::offsets::handle_delete(self, tag, body),
            ApiKey::Metadata => api::metadata::handle(self, tag, body),
            ApiKey::ApiVersions => api::versions::handle(self, tag, is_served, body),
            ApiKey::DescribeCluster => api::metadata::handle_cluster(self, tag, body),
            ApiKey::DescribeTopicPartitions => api::metadata::handle_partitions(self, tag, body),
            ApiKey::InitProducerId => api::producers::handle_init(self, tag, body),
            ApiKey::DescribeProducers => api::producers::handle_describe(self, tag, body),
            ApiKey::DescribeLogDirs => api::log_dirs::handle(self, tag, body),
            ApiKey::AddPartitionsToTxn => {
                api::transactions::handle_add_partitions(self, tag, body);
            }
            ApiKey::AddOffsetsToTxn => api::transactions::handle_add_offsets(self, tag, body),
            ApiKey::EndTxn => api::transactions::handle_end(self, tag, body),
            ApiKey::WriteTxnMarkers => api::marker::handle(self, tag, body),
            ApiKey::DescribeTransactions => api::transactions::handle_describe(self, tag, body),
            ApiKey::ListTransactions => api::transactions::handle_list(self, tag, body),
            ApiKey::FindCoordinator => api::groups::handle_find(self, tag, body),
            ApiKey::OffsetCommit
            | ApiKey::OffsetFetch
            | ApiKey::JoinGroup
            | ApiKey::SyncGroup
            | ApiKey::Heartbeat
            | ApiKey::LeaveGroup
            | ApiKey::DescribeGroups
            | ApiKey::ListGroups
            | ApiKey::DeleteGroups
            | ApiKey::ConsumerGroupHeartbeat
            | ApiKey::ConsumerGroupDescribe
            | ApiKey::StreamsGroupHeartbeat
            | ApiKey::StreamsGroupDescribe
            | ApiKey::OffsetDelete
            | ApiKey::TxnOffsetCommit => api::groups::handle(self, tag, &header, body),
            ApiKey::CreateTopics
            | ApiKey::DeleteTopics
            | ApiKey::CreatePartitions
            | ApiKey::DescribeConfigs
            | ApiKey::AlterClientQuotas
            | ApiKey::AlterUserScramCredentials
            | ApiKey::AlterConfigs
            | ApiKey::IncrementalAlterConfigs => api::admin::handle(self, tag, &header, body),
            ApiKey::AlterReplicaLogDirs => api::log_dirs::handle_alter(self, tag, body),
            ApiKey::ListConfigResources => api::cluster::handle_list_resources(self, tag, body),
            ApiKey::ElectLeaders => api::cluster::handle_elect(self, tag, body),
            ApiKey::AlterPartitionReassignments => api::cluster::handle_reassign(self, tag, body),
            ApiKey::ListPartitionReassignments => {
                api::cluster::handle_list_reassignments(self, tag, body);
            }
            ApiKey::DescribeClientQuotas => api::cluster::handle_describe_quotas(self, tag, body),
            ApiKey::DescribeUserScramCredentials => {
                api::cluster::handle_describe_scram(self, tag, body);
            }
            ApiKey::DescribeQuorum => api::cluster::handle_quorum(self, tag, body),
            ApiKey::UpdateFeatures => api::cluster::handle_features(self, tag, body),
            ApiKey::UnregisterBroker => api::cluster::handle_unregister(self, tag, body),
            ApiKey::AddRaftVoter => api::cluster::handle_add_voter(self, tag, body),
            ApiKey::RemoveRaftVoter => api::cluster::handle_remove_voter(self, tag, body),
            ApiKey::GetTelemetrySubscriptions => self.handle_telemetry_get(tag, &header, body),
            ApiKey::PushTelemetry => self.handle_telemetry_push(tag, &header, body),
            ApiKey::DescribeAcls => api::security::handle_describe_acls(self, tag, body),
            ApiKey::CreateAcls => api::security::handle_create_acls(self, tag, body),
            ApiKey::DeleteAcls => api::security::handle_delete_acls(self, tag, body),
            ApiKey::SaslHandshake => api::security::handle_handshake(self, tag, body),
            ApiKey::SaslAuthenticate => api::security::handle_authenticate(self, tag, body),
            ApiKey::CreateDelegationToken => api::security::handle_create_token(self, tag, body),
            ApiKey::RenewDelegationToken => api::security::handle_renew_token(self, tag, body),
            ApiKey::ExpireDelegationToken => api::security::handle_expire_token(self, tag, body),
            ApiKey::DescribeDelegationToken => {
                api::security::handle_describe_tokens(self, tag, body);
            }
            _ => self.close(conn, Some("an API that is not served")),
        }
        // Produce and Fetch are ordered as soon as they were taken; everything else finishes before
        // the connection's next request starts, as with Kafka, so that a pipelined
        // create-then-produce works.
        if !matches!(key, ApiKey::Produce | ApiKey::Fetch)
            && let Some(connection) = self.connections.get_mut(conn)
        {
            connection.set_barrier(seq);
        }
    }

    /// Decodes a request's body, or closes the connection that sent what is none.
    pub(crate) fn decode<R: Request>(&mut self, tag: RequestTag, body: &[u8]) -> Option<R> {
        match R::decode(&mut Reader::new(body), tag.version) {
            Ok(request) => Some(request),
            Err(error) => {
                self.log(LogLevel::Warn, format!("malformed {:?}: {error}", R::KEY));
                self.close(tag.slot.conn, Some("a malformed request"));
                None
            }
        }
    }

    /// Encodes and sends an answer.
    pub(crate) fn reply<R: Request>(&mut self, tag: RequestTag, body: &R::Response) {
        if self.quotas.count_requests() {
            let mut body = body.clone();
            if let Some(throttle_ms) = body.throttle_time_ms_mut() {
                *throttle_ms = (*throttle_ms).max(self.muted_ms(tag.slot.conn));
            }
            self.send_reply::<R>(tag, &body);
        } else {
            self.send_reply::<R>(tag, body);
        }
    }

    fn send_reply<R: Request>(&mut self, tag: RequestTag, body: &R::Response) {
        let mut response = self.pool.response();
        let encoded =
            encode_response::<R>(&mut response.head, tag.version, tag.correlation_id, body);
        match encoded {
            Ok(()) => self.complete(tag.slot, Some(response)),
            Err(error) => {
                // Only an answer larger than a frame, or a value that version cannot carry.
                self.log(LogLevel::Error, format!("cannot encode {:?}: {error}", R::KEY));
                self.pool.give_response(response);
                self.close(tag.slot.conn, Some("an answer that cannot be encoded"));
            }
        }
    }

    /// Who sent a request, for the code that may know.
    pub(crate) fn client_context(
        &self,
        tag: RequestTag,
        header: &RequestHeaderRef<'_>,
    ) -> ClientContext {
        let client_host = self
            .connections
            .get(tag.slot.conn)
            .map_or_else(String::new, |connection| format!("/{}", connection.peer));
        ClientContext {
            client_id: header.client_id_text().map_or_else(String::new, |text| text.into_owned()),
            client_host,
            api_version: tag.version,
        }
    }
}
