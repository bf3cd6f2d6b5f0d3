//! Members of the classic and of the consumer protocol in one group (KIP-848, online migration).
//!
//! A classic member is an id with the generation it was told; `c` and `d` are consumers. Codes are
//! Kafka 4.3.1's; `tests/differential/cases/migration.py` asks it. At the end of each test the
//! memory is what the log says (the rig), which is what a conversion that writes too little, or
//! changes something before it is durable, would fail.

use std::collections::BTreeSet;

use protocol::messages::consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest, TopicPartitions,
};
use protocol::messages::consumer_protocol::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, TopicPartition,
};
use protocol::primitive::Reader;

use super::consumer::{assigned, beat, code, joining};
use super::*;
use crate::coordinator::group::{ConsumerConfig, MigrationPolicy};

fn part(partitions: &[i32]) -> Vec<TopicPartition> {
    vec![TopicPartition { topic: "a".into(), partitions: partitions.to_vec() }]
}

/// What a consumer that has these partitions of `a` puts into JoinGroup.
fn subscribing(owned: &[i32]) -> Vec<u8> {
    let mut out = vec![0, 1];
    let subscription = ConsumerProtocolSubscription {
        topics: vec!["a".into()],
        owned_partitions: part(owned),
        ..ConsumerProtocolSubscription::default()
    };
    subscription.encode(&mut out, 1).expect("short strings");
    out
}

fn assigning(partitions: &[i32], user_data: Option<&'static [u8]>) -> Vec<u8> {
    let mut out = vec![0, 1];
    let assignment = ConsumerProtocolAssignment {
        assigned_partitions: part(partitions),
        user_data: user_data.map(Bytes::from_static),
    };
    assignment.encode(&mut out, 1).expect("short strings");
    out
}

fn assigned_by(sync: &SyncGroupResponse) -> BTreeSet<i32> {
    let mut reader = Reader::new(&sync.assignment);
    assert_eq!(reader.i16().expect("a version"), 1, "in the version the member speaks");
    let assignment = ConsumerProtocolAssignment::decode(&mut reader, 1).expect("an assignment");
    assignment.assigned_partitions.into_iter().flat_map(|topic| topic.partitions).collect()
}

fn owning(partitions: &[i32]) -> Option<Vec<TopicPartitions>> {
    Some(vec![TopicPartitions { topic_id: TOPIC_A, partitions: partitions.to_vec() }])
}

impl Rig {
    /// Joins again as a classic member of a consumer group.
    fn rejoin(&mut self, member: &str, owned: &[i32]) -> JoinGroupResponse {
        let reply = self.join(9, member, &[("range", &subscribing(owned))]);
        self.take_join(reply)
    }

    fn synced(&mut self, joined: &JoinGroupResponse) -> SyncGroupResponse {
        let reply = self.sync(joined, &[]);
        self.take_sync(reply)
    }

    /// A stable classic group of one member that has all of `a`.
    fn classic_of_one(&mut self) -> JoinGroupResponse {
        let (member, reply) = self.join_anew(&[("range", &subscribing(&[]))]);
        self.advance(10_000);
        let joined = self.take_join(reply);
        let reply = self.sync(&joined, &[(&member, &assigning(&[0, 1, 2, 3], None))]);
        assert_eq!(self.take_sync(reply).error_code, 0);
        joined
    }

    /// A group of a classic member with half of `a` and a consumer `c` with the other half.
    fn mixed(&mut self) -> JoinGroupResponse {
        let member = self.classic_of_one().member_id;
        let epoch = self.beat(joining("c")).member_epoch;
        let joined = self.rejoin(&member, &[0, 1, 2, 3]);
        let kept: Vec<i32> = assigned_by(&self.synced(&joined)).into_iter().collect();
        let joined = self.rejoin(&member, &kept);
        assert_eq!(self.synced(&joined).error_code, 0);
        let response = self.beat(beat("c", epoch));
        assert_eq!(assigned(&response).expect("it was given back").len(), 2);
        assert_eq!(self.describe_consumers().group_state, "Stable");
        joined
    }

    fn policy(policy: MigrationPolicy) -> Self {
        let consumer = ConsumerConfig { migration_policy: policy, ..ConsumerConfig::default() };
        Self::with(GroupConfig { consumer, ..config() })
    }
}

#[test]
fn a_consumer_that_joins_upgrades_the_group_and_shares_with_its_members() {
    let mut rig = Rig::new();
    let classic = rig.classic_of_one();
    let (member, generation) = (classic.member_id.as_str(), classic.generation_id);
    assert_eq!(rig.commit(commit_request(member, generation, &[("a", 0, 7)])), ErrorCode::None);
    let joined = rig.beat(joining("c"));
    assert_eq!((code(&joined), joined.member_epoch), (ErrorCode::None, generation + 1));
    assert_eq!(assigned(&joined), Some(BTreeSet::new()), "the classic member has everything");
    let group = rig.describe_consumers();
    assert_eq!((group.group_epoch, group.members.len()), (generation + 1, 2));
    let types: Vec<i8> = group.members.iter().map(|member| member.member_type).collect();
    assert_eq!(types.iter().filter(|kind| **kind == 0).count(), 1, "{types:?}");

    assert_eq!(rig.heartbeat(member, generation), ErrorCode::RebalanceInProgress);
    assert_eq!(rig.synced(&classic).error_code, ErrorCode::RebalanceInProgress as i16);
    // It goes on with what it has until it joins.
    assert_eq!(rig.commit(commit_request(member, generation, &[("a", 0, 8)])), ErrorCode::None);
    let again = rig.rejoin(member, &[0, 1, 2, 3]);
    assert_eq!((again.error_code, again.leader.as_str()), (0, ""), "nobody leads");
    let kept: Vec<i32> = assigned_by(&rig.synced(&again)).into_iter().collect();
    assert_eq!(kept.len(), 2);
    let told = rig.heartbeat(member, again.generation_id);
    assert_eq!(told, ErrorCode::RebalanceInProgress, "to say that it has given back");
    assert_eq!(rig.beat(beat("c", joined.member_epoch)).assignment, None, "not yet");
    let again = rig.rejoin(member, &kept);
    assert_eq!(again.generation_id, generation + 1);
    assert_eq!(rig.heartbeat(member, again.generation_id), ErrorCode::None);
    let rest = assigned(&rig.beat(beat("c", joined.member_epoch))).expect("it is free");
    assert!(rest.is_disjoint(&kept.iter().copied().collect()) && rest.len() == 2);
    assert_eq!(rig.committed("a", 0), 8);
    rig.restart();
    assert_eq!(rig.heartbeat(member, again.generation_id), ErrorCode::None);
    assert_eq!(rig.synced(&again).error_code, 0);
}

#[test]
fn the_last_consumer_that_leaves_makes_the_group_classic() {
    let mut rig = Rig::new();
    let classic = rig.mixed();
    let (member, generation) = (classic.member_id.as_str(), classic.generation_id);
    assert_eq!(code(&rig.beat(beat("c", -1))), ErrorCode::None);
    let group = rig.describe_consumers();
    assert_eq!(group.error_code, ErrorCode::GroupIdNotFound as i16, "{group:?}");
    assert_eq!(rig.state(), "PreparingRebalance");
    assert_eq!(rig.heartbeat(member, generation), ErrorCode::RebalanceInProgress);
    let joined = rig.rejoin(member, &[0, 1]);
    assert_eq!((joined.generation_id, joined.leader.as_str()), (generation + 1, member));
    let reply = rig.sync(&joined, &[(member, &assigning(&[0, 1, 2, 3], None))]);
    assert_eq!(assigned_by(&rig.take_sync(reply)).len(), 4);
    rig.restart();
    assert_eq!(rig.heartbeat(member, generation + 1), ErrorCode::None);
    assert_eq!(rig.beat(joining("c")).member_epoch, generation + 2, "and back again");
}

/// A classic member that had not heard yet of what it should give back lost it when its group went
/// back to the classic protocol: it was taken to have what it should have, and a consumer that
/// joined at once was given the rest. Found by the simulator, `--workload groups`, seed 223.
#[test]
fn a_group_that_goes_back_and_forth_takes_nothing_from_who_has_not_joined_again() {
    let mut rig = Rig::new();
    rig.classic_of_one();
    assert_eq!(assigned(&rig.beat(joining("c"))), Some(BTreeSet::new()));
    assert_eq!(code(&rig.beat(beat("c", -1))), ErrorCode::None);
    assert_eq!(rig.state(), "PreparingRebalance");
    let joined = rig.beat(joining("d"));
    assert_eq!(code(&joined), ErrorCode::None);
    assert_eq!(assigned(&joined), Some(BTreeSet::new()), "the classic member has everything");
}

/// A cooperative member that had not heard yet of what its last generation took from it lost it
/// when its group became a consumer group: nobody was assigned that, so it was given away at once.
/// Found by the simulator, seed 384.
#[test]
fn an_upgrade_takes_nothing_from_who_has_not_heard_of_its_last_generation() {
    let mut rig = Rig::new();
    let member = rig.classic_of_one().member_id;
    let joined = rig.rejoin(&member, &[0, 1, 2, 3]);
    let reply = rig.sync(&joined, &[(&member, &assigning(&[0, 1], None))]);
    assert_eq!(rig.take_sync(reply).error_code, 0);
    let consumer = rig.beat(joining("c"));
    assert_eq!(assigned(&consumer), Some(BTreeSet::new()), "it may have all of it still");
    let again = rig.rejoin(&member, &[0, 1]);
    assert_eq!(assigned_by(&rig.synced(&again)).len(), 2);
    let given = assigned(&rig.beat(beat("c", consumer.member_epoch))).expect("it is free");
    assert_eq!(given, BTreeSet::from([2, 3]), "it has said that it has not");
}

#[test]
fn a_consumer_that_falls_silent_makes_the_group_classic_too() {
    let mut rig = Rig::new();
    let classic = rig.mixed();
    for _ in 0..6 {
        rig.advance(8_000);
        rig.heartbeat(&classic.member_id, classic.generation_id);
    }
    assert_eq!(rig.state(), "PreparingRebalance");
}

#[test]
fn a_restart_keeps_both_kinds_of_members() {
    let mut rig = Rig::new();
    let classic = rig.mixed();
    let before = rig.describe_consumers();
    rig.restart();
    assert_eq!(rig.describe_consumers(), before);
    assert_eq!(rig.heartbeat(&classic.member_id, classic.generation_id), ErrorCode::None);
    // Nobody comes back: the classic member's session is its own, ten seconds.
    rig.advance(11_000);
    assert_eq!(rig.describe_consumers().members.len(), 1);
}

#[test]
fn a_classic_member_joins_a_consumer_group() {
    let mut rig = Rig::new();
    rig.beat(joining("c"));
    rig.advance(1_000);
    let first = rig.rejoin("", &[]);
    assert_eq!(first.error_code, ErrorCode::MemberIdRequired as i16);
    let joined = rig.rejoin(&first.member_id, &[]);
    assert_eq!((joined.error_code, joined.generation_id), (0, 3));
    assert_eq!(assigned_by(&rig.synced(&joined)), BTreeSet::new(), "the consumer has everything");
    let response = rig.beat(beat("c", 2));
    let kept: Vec<i32> = assigned(&response).expect("less").into_iter().collect();
    assert_eq!(rig.heartbeat(&joined.member_id, 3), ErrorCode::None, "not given back yet");
    let request = ConsumerGroupHeartbeatRequest {
        topic_partitions: owning(&kept),
        ..beat("c", response.member_epoch)
    };
    assert_eq!(rig.beat(request).member_epoch, 3);
    assert_eq!(rig.heartbeat(&joined.member_id, 3), ErrorCode::RebalanceInProgress);
    let joined = rig.rejoin(&joined.member_id, &[]);
    assert_eq!(assigned_by(&rig.synced(&joined)).len(), 2);
    assert_eq!(rig.leave(&joined.member_id, None), ErrorCode::None);
    assert_eq!(rig.describe_consumers().members.len(), 1);
}

#[test]
fn a_classic_member_is_told_its_mistakes() {
    let mut rig = Rig::new();
    let classic = rig.mixed();
    let (member, epoch) = (classic.member_id.as_str(), classic.generation_id);
    assert_eq!(rig.heartbeat(member, epoch + 1), ErrorCode::IllegalGeneration);
    assert_eq!(rig.heartbeat("nobody", epoch), ErrorCode::UnknownMemberId);
    assert_eq!(rig.heartbeat("c", epoch), ErrorCode::UnknownMemberId, "it speaks the other one");
    let mut wrong = classic.clone();
    wrong.generation_id += 1;
    assert_eq!(rig.synced(&wrong).error_code, ErrorCode::IllegalGeneration as i16);
    wrong = classic.clone();
    wrong.protocol_name = Some("other".into());
    assert_eq!(rig.synced(&wrong).error_code, ErrorCode::InconsistentGroupProtocol as i16);
    for (metadata, name) in [(subscribing(&[]), "other"), (b"x".to_vec(), "range")] {
        let reply = rig.join(9, member, &[(name, &metadata)]);
        let error = rig.take_join(reply).error_code;
        assert_eq!(error, ErrorCode::InconsistentGroupProtocol as i16, "{name}");
    }
    let late = rig.commit(commit_request(member, epoch + 1, &[("a", 0, 1)]));
    assert_eq!(late, ErrorCode::IllegalGeneration);
}

#[test]
fn a_classic_member_that_does_not_join_again_in_time_is_removed() {
    let mut rig = Rig::new();
    let classic = rig.classic_of_one();
    rig.beat(joining("c"));
    for turn in 0..=12 {
        let told = rig.heartbeat(&classic.member_id, classic.generation_id);
        assert_eq!(told, ErrorCode::RebalanceInProgress, "{turn}");
        let epoch = rig.describe_consumers().group_epoch;
        rig.beat(beat("c", epoch));
        rig.advance(if turn == 12 { 2_000 } else { 4_900 });
    }
    let told = rig.heartbeat(&classic.member_id, classic.generation_id);
    assert_eq!(told, ErrorCode::UnknownMemberId, "its rebalance timeout is a minute");
}

#[test]
fn a_classic_member_that_does_not_sync_in_time_is_removed() {
    let mut rig = Rig::new();
    rig.beat(joining("c"));
    let reply = rig.join(3, "", &[("range", &subscribing(&[]))]);
    let joined = rig.take_join(reply);
    for _ in 0..12 {
        rig.advance(4_990);
        rig.heartbeat(&joined.member_id, joined.generation_id);
        rig.beat(beat("c", 2));
    }
    rig.advance(200);
    let told = rig.heartbeat(&joined.member_id, joined.generation_id);
    assert_eq!(told, ErrorCode::UnknownMemberId);
}

#[test]
fn a_policy_that_forbids_it_keeps_groups_what_they_are() {
    let mut rig = Rig::policy(MigrationPolicy::Downgrade);
    rig.classic_of_one();
    let refused = rig.beat(joining("c"));
    assert_eq!(code(&refused), ErrorCode::GroupIdNotFound);
    assert!(refused.error_message.expect("a reason").contains("online upgrade is disabled"));
    assert_eq!(rig.state(), "Stable", "nobody was disturbed");

    let mut rig = Rig::policy(MigrationPolicy::Upgrade);
    let classic = rig.mixed();
    rig.beat(beat("c", -1));
    assert_eq!(rig.describe_consumers().members.len(), 1, "still a consumer group");
    assert_eq!(
        rig.heartbeat(&classic.member_id, classic.generation_id),
        ErrorCode::RebalanceInProgress,
        "nobody else would make the assignment"
    );
    rig.advance(1_000);
    let joined = rig.rejoin(&classic.member_id, &[]);
    assert_eq!(assigned_by(&rig.synced(&joined)).len(), 4);

    let mut rig = Rig::policy(MigrationPolicy::Disabled);
    rig.beat(joining("c"));
    let refused = rig.rejoin("", &[]).error_code;
    assert_eq!(refused, ErrorCode::InconsistentGroupProtocol as i16);
}

#[test]
fn a_group_that_would_lose_something_is_not_upgraded() {
    for (assignment, why) in [
        (assigning(&[0], Some(b"sticky")), "an unsupported custom assignor"),
        (b"x".to_vec(), "malformed"),
    ] {
        let mut rig = Rig::new();
        let (member, reply) = rig.join_anew(&[("range", &subscribing(&[]))]);
        rig.advance(10_000);
        let joined = rig.take_join(reply);
        let reply = rig.sync(&joined, &[(&member, &assignment)]);
        rig.take_sync(reply);
        let refused = rig.beat(joining("c"));
        assert_eq!(code(&refused), ErrorCode::GroupIdNotFound);
        assert!(refused.error_message.expect("a reason").contains(why));
        assert_eq!(rig.heartbeat(&member, joined.generation_id), ErrorCode::None);
    }
}

#[test]
fn an_upgrade_that_cannot_be_written_leaves_the_classic_group() {
    let mut rig = Rig::new();
    let classic = rig.classic_of_one();
    rig.hold = true;
    let consumer = rig.send(1, GroupRequest::ConsumerGroupHeartbeat(joining("c")));
    let beat = HeartbeatRequest {
        group_id: GROUP.into(),
        generation_id: classic.generation_id,
        member_id: classic.member_id.clone(),
        group_instance_id: None,
    };
    let waits = rig.send(4, GroupRequest::Heartbeat(beat));
    assert!(!rig.is_answered(waits), "what the group is is not decided");
    assert_eq!(rig.state(), "Stable", "nor has anything changed");
    rig.fail_one(ErrorCode::NotEnoughReplicas);
    let GroupResponse::ConsumerGroupHeartbeat(refused) = rig.take(consumer) else { panic!() };
    assert_eq!(code(&refused), ErrorCode::CoordinatorNotAvailable);
    let GroupResponse::Heartbeat(told) = rig.take(waits) else { panic!() };
    assert_eq!(told.error_code, ErrorCode::RebalanceInProgress as i16);
    rig.release();
    let joined = rig.rejoin(&classic.member_id, &[0, 1, 2, 3]);
    assert_eq!((joined.error_code, joined.leader), (0, classic.member_id));
}

#[test]
fn a_downgrade_that_cannot_be_written_leaves_the_consumer_group() {
    let mut rig = Rig::new();
    let classic = rig.mixed();
    rig.hold = true;
    let leaving = rig.send(1, GroupRequest::ConsumerGroupHeartbeat(beat("c", -1)));
    rig.fail_one(ErrorCode::NotEnoughReplicas);
    let GroupResponse::ConsumerGroupHeartbeat(refused) = rig.take(leaving) else { panic!() };
    assert_eq!(code(&refused), ErrorCode::CoordinatorNotAvailable);
    rig.release();
    assert_eq!(rig.describe_consumers().members.len(), 2);
    assert_eq!(rig.heartbeat(&classic.member_id, classic.generation_id), ErrorCode::None);
}

#[test]
fn what_waits_for_a_conversion_is_answered_by_what_the_group_became() {
    let mut rig = Rig::new();
    let classic = rig.mixed();
    rig.hold = true;
    let leaving = rig.send(1, GroupRequest::ConsumerGroupHeartbeat(beat("c", -1)));
    let joins = rig.join(9, &classic.member_id, &[("range", &subscribing(&[0, 1]))]);
    let upgrades = rig.send(1, GroupRequest::ConsumerGroupHeartbeat(joining("d")));
    rig.release();
    assert!(rig.is_answered(leaving));
    // The classic join completed at once; the consumer that came next upgraded the group again.
    assert_eq!(rig.take_join(joins).error_code, 0);
    let GroupResponse::ConsumerGroupHeartbeat(joined) = rig.take(upgrades) else { panic!() };
    assert_eq!(code(&joined), ErrorCode::None);
    assert_eq!(rig.describe_consumers().members.len(), 2);
}

#[test]
fn those_who_wait_in_a_classic_group_are_told_to_join_again_by_an_upgrade() {
    let mut rig = Rig::new();
    let classic = rig.classic_of_one();
    let (_, waits) = rig.join_anew(&[("range", &subscribing(&[]))]);
    assert!(!rig.is_answered(waits), "the first has not joined again");
    rig.beat(joining("c"));
    assert_eq!(rig.take_join(waits).error_code, ErrorCode::RebalanceInProgress as i16);
    assert_eq!(rig.describe_consumers().members.len(), 3);
    assert_eq!(
        rig.heartbeat(&classic.member_id, classic.generation_id),
        ErrorCode::RebalanceInProgress
    );
}

#[test]
fn a_static_member_may_change_its_protocol() {
    let mut rig = Rig::new();
    let metadata = subscribing(&[]);
    let as_instance = |member: &str| JoinGroupRequest {
        group_instance_id: Some("i".into()),
        ..join_request(member, &[("range", &metadata)])
    };
    let reply = rig.send(9, GroupRequest::JoinGroup(as_instance("")));
    rig.advance(10_000);
    let classic = rig.take_join(reply);
    let reply = rig.sync(&classic, &[(&classic.member_id, &assigning(&[0, 1, 2, 3], None))]);
    rig.take_sync(reply);
    let joined =
        rig.beat(ConsumerGroupHeartbeatRequest { instance_id: Some("i".into()), ..joining("c") });
    assert_eq!(code(&joined), ErrorCode::None, "{:?}", joined.error_message);
    assert_eq!(assigned(&joined), Some(BTreeSet::from([0, 1, 2, 3])), "it keeps what it had");
    assert_eq!(rig.describe_consumers().members.len(), 1);
    assert_eq!(
        rig.heartbeat(&classic.member_id, classic.generation_id),
        ErrorCode::UnknownMemberId
    );
    // Back: the consumer is fenced, and nobody but classic members is left.
    let reply = rig.send(9, GroupRequest::JoinGroup(as_instance("")));
    let back = rig.take_join(reply);
    assert_eq!(back.error_code, 0);
    assert_eq!(rig.state(), "Stable", "a classic group");
    assert_eq!(assigned_by(&rig.synced(&back)), BTreeSet::from([0, 1, 2, 3]));
    assert_eq!(code(&rig.beat(beat("c", joined.member_epoch))), ErrorCode::GroupIdNotFound);
    rig.restart();
    assert_eq!(rig.heartbeat(&back.member_id, back.generation_id), ErrorCode::None);
}

#[test]
fn a_classic_member_takes_the_place_of_an_empty_consumer_group_and_its_offsets() {
    let mut rig = Rig::new();
    rig.beat(joining("c"));
    assert_eq!(rig.commit(commit_request("c", 2, &[("a", 1, 5)])), ErrorCode::None);
    rig.beat(beat("c", -1));
    let first = rig.rejoin("", &[]);
    assert_eq!(first.error_code, ErrorCode::MemberIdRequired as i16);
    let reply = rig.join(9, &first.member_id, &[("range", &subscribing(&[]))]);
    rig.advance(10_000);
    assert_eq!(rig.take_join(reply).generation_id, 1);
    assert_eq!(rig.describe_consumers().error_code, ErrorCode::GroupIdNotFound as i16);
    assert_eq!(rig.committed("a", 1), 5);
    rig.restart();
    assert_eq!(rig.committed("a", 1), 5);
}

/// As Kafka: where an assignment is due it has reached no epoch.
#[test]
fn who_takes_the_last_consumers_place_while_an_assignment_is_due_is_told_no_generation() {
    let mut rig = Rig::new();
    let joined =
        rig.beat(ConsumerGroupHeartbeatRequest { instance_id: Some("i".into()), ..joining("c") });
    assert_eq!(assigned(&joined), Some(BTreeSet::from([0, 1, 2, 3])));
    let as_instance = |instance: &str, member: &str| JoinGroupRequest {
        group_instance_id: Some(instance.into()),
        ..join_request(member, &[("range", &subscribing(&[]))])
    };
    let reply = rig.send(9, GroupRequest::JoinGroup(as_instance("j", "")));
    assert_eq!(rig.take_join(reply).error_code, 0);
    let reply = rig.send(9, GroupRequest::JoinGroup(as_instance("i", "")));
    let back = rig.take_join(reply);
    assert_eq!((back.error_code, back.generation_id), (0, 0));
    let told = rig.heartbeat(&back.member_id, back.generation_id);
    assert_eq!(told, ErrorCode::IllegalGeneration, "with which it joins again");
}

/// As Kafka: the epoch that the join began ends with the consumer protocol.
#[test]
fn the_generation_after_the_last_consumer_is_the_epoch_that_its_members_knew() {
    let mut rig = Rig::new();
    let first =
        rig.beat(ConsumerGroupHeartbeatRequest { instance_id: Some("i".into()), ..joining("c") });
    let other = ConsumerProtocolSubscription {
        topics: vec!["b".into()],
        ..ConsumerProtocolSubscription::default()
    };
    let mut bytes = vec![0, 1];
    other.encode(&mut bytes, 1).expect("short strings");
    let other = JoinGroupRequest {
        group_instance_id: Some("i".into()),
        ..join_request("", &[("range", &bytes)])
    };
    let reply = rig.send(9, GroupRequest::JoinGroup(other));
    let back = rig.take_join(reply);
    assert_eq!((back.error_code, back.generation_id), (0, 0));
    let reply = rig.send(
        9,
        GroupRequest::JoinGroup(JoinGroupRequest {
            member_id: back.member_id,
            group_instance_id: Some("i".into()),
            ..join_request("", &[("range", &bytes)])
        }),
    );
    assert_eq!(rig.take_join(reply).generation_id, first.member_epoch + 1);
}
