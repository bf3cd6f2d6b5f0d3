//! The numbers that bound a load, each with what happens at the bound.

use std::time::Duration;

/// Partitions of a topic under load. More are a usage error.
pub const PARTITIONS_MAX: i32 = 10_000;
/// Connections of a load. More are a usage error: local ports and descriptors end near here.
pub const CONNECTIONS_MAX: u32 = 20_000;
/// Bytes of a request's record batch. More are a usage error; brokers refuse far less by default.
pub const BATCH_BYTES_MAX: usize = 64 << 20;
/// Requests of one connection that wait to be written in an open loop. A request that comes due
/// beyond is counted as missed: the peer has stopped reading and memory has an end.
pub const WAITING_MAX: usize = 1 << 18;
/// Requests of one connection that may be unanswered. In an open loop the writer waits there, and
/// the wait counts in the latency.
pub const IN_FLIGHT_MAX: usize = 1 << 18;
/// Small requests are put together up to about this many bytes for one send.
pub const COALESCED_BYTES_MAX: usize = 64 << 10;
/// Requests above this are written from where they are encoded, without a copy.
pub const COPIED_REQUEST_BYTES_MAX: usize = 16 << 10;
/// First size of a connection's receive buffer; grows to one frame.
pub const RECEIVE_BUFFER_BYTES: usize = 256 << 10;
/// A response frame above this ends the run: the peer does not speak the protocol.
pub const RESPONSE_BYTES_MAX: usize = 128 << 20;
/// Intervals of the latency-over-time series; longer runs have longer intervals.
pub const INTERVALS_MAX: u64 = 120;
/// Shortest interval of that series, in nanoseconds.
pub const INTERVAL_NS_MIN: u64 = 50_000_000;
/// Highest latency that is told apart, in nanoseconds: above, it counts as this.
pub const LATENCY_NS_MAX: u64 = 600_000_000_000;
/// Requests that come due at once are handed to connections in runs of this many, so that writers
/// and readers get their turn between.
pub const DISPATCH_RUN_MAX: u32 = 256;
/// How long a run waits for answers after its end, in nanoseconds; what is missing then counts as
/// unanswered, with the time waited as its latency.
pub const DRAIN_NS_MAX: u64 = 5_000_000_000;
/// Timestamps of a replay file. More are a usage error: they are kept in memory.
pub const REPLAY_TIMES_MAX: usize = 50_000_000;
/// Topics that the floor's server remembers. One more closes the connection that wants it: the load
/// makes one and deletes it.
pub const FLOOR_TOPICS_MAX: usize = 1000;
/// How often a broker is asked for offsets that does not yet know that it leads. Then the run
/// fails.
pub const LEADER_TRIES_MAX: u32 = 200;
/// Pause between them.
pub const LEADER_RETRY_DELAY: Duration = Duration::from_millis(50);

/// How often a transactional request is sent again, a millisecond apart, while the coordinator is
/// busy or not there yet. Beyond, its code counts as the answer.
pub const TRANSACTION_TRIES_MAX: u32 = 10_000;
