//! The closed sets of what may happen to a shard and what a shard may ask for.
//!
//! The edge and the simulator both speak exactly this. An event carries everything the shard may
//! know; an output carries everything the edge must do, without a thought about Kafka.

use std::net::IpAddr;
use std::sync::Arc;

use protocol::types::Uuid;
use storage::op::{DiskDone, DiskOp};
use storage::types::Volume;

use super::mesh::MeshMessage;
use super::probe::Reading;
use super::response::Response;
use crate::config::BrokerConfig;
use crate::ledger::{Arrival, Record};
use crate::telemetry::metrics::InstanceMetrics;

/// A shard of this process, counted from 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ShardId(pub u16);

/// A connection of this shard. The edge chooses it and never uses one twice in a shard's life.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConnId(pub u64);

/// What happens to a shard.
#[derive(Debug)]
pub enum Event<'a> {
    /// A client connected, from this port.
    Connected { conn: ConnId, peer: IpAddr, port: u16 },
    /// One whole request frame arrived, without its four length bytes. The bytes are the edge's:
    /// the shard copies what it keeps before `handle_event` returns.
    Frame { conn: ConnId, frame: &'a [u8], arrival: Arrival },
    /// The edge gives back a response whose last byte the kernel has taken.
    Sent { conn: ConnId, response: Response },
    /// The peer is gone, or the edge closed the connection after `Output::Close`. No more events of
    /// it.
    Disconnected { conn: ConnId },
    /// A disk operation completed.
    Disk(DiskDone),
    /// Another shard of this process says something. Per sender, in order, never lost.
    Mesh { from: ShardId, message: MeshMessage },
    /// Time reached `poll_timeout`.
    Timeout,
    /// The operator's settings were read again; those that may change at run time differ.
    Reconfigured(Arc<BrokerConfig>),
    /// Stop cleanly: answer what is under way, flush, then `Output::Stopped`.
    Stop,
}

/// What a shard asks of the edge.
#[derive(Debug)]
pub enum Output {
    /// Send on the connection, after everything sent on it before.
    Send { conn: ConnId, response: Response },
    /// Close after what was sent before is out; `reason` is for one log line, `None` for an
    /// ordinary end.
    Close { conn: ConnId, reason: Option<&'static str> },
    /// Execute on the disk.
    Disk(DiskOp),
    /// Hand to another shard of this process.
    Mesh { to: ShardId, message: MeshMessage },
    /// Stop reading from this connection until `ResumeReading`: its bound on work under way is
    /// reached.
    PauseReading { conn: ConnId },
    /// Read from it again.
    ResumeReading { conn: ConnId },
    /// A line for the operator.
    Log(LogLine),
    /// Everything is flushed; the thread may end.
    Stopped,
    /// The process cannot go on, for this reason.
    Halt(String),
}

// Every answer passes through one.
const _: () = assert!(size_of::<Output>() <= 144);

/// Something an operator should read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogLine {
    pub level: LogLevel,
    pub text: String,
}

/// How loud a line is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum LogLevel {
    Info,
    Warn,
    Error,
}

/// What an edge drives: a shard, or a stand-in when the edge itself is tested.
pub trait Core {
    /// Takes one event.
    fn handle_event(&mut self, event: Event<'_>, now: crate::time::Now);
    /// Ends a turn of the event loop, once after all of its events: what arrived together is
    /// committed together.
    fn end_turn(&mut self, now: crate::time::Now);
    /// The next thing to do, until `None`. Those of one kind are done in this order, and what the
    /// disk is asked after a response reaches it after that.
    fn poll_output(&mut self) -> Option<Output>;
    /// When `Event::Timeout` is due, in monotonic nanoseconds.
    fn poll_timeout(&self) -> Option<u64>;
    /// Hands out what it counts, always in the same order.
    fn probe(&self, _put: &mut dyn FnMut(Reading)) {}
    /// Whether requests are recorded in the ledger. Called before the first connection, if at all.
    fn keep_ledger(&mut self, _on: bool) {}
    /// Takes the records of requests whose responses were sent, in exchange for an empty vector.
    fn swap_finished(&mut self, _records: &mut Vec<Record>) {}
    /// The broker's settings, with what was altered while it ran; one shard says them.
    fn settings(&self) -> Option<&Arc<BrokerConfig>> {
        None
    }
    /// A number that changes when what `client_metrics` says does.
    fn client_metrics_revision(&self) -> u64 {
        0
    }
    /// Hands out what clients pushed about themselves.
    fn client_metrics(&self, _put: &mut dyn FnMut(&Arc<InstanceMetrics>)) {}
    /// How large the disk of a data folder is, and how much of it is free, in bytes.
    fn note_space(&mut self, _volume: Volume, _total_bytes: u64, _usable_bytes: u64) {}
    /// The topic of an id, for people.
    fn topic_name(&self, _topic: Uuid) -> Option<Arc<str>> {
        None
    }
}
