//! Lines become records, on a thread that may block on standard input.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::mpsc::SyncSender;

use serde_json::Value;

use super::super::error::CliError;
use super::super::limits::{CHUNK_BYTES, LINE_BYTES_MAX};
use super::super::record_format::bytes_of;
use super::InputFormat;

/// Bytes read of the input at once.
const BUFFER_BYTES: usize = 256 << 10;

/// A record to be sent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InputRecord {
    /// `None` is null.
    pub key: Option<Vec<u8>>,
    /// `None` is null.
    pub value: Option<Vec<u8>>,
    /// Beside those of the command line.
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// Where it wants to go.
    pub partition: Option<i32>,
    /// Its time, if it brings one.
    pub timestamp_ms: Option<i64>,
}

/// Records handed over together.
pub type Chunk = Vec<InputRecord>;

/// What ends the input before its end.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// Reading failed.
    #[error("line {line}: cannot read the input: {error}; the records before it were sent")]
    Io { line: u64, error: io::Error },
    /// A line that is no record.
    #[error("line {line}: {why}; the records before it were sent")]
    Line { line: u64, why: String },
}

/// How lines are read.
#[derive(Debug)]
pub struct Parser {
    pub format: InputFormat,
    /// Between key and value; `None` for no keys.
    pub separator: Option<Vec<u8>>,
    /// The text that stands for null.
    pub null: Option<Vec<u8>>,
}

impl Parser {
    /// A line without its newline.
    pub fn parse(&self, line: &[u8]) -> Result<InputRecord, String> {
        match self.format {
            InputFormat::Text => Ok(self.parse_text(line)),
            InputFormat::Json => parse_json(line),
        }
    }

    fn parse_text(&self, line: &[u8]) -> InputRecord {
        let at = self.separator.as_ref().and_then(|separator| {
            let found = line.windows(separator.len()).position(|window| window == separator);
            found.map(|at| (at, at + separator.len()))
        });
        let (key, value) = match at {
            Some((end, start)) => (Some(&line[..end]), &line[start..]),
            None => (None, line),
        };
        let field = |bytes: &[u8]| (self.null.as_deref() != Some(bytes)).then(|| bytes.to_vec());
        let (key, value) = (key.and_then(field), field(value));
        InputRecord { key, value, ..InputRecord::default() }
    }
}

fn parse_json(line: &[u8]) -> Result<InputRecord, String> {
    let value: Value = serde_json::from_slice(line).map_err(|error| format!("no JSON: {error}"))?;
    let Value::Object(object) = &value else { return Err("no JSON object".to_owned()) };
    let named = |name: &'static str| move |why: String| format!("{name}: {why}");
    let mut record = InputRecord {
        key: bytes_of(object.get("key")).map_err(named("key"))?,
        value: bytes_of(object.get("value")).map_err(named("value"))?,
        ..InputRecord::default()
    };
    if let Some(partition) = object.get("partition").filter(|value| !value.is_null()) {
        let number = partition.as_i64().and_then(|number| i32::try_from(number).ok());
        let number = number.filter(|&number| number >= 0).ok_or("partition: no partition number");
        record.partition = Some(number?);
    }
    if let Some(timestamp) = object.get("timestamp_ms").filter(|value| !value.is_null()) {
        let time = timestamp.as_i64().filter(|&time| time >= 0);
        record.timestamp_ms = Some(time.ok_or("timestamp_ms: no milliseconds since 1970")?);
    }
    let headers = match object.get("headers") {
        None | Some(Value::Null) => &[][..],
        Some(Value::Array(headers)) => headers.as_slice(),
        Some(_) => return Err("headers: a list of {\"key\": …, \"value\": …}".to_owned()),
    };
    for header in headers {
        let key = bytes_of(header.get("key")).map_err(named("headers"))?;
        let key = key.ok_or("headers: each has a key")?;
        let value = bytes_of(header.get("value")).map_err(named("headers"))?;
        record.headers.push((key, value));
    }
    Ok(record)
}

/// The file, or standard input.
pub fn open(file: Option<&Path>) -> Result<Box<dyn Read + Send>, CliError> {
    let Some(path) = file.filter(|path| *path != Path::new("-")) else {
        return Ok(Box::new(io::stdin()));
    };
    match File::open(path) {
        Ok(file) => Ok(Box::new(file)),
        Err(error) => Err(CliError::failed(format!(
            "{}: {error}; name a file that can be read",
            path.display()
        ))),
    }
}

/// Reads to the end and hands the records over. Ends early when nobody takes them any more.
pub fn read_records(
    source: Box<dyn Read + Send>,
    parser: &Parser,
    to_sender: &SyncSender<Result<Chunk, InputError>>,
) {
    let mut reader = BufReader::with_capacity(BUFFER_BYTES, source);
    let mut chunk = Chunk::new();
    let mut chunk_bytes = 0;
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let bound = LINE_BYTES_MAX as u64 + 1;
        let read = (&mut reader).take(bound).read_until(b'\n', &mut line);
        let parsed = match read {
            Ok(0) => break,
            Ok(_) if line.len() > LINE_BYTES_MAX => {
                let why = format!("longer than {LINE_BYTES_MAX} bytes; no broker takes it");
                Err(InputError::Line { line: number, why })
            }
            Ok(_) => {
                let content = line.strip_suffix(b"\n").unwrap_or(&line);
                parser.parse(content).map_err(|why| InputError::Line { line: number, why })
            }
            Err(error) => Err(InputError::Io { line: number, error }),
        };
        match parsed {
            Ok(record) => {
                chunk_bytes += line.len();
                chunk.push(record);
            }
            Err(error) => {
                let _ = to_sender.send(Ok(chunk));
                let _ = to_sender.send(Err(error));
                return;
            }
        }
        // Whoever types waits for nothing: what is there is handed over before the next read
        // blocks.
        if chunk_bytes >= CHUNK_BYTES || reader.buffer().is_empty() {
            if to_sender.send(Ok(std::mem::take(&mut chunk))).is_err() {
                return;
            }
            chunk_bytes = 0;
        }
    }
    if !chunk.is_empty() {
        let _ = to_sender.send(Ok(chunk));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::sync_channel;

    fn text(separator: Option<&str>, null: Option<&str>) -> Parser {
        Parser {
            format: InputFormat::Text,
            separator: separator.map(|text| text.as_bytes().to_vec()),
            null: null.map(|text| text.as_bytes().to_vec()),
        }
    }

    fn pair(record: Result<InputRecord, String>) -> (Option<String>, Option<String>) {
        let record = record.expect("a record");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        (record.key.map(text), record.value.map(text))
    }

    #[test]
    fn a_line_splits_at_the_first_separator() {
        let own = |key: Option<&str>, value: Option<&str>| {
            (key.map(str::to_owned), value.map(str::to_owned))
        };
        assert_eq!(pair(text(Some(":"), None).parse(b"k:v:w")), own(Some("k"), Some("v:w")));
        assert_eq!(pair(text(Some(":"), None).parse(b"kv")), own(None, Some("kv")));
        assert_eq!(pair(text(Some("=>"), None).parse(b"k=>")), own(Some("k"), Some("")));
        assert_eq!(pair(text(None, None).parse(b"k:v")), own(None, Some("k:v")));
        assert_eq!(pair(text(Some(":"), Some("NULL")).parse(b"k:NULL")), own(Some("k"), None));
        assert_eq!(pair(text(Some(":"), Some("")).parse(b":v")), own(None, Some("v")));
    }

    #[test]
    fn json_lines_carry_all_of_a_record() {
        let parser = Parser { format: InputFormat::Json, separator: None, null: None };
        let line = br#"{"key":null,"value":{"base64":"/w=="},"partition":2,"timestamp_ms":5,
            "headers":[{"key":"a","value":null}],"offset":99}"#;
        let record = parser.parse(line).expect("a record");
        assert_eq!(record.value, Some(vec![0xff]));
        assert_eq!((record.partition, record.timestamp_ms), (Some(2), Some(5)));
        assert_eq!(record.headers, [(b"a".to_vec(), None)]);
        for line in ["", "[]", "{\"key\":1}", "{\"partition\":-1}", "{\"headers\":[{}]}"] {
            assert!(parser.parse(line.as_bytes()).is_err(), "{line}");
        }
    }

    #[test]
    fn every_line_arrives_also_the_last_without_its_newline() {
        let (to_sender, from_reader) = sync_channel(8);
        read_records(Box::new(&b"a\n\nb"[..]), &text(None, None), &to_sender);
        drop(to_sender);
        let values: Vec<_> = from_reader.iter().flatten().flatten().map(|r| r.value).collect();
        assert_eq!(values, [Some(b"a".to_vec()), Some(vec![]), Some(b"b".to_vec())]);
    }

    #[test]
    fn a_bad_line_ends_the_input_after_the_good_ones() {
        let (to_sender, from_reader) = sync_channel(8);
        let parser = Parser { format: InputFormat::Json, separator: None, null: None };
        read_records(Box::new(&b"{\"value\":\"a\"}\nx\n{}"[..]), &parser, &to_sender);
        drop(to_sender);
        let got: Vec<_> = from_reader.iter().collect();
        assert!(matches!(&got[0], Ok(chunk) if chunk.len() == 1));
        assert!(matches!(&got[1], Err(InputError::Line { line: 2, .. })));
        assert_eq!(got.len(), 2);
    }
}
