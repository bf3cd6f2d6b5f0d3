//! Who waits when a core is handed more than its disk takes.
//!
//! A shard whose journal is nearly full reads no more from connections that produce to it, its own
//! and those of other shards: it tells them when that begins and when it ends. What is on its way
//! already is bounded by each connection's requests under way, and beyond the journal's bound it is
//! refused with a code that clients retry. Called by the frame in `mod.rs` and by produces.

use std::collections::BTreeSet;

use super::Shard;
use super::event::{ConnId, ShardId};
use super::mesh::MeshMessage;

/// What a shard knows of the pressure, its own and that of others.
#[derive(Debug, Default)]
pub struct Pressure {
    /// What the others were told last of this shard.
    told: bool,
    /// Other shards that have too much to commit.
    others: BTreeSet<ShardId>,
    /// Connections that wait, each for one shard.
    waiting: Vec<(ConnId, ShardId)>,
}

impl Shard {
    /// Stops reading from a connection that produced to `owner`, when that shard is given more than
    /// its disk takes.
    pub(crate) fn hold_back(&mut self, conn: ConnId, owner: ShardId) {
        if self.is_pressed(owner)
            && let Some(connection) = self.connections.get_mut(conn)
            && !connection.backlogged
        {
            connection.backlogged = true;
            self.pressure.waiting.push((conn, owner));
        }
    }

    fn is_pressed(&self, shard: ShardId) -> bool {
        if shard == self.config.shard {
            self.store.is_pressed()
        } else {
            self.pressure.others.contains(&shard)
        }
    }

    /// Another shard says how it is.
    pub(super) fn handle_pressed(&mut self, from: ShardId, pressed: bool) {
        if pressed {
            self.pressure.others.insert(from);
        } else {
            self.pressure.others.remove(&from);
        }
    }

    /// At the end of a turn: tells the others of a change, and reads again from connections that
    /// waited for what is over.
    pub(super) fn settle_pressure(&mut self) {
        let pressed = self.store.is_pressed();
        if pressed != self.pressure.told {
            self.pressure.told = pressed;
            let own = self.config.shard;
            for other in (0..self.config.shards_count).map(ShardId).filter(|other| *other != own) {
                self.send_mesh(other, MeshMessage::Pressed { pressed });
            }
        }
        if self.pressure.waiting.is_empty() {
            return;
        }
        for (conn, owner) in std::mem::take(&mut self.pressure.waiting) {
            let pressed = self.is_pressed(owner);
            let Some(connection) = self.connections.get_mut(conn) else { continue };
            connection.backlogged = pressed;
            if pressed {
                self.pressure.waiting.push((conn, owner));
            } else {
                self.update_flow(conn);
            }
        }
    }
}
