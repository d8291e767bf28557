//! The router: made, used by any number of threads, freed once.

use std::ffi::c_char;

use pointsman_core::{PolicyConfig, Router, RouterConfig, SplitConfig};

use crate::argument::{self, Place};
use crate::log::{self, Log};
use crate::policy::in_callback;
use crate::status::{Failure, pointsman_status};

/// The length that stands for "up to the terminating NUL" wherever text is passed.
pub const POINTSMAN_NUL_TERMINATED: usize = usize::MAX;
/// The time that stands for "read the clock" wherever a time is passed.
pub const POINTSMAN_NOW: u64 = 0;

/// A router: workers, policies, one prefix tree, tickets and counters.
///
/// Threads: every function may be called from any number of threads at once, except
/// pointsman_router_free and pointsman_router_after_fork. The library has no threads, timers, sockets
/// or signal handlers of its own. pointsman_select, pointsman_select_pair, pointsman_first_token,
/// pointsman_progress and pointsman_complete take no lock that another thread could hold while it
/// works, and allocate nothing.
///
/// Fork: allowed while no other thread is inside a call. The child calls pointsman_router_after_fork
/// before it uses the router, and then has workers, policies and prefixes as they were, and no
/// requests in flight. Parent and child share nothing.
///
/// Time: nanoseconds of any monotonic clock, the same one for all calls on a router. POINTSMAN_NOW
/// reads the router's own clock, which pointsman_router_now reads, too. Use one or the other for a
/// router, not both.
///
/// Lifetime: from pointsman_router_new or pointsman_builder_build to pointsman_router_free.
#[allow(non_camel_case_types)]
pub struct pointsman_router {
    magic: u64,
    pub(crate) router: Router,
    pub(crate) log: Log,
}

export! {
    /// Makes a router from a configuration document: JSON, with the fields that docs/configuration.md
    /// lists. NULL or "{}" takes every default; an empty text and unknown fields are refused.
    ///
    /// Errors: POINTSMAN_INVALID_ARGUMENT; POINTSMAN_INVALID_CONFIG, with a message that names line and
    /// column where the document is not JSON of this shape, and the field where a value is out of range.
    fn pointsman_router_new(
        config: *const c_char,
        config_length: usize,
        router: *mut *mut pointsman_router,
    ) -> pointsman_status => new;

    /// Frees a router; NULL is allowed. No other call on it may be under way or follow. Open tickets
    /// are forgotten. Inside a callback it does nothing.
    fn pointsman_router_free(router: *mut pointsman_router) => free;

    /// To be called in a forked child before the router is used there: new random seeds, no tickets
    /// and no requests in flight. No other thread of the child may be inside a call.
    ///
    /// Errors: POINTSMAN_INVALID_ARGUMENT, POINTSMAN_IN_CALLBACK.
    fn pointsman_router_after_fork(router: *mut pointsman_router) -> pointsman_status => after_fork;

    /// Does at once the housekeeping that calls otherwise do in small pieces: closes expired tickets,
    /// ends ejections and pauses. Never needed; helpful where requests are rare.
    ///
    /// Errors: POINTSMAN_INVALID_ARGUMENT, POINTSMAN_IN_CALLBACK.
    fn pointsman_router_tick(router: *const pointsman_router, now: u64) -> pointsman_status => tick;

    /// The router's own clock: nanoseconds since it was made; 0 if router is NULL.
    fn pointsman_router_now(router: *const pointsman_router) -> u64 => now;

    /// Switches the policy of every role while requests are under way. policy is the name of a policy
    /// with its defaults ("random", "round_robin", "power_of_two", "cache_aware", and for the latter's
    /// rules "least_work" and "threshold"; or one registered with the builder), or the JSON that stands
    /// for a policy in the configuration: {"power_of_two": {"max_report_age_secs": 5}}, or
    /// {"custom": {"name": "mine", "options": ...}} for one registered with the builder as mine. The
    /// prefix tree keeps its contents; requests in flight complete at the policy that chose their
    /// worker.
    ///
    /// Errors: POINTSMAN_INVALID_ARGUMENT; POINTSMAN_INVALID_CONFIG, also if the policy's create
    /// callback refuses the options; POINTSMAN_LIMIT; POINTSMAN_IN_CALLBACK.
    fn pointsman_router_set_policy(
        router: *const pointsman_router,
        policy: *const c_char,
        policy_length: usize,
    ) -> pointsman_status => set_policy;

    /// Copies the name of the policy that regular requests are chosen by, and a final NUL, into buffer.
    /// length may be NULL; it gets the name's length without the NUL.
    ///
    /// Errors: POINTSMAN_INVALID_ARGUMENT; POINTSMAN_BUFFER_TOO_SMALL, where length is written
    /// nevertheless; POINTSMAN_IN_CALLBACK.
    fn pointsman_router_policy(
        router: *const pointsman_router,
        buffer: *mut c_char,
        capacity: usize,
        length: *mut usize,
    ) -> pointsman_status => policy;

    /// As pointsman_router_set_policy, with policies of their own for the prefill and the decode
    /// workers of pairs; NULL leaves that role to policy.
    fn pointsman_router_set_policies(
        router: *const pointsman_router,
        policy: *const c_char,
        policy_length: usize,
        prefill: *const c_char,
        prefill_length: usize,
        decode: *const c_char,
        decode_length: usize,
    ) -> pointsman_status => set_policies;

    /// Sends a share (0 to 1) of the requests to a second policy; policy NULL stops it. Requests with
    /// a routing key stay with one of the two.
    ///
    /// Errors: as pointsman_router_set_policy.
    fn pointsman_router_set_split(
        router: *const pointsman_router,
        policy: *const c_char,
        policy_length: usize,
        share: f64,
    ) -> pointsman_status => set_split;

    /// Lets a second policy decide beside the real one without being followed; NULL stops it. The
    /// Prometheus text says how the two differ.
    ///
    /// Errors: as pointsman_router_set_policy.
    fn pointsman_router_set_shadow(
        router: *const pointsman_router,
        policy: *const c_char,
        policy_length: usize,
    ) -> pointsman_status => set_shadow;
}

/// What lives behind a pointer that the caller holds: begins with a number that tells its kind.
///
/// # Safety
/// The type's first field in memory need not be the number, but `magic` must read it.
pub(crate) trait Handle {
    const MAGIC: u64;
    const NAME: &'static str;
    fn magic(&self) -> u64;
    fn spoil(&mut self);
}

/// Implements [`Handle`] for a struct with a field `magic`.
macro_rules! handle {
    ($type:ty, $name:literal, $magic:literal) => {
        impl $crate::router::Handle for $type {
            const MAGIC: u64 = u64::from_be_bytes(*$magic);
            const NAME: &'static str = $name;
            #[inline(always)]
            fn magic(&self) -> u64 {
                self.magic
            }
            fn spoil(&mut self) {
                self.magic = 0;
            }
        }
    };
}
pub(crate) use handle;

handle!(pointsman_router, "router", b"PMrouter");

/// Borrows what a handle stands for. A handle of another kind or one that was freed is refused where
/// that can be seen.
///
/// # Safety
/// The pointer is NULL or points to a live object of this library.
#[inline(always)]
pub(crate) unsafe fn borrow<'a, T: Handle>(pointer: *const T) -> Result<&'a T, Failure> {
    if pointer.is_null() {
        return Err(Failure::argument(T::NAME, "is NULL"));
    }
    if !pointer.is_aligned() {
        return Err(Failure::argument(T::NAME, "is not a valid handle"));
    }
    // SAFETY: not NULL, aligned, alive by the caller's promise.
    let object = unsafe { &*pointer };
    if object.magic() != T::MAGIC {
        return Err(Failure::argument(T::NAME, "is not a valid handle"));
    }
    Ok(object)
}

/// Whether a handle is what it should be, as far as that can be seen.
///
/// # Safety
/// As for [`borrow`], and the pointer is aligned.
#[inline(always)]
pub(crate) unsafe fn is_live<T: Handle>(pointer: *const T) -> bool {
    const { assert!(align_of::<T>() <= align_of::<u64>()) };
    // SAFETY: the caller's promise.
    !pointer.is_null() && unsafe { &*pointer }.magic() == T::MAGIC
}

/// Takes a handle's object back; `None` for NULL and what is no live handle.
///
/// # Safety
/// As for [`borrow`], and nobody else uses the handle, now or later.
pub(crate) unsafe fn take<T: Handle>(pointer: *mut T) -> Option<Box<T>> {
    // SAFETY: the caller's promise.
    unsafe { borrow(pointer.cast_const()) }.ok()?;
    // SAFETY: every handle was made by `Box::into_raw`, and this one is alive.
    let mut object = unsafe { Box::from_raw(pointer) };
    object.spoil();
    Some(object)
}

/// Borrows a router for a call that may take the router's writer lock, which callbacks must not.
///
/// # Safety
/// As for [`borrow`].
pub(crate) unsafe fn outside_callbacks<'a>(
    router: *const pointsman_router,
) -> Result<&'a pointsman_router, Failure> {
    // SAFETY: the caller's promise.
    let router = unsafe { borrow(router) }?;
    if in_callback() { Err(Failure::InCallback) } else { Ok(router) }
}

/// Gives a router to the caller.
pub(crate) fn hand_out(router: Router, log: Log) -> *mut pointsman_router {
    Box::into_raw(Box::new(pointsman_router { magic: pointsman_router::MAGIC, router, log }))
}

/// The time that a caller means.
#[inline(always)]
pub(crate) fn time(router: &Router, now: u64) -> u64 {
    if now == POINTSMAN_NOW { clock(router) } else { now }
}

/// Apart, so that calls that say the time need no registers for reading it.
#[inline(never)]
fn clock(router: &Router) -> u64 {
    router.now().as_nanos()
}

/// # Safety
/// See the export.
unsafe fn new(
    config: *const c_char,
    config_length: usize,
    router: *mut *mut pointsman_router,
) -> Result<(), Failure> {
    // SAFETY: the caller's promise.
    let (place, config) = unsafe {
        (Place::new(router, "router")?, argument::text_or_none(config, config_length, "config")?)
    };
    let router = Router::new(read_config(config)?)?;
    place.write(hand_out(router, Log::NONE));
    Ok(())
}

/// The configuration that a document stands for; no document stands for the defaults. An empty one is
/// what is left of a file that could not be read, not a wish for the defaults.
pub(crate) fn read_config(document: Option<&str>) -> Result<RouterConfig, Failure> {
    let Some(document) = document else { return Ok(RouterConfig::default()) };
    if document.trim().is_empty() {
        return Err(Failure::argument("config", "is empty; pass NULL for the defaults"));
    }
    Ok(RouterConfig::from_json(document)?)
}

/// # Safety
/// See the export.
unsafe fn free(router: *mut pointsman_router) {
    if in_callback() {
        // A callback of this very router may be on the stack: a leak is the lesser evil.
        return;
    }
    // SAFETY: the caller's promise.
    drop(unsafe { take(router) });
}

/// # Safety
/// See the export.
unsafe fn after_fork(router: *mut pointsman_router) -> Result<(), Failure> {
    // SAFETY: the caller's promise.
    unsafe { outside_callbacks(router) }?.router.after_fork();
    Ok(())
}

/// # Safety
/// See the export.
unsafe fn tick(router: *const pointsman_router, now: u64) -> Result<(), Failure> {
    // SAFETY: the caller's promise.
    let router = &unsafe { outside_callbacks(router) }?.router;
    router.at(time(router, now)).tick();
    Ok(())
}

/// # Safety
/// See the export.
unsafe fn now(router: *const pointsman_router) -> u64 {
    // SAFETY: the caller's promise.
    unsafe { borrow(router) }.map_or(0, |router| router.router.now().as_nanos())
}

/// # Safety
/// See the export.
unsafe fn policy(
    router: *const pointsman_router,
    buffer: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> Result<(), Failure> {
    // SAFETY: the caller's promise.
    let name = unsafe { outside_callbacks(router) }?.router.policy();
    // SAFETY: the caller's promise.
    unsafe { argument::copy_text(name.as_bytes(), buffer, capacity, length) }
}

/// # Safety
/// See the export.
unsafe fn set_policy(
    router: *const pointsman_router,
    policy: *const c_char,
    policy_length: usize,
) -> Result<(), Failure> {
    let none = std::ptr::null();
    // SAFETY: the caller's promise.
    unsafe { set_policies(router, policy, policy_length, none, 0, none, 0) }
}

/// # Safety
/// See the export.
unsafe fn set_policies(
    router: *const pointsman_router,
    policy: *const c_char,
    policy_length: usize,
    prefill: *const c_char,
    prefill_length: usize,
    decode: *const c_char,
    decode_length: usize,
) -> Result<(), Failure> {
    // SAFETY: the caller's promise.
    let (router, policy, prefill, decode) = unsafe {
        (
            outside_callbacks(router)?,
            argument::text(policy, policy_length, "policy")?,
            argument::text(prefill, prefill_length, "prefill")?,
            argument::text(decode, decode_length, "decode")?,
        )
    };
    let policy = read_policy(policy)?.ok_or(Failure::argument("policy", "is NULL or empty"))?;
    let (prefill, decode) = (read_policy(prefill)?, read_policy(decode)?);
    router.router.set_policies(&policy, prefill.as_ref(), decode.as_ref())?;
    log::write!(router.log, INFO, "policy set to {}", policy.name());
    Ok(())
}

/// # Safety
/// See the export.
unsafe fn set_split(
    router: *const pointsman_router,
    policy: *const c_char,
    policy_length: usize,
    share: f64,
) -> Result<(), Failure> {
    // SAFETY: the caller's promise.
    let (router, policy) =
        unsafe { (outside_callbacks(router)?, argument::text(policy, policy_length, "policy")?) };
    let split = read_policy(policy)?.map(|policy| SplitConfig::new(policy, share));
    router.router.set_split(split.as_ref())?;
    log::write!(router.log, INFO, "split set to {} of the requests", share);
    Ok(())
}

/// # Safety
/// See the export.
unsafe fn set_shadow(
    router: *const pointsman_router,
    policy: *const c_char,
    policy_length: usize,
) -> Result<(), Failure> {
    // SAFETY: the caller's promise.
    let (router, policy) =
        unsafe { (outside_callbacks(router)?, argument::text(policy, policy_length, "policy")?) };
    let shadow = read_policy(policy)?;
    router.router.set_shadow(shadow.as_ref())?;
    let name = shadow.as_ref().map_or("none", PolicyConfig::name);
    log::write!(router.log, INFO, "shadow policy set to {name}");
    Ok(())
}

/// A policy as JSON, or a bare name.
pub(crate) fn read_policy(text: &str) -> Result<Option<PolicyConfig>, Failure> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    if !text.starts_with(['{', '"']) {
        return Ok(Some(PolicyConfig::named(text)));
    }
    let policy = serde_json::from_str(text)
        .map_err(|error| pointsman_core::ConfigError::Document(error.to_string()))?;
    Ok(Some(policy))
}
