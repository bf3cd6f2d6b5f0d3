//! The latency ledger: when a request passed each point on its way, and the stages between them.
//!
//! Plain values, no clock and no histogram: the shard writes the times that events bring into a
//! request's `Record`, and hands the record out when the response is sent; the edge (or the
//! simulator) adds records up. Stages are the differences of consecutive points, so that they
//! always sum to the total. docs/ledger.md says how to read them.

#[cfg(test)]
mod tests;

use protocol::api::ApiKey;
use protocol::types::Uuid;

/// A moment in a request's life, in the order in which a request passes them. Which ones it passes
/// depends on its API and on where its partitions live.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Point {
    /// Its first bytes were taken from the ring.
    Ready,
    /// Its last bytes were.
    Framed,
    /// Its API's handler began.
    Dispatched,
    /// What it was willing to wait for has come: news for a long poll, or its deadline; the other
    /// members of a group.
    Woken,
    /// The shard that owns its partition took the question.
    HopOut,
    /// Its records have offsets and are in the open journal frame, and the turn's other events were
    /// handled.
    Ordered,
    /// The journal's write was handed to the kernel.
    Submitted,
    /// The bytes are written. Only where the sync is an operation of its own.
    Written,
    /// They are on stable storage, and the shard knows.
    Synced,
    /// The watermark moved over them.
    Committed,
    /// Records were read from disk.
    Read,
    /// The answer of the shard that owns its partition was taken.
    HopIn,
    /// The answer is encoded.
    Answered,
    /// Every earlier request of the connection is answered: the response went to the connection.
    Queued,
    /// The kernel has taken the response's last byte.
    Sent,
}

/// Points of a request.
pub const POINTS_COUNT: usize = Point::Sent as usize + 1;

/// Stages of a request: each ends at a point and began at the one passed before.
pub const STAGES_COUNT: usize = POINTS_COUNT - 1;

impl Point {
    /// All of them, in order.
    pub const ALL: [Self; POINTS_COUNT] = [
        Self::Ready,
        Self::Framed,
        Self::Dispatched,
        Self::Woken,
        Self::HopOut,
        Self::Ordered,
        Self::Submitted,
        Self::Written,
        Self::Synced,
        Self::Committed,
        Self::Read,
        Self::HopIn,
        Self::Answered,
        Self::Queued,
        Self::Sent,
    ];

    /// The name of the stage that ends here, as metrics and pages say it. The first point ends
    /// none.
    pub const fn stage(self) -> &'static str {
        match self {
            Self::Ready => "none",
            Self::Framed => "receive",
            Self::Dispatched => "admit",
            Self::Woken => "park",
            Self::HopOut => "hop_out",
            Self::Ordered => "append",
            Self::Submitted => "gather",
            Self::Written => "write",
            Self::Synced => "sync",
            Self::Committed => "commit",
            Self::Read => "read",
            Self::HopIn => "hop_in",
            Self::Answered => "handle",
            Self::Queued => "in_order",
            Self::Sent => "send",
        }
    }
}

/// Names of the stages, in order.
pub const STAGES: [&str; STAGES_COUNT] = {
    let mut names = [""; STAGES_COUNT];
    let mut index = 0;
    while index < STAGES_COUNT {
        names[index] = Point::ALL[index + 1].stage();
        index += 1;
    }
    names
};

/// The place of `park` among the stages: time a client asked to wait, which says nothing about the
/// broker.
pub const PARK: usize = Point::Woken as usize - 1;

/// When a frame arrived, in monotonic nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Arrival {
    /// Its first bytes were there.
    pub ready_ns: u64,
    /// It was whole.
    pub framed_ns: u64,
}

impl Arrival {
    /// A frame that came in one piece.
    pub fn at(ns: u64) -> Self {
        Self { ready_ns: ns, framed_ns: ns }
    }
}

/// What became of an append: it travels with the acknowledgement, across shards too. 0 stands for
/// a point that was not passed.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct AppendPath {
    pub hop_out_ns: u64,
    pub ordered_ns: u64,
    pub submitted_ns: u64,
    pub written_ns: u64,
    pub synced_ns: u64,
    pub committed_ns: u64,
    pub hop_in_ns: u64,
}

/// One request's times, and what tells it from others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record {
    /// By `Point`, in monotonic nanoseconds; 0: not passed.
    at_ns: [u64; POINTS_COUNT],
    pub api: ApiKey,
    /// Of the first partition it names; zero: none.
    pub topic: Uuid,
    pub partition: i32,
    pub request_bytes: u32,
    pub response_bytes: u32,
}

/// A record's time, divided. The stages sum to the total.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Split {
    pub stages_ns: [u64; STAGES_COUNT],
    pub total_ns: u64,
}

impl Split {
    /// The part that is not a wait the client asked for.
    pub fn busy_ns(&self) -> u64 {
        self.total_ns - self.stages_ns[PARK]
    }
}

impl Record {
    /// A request whose handler begins.
    pub fn new(api: ApiKey, arrival: Arrival, now_ns: u64, request_bytes: usize) -> Self {
        let mut at_ns = [0; POINTS_COUNT];
        at_ns[Point::Ready as usize] = arrival.ready_ns;
        at_ns[Point::Framed as usize] = arrival.framed_ns;
        at_ns[Point::Dispatched as usize] = now_ns;
        Self {
            at_ns,
            api,
            topic: Uuid::ZERO,
            partition: -1,
            request_bytes: u32::try_from(request_bytes).unwrap_or(u32::MAX),
            response_bytes: 0,
        }
    }

    /// It passes a point.
    pub fn pass(&mut self, point: Point, now_ns: u64) {
        self.at_ns[point as usize] = now_ns;
    }

    /// When it passed a point.
    pub fn passed_ns(&self, point: Point) -> Option<u64> {
        Some(self.at_ns[point as usize]).filter(|ns| *ns > 0)
    }

    /// What a long poll waited for has come: what an earlier look did is part of the wait.
    pub fn wake(&mut self, now_ns: u64) {
        self.read_there(0, 0, 0);
        self.at_ns[Point::Woken as usize] = now_ns;
    }

    /// Its records came from a disk of this shard: that is what it waited for last.
    pub fn read_here(&mut self, now_ns: u64) {
        self.read_there(0, now_ns, 0);
    }

    /// Another shard, which took the question at `taken_ns`, has answered; `read_ns`: when its disk
    /// did, 0 when it had the records in memory.
    pub fn read_there(&mut self, taken_ns: u64, read_ns: u64, now_ns: u64) {
        self.at_ns[Point::HopOut as usize] = taken_ns;
        self.at_ns[Point::Read as usize] = read_ns;
        self.at_ns[Point::HopIn as usize] = now_ns;
    }

    /// Takes over the times of the append that was the last to be acknowledged.
    pub fn take_path(&mut self, path: &AppendPath) {
        self.at_ns[Point::HopOut as usize] = path.hop_out_ns;
        self.at_ns[Point::Ordered as usize] = path.ordered_ns;
        self.at_ns[Point::Submitted as usize] = path.submitted_ns;
        self.at_ns[Point::Written as usize] = path.written_ns;
        self.at_ns[Point::Synced as usize] = path.synced_ns;
        self.at_ns[Point::Committed as usize] = path.committed_ns;
        self.at_ns[Point::HopIn as usize] = path.hop_in_ns;
    }

    /// Its answer is there.
    pub fn answer(&mut self, now_ns: u64, response_bytes: usize) {
        self.response_bytes = u32::try_from(response_bytes).unwrap_or(u32::MAX);
        self.at_ns[Point::Answered as usize] = now_ns;
        if matches!(self.api, ApiKey::JoinGroup | ApiKey::SyncGroup) {
            // These wait for other members, by design.
            self.at_ns[Point::Woken as usize] = now_ns;
        }
    }

    /// Whether it passed its points in their order: always, where all shards see one clock.
    pub fn is_ordered(&self) -> bool {
        self.at_ns.iter().filter(|ns| **ns > 0).is_sorted()
    }

    /// Whether a request of the same API passed every point when this one did: most of those that
    /// arrived together.
    pub fn passed_as(&self, other: &Self) -> bool {
        self.api == other.api && self.at_ns == other.at_ns
    }

    /// Divides its time into stages.
    ///
    /// Shards read the clock once per turn, so that a time another shard noted may lie a turn
    /// before ours: it counts as no time at all, and the sum stays true.
    pub fn split(&self) -> Split {
        let mut stages_ns = [0; STAGES_COUNT];
        let mut last_ns = self.at_ns[0];
        for (stage_ns, at_ns) in stages_ns.iter_mut().zip(&self.at_ns[1..]) {
            let reached_ns = last_ns.max(*at_ns);
            *stage_ns = reached_ns - last_ns;
            last_ns = reached_ns;
        }
        Split { stages_ns, total_ns: last_ns - self.at_ns[0] }
    }
}
