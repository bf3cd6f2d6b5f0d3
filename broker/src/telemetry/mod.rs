//! Telemetry of clients (KIP-714): which metrics a client is asked for, and what it pushed.
//!
//! Pure: time and ids are arguments. `shard/telemetry.rs` asks; the admin endpoint publishes what
//! was pushed. Each shard knows the instances whose connections it has; an instance that comes back
//! on another shard begins anew there, under the same subscription id. The rules and codes are
//! those of Kafka 4.3.1 with a plug-in that takes telemetry. Everything a client chooses is bounded
//! (`limits.rs`): memory does not grow with what it sends.

pub mod limits;
pub mod metrics;
pub mod otlp;
pub mod subscription;

use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::ErrorCode;
use protocol::compress::{Codecs, Compression};
use protocol::messages::{
    GetTelemetrySubscriptionsResponse, PushTelemetryRequest, PushTelemetryResponse,
};
use protocol::types::Uuid;

use crate::config::Configs;
use limits::{INSTANCE_SILENT_NS_MIN, INSTANCES_MAX, SHARD_BYTES_MAX, SWEEP_NS};
use metrics::InstanceMetrics;
use subscription::{Client, Subscriptions, Wanted};

/// Codecs a client may use, in the order of our preference: the most compact first.
pub const ACCEPTED_CODECS: [Compression; 4] =
    [Compression::Zstd, Compression::Lz4, Compression::Gzip, Compression::Snappy];

/// The telemetry of one shard.
#[derive(Debug, Default)]
pub struct Telemetry {
    subscriptions: Subscriptions,
    /// Counts changes of `subscriptions`.
    version: u64,
    instances: BTreeMap<Uuid, Instance>,
    /// Memory of all instances' series, about.
    series_bytes: usize,
    sweep_at_ns: Option<u64>,
    /// Counts changes of what `published` would say.
    revision: u64,
    pub probe: Probe,
}

/// What was counted since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Probe {
    pub pushes: u64,
    pub refused: u64,
    pub points: u64,
    pub points_dropped: u64,
    pub instances_evicted: u64,
}

/// One client instance.
#[derive(Debug)]
struct Instance {
    /// Of the subscriptions that `wanted` was made from.
    version: u64,
    wanted: Wanted,
    /// When it last asked, and last pushed and was heard.
    got_ns: Option<u64>,
    pushed_ns: Option<u64>,
    /// It said that this push is its last.
    terminating: bool,
    /// Why its last request was refused.
    last_error: ErrorCode,
    seen_ns: u64,
    metrics: Arc<InstanceMetrics>,
}

impl Telemetry {
    /// Takes what is configured of a subscription. Every instance is looked at again with its next
    /// request.
    pub fn set_subscription(&mut self, name: &str, configs: &Configs) {
        self.subscriptions.set(name, configs);
        self.version += 1;
    }

    /// Answers GetTelemetrySubscriptions. `drawn` becomes the id of a client that has none.
    pub fn get(
        &mut self,
        requested: Uuid,
        drawn: Uuid,
        client: &Client,
        bytes_max: i32,
        now_ns: u64,
    ) -> GetTelemetrySubscriptionsResponse {
        let id = if requested.is_zero() { drawn } else { requested };
        let instance = self.instance(id, client, now_ns);
        if !instance.may_get(now_ns) {
            self.probe.refused += 1;
            return GetTelemetrySubscriptionsResponse {
                error_code: ErrorCode::ThrottlingQuotaExceeded.code(),
                ..GetTelemetrySubscriptionsResponse::default()
            };
        }
        instance.last_error = ErrorCode::None;
        GetTelemetrySubscriptionsResponse {
            throttle_time_ms: 0,
            error_code: 0,
            client_instance_id: id,
            subscription_id: instance.wanted.subscription_id,
            accepted_compression_types: ACCEPTED_CODECS.map(|codec| codec.id() as i8).to_vec(),
            push_interval_ms: instance.wanted.interval_ms,
            telemetry_max_bytes: bytes_max,
            delta_temporality: true,
            requested_metrics: instance.wanted.metrics.iter().cloned().collect(),
        }
    }

    /// Answers PushTelemetry, and keeps what was pushed.
    pub fn push(
        &mut self,
        request: &PushTelemetryRequest,
        client: &Client,
        bytes_max: usize,
        codecs: &mut Codecs,
        now_ns: u64,
    ) -> PushTelemetryResponse {
        let id = request.client_instance_id;
        let result = if id.is_zero() || id == Uuid::METADATA_TOPIC {
            Err(ErrorCode::InvalidRequest)
        } else {
            let instance = self.instance(id, client, now_ns);
            let checked = instance.check_push(request, bytes_max, now_ns);
            instance.terminating = request.terminating;
            let result = checked.and_then(|codec| self.keep(request, codec, bytes_max, codecs));
            if let Some(instance) = self.instances.get_mut(&id) {
                instance.last_error = result.err().unwrap_or(ErrorCode::None);
            }
            result
        };
        match result {
            Ok(()) => self.probe.pushes += 1,
            Err(_) => self.probe.refused += 1,
        }
        let error_code = result.err().map_or(0, ErrorCode::code);
        PushTelemetryResponse { throttle_time_ms: 0, error_code }
    }

    /// When silent instances have to be looked for.
    pub fn poll_timeout(&self) -> Option<u64> {
        self.sweep_at_ns
    }

    /// Forgets instances that were silent for too long.
    pub fn handle_timeout(&mut self, now_ns: u64) {
        if self.sweep_at_ns.is_none_or(|at_ns| at_ns > now_ns) {
            return;
        }
        let silent: Vec<Uuid> = self
            .instances
            .iter()
            .filter(|(_, instance)| instance.is_silent(now_ns))
            .map(|(id, _)| *id)
            .collect();
        for id in silent {
            self.forget(id);
        }
        self.sweep_at_ns = (!self.instances.is_empty()).then_some(now_ns + SWEEP_NS);
    }

    /// Forgets every instance: telemetry was switched off.
    pub fn clear(&mut self) {
        self.instances.clear();
        self.series_bytes = 0;
        self.sweep_at_ns = None;
        self.revision += 1;
    }

    /// How many instances are known.
    pub fn instances_count(&self) -> usize {
        self.instances.len()
    }

    /// Memory of their series, about.
    pub fn series_bytes(&self) -> usize {
        self.series_bytes
    }

    /// A number that changes when what `published` says does.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// What each instance pushed, by instance.
    pub fn published(&self) -> impl Iterator<Item = &Arc<InstanceMetrics>> {
        self.instances.values().map(|instance| &instance.metrics)
    }

    /// The instance, made or asked for what is wanted by now.
    fn instance(&mut self, id: Uuid, client: &Client, now_ns: u64) -> &mut Instance {
        let (version, subscriptions) = (self.version, &self.subscriptions);
        match self.instances.get_mut(&id) {
            Some(known) if known.version == version => {}
            Some(known) => known.renew(version, subscriptions.wanted(client, id)),
            None => {
                let wanted = subscriptions.wanted(client, id);
                while self.instances.len() >= INSTANCES_MAX {
                    self.evict_silent(id);
                }
                let metrics = Arc::new(InstanceMetrics::new(id, client));
                self.instances.insert(id, Instance::new(version, wanted, metrics));
                self.sweep_at_ns.get_or_insert(now_ns + SWEEP_NS);
                self.revision += 1;
            }
        }
        let instance = self.instances.get_mut(&id).expect("it was there or was just made");
        instance.seen_ns = now_ns;
        instance
    }

    /// Decompresses, reads and keeps a push that was accepted.
    fn keep(
        &mut self,
        request: &PushTelemetryRequest,
        codec: Compression,
        bytes_max: usize,
        codecs: &mut Codecs,
    ) -> Result<(), ErrorCode> {
        if request.metrics.is_empty() {
            return Ok(());
        }
        let id = request.client_instance_id;
        let instance = self.instances.get_mut(&id).expect("it was just asked");
        // As Kafka answers both what is not the codec's and what grows beyond the bound.
        let message = codecs
            .decompress_to_scratch(codec, &request.metrics, bytes_max)
            .map_err(|_| ErrorCode::InvalidRecord)?;
        let metrics = Arc::make_mut(&mut instance.metrics);
        let before = metrics.bytes();
        let taken = metrics.take(message);
        self.series_bytes = self.series_bytes + metrics.bytes() - before;
        codecs.give_back_scratch();
        self.revision += 1;
        while self.series_bytes > SHARD_BYTES_MAX {
            self.evict_silent(id);
        }
        let taken = taken.map_err(|_| ErrorCode::InvalidRecord)?;
        self.probe.points += taken.points;
        self.probe.points_dropped += taken.dropped;
        Ok(())
    }

    /// Forgets the instance that was silent longest; not `spared`, which alone is within all
    /// bounds.
    fn evict_silent(&mut self, spared: Uuid) {
        let others = self.instances.iter().filter(|(id, _)| **id != spared);
        let silent = others.min_by_key(|(_, instance)| instance.seen_ns).map(|(id, _)| *id);
        self.forget(silent.expect("one instance alone is within the bounds"));
        self.probe.instances_evicted += 1;
    }

    fn forget(&mut self, id: Uuid) {
        if let Some(gone) = self.instances.remove(&id) {
            self.series_bytes -= gone.metrics.bytes();
            self.revision += 1;
        }
    }
}

impl Instance {
    fn new(version: u64, wanted: Wanted, metrics: Arc<InstanceMetrics>) -> Instance {
        Instance {
            version,
            wanted,
            got_ns: None,
            pushed_ns: None,
            terminating: false,
            last_error: ErrorCode::None,
            seen_ns: 0,
            metrics,
        }
    }

    /// Subscriptions changed: it may ask at once, and is as one that never did.
    fn renew(&mut self, version: u64, wanted: Wanted) {
        *self = Instance::new(version, wanted, Arc::clone(&self.metrics));
    }

    fn interval_ns(&self) -> u64 {
        u64::try_from(self.wanted.interval_ms).unwrap_or(0) * 1_000_000
    }

    fn is_silent(&self, now_ns: u64) -> bool {
        let kept_ns = self.interval_ns().saturating_mul(3).max(INSTANCE_SILENT_NS_MIN);
        now_ns.saturating_sub(self.seen_ns) >= kept_ns
    }

    /// Whether it may ask: once an interval, and whenever its last push could not be right without
    /// asking again.
    fn may_get(&mut self, now_ns: u64) -> bool {
        let heard_ns = self.got_ns.max(self.pushed_ns);
        let is_due =
            heard_ns.is_none_or(|at_ns| now_ns.saturating_sub(at_ns) >= self.interval_ns());
        let has_to = matches!(
            self.last_error,
            ErrorCode::UnknownSubscriptionId | ErrorCode::UnsupportedCompressionType
        );
        if is_due {
            self.got_ns = Some(now_ns);
        }
        is_due || has_to
    }

    /// Whether it may push: once an interval, and once after it asked, because clients draw when to
    /// push first.
    fn may_push(&mut self, now_ns: u64) -> bool {
        let is_due =
            self.pushed_ns.is_none_or(|at_ns| now_ns.saturating_sub(at_ns) >= self.interval_ns());
        let accepted = is_due || self.got_ns > self.pushed_ns;
        if accepted {
            self.pushed_ns = Some(now_ns);
        }
        accepted
    }

    /// The codec of a push that is right so far.
    fn check_push(
        &mut self,
        request: &PushTelemetryRequest,
        bytes_max: usize,
        now_ns: u64,
    ) -> Result<Compression, ErrorCode> {
        if self.terminating {
            return Err(ErrorCode::InvalidRequest);
        }
        if !self.may_push(now_ns) && !request.terminating {
            return Err(ErrorCode::ThrottlingQuotaExceeded);
        }
        if request.subscription_id != self.wanted.subscription_id {
            return Err(ErrorCode::UnknownSubscriptionId);
        }
        let named = Compression::ALL.into_iter();
        let codec = named.into_iter().find(|codec| codec.id() as i8 == request.compression_type);
        let codec = codec.ok_or(ErrorCode::UnsupportedCompressionType)?;
        if request.metrics.len() > bytes_max {
            return Err(ErrorCode::TelemetryTooLarge);
        }
        Ok(codec)
    }
}

#[cfg(test)]
mod tests;
