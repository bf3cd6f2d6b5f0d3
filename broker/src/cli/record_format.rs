//! How `consume` prints a record: a format string, or one JSON object per line.
//!
//! Pure: a record and a buffer. Bytes go out as they are, except to a terminal, where control
//! characters and what is no UTF-8 are escaped.

use protocol::batch::{Header, Record};
use serde_json::{Map, Value, json};

use super::base64;

/// A record with what its batch and partition know of it.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    /// The topic's name.
    pub topic: &'a str,
    /// The partition's number.
    pub partition: i32,
    /// The record's offset.
    pub offset: i64,
    /// Its timestamp; −1 for none.
    pub timestamp_ms: i64,
    /// `CreateTime` or `LogAppendTime`.
    pub timestamp_type: &'static str,
    /// Key, value and headers.
    pub record: Record<'a>,
}

/// A part of a format string.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Bytes(Vec<u8>),
    Key,
    Value,
    Offset,
    Partition,
    Timestamp,
    Topic,
    Headers,
}

/// A parsed format string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
    /// What stands for a null key or value.
    null: Vec<u8>,
}

impl Template {
    /// Reads `%k %v %o %p %t %T %h %%` and the escapes `\n \t \r \0 \\ \xHH`. Errs with what to
    /// write instead.
    pub fn parse(text: &str, null: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut bytes = Vec::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            let part = match c {
                '%' => match chars.next() {
                    Some('k') => Part::Key,
                    Some('v') => Part::Value,
                    Some('o') => Part::Offset,
                    Some('p') => Part::Partition,
                    Some('t') => Part::Timestamp,
                    Some('T') => Part::Topic,
                    Some('h') => Part::Headers,
                    Some('%') => {
                        bytes.push(b'%');
                        continue;
                    }
                    other => {
                        return Err(format!(
                            "`%{}` means nothing; write %k %v %o %p %t %T %h or %%",
                            other.map(String::from).unwrap_or_default()
                        ));
                    }
                },
                '\\' => {
                    bytes.push(escape(&mut chars)?);
                    continue;
                }
                c => {
                    bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                    continue;
                }
            };
            if !bytes.is_empty() {
                parts.push(Part::Bytes(std::mem::take(&mut bytes)));
            }
            parts.push(part);
        }
        if !bytes.is_empty() {
            parts.push(Part::Bytes(bytes));
        }
        Ok(Self { parts, null: null.as_bytes().to_vec() })
    }

    /// Appends a record. `escaped` is for terminals.
    pub fn write(&self, shown: &Shown<'_>, escaped: bool, out: &mut Vec<u8>) {
        let put = |bytes: &[u8], out: &mut Vec<u8>| {
            if escaped { put_escaped(bytes, out) } else { out.extend_from_slice(bytes) }
        };
        let put_or_null = |field: Option<&[u8]>, out: &mut Vec<u8>| match field {
            Some(bytes) => put(bytes, out),
            None => out.extend_from_slice(&self.null),
        };
        for part in &self.parts {
            match part {
                Part::Bytes(bytes) => out.extend_from_slice(bytes),
                Part::Key => put_or_null(shown.record.key, out),
                Part::Value => put_or_null(shown.record.value, out),
                Part::Offset => out.extend_from_slice(shown.offset.to_string().as_bytes()),
                Part::Partition => out.extend_from_slice(shown.partition.to_string().as_bytes()),
                Part::Timestamp => out.extend_from_slice(shown.timestamp_ms.to_string().as_bytes()),
                Part::Topic => put(shown.topic.as_bytes(), out),
                Part::Headers => {
                    for (index, header) in shown.record.headers.enumerate() {
                        if index > 0 {
                            out.push(b',');
                        }
                        put(header.key, out);
                        out.push(b'=');
                        put_or_null(header.value, out);
                    }
                }
            }
        }
    }
}

/// The byte of an escape whose backslash was read.
fn escape(chars: &mut std::str::Chars<'_>) -> Result<u8, String> {
    let wrong = || "an escape is one of \\n \\t \\r \\0 \\\\ and \\xHH".to_owned();
    match chars.next() {
        Some('n') => Ok(b'\n'),
        Some('t') => Ok(b'\t'),
        Some('r') => Ok(b'\r'),
        Some('0') => Ok(0),
        Some('\\') => Ok(b'\\'),
        Some('x') => {
            let digits = chars.as_str().get(..2).ok_or_else(wrong)?;
            if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(wrong());
            }
            *chars = chars.as_str()[2..].chars();
            u8::from_str_radix(digits, 16).map_err(|_| wrong())
        }
        _ => Err(wrong()),
    }
}

/// Text as it is, control characters and bytes that are no UTF-8 as `\xHH`.
fn put_escaped(bytes: &[u8], out: &mut Vec<u8>) {
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() && c != '\t' && c != '\n' {
                out.extend_from_slice(format!("\\x{:02x}", u32::from(c)).as_bytes());
            } else {
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
        for byte in chunk.invalid() {
            out.extend_from_slice(format!("\\x{byte:02x}").as_bytes());
        }
    }
}

/// Appends a record as one line of JSON, without the newline.
pub fn write_json(shown: &Shown<'_>, out: &mut Vec<u8>) {
    let header = |header: Header<'_>| {
        let (key, value) = (text(Some(header.key)), text(header.value));
        json!({ "key": key, "value": value })
    };
    let mut object = Map::new();
    object.insert("topic".to_owned(), json!(shown.topic));
    object.insert("partition".to_owned(), json!(shown.partition));
    object.insert("offset".to_owned(), json!(shown.offset));
    object.insert("timestamp_ms".to_owned(), json!(shown.timestamp_ms));
    object.insert("timestamp_type".to_owned(), json!(shown.timestamp_type));
    object.insert("key".to_owned(), text(shown.record.key));
    object.insert("value".to_owned(), text(shown.record.value));
    object.insert("headers".to_owned(), shown.record.headers.map(header).collect());
    out.extend_from_slice(Value::Object(object).to_string().as_bytes());
}

/// A string for UTF-8, `{"base64": …}` for other bytes, null for null.
fn text(field: Option<&[u8]>) -> Value {
    match field.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => Value::Null,
        Some((_, Ok(text))) => json!(text),
        Some((bytes, Err(_))) => json!({ "base64": base64::encode(bytes) }),
    }
}

/// The bytes of such a value; the inner `None` is null. Errs on anything else.
pub fn bytes_of(value: Option<&Value>) -> Result<Option<Vec<u8>>, String> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_bytes().to_vec())),
        Some(Value::Object(object)) => {
            let encoded = object.get("base64").and_then(Value::as_str);
            let decoded = encoded.and_then(base64::decode);
            decoded.map(Some).ok_or_else(|| "an object is {\"base64\": \"…\"}".to_owned())
        }
        Some(other) => Err(format!("{other} is neither a string nor null")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::batch::{BatchBuilder, BatchOptions, open_records};
    use protocol::compress::Codecs;

    fn printed(
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header<'_>],
        print: impl FnOnce(&Shown<'_>, &mut Vec<u8>),
    ) -> Vec<u8> {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        builder.append(1000, key, value, headers);
        let (mut codecs, mut batch) = (Codecs::new(), Vec::new());
        builder.build(&mut codecs, &mut batch);
        let (_, mut records) = open_records(&batch, &mut codecs, 1 << 20).expect("opens");
        let record = records.next().expect("one record").expect("well formed");
        let shown = Shown {
            topic: "t",
            partition: 3,
            offset: 7,
            timestamp_ms: 1000,
            timestamp_type: "CreateTime",
            record,
        };
        let mut out = Vec::new();
        print(&shown, &mut out);
        out
    }

    fn templated(text: &str, key: Option<&[u8]>, value: Option<&[u8]>, escaped: bool) -> Vec<u8> {
        let template = Template::parse(text, "null").expect("a template");
        let headers = [Header { key: b"a", value: Some(b"1") }, Header { key: b"b", value: None }];
        printed(key, value, &headers, |shown, out| template.write(shown, escaped, out))
    }

    #[test]
    fn every_field_and_escape_is_replaced() {
        let out = templated("%T %p %o %t %k=%v %h 100%%\\t\\x41\\\\ü", Some(b"k"), None, false);
        assert_eq!(
            String::from_utf8(out).as_deref(),
            Ok("t 3 7 1000 k=null a=1,b=null 100%\tA\\ü")
        );
    }

    #[test]
    fn bytes_go_out_as_they_are_except_to_a_terminal() {
        let value = b"\x1b[2J\xffok";
        assert_eq!(templated("%v", None, Some(value), false), value);
        assert_eq!(templated("%v", None, Some(value), true), b"\\x1b[2J\\xffok");
    }

    #[test]
    fn a_wrong_format_says_what_can_be_written() {
        for text in ["%x", "%", "\\", "\\q", "\\x4", "\\xgg", "\\x+1", "\\xü"] {
            assert!(Template::parse(text, "").is_err(), "{text}");
        }
        assert!(Template::parse("%s", "").is_err_and(|why| why.contains("%v")));
    }

    #[test]
    fn json_keeps_nulls_and_bytes_and_reads_back() {
        let headers = [Header { key: b"h", value: Some(b"\xfe") }];
        let out = printed(None, Some(b"\xff\x00"), &headers, write_json);
        let value: Value = serde_json::from_slice(&out).expect("JSON");
        assert_eq!(value["key"], Value::Null);
        assert_eq!(value["offset"], 7);
        assert_eq!(value["headers"][0]["key"], "h");
        assert_eq!(bytes_of(value.get("value")), Ok(Some(vec![0xff, 0])));
        assert_eq!(bytes_of(value.get("key")), Ok(None));
        assert_eq!(bytes_of(Some(&value["headers"][0]["value"])), Ok(Some(vec![0xfe])));
        assert!(bytes_of(Some(&json!(1))).is_err());
    }
}
