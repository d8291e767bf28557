//! The response's body, watched: its load comes back when it ends.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::policy::Usage;
use crate::router::selection::Selection;
use crate::worker::health::Outcome;

pin_project! {
    /// A response's body that completes its request when it ends. Dropped before that, the request
    /// counts as cancelled by the client.
    pub struct TrackedBody<B> {
        #[pin]
        body: B,
        watch: Watch,
    }
}

struct Watch {
    /// None once the request is complete.
    selection: Option<Selection>,
    outcome: Outcome,
    has_data: bool,
}

impl Watch {
    /// The selection's calls fail where the worker was removed meanwhile; the body goes on.
    fn data(&mut self) {
        let Some(selection) = &self.selection else { return };
        let is_first = !std::mem::replace(&mut self.has_data, true);
        let _ = if is_first { selection.first_token(None) } else { selection.progress() };
    }

    fn end(&mut self, outcome: Outcome) {
        if let Some(selection) = self.selection.take() {
            let _ = selection.complete(outcome, Usage::default());
        }
    }
}

impl<B: Body> TrackedBody<B> {
    pub(super) fn new(body: B, selection: Selection, outcome: Outcome) -> Self {
        let mut watch = Watch { selection: Some(selection), outcome, has_data: false };
        // A body that is known to be empty may never be polled, and one of an error may never be read.
        if body.is_end_stream() || outcome != Outcome::Success {
            watch.end(outcome);
        }
        TrackedBody { body, watch }
    }
}

impl<B: Body> Body for TrackedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let frame = ready!(this.body.as_mut().poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if frame.is_data() {
                    this.watch.data();
                }
                // A server that sees this does not poll for the end.
                if this.body.is_end_stream() {
                    this.watch.end(this.watch.outcome);
                }
            }
            Some(Err(_)) => this.watch.end(Outcome::WorkerError),
            None => this.watch.end(this.watch.outcome),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B> std::fmt::Debug for TrackedBody<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TrackedBody")
            .field("complete", &self.watch.selection.is_none())
            .finish_non_exhaustive()
    }
}
