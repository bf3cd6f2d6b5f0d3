//! What was used of each quota, as far as one shard knows.
//!
//! A quota is the broker's, and every shard sees all of its use: its own at once, that of the
//! others from their reports (`shard/quotas.rs`). Each therefore judges by the same sum, late by a
//! report at most; nothing is divided in advance, so one connection may use the whole quota.

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

use super::key::QuotaKey;
use super::rate::{Rate, Window};
use super::rules::Owner;
use crate::limits::QUOTA_ACCOUNTS_MAX;

/// Names an account, once: an index and how often it was used before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AccountId {
    index: u32,
    generation: u32,
}

/// Something used, for the other shards to know.
#[derive(Clone, PartialEq, Debug)]
pub struct Usage {
    pub key: QuotaKey,
    pub owner: Owner,
    pub value: f64,
}

#[derive(Debug)]
struct Account {
    key: QuotaKey,
    owner: Owner,
    /// Per second. Infinite while only other shards have used it.
    limit: f64,
    rate: Rate,
    unreported: f64,
    generation: u32,
}

/// See the module.
#[derive(Debug)]
pub struct Accounts {
    window: Window,
    accounts: Vec<Option<Account>>,
    free: Vec<(u32, u32)>,
    by_name: HashMap<(QuotaKey, Owner), u32, FxBuildHasher>,
    /// Accounts with something unreported.
    used: Vec<AccountId>,
}

impl Accounts {
    /// None yet.
    pub fn new(window: Window) -> Accounts {
        Accounts {
            window,
            accounts: Vec::new(),
            free: Vec::new(),
            by_name: HashMap::default(),
            used: Vec::new(),
        }
    }

    /// The windows that rates are taken over.
    pub fn window(&self) -> Window {
        self.window
    }

    /// Takes other windows from here on.
    pub fn set_window(&mut self, window: Window) {
        self.window = window;
    }

    /// The account of an owner, with this limit from here on. `None`: there are as many as can be
    /// kept, and all of them in use; then this use is not bounded.
    pub fn open(
        &mut self,
        key: QuotaKey,
        owner: Owner,
        limit: f64,
        now_ns: u64,
    ) -> Option<AccountId> {
        let id = self.find_or_add(key, owner, now_ns)?;
        self.get_mut(id)?.limit = limit;
        Some(id)
    }

    fn find_or_add(&mut self, key: QuotaKey, owner: Owner, now_ns: u64) -> Option<AccountId> {
        let name = (key, owner);
        if let Some(index) = self.by_name.get(&name) {
            let account = self.accounts[*index as usize].as_ref();
            let generation = account.expect("a name is of an account that is there").generation;
            return Some(AccountId { index: *index, generation });
        }
        if self.by_name.len() >= QUOTA_ACCOUNTS_MAX {
            self.sweep(now_ns);
        }
        if self.by_name.len() >= QUOTA_ACCOUNTS_MAX {
            return None;
        }
        let (index, generation) = self.free.pop().unwrap_or_else(|| {
            self.accounts.push(None);
            (self.accounts.len() as u32 - 1, 0)
        });
        self.accounts[index as usize] = Some(Account {
            key,
            owner: name.1.clone(),
            limit: f64::INFINITY,
            rate: Rate::default(),
            unreported: 0.0,
            generation,
        });
        self.by_name.insert(name, index);
        Some(AccountId { index, generation })
    }

    /// Forgets accounts that are as good as new.
    fn sweep(&mut self, now_ns: u64) {
        for index in 0..self.accounts.len() {
            let idle = self.accounts[index].as_ref().is_some_and(|account| {
                account.unreported == 0.0 && account.rate.is_idle(self.window, now_ns)
            });
            if idle && let Some(account) = self.accounts[index].take() {
                self.free.push((index as u32, account.generation.wrapping_add(1)));
                self.by_name.remove(&(account.key, account.owner));
            }
        }
    }

    fn get_mut(&mut self, id: AccountId) -> Option<&mut Account> {
        let account = self.accounts.get_mut(id.index as usize)?.as_mut()?;
        (account.generation == id.generation).then_some(account)
    }

    /// Uses so much of a quota.
    pub fn record(&mut self, id: AccountId, value: f64, now_ns: u64) {
        let window = self.window;
        let Some(account) = self.get_mut(id) else { return };
        account.rate.record(window, value, now_ns);
        let first = account.unreported == 0.0;
        account.unreported += value;
        if first {
            self.used.push(id);
        }
    }

    /// How long its owner has to wait, in nanoseconds; 0: not at all.
    pub fn throttle_ns(&mut self, id: AccountId, now_ns: u64) -> u64 {
        let window = self.window;
        let Some(account) = self.get_mut(id) else { return 0 };
        let limit = account.limit;
        account.rate.throttle_ns(window, limit, now_ns)
    }

    /// The most that one answer may use, in units of the quota.
    pub fn burst(&mut self, id: AccountId) -> f64 {
        let seconds = self.window.shortest_seconds();
        self.get_mut(id).map_or(f64::INFINITY, |account| account.limit * seconds)
    }

    /// Whether there is something to report.
    pub fn has_unreported(&self) -> bool {
        !self.used.is_empty()
    }

    /// What was used since the last report.
    pub fn report(&mut self) -> Vec<Usage> {
        let used = std::mem::take(&mut self.used);
        let mut report = Vec::with_capacity(used.len());
        for id in used {
            let Some(account) = self.get_mut(id) else { continue };
            let value = std::mem::take(&mut account.unreported);
            if value != 0.0 {
                report.push(Usage { key: account.key, owner: account.owner.clone(), value });
            }
        }
        report
    }

    /// Another shard used so much.
    pub fn take_report(&mut self, usage: &[Usage], now_ns: u64) {
        let window = self.window;
        for one in usage {
            let Some(id) = self.find_or_add(one.key, one.owner.clone(), now_ns) else { continue };
            if let Some(account) = self.get_mut(id) {
                account.rate.record(window, one.value, now_ns);
            }
        }
    }
}
