//! When requests are due: a rate or a list of times becomes an endless series of intended times.
//!
//! Pure: no clock. A schedule never looks at answers; that is what makes a loop open. Load cores
//! share one series: core `i` of `n` takes every `n`-th time, so that together they keep the rate.

use crate::args::Arrivals;

/// Random numbers for load: xorshift64*, seeded, one stream per user.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// A stream of its own for each `stream`.
    pub fn new(seed: u64, stream: u64) -> Self {
        // SplitMix64's finalizer: close seeds give unrelated streams, and never the state 0.
        let mut z = seed.wrapping_add(stream.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Self((z ^ (z >> 31)) | 1)
    }

    /// 64 random bits.
    pub fn draw(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Evenly in (0, 1].
    pub fn unit(&mut self) -> f64 {
        ((self.draw() >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }

    /// Below `bound`, which is above 0. The bias of the multiplication is below 2^-32.
    pub fn below(&mut self, bound: u32) -> u32 {
        (((self.draw() >> 32) * u64::from(bound)) >> 32) as u32
    }
}

/// An endless, ascending series of intended times, in nanoseconds from the run's start.
#[derive(Debug, Clone)]
pub struct Schedule {
    source: Source,
    /// How many load cores share the series, and which of them this is.
    share: usize,
    shares: usize,
    /// Times taken from the source.
    taken: usize,
}

#[derive(Debug, Clone)]
enum Source {
    Constant { gap_ns: f64, next: u64 },
    Poisson { gap_ns: f64, at_ns: f64, random: Random },
    Replay { times_ns: std::sync::Arc<[u64]>, round_ns: u64, next: usize, base_ns: u64 },
}

impl Schedule {
    /// At `rate` per second, above 0. Cores with the same seed share one series.
    pub fn at_rate(rate: f64, arrivals: Arrivals, seed: u64) -> Self {
        let gap_ns = 1e9 / rate;
        let source = match arrivals {
            Arrivals::Constant => Source::Constant { gap_ns, next: 0 },
            Arrivals::Poisson => {
                Source::Poisson { gap_ns, at_ns: 0.0, random: Random::new(seed, 0) }
            }
        };
        Self { source, share: 0, shares: 1, taken: 0 }
    }

    /// At these ascending times, at least one, and then again from the last one on.
    pub fn replay(times_ns: std::sync::Arc<[u64]>) -> Self {
        assert!(!times_ns.is_empty(), "a replay has at least one time");
        // One average gap between the rounds; a single time repeats every second.
        let count = times_ns.len() as u64;
        let last = times_ns[times_ns.len() - 1];
        let gap_ns = if count > 1 { (last - times_ns[0]) / (count - 1) } else { 1_000_000_000 };
        let round_ns = last + gap_ns.max(1);
        let source = Source::Replay { times_ns, round_ns, next: 0, base_ns: 0 };
        Self { source, share: 0, shares: 1, taken: 0 }
    }

    /// Core `share` of `shares`.
    pub fn shared(self, share: usize, shares: usize) -> Self {
        assert!(share < shares, "a share is one of those there are");
        Self { share, shares, ..self }
    }

    /// The next intended time.
    pub fn next_ns(&mut self) -> u64 {
        loop {
            let at = self.source.next_ns();
            let mine = self.taken % self.shares == self.share;
            self.taken += 1;
            if mine {
                return at;
            }
        }
    }
}

impl Source {
    fn next_ns(&mut self) -> u64 {
        match self {
            Self::Constant { gap_ns, next } => {
                // From the count, not by adding gaps: rounding must not move the rate.
                let at = *next as f64 * *gap_ns;
                *next += 1;
                at as u64
            }
            Self::Poisson { gap_ns, at_ns, random } => {
                *at_ns -= random.unit().ln() * *gap_ns;
                *at_ns as u64
            }
            Self::Replay { times_ns, round_ns, next, base_ns } => {
                let at = *base_ns + times_ns[*next];
                *next += 1;
                if *next == times_ns.len() {
                    *next = 0;
                    *base_ns += *round_ns;
                }
                at
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_rate_has_no_drift() {
        let mut schedule = Schedule::at_rate(3.0, Arrivals::Constant, 1);
        let times: Vec<u64> = (0..3_000_001).map(|_| schedule.next_ns()).collect();
        assert_eq!(times[0], 0);
        assert_eq!(times[3], 1_000_000_000);
        assert_eq!(times[3_000_000], 1_000_000_000_000_000);
    }

    #[test]
    fn poisson_gaps_have_the_mean_and_spread_of_an_exponential() {
        let mut schedule = Schedule::at_rate(1000.0, Arrivals::Poisson, 7);
        let times: Vec<u64> = (0..200_000).map(|_| schedule.next_ns()).collect();
        let gaps: Vec<f64> = times.windows(2).map(|pair| (pair[1] - pair[0]) as f64).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((mean / 1e6 - 1.0).abs() < 0.02, "mean {mean}");
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.02, "deviation {}", variance.sqrt());
    }

    #[test]
    fn cores_share_one_series() {
        for arrivals in [Arrivals::Constant, Arrivals::Poisson] {
            let mut whole = Schedule::at_rate(500.0, arrivals, 3);
            let mut shares: Vec<Schedule> =
                (0..3).map(|i| Schedule::at_rate(500.0, arrivals, 3).shared(i, 3)).collect();
            for index in 0..300 {
                assert_eq!(whole.next_ns(), shares[index % 3].next_ns());
            }
        }
    }

    #[test]
    fn a_replay_begins_again_where_it_ended() {
        let mut schedule = Schedule::replay([0, 10, 30].into());
        let times: Vec<u64> = (0..6).map(|_| schedule.next_ns()).collect();
        assert_eq!(times, [0, 10, 30, 45, 55, 75]);
    }
}
