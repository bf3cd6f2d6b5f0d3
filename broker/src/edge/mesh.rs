//! Messages between the shards of one process: a ring of its own per ordered pair, and a wake-up
//! only for a shard that sleeps.
//!
//! Nothing is lost and nothing is reordered per pair: what does not fit into a ring waits at its
//! sender. The sleep protocol: a shard sets `asleep`, then looks once more into its rings, then
//! sleeps; a sender pushes, then looks at `asleep`. Both orders are sequentially consistent, so one
//! of the two sees the other.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};

use rtrb::{Consumer, Producer, RingBuffer};

/// Messages a ring holds; more wait at the sender.
const RING_MESSAGES: usize = 1024;

/// Messages taken from all peers in one turn, so that disk and network get theirs.
const TURN_MESSAGES_MAX: usize = 4096;

/// One shard's end of the mesh. Slot `i` of each list is shard `i`; its own is empty.
#[derive(Debug)]
pub struct MeshEnd<T> {
    outbound: Vec<Option<Outbound<T>>>,
    inbound: Vec<Option<Consumer<T>>>,
    asleep: Arc<Sleep>,
    /// Peers written to since the last flush.
    written: Vec<u16>,
}

#[derive(Debug)]
struct Outbound<T> {
    ring: Producer<T>,
    overflow: VecDeque<T>,
    asleep: Arc<Sleep>,
    is_written: bool,
}

/// Whether a shard may be asleep. On a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Sleep(AtomicBool);

/// Connects `shards` shards with each other.
pub fn connect<T>(shards: usize) -> Vec<MeshEnd<T>> {
    let mut ends: Vec<MeshEnd<T>> = (0..shards)
        .map(|_| MeshEnd {
            outbound: Vec::new(),
            inbound: (0..shards).map(|_| None).collect(),
            asleep: Arc::default(),
            written: Vec::with_capacity(shards),
        })
        .collect();
    for source in 0..shards {
        for target in 0..shards {
            let outbound = (source != target).then(|| {
                let (producer, consumer) = RingBuffer::new(RING_MESSAGES);
                ends[target].inbound[source] = Some(consumer);
                Outbound {
                    ring: producer,
                    overflow: VecDeque::new(),
                    asleep: Arc::clone(&ends[target].asleep),
                    is_written: false,
                }
            });
            ends[source].outbound.push(outbound);
        }
    }
    ends
}

impl<T> MeshEnd<T> {
    /// Hands a message to another shard.
    pub fn send(&mut self, to: u16, message: T) {
        let outbound = self.outbound[usize::from(to)].as_mut().expect("a shard sends to others");
        if !outbound.is_written {
            outbound.is_written = true;
            self.written.push(to);
        }
        if !outbound.overflow.is_empty() {
            outbound.overflow.push_back(message);
        } else if let Err(rtrb::PushError::Full(message)) = outbound.ring.push(message) {
            outbound.overflow.push_back(message);
        }
    }

    /// Moves waiting messages on and calls `wake` for each peer that was written to and may sleep.
    /// `true` when messages still wait: the caller comes back soon instead of sleeping.
    pub fn flush(&mut self, mut wake: impl FnMut(u16)) -> bool {
        if self.written.is_empty() {
            return false;
        }
        let outbounds = &mut self.outbound;
        self.written.retain(|to| {
            let outbound = outbounds[usize::from(*to)].as_mut().expect("only others are written");
            while let Some(message) = outbound.overflow.pop_front() {
                if let Err(rtrb::PushError::Full(message)) = outbound.ring.push(message) {
                    outbound.overflow.push_front(message);
                    break;
                }
            }
            // Orders the pushes before the look at `asleep`.
            fence(Ordering::SeqCst);
            if outbound.asleep.0.load(Ordering::SeqCst)
                && outbound.asleep.0.swap(false, Ordering::SeqCst)
            {
                wake(*to);
            }
            outbound.is_written = !outbound.overflow.is_empty();
            outbound.is_written
        });
        !self.written.is_empty()
    }

    /// Takes messages that arrived. `true` when a bound was reached and more may wait.
    pub fn receive(&mut self, mut on_message: impl FnMut(u16, T)) -> bool {
        let mut taken = 0;
        for (from, inbound) in self.inbound.iter_mut().enumerate() {
            let Some(inbound) = inbound else { continue };
            while taken < TURN_MESSAGES_MAX
                && let Ok(message) = inbound.pop()
            {
                taken += 1;
                on_message(from as u16, message);
            }
        }
        taken == TURN_MESSAGES_MAX
    }

    /// Whether a message has arrived.
    pub fn has_inbound(&self) -> bool {
        self.inbound.iter().flatten().any(|inbound| !inbound.is_empty())
    }

    /// Announces sleep. `false` when a message arrived meanwhile: do not sleep.
    pub fn prepare_sleep(&self) -> bool {
        if self.inbound.len() < 2 {
            return true;
        }
        self.asleep.0.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        if self.has_inbound() {
            self.asleep.0.store(false, Ordering::SeqCst);
            return false;
        }
        true
    }

    /// Takes the announcement back.
    pub fn wake_up(&self) {
        self.asleep.0.store(false, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    //! Two threads that sleep whenever they have nothing: a lost wake-up hangs the test, a lost,
    //! doubled or reordered message fails it.

    use std::thread;

    use super::*;

    fn play(mut end: MeshEnd<u64>, peer: u16, messages: u64, burst: u64, threads: &WakeBoard) {
        let (mut sent, mut received) = (0u64, 0u64);
        while received < messages || sent < messages {
            for _ in 0..burst {
                if sent < messages {
                    end.send(peer, sent);
                    sent += 1;
                }
            }
            let waiting = end.flush(|to| threads.wake(to));
            end.receive(|from, message| {
                assert_eq!(from, peer);
                assert_eq!(message, received, "in order, once each");
                received += 1;
            });
            let idle = sent == messages && received < messages && !waiting;
            if idle && end.prepare_sleep() {
                threads.sleep(1 - peer);
                end.wake_up();
            }
        }
        while end.flush(|to| threads.wake(to)) {
            thread::yield_now();
        }
    }

    /// Stands for the rings: a token per shard that a wake-up leaves and a sleeper takes.
    struct WakeBoard([std::sync::mpsc::SyncSender<()>; 2], [crossing::Slot; 2]);

    mod crossing {
        #![expect(clippy::disallowed_types, reason = "a test's stand-in for the kernel")]
        pub(super) type Slot = std::sync::Mutex<std::sync::mpsc::Receiver<()>>;
    }

    impl WakeBoard {
        fn new() -> Self {
            let (first, first_in) = std::sync::mpsc::sync_channel(1);
            let (second, second_in) = std::sync::mpsc::sync_channel(1);
            Self([first, second], [first_in.into(), second_in.into()])
        }

        fn wake(&self, to: u16) {
            // A token already there wakes as well.
            let _ = self.0[usize::from(to)].try_send(());
        }

        fn sleep(&self, who: u16) {
            let inbox = self.1[usize::from(who)].lock().expect("no test thread panics holding it");
            inbox.recv().expect("the board outlives the threads");
        }
    }

    #[test]
    fn a_million_messages_each_way_arrive_once_and_in_order() {
        let mut ends = connect::<u64>(2).into_iter();
        let (first, second) = (ends.next().expect("two"), ends.next().expect("two"));
        let board = WakeBoard::new();
        thread::scope(|scope| {
            scope.spawn(|| play(first, 1, 1_000_000, 3_000, &board));
            scope.spawn(|| play(second, 0, 1_000_000, 7, &board));
        });
    }
}
