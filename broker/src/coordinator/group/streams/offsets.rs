//! Offsets of a streams group: who may commit and fetch them, and which must stay.
//!
//! A member commits with the epoch it was told. An older epoch is still good for a partition whose
//! task was its own in that epoch already: the answer that told it the newer one may be on its way.
//! Source: KIP-1071 and what Kafka 4.3 answers.

use protocol::error_code::ErrorCode;

use super::Streams;
use super::member::Member;

/// From this version a commit can say a member's epoch.
const MEMBER_EPOCHS_SINCE: i16 = 9;

/// Which partitions an allowed commit may be of.
#[derive(Clone, Copy, Debug)]
pub(in crate::coordinator::group) enum Allowed<'a> {
    All,
    /// Those whose tasks this member has had since this epoch or longer.
    HeldSince(&'a Streams, &'a Member, i32),
}

impl Allowed<'_> {
    /// Whether one partition may be committed.
    ///
    /// # Errors
    /// `STALE_MEMBER_EPOCH`.
    pub(in crate::coordinator::group) fn check(
        self,
        topic: &str,
        partition: i32,
    ) -> Result<(), ErrorCode> {
        let Self::HeldSince(group, member, epoch) = self else { return Ok(()) };
        let held = [&member.assigned, &member.revoking]
            .into_iter()
            .find_map(|held| held.active.get(group.subtopology_reading(topic)?)?.get(&partition));
        let is_old_enough = held.is_some_and(|since| *since <= epoch);
        if is_old_enough { Ok(()) } else { Err(ErrorCode::StaleMemberEpoch) }
    }
}

impl Streams {
    /// Whether a commit is allowed, and of what. `version` of an OffsetCommit; a commit in a
    /// transaction has none.
    ///
    /// # Errors
    /// The code for every partition.
    pub(in crate::coordinator::group) fn check_commit(
        &self,
        member: &str,
        epoch: i32,
        version: Option<i16>,
    ) -> Result<Allowed<'_>, ErrorCode> {
        // Operators commit while nobody is in.
        if epoch < 0 && self.state.members.is_empty() {
            return Ok(Allowed::All);
        }
        let member = self.state.members.get(member).ok_or(ErrorCode::UnknownMemberId)?;
        if version.is_some_and(|version| version < MEMBER_EPOCHS_SINCE) {
            return Err(ErrorCode::UnsupportedVersion);
        }
        match epoch.cmp(&member.epoch) {
            std::cmp::Ordering::Equal => Ok(Allowed::All),
            std::cmp::Ordering::Less => Ok(Allowed::HeldSince(self, member, epoch)),
            std::cmp::Ordering::Greater => Err(ErrorCode::StaleMemberEpoch),
        }
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
        if epoch == member.epoch { Ok(()) } else { Err(ErrorCode::StaleMemberEpoch) }
    }

    /// Whether anybody in the group reads the topic.
    pub(in crate::coordinator::group) fn reads(&self, topic: &str) -> bool {
        !self.state.members.is_empty() && self.subtopology_reading(topic).is_some()
    }

    /// The subtopology that reads a topic; the last one that says so, as in Kafka.
    fn subtopology_reading(&self, topic: &str) -> Option<&str> {
        let topology = self.state.topology.as_ref()?;
        let reads = |subtopology: &&crate::coordinator::streams_records::SubtopologyValue| {
            let internal = subtopology.repartition_source_topics.iter().map(|t| &t.name);
            subtopology.source_topics.iter().chain(internal).any(|name| name == topic)
        };
        let found = topology.subtopologies.iter().rev().find(reads)?;
        Some(&found.subtopology_id)
    }
}
