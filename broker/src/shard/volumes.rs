//! The data folders of this shard as they fail: one alone, or all there is.
//!
//! A folder fails for the whole process: the shard that sees its journal fail tells the others. Its
//! partitions are offline until the next start; those of the other folders go on. The only folder
//! of a broker is another matter, because there is no other to go on with: its readers are served
//! from what is there. Without the folder of the metadata log nothing can be decided, and a broker
//! that has others stops, as Kafka does. Called by `mod.rs` and `remote.rs`.

use std::collections::BTreeMap;

use protocol::error_code::ErrorCode;
use protocol::types::Uuid;
use storage::types::{LogId, Volume};

use super::Shard;
#[cfg(test)]
use super::config::Directory;
use super::event::{LogLevel, Output, ShardId};
use super::mesh::MeshMessage;
use crate::image::{Image, MetadataRecord};
use crate::ledger::AppendPath;

impl Shard {
    /// Whether the journal of a volume failed, or its folder did.
    pub(crate) fn journal_failed(&self, volume: Volume) -> bool {
        self.journals_failed & 1 << volume.0 != 0
    }

    /// Whether a volume's folder is offline.
    pub(crate) fn is_offline(&self, volume: Volume) -> bool {
        let lost = self.config.directory(volume).is_none_or(|dir| dir.failed.is_some());
        lost || self.journal_failed(volume)
    }

    /// A line about a volume: which it is, where there are several.
    pub(super) fn about(&self, volume: Volume, text: String) -> String {
        match self.config.directory(volume) {
            Some(folder) if self.config.directories.len() > 1 => {
                format!("{}: {text}", folder.path)
            }
            Some(_) | None => text,
        }
    }

    /// A journal of this shard is lost: nothing of it is acknowledged any more.
    pub(super) fn handle_journal_failed(&mut self, volume: Volume, why: &str) {
        let shard = self.config.shard.0;
        let several = self.config.directories.len() > 1;
        if !several {
            self.log(
                LogLevel::Error,
                format!(
                    "the journal of shard {shard} failed: {why}. Its partitions refuse produces; \
                     restart the broker once the device works"
                ),
            );
            return self.fail_acks(volume);
        }
        if self.journal_failed(volume) {
            // Another shard was first, and this one's write was still under way.
            return;
        }
        let folder = self.config.directory(volume).map_or("?", |dir| dir.path.as_str());
        let text = format!("the data folder {folder} failed: journal of shard {shard}: {why}");
        if volume == self.config.metadata_volume {
            self.fail_acks(volume);
            let text = format!("{text}. It holds the metadata log: nothing can go on without it");
            return self.push(Output::Halt(text));
        }
        let text =
            format!("{text}. Its partitions are offline; restart the broker once the device works");
        self.log(LogLevel::Error, text);
        let own = self.config.shard;
        for other in (0..self.config.shards_count).map(ShardId).filter(|other| *other != own) {
            let why = why.to_owned();
            self.send_mesh(other, MeshMessage::VolumeFailed { volume, why });
        }
        self.take_volume_offline(volume, why);
    }

    /// Some shard saw a folder fail.
    pub(super) fn take_volume_offline(&mut self, volume: Volume, why: &str) {
        if let Some(directory) = self.config.directory(volume) {
            self.image.take_directory_offline(directory.id);
        }
        self.store.take_offline(volume, why);
        self.fail_acks(volume);
        let here = |log: &LogId| log.volume() == volume;
        let logs: Vec<LogId> = self.store.partitions().map(|(_, log)| log).filter(here).collect();
        for log in logs {
            self.take_log_offline(log);
        }
    }

    fn fail_acks(&mut self, volume: Volume) {
        self.journals_failed |= 1 << volume.0;
        let code = ErrorCode::KafkaStorageError.code();
        for action in self.acks.take_all(volume) {
            self.run_ack(action, code, AppendPath::default());
        }
    }

    /// Gives each partition that is created its data folder: the one that was asked for, else the
    /// one with the fewest, as Kafka does. With one folder there is nothing to choose, and nothing
    /// is written down.
    pub(super) fn choose_directories(&mut self, records: &mut [MetadataRecord]) {
        if self.config.directories.len() == 1 {
            return;
        }
        let usable: Vec<Volume> = (0..self.config.directories.len() as u8)
            .map(Volume)
            .filter(|volume| !self.is_offline(*volume))
            .collect();
        let ids: Vec<Uuid> =
            usable.iter().filter_map(|volume| Some(self.config.directory(*volume)?.id)).collect();
        let Some(control) = &mut self.control else { return };
        let wanted = &mut control.preferred_directories;
        choose(&self.image, &ids, self.config.metadata_id(), wanted, records);
    }
}

/// The folder of every partition among `records` that is new, out of `usable` ones.
fn choose(
    image: &Image,
    usable: &[Uuid],
    home: Uuid,
    wanted: &mut BTreeMap<(String, i32), Uuid>,
    records: &mut [MetadataRecord],
) {
    let mut counts: Vec<(usize, Uuid)> = usable.iter().map(|id| (0, *id)).collect();
    if !records.iter().any(|record| matches!(record, MetadataRecord::Partition(_))) {
        return;
    }
    for partition in image.topics().flat_map(|topic| &topic.partitions) {
        let id = if partition.directory.is_zero() { home } else { partition.directory };
        counts.iter_mut().filter(|(_, known)| *known == id).for_each(|(count, _)| *count += 1);
    }
    let mut names: BTreeMap<Uuid, String> = BTreeMap::new();
    for record in records {
        match record {
            MetadataRecord::Topic(topic) => {
                names.insert(topic.topic_id, topic.name.clone());
            }
            MetadataRecord::Partition(partition) => {
                let known = image.topic_by_id(&partition.topic_id);
                if known.is_some_and(|topic| topic.partition(partition.partition).is_some()) {
                    continue;
                }
                let name = known.map(|topic| &topic.name).or(names.get(&partition.topic_id));
                let asked =
                    name.and_then(|name| wanted.remove(&(name.clone(), partition.partition)));
                let place = asked.and_then(|id| counts.iter().position(|(_, known)| *known == id));
                let fewest = || {
                    let places = counts.iter().enumerate();
                    places.min_by_key(|(_, (count, _))| *count).map(|(place, _)| place)
                };
                let Some(place) = place.or_else(fewest) else { continue };
                counts[place].0 += 1;
                partition.directory = counts[place].1;
            }
            MetadataRecord::Cluster(_)
            | MetadataRecord::Broker(_)
            | MetadataRecord::Feature(_)
            | MetadataRecord::RemoveTopic(_)
            | MetadataRecord::Config(_)
            | MetadataRecord::ProducerIds(_)
            | MetadataRecord::ClientQuota(_)
            | MetadataRecord::Scram(_) => {}
        }
    }
}

/// Only what a test needs of a folder.
#[cfg(test)]
pub(crate) fn directory_for_tests(path: &str, id: u64) -> Directory {
    Directory { path: path.to_owned(), id: Uuid::from_u64s(0, id), failed: None }
}

#[cfg(test)]
mod tests {
    //! New partitions go where the fewest are, or where they were asked to go.

    use super::*;
    use crate::controller::assignment::partition_record;
    use crate::image::record::TopicRecord;

    const A: Uuid = Uuid::from_u64s(0, 1);
    const B: Uuid = Uuid::from_u64s(0, 2);

    fn topic(id: u64, partitions: i32) -> Vec<MetadataRecord> {
        let topic_id = Uuid::from_u64s(9, id);
        let name = format!("t{id}");
        let mut records =
            vec![MetadataRecord::Topic(TopicRecord { name, topic_id, created_ms: 0 })];
        records.extend((0..partitions).map(|partition| {
            MetadataRecord::Partition(partition_record(topic_id, partition, vec![1]))
        }));
        records
    }

    fn directories(records: &[MetadataRecord]) -> Vec<Uuid> {
        let placed = records.iter().filter_map(|record| match record {
            MetadataRecord::Partition(partition) => Some(partition.directory),
            _ => None,
        });
        placed.collect()
    }

    #[test]
    fn new_partitions_go_where_the_fewest_are() {
        let mut image = Image::new();
        let (mut wanted, mut first) = (BTreeMap::new(), topic(1, 3));
        choose(&image, &[A, B], A, &mut wanted, &mut first);
        assert_eq!(directories(&first), [A, B, A]);
        for record in &first {
            image.replay(record).expect("it fits");
        }
        let mut second = topic(2, 3);
        choose(&image, &[A, B], A, &mut wanted, &mut second);
        assert_eq!(directories(&second), [B, A, B]);
    }

    #[test]
    fn partitions_without_a_folder_count_as_the_homes() {
        let mut image = Image::new();
        for record in topic(1, 2) {
            image.replay(&record).expect("it fits");
        }
        let mut second = topic(2, 3);
        choose(&image, &[A, B], A, &mut BTreeMap::new(), &mut second);
        assert_eq!(directories(&second), [B, B, A]);
    }

    #[test]
    fn a_folder_asked_for_before_the_creation_is_taken_once() {
        let image = Image::new();
        let mut wanted = BTreeMap::from([(("t1".to_owned(), 0), B)]);
        let mut records = topic(1, 2);
        choose(&image, &[A, B], A, &mut wanted, &mut records);
        assert_eq!(directories(&records), [B, A]);
        assert!(wanted.is_empty());
    }

    #[test]
    fn a_folder_that_is_offline_gets_no_new_partition() {
        let mut records = topic(1, 2);
        let mut wanted = BTreeMap::from([(("t1".to_owned(), 0), B)]);
        choose(&Image::new(), &[A], A, &mut wanted, &mut records);
        assert_eq!(directories(&records), [A, A]);
    }
}
