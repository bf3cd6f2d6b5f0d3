//! A Produce that names a topic or a partition more than once.
//!
//! Kafka puts a request's partitions into a map: a partition is appended to and answered once, and
//! of several entries the last counts. Such requests are rare, so they are found here and written
//! anew, and the way of all others stays as it is. Called by `produce.rs`.

use std::collections::{BTreeMap, BTreeSet};

use hashbrown::HashSet;
use protocol::hot::{ProduceView, TopicRef};
use protocol::message::Message;
use protocol::messages::ProduceRequest;
use protocol::messages::produce::TopicProduceData;
use protocol::primitive::Reader;
use rustc_hash::FxBuildHasher;

/// Up to so many partitions are compared with each other, more are put into a set.
const COMPARED_MAX: u32 = 16;

/// Whether a topic, or a partition of one, is in the request more than once.
pub(super) fn names_twice(view: &ProduceView<'_>) -> bool {
    match view.partitions_count {
        0 | 1 => false,
        2..=COMPARED_MAX => view.partitions().enumerate().any(|(place, asked)| {
            view.partitions().take(place).any(|earlier| {
                let same_topic = earlier.topic_index == asked.topic_index;
                if same_topic { earlier.index == asked.index } else { earlier.topic == asked.topic }
            })
        }),
        _ => {
            let mut topics: BTreeSet<TopicRef<'_>> = BTreeSet::new();
            let mut partitions: HashSet<(u32, i32), FxBuildHasher> = HashSet::default();
            let mut topic_before = None;
            view.partitions().any(|asked| {
                let new = topic_before.replace(asked.topic_index) != Some(asked.topic_index);
                (new && !topics.insert(asked.topic))
                    || !partitions.insert((asked.topic_index, asked.index))
            })
        }
    }
}

/// The request with every topic and partition once. `None`: it does not decode.
pub(super) fn merged(version: i16, body: &[u8]) -> Option<Vec<u8>> {
    let mut request = ProduceRequest::decode(&mut Reader::new(body), version).ok()?;
    let mut topics: Vec<TopicProduceData> = Vec::new();
    let mut places = BTreeMap::new();
    for topic in std::mem::take(&mut request.topic_data) {
        let key = (topic.name.clone(), topic.topic_id);
        let place = *places.entry(key).or_insert_with(|| {
            topics.push(TopicProduceData { partition_data: Vec::new(), ..topic.clone() });
            topics.len() - 1
        });
        topics[place].partition_data.extend(topic.partition_data);
    }
    for topic in &mut topics {
        let parts = topic.partition_data.drain(..);
        let last: BTreeMap<i32, _> = parts.map(|part| (part.index, part)).collect();
        topic.partition_data = last.into_values().collect();
    }
    request.topic_data = topics;
    request.to_vec(version).ok()
}

#[cfg(test)]
mod tests {
    use protocol::hot::ProduceView;
    use protocol::message::Message;
    use protocol::messages::ProduceRequest;
    use protocol::messages::produce::{PartitionProduceData, TopicProduceData};
    use protocol::primitive::Reader;

    use super::{merged, names_twice};

    /// A request of topics with partitions; each partition's records are one byte.
    fn request(topics: &[(&str, &[(i32, u8)])]) -> Vec<u8> {
        let topic_data = topics
            .iter()
            .map(|(name, partitions)| TopicProduceData {
                name: (*name).into(),
                partition_data: partitions
                    .iter()
                    .map(|(index, byte)| PartitionProduceData {
                        index: *index,
                        records: Some(vec![*byte].into()),
                    })
                    .collect(),
                ..TopicProduceData::default()
            })
            .collect();
        let request = ProduceRequest { acks: -1, topic_data, ..ProduceRequest::default() };
        request.to_vec(9).expect("encodes")
    }

    fn twice(body: &[u8]) -> bool {
        names_twice(&ProduceView::parse(9, body).expect("is right"))
    }

    #[test]
    fn a_request_that_names_everything_once_is_left_alone() {
        assert!(!twice(&request(&[])));
        assert!(!twice(&request(&[("a", &[(0, 1), (1, 2)]), ("b", &[(0, 3), (1, 4)])])));
        let many: Vec<(i32, u8)> = (0..40).map(|index| (index, 0)).collect();
        assert!(!twice(&request(&[("a", &many), ("b", &many)])));
    }

    #[test]
    fn of_a_partition_named_twice_the_last_entry_counts() {
        let many: Vec<(i32, u8)> = (0..40).chain([7]).map(|index| (index, 0)).collect();
        assert!(twice(&request(&[("a", &many)])));
        let body = request(&[("a", &[(1, 1), (0, 2)]), ("b", &[(0, 3)]), ("a", &[(1, 4)])]);
        assert!(twice(&body));
        let merged = merged(9, &body).expect("decodes");
        assert!(!twice(&merged));
        let request = ProduceRequest::decode(&mut Reader::new(&merged), 9).expect("decodes");
        let parts = |topic: &TopicProduceData| -> Vec<(i32, u8)> {
            let records = |part: &PartitionProduceData| part.records.as_ref().map(|r| r[0]);
            topic.partition_data.iter().map(|p| (p.index, records(p).unwrap_or(0))).collect()
        };
        assert_eq!(parts(&request.topic_data[0]), [(0, 2), (1, 4)]);
        assert_eq!(parts(&request.topic_data[1]), [(0, 3)]);
    }
}
