//! A run's latencies as an HdrHistogram interval log, for the tools that read those.
//!
//! Untagged lines are the run's intervals, two digits precise; lines tagged `whole`, `lateness`
//! and `acknowledged` span the run with three. Values are nanoseconds; the `max` column of a line
//! is in milliseconds, as such logs have it.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

use crate::error::BenchError;
use crate::recorder::Recorder;

/// Nanoseconds of a millisecond.
const MAX_VALUE_DIVISOR: f64 = 1e6;

/// Writes the log of a window that began at `began`.
pub fn write(path: &Path, recorder: &Recorder, began: SystemTime) -> Result<(), BenchError> {
    let what = || format!("cannot write {}", path.display());
    let mut bytes = Vec::new();
    encode(&mut bytes, recorder, began)
        .map_err(|why| BenchError::system(what(), std::io::Error::other(why)))?;
    let mut file =
        std::fs::File::create(path).map_err(|error| BenchError::system(what(), error))?;
    file.write_all(&bytes).map_err(|error| BenchError::system(what(), error))
}

fn encode(out: &mut Vec<u8>, recorder: &Recorder, began: SystemTime) -> Result<(), String> {
    let mut serializer = V2DeflateSerializer::new();
    let mut builder = IntervalLogWriterBuilder::new();
    builder
        .add_comment("corelane bench: latency in nanoseconds, from the intended time")
        .with_start_time(began)
        .with_base_time(began)
        .with_max_value_divisor(MAX_VALUE_DIVISOR);
    let mut log =
        builder.begin_log_with(out, &mut serializer).map_err(|error| error.to_string())?;
    let mut line = |histogram: &Histogram<u64>, at_ns, length_ns, tag: Option<&str>| {
        let (at, length) = (Duration::from_nanos(at_ns), Duration::from_nanos(length_ns));
        let tag = tag.map(|tag| Tag::new(tag).expect("without commas, spaces or line ends"));
        log.write_histogram(histogram, at, length, tag).map_err(|error| error.to_string())
    };
    for (at_ns, length_ns, histogram) in recorder.intervals() {
        line(histogram, at_ns, length_ns, None)?;
    }
    let whole_ns = recorder.window.end - recorder.window.start;
    line(&recorder.latency, 0, whole_ns, Some("whole"))?;
    line(&recorder.lateness, 0, whole_ns, Some("lateness"))?;
    if !recorder.acknowledged.is_empty() {
        line(&recorder.acknowledged, 0, whole_ns, Some("acknowledged"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    use super::*;

    #[test]
    fn a_reader_of_such_logs_finds_every_request_in_its_interval() {
        let mut recorder = Recorder::new(0..2_000_000_000);
        for (intended_ns, latency_ns) in [(0, 1_000), (10, 5_000_000), (1_900_000_000, 70_000)] {
            recorder.record(intended_ns, intended_ns + latency_ns);
        }
        let mut bytes = Vec::new();
        encode(&mut bytes, &recorder, SystemTime::UNIX_EPOCH).expect("into memory");
        let mut deserializer = Deserializer::new();
        let mut found = Vec::new();
        for entry in IntervalLogIterator::new(&bytes) {
            let LogEntry::Interval(interval) = entry.expect("it parses") else { continue };
            let coded = interval.encoded_histogram();
            let raw = base64_of(coded);
            let histogram: Histogram<u64> =
                deserializer.deserialize(&mut raw.as_slice()).expect("it decodes");
            let tag = interval.tag().map(|tag| tag.as_str().to_owned());
            found.push((tag, interval.start_timestamp().as_millis(), histogram.len()));
        }
        let tagged = |tag: &str, count| (Some(tag.to_owned()), 0, count);
        let expected = [(None, 0, 2), (None, 1_900, 1), tagged("whole", 3), tagged("lateness", 0)];
        assert_eq!(found, expected);
    }

    /// Decodes base64 with the standard alphabet.
    fn base64_of(text: &str) -> Vec<u8> {
        let digit = |byte: u8| match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            _ => 63,
        };
        let mut out = Vec::new();
        for group in text.trim_end_matches('=').as_bytes().chunks(4) {
            let bits = group.iter().fold(0_u32, |bits, byte| bits << 6 | u32::from(digit(*byte)));
            let bits = bits << (6 * (4 - group.len()));
            out.extend_from_slice(&bits.to_be_bytes()[1..group.len()]);
        }
        out
    }
}
