//! ApiVersions (key 18): says which requests a broker understands, and in which versions.
//!
//! Rows only; what they mean is in the module `message`.
//! Source: the message definitions of Kafka 4.3.1.

crate::message! {
    /// Request: says which requests a broker understands, and in which versions.
    pub struct ApiVersionsRequest[versions(0, 4).flexible(3)] {
        client_software_name: String, since(3).ignorable();
        client_software_version: String, since(3).ignorable();
    }

    /// Response to [`ApiVersionsRequest`].
    pub struct ApiVersionsResponse[versions(0, 4).flexible(3)] {
        error_code: i16, since(0);
        api_keys: Vec<ApiVersion>, since(0);
        throttle_time_ms: i32, since(1).ignorable();
        supported_features: Vec<SupportedFeatureKey>, since(3).tag(0).ignorable();
        finalized_features_epoch: i64 = -1, since(3).tag(1).ignorable();
        finalized_features: Vec<FinalizedFeatureKey>, since(3).tag(2).ignorable();
        zk_migration_ready: bool, since(3).tag(3).ignorable();
    }

    /// Part of [`ApiVersionsResponse`].
    pub struct ApiVersion {
        api_key: i16, since(0);
        min_version: i16, since(0);
        max_version: i16, since(0);
    }

    /// Part of [`ApiVersionsResponse`].
    pub struct SupportedFeatureKey {
        name: String, since(3);
        min_version: i16, since(3);
        max_version: i16, since(3);
    }

    /// Part of [`ApiVersionsResponse`].
    pub struct FinalizedFeatureKey {
        name: String, since(3);
        max_version_level: i16, since(3);
        min_version_level: i16, since(3);
    }
}
