//! The controller: what a request would change, as records and the response that goes with them.
//!
//! Pure: it reads an image and changes nothing. The caller appends the records of a decision as one
//! batch,
//! replays them once they are durable, and then lets the response go. Ids and time are arguments.
//! Codes
//! and messages are those of Kafka 4.3.1, asked request by request (`testdata/`,
//! `golden_tests.rs`).

pub mod alter_configs;
pub mod assignment;
pub mod client_quotas;
pub mod create_partitions;
pub mod create_topics;
pub mod delete_topics;
pub mod describe_configs;
pub mod directories;
pub mod internal;
pub mod leaders;
pub mod limits;
pub mod mutation;
pub mod scram;
pub mod topic_name;

use protocol::ErrorCode;
use protocol::types::Uuid;

use crate::image::MetadataRecord;

pub use alter_configs::{decide_alter_configs, decide_incremental_alter_configs};
pub use client_quotas::{decide_alter_client_quotas, describe_client_quotas};
pub use create_partitions::{decide_create_partitions, decide_create_partitions_within};
pub use create_topics::{decide_create_topics, decide_create_topics_within};
pub use delete_topics::{decide_delete_topics, decide_delete_topics_within};
pub use describe_configs::{describe_configs, list_config_resources};
pub use internal::{allocate_producer_ids, bootstrap, decide_auto_create};
pub use leaders::{
    decide_alter_partition_reassignments, decide_elect_leaders, list_partition_reassignments,
};
pub use scram::{decide_alter_scram, describe_scram};

/// What a request changes and what its sender is told once the change is durable.
#[derive(Clone, PartialEq, Debug)]
pub struct Decision<R> {
    /// One batch: all of them or none. Empty when nothing changes.
    pub records: Vec<MetadataRecord>,
    pub response: R,
}

/// Where topic ids come from: random in a broker, counted in the simulator. Never an id in use.
pub type NewId<'a> = &'a mut dyn FnMut() -> Uuid;

/// Why a part of a request is refused: the code, and the text beside it where Kafka gives one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    pub code: ErrorCode,
    pub message: Option<String>,
}

impl Refusal {
    /// A code with a text.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Refusal {
        Refusal { code, message: Some(message.into()) }
    }

    /// A code alone.
    pub fn bare(code: ErrorCode) -> Refusal {
        Refusal { code, message: None }
    }
}

/// Text of a name that stands twice in one request.
const DUPLICATE_TOPIC_NAME: &str = "Duplicate topic name.";
/// Text of a request that asks for more partitions than one request may.
const TOO_MANY_PARTITIONS: &str = "Excessively large number of partitions per request.";
/// Text of a decision that does not fit one batch.
const TOO_LARGE_BATCH: &str = "Unable to perform excessively large batch operation.";

#[cfg(test)]
mod describe_golden_tests;
#[cfg(test)]
mod golden_tests;
#[cfg(test)]
mod tests;
