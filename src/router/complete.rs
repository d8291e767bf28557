//! First token, completion, expiry: give back what was charged, and learn from it.

use super::inner::Inner;
use super::usage;
use crate::fleet::{due::CLOCK_SLACK, room::Room};
use crate::policy::{Completion, FirstToken, Usage};
use crate::prompt::learned::TurnNote;
use crate::sync::atomic::Ordering::Relaxed;
use crate::ticket::error::TicketError;
use crate::ticket::{Charge, Closed, Participants, Ticket};
use crate::worker::{Role, WorkerId, health::Outcome, state::WorkerState};

/// How a request ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ending {
    pub(super) outcome: Outcome,
    pub(super) usage: Usage,
    /// The role of the worker whose outcome it is, in a pair; by default prefill until the first token.
    pub(super) failed_role: Option<Role>,
}

impl Ending {
    /// What is known of a request's end where nothing was reported.
    pub(super) fn of(outcome: Outcome) -> Self {
        Ending { outcome, usage: Usage::default(), failed_role: None }
    }

    /// Only the router lets a ticket expire: at its deadline, or when its worker has left. From a host the
    /// same outcome means that it has heard no more of the request: a cancellation.
    fn of_host(self) -> Self {
        match self.outcome {
            Outcome::Expired => Ending { outcome: Outcome::ClientCancelled, ..self },
            _ => self,
        }
    }

    /// Whether it is a success without token counts of the prompt.
    #[inline]
    fn is_plain(&self) -> bool {
        self.outcome == Outcome::Success
            && self.usage.cached_tokens.is_none()
            && self.usage.prompt_tokens.is_none()
    }
}

impl Inner {
    pub(super) fn first_token(
        &self,
        ticket: Ticket,
        cached_tokens: Option<u32>,
        now: u64,
    ) -> Result<(), TicketError> {
        if !ticket.is_tracked() {
            return Ok(());
        }
        // Pinned before the step, so that the slot cannot go to another worker between step and callback,
        // even if the request completes in the meantime.
        let seen = self.tickets.peek(ticket).ok_or(TicketError::Unknown)?;
        let row = self.fleet.row(seen.participants.prompt_slot());
        let _pin = Pin::new(row);
        let usage = Usage { cached_tokens, ..Usage::default() };
        let contradictory = usage::contradicts(&seen, &usage);
        let cached_tokens = cached_tokens.filter(|_| !contradictory);
        // Read before the step, while the ticket keeps its policy installed.
        let view = self.fleet.view();
        let (charge, charged) = self.tickets.first_token(ticket, cached_tokens.is_some())?;
        let participants = charge.participants;
        let prefill = participants.prefill();
        let _release = self.release_of(prefill.filter(|_| charged));
        if let Some(row) = row.filter(|_| charged || prefill.is_none()) {
            if contradictory {
                row.count_contradictory();
            } else if let Some(cached) = cached_tokens {
                self.count_cached(row, &charge, cached);
                self.tickets.note_cached(ticket, cached);
            }
        }
        let Some(installed) = view.policies.get(participants.policy()) else { return Ok(()) };
        installed.counters.mine().count_first_token(now.saturating_sub(charge.dispatched));
        // A worker that has left has computed nothing that its policy could learn from.
        if participants.notify() && (charged || prefill.is_none()) {
            installed.policy.on_first_token(&FirstToken {
                worker: self.fleet.id(participants.prompt_slot()),
                role: if prefill.is_some() { Role::Prefill } else { Role::Regular },
                now: now.into(),
                dispatched: charge.dispatched.into(),
                work_tokens: charge.work_tokens,
                matched_tokens: charge.matched_tokens,
                cached_tokens: cached_tokens.filter(|_| !self.is_open(&charge)),
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
        // Whatever a policy does, the entry is given back when this returns, and then the load: see
        // `fleet::room`.
        let closed = self.tickets.close(ticket)?;
        let Some(row) = self.fleet.row(closed.participants.slot()) else { return Ok(()) };
        if closed.participants.is_simple() && ending.is_plain() && row.is_steady() {
            let resident = closed.resident_tokens().into();
            drop(closed);
            row.release(resident);
            self.fleet.room().given_back();
        } else {
            self.complete_at_length(closed, row, &ending.of_host(), now);
        }
        Ok(())
    }

    /// Closes a ticket that the host has not completed.
    fn expire(&self, ticket: Ticket, now: u64) -> Result<(), TicketError> {
        let closed = self.tickets.close(ticket)?;
        if let Some(row) = self.fleet.row(closed.participants.slot()) {
            self.complete_at_length(closed, row, &Ending::of(Outcome::Expired), now);
        }
        Ok(())
    }

    /// A completion that a policy must hear of, or that something is learned from.
    #[inline(never)]
    fn complete_at_length(&self, closed: Closed<'_>, row: &WorkerState, ending: &Ending, now: u64) {
        let _load = self.release(row, closed.resident_tokens().into());
        // Given back before the load.
        let closed = closed;
        let prefill = closed.participants.prefill();
        // Once its load was given back, the slot may be another worker's at any time.
        let uncharged = prefill.filter(|_| !closed.prefill_charged());
        let _pin = uncharged.map(|slot| Pin::new(self.fleet.row(slot)));
        let computes = prefill.map_or(Some(row), |_| self.prefill_of(closed.participants));
        let learned;
        let ending = if ending.usage == Usage::default() {
            ending
        } else {
            let usage = self.learn_usage(&closed, (row, computes), ending);
            learned = Ending { usage, ..*ending };
            &learned
        };
        if closed.participants.is_simple() {
            self.fleet.observe(row, ending.outcome, now);
        } else {
            self.complete_shared(&closed, (row, computes), ending, now);
        }
    }

    /// A completion where a pair served, or the policy listens.
    fn complete_shared(
        &self,
        closed: &Closed<'_>,
        (answers, computes): (&WorkerState, Option<&WorkerState>),
        ending: &Ending,
        now: u64,
    ) {
        let participants = closed.participants;
        let prefill = participants.prefill();
        let _release = self.release_of(prefill.filter(|_| closed.prefill_charged()));
        let at_prefill = match ending.failed_role {
            Some(role) => role == Role::Prefill,
            None => !closed.first_token_seen() && ending.outcome != Outcome::Success,
        };
        if let Some(row) = if at_prefill { computes } else { Some(answers) } {
            self.fleet.observe(row, ending.outcome, now);
        }
        // The prompt is what a prefill worker is there for: once that is computed, it has succeeded.
        let computed = closed.first_token_seen() || ending.outcome == Outcome::Success;
        if let Some(row) = computes.filter(|_| prefill.is_some() && computed && !at_prefill) {
            self.fleet.observe(row, Outcome::Success, now);
        }
        if participants.notify() {
            let prefill = computes.map(|_| self.fleet.id(participants.prompt_slot()));
            self.tell_completion(closed, prefill, ending, now);
        }
    }

    /// The row of a pair's prefill worker, unless it has left. It is in flight there, or the row is pinned.
    fn prefill_of(&self, participants: Participants) -> Option<&WorkerState> {
        let row = self.fleet.row(participants.prefill()?)?;
        let generation = row.generation();
        (!row.is_vacant() && participants.is_of_prefill(generation)).then_some(row)
    }

    fn tell_completion(
        &self,
        closed: &Closed<'_>,
        prefill: Option<WorkerId>,
        ending: &Ending,
        now: u64,
    ) {
        let (charge, participants) = (closed.charge(), closed.participants);
        let view = self.fleet.view();
        let Some(installed) = view.policies.get(participants.policy()) else { return };
        installed.policy.on_request_complete(&Completion {
            worker: self.fleet.id(participants.slot()),
            prefill,
            outcome: ending.outcome,
            usage: ending.usage,
            now: now.into(),
            dispatched: charge.dispatched.into(),
            first_token_seen: closed.first_token_seen(),
            cached_known: charge.cached_known,
            work_tokens: charge.work_tokens,
            matched_tokens: charge.matched_tokens,
            resident_tokens: charge.resident_tokens,
        });
    }

    /// Cache predictions, length of a token, length of an answer. What of the usage can be believed.
    fn learn_usage(
        &self,
        closed: &Closed<'_>,
        (answers, computes): (&WorkerState, Option<&WorkerState>),
        ending: &Ending,
    ) -> Usage {
        let Ending { outcome, usage, .. } = ending;
        let (charge, participants) = (closed.charge(), closed.participants);
        let Some(mut usage) = usage::believed(&charge, usage) else {
            answers.count_contradictory();
            return Usage::default();
        };
        let is_open = self.is_open(&charge);
        // The first token has told it before, and then of the worker that computed the prompt.
        if let (Some(row), Some(cached), false) =
            (computes, usage.cached_tokens, charge.cached_known)
        {
            self.count_cached(row, &charge, cached);
        }
        if let Some((note, first)) = computes.and_then(|_| closed.note()) {
            let lengths = (charge.prompt_bytes, usage.prompt_tokens);
            let slot = participants.prompt_slot();
            if let Some(cached) = usage.cached_tokens.or(first) {
                self.prompts.correct(slot, &note, cached, lengths);
                self.learn_turn(&charge, cached, usage.prompt_tokens);
            }
            // Of a pair, it is the decode worker that holds the answer.
            let answer = usage.completion_tokens.filter(|_| participants.prefill().is_none());
            if let (Some(tokens), Outcome::Success) = (answer, *outcome) {
                self.prompts.answered(slot, &note, tokens, lengths);
            }
        }
        let estimates = self.prompts.estimates();
        if let Some(tokens) = usage.prompt_tokens {
            estimates.learn_prompt(answers.means(), charge.prompt_bytes, tokens);
        }
        if let Some(tokens) = usage.completion_tokens.filter(|_| participants.notify()) {
            estimates.learn_answer(answers.means(), tokens);
        }
        usage.cached_tokens = usage.cached_tokens.filter(|_| !is_open);
        usage
    }

    /// Whether the user speaks after an agent's loop, and it is not known yet what engines keep of one: what is
    /// reported then says nothing about other claims, so policies are not told.
    fn is_open(&self, charge: &Charge) -> bool {
        self.prompts.learned().is_some_and(|learned| learned.is_open(TurnNote(charge.turn)))
    }

    fn learn_turn(&self, charge: &Charge, cached: u32, prompt_tokens: Option<u32>) {
        let Some(learned) = self.prompts.learned() else { return };
        let believed = (charge.matched_tokens, charge.prompt_tokens);
        let found = (cached, prompt_tokens.unwrap_or(charge.prompt_tokens));
        learned.learn(TurnNote(charge.turn), believed, found);
    }

    /// A worker found this much in its cache: once for each request, by whichever report comes first.
    fn count_cached(&self, row: &WorkerState, charge: &Charge, cached: u32) {
        row.count_cached(charge.matched_tokens.into(), cached.into());
        let refuted = charge.matched_tokens.saturating_sub(cached);
        let view = self.fleet.view();
        if let Some(installed) = view.policies.get(charge.participants.policy()) {
            installed.counters.mine().count_refuted(refuted);
        }
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
        let left = |slot| self.fleet.row(slot).is_some_and(WorkerState::is_vacant);
        // Fails where the ticket's owner was faster.
        for (ticket, participants, deadline) in self.tickets.open_in(part) {
            if deadline <= now {
                let closed = self.expire(ticket, now);
                self.expired.fetch_add(closed.is_ok().into(), Relaxed);
            } else if left(participants.slot()) {
                let _ = self.expire(ticket, now);
            } else {
                let gone = participants.prefill().filter(|&slot| left(slot));
                drop(self.release_of(gone.filter(|_| self.tickets.prefill_left(ticket))));
                if deadline > latest {
                    let _ = self.tickets.renew(ticket, fresh);
                }
            }
        }
    }

    /// Gives back the load of a prefill worker when dropped.
    fn release_of(&self, prefill: Option<u16>) -> Option<Release<'_>> {
        Some(self.release(self.fleet.row(prefill?)?, 0))
    }

    fn release<'a>(&'a self, row: &'a WorkerState, resident: u64) -> Release<'a> {
        Release { row, resident, room: self.fleet.room() }
    }
}

/// Gives a worker's load back when dropped, and tells who waits for it.
struct Release<'a> {
    row: &'a WorkerState,
    resident: u64,
    room: &'a Room,
}

impl Drop for Release<'_> {
    #[inline]
    fn drop(&mut self) {
        self.row.release(self.resident);
        self.room.given_back();
    }
}

/// Keeps a slot from going to another worker.
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
