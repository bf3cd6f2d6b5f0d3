//! What goes wrong, as the schedule says, and how the broker is brought back.

use storage::op::DiskError;
use storage::prng::Prng;
use storage::sim_disk::{Effect, Fault as DiskFault, Ops};
use storage::types::Volume;

use super::agenda::{Heal, What};
use super::node::Inbound;
use super::sessions::DEAF_PATIENCE_NS;
use super::{CleanStop, World};
use crate::sim::checkers::{Held, breach, liveness, replay};
use crate::sim::clients::{MS_NS, SECOND_NS};
use crate::sim::plan::{Fault, FaultKind, Workload};

const EIO: i32 = 5;
/// How far the wall clock may be from the clients', in milliseconds.
const WALL_SHIFT_MS_MAX: i64 = 50 * 60_000;
/// Starts that are cut again before one is let through.
const CUTS_MAX: u32 = 3;
/// Events within which a comparison with replay waits for the shards to be at rest.
const REST_STEPS: u64 = 3_000;

impl World {
    pub(super) fn apply(&mut self, fault: Fault) -> Held {
        let mut prng = Prng::new(fault.draw);
        self.trace.say("fault", format!("{:?}", fault.kind));
        *self.outcome.faults.entry(fault.kind).or_default() += 1;
        self.facts.stood_still |= fault.kind.stands_still();
        match fault.kind {
            FaultKind::PowerCut => self.power_cut(&mut prng),
            FaultKind::Kill => self.kill(&mut prng),
            FaultKind::CleanStop => {
                // Some cores have stopped when another takes its last requests, which are for them.
                if self.plan.workload == Workload::Deletions && prng.one_in(2) {
                    self.facts.stood_still = true;
                    self.stall_core(&mut prng, 400);
                }
                self.begin_clean_stop();
            }
            FaultKind::CutInRecovery => {
                self.cut_in_recovery = Some(prng.next_u64());
                if prng.one_in(2) { self.power_cut(&mut prng) } else { self.kill(&mut prng) }
            }
            FaultKind::Reset => self.reset_one(&mut prng),
            FaultKind::HalfOpen => {
                if let Some(link) = self.some_link(&mut prng) {
                    let way = prng.below(3);
                    link.up_deaf |= way != 0;
                    link.down_deaf |= way != 1;
                    let seat = link.seat;
                    self.plan_wake(seat, self.now_ns + DEAF_PATIENCE_NS);
                }
            }
            FaultKind::SlowReader => {
                let slow_ns = prng.between(1, 200) * MS_NS;
                if let Some(link) = self.some_link(&mut prng) {
                    link.slow_ns = slow_ns;
                }
            }
            FaultKind::ByteByByte => {
                if let Some(link) = self.some_link(&mut prng) {
                    link.bytewise = true;
                }
            }
            FaultKind::DiskError if self.knobs.folders > 1 && prng.one_in(2) => {
                let volume = Volume(prng.below(u64::from(self.knobs.folders)) as u8);
                self.node.disk.break_volume(volume);
                self.checkers.marks.hit("data folder lost");
                self.wait_for_operator(&mut prng);
            }
            // It is the journal that deletions wait for.
            FaultKind::DiskError if self.plan.workload == Workload::Deletions => {
                let effect = Effect::Fail(DiskError::Io { errno: EIO });
                let mut fault = DiskFault::once(Ops::Write, prng.below(40), effect);
                fault.path = Some("journal".to_owned());
                self.node.disk.inject(fault);
                self.wait_for_operator(&mut prng);
            }
            FaultKind::DiskError => {
                let ops = prng.pick(&[Ops::Write, Ops::Read, Ops::Sync, Ops::Open, Ops::Name]);
                let error = prng.pick(&[DiskError::Io { errno: EIO }, DiskError::ReadOnly]);
                self.fail_disk(&mut prng, ops, Effect::Fail(error));
            }
            FaultKind::DiskTorn => {
                let effect = prng.pick(&[Effect::Tear, Effect::Short]);
                self.fail_disk(&mut prng, Ops::Write, effect);
            }
            FaultKind::DiskFull => {
                let used = self.node.disk.used_bytes();
                self.node.disk.set_space(Some(used + prng.between(0, 64 << 10)));
                self.facts.disk_failed = true;
                let for_ns = prng.between(50, 3_000) * MS_NS;
                self.disturb(for_ns + 4 * SECOND_NS);
                self.agenda.plan(self.now_ns + for_ns, What::Heal(Heal::Space));
            }
            FaultKind::DiskSlow => {
                self.disk_factor = 100;
                let for_ns = prng.between(10, 2_000) * MS_NS;
                // What was begun while it was slow is slow to its end.
                self.disturb(for_ns + 10 * SECOND_NS);
                self.agenda.plan(self.now_ns + for_ns, What::Heal(Heal::Speed));
            }
            FaultKind::DiskStuck => {
                let skip = prng.below(20);
                self.node.disk.inject(DiskFault::once(Ops::Any, skip, Effect::Stuck));
                let for_ns = prng.between(100, 2_500) * MS_NS;
                self.disturb(for_ns + 4 * SECOND_NS);
                self.agenda.plan(self.now_ns + for_ns, What::Heal(Heal::Stuck));
            }
            FaultKind::BitFlip => self.flip_bit(&mut prng),
            FaultKind::Pause => {
                let for_ns = prng.between(5, 3_000) * MS_NS;
                self.paused_until_ns = self.now_ns + for_ns;
                self.disturb(for_ns + SECOND_NS);
            }
            FaultKind::CoreStall => self.stall_core(&mut prng, 1_500),
            FaultKind::ClockJump => {
                let jump_ms = prng.between(1, 3_600_000) as i64;
                let jump_ms = if prng.one_in(2) { jump_ms } else { -jump_ms };
                // Further, and the clients' timestamps would rightly be refused.
                let shift_ms = self.wall_shift_ms + jump_ms;
                self.facts.clock_jumped = true;
                self.wall_shift_ms = shift_ms.clamp(-WALL_SHIFT_MS_MAX, WALL_SHIFT_MS_MAX);
            }
            FaultKind::Replay => {
                self.replay_wanted = Some((prng.next_u64(), self.step + REST_STEPS));
            }
            FaultKind::KillInSwap => self.kill_in_swap(&mut prng),
            FaultKind::RottenStart => {
                self.rotten_wanted = Some((prng.next_u64(), self.step + REST_STEPS));
            }
        }
        // A fault of the disk may have cut the power.
        Ok(())
    }

    pub(super) fn heal(&mut self, heal: Heal) -> Held {
        match heal {
            Heal::Space => self.node.disk.set_space(None),
            Heal::Speed => self.disk_factor = 1,
            Heal::Stuck => {
                self.node.disk.clear_faults();
                self.node.disk.release_stuck();
                self.plan_disk();
            }
            Heal::Operator { life, kindly } => {
                self.node.disk.clear_faults();
                self.node.disk.set_read_only(false);
                if life == self.facts.life && self.node.is_up() {
                    let switches_off = self.plan.workload == Workload::Deletions;
                    if kindly {
                        self.begin_clean_stop();
                    } else {
                        let mut prng = Prng::new(self.streams.operator.next_u64());
                        // What a failed journal did not write is in shared memory after a kill.
                        match switches_off {
                            true => self.power_cut(&mut prng),
                            false => self.kill(&mut prng),
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn some_link(&mut self, prng: &mut Prng) -> Option<&mut super::Link> {
        let count = self.links.len() as u64;
        if count == 0 {
            return None;
        }
        let at = prng.below(count) as usize;
        self.links.values_mut().nth(at).filter(|link| !link.left)
    }

    /// A connection is reset: of what is on its way to the broker a part still arrives.
    fn reset_one(&mut self, prng: &mut Prng) {
        let Some(link) = self.some_link(prng) else { return };
        let (shard, conn) = (link.shard, link.conn);
        let arrives = if link.paused || link.closing || link.up_deaf {
            0
        } else {
            prng.below(link.up.len() as u64 + 1) as usize
        };
        let mut bytes: Vec<u8> = Vec::new();
        for segment in link.up.drain(..arrives) {
            bytes.extend(segment.bytes);
        }
        let keep = prng.between(0, bytes.len() as u64) as usize;
        let frames = link.frames(&bytes[..keep]).unwrap_or_default();
        for frame in frames {
            self.inbound(shard, Inbound::Frame(conn, frame));
        }
        self.reset(conn.0);
    }

    fn fail_disk(&mut self, prng: &mut Prng, ops: Ops, effect: Effect) {
        let mut fault = DiskFault::once(ops, prng.below(40), effect);
        fault.sticky = prng.one_in(2);
        fault.path = prng.pick(&[None, None, Some("topics"), Some("journal")]).map(str::to_owned);
        self.node.disk.inject(fault);
        self.wait_for_operator(prng);
    }

    fn stall_core(&mut self, prng: &mut Prng, ms_max: u64) {
        let shards = self.node.shards.len() as u64;
        if shards > 0 {
            let shard = prng.below(shards) as usize;
            let for_ns = prng.between(1, ms_max) * MS_NS;
            self.stalled_until_ns.insert(shard, self.now_ns + for_ns);
            self.disturb(for_ns + SECOND_NS);
        }
    }

    fn wait_for_operator(&mut self, prng: &mut Prng) {
        self.facts.disk_failed = true;
        let for_ns = prng.between(50, 3_000) * MS_NS;
        self.disturb(for_ns + 4 * SECOND_NS);
        let heal = Heal::Operator { life: self.facts.life, kindly: prng.one_in(3) };
        self.agenda.plan(self.now_ns + for_ns, What::Heal(heal));
    }

    // --- The process ---

    pub(super) fn power_cut(&mut self, prng: &mut Prng) {
        self.lose_process();
        if self.checkers.kill_survives.is_ahead() {
            self.checkers.marks.hit("power cut ahead of the disk");
        }
        self.checkers.kill_survives.power_cut();
        self.node.power_cut(prng.next_u64());
        self.plan_start();
    }

    pub(super) fn kill(&mut self, prng: &mut Prng) {
        if self.node.is_up() {
            self.lose_process();
            if self.checkers.kill_survives.is_ahead() {
                self.checkers.marks.hit("kill ahead of the disk");
            }
            self.node.kill(prng.next_u64());
            self.plan_start();
        }
    }

    fn plan_start(&mut self) {
        let down_ns = self.streams.operator.between(1, 300) * MS_NS;
        self.disturb(down_ns + SECOND_NS);
        self.agenda.plan(self.now_ns + down_ns, What::Start);
    }

    pub(super) fn start(&mut self) -> Held {
        let shards = self.streams.operator.between(1, 3) as u16;
        let shards = self.knobs.shards.unwrap_or(shards);
        self.trace.note("start with shards", u64::from(shards), 0);
        let mut cuts = 0;
        self.refusals_before = self.disk_refusals();
        if self.node.disk.files().any(|(path, _)| path.path.ends_with(".cleaned")) {
            self.checkers.marks.hit("start in the middle of cleaning");
        }
        let notices = loop {
            if let Some(draw) = self.cut_in_recovery.take() {
                let mut prng = Prng::new(draw);
                let skip = prng.below(200);
                self.node.disk.inject(DiskFault::once(Ops::Any, skip, Effect::PowerCut));
                if cuts < CUTS_MAX && prng.one_in(2) {
                    self.cut_in_recovery = Some(prng.next_u64());
                }
            }
            let now = self.now();
            match self.node.start(shards, now, &mut self.streams.entropy) {
                // A partition went offline because of the failing disk: the operator sees to the
                // disk and starts again, and nothing of it is lost.
                Ok(notices)
                    if self.node.disk.is_powered()
                        && self.disk_refusals() > self.refusals_before
                        && notices.iter().any(|notice| notice.contains("is offline")) =>
                {
                    self.checkers.marks.hit("offline in recovery");
                    self.refusals_before = self.disk_refusals();
                    self.node.forget();
                    self.node.kill(self.streams.operator.next_u64());
                    self.node.disk.clear_faults();
                    self.node.disk.set_space(None);
                }
                Ok(notices) if self.node.disk.is_powered() => break notices,
                Ok(_) | Err(_) if !self.node.disk.is_powered() => {
                    cuts += 1;
                    self.checkers.marks.hit("power cut in recovery");
                    self.node.forget();
                    self.checkers.kill_survives.power_cut();
                    self.node.power_cut(self.streams.operator.next_u64());
                }
                // The start itself met the failing or full disk: the operator sees to it.
                Err(_) if self.disk_refusals() > self.refusals_before => {
                    self.refusals_before = self.disk_refusals();
                    self.node.forget();
                    self.node.kill(self.streams.operator.next_u64());
                    self.node.disk.clear_faults();
                    self.node.disk.set_space(None);
                }
                Ok(_) => unreachable!("a disk is powered or not"),
                Err(what) => return Err(breach!("every start succeeds", "{what}")),
            }
        };
        self.node.disk.clear_faults();
        if self.shards_before != 0 && self.shards_before != shards {
            self.checkers.marks.hit("restart on other cores");
        }
        self.shards_before = shards;
        for notice in notices {
            if notice.contains("torn") {
                self.checkers.marks.hit("torn tail cut");
            }
            if notice.contains("is offline") {
                self.checkers.marks.hit("quarantine");
                if !self.facts.rotten {
                    return Err(breach!(
                        "every start succeeds",
                        "a start without damage says: {notice}"
                    ));
                }
            }
            self.trace.say("recovery", notice);
        }
        self.turn_at = vec![None; usize::from(shards)];
        for shard in 0..usize::from(shards) {
            self.plan_turn(shard, self.now_ns + 1_000);
        }
        self.plan_disk();
        self.outcome.starts += 1;
        if let Some(draw) = self.cut_after_start.take() {
            self.plan_power_cut(draw);
        }
        Ok(())
    }

    fn disk_refusals(&self) -> u64 {
        let counts = self.node.disk.counts();
        counts.failed + counts.torn + counts.short + counts.no_space
    }

    pub(super) fn begin_clean_stop(&mut self) {
        if !self.node.is_up() || self.stopping.is_some() {
            return;
        }
        if self.seats.iter().any(|seat| seat.wire.in_flight() > 0) {
            self.checkers.marks.hit("clean stop under load");
        }
        // A paused process takes its signal when it goes on.
        let begins_ns = self.now_ns.max(self.paused_until_ns).max(self.facts.disturbed_until_ns);
        self.stopping = Some(CleanStop { until_ns: begins_ns + liveness::STOP_WITHIN_NS });
        for shard in 0..self.node.shards.len() {
            self.inbound(shard, Inbound::Stop);
        }
        self.disturb(2 * SECOND_NS);
    }

    pub(super) fn continue_clean_stop(&mut self) -> Held {
        let Some(stop) = self.stopping else { return Ok(()) };
        let said = self.node.stopped == self.node.shards.len();
        // A read that nobody waits for any more may still be under way after the last word.
        if said && self.node.disk.in_flight() == 0 {
            self.lose_process();
            self.node.leave_memory();
            self.node.disk.close_all();
            self.outcome.clean_stops += 1;
            self.plan_start();
        } else if self.now_ns > stop.until_ns && self.now_ns > self.facts.disturbed_until_ns {
            return Err(breach!("everything completes", "a clean stop does not end"));
        }
        Ok(())
    }

    // --- Looking inside ---

    /// Compares memory with replay as soon as nothing is on its way, if that was wanted.
    pub(super) fn try_replay(&mut self) -> Held {
        let Some((draw, until)) = self.replay_wanted else { return Ok(()) };
        if self.step > until {
            self.replay_wanted = None;
        } else if self.node.is_at_rest() && !self.facts.rotten {
            self.replay_wanted = None;
            self.check_replay(draw)?;
        }
        Ok(())
    }

    pub(super) fn check_replay(&mut self, draw: u64) -> Held {
        let replayed = self.node.replayed(self.now(), draw)?;
        replay::check(&self.node.durable_states(), &replayed)?;
        self.checkers.marks.hit("memory equals replay");
        Ok(())
    }

    /// Takes from the shards what they counted.
    pub(super) fn observe(&mut self) {
        let loads = self.node.shards.iter().map(|shard| shard.load());
        for load in loads.collect::<Vec<_>>() {
            let marks = &mut self.checkers.marks;
            if load.rebalances > 1 {
                marks.hit("rebalance");
            }
            if load.members_expired > 0 {
                marks.hit("member expelled");
            }
            if load.timed_out_transactions > 0 {
                marks.hit("timeout aborted");
            }
            if load.markers_retried > 0 {
                marks.hit("markers sent again");
            }
            if load.decisions_found > 0 {
                marks.hit("decision found by a start");
            }
            if load.segments_cleaned > 0 {
                marks.hit("segment cleaned");
            }
            if load.segment_reads > 0 {
                marks.hit("read below the tail");
            }
        }
    }
}
