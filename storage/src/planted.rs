//! Bugs to be found: each breaks one line of storage or the broker, on purpose, for one run.
//!
//! They prove that the simulator sees what it is there to see. Only the feature `planted` compiles
//! them in, which no build of the binary has; without it `is` is `false` for the compiler, too. The
//! simulator plants one on its own thread before a run.

/// A bug that can be planted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Bug {
    AckBeforeSync,
    DedupLostAtRestart,
    DedupWindowOfFour,
    RecoveryStopsOneShort,
    PartialBlockOverwritten,
    WatermarkFallsOnRoll,
    HeartbeatTimerNeverFires,
    GenerationNotBumped,
    SessionEpochIgnored,
    IndexEntryPastTheEnd,
    ResponsesOutOfOrder,
    CommitAckedBeforeAppend,
    LongPollNeverWoken,
    RecoveredLogNeverWoken,
    DecisionCutOffByFullJournal,
    SwapBeforeCheckpoint,
    TombstoneGoesAtOnce,
    LastBatchOfProducerGoes,
    SwapBeforeItIsNamed,
    AbortedRecordsReplace,
    EndGivesTheSameEpoch,
    EndAckedBeforeAppend,
    DecisionLostAtRestart,
    TimeoutNeverAborts,
    ProducerEpochIgnored,
    VerificationSkipped,
    OpenTransactionLostAtRestart,
    AbortedLostAtRestart,
    AbortedListEndsEarly,
    AbortedOffsetsCommitted,
    PartitionGivenWhileHeld,
    MemberEpochIgnored,
    StaticMemberWithoutId,
    IndexAheadOfItsLog,
    TaskGivenWhileHeld,
    DowngradeTakesUnheard,
    UpgradeTakesUnheard,
    CarriedIndexTakenForWritten,
    SwapNamesNotSynced,
    DeletionAckedByFailedJournal,
    DeletionTakenByStoppingStore,
    LogStartNotWaitedFor,
    SwitchBeforeTheRest,
}

impl Bug {
    /// Invented ones, by name.
    pub const INVENTED: [(&'static str, Bug); 27] = [
        ("ack-before-sync", Bug::AckBeforeSync),
        ("dedup-lost-at-restart", Bug::DedupLostAtRestart),
        ("dedup-window-of-four", Bug::DedupWindowOfFour),
        ("recovery-stops-one-short", Bug::RecoveryStopsOneShort),
        ("partial-block-overwritten", Bug::PartialBlockOverwritten),
        ("watermark-falls-on-roll", Bug::WatermarkFallsOnRoll),
        ("heartbeat-timer-never-fires", Bug::HeartbeatTimerNeverFires),
        ("generation-not-bumped", Bug::GenerationNotBumped),
        ("session-epoch-ignored", Bug::SessionEpochIgnored),
        ("index-entry-past-the-end", Bug::IndexEntryPastTheEnd),
        ("responses-out-of-order", Bug::ResponsesOutOfOrder),
        ("commit-acked-before-append", Bug::CommitAckedBeforeAppend),
        ("long-poll-never-woken", Bug::LongPollNeverWoken),
        ("end-gives-the-same-epoch", Bug::EndGivesTheSameEpoch),
        ("end-acked-before-append", Bug::EndAckedBeforeAppend),
        ("decision-lost-at-restart", Bug::DecisionLostAtRestart),
        ("timeout-never-aborts", Bug::TimeoutNeverAborts),
        ("producer-epoch-ignored", Bug::ProducerEpochIgnored),
        ("verification-skipped", Bug::VerificationSkipped),
        ("open-transaction-lost-at-restart", Bug::OpenTransactionLostAtRestart),
        ("aborted-lost-at-restart", Bug::AbortedLostAtRestart),
        ("aborted-list-ends-early", Bug::AbortedListEndsEarly),
        ("aborted-offsets-committed", Bug::AbortedOffsetsCommitted),
        ("partition-given-while-held", Bug::PartitionGivenWhileHeld),
        ("member-epoch-ignored", Bug::MemberEpochIgnored),
        ("task-given-while-held", Bug::TaskGivenWhileHeld),
        ("switch-before-the-rest", Bug::SwitchBeforeTheRest),
    ];

    /// Those that were here until the simulator found them, by name: each takes its fix back.
    pub const FIXED: [(&'static str, Bug); 12] = [
        ("recovered-log-never-woken", Bug::RecoveredLogNeverWoken),
        ("decision-cut-off-by-full-journal", Bug::DecisionCutOffByFullJournal),
        ("swap-before-checkpoint", Bug::SwapBeforeCheckpoint),
        ("static-member-without-id", Bug::StaticMemberWithoutId),
        ("index-ahead-of-its-log", Bug::IndexAheadOfItsLog),
        ("downgrade-takes-unheard", Bug::DowngradeTakesUnheard),
        ("upgrade-takes-unheard", Bug::UpgradeTakesUnheard),
        ("carried-index-taken-for-written", Bug::CarriedIndexTakenForWritten),
        ("swap-names-not-synced", Bug::SwapNamesNotSynced),
        ("deletion-acked-by-failed-journal", Bug::DeletionAckedByFailedJournal),
        ("deletion-taken-by-stopping-store", Bug::DeletionTakenByStoppingStore),
        ("log-start-not-waited-for", Bug::LogStartNotWaitedFor),
    ];

    /// Invented ones of compaction, by name: `storage/tests/compaction.rs` finds them, too.
    pub const CLEANING: [(&'static str, Bug); 4] = [
        ("tombstone-goes-at-once", Bug::TombstoneGoesAtOnce),
        ("last-batch-of-producer-goes", Bug::LastBatchOfProducerGoes),
        ("swap-before-it-is-named", Bug::SwapBeforeItIsNamed),
        ("aborted-records-replace", Bug::AbortedRecordsReplace),
    ];

    /// All of them.
    pub fn all() -> impl Iterator<Item = (&'static str, Bug)> {
        Self::INVENTED.into_iter().chain(Self::FIXED).chain(Self::CLEANING)
    }

    /// The bug of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::all().find(|(known, _)| *known == name).map(|(_, bug)| bug)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::all().find(|(_, bug)| *bug == self).map_or("?", |(name, _)| name)
    }
}

/// Whether bugs can be planted in this build.
pub const COMPILED_IN: bool = cfg!(feature = "planted");

#[cfg(feature = "planted")]
mod switch {
    use std::cell::Cell;

    thread_local! {
        pub(super) static PLANTED: Cell<Option<super::Bug>> = const { Cell::new(None) };
    }
}

/// Plants a bug on this thread, or removes it.
#[cfg(feature = "planted")]
pub fn plant(bug: Option<Bug>) {
    switch::PLANTED.with(|planted| planted.set(bug));
}

/// Nothing can be planted in this build.
#[cfg(not(feature = "planted"))]
pub fn plant(bug: Option<Bug>) {
    assert!(bug.is_none(), "bugs can be planted with the feature `planted` only");
}

/// Whether this bug is planted on this thread.
#[cfg(feature = "planted")]
pub fn is(bug: Bug) -> bool {
    switch::PLANTED.with(|planted| planted.get() == Some(bug))
}

/// Never, in this build.
#[cfg(not(feature = "planted"))]
#[inline(always)]
pub const fn is(_: Bug) -> bool {
    false
}
