//! Quotas of clients, as a shard enforces them: what requests use, how long their connection waits.
//!
//! Who is over a quota is answered at once with `throttle_time_ms`, and his connection is held for
//! that long: nothing more is read from it (KIP-219). A quota holds for the whole broker: each
//! shard tells the others what was used on it, at most `QUOTA_REPORT_NS` late, and judges by the
//! sum. So nothing is divided, one connection can use all of it, and what several shards allow too
//! much within a report counts in the windows after it. Without quotas a request costs one branch.
//!
//! The time of requests is that of their turn, divided by the requests in it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use hashbrown::HashMap;
use protocol::api::{ApiKey, RequestHeaderRef};
use rustc_hash::FxBuildHasher;

use super::Shard;
use super::event::{ConnId, ShardId};
use super::mesh::MeshMessage;
use super::op::RequestTag;
use crate::api::security::ANONYMOUS;
use crate::config::BrokerConfig;
use crate::controller::mutation::MutationQuota;
use crate::limits::{QUOTA_ACCOUNTS_MAX, QUOTA_CLIENTS_MAX, QUOTA_REPORT_NS};
use crate::quota::accounts::AccountId;
use crate::quota::{Accounts, Bucket, Owner, QuotaKey, Rules, Usage, Window};

/// The accounts that one client's requests are put on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ClientAccounts {
    produce: Option<AccountId>,
    fetch: Option<AccountId>,
    request: Option<AccountId>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Quotas {
    rules: Rules,
    /// Whether any client, any address has a quota: all that is asked when none has.
    of_clients: bool,
    of_addresses: bool,
    accounts: Accounts,
    /// By client id. Only a memory of `rules`: forgotten when they change, or when it is full.
    clients: HashMap<Box<[u8]>, ClientAccounts, FxBuildHasher>,
    /// Connections that are held, by the time they are let go.
    muted: BTreeSet<(u64, ConnId)>,
    report_at_ns: Option<u64>,
    /// Of this turn: when its first request began, requests, and those whose time is paid for.
    turn_began_ns: u64,
    turn_requests: u32,
    turn_payers: Vec<AccountId>,
    /// How long the request that is being taken is throttled already.
    current_ns: u64,
    /// Of shard 0: what was changed of the metadata.
    buckets: BTreeMap<Owner, Bucket>,
    pub(super) throttled_count: u64,
    pub(super) refused_connections_count: u64,
}

impl Quotas {
    pub(super) fn new(config: &BrokerConfig) -> Quotas {
        Quotas {
            rules: Rules::default(),
            of_clients: false,
            of_addresses: false,
            accounts: Accounts::new(config.quotas.window),
            clients: HashMap::default(),
            muted: BTreeSet::new(),
            report_at_ns: None,
            turn_began_ns: 0,
            turn_requests: 0,
            turn_payers: Vec::new(),
            current_ns: 0,
            buckets: BTreeMap::new(),
            throttled_count: 0,
            refused_connections_count: 0,
        }
    }

    /// Whether requests have to be counted.
    #[inline]
    pub(crate) fn count_requests(&self) -> bool {
        self.of_clients
    }

    /// When the shard has to look again.
    pub(super) fn poll_timeout(&self) -> Option<u64> {
        let muted = self.muted.first().map(|(until_ns, _)| *until_ns);
        muted.into_iter().chain(self.report_at_ns).min()
    }

    fn client(&mut self, client_id: &[u8], now_ns: u64) -> ClientAccounts {
        if let Some(known) = self.clients.get(client_id) {
            return *known;
        }
        let name = String::from_utf8_lossy(client_id);
        let mut open = |key| {
            let (owner, limit) = self.rules.of_client(key, ANONYMOUS, &name)?;
            self.accounts.open(key, owner, limit, now_ns)
        };
        let accounts = ClientAccounts {
            produce: open(QuotaKey::Produce),
            fetch: open(QuotaKey::Fetch),
            request: open(QuotaKey::Request),
        };
        if self.clients.len() >= QUOTA_CLIENTS_MAX {
            self.clients.clear();
        }
        self.clients.insert(client_id.into(), accounts);
        accounts
    }

    fn throttle_ns(&mut self, account: Option<AccountId>, now_ns: u64) -> u64 {
        account.map_or(0, |account| self.accounts.throttle_ns(account, now_ns))
    }

    /// For the time that requests take, a client waits one window at most.
    fn request_throttle_ns(&mut self, accounts: &ClientAccounts, now_ns: u64) -> u64 {
        let throttle_ns = self.throttle_ns(accounts.request, now_ns);
        throttle_ns.min(self.accounts.window().length_ns)
    }

    /// The time of the turn's requests, on the accounts of those who sent them.
    fn end_turn(&mut self, now_ns: u64) {
        let requests = std::mem::take(&mut self.turn_requests);
        if self.turn_payers.is_empty() || requests == 0 {
            return;
        }
        let each_ns = now_ns.saturating_sub(self.turn_began_ns) as f64 / f64::from(requests);
        // Percent of a core: 100 in a second.
        let percent = each_ns * 100.0 / 1e9;
        let mut payers = std::mem::take(&mut self.turn_payers);
        for account in payers.drain(..) {
            self.accounts.record(account, percent, now_ns);
        }
        self.turn_payers = payers;
    }
}

/// Milliseconds to tell a client: a part of one is one.
fn told_ms(throttle_ns: u64) -> i32 {
    i32::try_from(throttle_ns.div_ceil(1_000_000)).unwrap_or(i32::MAX)
}

impl Shard {
    /// Quotas were altered.
    pub(super) fn update_quotas(&mut self) {
        let quotas = &mut self.quotas;
        quotas.rules = Rules::new(self.image.quotas());
        quotas.of_clients = quotas.rules.of_clients();
        quotas.of_addresses = quotas.rules.of_addresses();
        quotas.clients.clear();
    }

    /// Counts a request whose client may have a quota; `frame_bytes` of a Produce count as
    /// produced.
    pub(super) fn note_request(
        &mut self,
        conn: ConnId,
        header: &RequestHeaderRef<'_>,
        frame_bytes: usize,
    ) {
        let now_ns = self.now.mono_ns;
        let accounts = self.quotas.client(header.client_id.unwrap_or_default(), now_ns);
        if let Some(connection) = self.connections.get_mut(conn) {
            connection.accounts = accounts;
        }
        let quotas = &mut self.quotas;
        if quotas.turn_requests == 0 {
            quotas.turn_began_ns = now_ns;
        }
        quotas.turn_requests += 1;
        quotas.turn_payers.extend(accounts.request);
        if header.api_key == ApiKey::Produce
            && let Some(account) = accounts.produce
        {
            quotas.accounts.record(account, frame_bytes as f64, now_ns);
        }
        let throttle_ns = match header.api_key {
            ApiKey::Produce => {
                let produced_ns = quotas.throttle_ns(accounts.produce, now_ns);
                produced_ns.max(quotas.request_throttle_ns(&accounts, now_ns))
            }
            // What is read is known when the answer is.
            ApiKey::Fetch => 0,
            _ => quotas.request_throttle_ns(&accounts, now_ns),
        };
        quotas.current_ns = throttle_ns;
        if throttle_ns > 0 {
            self.mute(conn, throttle_ns);
        }
    }

    /// What the answer of the request that is being taken says of throttling, in milliseconds.
    pub(crate) fn throttle_ms(&self) -> i32 {
        if self.quotas.of_clients { told_ms(self.quotas.current_ns) } else { 0 }
    }

    /// How long the connection of an answer is held from here on, in milliseconds. 0: it is not.
    pub(crate) fn muted_ms(&self, conn: ConnId) -> i32 {
        let until_ns = self.connections.get(conn).map_or(0, |connection| connection.muted_until_ns);
        told_ms(until_ns.saturating_sub(self.now.mono_ns))
    }

    /// Counts a Fetch answer of so many bytes. Above zero: the client waits so many milliseconds
    /// and gets no records, which do not count then.
    pub(crate) fn note_fetched(&mut self, conn: ConnId, bytes: usize) -> i32 {
        let now_ns = self.now.mono_ns;
        let Some(connection) = self.connections.get(conn) else { return 0 };
        let accounts = connection.accounts;
        let quotas = &mut self.quotas;
        if let Some(account) = accounts.fetch {
            quotas.accounts.record(account, bytes as f64, now_ns);
        }
        let fetched_ns = quotas.throttle_ns(accounts.fetch, now_ns);
        let throttle_ns = fetched_ns.max(quotas.request_throttle_ns(&accounts, now_ns));
        if throttle_ns == 0 {
            return 0;
        }
        if let Some(account) = accounts.fetch {
            quotas.accounts.record(account, -(bytes as f64), now_ns);
        }
        self.mute(conn, throttle_ns);
        told_ms(throttle_ns)
    }

    /// The most bytes one Fetch of this connection may bring: more could never be sent.
    pub(crate) fn fetch_bytes_max(&mut self, conn: ConnId) -> u32 {
        let account = self.connections.get(conn).and_then(|connection| connection.accounts.fetch);
        let Some(account) = account else { return u32::MAX };
        let burst = self.quotas.accounts.burst(account);
        // A number beyond the range becomes its end.
        burst as u32
    }

    /// Holds the connection of an answer that says so.
    pub(crate) fn mute_ms(&mut self, tag: RequestTag, throttle_ms: i32) {
        let throttle_ns = u64::try_from(throttle_ms).unwrap_or(0) * 1_000_000;
        if throttle_ns > 0 {
            self.mute(tag.slot.conn, throttle_ns);
        }
    }

    /// Holds a connection: what it sends is not looked at until the time is over.
    pub(crate) fn mute(&mut self, conn: ConnId, throttle_ns: u64) {
        let until_ns = self.now.mono_ns.saturating_add(throttle_ns);
        let Some(connection) = self.connections.get_mut(conn) else { return };
        if until_ns <= connection.muted_until_ns || connection.is_closing() {
            return;
        }
        self.quotas.muted.remove(&(connection.muted_until_ns, conn));
        connection.muted_until_ns = until_ns;
        self.quotas.muted.insert((until_ns, conn));
        self.quotas.throttled_count += 1;
        self.update_flow(conn);
    }

    /// Forgets a connection that is gone.
    pub(super) fn forget_muted(&mut self, conn: ConnId, until_ns: u64) {
        self.quotas.muted.remove(&(until_ns, conn));
    }

    /// A client connected: one beyond its address's quota is closed after the time it would wait.
    pub(super) fn note_connection(&mut self, conn: ConnId, peer: IpAddr) {
        self.note_connection_of_all(conn);
        if !self.quotas.of_addresses {
            return;
        }
        let now_ns = self.now.mono_ns;
        let quotas = &mut self.quotas;
        let Some((owner, limit)) = quotas.rules.of_address(peer.to_canonical()) else { return };
        let key = QuotaKey::ConnectionCreation;
        let Some(account) = quotas.accounts.open(key, owner, limit, now_ns) else { return };
        quotas.accounts.record(account, 1.0, now_ns);
        let throttle_ns = quotas.accounts.throttle_ns(account, now_ns);
        if throttle_ns > 0 {
            quotas.accounts.record(account, -1.0, now_ns);
            quotas.refused_connections_count += 1;
            if let Some(connection) = self.connections.get_mut(conn) {
                connection.doomed = true;
            }
            self.mute(conn, throttle_ns);
        }
    }

    /// The rate of all connections (`max.connection.creation.rate`): one beyond it is not read from
    /// until the rate is back. Kafka lets it wait in the socket's queue; it is heard as late.
    fn note_connection_of_all(&mut self, conn: ConnId) {
        let Some(limit) = self.broker.socket.connection_rate_max else { return };
        let now_ns = self.now.mono_ns;
        let quotas = &mut self.quotas;
        let key = QuotaKey::ConnectionCreation;
        let account = quotas.accounts.open(key, Owner::Everybody, limit, now_ns);
        let Some(account) = account else { return };
        quotas.accounts.record(account, 1.0, now_ns);
        let throttle_ns = quotas.accounts.throttle_ns(account, now_ns);
        if throttle_ns > 0 {
            self.mute(conn, throttle_ns);
        }
    }

    /// Lets connections go whose time is over, and reports when it is due.
    pub(super) fn handle_quota_timeout(&mut self) {
        let now_ns = self.now.mono_ns;
        while let Some(&(until_ns, conn)) = self.quotas.muted.first() {
            if until_ns > now_ns {
                break;
            }
            self.quotas.muted.pop_first();
            let Some(connection) = self.connections.get_mut(conn) else { continue };
            connection.muted_until_ns = 0;
            if connection.doomed {
                self.close(conn, Some("more connections than its address may open"));
            } else {
                self.unblocked.push_back(conn);
            }
        }
        if self.quotas.report_at_ns.is_some_and(|at_ns| at_ns <= now_ns) {
            self.quotas.report_at_ns = None;
            let usage = self.quotas.accounts.report();
            if !usage.is_empty() {
                self.send_usage(usage);
            }
        }
    }

    fn send_usage(&mut self, usage: Vec<Usage>) {
        let own = self.config.shard;
        let others = (0..self.config.shards_count).map(ShardId).filter(|shard| *shard != own);
        for shard in others.collect::<Vec<_>>() {
            self.send_mesh(shard, MeshMessage::QuotaUsed { usage: usage.clone() });
        }
    }

    /// What was used on another shard.
    pub(super) fn handle_quota_used(&mut self, usage: &[Usage]) {
        self.quotas.accounts.take_report(usage, self.now.mono_ns);
    }

    /// Ends a turn in which requests were counted.
    pub(super) fn end_quota_turn(&mut self) {
        let of_all = self.broker.socket.connection_rate_max.is_some();
        if !self.quotas.of_clients && !self.quotas.of_addresses && !of_all {
            return;
        }
        let now_ns = self.now.mono_ns;
        self.quotas.end_turn(now_ns);
        if self.quotas.accounts.has_unreported() && self.quotas.report_at_ns.is_none() {
            if self.config.shards_count > 1 {
                self.quotas.report_at_ns = Some(now_ns + QUOTA_REPORT_NS);
            } else {
                // Nobody else judges.
                drop(self.quotas.accounts.report());
            }
        }
    }

    /// Takes the windows of altered settings.
    pub(super) fn update_quota_windows(&mut self) {
        let window = self.broker.quotas.window;
        self.quotas.accounts.set_window(window);
    }

    /// What a client may change of the metadata; strict where its version knows the code.
    pub(super) fn mutation_quota(&mut self, client_id: &str, strict: bool) -> MutationQuota {
        let found = match self.quotas.of_clients {
            true => self.quotas.rules.of_client(QuotaKey::ControllerMutation, ANONYMOUS, client_id),
            false => None,
        };
        let Some((owner, limit)) = found else { return MutationQuota::unlimited() };
        let now_ns = self.now.mono_ns;
        let buckets = &mut self.quotas.buckets;
        if buckets.len() >= QUOTA_ACCOUNTS_MAX && !buckets.contains_key(&owner) {
            buckets.retain(|_, bucket| !bucket.is_full(limit, now_ns));
            if buckets.len() >= QUOTA_ACCOUNTS_MAX {
                return MutationQuota::unlimited();
            }
        }
        let bucket = buckets.get(&owner).copied().unwrap_or_default();
        let window: Window = self.broker.quotas.controller_window;
        MutationQuota::new(owner, bucket, limit, window, strict, now_ns)
    }

    /// Keeps what a decision used.
    pub(super) fn keep_mutations(&mut self, quota: MutationQuota) {
        if let Some((owner, bucket)) = quota.into_bucket() {
            self.quotas.buckets.insert(owner, bucket);
        }
    }
}
