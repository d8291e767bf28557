//! Select: read the snapshot once, fingerprint the prompt if anybody wants it, ask the policy, commit.

use std::marker::PhantomData;
use std::mem::MaybeUninit;

use super::core::{Core, ROUTING_KEY, View};
use super::handle::Handles;
use super::local::Local;
use super::mode::Mode;
use super::policies::Installed;
use super::print::{Printed, Size, clamp};
use super::ticket::Ticket;
use crate::policy::error::{PolicyError, RoutingError};
use crate::policy::{self, RequestView, prefix_query::PrefixQuery};
use crate::pool::{
    candidates::{Candidates, Rows},
    filter::Filter,
};
use crate::prefix::Unit;
use crate::request::{Prompt, Request};
use crate::sync::atomic::Ordering::Relaxed;
use crate::worker::Role;

/// Tries before a request that keeps losing races for the last free place is refused. They nest, so
/// they also bound the stack: one try takes up to 50 KiB of it for the longest prompts.
const ATTEMPTS: usize = 4;
/// Leading blocks that a request is fingerprinted to at most: 512 KiB of text, 131,072 tokens.
const MAX_BLOCKS: usize = 4096;

/// One request on its way through one snapshot. Passed by value: an address would put all of it on
/// the stack of the shortest path, too.
#[derive(Clone, Copy)]
pub(super) struct Trip<'a, M> {
    pub(super) core: &'a Core,
    pub(super) handles: &'a Handles,
    pub(super) view: &'a View,
    /// The stripe that the request is in, where its policy is brief.
    pub(super) local: Option<&'a Local>,
    pub(super) installed: &'a Installed,
    pub(super) shadow: Option<&'a Installed>,
    pub(super) request: &'a Request<'a>,
    pub(super) filter: Option<&'a Filter>,
    pub(super) now: u64,
    /// Tries left, this one included.
    pub(super) attempts: usize,
    pub(super) mode: PhantomData<M>,
}

impl Core {
    #[inline(always)]
    pub(super) fn route<M: Mode>(
        &self,
        handles: &Handles,
        request: &Request<'_>,
        now: u64,
    ) -> Result<M::Selection, RoutingError> {
        if self.is_due(now) {
            self.keep_house(now);
        }
        self.attempt::<M>(handles, request, now, ATTEMPTS)
    }

    /// Routes from within the thread's stripe, or outside of it where foreign code or long work is
    /// ahead, or no stripe is free.
    #[inline(always)]
    fn attempt<M: Mode>(
        &self,
        handles: &Handles,
        request: &Request<'_>,
        now: u64,
        attempts: usize,
    ) -> Result<M::Selection, RoutingError> {
        if let Some(local) = self.enter() {
            let view = &*local.view;
            if let Some(installed) = view.policies.brief(M::ROLE) {
                let filter = Filter::of_request(request, &view.pool);
                let trip = Trip::<M> {
                    core: self,
                    handles,
                    view,
                    local: Some(&local),
                    installed,
                    shadow: None,
                    request,
                    filter: filter.as_ref(),
                    now,
                    attempts,
                    mode: PhantomData,
                };
                return trip.without_prefix();
            }
        }
        self.attempt_outside::<M>(handles, request, now, attempts)
    }

    #[inline(never)]
    fn attempt_outside<M: Mode>(
        &self,
        handles: &Handles,
        request: &Request<'_>,
        now: u64,
        attempts: usize,
    ) -> Result<M::Selection, RoutingError> {
        let view = self.view();
        let Some(installed) = view.policies.choose(self, M::ROLE, request) else {
            return Err(self.busy(request, M::ROLE));
        };
        let shadow = view.policies.shadow(M::ROLE);
        let filter = Filter::of_request(request, &view.pool);
        let trip = Trip::<M> {
            core: self,
            handles,
            view: &view,
            local: None,
            installed,
            shadow,
            request,
            filter: filter.as_ref(),
            now,
            attempts,
            mode: PhantomData,
        };
        if installed.wants_prefix || shadow.is_some_and(|shadow| shadow.wants_prefix) {
            trip.with_prefix()
        } else {
            trip.without_prefix()
        }
    }

    /// Another try after a lost race, in the snapshot of this moment.
    #[cold]
    fn again<M: Mode>(
        &self,
        handles: &Handles,
        request: &Request<'_>,
        now: u64,
        attempts: usize,
    ) -> Result<M::Selection, RoutingError> {
        if attempts == 0 {
            return Err(self.busy(request, M::ROLE));
        }
        self.attempt::<M>(handles, request, now, attempts)
    }

    /// The error of a request that has lost every race for a free place.
    #[cold]
    fn busy(&self, request: &Request<'_>, role: Role) -> RoutingError {
        let view = self.view();
        let filter = Filter::of_request(request, &view.pool);
        Candidates::new(&view.pool, role, Rows::Own(&self.rows), filter.as_ref()).none()
    }

    pub(super) fn with_candidates<T>(
        &self,
        role: Role,
        request: &Request<'_>,
        now: u64,
        look: impl FnOnce(&Candidates<'_>, &RequestView<'_>) -> T,
    ) -> T {
        let view = self.view();
        let filter = Filter::of_request(request, &view.pool);
        let rows = Rows::Own(&self.rows);
        let candidates = Candidates::new(&view.pool, role, rows, filter.as_ref());
        let shown = RequestView {
            request,
            now,
            prompt_tokens: self.estimated_tokens(request),
            output_tokens: request.expected_output_tokens.unwrap_or(self.answer_tokens()),
            routing_key: request.routing_key.map(|key| self.digest(ROUTING_KEY, key)),
            prefix: None,
        };
        look(&candidates, &shown)
    }
}

/// At most so many leading words of a window, all 0: clearing those that no block will fill costs a long
/// prompt a tenth of its time.
#[inline]
fn cleared(window: &mut [MaybeUninit<u64>], most: usize) -> &mut [u64] {
    let used = window.len().min(most);
    let used = &mut window[..used];
    used.fill(MaybeUninit::new(0));
    // SAFETY: every word of `used` has just been written, and `MaybeUninit<u64>` has the layout of `u64`.
    unsafe { &mut *(std::ptr::from_mut(used) as *mut [u64]) }
}

impl<'a, M: Mode> Trip<'a, M> {
    #[inline(always)]
    pub(super) fn candidates(self, role: Role) -> Candidates<'a> {
        let rows = Rows::Own(&self.core.rows);
        Candidates::new(&self.view.pool, role, rows, self.filter)
    }

    #[inline(always)]
    fn without_prefix(self) -> Result<M::Selection, RoutingError> {
        let tokens = self.core.estimated_tokens(self.request);
        self.decide_and_commit(Size { tokens, bytes: 0, output: None }, None)
    }

    /// Fingerprints the prompt into a window on the stack, just large enough.
    #[inline(never)]
    fn with_prefix(self) -> Result<M::Selection, RoutingError> {
        let bytes = match &self.request.prompt {
            Prompt::None => 0,
            Prompt::Text(text) => text.len(),
            Prompt::Tokens(tokens) => size_of_val(*tokens),
            Prompt::Json(body) => body.len(),
            // The length of a parsed body is only known by walking it, so it gets the largest window.
            Prompt::Value(_) => usize::MAX,
            Prompt::Fingerprint(given) => {
                self.core.check(given, self.request)?;
                return self.with_fingerprint(Printed::plain(*given));
            }
        };
        let whole = bytes / self.core.block.bytes();
        let most = match &self.request.prompt {
            Prompt::Text(_) | Prompt::Tokens(_) => whole,
            // What a body declares beside its text may count as more blocks than its bytes make.
            _ => MAX_BLOCKS,
        };
        match whole {
            0..=64 => self.with_window::<64>(most),
            65..=1024 => self.with_window::<1024>(most),
            _ => self.with_window::<MAX_BLOCKS>(most),
        }
    }

    #[inline(never)]
    fn with_window<const BLOCKS: usize>(self, most: usize) -> Result<M::Selection, RoutingError> {
        let mut window = [const { MaybeUninit::uninit() }; BLOCKS];
        let printed = self.core.fingerprint(self.request, cleared(&mut window, most))?;
        self.with_fingerprint(printed)
    }

    fn with_fingerprint(self, printed: Printed<'_>) -> Result<M::Selection, RoutingError> {
        let Printed { fingerprint, max_tokens } = printed;
        let header = fingerprint.header();
        let bytes = if header.unit == Unit::Text { clamp(header.total) } else { 0 };
        let tokens = self.core.tokens_of(&fingerprint);
        let tokens_per_block = self.core.tokens_per_block(header.unit);
        let query =
            PrefixQuery::new(&self.core.tree, &self.view.pool, fingerprint, tokens_per_block);
        let expected = max_tokens.map(|most| most.min(self.core.answer_tokens()));
        self.decide_and_commit(Size { tokens, bytes, output: expected }, Some(&query))
    }

    #[inline(always)]
    fn decide_and_commit(
        self,
        size: Size,
        prefix: Option<&PrefixQuery<'_>>,
    ) -> Result<M::Selection, RoutingError> {
        let key = self.request.routing_key;
        let request = RequestView {
            request: self.request,
            now: self.now,
            prompt_tokens: size.tokens,
            output_tokens: self
                .request
                .expected_output_tokens
                .or(size.output)
                .unwrap_or_else(|| self.core.answer_tokens()),
            routing_key: key.map(|key| self.core.digest(ROUTING_KEY, key)),
            prefix,
        };
        let policy = &*self.installed.policy;
        // Used where the policy has put it, and copied once, into the selection.
        let decided = M::decide(policy, |role| self.candidates(role), &request);
        let choice = match decided {
            Ok(ref choice) => choice,
            Err(error) => return Err(error),
        };
        if let Some(worker) = M::outsider(choice, |role| self.candidates(role)) {
            return Err(policy::error::failed(
                &self.installed.ledger.name,
                PolicyError::NotACandidate { worker },
            ));
        }
        if let Some(shadow) = self.shadow {
            self.compare(shadow, choice, &request);
        }
        let Some(ticket) = self.commit(choice, &request, size.bytes) else {
            return self.core.again::<M>(self.handles, self.request, self.now, self.attempts - 1);
        };
        if !ticket.is_tracked() {
            return self.untracked(&request);
        }
        Ok(M::selection(|| self.handles.lend(self.local), self.routed(choice, &request, ticket)))
    }

    /// The ticket table is full, so nothing of this request will be counted. A policy that goes by
    /// counts would send all such requests to the one worker that looked best when the table filled
    /// up; a random draw spreads them.
    #[cold]
    fn untracked(self, request: &RequestView<'_>) -> Result<M::Selection, RoutingError> {
        let choice = M::decide(&self.core.fallback, |role| self.candidates(role), request)?;
        self.core.untracked.mine().fetch_add(1, Relaxed);
        if let Some(local) = self.core.enter() {
            self.count(&local, &choice, request);
        }
        Ok(M::selection(
            || self.handles.lend(self.local),
            self.routed(&choice, request, Ticket::UNTRACKED),
        ))
    }
}
