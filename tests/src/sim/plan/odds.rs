//! How many clients of the rarer kinds a workload has, and what else is rare: one table.
//!
//! A draw is made only where the table leaves something to chance: what always is, and what never
//! is, takes none, so that a workload more, or a row changed, leaves the seeds of the others as
//! they were.

use storage::prng::Prng;

use super::Workload;

/// Clients of a kind: in one seed of `one_in`, from `from` to `to` of them. None at all where
/// `one_in` is 0.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    one_in: u64,
    from: u64,
    to: u64,
}

const NONE: Share = Share { one_in: 0, from: 0, to: 0 };

/// A row of the table. What is a number is said in one seed of so many; 0 is never.
#[derive(Clone, Copy, Debug)]
pub(super) struct Odds {
    /// Producers in transactions.
    pub transactors: Share,
    /// Producers of keyed records.
    pub keyed: Share,
    /// Members of the consumer group.
    pub balanced: Share,
    /// A group whose members are of both protocols.
    pub moves: u64,
    /// A streams group.
    pub streams: u64,
    /// So much that a disk which is slow for a while leaves a journal no room, also for markers.
    pub floods: u64,
}

const PLAIN: Odds =
    Odds { transactors: NONE, keyed: NONE, balanced: NONE, moves: 0, streams: 0, floods: 0 };

/// The table.
pub(super) fn of(workload: Workload) -> Odds {
    match workload {
        Workload::Mix => Odds {
            transactors: Share { one_in: 2, from: 1, to: 4 },
            keyed: Share { one_in: 3, from: 1, to: 2 },
            balanced: Share { one_in: 3, from: 1, to: 4 },
            moves: 4,
            streams: 5,
            floods: 8,
        },
        Workload::Groups => {
            Odds { balanced: Share { one_in: 1, from: 2, to: 5 }, moves: 2, streams: 2, ..PLAIN }
        }
        Workload::Moving => Odds { moves: 1, ..PLAIN },
        Workload::Transactions => {
            Odds { transactors: Share { one_in: 1, from: 2, to: 6 }, floods: 8, ..PLAIN }
        }
        Workload::Compaction => Odds {
            transactors: Share { one_in: 1, from: 0, to: 3 },
            keyed: Share { one_in: 1, from: 2, to: 4 },
            ..PLAIN
        },
        Workload::Folders => Odds {
            transactors: Share { one_in: 2, from: 1, to: 3 },
            keyed: Share { one_in: 2, from: 1, to: 2 },
            ..PLAIN
        },
        Workload::Logs
        | Workload::Admin
        | Workload::Deletions
        | Workload::Indexes
        | Workload::Hostile
        | Workload::Calm => PLAIN,
    }
}

/// Whether it is so, in one seed of `one_in`.
pub(super) fn chance(prng: &mut Prng, one_in: u64) -> bool {
    one_in == 1 || one_in > 1 && prng.one_in(one_in)
}

impl Share {
    /// How many there are.
    pub fn draw(self, prng: &mut Prng) -> u32 {
        if chance(prng, self.one_in) { prng.between(self.from, self.to) as u32 } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_left_to_chance_takes_no_draw() {
        let (mut drawn, mut fresh) = (Prng::new(3), Prng::new(3));
        assert!(chance(&mut drawn, 1) && !chance(&mut drawn, 0));
        assert_eq!(NONE.draw(&mut drawn), 0);
        assert_eq!(drawn.next_u64(), fresh.next_u64());
    }
}
