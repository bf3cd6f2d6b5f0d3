//! ListConfigResources (key 74): lists what can have a configuration.
//!
//! Rows only; what they mean is in the module `message`.
//! Source: the message definitions of Kafka 4.3.1.

crate::message! {
    /// Request: lists what can have a configuration.
    pub struct ListConfigResourcesRequest[versions(0, 1).flexible(0)] {
        resource_types: Vec<i8>, since(1);
    }

    /// Response to [`ListConfigResourcesRequest`].
    pub struct ListConfigResourcesResponse[versions(0, 1).flexible(0)] {
        throttle_time_ms: i32, since(0);
        error_code: i16, since(0);
        config_resources: Vec<ConfigResource>, since(0);
    }

    /// Part of [`ListConfigResourcesResponse`].
    pub struct ConfigResource {
        resource_name: String, since(0);
        resource_type: i8 = 16, since(1).ignorable();
    }
}
