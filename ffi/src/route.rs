//! Routing: select, first token, progress, complete.

use std::mem::MaybeUninit;
use std::time::Duration;

use pointsman_core::{
    Chosen, DetachedSelection, Outcome, RoutingError, Ticket, TicketError, Usage, policy::RunnerUp,
};

use crate::argument::{self, Output};
use crate::boundary::Body;
use crate::log;
use crate::reason::line_of;
use crate::request::{self, known, pointsman_request};
use crate::router::{POINTSMAN_NOW, borrow, is_live, pointsman_router, time};
use crate::status::{Failure, POINTSMAN_OK, pointsman_status};
use crate::worker;

/// The worker answered in full.
pub const POINTSMAN_OUTCOME_SUCCESS: u32 = 0;

/// The client went away.
pub const POINTSMAN_OUTCOME_CLIENT_CANCELLED: u32 = 1;

/// The request was the client's fault (4xx).
pub const POINTSMAN_OUTCOME_CLIENT_ERROR: u32 = 2;

/// The worker failed: refused or broke the connection, or answered 5xx. Counts against its health.
pub const POINTSMAN_OUTCOME_WORKER_ERROR: u32 = 3;

/// The worker did not answer in time. Counts against its health.
pub const POINTSMAN_OUTCOME_TIMEOUT: u32 = 4;

/// The worker asked for a pause (429, 503): its weight is lowered for retry_after nanoseconds.
pub const POINTSMAN_OUTCOME_OVERLOADED: u32 = 5;

/// Nobody completed the ticket in time. Told by the library, never to it.
pub const POINTSMAN_OUTCOME_EXPIRED: u32 = 6;

/// The chosen worker, why it was chosen, and the ticket: the duty to call pointsman_complete once.
#[allow(non_camel_case_types)]
#[derive(Clone, Copy)]
#[repr(C)]
pub struct pointsman_selection {
    /// Set by POINTSMAN_SELECTION_INIT.
    pub size: u32,
    /// One of the POINTSMAN_REASON_ constants.
    pub reason: u32,
    /// The ticket; 0 if the table was full: the request is not tracked, and completing it is
    /// harmless.
    pub ticket: u64,
    /// The worker's id.
    pub worker: u64,
    /// The host's own number, given at registration.
    pub user_data: u64,
    /// The best of those not chosen, where the policy compared; else 0.
    pub runner_up: u64,
    /// What the policy minimised, in its own unit; 0 where it compared nothing.
    pub score: f64,
    /// The same for the runner-up.
    pub runner_up_score: f64,
    /// Leading tokens of the prompt that the worker is believed to hold.
    pub matched_tokens: u32,
    /// Tokens of the prompt; estimated where only bytes are known.
    pub total_tokens: u32,
}

/// How a request ended.
#[allow(non_camel_case_types)]
#[derive(Clone, Copy)]
#[repr(C)]
pub struct pointsman_completion {
    /// Set by POINTSMAN_COMPLETION_INIT.
    pub size: u32,
    /// One of the POINTSMAN_OUTCOME_ constants; success by default.
    pub outcome: u32,
    /// Nanoseconds until an overloaded worker takes its full share again.
    pub retry_after: u64,
    /// Tokens of the prompt as the worker reports them; POINTSMAN_UNKNOWN by default.
    pub prompt_tokens: u32,
    /// Of these, found in its cache; POINTSMAN_UNKNOWN by default.
    pub cached_tokens: u32,
    /// Tokens generated; POINTSMAN_UNKNOWN by default.
    pub completion_tokens: u32,
    /// Whose outcome it is, in a pair: POINTSMAN_ROLE_PREFILL or POINTSMAN_ROLE_DECODE; by default
    /// (POINTSMAN_ROLE_REGULAR) the prefill worker's until the first token, then the decode worker's.
    pub blamed_role: u32,
    /// When it ended; POINTSMAN_NOW by default.
    pub now: u64,
}

sized!(pointsman_selection, pointsman_completion);

export! {
    /// Names the worker for a request and charges it. O(1) for policies that do not read the prompt;
    /// else each byte of the prompt is read once. Uses less than 64 KiB of stack: 24 KiB and a
    /// sixteenth of the prompt's bytes; 40 KiB more where a policy of the host's own chooses among more
    /// than 128 workers.
    ///
    /// Errors: POINTSMAN_INVALID_ARGUMENT, POINTSMAN_NO_WORKER, POINTSMAN_ALL_BUSY, POINTSMAN_BAD_BODY,
    /// POINTSMAN_BAD_FINGERPRINT, POINTSMAN_POLICY_FAILED. Nothing is charged then.
    fn pointsman_select(
        router: *const pointsman_router,
        request: *const pointsman_request,
        selection: *mut pointsman_selection,
    ) -> pointsman_status => select;

    /// Names a prefill and a decode worker for a request, as one decision under one ticket, which
    /// both selections carry.
    ///
    /// Errors: as pointsman_select, and POINTSMAN_NO_PAIR.
    fn pointsman_select_pair(
        router: *const pointsman_router,
        request: *const pointsman_request,
        prefill: *mut pointsman_selection,
        decode: *mut pointsman_selection,
    ) -> pointsman_status => select_pair;

    /// The prompt is computed; cached_tokens of it came from the worker's cache (POINTSMAN_UNKNOWN if
    /// it does not say). A pair's prefill worker gets its load back. Optional for single workers.
    ///
    /// Errors: POINTSMAN_INVALID_ARGUMENT, POINTSMAN_NOT_FOUND, POINTSMAN_ALREADY_CLOSED,
    /// POINTSMAN_ALREADY_REPORTED.
    fn pointsman_first_token(
        router: *const pointsman_router,
        ticket: u64,
        cached_tokens: u32,
        now: u64,
    ) -> pointsman_status => first_token;

    /// The request is alive: its deadline starts afresh. Only needed by requests that may run longer
    /// than the deadline, one hour by default.
    ///
    /// Errors: POINTSMAN_INVALID_ARGUMENT, POINTSMAN_NOT_FOUND, POINTSMAN_ALREADY_CLOSED.
    fn pointsman_progress(
        router: *const pointsman_router,
        ticket: u64,
        now: u64,
    ) -> pointsman_status => progress;

    /// The request is over: its load is given back. completion NULL is a success of which nothing
    /// else is known. To be called once for each ticket; a second or late call is an error that harms
    /// nothing, and ticket 0 is no error.
    ///
    /// Errors: POINTSMAN_INVALID_ARGUMENT, POINTSMAN_NOT_FOUND, POINTSMAN_ALREADY_CLOSED.
    fn pointsman_complete(
        router: *const pointsman_router,
        ticket: u64,
        completion: *const pointsman_completion,
    ) -> pointsman_status => complete;
}

/// The usual call, with as little as possible around the router's own work. Whatever is unusual about
/// it, wrong or not, is left to [`select_carefully`].
///
/// # Safety
/// See the export.
#[inline(always)]
unsafe fn select(
    router: *const pointsman_router,
    request: *const pointsman_request,
    selection: *mut pointsman_selection,
) -> pointsman_status {
    // SAFETY: the caller's promise, and the alignment is looked at first.
    let usual = argument::are_aligned([router.addr(), request.addr(), selection.addr()])
        && unsafe {
            is_live(router)
                && argument::is_current(request)
                && argument::is_current(selection.cast_const())
                && !(*router).log.wants(log::level::DEBUG)
        };
    if !usual {
        // SAFETY: the caller's promise.
        return unsafe { unusual_select(router, request, selection) };
    }
    // SAFETY: both were looked at above.
    match unsafe { (*request).now } {
        // SAFETY: the caller's promise, and all three were looked at above.
        POINTSMAN_NOW => unsafe { select_now(router, request, selection) },
        // SAFETY: as above.
        now => unsafe { select_usually(router, request, selection, now) },
    }
}

/// [`select_usually`] by the library's clock. Apart, so that calls that say the time keep nothing alive
/// over the reading of it.
///
/// # Safety
/// As for [`select_usually`].
#[inline(never)]
unsafe fn select_now(
    router: *const pointsman_router,
    request: *const pointsman_request,
    selection: *mut pointsman_selection,
) -> pointsman_status {
    // SAFETY: the caller's promise.
    unsafe { select_usually(router, request, selection, (*router).router.now().as_nanos()) }
}

/// # Safety
/// See the export; all three can be followed, and the structs are of this version's size. Nobody wants
/// to read of the selection in a log.
#[inline(always)]
unsafe fn select_usually(
    router: *const pointsman_router,
    request: *const pointsman_request,
    selection: *mut pointsman_selection,
    now: u64,
) -> pointsman_status {
    let mut place = MaybeUninit::uninit();
    // SAFETY: the caller's promise.
    let (handle, plain) = unsafe { (&*router, request::read_plain(&*request, &mut place)) };
    let Some(plain) = plain else {
        // SAFETY: the caller's promise.
        return unsafe { unusual_select(router, request, selection) };
    };
    match handle.router.at(now).select_detached(plain) {
        Ok(selected) => {
            // SAFETY: the caller's promise.
            let place = unsafe { &mut *selection };
            *place = pointsman_selection { size: place.size, ..raw_of(&selected) };
            POINTSMAN_OK
        }
        Err(error) => refusal(handle, error),
    }
}

/// [`select_carefully`], and what it comes to: so that the usual call needs no room for it.
///
/// # Safety
/// See the export.
#[cold]
#[inline(never)]
unsafe fn unusual_select(
    router: *const pointsman_router,
    request: *const pointsman_request,
    selection: *mut pointsman_selection,
) -> pointsman_status {
    // SAFETY: the caller's promise.
    unsafe { select_carefully(router, request, selection) }.answer()
}

/// Selects for any request.
///
/// # Safety
/// See the export.
unsafe fn select_carefully(
    router: *const pointsman_router,
    request: *const pointsman_request,
    selection: *mut pointsman_selection,
) -> Result<(), Failure> {
    let (mut scratch, mut labels) = (MaybeUninit::uninit(), MaybeUninit::uninit());
    // SAFETY: the caller's promise.
    let (handle, output, raw) = unsafe {
        (
            borrow(router)?,
            Output::new(selection, "selection")?,
            argument::input(request, "request", &mut scratch)?,
        )
    };
    // SAFETY: the caller's promise.
    let request = unsafe { request::read(raw, &mut labels) }?;
    let selected = match handle.router.at(time(&handle.router, raw.now)).select_detached(&request) {
        Ok(selected) => selected,
        Err(error) => return Err(refused(handle, error)),
    };
    let chosen = raw_of(&selected);
    output.write(chosen);
    if handle.log.wants(log::level::DEBUG) {
        note(handle, "selected", &chosen);
    }
    Ok(())
}

#[inline(always)]
fn raw_of(selected: &DetachedSelection) -> pointsman_selection {
    let decision = &selected.decision;
    pointsman_selection {
        size: size_of::<pointsman_selection>() as u32,
        reason: decision.reason as u32,
        ticket: selected.ticket.to_raw(),
        worker: decision.worker.to_raw(),
        user_data: selected.user_data,
        runner_up: decision.runner_up.map_or(0, |other| other.worker.to_raw()),
        score: decision.score,
        runner_up_score: decision.runner_up.map_or(0.0, |other| other.score),
        matched_tokens: decision.matched_tokens,
        total_tokens: selected.total_tokens,
    }
}

/// # Safety
/// See the export.
unsafe fn select_pair(
    router: *const pointsman_router,
    request: *const pointsman_request,
    prefill: *mut pointsman_selection,
    decode: *mut pointsman_selection,
) -> Result<(), Failure> {
    let (mut scratch, mut labels) = (MaybeUninit::uninit(), MaybeUninit::uninit());
    if std::ptr::eq(prefill, decode) && !prefill.is_null() {
        return Err(Failure::argument("decode", "is the same selection as prefill"));
    }
    // SAFETY: the caller's promise.
    let (handle, prefill, decode, raw) = unsafe {
        (
            borrow(router)?,
            Output::new(prefill, "prefill")?,
            Output::new(decode, "decode")?,
            argument::input(request, "request", &mut scratch)?,
        )
    };
    // SAFETY: the caller's promise.
    let request = unsafe { request::read(raw, &mut labels) }?;
    let pair = match handle.router.at(time(&handle.router, raw.now)).select_pair(&request) {
        Ok(pair) => pair,
        Err(error) => return Err(refused(handle, error)),
    };
    let ticket = pair.ticket().to_raw();
    let (first, second) = (of_chosen(&pair.prefill(), ticket), of_chosen(&pair.decode(), ticket));
    let _ = pair.into_ticket();
    prefill.write(first);
    decode.write(second);
    if handle.log.wants(log::level::DEBUG) {
        note(handle, "prefill", &first);
        note(handle, "decode", &second);
    }
    Ok(())
}

fn of_chosen(chosen: &Chosen<'_>, ticket: u64) -> pointsman_selection {
    let (runner_up, runner_up_score) =
        chosen.runner_up().map_or((0, 0.0), |RunnerUp { worker, score }| (worker.to_raw(), score));
    pointsman_selection {
        size: size_of::<pointsman_selection>() as u32,
        reason: chosen.reason() as u32,
        ticket,
        worker: chosen.worker().to_raw(),
        user_data: chosen.user_data().unwrap_or(0),
        runner_up,
        score: chosen.score(),
        runner_up_score,
        matched_tokens: chosen.matched_tokens(),
        total_tokens: chosen.total_tokens(),
    }
}

#[cold]
#[inline(never)]
fn refusal(handle: &pointsman_router, error: RoutingError) -> pointsman_status {
    Err(refused(handle, error)).answer()
}

#[cold]
fn refused(handle: &pointsman_router, error: RoutingError) -> Failure {
    match &error {
        RoutingError::Policy(_) => log::write!(handle.log, ERROR, "{error}"),
        _ => log::write!(handle.log, WARNING, "{error}"),
    }
    error.into()
}

#[cold]
fn note(handle: &pointsman_router, what: &str, chosen: &pointsman_selection) {
    let line = line_of(Some(handle), chosen);
    log::write!(handle.log, DEBUG, "{what} {line}");
}

/// # Safety
/// See the export.
unsafe fn first_token(
    router: *const pointsman_router,
    ticket: u64,
    cached_tokens: u32,
    now: u64,
) -> Result<(), Failure> {
    // SAFETY: the caller's promise.
    let router = &unsafe { borrow(router) }?.router;
    let cached = known(cached_tokens);
    Ok(router.at(time(router, now)).first_token(Ticket::from_raw(ticket), cached)?)
}

/// # Safety
/// See the export.
unsafe fn progress(router: *const pointsman_router, ticket: u64, now: u64) -> Result<(), Failure> {
    // SAFETY: the caller's promise.
    let router = &unsafe { borrow(router) }?.router;
    Ok(router.at(time(router, now)).progress(Ticket::from_raw(ticket))?)
}

/// The usual call: a success of which nothing else is known. All others go to
/// [`complete_carefully`].
///
/// # Safety
/// See the export.
#[inline(always)]
unsafe fn complete(
    router: *const pointsman_router,
    ticket: u64,
    completion: *const pointsman_completion,
) -> pointsman_status {
    // SAFETY: the caller's promise, and the alignment is looked at first.
    let usual = argument::are_aligned([router.addr(), completion.addr()])
        && unsafe { is_live(router) && argument::is_current(completion) };
    // SAFETY: the pointer can be followed.
    if !usual || unsafe { says_more(&*completion) } {
        // SAFETY: the caller's promise.
        return unsafe { unusual_complete(router, ticket, completion) };
    }
    // SAFETY: both were looked at above.
    let (router, now) = unsafe { (&(*router).router, (*completion).now) };
    let (ticket, now) = (Ticket::from_raw(ticket), time(router, now));
    match router.at(now).complete(ticket, Outcome::Success, Usage::default()) {
        Ok(()) => POINTSMAN_OK,
        Err(error) => no_ticket(error),
    }
}

#[cold]
#[inline(never)]
fn no_ticket(error: TicketError) -> pointsman_status {
    Err(Failure::from(error)).answer()
}

/// [`complete_carefully`], and what it comes to.
///
/// # Safety
/// See the export.
#[cold]
#[inline(never)]
unsafe fn unusual_complete(
    router: *const pointsman_router,
    ticket: u64,
    completion: *const pointsman_completion,
) -> pointsman_status {
    // SAFETY: the caller's promise.
    unsafe { complete_carefully(router, ticket, completion) }.answer()
}

/// Whether it says more than success.
#[inline(always)]
fn says_more(end: &pointsman_completion) -> bool {
    let known = !(end.prompt_tokens & end.cached_tokens & end.completion_tokens);
    end.outcome | end.blamed_role | known != 0
}

/// # Safety
/// See the export.
unsafe fn complete_carefully(
    router: *const pointsman_router,
    ticket: u64,
    completion: *const pointsman_completion,
) -> Result<(), Failure> {
    // SAFETY: the caller's promise.
    let router = &unsafe { borrow(router) }?.router;
    let ticket = Ticket::from_raw(ticket);
    if completion.is_null() {
        return Ok(router.complete(ticket, Outcome::Success, Usage::default())?);
    }
    let mut scratch = MaybeUninit::uninit();
    // SAFETY: the caller's promise.
    let end = unsafe { argument::input(completion, "completion", &mut scratch) }?;
    let outcome = outcome_of(end)?;
    let usage = Usage {
        prompt_tokens: known(end.prompt_tokens),
        cached_tokens: known(end.cached_tokens),
        completion_tokens: known(end.completion_tokens),
    };
    let now = time(router, end.now);
    let blamed = match end.blamed_role {
        0 => return Ok(router.at(now).complete(ticket, outcome, usage)?),
        role => worker::role_of(role, "completion.blamed_role")?,
    };
    Ok(router.at(now).complete_by(ticket, blamed, outcome, usage)?)
}

fn outcome_of(end: &pointsman_completion) -> Result<Outcome, Failure> {
    Ok(match end.outcome {
        POINTSMAN_OUTCOME_SUCCESS => Outcome::Success,
        POINTSMAN_OUTCOME_CLIENT_CANCELLED => Outcome::ClientCancelled,
        POINTSMAN_OUTCOME_CLIENT_ERROR => Outcome::ClientError,
        POINTSMAN_OUTCOME_WORKER_ERROR => Outcome::WorkerError,
        POINTSMAN_OUTCOME_TIMEOUT => Outcome::Timeout,
        POINTSMAN_OUTCOME_OVERLOADED => {
            Outcome::Overloaded { retry_after: Duration::from_nanos(end.retry_after) }
        }
        _ => {
            let problem = "is no outcome that a host can tell";
            return Err(Failure::argument("completion.outcome", problem));
        }
    })
}
