//! Large consumer groups: how long a thousand members need, and what a heartbeat costs.
//!
//! Members here do what the Java client does: a heartbeat every interval, the next one at once when
//! there is something to acknowledge. The interval is a second, because convergence takes some of
//! them whatever the coordinator does. An append becomes durable at once; time is simulated.

use std::collections::{BTreeMap, BTreeSet};

use protocol::messages::consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest, TopicPartitions,
};

use super::consumer::{assigned, code};
use super::*;

const PARTITIONS_COUNT: i32 = 3_000;
/// Between two heartbeats of a member, in milliseconds.
const INTERVAL_MS: u64 = 1_000;

/// One topic, `big`.
struct Big;

const BIG: Uuid = Uuid::from_u64s(1, 12);

impl TopicLookup for Big {
    fn topic_name(&self, topic_id: Uuid) -> Option<String> {
        (topic_id == BIG).then(|| "big".to_owned())
    }

    fn topic_id(&self, name: &str) -> Option<Uuid> {
        (name == "big").then_some(BIG)
    }

    fn partitions_count(&self, name: &str) -> i32 {
        if name == "big" { PARTITIONS_COUNT } else { 0 }
    }

    fn each_name(&self, name: &mut dyn FnMut(&str)) {
        name("big");
    }

    fn has_partition(&self, name: &str, partition: i32) -> bool {
        name == "big" && (0..PARTITIONS_COUNT).contains(&partition)
    }
}

#[derive(Clone, Default, Debug)]
struct Client {
    group: String,
    id: String,
    epoch: i32,
    owned: BTreeSet<i32>,
    /// It has to say at once that it has done what it was told.
    acknowledges: bool,
    /// How often its partitions changed.
    changes: usize,
}

struct Crowd {
    coordinator: GroupCoordinator,
    now: Now,
    next_reply: u64,
}

impl Crowd {
    fn new() -> Self {
        let now = Now { mono_ns: 5_000_000_000, wall_ms: 1_700_000_000_000 };
        let mut coordinator = GroupCoordinator::new(config(), 1);
        for partition in 0..config().offsets_partitions_count {
            coordinator.begin_load(partition);
            coordinator.finish_load(now, partition);
        }
        Self { coordinator, now, next_reply: 0 }
    }

    fn pass(&mut self, ms: u64) {
        self.now.mono_ns += ms * 1_000_000;
        self.now.wall_ms += ms as i64;
        if self.coordinator.poll_timeout().is_some_and(|due| due <= self.now.mono_ns) {
            self.coordinator.handle_timeout(self.now, &Big);
        }
    }

    /// One heartbeat, and what the client makes of the answer.
    fn beat(&mut self, client: &mut Client) {
        let joins = client.epoch == 0;
        let owned = (joins || client.acknowledges).then(|| {
            let partitions: Vec<i32> = client.owned.iter().copied().collect();
            if partitions.is_empty() {
                Vec::new()
            } else {
                vec![TopicPartitions { topic_id: BIG, partitions }]
            }
        });
        let request = ConsumerGroupHeartbeatRequest {
            group_id: client.group.clone(),
            member_id: client.id.clone(),
            member_epoch: client.epoch,
            rebalance_timeout_ms: if joins { 60_000 } else { -1 },
            subscribed_topic_names: joins.then(|| vec!["big".into()]),
            topic_partitions: owned,
            ..ConsumerGroupHeartbeatRequest::default()
        };
        let response = self.ask(request);
        assert_eq!(code(&response), ErrorCode::None, "{client:?}: {:?}", response.error_message);
        client.epoch = response.member_epoch;
        let told = assigned(&response).filter(|told| *told != client.owned);
        client.acknowledges = told.is_some();
        if let Some(told) = told {
            client.owned = told;
            client.changes += 1;
        }
    }

    fn ask(
        &mut self,
        request: ConsumerGroupHeartbeatRequest,
    ) -> protocol::messages::consumer_group_heartbeat::ConsumerGroupHeartbeatResponse {
        let reply = ReplyToken(self.next_reply);
        self.next_reply += 1;
        let context = RequestContext { client_id: "c", client_host: "/127.0.0.1", api_version: 1 };
        let request = GroupRequest::ConsumerGroupHeartbeat(request);
        self.coordinator.handle_request(self.now, context, request, reply, &Big);
        let mut answer = None;
        let mut offset = i64::try_from(self.next_reply).expect("few") * 10_000;
        while let Some(action) = self.coordinator.poll_action() {
            match action {
                Action::Append { records, append, .. } => {
                    self.coordinator.handle_appended(self.now, append, Ok(offset), &Big);
                    offset += records.len() as i64;
                }
                Action::Reply { response: GroupResponse::ConsumerGroupHeartbeat(told), .. } => {
                    answer = Some(told);
                }
                other => panic!("not asked for: {other:?}"),
            }
        }
        answer.expect("answered at once")
    }

    /// Whether everybody has what an assignment for everybody who came and went gives them.
    fn is_stable(&self, group: &str) -> bool {
        let group = self.coordinator.group(group).and_then(|group| group.consumer.as_ref());
        group.is_some_and(|consumer| consumer.state_name() == "Stable")
    }

    /// Lets every client beat at its own time within each interval until everybody has joined, all
    /// partitions are owned and the group is stable; the milliseconds that took.
    fn settle(&mut self, clients: &mut [Client]) -> u64 {
        let mut passed_ms = 0;
        while passed_ms < 60_000 {
            let slots = clients.len().max(1);
            for step in 0..INTERVAL_MS {
                self.pass(1);
                let step = step as usize;
                for client in (0..slots).filter(|at| at % INTERVAL_MS as usize == step) {
                    self.beat(&mut clients[client]);
                    while clients[client].acknowledges {
                        self.beat(&mut clients[client]);
                    }
                }
                let has_everyone_joined = clients.iter().all(|client| client.epoch > 0);
                let owned: usize = clients.iter().map(|client| client.owned.len()).sum();
                if has_everyone_joined
                    && owned == PARTITIONS_COUNT as usize
                    && self.is_stable(&clients[0].group)
                {
                    return passed_ms + step as u64 + 1;
                }
            }
            passed_ms += INTERVAL_MS;
        }
        panic!("the group does not settle");
    }
}

fn crowd(group: &str, count: usize) -> Vec<Client> {
    let client =
        |index| Client { group: group.to_owned(), id: format!("m{index:04}"), ..Client::default() };
    (0..count).map(client).collect()
}

#[test]
fn a_thousand_members_converge_within_five_seconds_and_later_changes_move_only_what_they_must() {
    let mut crowd_of = Crowd::new();
    let mut clients = crowd("g", 1_000);
    let took_ms = crowd_of.settle(&mut clients);
    assert!(took_ms <= 5_000, "{took_ms} ms");
    assert!(clients.iter().all(|client| client.owned.len() == 3), "three for each");

    // Ten leave: what they had is shared, and nobody else loses anything.
    let before: BTreeMap<String, BTreeSet<i32>> =
        clients.iter().map(|client| (client.id.clone(), client.owned.clone())).collect();
    for mut client in clients.drain(..10) {
        client.epoch = -1;
        let request = ConsumerGroupHeartbeatRequest {
            group_id: client.group.clone(),
            member_id: client.id.clone(),
            member_epoch: -1,
            ..ConsumerGroupHeartbeatRequest::default()
        };
        assert_eq!(code(&crowd_of.ask(request)), ErrorCode::None);
    }
    clients.iter_mut().for_each(|client| client.changes = 0);
    let took_ms = crowd_of.settle(&mut clients);
    assert!(took_ms <= 5_000, "{took_ms} ms");
    assert!(clients.iter().all(|client| client.owned.is_superset(&before[&client.id])));
    let disturbed = clients.iter().filter(|client| client.changes > 0).count();
    assert!(disturbed <= 30, "{disturbed} members heard of thirty partitions");
}

/// CPU of one thread so far, in nanoseconds; `None` where the kernel does not say.
fn cpu_ns() -> Option<u64> {
    let line = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    line.split_whitespace().next()?.parse().ok()
}

/// 1,000 groups of 10 members that have nothing to say, each of which Kafka's clients let send a
/// heartbeat every five seconds: 2,000 a second. Prints what that costs of a core in this build;
/// the bound is for one that is not optimised, on a slow machine.
#[test]
fn ten_thousand_members_that_say_nothing_cost_little() {
    let mut all = Crowd::new();
    let mut clients: Vec<Client> =
        (0..1_000).flat_map(|group| crowd(&format!("g{group}"), 10)).collect();
    for _ in 0..6 {
        for client in &mut clients {
            all.beat(client);
            if client.acknowledges {
                all.beat(client);
            }
        }
        all.pass(1_000);
    }
    let before: Vec<i32> = clients.iter().map(|client| client.epoch).collect();
    let began_ns = cpu_ns();
    for client in &mut clients {
        all.beat(client);
    }
    let spent_ns = cpu_ns().zip(began_ns).map(|(end, begin)| end.saturating_sub(begin));
    let after: Vec<i32> = clients.iter().map(|client| client.epoch).collect();
    assert_eq!(before, after, "nothing happened");
    let Some(spent_ns) = spent_ns else { return };
    let each_ns = spent_ns / clients.len() as u64;
    let per_cent = each_ns as f64 * 2_000.0 / 1e9 * 100.0;
    println!("{each_ns} ns a heartbeat; 2,000 a second are {per_cent:.2} % of a core");
    assert!(each_ns < 150_000, "{each_ns} ns a heartbeat");
}
