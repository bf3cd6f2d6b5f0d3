//! Simulated clients, one kind per file, on the protocol's own sans-IO client.
//!
//! A client is woken, sends what it wants through its `Wire`, and takes each response. It learns of
//! the world only what a real one would: that a connection is there or gone, and what time it is.
//! It tells the checkers what it sent and what it was answered.

pub mod admin;
pub mod assigned;
pub mod auditor;
pub mod committed;
pub mod consumer_member;
pub mod fetching;
pub mod hostile;
pub mod keyed;
pub mod member;
mod member_protocol;
pub mod mover;
pub mod producer;
mod reading;
pub mod records;
pub mod ticker;
pub mod transactor;

use std::collections::VecDeque;
use std::fmt;

use protocol::client::{Connection, Response};
use protocol::message::Request;
use storage::prng::Prng;

use super::checkers::{Checkers, Facts, Held, breach};

/// A second of virtual time.
pub const SECOND_NS: u64 = 1_000_000_000;
/// A millisecond of virtual time.
pub const MS_NS: u64 = 1_000_000;

/// What a client has in its hands while it is awake.
#[derive(Debug)]
pub struct Cx<'a> {
    pub now_ns: u64,
    pub wire: &'a mut Wire,
    pub prng: &'a mut Prng,
    pub checkers: &'a mut Checkers,
    pub facts: &'a Facts,
}

impl Cx<'_> {
    /// A while, as long as the seed's clients think.
    pub fn think(&mut self) -> u64 {
        self.now_ns + super::plan::delay(self.prng, 1_000, self.facts.think_ns_mean)
    }

    /// In so many milliseconds.
    pub fn after_ms(&self, ms: u64) -> u64 {
        self.now_ns + ms * MS_NS
    }
}

/// A simulated client.
pub trait Client: fmt::Debug {
    /// What it is, for the trace and for people.
    fn name(&self) -> String;

    /// Sends what it wants. Called when it is connected: at first, when the time it named has come,
    /// and after each response. Returns when to wake it next.
    fn wake(&mut self, cx: &mut Cx<'_>) -> Result<Option<u64>, String>;

    /// Takes the response to its oldest request.
    fn receive(&mut self, cx: &mut Cx<'_>, response: Response) -> Held;

    /// Its connection is gone, and with it every answer that has not come.
    fn disconnected(&mut self, cx: &mut Cx<'_>);

    /// What it still waits for when nothing goes wrong any more; `None` when it is done.
    fn waits_for(&self, checkers: &Checkers) -> Option<String>;

    /// How long it waits for an answer before it gives the connection up.
    fn patience_ns(&self) -> u64 {
        10 * SECOND_NS
    }

    /// Whether this reason for closing its connection is one its own requests may bring about.
    fn accepts_cut(&self, _: &str) -> bool {
        false
    }

    /// Whether the broker may close its connection for what it sends.
    fn breaks_rules(&self) -> bool {
        false
    }
}

/// A client's end of its connection.
#[derive(Debug)]
pub struct Wire {
    connection: Connection,
    /// When each request without an answer was sent.
    sent_ns: VecDeque<u64>,
    out: Vec<u8>,
    close: bool,
    late_ns: u64,
}

/// What a client writes at a time, and whether it closes after it.
#[derive(Debug)]
pub struct Written {
    pub bytes: Vec<u8>,
    pub close: bool,
    /// So much longer the bytes take than others.
    pub late_ns: u64,
}

impl Default for Wire {
    fn default() -> Self {
        Self {
            connection: Connection::new(Some("sim".to_owned())),
            sent_ns: VecDeque::new(),
            out: Vec::new(),
            close: false,
            late_ns: 0,
        }
    }
}

impl Wire {
    /// Sends a request that is answered.
    pub fn send<R: Request>(&mut self, now_ns: u64, version: i16, body: &R) {
        let sent = self.connection.send_at(body, version, &mut self.out);
        sent.expect("a simulated request can be encoded");
        self.sent_ns.push_back(now_ns);
    }

    /// Sends a request that is not answered (`acks=0`).
    pub fn send_unanswered<R: Request>(&mut self, version: i16, body: &R) {
        let sent = self.connection.send_unanswered(body, version, &mut self.out);
        sent.expect("a simulated request can be encoded");
    }

    /// Sends bytes that need not be a request.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// Keeps only the first `count` of the bytes that were not taken yet: a frame cut short.
    pub fn cut_out(&mut self, count: usize) {
        self.out.truncate(count);
    }

    /// Bytes that were not taken yet.
    pub fn out_bytes(&self) -> usize {
        self.out.len()
    }

    /// Closes the connection once what was sent is out.
    pub fn close(&mut self) {
        self.close = true;
    }

    /// Gives the connection up; what was sent arrives in its time, and so much later.
    pub fn close_late(&mut self, late_ns: u64) {
        self.close = true;
        self.late_ns = late_ns;
    }

    /// Requests without an answer.
    pub fn in_flight(&self) -> usize {
        self.sent_ns.len()
    }

    /// When the oldest request without an answer was sent.
    pub fn oldest_ns(&self) -> Option<u64> {
        self.sent_ns.front().copied()
    }

    /// What goes to the network.
    pub fn take_out(&mut self) -> Written {
        Written {
            bytes: std::mem::take(&mut self.out),
            close: std::mem::take(&mut self.close),
            late_ns: std::mem::take(&mut self.late_ns),
        }
    }

    /// Bytes arrived.
    pub fn arrive(&mut self, bytes: &[u8]) {
        self.connection.handle_bytes(bytes);
    }

    /// The next whole response and when its request was sent. One out of order is an error.
    pub fn poll(&mut self) -> Result<Option<Response>, String> {
        if self.close {
            // Nobody is there to take it.
            return Ok(None);
        }
        let response = self.connection.poll_response();
        let response = response
            .map_err(|error| breach!("answers come in the order of requests", "{error}"))?;
        if response.is_some() {
            self.sent_ns.pop_front();
        }
        Ok(response)
    }
}

/// Decodes a response, or says what is wrong with it.
pub fn decode<R: Request>(response: &Response) -> Result<R::Response, String> {
    response.decode::<R>().map_err(|error| error.to_string())
}
