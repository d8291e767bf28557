//! First token, completion, expiry: give back what was charged, and learn from it.

use super::core::{CLOCK_SLACK, Core};
use super::ticket::{Closed, Ticket};
use crate::policy::{Completion, FirstToken, Usage};
use crate::router::ticket_error::TicketError;
use crate::sync::atomic::Ordering::Relaxed;
use crate::worker::{
    Role, WorkerId,
    health::Outcome,
    state::{Standing, WorkerState},
};

/// Share of a new sample in the estimate of bytes per token.
const BYTES_PER_TOKEN_STEP: f32 = 0.02;
/// Share of a new sample in the estimate of an answer's length, and the most that it is taken for.
const ANSWER_STEP: f32 = 0.01;
const ANSWER_TOKENS: f32 = 1e6;
/// What a text's bytes per token may be taken for.
const BYTES_PER_TOKEN: std::ops::RangeInclusive<f32> = 0.5..=16.0;

/// How a request ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ending {
    pub(super) outcome: Outcome,
    pub(super) usage: Usage,
    /// Whose outcome it is, in a pair; by default the prefill worker's until the first token.
    pub(super) blamed: Option<Role>,
}

impl Ending {
    /// Only the deadline lets a ticket expire. A host that says so has heard no more of the request,
    /// which is what a cancellation tells.
    fn of_host(self) -> Self {
        match self.outcome {
            Outcome::Expired => Ending { outcome: Outcome::ClientCancelled, ..self },
            _ => self,
        }
    }

    /// A success of which nothing is known that concerns a policy which does not listen.
    #[inline]
    fn is_plain(&self) -> bool {
        self.outcome == Outcome::Success
            && self.usage.cached_tokens.is_none()
            && self.usage.prompt_tokens.is_none()
    }
}

impl Core {
    pub(super) fn first_token(
        &self,
        ticket: Ticket,
        cached_tokens: Option<u32>,
        now: u64,
    ) -> Result<(), TicketError> {
        if !ticket.is_tracked() {
            return Ok(());
        }
        // Pinned before the step, so that the slot cannot change hands between step and callback
        // even if the request completes in the meantime.
        let seen = self.tickets.peek(ticket).ok_or(TicketError::Unknown)?;
        let _pin = Pin::new(self.row(seen.worked()));
        // Read before the step, while the ticket keeps its policy installed.
        let view = self.view();
        let charge = self.tickets.first_token(ticket, cached_tokens.is_some())?;
        let parties = charge.parties;
        let _release = self.release_of(parties.prefill());
        let Some(installed) = view.policies.get(parties.policy()) else { return Ok(()) };
        installed.ledger.decisions.mine().count_first_token(now.saturating_sub(charge.dispatched));
        if parties.notify() {
            installed.policy.on_first_token(&FirstToken {
                worker: self.id(parties.worked()),
                role: if parties.prefill().is_some() { Role::Prefill } else { Role::Regular },
                now,
                dispatched: charge.dispatched,
                work_tokens: charge.work_tokens,
                matched_tokens: charge.matched_tokens,
                cached_tokens,
            });
        }
        Ok(())
    }

    pub(super) fn progress(&self, ticket: Ticket, now: u64) -> Result<(), TicketError> {
        if !ticket.is_tracked() {
            return Ok(());
        }
        self.tickets.renew(ticket, now.saturating_add(self.deadline))
    }

    #[inline(always)]
    pub(super) fn complete(
        &self,
        ticket: Ticket,
        ending: &Ending,
        now: u64,
    ) -> Result<(), TicketError> {
        if !ticket.is_tracked() {
            return Ok(());
        }
        // Whatever a policy does, the load is given back when this returns, and the entry last.
        let closed = self.tickets.close(ticket)?;
        match self.row(closed.parties.slot()) {
            Some(row) if closed.parties.is_simple() && ending.is_plain() && row.is_steady() => {
                row.release(closed.resident_tokens().into());
            }
            Some(row) => self.complete_at_length(closed, row, &ending.of_host(), now),
            None => {}
        }
        Ok(())
    }

    /// Closes a ticket that nobody has completed.
    fn expire(&self, ticket: Ticket, now: u64) -> Result<(), TicketError> {
        let closed = self.tickets.close(ticket)?;
        if let Some(row) = self.row(closed.parties.slot()) {
            self.complete_at_length(closed, row, &Ending::of(Outcome::Expired), now);
        }
        Ok(())
    }

    /// A completion that somebody else is to hear of, or something is learned from.
    #[inline(never)]
    fn complete_at_length(&self, closed: Closed<'_>, row: &WorkerState, ending: &Ending, now: u64) {
        let _load = Release { row, resident: closed.resident_tokens().into() };
        if closed.parties.is_simple() {
            self.observe(closed.parties.slot(), row, ending.outcome, now);
        } else {
            self.complete_shared(&closed, ending, now);
        }
        if ending.usage != Usage::default() {
            self.learn_usage(&closed, &ending.usage);
        }
    }

    /// A completion where a pair served, or the policy listens.
    fn complete_shared(&self, closed: &Closed<'_>, ending: &Ending, now: u64) {
        let parties = closed.parties;
        let _prefill = self.release_of(parties.prefill().filter(|_| !closed.first_token_seen));
        let at_prefill = match ending.blamed {
            Some(role) => role == Role::Prefill,
            None => !closed.first_token_seen && ending.outcome != Outcome::Success,
        };
        let blamed = if at_prefill { parties.worked() } else { parties.slot() };
        if let Some(row) = self.row(blamed) {
            self.observe(blamed, row, ending.outcome, now);
        }
        if parties.notify() {
            self.tell_completion(closed, ending, now);
        }
    }

    fn tell_completion(&self, closed: &Closed<'_>, ending: &Ending, now: u64) {
        let (charge, parties) = (closed.charge(), closed.parties);
        let view = self.view();
        let Some(installed) = view.policies.get(parties.policy()) else { return };
        installed.policy.on_request_complete(&Completion {
            worker: self.id(parties.slot()),
            prefill: self.id(parties.worked()),
            outcome: ending.outcome,
            usage: ending.usage,
            now,
            dispatched: charge.dispatched,
            first_token_seen: closed.first_token_seen,
            cached_known: charge.cached_known,
            work_tokens: charge.work_tokens,
            matched_tokens: charge.matched_tokens,
            resident_tokens: charge.resident_tokens,
        });
    }

    /// Cache predictions, length of a token, length of an answer.
    fn learn_usage(&self, closed: &Closed<'_>, usage: &Usage) {
        let (charge, parties) = (closed.charge(), closed.parties);
        if let Some(cached) = usage.cached_tokens {
            if let Some(row) = self.row(parties.worked()) {
                row.count_cached(charge.matched_tokens.into(), cached.into());
            }
        }
        if let Some(tokens) = usage.prompt_tokens {
            self.calibrate(charge.prompt_bytes, tokens);
        }
        if let Some(tokens) = usage.completion_tokens.filter(|_| parties.notify()) {
            self.learn_answer(tokens);
        }
    }

    /// Health of the worker.
    fn observe(&self, slot: u16, row: &WorkerState, outcome: Outcome, now: u64) {
        if outcome == Outcome::Success {
            let recovered = row.count_success();
            if recovered > 0 && recovered >= self.health.successes {
                self.mark(slot, now);
                self.settle(now);
            }
        } else {
            self.observe_other(slot, row, outcome, now);
        }
    }

    fn observe_other(&self, slot: u16, row: &WorkerState, outcome: Outcome, now: u64) {
        row.count_outcome(outcome.index());
        let changes = match outcome {
            Outcome::Overloaded { retry_after } => {
                row.pause_until(now.saturating_add(self.health.pause(retry_after)));
                true
            }
            Outcome::WorkerError | Outcome::Timeout => {
                let streak = row.count_failure();
                streak >= self.health.failures || row.standing() == Standing::Probation
            }
            _ => false,
        };
        if changes {
            self.mark(slot, now);
            self.settle(now);
        }
    }

    /// Moves the estimate of bytes per token towards what this request shows. Threads may lose each
    /// other's samples, which costs precision of an estimate and nothing else.
    fn calibrate(&self, prompt_bytes: u32, tokens: u32) {
        if prompt_bytes == 0 || tokens == 0 {
            return;
        }
        let sample = prompt_bytes as f32 / tokens as f32;
        let sample = sample.clamp(*BYTES_PER_TOKEN.start(), *BYTES_PER_TOKEN.end());
        let old = self.bytes_per_token();
        let new = old + BYTES_PER_TOKEN_STEP * (sample - old);
        self.bytes_per_token.store(new.to_bits(), Relaxed);
    }

    /// Moves the estimate of an answer's length; threads may lose each other's samples.
    fn learn_answer(&self, tokens: u32) {
        let old = f32::from_bits(self.answer_tokens.load(Relaxed));
        let new = old + ANSWER_STEP * ((tokens as f32).min(ANSWER_TOKENS) - old);
        self.answer_tokens.store(new.to_bits(), Relaxed);
    }

    pub(super) fn sweep_all(&self, now: u64) {
        (0..self.tickets.parts()).for_each(|part| self.sweep(part, now));
    }

    /// Closes the tickets of this part of the table whose deadline has passed or whose worker has
    /// left, and gives back the load of prefill workers that have left.
    ///
    /// No deadline lies further ahead than a ticket's life, but for the slack between clocks, unless the
    /// clock was set back: such a ticket gets the deadline of one opened now.
    pub(super) fn sweep(&self, part: usize, now: u64) {
        let fresh = now.saturating_add(self.deadline);
        let latest = fresh.saturating_add(CLOCK_SLACK);
        let left = |slot| self.row(slot).is_some_and(WorkerState::is_vacant);
        // Errors say that the ticket's owner was faster.
        for (ticket, parties, deadline) in self.tickets.open_in(part) {
            if deadline <= now {
                let closed = self.expire(ticket, now);
                self.expired.fetch_add(closed.is_ok().into(), Relaxed);
            } else if left(parties.slot()) {
                let _ = self.expire(ticket, now);
            } else if parties.prefill().is_some_and(left) {
                let _ = self.first_token(ticket, None, now);
            } else if deadline > latest {
                let _ = self.tickets.renew(ticket, fresh);
            }
        }
    }

    #[inline]
    fn row(&self, slot: u16) -> Option<&WorkerState> {
        self.rows.get(usize::from(slot))
    }

    /// Gives back the load of a prefill worker when dropped.
    fn release_of(&self, prefill: Option<u16>) -> Option<Release<'_>> {
        let row = self.row(prefill?)?;
        Some(Release { row, resident: 0 })
    }

    fn id(&self, slot: u16) -> WorkerId {
        let generation = self.row(slot).map_or(0, WorkerState::last_generation);
        WorkerId::new(slot.into(), generation)
    }
}

/// Gives a worker's load back when dropped.
struct Release<'a> {
    row: &'a WorkerState,
    resident: u64,
}

impl Drop for Release<'_> {
    #[inline]
    fn drop(&mut self) {
        self.row.release(self.resident);
    }
}

/// Keeps a slot from changing hands.
struct Pin<'a>(Option<&'a WorkerState>);

impl<'a> Pin<'a> {
    fn new(row: Option<&'a WorkerState>) -> Self {
        if let Some(row) = row {
            row.pin();
        }
        Pin(row)
    }
}

impl Drop for Pin<'_> {
    fn drop(&mut self) {
        if let Some(row) = self.0 {
            row.unpin();
        }
    }
}
