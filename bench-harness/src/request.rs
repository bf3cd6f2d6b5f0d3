//! Produce requests, encoded once and patched in place: what a load sends without allocating.
//!
//! One request appends one batch to one partition. What differs from request to request has a fixed
//! place in the bytes: the correlation id, the partition, and a stamp inside the first record. The
//! places are found by encoding twice and comparing, so that this file knows no layout.

use bytes::Bytes;
use protocol::batch::{BatchBuilder, BatchOptions, header};
use protocol::compress::{Codecs, Compression};
use protocol::messages::ProduceRequest;
use protocol::messages::ProduceResponse;
use protocol::messages::produce::{
    PartitionProduceData, PartitionProduceResponse, TopicProduceData, TopicProduceResponse,
};
use protocol::{ApiKey, frame};

use crate::admin::{CLIENT_ID, Topic};
use crate::args::{Payload, RecordArgs};
use crate::clock;
use crate::error::BenchError;
use crate::schedule::Random;

/// Bytes at the start of the first record's value that [`Prepared::stamp`] writes.
pub const STAMP_BYTES: usize = 8;
/// Where every request frame has its correlation id: after length, key and version.
const CORRELATION_AT: usize = 8;
/// Before a request's stamp is written it holds this, so that its place can be found.
const STAMP_MARK: [u8; STAMP_BYTES] = *b"\x9c\x11stamp\x7e";

/// A whole request frame and the places in it that change.
#[derive(Debug, Clone)]
pub struct Prepared {
    frame: Vec<u8>,
    partition_at: usize,
    batch: std::ops::Range<usize>,
    /// `None` if the records are compressed or too short for a stamp.
    stamp_at: Option<usize>,
    /// Records of the batch.
    pub records_count: u32,
}

impl Prepared {
    /// Encodes a request for a topic as `args` describes it.
    pub fn new(
        topic: &Topic,
        version: i16,
        args: &RecordArgs,
        random: &mut Random,
    ) -> Result<Self, BenchError> {
        let records_count = args.records_per_request();
        let mut builder =
            BatchBuilder::new(BatchOptions { compression: args.codec, ..Default::default() });
        let now_ms = clock::wall_ms();
        for index in 0..records_count {
            let mut value = payload(args.payload, args.record_bytes, random);
            if index == 0 && value.len() >= STAMP_BYTES {
                value[..STAMP_BYTES].copy_from_slice(&STAMP_MARK);
            }
            let key = payload(Payload::Random, args.key_bytes, random);
            let key = (args.key_bytes > 0).then_some(key.as_slice());
            builder.append(now_ms, key, Some(&value), &[]);
        }
        let mut batch = Vec::new();
        builder.build(&mut Codecs::new(), &mut batch);

        let frame = encode(topic, version, args.acks, 0, &batch)?;
        let other = encode(topic, version, args.acks, 0x0101_0101, &batch)?;
        let partition_at = first_difference(&frame, &other);
        let batch_at = find(&frame, &batch).expect("the request holds its batch");
        let stamp_at = match args.codec {
            Compression::None => find(&frame, &STAMP_MARK),
            Compression::Gzip | Compression::Snappy | Compression::Lz4 | Compression::Zstd => None,
        };
        let batch = batch_at..batch_at + batch.len();
        let records_count = u32::try_from(records_count).expect("a batch is below 2 GiB");
        Ok(Self { frame, partition_at, batch, stamp_at, records_count })
    }

    /// The frame, to be sent.
    pub fn bytes(&self) -> &[u8] {
        &self.frame
    }

    /// Bytes of the record batch.
    pub fn batch_bytes(&self) -> usize {
        self.batch.len()
    }

    /// Sets what differs from one request to the next.
    #[inline]
    pub fn address(&mut self, correlation_id: i32, partition: i32) {
        self.put(CORRELATION_AT, correlation_id.to_be_bytes());
        self.put(self.partition_at, partition.to_be_bytes());
    }

    /// Where in the batch the stamp is; `None` if [`Prepared::stamp`] does not work.
    pub fn stamp_in_batch(&self) -> Option<usize> {
        self.stamp_at.map(|at| at - self.batch.start)
    }

    /// Writes a number into the first record and corrects the batch's checksum.
    pub fn stamp(&mut self, stamp: u64) {
        let at = self.stamp_at.expect("only a request with a place for it is stamped");
        self.put(at, stamp.to_be_bytes());
        header::set_crc(&mut self.frame[self.batch.clone()]);
    }

    #[inline]
    fn put<const N: usize>(&mut self, at: usize, bytes: [u8; N]) {
        self.frame[at..at + N].copy_from_slice(&bytes);
    }
}

/// Where an answer to a [`Prepared`] request says what became of it.
#[derive(Debug, Clone, Copy)]
pub struct AnswerLayout {
    error_at: usize,
}

impl AnswerLayout {
    /// For one topic and version.
    pub fn new(topic: &Topic, version: i16) -> Result<Self, BenchError> {
        let answer = |error_code: i16| {
            let partition = PartitionProduceResponse { error_code, ..Default::default() };
            let responses = vec![TopicProduceResponse {
                name: topic.name.clone(),
                topic_id: topic.id,
                partition_responses: vec![partition],
            }];
            let body = ProduceResponse { responses, ..Default::default() };
            let mut bytes = Vec::new();
            frame::encode_response::<ProduceRequest>(&mut bytes, version, 0, &body)
                .map(|()| bytes)
                .map_err(|error| BenchError::Usage(format!("topic {}: {error}", topic.name)))
        };
        Ok(Self { error_at: first_difference(&answer(0)?, &answer(0x0101)?) })
    }

    /// The error code in a whole response frame; `None` if the frame is no such answer.
    #[inline]
    pub fn error_code(self, frame: &[u8]) -> Option<i16> {
        let bytes = frame.get(self.error_at..)?.first_chunk::<2>()?;
        Some(i16::from_be_bytes(*bytes))
    }
}

/// The version to produce in: the highest both sides know.
pub fn produce_version(topic: &Topic) -> Result<i16, BenchError> {
    topic.peer.choose(ApiKey::Produce).map_err(|error| BenchError::at(topic.leaders[0], error))
}

fn encode(
    topic: &Topic,
    version: i16,
    acks: i16,
    index: i32,
    batch: &[u8],
) -> Result<Vec<u8>, BenchError> {
    let partition = PartitionProduceData { index, records: Some(Bytes::copy_from_slice(batch)) };
    let request = ProduceRequest {
        transactional_id: None,
        acks,
        timeout_ms: 30_000,
        topic_data: vec![TopicProduceData {
            name: topic.name.clone(),
            topic_id: topic.id,
            partition_data: vec![partition],
        }],
    };
    let mut out = Vec::new();
    frame::encode_request(&mut out, version, 0, Some(CLIENT_ID), &request)
        .map_err(|error| BenchError::Usage(format!("a request does not fit: {error}")))?;
    Ok(out)
}

/// Bytes of a key or value.
fn payload(kind: Payload, bytes: usize, random: &mut Random) -> Vec<u8> {
    const WORDS: [&str; 16] = [
        "price=",
        "size=",
        "bid ",
        "ask ",
        "venue:XNAS ",
        "venue:XLON ",
        "seq=",
        "side=B ",
        "side=S ",
        "symbol=AAPL ",
        "symbol=MSFT ",
        "flags=00 ",
        "level=1 ",
        "level=2 ",
        "time=",
        "id=",
    ];
    let mut out = Vec::with_capacity(bytes + 16);
    while out.len() < bytes {
        match kind {
            Payload::Random => out.extend_from_slice(&random.draw().to_le_bytes()),
            Payload::Text => {
                let draw = random.draw();
                out.extend_from_slice(WORDS[(draw & 15) as usize].as_bytes());
                out.extend_from_slice((draw >> 44).to_string().as_bytes());
                out.push(b' ');
            }
        }
    }
    out.truncate(bytes);
    out
}

fn first_difference(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).position(|(a, b)| a != b).expect("the two differ in one field")
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::client::PeerVersions;
    use protocol::{Message, Uuid};

    fn topic() -> Topic {
        Topic {
            name: "t".to_owned(),
            id: Uuid::from_u64s(1, 2),
            leaders: vec![([127, 0, 0, 1], 1).into()],
            created: false,
            peer: PeerVersions::default(),
        }
    }

    fn args() -> RecordArgs {
        RecordArgs {
            record_bytes: 100,
            batch_bytes: Some(300),
            key_bytes: 0,
            acks: -1,
            codec: Compression::None,
            payload: Payload::Text,
            spread: crate::args::Spread::RoundRobin,
        }
    }

    #[test]
    fn a_patched_request_decodes_as_what_was_asked_for() {
        for version in 3..=13 {
            let mut prepared =
                Prepared::new(&topic(), version, &args(), &mut Random::new(1, 1)).expect("it fits");
            prepared.address(77, 5);
            prepared.stamp(0x0102_0304_0506_0708);
            let (header, at) = protocol::RequestHeaderRef::parse(&prepared.bytes()[4..])
                .expect("the header is whole");
            assert_eq!(header.correlation_id, 77);
            let body = Bytes::copy_from_slice(&prepared.bytes()[4 + at..]);
            let request = ProduceRequest::from_bytes(&body, version).expect("it decodes");
            let partition = &request.topic_data[0].partition_data[0];
            assert_eq!(partition.index, 5);
            let batch = partition.records.as_ref().expect("it holds records");
            assert!(header::check_crc(batch).is_ok(), "v{version}");
            assert!(find(batch, &[1, 2, 3, 4, 5, 6, 7, 8]).is_some());
            assert_eq!(prepared.records_count, 3);
        }
    }

    #[test]
    fn an_answers_error_is_found_in_every_version() {
        for version in 3..=13 {
            let layout = AnswerLayout::new(&topic(), version).expect("it encodes");
            let partition = PartitionProduceResponse {
                index: 9,
                error_code: 42,
                base_offset: -1,
                ..Default::default()
            };
            let body = ProduceResponse {
                responses: vec![TopicProduceResponse {
                    name: "t".to_owned(),
                    topic_id: Uuid::from_u64s(1, 2),
                    partition_responses: vec![partition],
                }],
                ..Default::default()
            };
            let mut bytes = Vec::new();
            frame::encode_response::<ProduceRequest>(&mut bytes, version, 8, &body)
                .expect("it encodes");
            assert_eq!(layout.error_code(&bytes), Some(42), "v{version}");
            assert_eq!(layout.error_code(&bytes[..12]), None);
        }
    }
}
