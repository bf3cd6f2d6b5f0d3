//! The `corelane` binary: picks the allocator, says how a broker is made, and hands over to the
//! command line.

use std::process::ExitCode;
use std::sync::Arc;

use broker::boot::{self, Settings};
use broker::config::BrokerConfig;
use broker::edge::run::{BootContext, BootError};
use broker::shard::Shard;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const _: () = assert!(!storage::planted::COMPILED_IN, "the binary has no planted bugs");

fn main() -> ExitCode {
    broker::cli::run(std::env::args_os(), make_shards)
}

/// Recovers the data folder and makes one shard per core.
fn make_shards(context: BootContext<'_>, config: &BrokerConfig) -> Result<Vec<Shard>, BootError> {
    let (host, port) = broker::cli::start::advertised(config, &context.endpoint);
    let settings = Settings {
        broker: Arc::new(config.clone()),
        shards_count: context.shards_count,
        advertised_host: host,
        advertised_port: port,
        data_dirs: context.data_dirs,
        now: context.now,
        entropy: context.entropy,
        store: None,
    };
    let booted =
        boot::boot(context.disk, context.memory, &settings).map_err(|error| match error {
            boot::BootError::NodeId { .. } | boot::BootError::MetadataFolder { .. } => {
                BootError::usage(error)
            }
            boot::BootError::Disk { .. }
            | boot::BootError::Meta { .. }
            | boot::BootError::Nameless { .. }
            | boot::BootError::Misplaced { .. }
            | boot::BootError::RecoverIn { .. }
            | boot::BootError::Recover(_)
            | boot::BootError::Metadata { .. } => BootError::failed(error),
        })?;
    for notice in booted.notices {
        context.log.warn(notice);
    }
    Ok(booted.shards)
}
