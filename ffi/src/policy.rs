//! Policies of the host's own: what they see, their events, and their callbacks.

use std::ffi::{c_char, c_void};

use crate::outcome::pointsman_outcome;
use crate::role::pointsman_role;
use crate::status::pointsman_status;

/// What a policy of the host's own wants: POINTSMAN_POLICY_WANTS_ bits.
#[allow(non_camel_case_types)]
pub type pointsman_policy_flags = u32;

/// The policy reads prefixes: prompts are fingerprinted, candidates show how much each holds, and
/// what is dispatched is remembered.
pub const POINTSMAN_POLICY_WANTS_PREFIX: pointsman_policy_flags = 1;
/// The policy wants the events of requests; it gets those of workers in any case.
pub const POINTSMAN_POLICY_WANTS_REQUEST_EVENTS: pointsman_policy_flags = 2;

/// An event that a policy of the host's own receives: one of the POINTSMAN_EVENT_ constants. Later
/// versions may add some.
#[allow(non_camel_case_types)]
pub type pointsman_event_kind = u32;

/// A decision was charged: the request is about to be sent. For a pair there are two such events.
pub const POINTSMAN_EVENT_DISPATCH: pointsman_event_kind = 1;
/// The prompt is computed.
pub const POINTSMAN_EVENT_FIRST_TOKEN: pointsman_event_kind = 2;
/// The request is over; exactly once per request.
pub const POINTSMAN_EVENT_COMPLETE: pointsman_event_kind = 3;
/// A worker was registered. Also sent for every worker when the policy is installed.
pub const POINTSMAN_EVENT_WORKER_ADDED: pointsman_event_kind = 4;
/// A worker was removed; what is known about its slot is to be forgotten.
pub const POINTSMAN_EVENT_WORKER_REMOVED: pointsman_event_kind = 5;
/// This process is a forked child: draw new random seeds, forget requests in flight.
pub const POINTSMAN_EVENT_FORKED: pointsman_event_kind = 6;
/// A worker's URL, group, KV capacity or labels have changed; its id and slot are as before.
pub const POINTSMAN_EVENT_WORKER_CHANGED: pointsman_event_kind = 7;

/// The workers that a policy may choose from: arrays of count elements each, one element per worker.
/// They belong to the library and are valid during the call.
#[allow(non_camel_case_types)]
#[derive(Clone, Copy)]
#[repr(C)]
pub struct pointsman_candidates {
    /// sizeof this struct in the library.
    pub size: u32,
    /// Their role.
    pub role: pointsman_role,
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
    /// Tokens of the prompt, estimated where only bytes are known; 0 where the prompt was not read.
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
    /// What happened; ignore kinds that you do not know.
    pub kind: pointsman_event_kind,
    /// The worker; for POINTSMAN_EVENT_COMPLETE the one that answered. 0 for POINTSMAN_EVENT_FORKED.
    pub worker: u64,
    /// The worker that computed the prompt, where that is known to be another one; else worker. 0 with
    /// POINTSMAN_EVENT_COMPLETE if the prefill worker of a pair has left.
    pub prefill_worker: u64,
    /// The host's own number of the worker; only with the events of workers.
    pub user_data: u64,
    /// The time of the event; 0 with the events of workers.
    pub now: u64,
    /// The time of the dispatch.
    pub dispatched: u64,
    /// The worker's slot.
    pub slot: u32,
    /// The worker's role in the request.
    pub role: pointsman_role,
    /// As decided.
    pub work_tokens: u32,
    /// As predicted when the worker was chosen.
    pub matched_tokens: u32,
    /// Prompt tokens; POINTSMAN_UNKNOWN if it was not reported.
    pub prompt_tokens: u32,
    /// Prompt tokens that the worker found in its cache; POINTSMAN_UNKNOWN if it was not reported.
    pub cached_tokens: u32,
    /// Tokens generated; POINTSMAN_UNKNOWN if it was not reported.
    pub completion_tokens: u32,
    /// How the request ended, with POINTSMAN_EVENT_COMPLETE.
    pub outcome: pointsman_outcome,
}

/// A policy of the host's own.
///
/// Callbacks are called from any thread that uses the router, several at a time. They must return,
/// not throw or longjmp, and be quick. What they may call is said under "Callbacks" at the top of this
/// header.
#[allow(non_camel_case_types)]
#[derive(Clone, Copy)]
#[repr(C)]
pub struct pointsman_policy {
    /// Set by POINTSMAN_POLICY_INIT.
    pub size: u32,
    /// What it wants; 0 by default.
    pub flags: pointsman_policy_flags,
    /// Passed to create and release; and to select and on_event if there is no create.
    pub user_data: *mut c_void,
    /// Chooses one candidate. Only decides: it may be called again for the same request, and a decision
    /// may be dropped. Returns POINTSMAN_OK; POINTSMAN_NO_WORKER to refuse all of them, which the host gets
    /// as POINTSMAN_NO_WORKER; any other number fails the request with POINTSMAN_POLICY_FAILED. Not called
    /// where no candidate has room. Required.
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
    /// Called with what happens to requests and workers. May be NULL.
    pub on_event:
        Option<unsafe extern "C" fn(instance: *mut c_void, event: *const pointsman_event)>,
    /// Makes an instance each time that configuration names the policy, with the options given
    /// there as JSON ("null" if none are). What it stores is passed to select and on_event. Returns
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
