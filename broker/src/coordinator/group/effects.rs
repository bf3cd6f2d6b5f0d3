//! What a decision leaves behind: actions, deadlines, appends under way, counters.
//!
//! One per coordinator, lent to each operation together with the time and the configuration as an
//! [`Env`]. Every response passes through [`Effects::reply`], which knows who still waits.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use protocol::error_code::ErrorCode;
use protocol::messages::offset_commit::OffsetCommitResponse;
use protocol::messages::offset_delete::OffsetDeleteResponse;
use protocol::messages::txn_offset_commit::TxnOffsetCommitResponse;

use super::api::{Action, AppendToken, GroupConfig, GroupResponse, ReplyToken};
use super::consumer::After;
use super::delete::DeletionId;
use super::member_id::MemberIds;
use super::probe::Probe;
use super::streams;
use super::sync::Assignments;
use super::timers::Timers;
use crate::coordinator::limits;
use crate::coordinator::records::GroupRecord;
use crate::time::Now;

/// What an operation on a group may use besides the group.
pub(super) struct Env<'a> {
    pub(super) now: Now,
    pub(super) config: &'a GroupConfig,
    pub(super) effects: &'a mut Effects,
}

/// What happens when an append is durable or has failed.
#[derive(Debug)]
pub(super) enum Then {
    /// Nothing waits for it.
    Nothing,
    /// A group got its first record: its first member may be parked on it.
    Created { group: Arc<str> },
    /// The leader's assignment.
    Assigned { group: Arc<str>, generation: i32, assignments: Assignments },
    /// A static member came back under a new id.
    Replaced { group: Arc<str>, replacement: Box<Replacement> },
    /// Offsets; the response says success where the append decides.
    Committed { group: Arc<str>, reply: ReplyToken, response: OffsetCommitResponse },
    /// Offsets of a transaction; the response says success where the append decides.
    TxnCommitted { group: Arc<str>, reply: ReplyToken, response: TxnOffsetCommitResponse },
    /// Offsets are gone.
    OffsetsDeleted { reply: ReplyToken, response: OffsetDeleteResponse },
    /// A consumer group changed.
    Consumer { group: Arc<str>, after: After },
    /// A streams group changed.
    Streams { group: Arc<str>, after: streams::After },
    /// A group is gone, on a client's word (`deletion`) or because it expired.
    Deleted { group: Arc<str>, deletion: Option<(DeletionId, usize)> },
}

/// What must be answered, or undone, when a static member's new id is durable or not.
#[derive(Debug)]
pub(super) struct Replacement {
    pub(super) instance: Arc<str>,
    pub(super) old_member: Arc<str>,
    pub(super) new_member: Arc<str>,
    pub(super) old_leader: Option<Arc<str>>,
    pub(super) old_protocols: Vec<(String, Bytes)>,
    pub(super) old_rebalance_timeout_ms: i32,
    pub(super) old_session_timeout_ms: i32,
    pub(super) generation: i32,
}

/// An append under way.
#[derive(Debug)]
pub(super) struct Append {
    pub(super) partition: i32,
    pub(super) records: Vec<GroupRecord>,
    /// Producer id and epoch of the transaction that the records belong to.
    pub(super) producer: Option<(i64, i16)>,
    pub(super) then: Then,
}

#[derive(Debug)]
pub(super) struct Effects {
    actions: VecDeque<Action>,
    waiting: BTreeSet<ReplyToken>,
    appends: BTreeMap<AppendToken, Append>,
    next_append: u64,
    pub(super) timers: Timers,
    pub(super) ids: MemberIds,
    pub(super) probe: Probe,
}

impl Effects {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            actions: VecDeque::new(),
            waiting: BTreeSet::new(),
            appends: BTreeMap::new(),
            next_append: 0,
            timers: Timers::default(),
            ids: MemberIds::new(seed),
            probe: Probe::default(),
        }
    }

    /// A request came in and will be answered under this token.
    pub(super) fn expect_reply(&mut self, reply: ReplyToken) {
        assert!(self.waiting.insert(reply), "a reply token names one request");
    }

    /// Whoever waited for this is gone.
    pub(super) fn forget_reply(&mut self, reply: ReplyToken) {
        self.waiting.remove(&reply);
    }

    /// Answers, unless whoever asked is gone.
    pub(super) fn reply(&mut self, reply: ReplyToken, response: GroupResponse) {
        if self.waiting.remove(&reply) {
            self.actions.push_back(Action::Reply { reply, response });
        }
    }

    /// Whether a client's request may start another append.
    pub(super) fn may_append(&self) -> Result<(), ErrorCode> {
        if self.appends.len() < limits::APPENDS_MAX {
            Ok(())
        } else {
            Err(ErrorCode::CoordinatorNotAvailable)
        }
    }

    /// Asks for an append.
    pub(super) fn append(
        &mut self,
        now: Now,
        partition: i32,
        records: Vec<GroupRecord>,
        then: Then,
    ) {
        self.append_of(now, partition, records, None, then);
    }

    /// Asks for an append that may belong to a transaction.
    pub(super) fn append_of(
        &mut self,
        now: Now,
        partition: i32,
        records: Vec<GroupRecord>,
        producer: Option<(i64, i16)>,
        then: Then,
    ) {
        assert!(!records.is_empty(), "an append has a record");
        let append = AppendToken(self.next_append);
        self.next_append += 1;
        let encoded = records.iter().map(|record| record.encode(now.wall_ms)).collect();
        self.appends.insert(append, Append { partition, records, producer, then });
        self.act(Action::Append { partition, records: encoded, producer, append });
    }

    /// Takes an append whose result is known; `None` when its partition was unloaded meanwhile.
    pub(super) fn take_append(&mut self, append: AppendToken) -> Option<Append> {
        self.appends.remove(&append)
    }

    /// Takes every append of a partition, oldest first. Those that nobody has begun are not begun.
    pub(super) fn take_appends_of(&mut self, partition: i32) -> Vec<(AppendToken, Append)> {
        self.actions.retain(|action| match action {
            Action::Append { partition: of, .. } => *of != partition,
            Action::Reply { .. } | Action::Verify { .. } => true,
        });
        self.appends.extract_if(.., |_, append| append.partition == partition).collect()
    }

    /// The newest append under way of each partition named.
    pub(super) fn newest_appends_of(&self, partitions: &BTreeSet<i32>) -> BTreeSet<AppendToken> {
        let newest: BTreeMap<i32, AppendToken> = self
            .appends
            .iter()
            .filter(|(_, append)| partitions.contains(&append.partition))
            .map(|(token, append)| (append.partition, *token))
            .collect();
        newest.into_values().collect()
    }

    pub(super) fn act(&mut self, action: Action) {
        self.actions.push_back(action);
    }

    pub(super) fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }
}
