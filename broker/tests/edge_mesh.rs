//! Messages between shards through the whole event loop: rings, wake-ups and sleep.
//!
//! Shard 0 sends numbers, at most a window of them unanswered; every other shard sends each back. A
//! number lost hangs the test, one doubled or out of order fails it.

mod common;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use broker::edge::config::EdgeConfig;
use broker::edge::listener::Bound;
use broker::edge::log::Logger;
use broker::edge::shards::Shards;
use broker::shard::event::{Core, Event, Output, ShardId};
use broker::shard::mesh::MeshMessage;
use broker::time::Now;
use common::TestFolder;
use storage::edge::files::Folders;

#[derive(Debug)]
struct MeshCore {
    shard: u16,
    peers: u16,
    window: u64,
    total: u64,
    /// Of shard 0, per peer: numbers sent and numbers that came back.
    sent: Vec<u64>,
    returned: Vec<u64>,
    /// Of the others: the next number to come.
    next: u64,
    outputs: VecDeque<Output>,
    started: bool,
    done: Arc<AtomicU64>,
}

impl MeshCore {
    fn send(&mut self, to: u16, epoch: u64) {
        let message = MeshMessage::DeltaApplied { epoch };
        self.outputs.push_back(Output::Mesh { to: ShardId(to), message });
    }

    fn fill(&mut self, peer: u16) {
        let index = usize::from(peer);
        while self.sent[index] < self.total && self.sent[index] - self.returned[index] < self.window
        {
            self.send(peer, self.sent[index]);
            self.sent[index] += 1;
        }
    }
}

impl Core for MeshCore {
    fn handle_event(&mut self, event: Event<'_>, _now: Now) {
        match event {
            Event::Mesh { from, message: MeshMessage::DeltaApplied { epoch } } => {
                if self.shard == 0 {
                    let returned = &mut self.returned[usize::from(from.0)];
                    assert_eq!(epoch, *returned, "each once, in order");
                    *returned += 1;
                    self.done.fetch_add(1, Ordering::Release);
                    self.fill(from.0);
                } else {
                    assert_eq!(epoch, self.next, "each once, in order");
                    self.next += 1;
                    self.send(0, epoch);
                }
            }
            Event::Mesh { message, .. } => panic!("nobody sends {message:?}"),
            Event::Reconfigured(_) => {}
            Event::Timeout => {
                self.started = true;
                for peer in 1..self.peers {
                    self.fill(peer);
                }
            }
            Event::Stop => self.outputs.push_back(Output::Stopped),
            Event::Connected { .. }
            | Event::Frame { .. }
            | Event::Sent { .. }
            | Event::Disconnected { .. }
            | Event::Disk(_) => {}
        }
    }

    fn end_turn(&mut self, _now: Now) {}

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<u64> {
        (self.shard == 0 && !self.started).then_some(0)
    }
}

/// Runs until every number came back; says how many wake-ups that took.
fn play(shards: u16, window: u64, total: u64, busy_poll: bool) -> u64 {
    let folder = TestFolder::new();
    let mut config = EdgeConfig::new(folder.path());
    let available = broker::edge::cpu::available().expect("affinity");
    config.cores =
        (0..usize::from(shards)).map(|shard| available[shard % available.len()]).collect();
    config.busy_poll = busy_poll;
    let address = "127.0.0.1:0".parse().expect("an address");
    let bound = Bound::bind_all(address, config.cores.len(), config.sockets).expect("a free port");
    let bound = bound.into_iter().map(|bound| vec![bound]).collect();
    let folders = Arc::new(Folders::new(folder.path(), folder.path(), folder.path()));
    let done = Arc::<AtomicU64>::default();
    let cores = (0..shards)
        .map(|shard| MeshCore {
            shard,
            peers: shards,
            window,
            total,
            sent: vec![0; usize::from(shards)],
            returned: vec![0; usize::from(shards)],
            next: 0,
            outputs: VecDeque::new(),
            started: false,
            done: Arc::clone(&done),
        })
        .collect();
    let log = Logger::start().expect("a thread");
    let shards_running =
        Shards::start(&config, bound, &folders, cores, &log).expect("shards start");
    let expected = total * u64::from(shards - 1);
    for _ in 0..6_000 {
        if done.load(Ordering::Acquire) == expected {
            break;
        }
        common::pause(5);
    }
    assert_eq!(done.load(Ordering::Acquire), expected, "all came back");
    let handles = &shards_running.process().shards;
    let wakes = handles.iter().map(|shard| shard.counters.mesh_wakes.get()).sum();
    let messages: u64 = handles.iter().map(|shard| shard.counters.mesh_messages.get()).sum();
    assert_eq!(messages, 2 * expected, "each there and each back is counted");
    shards_running.stop();
    shards_running.join().expect("shards stop cleanly");
    wakes
}

#[test]
fn a_million_messages_go_there_and_back_once_and_in_order() {
    let wakes = play(2, 20_000, 1_000_000, false);
    assert!(wakes < 200_000, "{wakes} wake-ups for two million messages");
}

#[test]
fn lone_messages_wake_a_sleeping_shard_every_time() {
    play(2, 1, 20_000, false);
}

#[test]
fn three_shards_talk_at_once() {
    play(3, 100, 30_000, false);
}

#[test]
fn busy_polling_shards_need_no_wake_ups() {
    assert_eq!(play(2, 100, 20_000, true), 0);
}
