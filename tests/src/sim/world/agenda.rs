//! What happens when: events in the order of their virtual time, equal times in the order they
//! were planned.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Something that will happen.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum What {
    /// A shard runs a turn of its event loop. Of one life of the process.
    Turn { life: u32, shard: usize },
    /// A message between two shards arrives. Of one life of the process.
    Mesh { life: u32, from: usize, to: usize },
    /// A disk operation is due.
    Disk,
    /// Bytes reach the broker on a link.
    ToBroker { link: u64 },
    /// Bytes reach the client on a link.
    ToClient { link: u64 },
    /// The broker's side learns that a link is gone.
    Hangup { link: u64 },
    /// A client wakes.
    Client { seat: usize },
    /// The process starts.
    Start,
    /// A fault ends.
    Heal(Heal),
    /// The power goes, in one life of the process.
    PowerGoes { life: u32, draw: u64 },
}

/// What a fault's end gives back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Heal {
    Space,
    Speed,
    Stuck,
    /// An operator restarts a broker whose disk failed, in good order or not.
    Operator {
        life: u32,
        kindly: bool,
    },
}

/// The events to come.
#[derive(Debug, Default)]
pub struct Agenda {
    heap: BinaryHeap<Reverse<(u64, u64, What)>>,
    planned: u64,
}

impl Agenda {
    /// `what` happens at `at_ns`.
    pub fn plan(&mut self, at_ns: u64, what: What) {
        self.planned += 1;
        self.heap.push(Reverse((at_ns, self.planned, what)));
    }

    /// The next event.
    pub fn next(&mut self) -> Option<(u64, What)> {
        self.heap.pop().map(|Reverse((at_ns, _, what))| (at_ns, what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_in_the_order_of_their_time_and_plan() {
        let mut agenda = Agenda::default();
        agenda.plan(5, What::Disk);
        agenda.plan(3, What::Client { seat: 1 });
        agenda.plan(3, What::Client { seat: 0 });
        let order: Vec<_> = std::iter::from_fn(|| agenda.next()).collect();
        let clients = [(3, What::Client { seat: 1 }), (3, What::Client { seat: 0 })];
        assert_eq!(order, [clients[0], clients[1], (5, What::Disk)]);
    }
}
