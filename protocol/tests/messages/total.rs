//! Totality: whatever the bytes, decoding ends with a value or a typed error.
//!
//! Provoked by damaging valid messages (cut, flip, splice lengths) and by random bytes. A panic or
//! an endless loop fails; so does a value that cannot be written and read back the same.

use bytes::Bytes;
use proptest::prelude::*;

use super::sample::{Draw, Fill, sample};
use super::{cases, for_each_version};

/// Decodes, and when that gives a value checks that what it writes reads and writes the same.
fn check(case: &super::Case, version: i16, bytes: &[u8]) {
    let Ok(read) = (case.copying)(bytes, version) else { return };
    assert!(read.consumed <= bytes.len());
    // A value read from damaged bytes may be one that cannot be written, such as a string that
    // replacement characters made too long; that too must be an error and not a panic.
    let Ok(written) = read.encoded else { return };
    assert_eq!(read.size, written.len(), "{} v{version}: size", case.name);
    let again = (case.shared)(&Bytes::from(written.clone()), version).expect("own bytes");
    assert_eq!(again.consumed, written.len());
    assert_eq!(again.encoded.expect("own value"), written, "{} v{version}", case.name);
}

#[test]
fn every_cut_of_a_valid_message_is_an_error() {
    for_each_version(|case, version| {
        let bytes = sample(case.info, case.schema, version, Fill::Full, 7);
        for end in 0..bytes.len() {
            assert!((case.copying)(&bytes[..end], version).is_err(), "{} v{version}", case.name);
        }
    });
}

#[test]
fn damaged_messages_never_panic() {
    for_each_version(|case, version| {
        let whole = sample(case.info, case.schema, version, Fill::Mixed, 8);
        let mut draw = Draw::new(9);
        for _ in 0..60 {
            let mut bytes = whole.clone();
            for _ in 0..=draw.below(3) {
                let at = draw.below(bytes.len().max(1) as u64) as usize;
                let ugly = [0x00, 0x01, 0x7f, 0x80, 0xff, draw.u64() as u8];
                let end = bytes.len().min(at + 1 + draw.below(5) as usize);
                let byte = ugly[draw.below(6) as usize];
                bytes[at.min(end)..end].fill(byte);
            }
            check(case, version, &bytes);
        }
    });
}

#[test]
fn bytes_after_a_message_stay_unread() {
    // Kafka 4.3.1 accepts trailing bytes.
    for_each_version(|case, version| {
        let mut bytes = sample(case.info, case.schema, version, Fill::Full, 10);
        let whole = bytes.len();
        bytes.extend_from_slice(&[0xde, 0xad]);
        let read = (case.copying)(&bytes, version).expect("a whole message");
        assert_eq!(read.consumed, whole, "{} v{version}", case.name);
    });
}

#[test]
fn versions_outside_the_range_are_refused() {
    for case in cases() {
        for version in [case.schema.versions.min - 1, case.schema.versions.max + 1, i16::MIN] {
            assert!((case.copying)(&[0; 64], version).is_err(), "{} v{version}", case.name);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        for_each_version(|case, version| check(case, version, &bytes));
    }

    #[test]
    fn every_drawn_message_round_trips(seed: u64) {
        for case in cases() {
            let versions = case.schema.versions;
            let span = u64::from((versions.max - versions.min + 1) as u16);
            let version = versions.min + (seed % span) as i16;
            let bytes = sample(case.info, case.schema, version, Fill::Mixed, seed);
            let read = (case.shared)(&bytes.clone().into(), version).expect("a whole message");
            prop_assert_eq!(read.encoded.expect("what was read"), bytes);
        }
    }
}
