//! DescribeClientQuotas (key 48): lists quotas that match a filter.
//!
//! Rows only; what they mean is in the module `message`.
//! Source: the message definitions of Kafka 4.3.1.

crate::message! {
    /// Request: lists quotas that match a filter.
    pub struct DescribeClientQuotasRequest[versions(0, 1).flexible(1)] {
        components: Vec<ComponentData>, since(0);
        strict: bool, since(0);
    }

    /// Part of [`DescribeClientQuotasRequest`].
    pub struct ComponentData {
        entity_type: String, since(0);
        match_type: i8, since(0);
        r#match: Option<String> = Some(String::new()), since(0).nullable(0);
    }

    /// Response to [`DescribeClientQuotasRequest`].
    pub struct DescribeClientQuotasResponse[versions(0, 1).flexible(1)] {
        throttle_time_ms: i32, since(0);
        error_code: i16, since(0);
        error_message: Option<String> = Some(String::new()), since(0).nullable(0);
        entries: Option<Vec<EntryData>> = Some(Vec::new()), since(0).nullable(0);
    }

    /// Part of [`DescribeClientQuotasResponse`].
    pub struct EntryData {
        entity: Vec<EntityData>, since(0);
        values: Vec<ValueData>, since(0);
    }

    /// Part of [`DescribeClientQuotasResponse`].
    pub struct EntityData {
        entity_type: String, since(0);
        entity_name: Option<String> = Some(String::new()), since(0).nullable(0);
    }

    /// Part of [`DescribeClientQuotasResponse`].
    pub struct ValueData {
        key: String, since(0);
        value: f64, since(0);
    }
}
