//! OffsetCommit, OffsetFetch, and retention.

use super::*;
use crate::coordinator::limits;
use protocol::messages::offset_commit::OffsetCommitResponse;
use protocol::messages::offset_fetch::{OffsetFetchRequestTopic, OffsetFetchResponse};

fn commit_all(rig: &mut Rig, version: i16, request: OffsetCommitRequest) -> OffsetCommitResponse {
    let GroupResponse::OffsetCommit(response) =
        rig.ask(version, GroupRequest::OffsetCommit(request))
    else {
        panic!("not a commit")
    };
    response
}

fn fetch(rig: &mut Rig, version: i16, request: OffsetFetchRequest) -> OffsetFetchResponse {
    let GroupResponse::OffsetFetch(response) = rig.ask(version, GroupRequest::OffsetFetch(request))
    else {
        panic!("not a fetch")
    };
    response
}

fn fetch_group(group: &str, topics: Option<Vec<OffsetFetchRequestTopics>>) -> OffsetFetchRequest {
    OffsetFetchRequest {
        groups: vec![OffsetFetchRequestGroup {
            group_id: group.into(),
            topics,
            ..OffsetFetchRequestGroup::default()
        }],
        ..OffsetFetchRequest::default()
    }
}

#[test]
fn a_commit_is_answered_and_seen_once_it_is_durable() {
    let mut rig = Rig::new();
    rig.hold = true;
    let request = commit_request("", -1, &[("a", 1, 42)]);
    let reply = rig.send(9, GroupRequest::OffsetCommit(request));
    assert!(!rig.is_answered(reply));
    assert_eq!(rig.committed("a", 1), -1);
    rig.release();
    assert!(rig.is_answered(reply));
    assert_eq!(rig.committed("a", 1), 42);
    rig.restart();
    assert_eq!(rig.committed("a", 1), 42);
}

#[test]
fn a_member_commits_in_its_generation_only() {
    let mut rig = Rig::new();
    let joined = rig.stable(1);
    let member = joined[0].member_id.as_str();
    let commit = |rig: &mut Rig, member: &str, generation: i32| {
        rig.commit(commit_request(member, generation, &[("a", 0, 7)]))
    };
    assert_eq!(commit(&mut rig, member, 1), ErrorCode::None);
    assert_eq!(commit(&mut rig, member, 0), ErrorCode::IllegalGeneration);
    assert_eq!(commit(&mut rig, member, 2), ErrorCode::IllegalGeneration);
    assert_eq!(commit(&mut rig, "stranger", 1), ErrorCode::UnknownMemberId);
    assert_eq!(commit(&mut rig, "", -1), ErrorCode::UnknownMemberId, "the group has members");
    let mut unknown = commit_request("m", 3, &[("a", 0, 7)]);
    unknown.group_id = "nobody's".into();
    assert_eq!(rig.commit(unknown.clone()), ErrorCode::GroupIdNotFound);
    let response = commit_all(&mut rig, 8, unknown);
    assert_eq!(response.topics[0].partitions[0].error_code, ErrorCode::IllegalGeneration as i16);
}

#[test]
fn commits_are_welcome_while_members_rejoin_and_not_while_they_are_assigned() {
    let mut rig = Rig::new();
    let joined = rig.stable(2);
    let metadata = subscription(&["a"]);
    let member = joined[1].member_id.as_str();
    let leader = rig.join(9, &joined[0].member_id, &[("range", &metadata)]);
    assert_eq!(rig.commit(commit_request(member, 1, &[("a", 0, 8)])), ErrorCode::None);
    let follower = rig.join(9, member, &[("range", &metadata)]);
    assert_eq!(rig.take_join(follower).generation_id, 2);
    assert!(rig.is_answered(leader));
    let code = rig.commit(commit_request(member, 2, &[("a", 0, 9)]));
    assert_eq!(code, ErrorCode::RebalanceInProgress);
    assert_eq!(rig.committed("a", 0), 8);
}

#[test]
fn the_empty_group_id_may_hold_offsets() {
    let mut rig = Rig::new();
    let mut request = commit_request("", -1, &[("a", 0, 3)]);
    request.group_id.clear();
    assert_eq!(rig.commit(request), ErrorCode::None);
}

#[test]
fn partitions_that_do_not_exist_are_named_one_by_one() {
    let mut rig = Rig::new();
    let mut request = commit_request("", -1, &[("gone", 0, 1), ("a", 3, 5)]);
    let extra = OffsetCommitRequestPartition { partition_index: 4, ..Default::default() };
    request.topics[1].partitions.push(extra);
    let response = commit_all(&mut rig, 9, request.clone());
    let codes: Vec<_> = response
        .topics
        .iter()
        .flat_map(|t| {
            t.partitions.iter().map(|p| (t.name.as_str(), p.partition_index, p.error_code))
        })
        .collect();
    assert_eq!(codes, [("gone", 0, 3), ("a", 4, 3), ("a", 3, 0)]);
    assert_eq!(rig.committed("a", 3), 5);
    // By id, of which the first is nobody's.
    request.topics[0].topic_id = Uuid::from_u64s(9, 9);
    for topic in &mut request.topics {
        topic.name.clear();
    }
    let response = commit_all(&mut rig, 10, request);
    assert_eq!(response.topics[0].topic_id, Uuid::from_u64s(9, 9));
    assert_eq!(response.topics[0].partitions[0].error_code, ErrorCode::UnknownTopicId as i16);
    assert_eq!(response.topics[1].topic_id, TOPIC_A);
    assert_eq!(response.topics[1].partitions.len(), 2);
}

#[test]
fn a_commit_of_unknown_topics_alone_creates_no_group() {
    let mut rig = Rig::new();
    let code = rig.commit(commit_request("", -1, &[("gone", 0, 1)]));
    assert_eq!(code, ErrorCode::UnknownTopicOrPartition);
    assert_eq!(rig.state(), "Dead");
}

#[test]
fn an_unknown_topic_is_named_in_the_answer_though_nothing_was_asked_of_it() {
    let mut rig = Rig::new();
    let mut request = commit_request("", -1, &[("gone", 0, 1), ("a", 0, 1), ("lost", 0, 1)]);
    request.topics.iter_mut().for_each(|topic| topic.partitions.clear());
    let response = commit_all(&mut rig, 8, request);
    let names: Vec<&str> = response.topics.iter().map(|topic| topic.name.as_str()).collect();
    assert_eq!(names, ["gone", "lost"]);
}

#[test]
fn metadata_is_counted_in_java_characters() {
    let mut rig = Rig::new();
    let with = |metadata: String| {
        let mut request = commit_request("", -1, &[("a", 0, 1)]);
        request.topics[0].partitions[0].committed_metadata = Some(metadata);
        request
    };
    assert_eq!(rig.commit(with("x".repeat(4096))), ErrorCode::None);
    assert_eq!(rig.commit(with("中".repeat(4096))), ErrorCode::None);
    assert_eq!(rig.commit(with("x".repeat(4097))), ErrorCode::OffsetMetadataTooLarge);
    assert_eq!(rig.commit(with("😀".repeat(2049))), ErrorCode::OffsetMetadataTooLarge);
}

#[test]
fn a_commit_that_cannot_be_written_leaves_nothing_behind() {
    let mut rig = Rig::new();
    rig.hold = true;
    let request = commit_request("", -1, &[("a", 1, 42), ("gone", 0, 1)]);
    let reply = rig.send(9, GroupRequest::OffsetCommit(request));
    rig.fail_one(ErrorCode::KafkaStorageError);
    let GroupResponse::OffsetCommit(response) = rig.take(reply) else { panic!("not a commit") };
    let codes: Vec<_> = response.topics.iter().map(|t| t.partitions[0].error_code).collect();
    assert_eq!(codes, [3, ErrorCode::NotCoordinator as i16]);
    assert_eq!(rig.state(), "Dead");
    rig.release();
}

#[test]
fn every_version_fetches_in_its_own_form() {
    let mut rig = Rig::new();
    let mut request = commit_request("", -1, &[("a", 1, 42)]);
    request.topics[0].partitions[0].committed_leader_epoch = 6;
    request.topics[0].partitions[0].committed_metadata = Some("note".into());
    assert_eq!(rig.commit(request), ErrorCode::None);
    for version in 1..8 {
        let topics =
            vec![OffsetFetchRequestTopic { name: "a".into(), partition_indexes: vec![1, 2] }];
        let request = OffsetFetchRequest {
            group_id: GROUP.into(),
            topics: Some(topics),
            ..OffsetFetchRequest::default()
        };
        let response = fetch(&mut rig, version, request);
        let partitions = &response.topics[0].partitions;
        assert_eq!((partitions[0].committed_offset, partitions[0].committed_leader_epoch), (42, 6));
        assert_eq!(partitions[0].metadata.as_deref(), Some("note"));
        assert_eq!((partitions[1].committed_offset, partitions[1].error_code), (-1, 0));
        assert_eq!(partitions[1].metadata.as_deref(), Some(""));
    }
    for version in [8, 9, 10] {
        let topic = OffsetFetchRequestTopics {
            name: if version < 10 { "a".into() } else { String::new() },
            topic_id: if version < 10 { Uuid::ZERO } else { TOPIC_A },
            partition_indexes: vec![1],
        };
        let response = fetch(&mut rig, version, fetch_group(GROUP, Some(vec![topic])));
        assert_eq!(response.groups[0].topics[0].partitions[0].committed_offset, 42);
    }
}

#[test]
fn null_topics_fetch_everything() {
    let mut rig = Rig::new();
    rig.commit(commit_request("", -1, &[("a", 1, 42), ("a", 3, 44), ("b", 0, 7)]));
    for version in [8, 9, 10] {
        let response = fetch(&mut rig, version, fetch_group(GROUP, None));
        let topics = &response.groups[0].topics;
        assert_eq!(topics.len(), 2, "v{version}");
        assert_eq!(topics[0].partitions.len(), 2);
        assert_eq!(topics[1].partitions[0].committed_offset, 7);
        assert_eq!(topics[1].topic_id, if version < 10 { Uuid::ZERO } else { TOPIC_B });
    }
    let request = OffsetFetchRequest { group_id: GROUP.into(), topics: None, ..Default::default() };
    assert_eq!(fetch(&mut rig, 7, request).topics.len(), 2);
    let nobody = fetch(&mut rig, 9, fetch_group("nobody's", None));
    assert_eq!((nobody.groups[0].error_code, nobody.groups[0].topics.len()), (0, 0));
}

#[test]
fn by_id_an_unknown_topic_and_another_topic_of_that_name_are_told_apart() {
    let mut rig = Rig::new();
    rig.commit(commit_request("", -1, &[("a", 1, 42)]));
    let topic = |topic_id| OffsetFetchRequestTopics {
        topic_id,
        partition_indexes: vec![1],
        ..OffsetFetchRequestTopics::default()
    };
    let nobodys = Uuid::from_u64s(9, 9);
    let request = fetch_group(GROUP, Some(vec![topic(nobodys), topic(TOPIC_A)]));
    let response = fetch(&mut rig, 10, request);
    let topics = &response.groups[0].topics;
    assert_eq!(topics[0].partitions[0].committed_offset, 42);
    assert_eq!(topics[1].topic_id, nobodys);
    assert_eq!(topics[1].partitions[0].error_code, ErrorCode::UnknownTopicId as i16);

    // The same name with another id: what was committed is not this topic's.
    struct Recreated;
    impl TopicLookup for Recreated {
        fn topic_name(&self, topic_id: Uuid) -> Option<String> {
            (topic_id == Uuid::from_u64s(2, 2)).then(|| "a".to_owned())
        }
        fn topic_id(&self, name: &str) -> Option<Uuid> {
            (name == "a").then(|| Uuid::from_u64s(2, 2))
        }
        fn partitions_count(&self, name: &str) -> i32 {
            Topics.partitions_count(name)
        }

        fn each_name(&self, name: &mut dyn FnMut(&str)) {
            Topics.each_name(name);
        }

        fn has_partition(&self, name: &str, _: i32) -> bool {
            name == "a"
        }
    }
    let reply = ReplyToken(1_000);
    rig.versions.insert(reply, 10);
    let context = RequestContext { client_id: "", client_host: "", api_version: 10 };
    let request = fetch_group(GROUP, Some(vec![topic(Uuid::from_u64s(2, 2))]));
    let request = GroupRequest::OffsetFetch(request);
    rig.coordinator.handle_request(rig.now, context, request, reply, &Recreated);
    rig.pump();
    let GroupResponse::OffsetFetch(response) = rig.take(reply) else { panic!("not a fetch") };
    let partition = &response.groups[0].topics[0].partitions[0];
    assert_eq!((partition.committed_offset, partition.error_code), (-1, 0));
}

#[test]
fn a_stable_fetch_waits_for_commits_under_way() {
    let mut rig = Rig::new();
    rig.hold = true;
    rig.send(9, GroupRequest::OffsetCommit(commit_request("", -1, &[("a", 1, 42)])));
    let mut request = fetch_group(GROUP, None);
    request.require_stable = true;
    let stable = rig.send(9, GroupRequest::OffsetFetch(request));
    assert!(!rig.is_answered(stable));
    rig.release();
    let GroupResponse::OffsetFetch(response) = rig.take(stable) else { panic!("not a fetch") };
    assert_eq!(response.groups[0].topics[0].partitions[0].committed_offset, 42);
}

#[test]
fn offsets_without_a_group_expire_after_their_commit() {
    let day = 24 * 60 * 60 * 1_000;
    let mut rig = Rig::new();
    rig.commit(commit_request("", -1, &[("a", 0, 1)]));
    rig.advance(6 * day);
    rig.commit(commit_request("", -1, &[("a", 1, 2)]));
    rig.advance(day + 600_000);
    assert_eq!((rig.committed("a", 0), rig.committed("a", 1)), (-1, 2));
    rig.advance(6 * day);
    assert_eq!(rig.committed("a", 1), -1);
    assert_eq!(rig.state(), "Dead", "with its last offset the group goes");
    assert_eq!(rig.coordinator.probe().offsets_expired, 2);
    assert_eq!(rig.image().partitions.values().map(|groups| groups.len()).sum::<usize>(), 0);
}

#[test]
fn offsets_of_a_group_expire_since_it_is_empty() {
    let hour = 60 * 60 * 1_000;
    let mut rig = Rig::with(GroupConfig { offsets_retention_ms: hour, ..config() });
    let joined = rig.stable(1);
    let member = joined[0].member_id.clone();
    rig.commit(commit_request(&member, 1, &[("a", 0, 1)]));
    for _ in 0..1_000 {
        rig.advance(9_000);
        rig.heartbeat(&member, 1);
    }
    assert_eq!(rig.committed("a", 0), 1, "the group reads it: two and a half hours are no age");
    rig.leave(&member, None);
    rig.advance(hour as u64 - 600_000);
    assert_eq!(rig.committed("a", 0), 1);
    rig.restart();
    rig.advance(1_200_000);
    assert_eq!(rig.committed("a", 0), -1);
}

#[test]
fn a_topic_that_no_member_reads_expires_while_the_group_lives() {
    let hour = 60 * 60 * 1_000;
    let mut rig = Rig::with(GroupConfig { offsets_retention_ms: hour, ..config() });
    let joined = rig.stable(1);
    let member = joined[0].member_id.clone();
    rig.commit(commit_request(&member, 1, &[("a", 0, 1), ("b", 0, 2)]));
    for _ in 0..500 {
        rig.advance(9_000);
        rig.heartbeat(&member, 1);
    }
    assert_eq!((rig.committed("a", 0), rig.committed("b", 0)), (1, -1));
    assert_eq!(rig.state(), "Stable");
}

#[test]
fn an_old_client_sets_its_own_retention() {
    let mut rig = Rig::new();
    let mut request = commit_request("", -1, &[("a", 0, 1)]);
    request.retention_time_ms = 1_000_000;
    let response = commit_all(&mut rig, 2, request);
    assert_eq!(response.topics[0].partitions[0].error_code, 0);
    rig.advance(900_000);
    assert_eq!(rig.committed("a", 0), 1);
    rig.advance(900_000);
    assert_eq!(rig.committed("a", 0), -1);
}

#[test]
fn a_commit_under_way_keeps_its_offset_from_expiring() {
    let mut rig = Rig::with(GroupConfig { offsets_retention_ms: 1_000, ..config() });
    rig.commit(commit_request("", -1, &[("a", 0, 1)]));
    rig.hold = true;
    rig.send(9, GroupRequest::OffsetCommit(commit_request("", -1, &[("a", 0, 2)])));
    rig.advance(600_001);
    rig.release();
    assert_eq!(rig.committed("a", 0), 2);
}

#[test]
fn a_deleted_topic_takes_its_offsets_along() {
    let mut rig = Rig::new();
    rig.commit(commit_request("", -1, &[("a", 0, 1), ("b", 0, 2)]));
    rig.hold = true;
    rig.send(9, GroupRequest::OffsetCommit(commit_request("", -1, &[("a", 1, 3)])));
    rig.coordinator.topic_deleted(rig.now, "a");
    rig.release();
    assert_eq!((rig.committed("a", 0), rig.committed("a", 1), rig.committed("b", 0)), (-1, -1, 2));
}

#[test]
fn appends_under_way_are_bounded() {
    let mut rig = Rig::new();
    rig.hold = true;
    let request = commit_request("", -1, &[("a", 1, 42)]);
    for _ in 0..limits::APPENDS_MAX {
        rig.send(9, GroupRequest::OffsetCommit(request.clone()));
    }
    assert_eq!(rig.commit(request), ErrorCode::CoordinatorNotAvailable);
    rig.release();
    assert_eq!(rig.committed("a", 1), 42);
}

#[test]
fn a_topic_named_twice_in_a_commit_is_answered_twice() {
    let mut rig = Rig::new();
    let request = commit_request("", -1, &[("a", 0, 1), ("a", 1, 2)]);
    let response = commit_all(&mut rig, 9, request);
    let partitions: Vec<i32> =
        response.topics.iter().map(|topic| topic.partitions[0].partition_index).collect();
    assert_eq!(partitions, [0, 1]);
}
