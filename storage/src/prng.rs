//! A small pseudo-random generator for simulated disks and their tests.
//!
//! Not for the cores: they take randomness as an argument. One stream per concern, forked with a
//! salt, so that a draw more in one does not change the others. Source: SplitMix64 (Steele, Lea,
//! Flood, 2014).

/// SplitMix64.
#[derive(Clone, Debug)]
pub struct Prng {
    state: u64,
}

impl Prng {
    /// The stream of a seed.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// A stream of its own for one concern.
    pub fn fork(&self, salt: u64) -> Self {
        let mut fork = Self { state: self.state ^ salt.wrapping_mul(0xd6e8_feb8_6659_fd93) };
        fork.state = fork.next_u64();
        fork
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is not 0. Its bias is below 2^-32 for the bounds of a test.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "there is a number below the bound");
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// True once in `out_of` draws.
    pub fn one_in(&mut self, out_of: u64) -> bool {
        self.below(out_of) == 0
    }

    /// One of `choices`, which are not empty.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_splitmix64() {
        let mut prng = Prng::new(1_234_567);
        let first: Vec<u64> = (0..3).map(|_| prng.next_u64()).collect();
        assert_eq!(
            first,
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }

    #[test]
    fn forks_differ_and_repeat() {
        let prng = Prng::new(9);
        assert_eq!(prng.fork(1).next_u64(), prng.fork(1).next_u64());
        assert_ne!(prng.fork(1).next_u64(), prng.fork(2).next_u64());
    }

    #[test]
    fn every_number_below_a_bound_comes_up() {
        let mut prng = Prng::new(3);
        let mut seen = [false; 7];
        (0..200).for_each(|_| seen[prng.below(7) as usize] = true);
        assert_eq!(seen, [true; 7]);
    }
}
