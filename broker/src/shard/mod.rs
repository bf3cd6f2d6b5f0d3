//! A shard: everything one core owns, as one struct that takes events and gives outputs.
//!
//! No clock, no socket, no file, no lock: time and ids are arguments, the edge and the simulator
//! drive it alike. This file is the frame: the struct, the event loop's entry points and the small
//! verbs the APIs share. Requests are understood in `dispatch.rs` and `api/`; what crosses cores is
//! in `mesh.rs` and `remote.rs`; metadata changes come in through `apply.rs`.

pub mod acks;
mod apply;
pub mod ask;
pub mod config;
pub mod connection;
pub mod control;
mod dispatch;
pub mod event;
mod groups;
pub mod inspect;
mod load;
pub mod mesh;
mod moves;
pub mod op;
mod pool;
mod pressure;
pub mod probe;
pub(crate) mod quotas;
pub(crate) mod reader;
pub(crate) mod records;
mod remote;
pub mod response;
pub(crate) mod slices;
pub mod snapshot;
mod stop;
mod telemetry;
mod timers;
pub mod topics;
mod txn;
pub(crate) mod verify;
mod volumes;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use hashbrown::HashMap;
use protocol::compress::Codecs;
use protocol::types::Uuid;
use rustc_hash::FxBuildHasher;
use storage::op::DiskOp;
use storage::prng::Prng;
use storage::types::{CommitSeq, DurabilityClass, LogId, ReadToken, StoreEvent, Volume};
use storage::volumes::Volumes;

use crate::api::fetch::PartitionSet;
use crate::api::fetch_session::{FetchSessions, SessionKey, SessionPartition};
use crate::api::produce::{Done, Target};
use crate::config::BrokerConfig;
use crate::coordinator::group::GroupCoordinator;
use crate::coordinator::txn::TxnCoordinator;
use crate::image::Image;
use crate::ledger::{AppendPath, Record};
use crate::limits;
use crate::planted::{self, Bug};
use crate::telemetry::Telemetry;
use crate::telemetry::metrics::InstanceMetrics;
use crate::time::Now;
use acks::{AckAction, Acks};
use ask::Answer;
use config::ShardConfig;
use connection::{Connections, Flow, SlotId};
use control::ControlPlane;
use event::{ConnId, Core, Event, LogLevel, LogLine, Output, ShardId};
use mesh::MeshMessage;
use op::{OpKey, Ops};
use pool::Pool;
use pressure::Pressure;
use probe::Reading;
use reader::ReadWaiter;
use response::Response;
use timers::Timers;
use topics::Topics;

/// Everything one core owns.
#[derive(Debug)]
pub struct Shard {
    pub(crate) config: ShardConfig,
    /// The broker's settings, with what was altered at run time.
    pub(crate) broker: Arc<BrokerConfig>,
    pub(crate) now: Now,
    pub(crate) store: Volumes,
    pub(crate) image: Image,
    pub(crate) topics: Topics,
    pub(crate) connections: Connections,
    pub(crate) ops: Ops,
    pub(crate) acks: Acks,
    pub(crate) timers: Timers,
    pub(crate) verifications: verify::Verifications,
    pub(crate) moves: moves::Moves,
    pub(crate) slices: slices::Slices,
    pub(crate) sessions: FetchSessions,
    pub(crate) groups: groups::Groups,
    pub(crate) loads: load::Loads,
    pub(crate) coordinator: GroupCoordinator,
    pub(crate) txns: txn::Txns,
    pub(crate) transactions: TxnCoordinator,
    pub(crate) quotas: quotas::Quotas,
    pub(crate) telemetry: Telemetry,
    /// Ids for client instances that have none.
    instance_ids: Prng,
    /// Shard 0 decides about metadata.
    pub(crate) control: Option<ControlPlane>,
    pub(crate) codecs: Codecs,
    pub(crate) pool: Pool,
    pub(crate) reads: HashMap<ReadToken, ReadWaiter, FxBuildHasher>,
    /// Fetches of other shards parked here.
    pub(crate) remote_watches: BTreeMap<(ShardId, OpKey), OpKey>,
    /// Memory for copying a session's partitions.
    pub(crate) fetch_scratch: Vec<(SessionKey, SessionPartition)>,
    /// Memory for finding partitions that a Fetch names twice.
    pub(crate) fetch_seen: PartitionSet,
    /// Memory for a Produce's targets, for what came of its parts, and for a batch that is stored
    /// other than sent.
    pub(crate) produce_targets: Vec<Target>,
    pub(crate) produce_done: Vec<Done>,
    pub(crate) batch_scratch: Vec<u8>,
    /// Parked fetches with news.
    pub(crate) woken: VecDeque<OpKey>,
    pressure: Pressure,
    /// Connections whose held frames may go on.
    unblocked: VecDeque<ConnId>,
    outputs: VecDeque<Output>,
    pub(crate) ledger_on: bool,
    /// Records of requests whose responses were sent, for the edge.
    finished: Vec<Record>,
    /// Volumes whose journal failed, by bit: nothing on them is acknowledged any more.
    pub(crate) journals_failed: u16,
    /// Partitions that went offline since the start.
    partitions_failed: usize,
    /// Bytes of each data folder's disk, and those that are free; -1: not known.
    pub(crate) disk_space: Vec<(i64, i64)>,
    stopping: stop::Stopping,
    turn_over: bool,
}

impl Core for Shard {
    fn handle_event(&mut self, event: Event<'_>, now: Now) {
        self.now = now;
        self.turn_over = false;
        match event {
            Event::Connected { conn, peer, port } => {
                self.connections.insert(conn, peer, port);
                self.note_connection(conn, peer);
            }
            Event::Frame { conn, frame, arrival } => self.handle_frame(conn, frame, arrival),
            Event::Sent { conn, response } => self.handle_sent(conn, response),
            Event::Disconnected { conn } => self.handle_disconnected(conn),
            Event::Disk(done) if snapshot::is_own(done.op) => self.handle_own_disk(done),
            Event::Disk(done) => {
                self.store.handle_disk(done, now.mono_ns, now.wall_ms);
                self.drain_store();
            }
            Event::Mesh { from, message } => self.handle_mesh(from, message),
            Event::Timeout => self.handle_timeout(),
            Event::Reconfigured(broker) => self.reconfigure(broker),
            Event::Stop => self.begin_stop(),
        }
    }

    fn end_turn(&mut self, now: Now) {
        self.now = now;
        self.resume_control();
        self.run_until_quiet();
        self.take_slices();
        self.run_until_quiet();
        self.drive_moves();
        self.acks.note_ordered(now.mono_ns);
        self.store.seal(now.mono_ns, now.wall_ms);
        self.drain_store();
        self.run_until_quiet();
        self.settle_pressure();
        self.end_quota_turn();
        self.continue_stop();
        let ops = &self.ops;
        self.timers.drop_dead(|key| ops.is_live(key));
        self.turn_over = true;
    }

    fn poll_output(&mut self) -> Option<Output> {
        // What acks wait for is before the turn's responses, everything else on the disk after.
        if self.turn_over
            && let Some(op) = self.store.poll_urgent_op()
        {
            return Some(Output::Disk(op));
        }
        if let Some(output) = self.outputs.pop_front() {
            return Some(output);
        }
        if !self.turn_over {
            return None;
        }
        self.store.poll_op().map(Output::Disk)
    }

    fn poll_timeout(&self) -> Option<u64> {
        [
            self.store.poll_timeout(),
            self.timers.next_ns(),
            self.coordinator.poll_timeout(),
            self.transactions.poll_timeout(),
            self.quotas.poll_timeout(),
            self.telemetry.poll_timeout(),
            self.moves.poll_timeout(),
            self.slices_timeout(),
            self.stop_timeout(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn probe(&self, put: &mut dyn FnMut(Reading)) {
        self.read_probe(put);
    }

    fn keep_ledger(&mut self, on: bool) {
        assert!(self.connections.is_empty(), "all requests of a connection are recorded or none");
        self.ledger_on = on;
    }

    fn swap_finished(&mut self, records: &mut Vec<Record>) {
        assert!(records.is_empty(), "what is given in exchange was used up");
        std::mem::swap(records, &mut self.finished);
    }

    fn settings(&self) -> Option<&Arc<BrokerConfig>> {
        self.control.is_some().then_some(&self.broker)
    }

    fn client_metrics_revision(&self) -> u64 {
        self.telemetry.revision()
    }

    fn client_metrics(&self, put: &mut dyn FnMut(&Arc<InstanceMetrics>)) {
        self.telemetry.published().for_each(put);
    }

    fn note_space(&mut self, volume: Volume, total_bytes: u64, usable_bytes: u64) {
        let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        if let Some(space) = self.disk_space.get_mut(usize::from(volume.0)) {
            *space = (bytes(total_bytes), bytes(usable_bytes));
        }
    }

    fn topic_name(&self, topic: Uuid) -> Option<Arc<str>> {
        let index = self.topics.find_id(topic)?;
        Some(Arc::clone(&self.topics.get(index).name))
    }
}

impl Shard {
    /// This shard's id.
    pub fn id(&self) -> ShardId {
        self.config.shard
    }

    pub(crate) fn push(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    pub(crate) fn log(&mut self, level: LogLevel, text: String) {
        self.push(Output::Log(LogLine { level, text }));
    }

    pub(crate) fn send_mesh(&mut self, to: ShardId, message: MeshMessage) {
        assert!(to != self.config.shard, "a shard does not send to itself");
        self.push(Output::Mesh { to, message });
    }

    /// An operation the shard itself (not the store) asks of the disk.
    pub(crate) fn push_disk(&mut self, op: DiskOp) {
        self.push(Output::Disk(op));
    }

    /// Fills a request's slot and sends what may leave. `None`: no answer is due (`acks=0`).
    pub(crate) fn complete(&mut self, slot: SlotId, response: Option<Response>) {
        self.complete_after(slot, response, None);
    }

    /// As `complete`, for a request whose last append took this path.
    pub(crate) fn complete_after(
        &mut self,
        slot: SlotId,
        response: Option<Response>,
        path: Option<&AppendPath>,
    ) {
        let now_ns = self.now.mono_ns;
        let Some(connection) = self.connections.get_mut(slot.conn) else {
            if let Some(response) = response {
                self.pool.give_response(response);
            }
            return;
        };
        connection.complete(slot.seq, response, path, now_ns);
        while let Some(response) = connection.pop_ready(now_ns) {
            self.outputs.push_back(Output::Send { conn: slot.conn, response });
        }
        self.unblocked.push_back(slot.conn);
    }

    pub(crate) fn close(&mut self, conn: ConnId, reason: Option<&'static str>) {
        if let Some(connection) = self.connections.get_mut(conn)
            && !connection.is_closing()
        {
            connection.close();
            self.push(Output::Close { conn, reason });
        }
    }

    fn handle_sent(&mut self, conn: ConnId, response: Response) {
        if let Some(connection) = self.connections.get_mut(conn)
            && let Some(record) = connection.sent(&response, self.now.mono_ns)
            && self.finished.len() < limits::LEDGER_FINISHED_MAX
        {
            self.finished.push(record);
        }
        self.pool.give_response(response);
        self.update_flow(conn);
    }

    fn handle_disconnected(&mut self, conn: ConnId) {
        // Requests under way finish and find the connection gone. A member that joined stays in its
        // group until its session times out, as with Kafka.
        let removed = self.connections.remove(conn);
        if let Some(connection) = removed.as_ref().filter(|gone| gone.muted_until_ns > 0) {
            self.forget_muted(conn, connection.muted_until_ns);
        }
        let parked = removed.map(|connection| connection.parked);
        for key in parked.into_iter().flatten() {
            self.drop_fetch(key);
        }
    }

    pub(crate) fn update_flow(&mut self, conn: ConnId) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        match connection.flow() {
            Flow::Unchanged => {}
            Flow::Pause => self.push(Output::PauseReading { conn }),
            Flow::Resume => self.push(Output::ResumeReading { conn }),
        }
    }

    fn handle_timeout(&mut self) {
        let now = self.now;
        if self.store.poll_timeout().is_some_and(|at| at <= now.mono_ns) {
            self.store.handle_timeout(now.mono_ns, now.wall_ms);
            self.drain_store();
        }
        while let Some(key) = self.timers.pop_due(now.mono_ns) {
            self.expire(key);
            self.ask_again(key);
        }
        if self.quotas.poll_timeout().is_some_and(|at| at <= now.mono_ns) {
            self.handle_quota_timeout();
        }
        self.telemetry.handle_timeout(now.mono_ns);
        if self.coordinator.poll_timeout().is_some_and(|at| at <= now.mono_ns) {
            self.coordinator.handle_timeout(now, &self.topics);
            self.drain_coordinator();
        }
        if self.transactions.poll_timeout().is_some_and(|at| at <= now.mono_ns) {
            self.transactions.handle_timeout(now);
            self.drain_transactions();
        }
    }

    /// Runs what other work has made possible, until nothing is left to run.
    fn run_until_quiet(&mut self) {
        loop {
            if let Some(key) = self.woken.pop_front() {
                self.wake_fetch(key);
            } else if let Some(conn) = self.unblocked.pop_front() {
                self.continue_connection(conn);
            } else if !self.put_next_question() {
                return;
            }
        }
    }

    fn continue_connection(&mut self, conn: ConnId) {
        while let Some((frame, arrival)) =
            self.connections.get_mut(conn).and_then(|c| c.take_held())
        {
            self.dispatch(conn, &frame, arrival);
        }
        self.update_flow(conn);
    }

    /// Takes what the store has to say.
    pub(crate) fn drain_store(&mut self) {
        while let Some((volume, event)) = self.store.poll_event() {
            match event {
                StoreEvent::Committed { durability, commit } => {
                    self.handle_committed(durability, commit);
                }
                StoreEvent::Advanced(log) => self.wake_watchers(log),
                StoreEvent::LogStartMoved(_) => {}
                StoreEvent::ReadDone { token, result } => self.handle_read_done(token, result),
                StoreEvent::FindDone { token, result } => self.handle_find_done(token, result),
                StoreEvent::PartitionFailed { log, why } => self.handle_log_failed(log, &why),
                StoreEvent::JournalFailed { why } => self.handle_journal_failed(volume, &why),
                StoreEvent::SpaceLow => {
                    let text = "disk full: produces are refused until space returns; reads and \
                                deletes go on";
                    let text = self.about(volume, text.to_owned());
                    self.log(LogLevel::Error, text);
                }
                StoreEvent::SpaceBack => {
                    let text = "disk space is back: produces go on".to_owned();
                    let text = self.about(volume, text);
                    self.log(LogLevel::Info, text);
                }
                StoreEvent::Notice(text) => {
                    let text = self.about(volume, text);
                    self.log(LogLevel::Warn, text);
                }
                StoreEvent::Stopped => self.stopping.store_stopped(),
            }
        }
    }

    fn handle_committed(&mut self, durability: DurabilityClass, commit: CommitSeq) {
        let volume = commit.volume();
        let mut written = AppendPath { committed_ns: self.now.mono_ns, ..AppendPath::default() };
        match durability {
            DurabilityClass::Persisted => {
                let write = self.store.last_write(volume);
                written.submitted_ns = write.submitted_ns;
                written.written_ns = write.written_ns;
                written.synced_ns = write.synced_ns;
            }
            // Committed by being sealed, in memory that outlives the process.
            DurabilityClass::Memory => {}
        }
        while let Some((action, path)) =
            self.acks.queue(volume, durability).pop_committed(commit, &written)
        {
            self.run_ack(action, 0, path);
        }
    }

    /// Notes what a request is about: the first partition it names.
    pub(crate) fn note_subject(&mut self, slot: SlotId, topic: Uuid, partition: i32) {
        if let Some(record) = self.record_mut(slot) {
            record.topic = topic;
            record.partition = partition;
        }
    }

    /// The record of a request that is under way, when there is a ledger.
    pub(crate) fn record_mut(&mut self, slot: SlotId) -> Option<&mut Record> {
        if !self.ledger_on {
            return None;
        }
        self.connections.get_mut(slot.conn)?.record_mut(slot.seq)
    }

    /// First offset, high watermark and end of a log of this shard.
    pub(crate) fn bounds(&self, log: LogId) -> Bounds {
        Bounds {
            log_start: self.store.log_start(log).unwrap_or(-1),
            high_watermark: self.store.high_watermark(log).unwrap_or(-1),
            log_end: self.store.log_end(log).unwrap_or(-1),
        }
    }

    /// Runs an action whose records are committed, or refused with `error_code`.
    pub(crate) fn run_ack(&mut self, action: AckAction, error_code: i16, path: AppendPath) {
        match action {
            AckAction::Respond { tag, response } => {
                if error_code == 0 {
                    self.complete_after(tag.slot, Some(response), Some(&path));
                } else {
                    crate::api::produce::refuse_encoded(self, tag, &response, error_code);
                }
            }
            AckAction::Part { op, part, outcome } => {
                self.finish_produce_part(op, part, refused(outcome, error_code), path);
            }
            AckAction::Remote { reply, outcome, taken_ns } => {
                let outcome = refused(outcome, error_code);
                let path = AppendPath { hop_out_ns: taken_ns, ..path };
                self.send_mesh(reply.shard, MeshMessage::Appended { reply, outcome, path });
            }
            AckAction::Answer { reply, answer } => {
                let answer = match *answer {
                    Answer::Deleted { .. }
                        if error_code != 0 && !planted::is(Bug::DeletionAckedByFailedJournal) =>
                    {
                        Answer::Deleted { error_code, low_watermark: -1 }
                    }
                    Answer::Marker { .. } if error_code != 0 => Answer::Marker { error_code },
                    answer => answer,
                };
                self.answer(reply, answer);
            }
            AckAction::Coordinator { append, offset } => {
                self.finish_coordinator_append(append, offset, error_code);
            }
            AckAction::OffsetsMarker { reply, partition, marker } => {
                self.finish_offsets_marker(reply, partition, marker, error_code);
            }
            AckAction::Transactions { append, offset } => {
                self.finish_txn_append(append, offset, error_code);
            }
            AckAction::Control => self.finish_control(error_code),
            AckAction::CopyRemoved { topic_id, partition, directory } => {
                self.handle_copy_removed((topic_id, partition, directory), error_code);
            }
        }
    }
}

/// Where a log begins, where its readers must stop and where it ends. -1: the log is gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Bounds {
    pub(crate) log_start: i64,
    pub(crate) high_watermark: i64,
    pub(crate) log_end: i64,
}

fn refused(outcome: op::ProduceOutcome, error_code: i16) -> op::ProduceOutcome {
    if error_code == 0 { outcome } else { op::ProduceOutcome::error(error_code) }
}

impl Shard {
    /// A shard over a store that recovery has opened, and the metadata that goes with it.
    ///
    /// Serves from the first event on; groups answer that they are loading until their partitions
    /// are replayed.
    pub fn new(config: ShardConfig, store: Volumes, image: Image, now: Now) -> Self {
        let sessions = usize::try_from(config.broker.fetch_sessions_max).unwrap_or(0);
        let control = (config.shard == ShardId(0)).then(|| ControlPlane::new(&config));
        let broker = Arc::clone(&config.broker);
        let mut shard = Self {
            broker,
            now,
            image,
            topics: Topics::new(config.seed),
            connections: Connections::default(),
            ops: Ops::default(),
            acks: Acks::new(store.count()),
            store,
            timers: Timers::default(),
            verifications: verify::Verifications::default(),
            moves: moves::Moves::new(now.mono_ns),
            slices: slices::Slices::default(),
            sessions: FetchSessions::new(config.shard, sessions, config.seed),
            groups: groups::Groups::default(),
            loads: load::Loads::default(),
            coordinator: GroupCoordinator::new(
                groups::coordinator_config(&config.broker),
                config.seed,
            ),
            txns: txn::Txns::default(),
            transactions: TxnCoordinator::new(txn::txn_config(&config.broker)),
            quotas: quotas::Quotas::new(&config.broker),
            telemetry: Telemetry::default(),
            instance_ids: telemetry::instance_ids(&config),
            control,
            codecs: Codecs::default(),
            pool: Pool::default(),
            reads: HashMap::default(),
            remote_watches: BTreeMap::new(),
            fetch_scratch: Vec::new(),
            fetch_seen: Default::default(),
            produce_targets: Vec::new(),
            produce_done: Vec::new(),
            batch_scratch: Vec::new(),
            woken: VecDeque::new(),
            pressure: Pressure::default(),
            unblocked: VecDeque::new(),
            outputs: VecDeque::new(),
            ledger_on: true,
            finished: Vec::new(),
            journals_failed: 0,
            partitions_failed: 0,
            disk_space: vec![(-1, -1); config.directories.len()],
            stopping: stop::Stopping::default(),
            turn_over: true,
            config,
        };
        shard.adopt_image();
        shard.update_quotas();
        shard
    }
}

#[cfg(test)]
mod tests;
