//! Client quotas: AlterClientQuotas decides records, DescribeClientQuotas reads the image.
//!
//! Pure; see `mod.rs`. What the quotas do is in `quota/` and `shard/quotas.rs`. Source: KIP-546,
//! KIP-612, KIP-599; Kafka 4.3.1, asked.

use std::collections::BTreeMap;
use std::net::IpAddr;

use protocol::ErrorCode;
use protocol::messages::alter_client_quotas::{
    AlterClientQuotasRequest, AlterClientQuotasResponse, EntityData, EntryData, OpData,
    ResponseEntityData, ResponseEntryData,
};
use protocol::messages::describe_client_quotas::{
    DescribeClientQuotasRequest, DescribeClientQuotasResponse, EntityData as DescribedEntity,
    EntryData as DescribedEntry, ValueData,
};

use super::limits::{QUOTA_ENTITIES_MAX, QUOTA_NAME_BYTES_MAX, RECORDS_PER_DECISION_MAX};
use super::{Decision, Refusal};
use crate::image::quota::{CLIENT_ID, IP, USER};
use crate::image::record::{ClientQuotaRecord, QuotaPart};
use crate::image::{Image, MetadataRecord, QuotaEntity, QuotaName};
use crate::quota::key::QuotaKey;

/// Decides an AlterClientQuotas request. Each entity is decided by itself.
pub fn decide_alter_client_quotas(
    image: &Image,
    request: &AlterClientQuotasRequest,
) -> Decision<AlterClientQuotasResponse> {
    let mut records = Vec::new();
    let mut answers: BTreeMap<Vec<(String, Option<String>)>, Refusal> = BTreeMap::new();
    let mut added = 0;
    for entry in &request.entries {
        let named = named(&entry.entity);
        if let Some(first) = answers.get_mut(&named) {
            // What the first said is done all the same, as with Kafka.
            *first = duplicate(&named);
            continue;
        }
        let refusal = match alter(image, entry, &named, records.len(), added) {
            Ok(changed) => {
                if let Some(MetadataRecord::ClientQuota(record)) = changed.first() {
                    let known =
                        image.quotas().keys().any(|entity| parts_of(entity) == record.entity);
                    added += usize::from(!known);
                }
                records.extend(changed);
                Refusal::bare(ErrorCode::None)
            }
            Err(refusal) => refusal,
        };
        answers.insert(named, refusal);
    }
    if request.validate_only {
        records.clear();
    }
    let entries = answers.into_iter().map(|(entity, refusal)| ResponseEntryData {
        error_code: refusal.code as i16,
        error_message: refusal.message,
        entity: entity
            .into_iter()
            .map(|(entity_type, entity_name)| ResponseEntityData { entity_type, entity_name })
            .collect(),
    });
    let response = AlterClientQuotasResponse { throttle_time_ms: 0, entries: entries.collect() };
    Decision { records, response }
}

/// An entity's parts: each type once, the last counts, in the order in which Kafka answers.
fn named(entity: &[EntityData]) -> Vec<(String, Option<String>)> {
    let place = |kind: &str| match kind {
        CLIENT_ID => 0,
        USER => 1,
        IP => 2,
        _ => 3,
    };
    let parts: BTreeMap<(u8, String), Option<String>> = entity
        .iter()
        .map(|part| {
            ((place(&part.entity_type), part.entity_type.clone()), part.entity_name.clone())
        })
        .collect();
    parts.into_iter().map(|((_, kind), name)| (kind, name)).collect()
}

fn duplicate(named: &[(String, Option<String>)]) -> Refusal {
    let parts: Vec<String> = named
        .iter()
        .map(|(kind, name)| format!("{kind}={}", name.as_deref().unwrap_or("null")))
        .collect();
    let parts = parts.join(", ");
    let why = format!("Ignoring duplicate entity ClientQuotaEntity(entries={{{parts}}})");
    Refusal::new(ErrorCode::InvalidRequest, why)
}

fn alter(
    image: &Image,
    entry: &EntryData,
    named: &[(String, Option<String>)],
    records_before: usize,
    added_before: usize,
) -> Result<Vec<MetadataRecord>, Refusal> {
    let mut keys: Vec<&str> = entry.ops.iter().map(|op| op.key.as_str()).collect();
    keys.sort_unstable();
    if keys.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(duplicate(named));
    }
    let entity = entity_of(named)?;
    let current = image.quotas().get(&entity);
    let mut records = Vec::new();
    for op in &entry.ops {
        let set = current.and_then(|values| values.get(&op.key)).copied();
        if op.remove {
            if set.is_some() {
                records.push(record(&entity, &op.key, None));
            }
            continue;
        }
        check_value(&entity, op)?;
        if set != Some(op.value) {
            records.push(record(&entity, &op.key, Some(op.value)));
        }
    }
    let policy = |why: &str| Err(Refusal::new(ErrorCode::PolicyViolation, why));
    if records_before + records.len() > RECORDS_PER_DECISION_MAX {
        return policy("Unable to perform excessively large batch operation.");
    }
    let adds = current.is_none() && entry.ops.iter().any(|op| !op.remove);
    if adds && image.quotas().len() + added_before >= QUOTA_ENTITIES_MAX {
        return policy("The cluster has as many quota entities as it can hold.");
    }
    Ok(records)
}

fn entity_of(named: &[(String, Option<String>)]) -> Result<QuotaEntity, Refusal> {
    let request = |why: String| Err(Refusal::new(ErrorCode::InvalidRequest, why));
    if named.is_empty() {
        return request("Invalid empty client quota entity".into());
    }
    let mut entity = QuotaEntity::default();
    for (kind, name) in named {
        let Some(place) = entity.part_mut(kind) else {
            return request(format!("Unhandled client quota entity type: {kind}"));
        };
        if name.as_deref() == Some("") {
            return request(format!("Empty {kind} not supported"));
        }
        if name.as_ref().is_some_and(|name| name.len() > QUOTA_NAME_BYTES_MAX) {
            return request(format!("A {kind} has at most {QUOTA_NAME_BYTES_MAX} bytes."));
        }
        *place = Some(QuotaName::from_wire(name.clone()));
    }
    if entity.ip.is_some() && (entity.user.is_some() || entity.client_id.is_some()) {
        return request(
            "Invalid quota entity combination, IP entity shouldnot be combined with User or \
             ClientId"
                .into(),
        );
    }
    if let Some(QuotaName::Named(ip)) = &entity.ip
        && address(ip).is_none()
    {
        return request(format!("{ip} is not a valid IP or resolvable host."));
    }
    Ok(entity)
}

/// The address a quota's `ip` means. Names are not looked up: a decision needs nothing outside.
pub fn address(text: &str) -> Option<IpAddr> {
    if text == "localhost" {
        return Some(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));
    }
    text.parse().ok()
}

fn check_value(entity: &QuotaEntity, op: &OpData) -> Result<(), Refusal> {
    let request = |why: String| Err(Refusal::new(ErrorCode::InvalidRequest, why));
    let known =
        QuotaKey::from_name(&op.key).filter(|key| key.of_addresses() == entity.ip.is_some());
    let Some(key) = known else {
        return request(format!("Invalid configuration key {}", op.key));
    };
    // Kafka takes NaN and treats it as no bound.
    if op.value.is_nan() || op.value <= 0.0 {
        return request(format!("Quota {} must be greater than 0", op.key));
    }
    let Some((max, kind)) = key.whole_number_max() else { return Ok(()) };
    if op.value > max {
        return request(format!("Proposed value for {} is too large for {kind}.", op.key));
    }
    // Kafka's tolerance for what arithmetic made of a whole number.
    if (op.value - op.value.round()).abs() > 1e-6 {
        return request(format!("{} cannot be a fractional value.", op.key));
    }
    Ok(())
}

fn parts_of(entity: &QuotaEntity) -> Vec<QuotaPart> {
    let part = |(kind, name): (&str, &QuotaName)| QuotaPart {
        kind: kind.to_owned(),
        name: name.name().map(str::to_owned),
    };
    entity.parts().map(part).collect()
}

fn record(entity: &QuotaEntity, key: &str, value: Option<f64>) -> MetadataRecord {
    MetadataRecord::ClientQuota(ClientQuotaRecord {
        entity: parts_of(entity),
        key: key.to_owned(),
        value: value.unwrap_or(0.0),
        remove: value.is_none(),
    })
}

/// How a filter's component matches a part of an entity.
enum Match<'a> {
    Exact(&'a str),
    Default,
    Any,
}

/// Answers DescribeClientQuotas.
pub fn describe_client_quotas(
    image: &Image,
    request: &DescribeClientQuotasRequest,
) -> DescribeClientQuotasResponse {
    let filter = match filter_of(request) {
        Ok(filter) => filter,
        Err(refusal) => {
            return DescribeClientQuotasResponse {
                throttle_time_ms: 0,
                error_code: refusal.code as i16,
                error_message: refusal.message,
                entries: None,
            };
        }
    };
    let matches = |entity: &QuotaEntity| {
        let parts: BTreeMap<&str, &QuotaName> = entity.parts().collect();
        let all = filter.iter().all(|(kind, wanted)| {
            parts.get(kind).is_some_and(|name| match wanted {
                Match::Exact(exact) => name.name() == Some(exact),
                Match::Default => **name == QuotaName::Default,
                Match::Any => true,
            })
        });
        all && (!request.strict || parts.len() == filter.len())
    };
    let entries = image.quotas().iter().filter(|(entity, _)| matches(entity));
    let entries = entries.map(|(entity, values)| DescribedEntry {
        entity: entity
            .parts()
            .map(|(kind, name)| DescribedEntity {
                entity_type: kind.to_owned(),
                entity_name: name.name().map(str::to_owned),
            })
            .collect(),
        values: values
            .iter()
            .map(|(key, value)| ValueData { key: key.clone(), value: *value })
            .collect(),
    });
    DescribeClientQuotasResponse {
        throttle_time_ms: 0,
        error_code: 0,
        error_message: Some(String::new()),
        entries: Some(entries.collect()),
    }
}

fn filter_of(request: &DescribeClientQuotasRequest) -> Result<BTreeMap<&str, Match<'_>>, Refusal> {
    let mut filter: BTreeMap<&str, Match<'_>> = BTreeMap::new();
    let refused = |why: String| Err(Refusal::new(ErrorCode::InvalidRequest, why));
    for component in &request.components {
        let kind = component.entity_type.as_str();
        if kind.is_empty() {
            return refused("Invalid empty entity type.".into());
        }
        if filter.contains_key(kind) {
            return refused(format!(
                "Entity type {kind} cannot appear more than once in the filter."
            ));
        }
        if !matches!(kind, USER | CLIENT_ID | IP) {
            let why = format!("Unsupported entity type {kind}");
            return Err(Refusal::new(ErrorCode::UnsupportedVersion, why));
        }
        let also = |name: &str| {
            refused(format!("Request specified {name}, but also specified a match string."))
        };
        let wanted = match (component.match_type, component.r#match.as_deref()) {
            (0, Some(exact)) => Match::Exact(exact),
            (0, None) => {
                let why = "Request specified MATCH_TYPE_EXACT, but set match string to null.";
                return refused(why.into());
            }
            (1, None) => Match::Default,
            (1, Some(_)) => return also("MATCH_TYPE_DEFAULT"),
            (2, None) => Match::Any,
            (2, Some(_)) => return also("MATCH_TYPE_SPECIFIED"),
            (other, _) => return refused(format!("Unknown match type {other}")),
        };
        filter.insert(kind, wanted);
    }
    if filter.contains_key(IP) && filter.len() > 1 {
        return refused(
            "Invalid entity filter component combination. IP filter component should not be used \
             with user or clientId filter component."
                .into(),
        );
    }
    Ok(filter)
}
