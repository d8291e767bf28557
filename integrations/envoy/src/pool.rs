//! One cluster's router, shared by the balancers that Envoy makes of it, one per thread.
//!
//! Each thread learns of a change in its own time. A worker is registered when the first thread sees
//! it and removed when the last one lets it go; between the two, a thread that lacks it chooses again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use pointsman::{HostHealth, Role, Router, WorkerId, WorkerSpec};

use crate::abi::level;
use crate::config::BalancerConfig;
use crate::envoy;

/// A router and its members.
pub struct Pool {
    /// Decides.
    pub router: Router,
    /// What it was made of.
    pub config: BalancerConfig,
    members: Mutex<HashMap<String, Member>>,
}

/// A thread's handle on a pool, to be counted within the thread, so that requests of different threads
/// share no counter.
pub struct Handle(pub Arc<Pool>);

impl std::ops::Deref for Handle {
    type Target = Pool;

    fn deref(&self) -> &Pool {
        &self.0
    }
}

struct Member {
    id: WorkerId,
    weight: u32,
    /// Threads that have it.
    holders: usize,
}

/// A host as Envoy describes it.
#[derive(Clone, Debug, Default)]
pub struct HostSpec {
    /// Its share relative to others.
    pub weight: u32,
    /// What it does: `prefill`, `decode`, or neither.
    pub role: Option<String>,
    /// The group that its pairs stay within.
    pub group: Option<String>,
    /// Tokens in its KV cache.
    pub kv_capacity_tokens: Option<u64>,
    /// Requests that it may hold at once.
    pub max_in_flight: Option<u32>,
}

/// Every pool that is in use, by its cluster's name.
static POOLS: Mutex<Vec<(String, Weak<Pool>)>> = Mutex::new(Vec::new());

impl Pool {
    /// A pool without members.
    ///
    /// # Errors
    /// What is wrong with the configuration.
    pub fn new(config: BalancerConfig) -> Result<Arc<Pool>, String> {
        let router =
            Router::new(config.router.clone()).map_err(|error| format!("router: {error}"))?;
        Ok(Arc::new(Pool { router, config, members: Mutex::default() }))
    }

    /// The pool that a cluster uses: the one that it used before its definition was updated, if the
    /// policy's configuration is still the same, so that an update forgets nothing.
    pub fn of_cluster(cluster: &str, fresh: &Arc<Pool>) -> Arc<Pool> {
        let mut pools = lock(&POOLS);
        pools.retain(|(_, pool)| pool.strong_count() > 0);
        let used = pools
            .iter()
            .filter(|(name, _)| name == cluster)
            .find_map(|(_, pool)| pool.upgrade().filter(|pool| pool.config == fresh.config));
        used.unwrap_or_else(|| {
            pools.push((cluster.to_owned(), Arc::downgrade(fresh)));
            Arc::clone(fresh)
        })
    }

    /// One more thread has a host.
    pub fn join(&self, address: &str, spec: &HostSpec) -> Option<WorkerId> {
        let mut members = lock(&self.members);
        if let Some(member) = members.get_mut(address) {
            member.holders += 1;
            return Some(member.id);
        }
        match self.router.add_worker(self.worker(address, spec)) {
            Ok(id) => {
                members.insert(address.to_owned(), Member { id, weight: spec.weight, holders: 1 });
                Some(id)
            }
            Err(error) => {
                envoy::log(level::ERROR, &format!("host {address} cannot be used: {error}"));
                None
            }
        }
    }

    fn worker(&self, address: &str, spec: &HostSpec) -> WorkerSpec {
        let role = match spec.role.as_deref() {
            Some("prefill") => Role::Prefill,
            Some("decode") => Role::Decode,
            _ => Role::Regular,
        };
        let mut worker = WorkerSpec::new(address).role(role).weight(spec.weight.max(1).into());
        if let Some(group) = &spec.group {
            worker = worker.group(group);
        }
        if let Some(tokens) = spec.kv_capacity_tokens.or(self.config.kv_capacity_tokens) {
            worker = worker.kv_capacity_tokens(tokens);
        }
        if let Some(limit) = spec.max_in_flight.or(self.config.max_in_flight) {
            worker = worker.max_in_flight(limit);
        }
        worker
    }

    /// One thread less has a host.
    pub fn leave(&self, address: &str) {
        let mut members = lock(&self.members);
        let Some(member) = members.get_mut(address) else { return };
        member.holders -= 1;
        if member.holders == 0 {
            let id = member.id;
            members.remove(address);
            // Fails where it is gone already.
            let _ = self.router.remove_worker(id);
        }
    }

    /// A thread sees this weight.
    pub fn set_weight(&self, address: &str, weight: u32) {
        let mut members = lock(&self.members);
        let Some(member) = members.get_mut(address) else { return };
        if member.weight != weight
            && self.router.set_weight(member.id, weight.max(1).into()).is_ok()
        {
            member.weight = weight;
        }
    }

    /// A thread sees a host become eligible or cease to be so. While Envoy holds it eligible, the outcomes of its
    /// requests may still eject it.
    pub fn set_eligible(&self, id: WorkerId, eligible: bool) {
        let health = if eligible { HostHealth::Unknown } else { HostHealth::Unhealthy };
        // Fails where it is gone.
        let _ = self.router.set_health(id, health);
    }
}

/// No invariant of these maps can be broken half-way, so a panic elsewhere is no reason to stop.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
