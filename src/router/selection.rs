//! What a host gets: the worker, why it was chosen, and the duty to give the load back.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::complete::Ending;
use super::decision_log::DecisionRecord;
use super::inner::{Handle, Inner};
use super::select::Committed;
use crate::policy::{BestMatch, Decision, PairDecision, Reason, RunnerUp, Usage};
use crate::ticket::{Ticket, error::TicketError};
use crate::worker::{Role, WorkerId, health::Outcome, spec::WorkerInfo};

/// The worker chosen for one request. Owns the request's load: when dropped without
/// [`Selection::complete`], the load is given back as cancelled by the client.
///
/// May live for any time, in any thread, for example inside a response stream.
#[must_use = "dropping a selection gives its load back at once"]
pub struct Selection {
    open: Open,
    decision: Decision,
    /// A `u32` in a whole word: see [`Reason`].
    total_tokens: u64,
    user_data: u64,
}

/// The worker chosen for one request, where the host keeps the ticket's number and completes it.
/// Dropping it gives nothing back. For foreign interfaces.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct DetachedSelection {
    /// The chosen worker, and why it was chosen.
    pub decision: Decision,
    /// To be completed by the host.
    pub ticket: Ticket,
    /// A `u32` in a whole word: see [`Reason`].
    total_tokens: u64,
    /// The host's own number of the worker.
    pub user_data: u64,
}

/// The prefill and decode workers chosen for one request, under one ticket. The prefill worker's
/// load is given back at the first token, the decode worker's at completion.
#[must_use = "dropping a selection gives its load back at once"]
pub struct PairSelection {
    open: Open,
    pair: PairDecision,
    total_tokens: u32,
}

/// One worker of a selection, and why it was chosen.
#[derive(Clone, Copy)]
pub struct Chosen<'a> {
    inner: &'a Inner,
    decision: &'a Decision,
    total_tokens: u32,
}

impl Chosen<'_> {
    /// The worker.
    pub fn worker(&self) -> WorkerId {
        self.decision.worker
    }

    /// What it was registered as; `None` if it has been removed since.
    pub fn info(&self) -> Option<Arc<WorkerInfo>> {
        self.inner.fleet.info(self.worker())
    }

    /// Its URL; `None` if it has been removed since: then select again. Allocates.
    pub fn url(&self) -> Option<String> {
        self.info().map(|info| info.url.clone())
    }

    /// The host's own number, given at registration; `None` if it has been removed since.
    pub fn user_data(&self) -> Option<u64> {
        self.info().map(|info| info.user_data)
    }

    /// Why it was chosen.
    pub fn reason(&self) -> Reason {
        self.decision.reason
    }

    /// Leading tokens of the prompt that it is believed to hold.
    pub fn matched_tokens(&self) -> u32 {
        self.decision.matched_tokens
    }

    /// Tokens of the prompt; estimated where only bytes are known.
    pub fn total_tokens(&self) -> u32 {
        self.total_tokens
    }

    /// What the policy minimised, in the policy's own unit.
    pub fn score(&self) -> f64 {
        self.decision.score
    }

    /// The best of those not chosen, where the policy compared.
    pub fn runner_up(&self) -> Option<RunnerUp> {
        self.decision.runner_up
    }
}

impl Chosen<'_> {
    /// What the decision log shows of it.
    pub(super) fn record(&self, role: Role, ticket: Ticket, now: u64) -> DecisionRecord {
        DecisionRecord {
            now: now.into(),
            role,
            worker: self.worker(),
            reason: self.reason(),
            matched_tokens: self.matched_tokens(),
            total_tokens: self.total_tokens,
            score: self.score(),
            runner_up: self.runner_up(),
            best_match: self.inner.tickets.best_match(ticket).filter(|_| role != Role::Decode),
            ticket,
        }
    }
}

impl std::fmt::Debug for Chosen<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let decision = self.decision;
        f.debug_struct("Chosen")
            .field("worker", &decision.worker)
            .field("reason", &decision.reason)
            .field("matched_tokens", &decision.matched_tokens)
            .field("total_tokens", &self.total_tokens)
            .field("score", &decision.score)
            .field("runner_up", &decision.runner_up)
            .finish_non_exhaustive()
    }
}

/// An open ticket that closes itself.
struct Open {
    handle: Handle,
    ticket: Ticket,
}

impl Open {
    #[inline(always)]
    fn into_ticket(mut self) -> Ticket {
        std::mem::take(&mut self.ticket)
    }

    #[inline(always)]
    fn end(mut self, ending: &Ending) -> Result<(), TicketError> {
        let ticket = std::mem::take(&mut self.ticket);
        self.handle.complete(ticket, ending, self.handle.clock())
    }
}

impl Drop for Open {
    #[inline(always)]
    fn drop(&mut self) {
        if self.ticket.is_tracked() {
            cancel(&self.handle, self.ticket);
        }
    }
}

// By value, so that a selection that is completed can stay in registers.
#[inline(never)]
fn cancel(inner: &Inner, ticket: Ticket) {
    // Nothing is learned from a cancellation, so the router's own clock will do.
    let end = || inner.complete(ticket, &Ending::of(Outcome::ClientCancelled), inner.clock());
    if std::thread::panicking() {
        // A second panic, in a policy's callback, would abort the process. The load is given back in any
        // case.
        let _ = catch_unwind(AssertUnwindSafe(end));
    } else {
        // Fails where the ticket is closed already.
        let _ = end();
    }
}

/// The methods that one worker and a pair have in common.
macro_rules! ticket_methods {
    () => {
        /// The ticket's number, for calls on the router. The selection still owns the load.
        pub fn ticket(&self) -> Ticket {
            self.open.ticket
        }

        /// Hands the duty to complete the request to the host, which keeps the ticket's number.
        #[inline(always)]
        pub fn into_ticket(self) -> Ticket {
            self.open.into_ticket()
        }

        /// The prompt is computed; `cached_tokens` of it came from the worker's cache.
        pub fn first_token(&self, cached_tokens: Option<u32>) -> Result<(), TicketError> {
            let inner = &self.open.handle;
            inner.first_token(self.open.ticket, cached_tokens, inner.clock())
        }

        /// See [`Router::best_match`](crate::Router::best_match).
        pub fn best_match(&self) -> Option<BestMatch> {
            self.open.handle.tickets.best_match(self.open.ticket)
        }

        /// The request is alive: its deadline starts again.
        pub fn progress(&self) -> Result<(), TicketError> {
            let inner = &self.open.handle;
            inner.progress(self.open.ticket, inner.clock())
        }

        /// The request is over.
        pub fn complete(self, outcome: Outcome, usage: Usage) -> Result<(), TicketError> {
            self.open.end(&Ending { outcome, usage, failed_role: None })
        }
    };
}

impl From<Selection> for Ticket {
    /// Hands the duty to complete the request to the router's own methods.
    #[inline]
    fn from(selection: Selection) -> Self {
        selection.into_ticket()
    }
}

impl From<&Selection> for Ticket {
    fn from(selection: &Selection) -> Self {
        selection.ticket()
    }
}

impl From<PairSelection> for Ticket {
    /// Hands the duty to complete the request to the router's own methods.
    fn from(pair: PairSelection) -> Self {
        pair.into_ticket()
    }
}

impl From<&PairSelection> for Ticket {
    fn from(pair: &PairSelection) -> Self {
        pair.ticket()
    }
}

impl DetachedSelection {
    #[inline(always)]
    pub(super) fn new(committed: Committed<'_, Decision>) -> Self {
        DetachedSelection {
            decision: *committed.choice,
            ticket: committed.ticket,
            total_tokens: committed.total_tokens.into(),
            user_data: committed.user_data,
        }
    }

    /// Tokens of the prompt; estimated where only bytes are known.
    #[inline]
    pub fn total_tokens(&self) -> u32 {
        self.total_tokens as u32
    }
}

impl Selection {
    #[inline(always)]
    pub(super) fn new(handle: Handle, committed: Committed<'_, Decision>) -> Self {
        Selection {
            open: Open { handle, ticket: committed.ticket },
            decision: *committed.choice,
            total_tokens: committed.total_tokens.into(),
            user_data: committed.user_data,
        }
    }

    /// Hands the duty to complete the request to the host, which keeps the ticket's number.
    pub fn detach(self) -> DetachedSelection {
        let Selection { decision, total_tokens, user_data, .. } = self;
        DetachedSelection { decision, ticket: self.into_ticket(), total_tokens, user_data }
    }

    /// The chosen worker, with everything known about the choice.
    #[inline]
    pub fn chosen(&self) -> Chosen<'_> {
        Chosen {
            inner: &self.open.handle,
            decision: &self.decision,
            total_tokens: self.total_tokens(),
        }
    }

    /// The worker.
    #[inline]
    pub fn worker(&self) -> WorkerId {
        self.decision.worker
    }

    /// Its URL; `None` if it has been removed since: then select again. Allocates;
    /// [`Selection::user_data`] does not, and stays.
    pub fn url(&self) -> Option<String> {
        self.chosen().url()
    }

    /// The host's own number, given at registration.
    #[inline]
    pub fn user_data(&self) -> u64 {
        self.user_data
    }

    /// Why it was chosen.
    #[inline]
    pub fn reason(&self) -> Reason {
        self.decision.reason
    }

    /// Leading tokens of the prompt that it is believed to hold.
    pub fn matched_tokens(&self) -> u32 {
        self.decision.matched_tokens
    }

    /// Tokens of the prompt; estimated where only bytes are known.
    pub fn total_tokens(&self) -> u32 {
        self.total_tokens as u32
    }

    /// What the policy minimised, in the policy's own unit.
    pub fn score(&self) -> f64 {
        self.decision.score
    }

    /// The best of those not chosen, where the policy compared.
    pub fn runner_up(&self) -> Option<RunnerUp> {
        self.decision.runner_up
    }

    ticket_methods!();
}

impl PairSelection {
    pub(super) fn new(handle: Handle, committed: Committed<'_, PairDecision>) -> Self {
        PairSelection {
            open: Open { handle, ticket: committed.ticket },
            pair: *committed.choice,
            total_tokens: committed.total_tokens,
        }
    }

    /// The worker that computes the prompt.
    pub fn prefill(&self) -> Chosen<'_> {
        self.one(&self.pair.prefill)
    }

    /// The worker that generates the answer.
    pub fn decode(&self) -> Chosen<'_> {
        self.one(&self.pair.decode)
    }

    /// The request is over, and the outcome is that of the worker in this role.
    pub fn complete_by(
        self,
        role: Role,
        outcome: Outcome,
        usage: Usage,
    ) -> Result<(), TicketError> {
        self.open.end(&Ending { outcome, usage, failed_role: Some(role) })
    }

    ticket_methods!();

    fn one<'a>(&'a self, decision: &'a Decision) -> Chosen<'a> {
        Chosen { inner: &self.open.handle, decision, total_tokens: self.total_tokens }
    }
}

impl std::fmt::Debug for Selection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Selection")
            .field("ticket", &self.open.ticket)
            .field("chosen", &self.chosen())
            .finish()
    }
}

impl std::fmt::Debug for PairSelection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PairSelection")
            .field("ticket", &self.open.ticket)
            .field("prefill", &self.prefill())
            .field("decode", &self.decode())
            .finish()
    }
}
