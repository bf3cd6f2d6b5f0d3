//! The hot path takes no memory: a counting allocator sees none asked for.
//!
//! Counted per thread, so that the test harness does not disturb it. Each case is run once before
//! it is counted, so that reused contexts and buffers exist, as they do in a core that serves.

#![expect(unsafe_code, reason = "a counting allocator has to implement GlobalAlloc")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{FetchRequest, ProduceRequest, TopicName};
use kafka_protocol::protocol::{Encodable, StrBytes};
use protocol::batch::{
    BatchBuilder, BatchOptions, ValidateConfig, header, open_records, validate_produce,
};
use protocol::compress::{Codecs, Compression};
use protocol::hot::{
    FetchPartitionResponse, FetchResponseHead, FetchResponseWriter, FetchView,
    ProducePartitionResponse, ProduceResponseWriter, ProduceView, TopicRef,
};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator unchanged; only a counter is added, which is
// constant-initialised and needs no destructor, so that using it never allocates.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise, passed on.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations_of(mut work: impl FnMut()) -> usize {
    work();
    let before = ALLOCATIONS.with(Cell::get);
    work();
    ALLOCATIONS.with(Cell::get) - before
}

fn batch(compression: Compression) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions { compression, ..BatchOptions::default() });
    while builder.uncompressed_bytes() < 64 << 10 {
        builder.append(1_000_000, Some(b"key"), Some(&[7; 1000]), &[]);
    }
    let mut out = Vec::new();
    builder.build(&mut Codecs::new(), &mut out);
    out
}

fn name() -> TopicName {
    TopicName(StrBytes::from_static_str("orders"))
}

fn encode(message: &impl Encodable, version: i16) -> Vec<u8> {
    let mut out = BytesMut::new();
    message.encode(&mut out, version).expect("encodes");
    out.to_vec()
}

#[test]
fn the_allocator_counts() {
    assert_eq!(allocations_of(|| drop(black_box(Box::new(1)))), 1);
}

#[test]
fn reading_a_produce_request_takes_no_memory() {
    let records = Bytes::from(batch(Compression::None));
    let data = PartitionProduceData::default().with_index(3).with_records(Some(records));
    let topic = TopicProduceData::default().with_name(name()).with_partition_data(vec![data]);
    let request = ProduceRequest::default().with_acks(-1).with_topic_data(vec![topic]);
    let body = encode(&request, 9);
    let count = allocations_of(|| {
        let view = ProduceView::parse(9, &body).expect("valid");
        for partition in view.partitions() {
            black_box(partition);
        }
    });
    assert_eq!(count, 0);
}

#[test]
fn reading_a_fetch_request_takes_no_memory() {
    let partitions = (0..10).map(|index| FetchPartition::default().with_partition(index));
    let topic = FetchTopic::default().with_topic(name()).with_partitions(partitions.collect());
    let body = encode(&FetchRequest::default().with_topics(vec![topic]), 12);
    let count = allocations_of(|| {
        let view = FetchView::parse(12, &body).expect("valid");
        for partition in view.partitions() {
            black_box(partition);
        }
    });
    assert_eq!(count, 0);
}

#[test]
fn checking_a_batch_of_any_codec_takes_no_memory_once_contexts_exist() {
    let config = ValidateConfig::new(2_000_000);
    for compression in Compression::ALL {
        let bytes = batch(compression);
        let mut codecs = Codecs::new();
        let count = allocations_of(|| {
            black_box(validate_produce(&bytes, &config, &mut codecs).expect("valid"));
        });
        assert_eq!(count, 0, "{}", compression.name());
    }
}

#[test]
fn reading_records_and_changing_a_batch_in_place_take_no_memory() {
    let mut bytes = batch(Compression::None);
    let mut codecs = Codecs::new();
    let mut offset = 0;
    let count = allocations_of(|| {
        offset += 1;
        header::set_base_offset(&mut bytes, offset);
        header::set_partition_leader_epoch(&mut bytes, 3);
        let append_time = header::TimestampType::LogAppendTime;
        header::set_max_timestamp_and_type(&mut bytes, append_time, offset);
        let (_, records) = open_records(&bytes, &mut codecs, 1 << 20).expect("valid");
        for record in records {
            black_box(record.expect("valid"));
        }
    });
    assert_eq!(count, 0);
}

#[test]
fn writing_responses_into_a_grown_buffer_takes_no_memory() {
    let mut out = Vec::new();
    let topic = TopicRef::Name(b"orders");
    let count = allocations_of(|| {
        out.clear();
        let mut writer = ProduceResponseWriter::new(&mut out, 9, 1);
        writer.topic(topic, 1);
        writer.partition(&ProducePartitionResponse::error(3, 0));
        writer.finish(0, &[]);
        let head = FetchResponseHead { throttle_time_ms: 0, error_code: 0, session_id: 0 };
        let mut writer = FetchResponseWriter::new(&mut out, 12, head, 1);
        writer.topic(topic, 10);
        for index in 0..10 {
            writer.partition(&FetchPartitionResponse::error(index, 0));
        }
        writer.finish(&[]);
    });
    assert_eq!(count, 0);
}

#[test]
fn building_batches_takes_no_memory_once_buffers_have_grown() {
    for compression in Compression::ALL {
        let options = BatchOptions { compression, ..BatchOptions::default() };
        let mut builder = BatchBuilder::new(options);
        let mut codecs = Codecs::new();
        let mut out = Vec::new();
        let count = allocations_of(|| {
            out.clear();
            for _ in 0..60 {
                builder.append(1_000_000, Some(b"key"), Some(&[7; 1000]), &[]);
            }
            builder.build(&mut codecs, &mut out);
        });
        assert_eq!(count, 0, "{}", compression.name());
    }
}
