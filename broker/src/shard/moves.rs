//! Replicas of this shard that move between data folders while they serve (decision 0014).
//!
//! One at a time. `storage` copies; this says when the log is held for the switch, asks shard 0 for
//! the record that is the switch, and takes the new log when that is replayed. What changes a held
//! log waits in `moves/held.rs`. Called by the frame at the end of a turn, and by `apply.rs` when a
//! partition's record says something new.

mod held;

use std::collections::BTreeSet;

use protocol::error_code::ErrorCode;
use protocol::types::Uuid;
use storage::types::{DurabilityClass, LogId, PartitionId, Volume};
use storage::volumes::MoveState;

use super::Shard;
use super::acks::AckAction;
use super::ask::{Answer, Ask, ReplyTo};
use super::control::{ControlRequest, ControlResponse};
use super::event::{LogLevel, ShardId};
use super::load::Coordinated;
use super::op::{Op, OpKey};
use super::topics::{TopicIndex, storage_id};
use crate::api::rules;
use crate::controller::directories::{DirectoryChange, ReplicaChange};
use crate::limits;
use crate::planted::{self, Bug};

use self::held::HeldQueue;
pub(super) use self::held::HeldRecords;

/// How far the move under way is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Copying,
    /// Appends wait since then.
    Holding {
        since_ns: u64,
    },
    /// Shard 0 was asked for the record: nothing is given back until it has answered.
    Switching,
}

#[derive(Clone, Copy, Debug)]
struct Current {
    topic_id: Uuid,
    partition: i32,
    log: LogId,
    /// The folder that it goes to.
    to: Uuid,
    stage: Stage,
}

/// The moves of a shard.
#[derive(Debug, Default)]
pub(crate) struct Moves {
    /// Partitions whose record names a folder that they are to be moved to.
    wanted: BTreeSet<(Uuid, i32)>,
    /// Partitions whose record names folders that they have left, of which something can be done.
    left: BTreeSet<(Uuid, i32)>,
    /// Copies that were removed by a frame that is not known to be durable: partition and folder.
    removing: BTreeSet<(Uuid, i32, Uuid)>,
    current: Option<Current>,
    held: HeldQueue,
    /// Nothing is begun or held before; zero: at once.
    retry_at: u64,
    /// Nothing of what is left is seen to before; zero: at once.
    left_at: u64,
}

impl Moves {
    /// Those of a shard that starts. What the life before had begun waits for a moment, so that a
    /// start by itself changes no metadata: what it comes to is what was there.
    pub fn new(mono_ns: u64) -> Self {
        let at = mono_ns + limits::MOVE_AFTER_START_NS;
        Self { retry_at: at, left_at: at, ..Self::default() }
    }

    /// Whether appends to a log wait.
    pub fn is_held(&self, log: LogId) -> bool {
        let held = |current: Current| current.log == log && current.stage != Stage::Copying;
        self.current.is_some_and(held) && !planted::is(Bug::SwitchBeforeTheRest)
    }

    /// Whether appends to any log wait.
    pub fn holds(&self) -> bool {
        self.current.is_some_and(|current| current.stage != Stage::Copying)
    }

    fn is_idle(&self) -> bool {
        self.current.is_none() && self.wanted.is_empty() && self.left.is_empty()
    }

    /// When the shard must look again.
    pub fn poll_timeout(&self) -> Option<u64> {
        let left = (!self.left.is_empty() && self.left_at > 0).then_some(self.left_at);
        let next = match self.current.map(|current| current.stage) {
            None if self.wanted.is_empty() => None,
            None | Some(Stage::Copying) => (self.retry_at > 0).then_some(self.retry_at),
            Some(Stage::Holding { since_ns }) => Some(since_ns + limits::MOVE_HOLD_NS_MAX),
            Some(Stage::Switching) => None,
        };
        left.into_iter().chain(next).min()
    }

    /// What waited for this time need not any longer.
    fn note_time(&mut self, mono_ns: u64) {
        for at in [&mut self.retry_at, &mut self.left_at] {
            if *at <= mono_ns {
                *at = 0;
            }
        }
    }
}

impl Shard {
    /// A partition of this shard came to be, or its record says something new.
    pub(super) fn note_place(&mut self, topic_id: Uuid, partition: i32) {
        let place = (topic_id, partition);
        let known = self.image.topic_by_id(&topic_id).and_then(|topic| topic.partition(partition));
        let Some(known) = known else { return };
        let (directory, moving_to) = (known.directory, known.moving_to);
        if known.left.is_empty() {
            self.moves.left.remove(&place);
        } else {
            self.moves.left.insert(place);
        }
        if moving_to.is_zero() {
            self.moves.wanted.remove(&place);
        } else {
            self.moves.wanted.insert(place);
        }
        let Some(current) = self.moves.current else { return };
        if (current.topic_id, current.partition) != place || current.to == moving_to {
            return;
        }
        if current.to == directory {
            self.switch_log(current);
        } else {
            self.end_move();
        }
    }

    /// A log of this shard goes with its partition, and every copy of it.
    pub(super) fn forget_place(&mut self, topic_id: Uuid, partition: i32) {
        let place = (topic_id, partition);
        self.moves.wanted.remove(&place);
        self.moves.left.remove(&place);
        let current = self.moves.current;
        if current.is_some_and(|current| (current.topic_id, current.partition) == place) {
            self.store.freeze_move(false);
            self.end_move();
        }
        let id = PartitionId { topic_id: storage_id(topic_id), partition };
        for volume in (0..self.store.count() as u8).map(Volume) {
            if let Some(copy) = self.store.find_on(volume, &id) {
                self.store.remove_partition(copy, self.now.mono_ns);
            }
        }
    }

    /// Goes on with what moves, at the end of a turn.
    pub(super) fn drive_moves(&mut self) {
        self.moves.note_time(self.now.mono_ns);
        if self.moves.is_idle() || self.is_flushing() {
            return;
        }
        self.remove_what_is_left();
        match self.moves.current {
            None => self.begin_next_move(),
            Some(current) => self.continue_move(current),
        }
    }

    /// Copies in folders that a partition has left, or never came to, go.
    fn remove_what_is_left(&mut self) {
        if self.moves.left_at > 0 {
            return;
        }
        for (topic_id, partition) in std::mem::take(&mut self.moves.left) {
            let topic = self.image.topic_by_id(&topic_id);
            let known = topic.and_then(|topic| topic.partition(partition));
            let left = known.map(|known| known.left.clone()).unwrap_or_default();
            for directory in left {
                self.remove_left(topic_id, partition, directory);
            }
        }
    }

    fn remove_left(&mut self, topic_id: Uuid, partition: i32, directory: Uuid) {
        let volume = self.config.volume_of(&directory);
        // In a folder that is offline it may be still: the start that has the folder sees to it.
        // Of one that is being removed shard 0 hears when that is durable.
        let being_removed = self.moves.removing.contains(&(topic_id, partition, directory));
        if self.is_offline(volume) || being_removed {
            return;
        }
        let id = PartitionId { topic_id: storage_id(topic_id), partition };
        match self.store.find_on(volume, &id) {
            None => {
                let to = DirectoryChange::Gone(directory);
                self.ask_for_change(ReplicaChange { topic_id, partition, to });
            }
            Some(copy) => {
                if !self.remove_copy((topic_id, partition, directory), copy) {
                    self.moves.left.insert((topic_id, partition));
                }
            }
        }
    }

    /// Removes a log that does not count; that it is gone is told when a frame that says so is
    /// durable, because a start that finds it must find the folder in the partition's record.
    /// `false`: not now.
    fn remove_copy(&mut self, (topic_id, partition, at): (Uuid, i32, Uuid), copy: LogId) -> bool {
        assert!(self.topics.log(copy).is_none(), "only a copy that does not count is removed");
        if self.store.has_reads(copy) {
            // Of fetches that began before the switch: each that is answered brings a turn.
            return false;
        }
        if !self.store.has_room_to_delete(copy.volume()) {
            self.moves.left_at = self.now.mono_ns + limits::MOVE_RETRY_NS;
            return false;
        }
        let removed = self.store.remove_partition(copy, self.now.mono_ns);
        let commit = removed.expect("there was room to say so");
        self.moves.removing.insert((topic_id, partition, at));
        let action = AckAction::CopyRemoved { topic_id, partition, directory: at };
        self.acks.push(DurabilityClass::Persisted, commit, action);
        true
    }

    /// A copy is gone for good, or its folder failed and the next start sees to it.
    pub(super) fn handle_copy_removed(
        &mut self,
        (topic_id, partition, directory): (Uuid, i32, Uuid),
        error_code: i16,
    ) {
        self.moves.removing.remove(&(topic_id, partition, directory));
        let topic = self.image.topic_by_id(&topic_id);
        let known = topic.and_then(|topic| topic.partition(partition));
        if error_code == 0 && known.is_some_and(|known| known.left.contains(&directory)) {
            let to = DirectoryChange::Gone(directory);
            self.ask_for_change(ReplicaChange { topic_id, partition, to });
        }
    }

    /// Shard 0 is asked for a record about a replica.
    pub(super) fn ask_for_change(&mut self, change: ReplicaChange) {
        let reply =
            ReplyTo { shard: self.config.shard, op: self.ops.insert(Op::Move(change)), part: 0 };
        let request = ControlRequest::Directories(vec![change]);
        self.ask(ShardId(0), reply, Ask::Control { version: 0, request });
    }

    fn begin_next_move(&mut self) {
        if self.is_stopping() || self.moves.retry_at > 0 || !self.store.can_begin_move() {
            return;
        }
        let mut refused = Vec::new();
        let mut begun = None;
        for (topic_id, partition) in self.moves.wanted.clone() {
            let topic = self.image.topic_by_id(&topic_id);
            let known = topic.and_then(|topic| topic.partition(partition));
            let Some(known) = known.filter(|known| !known.moving_to.is_zero()) else {
                // The wish was taken back while shard 0 was asked to give it up.
                self.moves.wanted.remove(&(topic_id, partition));
                continue;
            };
            let (to, left) = (known.moving_to, known.left.contains(&known.moving_to));
            let index = self.topics.find_id(topic_id);
            let place = index.and_then(|index| self.topics.partition(index, partition));
            let Some(log) = place.and_then(|place| place.log) else { continue };
            let volume = self.config.volume_of(&to);
            if self.is_offline(volume) || volume == log.volume() {
                let to = DirectoryChange::GivenUp(to);
                refused.push(ReplicaChange { topic_id, partition, to });
                continue;
            }
            // An offline log stays where it is; what is left over there goes first.
            let failed = self.topics.log(log).is_none_or(|local| local.failed);
            let id = PartitionId { topic_id: storage_id(topic_id), partition };
            if let Some(copy) = self.store.find_on(volume, &id) {
                // Of a move that failed, and of which shard 0 would not hear.
                if !self.remove_copy((topic_id, partition, to), copy) {
                    self.moves.retry_at = self.now.mono_ns + limits::MOVE_RETRY_NS;
                }
                continue;
            }
            if begun.is_none() && !failed && !left {
                let stage = Stage::Copying;
                begun = Some((Current { topic_id, partition, log, to, stage }, volume));
            }
        }
        for change in refused {
            self.moves.wanted.remove(&(change.topic_id, change.partition));
            let text = "the data folder is offline";
            self.tell_move_failed(change.topic_id, change.partition, text);
            self.ask_for_change(change);
        }
        if let Some((current, volume)) = begun {
            self.moves.wanted.remove(&(current.topic_id, current.partition));
            self.moves.current = Some(current);
            self.store.begin_move(current.log, volume);
        }
    }

    fn tell_move_failed(&mut self, topic_id: Uuid, partition: i32, why: &str) {
        let name = self.image.topic_by_id(&topic_id).map_or("?", |topic| &topic.name);
        let text = format!("{name}-{partition} stays in its data folder: {why}");
        self.log(LogLevel::Warn, text);
    }

    fn continue_move(&mut self, mut current: Current) {
        loop {
            let state = self.store.move_state();
            match (state, current.stage) {
                (_, Stage::Switching) => return,
                (Some(MoveState::Failed(why)), _) => {
                    let Current { topic_id, partition, to, .. } = current;
                    self.end_move();
                    if !why.is_empty() {
                        self.moves.wanted.remove(&(topic_id, partition));
                        self.tell_move_failed(topic_id, partition, &why);
                        let to = DirectoryChange::GivenUp(to);
                        self.ask_for_change(ReplicaChange { topic_id, partition, to });
                    }
                    return;
                }
                (None, _) => return self.end_move(),
                (Some(MoveState::Near | MoveState::Ready), Stage::Copying) => {
                    let may = !self.is_stopping()
                        && self.moves.retry_at == 0
                        && !self.store.is_pressed()
                        && !self.loads.has(current.log);
                    if !may {
                        return;
                    }
                    self.store.hold_move(true);
                    current.stage = Stage::Holding { since_ns: self.now.mono_ns };
                    self.moves.current = Some(current);
                }
                (Some(MoveState::Ready), Stage::Holding { .. }) => {
                    self.store.freeze_move(true);
                    current.stage = Stage::Switching;
                    self.moves.current = Some(current);
                    let Current { topic_id, partition, to, .. } = current;
                    let to = DirectoryChange::Arrived(to);
                    return self.ask_for_change(ReplicaChange { topic_id, partition, to });
                }
                (Some(_), Stage::Holding { since_ns }) => {
                    if self.is_stopping() || self.now.mono_ns >= since_ns + limits::MOVE_HOLD_NS_MAX
                    {
                        self.let_go(current);
                    }
                    return;
                }
                (Some(MoveState::Copying), Stage::Copying) => return,
            }
        }
    }

    /// The held log goes on where it is; the copy follows it, and is tried again in a moment.
    fn let_go(&mut self, mut current: Current) {
        self.store.freeze_move(false);
        self.store.hold_move(false);
        current.stage = Stage::Copying;
        self.moves.current = Some(current);
        self.moves.retry_at = self.now.mono_ns + limits::MOVE_RETRY_NS;
        self.release_held();
    }

    /// The move is over without a switch.
    fn end_move(&mut self) {
        let Some(current) = self.moves.current.take() else { return };
        self.store.end_move();
        // The wish may be there still, or another.
        let place = (current.topic_id, current.partition);
        let known = self.image.topic_by_id(&place.0).and_then(|topic| topic.partition(place.1));
        if known.is_some_and(|known| !known.moving_to.is_zero()) {
            self.moves.wanted.insert(place);
            self.moves.retry_at = self.now.mono_ns + limits::MOVE_RETRY_NS;
        }
        self.release_held();
    }

    /// The record that is the switch was replayed: the copy is the partition's log.
    fn switch_log(&mut self, current: Current) {
        let Current { topic_id, partition, log: old, .. } = current;
        self.moves.current = None;
        let new = self.store.finish_move(self.now.mono_ns);
        let index = self.topics.find_id(topic_id).expect("its record was just replayed");
        let id = PartitionId { topic_id: storage_id(topic_id), partition };
        let config = self.topics.get(index).config;
        let config = rules::log_config(&config, &self.broker, id, self.config.seed);
        self.store.set_config(new, config);
        let was_offline = self.topics.log(old).is_none_or(|local| local.failed);
        let watchers = self.take_over(index, partition, old, new);
        self.woken.extend(watchers);
        self.loads.follow(old, new);
        let waiting = self.take_verifications(old);
        self.moves.held.put_before(waiting);
        match self.store.failure(new).map(str::to_owned) {
            Some(why) => self.handle_log_failed(new, &why),
            None if was_offline => {
                self.refuse_held_records();
                self.load_moved(index, partition, new);
            }
            None => {}
        }
        // The old one goes in `remove_what_is_left`, when reads under way have been answered.
        self.release_held();
    }

    /// The folder that was left failed just before: a coordinator has let the partition go then.
    fn load_moved(&mut self, index: TopicIndex, partition: i32, log: LogId) {
        let topic = self.topics.get(index);
        let leader_epoch = topic.partitions[partition as usize].leader_epoch;
        if let Some(whose) = Coordinated::of_topic(&topic.name) {
            self.begin_load(whose, partition, leader_epoch, log);
        }
    }

    fn take_over(
        &mut self,
        index: TopicIndex,
        partition: i32,
        old: LogId,
        new: LogId,
    ) -> Vec<OpKey> {
        let local = self.topics.remove_log(old);
        self.topics.insert_log(new, index, partition, false);
        self.topics.get_mut(index).partitions[partition as usize].log = Some(new);
        local.map(|local| local.watchers).unwrap_or_default()
    }

    /// Shard 0 has answered what was asked of it about a replica.
    pub(super) fn handle_changed(&mut self, key: OpKey, answer: &Answer) {
        let Some(Op::Move(change)) = self.ops.take(key) else { return };
        self.ops.end(key);
        let refused = match answer {
            Answer::Control(ControlResponse::Directories(refusal)) => refusal.is_some(),
            // Only a queue that is full says this of what was not tried.
            Answer::Control(ControlResponse::Failed(code)) => {
                if *code != ErrorCode::RequestTimedOut {
                    // The metadata log has failed: nobody knows, and the broker stops.
                    return;
                }
                true
            }
            _ => unreachable!("a control request is answered by the control plane"),
        };
        let place = (change.topic_id, change.partition);
        match change.to {
            DirectoryChange::Arrived(to) => {
                // Had it been written, it would have been replayed by now.
                if let Some(current) = self.moves.current
                    && (current.topic_id, current.partition, current.to) == (place.0, place.1, to)
                    && current.stage == Stage::Switching
                {
                    self.let_go(current);
                }
            }
            DirectoryChange::GivenUp(_) if refused => {
                self.moves.wanted.insert(place);
                self.moves.retry_at = self.now.mono_ns + limits::MOVE_RETRY_NS;
            }
            DirectoryChange::Gone(_) if refused => {
                self.moves.left.insert(place);
                self.moves.left_at = self.now.mono_ns + limits::MOVE_RETRY_NS;
            }
            DirectoryChange::GivenUp(_) | DirectoryChange::Gone(_) | DirectoryChange::Wanted(_) => {
            }
        }
    }

    /// Bytes and lag of the copy of a partition that is being moved.
    pub(crate) fn future_replica(&self, topic_id: Uuid, partition: i32) -> Option<(i64, i64)> {
        let topic = self.image.topic_by_id(&topic_id)?;
        topic.partition(partition).filter(|known| !known.moving_to.is_zero())?;
        let index = self.topics.find_id(topic_id)?;
        let log = self.topics.partition(index, partition)?.log?;
        let end = self.store.log_end(log).unwrap_or(0);
        let here = self.moves.current.filter(|current| current.log == log);
        let progress = here.and_then(|_| self.store.move_progress()).unwrap_or_default();
        let bytes = i64::try_from(progress.bytes).unwrap_or(i64::MAX);
        Some((bytes, (end - progress.end_offset).max(0)))
    }
}
