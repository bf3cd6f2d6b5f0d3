//! Clients' telemetry on a shard: the requests, and the switch.
//!
//! The rules are `telemetry`'s. Nothing here is on the way of records; a client pushes once in some
//! minutes.

use protocol::api::RequestHeaderRef;
use protocol::error_code::ErrorCode;
use protocol::messages::{
    GetTelemetrySubscriptionsRequest, GetTelemetrySubscriptionsResponse, PushTelemetryRequest,
    PushTelemetryResponse,
};
use protocol::types::Uuid;
use storage::prng::Prng;

use super::Shard;
use super::config::ShardConfig;
use super::op::RequestTag;
use crate::image::{ConfigResource, ResourceType};
use crate::telemetry::subscription::Client;

/// What Kafka calls a client that did not say what it is.
const UNKNOWN_SOFTWARE: &str = "unknown";

/// Keeps the ids of instances apart from everything else that is drawn.
const IDS_SALT: u64 = 0x7e1e_0000;

/// Where a shard's ids for client instances come from: another stream on each shard.
pub(super) fn instance_ids(config: &ShardConfig) -> Prng {
    Prng::new(config.seed).fork(IDS_SALT | u64::from(config.shard.0))
}

impl Shard {
    /// Takes a GetTelemetrySubscriptions request.
    pub(super) fn handle_telemetry_get(
        &mut self,
        tag: RequestTag,
        header: &RequestHeaderRef<'_>,
        body: &[u8],
    ) {
        let Some(request) = self.decode::<GetTelemetrySubscriptionsRequest>(tag, body) else {
            return;
        };
        let response = if self.broker.client_telemetry {
            let (client, drawn) = (self.telemetry_client(tag, header), self.draw_instance_id());
            let bytes_max = self.broker.telemetry_bytes_max;
            let now_ns = self.now.mono_ns;
            self.telemetry.get(request.client_instance_id, drawn, &client, bytes_max, now_ns)
        } else {
            // Of those that asked for the versions while it was on: they do not ask again.
            GetTelemetrySubscriptionsResponse {
                error_code: ErrorCode::UnsupportedVersion.code(),
                ..GetTelemetrySubscriptionsResponse::default()
            }
        };
        self.reply::<GetTelemetrySubscriptionsRequest>(tag, &response);
    }

    /// Takes a PushTelemetry request.
    pub(super) fn handle_telemetry_push(
        &mut self,
        tag: RequestTag,
        header: &RequestHeaderRef<'_>,
        body: &[u8],
    ) {
        let Some(request) = self.decode::<PushTelemetryRequest>(tag, body) else { return };
        let response = if self.broker.client_telemetry {
            let client = self.telemetry_client(tag, header);
            let bytes_max = usize::try_from(self.broker.telemetry_bytes_max).unwrap_or(0);
            let (codecs, now_ns) = (&mut self.codecs, self.now.mono_ns);
            self.telemetry.push(&request, &client, bytes_max, codecs, now_ns)
        } else {
            let error_code = ErrorCode::UnsupportedVersion.code();
            PushTelemetryResponse { throttle_time_ms: 0, error_code }
        };
        self.reply::<PushTelemetryRequest>(tag, &response);
    }

    /// A subscription was altered.
    pub(super) fn update_telemetry_subscription(&mut self, name: &str) {
        let resource = ConfigResource::new(ResourceType::ClientMetrics, name);
        self.telemetry.set_subscription(name, self.image.configs(&resource));
    }

    /// The broker's settings changed.
    pub(super) fn update_telemetry(&mut self) {
        if !self.broker.client_telemetry {
            self.telemetry.clear();
        }
    }

    fn telemetry_client(&self, tag: RequestTag, header: &RequestHeaderRef<'_>) -> Client {
        let connection = self.connections.get(tag.slot.conn);
        let connection = connection.expect("a request's connection is there while it is taken");
        let software = connection.software.as_deref();
        let said = |part: fn(&(String, String)) -> &String| {
            software.map_or(UNKNOWN_SOFTWARE, |both| part(both)).to_owned()
        };
        Client {
            client_id: header.client_id_text().map(|text| text.into_owned()),
            software_name: said(|(name, _)| name),
            software_version: said(|(_, version)| version),
            address: connection.peer.to_canonical(),
            port: connection.peer_port,
        }
    }

    /// An id that no instance has, for a client that asks for one.
    fn draw_instance_id(&mut self) -> Uuid {
        loop {
            let (high, low) = (self.instance_ids.next_u64(), self.instance_ids.next_u64());
            if let Some(id) = Uuid::from_random(u128::from(high) << 64 | u128::from(low)) {
                return id;
            }
        }
    }
}
