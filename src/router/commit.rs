//! Commit: charge what was decided, tell the policy, open the ticket.
//!
//! **Order.** A ticket's entry is reserved; the workers are charged; where a policy hears of it or a prompt
//! was read, their slots' generations are checked; the decision is counted; the prompt is remembered
//! in the tree; the policy is told; the ticket is opened; the generations are checked once more (see
//! "Removal" in [`crate::ticket::table`]).
//!
//! The first check keeps a policy from hearing of a worker whose slot has gone to another one: a slot
//! changes workers only without load, so once it is charged and the generation is unchanged, no callback
//! about this worker can reach its successor. A policy stays installed while a view that lets it decide is
//! read, or one of its tickets is open, so every dispatch that it was told of ends at it.
//!
//! **Undoing.** Before the ticket is open, entry and charges give themselves back when they are dropped,
//! also where a policy panics; afterwards the ticket is completed as cancelled. What was counted stays
//! counted, and what was remembered stays in the tree until it is evicted. Another request may have found
//! no room for what is undone here: who waits is told, see `fleet::room`. The entry comes first, so that with
//! a full table nothing is undone.

use super::complete::Ending;
use super::inner::Inner;
use super::select::Attempt;
use crate::policy::{
    BestMatch, Decision, Dispatch, RequestView, mode::Mode, prefix_query::PrefixQuery,
};
use crate::pool::candidates::Candidates;
use crate::prefix::breaks::Note;
use crate::prompt::learned::TurnNote;
use crate::ticket::{Charge, Participants, Reserved, Ticket};
use crate::worker::{Role, WorkerId, health::Outcome, state::WorkerState};

impl<'a> Attempt<'_, 'a> {
    /// The ticket, `None` where the table is full; the slot of a worker that is full or has just left.
    #[inline(always)]
    pub(super) fn commit<M: Mode>(
        self,
        choice: &M::Choice,
        request: &RequestView<'_>,
        prompt: (u32, TurnNote),
    ) -> Result<Option<Ticket>, u16> {
        let inner = self.call.inner;
        let charge = self.charge::<M>(choice, request, prompt);
        let Some(reserved) = self.reserve() else { return Ok(None) };
        let charged = Charged::new::<M>(inner, choice, charge.resident_tokens.into())?;
        let listens = self.listens || request.prefix.is_some();
        if listens {
            charged.check::<M>(choice)?;
        }
        self.count::<M>(choice, request);
        if listens {
            if let Some((note, best)) = self.tell::<M>(choice, request) {
                reserved.note(&note, best);
            }
        }
        let deadline = self.call.now.saturating_add(inner.deadline);
        let ticket = inner.tickets.open(reserved, charge, deadline);
        let left = charged.check::<M>(choice);
        charged.keep();
        if left.is_err() {
            // Fails where the thread that removed the worker has closed it already.
            let _ = inner.complete(ticket, &Ending::of(Outcome::ClientCancelled), self.call.now);
        }
        left.map(|()| Some(ticket))
    }

    /// Reserves a ticket's entry in the request's own stripe, or, if its share is full, in another one.
    #[inline(always)]
    fn reserve(self) -> Option<Reserved<'a>> {
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
        (prompt_bytes, turn): (u32, TurnNote),
    ) -> Charge {
        let (main, prefill, prompt) = (M::main(choice), M::prefill(choice), M::prompt(choice));
        let listens = self.listens;
        // KV tokens are counted where a policy compares them: for pairs, and where it listens.
        let counted = M::ROLE == Role::Decode || listens;
        let resident_tokens =
            if counted { request.prompt_tokens.saturating_add(request.output_tokens) } else { 0 };
        Charge {
            participants: Participants::new(
                main.worker.slot() as u16,
                prefill.map(|decision| decision.worker),
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
            turn: turn.0,
        }
    }

    /// Counts the longest match of the candidates for the worker that computes the prompt, and says what it is.
    #[inline(always)]
    pub(super) fn count_best<M: Mode>(
        self,
        choice: &M::Choice,
        prefix: &PrefixQuery<'_>,
    ) -> Option<BestMatch> {
        let best = best_match(&self.candidates(M::ROLES[0]), M::prompt(choice), prefix)?;
        self.installed.counters.count_best(self.call.stripe, best.tokens);
        Some(best)
    }

    /// Remembers the prefix and tells the policy. Returns what is to be noted for the report.
    #[inline(never)]
    fn tell<M: Mode>(
        self,
        choice: &M::Choice,
        request: &RequestView<'_>,
    ) -> Option<(Note, Option<BestMatch>)> {
        let noted = request.prefix.and_then(|prefix| {
            let best = self.count_best::<M>(choice, prefix);
            let slot = M::prompt(choice).worker.slot();
            let note = prefix.note(slot);
            prefix.remember(slot);
            Some((note?, best))
        });
        if self.listens {
            let policy = &*self.installed.policy;
            if let Some(decision) = M::prefill(choice) {
                policy.on_dispatch(&Dispatch { decision, role: Role::Prefill, request });
            }
            policy.on_dispatch(&Dispatch { decision: M::main(choice), role: M::ROLE, request });
        }
        noted
    }
}

/// The longest match of the candidates. Where the chosen one has as much, it is that.
#[inline(never)]
fn best_match(
    candidates: &Candidates<'_>,
    &Decision { worker, matched_tokens, .. }: &Decision,
    prefix: &PrefixQuery<'_>,
) -> Option<BestMatch> {
    let best = prefix.best(|slot| candidates.get(slot).is_some())?;
    let tokens = prefix.tokens(best.blocks).max(matched_tokens);
    let holder = candidates.get(best.slot.into()).filter(|_| tokens > matched_tokens);
    Some(BestMatch { worker: holder.map_or(worker, |holder| holder.id()), tokens })
}

impl Inner {
    #[cold]
    fn reserve_elsewhere(&self) -> Option<Reserved<'_>> {
        self.fleet.enter_each().find_map(|other| self.tickets.reserve(other.stripe))
    }
}

/// Workers that are charged for a request which is not open yet. Given back when dropped, also where a
/// policy panics.
struct Charged<'a> {
    row: &'a WorkerState,
    resident: u64,
    prefill: Option<&'a WorkerState>,
}

impl<'a> Charged<'a> {
    /// Charges the workers; the slot of one that is full, and nothing charged.
    #[inline(always)]
    fn new<M: Mode>(inner: &'a Inner, choice: &M::Choice, resident: u64) -> Result<Self, u16> {
        let slot = |decision: &Decision| decision.worker.slot() as u16;
        let main = slot(M::main(choice));
        let row = inner.fleet.row(main).ok_or(main)?;
        if !row.charge(resident) {
            return Err(main);
        }
        let mut charged = Charged { row, resident, prefill: None };
        if let Some(prefill) = M::prefill(choice).map(slot) {
            // Where it is full, the other one is given back.
            let row = inner.fleet.row(prefill).ok_or(prefill)?;
            charged.prefill = Some(if row.charge(0) { row } else { return Err(prefill) });
        }
        Ok(charged)
    }

    /// Whether the slots are still those of the chosen workers; the slot of one that has left.
    #[inline(always)]
    fn check<M: Mode>(&self, choice: &M::Choice) -> Result<(), u16> {
        let check = |row: &WorkerState, worker: WorkerId| {
            if row.generation() == worker.generation() { Ok(()) } else { Err(worker.slot() as u16) }
        };
        check(self.row, M::main(choice).worker)?;
        match (self.prefill, M::prefill(choice)) {
            (Some(row), Some(decision)) => check(row, decision.worker),
            _ => Ok(()),
        }
    }

    /// Leaves the charge to the ticket.
    #[inline(always)]
    fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Charged<'_> {
    fn drop(&mut self) {
        if let Some(row) = self.prefill {
            row.uncharge(0);
        }
        self.row.uncharge(self.resident);
    }
}
