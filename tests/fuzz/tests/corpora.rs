//! Every fuzz target over its kept corpus and over random mutations of it.
//!
//! What `cargo xtask fuzz` looks for with minutes, a test run looks for with a second or two: any
//! bytes give a value or a typed error. Mutations come from a fixed seed, so that a failure
//! repeats; a panic's message names the target and the bytes. `UPDATE_GOLDEN=1` writes the seeds
//! anew from the golden files and from what a client sends; run the other test after it.

use std::fs;
use std::path::PathBuf;

use fuzz::mutate::{Random, mutate};
use fuzz::{TARGETS, Target, folder, shard};
use protocol::ApiKey;
use storage::op::Root;

/// Seeds above this are left out of the corpus: mutating small inputs finds more per second.
const SEED_BYTES_MAX: usize = 1_200;

/// Bytes of an input that a failure prints.
const SHOWN_BYTES_MAX: usize = 2_000;

type Seed = (&'static str, String, Vec<u8>);

/// How a record's key and value stand in a seed.
type Framed = fn(Option<&[u8]>, Option<&[u8]>) -> Vec<u8>;

fn corpus_folder(target: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target)
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let mut files: Vec<_> = fs::read_dir(corpus_folder(target))
        .unwrap_or_else(|error| panic!("{target} has a corpus: {error}"))
        .map(|file| file.expect("a readable folder").path())
        .collect();
    files.sort();
    files.into_iter().map(|file| fs::read(file).expect("a readable file")).collect()
}

fn from_hex(hex: &str) -> Vec<u8> {
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
    (0..hex.len()).step_by(2).map(byte).collect()
}

/// Seeds from what Kafka's own classes wrote, as (target, name, bytes).
fn golden_seeds() -> Vec<Seed> {
    let mut seeds = Vec::new();
    for line in include_str!("../../../protocol/tests/golden/messages-4.3.1.txt").lines() {
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
        if let Some(target) = view {
            seeds.push((target, format!("v{version}"), [&[version][..], &body].concat()));
        }
        for api in ApiKey::ALL {
            // One version of each message is enough to start from: the newest has most fields.
            let newest = api.schema().is_some_and(|s| s.versions.max == i16::from(version));
            let message = words[0].strip_prefix(api.name());
            let bytes = [&[*api as i16 as u8, version][..], &body].concat();
            let target = match message {
                Some("Request") if newest => "request",
                Some("Response") if newest => "response",
                _ => continue,
            };
            if target == "request" {
                let step = shard::request_step(*api, i16::from(version), &body);
                let script = [&[1], &step[..], &shard::time_step(40)].concat();
                seeds.push(("shard", format!("golden-{}", api.name()), script));
            }
            seeds.push((target, api.name().to_owned(), bytes));
        }
    }
    for line in include_str!("../../../protocol/tests/golden/batches-4.3.1.txt").lines() {
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
    seeds
}

/// Seeds by hand: one of each shape.
fn small_seeds() -> Vec<Seed> {
    let header = [&[0, 18, 0, 4, 0, 0, 0, 7, 0, 3][..], b"app", &[1, 0, 2, 9, 9]].concat();
    let epochs = [&[2][..], b"0\n2\n0 0\n3 17\n"].concat();
    // Resource, scope, metric `a` with one gauge point.
    let point = [0x3a, 0x0d, 0x0a, 0x0b, 0x12, 0x09];
    let metric = [&point[..], &[0x0a, 0x01, b'a', 0x2a, 0x04, 0x0a, 0x02, 0x31, 0x00]].concat();
    vec![
        ("request_header", "v2".to_owned(), header),
        ("small", "control-key".to_owned(), vec![0, 0, 0, 1]),
        ("small", "control-value".to_owned(), vec![0, 0, 0, 0, 0, 21]),
        ("client", "refused".to_owned(), vec![3, 0, 0, 0, 10, 0, 0, 0, 0, 0, 35, 0, 0, 0, 0]),
        ("disk_small", "epochs".to_owned(), epochs),
        ("disk_small", "log-name".to_owned(), [&[4][..], b"00000000000000000007.log"].concat()),
        ("text", "cores".to_owned(), b"0,2-5".to_vec()),
        ("text", "listener".to_owned(), b"PLAINTEXT://localhost:9092".to_vec()),
        ("text", "settings".to_owned(), b"num.partitions=3\n#7=1\n#90=true\nx=y\n".to_vec()),
        ("telemetry", "gauge".to_owned(), [&[4, 0x0a, 0x11, 0x12, 0x0f][..], &metric].concat()),
    ]
}

/// A record as `records::group` and `records::txn` read it.
fn framed_record(key: Option<&[u8]>, value: Option<&[u8]>) -> Vec<u8> {
    let mut out = vec![u8::from(value.is_some())];
    for part in [key.unwrap_or(&[]), value.unwrap_or(&[])] {
        out.extend_from_slice(&(part.len() as u16).to_be_bytes());
        out.extend_from_slice(part);
    }
    out
}

/// A record as `records::metadata` reads it.
fn framed_metadata(_: Option<&[u8]>, value: Option<&[u8]>) -> Vec<u8> {
    let value = value.unwrap_or(&[]);
    [&(value.len() as u16).to_be_bytes()[..], value].concat()
}

/// The records of the batches in a log, from `skip` on and as many as a seed may hold.
fn records_of(log: &[u8], skip: usize, framed: Framed) -> Vec<u8> {
    let mut codecs = protocol::compress::Codecs::new();
    let mut out = Vec::new();
    let (mut rest, mut record_number) = (log, 0);
    while let Ok(header) = protocol::batch::BatchHeader::parse(rest) {
        let Some(batch) = rest.get(..header.total_bytes()) else { break };
        if let Ok((_, records)) = protocol::batch::open_records(batch, &mut codecs, 1 << 16) {
            for record in records.flatten() {
                let one = framed(record.key, record.value);
                if record_number >= skip && out.len() + one.len() <= SEED_BYTES_MAX {
                    out.extend(one);
                }
                record_number += 1;
            }
        }
        rest = &rest[batch.len()..];
    }
    out
}

/// Seeds from a client's traffic and from what the broker made of it on its disk.
fn recorded_seeds() -> Vec<Seed> {
    let mut seeds: Vec<Seed> = folder::recorded_scripts()
        .into_iter()
        .map(|(name, script)| ("shard", format!("recorded-{name}"), script))
        .collect();
    let topics = folder::topics();
    for (number, left) in
        [folder::Left::Killed, folder::Left::Flushed, folder::Left::Stopped].into_iter().enumerate()
    {
        let files = folder::used(left);
        for (at, (path, bytes)) in files.iter().enumerate() {
            let head = &bytes[..bytes.len().min(SEED_BYTES_MAX - 8)];
            let name = format!("{number}-{at}");
            // A byte of the first field of every file changes.
            let change = vec![number as u8 | 0x80, at as u8, 0, 0, 5, 0xa5];
            seeds.push(("folder", name.clone(), change));
            let topic = topics.iter().find(|(_, folder)| path.path.starts_with(folder));
            let records: Option<(_, Framed)> = match topic.map(|(topic, _)| &**topic) {
                _ if !path.path.ends_with(".log") => None,
                Some("__cluster_metadata") => Some(("metadata_records", framed_metadata)),
                Some("__consumer_offsets") => Some(("group_records", framed_record)),
                Some("__transaction_state") => Some(("txn_records", framed_record)),
                _ => None,
            };
            if let Some((target, framed)) = records {
                for skip in [0, 12] {
                    let bytes = records_of(bytes, skip, framed);
                    if !bytes.is_empty() {
                        seeds.push((target, format!("{name}-{skip}"), bytes));
                    }
                }
            }
            let target = match path.path.rsplit('/').next() {
                _ if path.root == Root::Journal && bytes.iter().any(|byte| *byte != 0) => {
                    ("journal_frame", head.to_vec())
                }
                Some(file) if file.contains("shard") => ("checkpoint", bytes.clone()),
                Some(file) if file.ends_with(".log") => {
                    ("segment", [&[255, 0, 0, 0], head].concat())
                }
                Some(file) if file.ends_with(".snapshot") => ("disk_small", [&[0], head].concat()),
                Some(file) if file.ends_with(".txnindex") => ("disk_small", [&[3], head].concat()),
                _ => continue,
            };
            if (1..=SEED_BYTES_MAX).contains(&target.1.len()) {
                seeds.push((target.0, name, target.1));
            }
        }
    }
    seeds
}

fn seeds() -> Vec<Seed> {
    [golden_seeds(), small_seeds(), recorded_seeds()].concat()
}

#[test]
fn the_seeds_in_the_corpus_are_what_their_sources_give() {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        for (target, name, bytes) in seeds() {
            fs::create_dir_all(corpus_folder(target)).expect("a writable folder");
            fs::write(corpus_folder(target).join(name), bytes).expect("a writable file");
        }
    }
    for (target, name, bytes) in seeds() {
        assert!(bytes.len() <= SEED_BYTES_MAX, "{target}/{name} has {} bytes", bytes.len());
        let committed = fs::read(corpus_folder(target).join(&name));
        let committed = committed.unwrap_or_else(|_| panic!("{target}/{name} is committed"));
        assert_eq!(committed, bytes, "{target}/{name}");
    }
}

fn run(target: &Target, bytes: &[u8]) {
    if std::panic::catch_unwind(|| (target.run)(bytes)).is_err() {
        let shown = &bytes[..bytes.len().min(SHOWN_BYTES_MAX)];
        let hex: String = shown.iter().map(|byte| format!("{byte:02x}")).collect();
        panic!("{} panicked on {} bytes: {hex}", target.name, bytes.len());
    }
}

/// The targets that start a whole broker for each input.
const WHOLE: [&str; 2] = ["shard", "folder"];

fn decoders() -> impl Iterator<Item = &'static Target> {
    TARGETS.iter().filter(|target| !WHOLE.contains(&target.name))
}

fn target(name: &str) -> &'static Target {
    TARGETS.iter().find(|target| target.name == name).expect("a target")
}

fn mutations(target: &Target) {
    let corpus = corpus(target.name);
    let mut random = Random(0xc0de);
    for _ in 0..target.mutations {
        let mut bytes = corpus[random.below(corpus.len())].clone();
        mutate(&mut bytes, &corpus, &mut random);
        run(target, &bytes);
    }
}

#[test]
fn every_target_has_a_corpus_and_every_corpus_a_target() {
    for target in &TARGETS {
        assert!(!corpus(target.name).is_empty(), "{} has no corpus", target.name);
    }
    for folder in fs::read_dir(corpus_folder("")).expect("a folder of corpora") {
        let name = folder.expect("a readable folder").file_name();
        assert!(TARGETS.iter().any(|target| *target.name == *name), "{name:?} has no target");
    }
}

/// `cargo xtask sanitize` runs this one under valgrind.
#[test]
fn no_decoder_panics_on_its_corpus() {
    for target in decoders() {
        corpus(target.name).iter().for_each(|seed| run(target, seed));
    }
}

#[test]
fn no_decoder_panics_on_its_corpus_cut_anywhere() {
    for target in decoders() {
        for seed in corpus(target.name).iter().filter(|seed| seed.len() <= SEED_BYTES_MAX) {
            (0..seed.len()).for_each(|cut| run(target, &seed[..cut]));
        }
    }
}

#[test]
fn no_decoder_panics_on_mutations_of_its_corpus() {
    decoders().for_each(mutations);
}

#[test]
fn no_shard_panics_on_recorded_scripts_or_on_mutations_of_them() {
    let target = target("shard");
    corpus(target.name).iter().for_each(|seed| run(target, seed));
    mutations(target);
}

#[test]
fn no_start_panics_on_damaged_folders() {
    let target = target("folder");
    corpus(target.name).iter().for_each(|seed| run(target, seed));
    mutations(target);
}
