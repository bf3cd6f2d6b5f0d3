//! ApiVersions: what this broker serves (KIP-35, KIP-511, KIP-584).
//!
//! A version this broker does not know is answered in version 0 with UNSUPPORTED_VERSION and the one key
//! the client needs to try again. The response header is always version 0.

use protocol::api::ApiKey;
use protocol::error_code::ErrorCode;
use protocol::messages::api_versions::{
    ApiVersion, ApiVersionsRequest, ApiVersionsResponse, FinalizedFeatureKey, SupportedFeatureKey,
};

use super::served;
use crate::shard::Shard;
use crate::shard::op::RequestTag;

/// Features of the cluster a client may ask about, and the level they are at. `transaction.version` and
/// the group protocols beyond `classic` are not served, so not listed.
pub const FINALIZED_FEATURES: &[(&str, i16)] = &[("metadata.version", 30)];

/// Lowest and highest level this broker supports.
const SUPPORTED_FEATURES: &[(&str, i16, i16)] = &[("metadata.version", 7, 30)];

/// Takes an ApiVersions request of any version.
pub fn handle(shard: &mut Shard, tag: RequestTag, is_served: bool, body: &[u8]) {
    if !is_served {
        let range = served::range(ApiKey::ApiVersions).expect("ApiVersions is served");
        let response = ApiVersionsResponse {
            error_code: ErrorCode::UnsupportedVersion.code(),
            api_keys: vec![ApiVersion {
                api_key: ApiKey::ApiVersions.code(),
                min_version: range.min,
                max_version: range.max,
            }],
            ..ApiVersionsResponse::default()
        };
        shard.reply::<ApiVersionsRequest>(RequestTag { version: 0, ..tag }, &response);
        return;
    }
    let Some(request) = shard.decode::<ApiVersionsRequest>(tag, body) else { return };
    if tag.version >= 3
        && !(valid_software(&request.client_software_name)
            && valid_software(&request.client_software_version))
    {
        let response = ApiVersionsResponse {
            error_code: ErrorCode::InvalidRequest.code(),
            ..ApiVersionsResponse::default()
        };
        shard.reply::<ApiVersionsRequest>(tag, &response);
        return;
    }
    let api_keys = served::advertised()
        .map(|(key, versions)| ApiVersion {
            api_key: key.code(),
            min_version: versions.min,
            max_version: versions.max,
        })
        .collect();
    let response = ApiVersionsResponse {
        error_code: 0,
        api_keys,
        throttle_time_ms: 0,
        supported_features: SUPPORTED_FEATURES
            .iter()
            // KAFKA-17011: clients before v4 fail on a minimum of 0.
            .filter(|(_, min, _)| tag.version >= 4 || *min > 0)
            .map(|(name, min, max)| SupportedFeatureKey {
                name: (*name).to_owned(),
                min_version: *min,
                max_version: *max,
            })
            .collect(),
        finalized_features_epoch: shard.image_epoch(),
        finalized_features: FINALIZED_FEATURES
            .iter()
            .map(|(name, level)| FinalizedFeatureKey {
                name: (*name).to_owned(),
                max_version_level: *level,
                min_version_level: *level,
            })
            .collect(),
        zk_migration_ready: false,
    };
    shard.reply::<ApiVersionsRequest>(tag, &response);
}

/// KIP-511: letters, digits, dots and dashes, beginning and ending with a letter or digit.
fn valid_software(text: &str) -> bool {
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    ends(text.chars().next())
        && ends(text.chars().last())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-')
}
