//! Which quota counts for a client: Kafka's order of precedence.
//!
//! From the strongest: user and client id; user, any client id; user; any user, client id; any
//! user, any client id; any user; client id; any client id. The first that has the key counts, and
//! says who shares it: a quota of a user and a client id is each pair's own, one of a user is
//! shared by all his clients, one of a client id by all users of it. Source:
//! `DefaultQuotaCallback`.

use std::net::IpAddr;

use crate::controller::client_quotas::address;
use crate::image::{QuotaEntity, QuotaName, Quotas};
use crate::quota::key::QuotaKey;

/// Who shares what a quota allows.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Owner {
    Client {
        user: Option<String>,
        client_id: Option<String>,
    },
    Address(IpAddr),
    /// All who connect.
    Everybody,
}

/// The quotas of the cluster, ready to be asked.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    quotas: Quotas,
    of_clients: bool,
    of_addresses: bool,
}

impl Rules {
    /// From the image's quotas.
    pub fn new(quotas: &Quotas) -> Rules {
        Rules {
            quotas: quotas.clone(),
            of_clients: quotas.keys().any(|entity| entity.ip.is_none()),
            of_addresses: quotas.keys().any(|entity| entity.ip.is_some()),
        }
    }

    /// Whether a user or a client id has a quota.
    pub fn of_clients(&self) -> bool {
        self.of_clients
    }

    /// Whether an address has one.
    pub fn of_addresses(&self) -> bool {
        self.of_addresses
    }

    fn value(&self, entity: &QuotaEntity, key: QuotaKey) -> Option<f64> {
        self.quotas.get(entity)?.get(key.name()).copied()
    }

    /// The quota of a client: who shares it, and the limit.
    pub fn of_client(&self, key: QuotaKey, user: &str, client_id: &str) -> Option<(Owner, f64)> {
        let name = |name: &str| Some(QuotaName::Named(name.to_owned()));
        let any = || Some(QuotaName::Default);
        let order = [
            (name(user), name(client_id)),
            (name(user), any()),
            (name(user), None),
            (any(), name(client_id)),
            (any(), any()),
            (any(), None),
            (None, name(client_id)),
            (None, any()),
        ];
        order.into_iter().find_map(|(of_user, of_client_id)| {
            let owner = Owner::Client {
                user: of_user.as_ref().map(|_| user.to_owned()),
                client_id: of_client_id.as_ref().map(|_| client_id.to_owned()),
            };
            let entity = QuotaEntity { user: of_user, client_id: of_client_id, ip: None };
            Some((owner, self.value(&entity, key)?))
        })
    }

    /// The quota of an address: its own, or that of all without one.
    pub fn of_address(&self, ip: IpAddr) -> Option<(Owner, f64)> {
        let key = QuotaKey::ConnectionCreation;
        let named = self.quotas.iter().find_map(|(entity, values)| match &entity.ip {
            Some(QuotaName::Named(text)) if address(text) == Some(ip) => {
                values.get(key.name()).copied()
            }
            Some(_) | None => None,
        });
        let default = || {
            let ip = Some(QuotaName::Default);
            self.value(&QuotaEntity { ip, ..QuotaEntity::default() }, key)
        };
        named.or_else(default).map(|limit| (Owner::Address(ip), limit))
    }
}
