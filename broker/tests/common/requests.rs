//! Requests as frames, for tests and benches that hand them to a shard without a connection.

use protocol::batch::{BatchBuilder, BatchOptions};
use protocol::compress::Codecs;
use protocol::frame::{PREFIX_BYTES, encode_request};
use protocol::message::Request;
use protocol::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};

/// A request's frame, without its length.
pub fn frame<R: Request>(version: i16, body: &R) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_request(&mut bytes, version, 1, Some("test"), body).expect("it encodes");
    bytes.split_off(PREFIX_BYTES)
}

/// Produces to one partition, whose records are built one by one.
#[derive(Clone, Copy, Debug)]
pub struct Produce {
    pub topic: &'static str,
    pub partition: i32,
    pub records_count: i32,
    /// Of each record.
    pub value_bytes: usize,
}

impl Produce {
    /// Its frame: one plain batch, to be acknowledged when it is durable.
    pub fn frame(self) -> Vec<u8> {
        let value = vec![7; self.value_bytes];
        let mut builder = BatchBuilder::new(BatchOptions::default());
        for _ in 0..self.records_count {
            builder.append(1_700_000_000_000, None, Some(&value), &[]);
        }
        let mut batch = Vec::new();
        builder.build(&mut Codecs::default(), &mut batch);
        let data = PartitionProduceData { index: self.partition, records: Some(batch.into()) };
        let topic = TopicProduceData {
            name: self.topic.to_owned(),
            partition_data: vec![data],
            ..TopicProduceData::default()
        };
        let body = ProduceRequest {
            acks: -1,
            timeout_ms: 1000,
            topic_data: vec![topic],
            ..ProduceRequest::default()
        };
        frame(9, &body)
    }
}
