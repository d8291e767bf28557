//! Commit: charge what was decided, tell the policy, open the ticket.
//!
//! **Order.** The workers are charged, their slots' generations are looked at, a ticket's entry is
//! reserved, the policy is told, the ticket is opened, and the generations are looked at once more (see
//! "Removal" in `ticket`). The first look keeps a policy from hearing of a worker whose slot has changed
//! hands: a slot does so only without load, so once it is charged and the generation stands, no callback
//! about this worker can reach its successor. Undoing runs in the opposite order, and a worker's load is
//! the last thing to be given back. A policy stays installed while a snapshot that lets it decide is
//! read, or a ticket of its is open, so every dispatch that it was told of ends at it.

use super::core::Core;
use super::finish::Ending;
use super::local::Local;
use super::mode::Mode;
use super::policies::Installed;
use super::route::Trip;
use super::ticket::{Charge, Parties, Reserved, Ticket};
use crate::policy::{Decision, Dispatch, RequestView, Usage};
use crate::worker::{Role, health::Outcome, state::WorkerState};

/// A committed decision.
#[derive(Clone, Copy, Debug)]
pub(super) struct Routed<'a, C> {
    pub(super) choice: &'a C,
    pub(super) ticket: Ticket,
    pub(super) total_tokens: u32,
    /// The host's own number of the worker that answers.
    pub(super) user_data: u64,
}

impl<'a, M: Mode> Trip<'a, M> {
    /// `None`: somebody else took the worker's last place, or the worker has just left.
    #[inline(always)]
    pub(super) fn commit(
        self,
        choice: &M::Choice,
        request: &RequestView<'_>,
        prompt_bytes: u32,
    ) -> Option<Ticket> {
        let core = self.core;
        let charge = self.charge(choice, request, prompt_bytes);
        if !core.charge_workers(charge) {
            return None;
        }
        let listens =
            self.local.is_none() && (self.installed.wants_events || request.prefix.is_some());
        if listens && self.is_stale(choice) {
            core.release_workers(charge);
            return None;
        }
        let Some(mut reserved) = self.reserve(choice, request) else {
            core.release_workers(charge);
            return Some(Ticket::UNTRACKED);
        };
        if listens {
            reserved = self.tell(choice, request, charge, reserved);
        }
        let ticket = core.tickets.open(reserved, charge, self.now.saturating_add(core.deadline));
        if self.is_stale(choice) {
            // An error says that whoever removed the worker has closed it already.
            let _ = core.complete(ticket, &Ending::of(Outcome::ClientCancelled), self.now);
            return None;
        }
        Some(ticket)
    }

    /// Reserves a ticket's entry and counts the decision, in the stripe that the request is in, or in
    /// one that it enters for the purpose.
    #[inline(always)]
    fn reserve(self, choice: &M::Choice, request: &RequestView<'_>) -> Option<Reserved> {
        match self.local {
            Some(local) => self.reserve_in(local, choice, request),
            None => self.reserve_in(&*self.core.enter()?, choice, request),
        }
    }

    #[inline(always)]
    fn reserve_in(
        self,
        local: &Local,
        choice: &M::Choice,
        request: &RequestView<'_>,
    ) -> Option<Reserved> {
        let reserved = self.core.reserve(local)?;
        self.count(local, choice, request);
        Some(reserved)
    }

    #[inline(always)]
    pub(super) fn count(self, local: &Local, choice: &M::Choice, request: &RequestView<'_>) {
        let main = M::main(choice);
        let decisions = self.installed.ledger.decisions.of(local.stripe);
        decisions.count(M::ROLE, main.reason);
        if request.prefix.is_some() {
            let worked = M::prefill(choice).unwrap_or(main);
            decisions.count_tokens(request.prompt_tokens, worked.matched_tokens);
        }
        if let Some(prefill) = M::prefill(choice) {
            decisions.count(Role::Prefill, prefill.reason);
        }
    }

    #[inline(always)]
    fn charge(self, choice: &M::Choice, request: &RequestView<'_>, prompt_bytes: u32) -> Charge {
        let (main, prefill) = (M::main(choice), M::prefill(choice));
        // The prompt is computed by the prefill worker where there is one.
        let worked = prefill.unwrap_or(main);
        // KV tokens are counted where somebody compares them: for pairs, and for policies that listen.
        let counted =
            M::ROLE == Role::Decode || self.local.is_none() && self.installed.wants_events;
        let resident_tokens =
            if counted { request.prompt_tokens.saturating_add(request.output_tokens) } else { 0 };
        Charge {
            parties: Parties::new(
                main.worker.slot() as u16,
                prefill.map(|decision| decision.worker.slot() as u16),
                self.installed.index,
                self.local.is_none() && self.installed.wants_events,
            ),
            dispatched: self.now,
            work_tokens: worked.work_tokens,
            matched_tokens: worked.matched_tokens,
            prompt_tokens: request.prompt_tokens,
            resident_tokens,
            prompt_bytes,
            cached_known: false,
        }
    }

    /// Lets the shadow decide and counts how its decision differs. Nothing of it is committed.
    #[cold]
    pub(super) fn compare(self, shadow: &Installed, choice: &M::Choice, request: &RequestView<'_>) {
        let counts = shadow.ledger.shadow.mine();
        let candidates = |role| self.candidates(role);
        let Ok(other) = M::decide(&*shadow.policy, candidates, request) else {
            return counts.count_failure();
        };
        if M::outsider(&other, candidates).is_some() {
            return counts.count_failure();
        }
        let worked = |choice| M::prefill(choice).unwrap_or(M::main(choice)).worker;
        let work = |choice| {
            let held = request.prefix.map_or(0, |p| p.tokens(p.blocks_of(worked(choice).slot())));
            request.prompt_tokens.saturating_sub(held)
        };
        let differs =
            worked(choice) != worked(&other) || M::main(choice).worker != M::main(&other).worker;
        counts.count(differs, work(choice), work(&other));
    }

    /// Notes the prefix and tells the policy. By value, so that where nobody listens neither charge
    /// nor reservation need an address.
    #[inline(never)]
    fn tell(
        self,
        choice: &M::Choice,
        request: &RequestView<'_>,
        charge: Charge,
        reserved: Reserved,
    ) -> Reserved {
        let undo = Undo { core: self.core, charge: &charge, reserved: &reserved };
        let (main, prefill) = (M::main(choice), M::prefill(choice));
        if let Some(prefix) = request.prefix {
            prefix.remember(prefill.unwrap_or(main).worker.slot());
        }
        if self.installed.wants_events {
            let policy = &*self.installed.policy;
            if let Some(decision) = prefill {
                policy.on_dispatch(&Dispatch { decision, role: Role::Prefill, request });
            }
            policy.on_dispatch(&Dispatch { decision: main, role: M::ROLE, request });
        }
        undo.defuse();
        reserved
    }

    /// Whether a chosen worker has left.
    #[inline(always)]
    fn is_stale(self, choice: &M::Choice) -> bool {
        let left = |decision: &Decision| {
            let row = self.core.rows.get(decision.worker.slot());
            row.map(WorkerState::generation) != Some(decision.worker.generation())
        };
        left(M::main(choice)) || M::prefill(choice).is_some_and(left)
    }

    #[inline(always)]
    pub(super) fn routed<'c>(
        self,
        choice: &'c M::Choice,
        request: &RequestView<'_>,
        ticket: Ticket,
    ) -> Routed<'c, M::Choice> {
        Routed {
            choice,
            ticket,
            total_tokens: request.prompt_tokens,
            user_data: self
                .view
                .pool
                .seat(M::main(choice).worker.slot())
                .map_or(0, |seat| seat.user_data),
        }
    }
}

impl Core {
    /// Charges the workers; false, and nothing charged, if one of them is full.
    #[inline(always)]
    fn charge_workers(&self, charge: Charge) -> bool {
        let row = |slot: u16| self.rows.get(usize::from(slot));
        let slot = charge.parties.slot();
        if !row(slot).is_some_and(|row| row.charge(charge.resident_tokens.into())) {
            return false;
        }
        let Some(prefill) = charge.parties.prefill() else { return true };
        if row(prefill).is_some_and(|row| row.charge(0)) {
            return true;
        }
        if let Some(row) = row(slot) {
            row.release(charge.resident_tokens.into());
        }
        false
    }

    #[cold]
    fn release_workers(&self, charge: Charge) {
        if let Some(row) = self.rows.get(usize::from(charge.parties.slot())) {
            row.release(charge.resident_tokens.into());
        }
        if let Some(row) =
            charge.parties.prefill().and_then(|slot| self.rows.get(usize::from(slot)))
        {
            row.release(0);
        }
    }
}

/// Gives a charge and its entry back if a policy panics before its ticket is open.
struct Undo<'a> {
    core: &'a Core,
    charge: &'a Charge,
    reserved: &'a Reserved,
}

impl Undo<'_> {
    fn defuse(self) {
        std::mem::forget(self);
    }
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        self.core.tickets.cancel(self.reserved);
        self.core.release_workers(*self.charge);
    }
}

/// What a host reports at the end of a request that it knows nothing about.
impl Ending {
    pub(super) fn of(outcome: Outcome) -> Self {
        Ending { outcome, usage: Usage::default(), blamed: None }
    }
}
