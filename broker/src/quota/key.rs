//! The quotas there are, by Kafka's names.

/// A quota.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum QuotaKey {
    /// Bytes of Produce requests per second.
    Produce,
    /// Bytes of Fetch answers per second.
    Fetch,
    /// Time that requests take, in percent of one core.
    Request,
    /// Partitions created and deleted per second.
    ControllerMutation,
    /// Connections per second, of an address.
    ConnectionCreation,
}

impl QuotaKey {
    /// By the name a client uses.
    pub fn from_name(name: &str) -> Option<QuotaKey> {
        match name {
            "producer_byte_rate" => Some(QuotaKey::Produce),
            "consumer_byte_rate" => Some(QuotaKey::Fetch),
            "request_percentage" => Some(QuotaKey::Request),
            "controller_mutation_rate" => Some(QuotaKey::ControllerMutation),
            "connection_creation_rate" => Some(QuotaKey::ConnectionCreation),
            _ => None,
        }
    }

    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            QuotaKey::Produce => "producer_byte_rate",
            QuotaKey::Fetch => "consumer_byte_rate",
            QuotaKey::Request => "request_percentage",
            QuotaKey::ControllerMutation => "controller_mutation_rate",
            QuotaKey::ConnectionCreation => "connection_creation_rate",
        }
    }

    /// Whether it is set on addresses; the others are set on users and client ids.
    pub fn of_addresses(self) -> bool {
        match self {
            QuotaKey::ConnectionCreation => true,
            QuotaKey::Produce
            | QuotaKey::Fetch
            | QuotaKey::Request
            | QuotaKey::ControllerMutation => false,
        }
    }

    /// The largest value and its type in Kafka's words, where the quota is a whole number.
    pub fn whole_number_max(self) -> Option<(f64, &'static str)> {
        match self {
            QuotaKey::Produce | QuotaKey::Fetch => Some((i64::MAX as f64, "a LONG")),
            QuotaKey::ConnectionCreation => Some((f64::from(i32::MAX), "an INT")),
            QuotaKey::Request | QuotaKey::ControllerMutation => None,
        }
    }
}
