//! Client quotas that act: which one counts for a client, how much was used, how long to wait.
//!
//! Pure: time is an argument. `shard/quotas.rs` asks, answers `throttle_time_ms` and holds the
//! connection; the quotas themselves are in the image. Source: KIP-13, KIP-55, KIP-124, KIP-219,
//! KIP-599, KIP-612; the arithmetic is that of Kafka's `Rate` and `TokenBucket`.

pub mod accounts;
pub mod bucket;
pub mod key;
pub mod rate;
pub mod rules;

pub use accounts::{Accounts, Usage};
pub use bucket::Bucket;
pub use key::QuotaKey;
pub use rate::{Rate, Window};
pub use rules::{Owner, Rules};

#[cfg(test)]
mod tests;
