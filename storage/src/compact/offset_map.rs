//! Keys of a log's dirty section and the last offset of each, in bounded memory.
//!
//! Holds 128 bits of a keyed hash instead of the key, as Kafka's map holds an MD5: two keys that
//! collide would be taken for one, so the hash is keyed with the life's salt, which no client
//! knows. Open addressing; entries are never removed. It does not grow: `put` says when it is full,
//! and the cleaner then cleans as far as it got. The hash is SipHash-2-4 with 128 bits of output.

use std::fmt;

/// Bytes of an entry: hash and offset.
pub const ENTRY_BYTES: usize = 24;

#[derive(Clone, Copy)]
struct Entry {
    hash: [u64; 2],
    /// -1: free.
    offset: i64,
}

const FREE: Entry = Entry { hash: [0; 2], offset: -1 };

/// The map. Its memory is taken with the first entry, where the work is done, not where it is
/// planned.
pub struct OffsetMap {
    salt: [u64; 2],
    entries: Vec<Entry>,
    slots_count: usize,
    len: usize,
    len_max: usize,
    latest: i64,
}

impl fmt::Debug for OffsetMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OffsetMap({} of {}, up to {})", self.len, self.len_max, self.latest)
    }
}

impl OffsetMap {
    /// A map of at most `bytes_max` bytes, and no more than `keys_max` keys need, filled to nine
    /// tenths. Holds at least one key.
    pub fn new(salt: [u64; 2], bytes_max: usize, keys_max: u64) -> Self {
        let affordable = bytes_max / ENTRY_BYTES;
        let wanted = usize::try_from(keys_max.saturating_add(keys_max / 8)).unwrap_or(usize::MAX);
        let slots_count = affordable.min(wanted.saturating_add(2)).max(2);
        let len_max = (slots_count / 10 * 9 + slots_count % 10 * 9 / 10).max(1);
        Self { salt, entries: Vec::new(), slots_count, len: 0, len_max, latest: -1 }
    }

    /// Remembers the last offset of `key`; `false`: there is no room for another key.
    pub fn put(&mut self, key: &[u8], offset: i64) -> bool {
        if self.entries.is_empty() {
            self.entries = vec![FREE; self.slots_count];
        }
        let hash = siphash_128(self.salt, key);
        let slot = self.slot(hash);
        if self.entries[slot].offset < 0 {
            if self.len == self.len_max {
                return false;
            }
            self.len += 1;
        }
        self.entries[slot] = Entry { hash, offset };
        self.latest = self.latest.max(offset);
        true
    }

    /// The last offset of `key`; `None` when the dirty section does not have it.
    pub fn get(&self, key: &[u8]) -> Option<i64> {
        if self.entries.is_empty() {
            return None;
        }
        let slot = self.slot(siphash_128(self.salt, key));
        Some(self.entries[slot].offset).filter(|offset| *offset >= 0)
    }

    /// The batches up to `offset` are in the map.
    pub fn note_end(&mut self, offset: i64) {
        self.latest = self.latest.max(offset);
    }

    /// The last offset looked at; -1 before the first.
    pub fn latest(&self) -> i64 {
        self.latest
    }

    /// Keys.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no key is known.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The slot that holds the hash, or the free one where it belongs.
    fn slot(&self, hash: [u64; 2]) -> usize {
        // The high bits of the product: an even spread for any number of slots.
        let mut slot = ((u128::from(hash[0]) * self.slots_count as u128) >> 64) as usize;
        loop {
            let entry = &self.entries[slot];
            if entry.offset < 0 || entry.hash == hash {
                return slot;
            }
            slot = if slot + 1 == self.slots_count { 0 } else { slot + 1 };
        }
    }
}

/// SipHash-2-4 with 128 bits of output (Aumasson, Bernstein).
fn siphash_128(salt: [u64; 2], bytes: &[u8]) -> [u64; 2] {
    let mut state = [
        salt[0] ^ 0x736f_6d65_7073_6575,
        salt[1] ^ 0x646f_7261_6e64_6f6d ^ 0xee,
        salt[0] ^ 0x6c79_6765_6e65_7261,
        salt[1] ^ 0x7465_6462_7974_6573,
    ];
    let absorb = |state: &mut [u64; 4], word: u64| {
        state[3] ^= word;
        rounds(state, 2);
        state[0] ^= word;
    };
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        absorb(&mut state, u64::from_le_bytes(*word));
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    last[7] = bytes.len() as u8;
    absorb(&mut state, u64::from_le_bytes(last));
    state[2] ^= 0xee;
    rounds(&mut state, 4);
    let first = state[0] ^ state[1] ^ state[2] ^ state[3];
    state[1] ^= 0xdd;
    rounds(&mut state, 4);
    [first, state[0] ^ state[1] ^ state[2] ^ state[3]]
}

fn rounds(state: &mut [u64; 4], count: usize) {
    let [a, b, c, d] = state;
    for _ in 0..count {
        *a = a.wrapping_add(*b);
        *b = b.rotate_left(13) ^ *a;
        *a = a.rotate_left(32);
        *c = c.wrapping_add(*d);
        *d = d.rotate_left(16) ^ *c;
        *a = a.wrapping_add(*d);
        *d = d.rotate_left(21) ^ *a;
        *c = c.wrapping_add(*b);
        *b = b.rotate_left(17) ^ *c;
        *c = c.rotate_left(32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_gives_the_reference_vectors() {
        // Of the authors' `vectors.h`: key 00..0f, inputs of no byte and of one zero byte.
        let salt = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];
        let bytes = |hash: [u64; 2]| [hash[0].to_le_bytes(), hash[1].to_le_bytes()].concat();
        let none = bytes(siphash_128(salt, &[]));
        assert_eq!(none[..4], [0xa3, 0x81, 0x7f, 0x04]);
        assert_eq!(
            none[4..],
            [0xba, 0x25, 0xa8, 0xe6, 0x6d, 0xf6, 0x72, 0x14, 0xc7, 0x55, 0x02, 0x93]
        );
        let zero = bytes(siphash_128(salt, &[0]));
        assert_eq!(zero[..4], [0xda, 0x87, 0xc1, 0xd8]);
    }

    #[test]
    fn a_key_has_its_last_offset() {
        let mut map = OffsetMap::new([1, 2], 1 << 16, 100);
        for offset in 0..500i64 {
            assert!(map.put(&(offset % 100).to_be_bytes(), offset));
        }
        assert_eq!((map.len(), map.latest()), (100, 499));
        assert_eq!(map.get(&7i64.to_be_bytes()), Some(407));
        assert_eq!(map.get(b"never"), None);
    }

    #[test]
    fn a_full_map_takes_known_keys_only() {
        let mut map = OffsetMap::new([1, 2], 10 * ENTRY_BYTES, u64::MAX);
        let taken = (0..20i64).take_while(|key| map.put(&key.to_be_bytes(), *key)).count();
        assert_eq!(taken, 9, "nine tenths of ten");
        assert!(map.put(&3i64.to_be_bytes(), 50));
        assert!(!map.put(&15i64.to_be_bytes(), 51));
        assert_eq!(map.latest(), 50);
    }
}
