//! Partitions that come and go: loading, what is refused meanwhile, restarts, unloading.

use super::super::error_response;
use super::*;
use crate::coordinator::records::{GroupRecord, RecordError};
use protocol::messages::delete_groups::DeleteGroupsRequest;
use protocol::messages::describe_groups::DescribeGroupsRequest;
use protocol::messages::list_groups::ListGroupsRequest;
use protocol::messages::offset_delete::OffsetDeleteRequest;
use protocol::messages::offset_fetch::OffsetFetchRequestTopic;

fn heartbeat(rig: &mut Rig) -> i16 {
    let request = HeartbeatRequest { group_id: GROUP.into(), ..HeartbeatRequest::default() };
    let GroupResponse::Heartbeat(response) = rig.ask(4, GroupRequest::Heartbeat(request)) else {
        panic!("not a heartbeat")
    };
    response.error_code
}

#[test]
fn a_partition_that_is_not_ours_says_so() {
    let mut rig = Rig::new();
    rig.unload(partition_for_group(GROUP, 4));
    let error = ErrorCode::NotCoordinator as i16;
    assert_eq!(heartbeat(&mut rig), error);
    let reply = rig.join(9, "", &[("range", b"")]);
    assert_eq!(rig.take_join(reply).error_code, error);
    assert_eq!(rig.commit(commit_request("", -1, &[("a", 0, 1)])), ErrorCode::NotCoordinator);
    assert_eq!(rig.describe(GROUP).error_code, error);
}

#[test]
fn while_a_partition_is_loaded_clients_are_told_to_come_back() {
    let mut rig = Rig::new();
    let partition = partition_for_group(GROUP, 4);
    rig.coordinator.begin_load(partition);
    let error = ErrorCode::CoordinatorLoadInProgress;
    assert_eq!(heartbeat(&mut rig), 0, "as in Kafka: the members are about to be there");
    let reply = rig.join(9, "", &[("range", b"")]);
    assert_eq!(rig.take_join(reply).error_code, error as i16);
    assert_eq!(rig.commit(commit_request("", -1, &[("a", 0, 1)])), error);
    assert_eq!(rig.describe(GROUP).error_code, error as i16);
    let list = rig.ask(5, GroupRequest::ListGroups(ListGroupsRequest::default()));
    let GroupResponse::ListGroups(list) = list else { panic!("not a list") };
    assert_eq!(list.error_code, error as i16);
    rig.coordinator.finish_load(rig.now, partition);
    assert_eq!(rig.commit(commit_request("", -1, &[("a", 0, 1)])), ErrorCode::None);
}

#[test]
fn a_stable_group_survives_a_restart_with_its_members() {
    let mut rig = Rig::new();
    let joined = rig.stable(2);
    rig.restart();
    assert_eq!(rig.state(), "Stable");
    let group = rig.describe(GROUP);
    assert_eq!(&group.members[1].member_assignment[..], [1]);
    for member in &joined {
        assert_eq!(rig.heartbeat(&member.member_id, 1), ErrorCode::None);
    }
    // The leader still leads: its join rebalances. Sessions count from the load.
    rig.advance(10_000);
    assert_eq!(rig.state(), "Empty");
}

#[test]
fn a_rebalance_that_a_restart_cut_short_starts_from_the_last_generation() {
    let mut rig = Rig::new();
    let joined = rig.stable(2);
    let parked = rig.join(9, &joined[0].member_id, &[("range", &subscription(&["a"]))]);
    rig.restart();
    assert!(!rig.is_answered(parked));
    assert_eq!(rig.state(), "Stable");
    assert_eq!(rig.heartbeat(&joined[0].member_id, 1), ErrorCode::None);
}

#[test]
fn unloading_sends_everyone_who_waits_elsewhere() {
    let mut rig = Rig::new();
    let partition = partition_for_group(GROUP, 4);
    let join = rig.join(3, "", &[("range", b"")]);
    let other = (0..)
        .map(|number| format!("other-{number}"))
        .find(|id| partition_for_group(id, 4) == partition)
        .expect("ids spread");
    rig.hold = true;
    let mut commit = commit_request("", -1, &[("a", 0, 1)]);
    commit.group_id = other;
    let commit = rig.send(9, GroupRequest::OffsetCommit(commit));
    let mut fetch = OffsetFetchRequest { require_stable: true, ..Default::default() };
    let group = OffsetFetchRequestGroup {
        group_id: GROUP.into(),
        topics: None,
        ..OffsetFetchRequestGroup::default()
    };
    fetch.groups.push(group);
    let fetch = rig.send(9, GroupRequest::OffsetFetch(fetch));
    rig.unload(partition);
    let error = ErrorCode::NotCoordinator as i16;
    assert_eq!(rig.take_join(join).error_code, error);
    let GroupResponse::OffsetCommit(commit) = rig.take(commit) else { panic!("not a commit") };
    assert_eq!(commit.topics[0].partitions[0].error_code, error);
    let GroupResponse::OffsetFetch(fetch) = rig.take(fetch) else { panic!("not a fetch") };
    assert_eq!(fetch.groups[0].error_code, error);
    // The result of what was under way comes late and means nothing any more.
    let held = rig.held.pop_front().expect("it was held");
    rig.coordinator.handle_appended(rig.now, held.token, Ok(0), &super::Topics);
    assert!(rig.coordinator.poll_action().is_none());
    assert_eq!(rig.coordinator.effects.timers.count(), 3, "the other partitions' expiry");
}

#[test]
fn an_append_that_nobody_began_is_not_begun_after_unloading() {
    let mut rig = Rig::new();
    let context = RequestContext { client_id: "", client_host: "", api_version: 9 };
    let request = GroupRequest::OffsetCommit(commit_request("", -1, &[("a", 0, 1)]));
    let reply = ReplyToken(1_000);
    rig.versions.insert(reply, 9);
    rig.coordinator.handle_request(rig.now, context, request, reply, &Topics);
    rig.unload(partition_for_group(GROUP, 4));
    assert!(rig.held.is_empty() && rig.log.is_empty());
    let GroupResponse::OffsetCommit(commit) = rig.take(reply) else { panic!("not a commit") };
    assert_eq!(commit.topics[0].partitions[0].error_code, ErrorCode::NotCoordinator as i16);
}

#[test]
fn an_unloaded_sync_is_answered_too() {
    let mut rig = Rig::new();
    let joins = [rig.join(3, "", &[("range", b"")]), rig.join(3, "", &[("range", b"")])];
    rig.advance(6_000);
    let [_, follower] = joins.map(|reply| rig.take_join(reply));
    let waiting = rig.sync(&follower, &[]);
    rig.unload(partition_for_group(GROUP, 4));
    assert_eq!(rig.take_sync(waiting).error_code, ErrorCode::NotCoordinator as i16);
}

#[test]
fn records_out_of_order_or_unreadable_are_refused_and_others_counted() {
    let mut rig = Rig::new();
    let partition = partition_for_group(GROUP, 4);
    let load = |rig: &mut Rig, key: &[u8], offset| {
        rig.coordinator.load_record(partition, key, Some(b"\0\0"), offset)
    };
    let share_group = b"\0\x0b\0\x01g";
    assert_eq!(load(&mut rig, share_group, 0), Err(RecordError::NotLoading { partition }));
    rig.coordinator.begin_load(partition);
    assert_eq!(load(&mut rig, share_group, 4), Ok(()));
    assert_eq!(load(&mut rig, share_group, 4), Err(RecordError::Order { offset: 4, last: 4 }));
    assert!(matches!(load(&mut rig, b"\0\x02\0", 5), Err(RecordError::Key { kind: 2, .. })));
    assert!(matches!(load(&mut rig, b"\0\x02\0\x01g", 6), Err(RecordError::Value { kind: 2, .. })));
    assert_eq!(rig.coordinator.probe().records_skipped, 1);
    rig.coordinator.finish_load(rig.now, partition);
}

#[test]
fn groups_are_found_by_the_partitions_the_topic_has() {
    // The configuration was changed after the topic was created with four partitions.
    let mut rig = Rig::new();
    let ids: Vec<String> = (0..4).map(group_in).collect();
    for id in &ids {
        let mut commit = commit_request("", -1, &[("a", 0, 1)]);
        commit.group_id = id.clone();
        assert_eq!(rig.commit(commit), ErrorCode::None);
    }
    let configured = GroupConfig { offsets_partitions_count: 50, ..config() };
    let mut coordinator = GroupCoordinator::new(configured, 3);
    for (partition, records) in &rig.log {
        coordinator.set_offsets_partitions_count(partition + 1);
        coordinator.begin_load(*partition);
        for (offset, record) in records.iter().enumerate() {
            let value = record.value.as_deref();
            let loaded = coordinator.load_record(*partition, &record.key, value, offset as i64);
            assert_eq!(loaded, Ok(()));
        }
        coordinator.finish_load(rig.now, *partition);
    }
    rig.coordinator = coordinator;
    for id in &ids {
        assert_eq!(rig.describe(id).group_state, "Empty", "{id}");
    }
}

#[test]
fn offsets_outlive_their_groups_tombstone() {
    // A log in which the tombstone of a group comes without those of its offsets.
    let mut rig = Rig::new();
    rig.commit(commit_request("", -1, &[("a", 0, 7)]));
    let partition = partition_for_group(GROUP, 4);
    let tombstone = GroupRecord::group_tombstone(GROUP).encode(0);
    rig.log.get_mut(&partition).expect("the commit is there").push(tombstone);
    rig.restart();
    assert_eq!(rig.committed("a", 0), 7);
    assert_eq!(rig.state(), "Empty");
}

fn fetch_of_one_group(version: i16) -> OffsetFetchRequest {
    let mut request = OffsetFetchRequest::default();
    if version < 8 {
        let topic = OffsetFetchRequestTopic { name: "a".into(), partition_indexes: vec![0] };
        request.topics = Some(vec![topic]);
    } else {
        request.groups.push(OffsetFetchRequestGroup::default());
    }
    request
}

#[test]
fn every_api_can_say_an_error_in_every_version() {
    let requests: Vec<(GroupRequest, i16, i16)> = vec![
        (GroupRequest::JoinGroup(join_request("m", &[])), 0, 9),
        (GroupRequest::SyncGroup(SyncGroupRequest::default()), 0, 5),
        (GroupRequest::Heartbeat(HeartbeatRequest::default()), 0, 4),
        (GroupRequest::LeaveGroup(LeaveGroupRequest::default()), 0, 5),
        (GroupRequest::OffsetCommit(commit_request("", -1, &[("a", 0, 1)])), 2, 10),
        (GroupRequest::OffsetFetch(fetch_of_one_group(1)), 1, 7),
        (GroupRequest::OffsetFetch(fetch_of_one_group(8)), 8, 10),
        (GroupRequest::OffsetDelete(OffsetDeleteRequest::default()), 0, 0),
        (
            GroupRequest::DescribeGroups(DescribeGroupsRequest {
                groups: vec![GROUP.into()],
                ..Default::default()
            }),
            0,
            6,
        ),
        (GroupRequest::ListGroups(ListGroupsRequest::default()), 0, 5),
        (
            GroupRequest::DeleteGroups(DeleteGroupsRequest { groups_names: vec![GROUP.into()] }),
            0,
            2,
        ),
    ];
    let mut rig = Rig::new();
    for (request, first, last) in requests {
        for version in first..=last {
            let error = ErrorCode::GroupAuthorizationFailed;
            let response = error_response(request.clone(), version, error);
            // The rig encodes it.
            let reply = ReplyToken(rig.next_reply);
            rig.next_reply += 1;
            rig.versions.insert(reply, version);
            let said = format!("{response:?}").contains("error_code: 30");
            assert!(said, "v{version}: {response:?}");
            rig.record_reply(reply, response);
        }
    }
}
