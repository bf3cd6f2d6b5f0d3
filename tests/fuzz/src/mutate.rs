//! Random changes of an input, the same everywhere for the same seed.
//!
//! For the plain test run, which has no coverage to guide it; libFuzzer has changes of its own.

/// SplitMix64: enough to choose mutations.
#[derive(Debug)]
pub struct Random(pub u64);

impl Random {
    /// The next draw.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `bound`, which may be 0.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.draw() % bound.max(1) as u64) as usize
    }
}

/// Numbers at which length fields go wrong.
const LENGTHS: [i32; 12] =
    [0, 1, -1, -2, 127, 128, 0x7fff, 0x8000, 1 << 20, 1 << 28, i32::MAX, i32::MIN];

/// One to four changes: a bit, a byte, an interesting number, bytes put in or taken out, the tail
/// of another input.
pub fn mutate(bytes: &mut Vec<u8>, others: &[Vec<u8>], random: &mut Random) {
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len() + 1);
        match random.below(7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            1 if at < bytes.len() => bytes[at] = random.draw() as u8,
            2 => bytes.truncate(at),
            3 => bytes.insert(at, [0x00, 0x01, 0x7f, 0x80, 0xff][random.below(5)]),
            4 if at + 4 <= bytes.len() => {
                let length = LENGTHS[random.below(LENGTHS.len())];
                bytes[at..at + 4].copy_from_slice(&length.to_be_bytes());
            }
            5 => {
                let other = &others[random.below(others.len())];
                bytes.truncate(at);
                bytes.extend_from_slice(&other[random.below(other.len())..]);
            }
            _ if at < bytes.len() => {
                let end = (at + random.below(16)).min(bytes.len());
                bytes.drain(at..end);
            }
            _ => {}
        }
    }
}
