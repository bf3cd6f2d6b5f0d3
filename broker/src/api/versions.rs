//! ApiVersions: what this broker serves (KIP-35, KIP-511, KIP-584).
//!
//! The content is `image::describe`'s. A version this broker does not know is answered in version 0
//! with UNSUPPORTED_VERSION; the response header is always version 0.

use protocol::messages::ApiVersionsRequest;

use super::served;
use crate::image::describe::{self, ApiRange};
use crate::shard::Shard;
use crate::shard::op::RequestTag;

/// Features of the cluster and the level they are at.
pub const FINALIZED_FEATURES: &[(&str, i16)] = &[
    ("group.version", 1),
    ("kraft.version", 1),
    ("metadata.version", 30),
    ("transaction.version", 2),
];

/// Takes an ApiVersions request of any version.
pub fn handle(shard: &mut Shard, tag: RequestTag, is_served: bool, body: &[u8]) {
    if !is_served {
        let response = describe::api_versions::unsupported_version();
        shard.reply::<ApiVersionsRequest>(RequestTag { version: 0, ..tag }, &response);
        return;
    }
    let Some(request) = shard.decode::<ApiVersionsRequest>(tag, body) else { return };
    let apis: Vec<ApiRange> = served::advertised()
        .map(|(key, versions)| ApiRange { key: key.code(), min: versions.min, max: versions.max })
        .collect();
    let response = describe::api_versions(&shard.image, &request, tag.version, &apis);
    shard.reply::<ApiVersionsRequest>(tag, &response);
}
