//! JoinGroup: who gets in, with which id, and what the answer says.

use super::*;
use crate::coordinator::limits;

fn code(response: &JoinGroupResponse) -> ErrorCode {
    ErrorCode::from_i16(response.error_code).expect("a code of Kafka's")
}

fn try_join(rig: &mut Rig, version: i16, request: JoinGroupRequest) -> ErrorCode {
    let reply = rig.send(version, GroupRequest::JoinGroup(request));
    code(&rig.take_join(reply))
}

#[test]
fn version_4_and_later_hand_out_an_id_first() {
    let mut rig = Rig::new();
    let reply =
        rig.send_as("kcat", 4, GroupRequest::JoinGroup(join_request("", &[("range", b"")])));
    let first = rig.take_join(reply);
    assert_eq!(code(&first), ErrorCode::MemberIdRequired);
    assert!(first.member_id.starts_with("kcat-"), "{}", first.member_id);
    assert_eq!(first.member_id.len(), "kcat-".len() + 36);
    assert_eq!(first.generation_id, -1);
    assert_eq!(rig.state(), "Empty");
    let reply = rig.join(4, &first.member_id, &[("range", b"")]);
    assert!(!rig.is_answered(reply), "it waits for the initial delay");
    assert_eq!(rig.state(), "PreparingRebalance");
}

#[test]
fn versions_before_4_are_members_at_once() {
    for version in 0..4 {
        let mut rig = Rig::new();
        let reply = rig.join(version, "", &[("range", b"m")]);
        rig.advance(3_000);
        let joined = rig.take_join(reply);
        assert_eq!(code(&joined), ErrorCode::None);
        assert_eq!(joined.generation_id, 1);
        assert_eq!(joined.leader, joined.member_id);
        assert_eq!(joined.protocol_name.as_deref(), Some("range"));
        assert_eq!(joined.members.len(), 1);
        assert_eq!(&joined.members[0].metadata[..], b"m");
    }
}

#[test]
fn only_the_leader_hears_of_the_members() {
    let mut rig = Rig::new();
    let joined = rig.stable(3);
    assert_eq!(joined[0].members.len(), 3);
    assert!(joined[1].members.is_empty() && joined[2].members.is_empty());
    assert!(joined.iter().all(|member| member.leader == joined[0].member_id));
}

#[test]
fn an_id_nobody_was_given_is_unknown() {
    let mut rig = Rig::new();
    assert_eq!(
        try_join(&mut rig, 9, join_request("made-up", &[("range", b"")])),
        ErrorCode::UnknownMemberId
    );
    assert!(rig.log.is_empty(), "no group was created for it");
    rig.stable(1);
    assert_eq!(
        try_join(&mut rig, 9, join_request("made-up", &[("range", b"")])),
        ErrorCode::UnknownMemberId
    );
}

#[test]
fn requests_that_make_no_sense_are_refused() {
    let mut rig = Rig::new();
    let fine = join_request("", &[("range", b"")]);
    let with = |change: fn(&mut JoinGroupRequest)| {
        let mut request = fine.clone();
        change(&mut request);
        request
    };
    let cases: [(JoinGroupRequest, ErrorCode); 8] = [
        (with(|r| r.group_id.clear()), ErrorCode::InvalidGroupId),
        (with(|r| r.group_id = "x".repeat(40_000)), ErrorCode::InvalidGroupId),
        (with(|r| r.session_timeout_ms = 5_999), ErrorCode::InvalidSessionTimeout),
        (with(|r| r.session_timeout_ms = 1_800_001), ErrorCode::InvalidSessionTimeout),
        (with(|r| r.protocol_type.clear()), ErrorCode::InconsistentGroupProtocol),
        (with(|r| r.protocols.clear()), ErrorCode::InconsistentGroupProtocol),
        (with(|r| r.protocols.push(r.protocols[0].clone())), ErrorCode::InvalidRequest),
        (with(|r| r.group_instance_id = Some("x".repeat(40_000))), ErrorCode::InvalidRequest),
    ];
    for (request, expected) in cases {
        assert_eq!(try_join(&mut rig, 9, request), expected);
    }
    assert!(rig.log.is_empty() && rig.coordinator.state_image().partitions[&0].is_empty());
}

#[test]
fn more_protocols_than_the_bound_are_refused() {
    let mut rig = Rig::new();
    let names: Vec<String> = (0..65).map(|number| format!("p{number}")).collect();
    let protocols: Vec<(&str, &[u8])> =
        names.iter().map(|name| (name.as_str(), b"".as_slice())).collect();
    let refused = ErrorCode::InconsistentGroupProtocol;
    assert_eq!(try_join(&mut rig, 9, join_request("", &protocols)), refused);
    assert_eq!(
        try_join(&mut rig, 9, join_request("", &protocols[..64])),
        ErrorCode::MemberIdRequired
    );
}

#[test]
fn a_member_that_shares_no_protocol_stays_out() {
    let mut rig = Rig::new();
    rig.stable(1);
    let other = join_request("", &[("sticky", b"")]);
    assert_eq!(try_join(&mut rig, 9, other), ErrorCode::InconsistentGroupProtocol);
    let mut connect = join_request("", &[("range", b"")]);
    connect.protocol_type = "connect".into();
    assert_eq!(try_join(&mut rig, 9, connect), ErrorCode::InconsistentGroupProtocol);
    assert_eq!(rig.state(), "Stable");
}

#[test]
fn the_protocol_most_members_prefer_wins() {
    let mut rig = Rig::new();
    let replies = [
        rig.join(3, "", &[("x", b""), ("y", b""), ("z", b"")]),
        rig.join(3, "", &[("y", b""), ("x", b"")]),
        rig.join(3, "", &[("z", b""), ("y", b""), ("x", b"")]),
    ];
    rig.advance(9_000);
    // z is not everyone's; the third votes for y, its next.
    for reply in replies {
        assert_eq!(rig.take_join(reply).protocol_name.as_deref(), Some("y"));
    }
}

#[test]
fn a_full_group_takes_nobody_in() {
    let mut rig = Rig::with(GroupConfig { group_size_max: 2, ..config() });
    rig.stable(2);
    let third = join_request("", &[("range", b"")]);
    assert_eq!(try_join(&mut rig, 3, third), ErrorCode::GroupMaxSizeReached);
    assert_eq!(rig.describe(GROUP).members.len(), 2);
}

#[test]
fn a_group_beyond_a_lowered_size_shrinks_at_the_restart() {
    let mut rig = Rig::new();
    let joined = rig.stable(3);
    rig.config.group_size_max = 2;
    rig.restart();
    assert_eq!(rig.state(), "PreparingRebalance");
    let metadata = subscription(&["a"]);
    let replies: Vec<_> =
        joined.iter().map(|m| rig.join(9, &m.member_id, &[("range", &metadata)])).collect();
    let codes: Vec<_> = replies.into_iter().map(|reply| code(&rig.take_join(reply))).collect();
    let (ok, full) = (ErrorCode::None, ErrorCode::GroupMaxSizeReached);
    assert_eq!(codes, [ok, ok, full]);
}

#[test]
fn a_follower_that_missed_the_answer_gets_it_again() {
    let mut rig = Rig::new();
    let joined = rig.stable(2);
    let metadata = subscription(&["a"]);
    let reply = rig.join(9, &joined[1].member_id, &[("range", &metadata)]);
    let again = rig.take_join(reply);
    assert_eq!(code(&again), ErrorCode::None);
    assert_eq!(again.generation_id, joined[1].generation_id);
    assert!(again.members.is_empty());
    assert_eq!(rig.state(), "Stable");
}

#[test]
fn a_leader_that_joins_again_starts_a_rebalance() {
    let mut rig = Rig::new();
    let joined = rig.stable(2);
    let metadata = subscription(&["a"]);
    let reply = rig.join(9, &joined[0].member_id, &[("range", &metadata)]);
    assert!(!rig.is_answered(reply));
    assert_eq!(rig.state(), "PreparingRebalance");
}

#[test]
fn a_second_join_of_a_member_answers_its_first() {
    // Kafka drops the first without an answer; a connection would wait behind it for ever.
    let mut rig = Rig::new();
    let (member, first) = rig.join_anew(&[("range", b"")]);
    let second = rig.join(9, &member, &[("range", b"")]);
    assert_eq!(code(&rig.take_join(first)), ErrorCode::RebalanceInProgress);
    rig.advance(3_000);
    assert_eq!(code(&rig.take_join(second)), ErrorCode::None);
}

#[test]
fn an_id_that_is_not_used_expires() {
    let mut rig = Rig::new();
    let first = rig.join(9, "", &[("range", b"")]);
    let first = rig.take_join(first);
    rig.advance(10_000);
    let reply = rig.join(9, &first.member_id, &[("range", b"")]);
    assert_eq!(code(&rig.take_join(reply)), ErrorCode::UnknownMemberId);
}

#[test]
fn a_rebalance_waits_for_an_id_that_was_handed_out() {
    let mut rig = Rig::new();
    let joined = rig.stable(1);
    let metadata = subscription(&["a"]);
    let pending = rig.join(9, "", &[("range", &metadata)]);
    let pending = rig.take_join(pending);
    let leader = rig.join(9, &joined[0].member_id, &[("range", &metadata)]);
    assert!(!rig.is_answered(leader), "the pending member is waited for");
    let new = rig.join(9, &pending.member_id, &[("range", &metadata)]);
    assert_eq!(rig.take_join(leader).generation_id, 2);
    assert_eq!(rig.take_join(new).generation_id, 2);
}

#[test]
fn a_new_member_that_never_comes_back_goes_with_its_session() {
    let mut rig = Rig::new();
    let (_, parked) = rig.join_anew(&[("range", b"")]);
    rig.coordinator.handle_disconnected(parked);
    rig.advance(3_000);
    assert_eq!(rig.state(), "CompletingRebalance");
    // The generation began without it hearing of it; its session of 10 s runs from there.
    rig.advance(10_000);
    assert_eq!(rig.state(), "Empty");
    assert!(!rig.is_answered(parked), "nobody waits for that answer");
}

#[test]
fn before_version_7_the_protocol_is_never_null() {
    let mut rig = Rig::new();
    let reply = rig.join(6, "", &[]);
    let refused = rig.take_join(reply);
    assert_eq!(refused.protocol_name.as_deref(), Some(""));
}

#[test]
fn ids_are_handed_out_up_to_a_bound() {
    let mut rig = Rig::new();
    let request = join_request("", &[("range", b"")]);
    for _ in 0..limits::PENDING_MEMBERS_PER_GROUP_MAX {
        assert_eq!(try_join(&mut rig, 9, request.clone()), ErrorCode::MemberIdRequired);
    }
    assert_eq!(try_join(&mut rig, 9, request.clone()), ErrorCode::GroupMaxSizeReached);
    rig.advance(10_000);
    assert_eq!(try_join(&mut rig, 9, request), ErrorCode::MemberIdRequired);
}

#[test]
fn members_bring_metadata_up_to_a_bound() {
    let mut rig = Rig::new();
    let metadata = vec![7; limits::GROUP_METADATA_BYTES_MAX / 4 - "range".len()];
    for _ in 0..4 {
        let parked = rig.join(3, "", &[("range", &metadata)]);
        assert!(!rig.is_answered(parked));
    }
    let more = join_request("", &[("range", b"")]);
    assert_eq!(try_join(&mut rig, 3, more), ErrorCode::GroupMaxSizeReached);
}
