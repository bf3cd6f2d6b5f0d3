//! Every fuzz entry over its committed corpus and over 10,000 random mutations of it.
//!
//! What `cargo fuzz` looks for with hours, a test run looks for with a second: any bytes give a
//! value or a typed error. Mutations come from a fixed seed, so that a failure repeats; a panic's
//! message names the entry and the bytes. `UPDATE_GOLDEN=1` writes the corpus anew from the golden
//! files; run the other test after it.

use std::fs;
use std::path::PathBuf;

use protocol::ApiKey;

#[path = "../fuzz/entries.rs"]
mod entries;

const MUTATIONS_PER_ENTRY: usize = 10_000;
/// Seeds above this are left out of the corpus: mutating small inputs finds more per second.
const SEED_BYTES_MAX: usize = 700;

fn corpus_folder(entry: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(entry)
}

fn corpus(entry: &str) -> Vec<Vec<u8>> {
    let mut files: Vec<_> = fs::read_dir(corpus_folder(entry))
        .expect("each entry has a corpus")
        .map(|file| file.expect("a readable folder").path())
        .collect();
    files.sort();
    files.into_iter().map(|file| fs::read(file).expect("a readable file")).collect()
}

fn from_hex(hex: &str) -> Vec<u8> {
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
    (0..hex.len()).step_by(2).map(byte).collect()
}

/// Seeds from what Kafka's own classes wrote, as (entry, name, bytes).
fn seeds() -> Vec<(&'static str, String, Vec<u8>)> {
    let mut seeds = Vec::new();
    for line in include_str!("golden/messages-4.3.1.txt").lines() {
        let words: Vec<_> = line.split(' ').collect();
        if words[0] == "#" || words.len() != 3 {
            continue;
        }
        let (version, body) = (words[1].parse().expect("a version"), from_hex(words[2]));
        let view = match words[0] {
            "ProduceRequest" => Some("produce_view"),
            "FetchRequest" => Some("fetch_view"),
            _ => None,
        };
        if let Some(entry) = view {
            seeds.push((entry, format!("v{version}"), [&[version][..], &body].concat()));
        }
        for api in ApiKey::ALL {
            // One version of each message is enough to start from: the newest has most fields.
            let newest = api.schema().is_some_and(|s| s.versions.max == i16::from(version));
            let message = words[0].strip_prefix(api.name());
            let entry = match message {
                Some("Request") if newest => "request",
                Some("Response") if newest => "response",
                _ => continue,
            };
            let bytes = [&[*api as i16 as u8, version][..], &body].concat();
            seeds.push((entry, api.name().to_owned(), bytes));
        }
    }
    for line in include_str!("golden/batches-4.3.1.txt").lines() {
        let words: Vec<_> = line.split(' ').collect();
        if words[0] == "#" || words[0] == "large" {
            continue;
        }
        let name = format!("{}-{}", words[0], words[1]);
        let bytes = from_hex(words[2]);
        let (head, records) = bytes.split_at(61);
        match head[22] & 7 {
            0 => seeds.push(("records", name.clone(), [&head[60..], records].concat())),
            codec => seeds.push(("decompress", name.clone(), [&[codec], records].concat())),
        }
        seeds.push(("batch", name, bytes));
    }
    let header = [&[0, 18, 0, 4, 0, 0, 0, 7, 0, 3][..], b"app", &[1, 0, 2, 9, 9]].concat();
    seeds.push(("request_header", "v2".to_owned(), header));
    seeds.push(("small", "control-key".to_owned(), vec![0, 0, 0, 1]));
    seeds.push(("small", "control-value".to_owned(), vec![0, 0, 0, 0, 0, 21]));
    seeds
}

#[test]
fn corpus_is_what_the_golden_files_give() {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        for (entry, name, bytes) in seeds() {
            fs::create_dir_all(corpus_folder(entry)).expect("a writable folder");
            fs::write(corpus_folder(entry).join(name), bytes).expect("a writable file");
        }
    }
    for (entry, name, bytes) in seeds() {
        assert!(bytes.len() <= SEED_BYTES_MAX, "{entry}/{name} has {} bytes", bytes.len());
        let committed = fs::read(corpus_folder(entry).join(&name)).expect("a committed seed");
        assert_eq!(committed, bytes, "{entry}/{name}");
    }
}

/// SplitMix64: enough to choose mutations, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

/// Numbers at which length fields go wrong.
const LENGTHS: [i32; 12] =
    [0, 1, -1, -2, 127, 128, 0x7fff, 0x8000, 1 << 20, 1 << 28, i32::MAX, i32::MIN];

fn mutate(bytes: &mut Vec<u8>, others: &[Vec<u8>], random: &mut Random) {
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len() + 1);
        match random.below(7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            1 if at < bytes.len() => bytes[at] = random.next() as u8,
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

fn run(entry: &str, decode: fn(&[u8]), bytes: &[u8]) {
    if std::panic::catch_unwind(|| decode(bytes)).is_err() {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        panic!("{entry} panicked on {hex}");
    }
}

#[test]
fn no_entry_panics_on_its_corpus_or_on_mutations_of_it() {
    for (entry, decode) in entries::ENTRIES {
        let corpus = corpus(entry);
        assert!(!corpus.is_empty(), "{entry} has no corpus");
        let mut random = Random(0xc0de);
        for seed in &corpus {
            run(entry, decode, seed);
            for cut in 0..seed.len() {
                run(entry, decode, &seed[..cut]);
            }
        }
        for _ in 0..MUTATIONS_PER_ENTRY {
            let mut bytes = corpus[random.below(corpus.len())].clone();
            mutate(&mut bytes, &corpus, &mut random);
            run(entry, decode, &bytes);
        }
    }
}
