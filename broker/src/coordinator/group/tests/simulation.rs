//! Many clients, random operations, one seed: what must hold whatever happens.
//!
//! Method: a seeded sequence drives clients that join, sync, heartbeat, commit, leave, hang up and
//! come back, while appends are delayed or fail, time jumps and the coordinator restarts from its
//! log. After every step: one answer per request (the rig), generations never fall, no partition
//! has two owners in one generation, every acknowledged commit is what a fetch sees until a later
//! one or a deletion, and at the end memory is what the log says. The same seed gives the same
//! history. It fails if, say, an assignment were handed out before it is durable, or a late append
//! result touched a newer generation.

use std::hash::Hasher;

use rustc_hash::FxHasher;

use super::*;

const PARTITIONS_COUNT: i32 = 4;

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

#[derive(Default, Debug)]
struct Client {
    instance: Option<String>,
    member: String,
    generation: i32,
    /// The members to assign to, while it leads a generation that has no assignment.
    to_assign: Option<JoinGroupResponse>,
    joined: Option<JoinGroupResponse>,
    waiting: Option<ReplyToken>,
    owned: Vec<i32>,
}

struct Simulation {
    rig: Rig,
    dice: Dice,
    clients: Vec<Client>,
    /// The highest generation any client was told of.
    generation: i32,
    /// Who owned each partition in each generation.
    owners: BTreeMap<(i32, i32), String>,
    /// What was acknowledged last, and what may have replaced it since: commits not yet answered.
    acknowledged: BTreeMap<i32, i64>,
    commits: BTreeMap<ReplyToken, (i32, i64)>,
    next_offset: i64,
    trace: FxHasher,
    /// Counters of the coordinators that crashed, then of all.
    probe: Probe,
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let rig = Rig::with(GroupConfig {
            initial_rebalance_delay_ms: 500,
            group_size_max: 5,
            // An empty group that expires begins at generation 1 again, and rightly so.
            offsets_retention_check_interval_ms: 365 * 24 * 60 * 60 * 1_000,
            ..config()
        });
        let clients = (0..6)
            .map(|number| Client {
                instance: (number >= 4).then(|| format!("instance-{number}")),
                ..Client::default()
            })
            .collect();
        Self {
            rig,
            dice: Dice(seed * 0x9e37_79b9 + 1),
            clients,
            generation: 0,
            owners: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            commits: BTreeMap::new(),
            next_offset: 0,
            trace: FxHasher::default(),
            probe: Probe::default(),
        }
    }

    fn step(&mut self) {
        let client = self.dice.roll(self.clients.len() as u64) as usize;
        let operation = self.dice.roll(100);
        self.trace.write_u64(operation);
        match operation {
            0..35 => self.go_on(client),
            35..60 => self.heartbeat(client),
            60..71 => self.commit(client),
            71..72 => self.leave(client),
            72..73 => self.hang_up(client),
            73..74 => self.change_subscription(client),
            74..80 => self.rig.hold = self.dice.roll(4) == 0,
            80..82 => self.let_an_append_fail(),
            82..83 if self.dice.roll(3) == 0 => self.restart(),
            83..84 if self.dice.roll(8) == 0 => self.jump(25_000),
            _ => {
                let ms = self.dice.roll(700);
                self.jump(ms);
            }
        }
        self.rig.pump();
        self.read_answers();
    }

    /// The next step of a client's life: join, sync, or wait.
    fn go_on(&mut self, index: usize) {
        let client = &self.clients[index];
        if client.waiting.is_some() {
            return;
        }
        let reply = if let Some(joined) = &client.joined {
            let mut request = sync_request(joined, &[]);
            request.group_instance_id = client.instance.clone();
            if let Some(all) = &client.to_assign {
                request.assignments = (0..all.members.len())
                    .map(|turn| SyncGroupRequestAssignment {
                        member_id: all.members[turn].member_id.clone(),
                        assignment: (0..PARTITIONS_COUNT)
                            .filter(|partition| *partition as usize % all.members.len() == turn)
                            .map(|partition| partition as u8)
                            .collect(),
                    })
                    .collect();
            }
            self.rig.send(5, GroupRequest::SyncGroup(request))
        } else if client.generation > 0 && self.dice.roll(40) > 0 {
            return;
        } else {
            self.join_with(index, &["a"])
        };
        self.clients[index].waiting = Some(reply);
    }

    fn join_with(&mut self, index: usize, topics: &[&str]) -> ReplyToken {
        let client = &self.clients[index];
        let metadata = subscription(topics);
        let mut request = join_request(&client.member, &[("range", &metadata)]);
        request.rebalance_timeout_ms = 20_000;
        request.group_instance_id = client.instance.clone();
        self.rig.send(9, GroupRequest::JoinGroup(request))
    }

    fn change_subscription(&mut self, index: usize) {
        if self.clients[index].waiting.is_none() && self.clients[index].generation > 0 {
            let reply = self.join_with(index, &["a", "b"]);
            self.clients[index].waiting = Some(reply);
            self.clients[index].joined = None;
        }
    }

    fn heartbeat(&mut self, index: usize) {
        let (member, generation) =
            (self.clients[index].member.clone(), self.clients[index].generation);
        if self.clients[index].waiting.is_some() || generation == 0 {
            return;
        }
        match self.rig.heartbeat(&member, generation) {
            ErrorCode::None => {}
            ErrorCode::RebalanceInProgress => {
                let reply = self.join_with(index, &["a"]);
                let client = &mut self.clients[index];
                client.waiting = Some(reply);
                client.joined = None;
            }
            ErrorCode::IllegalGeneration | ErrorCode::UnknownMemberId => self.reset(index),
            other => panic!("a heartbeat never says {other:?}"),
        }
    }

    fn reset(&mut self, index: usize) {
        let instance = self.clients[index].instance.clone();
        self.clients[index] = Client { instance, ..Client::default() };
    }

    fn commit(&mut self, index: usize) {
        let client = &self.clients[index];
        let Some(partition) = client.owned.first().copied() else { return };
        self.next_offset += 1;
        let offset = self.next_offset;
        let mut request =
            commit_request(&client.member, client.generation, &[("a", partition, offset)]);
        request.group_instance_id = client.instance.clone();
        let reply = self.rig.send(9, GroupRequest::OffsetCommit(request));
        self.commits.insert(reply, (partition, offset));
    }

    fn leave(&mut self, index: usize) {
        let client = &self.clients[index];
        if client.member.is_empty() || client.waiting.is_some() {
            return;
        }
        let (member, instance) = (client.member.clone(), client.instance.clone());
        self.rig.leave(&member, instance.as_deref());
        self.reset(index);
    }

    /// The connection breaks; the client comes back with nothing but its instance.
    fn hang_up(&mut self, index: usize) {
        if let Some(reply) = self.clients[index].waiting {
            self.rig.coordinator.handle_disconnected(reply);
        }
        self.reset(index);
    }

    fn let_an_append_fail(&mut self) {
        if !self.rig.held.is_empty() {
            self.rig.fail_one(ErrorCode::NotEnoughReplicas);
        }
    }

    /// A crash: what was not durable is gone, and so is every request under way.
    fn restart(&mut self) {
        self.rig.assert_memory_is_log();
        self.count();
        self.rig.restart();
        self.commits.retain(|reply, _| self.rig.is_answered(*reply));
        for index in 0..self.clients.len() {
            let waiting = self.clients[index].waiting;
            if waiting.is_some_and(|reply| !self.rig.is_answered(reply)) {
                self.clients[index].waiting = None;
            }
        }
        // The crash may take a generation with it that nobody had an assignment of.
        self.generation = 0;
        for client in &mut self.clients {
            client.joined = None;
            client.to_assign = None;
            if client.owned.is_empty() {
                client.generation = 0;
            }
        }
        let durable = self.rig.image();
        let generation = durable.partitions.values().find_map(|groups| groups.get(GROUP));
        let generation = generation.and_then(|group| group.generation.as_ref());
        let generation = generation.map_or(0, |written| written.generation);
        self.owners.retain(|(owned_in, _), _| *owned_in <= generation);
    }

    fn count(&mut self) {
        let probe = self.rig.coordinator.probe();
        self.probe.rebalances_completed += probe.rebalances_completed;
        self.probe.offsets_committed += probe.offsets_committed;
        self.probe.members_expired += probe.members_expired;
        self.probe.appends_failed += probe.appends_failed;
    }

    fn jump(&mut self, ms: u64) {
        self.rig.advance(ms);
    }

    fn read_answers(&mut self) {
        for index in 0..self.clients.len() {
            let Some(reply) = self.clients[index].waiting else { continue };
            if !self.rig.is_answered(reply) {
                continue;
            }
            self.clients[index].waiting = None;
            match self.rig.take(reply) {
                GroupResponse::JoinGroup(response) => self.joined(index, response),
                GroupResponse::SyncGroup(response) => self.synced(index, &response),
                other => panic!("neither a join nor a sync: {other:?}"),
            }
        }
        let answered: Vec<ReplyToken> =
            self.commits.keys().copied().filter(|reply| self.rig.is_answered(*reply)).collect();
        for reply in answered {
            let (partition, offset) = self.commits.remove(&reply).expect("listed above");
            let GroupResponse::OffsetCommit(response) = self.rig.take(reply) else {
                panic!("not a commit")
            };
            if response.topics[0].partitions[0].error_code == 0 {
                self.acknowledged.insert(partition, offset);
            }
        }
        for (partition, acknowledged) in self.acknowledged.clone() {
            let seen = self.rig.committed("a", partition);
            let later = self.commits.values().any(|commit| *commit == (partition, seen));
            assert!(seen == acknowledged || later, "{partition}: {seen}, not {acknowledged}");
        }
    }

    fn joined(&mut self, index: usize, response: JoinGroupResponse) {
        self.trace.write_i32(response.generation_id);
        match ErrorCode::from_i16(response.error_code).expect("a code of Kafka's") {
            ErrorCode::None => {
                assert!(response.generation_id >= self.generation, "generations never fall");
                self.generation = response.generation_id;
                let client = &mut self.clients[index];
                client.member = response.member_id.clone();
                client.generation = response.generation_id;
                client.owned.clear();
                let leads = response.leader == response.member_id;
                client.to_assign = (leads && !response.skip_assignment).then(|| response.clone());
                client.joined = Some(response);
            }
            ErrorCode::MemberIdRequired => self.clients[index].member = response.member_id,
            ErrorCode::RebalanceInProgress => {}
            ErrorCode::UnknownMemberId
            | ErrorCode::FencedInstanceId
            | ErrorCode::GroupMaxSizeReached
            | ErrorCode::CoordinatorNotAvailable => self.reset(index),
            other => panic!("a join never says {other:?}"),
        }
    }

    fn synced(&mut self, index: usize, response: &SyncGroupResponse) {
        match ErrorCode::from_i16(response.error_code).expect("a code of Kafka's") {
            ErrorCode::None => {
                let client = &mut self.clients[index];
                client.joined = None;
                client.to_assign = None;
                client.owned = response.assignment.iter().map(|byte| i32::from(*byte)).collect();
                // An instance is one owner under whatever id.
                let owner = client.instance.clone().unwrap_or_else(|| client.member.clone());
                for partition in client.owned.clone() {
                    let owned_in = (client.generation, partition);
                    let before = self.owners.insert(owned_in, owner.clone());
                    assert!(
                        before.as_ref().is_none_or(|before| *before == owner),
                        "{owned_in:?} is {before:?}'s and {owner}'s"
                    );
                }
            }
            ErrorCode::RebalanceInProgress | ErrorCode::CoordinatorNotAvailable => {
                self.clients[index].joined = None;
                self.clients[index].to_assign = None;
                self.clients[index].generation = 0;
            }
            ErrorCode::UnknownMemberId
            | ErrorCode::IllegalGeneration
            | ErrorCode::FencedInstanceId => self.reset(index),
            other => panic!("a sync never says {other:?}"),
        }
    }

    /// Runs one history; its trace's hash and how much happened in it.
    fn run(seed: u64, steps: usize) -> (u64, Probe) {
        let mut simulation = Self::new(seed);
        for _ in 0..steps {
            simulation.step();
        }
        let rig = &mut simulation.rig;
        rig.release();
        // Everyone falls silent: no deadline may keep a member, a request or a timer for ever.
        rig.advance(10 * 60 * 1_000);
        assert!(rig.describe(GROUP).members.is_empty());
        assert_eq!(rig.coordinator.effects.timers.count(), 4, "one per partition, for expiry");
        for client in &simulation.clients {
            assert!(client.waiting.is_none_or(|reply| rig.is_answered(reply)), "{client:?}");
        }
        rig.assert_memory_is_log();
        simulation.count();
        (simulation.trace.finish(), simulation.probe)
    }
}

#[test]
fn invariants_hold_in_random_histories() {
    let mut seen = Probe::default();
    for seed in 1..=60 {
        let (_, probe) = Simulation::run(seed, 3_000);
        seen.rebalances_completed += probe.rebalances_completed;
        seen.offsets_committed += probe.offsets_committed;
        seen.members_expired += probe.members_expired;
        seen.appends_failed += probe.appends_failed;
    }
    // A history in which nothing happens proves nothing.
    assert!(seen.rebalances_completed > 500, "{seen:?}");
    assert!(seen.offsets_committed > 2_000, "{seen:?}");
    assert!(seen.members_expired > 400, "{seen:?}");
    assert!(seen.appends_failed > 100, "{seen:?}");
}

#[test]
fn the_same_seed_is_the_same_history() {
    assert_eq!(Simulation::run(7, 800), Simulation::run(7, 800));
    assert_ne!(Simulation::run(7, 800).0, Simulation::run(8, 800).0);
}
