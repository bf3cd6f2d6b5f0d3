//! Connections as a shard sees them: whose answers are due, and in which order.
//!
//! Not the socket: that is the edge's. A connection's requests may finish in any order; their
//! answers leave in the order the requests came (the protocol guide's rule), so each request owns a
//! slot.

use std::collections::VecDeque;
use std::net::IpAddr;

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

use super::event::ConnId;
use super::op::OpKey;
use super::quotas::ClientAccounts;
use super::response::Response;
use crate::ledger::{AppendPath, Arrival, Point, Record};
use crate::limits;
use crate::planted::{self, Bug};

/// The place of one request in its connection's order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SlotId {
    pub conn: ConnId,
    /// Counts the connection's requests from 0.
    pub seq: u64,
}

#[derive(Debug)]
enum Slot {
    Waiting,
    Ready(Response),
    /// Done without an answer (`acks=0`).
    Silent,
}

/// One client connection.
#[derive(Debug)]
pub struct Connection {
    pub peer: IpAddr,
    pub peer_port: u16,
    /// Name and version of the client's library, when it said them (KIP-511).
    pub software: Option<Box<(String, String)>>,
    slots: VecDeque<Slot>,
    /// Sequence of `slots[0]`.
    first_seq: u64,
    /// The request that must finish before the next one starts.
    barrier: Option<u64>,
    /// Frames behind the barrier.
    held: VecDeque<(Vec<u8>, Arrival)>,
    /// Of every request whose response was not sent, in order; empty without a ledger.
    records: VecDeque<Record>,
    /// Sequence of `records[0]`.
    first_record_seq: u64,
    paused: bool,
    unsent_bytes: usize,
    closing: bool,
    /// Fetches of this connection that wait for an append.
    pub parked: Vec<OpKey>,
    /// The shard has too much to commit to read more from this connection.
    pub backlogged: bool,
    /// What its last request was counted on, where there are quotas.
    pub accounts: ClientAccounts,
    /// Its client is over a quota until then; 0: it is not.
    pub muted_until_ns: u64,
    /// It is closed when that time is over.
    pub doomed: bool,
}

/// What a connection wants after a change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flow {
    Unchanged,
    Pause,
    Resume,
}

impl Connection {
    fn new(peer: IpAddr, peer_port: u16) -> Self {
        Self {
            peer,
            peer_port,
            software: None,
            slots: VecDeque::new(),
            first_seq: 0,
            barrier: None,
            held: VecDeque::new(),
            records: VecDeque::new(),
            first_record_seq: 0,
            paused: false,
            unsent_bytes: 0,
            closing: false,
            parked: Vec::new(),
            backlogged: false,
            accounts: ClientAccounts::default(),
            muted_until_ns: 0,
            doomed: false,
        }
    }

    /// Whether a frame that arrives has to wait for an earlier request.
    pub fn must_hold(&self) -> bool {
        self.barrier.is_some() || !self.held.is_empty() || self.muted_until_ns > 0
    }

    /// Keeps a frame until the barrier falls. `false` when the bound is reached.
    pub fn hold(&mut self, frame: &[u8], arrival: Arrival) -> bool {
        if self.held.len() >= limits::CONNECTION_HELD_FRAMES_MAX {
            return false;
        }
        self.held.push_back((frame.to_vec(), arrival));
        true
    }

    /// The next held frame, when nothing stands before it.
    pub fn take_held(&mut self) -> Option<(Vec<u8>, Arrival)> {
        if self.barrier.is_some() || self.closing || self.muted_until_ns > 0 {
            return None;
        }
        self.held.pop_front()
    }

    /// Opens a slot for a request that was just read. Either all requests of a connection have a
    /// record or none has.
    pub fn open_slot(&mut self, record: Option<Record>) -> u64 {
        self.slots.push_back(Slot::Waiting);
        self.records.extend(record);
        self.first_seq + self.slots.len() as u64 - 1
    }

    /// The request `seq` must finish before the next one of this connection starts.
    pub fn set_barrier(&mut self, seq: u64) {
        if self.is_waiting(seq) {
            self.barrier = Some(seq);
        }
    }

    fn is_waiting(&self, seq: u64) -> bool {
        let Some(index) = seq.checked_sub(self.first_seq) else { return false };
        matches!(self.slots.get(index as usize), Some(Slot::Waiting))
    }

    /// The record of a request whose response was not sent.
    pub fn record_mut(&mut self, seq: u64) -> Option<&mut Record> {
        self.records.get_mut(seq.checked_sub(self.first_record_seq)? as usize)
    }

    /// Fills the slot of `seq`. `None` means no answer is due. `path` is what the last append of
    /// the request went through.
    pub fn complete(
        &mut self,
        seq: u64,
        response: Option<Response>,
        path: Option<&AppendPath>,
        now_ns: u64,
    ) {
        assert!(self.is_waiting(seq), "a request is answered once, and only if it was read");
        if let Some(record) = self.record_mut(seq) {
            if let Some(path) = path {
                record.take_path(path);
            }
            record.answer(now_ns, response.as_ref().map_or(0, Response::len));
        }
        let index = (seq - self.first_seq) as usize;
        self.slots[index] = match response {
            Some(response) => Slot::Ready(response),
            None => Slot::Silent,
        };
        if planted::is(Bug::ResponsesOutOfOrder)
            && index > 0
            && matches!(self.slots[index - 1], Slot::Ready(_))
        {
            self.slots.swap(index - 1, index);
        }
        if self.barrier == Some(seq) {
            self.barrier = None;
        }
    }

    /// The next answer that may leave: every request before it has been answered.
    pub fn pop_ready(&mut self, now_ns: u64) -> Option<Response> {
        if matches!(self.slots.front()?, Slot::Waiting) {
            return None;
        }
        if let Some(record) = self.record_mut(self.first_seq) {
            record.pass(Point::Queued, now_ns);
        }
        self.first_seq += 1;
        let response = match self.slots.pop_front()? {
            Slot::Ready(response) => response,
            // Nothing to send, but the edge counts one answer per request.
            Slot::Silent => Response::default(),
            Slot::Waiting => unreachable!("the front was just seen not to wait"),
        };
        self.unsent_bytes += response.held_bytes();
        Some(response)
    }

    /// The edge has sent an answer whole: gives its request's record out.
    pub fn sent(&mut self, response: &Response, now_ns: u64) -> Option<Record> {
        let bytes = response.held_bytes();
        assert!(bytes <= self.unsent_bytes, "no more is sent than was handed to the edge");
        self.unsent_bytes -= bytes;
        let mut record = self.records.pop_front()?;
        self.first_record_seq += 1;
        record.pass(Point::Sent, now_ns);
        Some(record)
    }

    /// Whether reading should stop or go on, by the bounds on work under way.
    pub fn flow(&mut self) -> Flow {
        let full = self.slots.len() >= limits::CONNECTION_REQUESTS_MAX
            || self.unsent_bytes >= limits::CONNECTION_UNSENT_BYTES_MAX
            || !self.held.is_empty()
            || self.muted_until_ns > 0
            || self.backlogged;
        let low = self.slots.len() <= limits::CONNECTION_REQUESTS_MAX / 2
            && self.unsent_bytes <= limits::CONNECTION_UNSENT_BYTES_MAX / 2
            && self.held.is_empty()
            && self.muted_until_ns == 0
            && !self.backlogged;
        match (self.paused, full, low) {
            (false, true, _) => {
                self.paused = true;
                Flow::Pause
            }
            (true, _, true) => {
                self.paused = false;
                Flow::Resume
            }
            (false, false, _) | (true, _, false) => Flow::Unchanged,
        }
    }

    /// Takes no further frame.
    pub fn close(&mut self) {
        self.closing = true;
        self.held.clear();
    }

    /// Whether `close` was called.
    pub fn is_closing(&self) -> bool {
        self.closing
    }
}

/// The connections of one shard.
#[derive(Debug, Default)]
pub struct Connections {
    map: HashMap<u64, Connection, FxBuildHasher>,
}

impl Connections {
    /// A client connected.
    pub fn insert(&mut self, conn: ConnId, peer: IpAddr, port: u16) {
        let before = self.map.insert(conn.0, Connection::new(peer, port));
        assert!(before.is_none(), "the edge never uses a connection id twice");
    }

    /// The connection, unless it is gone.
    pub fn get_mut(&mut self, conn: ConnId) -> Option<&mut Connection> {
        self.map.get_mut(&conn.0)
    }

    /// The connection, unless it is gone.
    pub fn get(&self, conn: ConnId) -> Option<&Connection> {
        self.map.get(&conn.0)
    }

    /// Forgets it.
    pub fn remove(&mut self, conn: ConnId) -> Option<Connection> {
        self.map.remove(&conn.0)
    }

    /// All of them, in the order they came.
    pub fn ids(&self) -> Vec<ConnId> {
        let mut ids: Vec<ConnId> = self.map.keys().map(|id| ConnId(*id)).collect();
        ids.sort_unstable();
        ids
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    /// An answer of ten bytes in the buffer it was encoded into.
    fn small_answer() -> Response {
        let mut head = Vec::with_capacity(1024);
        head.extend_from_slice(&[0; 10]);
        Response { head, ..Response::default() }
    }

    #[test]
    fn small_answers_nobody_reads_count_with_the_memory_they_hold() {
        let mut connection = Connection::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);
        let mut unread = Vec::new();
        while connection.flow() != Flow::Pause {
            let seq = connection.open_slot(None);
            connection.complete(seq, Some(small_answer()), None, 0);
            unread.extend(connection.pop_ready(0));
        }
        let held: usize = unread.iter().map(|response| response.head.capacity()).sum();
        assert!(held <= limits::CONNECTION_UNSENT_BYTES_MAX, "{held} bytes");
        for response in unread {
            connection.sent(&response, 0);
        }
        assert_eq!(connection.flow(), Flow::Resume);
    }
}
