//! What configs are set on: Kafka's `ConfigResource`.

/// Kafka's `ConfigResource.Type`, with its numbers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ResourceType {
    Topic = 2,
    /// The empty name stands for all brokers.
    Broker = 4,
    BrokerLogger = 8,
    ClientMetrics = 16,
    Group = 32,
}

impl ResourceType {
    /// By its number on the wire.
    pub fn from_wire(number: i8) -> Option<ResourceType> {
        match number {
            2 => Some(ResourceType::Topic),
            4 => Some(ResourceType::Broker),
            8 => Some(ResourceType::BrokerLogger),
            16 => Some(ResourceType::ClientMetrics),
            32 => Some(ResourceType::Group),
            _ => None,
        }
    }

    /// Its number on the wire.
    pub fn to_wire(self) -> i8 {
        self as i8
    }
}

/// A resource.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConfigResource {
    pub kind: ResourceType,
    pub name: String,
}

impl ConfigResource {
    /// A resource of this kind.
    pub fn new(kind: ResourceType, name: impl Into<String>) -> ConfigResource {
        ConfigResource { kind, name: name.into() }
    }

    /// A topic.
    pub fn topic(name: &str) -> ConfigResource {
        ConfigResource::new(ResourceType::Topic, name)
    }
}
