//! Static members (KIP-345): an instance keeps its place through restarts of its client.

use super::*;

fn static_join(rig: &mut Rig, version: i16, instance: &str, protocol: &str) -> ReplyToken {
    let metadata = subscription(&["a"]);
    let request = JoinGroupRequest {
        group_instance_id: Some(instance.into()),
        ..join_request("", &[(protocol, &metadata), ("common", &metadata)])
    };
    rig.send(version, GroupRequest::JoinGroup(request))
}

/// A stable group of the instances `i0`, `i1`; the leader first.
fn stable_pair(rig: &mut Rig) -> [JoinGroupResponse; 2] {
    let replies = [static_join(rig, 9, "i0", "range"), static_join(rig, 9, "i1", "range")];
    rig.advance(6_000);
    let joined = replies.map(|reply| rig.take_join(reply));
    let parts: [(&str, &[u8]); 2] =
        [(&joined[0].member_id, b"one"), (&joined[1].member_id, b"two")];
    let first = rig.sync(&joined[0], &parts);
    let second = rig.sync(&joined[1], &[]);
    assert_eq!((rig.take_sync(first).error_code, rig.take_sync(second).error_code), (0, 0));
    joined
}

#[test]
fn an_instance_needs_no_id_first_and_lends_it_its_name() {
    let mut rig = Rig::new();
    let reply = static_join(&mut rig, 9, "i0", "range");
    rig.advance(3_000);
    let joined = rig.take_join(reply);
    assert_eq!(joined.error_code, 0);
    assert!(joined.member_id.starts_with("i0-"));
    assert_eq!(joined.members[0].group_instance_id.as_deref(), Some("i0"));
}

#[test]
fn an_instance_that_comes_back_takes_its_place_without_a_rebalance() {
    let mut rig = Rig::new();
    let joined = stable_pair(&mut rig);
    rig.hold = true;
    let reply = static_join(&mut rig, 9, "i1", "range");
    assert!(!rig.is_answered(reply), "its new id has to be durable first");
    rig.release();
    let back = rig.take_join(reply);
    assert_eq!((back.error_code, back.generation_id), (0, 1));
    assert_ne!(back.member_id, joined[1].member_id);
    assert!(!back.skip_assignment && back.members.is_empty());
    let sync = rig.sync(&back, &[]);
    assert_eq!(&rig.take_sync(sync).assignment[..], b"two");
    assert_eq!(rig.state(), "Stable");
    rig.restart();
    assert_eq!(rig.heartbeat(&back.member_id, 1), ErrorCode::None);
}

#[test]
fn a_leader_that_comes_back_is_told_to_leave_the_assignment() {
    let mut rig = Rig::new();
    stable_pair(&mut rig);
    let reply = static_join(&mut rig, 9, "i0", "range");
    let back = rig.take_join(reply);
    assert_eq!(back.leader, back.member_id);
    assert!(back.skip_assignment);
    assert_eq!(back.members.len(), 2);
}

#[test]
fn before_version_9_a_leader_that_comes_back_is_told_another_leads() {
    let mut rig = Rig::new();
    let joined = stable_pair(&mut rig);
    let reply = static_join(&mut rig, 8, "i0", "range");
    let back = rig.take_join(reply);
    assert_eq!(back.leader, joined[0].member_id, "its old id: so it does not assign");
    assert!(back.members.is_empty());
}

#[test]
fn the_old_id_of_an_instance_is_fenced() {
    let mut rig = Rig::new();
    let joined = stable_pair(&mut rig);
    let reply = static_join(&mut rig, 9, "i1", "range");
    rig.take_join(reply);
    let heartbeat = HeartbeatRequest {
        group_id: GROUP.into(),
        generation_id: 1,
        member_id: joined[1].member_id.clone(),
        group_instance_id: Some("i1".into()),
    };
    let GroupResponse::Heartbeat(response) = rig.ask(4, GroupRequest::Heartbeat(heartbeat)) else {
        panic!("not a heartbeat")
    };
    assert_eq!(response.error_code, ErrorCode::FencedInstanceId as i16);
    assert_eq!(rig.leave(&joined[1].member_id, Some("i1")), ErrorCode::FencedInstanceId);
    let commit = OffsetCommitRequest {
        group_instance_id: Some("i1".into()),
        ..commit_request(&joined[1].member_id, 1, &[("a", 0, 5)])
    };
    assert_eq!(rig.commit(commit), ErrorCode::FencedInstanceId);
}

#[test]
fn a_join_that_waits_under_the_old_id_is_fenced() {
    let mut rig = Rig::new();
    let first = static_join(&mut rig, 9, "i0", "range");
    let second = static_join(&mut rig, 9, "i0", "range");
    assert_eq!(rig.take_join(first).error_code, ErrorCode::FencedInstanceId as i16);
    rig.advance(3_000);
    assert_eq!(rig.take_join(second).members.len(), 1);
}

#[test]
fn an_instance_that_changes_the_elected_protocol_starts_a_rebalance() {
    let mut rig = Rig::new();
    stable_pair(&mut rig);
    let reply = static_join(&mut rig, 9, "i1", "sticky");
    assert!(!rig.is_answered(reply));
    assert_eq!(rig.state(), "PreparingRebalance");
}

#[test]
fn an_instance_keeps_its_place_while_its_session_lasts() {
    let mut rig = Rig::new();
    let joined = stable_pair(&mut rig);
    // Its client is restarting: it does not leave. The other one rebalances meanwhile.
    let metadata = subscription(&["b"]);
    let request = JoinGroupRequest {
        group_instance_id: Some("i0".into()),
        ..join_request(&joined[0].member_id, &[("range", &metadata), ("common", &metadata)])
    };
    let leader = rig.send(9, GroupRequest::JoinGroup(request));
    for _ in 0..12 {
        rig.heartbeat(&joined[1].member_id, 1);
        rig.advance(5_000);
    }
    let leader = rig.take_join(leader);
    assert_eq!(leader.members.len(), 2, "the absent instance is still a member");
    rig.advance(9_999);
    assert_eq!(rig.heartbeat(&leader.member_id, 2), ErrorCode::None);
    assert_eq!(rig.describe(GROUP).members.len(), 2);
    rig.advance(1);
    assert_eq!(rig.describe(GROUP).members.len(), 1, "its session is over");
}

#[test]
fn operators_remove_an_instance_by_its_name() {
    let mut rig = Rig::new();
    stable_pair(&mut rig);
    assert_eq!(rig.leave("", Some("i1")), ErrorCode::None);
    assert_eq!(rig.leave("", Some("i1")), ErrorCode::UnknownMemberId);
    assert_eq!(rig.leave("", None), ErrorCode::UnknownMemberId);
    assert_eq!(rig.state(), "PreparingRebalance");
}

#[test]
fn an_instance_whose_new_id_cannot_be_written_keeps_the_old_one() {
    let mut rig = Rig::new();
    let joined = stable_pair(&mut rig);
    rig.hold = true;
    let reply = static_join(&mut rig, 9, "i1", "range");
    rig.fail_one(ErrorCode::RequestTimedOut);
    let failed = rig.take_join(reply);
    assert_eq!(failed.error_code, ErrorCode::CoordinatorNotAvailable as i16);
    rig.release();
    assert_eq!(rig.heartbeat(&joined[1].member_id, 1), ErrorCode::None);
    assert_eq!(rig.state(), "Stable");
}

#[test]
fn an_instance_that_comes_back_during_assignment_starts_over() {
    let mut rig = Rig::new();
    let replies =
        [static_join(&mut rig, 9, "i0", "range"), static_join(&mut rig, 9, "i1", "range")];
    rig.advance(6_000);
    let joined = replies.map(|reply| rig.take_join(reply));
    let waiting = rig.sync(&joined[1], &[]);
    let back = static_join(&mut rig, 9, "i1", "range");
    assert_eq!(rig.take_sync(waiting).error_code, ErrorCode::FencedInstanceId as i16);
    assert!(!rig.is_answered(back));
    assert_eq!(rig.state(), "PreparingRebalance");
}
