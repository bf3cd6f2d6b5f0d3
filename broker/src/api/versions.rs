//! ApiVersions: what this broker serves (KIP-35, KIP-511, KIP-584).
//!
//! The content is `image::describe`'s. A version this broker does not know is answered in version 0
//! with UNSUPPORTED_VERSION; the response header is always version 0.

use protocol::messages::ApiVersionsRequest;

use super::served;
use crate::image::describe::{self, ApiRange};
use crate::limits::CLIENT_SOFTWARE_BYTES_MAX;
use crate::shard::Shard;
use crate::shard::op::RequestTag;

/// Features of the cluster and the level they are at.
pub const FINALIZED_FEATURES: &[(&str, i16)] = &[
    ("group.version", 1),
    ("kraft.version", 1),
    ("metadata.version", 30),
    ("streams.version", 1),
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
    // Clients do not ask for what is not advertised.
    let telemetry = shard.broker.client_telemetry;
    let apis: Vec<ApiRange> = served::advertised()
        .filter(|(key, _)| telemetry || !served::is_telemetry(*key))
        .map(|(key, versions)| ApiRange { key: key.code(), min: versions.min, max: versions.max })
        .collect();
    let response = describe::api_versions(&shard.image, &request, tag.version, &apis);
    if tag.version >= 3
        && response.error_code == 0
        && let Some(connection) = shard.connections.get_mut(tag.slot.conn)
    {
        // Letters, digits, dots and dashes: the answer would be an error otherwise.
        let cut = |mut word: String| {
            word.truncate(CLIENT_SOFTWARE_BYTES_MAX);
            word
        };
        let (name, version) = (request.client_software_name, request.client_software_version);
        connection.software = Some(Box::new((cut(name), cut(version))));
    }
    shard.reply::<ApiVersionsRequest>(tag, &response);
}
