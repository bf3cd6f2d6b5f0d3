//! The broker's side of the world: turns of shards, their outputs, messages between them, the disk.

use broker::shard::event::{LogLevel, LogLine, Output};
use storage::op::DiskOp;
use storage::prng::Prng;

use super::World;
use super::agenda::What;
use super::node::Inbound;
use crate::sim::checkers::{Held, breach, memory};
use crate::sim::clients::MS_NS;
use crate::sim::plan::delay;

/// One operation in so many takes much longer than the knobs say.
const HEAVY_TAIL: u64 = 400;

impl World {
    /// Something waits for a shard: its turn comes soon.
    pub(super) fn inbound(&mut self, shard: usize, inbound: Inbound) {
        self.node.inbox[shard].push_back(inbound);
        let soon_ns = self.now_ns + self.streams.schedule.between(500, 20_000);
        self.plan_turn(shard, soon_ns);
    }

    pub(super) fn plan_turn(&mut self, shard: usize, at_ns: u64) {
        if self.turn_at[shard].is_none_or(|planned| at_ns < planned) {
            self.turn_at[shard] = Some(at_ns);
            self.agenda.plan(at_ns, What::Turn { life: self.facts.life, shard });
        }
    }

    pub(super) fn turn(&mut self, life: u32, shard: usize) -> Held {
        let planned = self.turn_at.get(shard).copied().flatten();
        if life != self.facts.life || !self.node.is_up() || planned != Some(self.now_ns) {
            return Ok(());
        }
        self.turn_at[shard] = None;
        let stalled_ns = self.stalled_until_ns.get(&shard).copied().unwrap_or(0);
        let awake_ns = self.paused_until_ns.max(stalled_ns);
        if awake_ns > self.now_ns {
            self.plan_turn(shard, awake_ns);
            return Ok(());
        }
        // Sometimes the edge reaps less than there is.
        let waiting = self.node.inbox[shard].len();
        let few = waiting > 1 && self.streams.schedule.one_in(4);
        let count = if few { 1 } else { usize::MAX };
        self.trace.note("turn of shard with", shard as u64, waiting as u64);
        self.node.run(shard, count, self.now());
        self.take_outputs(shard)?;
        if !self.node.is_up() {
            return Ok(());
        }
        if !self.node.inbox[shard].is_empty() {
            let soon_ns = self.now_ns + self.streams.schedule.between(500, 5_000);
            self.plan_turn(shard, soon_ns);
        } else if let Some(at_ns) = self.node.next_timeout(shard) {
            self.plan_turn(shard, at_ns.max(self.now_ns + 1));
        }
        if self.step.is_multiple_of(256) {
            let seen = self.next_link as usize;
            memory::check_bounded(&self.node.shards[shard].load(), seen)?;
        }
        Ok(())
    }

    fn take_outputs(&mut self, shard: usize) -> Held {
        while let Some(output) = self.node.poll_output(shard) {
            match output {
                Output::Disk(op) => self.submit(shard, op),
                Output::Mesh { to, message } => {
                    let to = usize::from(to.0);
                    self.node.mesh.entry((shard, to)).or_default().push_back(message);
                    let due_ns = self.now_ns + self.streams.schedule.between(500, 30_000);
                    let last_ns = self.mesh_last_ns.entry((shard, to)).or_default();
                    let due_ns = due_ns.max(*last_ns + 1);
                    *last_ns = due_ns;
                    let life = self.facts.life;
                    self.agenda.plan(due_ns, What::Mesh { life, from: shard, to });
                }
                Output::Send { conn, response } => {
                    let now_ns = self.now_ns;
                    let Some(link) = self.links.get_mut(&conn.0) else { continue };
                    if response.is_empty() || link.left || link.down_deaf {
                        // Taken by the kernel, and by nobody else.
                        self.inbound(shard, Inbound::Sent(conn, response));
                        continue;
                    }
                    let network = &mut self.streams.network;
                    let dues = link.send_down(now_ns, response, &self.knobs, network);
                    for due_ns in dues {
                        self.agenda.plan(due_ns, What::ToClient { link: conn.0 });
                    }
                }
                Output::Close { conn, reason } => {
                    let Some(link) = self.links.get_mut(&conn.0) else { continue };
                    link.closing = true;
                    let (seat, drained) = (link.seat, link.down.is_empty());
                    if let Some(reason) = reason
                        && !self.may_cut(seat, reason)
                    {
                        return Err(self.blame(seat, &format!("it was cut off: {reason}")));
                    }
                    if drained {
                        self.reset(conn.0);
                    }
                }
                Output::PauseReading { conn } => {
                    if let Some(link) = self.links.get_mut(&conn.0) {
                        link.paused = true;
                        self.checkers.marks.hit("reading paused");
                    }
                }
                Output::ResumeReading { conn } => {
                    let Some(link) = self.links.get_mut(&conn.0) else { continue };
                    link.paused = false;
                    let dues: Vec<u64> = link.up.iter().map(|segment| segment.due_ns).collect();
                    for due_ns in dues {
                        let at_ns = due_ns.max(self.now_ns);
                        self.agenda.plan(at_ns, What::ToBroker { link: conn.0 });
                    }
                }
                Output::Log(line) => self.hear(line),
                Output::Halt(why) if self.facts.disk_failed => {
                    self.trace.say("halt", why);
                    self.checkers.marks.hit("broker gave up its metadata folder");
                    let draw = self.streams.operator.next_u64();
                    self.kill(&mut Prng::new(draw));
                    return Ok(());
                }
                Output::Halt(why) => {
                    return Err(breach!("everything completes", "on a sound disk: {why}"));
                }
                Output::Stopped => self.node.stopped += 1,
            }
        }
        Ok(())
    }

    /// Whether the broker may close a connection for this reason.
    fn may_cut(&self, seat: usize, reason: &str) -> bool {
        let client = &self.seats[seat].client;
        // Whether a decision is in a journal that failed nobody knows, and only silence says so.
        let unknown = self.facts.disk_failed && reason.contains("could not be written");
        client.breaks_rules() || client.accepts_cut(reason) || unknown
    }

    /// A line for the operator.
    fn hear(&mut self, line: LogLine) {
        if line.text.contains("disk full") {
            self.checkers.marks.hit("disk full");
        }
        if line.text.contains("journal") && line.level == LogLevel::Error {
            self.checkers.marks.hit("journal failed");
        }
        self.trace.say("log", line.text);
    }

    fn submit(&mut self, shard: usize, op: DiskOp) {
        let disk = &mut self.streams.disk;
        let mut took_ns = delay(disk, self.knobs.disk_ns_min, self.knobs.disk_ns_mean);
        took_ns *= self.disk_factor;
        if disk.one_in(HEAVY_TAIL) {
            took_ns *= 10;
            // A read may wait behind several such.
            self.disturb(took_ns * 4 + MS_NS);
        }
        self.node.disk.submit_at(shard as u16, op, self.now_ns, took_ns);
        self.plan_disk();
    }

    pub(super) fn plan_disk(&mut self) {
        let Some(at_ns) = self.node.disk.next_ready() else { return };
        let at_ns = at_ns.max(self.now_ns);
        if self.disk_at.is_none_or(|planned| at_ns < planned) {
            self.disk_at = Some(at_ns);
            self.agenda.plan(at_ns, What::Disk);
        }
    }

    pub(super) fn disk_completes(&mut self) -> Held {
        if self.disk_at != Some(self.now_ns) {
            return Ok(());
        }
        self.disk_at = None;
        while let Some((shard, done)) = self.node.disk.complete_at(self.now_ns) {
            self.trace.note("disk answers op", done.op.0, u64::from(done.result.is_ok()));
            if self.node.is_up() {
                self.inbound(usize::from(shard), Inbound::Disk(done));
            }
        }
        self.plan_disk();
        Ok(())
    }

    pub(super) fn mesh_arrives(&mut self, life: u32, from: usize, to: usize) {
        if life != self.facts.life || !self.node.is_up() {
            return;
        }
        let message = self.node.mesh.get_mut(&(from, to)).and_then(|queue| queue.pop_front());
        if let Some(message) = message {
            self.trace.note("mesh", from as u64, to as u64);
            self.inbound(to, Inbound::Mesh(from, message));
        }
    }
}
