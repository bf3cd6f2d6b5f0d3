//! What members of a group tell each other through the broker: subscriptions and assignments, and
//! how a leader shares the partitions.

use std::collections::BTreeMap;

use bytes::Bytes;
use protocol::message::Message;
use protocol::messages::consumer_protocol::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, TopicPartition,
};
use protocol::messages::join_group::JoinGroupResponseMember;
use protocol::messages::sync_group::SyncGroupRequestAssignment;
use protocol::primitive::Reader;

use crate::sim::checkers::one_owner::Named;

const VERSION: i16 = 2;

fn with_version(message: &impl Message) -> Bytes {
    let mut bytes = VERSION.to_be_bytes().to_vec();
    message.encode(&mut bytes, VERSION).expect("a simulated message can be encoded");
    Bytes::from(bytes)
}

fn without_version<M: Message>(bytes: &[u8]) -> Result<M, String> {
    let (version, body) = bytes.split_first_chunk::<2>().ok_or("a message without a version")?;
    M::decode(&mut Reader::new(body), i16::from_be_bytes(*version))
        .map_err(|error| error.to_string())
}

fn grouped(partitions: &[Named]) -> Vec<TopicPartition> {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for (topic, partition) in partitions {
        topics.entry(topic).or_default().push(*partition);
    }
    let grouped = topics.into_iter();
    grouped
        .map(|(topic, partitions)| TopicPartition { topic: topic.to_owned(), partitions })
        .collect()
}

fn flat(topics: &[TopicPartition]) -> Vec<Named> {
    let named = |topic: &TopicPartition| {
        let name = topic.topic.clone();
        topic.partitions.iter().map(move |partition| (name.clone(), *partition)).collect::<Vec<_>>()
    };
    topics.iter().flat_map(named).collect()
}

/// A member's subscription, with what it holds and the generation that gave it that.
pub fn subscription(topics: &[String], held: &[Named], generation: i32) -> Bytes {
    with_version(&ConsumerProtocolSubscription {
        topics: topics.to_vec(),
        owned_partitions: grouped(held),
        generation_id: generation,
        ..ConsumerProtocolSubscription::default()
    })
}

/// The partitions of an assignment; none when the leader had nothing for this member.
pub fn assignment(bytes: &[u8]) -> Result<Vec<Named>, String> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let read: ConsumerProtocolAssignment = without_version(bytes)?;
    Ok(flat(&read.assigned_partitions))
}

/// Shares `partitions` among the members. With `cooperative`, what another member still holds is
/// given to nobody this time. Of two who say that they hold a partition the one of the younger
/// generation does: the other has not heard yet that it was put out.
pub fn share(
    members: &[JoinGroupResponseMember],
    partitions: &[Named],
    cooperative: bool,
) -> Result<Vec<SyncGroupRequestAssignment>, String> {
    let mut held_by: BTreeMap<Named, (i32, &str)> = BTreeMap::new();
    let mut ids: Vec<&str> = Vec::new();
    for member in members {
        let read: ConsumerProtocolSubscription = without_version(&member.metadata)?;
        ids.push(&member.member_id);
        for partition in flat(&read.owned_partitions) {
            let claim = (read.generation_id, member.member_id.as_str());
            let holder = held_by.entry(partition).or_insert(claim);
            *holder = claim.max(*holder);
        }
    }
    ids.sort_unstable();
    let mut shares: BTreeMap<&str, Vec<Named>> = ids.iter().map(|id| (*id, Vec::new())).collect();
    for (index, partition) in partitions.iter().enumerate() {
        let owner = ids[index % ids.len()];
        let free = held_by.get(partition).is_none_or(|(_, holder)| *holder == owner);
        if !cooperative || free {
            shares.entry(owner).or_default().push(partition.clone());
        }
    }
    let assignments = shares.into_iter().map(|(member_id, share)| SyncGroupRequestAssignment {
        member_id: member_id.to_owned(),
        assignment: with_version(&ConsumerProtocolAssignment {
            assigned_partitions: grouped(&share),
            user_data: None,
        }),
    });
    Ok(assignments.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: &str, held: &[Named], generation: i32) -> JoinGroupResponseMember {
        JoinGroupResponseMember {
            member_id: id.to_owned(),
            metadata: subscription(&["t".to_owned()], held, generation),
            ..JoinGroupResponseMember::default()
        }
    }

    #[test]
    fn a_cooperative_leader_gives_away_only_what_is_free() {
        let all: Vec<Named> = (0..2).map(|partition| ("t".to_owned(), partition)).collect();
        let members = [member("a", &all, 1), member("b", &[], 1)];
        let shares = share(&members, &all, true).expect("the subscriptions are good");
        let given: Vec<Vec<Named>> = shares
            .iter()
            .map(|share| assignment(&share.assignment).expect("the assignment is good"))
            .collect();
        assert_eq!(given, [vec![all[0].clone()], vec![]], "a holds what b is to have");
        let shares = share(&members, &all, false).expect("the subscriptions are good");
        let given = assignment(&shares[1].assignment).expect("the assignment is good");
        assert_eq!(given, [all[1].clone()]);
        let members = [member("a", &all, 4), member("b", &all, 3)];
        let shares = share(&members, &all, true).expect("the subscriptions are good");
        let given = assignment(&shares[1].assignment).expect("the assignment is good");
        assert_eq!(given, [], "what b held in generation 3 is a's in generation 4");
    }
}
