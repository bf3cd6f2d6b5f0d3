//! The edge with a core that echoes: what a turn of the event loop costs when nothing else does.
//!
//! `cargo run --release --example edge_echo -- start --listen 127.0.0.1:0`. The body of a frame
//! comes back as it went, with its length.

use std::process::ExitCode;
use std::sync::Arc;

#[path = "../tests/common/mod.rs"]
mod common;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    broker::cli::run(std::env::args_os(), |context, _config| {
        let shards = usize::from(context.shards_count);
        Ok((0..shards).map(|_| common::EchoCore::new(Arc::default())).collect())
    })
}
