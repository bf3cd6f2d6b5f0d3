//! Clients and their connections: opened, written to, read from, cut.

use std::mem;

use broker::shard::event::ConnId;

use super::agenda::What;
use super::network::Link;
use super::node::Inbound;
use super::{Seat, World};
use crate::sim::checkers::{Held, breach};
use crate::sim::clients::{Cx, MS_NS, SECOND_NS, Wire, Written};

/// How long the broker believes in a link whose client it does not hear hang up.
const DEAF_NS: u64 = 20 * SECOND_NS;
/// How long a client believes in a link on which nothing arrives: its keepalive tells it.
pub(super) const DEAF_PATIENCE_NS: u64 = 2 * SECOND_NS;

impl World {
    pub(super) fn plan_wake(&mut self, seat: usize, at_ns: u64) {
        let at_ns = at_ns.max(self.now_ns);
        let sitting = &mut self.seats[seat];
        if !sitting.gone && sitting.wake_at.is_none_or(|planned| at_ns < planned) {
            sitting.wake_at = Some(at_ns);
            self.agenda.plan(at_ns, What::Client { seat });
        }
    }

    /// Lets a client do something with everything it may use.
    fn with_client<T>(
        &mut self,
        seat: usize,
        act: impl FnOnce(&mut dyn super::Client, &mut Cx<'_>) -> T,
    ) -> T {
        let mut facts = self.facts;
        let link = self.seats[seat].link.and_then(|link| self.links.get(&link));
        let odd = |link: &Link| link.slow_ns > 0 || link.bytewise || link.up_deaf || link.down_deaf;
        if link.is_some_and(odd) {
            facts.disturbed_until_ns = u64::MAX;
        }
        let Seat { client, wire, prng, .. } = &mut self.seats[seat];
        let mut cx =
            Cx { now_ns: self.now_ns, wire, prng, checkers: &mut self.checkers, facts: &facts };
        act(client.as_mut(), &mut cx)
    }

    pub(super) fn wake(&mut self, seat: usize) -> Held {
        if self.seats[seat].gone {
            return Ok(());
        }
        if self.seats[seat].link.is_none() {
            if !self.node.is_up() || self.stopping.is_some() {
                let later_ns = self.streams.network.between(5, 40) * MS_NS;
                self.plan_wake(seat, self.now_ns + later_ns);
                return Ok(());
            }
            self.connect(seat);
        }
        if let Some(oldest_ns) = self.overdue(seat) {
            return self.give_up(seat, oldest_ns);
        }
        let next = self.with_client(seat, |client, cx| client.wake(cx));
        let next = next.map_err(|what| self.blame(seat, &what))?;
        self.flush(seat);
        let patience_ns = self.patience_ns(seat);
        let impatient = self.seats[seat].wire.oldest_ns().map(|sent| sent + patience_ns + 1);
        if let Some(at_ns) = [next, impatient].into_iter().flatten().min() {
            self.plan_wake(seat, at_ns);
        }
        Ok(())
    }

    pub(super) fn blame(&self, seat: usize, what: &str) -> String {
        format!("{}: {what}", self.seats[seat].client.name())
    }

    fn overdue(&self, seat: usize) -> Option<u64> {
        let sitting = &self.seats[seat];
        let oldest_ns = sitting.wire.oldest_ns()?;
        (oldest_ns + self.patience_ns(seat) < self.now_ns).then_some(oldest_ns)
    }

    /// How long a client waits for an answer.
    fn patience_ns(&self, seat: usize) -> u64 {
        let patience_ns = self.seats[seat].client.patience_ns();
        let link = self.seats[seat].link.and_then(|link| self.links.get(&link));
        match link.is_some_and(|link| link.up_deaf || link.down_deaf) {
            true => patience_ns.min(DEAF_PATIENCE_NS),
            false => patience_ns,
        }
    }

    /// The client has waited too long. That is the network's fault, or the broker's.
    fn give_up(&mut self, seat: usize, oldest_ns: u64) -> Held {
        let link = self.seats[seat].link.and_then(|link| self.links.get(&link));
        let deaf = link.is_some_and(|link| link.up_deaf || link.down_deaf);
        let disturbed = oldest_ns <= self.facts.disturbed_until_ns;
        let slow = link.is_some_and(|link| link.slow_ns > 0 || link.bytewise || link.paused);
        if deaf {
            self.checkers.marks.hit("half-open connection");
        } else if !disturbed && !slow && !self.seats[seat].client.breaks_rules() {
            let waited_ms = (self.now_ns - oldest_ns) / MS_NS;
            let what = breach!("everything completes", "no answer for {waited_ms} ms");
            return Err(self.blame(seat, &what));
        }
        self.hang_up(seat);
        self.plan_wake(seat, self.now_ns + 10 * MS_NS);
        Ok(())
    }

    fn connect(&mut self, seat: usize) {
        let shards = self.node.shards.len() as u64;
        let shard = self.streams.network.below(shards) as usize;
        self.next_link += 1;
        let id = self.next_link;
        self.links.insert(id, Link::new(seat, shard, ConnId(id)));
        self.seats[seat].link = Some(id);
        self.trace.note("connect seat to shard", seat as u64, shard as u64);
        self.inbound(shard, Inbound::Connected(ConnId(id)));
    }

    /// What the client has written goes on its way; so does the end, if it closes.
    fn flush(&mut self, seat: usize) {
        let Written { bytes, close, late_ns } = self.seats[seat].wire.take_out();
        let Some(id) = self.seats[seat].link else { return };
        if !bytes.is_empty() {
            self.trace.note("client sends bytes", seat as u64, bytes.len() as u64);
            self.trace.bytes(&bytes);
            let link = self.links.get_mut(&id).expect("a seat's link is there");
            let sent_ns = self.now_ns + late_ns;
            let dues = link.send_up(sent_ns, bytes, &self.knobs, &mut self.streams.network);
            for due_ns in dues {
                self.agenda.plan(due_ns, What::ToBroker { link: id });
            }
        }
        if close {
            self.hang_up(seat);
            self.plan_wake(seat, self.now_ns + 10 * MS_NS);
        }
    }

    /// The client closes: the broker hears it after the bytes that are on their way.
    pub(super) fn hang_up(&mut self, seat: usize) {
        let Some(id) = self.seats[seat].link else { return };
        self.client_loses(seat);
        let link = self.links.get_mut(&id).expect("a seat's link is there");
        link.left = true;
        let last_ns = link.up.back().map_or(self.now_ns, |segment| segment.due_ns) + 1;
        let at_ns = if link.up_deaf { self.now_ns + DEAF_NS } else { last_ns.max(self.now_ns) };
        self.agenda.plan(at_ns, What::Hangup { link: id });
    }

    /// The client learns that its connection is gone.
    pub(super) fn client_loses(&mut self, seat: usize) {
        self.seats[seat].wire = Wire::default();
        self.with_client(seat, |client, cx| client.disconnected(cx));
        // What a client would still have written is lost with the connection.
        self.seats[seat].wire = Wire::default();
        self.seats[seat].link = None;
    }

    pub(super) fn broker_hears_hangup(&mut self, id: u64) {
        let Some(link) = self.links.remove(&id) else { return };
        if !link.partial.is_empty() {
            self.checkers.marks.hit("frame cut in the middle");
        }
        self.trace.note("hangup of link at shard", id, link.shard as u64);
        if self.node.is_up() {
            self.inbound(link.shard, Inbound::Disconnected(link.conn));
        }
    }

    /// Both sides lose a link at once.
    pub(super) fn reset(&mut self, id: u64) {
        let Some(link) = self.links.get(&id) else { return };
        let (seat, left) = (link.seat, link.left);
        if !left {
            self.client_loses(seat);
            let later_ns = self.streams.network.between(1, 30) * MS_NS;
            self.plan_wake(seat, self.now_ns + later_ns);
        }
        self.broker_hears_hangup(id);
    }

    pub(super) fn broker_takes(&mut self, id: u64) -> Held {
        let Some(link) = self.links.get_mut(&id) else { return Ok(()) };
        if link.paused || link.closing {
            return Ok(());
        }
        let now_ns = self.now_ns;
        let due = link.up.front().is_some_and(|segment| segment.due_ns <= now_ns);
        let Some(segment) = due.then(|| link.up.pop_front()).flatten() else { return Ok(()) };
        if link.up_deaf {
            return Ok(());
        }
        let (seat, shard, conn) = (link.seat, link.shard, link.conn);
        match link.frames(&segment.bytes) {
            Ok(frames) => {
                for frame in frames {
                    self.inbound(shard, Inbound::Frame(conn, frame));
                }
                Ok(())
            }
            Err(why) => {
                if !self.seats[seat].client.breaks_rules() {
                    return Err(self.blame(seat, why));
                }
                self.reset(id);
                Ok(())
            }
        }
    }

    pub(super) fn client_takes(&mut self, id: u64) -> Held {
        let Some(link) = self.links.get_mut(&id) else { return Ok(()) };
        let now_ns = self.now_ns;
        let due = link.down.front().is_some_and(|segment| segment.due_ns <= now_ns);
        let Some(segment) = due.then(|| link.down.pop_front()).flatten() else { return Ok(()) };
        let (seat, shard, conn) = (link.seat, link.shard, link.conn);
        let (left, deaf, bytewise) = (link.left, link.down_deaf, link.bytewise);
        let over = link.closing && link.down.is_empty();
        if let Some(response) = segment.ends {
            self.inbound(shard, Inbound::Sent(conn, response));
        }
        if !left && !deaf {
            if bytewise {
                self.checkers.marks.hit("answers in pieces");
            }
            self.seats[seat].wire.arrive(&segment.bytes);
            self.client_reads(seat, id)?;
        }
        if over {
            self.reset(id);
        }
        Ok(())
    }

    /// The client takes the responses that are whole.
    fn client_reads(&mut self, seat: usize, id: u64) -> Held {
        let mut any = false;
        while self.seats[seat].link == Some(id) {
            let response = self.seats[seat].wire.poll();
            let Some(response) = response.map_err(|what| self.blame(seat, &what))? else { break };
            any = true;
            let api = response.key as u64;
            self.trace.note("client takes answer to api", seat as u64, api);
            self.trace.bytes(&response.body);
            let taken = self.with_client(seat, |client, cx| client.receive(cx, response));
            taken.map_err(|what| self.blame(seat, &what))?;
        }
        if any && self.seats[seat].link == Some(id) {
            self.seats[seat].wake_at = None;
            self.wake(seat)?;
        }
        Ok(())
    }

    /// The process is gone, and every connection with it.
    pub(super) fn lose_process(&mut self) {
        self.observe();
        self.node.forget();
        self.facts.life += 1;
        self.turn_at.clear();
        self.mesh_last_ns.clear();
        self.stalled_until_ns.clear();
        self.stopping = None;
        self.disk_at = None;
        for link in mem::take(&mut self.links).into_values() {
            if !link.partial.is_empty() {
                self.checkers.marks.hit("frame cut in the middle");
            }
            if !link.left {
                self.client_loses(link.seat);
                let later_ns = self.streams.network.between(1, 30) * MS_NS;
                self.plan_wake(link.seat, self.now_ns + later_ns);
            }
        }
        self.disturb(SECOND_NS);
    }
}
