//! UpdateFeatures (key 57): changes finalized feature levels.
//!
//! Rows only; what they mean is in the module `message`.
//! Source: the message definitions of Kafka 4.3.1.

crate::message! {
    /// Request: changes finalized feature levels.
    pub struct UpdateFeaturesRequest[versions(0, 2).flexible(0)] {
        timeout_ms: i32 = 60_000, since(0);
        feature_updates: Vec<FeatureUpdateKey>, since(0);
        validate_only: bool, since(1);
    }

    /// Part of [`UpdateFeaturesRequest`].
    pub struct FeatureUpdateKey {
        feature: String, since(0);
        max_version_level: i16, since(0);
        allow_downgrade: bool, in_versions(0, 0);
        upgrade_type: i8 = 1, since(1);
    }

    /// Response to [`UpdateFeaturesRequest`].
    pub struct UpdateFeaturesResponse[versions(0, 2).flexible(0)] {
        throttle_time_ms: i32, since(0);
        error_code: i16, since(0);
        error_message: Option<String> = Some(String::new()), since(0).nullable(0);
        results: Vec<UpdatableFeatureResult>, in_versions(0, 1).ignorable();
    }

    /// Part of [`UpdateFeaturesResponse`].
    pub struct UpdatableFeatureResult {
        feature: String, since(0);
        error_code: i16, since(0);
        error_message: Option<String> = Some(String::new()), since(0).nullable(0);
    }
}
