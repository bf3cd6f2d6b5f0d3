//! A fetching connection's half of the protocol: positions, a fetch session, answers read in place.
//!
//! Sans-IO. Sessions are KIP-227, as every client uses them: after the first request only
//! partitions whose position moved are named. Record bytes are looked at where they arrived, batch
//! headers only.

use std::collections::BTreeMap;

use protocol::batch::{HEADER_BYTES, header};
use protocol::message::Versions;
use protocol::messages::FetchRequest;
use protocol::messages::fetch::{FetchPartition, FetchTopic};
use protocol::{ErrorCode, Reader, frame};

use crate::admin::{CLIENT_ID, Topic};
use crate::request::STAMP_BYTES;

/// Versions this file reads: flexible, so that one parser does. Kafka 2.7 and later have them.
pub const VERSIONS: Versions = Versions { min: 12, max: 17 };
/// From here on topics are named by id. KIP-516.
const TOPIC_ID_VERSION: i16 = 13;

/// What a fetch asks for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// Longest wait for `min_bytes`.
    pub max_wait_ms: i32,
    /// The answer waits for as many bytes.
    pub min_bytes: i32,
    /// Bytes of one answer.
    pub max_bytes: i32,
    /// Bytes of one partition in an answer.
    pub partition_max_bytes: i32,
}

/// A connection's partitions and where it is in each.
#[derive(Debug)]
pub struct Fetcher {
    version: i16,
    request: FetchRequest,
    /// Next offset of each partition, and where reading started.
    positions: BTreeMap<i32, Position>,
    partition_max_bytes: i32,
    /// Positions the broker has not been told yet.
    moved: Vec<i32>,
}

#[derive(Debug, Clone, Copy)]
struct Position {
    next: i64,
    first: i64,
}

/// One batch in an answer.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    /// The whole batch.
    pub bytes: &'a [u8],
    /// Records in it.
    pub records_count: u32,
}

impl Batch<'_> {
    /// The stamp at this place of the batch; 0 if the batch is shorter.
    pub fn stamp(&self, at: usize) -> u64 {
        let stamp = self.bytes.get(at..).and_then(|rest| rest.first_chunk::<STAMP_BYTES>());
        stamp.map_or(0, |bytes| u64::from_be_bytes(*bytes))
    }
}

impl Fetcher {
    /// Starts at these offsets.
    pub fn new(topic: &Topic, version: i16, wanted: Wanted, starts: &[(i32, i64)]) -> Self {
        let request = FetchRequest {
            max_wait_ms: wanted.max_wait_ms,
            min_bytes: wanted.min_bytes,
            max_bytes: wanted.max_bytes,
            session_id: 0,
            session_epoch: 0,
            topics: vec![FetchTopic {
                topic: topic.name.clone(),
                topic_id: topic.id,
                partitions: Vec::new(),
            }],
            ..FetchRequest::default()
        };
        let positions = starts
            .iter()
            .map(|&(partition, offset)| (partition, Position { next: offset, first: offset }));
        Self {
            version,
            request,
            positions: positions.collect(),
            partition_max_bytes: wanted.partition_max_bytes,
            moved: starts.iter().map(|(partition, _)| *partition).collect(),
        }
    }

    /// Begins again where reading started: what was read once is read again.
    pub fn rewind(&mut self) {
        for (partition, position) in &mut self.positions {
            if position.next != position.first {
                position.next = position.first;
                self.moved.push(*partition);
            }
        }
    }

    /// Encodes the next request into `out`, which is emptied first.
    pub fn encode(&mut self, correlation_id: i32, out: &mut Vec<u8>) -> Result<(), String> {
        out.clear();
        self.moved.sort_unstable();
        self.moved.dedup();
        let mut partitions = std::mem::take(&mut self.request.topics).pop();
        if let Some(topic) = &mut partitions {
            topic.partitions.clear();
            let positions = &self.positions;
            let partition_max_bytes = self.partition_max_bytes;
            topic.partitions.extend(self.moved.drain(..).map(|partition| FetchPartition {
                partition,
                fetch_offset: positions[&partition].next,
                partition_max_bytes,
                ..FetchPartition::default()
            }));
        }
        // A topic without partitions may not be named.
        let (named, kept) = match partitions {
            Some(topic) if topic.partitions.is_empty() => (Vec::new(), Some(topic)),
            Some(topic) => (vec![topic], None),
            None => (Vec::new(), None),
        };
        self.request.topics = named;
        let client = Some(CLIENT_ID);
        let done = frame::encode_request(out, self.version, correlation_id, client, &self.request);
        self.request.topics.extend(kept);
        done.map_err(|error| error.to_string())
    }

    /// Reads an answer, moves positions, and shows each batch. Returns bytes of records.
    ///
    /// Errs on an answer that is malformed, and on an error code of a partition.
    pub fn read(&mut self, frame: &[u8], mut each: impl FnMut(Batch<'_>)) -> Result<usize, String> {
        let mut reader = Reader::new(frame);
        let short = |error: protocol::DecodeError| format!("an answer is malformed: {error}");
        // Length, correlation id, tagged fields of the header.
        reader.take(8).map_err(short)?;
        skip_tags(&mut reader)?;
        reader.i32().map_err(short)?;
        let code = reader.i16().map_err(short)?;
        let session_id = reader.i32().map_err(short)?;
        match ErrorCode::from_i16(code) {
            Some(ErrorCode::None) => {}
            Some(ErrorCode::FetchSessionIdNotFound | ErrorCode::InvalidFetchSessionEpoch) => {
                self.request.session_id = 0;
                self.request.session_epoch = 0;
                self.moved = self.positions.keys().copied().collect();
                return Ok(0);
            }
            Some(_) | None => return Err(format!("a fetch was answered with error {code}")),
        }
        self.request.session_id = session_id;
        self.request.session_epoch = match session_id {
            // The broker keeps none for us: each request names everything.
            0 => 0,
            _ => self.request.session_epoch % i32::MAX + 1,
        };
        if session_id == 0 {
            self.moved = self.positions.keys().copied().collect();
        }
        let mut total = 0;
        for _ in 0..reader.compact_length().map_err(short)?.unwrap_or(0) {
            if self.version >= TOPIC_ID_VERSION {
                reader.take(16).map_err(short)?;
            } else {
                let length = reader.compact_length().map_err(short)?.unwrap_or(0);
                reader.take(length).map_err(short)?;
            }
            for _ in 0..reader.compact_length().map_err(short)?.unwrap_or(0) {
                total += self.read_partition(&mut reader, &mut each)?;
            }
            skip_tags(&mut reader)?;
        }
        skip_tags(&mut reader)?;
        Ok(total)
    }

    fn read_partition(
        &mut self,
        reader: &mut Reader<'_>,
        each: &mut impl FnMut(Batch<'_>),
    ) -> Result<usize, String> {
        let short = |error: protocol::DecodeError| format!("an answer is malformed: {error}");
        let partition = reader.i32().map_err(short)?;
        let code = reader.i16().map_err(short)?;
        // High watermark, last stable offset, log start.
        reader.take(24).map_err(short)?;
        for _ in 0..reader.compact_length().map_err(short)?.unwrap_or(0) {
            reader.take(16).map_err(short)?;
            skip_tags(reader)?;
        }
        reader.i32().map_err(short)?;
        let length = reader.compact_length().map_err(short)?.unwrap_or(0);
        let mut records = reader.take(length).map_err(short)?;
        skip_tags(reader)?;
        if code != 0 && ErrorCode::from_i16(code).is_some_and(ErrorCode::retriable) {
            // A topic this young may not be known everywhere: ask again.
            self.moved.push(partition);
            return Ok(0);
        }
        if code != 0 {
            return Err(format!("partition {partition} was answered with error {code}"));
        }
        let position = self
            .positions
            .get_mut(&partition)
            .ok_or_else(|| format!("partition {partition} was answered and not asked for"))?;
        // The last batch may be cut where the answer's bytes ended.
        while let Some(bytes) = header::total_bytes(records).filter(|n| *n <= records.len()) {
            let (batch, rest) = records.split_at(bytes);
            let next = header::last_offset(batch).map_or(position.next, |last| last + 1);
            // An answer begins with the batch that holds the position, not at the position.
            if next > position.next && bytes >= HEADER_BYTES {
                position.next = next;
                let records_count = header::records_count(batch).unwrap_or(0).max(0) as u32;
                each(Batch { bytes: batch, records_count });
            }
            records = rest;
        }
        if length > 0 {
            self.moved.push(partition);
        }
        Ok(length)
    }
}

fn skip_tags(reader: &mut Reader<'_>) -> Result<(), String> {
    let short = |error: protocol::DecodeError| format!("an answer is malformed: {error}");
    for _ in 0..reader.unsigned_varint().map_err(short)? {
        reader.unsigned_varint().map_err(short)?;
        let bytes = reader.unsigned_varint().map_err(short)?;
        reader.take(bytes as usize).map_err(short)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use protocol::batch::{BatchBuilder, BatchOptions};
    use protocol::client::PeerVersions;
    use protocol::compress::Codecs;
    use protocol::messages::FetchResponse;
    use protocol::messages::fetch::{FetchableTopicResponse, PartitionData};
    use protocol::{Message, RequestHeaderRef, Uuid};

    fn fetcher(version: i16) -> Fetcher {
        let topic = Topic {
            name: "t".to_owned(),
            id: Uuid::from_u64s(1, 2),
            leaders: Vec::new(),
            created: false,
            peer: PeerVersions::default(),
        };
        let wanted =
            Wanted { max_wait_ms: 5, min_bytes: 1, max_bytes: 1 << 20, partition_max_bytes: 4096 };
        Fetcher::new(&topic, version, wanted, &[(0, 10), (3, 0)])
    }

    fn asked(fetcher: &mut Fetcher, version: i16) -> FetchRequest {
        let mut out = Vec::new();
        fetcher.encode(1, &mut out).expect("it encodes");
        let (_, at) = RequestHeaderRef::parse(&out[4..]).expect("a header");
        let body = Bytes::copy_from_slice(&out[4 + at..]);
        FetchRequest::from_bytes(&body, version).expect("it decodes")
    }

    fn answer(version: i16, session_id: i32, base_offset: i64, records: usize) -> Vec<u8> {
        let mut builder = BatchBuilder::new(BatchOptions { base_offset, ..Default::default() });
        for _ in 0..records {
            builder.append(1, None, Some(b"value"), &[]);
        }
        let mut batch = Vec::new();
        builder.build(&mut Codecs::new(), &mut batch);
        // A second batch that the answer's limit cut.
        let cut = batch[..batch.len() - 3].to_vec();
        batch.extend_from_slice(&cut);
        let partition =
            PartitionData { partition_index: 3, records: Some(batch.into()), ..Default::default() };
        let body = FetchResponse {
            session_id,
            responses: vec![FetchableTopicResponse {
                topic: "t".to_owned(),
                topic_id: Uuid::from_u64s(1, 2),
                partitions: vec![partition],
            }],
            ..Default::default()
        };
        let mut bytes = Vec::new();
        frame::encode_response::<FetchRequest>(&mut bytes, version, 1, &body).expect("it encodes");
        bytes
    }

    #[test]
    fn a_session_names_only_partitions_that_moved() {
        for version in VERSIONS.min..=VERSIONS.max {
            let mut fetcher = fetcher(version);
            let first = asked(&mut fetcher, version);
            assert_eq!((first.session_id, first.session_epoch), (0, 0));
            assert_eq!(first.topics[0].partitions.len(), 2);
            let mut seen = 0;
            fetcher
                .read(&answer(version, 77, 0, 4), |batch| seen += batch.records_count)
                .expect("it reads");
            assert_eq!(seen, 4, "v{version}: the whole batch and not the cut one");
            let second = asked(&mut fetcher, version);
            assert_eq!((second.session_id, second.session_epoch), (77, 1));
            let named: Vec<_> =
                second.topics[0].partitions.iter().map(|p| (p.partition, p.fetch_offset)).collect();
            assert_eq!(named, [(3, 4)]);
            assert!(asked(&mut fetcher, version).topics.is_empty());
        }
    }

    #[test]
    fn records_before_the_position_are_not_counted_again() {
        let mut fetcher = fetcher(12);
        asked(&mut fetcher, 12);
        let mut seen = 0;
        for _ in 0..2 {
            fetcher.read(&answer(12, 5, 0, 4), |batch| seen += batch.records_count).expect("reads");
        }
        assert_eq!(seen, 4);
        fetcher.rewind();
        fetcher.read(&answer(12, 5, 0, 4), |batch| seen += batch.records_count).expect("reads");
        assert_eq!(seen, 8);
    }

    #[test]
    fn a_cut_answer_is_an_error_and_not_a_panic() {
        let whole = answer(17, 5, 0, 4);
        for length in 0..whole.len() {
            assert!(fetcher(17).read(&whole[..length], |_| {}).is_err(), "{length}");
        }
    }
}
