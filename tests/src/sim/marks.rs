//! Rare states a run should come through: hit or missed, counted over many seeds.
//!
//! A checker that never saw its state proves nothing. Every mark is listed with what it stands for;
//! the nightly form of `cargo sim` fails when one was never hit.

use std::collections::BTreeMap;

/// Every mark.
pub const ALL: &[(&str, &str)] = &[
    ("torn tail cut", "recovery cut a frame that the power had torn"),
    ("power cut in recovery", "the power went again before a start had finished"),
    ("restart on other cores", "a start found the journals of another number of shards"),
    ("retry found in the log", "an idempotent retry was answered with its original offset"),
    ("ack lost with the connection", "a produce was committed and its answer never arrived"),
    ("out of order after a refusal", "a later batch in flight was refused for the earlier one"),
    ("five batches in flight", "a producer had the whole window of a partition under way"),
    ("long poll woken", "a parked fetch was answered before its deadline with new records"),
    ("long poll ran out", "a parked fetch was answered empty at its deadline"),
    ("incremental fetch", "a session's fetch named fewer partitions than it reads"),
    ("session lost", "a fetch session was gone and was opened again"),
    ("old session epoch refused", "a fetch with a session's old epoch was refused"),
    ("read below the tail", "records were read from a segment"),
    ("answers in pieces", "a response arrived byte by byte"),
    ("frame cut in the middle", "a connection ended inside a request"),
    ("half-open connection", "a client gave up on a connection that swallowed its requests"),
    ("reading paused", "the broker stopped reading from a connection"),
    ("disk full", "a produce was refused for want of space, or a flush had to wait"),
    ("journal failed", "a journal write failed and the broker stopped acknowledging"),
    ("data folder lost", "one of two data folders failed as a whole"),
    ("move seen and over", "a copy to come in another data folder was there, and then was not"),
    ("broker gave up its metadata folder", "the folder of the metadata log failed, one of two"),
    ("partition offline", "a partition answered KAFKA_STORAGE_ERROR"),
    ("quarantine", "a start found a damaged partition and took it offline"),
    ("offline in recovery", "a failing disk took a partition offline while the broker started"),
    ("rebalance", "a group came to a second generation"),
    ("leader joins for a new topic", "a group's leader found topics it had not shared out"),
    ("member expelled", "a group went on without a member that fell silent"),
    ("member gone for good", "a member fell silent and its group was left to notice"),
    ("kill ahead of the disk", "a process was killed with acks that only shared memory had"),
    ("power cut ahead of the disk", "the power was cut with acks that only memory had"),
    ("static member back", "a static member returned under its instance id"),
    ("cooperative revocation", "a member gave up a partition and joined again"),
    ("consumer group revocation", "a member of a consumer group gave partitions back"),
    ("member epoch fenced", "a member of a consumer group was told to begin anew"),
    ("consumer member gone for good", "a consumer group was left to notice a silent member"),
    ("commit of an old member epoch refused", "a member committed what was not its own any more"),
    ("task given back", "a member of a streams group gave tasks back"),
    ("streams member begins anew", "a member of a streams group lost an answer about its tasks"),
    ("group went back", "a member of a consumer group found a classic one under its name"),
    ("leads a group that moved", "a classic member led a group that members of KIP-848 share"),
    ("is led by the coordinator", "a classic member was given what the coordinator shared out"),
    ("commit refused", "a commit of an old generation was refused"),
    ("commit seen by the next owner", "an owner began where another had committed"),
    ("wrong sequence refused", "a gap in a producer's sequence was refused"),
    ("wrong epoch refused", "an old producer epoch was refused"),
    ("topic deleted under load", "a produce found its topic gone"),
    ("topic came back", "a deleted topic's name was given to another topic"),
    ("partitions added", "a topic grew under load"),
    ("records deleted", "a log start moved by DeleteRecords"),
    ("bit flipped under transactions", "a partition that transactions write to was damaged"),
    ("deletion met a stopping store", "DeleteRecords came to a core that had stopped already"),
    ("offset out of range", "a reader stood below the log start"),
    ("coordinator loading", "a group request came before the group was replayed"),
    ("killed in a swap", "a process died when a cleaned segment had just taken its place"),
    ("damage refused", "a start from a copy with a flipped bit said why it does not come up"),
    ("damage taken offline", "a start from such a copy took what was damaged offline"),
    ("damaged frame left out", "a start from such a copy told of a frame that does not read"),
    ("damage without effect", "a start from such a copy came to the same"),
    ("memory equals replay", "memory was compared with a start from the same disk"),
    ("clean stop under load", "a clean stop began while requests were under way"),
    ("producer fenced", "a transactional producer found itself shut out"),
    ("InitProducerId ends a transaction", "a producer came while its id's transaction was open"),
    ("transaction before still ending", "a step met the markers of the transaction before"),
    ("EndTxn asked again", "the answer to an EndTxn was lost, and it was sent again"),
    ("EndTxn found done", "a commit that was asked for again was answered as done"),
    ("commit of a transaction refused", "a transaction was ended by another, or by its time"),
    ("request given up and late", "a request arrived long after its client had given it up"),
    ("aborted transaction left out", "a reader of committed records was told of aborted ones"),
    ("offset not stable", "a group's offset waited for a transaction's end"),
    ("timeout aborted", "a transaction's time ran out and its coordinator aborted it"),
    ("markers sent again", "a marker could not be written and was sent again"),
    ("decision found by a start", "a start found a decision and wrote its markers"),
    ("segment cleaned", "a segment of a compacted log was replaced by what cleaning left"),
    ("tombstone gone", "nothing was left of a deleted key, whose tombstone's time was up"),
    ("start in the middle of cleaning", "a start found files that cleaning had begun"),
    ("request of another shard", "a produce went to several shards at once"),
];

/// Marks hit, and how often.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Marks {
    hit: BTreeMap<&'static str, u64>,
}

impl Marks {
    /// The state was reached.
    pub fn hit(&mut self, mark: &'static str) {
        debug_assert!(ALL.iter().any(|(known, _)| *known == mark), "{mark} is not listed");
        *self.hit.entry(mark).or_default() += 1;
    }

    /// How often.
    pub fn count(&self, mark: &str) -> u64 {
        self.hit.get(mark).copied().unwrap_or(0)
    }

    /// Adds another run's.
    pub fn add(&mut self, other: &Marks) {
        for (mark, count) in &other.hit {
            *self.hit.entry(mark).or_default() += count;
        }
    }

    /// The marks that were never hit, with what they stand for.
    pub fn missed(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        ALL.iter().filter(|(mark, _)| !self.hit.contains_key(mark)).copied()
    }

    /// Reads what `write` wrote; what is not listed is left out.
    pub fn read(text: &str) -> Self {
        let mut marks = Self::default();
        for (count, name) in text.lines().filter_map(|line| line.split_once(' ')) {
            let known = ALL.iter().find(|(known, _)| *known == name);
            if let (Ok(count), Some((name, _))) = (count.parse(), known) {
                marks.hit.insert(name, count);
            }
        }
        marks
    }

    /// One line per mark.
    pub fn write(&self) -> String {
        self.hit.iter().map(|(mark, count)| format!("{count} {mark}\n")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let mut marks = Marks::default();
        marks.hit("rebalance");
        marks.hit("rebalance");
        assert_eq!(Marks::read(&marks.write()), marks);
        assert_eq!(marks.count("rebalance"), 2);
        assert_eq!(marks.missed().count(), ALL.len() - 1);
    }
}
