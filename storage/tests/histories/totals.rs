//! What happened in some histories: a test that exercises nothing proves nothing.

use super::world::Kind;

/// What happened in some histories.
#[derive(Clone, Copy, Default, Debug)]
pub struct Totals {
    pub appends: u64,
    pub duplicates: u64,
    pub acked: u64,
    pub reads: u64,
    pub pending_reads: u64,
    pub deletions: u64,
    pub removals: u64,
    pub power_cuts: u64,
    pub cuts_in_recovery: u64,
    pub kills: u64,
    pub stops: u64,
    /// Batches that a crash took because nobody had been told of them.
    pub unacked_lost: u64,
    pub partitions_failed: u64,
    pub journals_failed: u64,
    pub space_low: u64,
    pub refused: u64,
    pub markers: u64,
    /// Aborted transactions found by reads.
    pub aborted: u64,
    /// Aborted transactions in the files of clean stops.
    pub aborted_in_files: u64,
}

impl Totals {
    pub fn add(&mut self, other: Self) {
        self.appends += other.appends;
        self.duplicates += other.duplicates;
        self.acked += other.acked;
        self.reads += other.reads;
        self.pending_reads += other.pending_reads;
        self.deletions += other.deletions;
        self.removals += other.removals;
        self.power_cuts += other.power_cuts;
        self.cuts_in_recovery += other.cuts_in_recovery;
        self.kills += other.kills;
        self.stops += other.stops;
        self.unacked_lost += other.unacked_lost;
        self.partitions_failed += other.partitions_failed;
        self.journals_failed += other.journals_failed;
        self.space_low += other.space_low;
        self.refused += other.refused;
        self.markers += other.markers;
        self.aborted += other.aborted;
        self.aborted_in_files += other.aborted_in_files;
    }

    /// A test that exercises nothing proves nothing.
    pub fn assert_happened(&self, kind: Kind, histories: u64) {
        if histories < 100 {
            return;
        }
        let faults = [self.partitions_failed, self.journals_failed, self.space_low, self.refused];
        match kind {
            Kind::Crashes => assert_eq!(faults, [0; 4], "the disk did nothing wrong"),
            Kind::Faults => {
                let all = faults.iter().all(|count| *count > histories / 20);
                assert!(all, "too little went wrong: {self:?}");
            }
        }
        let each = [
            self.appends,
            self.duplicates,
            self.acked,
            self.reads,
            self.pending_reads,
            self.deletions,
            self.removals,
            self.power_cuts,
            self.cuts_in_recovery,
            self.kills,
            self.stops,
            self.unacked_lost,
            self.markers,
            self.aborted,
            self.aborted_in_files,
        ];
        assert!(each.iter().all(|count| *count > histories / 20), "too little happened: {self:?}");
    }
}
