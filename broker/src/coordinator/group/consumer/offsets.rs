//! Offsets of a consumer group: who may commit and fetch them, and which must stay.
//!
//! A member commits with the epoch it was told. An older epoch is still good for a partition that
//! was its own in that epoch already: the answer that told it the newer one may be on its way.
//! Source: KIP-848 and what Kafka 4.3 answers.

use crate::planted::{self, Bug};
use protocol::error_code::ErrorCode;
use protocol::types::Uuid;

use super::Consumer;
use super::member::Member;

/// From this version a commit can say a member's epoch.
const MEMBER_EPOCHS_SINCE: i16 = 9;

/// Which partitions an allowed commit may be of.
#[derive(Clone, Copy, Debug)]
pub(in crate::coordinator::group) enum Allowed<'a> {
    All,
    /// Those that this member has had since this epoch or longer.
    HeldSince(&'a Member, i32),
}

impl Allowed<'_> {
    /// Whether one partition may be committed.
    ///
    /// # Errors
    /// `STALE_MEMBER_EPOCH`.
    pub(in crate::coordinator::group) fn check(
        self,
        topic: Uuid,
        partition: i32,
    ) -> Result<(), ErrorCode> {
        match self {
            Self::All => Ok(()),
            Self::HeldSince(member, epoch) => {
                let held = [&member.assigned, &member.revoking]
                    .into_iter()
                    .find_map(|owned| owned.get(&topic)?.get(&partition));
                if held.is_some_and(|since| *since <= epoch) { Ok(()) } else { Err(stale(member)) }
            }
        }
    }
}

/// What a wrong epoch is called in the member's protocol.
fn stale(member: &Member) -> ErrorCode {
    if member.classic.is_some() {
        ErrorCode::IllegalGeneration
    } else {
        ErrorCode::StaleMemberEpoch
    }
}

impl Consumer {
    /// Whether a commit is allowed, and of what.
    ///
    /// # Errors
    /// The code for every partition.
    pub(in crate::coordinator::group) fn check_commit(
        &self,
        member: &str,
        epoch: i32,
        version: i16,
    ) -> Result<Allowed<'_>, ErrorCode> {
        // Operators commit while nobody is in.
        if epoch < 0 && self.state.members.is_empty() {
            return Ok(Allowed::All);
        }
        let member = self.state.members.get(member).ok_or(ErrorCode::UnknownMemberId)?;
        if version < MEMBER_EPOCHS_SINCE && member.classic.is_none() {
            return Err(ErrorCode::UnsupportedVersion);
        }
        if epoch == member.epoch || planted::is(Bug::MemberEpochIgnored) {
            Ok(Allowed::All)
        } else if epoch < member.epoch {
            Ok(Allowed::HeldSince(member, epoch))
        } else {
            Err(stale(member))
        }
    }

    /// Whether a commit in a transaction is allowed, and of what; its producer's epoch fences it
    /// besides.
    ///
    /// # Errors
    /// The code for every partition.
    pub(in crate::coordinator::group) fn check_txn_commit(
        &self,
        member: &str,
        epoch: i32,
    ) -> Result<Allowed<'_>, ErrorCode> {
        self.check_commit(member, epoch, MEMBER_EPOCHS_SINCE)
    }

    /// Whether somebody may fetch offsets under this name and epoch; nobody's name may.
    ///
    /// # Errors
    /// The code for the group.
    pub(in crate::coordinator::group) fn check_fetch(
        &self,
        member: Option<&str>,
        epoch: i32,
    ) -> Result<(), ErrorCode> {
        let Some(member) = member else {
            return if epoch < 0 { Ok(()) } else { Err(ErrorCode::UnknownMemberId) };
        };
        let member = self.state.members.get(member).ok_or(ErrorCode::UnknownMemberId)?;
        if epoch == member.epoch { Ok(()) } else { Err(stale(member)) }
    }

    /// Whether anybody in the group reads the topic.
    pub(in crate::coordinator::group) fn reads(&self, topic: &str) -> bool {
        self.index.names.contains_key(topic)
            || self.state.regexes.values().any(|resolved| resolved.topics.contains(topic))
    }
}
