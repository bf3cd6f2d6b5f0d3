//! What the hot decoders cost: `cargo bench -p protocol --bench hot`.
//!
//! Figures to reach: Produce v9 with one 64 KiB batch ≤ 60 ns, Fetch v12 with 10 partitions
//! ≤ 250 ns, both without an allocation, which is asserted before anything is timed. "Decode" is
//! parsing the whole body and visiting every partition. Criterion times by the wall; on a machine
//! that others use as well, the CPU time that is printed first is the figure to look at.

#![expect(unsafe_code, reason = "a counting allocator has to implement GlobalAlloc")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Bytes, BytesMut};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{FetchRequest, ProduceRequest, TopicName};
use kafka_protocol::protocol::{Encodable, StrBytes};
use protocol::batch::{BatchBuilder, BatchOptions, ValidateConfig, validate_produce};
use protocol::compress::{Codecs, Compression};
use protocol::hot::{FetchView, ProduceView};

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator unchanged; only a counter is added.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
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

fn batch(compression: Compression) -> Vec<u8> {
    let line = b"2026-11-20T10:00:00.000Z INFO order=12345 side=buy qty=100 px=101.25 venue=XA\n";
    let value: Vec<u8> = line.iter().copied().cycle().take(1000).collect();
    let mut builder = BatchBuilder::new(BatchOptions { compression, ..BatchOptions::default() });
    while builder.uncompressed_bytes() < 64 << 10 {
        builder.append(1_000_000, Some(b"key"), Some(&value), &[]);
    }
    let mut out = Vec::new();
    builder.build(&mut Codecs::new(), &mut out);
    out
}

fn encode(message: &impl Encodable, version: i16) -> Vec<u8> {
    let mut out = BytesMut::new();
    message.encode(&mut out, version).expect("encodes");
    out.to_vec()
}

fn name() -> TopicName {
    TopicName(StrBytes::from_static_str("orders"))
}

fn produce_v9() -> Vec<u8> {
    let records = Some(Bytes::from(batch(Compression::None)));
    let data = PartitionProduceData::default().with_index(3).with_records(records);
    let topic = TopicProduceData::default().with_name(name()).with_partition_data(vec![data]);
    let request = ProduceRequest::default().with_acks(-1).with_timeout_ms(30_000);
    encode(&request.with_topic_data(vec![topic]), 9)
}

fn fetch_v12() -> Vec<u8> {
    let partition = |index| {
        FetchPartition::default()
            .with_partition(index)
            .with_fetch_offset(123_456_789)
            .with_current_leader_epoch(3)
            .with_partition_max_bytes(1 << 20)
    };
    let partitions = (0..10).map(partition).collect();
    let topic = FetchTopic::default().with_topic(name()).with_partitions(partitions);
    encode(&FetchRequest::default().with_max_wait_ms(500).with_topics(vec![topic]), 12)
}

fn decode_produce(body: &[u8]) {
    let view = ProduceView::parse(9, black_box(body)).expect("valid");
    for partition in view.partitions() {
        black_box(&partition);
    }
    black_box(view.acks);
}

fn decode_fetch(body: &[u8]) {
    let view = FetchView::parse(12, black_box(body)).expect("valid");
    for partition in view.partitions() {
        black_box(&partition);
    }
    black_box(view.max_wait_ms);
}

fn assert_no_allocations(what: &str, work: impl FnOnce()) {
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    work();
    let count = ALLOCATIONS.load(Ordering::Relaxed) - before;
    assert_eq!(count, 0, "{what} allocates");
    println!("{what}: 0 allocations");
}

/// Nanoseconds that the scheduler says this thread ran.
fn thread_cpu_ns() -> Option<u64> {
    let line = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    line.split(' ').next()?.parse().ok()
}

fn print_cpu_time(what: &str, mut work: impl FnMut()) {
    // The scheduler counts in ticks of some milliseconds: hundreds of them make a fair figure.
    const CALLS: u32 = 10_000_000;
    let Some(before) = thread_cpu_ns() else { return };
    (0..CALLS).for_each(|_| work());
    let Some(after) = thread_cpu_ns() else { return };
    println!("{what}: {:.1} ns of CPU", (after - before) as f64 / f64::from(CALLS));
}

fn decode(criterion: &mut Criterion) {
    let (produce, fetch) = (produce_v9(), fetch_v12());
    assert_no_allocations("produce v9", || decode_produce(&produce));
    assert_no_allocations("fetch v12", || decode_fetch(&fetch));
    print_cpu_time("produce v9", || decode_produce(&produce));
    print_cpu_time("fetch v12", || decode_fetch(&fetch));
    criterion.bench_function("decode/produce_v9_64KiB", |bencher| {
        bencher.iter(|| decode_produce(&produce));
    });
    criterion.bench_function("decode/fetch_v12_10_partitions", |bencher| {
        bencher.iter(|| decode_fetch(&fetch));
    });
}

fn validate(criterion: &mut Criterion) {
    let config = ValidateConfig::new(2_000_000);
    let mut group = criterion.benchmark_group("validate_64KiB");
    group.throughput(Throughput::Bytes(64 << 10));
    for compression in Compression::ALL {
        let bytes = batch(compression);
        let mut codecs = Codecs::new();
        group.bench_function(compression.name(), |bencher| {
            bencher.iter(|| validate_produce(black_box(&bytes), &config, &mut codecs));
        });
    }
    group.finish();
}

criterion_group!(benches, decode, validate);
criterion_main!(benches);
