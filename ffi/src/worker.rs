//! Workers: registered, changed, removed.

use std::ffi::c_char;
use std::mem::MaybeUninit;

use pointsman_core::{HostHealth, LoadReport, WorkerChange, WorkerId, WorkerSpec};

use crate::argument::{self, Out, input, optional_out};
use crate::failure::Failure;
use crate::handle::outside;
use crate::label::{all_labels, pointsman_label};
use crate::log;
use crate::role::{pointsman_role, role_of};
use crate::router::pointsman_router;
use crate::special::{known, known64};
use crate::status::pointsman_status;

/// What the host says about a worker's health: one of the POINTSMAN_HEALTH_ constants.
#[allow(non_camel_case_types)]
pub type pointsman_health = u32;

/// Not known to the host: the outcomes of requests decide.
pub const POINTSMAN_HEALTH_UNKNOWN: pointsman_health = 0;

/// The host says that it is healthy: it takes requests whatever their outcomes.
pub const POINTSMAN_HEALTH_HEALTHY: pointsman_health = 1;

/// The host says that it is unhealthy: it takes no requests.
pub const POINTSMAN_HEALTH_UNHEALTHY: pointsman_health = 2;

/// What a worker is, given once at registration. Everything is copied.
#[allow(non_camel_case_types)]
#[derive(Clone, Copy)]
#[repr(C)]
pub struct pointsman_worker_spec {
    /// Set by POINTSMAN_WORKER_SPEC_INIT.
    pub size: u32,
    /// What it does; POINTSMAN_ROLE_REGULAR by default.
    pub role: pointsman_role,
    /// Identifies the worker, UTF-8. Any text that the host likes; no two workers have the same.
    pub url: *const c_char,
    /// Its length; POINTSMAN_NUL_TERMINATED by default.
    pub url_length: usize,
    /// Pairs are formed within a group only; a worker without one pairs with any. NULL: none.
    pub group: *const c_char,
    /// Its length; POINTSMAN_NUL_TERMINATED by default.
    pub group_length: usize,
    /// Share of the work in relation to the others': from 0.000001 to 1,000,000; 1 by default.
    pub weight: f64,
    /// Tokens that fit into its KV cache, at least 1; POINTSMAN_UNKNOWN64 by default.
    pub kv_capacity_tokens: u64,
    /// Returned with every selection of this worker.
    pub user_data: u64,
    /// What requests can ask for; NULL: none.
    pub labels: *const pointsman_label,
    /// How many.
    pub label_count: u32,
    /// Requests that it may hold at once; 0: no limit.
    pub max_in_flight: u32,
}

/// What is to change about a worker. A field that is left as INIT sets it leaves its part as it is.
/// Everything is copied.
#[allow(non_camel_case_types)]
#[derive(Clone, Copy)]
#[repr(C)]
pub struct pointsman_worker_change {
    /// Set by POINTSMAN_WORKER_CHANGE_INIT.
    pub size: u32,
    /// Requests that it may hold at once; 0: no limit; POINTSMAN_UNKNOWN: as it is.
    pub max_in_flight: u32,
    /// Its URL, which no other worker has. NULL: as it is.
    pub url: *const c_char,
    /// Its length; POINTSMAN_NUL_TERMINATED by default.
    pub url_length: usize,
    /// Its group; an empty text: none. NULL: as it is.
    pub group: *const c_char,
    /// Its length; POINTSMAN_NUL_TERMINATED by default.
    pub group_length: usize,
    /// Its weight: from 0.000001 to 1,000,000. 0: as it is.
    pub weight: f64,
    /// Tokens that fit into its KV cache; POINTSMAN_UNKNOWN64: not known. 0: as it is.
    pub kv_capacity_tokens: u64,
    /// All of its labels. NULL: as they are; not NULL with a count of 0: none.
    pub labels: *const pointsman_label,
    /// How many.
    pub label_count: u32,
    /// Must be 0.
    pub reserved: u32,
}

/// A worker's report of its own load.
#[allow(non_camel_case_types)]
#[derive(Clone, Copy)]
#[repr(C)]
pub struct pointsman_load {
    /// Set by POINTSMAN_LOAD_INIT.
    pub size: u32,
    /// Requests that it is running.
    pub running: u32,
    /// Requests in its queue.
    pub waiting: u32,
    /// Must be 0.
    pub reserved: u32,
    /// KV cache tokens in use; POINTSMAN_UNKNOWN64 by default.
    pub kv_used_tokens: u64,
    /// KV cache tokens in all; POINTSMAN_UNKNOWN64 by default.
    pub kv_total_tokens: u64,
    /// When this was so; POINTSMAN_NOW by default.
    pub at: u64,
}

sized!(pointsman_worker_spec, pointsman_worker_change.reserved, pointsman_load.reserved);

export! {
    /// Registers a worker, which takes requests from here on. worker may be NULL; it gets the
    /// worker's id, which is never 0 and never reused.
    ///
    /// Errors: POINTSMAN_INVALID_ARGUMENT, POINTSMAN_ALREADY_EXISTS (the URL), POINTSMAN_LIMIT,
    /// POINTSMAN_IN_CALLBACK.
    fn pointsman_worker_add(
        router: *const pointsman_router,
        spec: *const pointsman_worker_spec,
        now: u64,
        worker: *mut u64,
    ) -> pointsman_status => add(outside(router), described[spec], now, optional_out(worker));

    /// Removes a worker at once: its open tickets are closed, its prefixes forgotten. To let its
    /// requests end first, drain it.
    ///
    /// Errors: POINTSMAN_INVALID_ARGUMENT, POINTSMAN_NOT_FOUND, POINTSMAN_IN_CALLBACK.
    fn pointsman_worker_remove(
        router: *const pointsman_router,
        worker: u64,
        now: u64,
    ) -> pointsman_status => remove(outside(router), worker, now);

    /// Changes what a worker was registered as, all of it or, with an error, nothing. The worker keeps its
    /// id, its slot, its prefixes, its requests in flight and its health. Where its KV capacity shrinks,
    /// what was sent there longest ago counts as forgotten. Policies of the host's own get
    /// POINTSMAN_EVENT_WORKER_CHANGED.
    ///
    /// Errors: POINTSMAN_INVALID_ARGUMENT, POINTSMAN_NOT_FOUND, POINTSMAN_ALREADY_EXISTS (the URL),
    /// POINTSMAN_IN_CALLBACK.
    fn pointsman_worker_update(
        router: *const pointsman_router,
        worker: u64,
        change: *const pointsman_worker_change,
    ) -> pointsman_status => update(outside(router), worker, changed[change]);

    /// Stops sending new requests to a worker; those in flight go on.
    ///
    /// Errors: POINTSMAN_INVALID_ARGUMENT, POINTSMAN_NOT_FOUND, POINTSMAN_IN_CALLBACK.
    fn pointsman_worker_drain(
        router: *const pointsman_router,
        worker: u64,
    ) -> pointsman_status => drain(outside(router), worker);

    /// Sends new requests to a drained worker again.
    ///
    /// Errors: POINTSMAN_INVALID_ARGUMENT, POINTSMAN_NOT_FOUND, POINTSMAN_IN_CALLBACK.
    fn pointsman_worker_resume(
        router: *const pointsman_router,
        worker: u64,
    ) -> pointsman_status => resume(outside(router), worker);

    /// Changes a worker's weight: from 0.000001 to 1,000,000.
    ///
    /// Errors: POINTSMAN_INVALID_ARGUMENT (0 is not allowed: drain it), POINTSMAN_NOT_FOUND,
    /// POINTSMAN_IN_CALLBACK.
    fn pointsman_worker_set_weight(
        router: *const pointsman_router,
        worker: u64,
        weight: f64,
    ) -> pointsman_status => set_weight(outside(router), worker, weight);

    /// Changes how many requests a worker may hold at once; 0 lifts the limit.
    ///
    /// Errors: POINTSMAN_INVALID_ARGUMENT, POINTSMAN_NOT_FOUND, POINTSMAN_IN_CALLBACK.
    fn pointsman_worker_set_max_in_flight(
        router: *const pointsman_router,
        worker: u64,
        max_in_flight: u32,
    ) -> pointsman_status => set_max_in_flight(outside(router), worker, max_in_flight);

    /// Sets a worker's health, as the host knows it.
    ///
    /// Errors: POINTSMAN_INVALID_ARGUMENT, POINTSMAN_NOT_FOUND, POINTSMAN_IN_CALLBACK.
    fn pointsman_worker_set_health(
        router: *const pointsman_router,
        worker: u64,
        health: pointsman_health,
    ) -> pointsman_status => set_health(outside(router), worker, health);

    /// Stores a worker's report of its load, for policies that use it.
    ///
    /// Errors: POINTSMAN_INVALID_ARGUMENT, POINTSMAN_NOT_FOUND, POINTSMAN_IN_CALLBACK.
    fn pointsman_worker_report_load(
        router: *const pointsman_router,
        worker: u64,
        load: *const pointsman_load,
    ) -> pointsman_status => report_load(outside(router), worker, input[load]);
}

/// A worker's id from its number, which is never 0.
#[inline]
pub(crate) fn id(worker: u64) -> Result<WorkerId, Failure> {
    if worker == 0 { Err(Failure::IdZero) } else { Ok(WorkerId::from_raw(worker)) }
}

/// Reads a worker's description.
///
/// # Safety
/// `pointer` is NULL or points to a description whose texts and labels are as the struct says.
unsafe fn described(
    pointer: *const pointsman_worker_spec,
    name: &'static str,
    room: &mut MaybeUninit<pointsman_worker_spec>,
) -> Result<WorkerSpec, Failure> {
    // SAFETY: the caller keeps this function's `# Safety`.
    let (raw, labels, url, group) = unsafe {
        let raw = input(pointer, name, room)?;
        (
            raw,
            all_labels(raw.labels, raw.label_count as usize)?,
            argument::text(raw.url, raw.url_length, "spec.url")?,
            argument::text(raw.group, raw.group_length, "spec.group")?,
        )
    };
    let mut spec = WorkerSpec::new(url)
        .role(role_of(raw.role, "spec.role")?)
        .weight(raw.weight)
        .user_data(raw.user_data);
    if !group.is_empty() {
        spec = spec.group(group);
    }
    match known64(raw.kv_capacity_tokens) {
        Some(0) => return Err(Failure::argument("spec.kv_capacity_tokens", "is 0")),
        Some(tokens) => spec = spec.kv_capacity_tokens(tokens),
        None => {}
    }
    if raw.max_in_flight != 0 {
        spec = spec.max_in_flight(raw.max_in_flight);
    }
    Ok(labels.into_iter().fold(spec, |spec, (key, value)| spec.label(key, value)))
}

/// Reads what is to change about a worker.
///
/// # Safety
/// `pointer` is NULL or points to a change whose texts and labels are as the struct says.
unsafe fn changed(
    pointer: *const pointsman_worker_change,
    name: &'static str,
    room: &mut MaybeUninit<pointsman_worker_change>,
) -> Result<WorkerChange, Failure> {
    // SAFETY: the caller keeps this function's `# Safety`.
    let (raw, labels, url, group) = unsafe {
        let raw = input(pointer, name, room)?;
        (
            raw,
            all_labels(raw.labels, raw.label_count as usize)?,
            argument::optional_text(raw.url, raw.url_length, "change.url")?,
            argument::optional_text(raw.group, raw.group_length, "change.group")?,
        )
    };
    let mut change = WorkerChange::new();
    if let Some(url) = url {
        change = change.url(url);
    }
    if let Some(group) = group {
        change = change.group(Some(group).filter(|group| !group.is_empty()));
    }
    if raw.weight != 0.0 {
        change = change.weight(raw.weight);
    }
    if raw.kv_capacity_tokens != 0 {
        change = change.kv_capacity_tokens(known64(raw.kv_capacity_tokens));
    }
    if let Some(limit) = known(raw.max_in_flight) {
        change = change.max_in_flight(Some(limit).filter(|&limit| limit != 0));
    }
    if !raw.labels.is_null() {
        change = change.labels(labels);
    }
    Ok(change)
}

fn add(
    router: &pointsman_router,
    spec: WorkerSpec,
    now: u64,
    out: Option<Out<u64>>,
) -> Result<(), Failure> {
    let id = router.at(now).add_worker(spec)?;
    if let Some(out) = out {
        out.write(id.to_raw());
    }
    if router.log.wants(log::level::INFO) {
        let url = router.router.worker(id).map_or(String::new(), |info| info.url.clone());
        log::write!(router.log, INFO, "worker {id} added: {url}");
    }
    Ok(())
}

fn remove(router: &pointsman_router, worker: u64, now: u64) -> Result<(), Failure> {
    router.at(now).remove_worker(id(worker)?)?;
    log::write!(router.log, INFO, "worker {worker} removed");
    Ok(())
}

fn update(router: &pointsman_router, worker: u64, change: WorkerChange) -> Result<(), Failure> {
    router.router.update_worker(id(worker)?, change)?;
    log::write!(router.log, INFO, "worker {worker} changed");
    Ok(())
}

fn drain(router: &pointsman_router, worker: u64) -> Result<(), Failure> {
    router.router.drain_worker(id(worker)?)?;
    log::write!(router.log, INFO, "worker {worker} draining: true");
    Ok(())
}

fn resume(router: &pointsman_router, worker: u64) -> Result<(), Failure> {
    router.router.resume_worker(id(worker)?)?;
    log::write!(router.log, INFO, "worker {worker} draining: false");
    Ok(())
}

fn set_weight(router: &pointsman_router, worker: u64, weight: f64) -> Result<(), Failure> {
    router.router.set_weight(id(worker)?, weight)?;
    log::write!(router.log, INFO, "worker {worker} has weight {weight}");
    Ok(())
}

fn set_max_in_flight(router: &pointsman_router, worker: u64, limit: u32) -> Result<(), Failure> {
    let limit = Some(limit).filter(|&limit| limit != 0);
    Ok(router.router.set_max_in_flight(id(worker)?, limit)?)
}

fn set_health(
    router: &pointsman_router,
    worker: u64,
    health: pointsman_health,
) -> Result<(), Failure> {
    let (health, name) = match health {
        POINTSMAN_HEALTH_UNKNOWN => (HostHealth::Unknown, "unknown"),
        POINTSMAN_HEALTH_HEALTHY => (HostHealth::Healthy, "healthy"),
        POINTSMAN_HEALTH_UNHEALTHY => (HostHealth::Unhealthy, "unhealthy"),
        _ => {
            let problem = "is none of the POINTSMAN_HEALTH_ constants";
            return Err(Failure::argument("health", problem));
        }
    };
    router.router.set_health(id(worker)?, health)?;
    log::write!(router.log, INFO, "worker {worker} has health: {name}");
    Ok(())
}

fn report_load(
    router: &pointsman_router,
    worker: u64,
    load: &pointsman_load,
) -> Result<(), Failure> {
    let report = LoadReport {
        running: load.running,
        waiting: load.waiting,
        kv_used_tokens: known64(load.kv_used_tokens),
        kv_total_tokens: known64(load.kv_total_tokens),
        at: router.time(load.at),
    };
    Ok(router.router.report_load(id(worker)?, report)?)
}
