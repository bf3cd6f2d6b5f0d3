//! Faults that need a certain moment or a certain file: bits that flip in what is durable, and a
//! process that dies while a cleaned segment takes its place.

use protocol::types::Uuid;
use storage::op::DiskPath;
use storage::prng::Prng;

use super::World;
use super::agenda::What;
use crate::sim::checkers::topics::Apart;
use crate::sim::checkers::{Held, rotten_start};
use crate::sim::clients::MS_NS;

/// Events within which a swap is waited for.
const SWAP_STEPS: u64 = 4_000;
/// What cleaning leaves until its files take their names.
const CLEANED: &str = ".cleaned";
/// Files of a client's topic in which a bit may flip.
const OF_TOPICS: [&str; 4] = [".log", ".index", ".timeindex", ".txnindex"];

/// A kill that waits for a swap.
#[derive(Clone, Debug)]
pub(super) struct SwapKill {
    prng: Prng,
    until_step: u64,
    /// Files that had not taken their names when it was looked last.
    cleaned_count: usize,
}

impl World {
    // --- Bits ---

    /// A bit of a client's topic flips, in a segment or in an index.
    pub(super) fn flip_bit(&mut self, prng: &mut Prng) {
        let topics = &self.checkers.topics;
        let mut ours: Vec<String> = topics.known().iter().map(|topic| folder(topic.id)).collect();
        let apart = [Apart::Memory, Apart::Transactions, Apart::Compacted];
        let apart = apart.map(|why| topics.apart(why).map(|topic| (why, folder(topic.id))));
        ours.extend(apart.iter().flatten().map(|(_, folder)| folder.clone()));
        let files: Vec<(DiskPath, u64)> = self
            .node
            .disk
            .files()
            .filter(|(path, bytes)| {
                OF_TOPICS.iter().any(|kind| path.path.ends_with(kind))
                    && !bytes.is_empty()
                    && ours.iter().any(|folder| path.path.contains(folder.as_str()))
            })
            .map(|(path, bytes)| (path.clone(), bytes.len() as u64))
            .collect();
        if files.is_empty() {
            return;
        }
        // Half of the time in a segment: most of the files are indexes.
        let logs: Vec<_> =
            files.iter().filter(|(path, _)| path.path.ends_with(".log")).cloned().collect();
        let files = if prng.one_in(2) && !logs.is_empty() { logs } else { files };
        let (path, bytes) = &files[prng.below(files.len() as u64) as usize];
        let (byte, bit) = (prng.below(*bytes), prng.below(8) as u8);
        self.trace.say("bit flipped", format!("{path:?} at {byte}"));
        self.node.disk.flip_bit(path, byte, bit);
        self.facts.rotten = true;
        self.facts.disk_failed = true;
        self.checkers.rotten = true;
        // Markers are sent for ever to a partition that is offline for good.
        self.checkers.rotten_transactions |= self.knobs.transactors > 0
            && apart
                .iter()
                .flatten()
                .any(|(why, folder)| *why != Apart::Memory && path.path.contains(folder.as_str()));
        if self.checkers.rotten_transactions {
            self.checkers.marks.hit("bit flipped under transactions");
        }
    }

    /// Looks at a start from a copy in which a bit flipped as soon as nothing is on its way, if
    /// that was wanted.
    pub(super) fn try_rotten_start(&mut self) -> Held {
        let Some((draw, until)) = self.rotten_wanted else { return Ok(()) };
        if self.step > until {
            self.rotten_wanted = None;
        } else if self.node.is_at_rest() && !self.facts.rotten {
            self.rotten_wanted = None;
            let mut prng = Prng::new(draw);
            let Some((mut node, place)) = self.node.rotten_copy(&mut prng) else { return Ok(()) };
            self.trace.say("a start from a copy with a flipped bit", place.clone());
            let how = (self.node.shards.len() as u16, self.now());
            let mut sound = self.node.sound_copy(&mut prng);
            let topics = &self.checkers.topics;
            let apart = [Apart::Memory, Apart::Transactions].map(|why| topics.apart(why));
            let topics = topics.known().into_iter().chain(apart.into_iter().flatten());
            let topics = topics.map(|topic| topic.id).collect();
            let nowhere = "nowhere".to_owned();
            let sound = sound.start_from_copy(how, nowhere, &topics, &mut prng)?;
            let start = node.start_from_copy(how, place, &topics, &mut prng)?;
            let found = rotten_start::check(&self.node.durable_states(), &start)?;
            rotten_start::check_contents(&sound, &start)?;
            self.checkers.marks.hit(found);
        }
        Ok(())
    }

    // --- Moments ---

    /// The process will be killed while a cleaned segment takes its place, and the power goes soon
    /// after the start that follows: what the killed life renamed may be undone then.
    pub(super) fn kill_in_swap(&mut self, prng: &mut Prng) {
        let until_step = self.step + SWAP_STEPS;
        self.swap_kill = Some(SwapKill { prng: prng.clone(), until_step, cleaned_count: 0 });
    }

    /// After each completion of the disk.
    pub(super) fn try_swap_kill(&mut self) {
        let Some(kill) = &mut self.swap_kill else { return };
        if self.step > kill.until_step {
            self.swap_kill = None;
            return;
        }
        let names = self.node.disk.files();
        let cleaned_count = names.filter(|(path, _)| path.path.ends_with(CLEANED)).count();
        let before = std::mem::replace(&mut kill.cleaned_count, cleaned_count);
        let all_renamed = before > 0 && cleaned_count == 0;
        let one_renamed = cleaned_count < before;
        if !self.node.is_up() || !one_renamed || !all_renamed && !kill.prng.one_in(8) {
            return;
        }
        let mut prng = kill.prng.clone();
        self.swap_kill = None;
        self.trace.say("fault", "a kill in a swap".to_owned());
        self.checkers.marks.hit("killed in a swap");
        self.cut_after_start = Some(prng.next_u64());
        self.kill(&mut prng);
    }

    /// The power will go soon.
    pub(super) fn plan_power_cut(&mut self, draw: u64) {
        let mut prng = Prng::new(draw);
        let soon_ns = prng.pick(&[1_000, MS_NS, 20 * MS_NS]);
        let life = self.facts.life;
        let draw = prng.next_u64();
        self.agenda.plan(self.now_ns + soon_ns, What::PowerGoes { life, draw });
    }

    pub(super) fn power_goes(&mut self, life: u32, draw: u64) {
        if life == self.facts.life && self.node.is_up() && !self.facts.calm {
            self.power_cut(&mut Prng::new(draw));
        }
    }
}

/// The part of a path that is a topic's own.
fn folder(id: Uuid) -> String {
    id.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}
