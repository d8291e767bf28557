//! How a request is routed: view, policy, prompt, decide, commit, else again.

use super::inner::Inner;
use crate::fleet::policies::Installed;
use crate::fleet::view::{Local, View};
use crate::metrics::Comparison;
use crate::policy::error::PolicyError;
use crate::policy::error::RoutingError;
use crate::policy::{self, RequestView, mode::Mode, prefix_query::PrefixQuery};
use crate::pool::{candidates::Candidates, filter::Filter, loads::Loads, set::SlotSet};
use crate::prefix::Unit;
use crate::prompt::{ReadPrompt, clamp, learned::TurnNote, once::PromptOnce};
use crate::random;
use crate::request::Request;
use crate::sync::atomic::Ordering::SeqCst;
use crate::sync::{fence, stripe::Place};
use crate::ticket::Ticket;
use crate::worker::{Role, state::WorkerState};

/// One request.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) inner: &'a Inner,
    pub(super) request: &'a Request<'a>,
    pub(super) now: u64,
    /// Where it is routed.
    pub(super) stripe: Place,
}

/// Everything that one attempt to route it needs: one policy, and one view of the fleet. Passed by value,
/// so that it stays in registers where no prompt is read.
#[derive(Clone, Copy)]
pub(super) struct Attempt<'t, 'a> {
    pub(super) call: Call<'a>,
    pub(super) view: &'t View,
    pub(super) installed: &'t Installed,
    /// Whether the policy listens to events.
    pub(super) listens: bool,
    shadow: Option<&'t Installed>,
    filter: Option<&'t Filter>,
    /// Workers that earlier attempts have found full.
    full: Option<&'t SlotSet>,
}

/// A committed decision, where the policy has put it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Committed<'a, C> {
    pub(super) choice: &'a C,
    pub(super) ticket: Ticket,
    /// Length of the prompt.
    pub(super) total_tokens: u32,
    /// The host's own number of the worker that answers.
    pub(super) user_data: u64,
    /// Where the request was routed.
    pub(super) stripe: Place,
}

/// Lengths of a request.
struct Size {
    /// Of the prompt, in tokens.
    tokens: u32,
    /// Of the prompt in bytes, where `tokens` is estimated from them; else 0.
    bytes: u32,
    /// Whether it is a user's turn after an agent's loop.
    turn: TurnNote,
    /// Of the answer in tokens, as far as the body limits it.
    output: Option<u32>,
}

impl Inner {
    /// Names the worker, or the pair, that serves a request, charges it, and converts the result into what
    /// the host gets.
    #[inline(always)]
    pub(super) fn select<M: Mode, S>(
        &self,
        request: &Request<'_>,
        now: u64,
        finish: impl Fn(Committed<'_, M::Choice>) -> S,
    ) -> Result<S, RoutingError> {
        if self.fleet.is_due(now) {
            self.maintain(now);
        }
        let mut local = self.fleet.enter();
        let stripe = local.stripe;
        // Made where it is needed: the loop takes it from memory.
        let call = || Call { inner: self, request, now, stripe };
        self.fleet.refresh(&mut local.view);
        // A shortcut for the first turn of the loop, where one policy decides alone and reads no prompt.
        let view = &*local.view;
        let mut lost = None;
        if let Some(installed) = view.policies.plan(M::ROLE).alone() {
            let filter = Filter::of_request(request, &view.pool);
            let filter = filter.as_ref();
            let (listens, shadow, full) = (false, None, None);
            let attempt = Attempt { call: call(), view, installed, listens, shadow, filter, full };
            match attempt.without_prompt::<M, S>(&mut lost, &finish) {
                Err(ref error) if lost.is_some() || self.waits_for_room(error) => {}
                done => return done,
            }
        }
        call().until_committed::<M, S>(&mut local, lost, &finish)
    }

    /// The eligible workers that have a limit. O(eligible) where any has one.
    pub(super) fn limited(&self, candidates: &Candidates<'_>) -> SlotSet {
        let view = candidates.view();
        let limited =
            |&slot: &usize| self.fleet.rows().get(slot).is_some_and(WorkerState::is_limited);
        if view.limited { view.bits.iter().filter(limited).collect() } else { SlotSet::default() }
    }

    /// Whether a request that is refused so can be told of room: then it has to look once more.
    #[cold]
    fn waits_for_room(&self, error: &RoutingError) -> bool {
        let room = self.fleet.room();
        matches!(error, RoutingError::AllBusy { .. }) && room.has_hook()
    }

    #[inline(always)]
    pub(super) fn loads(&self) -> Loads<'_> {
        Loads::Rows(self.fleet.rows())
    }

    pub(super) fn with_candidates<T>(
        &self,
        role: Role,
        request: &Request<'_>,
        now: u64,
        look: impl FnOnce(&Candidates<'_>, &RequestView<'_>) -> T,
    ) -> T {
        let view = self.fleet.view();
        let filter = Filter::of_request(request, &view.pool);
        let candidates = Candidates::new(&view.pool, role, self.loads(), filter.as_ref());
        let tokens = self.prompts.estimated_tokens(request);
        let size = Size { tokens, bytes: 0, turn: TurnNote::default(), output: None };
        look(&candidates, &self.request_view(request, now, &size, None))
    }

    #[inline(always)]
    fn request_view<'a>(
        &self,
        request: &'a Request<'a>,
        now: u64,
        size: &Size,
        prefix: Option<&'a PrefixQuery<'a>>,
    ) -> RequestView<'a> {
        let output = request.expected_output_tokens.or(size.output);
        let key = request.routing_key;
        RequestView {
            request,
            now: now.into(),
            prompt_tokens: size.tokens,
            output_tokens: output.unwrap_or_else(|| self.prompts.estimates().answer_tokens()),
            routing_key: key.map(|key| self.prompts.routing_key_digest(key)),
            prefix,
        }
    }
}

impl<'a> Call<'a> {
    /// The loop: view, policy, prompt, decide, commit, else again. It ends, as each turn commits or rules
    /// one more worker out. Where the host can be told of room, a refusal counts only once that was noted:
    /// the request then looks at all workers again.
    #[inline(never)]
    fn until_committed<M: Mode, S>(
        self,
        local: &mut Local,
        first_lost: Option<usize>,
        finish: &impl Fn(Committed<'_, M::Choice>) -> S,
    ) -> Result<S, RoutingError> {
        let Local { view, window, .. } = local;
        let mut prompt = PromptOnce::new(window);
        let mut full: SlotSet = first_lost.into_iter().collect();
        let mut noted = false;
        loop {
            self.inner.fleet.refresh(view);
            let (plan, pool) = (view.policies.plan(M::ROLE), &view.pool);
            let Some(installed) = plan.choose(|| self.coin()) else {
                return Err(Candidates::new(pool, M::ROLE, self.inner.loads(), None).none());
            };
            let filter = Filter::of_request(self.request, pool);
            let (shadow, filter) = (plan.shadow(), filter.as_ref());
            let attempt = Attempt {
                call: self,
                view,
                installed,
                listens: installed.wants_events,
                shadow,
                filter,
                full: Some(&full).filter(|full| !full.is_empty()),
            };
            let mut lost = None;
            let done = if plan.reads_prompt() {
                let read = prompt.read(&self.inner.prompts, self.request)?;
                attempt.with_prompt::<M, S>(&read, &mut lost, finish)
            } else {
                attempt.without_prompt::<M, S>(&mut lost, finish)
            };
            match lost {
                Some(slot) => full.insert(slot),
                // Committed or refused.
                None => match done {
                    Err(ref error) if !noted && self.inner.waits_for_room(error) => {
                        self.inner.fleet.room().want();
                        (noted, full) = (true, SlotSet::default());
                    }
                    done => return done,
                },
            }
        }
    }

    /// A number from 0 to 1 that is the same for all requests with the same routing key.
    #[cold]
    fn coin(self) -> f64 {
        let uniform = match self.request.routing_key {
            Some(key) => self.inner.prompts.routing_key_digest(key),
            None => self.inner.random.next(),
        };
        random::unit(uniform)
    }
}

impl<'t, 'a: 't> Attempt<'t, 'a> {
    #[inline(always)]
    pub(super) fn candidates(self, role: Role) -> Candidates<'t> {
        let loads = self.call.inner.loads();
        Candidates::new(&self.view.pool, role, loads, self.filter).but_full(self.full)
    }

    #[inline(always)]
    fn without_prompt<M: Mode, S>(
        self,
        lost: &mut Option<usize>,
        finish: &impl Fn(Committed<'_, M::Choice>) -> S,
    ) -> Result<S, RoutingError> {
        let tokens = self.call.inner.prompts.estimated_tokens(self.call.request);
        let size = Size { tokens, bytes: 0, turn: TurnNote::default(), output: None };
        self.decide_and_commit::<M, S>(size, None, lost, finish)
    }

    #[inline(never)]
    fn with_prompt<M: Mode, S>(
        self,
        read: &ReadPrompt<'_>,
        lost: &mut Option<usize>,
        finish: &impl Fn(Committed<'_, M::Choice>) -> S,
    ) -> Result<S, RoutingError> {
        let prompts = &*self.call.inner.prompts;
        let (fingerprint, unit) = (read.fingerprint, read.fingerprint.header().unit);
        let size = Size {
            tokens: prompts.tokens_of(&fingerprint),
            bytes: if unit == Unit::Text { clamp(fingerprint.total()) } else { 0 },
            turn: read.turn(),
            output: read.output_tokens(prompts.estimates().answer_tokens()),
        };
        let Some(tree) = prompts.tree() else {
            return self.decide_and_commit::<M, S>(size, None, lost, finish);
        };
        let tokens_per_block = prompts.tokens_per_block(unit);
        let query = PrefixQuery::new(tree, &self.view.pool, fingerprint, tokens_per_block);
        self.decide_and_commit::<M, S>(size, Some(&query), lost, finish)
    }

    /// Asks the policy, checks its answer, and commits it.
    #[inline(always)]
    fn decide_and_commit<M: Mode, S>(
        self,
        size: Size,
        prefix: Option<&PrefixQuery<'_>>,
        lost: &mut Option<usize>,
        finish: &impl Fn(Committed<'_, M::Choice>) -> S,
    ) -> Result<S, RoutingError> {
        let request = self.call.inner.request_view(self.call.request, self.call.now, &size, prefix);
        // Used in place, and copied once, into the selection.
        let decided = M::decide(&*self.installed.policy, |role| self.candidates(role), &request);
        let choice = match decided {
            Ok(ref choice) => choice,
            Err(error) => return Err(error),
        };
        if let Some(worker) = M::non_candidate(choice, |role| self.candidates(role)) {
            let error = PolicyError::NotACandidate { worker };
            return Err(policy::error::failed(&self.installed.counters.name, error));
        }
        let user_data = self.user_data::<M>(choice);
        let compared = self.shadow.map(|shadow| self.compare::<M>(shadow, choice, &request));
        let committed = self.commit::<M>(choice, &request, (size.bytes, size.turn));
        if let (Some(shadow), Some(compared), Ok(_)) = (self.shadow, compared, &committed) {
            shadow.counters.shadow.mine().count(compared);
        }
        match committed {
            Ok(Some(ticket)) => Ok(finish(self.committed(choice, &request, (ticket, user_data)))),
            Ok(None) => self.untracked::<M, S>(&request, finish),
            Err(slot) => {
                *lost = Some(slot.into());
                // What was undone may be what another request has not found.
                fence(SeqCst);
                self.call.inner.fleet.room().given_back();
                Err(self.candidates(M::ROLE).none())
            }
        }
    }

    /// The ticket table is full, so nothing of this request will be counted. A policy that compares
    /// counts would send all such requests to the one worker that looked best when the table filled
    /// up; a random draw spreads them. A worker with a limit is not among those: nothing could hold them to
    /// it, so for them a full table is a limit that has been reached.
    #[cold]
    fn untracked<M: Mode, S>(
        self,
        request: &RequestView<'_>,
        finish: &impl Fn(Committed<'_, M::Choice>) -> S,
    ) -> Result<S, RoutingError> {
        let mut closed = self.full.copied().unwrap_or_default();
        for &role in M::ROLES {
            closed = closed.or(&self.call.inner.limited(&self.candidates(role)));
        }
        let this = Attempt { full: Some(&closed).filter(|closed| !closed.is_empty()), ..self };
        let choice = M::decide(&self.call.inner.fallback, |role| this.candidates(role), request)?;
        self.call.inner.count_untracked();
        self.count::<M>(&choice, request);
        if let Some(prefix) = request.prefix {
            this.count_best::<M>(&choice, prefix);
        }
        let user_data = self.user_data::<M>(&choice);
        Ok(finish(self.committed(&choice, request, (Ticket::UNTRACKED, user_data))))
    }

    /// The host's own number of the worker that answers.
    #[inline(always)]
    fn user_data<M: Mode>(self, choice: &M::Choice) -> u64 {
        let seat = self.view.pool.seat(M::main(choice).worker.slot());
        seat.map_or(0, |seat| seat.user_data)
    }

    #[inline(always)]
    fn committed<'c, C>(
        self,
        choice: &'c C,
        request: &RequestView<'_>,
        (ticket, user_data): (Ticket, u64),
    ) -> Committed<'c, C> {
        Committed {
            choice,
            ticket,
            total_tokens: request.prompt_tokens,
            user_data,
            stripe: self.call.stripe,
        }
    }

    /// Lets the shadow decide, and says how its decision differs; `None` where it has no answer. Nothing
    /// of it is committed.
    #[cold]
    fn compare<M: Mode>(
        self,
        shadow: &Installed,
        choice: &M::Choice,
        request: &RequestView<'_>,
    ) -> Option<Comparison> {
        let candidates = |role| self.candidates(role);
        let other = M::decide(&*shadow.policy, candidates, request).ok()?;
        if M::non_candidate(&other, candidates).is_some() {
            return None;
        }
        let work = |choice| {
            let slot = M::prompt(choice).worker.slot();
            let held = request.prefix.map_or(0, |prefix| prefix.tokens(prefix.blocks_of(slot)));
            request.prompt_tokens.saturating_sub(held)
        };
        let workers = |choice| (M::prompt(choice).worker, M::main(choice).worker);
        Some(Comparison {
            differs: workers(choice) != workers(&other),
            work: work(choice),
            shadow_work: work(&other),
        })
    }
}
