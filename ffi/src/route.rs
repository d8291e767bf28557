//! Routing: select, first token, progress, complete.

use pointsman_core::{Outcome, RoutingError, Ticket, Usage};

use crate::argument::{Out, Output, optional_input, optional_out, out, output};
use crate::failure::Failure;
use crate::handle::handle;
use crate::log;
use crate::outcome::pointsman_completion;
use crate::request::{Asked, asked, pointsman_request};
use crate::role::{POINTSMAN_ROLE_REGULAR, role_of};
use crate::router::pointsman_router;
use crate::selection::{line_of, pointsman_selection};
use crate::special::{POINTSMAN_NOW, known};
use crate::status::pointsman_status;

export! {
    /// Names the worker for a request and charges it. O(1) for policies that do not read the prompt;
    /// else each byte of the prompt is read once. Uses less than 64 KiB of stack, whatever the prompt's
    /// length: 24 KiB, or 56 where a policy of the host's own chooses among more than 128 workers.
    ///
    /// Errors: POINTSMAN_INVALID_ARGUMENT, POINTSMAN_NO_WORKER, POINTSMAN_ALL_BUSY, POINTSMAN_BAD_BODY,
    /// POINTSMAN_BAD_FINGERPRINT, POINTSMAN_POLICY_FAILED; POINTSMAN_IN_CALLBACK where a callback asks
    /// and a policy of the host's own would have to choose. Nothing is charged then.
    fn pointsman_select(
        router: *const pointsman_router,
        request: *const pointsman_request,
        selection: *mut pointsman_selection,
    ) -> pointsman_status => select(handle(router), asked[request], output(selection));

    /// Names a prefill and a decode worker for a request, as one decision under one ticket, which
    /// both selections carry.
    ///
    /// Errors: as pointsman_select, and POINTSMAN_NO_PAIR.
    fn pointsman_select_pair(
        router: *const pointsman_router,
        request: *const pointsman_request,
        prefill: *mut pointsman_selection,
        decode: *mut pointsman_selection,
    ) -> pointsman_status => select_pair(handle(router), asked[request], output(prefill), output(decode));

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
    ) -> pointsman_status => first_token(handle(router), ticket, cached_tokens, now);

    /// The longest match that any candidate for the prompt of an open request had: worker gets its id, 0 where
    /// the prompt was not read, no candidate held any of it, or the request is over or not tracked; tokens,
    /// which may be NULL, the leading tokens that it is believed to hold. It is the chosen worker where none had
    /// more; else from there the prompt's KV could be fetched. O(1).
    ///
    /// Errors: POINTSMAN_INVALID_ARGUMENT.
    fn pointsman_best_match(
        router: *const pointsman_router,
        ticket: u64,
        worker: *mut u64,
        tokens: *mut u32,
    ) -> pointsman_status => best_match(handle(router), ticket, out(worker), optional_out(tokens));

    /// The request is alive: its deadline starts anew. Only needed by requests that may run longer
    /// than the deadline, one hour by default.
    ///
    /// Errors: POINTSMAN_INVALID_ARGUMENT, POINTSMAN_NOT_FOUND, POINTSMAN_ALREADY_CLOSED.
    fn pointsman_progress(
        router: *const pointsman_router,
        ticket: u64,
        now: u64,
    ) -> pointsman_status => progress(handle(router), ticket, now);

    /// The request is over: its load is given back. completion NULL is a success of which nothing
    /// else is known. To be called once for each ticket; a second or late call is an error that harms
    /// nothing, and ticket 0 is no error.
    ///
    /// Errors: POINTSMAN_INVALID_ARGUMENT, POINTSMAN_NOT_FOUND, POINTSMAN_ALREADY_CLOSED.
    fn pointsman_complete(
        router: *const pointsman_router,
        ticket: u64,
        completion: *const pointsman_completion,
    ) -> pointsman_status => complete(handle(router), ticket, optional_input[completion]);
}

#[inline(always)]
fn select(
    router: &pointsman_router,
    asked: Asked<'_>,
    selection: Output<pointsman_selection>,
) -> Result<(), Failure> {
    match router.at(asked.now).select_detached(asked.request) {
        // Read where it lies.
        Ok(ref selected) => {
            let chosen = || pointsman_selection::of(selected);
            if router.log.wants(log::level::DEBUG) {
                note(router, "selected", chosen);
            }
            selection.write_with(chosen);
            Ok(())
        }
        Err(error) => Err(refused(router, error)),
    }
}

fn select_pair(
    router: &pointsman_router,
    asked: Asked<'_>,
    prefill: Output<pointsman_selection>,
    decode: Output<pointsman_selection>,
) -> Result<(), Failure> {
    if prefill.is_same(&decode) {
        return Err(Failure::argument("decode", "is the same selection as prefill"));
    }
    let selected = router.at(asked.now).select_pair(asked.request);
    let pair = selected.map_err(|error| refused(router, error))?;
    let ticket = pair.ticket().to_raw();
    let first = pointsman_selection::of_one(&pair.prefill(), ticket);
    let second = pointsman_selection::of_one(&pair.decode(), ticket);
    let _ = pair.into_ticket();
    prefill.write(first);
    decode.write(second);
    if router.log.wants(log::level::DEBUG) {
        note(router, "prefill", || first);
        note(router, "decode", || second);
    }
    Ok(())
}

#[cold]
#[inline(never)]
fn refused(router: &pointsman_router, error: RoutingError) -> Failure {
    match &error {
        RoutingError::Policy(_) => log::write!(router.log, ERROR, "{error}"),
        _ => log::write!(router.log, WARNING, "{error}"),
    }
    error.into()
}

#[cold]
#[inline(never)]
fn note(router: &pointsman_router, what: &str, chosen: impl Fn() -> pointsman_selection) {
    let line = line_of(Some(router), &chosen());
    log::write!(router.log, DEBUG, "{what} {line}");
}

fn first_token(
    router: &pointsman_router,
    ticket: u64,
    cached_tokens: u32,
    now: u64,
) -> Result<(), Failure> {
    Ok(router.at(now).first_token(Ticket::from_raw(ticket), known(cached_tokens))?)
}

fn best_match(
    router: &pointsman_router,
    ticket: u64,
    worker: Out<u64>,
    tokens: Option<Out<u32>>,
) -> Result<(), Failure> {
    let best = router.router.best_match(Ticket::from_raw(ticket));
    worker.write(best.map_or(0, |best| best.worker.to_raw()));
    if let Some(room) = tokens {
        room.write(best.map_or(0, |best| best.tokens));
    }
    Ok(())
}

fn progress(router: &pointsman_router, ticket: u64, now: u64) -> Result<(), Failure> {
    Ok(router.at(now).progress(Ticket::from_raw(ticket))?)
}

/// The usual end is a success of which nothing else is known.
#[inline(always)]
fn complete(
    router: &pointsman_router,
    ticket: u64,
    completion: Option<&pointsman_completion>,
) -> Result<(), Failure> {
    let now = match completion {
        Some(end) if end.says_more() => return complete_with(router, ticket, end),
        Some(end) => end.now,
        None => POINTSMAN_NOW,
    };
    let ticket = Ticket::from_raw(ticket);
    Ok(router.at(now).complete(ticket, Outcome::Success, Usage::default())?)
}

#[inline(never)]
fn complete_with(
    router: &pointsman_router,
    ticket: u64,
    end: &pointsman_completion,
) -> Result<(), Failure> {
    let (ticket, router) = (Ticket::from_raw(ticket), router.at(end.now));
    let (outcome, usage) = (end.outcome()?, end.usage());
    let ended = match end.failed_role {
        POINTSMAN_ROLE_REGULAR => router.complete(ticket, outcome, usage),
        role => {
            let failed = role_of(role, "completion.failed_role")?;
            router.complete_by(ticket, failed, outcome, usage)
        }
    };
    Ok(ended?)
}
