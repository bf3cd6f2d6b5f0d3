//! ApiVersions: what this broker serves, and which features the cluster has.
//!
//! Pure. The ranges come in as a table, so that nothing is advertised that nobody serves. An
//! unknown version of the request is answered in version 0's body with UNSUPPORTED_VERSION (35) and
//! one key. Source: Kafka 4.3.1's answers; KAFKA-17011 for features from 0.

use protocol::ErrorCode;
use protocol::messages::api_versions::{
    ApiVersion, ApiVersionsRequest, ApiVersionsResponse, FinalizedFeatureKey, SupportedFeatureKey,
};

use crate::image::Image;

/// Versions of one API that are served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ApiRange {
    pub key: i16,
    pub min: i16,
    pub max: i16,
}

/// A feature and the levels this broker can work at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Feature {
    pub name: &'static str,
    pub min: i16,
    pub max: i16,
}

/// Features this broker knows. Those of protocols it does not serve are left out: a client that
/// sees one relies on what it stands for.
pub const FEATURES: &[Feature] = &[
    Feature { name: "group.version", min: 0, max: 1 },
    Feature { name: "kraft.version", min: 0, max: 1 },
    Feature { name: "metadata.version", min: 7, max: 30 },
    Feature { name: "streams.version", min: 0, max: 1 },
    Feature { name: "transaction.version", min: 0, max: 2 },
];

/// Key of ApiVersions itself, and the versions of it that are served.
const API_VERSIONS: ApiRange = ApiRange { key: 18, min: 0, max: 4 };

/// Answers ApiVersions of a version this broker reads. `apis` in order of their keys.
pub fn api_versions(
    image: &Image,
    request: &ApiVersionsRequest,
    version: i16,
    apis: &[ApiRange],
) -> ApiVersionsResponse {
    if version >= 3
        && !(valid(&request.client_software_name) && valid(&request.client_software_version))
    {
        return ApiVersionsResponse {
            error_code: ErrorCode::InvalidRequest as i16,
            ..ApiVersionsResponse::default()
        };
    }
    let supported_features = FEATURES
        .iter()
        // Readers of versions below 4 fail on a lowest level of 0.
        .filter(|feature| version >= 4 || feature.min > 0)
        .map(|feature| SupportedFeatureKey {
            name: feature.name.to_string(),
            min_version: feature.min,
            max_version: feature.max,
        })
        .collect();
    let finalized_features = image
        .features()
        .iter()
        .map(|(name, level)| FinalizedFeatureKey {
            name: name.clone(),
            max_version_level: *level,
            min_version_level: *level,
        })
        .collect();
    ApiVersionsResponse {
        error_code: ErrorCode::None as i16,
        api_keys: apis.iter().map(api_version).collect(),
        throttle_time_ms: 0,
        supported_features,
        // Any number that does not step back: clients keep the features of the highest they saw.
        finalized_features_epoch: i64::try_from(image.epoch()).unwrap_or(i64::MAX),
        finalized_features,
        zk_migration_ready: false,
    }
}

/// The answer to a version of ApiVersions that this broker does not read: encode it as version 0.
pub fn unsupported_version() -> ApiVersionsResponse {
    ApiVersionsResponse {
        error_code: ErrorCode::UnsupportedVersion as i16,
        api_keys: vec![api_version(&API_VERSIONS)],
        ..ApiVersionsResponse::default()
    }
}

fn api_version(api: &ApiRange) -> ApiVersion {
    ApiVersion { api_key: api.key, min_version: api.min, max_version: api.max }
}

/// KIP-511: letters and digits, with `.` and `-` between them.
fn valid(word: &str) -> bool {
    let edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    edge(word.bytes().next())
        && edge(word.bytes().last())
        && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'))
}
