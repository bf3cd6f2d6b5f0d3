//! Client quotas as the metadata log holds them: an entity, and the rates set on it.
//!
//! Not what is enforced: `quota/` finds the quota that counts for a client. Source: KIP-546,
//! KIP-612; Kafka's `ClientQuotaEntity`.

use std::collections::BTreeMap;

/// Whom a part of an entity means.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum QuotaName {
    /// Everybody without an entry of his own.
    Default,
    Named(String),
}

impl QuotaName {
    /// From the wire, where null is the default.
    pub fn from_wire(name: Option<String>) -> QuotaName {
        name.map_or(QuotaName::Default, QuotaName::Named)
    }

    /// The name, unless it is the default.
    pub fn name(&self) -> Option<&str> {
        match self {
            QuotaName::Default => None,
            QuotaName::Named(name) => Some(name),
        }
    }
}

/// What a quota is set on: a user, a client id, both together, or an address.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct QuotaEntity {
    pub client_id: Option<QuotaName>,
    pub user: Option<QuotaName>,
    pub ip: Option<QuotaName>,
}

/// Kafka's names of the parts of an entity.
pub const CLIENT_ID: &str = "client-id";
pub const USER: &str = "user";
pub const IP: &str = "ip";

impl QuotaEntity {
    /// The parts that are there, by their type, in the order in which Kafka answers.
    pub fn parts(&self) -> impl Iterator<Item = (&'static str, &QuotaName)> {
        [(CLIENT_ID, &self.client_id), (USER, &self.user), (IP, &self.ip)]
            .into_iter()
            .filter_map(|(kind, name)| Some((kind, name.as_ref()?)))
    }

    /// The part of this type; `None` when there is no such type.
    pub fn part_mut(&mut self, kind: &str) -> Option<&mut Option<QuotaName>> {
        match kind {
            CLIENT_ID => Some(&mut self.client_id),
            USER => Some(&mut self.user),
            IP => Some(&mut self.ip),
            _ => None,
        }
    }
}

/// Rates by key.
pub type QuotaValues = BTreeMap<String, f64>;

/// All quotas of the cluster.
pub type Quotas = BTreeMap<QuotaEntity, QuotaValues>;
