//! The connections of a shard: their streams cut into frames, their responses in order, their end.
//!
//! A connection lives in a slot until its last operation on the ring has completed, because the
//! kernel holds addresses of its memory until then. The shard hears `Disconnected` once, and
//! nothing after it. What a frame means is not known here; each frame is expected to be answered by
//! one `Output::Send`, an empty response when nothing goes out, so that a peer that closes its
//! sending half still gets every answer.
#![expect(unsafe_code, reason = "entries carry descriptors and addresses the slot keeps alive")]

mod intake;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};

use io_uring::{opcode, types};
use slab::Slab;
use storage::edge::ring::{Completion, Ring};

use super::buffers::{GROUP, ReceiveBuffers};
use super::counters::Counters;
use super::frames::{FrameReader, SpareBuffers};
use super::outbox::{Outbox, Sent, SpareMessages};
use super::share::Share;
use super::user_data::{self, Kind};
use crate::shard::event::{ConnId, Event};
use crate::shard::response::Response;

/// Bits of a `ConnId` that name the slot: at most so many connections per shard.
const SLOT_BITS: u32 = 20;

/// After a peer closed its sending half, so long may its answers take.
const HALF_CLOSED_MS_MAX: u64 = 30_000;

/// After so many bytes that sends of much data handed to the kernel, the next one waits for the
/// next turn: others wait for the copy of one or two.
const TURN_BULK_BYTES_MAX: usize = 512 * 1024;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Receiving {
    Off,
    Armed,
    Cancelling,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Open,
    /// The shard wants it closed once its responses are out.
    Draining,
    /// Over for the shard; operations on the ring are still to complete.
    Ending,
}

#[derive(Debug)]
struct Connection {
    id: ConnId,
    socket: Option<OwnedFd>,
    peer: IpAddr,
    phase: Phase,
    receiving: Receiving,
    paused: bool,
    /// The peer sends nothing more.
    ended: bool,
    reader: FrameReader,
    /// Bytes that arrived while paused, or beyond the connection's share of a turn.
    held: Vec<u8>,
    /// How many of them were handed on.
    held_at: usize,
    /// When the first of them arrived.
    held_since_ns: u64,
    /// In `Connections::resumed`.
    is_resumed: bool,
    share: Share,
    outbox: Outbox,
    /// Frames handed to the shard and not answered.
    unanswered: u32,
    is_dirty: bool,
    active_ns: u64,
}

/// Something the shard has to hear that no completion says.
#[derive(Debug)]
enum Local {
    Sent { conn: ConnId, response: Response },
    Disconnected { conn: ConnId },
}

/// Bounds of a connection.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// A request above this closes its connection.
    pub frame_bytes_max: u32,
    /// A connection without traffic for this long is closed.
    pub idle_ms: u64,
}

/// All connections of a shard.
#[derive(Debug)]
pub struct Connections {
    limits: ConnectionLimits,
    slots: Slab<Connection>,
    opened: u64,
    /// Slots with something to send, or to end.
    dirty: Vec<u32>,
    /// Those of them that have much to send, in turn: what others have goes before.
    bulk: VecDeque<u32>,
    /// Slots with held bytes to hand on, in turn.
    resumed: VecDeque<u32>,
    /// Counts the turns of the event loop.
    turn: u64,
    /// Slots whose receive ended for want of a buffer.
    starved: Vec<u32>,
    local: VecDeque<Local>,
    spare_buffers: SpareBuffers,
    spare_messages: SpareMessages,
    /// The kernel knows multishot receives.
    multishot: bool,
    /// Peers of connections that are gone, for the limits.
    released: Vec<IpAddr>,
    /// Lines for the operator.
    notices: Vec<String>,
}

impl Connections {
    /// No connections.
    pub fn new(limits: ConnectionLimits) -> Self {
        Self {
            limits,
            slots: Slab::new(),
            opened: 0,
            dirty: Vec::new(),
            bulk: VecDeque::new(),
            resumed: VecDeque::new(),
            turn: 1,
            starved: Vec::new(),
            local: VecDeque::new(),
            spare_buffers: SpareBuffers::default(),
            spare_messages: SpareMessages::default(),
            multishot: true,
            released: Vec::new(),
            notices: Vec::new(),
        }
    }

    /// Slots in use: open connections and those whose operations have not completed.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether no slot is in use.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Whether one more fits.
    pub fn has_room(&self) -> bool {
        self.slots.len() < 1 << SLOT_BITS
    }

    /// Whether something waits to be told to the shard, or must be done before sleeping.
    pub fn has_work(&self) -> bool {
        !self.local.is_empty() || !self.resumed.is_empty() || !self.bulk.is_empty()
    }

    /// Peers of connections closed since the last call.
    pub fn take_released(&mut self) -> impl Iterator<Item = IpAddr> {
        self.released.drain(..)
    }

    /// Lines for the operator since the last call.
    pub fn take_notices(&mut self) -> impl Iterator<Item = String> {
        self.notices.drain(..)
    }

    /// Takes a new connection and starts to receive.
    pub fn open(
        &mut self,
        socket: OwnedFd,
        (peer, port): (IpAddr, u16),
        now_ns: u64,
        ring: &mut Ring,
        deliver: &mut impl FnMut(Event<'_>),
    ) {
        self.opened += 1;
        let vacant = self.slots.vacant_entry();
        let slot = vacant.key() as u32;
        let id = ConnId(self.opened << SLOT_BITS | u64::from(slot));
        vacant.insert(Connection {
            id,
            socket: Some(socket),
            peer,
            phase: Phase::Open,
            receiving: Receiving::Off,
            paused: false,
            ended: false,
            reader: FrameReader::default(),
            held: Vec::new(),
            held_at: 0,
            held_since_ns: 0,
            is_resumed: false,
            share: Share::default(),
            outbox: Outbox::default(),
            unanswered: 0,
            is_dirty: false,
            active_ns: now_ns,
        });
        deliver(Event::Connected { conn: id, peer, port });
        self.arm(slot, ring);
    }

    fn find(&mut self, conn: ConnId) -> Option<(u32, &mut Connection)> {
        let slot = (conn.0 & ((1 << SLOT_BITS) - 1)) as u32;
        let connection = self.slots.get_mut(slot as usize)?;
        (connection.id == conn).then_some((slot, connection))
    }

    fn get(&mut self, slot: u32) -> &mut Connection {
        self.slots.get_mut(slot as usize).expect("a slot lives until its last completion")
    }

    fn arm(&mut self, slot: u32, ring: &mut Ring) {
        let multishot = self.multishot;
        let connection = self.get(slot);
        let wanted = match connection.phase {
            Phase::Open => !connection.paused && !connection.ended && connection.held.is_empty(),
            Phase::Draining | Phase::Ending => false,
        };
        let (Receiving::Off, true, Some(socket)) =
            (connection.receiving, wanted, connection.socket.as_ref())
        else {
            return;
        };
        connection.receiving = Receiving::Armed;
        let fd = types::Fd(socket.as_raw_fd());
        let entry = if multishot {
            opcode::RecvMulti::new(fd, GROUP).build()
        } else {
            opcode::Recv::new(fd, std::ptr::null_mut(), 0)
                .buf_group(GROUP)
                .build()
                .flags(io_uring::squeue::Flags::BUFFER_SELECT)
        };
        let entry = entry.user_data(user_data::of(Kind::Receive, slot));
        // SAFETY: the bytes go to a provided buffer; the entry itself carries no address.
        unsafe { ring.push(entry) };
    }

    /// Takes a completed receive. The buffer it used is back in the pool afterwards.
    pub fn handle_receive(
        &mut self,
        completion: Completion,
        now_ns: u64,
        ring: &mut Ring,
        buffers: &mut ReceiveBuffers,
        counters: &Counters,
        deliver: &mut impl FnMut(Event<'_>),
    ) {
        let slot = user_data::slot(completion.user_data);
        let connection = self.get(slot);
        if !completion.has_more() {
            connection.receiving = Receiving::Off;
        }
        let result = completion.result;
        if let Some(buffer) = completion.buffer() {
            if let Ok(bytes @ 1..) = usize::try_from(result) {
                connection.active_ns = now_ns;
                counters.received_bytes.add(bytes as u64);
                self.feed(slot, buffers.received(buffer, bytes), now_ns, counters, deliver);
            }
            buffers.give_back(buffer);
        }
        let connection = self.get(slot);
        if result == 0 {
            connection.ended = true;
            self.mark_dirty(slot);
        } else if result < 0 {
            match -result {
                libc::ENOBUFS => {
                    counters.receive_buffers_exhausted.add(1);
                    self.starved.push(slot);
                    return;
                }
                // Ours: a pause, or the end.
                libc::ECANCELED => {}
                libc::EINTR | libc::EAGAIN => {}
                libc::EINVAL if self.multishot => self.multishot = false,
                _ => self.end(slot),
            }
        }
        let connection = self.get(slot);
        match (connection.phase, connection.receiving) {
            (Phase::Ending, _) => self.try_free(slot, ring),
            (Phase::Open | Phase::Draining, Receiving::Off) => self.arm(slot, ring),
            (Phase::Open, Receiving::Armed) if connection.paused || !connection.held.is_empty() => {
                self.cancel_receive(slot, ring);
            }
            (Phase::Open | Phase::Draining, Receiving::Armed | Receiving::Cancelling) => {}
        }
    }

    fn cancel_receive(&mut self, slot: u32, ring: &mut Ring) {
        self.get(slot).receiving = Receiving::Cancelling;
        let entry = opcode::AsyncCancel::new(user_data::of(Kind::Receive, slot))
            .build()
            .user_data(user_data::of(Kind::Ignored, slot));
        // SAFETY: a cancellation carries no address.
        unsafe { ring.push(entry) };
    }

    /// Takes a completed send and gives back what is out whole.
    pub fn handle_send(
        &mut self,
        completion: Completion,
        now_ns: u64,
        ring: &mut Ring,
        counters: &Counters,
        deliver: &mut impl FnMut(Event<'_>),
    ) {
        let slot = user_data::slot(completion.user_data);
        let connection =
            self.slots.get_mut(slot as usize).expect("a slot lives until its last completion");
        match connection.outbox.handle_sent(completion.result, &mut self.spare_messages) {
            Sent::Bytes(bytes) => {
                connection.active_ns = now_ns;
                counters.sent_bytes.add(bytes);
                let tells = match connection.phase {
                    Phase::Open | Phase::Draining => true,
                    Phase::Ending => false,
                };
                while let Some(response) = connection.outbox.pop_sent() {
                    if tells {
                        counters.responses.add(1);
                        deliver(Event::Sent { conn: connection.id, response });
                    }
                }
                self.mark_dirty(slot);
            }
            Sent::Failed => self.end(slot),
        }
        match self.get(slot).phase {
            Phase::Ending => self.try_free(slot, ring),
            Phase::Open | Phase::Draining => {}
        }
    }

    /// Queues a response. One for a connection that is gone is dropped.
    pub fn send(&mut self, conn: ConnId, response: Response) {
        let Some((slot, connection)) = self.find(conn) else { return };
        match connection.phase {
            Phase::Open | Phase::Draining => {}
            Phase::Ending => return,
        }
        connection.unanswered = connection.unanswered.saturating_sub(1);
        connection.outbox.push(response);
        self.mark_dirty(slot);
    }

    /// Closes once everything queued is out.
    pub fn close(&mut self, conn: ConnId, reason: Option<&'static str>) {
        let Some((slot, connection)) = self.find(conn) else { return };
        match connection.phase {
            Phase::Open => connection.phase = Phase::Draining,
            Phase::Draining | Phase::Ending => return,
        }
        if let Some(reason) = reason {
            let line = format!("connection from {} closed: {reason}", connection.peer);
            self.notices.push(line);
        }
        self.mark_dirty(slot);
    }

    /// Stops handing on frames. The receive is cancelled only when bytes arrive meanwhile: most
    /// pauses are shorter than that.
    pub fn pause(&mut self, conn: ConnId) {
        if let Some((_, connection)) = self.find(conn) {
            connection.paused = true;
        }
    }

    /// Hands on frames again.
    pub fn resume(&mut self, conn: ConnId, ring: &mut Ring) {
        let Some((slot, connection)) = self.find(conn) else { return };
        if !std::mem::take(&mut connection.paused) {
            return;
        }
        if connection.held.is_empty() {
            self.arm(slot, ring);
        } else {
            self.queue(slot);
        }
    }

    /// Tells the shard what no completion says: frames held while paused, responses without bytes,
    /// ends.
    pub fn deliver_local(
        &mut self,
        ring: &mut Ring,
        counters: &Counters,
        deliver: &mut impl FnMut(Event<'_>),
    ) {
        self.hand_on_held(ring, counters, deliver);
        while let Some(local) = self.local.pop_front() {
            match local {
                Local::Sent { conn, response } => deliver(Event::Sent { conn, response }),
                Local::Disconnected { conn } => deliver(Event::Disconnected { conn }),
            }
        }
    }

    /// Starts what the turn left to do: sends, ends, receives that wait for buffers. Called when
    /// buffers were published and before the ring is entered.
    pub fn flush(&mut self, ring: &mut Ring, counters: &Counters) {
        self.turn += 1;
        for _ in 0..self.starved.len() {
            let slot = self.starved.swap_remove(0);
            if self.slots.contains(slot as usize) {
                self.arm(slot, ring);
                self.mark_dirty(slot);
            }
        }
        // The last first: news for long polls come after the acks they follow, and are waited for.
        while let Some(slot) = self.dirty.pop() {
            let outbox = self.slots.get(slot as usize).map(|connection| &connection.outbox);
            if outbox.is_some_and(|outbox| outbox.bulk_bytes() > 0) {
                self.bulk.push_back(slot);
            } else {
                self.flush_one(slot, ring, counters);
            }
        }
        let mut bytes = 0;
        while bytes < TURN_BULK_BYTES_MAX
            && let Some(slot) = self.bulk.pop_front()
        {
            bytes += self.slots.get(slot as usize).map_or(0, |one| one.outbox.bulk_bytes());
            self.flush_one(slot, ring, counters);
        }
    }

    fn flush_one(&mut self, slot: u32, ring: &mut Ring, counters: &Counters) {
        let Some(connection) = self.slots.get_mut(slot as usize) else { return };
        connection.is_dirty = false;
        match connection.phase {
            Phase::Ending => return self.try_free(slot, ring),
            Phase::Open | Phase::Draining => {}
        }
        while let Some(response) = connection.outbox.pop_sent() {
            self.local.push_back(Local::Sent { conn: connection.id, response });
        }
        if let Some(socket) = &connection.socket
            && let Some(entry) =
                connection.outbox.next_send(socket.as_raw_fd(), &mut self.spare_messages)
        {
            counters.sends.add(1);
            // SAFETY: the outbox keeps the responses and the message header until the completion.
            unsafe { ring.push(entry.user_data(user_data::of(Kind::Send, slot))) };
        }
        if connection.outbox.is_empty() {
            let over = match connection.phase {
                Phase::Draining => true,
                Phase::Open | Phase::Ending => {
                    connection.ended && connection.unanswered == 0 && connection.held.is_empty()
                }
            };
            if over {
                self.end(slot);
                self.try_free(slot, ring);
            }
        }
    }

    /// Ends connections without traffic and half-closed ones whose answers never came.
    pub fn sweep(&mut self, now_ns: u64) {
        let idle_ns = self.limits.idle_ms.saturating_mul(1_000_000);
        let half_closed_ns = HALF_CLOSED_MS_MAX * 1_000_000;
        let over: Vec<u32> = self
            .slots
            .iter()
            .filter(|(_, connection)| {
                let silent_ns = now_ns.saturating_sub(connection.active_ns);
                silent_ns > idle_ns || connection.ended && silent_ns > half_closed_ns
            })
            .map(|(slot, _)| slot as u32)
            .collect();
        for slot in over {
            self.end(slot);
        }
    }

    /// Ends every connection, whatever is queued.
    pub fn end_all(&mut self) {
        let all: Vec<u32> = self.slots.iter().map(|(slot, _)| slot as u32).collect();
        for slot in all {
            self.end(slot);
        }
    }

    /// Whether every response is out.
    pub fn all_sent(&self) -> bool {
        self.slots.iter().all(|(_, connection)| match connection.phase {
            Phase::Open | Phase::Draining => connection.outbox.is_empty(),
            Phase::Ending => true,
        })
    }

    fn mark_dirty(&mut self, slot: u32) {
        let connection = self.get(slot);
        if !connection.is_dirty {
            connection.is_dirty = true;
            self.dirty.push(slot);
        }
    }

    /// The connection is over for the shard. Its slot is freed when nothing is under way on it.
    fn end(&mut self, slot: u32) {
        let connection = self.get(slot);
        match connection.phase {
            Phase::Open | Phase::Draining => {}
            Phase::Ending => return,
        }
        connection.phase = Phase::Ending;
        let conn = connection.id;
        let under_way = connection.receiving != Receiving::Off || connection.outbox.is_sending();
        if under_way && let Some(socket) = &connection.socket {
            // SAFETY: a descriptor this slot owns. Both operations complete because of it.
            unsafe { libc::shutdown(socket.as_raw_fd(), libc::SHUT_RDWR) };
        }
        self.local.push_back(Local::Disconnected { conn });
        self.mark_dirty(slot);
    }

    fn try_free(&mut self, slot: u32, ring: &mut Ring) {
        let connection = self.get(slot);
        if connection.receiving != Receiving::Off || connection.outbox.is_sending() {
            return;
        }
        let mut connection = self.slots.remove(slot as usize);
        connection.reader.reset(&mut self.spare_buffers);
        connection.outbox.clear();
        self.released.push(connection.peer);
        if let Some(socket) = connection.socket.take() {
            let entry = opcode::Close::new(types::Fd(socket.into_raw_fd()))
                .build()
                .user_data(user_data::of(Kind::Ignored, slot));
            // SAFETY: the descriptor is owned by this entry alone.
            unsafe { ring.push(entry) };
        }
    }
}
