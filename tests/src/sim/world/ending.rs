//! The end of a run: the faults stop, everything must complete, and what is there is held against
//! what was promised; then once more after a cut of the power, and when everybody has gone.

use storage::prng::Prng;

use super::World;
use crate::sim::checkers::{Held, breach, liveness, memory};
use crate::sim::clients::auditor::Auditor;
use crate::sim::clients::{MS_NS, SECOND_NS};

/// How often it is looked whether everybody is done.
const LOOK_NS: u64 = 5 * MS_NS;

impl World {
    pub(super) fn end(&mut self) -> Held {
        self.calm_down()?;
        self.wait_for_all()?;
        self.observe();
        self.send_home();
        self.audit()?;
        if !self.facts.rotten {
            self.compare_at_rest()?;
        }
        // What is there must also be there after one more cut of power.
        let draw = self.streams.operator.next_u64();
        self.power_cut(&mut Prng::new(draw));
        self.audit()?;
        self.leave_empty()
    }

    /// Nothing goes wrong from here on; what is broken is repaired as an operator would.
    fn calm_down(&mut self) -> Held {
        self.trace.say("the faults stop", String::new());
        self.facts.calm = true;
        self.faults.clear();
        self.cut_in_recovery = None;
        (self.swap_kill, self.cut_after_start, self.rotten_wanted) = (None, None, None);
        self.node.disk.clear_faults();
        self.node.disk.set_space(None);
        self.node.disk.release_stuck();
        self.plan_disk();
        self.disk_factor = 1;
        self.paused_until_ns = 0;
        self.stalled_until_ns.clear();
        for shard in 0..self.node.shards.len() {
            self.plan_turn(shard, self.now_ns);
        }
        let bad: Vec<u64> = self
            .links
            .iter()
            .filter(|(_, link)| {
                let odd = link.up_deaf || link.down_deaf || link.slow_ns > 0 || link.left;
                odd || self.seats[link.seat].client.breaks_rules()
            })
            .map(|(id, _)| *id)
            .collect();
        for id in bad {
            self.reset(id);
        }
        let failed = self.node.shards.iter().any(|shard| shard.load().failed);
        if failed && self.stopping.is_none() {
            let draw = self.streams.operator.next_u64();
            self.kill(&mut Prng::new(draw));
        }
        let after_ns = self.now_ns + SECOND_NS;
        self.facts.disturbed_until_ns = self.facts.disturbed_until_ns.max(after_ns).min(
            // A clean stop under way and the start after it.
            self.now_ns + 5 * SECOND_NS,
        );
        for seat in 0..self.seats.len() {
            self.plan_wake(seat, self.now_ns);
        }
        Ok(())
    }

    fn waiting(&self) -> Vec<String> {
        let seats = self.seats.iter().filter(|seat| !seat.gone);
        seats.filter_map(|seat| seat.client.waits_for(&self.checkers)).collect()
    }

    fn wait_for_all(&mut self) -> Held {
        let end_ns = self.now_ns + liveness::WITHIN_NS;
        let mut look_ns = self.now_ns + LOOK_NS;
        loop {
            self.advance()?;
            if self.now_ns >= look_ns {
                look_ns = self.now_ns + LOOK_NS;
                let waiting = self.waiting();
                if waiting.is_empty() {
                    return Ok(());
                }
                if self.now_ns > end_ns {
                    return Err(liveness::breach(&waiting));
                }
            }
        }
    }

    /// Every client closes its connection and does nothing more.
    fn send_home(&mut self) {
        for seat in 0..self.seats.len() {
            if self.seats[seat].link.is_some() {
                self.hang_up(seat);
            }
            self.seats[seat].gone = true;
            self.seats[seat].wake_at = None;
        }
    }

    fn audit(&mut self) -> Held {
        self.checkers.audit = None;
        let seat = self.seat(Box::new(Auditor::default()));
        let end_ns = self.now_ns + liveness::WITHIN_NS;
        while self.checkers.audit.is_none() {
            self.advance()?;
            if self.now_ns > end_ns {
                return Err(liveness::breach(&self.waiting()));
            }
        }
        let found = self.checkers.audit.as_ref().map_or(0, |logs| logs.len());
        self.trace.note("the auditor found logs", found as u64, 0);
        self.hang_up(seat);
        self.seats[seat].gone = true;
        Ok(())
    }

    /// Memory equals replay when everything is quiet, whatever the schedule had in store.
    fn compare_at_rest(&mut self) -> Held {
        let end_ns = self.now_ns + liveness::WITHIN_NS;
        while !self.node.is_at_rest() {
            if self.now_ns > end_ns {
                return Err(breach!(
                    "everything completes",
                    "the broker does not come to rest though nobody asks"
                ));
            }
            self.advance()?;
        }
        let draw = self.streams.operator.next_u64();
        self.check_replay(draw)
    }

    /// Nobody is there, so nothing is under way.
    fn leave_empty(&mut self) -> Held {
        let end_ns = self.now_ns + 20 * SECOND_NS;
        loop {
            let hangs = self.checkers.rotten_transactions;
            let mut shards = self.node.shards.iter();
            let left = shards.try_for_each(|shard| memory::check_empty(&shard.load(), hangs));
            if left.is_ok() || self.now_ns > end_ns {
                return left;
            }
            match self.advance() {
                Ok(()) => {}
                // Nothing is planned any more: what is left stays.
                Err(_) => return left,
            }
        }
    }
}
