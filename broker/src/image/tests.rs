//! Replay: snapshot and tail against the whole log, the codec, what a damaged log does.
//!
//! Histories are drawn from a counted stream of operations, so that a failure names its seed.

use super::*;

/// A small generator with a period long enough for these histories.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % bound
    }
}

/// A history that a controller could have written: every record fits the image before it.
fn history(seed: u64, steps: usize) -> Vec<MetadataRecord> {
    let mut draw = Draw(seed);
    let mut image = Image::new();
    let mut records = Vec::new();
    for step in 0..steps {
        let name = format!("t{}.{}", draw.below(4), draw.below(6));
        let known = image.topic(&name).map(|topic| (topic.id, topic.partitions.len()));
        let record = match (draw.below(9), known) {
            (0, _) => MetadataRecord::Cluster(ClusterRecord { cluster_id: format!("c{step}") }),
            (1, _) => MetadataRecord::Broker(BrokerRecord {
                broker_id: draw.below(3) as i32,
                host: "h".into(),
                port: 9092,
                rack: (draw.below(2) == 0).then(|| "r".into()),
            }),
            (2, _) => MetadataRecord::Feature(FeatureRecord {
                name: format!("f{}", draw.below(3)),
                level: draw.below(3) as i16,
            }),
            (3, _) => MetadataRecord::Config(ConfigRecord {
                resource_type: [2, 4, 32][draw.below(3) as usize],
                resource_name: name,
                key: format!("k{}", draw.below(3)),
                value: (draw.below(3) > 0).then(|| step.to_string()),
            }),
            (4, _) => MetadataRecord::ProducerIds(ProducerIdsRecord {
                broker_id: 1,
                next_producer_id: image.next_producer_id() + 1000,
            }),
            (5, Some((topic_id, _))) => MetadataRecord::RemoveTopic(RemoveTopicRecord { topic_id }),
            (_, Some((topic_id, count))) => MetadataRecord::Partition(PartitionRecord {
                topic_id,
                partition: draw.below(count as u64 + 1) as i32,
                replicas: vec![1, 2],
                isr: vec![1],
                leader: 1,
                leader_epoch: step as i32,
                partition_epoch: step as i32,
                slot: draw.below(1 << 20) as i32,
                directory: Uuid::from_u64s(0, draw.below(3)),
                moving_to: Uuid::from_u64s(0, draw.below(3)),
                left: (0..draw.below(3)).map(|folder| Uuid::from_u64s(1, folder)).collect(),
            }),
            (_, None) => MetadataRecord::Topic(TopicRecord {
                name,
                topic_id: Uuid::from_u64s(9, step as u64 + 1),
                created_ms: step as i64,
            }),
        };
        image.replay(&record).expect("the history fits");
        records.push(record);
    }
    records
}

fn replayed<'a>(records: impl IntoIterator<Item = &'a MetadataRecord>) -> Image {
    let mut image = Image::new();
    for record in records {
        image.replay(record).expect("the history fits");
    }
    image
}

#[test]
fn snapshot_and_tail_equal_the_whole_log() {
    for seed in 0..50 {
        let records = history(seed, 120);
        let whole = replayed(&records);
        for cut in [0, 1, 30, 60, 119, 120] {
            let snapshot = replayed(&records[..cut]).snapshot_records();
            let image = replayed(snapshot.iter().chain(&records[cut..]));
            assert_eq!(image, whole, "seed {seed}, cut {cut}");
            assert_eq!(image.fingerprint(), whole.fingerprint());
        }
    }
}

#[test]
fn every_record_survives_its_bytes() {
    for record in history(3, 300) {
        let mut bytes = Vec::new();
        record.encode(&mut bytes).expect("encodes");
        assert_eq!(bytes.len(), record_size(&record));
        assert_eq!(MetadataRecord::decode(&bytes), Ok(record));
    }
}

#[test]
fn any_bytes_decode_or_err() {
    let mut draw = Draw(11);
    for record in history(5, 100) {
        let mut bytes = Vec::new();
        record.encode(&mut bytes).expect("encodes");
        for _ in 0..50 {
            let mut damaged = bytes.clone();
            let at = draw.below(damaged.len() as u64) as usize;
            damaged[at] = draw.below(256) as u8;
            damaged.truncate(draw.below(damaged.len() as u64 + 1) as usize);
            let _ = MetadataRecord::decode(&damaged);
        }
    }
    assert!(MetadataRecord::decode(&[]).is_err());
    assert_eq!(
        MetadataRecord::decode(&[99, 0]),
        Err(RecordError::Unknown { kind: 99, version: 0 })
    );
    assert_eq!(
        MetadataRecord::decode(&[1, 9, 2, b'c', 0]),
        Err(RecordError::Unknown { kind: 1, version: 9 })
    );
}

#[test]
fn the_bytes_of_a_record_do_not_drift() {
    // Written logs must stay readable: kind, version, then the rows in flexible form.
    let record = MetadataRecord::Topic(TopicRecord {
        name: "a".into(),
        topic_id: Uuid::METADATA_TOPIC,
        created_ms: 5,
    });
    let mut bytes = Vec::new();
    record.encode(&mut bytes).expect("encodes");
    let mut expected = vec![4, 0, 2, b'a'];
    expected.extend_from_slice(Uuid::METADATA_TOPIC.as_bytes());
    expected.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 5, 0]);
    assert_eq!(bytes, expected);
}

#[test]
fn a_record_that_does_not_fit_changes_nothing() {
    let mut image = replayed(&history(1, 60));
    let before = image.clone();
    let stranger = Uuid::from_u64s(1, 1);
    let topic = image.topics().next().expect("a topic").clone();
    let misfits = [
        MetadataRecord::RemoveTopic(RemoveTopicRecord { topic_id: stranger }),
        MetadataRecord::Partition(PartitionRecord { topic_id: stranger, ..Default::default() }),
        MetadataRecord::Partition(PartitionRecord {
            topic_id: topic.id,
            partition: topic.partitions.len() as i32 + 1,
            ..Default::default()
        }),
        MetadataRecord::Partition(PartitionRecord {
            topic_id: topic.id,
            partition: -1,
            ..Default::default()
        }),
        MetadataRecord::Topic(TopicRecord {
            name: topic.name.clone(),
            topic_id: stranger,
            created_ms: 0,
        }),
        MetadataRecord::Topic(TopicRecord {
            name: "other".into(),
            topic_id: topic.id,
            created_ms: 0,
        }),
        MetadataRecord::Broker(BrokerRecord { port: 70000, ..Default::default() }),
        MetadataRecord::Config(ConfigRecord { resource_type: 3, ..Default::default() }),
    ];
    for record in misfits {
        assert!(image.replay(&record).is_err(), "{record:?}");
    }
    assert_eq!(image, before);
    assert_eq!(image.epoch(), before.epoch());
}

#[test]
fn names_that_differ_in_dots_collide() {
    let mut image = Image::new();
    for (name, id) in [("a_b", 1), ("a.b", 2)] {
        image
            .replay(&MetadataRecord::Topic(TopicRecord {
                name: name.into(),
                topic_id: Uuid::from_u64s(0, id),
                created_ms: 0,
            }))
            .expect("fits");
    }
    assert_eq!(image.colliding_topic("a_b"), Some("a.b"));
    assert_eq!(image.colliding_topic("a-b"), None);
    let remove = RemoveTopicRecord { topic_id: Uuid::from_u64s(0, 1) };
    image.replay(&MetadataRecord::RemoveTopic(remove)).expect("fits");
    assert_eq!(image.colliding_topic("a_b"), Some("a.b"));
    assert_eq!(image.colliding_topic("a.b"), None);
}

#[test]
fn a_removed_topic_takes_its_configs_with_it() {
    let mut image = Image::new();
    let topic = TopicRecord { name: "t".into(), topic_id: Uuid::from_u64s(0, 9), created_ms: 0 };
    let config = ConfigRecord {
        resource_type: 2,
        resource_name: "t".into(),
        key: "retention.ms".into(),
        value: Some("5".into()),
    };
    image.replay(&MetadataRecord::Topic(topic.clone())).expect("fits");
    image.replay(&MetadataRecord::Config(config)).expect("fits");
    assert_eq!(image.topic_configs("t").len(), 1);
    let remove = RemoveTopicRecord { topic_id: topic.topic_id };
    image.replay(&MetadataRecord::RemoveTopic(remove)).expect("fits");
    assert!(image.topic_configs("t").is_empty());
    assert_eq!(image.partitions_count(), 0);
}
