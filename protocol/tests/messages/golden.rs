//! Bytes that Kafka's own Java classes wrote, for every message and version this crate declares.
//!
//! `golden/messages-4.3.1.txt` is the output of `golden/MessageGolden.java` beside it, which sets
//! every field to a value made from the field's name. The sampler makes the same values from our
//! rows: equal bytes mean equal names, order, types, versions, tags and nullability.

use std::collections::BTreeMap;

use super::for_each_version;
use super::sample::{Fill, sample};

const GOLDEN: &str = include_str!("../golden/messages-4.3.1.txt");

fn golden() -> BTreeMap<(&'static str, i16), Vec<u8>> {
    let lines = GOLDEN.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let mut words = line.split(' ');
            let mut word = || words.next().expect("name, version and hex on each line");
            let (name, version, hex) = (word(), word(), word());
            ((name, version.parse().expect("a version")), bytes_of_hex(hex))
        })
        .collect()
}

fn bytes_of_hex(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2);
    digits
        .map(|pair| {
            let pair = std::str::from_utf8(pair).expect("hex is ASCII");
            u8::from_str_radix(pair, 16).expect("two hex digits")
        })
        .collect()
}

#[test]
fn our_rows_stand_for_the_bytes_kafkas_classes_write() {
    let golden = golden();
    for_each_version(|case, version| {
        let theirs = golden
            .get(&(case.name, version))
            .unwrap_or_else(|| panic!("no golden bytes for {} v{version}", case.name));
        let ours = sample(case.info, case.schema, version, Fill::Named, 0);
        assert!(
            ours == *theirs,
            "{} v{version}: rows say\n{}\nKafka writes\n{}",
            case.name,
            ours.escape_ascii(),
            theirs.escape_ascii(),
        );
    });
}

#[test]
fn kafkas_bytes_are_read_whole_and_written_the_same() {
    let golden = golden();
    for_each_version(|case, version| {
        let bytes = &golden[&(case.name, version)];
        let read = (case.copying)(bytes, version)
            .unwrap_or_else(|error| panic!("{} v{version}: {error}", case.name));
        assert_eq!(read.consumed, bytes.len(), "{} v{version}", case.name);
        let written = read.encoded.expect("what was read can be written");
        assert!(
            written == *bytes,
            "{} v{version}: ours writes\n{}\nKafka\n{}",
            case.name,
            written.escape_ascii(),
            bytes.escape_ascii(),
        );
    });
}
