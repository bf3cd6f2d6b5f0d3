//! Variable-length integers: unsigned (lengths, tags) and zigzag (record fields).
//!
//! Slices in, `None` for "too short or too long": the callers know how to name the error.
//! Kafka accepts non-minimal forms and drops the bits that overflow; so do these.
//! Source: `org.apache.kafka.common.utils.ByteUtils`.

/// Longest encoding of a 32-bit value.
pub const BYTES_MAX_32: usize = 5;
/// Longest encoding of a 64-bit value.
pub const BYTES_MAX_64: usize = 10;

/// Reads an unsigned varint: the value and the bytes it took.
#[inline]
pub fn read_u32(bytes: &[u8]) -> Option<(u32, usize)> {
    let first = *bytes.first()?;
    if first < 0x80 {
        return Some((u32::from(first), 1));
    }
    let mut value = u32::from(first & 0x7f);
    for (index, &byte) in bytes.iter().enumerate().take(BYTES_MAX_32).skip(1) {
        value |= u32::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            return Some((value, index + 1));
        }
    }
    None
}

/// Reads an unsigned varint of up to 64 bits: the value and the bytes it took.
#[inline]
pub fn read_u64(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0_u64;
    for (index, &byte) in bytes.iter().enumerate().take(BYTES_MAX_64) {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            return Some((value, index + 1));
        }
    }
    None
}

/// Reads a zigzag varint of up to 32 bits: the value and the bytes it took.
#[inline]
pub fn read_i32(bytes: &[u8]) -> Option<(i32, usize)> {
    let (raw, size) = read_u32(bytes)?;
    Some((((raw >> 1) as i32) ^ -((raw & 1) as i32), size))
}

/// Reads a zigzag varint of up to 64 bits: the value and the bytes it took.
#[inline]
pub fn read_i64(bytes: &[u8]) -> Option<(i64, usize)> {
    let (raw, size) = read_u64(bytes)?;
    Some((((raw >> 1) as i64) ^ -((raw & 1) as i64), size))
}

/// Appends an unsigned varint.
#[inline]
pub fn write_u32(out: &mut Vec<u8>, value: u32) {
    write_u64(out, u64::from(value));
}

/// Appends an unsigned varint of up to 64 bits.
#[inline]
pub fn write_u64(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a zigzag varint.
#[inline]
pub fn write_i32(out: &mut Vec<u8>, value: i32) {
    write_u32(out, zigzag_32(value));
}

/// Appends a zigzag varint of up to 64 bits.
#[inline]
pub fn write_i64(out: &mut Vec<u8>, value: i64) {
    write_u64(out, zigzag_64(value));
}

/// Bytes that [`write_u32`] appends.
#[inline]
pub const fn size_u32(value: u32) -> usize {
    size_u64(value as u64)
}

/// Bytes that [`write_u64`] appends.
#[inline]
pub const fn size_u64(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// Bytes that [`write_i32`] appends.
#[inline]
pub const fn size_i32(value: i32) -> usize {
    size_u32(zigzag_32(value))
}

/// Bytes that [`write_i64`] appends.
#[inline]
pub const fn size_i64(value: i64) -> usize {
    size_u64(zigzag_64(value))
}

#[inline]
const fn zigzag_32(value: i32) -> u32 {
    ((value << 1) ^ (value >> 31)) as u32
}

#[inline]
const fn zigzag_64(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_encodings_are_kafkas() {
        // ByteUtilsTest of Kafka lists these pairs.
        for (value, bytes) in [
            (0_i64, &[0_u8][..]),
            (-1, &[1]),
            (1, &[2]),
            (63, &[0x7e]),
            (-64, &[0x7f]),
            (64, &[0x80, 1]),
            (i64::from(i32::MAX), &[0xfe, 0xff, 0xff, 0xff, 0x0f]),
            (i64::from(i32::MIN), &[0xff, 0xff, 0xff, 0xff, 0x0f]),
            (i64::MIN, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]),
        ] {
            let mut out = Vec::new();
            write_i64(&mut out, value);
            assert_eq!(out, bytes);
            assert_eq!(size_i64(value), bytes.len());
            assert_eq!(read_i64(bytes), Some((value, bytes.len())));
            if let Ok(value) = i32::try_from(value) {
                assert_eq!(size_i32(value), bytes.len());
                assert_eq!(read_i32(bytes), Some((value, bytes.len())));
            }
        }
    }

    #[test]
    fn unsigned_round_trips_at_every_width() {
        for shift in 0..64 {
            for value in [1_u64 << shift, (1 << shift) - 1, u64::MAX >> shift] {
                let mut out = Vec::new();
                write_u64(&mut out, value);
                assert_eq!(out.len(), size_u64(value));
                assert_eq!(read_u64(&out), Some((value, out.len())));
                if let Ok(value) = u32::try_from(value) {
                    assert_eq!(read_u32(&out), Some((value, out.len())));
                }
            }
        }
    }

    #[test]
    fn a_varint_without_an_end_is_refused() {
        assert_eq!(read_u32(&[0xff; 5]), None);
        assert_eq!(read_u64(&[0xff; 10]), None);
        assert_eq!(read_u32(&[0x80]), None);
        assert_eq!(read_u32(&[]), None);
    }
}
