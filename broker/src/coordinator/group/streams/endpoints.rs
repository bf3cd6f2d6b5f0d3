//! Where to ask for which partition: what members with an endpoint work on, for interactive
//! queries.
//!
//! Pure. Source: KIP-1071 and Kafka 4.3's behaviour: a topic with fewer partitions than the member
//! has tasks of its subtopology is cut to its number, by place and not by value.

use protocol::messages::streams_group_heartbeat::{
    EndpointToPartitions, ResponseEndpoint, TopicPartition,
};

use super::member::{Member, TaskSet};
use super::topology::Configured;
use crate::coordinator::group::api::TopicLookup;

/// The endpoints of these members, each with its partitions.
pub(super) fn of_members<'a>(
    members: impl Iterator<Item = &'a Member>,
    configured: Option<&Configured>,
    topics: &dyn TopicLookup,
) -> Vec<EndpointToPartitions> {
    let with_endpoint = members.filter_map(|member| {
        let (host, port) = member.endpoint.as_ref()?;
        Some(EndpointToPartitions {
            user_endpoint: ResponseEndpoint { host: host.clone(), port: *port },
            active_partitions: partitions(&member.assigned.active_set(), configured, topics),
            standby_partitions: partitions(&member.assigned.standby, configured, topics),
        })
    });
    with_endpoint.collect()
}

fn partitions(
    tasks: &TaskSet,
    configured: Option<&Configured>,
    topics: &dyn TopicLookup,
) -> Vec<TopicPartition> {
    let mut all = Vec::new();
    for (id, tasks) in tasks {
        let subtopologies = configured.and_then(|configured| configured.subtopologies.as_ref());
        let Some(subtopology) = subtopologies.and_then(|known| known.get(id)) else { continue };
        let inputs = subtopology.source_topics.iter().chain(subtopology.repartition_sources.keys());
        for topic in inputs {
            let count = usize::try_from(topics.partitions_count(topic)).unwrap_or(0);
            let partitions = tasks.iter().copied().take(count).collect();
            all.push(TopicPartition { topic: topic.clone(), partitions });
        }
    }
    all
}
