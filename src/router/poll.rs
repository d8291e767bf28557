//! Waiting for room, for async hosts: a refused request's task is woken when a place comes free. No runtime is
//! needed, and none is used.

use std::task::{Context, Poll};

use super::Router;
use super::selection::{PairSelection, Selection};
use crate::policy::error::RoutingError;
use crate::request::Request;

impl Router {
    /// As [`Router::select`], but where that answers [`AllBusy`](RoutingError::AllBusy), the task is woken
    /// when a place may have come free. All tasks that wait are woken together, and ask in the order in
    /// which they run; a task that has been dropped meanwhile costs nothing but its waker.
    ///
    /// Time alone wakes nobody: see [`RouterBuilder::on_room`](crate::RouterBuilder::on_room).
    ///
    /// ```
    /// # use pointsman::{Request, Router, RoutingError, Selection};
    /// async fn select(router: &Router, request: &Request<'_>) -> Result<Selection, RoutingError> {
    ///     std::future::poll_fn(|cx| router.poll_select(request, cx)).await
    /// }
    /// ```
    pub fn poll_select(
        &self,
        request: &Request<'_>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Selection, RoutingError>> {
        self.poll(cx, || self.select(request))
    }

    /// As [`Router::poll_select`], for a pair.
    pub fn poll_select_pair(
        &self,
        request: &Request<'_>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<PairSelection, RoutingError>> {
        self.poll(cx, || self.select_pair(request))
    }

    fn poll<T>(
        &self,
        cx: &mut Context<'_>,
        ask: impl Fn() -> Result<T, RoutingError>,
    ) -> Poll<Result<T, RoutingError>> {
        let busy = |asked: &_| matches!(asked, Err(RoutingError::AllBusy { .. }));
        let asked = ask();
        if !busy(&asked) {
            return Poll::Ready(asked);
        }
        self.inner().fleet.room().wake(cx.waker());
        // What came free before the task was noted.
        let asked = ask();
        if busy(&asked) { Poll::Pending } else { Poll::Ready(asked) }
    }

    /// Ready unless limits alone keep a request without restrictions from every regular worker.
    #[cfg(feature = "tower")]
    pub(crate) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_full() {
            return Poll::Ready(());
        }
        self.inner().fleet.room().wake(cx.waker());
        if self.is_full() { Poll::Pending } else { Poll::Ready(()) }
    }

    #[cfg(feature = "tower")]
    fn is_full(&self) -> bool {
        self.with_candidates(crate::worker::Role::Regular, &Request::none(), |candidates, _| {
            let unlimited = candidates.admitted().without(&self.inner().limited(candidates));
            let closed = candidates.iter().next().is_none() || self.inner().tickets.is_full();
            !candidates.is_empty() && unlimited.is_empty() && closed
        })
    }
}
