//! Workers: registered, changed, removed.

use std::ffi::c_char;
use std::mem::MaybeUninit;

use pointsman_core::{LoadReport, Role, WorkerId, WorkerSpec};

use crate::argument::{self, Place};
use crate::log;
use crate::router::{outside_callbacks, pointsman_router, time};
use crate::status::{Failure, pointsman_status};

/// Serves whole requests.
pub const POINTSMAN_ROLE_REGULAR: u32 = 0;

/// Computes the prompt of a prefill/decode pair.
pub const POINTSMAN_ROLE_PREFILL: u32 = 1;

/// Generates the answer of a prefill/decode pair.
pub const POINTSMAN_ROLE_DECODE: u32 = 2;

/// Health follows from the outcomes of requests.
pub const POINTSMAN_HEALTH_PASSIVE: u32 = 0;

/// Healthy by the host's word.
pub const POINTSMAN_HEALTH_HEALTHY: u32 = 1;

/// Unhealthy by the host's word.
pub const POINTSMAN_HEALTH_UNHEALTHY: u32 = 2;

/// One label of a worker: what a request can ask for with labels of its own, a model's name, a zone or a
/// customer's tier for instance. Any number to a worker, POINTSMAN_MAX_REQUEST_LABELS to a request, which
/// only workers with all of them may serve. Metrics do not carry them. Arrays of labels advance by the
/// size that their first element has.
#[allow(non_camel_case_types)]
#[derive(Clone, Copy)]
#[repr(C)]
pub struct pointsman_label {
    /// Set by POINTSMAN_LABEL_INIT.
    pub size: u32,
    /// 0.
    pub reserved: u32,
    /// The key, UTF-8.
    pub key: *const c_char,
    /// Its length; POINTSMAN_NUL_TERMINATED by default.
    pub key_length: usize,
    /// The value, UTF-8.
    pub value: *const c_char,
    /// Its length; POINTSMAN_NUL_TERMINATED by default.
    pub value_length: usize,
}

/// What a worker is, told once at registration. Everything is copied.
#[allow(non_camel_case_types)]
#[derive(Clone, Copy)]
#[repr(C)]
pub struct pointsman_worker_spec {
    /// Set by POINTSMAN_WORKER_SPEC_INIT.
    pub size: u32,
    /// One of the POINTSMAN_ROLE_ constants; regular by default.
    pub role: u32,
    /// Identifies the worker, UTF-8. Any text that the host likes; no two workers have the same.
    pub url: *const c_char,
    /// Its length; POINTSMAN_NUL_TERMINATED by default.
    pub url_length: usize,
    /// Pairs are formed within a group only; a worker without one pairs with any. NULL: none.
    pub group: *const c_char,
    /// Its length; POINTSMAN_NUL_TERMINATED by default.
    pub group_length: usize,
    /// Share of the work in relation to the others', above 0; 1 by default.
    pub weight: f64,
    /// Tokens that fit into its KV cache; 0: unknown.
    pub kv_capacity_tokens: u64,
    /// Handed back with every selection of this worker.
    pub user_data: u64,
    /// What requests can ask for; NULL: none.
    pub labels: *const pointsman_label,
    /// How many.
    pub label_count: u32,
    /// Requests that it may hold at once; 0: no limit.
    pub max_in_flight: u32,
}

/// What a worker says about its own load.
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
    /// 0.
    pub reserved: u32,
    /// KV cache tokens in use; all bits set, as POINTSMAN_LOAD_INIT has it: unknown.
    pub kv_used_tokens: u64,
    /// KV cache tokens in all; all bits set, as POINTSMAN_LOAD_INIT has it: unknown.
    pub kv_total_tokens: u64,
    /// When this was so; POINTSMAN_NOW by default.
    pub at: u64,
}

sized!(pointsman_label, pointsman_worker_spec, pointsman_load);

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
    ) -> pointsman_status => add;

    /// Removes a worker at once: its open tickets are closed, its prefixes forgotten. To let its
    /// requests end first, drain it.
    ///
    /// Errors: POINTSMAN_INVALID_ARGUMENT, POINTSMAN_NOT_FOUND, POINTSMAN_IN_CALLBACK.
    fn pointsman_worker_remove(
        router: *const pointsman_router,
        worker: u64,
        now: u64,
    ) -> pointsman_status => remove;

    /// Stops sending new requests to a worker (draining not 0) or starts again (0).
    ///
    /// Errors: POINTSMAN_INVALID_ARGUMENT, POINTSMAN_NOT_FOUND, POINTSMAN_IN_CALLBACK.
    fn pointsman_worker_drain(
        router: *const pointsman_router,
        worker: u64,
        draining: u32,
    ) -> pointsman_status => drain;

    /// Changes a worker's weight.
    ///
    /// Errors: POINTSMAN_INVALID_ARGUMENT (0 is not allowed: drain it), POINTSMAN_NOT_FOUND,
    /// POINTSMAN_IN_CALLBACK.
    fn pointsman_worker_set_weight(
        router: *const pointsman_router,
        worker: u64,
        weight: f64,
    ) -> pointsman_status => set_weight;

    /// Changes how many requests a worker may hold at once; 0 lifts the limit.
    ///
    /// Errors: POINTSMAN_INVALID_ARGUMENT, POINTSMAN_NOT_FOUND, POINTSMAN_IN_CALLBACK.
    fn pointsman_worker_set_max_in_flight(
        router: *const pointsman_router,
        worker: u64,
        max_in_flight: u32,
    ) -> pointsman_status => set_max_in_flight;

    /// Tells a worker's health: one of the POINTSMAN_HEALTH_ constants.
    ///
    /// Errors: POINTSMAN_INVALID_ARGUMENT, POINTSMAN_NOT_FOUND, POINTSMAN_IN_CALLBACK.
    fn pointsman_worker_set_health(
        router: *const pointsman_router,
        worker: u64,
        health: u32,
    ) -> pointsman_status => set_health;

    /// Stores what a worker says about its load, for policies that use it.
    ///
    /// Errors: POINTSMAN_INVALID_ARGUMENT, POINTSMAN_NOT_FOUND, POINTSMAN_IN_CALLBACK.
    fn pointsman_worker_report_load(
        router: *const pointsman_router,
        worker: u64,
        load: *const pointsman_load,
    ) -> pointsman_status => report_load;
}

/// A role from its number.
pub(crate) fn role_of(number: u32, name: &'static str) -> Result<Role, Failure> {
    let role = Role::ALL.get(number as usize).copied();
    role.ok_or(Failure::argument(name, "is none of the POINTSMAN_ROLE_ constants"))
}

/// A worker's id from its number. 0 is nobody's.
#[inline]
pub(crate) fn id(worker: u64) -> Result<WorkerId, Failure> {
    if worker == 0 { Err(Failure::NobodysId) } else { Ok(WorkerId::from_raw(worker)) }
}

/// Borrows labels one by one; the array advances by the size of its first element.
///
/// # Safety
/// `labels` is NULL or valid for `count` labels that outlive `'a`.
pub(crate) unsafe fn each_label<'a>(
    labels: *const pointsman_label,
    count: usize,
    mut take: impl FnMut(&'a str, &'a str) -> Result<(), Failure>,
) -> Result<(), Failure> {
    if count == 0 {
        return Ok(());
    }
    let mut scratch = MaybeUninit::uninit();
    // SAFETY: the caller's promise.
    let stride = unsafe { argument::input(labels, "labels", &mut scratch) }?.size as usize;
    if stride % align_of::<pointsman_label>() != 0 {
        return Err(Failure::argument("labels", "has elements of an odd size"));
    }
    for i in 0..count {
        let mut scratch = MaybeUninit::uninit();
        // SAFETY: the caller's promise; elements lie `stride` bytes apart.
        unsafe {
            let at = labels.cast::<u8>().add(i * stride).cast::<pointsman_label>();
            let label = argument::input(at, "labels", &mut scratch)?;
            let key = argument::text(label.key, label.key_length, "label key")?;
            let value = argument::text(label.value, label.value_length, "label value")?;
            take(key, value)?;
        }
    }
    Ok(())
}

/// # Safety
/// See the export.
unsafe fn add(
    router: *const pointsman_router,
    spec: *const pointsman_worker_spec,
    now: u64,
    worker: *mut u64,
) -> Result<(), Failure> {
    let mut scratch = MaybeUninit::uninit();
    // SAFETY: the caller's promise.
    let (handle, spec) =
        unsafe { (outside_callbacks(router)?, argument::input(spec, "spec", &mut scratch)?) };
    // SAFETY: the caller's promise.
    let spec = unsafe { read_spec(spec) }?;
    // SAFETY: the caller's promise.
    let place = unsafe { Place::optional(worker, "worker") }?;
    let id = handle.router.at(time(&handle.router, now)).add_worker(spec)?;
    if let Some(place) = place {
        place.write(id.to_raw());
    }
    if handle.log.wants(log::level::INFO) {
        let url = handle.router.worker(id).map_or(String::new(), |info| info.url.clone());
        log::write!(handle.log, INFO, "worker {id} added: {url}");
    }
    Ok(())
}

/// # Safety
/// The texts and labels are as the struct says.
unsafe fn read_spec(spec: &pointsman_worker_spec) -> Result<WorkerSpec, Failure> {
    // SAFETY: the caller's promise.
    let (url, group) = unsafe {
        (
            argument::text(spec.url, spec.url_length, "spec.url")?,
            argument::text(spec.group, spec.group_length, "spec.group")?,
        )
    };
    let mut read = WorkerSpec::new(url)
        .role(role_of(spec.role, "spec.role")?)
        .weight(spec.weight)
        .user_data(spec.user_data);
    if !group.is_empty() {
        read = read.group(group);
    }
    if spec.kv_capacity_tokens != 0 {
        read = read.kv_capacity_tokens(spec.kv_capacity_tokens);
    }
    if spec.max_in_flight != 0 {
        read = read.max_in_flight(spec.max_in_flight);
    }
    let mut labels = Vec::new();
    // SAFETY: the caller's promise.
    unsafe {
        each_label(spec.labels, spec.label_count as usize, |key, value| {
            labels.push((key, value));
            Ok(())
        })?;
    }
    Ok(labels.into_iter().fold(read, |spec, (key, value)| spec.label(key, value)))
}

/// # Safety
/// See the export.
unsafe fn remove(router: *const pointsman_router, worker: u64, now: u64) -> Result<(), Failure> {
    // SAFETY: the caller's promise.
    let handle = unsafe { outside_callbacks(router) }?;
    handle.router.at(time(&handle.router, now)).remove_worker(id(worker)?)?;
    log::write!(handle.log, INFO, "worker {worker} removed");
    Ok(())
}

/// # Safety
/// See the export.
unsafe fn drain(
    router: *const pointsman_router,
    worker: u64,
    draining: u32,
) -> Result<(), Failure> {
    // SAFETY: the caller's promise.
    let handle = unsafe { outside_callbacks(router) }?;
    let worker_id = id(worker)?;
    if draining != 0 {
        handle.router.drain_worker(worker_id)?;
    } else {
        handle.router.resume_worker(worker_id)?;
    }
    log::write!(handle.log, INFO, "worker {worker} draining: {}", draining != 0);
    Ok(())
}

/// # Safety
/// See the export.
unsafe fn set_weight(
    router: *const pointsman_router,
    worker: u64,
    weight: f64,
) -> Result<(), Failure> {
    // SAFETY: the caller's promise.
    let handle = unsafe { outside_callbacks(router) }?;
    handle.router.set_weight(id(worker)?, weight)?;
    log::write!(handle.log, INFO, "worker {worker} has weight {weight}");
    Ok(())
}

/// # Safety
/// See the export.
unsafe fn set_max_in_flight(
    router: *const pointsman_router,
    worker: u64,
    max_in_flight: u32,
) -> Result<(), Failure> {
    // SAFETY: the caller's promise.
    let router = &unsafe { outside_callbacks(router) }?.router;
    Ok(router.set_max_in_flight(id(worker)?, Some(max_in_flight).filter(|&limit| limit != 0))?)
}

/// # Safety
/// See the export.
unsafe fn set_health(
    router: *const pointsman_router,
    worker: u64,
    health: u32,
) -> Result<(), Failure> {
    // SAFETY: the caller's promise.
    let handle = unsafe { outside_callbacks(router) }?;
    let (health, name) = match health {
        POINTSMAN_HEALTH_PASSIVE => (pointsman_core::HostHealth::Unknown, "passive"),
        POINTSMAN_HEALTH_HEALTHY => (pointsman_core::HostHealth::Healthy, "healthy"),
        POINTSMAN_HEALTH_UNHEALTHY => (pointsman_core::HostHealth::Unhealthy, "unhealthy"),
        _ => {
            let problem = "is none of the POINTSMAN_HEALTH_ constants";
            return Err(Failure::argument("health", problem));
        }
    };
    handle.router.set_health(id(worker)?, health)?;
    log::write!(handle.log, INFO, "worker {worker} has health: {name}");
    Ok(())
}

/// # Safety
/// See the export.
unsafe fn report_load(
    router: *const pointsman_router,
    worker: u64,
    load: *const pointsman_load,
) -> Result<(), Failure> {
    let mut scratch = MaybeUninit::uninit();
    // SAFETY: the caller's promise.
    let (handle, load) =
        unsafe { (outside_callbacks(router)?, argument::input(load, "load", &mut scratch)?) };
    let known = |tokens: u64| Some(tokens).filter(|&tokens| tokens != u64::MAX);
    let report = LoadReport {
        running: load.running,
        waiting: load.waiting,
        kv_used_tokens: known(load.kv_used_tokens),
        kv_total_tokens: known(load.kv_total_tokens),
        at: time(&handle.router, load.at),
    };
    Ok(handle.router.report_load(id(worker)?, report)?)
}
