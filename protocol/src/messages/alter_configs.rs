//! AlterConfigs (key 33): replaces the whole dynamic configuration of resources.
//!
//! Rows only; what they mean is in the module `message`.
//! Source: the message definitions of Kafka 4.3.1.

crate::message! {
    /// Request: replaces the whole dynamic configuration of resources.
    pub struct AlterConfigsRequest[versions(0, 2).flexible(2)] {
        resources: Vec<AlterConfigsResource>, since(0);
        validate_only: bool, since(0);
    }

    /// Part of [`AlterConfigsRequest`].
    pub struct AlterConfigsResource {
        resource_type: i8, since(0);
        resource_name: String, since(0);
        configs: Vec<AlterableConfig>, since(0);
    }

    /// Part of [`AlterConfigsRequest`].
    pub struct AlterableConfig {
        name: String, since(0);
        value: Option<String> = Some(String::new()), since(0).nullable(0);
    }

    /// Response to [`AlterConfigsRequest`].
    pub struct AlterConfigsResponse[versions(0, 2).flexible(2)] {
        throttle_time_ms: i32, since(0);
        responses: Vec<AlterConfigsResourceResponse>, since(0);
    }

    /// Part of [`AlterConfigsResponse`].
    pub struct AlterConfigsResourceResponse {
        error_code: i16, since(0);
        error_message: Option<String> = Some(String::new()), since(0).nullable(0);
        resource_type: i8, since(0);
        resource_name: String, since(0);
    }
}
