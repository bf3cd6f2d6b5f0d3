//! The hash by which Kafka's producers choose a partition for a key.
//!
//! MurmurHash2 with Kafka's seed, 32 bit. Used by our own producing clients (command line, load
//! generator) so that keys land where a Java producer would put them; the broker never hashes keys.

/// Multiplier of MurmurHash2.
const M: u32 = 0x5bd1_e995;
/// Kafka's seed.
const SEED: u32 = 0x9747_b28c;

/// Kafka's murmur2 of `bytes`.
pub fn murmur2(bytes: &[u8]) -> i32 {
    // Java's array length is an i32 and is mixed in as such; keys are far below 2 GiB.
    let mut hash = SEED ^ bytes.len() as u32;
    let (words, tail) = bytes.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !tail.is_empty() {
        for (index, byte) in tail.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * index);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    (hash ^ (hash >> 15)) as i32
}

/// The partition that a Java producer's default partitioner picks for `key` among
/// `partitions_count`, which must be positive.
pub fn partition_for_key(key: &[u8], partitions_count: i32) -> i32 {
    assert!(partitions_count > 0, "a topic has at least one partition");
    (murmur2(key) & i32::MAX) % partitions_count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_kafkas_own_tests() {
        for (key, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()), hash, "{key}");
        }
    }

    #[test]
    fn partition_is_never_negative() {
        assert_eq!(partition_for_key(b"21", 7), (-973_932_308_i32 & i32::MAX) % 7);
        for key in 0..1000_u32 {
            assert!((0..3).contains(&partition_for_key(&key.to_be_bytes(), 3)));
        }
    }
}
