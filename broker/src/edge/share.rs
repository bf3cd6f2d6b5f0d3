//! A connection's share of one turn of the event loop.
//!
//! A read may bring a megabyte of requests of forty bytes each. Worked through at once they hold
//! the core for as long as a second, and every answer to a client that reads none piles up before
//! the shard can ask for a pause. So a connection hands on a share per turn, and keeps the rest
//! for the next one. What a request is, and what it costs, is not known here: only how long it
//! took.

/// Requests of one connection in one turn: as many as the shard lets a connection have under way.
const FRAMES_MAX: u32 = 256;

/// Time one connection may take of one turn. Twenty such connections cost a client beside them as
/// much as a slow disk write does; requests that take longer each are handed on one per turn.
const TURN_NS_MAX: u64 = 2_000_000;

/// What is left of the share.
#[derive(Debug, Default)]
pub struct Share {
    /// The turn it belongs to.
    turn: u64,
    frames: u32,
    spent_ns: u64,
}

impl Share {
    /// Whether another request may be handed on in `turn`. The first one always may.
    pub fn has_room(&mut self, turn: u64) -> bool {
        if self.turn != turn {
            *self = Self { turn, ..Self::default() };
        }
        self.frames < FRAMES_MAX && self.spent_ns < TURN_NS_MAX
    }

    /// Notes a request that took so long.
    pub fn spend(&mut self, ns: u64) {
        self.frames += 1;
        self.spent_ns += ns;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spend_turn(share: &mut Share, turn: u64, each_ns: u64) -> u32 {
        let mut count = 0;
        while share.has_room(turn) {
            share.spend(each_ns);
            count += 1;
        }
        count
    }

    #[test]
    fn cheap_requests_are_bounded_by_their_number() {
        let mut share = Share::default();
        assert_eq!(spend_turn(&mut share, 1, 1_000), FRAMES_MAX);
        assert_eq!(spend_turn(&mut share, 1, 1_000), 0, "the turn's share is spent");
        assert_eq!(spend_turn(&mut share, 2, 1_000), FRAMES_MAX);
    }

    #[test]
    fn expensive_requests_are_bounded_by_their_time_but_one_is_always_taken() {
        let mut share = Share::default();
        assert_eq!(spend_turn(&mut share, 1, 500_000), 4);
        assert_eq!(spend_turn(&mut share, 2, 400_000_000), 1);
    }
}
