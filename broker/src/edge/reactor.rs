//! The event loop of a shard: one thread, one ring, one `io_uring_enter` per turn.
//!
//! A turn: take all completions and tell the core what happened, end the core's turn, do what it
//! asks, enter the kernel. What arrives together is handled together, so that load makes turns
//! larger and not more frequent. One match arm per `Output`; no decision here is Kafka's.
#![expect(unsafe_code, reason = "entries of the bell and the mesh")]

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use io_uring::{opcode, types};
use storage::edge::files::Folders;
use storage::edge::ring::{Completion, DISK_BIT, Ring, Wait};
use storage::edge::uring_disk::UringDisk;
use storage::op::{DiskOp, Root};

use super::buffers::ReceiveBuffers;
use super::clock;
use super::config::{Delay, DelayPlace};
use super::connection::Connections;
use super::counters::Counters;
use super::handle::{Doing, Process, Refused, ShardHandle};
use super::ledger::{Slowest, Tally};
use super::listener::{self, Accepted, Listener};
use super::log::Logger;
use super::mesh::MeshEnd;
use super::user_data::{self, Kind};
use super::{run, space};
use crate::config::BrokerConfig;
use crate::ledger::Record;
use crate::shard::event::{Core, Event, LogLevel, LogLine, Output, ShardId};
use crate::shard::mesh::MeshMessage;
use crate::time::Now;

/// How often connections are looked over for idleness, and the longest sleep.
const SWEEP_NS: u64 = 1_000_000_000;

/// Want of descriptors lasts: one line in so long says enough.
const STARVED_TOLD_NS: u64 = 60_000_000_000;

/// While messages wait for room in a peer's ring, the shard looks again this soon.
const MESH_RETRY_NS: u64 = 50_000;

/// After all cores have stopped, so long may their last responses take to go out.
const LAST_RESPONSES_NS: u64 = 1_000_000_000;

/// A shard's thread.
pub(super) struct Reactor<C> {
    pub(super) core: C,
    pub(super) shard: ShardId,
    pub(super) process: Arc<Process>,
    pub(super) folders: Arc<Folders>,
    pub(super) disk: UringDisk,
    pub(super) connections: Connections,
    pub(super) listeners: Vec<Listener>,
    pub(super) mesh: MeshEnd<MeshMessage>,
    pub(super) log: Logger,
    pub(super) busy_poll: bool,
    pub(super) delay: Option<Delay>,
    /// `None`: no ledger is kept.
    pub(super) slowest: Option<Slowest>,
    pub(super) tally: Tally,
    /// The settings whose bounds on connections count, on the shard that says them.
    pub(super) settings: Option<Arc<BrokerConfig>>,
    /// Of the clients' metrics that were published last.
    pub(super) clients_revision: u64,
    pub(super) ring: Ring,
    pub(super) buffers: ReceiveBuffers,
    /// The kernel writes the bell's count here.
    pub(super) bell_count: Box<u64>,
}

/// What the time between two turns went to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Spent {
    /// In the kernel, which was not asked to wait.
    Entering,
    /// In the kernel, which was.
    Waiting,
    /// Looking for work.
    Spinning,
}

/// Reads the clock for one in so many requests of a turn: the others take the time of the last.
struct Pace {
    events: u32,
    on: bool,
}

/// About 8 µs of work. Reading the clock costs about 20 ns.
const PACE_EVENTS: u32 = 8;

impl Pace {
    fn new(on: bool) -> Self {
        Self { events: 0, on }
    }

    fn next(&mut self, now: &mut Now) {
        self.events += 1;
        if self.on && self.events.is_multiple_of(PACE_EVENTS) {
            now.mono_ns = clock::mono_ns();
        }
    }
}

/// What the loop remembers between turns.
struct State {
    now: Now,
    /// When the turn began.
    turn_ns: u64,
    /// Requests until this turn: for `Delay`.
    requests_before: u64,
    /// Whether this turn has a response.
    sends: bool,
    /// Disk operations that go to the kernel after the turn's responses, empty between turns.
    behind: Vec<DiskOp>,
    /// Records taken from the core, empty between turns.
    finished: Vec<Record>,
    batch: Vec<Completion>,
    /// Completions are left in the ring, or messages in the mesh.
    more: bool,
    mesh_waiting: bool,
    sweep_at_ns: u64,
    /// When the next line about refused connections is due, and about missing descriptors.
    refused_told_ns: u64,
    starved_told_ns: u64,
    stop_told: bool,
    stopped: bool,
    all_stopped_at_ns: Option<u64>,
    wakes_failed: VecDeque<u16>,
}

/// Tells the core something.
macro_rules! tell {
    ($self:ident, $handle:expr, $now:expr, $event:expr) => {{
        let event = $event;
        $handle.set_doing(doing(&event));
        $self.core.handle_event(event, $now);
    }};
}

fn doing(event: &Event<'_>) -> Doing {
    match event {
        Event::Connected { .. } => Doing::Connected,
        Event::Frame { .. } => Doing::Frame,
        Event::Sent { .. } => Doing::Sent,
        Event::Disconnected { .. } => Doing::Disconnected,
        Event::Disk(_) => Doing::Disk,
        Event::Mesh { .. } => Doing::Mesh,
        Event::Timeout => Doing::Timeout,
        Event::Reconfigured(_) => Doing::Reconfigured,
        Event::Stop => Doing::Stop,
    }
}

impl<C: Core> Reactor<C> {
    /// Runs until every shard of the process has stopped.
    pub(super) fn run(&mut self) -> io::Result<()> {
        let process = Arc::clone(&self.process);
        let handle = &process.shards[usize::from(self.shard.0)];
        let mut state = State {
            now: clock::now(),
            turn_ns: clock::mono_ns(),
            requests_before: 0,
            sends: false,
            behind: Vec::new(),
            finished: Vec::new(),
            batch: Vec::with_capacity(storage::edge::ring::REAP_MAX),
            more: false,
            mesh_waiting: false,
            sweep_at_ns: 0,
            refused_told_ns: 0,
            starved_told_ns: 0,
            stop_told: false,
            stopped: false,
            all_stopped_at_ns: None,
            wakes_failed: VecDeque::new(),
        };
        self.arm_bell(handle);
        loop {
            for (index, listener) in self.listeners.iter_mut().enumerate() {
                listener.arm(index as u32, &mut self.ring, state.now.mono_ns);
            }
            handle.set_doing(Doing::Waiting);
            let entered_ns = clock::mono_ns();
            self.disk.note_submitted(entered_ns);
            let spent = self.wait(&mut state, entered_ns)?;
            state.now = clock::now();
            handle.time.note_turn(state.turn_ns, entered_ns, state.now.mono_ns, spent);
            state.turn_ns = state.now.mono_ns;
            state.requests_before = handle.counters.requests.get();
            state.sends = false;
            self.take_completions(handle, &mut state);
            self.take_messages(handle, &mut state);
            self.take_times(handle, &mut state);
            handle.set_doing(Doing::EndTurn);
            if handle.counters.requests.get() > state.requests_before {
                self.lose_time(DelayPlace::Append, &mut state);
            }
            // Also what the turn's requests cost their clients.
            state.now.mono_ns = clock::mono_ns();
            self.core.end_turn(state.now);
            handle.set_doing(Doing::Outputs);
            self.do_outputs(handle, &mut state);
            self.finish_turn(handle, &mut state);
            if self.is_over(handle, &mut state) {
                // What was closed last.
                return self.ring.enter(Wait::Not);
            }
        }
    }

    fn arm_bell(&mut self, handle: &ShardHandle) {
        let count: *mut u64 = &raw mut *self.bell_count;
        let entry = opcode::Read::new(types::Fd(handle.bell.fd()), count.cast(), 8)
            .build()
            .user_data(user_data::of(Kind::Bell, 0));
        // SAFETY: the count is boxed and lives as long as the ring.
        unsafe { self.ring.push(entry) };
    }

    /// Enters the kernel, and sleeps there when nothing is to be done.
    fn wait(&mut self, state: &mut State, now_ns: u64) -> io::Result<Spent> {
        if state.more || self.connections.has_work() {
            return self.ring.enter(Wait::Not).map(|()| Spent::Entering);
        }
        let mut until = state.sweep_at_ns;
        let times = [
            self.core.poll_timeout(),
            self.listeners.iter().filter_map(Listener::retry_at).min(),
            state.mesh_waiting.then_some(now_ns + MESH_RETRY_NS),
            state.all_stopped_at_ns.map(|at| at + LAST_RESPONSES_NS),
        ];
        for time in times.into_iter().flatten() {
            until = until.min(time);
        }
        if until <= now_ns {
            return self.ring.enter(Wait::Not).map(|()| Spent::Entering);
        }
        if self.busy_poll {
            return self.spin(until).map(|()| Spent::Spinning);
        }
        if !self.mesh.prepare_sleep() {
            return self.ring.enter(Wait::Not).map(|()| Spent::Entering);
        }
        let result = self.ring.enter(Wait::AtMost(until - now_ns));
        self.mesh.wake_up();
        result.map(|()| Spent::Waiting)
    }

    /// Looks for work without sleeping. The yield after each empty look lets the kernel's workers
    /// finish disk writes on this CPU; without it a completion waits for the scheduler's tick.
    fn spin(&mut self, until: u64) -> io::Result<()> {
        loop {
            if self.ring.has_work() {
                return self.ring.enter(Wait::Not);
            }
            if self.mesh.has_inbound() || clock::mono_ns() >= until {
                return Ok(());
            }
            std::thread::yield_now();
        }
    }

    fn take_completions(&mut self, handle: &ShardHandle, state: &mut State) {
        let mut batch = std::mem::take(&mut state.batch);
        state.more = self.ring.reap(&mut batch);
        handle.counters.completions.add(batch.len() as u64);
        self.disk.set_now(state.now.mono_ns);
        let mut pace = Pace::new(self.slowest.is_some());
        for &completion in &batch {
            if completion.user_data & DISK_BIT != 0 {
                self.lose_time(DelayPlace::Disk, state);
                if self.delay.is_some() && self.disk.is_synced_apart(completion) {
                    self.lose_time(DelayPlace::Write, state);
                    self.disk.set_now(state.now.mono_ns);
                }
                self.disk.handle_completion(&mut self.ring, completion);
                while let Some(done) = self.disk.poll_done() {
                    tell!(self, handle, state.now, Event::Disk(done));
                }
                continue;
            }
            match user_data::kind(completion.user_data) {
                Kind::Receive => {
                    let arrived_ns = state.turn_ns;
                    self.lose_time(DelayPlace::Admit, state);
                    let (core, now) = (&mut self.core, &mut state.now);
                    self.connections.handle_receive(
                        completion,
                        arrived_ns,
                        &mut self.ring,
                        &mut self.buffers,
                        &handle.counters,
                        &mut |event| {
                            handle.set_doing(doing(&event));
                            pace.next(now);
                            core.handle_event(event, *now);
                        },
                    );
                }
                Kind::Send => {
                    let now = state.now;
                    let core = &mut self.core;
                    self.connections.handle_send(
                        completion,
                        now.mono_ns,
                        &mut self.ring,
                        &handle.counters,
                        &mut |event| {
                            handle.set_doing(doing(&event));
                            core.handle_event(event, now);
                        },
                    );
                }
                Kind::Accept => self.accept(handle, completion, state),
                Kind::Bell => self.arm_bell(handle),
                Kind::MeshWakeSent => {
                    if completion.result < 0 {
                        let peer = user_data::slot(completion.user_data) as u16;
                        state.wakes_failed.push_back(peer);
                    }
                }
                Kind::MeshWake | Kind::Ignored => {}
            }
        }
        state.batch = batch;
        // A wake-up the ring could not carry goes by the bell.
        while let Some(peer) = state.wakes_failed.pop_front() {
            self.process.shards[usize::from(peer)].bell.ring();
        }
    }

    fn accept(&mut self, handle: &ShardHandle, completion: Completion, state: &mut State) {
        let now = state.now;
        let index = user_data::slot(completion.user_data) as usize;
        let Some(listener) = self.listeners.get_mut(index) else {
            // Accepted while the listener was being closed.
            return listener::discard(completion);
        };
        match listener.handle(completion, now.mono_ns) {
            Accepted::Connection { socket, peer, port } => {
                let admitted = match self.process.admit(peer) {
                    Ok(()) if self.connections.has_room() => Ok(()),
                    Ok(()) => {
                        self.process.release(peer);
                        Err(Refused::Total)
                    }
                    Err(refused) => Err(refused),
                };
                match admitted {
                    Ok(()) => {
                        handle.counters.connections_accepted.add(1);
                        let core = &mut self.core;
                        self.connections.open(
                            socket,
                            (peer, port),
                            now.mono_ns,
                            &mut self.ring,
                            &mut |event| {
                                handle.set_doing(doing(&event));
                                core.handle_event(event, now);
                            },
                        );
                    }
                    Err(refused) => {
                        handle.counters.connections_refused.add(1);
                        if now.mono_ns >= state.refused_told_ns {
                            state.refused_told_ns = now.mono_ns + SWEEP_NS;
                            let limit = match refused {
                                Refused::Total => "max.connections",
                                Refused::PerIp => "max.connections.per.ip",
                            };
                            self.log.warn(format!("connections are refused: {limit} is reached"));
                        }
                    }
                }
            }
            Accepted::Nothing => {}
            Accepted::OutOfDescriptors { errno } => {
                if now.mono_ns >= state.starved_told_ns {
                    state.starved_told_ns = now.mono_ns + STARVED_TOLD_NS;
                    let error = io::Error::from_raw_os_error(errno);
                    self.log.warn(format!("no connection can be accepted for a moment: {error}"));
                }
            }
        }
    }

    fn take_messages(&mut self, handle: &ShardHandle, state: &mut State) {
        let now = state.now;
        let core = &mut self.core;
        let more = self.mesh.receive(|from, message| {
            handle.set_doing(Doing::Mesh);
            core.handle_event(Event::Mesh { from: ShardId(from), message }, now);
        });
        state.more |= more;
    }

    fn take_times(&mut self, handle: &ShardHandle, state: &mut State) {
        let now = state.now;
        if !state.stop_told && handle.stop.load(Ordering::Acquire) {
            state.stop_told = true;
            // Clients that connect from here on are refused by the kernel.
            self.listeners.clear();
            tell!(self, handle, now, Event::Stop);
        }
        if let Some(settings) = handle.take_settings() {
            tell!(self, handle, now, Event::Reconfigured(settings));
        }
        if self.core.poll_timeout().is_some_and(|at| at <= now.mono_ns) {
            tell!(self, handle, now, Event::Timeout);
        }
        if now.mono_ns >= state.sweep_at_ns {
            state.sweep_at_ns = now.mono_ns + SWEEP_NS;
            self.connections.sweep(now.mono_ns);
            for volume in self.folders.volumes() {
                if let Some((total, usable)) = space::of(self.folders.root(volume, Root::Data)) {
                    self.core.note_space(volume, total, usable);
                }
            }
            let core = &self.core;
            handle.publish_readings(|readings| core.probe(&mut |reading| readings.push(reading)));
            if let Some(settings) = core.settings()
                && !self.settings.as_ref().is_some_and(|known| Arc::ptr_eq(known, settings))
            {
                self.process.set_connection_bounds(&settings.socket);
                self.settings = Some(Arc::clone(settings));
            }
            let revision = core.client_metrics_revision();
            if revision != self.clients_revision
                && handle.publish_client_metrics(|clients| {
                    core.client_metrics(&mut |client| clients.push(Arc::clone(client)));
                })
            {
                self.clients_revision = revision;
            }
            handle.time.cpu_ns.set(clock::thread_cpu_ns());
            if let Some(slowest) = &mut self.slowest {
                slowest.turn_window(now.mono_ns);
                handle.publish_slowest(|list| slowest.fill(list, |id| core.topic_name(id)));
            }
            if self.folders.take_buffered_notice() {
                self.log.warn(run::BUFFERED_NOTICE);
            }
        }
        let now = state.now;
        let core = &mut self.core;
        self.connections.deliver_local(&mut self.ring, &handle.counters, &mut |event| {
            handle.set_doing(doing(&event));
            core.handle_event(event, now);
        });
    }

    fn do_outputs(&mut self, handle: &ShardHandle, state: &mut State) {
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Send { conn, response } => {
                    state.sends = true;
                    self.connections.send(conn, response);
                }
                Output::Close { conn, reason } => self.connections.close(conn, reason),
                // The kernel takes entries in order, and handing a write to the device can take as
                // long as a response: what the core asked for after responses goes after them.
                Output::Disk(op) if state.sends => state.behind.push(op),
                Output::Disk(op) => self.disk.submit(&mut self.ring, op),
                Output::Mesh { to, message } => {
                    handle.counters.mesh_messages.add(1);
                    self.mesh.send(to.0, message);
                }
                Output::PauseReading { conn } => self.connections.pause(conn),
                Output::ResumeReading { conn } => self.connections.resume(conn, &mut self.ring),
                Output::Log(line) => self.log.line(line),
                Output::Halt(why) => {
                    // As with a signal that cannot wait: the next start recovers what is missing.
                    self.log.line(LogLine { level: LogLevel::Error, text: why });
                    self.log.flush();
                    std::process::exit(1);
                }
                Output::Stopped => {
                    if !state.stopped {
                        state.stopped = true;
                        self.process.note_stopped();
                    }
                }
            }
        }
    }

    fn finish_turn(&mut self, handle: &ShardHandle, state: &mut State) {
        let counters = &handle.counters;
        self.buffers.publish();
        if state.sends {
            self.lose_time(DelayPlace::Send, state);
        }
        let (ring, process) = (&mut self.ring, &self.process);
        state.mesh_waiting = self.mesh.flush(|peer| {
            counters.mesh_wakes.add(1);
            wake(ring, process, peer);
        });
        self.connections.flush(&mut self.ring, counters);
        for op in state.behind.drain(..) {
            self.disk.submit(&mut self.ring, op);
        }
        for peer in self.connections.take_released() {
            self.process.release(peer);
        }
        for notice in self.connections.take_notices() {
            self.log.warn(notice);
        }
        self.publish(counters);
        self.take_finished(handle, state);
    }

    /// Adds the requests whose responses are out to the ledger.
    fn take_finished(&mut self, handle: &ShardHandle, state: &mut State) {
        let Some(slowest) = &mut self.slowest else { return };
        self.core.swap_finished(&mut state.finished);
        for same in state.finished.chunk_by(Record::passed_as) {
            let split = same[0].split();
            self.tally.add(&handle.ledger, same[0].api, &split, same.len() as u64);
            for record in same {
                slowest.offer(record, &split);
            }
        }
        state.finished.clear();
        self.tally.flush(&handle.ledger);
    }

    /// A test's delay.
    fn lose_time(&self, place: DelayPlace, state: &mut State) {
        let Some(delay) = self.delay.filter(|delay| delay.place == place) else { return };
        let until_ns = clock::mono_ns() + delay.ns;
        while state.now.mono_ns < until_ns {
            state.now.mono_ns = clock::mono_ns();
        }
    }

    fn publish(&self, counters: &Counters) {
        counters.turns.add(1);
        counters.enters.set(self.ring.enters());
        counters.connections.set(self.connections.len() as u64);
        let disk = self.disk.counters();
        counters.disk_reads.set(disk.reads);
        counters.disk_read_bytes.set(disk.read_bytes);
        counters.disk_writes.set(disk.writes);
        counters.disk_written_bytes.set(disk.written_bytes);
        counters.disk_syncs.set(disk.syncs);
        counters.disk_names.set(disk.helped);
        counters.disk_errors.set(disk.errors);
    }

    /// Ends the thread's use of the ring. Others may send wake-ups until all threads came here.
    pub(super) fn finish(self) {
        self.process.wait_for_all();
        // The read of the bell is still armed; closing the ring cancels it only some time later.
        std::mem::forget(self.bell_count);
        if !self.connections.is_empty() {
            // The same for sends and receives that did not complete in time.
            std::mem::forget(self.connections);
            std::mem::forget(self.buffers);
        }
    }

    /// A stopped shard goes on turning until all have stopped, because others may still need it;
    /// then its last responses go out and nothing may be under way any more.
    fn is_over(&mut self, handle: &ShardHandle, state: &mut State) -> bool {
        if !state.stopped || !self.process.all_stopped() {
            return false;
        }
        let now_ns = state.now.mono_ns;
        let since_ns = now_ns - *state.all_stopped_at_ns.get_or_insert(now_ns);
        let late = since_ns >= LAST_RESPONSES_NS;
        let quiet = self.connections.all_sent() && self.disk.is_idle();
        if !(late || quiet) {
            return false;
        }
        self.connections.end_all();
        self.connections.flush(&mut self.ring, &handle.counters);
        self.connections.is_empty() || late
    }
}

/// Wakes a sleeping peer: by its ring when both kernels' rings know how, by its bell otherwise.
fn wake(ring: &mut Ring, process: &Process, peer: u16) {
    let target = &process.shards[usize::from(peer)];
    let fd = target.ring_fd.load(Ordering::Acquire);
    if fd < 0 || !ring.supports(opcode::MsgRingData::CODE) {
        target.bell.ring();
        return;
    }
    let message = user_data::of(Kind::MeshWake, 0);
    let entry = opcode::MsgRingData::new(types::Fd(fd), 0, message, None)
        .build()
        .user_data(user_data::of(Kind::MeshWakeSent, u32::from(peer)));
    // SAFETY: the entry carries no address; the peer's ring lives until all threads are joined.
    unsafe { ring.push(entry) };
}
