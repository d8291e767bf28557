//! The router: made, used by any number of threads, freed once.

use std::ffi::c_char;

use pointsman_core::{At, PolicyConfig, Router, RouterConfig, SplitConfig, Time};

use crate::argument::{Out, TextRoom, optional_text, out, text, text_room};
use crate::failure::Failure;
use crate::handle::{Handle, hand_out, handle, outside, taken_outside};
use crate::log::{self, Log};
use crate::special::POINTSMAN_NOW;
use crate::status::pointsman_status;

/// A router: workers, policies, one prefix tree, tickets and counters.
///
/// Threads: every function may be called from any number of threads at once, except
/// pointsman_router_free and pointsman_router_after_fork. The library has no threads, timers, sockets
/// or signal handlers of its own. pointsman_select, pointsman_select_pair, pointsman_first_token,
/// pointsman_progress and pointsman_complete take no lock that another thread could hold while it
/// works, and allocate nothing once they are warm: the first prompts of a length make room for their
/// hashes, at most 256 KiB for each of up to 32 threads that select at once.
///
/// Fork: allowed while no other thread is inside a call. The child calls pointsman_router_after_fork
/// before it uses the router, and then has workers, policies and prefixes as they were, and no
/// requests in flight. Parent and child share nothing.
///
/// Time: nanoseconds of any monotonic clock, the same one for all calls on a router. POINTSMAN_NOW
/// reads the router's own clock, which pointsman_router_now reads, too. Use one or the other for a
/// router, not both. As POINTSMAN_NOW is 0, a clock of the host's own must begin above 0.
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
    ) -> pointsman_status => new(optional_text(config, config_length), out(router));

    /// Frees a router; NULL is allowed. No other call on it may be under way or follow. Open tickets
    /// are forgotten. Inside a callback it does nothing.
    fn pointsman_router_free(router: *mut pointsman_router) => free(taken_outside(router));

    /// Call this in a forked child before the router is used there: it draws new random seeds, and
    /// forgets tickets and requests in flight. No other thread of the child may be inside a call.
    ///
    /// Errors: POINTSMAN_INVALID_ARGUMENT, POINTSMAN_IN_CALLBACK.
    fn pointsman_router_after_fork(router: *mut pointsman_router) -> pointsman_status => after_fork(outside(router));

    /// Does at once the maintenance that calls otherwise do in small pieces: closes expired tickets,
    /// ends ejections and pauses. Never needed; helpful where requests are rare.
    ///
    /// Errors: POINTSMAN_INVALID_ARGUMENT, POINTSMAN_IN_CALLBACK.
    fn pointsman_router_tick(router: *const pointsman_router, now: u64) -> pointsman_status => tick(outside(router), now);

    /// The router's own clock: nanoseconds since it was made; 0 if router is NULL.
    fn pointsman_router_now(router: *const pointsman_router) -> u64 => now(handle(router));

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
    ) -> pointsman_status => set_policy(outside(router), text(policy, policy_length));

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
    ) -> pointsman_status => policy(outside(router), text_room(buffer, capacity, length));

    /// As pointsman_router_set_policy, with separate policies for the prefill and the decode workers of
    /// pairs; NULL leaves that role to policy.
    ///
    /// Errors: as pointsman_router_set_policy.
    fn pointsman_router_set_policies(
        router: *const pointsman_router,
        policy: *const c_char,
        policy_length: usize,
        prefill: *const c_char,
        prefill_length: usize,
        decode: *const c_char,
        decode_length: usize,
    ) -> pointsman_status => set_policies(
        outside(router),
        text(policy, policy_length),
        text(prefill, prefill_length),
        text(decode, decode_length)
    );

    /// Sends a share (0 to 1) of the requests to a second policy; policy NULL stops it. Requests with
    /// a routing key stay with one of the two.
    ///
    /// Errors: as pointsman_router_set_policy.
    fn pointsman_router_set_split(
        router: *const pointsman_router,
        policy: *const c_char,
        policy_length: usize,
        share: f64,
    ) -> pointsman_status => set_split(outside(router), text(policy, policy_length), share);

    /// Runs a second policy beside the real one: its decisions are compared and counted, not followed.
    /// NULL stops it. The Prometheus text says how the two differ.
    ///
    /// Errors: as pointsman_router_set_policy.
    fn pointsman_router_set_shadow(
        router: *const pointsman_router,
        policy: *const c_char,
        policy_length: usize,
    ) -> pointsman_status => set_shadow(outside(router), text(policy, policy_length));
}

handle!(pointsman_router, b"PMrouter");

impl pointsman_router {
    /// Gives a router to the caller.
    pub(crate) fn hand_out(router: Router, log: Log) -> *mut pointsman_router {
        hand_out(pointsman_router { magic: Self::MAGIC, router, log })
    }

    /// The time that a caller means.
    #[inline(always)]
    pub(crate) fn time(&self, now: u64) -> Time {
        if now == POINTSMAN_NOW { self.router.now() } else { now.into() }
    }

    /// The router at the time that a caller means.
    #[inline(always)]
    pub(crate) fn at(&self, now: u64) -> At<'_> {
        self.router.at(self.time(now))
    }
}

fn new(config: Option<&str>, out: Out<*mut pointsman_router>) -> Result<(), Failure> {
    let router = Router::new(read_config(config)?)?;
    out.write(pointsman_router::hand_out(router, Log::NONE));
    Ok(())
}

/// The configuration in a document; the defaults without one. An empty document is refused: it is
/// usually a file that could not be read.
pub(crate) fn read_config(document: Option<&str>) -> Result<RouterConfig, Failure> {
    let Some(document) = document else { return Ok(RouterConfig::default()) };
    if document.trim().is_empty() {
        return Err(Failure::argument("config", "is empty; pass NULL for the defaults"));
    }
    Ok(RouterConfig::from_json(document)?)
}

fn free(router: Box<pointsman_router>) -> Result<(), Failure> {
    drop(router);
    Ok(())
}

fn after_fork(router: &pointsman_router) -> Result<(), Failure> {
    router.router.after_fork();
    Ok(())
}

fn tick(router: &pointsman_router, now: u64) -> Result<(), Failure> {
    router.at(now).tick();
    Ok(())
}

fn now(router: &pointsman_router) -> Result<u64, Failure> {
    Ok(router.router.now().as_nanos())
}

fn policy(router: &pointsman_router, buffer: TextRoom) -> Result<(), Failure> {
    buffer.write(&router.router.policy())
}

fn set_policy(router: &pointsman_router, policy: &str) -> Result<(), Failure> {
    set_policies(router, policy, "", "")
}

fn set_policies(
    router: &pointsman_router,
    policy: &str,
    prefill: &str,
    decode: &str,
) -> Result<(), Failure> {
    let policy = read_policy(policy)?.ok_or(Failure::argument("policy", "is NULL or empty"))?;
    let (prefill, decode) = (read_policy(prefill)?, read_policy(decode)?);
    router.router.set_policies(&policy, prefill.as_ref(), decode.as_ref())?;
    log::write!(router.log, INFO, "policy set to {}", policy.name());
    Ok(())
}

fn set_split(router: &pointsman_router, policy: &str, share: f64) -> Result<(), Failure> {
    let split = read_policy(policy)?.map(|policy| SplitConfig::new(policy, share));
    router.router.set_split(split.as_ref())?;
    log::write!(router.log, INFO, "split set to {} of the requests", share);
    Ok(())
}

fn set_shadow(router: &pointsman_router, policy: &str) -> Result<(), Failure> {
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
