//! What a host gets: the worker, why it was chosen, and the ticket.

use std::ffi::c_char;
use std::fmt::Write as _;

use pointsman_core::{Chosen, DetachedSelection, Reason, WorkerId};

use crate::argument::{TextRoom, input, text_room};
use crate::failure::Failure;
use crate::handle::optional_handle;
use crate::reason::pointsman_reason;
use crate::router::pointsman_router;
use crate::status::pointsman_status;

/// The chosen worker, why it was chosen, and the ticket: the duty to call pointsman_complete once.
#[allow(non_camel_case_types)]
#[derive(Clone, Copy)]
#[repr(C)]
pub struct pointsman_selection {
    /// Set by POINTSMAN_SELECTION_INIT.
    pub size: u32,
    /// Why it was chosen.
    pub reason: pointsman_reason,
    /// The ticket; 0 if the table was full: the request is not tracked, so its worker is one without a
    /// limit of requests in flight, and completing it is harmless.
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
    /// Tokens of the prompt, estimated where only bytes are known; 0 where the prompt was not read.
    pub total_tokens: u32,
}

sized!(pointsman_selection);

export! {
    /// Writes a selection as one line of JSON and a final NUL into buffer: the record of the
    /// decision, for the host's log. length may be NULL; it gets the length without the NUL. router
    /// may be NULL; the URLs are left out then.
    ///
    /// Errors: POINTSMAN_INVALID_ARGUMENT; POINTSMAN_BUFFER_TOO_SMALL, where length is written
    /// nevertheless.
    fn pointsman_selection_print(
        router: *const pointsman_router,
        selection: *const pointsman_selection,
        buffer: *mut c_char,
        capacity: usize,
        length: *mut usize,
    ) -> pointsman_status => print(optional_handle(router), input[selection], text_room(buffer, capacity, length));
}

impl pointsman_selection {
    #[inline(always)]
    pub(crate) fn of(selected: &DetachedSelection) -> Self {
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
            total_tokens: selected.total_tokens(),
        }
    }

    pub(crate) fn of_one(chosen: &Chosen<'_>, ticket: u64) -> Self {
        let runner_up = chosen.runner_up();
        pointsman_selection {
            size: size_of::<pointsman_selection>() as u32,
            reason: chosen.reason() as u32,
            ticket,
            worker: chosen.worker().to_raw(),
            user_data: chosen.user_data().unwrap_or(0),
            runner_up: runner_up.map_or(0, |other| other.worker.to_raw()),
            score: chosen.score(),
            runner_up_score: runner_up.map_or(0.0, |other| other.score),
            matched_tokens: chosen.matched_tokens(),
            total_tokens: chosen.total_tokens(),
        }
    }
}

fn print(
    router: Option<&pointsman_router>,
    selection: &pointsman_selection,
    buffer: TextRoom,
) -> Result<(), Failure> {
    buffer.write(&line_of(router, selection))
}

/// The record of a decision. Ids are strings, as JSON's numbers may not hold 64 bits.
pub(crate) fn line_of(router: Option<&pointsman_router>, chosen: &pointsman_selection) -> String {
    let url = |worker: u64| {
        let info = router?.router.worker(WorkerId::from_raw(worker))?;
        serde_json::to_string(&info.url).ok()
    };
    // Infinities and NaN, which only a host's own policy can return, are no JSON.
    let number = |score: f64| if score.is_finite() { score } else { 0.0 };
    let mut line = format!("{{\"ticket\":\"{}\",\"worker\":\"{}\"", chosen.ticket, chosen.worker);
    // Writing to a string does not fail.
    if let Some(url) = url(chosen.worker) {
        let _ = write!(line, ",\"url\":{url}");
    }
    let reason = Reason::ALL.get(chosen.reason as usize).map_or("unknown", |r| r.as_str());
    let _ = write!(
        line,
        ",\"user_data\":\"{}\",\"reason\":\"{reason}\",\"matched_tokens\":{},\"total_tokens\":{},\
         \"score\":{}",
        chosen.user_data,
        chosen.matched_tokens,
        chosen.total_tokens,
        number(chosen.score),
    );
    if chosen.runner_up != 0 {
        let _ = write!(line, ",\"runner_up\":\"{}\"", chosen.runner_up);
        if let Some(url) = url(chosen.runner_up) {
            let _ = write!(line, ",\"runner_up_url\":{url}");
        }
        let _ = write!(line, ",\"runner_up_score\":{}", number(chosen.runner_up_score));
    }
    line.push('}');
    line
}
