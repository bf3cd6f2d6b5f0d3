//! AlterClientQuotas (key 49): changes quotas.
//!
//! Rows only; what they mean is in the module `message`.
//! Source: the message definitions of Kafka 4.3.1.

crate::message! {
    /// Request: changes quotas.
    pub struct AlterClientQuotasRequest[versions(0, 1).flexible(1)] {
        entries: Vec<EntryData>, since(0);
        validate_only: bool, since(0);
    }

    /// Part of [`AlterClientQuotasRequest`].
    pub struct EntryData {
        entity: Vec<EntityData>, since(0);
        ops: Vec<OpData>, since(0);
    }

    /// Part of [`AlterClientQuotasRequest`].
    pub struct EntityData {
        entity_type: String, since(0);
        entity_name: Option<String> = Some(String::new()), since(0).nullable(0);
    }

    /// Part of [`AlterClientQuotasRequest`].
    pub struct OpData {
        key: String, since(0);
        value: f64, since(0);
        remove: bool, since(0);
    }

    /// Response to [`AlterClientQuotasRequest`].
    pub struct AlterClientQuotasResponse[versions(0, 1).flexible(1)] {
        throttle_time_ms: i32, since(0);
        entries: Vec<ResponseEntryData>, since(0);
    }

    /// Part of [`AlterClientQuotasResponse`].
    /// `EntryData` in Kafka, a name the request has taken.
    pub struct ResponseEntryData {
        error_code: i16, since(0);
        error_message: Option<String> = Some(String::new()), since(0).nullable(0);
        entity: Vec<ResponseEntityData>, since(0);
    }

    /// Part of [`AlterClientQuotasResponse`].
    /// `EntityData` in Kafka, a name the request has taken.
    pub struct ResponseEntityData {
        entity_type: String, since(0);
        entity_name: Option<String> = Some(String::new()), since(0).nullable(0);
    }
}
