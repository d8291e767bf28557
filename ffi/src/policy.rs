//! Policies written in C, as policies of the core.

use std::cell::Cell;
use std::ffi::{c_char, c_void};
use std::mem::size_of;
use std::sync::Arc;

use pointsman_core::{
    Candidates, Completion, Decision, Dispatch, FirstToken, PolicyError, PolicyFailure, Reason,
    RequestView, Role, RoutingError, RoutingPolicy, RunnerUp, prefix::MAX_HOLDERS,
};
use serde_json::Value;

use crate::route::{POINTSMAN_NONE, POINTSMAN_UNKNOWN};
use crate::status::{POINTSMAN_ALL_BUSY, POINTSMAN_NO_WORKER, POINTSMAN_OK, pointsman_status};

/// The policy reads prefixes: prompts are fingerprinted, candidates show how much each holds, and
/// what is dispatched is remembered.
pub const POINTSMAN_POLICY_WANTS_PREFIX: u32 = 1;
/// The policy wants the events of requests; it gets those of workers in any case.
pub const POINTSMAN_POLICY_WANTS_REQUEST_EVENTS: u32 = 2;

const KNOWN_FLAGS: u32 = POINTSMAN_POLICY_WANTS_PREFIX | POINTSMAN_POLICY_WANTS_REQUEST_EVENTS;

/// A decision was charged: the request is about to be sent. For a pair there are two such events.
pub const POINTSMAN_EVENT_DISPATCH: u32 = 1;
/// The prompt is computed.
pub const POINTSMAN_EVENT_FIRST_TOKEN: u32 = 2;
/// The request is over; exactly once per request.
pub const POINTSMAN_EVENT_COMPLETE: u32 = 3;
/// A worker was registered. Also told for every worker when the policy takes over.
pub const POINTSMAN_EVENT_WORKER_ADDED: u32 = 4;
/// A worker was removed; what is known about its slot is to be forgotten.
pub const POINTSMAN_EVENT_WORKER_REMOVED: u32 = 5;
/// This process is a fork's child: draw new random seeds, forget requests in flight.
pub const POINTSMAN_EVENT_FORKED: u32 = 6;

/// The workers that a policy may choose from: arrays of count elements each, one element per worker.
/// They belong to the library and are valid during the call.
#[allow(non_camel_case_types)]
#[derive(Clone, Copy)]
#[repr(C)]
pub struct pointsman_candidates {
    /// sizeof this struct in the library.
    pub size: u32,
    /// Their role: one of the POINTSMAN_ROLE_ constants.
    pub role: u32,
    /// How many there are, at least 1.
    pub count: u32,
    /// 0.
    pub reserved: u32,
    /// Their ids.
    pub workers: *const u64,
    /// The host's own numbers.
    pub user_data: *const u64,
    /// The weights in force: as configured, lowered during slow start or overload.
    pub weights: *const f64,
    /// Their slots, below 1,024: small numbers to keep knowledge about a worker under, until
    /// POINTSMAN_EVENT_WORKER_REMOVED. Ascending.
    pub slots: *const u32,
    /// Requests in flight.
    pub in_flight: *const u32,
    /// Leading tokens of the prompt that each is believed to hold; NULL unless the policy has
    /// POINTSMAN_POLICY_WANTS_PREFIX.
    pub matched_tokens: *const u32,
}

/// The request as a policy sees it. Belongs to the library and is valid during the call.
#[allow(non_camel_case_types)]
#[derive(Clone, Copy)]
#[repr(C)]
pub struct pointsman_request_view {
    /// sizeof this struct in the library.
    pub size: u32,
    /// Length of the prompt in tokens, estimated where only bytes are known; 0 if unknown.
    pub prompt_tokens: u32,
    /// The time of the request.
    pub now: u64,
    /// A keyed digest of the routing key; 0 if there is none.
    pub routing_key: u64,
}

/// What a policy's select callback decides. The library sets everything before the call: index to
/// POINTSMAN_NONE, so that forgetting to choose is an error, and the rest to "nothing compared".
#[allow(non_camel_case_types)]
#[derive(Clone, Copy)]
#[repr(C)]
pub struct pointsman_decision {
    /// sizeof this struct in the library.
    pub size: u32,
    /// The chosen candidate: an index into the arrays. Anything else fails the request with
    /// POINTSMAN_POLICY_FAILED.
    pub index: u32,
    /// The best of those not chosen, as an index, or POINTSMAN_NONE.
    pub runner_up: u32,
    /// Prompt tokens that the worker will have to compute; handed back with the events.
    pub work_tokens: u32,
    /// What the policy minimised, in its own unit.
    pub score: f64,
    /// The same for the runner-up.
    pub runner_up_score: f64,
}

/// Something happened to a request or a worker. Belongs to the library and is valid during the call.
#[allow(non_camel_case_types)]
#[derive(Clone, Copy)]
#[repr(C)]
pub struct pointsman_event {
    /// sizeof this struct in the library.
    pub size: u32,
    /// One of the POINTSMAN_EVENT_ constants; ignore those that you do not know.
    pub kind: u32,
    /// The worker; for POINTSMAN_EVENT_COMPLETE the one that answered. 0 for POINTSMAN_EVENT_FORKED.
    pub worker: u64,
    /// The worker that computed the prompt, where that is known to be another one; else worker.
    pub prefill_worker: u64,
    /// The host's own number of the worker; only with the events of workers.
    pub user_data: u64,
    /// The time of the event; 0 with the events of workers.
    pub now: u64,
    /// The time of the dispatch.
    pub dispatched: u64,
    /// The worker's slot.
    pub slot: u32,
    /// The worker's role in this.
    pub role: u32,
    /// As decided.
    pub work_tokens: u32,
    /// As predicted when the worker was chosen.
    pub matched_tokens: u32,
    /// Prompt tokens; POINTSMAN_UNKNOWN if nobody said so.
    pub prompt_tokens: u32,
    /// Prompt tokens that the worker found in its cache; POINTSMAN_UNKNOWN if it did not say so.
    pub cached_tokens: u32,
    /// Tokens generated; POINTSMAN_UNKNOWN if nobody said so.
    pub completion_tokens: u32,
    /// With POINTSMAN_EVENT_COMPLETE: one of the POINTSMAN_OUTCOME_ constants.
    pub outcome: u32,
}

/// A policy of the host's own.
///
/// Callbacks are called from any thread that uses the router, several at a time. They must return,
/// not throw or longjmp, be quick, and must not call functions that change the router (these answer
/// POINTSMAN_IN_CALLBACK).
#[allow(non_camel_case_types)]
#[derive(Clone, Copy)]
#[repr(C)]
pub struct pointsman_policy {
    /// Set by POINTSMAN_POLICY_INIT.
    pub size: u32,
    /// POINTSMAN_POLICY_WANTS_ bits.
    pub flags: u32,
    /// Handed to create and release; and to select and on_event if there is no create.
    pub user_data: *mut c_void,
    /// Chooses one candidate. Only decides: the same request may be asked about again, and what was
    /// decided may come to nothing. Returns POINTSMAN_OK; POINTSMAN_NO_WORKER if it will have none of
    /// them; any other number fails the request with POINTSMAN_POLICY_FAILED. Required.
    ///
    /// Pairs are formed by calling it once for the prefill and once for the decode workers.
    pub select: Option<
        unsafe extern "C" fn(
            instance: *mut c_void,
            candidates: *const pointsman_candidates,
            request: *const pointsman_request_view,
            decision: *mut pointsman_decision,
        ) -> pointsman_status,
    >,
    /// Learns what became of it. May be NULL.
    pub on_event:
        Option<unsafe extern "C" fn(instance: *mut c_void, event: *const pointsman_event)>,
    /// Makes an instance each time that configuration calls for the policy, with the options given
    /// there as JSON ("null" if none are). What it stores is handed to select and on_event. Returns
    /// POINTSMAN_OK, or any other number to refuse the options. May be NULL.
    pub create: Option<
        unsafe extern "C" fn(
            user_data: *mut c_void,
            options: *const c_char,
            options_length: usize,
            instance: *mut *mut c_void,
        ) -> pointsman_status,
    >,
    /// Frees an instance that create made, when nothing uses it any more. May be NULL.
    pub destroy: Option<unsafe extern "C" fn(instance: *mut c_void)>,
    /// Called once, when the builder and all routers that could make instances are gone. May be NULL.
    pub release: Option<unsafe extern "C" fn(user_data: *mut c_void)>,
}

sized!(pointsman_policy);

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// Marks the thread as being inside a callback until dropped.
pub(crate) struct Inside;

impl Inside {
    pub(crate) fn enter() -> Self {
        DEPTH.with(|depth| depth.set(depth.get() + 1));
        Inside
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        DEPTH.with(|depth| depth.set(depth.get().saturating_sub(1)));
    }
}

/// Whether a callback is running on this thread.
pub(crate) fn in_callback() -> bool {
    DEPTH.with(Cell::get) > 0
}

/// A policy that a host has registered: what instances are made from.
pub(crate) struct Registration {
    pub(crate) name: String,
    callbacks: pointsman_policy,
}

// SAFETY: the host promises that any thread may call the callbacks with their data.
unsafe impl Send for Registration {}
// SAFETY: as above, several threads at a time.
unsafe impl Sync for Registration {}

impl Registration {
    pub(crate) fn new(name: &str, callbacks: pointsman_policy) -> Self {
        Registration { name: name.to_owned(), callbacks }
    }

    /// Whether the flags have a meaning.
    pub(crate) fn knows(flags: u32) -> bool {
        flags & !KNOWN_FLAGS == 0
    }

    /// Makes a policy with these options.
    pub(crate) fn create(
        self: &Arc<Self>,
        options: &Value,
    ) -> Result<Arc<dyn RoutingPolicy>, PolicyError> {
        let mut instance = self.callbacks.user_data;
        if let Some(create) = self.callbacks.create {
            let mut options = options.to_string();
            let length = options.len();
            options.push('\0');
            let _inside = Inside::enter();
            instance = std::ptr::null_mut();
            // SAFETY: the host's promise at registration; the text is NUL-terminated.
            let status = unsafe {
                create(self.callbacks.user_data, options.as_ptr().cast(), length, &mut instance)
            };
            if status != POINTSMAN_OK {
                let reason = format!("create returned {status}");
                return Err(PolicyError::Options(reason));
            }
        }
        Ok(Arc::new(CPolicy { made_by: Arc::clone(self), instance }))
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        if let Some(release) = self.callbacks.release {
            let _inside = Inside::enter();
            // SAFETY: the host's promise; this is the one call of `release`.
            unsafe { release(self.callbacks.user_data) };
        }
    }
}

/// One instance at work.
struct CPolicy {
    made_by: Arc<Registration>,
    instance: *mut c_void,
}

// SAFETY: the host promises that any thread may call the callbacks with the instance.
unsafe impl Send for CPolicy {}
// SAFETY: as above, several threads at a time.
unsafe impl Sync for CPolicy {}

impl Drop for CPolicy {
    fn drop(&mut self) {
        let callbacks = &self.made_by.callbacks;
        if let (Some(destroy), Some(_)) = (callbacks.destroy, callbacks.create) {
            let _inside = Inside::enter();
            // SAFETY: the host's promise; the instance is its own and used by nobody any more.
            unsafe { destroy(self.instance) };
        }
    }
}

/// What the arrays of a [`pointsman_candidates`] point to, on the stack.
struct Arrays<const N: usize> {
    workers: [u64; N],
    user_data: [u64; N],
    weights: [f64; N],
    slots: [u32; N],
    in_flight: [u32; N],
    matched: [u32; N],
    count: usize,
}

impl<const N: usize> Arrays<N> {
    fn of(candidates: &Candidates<'_>, request: &RequestView<'_>, wants_prefix: bool) -> Self {
        let mut arrays = Arrays {
            workers: [0; N],
            user_data: [0; N],
            weights: [0.0; N],
            slots: [0; N],
            in_flight: [0; N],
            matched: [0; N],
            count: 0,
        };
        for (i, candidate) in candidates.iter().take(N).enumerate() {
            arrays.workers[i] = candidate.id().to_raw();
            arrays.user_data[i] = candidate.info().map_or(0, |info| info.user_data);
            arrays.weights[i] = candidate.weight();
            arrays.slots[i] = candidate.slot() as u32;
            arrays.in_flight[i] = u32::try_from(candidate.in_flight()).unwrap_or(u32::MAX);
            arrays.count = i + 1;
        }
        if wants_prefix {
            arrays.match_prefix(request);
        }
        arrays
    }

    /// Fills in who holds how much. The list of holders is exact unless it is full.
    fn match_prefix(&mut self, request: &RequestView<'_>) {
        let Some(prefix) = request.prefix else { return };
        let slots = &self.slots[..self.count];
        let full = prefix.holders(|holders| {
            for holder in holders {
                if let Ok(i) = slots.binary_search(&holder.slot.into()) {
                    self.matched[i] = prefix.tokens(holder.blocks);
                }
            }
            holders.len() >= MAX_HOLDERS
        });
        if full {
            for (matched, &slot) in self.matched.iter_mut().zip(slots) {
                *matched = prefix.tokens(prefix.blocks_of(slot as usize));
            }
        }
    }

    fn view(&self, role: Role, wants_prefix: bool) -> pointsman_candidates {
        pointsman_candidates {
            size: size_of::<pointsman_candidates>() as u32,
            role: role.index() as u32,
            count: self.count as u32,
            reserved: 0,
            workers: self.workers.as_ptr(),
            user_data: self.user_data.as_ptr(),
            weights: self.weights.as_ptr(),
            slots: self.slots.as_ptr(),
            in_flight: self.in_flight.as_ptr(),
            matched_tokens: if wants_prefix { self.matched.as_ptr() } else { std::ptr::null() },
        }
    }

    /// The decision that the host's indices stand for.
    fn decide(&self, decided: &pointsman_decision) -> Option<Decision> {
        let worker = |index: u32| {
            let id = self.workers[..self.count].get(index as usize)?;
            Some(pointsman_core::WorkerId::from_raw(*id))
        };
        let runner_up = match decided.runner_up {
            POINTSMAN_NONE => None,
            index => Some(RunnerUp { worker: worker(index)?, score: decided.runner_up_score }),
        };
        Some(Decision {
            matched_tokens: self.matched.get(decided.index as usize).copied().unwrap_or(0),
            score: decided.score,
            runner_up,
            work_tokens: decided.work_tokens,
            ..Decision::new(worker(decided.index)?, Reason::Custom)
        })
    }
}

impl CPolicy {
    fn wants(&self, flag: u32) -> bool {
        self.made_by.callbacks.flags & flag != 0
    }

    #[cold]
    fn failed(&self, reason: String) -> RoutingError {
        let (name, source) = (self.made_by.name.clone(), PolicyError::Failed(reason));
        RoutingError::Policy(Box::new(PolicyFailure { name, source }))
    }

    /// Asks the host, with the candidates in arrays on the stack.
    #[inline(never)]
    fn ask<const N: usize>(
        &self,
        candidates: &Candidates<'_>,
        request: &RequestView<'_>,
    ) -> Result<Decision, RoutingError> {
        let wants_prefix = self.wants(POINTSMAN_POLICY_WANTS_PREFIX);
        let arrays = Arrays::<N>::of(candidates, request, wants_prefix);
        let select = match self.made_by.callbacks.select {
            Some(select) if arrays.count > 0 => select,
            _ => return Err(candidates.none()),
        };
        let view = arrays.view(candidates.role(), wants_prefix);
        let asked = pointsman_request_view {
            size: size_of::<pointsman_request_view>() as u32,
            prompt_tokens: request.prompt_tokens,
            now: request.now,
            routing_key: request.routing_key.unwrap_or(0),
        };
        let mut decided = pointsman_decision {
            size: size_of::<pointsman_decision>() as u32,
            index: POINTSMAN_NONE,
            runner_up: POINTSMAN_NONE,
            work_tokens: 0,
            score: 0.0,
            runner_up_score: 0.0,
        };
        if in_callback() {
            return Err(self.failed("asked from inside a callback".to_owned()));
        }
        let status = {
            let _inside = Inside::enter();
            // SAFETY: the host's promise at registration; all pointers are valid during the call.
            unsafe { select(self.instance, &view, &asked, &mut decided) }
        };
        match status {
            POINTSMAN_OK => arrays.decide(&decided).ok_or_else(|| self.out_of_range(&decided)),
            POINTSMAN_NO_WORKER | POINTSMAN_ALL_BUSY => Err(candidates.none()),
            other => Err(self.failed(format!("select returned {other}"))),
        }
    }

    #[cold]
    fn out_of_range(&self, decided: &pointsman_decision) -> RoutingError {
        let (index, runner_up) = (decided.index, decided.runner_up);
        self.failed(format!("it chose index {index}, runner-up {runner_up}: not a candidate"))
    }

    fn tell(&self, event: &pointsman_event) {
        if let Some(on_event) = self.made_by.callbacks.on_event {
            let _inside = Inside::enter();
            // SAFETY: the host's promise at registration; the event is valid during the call.
            unsafe { on_event(self.instance, event) };
        }
    }
}

/// An event in which nothing is known but its kind and its worker.
fn event(kind: u32, worker: u64, slot: usize, role: Role) -> pointsman_event {
    pointsman_event {
        size: size_of::<pointsman_event>() as u32,
        kind,
        worker,
        prefill_worker: worker,
        user_data: 0,
        now: 0,
        dispatched: 0,
        slot: slot as u32,
        role: role.index() as u32,
        work_tokens: 0,
        matched_tokens: 0,
        prompt_tokens: POINTSMAN_UNKNOWN,
        cached_tokens: POINTSMAN_UNKNOWN,
        completion_tokens: POINTSMAN_UNKNOWN,
        outcome: 0,
    }
}

impl RoutingPolicy for CPolicy {
    fn name(&self) -> &str {
        &self.made_by.name
    }

    fn select_single(
        &self,
        candidates: &Candidates<'_>,
        request: &RequestView<'_>,
    ) -> Result<Decision, RoutingError> {
        match candidates.len() {
            0..=16 => self.ask::<16>(candidates, request),
            17..=128 => self.ask::<128>(candidates, request),
            _ => self.ask::<{ pointsman_core::MAX_WORKERS }>(candidates, request),
        }
    }

    fn on_dispatch(&self, dispatch: &Dispatch<'_>) {
        let (decision, request) = (dispatch.decision, dispatch.request);
        if self.wants(POINTSMAN_POLICY_WANTS_REQUEST_EVENTS) {
            let worker = decision.worker;
            self.tell(&pointsman_event {
                now: request.now,
                dispatched: request.now,
                work_tokens: decision.work_tokens,
                matched_tokens: decision.matched_tokens,
                prompt_tokens: request.prompt_tokens,
                ..event(POINTSMAN_EVENT_DISPATCH, worker.to_raw(), worker.slot(), dispatch.role)
            });
        }
    }

    fn on_first_token(&self, first: &FirstToken) {
        if self.wants(POINTSMAN_POLICY_WANTS_REQUEST_EVENTS) {
            let worker = first.worker;
            self.tell(&pointsman_event {
                now: first.now,
                dispatched: first.dispatched,
                work_tokens: first.work_tokens,
                matched_tokens: first.matched_tokens,
                cached_tokens: first.cached_tokens.unwrap_or(POINTSMAN_UNKNOWN),
                ..event(POINTSMAN_EVENT_FIRST_TOKEN, worker.to_raw(), worker.slot(), first.role)
            });
        }
    }

    fn on_request_complete(&self, end: &Completion) {
        if self.wants(POINTSMAN_POLICY_WANTS_REQUEST_EVENTS) {
            let role = if end.prefill == end.worker { Role::Regular } else { Role::Decode };
            let worker = end.worker;
            self.tell(&pointsman_event {
                prefill_worker: end.prefill.to_raw(),
                now: end.now,
                dispatched: end.dispatched,
                work_tokens: end.work_tokens,
                matched_tokens: end.matched_tokens,
                prompt_tokens: end.usage.prompt_tokens.unwrap_or(POINTSMAN_UNKNOWN),
                cached_tokens: end.usage.cached_tokens.unwrap_or(POINTSMAN_UNKNOWN),
                completion_tokens: end.usage.completion_tokens.unwrap_or(POINTSMAN_UNKNOWN),
                outcome: end.outcome.index() as u32,
                ..event(POINTSMAN_EVENT_COMPLETE, worker.to_raw(), worker.slot(), role)
            });
        }
    }

    fn on_worker_added(&self, worker: &pointsman_core::WorkerInfo) {
        self.tell(&pointsman_event {
            user_data: worker.user_data,
            ..event(POINTSMAN_EVENT_WORKER_ADDED, worker.id.to_raw(), worker.id.slot(), worker.role)
        });
    }

    fn on_worker_removed(&self, worker: &pointsman_core::WorkerInfo) {
        self.tell(&pointsman_event {
            user_data: worker.user_data,
            ..event(
                POINTSMAN_EVENT_WORKER_REMOVED,
                worker.id.to_raw(),
                worker.id.slot(),
                worker.role,
            )
        });
    }

    fn after_fork(&self) {
        self.tell(&event(POINTSMAN_EVENT_FORKED, 0, 0, Role::Regular));
    }

    fn wants_prefix(&self) -> bool {
        self.wants(POINTSMAN_POLICY_WANTS_PREFIX)
    }

    fn wants_events(&self) -> bool {
        self.made_by.callbacks.flags != 0
    }
}
