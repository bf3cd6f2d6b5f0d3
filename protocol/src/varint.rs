//! Variable-length integers: unsigned (compact lengths, tags) and zigzag (fields of a record).
//!
//! Reading takes a slice and moves it past what was read; `None` means that the bytes end too
//! early or that the number is longer than its type allows. Nothing here panics.
//! The layout is Protocol Buffers' as Kafka uses it: seven bits per byte, low bits first.

/// Most bytes that a 32-bit number takes.
pub const VARINT_BYTES_MAX: usize = 5;
/// Most bytes that a 64-bit number takes.
pub const VARLONG_BYTES_MAX: usize = 10;

/// Reads an unsigned number of at most 32 bits.
///
/// The fifth byte's bits above 32 are dropped, as Kafka does.
#[inline]
pub fn read_uvarint(rest: &mut &[u8]) -> Option<u32> {
    let (&first, tail) = rest.split_first()?;
    if first < 0x80 {
        *rest = tail;
        return Some(u32::from(first));
    }
    let mut value = u32::from(first & 0x7f);
    let mut tail = tail;
    for shift in [7, 14, 21, 28] {
        let (&byte, after) = tail.split_first()?;
        value |= u32::from(byte & 0x7f) << shift;
        tail = after;
        if byte < 0x80 {
            *rest = tail;
            return Some(value);
        }
    }
    None
}

/// Reads a zigzag number of at most 32 bits.
#[inline]
pub fn read_varint(rest: &mut &[u8]) -> Option<i32> {
    let value = read_uvarint(rest)?;
    Some((value >> 1) as i32 ^ -((value & 1) as i32))
}

/// Reads a zigzag number of at most 64 bits.
#[inline]
pub fn read_varlong(rest: &mut &[u8]) -> Option<i64> {
    let mut value = 0_u64;
    for (index, &byte) in rest.iter().take(VARLONG_BYTES_MAX).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            *rest = rest.get(index + 1..)?;
            return Some((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    None
}

/// Appends an unsigned number.
#[inline]
pub fn write_uvarint(out: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a zigzag number of 32 bits.
#[inline]
pub fn write_varint(out: &mut Vec<u8>, value: i32) {
    write_uvarint(out, ((value << 1) ^ (value >> 31)) as u32);
}

/// Appends a zigzag number of 64 bits.
#[inline]
pub fn write_varlong(out: &mut Vec<u8>, value: i64) {
    let mut value = ((value << 1) ^ (value >> 63)) as u64;
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Bytes that [`write_uvarint`] appends.
#[inline]
pub fn uvarint_bytes(value: u32) -> usize {
    (38 - value.leading_zeros() as usize) / 7 + usize::from(value == 0)
}

/// Bytes that [`write_varint`] appends.
#[inline]
pub fn varint_bytes(value: i32) -> usize {
    uvarint_bytes(((value << 1) ^ (value >> 31)) as u32)
}

/// Bytes that [`write_varlong`] appends.
#[inline]
pub fn varlong_bytes(value: i64) -> usize {
    let value = ((value << 1) ^ (value >> 63)) as u64;
    (70 - value.leading_zeros() as usize) / 7 + usize::from(value == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_number_comes_back_and_its_size_is_known(a: u32, b: i32, c: i64) {
            let mut out = Vec::new();
            write_uvarint(&mut out, a);
            prop_assert_eq!(out.len(), uvarint_bytes(a));
            write_varint(&mut out, b);
            prop_assert_eq!(out.len(), uvarint_bytes(a) + varint_bytes(b));
            write_varlong(&mut out, c);
            prop_assert_eq!(out.len(), uvarint_bytes(a) + varint_bytes(b) + varlong_bytes(c));
            let mut rest = out.as_slice();
            prop_assert_eq!(read_uvarint(&mut rest), Some(a));
            prop_assert_eq!(read_varint(&mut rest), Some(b));
            prop_assert_eq!(read_varlong(&mut rest), Some(c));
            prop_assert!(rest.is_empty());
        }
    }

    #[test]
    fn sizes_change_at_the_powers_of_128() {
        for (value, bytes) in [
            (0, 1),
            (127, 1),
            (128, 2),
            (16_383, 2),
            (16_384, 3),
            (2_097_151, 3),
            (2_097_152, 4),
            (268_435_455, 4),
            (268_435_456, 5),
            (u32::MAX, 5),
        ] {
            assert_eq!(uvarint_bytes(value), bytes, "{value}");
        }
        assert_eq!(varlong_bytes(i64::MIN), 10);
        assert_eq!(varlong_bytes(0), 1);
    }

    #[test]
    fn unfinished_and_overlong_numbers_are_refused_and_nothing_is_consumed() {
        for bytes in [&[][..], &[0x80], &[0xff; 5], &[0xff, 0xff, 0xff, 0xff]] {
            let mut rest = bytes;
            assert_eq!(read_uvarint(&mut rest), None);
            assert_eq!(rest, bytes);
        }
        assert_eq!(read_varlong(&mut &[0xff; 10][..]), None);
        assert_eq!(read_varlong(&mut &[0x80; 9][..]), None);
    }
}
