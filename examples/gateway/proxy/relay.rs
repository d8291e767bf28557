//! The answer on its way through: every frame is passed on as it comes, and the router hears of the
//! first token, of progress, and of the end.
//!
//! A client that goes away drops the body. The selection inside then gives the load back as cancelled,
//! and the dropped connection tells the worker to stop.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Bytes;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use pointsman::{Outcome, PairSelection, Reason, Role, Selection, Usage};

use super::exchange::Begun;
use super::metrics::InFlight;
use super::usage::UsageReader;
use crate::http::{AnyError, WORKER_HEADER};

/// Frames between two renewals of a ticket's deadline.
const RENEW_EVERY: u32 = 64;

/// The duty to give the load back.
pub(crate) enum Duty {
    Single(Selection),
    /// The prefill worker's part was given back when its answer came, which said how many tokens it had
    /// cached; what the decode worker says of its own cache means nothing.
    Pair(PairSelection, Option<u32>),
}

impl Duty {
    fn reason(&self) -> Reason {
        match self {
            Duty::Single(selection) => selection.reason(),
            Duty::Pair(pair, _) => pair.prefill().reason(),
        }
    }

    // Below: an error means that the ticket has expired or its worker was removed. The request
    // itself goes on either way.

    fn first_token(&self) {
        if let Duty::Single(selection) = self {
            let _ = selection.first_token(None);
        }
    }

    fn renew(&self) {
        let _ = match self {
            Duty::Single(selection) => selection.progress(),
            Duty::Pair(pair, _) => pair.progress(),
        };
    }

    /// The worker in this role has failed.
    pub(crate) fn fail(self, role: Role) {
        let _ = match self {
            Duty::Single(selection) => selection.complete(Outcome::WorkerError, Usage::default()),
            Duty::Pair(pair, _) => pair.complete_by(role, Outcome::WorkerError, Usage::default()),
        };
    }

    fn complete(self, outcome: Outcome, usage: Usage) {
        let _ = match self {
            Duty::Single(selection) => selection.complete(outcome, usage),
            Duty::Pair(pair, cached_tokens) => {
                pair.complete(outcome, Usage { cached_tokens, ..usage })
            }
        };
    }
}

struct Relay {
    first: Option<Frame<Bytes>>,
    rest: Incoming,
    usage: UsageReader,
    outcome: Outcome,
    duty: Option<Duty>,
    frames: u32,
    in_flight: InFlight,
}

/// The response to the client: the worker's, with two headers that name the worker and the reason.
pub(crate) fn response(begun: Begun, worker: &str, duty: Duty, in_flight: InFlight) -> Response {
    let events = begun
        .headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
    if events {
        duty.first_token();
    }
    in_flight.first_byte();
    let mut headers = begun.headers;
    if let Ok(url) = HeaderValue::from_str(worker) {
        headers.insert(WORKER_HEADER, url);
    }
    headers.insert(REASON_HEADER, HeaderValue::from_static(duty.reason().as_str()));
    // What is left besides success are refusals of the request itself, such as 400.
    let outcome = if begun.status.is_success() { Outcome::Success } else { Outcome::ClientError };
    let relay = Relay {
        first: begun.first,
        rest: begun.rest,
        usage: UsageReader::default(),
        outcome,
        duty: Some(duty),
        frames: 0,
        in_flight,
    };
    let mut response = Response::new(axum::body::Body::new(relay));
    *response.status_mut() = begun.status;
    *response.headers_mut() = headers;
    response
}

/// Header in which the gateway says why it chose the worker.
const REASON_HEADER: &str = "x-pointsman-reason";

impl Relay {
    fn passes(&mut self, frame: &Frame<Bytes>) {
        if let Some(data) = frame.data_ref() {
            self.usage.push(data);
        }
        self.frames += 1;
        if let (0, Some(duty)) = (self.frames % RENEW_EVERY, &self.duty) {
            duty.renew();
        }
    }

    fn end(&mut self, outcome: Outcome) {
        if let Some(duty) = self.duty.take() {
            duty.complete(outcome, self.usage.usage());
            self.in_flight.ended(outcome);
        }
    }
}

impl Body for Relay {
    type Data = Bytes;
    type Error = AnyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AnyError>>> {
        let next = match self.first.take() {
            Some(frame) => Some(Ok(frame)),
            None => ready!(Pin::new(&mut self.rest).poll_frame(context)),
        };
        match &next {
            Some(Ok(frame)) => self.passes(frame),
            Some(Err(_)) => self.end(Outcome::WorkerError),
            None => {}
        }
        // The server stops asking once the announced length has passed, so the end must be seen here.
        if next.is_none() || self.rest.is_end_stream() {
            let outcome = self.outcome;
            self.end(outcome);
        }
        Poll::Ready(next.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let first =
            self.first.as_ref().and_then(Frame::data_ref).map_or(0, |data| data.len() as u64);
        let rest = self.rest.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower() + first);
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper + first);
        }
        hint
    }
}
