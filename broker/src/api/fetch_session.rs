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
use crate::planted::{self, Bug};
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
    /// Whether the topic was there once: its deletion is told in another way than a wrong id.
    pub known: bool,
    /// When records of it were last sent, in the session's count.
    pub sent: u64,
}

impl SessionPartition {
    /// As a client asks for it, before the first answer.
    pub fn new(
        fetch_offset: i64,
        max_bytes: i32,
        current_leader_epoch: i32,
        last_fetched_epoch: i32,
    ) -> Self {
        Self {
            fetch_offset,
            max_bytes,
            current_leader_epoch,
            last_fetched_epoch,
            told: None,
            known: false,
            sent: 0,
        }
    }

    /// The same partition as the client asks for it anew.
    pub fn changed(self, asked: Self) -> Self {
        Self { told: self.told, known: self.known, sent: self.sent, ..asked }
    }
}

/// One session.
#[derive(Debug)]
pub struct Session {
    /// The epoch the next request must carry.
    epoch: i32,
    uses_topic_ids: bool,
    pub partitions: IndexMap<SessionKey, SessionPartition, FixedState>,
    /// Counts the partitions whose records were sent.
    sent_count: u64,
    used_ns: u64,
}

impl Session {
    /// Records of a partition were sent.
    pub fn sent(&mut self, key: &SessionKey) {
        if let Some(partition) = self.partitions.get_mut(key) {
            self.sent_count += 1;
            partition.sent = self.sent_count;
        }
    }

    /// Moves partitions whose records were sent to the end, so that none starves under the answer's
    /// bound (KIP-227).
    pub fn turn(&mut self) {
        if !self.partitions.values().is_sorted_by_key(|partition| partition.sent) {
            self.partitions.sort_by(|_, left, _, right| left.sent.cmp(&right.sent));
        }
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
        if session.epoch != epoch && !planted::is(Bug::SessionEpochIgnored) {
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
            Session { epoch: 1, uses_topic_ids, partitions: map, sent_count: 0, used_ns: now_ns };
        self.sessions.insert(id, session);
        id
    }

    /// The session, if it lives.
    pub fn get_mut(&mut self, id: i32) -> Option<&mut Session> {
        self.sessions.get_mut(&id)
    }

    /// Forgets it.
    pub fn remove(&mut self, id: i32) {
        self.sessions.remove(&id);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_whose_records_were_sent_come_last_next_time() {
        let mut sessions = FetchSessions::new(ShardId(0), 10, 7);
        let key = |partition| SessionKey { topic: PartTopic::Name("t".into()), partition };
        let entries = (0..4).map(|partition| (key(partition), SessionPartition::new(0, 1, -1, -1)));
        let id = sessions.open(false, entries, 0);
        let session = sessions.get_mut(id).expect("was opened");
        for partition in [2, 0] {
            session.sent(&key(partition));
        }
        session.turn();
        let order: Vec<i32> = session.partitions.keys().map(|key| key.partition).collect();
        assert_eq!(order, [1, 3, 2, 0]);
    }
}
