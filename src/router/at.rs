//! The methods of a router that depend on time, as of a time that the host tells.

use super::complete::Ending;
use super::decision_log::DecisionLog;
use super::inner::{Inner, Shared};
use super::selection::{DetachedSelection, PairSelection, Selection};
use crate::metrics::MetricsSnapshot;
use crate::policy::error::RoutingError;
use crate::policy::{
    RequestView, Usage,
    mode::{Pair, Single},
};
use crate::pool::error::PoolError;
use crate::pool::{candidates::Candidates, status::WorkerStatus};
use crate::request::Request;
use crate::ticket::Ticket;
use crate::ticket::error::TicketError;
use crate::time::Time;
use crate::worker::{Role, WorkerId, health::Outcome, report::LoadReport, spec::WorkerSpec};

/// A router as of one time, from [`Router::at`](crate::Router::at). Each method does what the router's own of that name does.
///
/// ```
/// use std::time::Duration;
/// use pointsman::{Outcome, Request, Router, RouterConfig, Usage, WorkerSpec};
///
/// let router = Router::new(RouterConfig::default())?;
/// let clock = Duration::from_secs(17);
/// router.at(clock).add_worker(WorkerSpec::new("http://10.0.0.7:8000"))?;
/// let selection = router.at(clock).select(&Request::text("Why?"))?;
/// router.at(clock + Duration::from_secs(1)).complete(selection, Outcome::Success, Usage::default())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy)]
pub struct At<'r> {
    shared: &'r Shared,
    now: u64,
}

impl<'r> At<'r> {
    #[inline]
    pub(super) fn new(shared: &'r Shared, now: Time) -> Self {
        At { shared, now: now.as_nanos() }
    }

    fn inner(self) -> &'r Inner {
        &self.shared.inner
    }

    /// See [`Router::add_worker`](crate::Router::add_worker).
    pub fn add_worker(self, spec: WorkerSpec) -> Result<WorkerId, PoolError> {
        self.inner().fleet.add(spec, self.now)
    }

    /// See [`Router::remove_worker`](crate::Router::remove_worker).
    pub fn remove_worker(self, id: WorkerId) -> Result<(), PoolError> {
        self.inner().remove_worker(id, self.now)
    }

    /// See [`Router::report_load`](crate::Router::report_load).
    pub fn report_load(self, id: WorkerId, load: LoadReport) -> Result<(), PoolError> {
        let at = if load.at == Time::default() { self.now.into() } else { load.at };
        self.inner().fleet.report_load(id, &LoadReport { at, ..load })
    }

    /// See [`Router::workers`](crate::Router::workers).
    pub fn workers(self) -> Vec<WorkerStatus> {
        self.inner().fleet.statuses(self.now)
    }

    /// See [`Router::select`](crate::Router::select).
    // One copy of the path in a program, and the selection is written where the caller wants it.
    #[inline(never)]
    pub fn select(self, request: &Request<'_>) -> Result<Selection, RoutingError> {
        match &self.inner().log {
            None => self.select_unlogged(request),
            Some(log) => self.select_logged(log, request),
        }
    }

    /// As [`Router::select`](crate::Router::select), for hosts that keep the ticket as a number and complete it by
    /// [`Router::complete`](crate::Router::complete): nothing is given back when the result is dropped.
    #[inline(never)]
    pub fn select_detached(self, request: &Request<'_>) -> Result<DetachedSelection, RoutingError> {
        if self.inner().log.is_some() {
            return self.select(request).map(Selection::detach);
        }
        self.inner().select::<Single, _>(request, self.now, DetachedSelection::new)
    }

    /// See [`Router::select_pair`](crate::Router::select_pair).
    pub fn select_pair(self, request: &Request<'_>) -> Result<PairSelection, RoutingError> {
        let pair = self.inner().select::<Pair, _>(request, self.now, |committed| {
            PairSelection::new(self.shared.handle(committed.stripe), committed)
        })?;
        if let Some(log) = &self.inner().log {
            let (ticket, now) = (pair.ticket(), self.now);
            log.offer(|| pair.prefill().record(Role::Prefill, ticket, now));
            log.offer(|| pair.decode().record(Role::Decode, ticket, now));
        }
        Ok(pair)
    }

    #[inline(always)]
    fn select_unlogged(self, request: &Request<'_>) -> Result<Selection, RoutingError> {
        self.inner().select::<Single, _>(request, self.now, |committed| {
            Selection::new(self.shared.handle(committed.stripe), committed)
        })
    }

    #[cold]
    #[inline(never)]
    fn select_logged(
        self,
        log: &DecisionLog,
        request: &Request<'_>,
    ) -> Result<Selection, RoutingError> {
        let selection = self.select_unlogged(request)?;
        log.offer(|| selection.chosen().record(Role::Regular, selection.ticket(), self.now));
        Ok(selection)
    }

    /// See [`Router::with_candidates`](crate::Router::with_candidates).
    pub fn with_candidates<T>(
        self,
        role: Role,
        request: &Request<'_>,
        look: impl FnOnce(&Candidates<'_>, &RequestView<'_>) -> T,
    ) -> T {
        self.inner().with_candidates(role, request, self.now, look)
    }

    /// See [`Router::first_token`](crate::Router::first_token).
    pub fn first_token(
        self,
        ticket: impl Into<Ticket>,
        cached_tokens: Option<u32>,
    ) -> Result<(), TicketError> {
        self.inner().first_token(ticket.into(), cached_tokens, self.now)
    }

    /// See [`Router::progress`](crate::Router::progress).
    pub fn progress(self, ticket: impl Into<Ticket>) -> Result<(), TicketError> {
        self.inner().progress(ticket.into(), self.now)
    }

    /// See [`Router::complete`](crate::Router::complete).
    #[inline(always)]
    pub fn complete(
        self,
        ticket: impl Into<Ticket>,
        outcome: Outcome,
        usage: Usage,
    ) -> Result<(), TicketError> {
        let ending = Ending { outcome, usage, failed_role: None };
        self.inner().complete(ticket.into(), &ending, self.now)
    }

    /// See [`Router::complete_by`](crate::Router::complete_by).
    pub fn complete_by(
        self,
        ticket: impl Into<Ticket>,
        role: Role,
        outcome: Outcome,
        usage: Usage,
    ) -> Result<(), TicketError> {
        let ending = Ending { outcome, usage, failed_role: Some(role) };
        self.inner().complete(ticket.into(), &ending, self.now)
    }

    /// See [`Router::metrics`](crate::Router::metrics).
    pub fn metrics(self) -> MetricsSnapshot {
        self.inner().metrics(self.now)
    }

    /// Does at once the maintenance that other calls do in small steps: ends ejections and pauses, steps
    /// up slow starts, closes expired tickets, frees replaced policies. Never needed.
    pub fn tick(self) {
        self.inner().tick(self.now);
    }
}

impl std::fmt::Debug for At<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("At").field("now", &self.now).finish_non_exhaustive()
    }
}
