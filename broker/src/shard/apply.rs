//! Metadata coming into effect on this shard: every change was committed to the metadata log first.
//!
//! The image is replayed, the routing table and this shard's logs follow. The same code runs for a
//! start (`adopt_image`) and for a decision of shard 0.

use std::sync::Arc;

use protocol::types::Uuid;
use storage::types::{LogId, PartitionId, Volume};

use super::Shard;
use super::control::metadata_partition;
use super::event::{LogLevel, ShardId};
use super::groups::coordinator_config;
use super::load::Coordinated;
use super::topics::{Partition, Topic, TopicIndex, storage_id};
use super::txn::txn_config;
use crate::api::rules;
use crate::config::{BrokerConfig, TopicConfig};
use crate::controller::internal::TRANSACTION_STATE;
use crate::image;
use crate::image::{Change, MetadataRecord, ResourceType};

impl Shard {
    /// Makes the topics of the image this shard's own, once, at its start.
    pub(super) fn adopt_image(&mut self) {
        self.resolve_broker_config();
        self.store.set_move_rate(rules::move_rate(&self.broker, self.config.shards_count));
        if self.control.is_some() {
            let (id, volume) = (metadata_partition(), self.config.metadata_volume);
            let log = self.store.find_on(volume, &id).unwrap_or_else(|| {
                let created = self.store.create_partition(volume, id, rules::metadata_log_config());
                created.expect("the first partition of a store can be created")
            });
            if let Some(control) = &mut self.control {
                control.log = Some(log);
            }
        }
        let resources = self.image.config_resources();
        let groups = resources.filter(|resource| resource.kind == ResourceType::Group);
        let groups: Vec<String> = groups.map(|resource| resource.name.clone()).collect();
        for group in groups {
            self.update_group_config(&group);
        }
        let resources = self.image.config_resources();
        let metrics = resources.filter(|resource| resource.kind == ResourceType::ClientMetrics);
        let metrics: Vec<String> = metrics.map(|resource| resource.name.clone()).collect();
        for subscription in metrics {
            self.update_telemetry_subscription(&subscription);
        }
        let topics: Vec<image::Topic> = self.image.topics().cloned().collect();
        for topic in &topics {
            let index = self.add_topic(topic.id, &topic.name);
            for (number, partition) in topic.partitions.iter().enumerate() {
                self.add_partition(index, number as i32, partition);
            }
        }
    }

    /// Replays committed records.
    pub(super) fn apply_records(&mut self, records: &[MetadataRecord]) {
        for record in records {
            let change = self.image.replay(record);
            let change = change.unwrap_or_else(|error| {
                panic!("a committed decision fits the image it was made against: {error}")
            });
            self.apply_change(change);
        }
    }

    fn apply_change(&mut self, change: Change) {
        match change {
            Change::Cluster
            | Change::Brokers
            | Change::Features
            | Change::ProducerIds
            | Change::Scram => {}
            Change::Quotas => self.update_quotas(),
            Change::TopicCreated(id) => {
                let name = self.image.topic_by_id(&id).map(|topic| topic.name.clone());
                self.add_topic(id, &name.expect("a topic that was just replayed is there"));
            }
            Change::PartitionCreated(id, number) => {
                let partition = self.image_partition(id, number);
                let index = self.topics.find_id(id).expect("topics come before their partitions");
                self.add_partition(index, number, &partition);
            }
            Change::PartitionChanged(id, number) => {
                let leader_epoch = self.image_partition(id, number).leader_epoch;
                let index = self.topics.find_id(id).expect("topics come before their partitions");
                let partition = &mut self.topics.get_mut(index).partitions[number as usize];
                partition.leader_epoch = leader_epoch;
                if partition.log.is_some() {
                    self.note_place(id, number);
                }
            }
            Change::TopicRemoved { id, name, .. } => self.remove_topic(id, &name),
            Change::Config(resource) => match resource.kind {
                ResourceType::Topic => self.update_topic_config(&resource.name),
                ResourceType::Broker => self.update_broker_config(),
                ResourceType::Group => self.update_group_config(&resource.name),
                ResourceType::ClientMetrics => self.update_telemetry_subscription(&resource.name),
                ResourceType::BrokerLogger => {}
            },
        }
    }

    fn image_partition(&self, id: Uuid, number: i32) -> image::Partition {
        let found = self.image.topic_by_id(&id).and_then(|topic| topic.partition(number));
        found.expect("a partition that was just replayed is there").clone()
    }

    fn add_topic(&mut self, id: Uuid, name: &str) -> TopicIndex {
        let config = self.topic_config(name);
        self.topics.insert(Topic {
            id,
            name: Arc::from(name),
            config,
            internal: image::is_internal(name),
            partitions: Vec::new(),
        })
    }

    fn add_partition(&mut self, index: TopicIndex, number: i32, partition: &image::Partition) {
        let owner = ShardId(partition.shard(self.config.shards_count));
        let leader_epoch = partition.leader_epoch;
        let topic = self.topics.get(index);
        assert!(topic.partitions.len() == number as usize, "partitions are added in order");
        let coordinated = Coordinated::of_topic(&topic.name);
        let volume = self.config.volume_of(&partition.directory);
        let log = (owner == self.config.shard).then(|| self.open_log(volume, index, number));
        let placed = Partition { owner, leader_epoch, log };
        self.topics.get_mut(index).partitions.push(placed);
        self.coordinator.topics_changed();
        // The topic's own count says who lives where, not what the configuration has become.
        match coordinated {
            Some(Coordinated::Groups) => self.coordinator.set_offsets_partitions_count(number + 1),
            Some(Coordinated::Transactions) => self.transactions.set_partitions_count(number + 1),
            None => {}
        }
        if let Some(log) = log {
            // What recovery took offline is offline for readers from the start.
            let failed = self.store.failure(log).is_some();
            self.topics.insert_log(log, index, number, failed);
            if let Some(whose) = coordinated {
                self.begin_load(whose, number, leader_epoch, log);
            }
            let id = self.topics.get(index).id;
            self.note_place(id, number);
        }
    }

    /// The log of a partition of this shard: what recovery found, or a new one.
    fn open_log(&mut self, volume: Volume, index: TopicIndex, number: i32) -> LogId {
        let topic = self.topics.get(index);
        let id = PartitionId { topic_id: storage_id(topic.id), partition: number };
        let config = rules::log_config(&topic.config, &self.broker, id, self.config.seed);
        if let Some(log) = self.store.find_on(volume, &id) {
            self.store.set_config(log, config);
            return log;
        }
        match self.store.create_partition(volume, id, config) {
            Ok(log) => log,
            Err(error) => panic!("the controller's bounds let partition {id} be created: {error}"),
        }
    }

    fn remove_topic(&mut self, id: Uuid, name: &str) {
        let Some(index) = self.topics.find_id(id) else { return };
        let topic = self.topics.remove(index);
        for (number, partition) in topic.partitions.iter().enumerate() {
            let Some(log) = partition.log else { continue };
            // Whoever waits for the log finds it gone and says so.
            self.wake_watchers(log);
            self.topics.remove_log(log);
            self.forget_place(id, number as i32);
            if let Some(whose) = Coordinated::of_topic(name) {
                self.unload(whose, number as i32);
            }
        }
        if name == TRANSACTION_STATE {
            self.transactions.set_partitions_count(0);
            self.drain_transactions();
        }
        self.coordinator.topics_changed();
        self.coordinator.topic_deleted(self.now, name);
        self.drain_coordinator();
    }

    fn topic_config(&mut self, name: &str) -> TopicConfig {
        let own = self.image.topic_configs(name);
        match TopicConfig::resolve(&self.broker.topic_defaults, own) {
            Ok(config) => config,
            Err(error) => {
                // The controller checks values before they are stored; an older version may have
                // stored what this one does not take.
                let text = format!("topic {name}: {error}; the broker's defaults are used");
                self.log(LogLevel::Warn, text);
                self.broker.topic_defaults
            }
        }
    }

    fn update_topic_config(&mut self, name: &str) {
        let Some(index) = self.topics.find_name(name) else { return };
        let config = self.topic_config(name);
        let topic = self.topics.get_mut(index);
        topic.config = config;
        let id = topic.id;
        let logs: Vec<(i32, LogId)> = topic
            .partitions
            .iter()
            .enumerate()
            .filter_map(|(number, partition)| Some((number as i32, partition.log?)))
            .collect();
        for (partition, log) in logs {
            let id = PartitionId { topic_id: storage_id(id), partition };
            let config = rules::log_config(&config, &self.broker, id, self.config.seed);
            self.store.set_config(log, config);
        }
    }

    /// Takes settings that were read again. What was altered over the wire still goes before them.
    pub(super) fn reconfigure(&mut self, broker: Arc<BrokerConfig>) {
        self.config.broker = broker;
        self.update_broker_config();
    }

    fn update_broker_config(&mut self) {
        self.resolve_broker_config();
        self.coordinator.update_config(coordinator_config(&self.broker));
        self.transactions.update_config(txn_config(&self.broker));
        self.update_quota_windows();
        self.update_telemetry();
        let cleaner = rules::cleaner_config(&self.broker, self.config.shards_count);
        self.store.set_cleaner(cleaner);
        self.store.set_move_rate(rules::move_rate(&self.broker, self.config.shards_count));
        let names: Vec<Arc<str>> =
            self.topics.iter().map(|(_, topic)| Arc::clone(&topic.name)).collect();
        for name in names {
            self.update_topic_config(&name);
        }
    }

    /// The broker's settings with what was altered at run time.
    fn resolve_broker_config(&mut self) {
        let (own, cluster) = self.image.broker_configs(self.config.node_id);
        match self.config.broker.with_altered(own, cluster) {
            Ok(config) => self.broker = Arc::new(config),
            Err(error) => {
                let text = format!("altered broker settings are not used: {error}");
                self.log(LogLevel::Warn, text);
            }
        }
    }

    /// Storage lost a partition: it answers `KAFKA_STORAGE_ERROR` from here on, the rest serves.
    pub(super) fn handle_log_failed(&mut self, log: LogId, why: &str) {
        let own = self.control.as_ref().and_then(|control| control.log);
        let text = match self.take_log_offline(log) {
            Some((name, partition)) => format!("{name}-{partition} is offline: {why}"),
            None if own == Some(log) => format!("a log of the broker's own failed: {why}"),
            // A copy that does not count: the end of its move says why.
            None => return,
        };
        self.log(LogLevel::Error, text);
    }

    pub(super) fn take_log_offline(&mut self, log: LogId) -> Option<(Arc<str>, i32)> {
        let local = self.topics.log_mut(log)?;
        local.failed = true;
        let (topic, partition) = (local.topic, local.partition);
        let name = Arc::clone(&self.topics.get(topic).name);
        self.partitions_failed += 1;
        if let Some(whose) = Coordinated::of_topic(&name) {
            self.unload(whose, partition);
        }
        self.wake_watchers(log);
        Some((name, partition))
    }
}
