//! First token, completion, expiry: give back what was charged, and learn from it.

use super::core::Core;
use super::ticket::{Charge, Closed, Ticket};
use crate::error::TicketError;
use crate::policy::{Completion, FirstToken, Usage};
use crate::sync::atomic::Ordering::Relaxed;
use crate::worker::{
    Role, WorkerId,
    health::Outcome,
    state::{Standing, WorkerState},
};

/// Share of a new sample in the estimate of bytes per token.
const BYTES_PER_TOKEN_STEP: f32 = 0.02;
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
        let _pin = Pin::new(self.row(seen.prefill.unwrap_or(seen.slot)));
        // Read before the step, while the ticket keeps its policy installed.
        let view = self.view();
        let charge = self.tickets.first_token(ticket)?;
        let _release = charge.prefill.map(|slot| Release { core: self, slot, resident: 0 });
        let Some(installed) = view.policies.get(charge.policy) else { return Ok(()) };
        installed.decisions.mine().count_first_token(now.saturating_sub(charge.dispatched));
        if charge.notify {
            installed.policy.on_first_token(&FirstToken {
                worker: self.id(charge.prefill.unwrap_or(charge.slot)),
                role: if charge.prefill.is_some() { Role::Prefill } else { Role::Regular },
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

    #[inline]
    pub(super) fn complete(
        &self,
        ticket: Ticket,
        ending: Ending,
        now: u64,
    ) -> Result<(), TicketError> {
        if !ticket.is_tracked() {
            return Ok(());
        }
        let closed = self.tickets.close(ticket)?;
        // Given back in this order whatever a policy does, the entry last.
        let _free = Free { core: self, ticket };
        let charge = &closed.charge;
        let _main =
            Release { core: self, slot: charge.slot, resident: charge.resident_tokens.into() };
        let held_prefill = charge.prefill.filter(|_| !closed.first_token_seen);
        let _prefill = held_prefill.map(|slot| Release { core: self, slot, resident: 0 });
        self.learn(&closed, &ending, now);
        if charge.notify {
            self.tell_completion(&closed, &ending, now);
        }
        Ok(())
    }

    fn tell_completion(&self, closed: &Closed, ending: &Ending, now: u64) {
        let charge = &closed.charge;
        let view = self.view();
        let Some(installed) = view.policies.get(charge.policy) else { return };
        installed.policy.on_request_complete(&Completion {
            worker: self.id(charge.slot),
            prefill: self.id(charge.prefill.unwrap_or(charge.slot)),
            outcome: ending.outcome,
            usage: ending.usage,
            now,
            dispatched: charge.dispatched,
            first_token_seen: closed.first_token_seen,
            work_tokens: charge.work_tokens,
            matched_tokens: charge.matched_tokens,
        });
    }

    /// Health of the worker, cache predictions, length of a token.
    #[inline]
    fn learn(&self, closed: &Closed, ending: &Ending, now: u64) {
        let charge = &closed.charge;
        let at_prefill = match ending.blamed {
            Some(role) => role == Role::Prefill,
            None => !closed.first_token_seen && ending.outcome != Outcome::Success,
        };
        let blamed = charge.prefill.filter(|_| at_prefill).unwrap_or(charge.slot);
        if let Some(row) = self.row(blamed) {
            self.observe(blamed, row, ending.outcome, now);
        }
        if let Some(cached) = ending.usage.cached_tokens {
            if let Some(row) = self.row(charge.prefill.unwrap_or(charge.slot)) {
                row.count_cached(charge.matched_tokens.into(), cached.into());
            }
        }
        if let Some(tokens) = ending.usage.prompt_tokens {
            self.calibrate(charge, tokens);
        }
    }

    #[inline]
    fn observe(&self, slot: u16, row: &WorkerState, outcome: Outcome, now: u64) {
        if outcome == Outcome::Success {
            let recovered = row.count_success();
            if recovered >= self.health.successes && recovered > 0 {
                self.mark(slot, now);
                self.settle(now);
            }
            return;
        }
        row.count_outcome(outcome.index());
        let changes = match outcome {
            Outcome::Overloaded { retry_after } => {
                row.pause_until(now.saturating_add(retry_after));
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
    fn calibrate(&self, charge: &Charge, tokens: u32) {
        if charge.prompt_bytes == 0 || tokens == 0 {
            return;
        }
        let sample = charge.prompt_bytes as f32 / tokens as f32;
        let sample = sample.clamp(*BYTES_PER_TOKEN.start(), *BYTES_PER_TOKEN.end());
        let old = self.bytes_per_token();
        let new = old + BYTES_PER_TOKEN_STEP * (sample - old);
        self.bytes_per_token.store(new.to_bits(), Relaxed);
    }

    /// Closes the tickets of one word whose deadline has passed.
    pub(super) fn expire(&self, word: usize, now: u64) {
        for ticket in self.tickets.expired_in(word, now) {
            // An error says that its owner has completed it at this moment.
            let _ = self.complete(ticket, Ending::of(Outcome::Expired), now);
        }
    }

    fn row(&self, slot: u16) -> Option<&WorkerState> {
        self.rows.get(usize::from(slot))
    }

    fn id(&self, slot: u16) -> WorkerId {
        let generation = self.row(slot).map_or(0, WorkerState::last_generation);
        WorkerId::new(slot.into(), generation)
    }
}

/// Gives a worker's load back when dropped.
struct Release<'a> {
    core: &'a Core,
    slot: u16,
    resident: u64,
}

impl Drop for Release<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Some(row) = self.core.row(self.slot) {
            row.release(self.resident);
        }
    }
}

/// Gives a closed ticket's entry back when dropped.
struct Free<'a> {
    core: &'a Core,
    ticket: Ticket,
}

impl Drop for Free<'_> {
    #[inline]
    fn drop(&mut self) {
        self.core.tickets.free(self.ticket);
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
