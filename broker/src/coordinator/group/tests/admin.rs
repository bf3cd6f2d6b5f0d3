//! What operators ask for: describe, list, delete groups, delete offsets.

use super::*;
use protocol::messages::delete_groups::DeleteGroupsRequest;
use protocol::messages::describe_groups::{DescribeGroupsRequest, DescribedGroup};
use protocol::messages::list_groups::{ListGroupsRequest, ListGroupsResponse};
use protocol::messages::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
    OffsetDeleteResponse,
};

impl Rig {
    pub(super) fn describe(&mut self, group: &str) -> DescribedGroup {
        self.describe_in(5, group)
    }

    fn describe_in(&mut self, version: i16, group: &str) -> DescribedGroup {
        let request = DescribeGroupsRequest {
            groups: vec![group.into()],
            ..DescribeGroupsRequest::default()
        };
        let GroupResponse::DescribeGroups(mut response) =
            self.ask(version, GroupRequest::DescribeGroups(request))
        else {
            panic!("not a description")
        };
        response.groups.remove(0)
    }

    fn list(&mut self, states: &[&str], types: &[&str]) -> ListGroupsResponse {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).into()).collect();
        let request =
            ListGroupsRequest { states_filter: owned(states), types_filter: owned(types) };
        let GroupResponse::ListGroups(response) = self.ask(5, GroupRequest::ListGroups(request))
        else {
            panic!("not a list")
        };
        response
    }

    fn delete_request(&mut self, groups: &[&str]) -> ReplyToken {
        let groups_names = groups.iter().map(|group| (*group).into()).collect();
        self.send(2, GroupRequest::DeleteGroups(DeleteGroupsRequest { groups_names }))
    }

    fn take_deleted(&mut self, reply: ReplyToken) -> Vec<(String, ErrorCode)> {
        let GroupResponse::DeleteGroups(response) = self.take(reply) else {
            panic!("not a deletion")
        };
        let results = response.results.into_iter();
        results
            .map(|r| (r.group_id, ErrorCode::from_i16(r.error_code).expect("a code of Kafka's")))
            .collect()
    }

    fn delete(&mut self, groups: &[&str]) -> Vec<ErrorCode> {
        let reply = self.delete_request(groups);
        self.take_deleted(reply).into_iter().map(|(_, code)| code).collect()
    }

    fn delete_offsets(&mut self, group: &str, topics: &[(&str, i32)]) -> OffsetDeleteResponse {
        let topics = topics.iter().map(|(name, partition_index)| OffsetDeleteRequestTopic {
            name: (*name).into(),
            partitions: vec![OffsetDeleteRequestPartition { partition_index: *partition_index }],
        });
        let request = OffsetDeleteRequest { group_id: group.into(), topics: topics.collect() };
        let GroupResponse::OffsetDelete(response) =
            self.ask(0, GroupRequest::OffsetDelete(request))
        else {
            panic!("not a deletion")
        };
        response
    }
}

#[test]
fn a_stable_group_shows_metadata_and_assignments() {
    let mut rig = Rig::new();
    let joined = rig.stable(2);
    let group = rig.describe(GROUP);
    assert_eq!((group.group_state.as_str(), group.protocol_type.as_str()), ("Stable", "consumer"));
    assert_eq!(group.protocol_data, "range");
    assert_eq!(group.members[0].member_id, joined[0].member_id);
    assert_eq!(&group.members[1].member_assignment[..], [1]);
    assert_eq!(&group.members[1].member_metadata[..], subscription(&["a"]));
    assert_eq!(group.members[0].client_host, "/127.0.0.1");
}

#[test]
fn during_a_rebalance_only_the_members_show() {
    let mut rig = Rig::new();
    let joined = rig.stable(2);
    rig.join(9, &joined[0].member_id, &[("range", &subscription(&["a"]))]);
    let group = rig.describe(GROUP);
    assert_eq!(group.group_state, "PreparingRebalance");
    assert_eq!((group.protocol_data.as_str(), group.members.len()), ("", 2));
    assert!(group.members.iter().all(|member| member.member_metadata.is_empty()));
}

#[test]
fn a_group_nobody_knows_is_dead_and_since_version_6_an_error() {
    let mut rig = Rig::new();
    let dead = rig.describe_in(5, "nobody's");
    assert_eq!((dead.error_code, dead.group_state.as_str()), (0, "Dead"));
    let not_found = rig.describe_in(6, "nobody's");
    assert_eq!(not_found.error_code, ErrorCode::GroupIdNotFound as i16);
    assert_eq!(not_found.error_message.as_deref(), Some("Group nobody's not found."));
}

#[test]
fn lists_are_filtered_by_state_and_type_whatever_the_case() {
    let mut rig = Rig::new();
    rig.stable(1);
    let mut other = commit_request("", -1, &[("a", 0, 1)]);
    other.group_id = "simple".into();
    rig.commit(other);
    let names = |response: ListGroupsResponse| {
        let mut names: Vec<_> = response.groups.into_iter().map(|group| group.group_id).collect();
        names.sort();
        names
    };
    assert_eq!(names(rig.list(&[], &[])), [GROUP, "simple"]);
    assert_eq!(names(rig.list(&["stable"], &[])), [GROUP]);
    assert_eq!(names(rig.list(&[" EMPTY "], &["Classic"])), ["simple"]);
    assert!(names(rig.list(&[], &["consumer"])).is_empty());
    assert!(names(rig.list(&["nonsense"], &[])).is_empty());
    let group = rig.list(&["Stable"], &[]).groups.remove(0);
    assert_eq!((group.group_state.as_str(), group.group_type.as_str()), ("Stable", "classic"));
    assert_eq!(group.protocol_type, "consumer");
}

#[test]
fn an_empty_group_is_deleted_with_its_offsets() {
    let mut rig = Rig::new();
    let joined = rig.stable(1);
    rig.commit(commit_request(&joined[0].member_id, 1, &[("a", 0, 1), ("a", 1, 2)]));
    assert_eq!(rig.delete(&[GROUP]), [ErrorCode::NonEmptyGroup]);
    rig.leave(&joined[0].member_id, None);
    assert_eq!(
        rig.delete(&[GROUP, "nobody's", GROUP]),
        [ErrorCode::None, ErrorCode::GroupIdNotFound]
    );
    assert_eq!(rig.committed("a", 0), -1);
    assert_eq!(rig.delete(&[GROUP]), [ErrorCode::GroupIdNotFound]);
    assert!(rig.list(&[], &[]).groups.is_empty());
    rig.restart();
    assert!(rig.list(&[], &[]).groups.is_empty());
}

#[test]
fn groups_on_several_partitions_are_deleted_with_one_answer() {
    let mut rig = Rig::new();
    let ids: Vec<String> = (0..4).map(group_in).collect();
    for id in &ids {
        let mut commit = commit_request("", -1, &[("a", 0, 1)]);
        commit.group_id = id.clone();
        rig.commit(commit);
    }
    rig.hold = true;
    let names: Vec<&str> = ids.iter().map(String::as_str).collect();
    let reply = rig.delete_request(&names);
    rig.fail_one(ErrorCode::KafkaStorageError);
    assert!(!rig.is_answered(reply), "three are not decided");
    rig.release();
    let results = rig.take_deleted(reply);
    assert_eq!(results[0], (ids[0].clone(), ErrorCode::NotCoordinator));
    assert!(results[1..].iter().all(|(_, code)| *code == ErrorCode::None));
    assert_eq!(rig.describe(&ids[0]).group_state, "Empty", "it is as it was");
    assert_eq!(rig.describe(&ids[1]).group_state, "Dead");
}

#[test]
fn a_deletion_without_groups_is_answered() {
    let mut rig = Rig::new();
    assert!(rig.delete(&[]).is_empty());
}

#[test]
fn nothing_can_appear_behind_a_deletion() {
    let mut rig = Rig::new();
    rig.commit(commit_request("", -1, &[("a", 0, 1)]));
    rig.hold = true;
    // A commit that is not durable yet goes with the group, one after the decision waits.
    let before = rig.send(9, GroupRequest::OffsetCommit(commit_request("", -1, &[("a", 1, 2)])));
    let deletion = rig.delete_request(&[GROUP]);
    let after = rig.send(9, GroupRequest::OffsetCommit(commit_request("", -1, &[("a", 2, 3)])));
    let join = rig.join(3, "", &[("range", b"")]);
    let again = rig.delete_request(&[GROUP]);
    assert_eq!(rig.take_deleted(again)[0].1, ErrorCode::GroupIdNotFound);
    assert_eq!(rig.take_join(join).error_code, ErrorCode::CoordinatorNotAvailable as i16);
    let GroupResponse::OffsetCommit(after) = rig.take(after) else { panic!("not a commit") };
    let code = after.topics[0].partitions[0].error_code;
    assert_eq!(code, ErrorCode::CoordinatorNotAvailable as i16);
    rig.release();
    assert!(rig.is_answered(before));
    assert_eq!(rig.take_deleted(deletion)[0].1, ErrorCode::None);
    let committed: Vec<_> = (0..3).map(|partition| rig.committed("a", partition)).collect();
    assert_eq!(committed, [-1, -1, -1]);
    rig.assert_memory_is_log();
    assert_eq!(rig.commit(commit_request("", -1, &[("a", 2, 3)])), ErrorCode::None);
}

#[test]
fn offsets_of_topics_the_group_reads_stay() {
    let mut rig = Rig::new();
    let joined = rig.stable(1);
    rig.commit(commit_request(&joined[0].member_id, 1, &[("a", 0, 1), ("b", 0, 2)]));
    let response = rig.delete_offsets(GROUP, &[("a", 0), ("b", 0), ("b", 1), ("gone", 0)]);
    assert_eq!(response.error_code, 0);
    let codes: Vec<_> = response
        .topics
        .iter()
        .flat_map(|t| {
            t.partitions.iter().map(|p| (t.name.as_str(), p.partition_index, p.error_code))
        })
        .collect();
    let subscribed = ErrorCode::GroupSubscribedToTopic as i16;
    assert_eq!(codes, [("gone", 0, 3), ("a", 0, subscribed), ("b", 0, 0), ("b", 1, 0)]);
    assert_eq!((rig.committed("a", 0), rig.committed("b", 0)), (1, -1));
}

#[test]
fn offsets_of_an_unreadable_or_unknown_group_stay() {
    let mut rig = Rig::new();
    let code = |response: OffsetDeleteResponse| response.error_code;
    assert_eq!(code(rig.delete_offsets("nobody's", &[("a", 0)])), 69);
    assert_eq!(code(rig.delete_offsets("nobody's", &[])), 69, "also when nothing is to go");
    assert_eq!(code(rig.delete_offsets("nobody's", &[("gone", 0)])), 69);
    assert_eq!(code(rig.delete_offsets("", &[("a", 0)])), ErrorCode::InvalidGroupId as i16);
    let mut request = join_request("", &[("default", b"")]);
    request.protocol_type = "connect".into();
    rig.send(3, GroupRequest::JoinGroup(request));
    assert_eq!(code(rig.delete_offsets(GROUP, &[("a", 0)])), ErrorCode::NonEmptyGroup as i16);
}

#[test]
fn operations_are_told_to_those_who_ask() {
    let mut rig = Rig::new();
    rig.commit(commit_request("", -1, &[("a", 0, 1)]));
    let ask = |rig: &mut Rig, version, group: &str| {
        let request = DescribeGroupsRequest {
            groups: vec![group.into()],
            include_authorized_operations: true,
        };
        match rig.ask(version, GroupRequest::DescribeGroups(request)) {
            GroupResponse::DescribeGroups(response) => response.groups[0].authorized_operations,
            other => panic!("not a description: {other:?}"),
        }
    };
    let all = 1 << 3 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 11;
    assert_eq!(ask(&mut rig, 6, GROUP), all);
    assert_eq!(ask(&mut rig, 5, "unknown"), all, "dead, which is no error");
    assert_eq!(ask(&mut rig, 6, "unknown"), i32::MIN, "an error");
    assert_eq!(rig.describe(GROUP).authorized_operations, i32::MIN, "nobody asked");
}
