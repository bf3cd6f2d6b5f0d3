//! Variable-length integers of our own checkpoint encodings: seven bits per byte, lowest first.
//!
//! Reading is total. Kafka's record varints look the same but belong to `protocol`; nothing on the
//! wire or in Kafka's files is read with these.

/// Adds `value`, one to ten bytes.
pub(crate) fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Adds `value` so that small magnitudes are short (zigzag).
pub(crate) fn put_signed(out: &mut Vec<u8>, value: i64) {
    put(out, ((value << 1) ^ (value >> 63)) as u64);
}

/// Takes a value off the front of `bytes`; `None` when they end inside it or it exceeds 64 bits.
pub(crate) fn get(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            return None;
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// As `get`, for `put_signed`.
pub(crate) fn get_signed(bytes: &mut &[u8]) -> Option<i64> {
    let value = get(bytes)?;
    Some((value >> 1) as i64 ^ -((value & 1) as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_ends_early_or_is_too_long_is_refused() {
        assert_eq!(get(&mut &[0x80u8, 0x80][..]), None);
        assert_eq!(get(&mut &[0xffu8; 11][..]), None);
        let mut largest = Vec::new();
        put(&mut largest, u64::MAX);
        assert_eq!(get(&mut largest.as_slice()), Some(u64::MAX));
        largest[9] = 2;
        assert_eq!(get(&mut largest.as_slice()), None);
    }

    proptest::proptest! {
        #[test]
        fn every_number_reads_back(
            value in proptest::num::i64::ANY,
            next in proptest::num::u64::ANY,
        ) {
            let mut out = Vec::new();
            put_signed(&mut out, value);
            put(&mut out, next);
            let mut bytes = out.as_slice();
            proptest::prop_assert_eq!(get_signed(&mut bytes), Some(value));
            proptest::prop_assert_eq!(get(&mut bytes), Some(next));
            proptest::prop_assert!(bytes.is_empty());
        }
    }
}
