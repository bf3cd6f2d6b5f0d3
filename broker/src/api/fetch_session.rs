//! Incremental fetch sessions (KIP-227): a consumer names its partitions once and then only what
//! changes.
//!
//! A session lives on the shard of the connection that opened it. A client that comes back on
//! another shard is told the session is unknown and opens another, exactly as after a restart of
//! the broker. Kafka's observed behaviour: a wrong epoch (71) leaves the session alive; an unknown
//! id with epoch 0 opens a new one.

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use indexmap::IndexMap;
use protocol::error_code::ErrorCode;
use rustc_hash::FxBuildHasher;

use crate::limits;
use crate::shard::event::ShardId;
use crate::shard::op::PartTopic;

/// Epoch of a full fetch without a session.
const FINAL_EPOCH: i32 = -1;
/// Epoch of a full fetch that opens a session.
const INITIAL_EPOCH: i32 = 0;
/// A session unused for this long gives way to a new one when the table is full (Kafka's two
/// minutes).
const EVICTION_IDLE_NS: u64 = 120_000_000_000;

/// A partition of a session.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct SessionKey {
    pub topic: PartTopic,
    pub partition: i32,
}

/// What a session remembers of a partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SessionPartition {
    pub fetch_offset: i64,
    pub max_bytes: i32,
    pub current_leader_epoch: i32,
    pub last_fetched_epoch: i32,
    /// High watermark and log start the client was last told; `None` before the first answer and
    /// after an error, which is repeated until it heals.
    pub told: Option<(i64, i64)>,
}

/// One session.
#[derive(Debug)]
pub struct Session {
    /// The epoch the next request must carry.
    epoch: i32,
    uses_topic_ids: bool,
    pub partitions: IndexMap<SessionKey, SessionPartition, FixedState>,
    /// Which partition is read first next time, so that none starves under the answer's bound.
    rotation: usize,
    used_ns: u64,
}

impl Session {
    /// The partitions, beginning with another one each time.
    pub fn rotate(&mut self) -> impl Iterator<Item = (&SessionKey, &SessionPartition)> {
        let count = self.partitions.len();
        let first = if count == 0 { 0 } else { self.rotation % count };
        self.rotation = first + 1;
        let (before, after) = (&self.partitions[..first], &self.partitions[first..]);
        after.iter().chain(before.iter())
    }
}

/// What a request means for its session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SessionKind {
    /// Everything is in the request; no session.
    Sessionless,
    /// Everything is in the request; a session is wanted.
    Open,
    /// The request changes session `id`.
    Incremental { id: i32 },
}

/// The sessions of one shard.
#[derive(Debug)]
pub struct FetchSessions {
    sessions: HashMap<i32, Session, FxBuildHasher>,
    count_max: usize,
    /// Ids carry the shard in their upper bits, so that no two shards use the same.
    id_base: i32,
    next: i32,
    hasher: FixedState,
}

/// Ids per shard before they wrap.
const IDS_PER_SHARD: i32 = 1 << 20;

impl FetchSessions {
    /// No sessions. `salt` makes ids of an earlier life of the process unlikely to match.
    pub fn new(shard: ShardId, count_max: usize, salt: u64) -> Self {
        Self {
            sessions: HashMap::default(),
            count_max,
            id_base: i32::from(shard.0 % 2000) * IDS_PER_SHARD,
            next: (salt % IDS_PER_SHARD as u64) as i32,
            hasher: FixedState::with_seed(salt),
        }
    }

    /// Reads a request's session fields; closes a session that the request ends.
    pub fn classify(
        &mut self,
        id: i32,
        epoch: i32,
        uses_topic_ids: bool,
        now_ns: u64,
    ) -> Result<SessionKind, ErrorCode> {
        if epoch == FINAL_EPOCH || epoch == INITIAL_EPOCH {
            self.sessions.remove(&id);
            let kind =
                if epoch == FINAL_EPOCH { SessionKind::Sessionless } else { SessionKind::Open };
            return Ok(kind);
        }
        let session = self.sessions.get_mut(&id).ok_or(ErrorCode::FetchSessionIdNotFound)?;
        if session.epoch != epoch {
            return Err(ErrorCode::InvalidFetchSessionEpoch);
        }
        if session.uses_topic_ids != uses_topic_ids {
            return Err(ErrorCode::FetchSessionTopicIdError);
        }
        session.epoch = if epoch == i32::MAX { 1 } else { epoch + 1 };
        session.used_ns = now_ns;
        Ok(SessionKind::Incremental { id })
    }

    /// Opens a session over `partitions`; 0 when there is no room or it would be too large.
    pub fn open(
        &mut self,
        uses_topic_ids: bool,
        partitions: impl Iterator<Item = (SessionKey, SessionPartition)>,
        now_ns: u64,
    ) -> i32 {
        if self.count_max == 0 || !self.make_room(now_ns) {
            return 0;
        }
        let mut map = IndexMap::with_hasher(self.hasher.clone());
        for (key, partition) in partitions {
            if map.len() >= limits::FETCH_SESSION_PARTITIONS_MAX {
                return 0;
            }
            map.insert(key, partition);
        }
        let id = self.fresh_id();
        let session =
            Session { epoch: 1, uses_topic_ids, partitions: map, rotation: 0, used_ns: now_ns };
        self.sessions.insert(id, session);
        id
    }

    /// The session, if it lives.
    pub fn get_mut(&mut self, id: i32) -> Option<&mut Session> {
        self.sessions.get_mut(&id)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    fn fresh_id(&mut self) -> i32 {
        loop {
            self.next = (self.next + 1) % IDS_PER_SHARD;
            let id = self.id_base + self.next;
            if id != 0 && !self.sessions.contains_key(&id) {
                return id;
            }
        }
    }

    fn make_room(&mut self, now_ns: u64) -> bool {
        if self.sessions.len() < self.count_max {
            return true;
        }
        // The order of the scan cannot matter: the key is the whole tuple.
        let oldest = self.sessions.iter().map(|(id, session)| (session.used_ns, *id)).min();
        match oldest {
            Some((used_ns, id)) if now_ns.saturating_sub(used_ns) >= EVICTION_IDLE_NS => {
                self.sessions.remove(&id);
                true
            }
            Some(_) | None => false,
        }
    }
}
