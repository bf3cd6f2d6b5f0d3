//! Streams groups (KIP-1071) as their members see them.
//!
//! Members are ids with the epoch they were told. [`Rig::settle_workers`] lets them do what they
//! are told until nobody has anything to do. Codes, states and messages are those of Kafka 4.3.1.

use std::collections::{BTreeMap, BTreeSet};

use protocol::error_code::ErrorCode;
use protocol::messages::delete_groups::DeleteGroupsRequest;
use protocol::messages::list_groups::ListGroupsRequest;
use protocol::messages::streams_group_describe::{DescribedGroup, StreamsGroupDescribeRequest};
use protocol::messages::streams_group_heartbeat::{
    Endpoint, StreamsGroupHeartbeatRequest, StreamsGroupHeartbeatResponse, Subtopology, TaskIds,
    TopicInfo, Topology,
};

use super::{GROUP, GroupRequest, GroupResponse, Rig, commit_request, config};
use crate::coordinator::group::{
    ConsumerOverrides, GroupConfig, StreamsConfig, StreamsHeartbeat, StreamsOverrides,
};

type Work = BTreeSet<(String, i32)>;

/// A member as its client knows itself.
#[derive(Clone, Default, PartialEq, Debug)]
struct Worker {
    id: String,
    epoch: i32,
    active: Work,
    standby: Work,
}

fn reads(id: &str, topic: &str) -> Subtopology {
    Subtopology {
        subtopology_id: id.into(),
        source_topics: vec![topic.into()],
        ..Subtopology::default()
    }
}

fn internal(name: &str, partitions: i32) -> TopicInfo {
    TopicInfo { name: name.into(), partitions, ..TopicInfo::default() }
}

/// Two parts that read `a` and `b`, of four partitions each.
fn plain() -> Topology {
    Topology { epoch: 0, subtopologies: vec![reads("0", "a"), reads("1", "b")] }
}

fn joining(id: &str, topology: Topology) -> StreamsGroupHeartbeatRequest {
    StreamsGroupHeartbeatRequest {
        group_id: GROUP.into(),
        member_id: id.into(),
        rebalance_timeout_ms: 10_000,
        topology: Some(topology),
        active_tasks: Some(Vec::new()),
        standby_tasks: Some(Vec::new()),
        warmup_tasks: Some(Vec::new()),
        process_id: Some(format!("process of {id}")),
        ..StreamsGroupHeartbeatRequest::default()
    }
}

fn beat(id: &str, epoch: i32) -> StreamsGroupHeartbeatRequest {
    StreamsGroupHeartbeatRequest {
        group_id: GROUP.into(),
        member_id: id.into(),
        member_epoch: epoch,
        ..StreamsGroupHeartbeatRequest::default()
    }
}

fn tasks(work: &Work) -> Vec<TaskIds> {
    let mut by_id: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for (id, partition) in work {
        by_id.entry(id).or_default().push(*partition);
    }
    let ids = by_id.into_iter();
    ids.map(|(id, partitions)| TaskIds { subtopology_id: id.into(), partitions }).collect()
}

fn owning(id: &str, epoch: i32, active: &Work) -> StreamsGroupHeartbeatRequest {
    StreamsGroupHeartbeatRequest {
        active_tasks: Some(tasks(active)),
        standby_tasks: Some(Vec::new()),
        warmup_tasks: Some(Vec::new()),
        ..beat(id, epoch)
    }
}

fn code(response: &StreamsGroupHeartbeatResponse) -> ErrorCode {
    ErrorCode::from_i16(response.error_code).expect("a code of Kafka's")
}

fn statuses(response: &StreamsGroupHeartbeatResponse) -> Vec<i8> {
    response.status.iter().flatten().map(|line| line.status_code).collect()
}

fn active(response: &StreamsGroupHeartbeatResponse) -> Option<Work> {
    let ids = response.active_tasks.as_ref()?;
    let each = ids.iter().flat_map(|one| {
        one.partitions.iter().map(|partition| (one.subtopology_id.clone(), *partition))
    });
    Some(each.collect())
}

fn standby(response: &StreamsGroupHeartbeatResponse) -> Option<Work> {
    let ids = response.standby_tasks.as_ref()?;
    let each = ids.iter().flat_map(|one| {
        one.partitions.iter().map(|partition| (one.subtopology_id.clone(), *partition))
    });
    Some(each.collect())
}

/// Without waiting at the beginning.
fn eager() -> GroupConfig {
    let streams = StreamsConfig {
        initial_rebalance_delay_ms: 0,
        assignment_interval_ms: 0,
        ..StreamsConfig::default()
    };
    GroupConfig { streams, ..config() }
}

impl Rig {
    fn work(&mut self, request: StreamsGroupHeartbeatRequest) -> StreamsHeartbeat {
        match self.ask(0, GroupRequest::StreamsGroupHeartbeat(Box::new(request))) {
            GroupResponse::StreamsGroupHeartbeat(answer) => answer,
            other => panic!("not a heartbeat: {other:?}"),
        }
    }

    fn tick(&mut self, request: StreamsGroupHeartbeatRequest) -> StreamsGroupHeartbeatResponse {
        self.work(request).response
    }

    fn describe_streams(&mut self) -> DescribedGroup {
        let request = StreamsGroupDescribeRequest {
            group_ids: vec![GROUP.into()],
            ..StreamsGroupDescribeRequest::default()
        };
        match self.ask(0, GroupRequest::StreamsGroupDescribe(request)) {
            GroupResponse::StreamsGroupDescribe(mut response) => response.groups.remove(0),
            other => panic!("not a description: {other:?}"),
        }
    }

    /// One heartbeat of a client that does what it is told. Whether anything changed for it.
    fn follow_tasks(&mut self, worker: &mut Worker, topology: &Topology) -> bool {
        let request = if worker.epoch == 0 {
            joining(&worker.id, topology.clone())
        } else {
            StreamsGroupHeartbeatRequest {
                standby_tasks: Some(tasks(&worker.standby)),
                ..owning(&worker.id, worker.epoch, &worker.active)
            }
        };
        let response = self.tick(request);
        assert_eq!(code(&response), ErrorCode::None, "{worker:?}: {:?}", response.error_message);
        let before = worker.clone();
        worker.epoch = response.member_epoch;
        worker.active = active(&response).unwrap_or_else(|| before.active.clone());
        worker.standby = standby(&response).unwrap_or_else(|| before.standby.clone());
        *worker != before
    }

    /// Lets workers follow until nothing changes any more; no task ever has two of them.
    fn settle_workers(&mut self, workers: &mut [Worker], topology: &Topology) {
        for _ in 0..50 {
            let mut changed = false;
            for at in 0..workers.len() {
                changed |= self.follow_tasks(&mut workers[at], topology);
                let all: usize = workers.iter().map(|worker| worker.active.len()).sum();
                let distinct: BTreeSet<_> = workers.iter().flat_map(|w| &w.active).collect();
                assert_eq!(distinct.len(), all, "a task has two workers: {workers:?}");
            }
            if !changed {
                return;
            }
        }
        panic!("it never settles: {workers:?}");
    }
}

fn worker(id: &str) -> Worker {
    Worker { id: id.into(), ..Worker::default() }
}

#[test]
fn the_first_member_waits_for_others_and_then_gets_every_task() {
    let mut rig = Rig::new();
    let joined = rig.tick(joining("m1", plain()));
    assert_eq!((code(&joined), joined.member_epoch), (ErrorCode::None, 1));
    assert_eq!(statuses(&joined), [5], "the assignment is delayed");
    assert_eq!(active(&joined), Some(Work::new()));
    assert_eq!(rig.describe_streams().group_state, "Assigning");
    rig.advance(3_000);
    let later = rig.tick(beat("m1", 1));
    assert_eq!((later.member_epoch, statuses(&later).len()), (2, 0));
    assert_eq!(active(&later).map(|work| work.len()), Some(8));
    assert_eq!(rig.describe_streams().group_state, "Stable");
}

#[test]
fn a_heartbeat_that_says_nothing_new_writes_nothing() {
    let mut rig = Rig::with(eager());
    rig.tick(joining("m1", plain()));
    rig.tick(beat("m1", 2));
    let before = rig.log.values().map(Vec::len).sum::<usize>();
    let answer = rig.tick(beat("m1", 2));
    assert_eq!((answer.active_tasks, answer.member_epoch), (None, 2));
    assert_eq!(rig.log.values().map(Vec::len).sum::<usize>(), before);
}

#[test]
fn tasks_are_given_back_before_they_go_to_another() {
    let mut rig = Rig::with(eager());
    let first = active(&rig.tick(joining("m1", plain()))).expect("it joins");
    assert_eq!(first.len(), 8);
    let second = rig.tick(joining("m2", plain()));
    assert_eq!(active(&second), Some(Work::new()), "everything is still the first one's");
    let told = rig.tick(beat("m1", 2));
    let kept = active(&told).expect("it has to give tasks back");
    assert_eq!((kept.len(), told.member_epoch), (4, 2));
    assert_eq!(rig.tick(beat("m2", 3)).active_tasks, None, "they are not given back yet");
    assert_eq!(rig.tick(owning("m1", 2, &kept)).member_epoch, 3);
    let gets = active(&rig.tick(beat("m2", 3))).expect("they are free");
    assert!(gets.is_disjoint(&kept) && gets.len() == 4, "{gets:?} {kept:?}");
}

#[test]
fn many_members_settle_with_every_task_at_one_of_them() {
    let mut rig = Rig::with(eager());
    let mut workers: Vec<Worker> = (0..5).map(|at| worker(&format!("m{at}"))).collect();
    rig.settle_workers(&mut workers[..2], &plain());
    rig.settle_workers(&mut workers, &plain());
    assert_eq!(workers.iter().map(|worker| worker.active.len()).sum::<usize>(), 8);
    assert!(workers.iter().all(|worker| (1..=2).contains(&worker.active.len())), "{workers:?}");
    rig.tick(beat("m0", -1));
    rig.settle_workers(&mut workers[1..], &plain());
    assert_eq!(workers[1..].iter().map(|worker| worker.active.len()).sum::<usize>(), 8);
}

#[test]
fn who_does_not_give_tasks_back_in_time_is_fenced() {
    let mut rig = Rig::with(eager());
    rig.tick(joining("m1", plain()));
    rig.tick(joining("m2", plain()));
    rig.tick(beat("m1", 2));
    rig.advance(10_000);
    assert_eq!(code(&rig.tick(beat("m1", 2))), ErrorCode::UnknownMemberId);
    let mut alone = [Worker { epoch: 3, ..worker("m2") }];
    rig.settle_workers(&mut alone, &plain());
    assert_eq!(alone[0].active.len(), 8);
}

#[test]
fn a_silent_member_is_removed_after_its_session() {
    let mut rig = Rig::with(eager());
    rig.tick(joining("m1", plain()));
    rig.advance(45_000);
    assert_eq!(code(&rig.tick(beat("m1", 2))), ErrorCode::UnknownMemberId);
    assert_eq!(rig.describe_streams().group_state, "Empty");
}

#[test]
fn a_topology_whose_source_is_missing_is_not_ready() {
    let mut rig = Rig::with(eager());
    let topology = Topology { epoch: 0, subtopologies: vec![reads("0", "nope")] };
    let joined = rig.tick(joining("m1", topology));
    assert_eq!(statuses(&joined), [1]);
    let line = &joined.status.expect("it has a status")[0];
    assert_eq!(line.status_detail, "Source topics nope are missing.");
    assert_eq!(rig.describe_streams().group_state, "NotReady");
}

#[test]
fn internal_topics_are_asked_for_with_the_partitions_of_what_feeds_them() {
    let mut rig = Rig::with(eager());
    let first = Subtopology { repartition_sink_topics: vec!["re".into()], ..reads("0", "a") };
    let second = Subtopology {
        subtopology_id: "1".into(),
        repartition_source_topics: vec![internal("re", 0)],
        state_changelog_topics: vec![internal("log", 0)],
        ..Subtopology::default()
    };
    let topology = Topology { epoch: 0, subtopologies: vec![first, second] };
    let answer = rig.work(joining("m1", topology));
    assert_eq!(statuses(&answer.response), [3]);
    let line = &answer.response.status.expect("it has a status")[0];
    assert_eq!(line.status_detail, "Internal topics are missing: log, re");
    let wanted: Vec<(&str, i32)> =
        answer.to_create.iter().map(|topic| (topic.name.as_str(), topic.num_partitions)).collect();
    assert_eq!(wanted, [("log", 4), ("re", 4)]);
}

#[test]
fn a_repartition_topic_that_nobody_writes_is_refused() {
    let mut rig = Rig::with(eager());
    let part =
        Subtopology { repartition_source_topics: vec![internal("re", 0)], ..reads("0", "a") };
    let response = rig.tick(joining("m1", Topology { epoch: 0, subtopologies: vec![part] }));
    assert_eq!(code(&response), ErrorCode::StreamsInvalidTopology);
    assert_eq!(rig.describe_streams().error_code, ErrorCode::GroupIdNotFound as i16);
}

#[test]
fn copies_of_state_are_kept_by_other_processes() {
    let mut rig = Rig::with(eager());
    let overrides = StreamsOverrides { standby_replicas: Some(1), ..StreamsOverrides::default() };
    rig.coordinator.set_group_config(GROUP, ConsumerOverrides::default(), overrides);
    // Its changelog exists: `b`, which has as many partitions.
    let part = Subtopology { state_changelog_topics: vec![internal("b", 0)], ..reads("0", "a") };
    let topology = Topology { epoch: 0, subtopologies: vec![part] };
    let mut workers = [worker("m1"), worker("m2")];
    rig.settle_workers(&mut workers, &topology);
    for worker in &workers {
        assert_eq!((worker.active.len(), worker.standby.len()), (2, 2), "{workers:?}");
        assert!(worker.active.is_disjoint(&worker.standby));
    }
}

#[test]
fn another_topology_is_refused_and_an_older_one_is_told() {
    let mut rig = Rig::with(eager());
    rig.tick(joining("m1", Topology { epoch: 3, ..plain() }));
    let other = Topology { epoch: 3, subtopologies: vec![reads("0", "a")] };
    let refused = rig.tick(joining("m2", other.clone()));
    assert_eq!(code(&refused), ErrorCode::InvalidRequest);
    assert_eq!(refused.error_message.as_deref(), Some("Topology updates are not supported yet."));
    let older = rig.tick(joining("m3", Topology { epoch: 2, ..other }));
    assert_eq!((code(&older), statuses(&older)), (ErrorCode::None, vec![0]));
}

#[test]
fn a_request_to_shut_down_reaches_everybody_until_the_group_is_empty() {
    let mut rig = Rig::with(eager());
    rig.tick(joining("m1", plain()));
    rig.tick(joining("m2", plain()));
    let asking = StreamsGroupHeartbeatRequest { shutdown_application: true, ..beat("m1", -1) };
    assert_eq!(code(&rig.tick(asking)), ErrorCode::None);
    assert_eq!(statuses(&rig.tick(beat("m2", 3))), [4]);
    rig.tick(beat("m2", -1));
    assert!(statuses(&rig.tick(joining("m3", plain()))).is_empty());
}

#[test]
fn members_with_an_endpoint_say_where_partitions_are() {
    let mut rig = Rig::with(eager());
    let endpoint = Some(Endpoint { host: "here".into(), port: 7 });
    rig.tick(StreamsGroupHeartbeatRequest { user_endpoint: endpoint, ..joining("m1", plain()) });
    let mut asking = beat("m1", 2);
    asking.endpoint_information_epoch = -1;
    let told = rig.tick(asking);
    let all = told.partitions_by_user_endpoint.expect("the numbers differ");
    assert_eq!((all.len(), all[0].user_endpoint.port), (1, 7));
    let topics: Vec<(&str, usize)> =
        all[0].active_partitions.iter().map(|p| (p.topic.as_str(), p.partitions.len())).collect();
    assert_eq!(topics, [("a", 4), ("b", 4)]);
    let mut again = beat("m1", 2);
    again.endpoint_information_epoch = told.endpoint_information_epoch;
    assert_eq!(rig.tick(again).partitions_by_user_endpoint, None);
}

#[test]
fn wrong_epochs_are_fenced() {
    let mut rig = Rig::with(eager());
    rig.tick(joining("m1", plain()));
    for epoch in [1, 9] {
        assert_eq!(code(&rig.tick(beat("m1", epoch))), ErrorCode::FencedMemberEpoch);
    }
    assert_eq!(code(&rig.tick(beat("m9", 2))), ErrorCode::UnknownMemberId);
    let elsewhere = StreamsGroupHeartbeatRequest { group_id: "nope".into(), ..beat("m1", 1) };
    assert_eq!(code(&rig.tick(elsewhere)), ErrorCode::GroupIdNotFound);
}

#[test]
fn commits_need_the_members_epoch_or_a_task_as_old_as_theirs() {
    let mut rig = Rig::with(eager());
    let mut workers = [worker("m1")];
    rig.settle_workers(&mut workers, &plain());
    let commit = |rig: &mut Rig, member: &str, epoch: i32| {
        let request = commit_request(member, epoch, &[("a", 0, 5)]);
        let GroupResponse::OffsetCommit(response) = rig.ask(9, GroupRequest::OffsetCommit(request))
        else {
            panic!("not a commit")
        };
        ErrorCode::from_i16(response.topics[0].partitions[0].error_code)
    };
    let epoch = workers[0].epoch;
    assert_eq!(commit(&mut rig, "m1", epoch), Some(ErrorCode::None));
    assert_eq!(commit(&mut rig, "m1", epoch + 1), Some(ErrorCode::StaleMemberEpoch));
    assert_eq!(commit(&mut rig, "m1", epoch - 1), Some(ErrorCode::StaleMemberEpoch));
    assert_eq!(commit(&mut rig, "m9", epoch), Some(ErrorCode::UnknownMemberId));
    let mut workers = [workers[0].clone(), worker("m2")];
    rig.settle_workers(&mut workers, &plain());
    assert!(workers[0].epoch > epoch && workers[0].active.contains(&("0".into(), 0)));
    assert_eq!(commit(&mut rig, "m1", epoch), Some(ErrorCode::None), "it has had the task since");
}

#[test]
fn an_empty_group_is_listed_by_its_type_and_can_be_deleted() {
    let mut rig = Rig::with(eager());
    rig.tick(joining("m1", plain()));
    let delete = DeleteGroupsRequest { groups_names: vec![GROUP.into()] };
    let deleted = |rig: &mut Rig, delete: &DeleteGroupsRequest| match rig
        .ask(2, GroupRequest::DeleteGroups(delete.clone()))
    {
        GroupResponse::DeleteGroups(response) => response.results[0].error_code,
        other => panic!("not a deletion: {other:?}"),
    };
    assert_eq!(deleted(&mut rig, &delete), ErrorCode::NonEmptyGroup as i16);
    rig.tick(beat("m1", -1));
    let list =
        ListGroupsRequest { types_filter: vec!["Streams".into()], ..ListGroupsRequest::default() };
    let GroupResponse::ListGroups(listed) = rig.ask(5, GroupRequest::ListGroups(list)) else {
        panic!("not a list")
    };
    assert_eq!((listed.groups.len(), &*listed.groups[0].group_state), (1, "Empty"));
    assert_eq!(deleted(&mut rig, &delete), 0);
    assert_eq!(rig.describe_streams().error_code, ErrorCode::GroupIdNotFound as i16);
}

#[test]
fn what_arrives_during_an_append_waits_for_it() {
    let mut rig = Rig::with(eager());
    rig.hold = true;
    let first = rig.send(0, GroupRequest::StreamsGroupHeartbeat(Box::new(joining("m1", plain()))));
    let second = rig.send(0, GroupRequest::StreamsGroupHeartbeat(Box::new(joining("m2", plain()))));
    assert!(!rig.is_answered(first) && !rig.is_answered(second));
    rig.fail_one(ErrorCode::NotEnoughReplicas);
    let GroupResponse::StreamsGroupHeartbeat(answer) = rig.take(first) else { panic!() };
    assert_eq!(code(&answer.response), ErrorCode::CoordinatorNotAvailable);
    rig.release();
    let GroupResponse::StreamsGroupHeartbeat(answer) = rig.take(second) else { panic!() };
    assert_eq!(active(&answer.response).map(|work| work.len()), Some(8));
}
