//! Prints record batches of every codec, `<case> <codec> <hex>`, for Kafka's classes to read:
//! `cargo run -p protocol --example batch_lines | java ... tests/golden/BatchGolden.java read`.

use protocol::batch::control::{EndTxnMarker, write_end_txn_marker};
use protocol::batch::{BatchBuilder, BatchOptions, Header};
use protocol::compress::{Codecs, Compression};

fn print(case: &str, codec: Compression, batch: &[u8]) {
    let hex: String = batch.iter().map(|byte| format!("{byte:02x}")).collect();
    println!("{case} {} {hex}", codec.name());
}

fn main() {
    let mut codecs = Codecs::new();
    let mut out = Vec::new();
    for compression in Compression::ALL {
        let mut builder = BatchBuilder::new(BatchOptions { compression, ..Default::default() });
        // Nulls and headers, then more than one block of text, then more than one of noise.
        builder.append(1000, None, None, &[Header { key: b"h", value: None }]);
        builder.append(1001, Some(b""), Some(b""), &[Header { key: b"h", value: Some(b"v") }]);
        builder.build(&mut codecs, &mut out);
        print("small", compression, &out);
        out.clear();
        for index in 0..3000 {
            builder.append(2000 + index, Some(b"key"), Some(&b"0123456789".repeat(10)), &[]);
        }
        builder.build(&mut codecs, &mut out);
        print("text", compression, &out);
        out.clear();
        let mut state = 1_u64;
        for index in 0..100 {
            let next = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 56) as u8
            };
            let noise: Vec<u8> = std::iter::repeat_with(next).take(2000).collect();
            builder.append(3000 + index, None, Some(&noise), &[]);
        }
        builder.build(&mut codecs, &mut out);
        print("noise", compression, &out);
        out.clear();
    }
    for committed in [false, true] {
        let marker = EndTxnMarker {
            committed,
            producer_id: 1,
            producer_epoch: 2,
            coordinator_epoch: 3,
            timestamp_ms: 4,
            base_offset: 5,
            partition_leader_epoch: 6,
        };
        write_end_txn_marker(&marker, &mut codecs, &mut out);
        print("marker", Compression::None, &out);
        out.clear();
    }
}
