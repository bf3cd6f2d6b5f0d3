//! The metadata image: the cluster's control-plane state, as replaying the metadata log makes it.
//!
//! Pure, and not where decisions are made: the controller reads an image and answers with records,
//! and
//! `replay` is the only thing that changes one. Every shard holds its own copy and replays the same
//! records. Snapshot and tail give the same image as the whole log; a test shows it.

mod config;
pub mod describe;
pub mod placement;
pub mod quota;
pub mod record;
pub mod scram;
mod topic;
pub mod topic_name;

use std::collections::{BTreeMap, BTreeSet};

use hashbrown::HashMap;
use protocol::message::Message;
use protocol::types::Uuid;
use rustc_hash::FxBuildHasher;

use crate::config::Configs;

pub use config::{ConfigResource, ResourceType};
pub use quota::{QuotaEntity, QuotaName, QuotaValues, Quotas};
pub use record::{MetadataRecord, RecordError};
pub use scram::{ScramCredential, ScramMechanism};
pub use topic::{Partition, Topic};
pub use topic_name::is_internal;

use record::{
    BrokerRecord, ClientQuotaRecord, ClusterRecord, ConfigRecord, FeatureRecord, PartitionRecord,
    ProducerIdsRecord, QuotaPart, RemoveTopicRecord, ScramRecord, TopicRecord,
};

/// A broker of the cluster.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Broker {
    pub id: i32,
    pub host: String,
    pub port: u16,
    pub rack: Option<String>,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Image {
    cluster_id: String,
    brokers: BTreeMap<i32, Broker>,
    features: BTreeMap<String, i16>,
    topics: HashMap<Uuid, Topic, FxBuildHasher>,
    /// For the hot path. Names come from administrators, so a hash without a secret is enough.
    by_name: HashMap<String, Uuid, FxBuildHasher>,
    /// For everything that lists topics: clients see them in this order.
    in_order: BTreeMap<String, Uuid>,
    /// Names with `.` as `_`, where collisions show.
    collisions: BTreeMap<String, Vec<String>>,
    configs: BTreeMap<ConfigResource, Configs>,
    quotas: Quotas,
    scram: BTreeMap<(String, ScramMechanism), ScramCredential>,
    next_producer_id: i64,
    partitions_count: usize,
    /// Grows with every replayed record; not part of the state.
    epoch: u64,
    /// Data folders of this node that are offline; not part of the state: every start finds out.
    offline: BTreeSet<Uuid>,
}

/// What a replayed record changed, for a shard to act on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    Cluster,
    Brokers,
    Features,
    /// The topic is there; its partitions follow.
    TopicCreated(Uuid),
    PartitionCreated(Uuid, i32),
    PartitionChanged(Uuid, i32),
    /// With its partitions, as many as there were.
    TopicRemoved {
        id: Uuid,
        name: String,
        partitions: Vec<Partition>,
    },
    Config(ConfigResource),
    ProducerIds,
    Quotas,
    Scram,
}

/// A record that does not fit the image. The log is damaged, or a decision was wrong: the caller
/// stops.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReplayError {
    #[error("metadata log: topic {0} is not there")]
    NoSuchTopic(Uuid),
    #[error("metadata log: topic {name} ({id}) is there already")]
    TopicExists { name: String, id: Uuid },
    #[error("metadata log: partition {partition} of {id} is out of order or out of range")]
    BadPartition { id: Uuid, partition: i32 },
    #[error("metadata log: {0} is out of range")]
    OutOfRange(&'static str),
}

impl Image {
    /// An image before its first record.
    pub fn new() -> Image {
        Image::default()
    }

    /// Applies one record. On error the image is as it was.
    pub fn replay(&mut self, record: &MetadataRecord) -> Result<Change, ReplayError> {
        let change = match record {
            MetadataRecord::Cluster(body) => {
                self.cluster_id = body.cluster_id.clone();
                Change::Cluster
            }
            MetadataRecord::Broker(body) => self.replay_broker(body)?,
            MetadataRecord::Feature(body) => {
                if body.level == 0 {
                    self.features.remove(&body.name);
                } else {
                    self.features.insert(body.name.clone(), body.level);
                }
                Change::Features
            }
            MetadataRecord::Topic(body) => self.replay_topic(body)?,
            MetadataRecord::Partition(body) => self.replay_partition(body)?,
            MetadataRecord::RemoveTopic(body) => self.replay_remove_topic(body)?,
            MetadataRecord::Config(body) => self.replay_config(body)?,
            MetadataRecord::ProducerIds(body) => {
                if body.next_producer_id < self.next_producer_id {
                    return Err(ReplayError::OutOfRange("the next producer id"));
                }
                self.next_producer_id = body.next_producer_id;
                Change::ProducerIds
            }
            MetadataRecord::ClientQuota(body) => self.replay_quota(body)?,
            MetadataRecord::Scram(body) => self.replay_scram(body)?,
        };
        self.epoch += 1;
        Ok(change)
    }

    fn replay_broker(&mut self, body: &BrokerRecord) -> Result<Change, ReplayError> {
        let port = u16::try_from(body.port).map_err(|_| ReplayError::OutOfRange("a port"))?;
        let broker =
            Broker { id: body.broker_id, host: body.host.clone(), port, rack: body.rack.clone() };
        self.brokers.insert(broker.id, broker);
        Ok(Change::Brokers)
    }

    fn replay_topic(&mut self, body: &TopicRecord) -> Result<Change, ReplayError> {
        if self.by_name.contains_key(&body.name) || self.topics.contains_key(&body.topic_id) {
            return Err(ReplayError::TopicExists { name: body.name.clone(), id: body.topic_id });
        }
        let topic = Topic {
            id: body.topic_id,
            name: body.name.clone(),
            created_ms: body.created_ms,
            partitions: Vec::new(),
        };
        self.by_name.insert(topic.name.clone(), topic.id);
        self.in_order.insert(topic.name.clone(), topic.id);
        self.collisions.entry(collision_name(&topic.name)).or_default().push(topic.name.clone());
        self.topics.insert(topic.id, topic);
        Ok(Change::TopicCreated(body.topic_id))
    }

    fn replay_partition(&mut self, body: &PartitionRecord) -> Result<Change, ReplayError> {
        let id = body.topic_id;
        let topic = self.topics.get_mut(&id).ok_or(ReplayError::NoSuchTopic(id))?;
        let partition = Partition::from_record(body);
        let bad = ReplayError::BadPartition { id, partition: body.partition };
        let Ok(index) = usize::try_from(body.partition) else { return Err(bad) };
        if body.slot < 0 || index > topic.partitions.len() {
            return Err(bad);
        }
        if index == topic.partitions.len() {
            topic.partitions.push(partition);
            self.partitions_count += 1;
            return Ok(Change::PartitionCreated(id, body.partition));
        }
        topic.partitions[index] = partition;
        Ok(Change::PartitionChanged(id, body.partition))
    }

    fn replay_remove_topic(&mut self, body: &RemoveTopicRecord) -> Result<Change, ReplayError> {
        let id = body.topic_id;
        let topic = self.topics.remove(&id).ok_or(ReplayError::NoSuchTopic(id))?;
        self.by_name.remove(&topic.name);
        self.in_order.remove(&topic.name);
        let collision = collision_name(&topic.name);
        if let Some(names) = self.collisions.get_mut(&collision) {
            names.retain(|name| *name != topic.name);
            if names.is_empty() {
                self.collisions.remove(&collision);
            }
        }
        self.configs.remove(&ConfigResource::topic(&topic.name));
        self.partitions_count -= topic.partitions.len();
        Ok(Change::TopicRemoved { id, name: topic.name, partitions: topic.partitions })
    }

    fn replay_config(&mut self, body: &ConfigRecord) -> Result<Change, ReplayError> {
        let kind = ResourceType::from_wire(body.resource_type)
            .ok_or(ReplayError::OutOfRange("the type of a config's resource"))?;
        let resource = ConfigResource { kind, name: body.resource_name.clone() };
        match &body.value {
            Some(value) => {
                let configs = self.configs.entry(resource.clone()).or_default();
                configs.insert(body.key.clone(), value.clone());
            }
            None => {
                if let Some(configs) = self.configs.get_mut(&resource) {
                    configs.remove(&body.key);
                    if configs.is_empty() {
                        self.configs.remove(&resource);
                    }
                }
            }
        }
        Ok(Change::Config(resource))
    }

    fn replay_quota(&mut self, body: &ClientQuotaRecord) -> Result<Change, ReplayError> {
        let mut entity = QuotaEntity::default();
        for part in &body.entity {
            let place = entity.part_mut(&part.kind);
            let place = place.ok_or(ReplayError::OutOfRange("the type of a quota's entity"))?;
            *place = Some(QuotaName::from_wire(part.name.clone()));
        }
        if body.remove {
            if let Some(values) = self.quotas.get_mut(&entity) {
                values.remove(&body.key);
                if values.is_empty() {
                    self.quotas.remove(&entity);
                }
            }
        } else {
            self.quotas.entry(entity).or_default().insert(body.key.clone(), body.value);
        }
        Ok(Change::Quotas)
    }

    fn replay_scram(&mut self, body: &ScramRecord) -> Result<Change, ReplayError> {
        let mechanism = ScramMechanism::from_wire(body.mechanism)
            .ok_or(ReplayError::OutOfRange("a SCRAM mechanism"))?;
        let key = (body.user.clone(), mechanism);
        if body.iterations == 0 {
            self.scram.remove(&key);
        } else {
            let credential = ScramCredential {
                salt: body.salt.to_vec(),
                stored_key: body.stored_key.to_vec(),
                server_key: body.server_key.to_vec(),
                iterations: body.iterations,
            };
            self.scram.insert(key, credential);
        }
        Ok(Change::Scram)
    }

    /// Records that make this image out of an empty one, always in the same order.
    pub fn snapshot_records(&self) -> Vec<MetadataRecord> {
        let mut records =
            vec![MetadataRecord::Cluster(ClusterRecord { cluster_id: self.cluster_id.clone() })];
        records.extend(self.brokers.values().map(|broker| {
            MetadataRecord::Broker(BrokerRecord {
                broker_id: broker.id,
                host: broker.host.clone(),
                port: broker.port.into(),
                rack: broker.rack.clone(),
            })
        }));
        records.extend(self.features.iter().map(|(name, level)| {
            MetadataRecord::Feature(FeatureRecord { name: name.clone(), level: *level })
        }));
        for topic in self.topics() {
            records.push(MetadataRecord::Topic(TopicRecord {
                name: topic.name.clone(),
                topic_id: topic.id,
                created_ms: topic.created_ms,
            }));
            records.extend((0..).zip(&topic.partitions).map(|(index, partition)| {
                MetadataRecord::Partition(partition.to_record(topic.id, index))
            }));
        }
        for (resource, configs) in &self.configs {
            records.extend(configs.iter().map(|(key, value)| {
                MetadataRecord::Config(ConfigRecord {
                    resource_type: resource.kind.to_wire(),
                    resource_name: resource.name.clone(),
                    key: key.clone(),
                    value: Some(value.clone()),
                })
            }));
        }
        for (entity, values) in &self.quotas {
            let parts = entity.parts().map(|(kind, name)| QuotaPart {
                kind: kind.to_owned(),
                name: name.name().map(str::to_owned),
            });
            let entity: Vec<QuotaPart> = parts.collect();
            records.extend(values.iter().map(|(key, value)| {
                MetadataRecord::ClientQuota(ClientQuotaRecord {
                    entity: entity.clone(),
                    key: key.clone(),
                    value: *value,
                    remove: false,
                })
            }));
        }
        records.extend(self.scram.iter().map(|((user, mechanism), credential)| {
            MetadataRecord::Scram(ScramRecord {
                user: user.clone(),
                mechanism: mechanism.to_wire(),
                iterations: credential.iterations,
                salt: credential.salt.clone().into(),
                stored_key: credential.stored_key.clone().into(),
                server_key: credential.server_key.clone().into(),
            })
        }));
        if self.next_producer_id > 0 {
            records.push(MetadataRecord::ProducerIds(ProducerIdsRecord {
                broker_id: -1,
                next_producer_id: self.next_producer_id,
            }));
        }
        records
    }

    /// A data folder of this node cannot be used: its partitions have no leader until the next
    /// start.
    pub fn take_directory_offline(&mut self, directory: Uuid) {
        self.offline.insert(directory);
    }

    /// The partition's leader, -1 when its data folder is offline, and its replicas that are.
    pub fn leader_of<'a>(&self, partition: &'a Partition) -> (i32, &'a [i32]) {
        if !self.offline.is_empty() && self.offline.contains(&partition.directory) {
            (-1, partition.replicas.as_slice())
        } else {
            (partition.leader, &[])
        }
    }

    /// A fingerprint of the state: equal images have equal ones, on every machine.
    pub fn fingerprint(&self) -> u64 {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let mut bytes = Vec::new();
        for record in self.snapshot_records() {
            bytes.clear();
            record.encode(&mut bytes).expect("what was replayed was decoded, so it encodes");
            for byte in &bytes {
                hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
            }
        }
        hash
    }

    /// The cluster's id; empty before the first record.
    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// Brokers by id.
    pub fn brokers(&self) -> &BTreeMap<i32, Broker> {
        &self.brokers
    }

    /// Finalized features and their levels.
    pub fn features(&self) -> &BTreeMap<String, i16> {
        &self.features
    }

    /// Topics by name.
    pub fn topics(&self) -> impl Iterator<Item = &Topic> {
        self.in_order.values().map(|id| &self.topics[id])
    }

    /// Topics by name, from this one on.
    pub fn topics_from(&self, name: &str) -> impl Iterator<Item = &Topic> {
        use std::ops::Bound::{Included, Unbounded};
        self.in_order.range::<str, _>((Included(name), Unbounded)).map(|(_, id)| &self.topics[id])
    }

    /// A topic by its name. Allocates nothing.
    pub fn topic(&self, name: &str) -> Option<&Topic> {
        self.topics.get(self.by_name.get(name)?)
    }

    /// A topic by its id. An id that is not here never was, or was deleted: nobody can tell.
    pub fn topic_by_id(&self, id: &Uuid) -> Option<&Topic> {
        self.topics.get(id)
    }

    /// An existing topic that this name cannot stand beside: they differ only in `.` and `_`.
    pub fn colliding_topic(&self, name: &str) -> Option<&str> {
        let names = self.collisions.get(&collision_name(name))?;
        names.iter().map(String::as_str).find(|known| *known != name)
    }

    /// How many topics there are.
    pub fn topics_count(&self) -> usize {
        self.topics.len()
    }

    /// How many partitions there are.
    pub fn partitions_count(&self) -> usize {
        self.partitions_count
    }

    /// What was set on a resource; empty when nothing was.
    pub fn configs(&self, resource: &ConfigResource) -> &Configs {
        static NONE: Configs = Configs::new();
        self.configs.get(resource).unwrap_or(&NONE)
    }

    /// What was set on a topic.
    pub fn topic_configs(&self, name: &str) -> &Configs {
        self.configs(&ConfigResource::topic(name))
    }

    /// What was set for one broker, and for all of them.
    pub fn broker_configs(&self, broker_id: i32) -> (&Configs, &Configs) {
        let broker = ConfigResource::new(ResourceType::Broker, broker_id.to_string());
        (self.configs(&broker), self.configs(&ConfigResource::new(ResourceType::Broker, "")))
    }

    /// Every resource that something was set on.
    pub fn config_resources(&self) -> impl Iterator<Item = &ConfigResource> {
        self.configs.keys()
    }

    /// Every quota.
    pub fn quotas(&self) -> &Quotas {
        &self.quotas
    }

    /// SCRAM credentials by user and mechanism.
    pub fn scram(&self) -> &BTreeMap<(String, ScramMechanism), ScramCredential> {
        &self.scram
    }

    /// The lowest producer id that no broker was given.
    pub fn next_producer_id(&self) -> i64 {
        self.next_producer_id
    }

    /// Grows whenever the image changes: an answer encoded at one epoch is good while it lasts.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }
}

impl PartialEq for Image {
    /// Same state; how many records it took does not count.
    fn eq(&self, other: &Image) -> bool {
        self.snapshot_records() == other.snapshot_records()
            && self.partitions_count == other.partitions_count
            && self.by_name == other.by_name
            && self.in_order == other.in_order
            && self.collisions.keys().eq(other.collisions.keys())
    }
}

fn collision_name(name: &str) -> String {
    name.replace('.', "_")
}

/// Bytes of a record's body, for bounding a batch before it is built.
pub fn record_size(record: &MetadataRecord) -> usize {
    let head = 2;
    head + match record {
        MetadataRecord::Cluster(body) => body.size(0),
        MetadataRecord::Broker(body) => body.size(0),
        MetadataRecord::Feature(body) => body.size(0),
        MetadataRecord::Topic(body) => body.size(0),
        MetadataRecord::Partition(body) => body.size(record.version()),
        MetadataRecord::RemoveTopic(body) => body.size(0),
        MetadataRecord::Config(body) => body.size(0),
        MetadataRecord::ProducerIds(body) => body.size(0),
        MetadataRecord::ClientQuota(body) => body.size(0),
        MetadataRecord::Scram(body) => body.size(0),
    }
}

#[cfg(test)]
mod tests;
