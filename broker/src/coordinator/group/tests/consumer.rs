//! Consumer groups (KIP-848) as their members see them.
//!
//! Members are ids with the epoch they were told. [`Rig::settle_members`] lets them do what they
//! are told until nobody has anything to do. Codes and messages are those of Kafka 4.3.1.

use std::collections::{BTreeMap, BTreeSet};

use protocol::error_code::ErrorCode;
use protocol::messages::consumer_group_describe::{ConsumerGroupDescribeRequest, DescribedGroup};
use protocol::messages::consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, TopicPartitions,
};
use protocol::messages::delete_groups::DeleteGroupsRequest;
use protocol::messages::list_groups::ListGroupsRequest;
use protocol::messages::offset_fetch::{OffsetFetchRequest, OffsetFetchRequestGroup};

use super::{GROUP, GroupRequest, GroupResponse, Rig, TOPIC_A, commit_request, config};
use crate::coordinator::group::{ConsumerConfig, ConsumerOverrides, GroupConfig, StreamsOverrides};

/// A member as its client knows itself.
#[derive(Clone, Default, Debug)]
struct Client {
    id: String,
    epoch: i32,
    owned: BTreeSet<i32>,
}

pub(super) fn joining(id: &str) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: GROUP.into(),
        member_id: id.into(),
        rebalance_timeout_ms: 60_000,
        subscribed_topic_names: Some(vec!["a".into()]),
        topic_partitions: Some(Vec::new()),
        ..ConsumerGroupHeartbeatRequest::default()
    }
}

pub(super) fn beat(id: &str, epoch: i32) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: GROUP.into(),
        member_id: id.into(),
        member_epoch: epoch,
        ..ConsumerGroupHeartbeatRequest::default()
    }
}

pub(super) fn code(response: &ConsumerGroupHeartbeatResponse) -> ErrorCode {
    ErrorCode::from_i16(response.error_code).expect("a code of Kafka's")
}

pub(super) fn assigned(response: &ConsumerGroupHeartbeatResponse) -> Option<BTreeSet<i32>> {
    let assignment = response.assignment.as_ref()?;
    let parts = assignment.topic_partitions.iter();
    Some(parts.flat_map(|topic| topic.partitions.iter().copied()).collect())
}

impl Rig {
    pub(super) fn beat(
        &mut self,
        request: ConsumerGroupHeartbeatRequest,
    ) -> ConsumerGroupHeartbeatResponse {
        match self.ask(1, GroupRequest::ConsumerGroupHeartbeat(request)) {
            GroupResponse::ConsumerGroupHeartbeat(response) => response,
            other => panic!("not a heartbeat: {other:?}"),
        }
    }

    pub(super) fn describe_consumers(&mut self) -> DescribedGroup {
        let request = ConsumerGroupDescribeRequest {
            group_ids: vec![GROUP.into()],
            ..ConsumerGroupDescribeRequest::default()
        };
        match self.ask(1, GroupRequest::ConsumerGroupDescribe(request)) {
            GroupResponse::ConsumerGroupDescribe(mut response) => response.groups.remove(0),
            other => panic!("not a description: {other:?}"),
        }
    }

    /// One heartbeat of a client that does what it is told. Whether anything changed for it.
    fn follow(&mut self, client: &mut Client) -> bool {
        let owned = TopicPartitions {
            topic_id: TOPIC_A,
            partitions: client.owned.iter().copied().collect(),
        };
        let request = if client.epoch == 0 {
            joining(&client.id)
        } else {
            ConsumerGroupHeartbeatRequest {
                topic_partitions: Some(vec![owned]),
                ..beat(&client.id, client.epoch)
            }
        };
        let response = self.beat(request);
        assert_eq!(code(&response), ErrorCode::None, "{client:?}: {:?}", response.error_message);
        let before = client.clone();
        client.epoch = response.member_epoch;
        client.owned = assigned(&response).unwrap_or_else(|| before.owned.clone());
        client.epoch != before.epoch || client.owned != before.owned
    }

    /// Lets clients follow until nothing changes any more.
    fn settle_members(&mut self, clients: &mut [Client]) {
        for _ in 0..20 {
            self.advance(1_000);
            let mut changed = false;
            for client in clients.iter_mut() {
                changed |= self.follow(client);
                // What one has nobody else has, at any time.
            }
            let mut seen = BTreeSet::new();
            let all = clients.iter().flat_map(|client| client.owned.iter());
            assert!(all.copied().all(|partition| seen.insert(partition)), "{clients:?}");
            if !changed && self.describe_consumers().group_state == "Stable" {
                return;
            }
        }
        panic!("the group does not settle: {clients:?}");
    }
}

fn clients(ids: &[&str]) -> Vec<Client> {
    ids.iter().map(|id| Client { id: (*id).into(), ..Client::default() }).collect()
}

#[test]
fn the_first_member_gets_everything_at_once() {
    let mut rig = Rig::new();
    let response = rig.beat(joining("m1"));
    assert_eq!((code(&response), response.member_epoch), (ErrorCode::None, 2));
    assert_eq!(assigned(&response), Some(BTreeSet::from([0, 1, 2, 3])));
    assert_eq!(response.heartbeat_interval_ms, 5_000);
    let again = rig.beat(beat("m1", 2));
    assert_eq!((again.member_epoch, again.assignment), (2, None), "nothing to tell");
    assert_eq!(rig.describe_consumers().group_state, "Stable");
}

#[test]
fn a_second_member_gets_its_half_after_the_first_gave_it_back() {
    let mut rig = Rig::new();
    rig.beat(joining("m1"));
    rig.advance(500);
    let second = rig.beat(joining("m2"));
    assert_eq!((second.member_epoch, assigned(&second)), (2, Some(BTreeSet::new())));
    assert_eq!(rig.describe_consumers().group_state, "Assigning", "less than a second passed");
    rig.advance(600);
    let second = rig.beat(beat("m2", 2));
    assert_eq!((second.member_epoch, second.assignment), (3, None));
    assert_eq!(rig.describe_consumers().group_state, "Reconciling");
    let first = rig.beat(beat("m1", 2));
    assert_eq!((first.member_epoch, assigned(&first)), (2, Some(BTreeSet::from([0, 1]))));
    assert_eq!(rig.beat(beat("m2", 3)).assignment, None, "not given back yet");
    let owned = vec![TopicPartitions { topic_id: TOPIC_A, partitions: vec![0, 1] }];
    let request = ConsumerGroupHeartbeatRequest { topic_partitions: Some(owned), ..beat("m1", 2) };
    assert_eq!(rig.beat(request).member_epoch, 3);
    let second = rig.beat(beat("m2", 3));
    assert_eq!((second.member_epoch, assigned(&second)), (3, Some(BTreeSet::from([2, 3]))));
    assert_eq!(rig.describe_consumers().group_state, "Stable");
}

#[test]
fn members_are_fenced_by_their_epochs() {
    let mut rig = Rig::new();
    rig.beat(joining("m1"));
    for (epoch, word) in [(1, "smaller"), (3, "greater")] {
        let response = rig.beat(beat("m1", epoch));
        assert_eq!(code(&response), ErrorCode::FencedMemberEpoch);
        assert!(response.error_message.expect("a message").contains(word));
    }
    assert_eq!(code(&rig.beat(beat("m9", 1))), ErrorCode::UnknownMemberId);
    let unknown = ConsumerGroupHeartbeatRequest { group_id: "nope".into(), ..beat("m1", 1) };
    assert_eq!(code(&rig.beat(unknown)), ErrorCode::GroupIdNotFound);
    // The answer to its first heartbeat was lost.
    assert_eq!(rig.beat(joining("m1")).member_epoch, 2);
}

#[test]
fn a_member_that_leaves_frees_what_it_had() {
    let mut rig = Rig::new();
    let mut all = clients(&["m1", "m2"]);
    rig.settle_members(&mut all);
    let left = rig.beat(beat("m2", -1));
    assert_eq!((code(&left), left.member_epoch), (ErrorCode::None, -1));
    assert_eq!(code(&rig.beat(beat("m2", -1))), ErrorCode::UnknownMemberId);
    all.pop();
    rig.settle_members(&mut all);
    assert_eq!(all[0].owned, BTreeSet::from([0, 1, 2, 3]));
}

#[test]
fn a_silent_member_is_removed_after_its_session() {
    let mut rig = Rig::new();
    let mut all = clients(&["m1", "m2"]);
    rig.settle_members(&mut all);
    for _ in 0..9 {
        rig.advance(5_000);
        rig.follow(&mut all[0]);
    }
    assert_eq!(rig.describe_consumers().members.len(), 1);
    all.pop();
    rig.settle_members(&mut all);
    assert_eq!(all[0].owned.len(), 4);
}

#[test]
fn a_member_that_does_not_give_back_in_time_is_removed() {
    let mut rig = Rig::new();
    rig.beat(ConsumerGroupHeartbeatRequest { rebalance_timeout_ms: 3_000, ..joining("m1") });
    rig.beat(joining("m2"));
    rig.advance(1_000);
    rig.beat(beat("m2", 2));
    assert_eq!(assigned(&rig.beat(beat("m1", 2))), Some(BTreeSet::from([0, 1])));
    rig.advance(2_000);
    rig.beat(beat("m1", 2));
    assert_eq!(rig.describe_consumers().members.len(), 2);
    rig.advance(1_000);
    assert_eq!(code(&rig.beat(beat("m1", 2))), ErrorCode::UnknownMemberId);
}

#[test]
fn a_static_member_comes_back_to_what_it_had() {
    let mut rig = Rig::new();
    let as_instance = |request: ConsumerGroupHeartbeatRequest| ConsumerGroupHeartbeatRequest {
        instance_id: Some("i".into()),
        ..request
    };
    rig.beat(as_instance(joining("m1")));
    assert_eq!(code(&rig.beat(as_instance(joining("m2")))), ErrorCode::UnreleasedInstanceId);
    assert_eq!(code(&rig.beat(as_instance(beat("m2", 2)))), ErrorCode::FencedInstanceId);
    let left = rig.beat(as_instance(beat("m1", -2)));
    assert_eq!((code(&left), left.member_epoch), (ErrorCode::None, -2));
    let back = rig.beat(as_instance(joining("m2")));
    assert_eq!((back.member_epoch, assigned(&back)), (2, Some(BTreeSet::from([0, 1, 2, 3]))));
    let group = rig.describe_consumers();
    assert_eq!((group.group_epoch, group.members.len()), (2, 1), "nothing had to move");
    assert_eq!(code(&rig.beat(as_instance(beat("m1", 2)))), ErrorCode::FencedInstanceId);
}

/// Two static members that came back by version 0, which names nobody, were one: both had the empty
/// id, and each was given what the other had. Found by the simulator, `--workload groups`, seed 72.
#[test]
fn a_static_member_that_chooses_no_id_comes_back_under_a_drawn_one() {
    let mut rig = Rig::new();
    let mut ask = |id: &str, epoch: i32| {
        let request = if epoch == 0 { joining(id) } else { beat(id, epoch) };
        let instance_id = Some("i".into());
        let request = ConsumerGroupHeartbeatRequest { instance_id, ..request };
        match rig.ask(0, GroupRequest::ConsumerGroupHeartbeat(request)) {
            GroupResponse::ConsumerGroupHeartbeat(response) => response,
            other => panic!("not a heartbeat: {other:?}"),
        }
    };
    let first = ask("", 0).member_id.expect("it was given an id");
    assert_eq!(code(&ask(&first, -2)), ErrorCode::None);
    let back = ask("", 0);
    let second = back.member_id.clone().expect("it was given an id");
    assert!(!second.is_empty() && second != first, "{second:?} after {first:?}");
    assert_eq!(assigned(&back), Some(BTreeSet::from([0, 1, 2, 3])));
    assert_eq!(code(&ask(&second, back.member_epoch)), ErrorCode::None);
}

#[test]
fn an_expression_subscribes_to_the_topics_it_matches_whole() {
    let mut rig = Rig::new();
    let by = |regex: &str, id: &str| ConsumerGroupHeartbeatRequest {
        subscribed_topic_names: None,
        subscribed_topic_regex: Some(regex.into()),
        ..joining(id)
    };
    let bad = rig.beat(by("[", "m1"));
    assert_eq!(code(&bad), ErrorCode::InvalidRegularExpression);
    assert_eq!(rig.describe_consumers().error_code, ErrorCode::GroupIdNotFound as i16);
    let response = rig.beat(by("[a-b]", "m1"));
    assert_eq!(response.assignment.expect("it joined").topic_partitions.len(), 2);
    rig.advance(1_000);
    let narrower = ConsumerGroupHeartbeatRequest { member_epoch: 2, ..by("b|bb", "m1") };
    let narrower = ConsumerGroupHeartbeatRequest { topic_partitions: None, ..narrower };
    let response = rig.beat(narrower);
    let topics = response.assignment.expect("it changed").topic_partitions;
    assert_eq!(topics.iter().map(|topic| topic.topic_id).collect::<Vec<_>>(), [super::TOPIC_B]);
}

#[test]
fn what_was_answered_survives_a_restart() {
    let mut rig = Rig::new();
    let mut all = clients(&["m1", "m2", "m3"]);
    rig.settle_members(&mut all);
    let before: Vec<Client> = all.clone();
    rig.restart();
    for client in &mut all {
        assert!(!rig.follow(client), "nothing changed for {client:?}");
    }
    assert_eq!(all.len(), before.len());
    // And who does not come back is removed.
    rig.advance(46_000);
    assert_eq!(rig.describe_consumers().group_state, "Empty");
}

#[test]
fn a_heartbeat_waits_for_the_append_under_way() {
    let mut rig = Rig::new();
    rig.hold = true;
    let first = rig.send(1, GroupRequest::ConsumerGroupHeartbeat(joining("m1")));
    let second = rig.send(1, GroupRequest::ConsumerGroupHeartbeat(joining("m2")));
    assert!(!rig.is_answered(first) && !rig.is_answered(second));
    assert_eq!(rig.held.len(), 1, "the second is not decided yet");
    rig.release();
    assert!(rig.is_answered(first) && rig.is_answered(second));
}

#[test]
fn a_join_that_cannot_be_written_leaves_nothing() {
    let mut rig = Rig::new();
    rig.hold = true;
    let first = rig.send(1, GroupRequest::ConsumerGroupHeartbeat(joining("m1")));
    rig.fail_one(ErrorCode::NotEnoughReplicas);
    let GroupResponse::ConsumerGroupHeartbeat(response) = rig.take(first) else { panic!() };
    assert_eq!(code(&response), ErrorCode::CoordinatorNotAvailable);
    rig.release();
    assert_eq!(rig.describe_consumers().error_code, ErrorCode::GroupIdNotFound as i16);
}

#[test]
fn commits_are_checked_against_members_and_epochs() {
    let mut rig = Rig::new();
    let mut all = clients(&["m1", "m2"]);
    rig.settle_members(&mut all);
    let (kept, lost) = (*all[0].owned.first().expect("two"), *all[1].owned.first().expect("two"));
    let epoch = all[0].epoch;
    assert_eq!(rig.commit(commit_request("m1", epoch, &[("a", kept, 7)])), ErrorCode::None);
    // m1 has it since epoch 2, m2's it lost since.
    assert_eq!(rig.commit(commit_request("m1", 2, &[("a", kept, 8)])), ErrorCode::None);
    let stale = rig.commit(commit_request("m1", 2, &[("a", lost, 8)]));
    assert_eq!(stale, ErrorCode::StaleMemberEpoch);
    let future = rig.commit(commit_request("m1", epoch + 1, &[("a", kept, 8)]));
    assert_eq!(future, ErrorCode::StaleMemberEpoch);
    let unknown = rig.commit(commit_request("m9", epoch, &[("a", kept, 8)]));
    assert_eq!(unknown, ErrorCode::UnknownMemberId);
    assert_eq!(
        rig.commit(commit_request("", -1, &[("a", kept, 8)])),
        ErrorCode::UnknownMemberId,
        "somebody is in the group"
    );
    let GroupResponse::OffsetCommit(response) =
        rig.ask(8, GroupRequest::OffsetCommit(commit_request("m1", epoch, &[("a", kept, 9)])))
    else {
        panic!("not a commit")
    };
    let old = response.topics[0].partitions[0].error_code;
    assert_eq!(old, ErrorCode::UnsupportedVersion as i16, "it cannot say an epoch");
    assert_eq!(rig.committed("a", kept), 8);
}

#[test]
fn fetches_are_checked_against_members_and_epochs() {
    let mut rig = Rig::new();
    rig.beat(joining("m1"));
    for (member, epoch, expected) in [
        (None, -1, ErrorCode::None),
        (Some("m1"), 2, ErrorCode::None),
        (Some("m1"), 1, ErrorCode::StaleMemberEpoch),
        (Some("m9"), 2, ErrorCode::UnknownMemberId),
    ] {
        let group = OffsetFetchRequestGroup {
            group_id: GROUP.into(),
            member_id: member.map(Into::into),
            member_epoch: epoch,
            topics: None,
        };
        let request = OffsetFetchRequest { groups: vec![group], ..OffsetFetchRequest::default() };
        let GroupResponse::OffsetFetch(response) = rig.ask(9, GroupRequest::OffsetFetch(request))
        else {
            panic!("not a fetch")
        };
        assert_eq!(response.groups[0].error_code, expected as i16, "{member:?} {epoch}");
    }
}

#[test]
fn groups_are_listed_by_type_and_deleted_when_empty() {
    let mut rig = Rig::new();
    rig.beat(joining("m1"));
    let list = |rig: &mut Rig, types: &[&str]| {
        let request = ListGroupsRequest {
            types_filter: types.iter().map(|name| (*name).into()).collect(),
            ..ListGroupsRequest::default()
        };
        let GroupResponse::ListGroups(response) = rig.ask(5, GroupRequest::ListGroups(request))
        else {
            panic!("not a list")
        };
        response.groups
    };
    let listed = list(&mut rig, &["Consumer"]);
    assert_eq!(
        (listed[0].group_type.as_str(), listed[0].group_state.as_str()),
        ("consumer", "Stable")
    );
    assert!(list(&mut rig, &["classic"]).is_empty());
    let delete = |rig: &mut Rig| {
        let request = DeleteGroupsRequest { groups_names: vec![GROUP.into()] };
        let GroupResponse::DeleteGroups(response) = rig.ask(2, GroupRequest::DeleteGroups(request))
        else {
            panic!("not a deletion")
        };
        ErrorCode::from_i16(response.results[0].error_code).expect("a code of Kafka's")
    };
    assert_eq!(delete(&mut rig), ErrorCode::NonEmptyGroup);
    rig.beat(beat("m1", -1));
    assert_eq!(delete(&mut rig), ErrorCode::None);
    assert_eq!(delete(&mut rig), ErrorCode::GroupIdNotFound);
    assert!(list(&mut rig, &[]).is_empty());
}

#[test]
fn an_operator_removes_members_by_instance() {
    let mut rig = Rig::new();
    rig.beat(ConsumerGroupHeartbeatRequest { instance_id: Some("i".into()), ..joining("m1") });
    rig.beat(joining("m2"));
    assert_eq!(rig.leave("", Some("i9")), ErrorCode::UnknownMemberId);
    assert_eq!(rig.leave("m2", Some("i")), ErrorCode::FencedInstanceId);
    assert_eq!(rig.leave("", Some("i")), ErrorCode::None);
    assert_eq!(rig.leave("m2", None), ErrorCode::None);
    assert_eq!(rig.describe_consumers().group_state, "Empty");
}

#[test]
fn a_consumer_takes_the_place_of_an_empty_classic_group_and_its_offsets() {
    let mut rig = Rig::new();
    let (member, reply) = rig.join_anew(&[("range", b"m")]);
    rig.advance(10_000);
    rig.take_join(reply);
    rig.leave(&member, None);
    assert_eq!(rig.commit(commit_request("", -1, &[("a", 1, 5)])), ErrorCode::None);
    assert_eq!(rig.beat(joining("m1")).member_epoch, 2);
    assert_eq!(rig.committed("a", 1), 5);
    rig.restart();
    assert_eq!(rig.beat(beat("m1", 2)).error_code, 0);
    assert_eq!(rig.committed("a", 1), 5);
}

#[test]
fn a_group_may_have_settings_of_its_own() {
    let mut rig = Rig::new();
    let overrides = ConsumerOverrides {
        session_timeout_ms: Some(50_000),
        heartbeat_interval_ms: Some(7_000),
        assignment_interval_ms: Some(0),
    };
    rig.coordinator.set_group_config(GROUP, overrides, StreamsOverrides::default());
    assert_eq!(rig.beat(joining("m1")).heartbeat_interval_ms, 7_000);
    rig.advance(46_000);
    assert_eq!(rig.describe_consumers().members.len(), 1);
    rig.advance(5_000);
    assert_eq!(rig.describe_consumers().members.len(), 0);
}

#[test]
fn a_full_group_takes_nobody_else() {
    let consumer = ConsumerConfig { group_size_max: 1, ..ConsumerConfig::default() };
    let mut rig = Rig::with(GroupConfig { consumer, ..config() });
    rig.beat(joining("m1"));
    assert_eq!(code(&rig.beat(joining("m2"))), ErrorCode::GroupMaxSizeReached);
    assert_eq!(code(&rig.beat(beat("m1", 2))), ErrorCode::None);
}

#[test]
fn a_thousand_members_converge_and_one_more_moves_little() {
    let mut rig = Rig::new();
    // Four partitions: most have nothing, and must not hear of those who come and go.
    let ids: Vec<String> = (0..1_000).map(|index| format!("m{index:04}")).collect();
    let mut all: Vec<Client> =
        ids.iter().map(|id| Client { id: id.clone(), ..Client::default() }).collect();
    rig.settle_members(&mut all);
    let owners = |all: &[Client]| -> BTreeMap<String, BTreeSet<i32>> {
        let owning = all.iter().filter(|client| !client.owned.is_empty());
        owning.map(|client| (client.id.clone(), client.owned.clone())).collect()
    };
    let before = owners(&all);
    assert_eq!(before.len(), 4);
    all.extend(clients(&["n1"]));
    rig.settle_members(&mut all);
    assert_eq!(owners(&all), before, "nothing moved");
}
