//! CreateAcls (key 30): adds access rules.
//!
//! Rows only; what they mean is in the module `message`.
//! Source: the message definitions of Kafka 4.3.1.

crate::message! {
    /// Request: adds access rules.
    pub struct CreateAclsRequest[versions(1, 3).flexible(2)] {
        creations: Vec<AclCreation>, since(0);
    }

    /// Part of [`CreateAclsRequest`].
    pub struct AclCreation {
        resource_type: i8, since(0);
        resource_name: String, since(0);
        resource_pattern_type: i8 = 3, since(1);
        principal: String, since(0);
        host: String, since(0);
        operation: i8, since(0);
        permission_type: i8, since(0);
    }

    /// Response to [`CreateAclsRequest`].
    pub struct CreateAclsResponse[versions(1, 3).flexible(2)] {
        throttle_time_ms: i32, since(0);
        results: Vec<AclCreationResult>, since(0);
    }

    /// Part of [`CreateAclsResponse`].
    pub struct AclCreationResult {
        error_code: i16, since(0);
        error_message: Option<String> = Some(String::new()), since(0).nullable(0);
    }
}
