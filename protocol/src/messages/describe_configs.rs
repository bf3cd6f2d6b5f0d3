//! DescribeConfigs (key 32): shows configuration values and where they come from.
//!
//! Rows only; what they mean is in the module `message`.
//! Source: the message definitions of Kafka 4.3.1.

crate::message! {
    /// Request: shows configuration values and where they come from.
    pub struct DescribeConfigsRequest[versions(1, 4).flexible(4)] {
        resources: Vec<DescribeConfigsResource>, since(0);
        include_synonyms: bool, since(1);
        include_documentation: bool, since(3);
    }

    /// Part of [`DescribeConfigsRequest`].
    pub struct DescribeConfigsResource {
        resource_type: i8, since(0);
        resource_name: String, since(0);
        configuration_keys: Option<Vec<String>> = Some(Vec::new()), since(0).nullable(0);
    }

    /// Response to [`DescribeConfigsRequest`].
    pub struct DescribeConfigsResponse[versions(1, 4).flexible(4)] {
        throttle_time_ms: i32, since(0);
        results: Vec<DescribeConfigsResult>, since(0);
    }

    /// Part of [`DescribeConfigsResponse`].
    pub struct DescribeConfigsResult {
        error_code: i16, since(0);
        error_message: Option<String> = Some(String::new()), since(0).nullable(0);
        resource_type: i8, since(0);
        resource_name: String, since(0);
        configs: Vec<DescribeConfigsResourceResult>, since(0);
    }

    /// Part of [`DescribeConfigsResponse`].
    pub struct DescribeConfigsResourceResult {
        name: String, since(0);
        value: Option<String> = Some(String::new()), since(0).nullable(0);
        read_only: bool, since(0);
        config_source: i8 = -1, since(1).ignorable();
        is_sensitive: bool, since(0);
        synonyms: Vec<DescribeConfigsSynonym>, since(1).ignorable();
        config_type: i8, since(3).ignorable();
        documentation: Option<String> = Some(String::new()), since(3).nullable(0).ignorable();
    }

    /// Part of [`DescribeConfigsResponse`].
    pub struct DescribeConfigsSynonym {
        name: String, since(1);
        value: Option<String> = Some(String::new()), since(1).nullable(0);
        source: i8, since(1);
    }
}
