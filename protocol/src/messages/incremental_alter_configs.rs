//! IncrementalAlterConfigs (key 44): changes single configuration values.
//!
//! Rows only; what they mean is in the module `message`.
//! Source: the message definitions of Kafka 4.3.1.

crate::message! {
    /// Request: changes single configuration values.
    pub struct IncrementalAlterConfigsRequest[versions(0, 1).flexible(1)] {
        resources: Vec<AlterConfigsResource>, since(0);
        validate_only: bool, since(0);
    }

    /// Part of [`IncrementalAlterConfigsRequest`].
    pub struct AlterConfigsResource {
        resource_type: i8, since(0);
        resource_name: String, since(0);
        configs: Vec<AlterableConfig>, since(0);
    }

    /// Part of [`IncrementalAlterConfigsRequest`].
    pub struct AlterableConfig {
        name: String, since(0);
        config_operation: i8, since(0);
        value: Option<String> = Some(String::new()), since(0).nullable(0);
    }

    /// Response to [`IncrementalAlterConfigsRequest`].
    pub struct IncrementalAlterConfigsResponse[versions(0, 1).flexible(1)] {
        throttle_time_ms: i32, since(0);
        responses: Vec<AlterConfigsResourceResponse>, since(0);
    }

    /// Part of [`IncrementalAlterConfigsResponse`].
    pub struct AlterConfigsResourceResponse {
        error_code: i16, since(0);
        error_message: Option<String> = Some(String::new()), since(0).nullable(0);
        resource_type: i8, since(0);
        resource_name: String, since(0);
    }
}
