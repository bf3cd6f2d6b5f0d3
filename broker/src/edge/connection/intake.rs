//! The way in: received bytes become frames of the shard, as far as the connection's share of a
//! turn goes; the rest is held.
//!
//! Cutting a stream into frames is `frames.rs`, how large a share is `share.rs`. Called by
//! `connection.rs` when bytes arrive and when it is a held connection's turn.

use storage::edge::ring::Ring;

use super::super::clock;
use super::super::counters::Counters;
use super::super::frames::Fed;
use super::{Connections, Phase};
use crate::shard::event::Event;

impl Connections {
    /// Cuts received bytes into frames for the shard, or holds them while it is not their turn.
    pub(super) fn feed(
        &mut self,
        slot: u32,
        bytes: &[u8],
        now_ns: u64,
        counters: &Counters,
        deliver: &mut impl FnMut(Event<'_>),
    ) {
        let connection =
            self.slots.get_mut(slot as usize).expect("a slot lives until its last completion");
        match connection.phase {
            Phase::Open => {}
            Phase::Draining | Phase::Ending => return,
        }
        if connection.paused || !connection.held.is_empty() {
            if connection.held.is_empty() {
                connection.held_since_ns = now_ns;
            }
            connection.held.extend_from_slice(bytes);
            return;
        }
        let taken = self.hand_on(slot, bytes, now_ns, counters, deliver);
        if taken < bytes.len() {
            let connection = self.get(slot);
            connection.held_since_ns = now_ns;
            connection.held.extend_from_slice(&bytes[taken..]);
            self.queue(slot);
        }
    }

    /// Gives the shard the frames in `bytes`, which arrived at `now_ns`, as far as the connection's
    /// share of this turn goes; returns how many bytes that took.
    fn hand_on(
        &mut self,
        slot: u32,
        bytes: &[u8],
        now_ns: u64,
        counters: &Counters,
        deliver: &mut impl FnMut(Event<'_>),
    ) -> usize {
        let (turn, frame_bytes_max) = (self.turn, self.limits.frame_bytes_max);
        let connection =
            self.slots.get_mut(slot as usize).expect("a slot lives until its last completion");
        assert!(connection.phase == Phase::Open, "what comes after the end is not handed on");
        let (conn, share) = (connection.id, &mut connection.share);
        if !share.has_room(turn) {
            return 0;
        }
        let mut frames = 0u32;
        let mut started_ns = clock::mono_ns();
        let fed = connection.reader.feed(
            bytes,
            now_ns,
            frame_bytes_max,
            &mut self.spare_buffers,
            |frame, arrival| {
                frames += 1;
                deliver(Event::Frame { conn, frame, arrival });
                let ended_ns = clock::mono_ns();
                share.spend(ended_ns - started_ns);
                started_ns = ended_ns;
                share.has_room(turn)
            },
        );
        connection.unanswered += frames;
        counters.requests.add(u64::from(frames));
        match fed {
            Ok(Fed { taken, assembled }) => {
                counters.requests_assembled.add(assembled);
                taken
            }
            Err(error) => {
                self.notices.push(format!("connection from {} closed: {error}", connection.peer));
                self.end(slot);
                bytes.len()
            }
        }
    }

    /// Lets a slot hand on what it holds when its turn comes.
    pub(super) fn queue(&mut self, slot: u32) {
        let connection = self.get(slot);
        if !std::mem::replace(&mut connection.is_resumed, true) {
            self.resumed.push_back(slot);
        }
    }

    /// Hands on what was held while paused, or beyond a share: each connection once per turn.
    pub(super) fn hand_on_held(
        &mut self,
        ring: &mut Ring,
        counters: &Counters,
        deliver: &mut impl FnMut(Event<'_>),
    ) {
        for _ in 0..self.resumed.len() {
            let Some(slot) = self.resumed.pop_front() else { break };
            let Some(connection) = self.slots.get_mut(slot as usize) else { continue };
            connection.is_resumed = false;
            if connection.paused || connection.held.is_empty() {
                // Paused again meanwhile, or the slot is somebody else's.
                continue;
            }
            let held = std::mem::take(&mut connection.held);
            let from = std::mem::take(&mut connection.held_at);
            match connection.phase {
                Phase::Open => {}
                Phase::Draining | Phase::Ending => {
                    self.spare_buffers.give_back(held);
                    self.mark_dirty(slot);
                    continue;
                }
            }
            let since_ns = connection.held_since_ns;
            let at = from + self.hand_on(slot, &held[from..], since_ns, counters, deliver);
            let connection = self.get(slot);
            if at < held.len() {
                (connection.held, connection.held_at) = (held, at);
                self.queue(slot);
            } else {
                self.spare_buffers.give_back(held);
                self.arm(slot, ring);
            }
            self.mark_dirty(slot);
        }
    }
}
