//! Rebalances from join to assignment: delays, timeouts, who is in, who leads, what each hears.

use super::*;

#[test]
fn the_initial_delay_is_extended_while_members_come() {
    let mut rig = Rig::new();
    let first = rig.join(3, "", &[("range", b"")]);
    rig.advance(2_000);
    let second = rig.join(3, "", &[("range", b"")]);
    rig.advance(3_999);
    assert!(!rig.is_answered(first), "3 s, and 3 s more because someone came");
    rig.advance(1);
    assert_eq!(rig.take_join(first).generation_id, 1);
    assert_eq!(rig.take_join(second).generation_id, 1);
}

#[test]
fn the_initial_delay_ends_with_the_rebalance_timeout() {
    let mut rig = Rig::new();
    let mut request = join_request("", &[("range", b"")]);
    request.rebalance_timeout_ms = 7_000;
    let first = rig.send(3, GroupRequest::JoinGroup(request.clone()));
    // 3 s + 3 s + the last second of the seven, however many come.
    for _ in 0..6 {
        rig.advance(1_000);
        assert!(!rig.is_answered(first));
        rig.send(3, GroupRequest::JoinGroup(request.clone()));
    }
    rig.advance(1_000);
    assert_eq!(rig.take_join(first).members.len(), 7);
}

#[test]
fn without_an_initial_delay_the_first_joins_alone() {
    let mut rig = Rig::with(GroupConfig { initial_rebalance_delay_ms: 0, ..config() });
    let reply = rig.join(3, "", &[("range", b"")]);
    rig.advance(0);
    assert_eq!(rig.take_join(reply).generation_id, 1);
}

#[test]
fn everyone_gets_its_own_part_after_the_leaders_word_is_durable() {
    let mut rig = Rig::new();
    let metadata = subscription(&["a"]);
    let (_, first) = rig.join_anew(&[("range", &metadata)]);
    let (_, second) = rig.join_anew(&[("range", &metadata)]);
    rig.advance(6_000);
    let (leader, follower) = (rig.take_join(first), rig.take_join(second));
    assert_eq!(rig.state(), "CompletingRebalance");
    let follower_sync = rig.sync(&follower, &[]);
    rig.hold = true;
    let parts: [(&str, &[u8]); 2] = [(&leader.member_id, b"one"), (&follower.member_id, b"two")];
    let leader_sync = rig.sync(&leader, &parts);
    assert!(!rig.is_answered(leader_sync) && !rig.is_answered(follower_sync));
    rig.release();
    let (leader_sync, follower_sync) = (rig.take_sync(leader_sync), rig.take_sync(follower_sync));
    assert_eq!(&leader_sync.assignment[..], b"one");
    assert_eq!(&follower_sync.assignment[..], b"two");
    assert_eq!(follower_sync.protocol_name.as_deref(), Some("range"));
    assert_eq!(rig.state(), "Stable");
}

#[test]
fn whom_the_leader_leaves_out_gets_nothing() {
    let mut rig = Rig::new();
    let joins = [rig.join(3, "", &[("range", b"")]), rig.join(3, "", &[("range", b"")])];
    rig.advance(6_000);
    let [leader, follower] = joins.map(|reply| rig.take_join(reply));
    let parts: [(&str, &[u8]); 2] = [(&leader.member_id, b"all"), ("a stranger", b"x")];
    let reply = rig.sync(&leader, &parts);
    assert_eq!(&rig.take_sync(reply).assignment[..], b"all");
    let reply = rig.sync(&follower, &[]);
    let follower = rig.take_sync(reply);
    assert_eq!((follower.error_code, follower.assignment.len()), (0, 0));
}

#[test]
fn a_sync_says_what_is_wrong_with_it() {
    let mut rig = Rig::new();
    let joined = rig.stable(1);
    let member = &joined[0];
    let code = |rig: &mut Rig, request: SyncGroupRequest| {
        let reply = rig.send(5, GroupRequest::SyncGroup(request));
        ErrorCode::from_i16(rig.take_sync(reply).error_code).expect("a code of Kafka's")
    };
    let fine = sync_request(member, &[]);
    assert_eq!(code(&mut rig, fine.clone()), ErrorCode::None);
    let request = SyncGroupRequest { generation_id: 9, ..fine.clone() };
    assert_eq!(code(&mut rig, request), ErrorCode::IllegalGeneration);
    let request = SyncGroupRequest { member_id: "stranger".into(), ..fine.clone() };
    assert_eq!(code(&mut rig, request), ErrorCode::UnknownMemberId);
    let request = SyncGroupRequest { protocol_name: Some("sticky".into()), ..fine.clone() };
    assert_eq!(code(&mut rig, request), ErrorCode::InconsistentGroupProtocol);
    let request = SyncGroupRequest { protocol_name: None, ..fine.clone() };
    assert_eq!(code(&mut rig, request), ErrorCode::InconsistentGroupProtocol);
    let request = SyncGroupRequest { group_id: "nobody's".into(), ..fine.clone() };
    assert_eq!(code(&mut rig, request), ErrorCode::UnknownMemberId);
    let request = SyncGroupRequest { group_id: String::new(), ..fine };
    assert_eq!(code(&mut rig, request), ErrorCode::InvalidGroupId);
}

#[test]
fn heartbeats_tell_of_a_rebalance_and_everyone_meets_in_the_next_generation() {
    let mut rig = Rig::new();
    let joined = rig.stable(2);
    let metadata = subscription(&["a"]);
    let (_, third) = rig.join_anew(&[("range", &metadata)]);
    for member in &joined {
        assert_eq!(rig.heartbeat(&member.member_id, 1), ErrorCode::RebalanceInProgress);
    }
    let again: Vec<_> =
        joined.iter().map(|m| rig.join(9, &m.member_id, &[("range", &metadata)])).collect();
    for reply in again.into_iter().chain([third]) {
        assert_eq!(rig.take_join(reply).generation_id, 2);
    }
    assert_eq!(rig.heartbeat(&joined[0].member_id, 1), ErrorCode::IllegalGeneration);
    assert_eq!(rig.heartbeat(&joined[0].member_id, 2), ErrorCode::None);
}

#[test]
fn who_does_not_rejoin_in_time_is_out() {
    let mut rig = Rig::new();
    let joined = rig.stable(2);
    let metadata = subscription(&["a"]);
    let leader = rig.join(9, &joined[0].member_id, &[("range", &metadata)]);
    // The follower heartbeats, so its session holds, but it does not join.
    for _ in 0..11 {
        rig.advance(5_000);
        let code = rig.heartbeat(&joined[1].member_id, 1);
        assert_eq!(code, ErrorCode::RebalanceInProgress);
    }
    rig.advance(4_999);
    assert!(!rig.is_answered(leader));
    rig.advance(1);
    let leader = rig.take_join(leader);
    assert_eq!((leader.generation_id, leader.members.len()), (2, 1));
    assert_eq!(rig.heartbeat(&joined[1].member_id, 1), ErrorCode::UnknownMemberId);
}

#[test]
fn when_the_leader_does_not_rejoin_the_oldest_that_did_leads() {
    let mut rig = Rig::new();
    let joined = rig.stable(3);
    let metadata: Vec<u8> = subscription(&["a", "b"]);
    let third = rig.join(9, &joined[2].member_id, &[("range", &metadata)]);
    let second = rig.join(9, &joined[1].member_id, &[("range", &metadata)]);
    rig.advance(60_000);
    let (second, third) = (rig.take_join(second), rig.take_join(third));
    assert_eq!(second.leader, joined[1].member_id);
    assert_eq!(third.leader, joined[1].member_id);
    assert_eq!(second.members.len(), 2);
}

#[test]
fn a_silent_member_is_removed_and_the_rest_rebalance() {
    let mut rig = Rig::new();
    let joined = rig.stable(2);
    rig.advance(9_999);
    assert_eq!(rig.heartbeat(&joined[0].member_id, 1), ErrorCode::None);
    assert_eq!(rig.state(), "Stable");
    rig.advance(1);
    assert_eq!(rig.state(), "PreparingRebalance");
    assert_eq!(rig.heartbeat(&joined[1].member_id, 1), ErrorCode::UnknownMemberId);
    assert_eq!(rig.coordinator.probe().members_expired, 1);
}

#[test]
fn the_last_member_leaves_an_empty_group_behind() {
    let mut rig = Rig::new();
    let joined = rig.stable(1);
    assert_eq!(rig.leave(&joined[0].member_id, None), ErrorCode::None);
    assert_eq!(rig.state(), "Empty");
    assert_eq!(rig.leave(&joined[0].member_id, None), ErrorCode::UnknownMemberId);
    let image = rig.image();
    let group = image.partitions.values().find_map(|groups| groups.get(GROUP)).expect("kept");
    let generation = group.generation.as_ref().expect("written");
    assert_eq!((generation.generation, generation.members.len()), (2, 0));
    assert_eq!(generation.protocol_type, "consumer");
    assert_eq!((&generation.protocol, &generation.leader), (&None, &None));
}

#[test]
fn a_member_that_leaves_while_it_waits_is_answered() {
    let mut rig = Rig::new();
    let (member, parked) = rig.join_anew(&[("range", b"")]);
    assert_eq!(rig.leave(&member, None), ErrorCode::None);
    assert_eq!(rig.take_join(parked).error_code, ErrorCode::UnknownMemberId as i16);
}

#[test]
fn who_does_not_sync_in_time_is_out() {
    let mut rig = Rig::new();
    let joins = [rig.join(3, "", &[("range", b"")]), rig.join(3, "", &[("range", b"")])];
    rig.advance(6_000);
    let [leader, follower] = joins.map(|reply| rig.take_join(reply));
    let sync = rig.sync(&leader, &[]);
    assert_eq!(rig.take_sync(sync).error_code, 0);
    for _ in 0..12 {
        rig.heartbeat(&leader.member_id, 1);
        rig.heartbeat(&follower.member_id, 1);
        rig.advance(5_000);
    }
    assert_eq!(rig.state(), "PreparingRebalance");
    assert_eq!(rig.heartbeat(&leader.member_id, 1), ErrorCode::RebalanceInProgress);
    assert_eq!(rig.heartbeat(&follower.member_id, 1), ErrorCode::UnknownMemberId);
}

#[test]
fn a_rebalance_sends_those_who_wait_for_an_assignment_back() {
    let mut rig = Rig::new();
    let joins = [rig.join(3, "", &[("range", b"")]), rig.join(3, "", &[("range", b"")])];
    rig.advance(6_000);
    let [leader, follower] = joins.map(|reply| rig.take_join(reply));
    let waiting = rig.sync(&follower, &[]);
    assert_eq!(rig.leave(&leader.member_id, None), ErrorCode::None);
    assert_eq!(rig.take_sync(waiting).error_code, ErrorCode::RebalanceInProgress as i16);
    assert_eq!(rig.state(), "PreparingRebalance");
}

#[test]
fn an_assignment_that_cannot_be_written_is_a_new_rebalance() {
    let mut rig = Rig::new();
    let reply = rig.join(3, "", &[("range", b"")]);
    rig.advance(3_000);
    let leader = rig.take_join(reply);
    rig.hold = true;
    let sync = rig.sync(&leader, &[(&leader.member_id, b"all")]);
    rig.fail_one(ErrorCode::NotEnoughReplicas);
    let sync = rig.take_sync(sync);
    assert_eq!(sync.error_code, ErrorCode::CoordinatorNotAvailable as i16);
    assert_eq!(rig.state(), "PreparingRebalance");
    rig.release();
}

#[test]
fn an_assignment_of_a_generation_that_ended_meanwhile_changes_nothing() {
    let mut rig = Rig::new();
    let reply = rig.join(3, "", &[("range", b"")]);
    rig.advance(3_000);
    let leader = rig.take_join(reply);
    rig.hold = true;
    let sync = rig.sync(&leader, &[(&leader.member_id, b"all")]);
    let other = rig.join(3, "", &[("range", b"")]);
    assert_eq!(rig.take_sync(sync).error_code, ErrorCode::RebalanceInProgress as i16);
    rig.release();
    assert_eq!(rig.state(), "PreparingRebalance");
    assert!(!rig.is_answered(other));
}

#[test]
fn an_assignment_that_is_late_is_not_the_next_generations() {
    let mut rig = Rig::new();
    let joins = [rig.join(3, "", &[("range", b"")]), rig.join(3, "", &[("range", b"")])];
    rig.advance(6_000);
    let [leader, follower] = joins.map(|reply| rig.take_join(reply));
    rig.hold = true;
    let parts: [(&str, &[u8]); 1] = [(&follower.member_id, b"of generation 1")];
    rig.sync(&leader, &parts);
    // Everyone joins again before the first assignment is durable.
    let again = rig.join(3, &leader.member_id, &[("range", b"changed")]);
    let follower = rig.join(3, &follower.member_id, &[("range", b"")]);
    let (again, follower) = (rig.take_join(again), rig.take_join(follower));
    assert_eq!((again.generation_id, follower.generation_id), (2, 2));
    let waiting = rig.sync(&follower, &[]);
    rig.release();
    assert_eq!(rig.state(), "CompletingRebalance");
    assert!(!rig.is_answered(waiting));
    let parts: [(&str, &[u8]); 1] = [(&follower.member_id, b"of generation 2")];
    rig.sync(&again, &parts);
    assert_eq!(&rig.take_sync(waiting).assignment[..], b"of generation 2");
}

#[test]
fn a_group_whose_first_record_fails_never_was() {
    let mut rig = Rig::new();
    rig.hold = true;
    let reply = rig.join(3, "", &[("range", b"")]);
    rig.fail_one(ErrorCode::KafkaStorageError);
    assert_eq!(rig.take_join(reply).error_code, ErrorCode::NotCoordinator as i16);
    assert_eq!(rig.state(), "Dead");
    rig.release();
}

#[test]
fn generations_skip_what_commits_take_for_none() {
    let mut rig = Rig::new();
    let joined = rig.stable(1);
    let group = rig.coordinator.group_mut(GROUP).expect("it exists");
    group.generation = i32::MAX;
    let metadata = subscription(&["a"]);
    let reply = rig.join(9, &joined[0].member_id, &[("range", &metadata)]);
    assert_eq!(rig.take_join(reply).generation_id, 1);
}

#[test]
fn deadlines_go_with_the_members() {
    let mut rig = Rig::new();
    let joined = rig.stable(3);
    for member in &joined {
        rig.leave(&member.member_id, None);
    }
    // One per partition, to look for expired offsets.
    assert_eq!(rig.coordinator.effects.timers.count(), 4);
}
