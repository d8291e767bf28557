//! The writer's side of the pool: a plain value under the router's writer lock.
//!
//! Every method either changes the membership or reports an error and changes nothing. Nothing here
//! is on the path of a request.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::{
    MAX_WORKERS,
    error::{self, PoolError},
    snapshot::{Member, PoolSnapshot},
    status::WorkerStatus,
};
use crate::prefix::Registration;
use crate::worker::{
    Role, WorkerId,
    change::WorkerChange,
    health::{Health, HealthChange, HealthConfig, HealthState, HostHealth},
    spec::{WorkerInfo, WorkerSpec},
    state::{Standing, WorkerState},
};

/// Slow start begins at this share of the weight, and rises in steps of it.
const RAMP_STEPS: u64 = 10;

/// The registered workers and their state.
#[derive(Debug)]
pub(crate) struct Registry {
    rows: Arc<[WorkerState]>,
    entries: Vec<Option<Entry>>,
    by_url: HashMap<String, WorkerId>,
    /// Free slots, the longest unused first.
    free: VecDeque<usize>,
    generations: Vec<u64>,
    health: HealthConfig,
    /// Nanoseconds over which a new worker's weight rises; 0 = at once.
    slow_start: u64,
    max_workers: usize,
}

#[derive(Debug)]
struct Entry {
    info: Arc<WorkerInfo>,
    /// The registration under which the prefix tree keeps what the worker holds.
    residency: Option<Registration>,
    weight: f64,
    max_in_flight: Option<u32>,
    draining: bool,
    /// What the host says; overrides outcomes.
    host_health: HostHealth,
    health: Health,
    ramp_since: u64,
}

impl Registry {
    pub(crate) fn new(
        rows: Arc<[WorkerState]>,
        max_workers: usize,
        health: HealthConfig,
        slow_start: u64,
    ) -> Self {
        let max_workers = max_workers.min(MAX_WORKERS).min(rows.len());
        Registry {
            entries: (0..rows.len()).map(|_| None).collect(),
            free: (0..rows.len()).collect(),
            generations: vec![0; rows.len()],
            by_url: HashMap::new(),
            rows,
            health,
            slow_start,
            max_workers,
        }
    }

    /// The rows of the slots.
    pub(crate) fn rows(&self) -> Arc<[WorkerState]> {
        Arc::clone(&self.rows)
    }

    /// How health follows from outcomes.
    pub(crate) fn health(&self) -> &HealthConfig {
        &self.health
    }

    /// Registers a worker in an idle slot. `register` gets the slot and returns the digest of the URL and
    /// the registration with the prefix tree.
    pub(crate) fn add(
        &mut self,
        spec: WorkerSpec,
        now: u64,
        register: impl FnOnce(usize, &WorkerSpec) -> (u64, Option<Registration>),
    ) -> Result<Arc<WorkerInfo>, PoolError> {
        error::check(&spec)?;
        if let Some(&id) = self.by_url.get(&spec.url) {
            return Err(PoolError::DuplicateUrl { url: spec.url, id });
        }
        let full = PoolError::TooManyWorkers { max: self.max_workers };
        if self.by_url.len() >= self.max_workers {
            return Err(full);
        }
        // A selection that is about to be undone may still charge the slot for a moment.
        let Some(place) = self.free.iter().position(|&slot| self.rows[slot].is_idle()) else {
            return Err(full);
        };
        let Some(slot) = self.free.remove(place) else { return Err(full) };
        self.generations[slot] += 1;
        let id = WorkerId::new(slot, self.generations[slot]);
        self.by_url.insert(spec.url.clone(), id);
        let (url_digest, residency) = register(slot, &spec);
        let info = Arc::new(WorkerInfo {
            id,
            url: spec.url,
            role: spec.role,
            group: spec.group,
            kv_capacity_tokens: spec.kv_capacity_tokens,
            labels: spec.labels,
            user_data: spec.user_data,
            url_digest,
        });
        self.rows[slot].occupy(id.generation(), spec.max_in_flight);
        self.entries[slot] = Some(Entry {
            info: Arc::clone(&info),
            residency,
            weight: spec.weight,
            max_in_flight: spec.max_in_flight,
            draining: false,
            host_health: HostHealth::Unknown,
            health: Health::default(),
            ramp_since: now,
        });
        Ok(info)
    }

    /// Changes what a worker was registered as; `digest` is that of a URL.
    pub(crate) fn update(
        &mut self,
        id: WorkerId,
        change: WorkerChange,
        digest: impl FnOnce(&str) -> u64,
    ) -> Result<Arc<WorkerInfo>, PoolError> {
        self.entry(id)?;
        error::check_change(&change)?;
        if let Some(url) = &change.url {
            if let Some(&other) = self.by_url.get(url).filter(|&&other| other != id) {
                return Err(PoolError::DuplicateUrl { url: url.clone(), id: other });
            }
        }
        let entry = self.entry_mut(id)?;
        entry.weight = change.weight.unwrap_or(entry.weight);
        entry.max_in_flight = change.max_in_flight.unwrap_or(entry.max_in_flight);
        let (limit, info) = (entry.limit(), Arc::new(change.applied_to(&entry.info, digest)));
        let before = std::mem::replace(&mut entry.info, Arc::clone(&info));
        self.rows[id.slot()].set_limit(limit);
        self.by_url.remove(&before.url);
        self.by_url.insert(info.url.clone(), id);
        Ok(info)
    }

    /// Removes a worker. The caller vacates its row once a snapshot without it is published.
    pub(crate) fn remove(&mut self, id: WorkerId) -> Result<Arc<WorkerInfo>, PoolError> {
        self.entry(id)?;
        let entry = self.entries[id.slot()].take().ok_or(PoolError::UnknownWorker(id))?;
        self.by_url.remove(&entry.info.url);
        self.free.push_back(id.slot());
        Ok(entry.info)
    }

    pub(crate) fn set_draining(&mut self, id: WorkerId, draining: bool) -> Result<(), PoolError> {
        self.entry_mut(id)?.draining = draining;
        Ok(())
    }

    pub(crate) fn set_weight(&mut self, id: WorkerId, weight: f64) -> Result<(), PoolError> {
        error::check_weight(weight)?;
        self.entry_mut(id)?.weight = weight;
        Ok(())
    }

    pub(crate) fn set_max_in_flight(
        &mut self,
        id: WorkerId,
        limit: Option<u32>,
    ) -> Result<(), PoolError> {
        error::check_limit(limit)?;
        let entry = self.entry_mut(id)?;
        entry.max_in_flight = limit;
        let limit = entry.limit();
        self.rows[id.slot()].set_limit(limit);
        Ok(())
    }

    /// Sets or clears the host's view of a worker's health. Clearing it starts passive checking again.
    pub(crate) fn set_health(&mut self, id: WorkerId, health: HostHealth) -> Result<(), PoolError> {
        let entry = self.entry_mut(id)?;
        entry.host_health = health;
        entry.health.recover();
        let limit = entry.limit();
        let row = &self.rows[id.slot()];
        row.set_standing(Standing::Healthy);
        row.set_limit(limit);
        Ok(())
    }

    /// What the worker holds is forgotten: it begins a new residency, which `begin` gives it.
    pub(crate) fn begin_residency(
        &mut self,
        slot: usize,
        begin: impl FnOnce(&WorkerInfo) -> Option<Registration>,
    ) {
        if let Some(Some(entry)) = self.entries.get_mut(slot) {
            entry.residency = begin(&entry.info);
        }
    }

    /// The residency of the slot's worker.
    #[cfg(feature = "async")]
    pub(crate) fn residency(&self, slot: usize) -> Option<Registration> {
        self.entries.get(slot)?.as_ref()?.residency
    }

    /// Whether the id is registered; the error otherwise.
    pub(crate) fn check(&self, id: WorkerId) -> Result<(), PoolError> {
        self.entry(id).map(|_| ())
    }

    pub(crate) fn by_url(&self, url: &str) -> Option<WorkerId> {
        self.by_url.get(url).copied()
    }

    /// Applies what outcomes and time have changed for one slot, and returns that change.
    pub(crate) fn settle(&mut self, slot: usize, now: u64) -> Option<HealthChange> {
        let role = self.entries.get(slot)?.as_ref()?.info.role;
        let failing = self.rows[slot].streak() >= self.health.failures;
        let may_eject = failing && self.may_eject(role);
        let entry = self.entries.get_mut(slot)?.as_mut()?;
        let row = &self.rows[slot];
        if entry.host_health != HostHealth::Unknown || self.health.failures == 0 {
            return None;
        }
        let state = match row.standing() {
            Standing::Healthy if may_eject => {
                row.set_standing(Standing::Ejected);
                entry.health.eject(&self.health, now)
            }
            Standing::Ejected if entry.health.try_probation(now) => {
                row.set_standing(Standing::Probation);
                HealthState::Probation
            }
            Standing::Probation if row.streak() > 0 => {
                row.set_standing(Standing::Ejected);
                entry.health.eject(&self.health, now)
            }
            Standing::Probation if row.recovered() >= self.health.successes => {
                entry.health.recover();
                entry.ramp_since = now;
                row.set_standing(Standing::Healthy);
                HealthState::Healthy
            }
            _ => return None,
        };
        row.set_limit(entry.limit());
        Some(HealthChange { now: now.into(), worker: Arc::clone(&entry.info), state })
    }

    /// Whether one more worker of the role may be ejected.
    fn may_eject(&self, role: Role) -> bool {
        let (mut members, mut out) = (0u32, 0u32);
        for entry in self.entries.iter().flatten().filter(|entry| entry.info.role == role) {
            members += 1;
            out += u32::from(entry.health != Health::default());
        }
        f64::from(out + 1) <= f64::from(members) * self.health.max_ejected_share
    }

    /// When time alone changes the snapshot next: an ejection or a pause ends, a ramp goes up a step.
    pub(crate) fn next_due(&self, now: u64) -> u64 {
        let of_entry = |entry: &Entry| {
            let row = &self.rows[entry.info.id.slot()];
            let pause = Some(row.paused_until()).filter(|&until| until > now);
            [entry.health.ejected_until, pause, self.next_step(entry.ramp_since, now)]
                .into_iter()
                .flatten()
                .min()
        };
        self.entries.iter().flatten().filter_map(of_entry).min().unwrap_or(u64::MAX)
    }

    fn next_step(&self, since: u64, now: u64) -> Option<u64> {
        let step = (self.slow_start / RAMP_STEPS).max(1);
        let elapsed = now.saturating_sub(since);
        (elapsed < self.slow_start).then(|| since.saturating_add((elapsed / step + 1) * step))
    }

    /// The clock was set back by this much: what is to end at a time ends that much earlier.
    pub(crate) fn turn_back(&mut self, by: u64) {
        for entry in self.entries.iter_mut().flatten() {
            entry.ramp_since = entry.ramp_since.saturating_sub(by);
            entry.health.turn_back(by);
            self.rows[entry.info.id.slot()].turn_pause_back(by);
        }
    }

    /// Weight in force at `now`.
    fn effective_weight(&self, entry: &Entry, now: u64) -> f64 {
        let elapsed = now.saturating_sub(entry.ramp_since);
        let ramp = if elapsed < self.slow_start {
            let steps = elapsed / (self.slow_start / RAMP_STEPS).max(1) + 1;
            steps.min(RAMP_STEPS) as f64 / RAMP_STEPS as f64
        } else {
            1.0
        };
        let paused = self.rows[entry.info.id.slot()].paused_until() > now;
        entry.weight * ramp * if paused { self.health.overloaded_weight } else { 1.0 }
    }

    pub(crate) fn snapshot(&self, now: u64) -> PoolSnapshot {
        let members: Vec<Member> = self
            .entries
            .iter()
            .flatten()
            .map(|entry| Member {
                info: Arc::clone(&entry.info),
                residency: entry.residency,
                weight: self.effective_weight(entry, now),
                healthy: entry.is_healthy(),
                draining: entry.draining,
                limited: self.rows[entry.info.id.slot()].is_limited(),
            })
            .collect();
        PoolSnapshot::new(&members)
    }

    pub(crate) fn statuses(&self, now: u64) -> Vec<WorkerStatus> {
        let status = |entry: &Entry| {
            let row = &self.rows[entry.info.id.slot()];
            let (predicted_cached_tokens, reported_cached_tokens) = row.cached();
            WorkerStatus {
                info: Arc::clone(&entry.info),
                weight: entry.weight,
                effective_weight: self.effective_weight(entry, now),
                healthy: entry.is_healthy(),
                on_probation: entry.is_on_probation(),
                draining: entry.draining,
                max_in_flight: entry.max_in_flight,
                in_flight: row.in_flight(),
                selections: row.selections(),
                outcomes: row.outcomes(),
                resident_tokens: row.resident_tokens(),
                predicted_cached_tokens,
                reported_cached_tokens,
                contradictory_reports: row.contradictory(),
            }
        };
        self.entries.iter().flatten().map(status).collect()
    }

    /// The registered workers.
    pub(crate) fn infos(&self) -> impl Iterator<Item = &Arc<WorkerInfo>> {
        self.entries.iter().flatten().map(|entry| &entry.info)
    }

    fn entry(&self, id: WorkerId) -> Result<&Entry, PoolError> {
        self.entries
            .get(id.slot())
            .and_then(|entry| entry.as_ref())
            .filter(|entry| entry.info.id == id)
            .ok_or(PoolError::UnknownWorker(id))
    }

    fn entry_mut(&mut self, id: WorkerId) -> Result<&mut Entry, PoolError> {
        self.entries
            .get_mut(id.slot())
            .and_then(|entry| entry.as_mut())
            .filter(|entry| entry.info.id == id)
            .ok_or(PoolError::UnknownWorker(id))
    }
}

impl Entry {
    fn is_healthy(&self) -> bool {
        match self.host_health {
            HostHealth::Unknown => self.health.ejected_until.is_none(),
            word => word == HostHealth::Healthy,
        }
    }

    fn is_on_probation(&self) -> bool {
        self.host_health == HostHealth::Unknown && self.health.on_probation
    }

    /// The limit in force: on probation one request at a time.
    fn limit(&self) -> Option<u32> {
        if self.is_on_probation() { Some(1) } else { self.max_in_flight }
    }
}
