//! ACL, SASL and delegation token requests, answered as Kafka answers them without security: there
//! is no authorizer, and a connection is nobody in particular.
//!
//! SCRAM credentials are metadata and are kept: `controller/scram.rs`. Source: Kafka 4.3.1, asked.

use protocol::error_code::ErrorCode;
use protocol::messages::create_acls::AclCreationResult;
use protocol::messages::delete_acls::DeleteAclsFilterResult;
use protocol::messages::{
    CreateAclsRequest, CreateAclsResponse, CreateDelegationTokenRequest,
    CreateDelegationTokenResponse, DeleteAclsRequest, DeleteAclsResponse, DescribeAclsRequest,
    DescribeAclsResponse, DescribeDelegationTokenRequest, DescribeDelegationTokenResponse,
    ExpireDelegationTokenRequest, ExpireDelegationTokenResponse, RenewDelegationTokenRequest,
    RenewDelegationTokenResponse, SaslAuthenticateRequest, SaslAuthenticateResponse,
    SaslHandshakeRequest, SaslHandshakeResponse,
};

use crate::shard::Shard;
use crate::shard::op::RequestTag;

/// Who everybody is without authentication.
const PRINCIPAL_TYPE: &str = "User";
/// The name of a user that did not authenticate. Quotas of users go by it, too.
pub const ANONYMOUS: &str = "ANONYMOUS";

const NO_AUTHORIZER: &str = "No Authorizer is configured.";
/// What Kafka's clients never send; it closes the connection.
const UNKNOWN_ELEMENT: &str = "an ACL request with an unknown element";

/// Takes a DescribeAcls request.
pub fn handle_describe_acls(shard: &mut Shard, tag: RequestTag, body: &[u8]) {
    let Some(filter) = shard.decode::<DescribeAclsRequest>(tag, body) else { return };
    let parts = [
        filter.resource_type_filter,
        filter.pattern_type_filter,
        filter.operation,
        filter.permission_type,
    ];
    if parts.contains(&0) {
        return shard.close(tag.slot.conn, Some(UNKNOWN_ELEMENT));
    }
    let response = DescribeAclsResponse {
        throttle_time_ms: 0,
        error_code: ErrorCode::SecurityDisabled.code(),
        error_message: Some("No Authorizer is configured on the broker".to_owned()),
        resources: Vec::new(),
    };
    shard.reply::<DescribeAclsRequest>(tag, &response);
}

/// Takes a CreateAcls request.
pub fn handle_create_acls(shard: &mut Shard, tag: RequestTag, body: &[u8]) {
    let Some(request) = shard.decode::<CreateAclsRequest>(tag, body) else { return };
    let unknown = request.creations.iter().any(|acl| {
        let parts =
            [acl.resource_type, acl.resource_pattern_type, acl.operation, acl.permission_type];
        parts.contains(&0)
    });
    if unknown {
        return shard.close(tag.slot.conn, Some(UNKNOWN_ELEMENT));
    }
    let results = request.creations.iter().map(|_| AclCreationResult {
        error_code: ErrorCode::SecurityDisabled.code(),
        error_message: Some(NO_AUTHORIZER.to_owned()),
    });
    let response = CreateAclsResponse { throttle_time_ms: 0, results: results.collect() };
    shard.reply::<CreateAclsRequest>(tag, &response);
}

/// Takes a DeleteAcls request.
pub fn handle_delete_acls(shard: &mut Shard, tag: RequestTag, body: &[u8]) {
    let Some(request) = shard.decode::<DeleteAclsRequest>(tag, body) else { return };
    let unknown = request.filters.iter().any(|filter| {
        let parts = [
            filter.resource_type_filter,
            filter.pattern_type_filter,
            filter.operation,
            filter.permission_type,
        ];
        parts.contains(&0)
    });
    if unknown {
        return shard.close(tag.slot.conn, Some(UNKNOWN_ELEMENT));
    }
    let results = request.filters.iter().map(|_| DeleteAclsFilterResult {
        error_code: ErrorCode::SecurityDisabled.code(),
        error_message: Some(NO_AUTHORIZER.to_owned()),
        matching_acls: Vec::new(),
    });
    let response = DeleteAclsResponse { throttle_time_ms: 0, filter_results: results.collect() };
    shard.reply::<DeleteAclsRequest>(tag, &response);
}

/// Takes a SaslHandshake request, which comes too late on a listener that asks for none.
pub fn handle_handshake(shard: &mut Shard, tag: RequestTag, body: &[u8]) {
    if shard.decode::<SaslHandshakeRequest>(tag, body).is_none() {
        return;
    }
    let response = SaslHandshakeResponse {
        error_code: ErrorCode::IllegalSaslState.code(),
        mechanisms: Vec::new(),
    };
    shard.reply::<SaslHandshakeRequest>(tag, &response);
}

/// Takes a SaslAuthenticate request.
pub fn handle_authenticate(shard: &mut Shard, tag: RequestTag, body: &[u8]) {
    if shard.decode::<SaslAuthenticateRequest>(tag, body).is_none() {
        return;
    }
    let why = "SaslAuthenticate request received after successful authentication";
    let response = SaslAuthenticateResponse {
        error_code: ErrorCode::IllegalSaslState.code(),
        error_message: Some(why.to_owned()),
        ..SaslAuthenticateResponse::default()
    };
    shard.reply::<SaslAuthenticateRequest>(tag, &response);
}

/// Takes a CreateDelegationToken request: only who authenticated may have a token.
pub fn handle_create_token(shard: &mut Shard, tag: RequestTag, body: &[u8]) {
    let Some(request) = shard.decode::<CreateDelegationTokenRequest>(tag, body) else { return };
    let of_version_3 = |text: &str| if tag.version >= 3 { text.to_owned() } else { String::new() };
    let owner = (request.owner_principal_type, request.owner_principal_name);
    let (kind, name) = match owner {
        (Some(kind), Some(name)) if tag.version >= 3 && !name.is_empty() => (kind, name),
        _ => (PRINCIPAL_TYPE.to_owned(), ANONYMOUS.to_owned()),
    };
    let response = CreateDelegationTokenResponse {
        error_code: ErrorCode::DelegationTokenRequestNotAllowed.code(),
        principal_type: kind,
        principal_name: name,
        token_requester_principal_type: of_version_3(PRINCIPAL_TYPE),
        token_requester_principal_name: of_version_3(ANONYMOUS),
        issue_timestamp_ms: -1,
        expiry_timestamp_ms: -1,
        max_timestamp_ms: -1,
        ..CreateDelegationTokenResponse::default()
    };
    shard.reply::<CreateDelegationTokenRequest>(tag, &response);
}

/// Takes a RenewDelegationToken request.
pub fn handle_renew_token(shard: &mut Shard, tag: RequestTag, body: &[u8]) {
    if shard.decode::<RenewDelegationTokenRequest>(tag, body).is_none() {
        return;
    }
    let response = RenewDelegationTokenResponse {
        error_code: ErrorCode::DelegationTokenRequestNotAllowed.code(),
        expiry_timestamp_ms: -1,
        throttle_time_ms: 0,
    };
    shard.reply::<RenewDelegationTokenRequest>(tag, &response);
}

/// Takes an ExpireDelegationToken request.
pub fn handle_expire_token(shard: &mut Shard, tag: RequestTag, body: &[u8]) {
    if shard.decode::<ExpireDelegationTokenRequest>(tag, body).is_none() {
        return;
    }
    let response = ExpireDelegationTokenResponse {
        error_code: ErrorCode::DelegationTokenRequestNotAllowed.code(),
        expiry_timestamp_ms: -1,
        throttle_time_ms: 0,
    };
    shard.reply::<ExpireDelegationTokenRequest>(tag, &response);
}

/// Takes a DescribeDelegationToken request.
pub fn handle_describe_tokens(shard: &mut Shard, tag: RequestTag, body: &[u8]) {
    if shard.decode::<DescribeDelegationTokenRequest>(tag, body).is_none() {
        return;
    }
    let response = DescribeDelegationTokenResponse {
        error_code: ErrorCode::DelegationTokenRequestNotAllowed.code(),
        tokens: Vec::new(),
        throttle_time_ms: 0,
    };
    shard.reply::<DescribeDelegationTokenRequest>(tag, &response);
}
