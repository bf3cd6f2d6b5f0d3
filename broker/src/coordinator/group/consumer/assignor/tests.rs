//! Assignors against what they promise, over random groups.
//!
//! Every partition has exactly one reader of its topic; the uniform assignor is balanced, and an
//! assignment made again from itself does not move; one member more or less moves no more than it
//! must. Random groups come from a seeded sequence, printed on failure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use protocol::types::Uuid;

use super::{Assignor, Input, Partitions, Subscriber};

type Topics = BTreeMap<Uuid, i32>;
type Assignment = BTreeMap<Arc<str>, Partitions>;

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

fn topic(number: u64) -> Uuid {
    Uuid::from_u64s(1, number)
}

fn assign(
    assignor: Assignor,
    topics: &Topics,
    members: &BTreeMap<Arc<str>, BTreeSet<Uuid>>,
    before: &Assignment,
) -> Assignment {
    let members = members.iter().map(|(id, topics)| Subscriber {
        id: id.clone(),
        instance: None,
        topics: Arc::new(topics.clone()),
        target: before.get(id),
    });
    assignor.assign(&Input { members: members.collect(), topics: topics.clone() })
}

fn load(part: &Partitions) -> usize {
    part.values().map(BTreeSet::len).sum()
}

fn moved(before: &Assignment, after: &Assignment) -> usize {
    let nothing = Partitions::new();
    after
        .iter()
        .map(|(member, part)| {
            let had = before.get(member).unwrap_or(&nothing);
            part.iter()
                .map(|(topic, now)| {
                    now.iter().filter(|p| !had.get(topic).is_some_and(|h| h.contains(p))).count()
                })
                .sum::<usize>()
        })
        .sum()
}

fn check(
    seed: u64,
    topics: &Topics,
    members: &BTreeMap<Arc<str>, BTreeSet<Uuid>>,
    assignment: &Assignment,
) {
    for (topic, count) in topics {
        let readers = members.values().filter(|topics| topics.contains(topic)).count();
        let mut owned: Vec<i32> = Vec::new();
        for (member, part) in assignment {
            if let Some(partitions) = part.get(topic) {
                assert!(members[member].contains(topic), "seed {seed}: a reader of the topic");
                owned.extend(partitions);
            }
        }
        owned.sort_unstable();
        let expected: Vec<i32> = if readers == 0 { Vec::new() } else { (0..*count).collect() };
        assert_eq!(owned, expected, "seed {seed}: each partition once");
    }
}

fn names(count: u64) -> impl Iterator<Item = Arc<str>> {
    (0..count).map(|index| format!("m{index:03}").into())
}

#[test]
fn the_same_subscriptions_are_level_and_move_only_what_they_must() {
    for seed in 1..400 {
        let mut random = Random(seed);
        let topics: Topics =
            (0..1 + random.below(5)).map(|n| (topic(n), random.below(20) as i32)).collect();
        let total: usize = topics.values().map(|count| *count as usize).sum();
        let all: BTreeSet<Uuid> = topics.keys().copied().collect();
        let count = 1 + random.below(12);
        let mut members: BTreeMap<_, _> = names(count).map(|id| (id, all.clone())).collect();
        let first = assign(Assignor::Uniform, &topics, &members, &Assignment::new());
        check(seed, &topics, &members, &first);
        let level = |assignment: &Assignment| {
            let loads: Vec<usize> = assignment.values().map(load).collect();
            loads.iter().max().unwrap_or(&0) - loads.iter().min().unwrap_or(&0) <= 1
        };
        assert!(level(&first), "seed {seed}");
        assert_eq!(assign(Assignor::Uniform, &topics, &members, &first), first, "seed {seed}");
        // One more: it gets its share, and nothing else moves.
        members.insert("n".into(), all.clone());
        let more = assign(Assignor::Uniform, &topics, &members, &first);
        check(seed, &topics, &members, &more);
        assert!(level(&more), "seed {seed}");
        assert_eq!(moved(&first, &more), load(&more["n"]), "seed {seed}");
        assert!(load(&more["n"]) <= total / members.len() + 1);
        // One less: what it had moves, and nothing else.
        let gone: Arc<str> = "m000".into();
        members.remove(&gone);
        let less = assign(Assignor::Uniform, &topics, &members, &more);
        check(seed, &topics, &members, &less);
        assert!(level(&less), "seed {seed}");
        assert_eq!(moved(&more, &less), load(&more[&gone]), "seed {seed}");
    }
}

#[test]
fn different_subscriptions_cannot_be_made_more_even_by_a_move() {
    for seed in 1..400 {
        let mut random = Random(seed);
        let topics: Topics =
            (0..1 + random.below(6)).map(|n| (topic(n), random.below(12) as i32)).collect();
        let mut members: BTreeMap<Arc<str>, BTreeSet<Uuid>> = BTreeMap::new();
        for id in names(1 + random.below(8)) {
            let some = topics.keys().copied().filter(|_| random.below(2) == 0).collect();
            members.insert(id, some);
        }
        let mut before = Assignment::new();
        for assignor in [Assignor::Uniform, Assignor::Range, Assignor::Uniform] {
            let assignment = assign(assignor, &topics, &members, &before);
            check(seed, &topics, &members, &assignment);
            if assignor == Assignor::Uniform {
                for (owner, part) in &assignment {
                    for topic in part.keys() {
                        for (reader, _) in members.iter().filter(|(_, t)| t.contains(topic)) {
                            let (more, less) = (load(part), load(&assignment[reader]));
                            assert!(
                                more <= less + 1,
                                "seed {seed}: {owner} {more}, {reader} {less}"
                            );
                        }
                    }
                }
                assert_eq!(assign(assignor, &topics, &members, &assignment), assignment);
            }
            before = assignment;
        }
    }
}

#[test]
fn ranges_are_neighbours_in_the_order_of_the_members() {
    let topics: Topics = [(topic(1), 7), (topic(2), 2)].into();
    let all: BTreeSet<Uuid> = topics.keys().copied().collect();
    let members: BTreeMap<_, _> = names(3).map(|id| (id, all.clone())).collect();
    let assignment = assign(Assignor::Range, &topics, &members, &Assignment::new());
    let of = |member: &str, number| -> Vec<i32> {
        let part = assignment[member].get(&topic(number));
        part.into_iter().flatten().copied().collect()
    };
    assert_eq!(
        [of("m000", 1), of("m001", 1), of("m002", 1)],
        [vec![0, 1, 2], vec![3, 4], vec![5, 6]]
    );
    assert_eq!([of("m000", 2), of("m001", 2), of("m002", 2)], [vec![0], vec![1], vec![]]);
}
