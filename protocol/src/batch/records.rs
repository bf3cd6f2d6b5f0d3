//! The records inside a batch, in place: keys, values and headers as slices of its bytes.
//!
//! Total over any bytes: a record is checked whole before it is handed out, so that its parts can
//! be read without errors. Nothing is allocated; a compressed batch is decompressed first, by
//! [`open_records`] into the core's own buffer. Source: KIP-98, Kafka's `DefaultRecord`.
//!
//! A record: its length (varint), attributes (1), timestamp delta (varlong), offset delta
//! (varint), key length (varint, negative for null), key, value length, value, header count
//! (varint), then per header key length, key, value length (negative for null), value.

use super::error::BatchError;
use super::header::{BatchHeader, HEADER_BYTES, TimestampType};
use crate::compress::{Codecs, Compression};
use crate::varint::{read_varint, read_varlong};

/// One record, borrowed from its batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Unused by Kafka; passed on.
    pub attributes: i8,
    /// To be added to the batch's base timestamp, unless the batch has the append time.
    pub timestamp_delta: i64,
    /// To be added to the batch's base offset.
    pub offset_delta: i32,
    /// The key, or `None` for null.
    pub key: Option<&'a [u8]>,
    /// The value, or `None` for null: a tombstone in a compacted topic.
    pub value: Option<&'a [u8]>,
    /// The headers in order.
    pub headers: HeaderIter<'a>,
    /// The record as it lies in the batch, with its length in front.
    pub bytes: &'a [u8],
}

impl Record<'_> {
    /// The record's timestamp in milliseconds, by its batch's timestamp type.
    #[inline]
    pub fn timestamp_ms(&self, header: &BatchHeader) -> i64 {
        match header.timestamp_type() {
            TimestampType::CreateTime => header.base_timestamp.wrapping_add(self.timestamp_delta),
            TimestampType::LogAppendTime => header.max_timestamp,
        }
    }

    /// The record's offset.
    #[inline]
    pub fn offset(&self, header: &BatchHeader) -> i64 {
        header.base_offset.wrapping_add(i64::from(self.offset_delta))
    }
}

/// One header of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    /// The name's bytes; Kafka means UTF-8 and does not check it.
    pub key: &'a [u8],
    /// The value, or `None` for null.
    pub value: Option<&'a [u8]>,
}

/// Iterator over a record's headers, whose bytes were checked with the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeaderIter<'a> {
    rest: &'a [u8],
    left: u32,
}

impl<'a> Iterator for HeaderIter<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        read_header(&mut self.rest)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left as usize, Some(self.left as usize))
    }
}

impl ExactSizeIterator for HeaderIter<'_> {}

/// Iterator over a batch's uncompressed records.
///
/// Yields as many records as the header declared, or an error and then nothing. Bytes after the
/// last record are an error, as in Kafka.
#[derive(Debug, Clone)]
pub struct RecordIter<'a> {
    rest: &'a [u8],
    index: u32,
    count: u32,
}

impl<'a> RecordIter<'a> {
    /// Over the uncompressed bytes of `records_count` records.
    pub fn new(records: &'a [u8], records_count: i32) -> Self {
        Self { rest: records, index: 0, count: u32::try_from(records_count).unwrap_or(0) }
    }

    #[inline]
    fn read(&mut self) -> Result<Option<Record<'a>>, &'static str> {
        if self.index == self.count {
            return match self.rest {
                [] => Ok(None),
                _ => Err("bytes follow the last declared record"),
            };
        }
        read_record(&mut self.rest).map(Some)
    }
}

impl<'a> Iterator for RecordIter<'a> {
    type Item = Result<Record<'a>, BatchError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match self.read() {
            Ok(None) => None,
            Ok(Some(record)) => {
                self.index += 1;
                Some(Ok(record))
            }
            Err(reason) => {
                let index = self.index;
                // Nothing more can be told from bytes that lost their frame.
                self.rest = &[];
                self.count = self.index;
                Some(Err(BatchError::Malformed { index, reason }))
            }
        }
    }
}

/// Reads a batch's header and gives its records, decompressed into the core's buffer if need be.
///
/// `batch` must start with a whole batch; what follows is not looked at. The checksum is not
/// checked. Errs if the batch is incomplete, its codec is unknown, or its records do not decompress
/// to at most `records_bytes_max`.
pub fn open_records<'a>(
    batch: &'a [u8],
    codecs: &'a mut Codecs,
    records_bytes_max: usize,
) -> Result<(BatchHeader, RecordIter<'a>), BatchError> {
    let header = BatchHeader::parse(batch)?;
    let Some(batch) = batch.get(..header.total_bytes()) else {
        return Err(BatchError::Incomplete { bytes: batch.len() });
    };
    let records = &batch[HEADER_BYTES..];
    let records = match header.compression() {
        None => return Err(BatchError::UnknownCodec { id: (header.attributes & 0x07) as u8 }),
        Some(Compression::None) => records,
        Some(codec) => codecs.decompress_to_scratch(codec, records, records_bytes_max)?,
    };
    Ok((header, RecordIter::new(records, header.records_count)))
}

#[inline]
fn read_record<'a>(rest: &mut &'a [u8]) -> Result<Record<'a>, &'static str> {
    let start = *rest;
    let length = read_varint(rest).ok_or("its length is cut off")?;
    let length = usize::try_from(length).map_err(|_| "its length is negative")?;
    let (mut body, tail) =
        rest.split_at_checked(length).ok_or("it is longer than the batch's bytes")?;
    *rest = tail;
    let record = read_body(&mut body).ok_or("its fields go past its length")?;
    let Some((record, headers_count)) = record else {
        return Err("its header count is impossible");
    };
    let mut headers = body;
    for _ in 0..headers_count {
        read_header(&mut headers).ok_or("its headers go past its length")?;
    }
    if !headers.is_empty() {
        return Err("bytes follow its last field");
    }
    let headers = HeaderIter { rest: body, left: headers_count };
    Ok(Record { headers, bytes: &start[..start.len() - tail.len()], ..record })
}

/// The fields before the headers, and the headers' count; the inner `None` is a count that the rest
/// of the record cannot hold.
#[inline]
fn read_body<'a>(body: &mut &'a [u8]) -> Option<Option<(Record<'a>, u32)>> {
    let (&attributes, tail) = body.split_first()?;
    *body = tail;
    let timestamp_delta = read_varlong(body)?;
    let offset_delta = read_varint(body)?;
    let key = read_bytes(body)?;
    let value = read_bytes(body)?;
    let headers_count = read_varint(body)?;
    // Each header takes two bytes at least; Kafka compares with the bytes left as well.
    let Ok(headers_count) = u32::try_from(headers_count) else { return Some(None) };
    if headers_count as usize > body.len() {
        return Some(None);
    }
    let headers = HeaderIter { rest: &[], left: 0 };
    let attributes = attributes as i8;
    let bytes = &[][..];
    let record = Record { attributes, timestamp_delta, offset_delta, key, value, headers, bytes };
    Some(Some((record, headers_count)))
}

/// A length and as many bytes. The inner `None` is null: any negative length, as in Kafka.
#[inline]
fn read_bytes<'a>(rest: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let Ok(length) = usize::try_from(read_varint(rest)?) else { return Some(None) };
    let (bytes, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    Some(Some(bytes))
}

#[inline]
fn read_header<'a>(rest: &mut &'a [u8]) -> Option<Header<'a>> {
    // A null name is refused, as in Kafka.
    let key = read_bytes(rest)??;
    let value = read_bytes(rest)?;
    Some(Header { key, value })
}
