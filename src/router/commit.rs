//! Commit: charge what was decided, tell the policy, open the ticket.
//!
//! **Order.** The workers are charged, their slots' generations are read, a ticket's entry is reserved,
//! the policy is told, the ticket is opened, and the generations are read once more (see "Removal" in
//! [`crate::ticket::table`]). The first look keeps a policy from hearing of a worker whose slot has
//! changed hands: a slot does so only without load, so once it is charged and the generation stands, no
//! callback about this worker can reach its successor. Undoing runs in the opposite order, and a worker's
//! load is the last thing to be given back. A policy stays installed while a view that lets it decide is
//! read, or a ticket of its is open, so every dispatch that it was told of ends at it.

use super::Inner;
use super::complete::Ending;
use super::select::Attempt;
use crate::policy::{Decision, Dispatch, RequestView, mode::Mode};
use crate::ticket::{Charge, Participants, Reserved, Ticket};
use crate::worker::{Role, health::Outcome, state::WorkerState};

impl Attempt<'_, '_> {
    /// The ticket, `None` where the table is full; the slot of a worker that is full or has just left.
    #[inline(always)]
    pub(super) fn commit<M: Mode>(
        self,
        choice: &M::Choice,
        request: &RequestView<'_>,
        prompt_bytes: u32,
    ) -> Result<Option<Ticket>, u16> {
        let inner = self.call.inner;
        let charge = self.charge::<M>(choice, request, prompt_bytes);
        inner.charge_workers(charge)?;
        let listens = self.installed.wants_events || request.prefix.is_some();
        if listens {
            if let Some(slot) = self.left::<M>(choice) {
                inner.release_workers(charge);
                return Err(slot);
            }
        }
        let Some(mut reserved) = self.reserve() else {
            inner.release_workers(charge);
            return Ok(None);
        };
        self.count::<M>(choice, request);
        if listens {
            reserved = self.tell::<M>(choice, request, charge, reserved);
        }
        let deadline = self.call.now.saturating_add(inner.deadline);
        let ticket = inner.tickets.open(reserved, charge, deadline);
        if let Some(slot) = self.left::<M>(choice) {
            // An error says that the thread which removed the worker has closed it already.
            let _ = inner.complete(ticket, &Ending::of(Outcome::ClientCancelled), self.call.now);
            return Err(slot);
        }
        Ok(Some(ticket))
    }

    /// Reserves a ticket's entry in the request's own stripe, or, if its share is full, in another one.
    #[inline(always)]
    fn reserve(self) -> Option<Reserved> {
        match self.call.inner.tickets.reserve(self.call.stripe) {
            Some(reserved) => Some(reserved),
            None => self.call.inner.reserve_elsewhere(),
        }
    }

    #[inline(always)]
    pub(super) fn count<M: Mode>(self, choice: &M::Choice, request: &RequestView<'_>) {
        let prefix = request.prefix.map(|_| request.prompt_tokens);
        self.installed.counters.count::<M>(self.call.stripe, choice, prefix);
    }

    #[inline(always)]
    fn charge<M: Mode>(
        self,
        choice: &M::Choice,
        request: &RequestView<'_>,
        prompt_bytes: u32,
    ) -> Charge {
        let (main, prefill, prompt) = (M::main(choice), M::prefill(choice), M::prompt(choice));
        let slot = |decision: &Decision| decision.worker.slot() as u16;
        let listens = self.installed.wants_events;
        // KV tokens are counted where a policy compares them: for pairs, and where it listens.
        let counted = M::ROLE == Role::Decode || listens;
        let resident_tokens =
            if counted { request.prompt_tokens.saturating_add(request.output_tokens) } else { 0 };
        Charge {
            participants: Participants::new(
                slot(main),
                prefill.map(slot),
                self.installed.index,
                listens,
            ),
            dispatched: self.call.now,
            work_tokens: prompt.work_tokens,
            matched_tokens: prompt.matched_tokens,
            prompt_tokens: request.prompt_tokens,
            resident_tokens,
            prompt_bytes,
            cached_known: false,
        }
    }

    /// Notes the prefix and tells the policy. By value, so that where no policy listens neither charge
    /// nor reservation need an address.
    #[inline(never)]
    fn tell<M: Mode>(
        self,
        choice: &M::Choice,
        request: &RequestView<'_>,
        charge: Charge,
        reserved: Reserved,
    ) -> Reserved {
        let undo = Undo { inner: self.call.inner, charge: &charge, reserved: &reserved };
        if let Some(prefix) = request.prefix {
            prefix.remember(M::prompt(choice).worker.slot());
        }
        if self.installed.wants_events {
            let policy = &*self.installed.policy;
            if let Some(decision) = M::prefill(choice) {
                policy.on_dispatch(&Dispatch { decision, role: Role::Prefill, request });
            }
            policy.on_dispatch(&Dispatch { decision: M::main(choice), role: M::ROLE, request });
        }
        undo.defuse();
        reserved
    }

    /// The slot of a chosen worker that has left.
    #[inline(always)]
    fn left<M: Mode>(self, choice: &M::Choice) -> Option<u16> {
        let left = |decision: &Decision| {
            let (slot, generation) = (decision.worker.slot(), decision.worker.generation());
            let row = self.call.inner.fleet.rows().get(slot);
            if row.map(WorkerState::generation) == Some(generation) {
                None
            } else {
                Some(slot as u16)
            }
        };
        left(M::main(choice)).or_else(|| left(M::prefill(choice)?))
    }
}

impl Inner {
    /// Charges the workers; the slot of one that is full, and nothing charged.
    #[inline(always)]
    fn charge_workers(&self, charge: Charge) -> Result<(), u16> {
        let slot = charge.participants.slot();
        let resident = charge.resident_tokens.into();
        if !self.fleet.row(slot).is_some_and(|row| row.charge(resident)) {
            return Err(slot);
        }
        let Some(prefill) = charge.participants.prefill() else { return Ok(()) };
        if self.fleet.row(prefill).is_some_and(|row| row.charge(0)) {
            return Ok(());
        }
        if let Some(row) = self.fleet.row(slot) {
            row.release(resident);
        }
        Err(prefill)
    }

    #[cold]
    fn release_workers(&self, charge: Charge) {
        if let Some(row) = charge.participants.prefill().and_then(|slot| self.fleet.row(slot)) {
            row.release(0);
        }
        if let Some(row) = self.fleet.row(charge.participants.slot()) {
            row.release(charge.resident_tokens.into());
        }
    }

    #[cold]
    fn reserve_elsewhere(&self) -> Option<Reserved> {
        self.fleet.enter_each().find_map(|other| self.tickets.reserve(other.stripe))
    }
}

/// Gives a charge and its entry back if a policy panics before its ticket is open.
struct Undo<'a> {
    inner: &'a Inner,
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
        self.inner.tickets.cancel(self.reserved);
        self.inner.release_workers(*self.charge);
    }
}
