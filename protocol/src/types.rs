//! Small values that appear in many messages: topic, directory and member ids.
//!
//! Not a vocabulary of the broker: offsets, epochs and broker ids are plain integers here because
//! that is what the wire carries; newtypes belong to the crates that compute with them.
//! Source: `org.apache.kafka.common.Uuid` (text form), RFC 4648 §5 (base64url).

use std::fmt;
use std::str::FromStr;

/// A 16-byte id, big-endian on the wire. Kafka prints it as 22 characters of unpadded base64url.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Uuid([u8; 16]);

impl Uuid {
    /// All zeros: "no id" in every message that has one.
    pub const ZERO: Self = Self([0; 16]);

    /// The id 0…01, which Kafka reserves for the metadata topic.
    pub const METADATA_TOPIC: Self = Self::from_u64s(0, 1);

    /// From the bytes as they stand on the wire.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// From the most and the least significant half, the way Java constructs one.
    pub const fn from_u64s(most: u64, least: u64) -> Self {
        Self((((most as u128) << 64) | least as u128).to_be_bytes())
    }

    /// The bytes as they stand on the wire.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The most and the least significant half.
    pub const fn to_u64s(self) -> (u64, u64) {
        let whole = u128::from_be_bytes(self.0);
        ((whole >> 64) as u64, whole as u64)
    }

    /// True for [`Uuid::ZERO`].
    pub fn is_zero(&self) -> bool {
        self.0 == [0; 16]
    }

    /// Random bits made into an id of RFC 4122 version 4 that nothing reserves.
    ///
    /// `None` when Kafka would draw again: ids whose text begins with a dash (a shell would read
    /// an option) and the two reserved ones. Randomness is the caller's.
    pub fn from_random(bits: u128) -> Option<Self> {
        let version = 0x0000_0000_0000_f000_0000_0000_0000_0000_u128;
        let variant = 0xc000_0000_0000_0000_u128;
        let four = 0x0000_0000_0000_4000_0000_0000_0000_0000_u128;
        let rfc = 0x8000_0000_0000_0000_u128;
        let id = Self(((bits & !version & !variant) | four | rfc).to_be_bytes());
        // The first character is the first six bits; 62 is '-' in base64url.
        (id.0[0] >> 2 != 62).then_some(id)
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = u128::from_be_bytes(self.0);
        // 22 characters of 6 bits are 132: the last one carries two bits and four zeros.
        for index in 0..22_u32 {
            let sextet = if index < 21 { bits >> (122 - 6 * index) } else { bits << 4 };
            f.write_str(char::from(ALPHABET[(sextet & 63) as usize]).encode_utf8(&mut [0; 4]))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an id is 22 characters of base64url (A-Z a-z 0-9 - _)")]
pub struct UuidParseError;

impl FromStr for Uuid {
    type Err = UuidParseError;

    fn from_str(text: &str) -> Result<Self, UuidParseError> {
        let text = text.strip_suffix("==").unwrap_or(text);
        if text.len() != 22 {
            return Err(UuidParseError);
        }
        let mut bits = 0_u128;
        for (index, byte) in text.bytes().enumerate() {
            let sextet = ALPHABET.iter().position(|&c| c == byte).ok_or(UuidParseError)? as u128;
            bits = if index < 21 { (bits << 6) | sextet } else { (bits << 2) | (sextet >> 4) };
        }
        Ok(Self(bits.to_be_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_is_javas() {
        // From `new Uuid(0x0123456789abcdefL, 0xfedcba9876543210L).toString()`.
        let id = Uuid::from_u64s(0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210);
        assert_eq!(id.to_string(), "ASNFZ4mrze_-3LqYdlQyEA");
        assert_eq!(Uuid::METADATA_TOPIC.to_string(), "AAAAAAAAAAAAAAAAAAAAAQ");
    }

    #[test]
    fn text_form_reads_back() {
        for seed in 0..500_u128 {
            let id = Uuid::from_bytes(
                seed.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c834).to_be_bytes(),
            );
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        assert_eq!("short".parse::<Uuid>(), Err(UuidParseError));
        assert_eq!("ASNFZ4mrze/+3LqYdlQyEA".parse::<Uuid>(), Err(UuidParseError));
    }

    #[test]
    fn a_drawn_id_never_starts_with_a_dash() {
        assert_eq!(Uuid::from_random(62 << 122), None);
        assert!(Uuid::from_random(5).is_some_and(|id| !id.is_zero()));
    }
}
