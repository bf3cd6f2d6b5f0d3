//! What one request may change of the metadata, by its client's `controller_mutation_rate`.
//!
//! Pure; see `mod.rs`. Each partition that is created or deleted takes a token. A strict request is
//! refused with THROTTLING_QUOTA_EXCEEDED (89) while tokens are owed, topic by topic; one of an
//! older version is served, and waits for as long. Source: KIP-599.

use protocol::ErrorCode;

use super::Refusal;
use crate::quota::{Bucket, Owner, Window};

/// See the module.
#[derive(Clone, Debug)]
pub struct MutationQuota {
    of: Option<Limited>,
    throttle_ns: u64,
}

#[derive(Clone, Debug)]
struct Limited {
    owner: Owner,
    bucket: Bucket,
    limit: f64,
    window: Window,
    strict: bool,
    now_ns: u64,
}

impl MutationQuota {
    /// No quota: nothing is counted.
    pub fn unlimited() -> MutationQuota {
        MutationQuota { of: None, throttle_ns: 0 }
    }

    /// A quota of `limit` partitions per second, of which the bucket says what is left.
    pub fn new(
        owner: Owner,
        bucket: Bucket,
        limit: f64,
        window: Window,
        strict: bool,
        now_ns: u64,
    ) -> MutationQuota {
        let of = Limited { owner, bucket, limit, window, strict, now_ns };
        MutationQuota { of: Some(of), throttle_ns: 0 }
    }

    /// Takes a token for each partition, or refuses.
    pub(super) fn take(&mut self, partitions: usize) -> Result<(), Refusal> {
        let Some(of) = &mut self.of else { return Ok(()) };
        if of.strict {
            let throttle_ns = of.bucket.throttle_ns(of.window, of.limit, of.now_ns);
            if throttle_ns > 0 {
                self.throttle_ns = throttle_ns;
                return Err(Refusal::bare(ErrorCode::ThrottlingQuotaExceeded));
            }
        }
        of.bucket.take(of.limit, partitions as f64, of.now_ns);
        if !of.strict {
            self.throttle_ns = of.bucket.throttle_ns(of.window, of.limit, of.now_ns);
        }
        Ok(())
    }

    /// How long the client waits, in milliseconds.
    pub(super) fn throttle_ms(&self) -> i32 {
        i32::try_from(self.throttle_ns.div_ceil(1_000_000)).unwrap_or(i32::MAX)
    }

    /// Whose bucket it was, and what is left in it.
    pub fn into_bucket(self) -> Option<(Owner, Bucket)> {
        self.of.map(|of| (of.owner, of.bucket))
    }
}
