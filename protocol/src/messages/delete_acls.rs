//! DeleteAcls (key 31): removes access rules that match a filter.
//!
//! Rows only; what they mean is in the module `message`.
//! Source: the message definitions of Kafka 4.3.1.

crate::message! {
    /// Request: removes access rules that match a filter.
    pub struct DeleteAclsRequest[versions(1, 3).flexible(2)] {
        filters: Vec<DeleteAclsFilter>, since(0);
    }

    /// Part of [`DeleteAclsRequest`].
    pub struct DeleteAclsFilter {
        resource_type_filter: i8, since(0);
        resource_name_filter: Option<String> = Some(String::new()), since(0).nullable(0);
        pattern_type_filter: i8 = 3, since(1);
        principal_filter: Option<String> = Some(String::new()), since(0).nullable(0);
        host_filter: Option<String> = Some(String::new()), since(0).nullable(0);
        operation: i8, since(0);
        permission_type: i8, since(0);
    }

    /// Response to [`DeleteAclsRequest`].
    pub struct DeleteAclsResponse[versions(1, 3).flexible(2)] {
        throttle_time_ms: i32, since(0);
        filter_results: Vec<DeleteAclsFilterResult>, since(0);
    }

    /// Part of [`DeleteAclsResponse`].
    pub struct DeleteAclsFilterResult {
        error_code: i16, since(0);
        error_message: Option<String> = Some(String::new()), since(0).nullable(0);
        matching_acls: Vec<DeleteAclsMatchingAcl>, since(0);
    }

    /// Part of [`DeleteAclsResponse`].
    pub struct DeleteAclsMatchingAcl {
        error_code: i16, since(0);
        error_message: Option<String> = Some(String::new()), since(0).nullable(0);
        resource_type: i8, since(0);
        resource_name: String, since(0);
        pattern_type: i8 = 3, since(1);
        principal: String, since(0);
        host: String, since(0);
        operation: i8, since(0);
        permission_type: i8, since(0);
    }
}
