//! Select: read the snapshot once, ask the policy, commit.
//!
//! **Commit order.** A ticket's entry is reserved, the workers are charged, the policy is told, the
//! ticket is opened, and then the generation of the workers' slots is looked at once more (see
//! "Removal" in `ticket`). Undoing runs in the opposite order. A worker's load is the last thing to be
//! given back, and a slot changes hands only without load, so no callback about one worker can reach
//! its successor. A policy stays installed while a snapshot that lets it decide is read, or a ticket
//! of its is open, so every dispatch that it was told of ends at it.

use std::marker::PhantomData;
use std::sync::Arc;

use super::core::{Core, DEFAULT_OUTPUT_TOKENS, Handle, NAMESPACE, ROUTING_KEY, View};
use super::finish::Ending;
use super::policies::Installed;
use super::selection::{PairSelection, Selection};
use super::ticket::{Charge, Parties, Reserved, Ticket};
use crate::error::{PolicyError, RoutingError};
use crate::policy::{
    self, Decision, Dispatch, PairDecision, RequestView, RoutingPolicy, Usage,
    prefix_query::PrefixQuery,
};
use crate::pool::{
    candidates::{Candidates, Rows},
    filter::Filter,
};
use crate::prefix::{Fingerprint, FingerprintError, Fingerprinter, Unit};
use crate::request::{
    Prompt, Request,
    body::{BodyFingerprint, BodyOptions, BodyReader, read_value},
};
use crate::sync::atomic::Ordering::Relaxed;
use crate::worker::{Role, WorkerId, health::Outcome, state::WorkerState};

/// Tries before a request that keeps losing races for the last free place is refused.
const ATTEMPTS: usize = 8;
/// Leading blocks that a request is fingerprinted to at most: 512 KiB of text, 131,072 tokens.
const MAX_BLOCKS: usize = 4096;

/// Whether a request goes to one worker or to a pair: what is decided, and by which method.
pub(super) trait Mode: Copy {
    /// What is decided.
    type Choice: Copy;
    /// What the host gets.
    type Selection;
    /// The role of the worker that answers.
    const ROLE: Role;

    fn decide<'a>(
        policy: &dyn RoutingPolicy,
        candidates: impl Fn(Role) -> Candidates<'a>,
        request: &RequestView<'_>,
    ) -> Result<Self::Choice, RoutingError>;

    /// A chosen worker that is not a candidate. One that has become full since the policy looked is
    /// let through: charging it will fail, and the request is routed anew.
    fn outsider<'a>(
        choice: &Self::Choice,
        candidates: impl Fn(Role) -> Candidates<'a>,
    ) -> Option<WorkerId>;

    /// The decision on the worker that answers.
    fn main(choice: &Self::Choice) -> &Decision;

    /// The decision on a prefill worker of its own.
    fn prefill(choice: &Self::Choice) -> Option<&Decision>;

    fn selection(handle: Arc<Handle>, routed: Routed<'_, Self::Choice>) -> Self::Selection;
}

/// One worker does it all.
#[derive(Clone, Copy)]
pub(super) enum Single {}

/// A prefill and a decode worker.
#[derive(Clone, Copy)]
pub(super) enum Pair {}

impl Mode for Single {
    type Choice = Decision;
    type Selection = Selection;
    const ROLE: Role = Role::Regular;

    #[inline(always)]
    fn decide<'a>(
        policy: &dyn RoutingPolicy,
        candidates: impl Fn(Role) -> Candidates<'a>,
        request: &RequestView<'_>,
    ) -> Result<Decision, RoutingError> {
        policy.select_single(&candidates(Role::Regular), request)
    }

    #[inline(always)]
    fn outsider<'a>(
        choice: &Decision,
        candidates: impl Fn(Role) -> Candidates<'a>,
    ) -> Option<WorkerId> {
        let worker = choice.worker;
        if candidates(Role::Regular).includes(worker) { None } else { Some(worker) }
    }

    #[inline(always)]
    fn main(choice: &Decision) -> &Decision {
        choice
    }

    #[inline(always)]
    fn prefill(_choice: &Decision) -> Option<&Decision> {
        None
    }

    #[inline(always)]
    fn selection(handle: Arc<Handle>, routed: Routed<'_, Decision>) -> Selection {
        Selection::new(handle, routed)
    }
}

impl Mode for Pair {
    type Choice = PairDecision;
    type Selection = PairSelection;
    const ROLE: Role = Role::Decode;

    fn decide<'a>(
        policy: &dyn RoutingPolicy,
        candidates: impl Fn(Role) -> Candidates<'a>,
        request: &RequestView<'_>,
    ) -> Result<PairDecision, RoutingError> {
        policy.select_pair(&candidates(Role::Prefill), &candidates(Role::Decode), request)
    }

    fn outsider<'a>(
        choice: &PairDecision,
        candidates: impl Fn(Role) -> Candidates<'a>,
    ) -> Option<WorkerId> {
        let chosen = [(Role::Prefill, &choice.prefill), (Role::Decode, &choice.decode)];
        let mut workers = chosen.into_iter().map(|(role, decision)| (role, decision.worker));
        workers.find(|&(role, worker)| !candidates(role).includes(worker)).map(|(_, worker)| worker)
    }

    fn main(choice: &PairDecision) -> &Decision {
        &choice.decode
    }

    fn prefill(choice: &PairDecision) -> Option<&Decision> {
        Some(&choice.prefill)
    }

    fn selection(handle: Arc<Handle>, routed: Routed<'_, PairDecision>) -> PairSelection {
        PairSelection::new(handle, routed)
    }
}

/// A prompt's fingerprint, and what its body says beside.
pub(super) struct Printed<'b> {
    pub(super) fingerprint: Fingerprint<'b>,
    /// Most tokens that the body allows the answer.
    max_tokens: Option<u32>,
}

impl<'b> Printed<'b> {
    fn plain(fingerprint: Fingerprint<'b>) -> Self {
        Printed { fingerprint, max_tokens: None }
    }
}

/// Lengths of a request.
struct Size {
    /// Of the prompt, in tokens.
    tokens: u32,
    /// Of the prompt in bytes, where `tokens` is estimated from them; else 0.
    bytes: u32,
    /// Of the answer in tokens, as far as the body limits it.
    output: Option<u32>,
}

/// A committed decision.
#[derive(Clone, Copy, Debug)]
pub(super) struct Routed<'a, C> {
    pub(super) choice: &'a C,
    pub(super) ticket: Ticket,
    pub(super) total_tokens: u32,
    /// The host's own number of the worker that answers.
    pub(super) user_data: u64,
}

/// One request on its way through one snapshot. Passed by value: an address would put all of it on
/// the stack of the shortest path, too.
#[derive(Clone, Copy)]
struct Trip<'a, M> {
    core: &'a Core,
    handle: &'a Arc<Handle>,
    view: &'a View,
    installed: &'a Installed,
    shadow: Option<&'a Installed>,
    request: &'a Request<'a>,
    filter: Option<&'a Filter>,
    now: u64,
    /// Tries left, this one included.
    attempts: usize,
    mode: PhantomData<M>,
}

impl Core {
    #[inline(always)]
    pub(super) fn route<M: Mode>(
        &self,
        handle: &Arc<Handle>,
        request: &Request<'_>,
        now: u64,
    ) -> Result<M::Selection, RoutingError> {
        if now >= self.wake_at.load(Relaxed) {
            self.keep_house(now);
        }
        self.attempt::<M>(handle, request, now, ATTEMPTS)
    }

    #[inline(always)]
    fn attempt<M: Mode>(
        &self,
        handle: &Arc<Handle>,
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
            handle,
            view: &view,
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
            let tokens = self.estimated_tokens(request);
            trip.decide_and_commit(Size { tokens, bytes: 0, output: None }, None)
        }
    }

    /// Another try after a lost race, in the snapshot of this moment.
    #[cold]
    fn again<M: Mode>(
        &self,
        handle: &Arc<Handle>,
        request: &Request<'_>,
        now: u64,
        attempts: usize,
    ) -> Result<M::Selection, RoutingError> {
        if attempts == 0 {
            return Err(self.busy(request, M::ROLE));
        }
        self.attempt::<M>(handle, request, now, attempts)
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
            output_tokens: request.expected_output_tokens.unwrap_or(DEFAULT_OUTPUT_TOKENS),
            routing_key: request.routing_key.map(|key| self.digest(ROUTING_KEY, key)),
            prefix: None,
        };
        look(&candidates, &shown)
    }

    /// The prompt's length in tokens, without reading it.
    #[inline]
    fn estimated_tokens(&self, request: &Request<'_>) -> u32 {
        match &request.prompt {
            Prompt::None => 0,
            prompt => self.estimated_tokens_of(prompt),
        }
    }

    fn estimated_tokens_of(&self, prompt: &Prompt<'_>) -> u32 {
        match prompt {
            Prompt::None => 0,
            Prompt::Text(text) => (text.len() as f32 / self.bytes_per_token()) as u32,
            Prompt::Tokens(tokens) => clamp(tokens.len() as u64),
            Prompt::Json(body) => (body.len() as f32 / self.bytes_per_token()) as u32,
            // Its length is not known without reading it.
            Prompt::Value(_) => 0,
            Prompt::Fingerprint(fingerprint) => self.tokens_of(fingerprint),
        }
    }

    pub(super) fn tokens_of(&self, fingerprint: &Fingerprint<'_>) -> u32 {
        match fingerprint.header().unit {
            Unit::Tokens => clamp(fingerprint.total()),
            Unit::Text => (fingerprint.total() as f32 / self.bytes_per_token()) as u32,
        }
    }

    fn tokens_per_block(&self, unit: Unit) -> f32 {
        match unit {
            Unit::Tokens => self.block.units(Unit::Tokens) as f32,
            Unit::Text => self.block.bytes() as f32 / self.bytes_per_token(),
        }
    }

    pub(super) fn namespace_of(&self, request: &Request<'_>) -> u64 {
        request.namespace.map_or(0, |namespace| self.digest(NAMESPACE, namespace.as_bytes()))
    }

    /// The options for a body in this namespace; without one, the body's own fields form it.
    pub(super) fn body_options(&self, namespace: Option<&str>) -> BodyOptions {
        let namespace = namespace.map(|text| self.digest(NAMESPACE, text.as_bytes()));
        BodyOptions { namespace, ..self.body }
    }

    pub(super) fn fingerprint<'b>(
        &self,
        request: &Request<'_>,
        buffer: &'b mut [u64],
    ) -> Result<Printed<'b>, RoutingError> {
        let print = |unit, buffer, push: &dyn Fn(&mut Fingerprinter<'_, '_>)| {
            let mut printer = Fingerprinter::new(&self.key, unit, self.block, buffer);
            push(&mut printer);
            Printed::plain(printer.finish(self.namespace_of(request), 0))
        };
        Ok(match &request.prompt {
            Prompt::None => print(Unit::Text, buffer, &|_| {}),
            Prompt::Text(text) => print(Unit::Text, buffer, &|printer| printer.push(text)),
            Prompt::Tokens(tokens) => {
                print(Unit::Tokens, buffer, &|printer| printer.push_tokens(tokens))
            }
            Prompt::Json(body) => {
                let options = self.body_options(request.namespace);
                let mut reader = BodyReader::new(&self.key, options, buffer);
                reader.push(body)?;
                self.of_body(reader.finish()?)
            }
            Prompt::Value(body) => {
                let options = self.body_options(request.namespace);
                self.of_body(read_value(&self.key, options, body, buffer)?)
            }
            Prompt::Fingerprint(given) => Printed::plain(self.copy(given, request, buffer)?),
        })
    }

    /// A body without a prompt that can be read has an empty fingerprint.
    fn of_body<'b>(&self, body: BodyFingerprint<'b>) -> Printed<'b> {
        let empty = || Fingerprinter::new(&self.key, Unit::Text, self.block, &mut []).finish(0, 0);
        Printed { fingerprint: body.fingerprint.unwrap_or_else(empty), max_tokens: body.max_tokens }
    }

    fn copy<'b>(
        &self,
        given: &Fingerprint<'_>,
        request: &Request<'_>,
        buffer: &'b mut [u64],
    ) -> Result<Fingerprint<'b>, FingerprintError> {
        self.check(given, request)?;
        let kept = given.blocks().len().min(buffer.len());
        let (buffer, blocks) = (&mut buffer[..kept], &given.blocks()[..kept]);
        buffer.copy_from_slice(blocks);
        let mut header = *given.header();
        header.blocks = kept as u32;
        Fingerprint::from_parts(header, buffer)
    }

    /// A fingerprint must come from this key and block size, and, where the request names a
    /// namespace, from that.
    fn check(
        &self,
        given: &Fingerprint<'_>,
        request: &Request<'_>,
    ) -> Result<(), FingerprintError> {
        let namespace = match request.namespace {
            Some(_) => self.namespace_of(request),
            None => given.header().namespace,
        };
        given.check(&self.key, self.block, namespace)
    }
}

impl<'a, M: Mode> Trip<'a, M> {
    #[inline(always)]
    fn candidates(self, role: Role) -> Candidates<'a> {
        let rows = Rows::Own(&self.core.rows);
        Candidates::new(&self.view.pool, role, rows, self.filter)
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
        match bytes / self.core.block.bytes() {
            0..=64 => self.with_window::<64>(),
            65..=1024 => self.with_window::<1024>(),
            _ => self.with_window::<MAX_BLOCKS>(),
        }
    }

    #[inline(never)]
    fn with_window<const BLOCKS: usize>(self) -> Result<M::Selection, RoutingError> {
        let mut window = [0; BLOCKS];
        let printed = self.core.fingerprint(self.request, &mut window)?;
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
        let expected = max_tokens.map(|most| most.min(DEFAULT_OUTPUT_TOKENS));
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
                .unwrap_or(DEFAULT_OUTPUT_TOKENS),
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
            return Err(policy::failed(policy, PolicyError::NotACandidate { worker }));
        }
        if let Some(shadow) = self.shadow {
            self.compare(shadow, choice, &request);
        }
        let Some(ticket) = self.commit(choice, &request, size.bytes) else {
            return self.core.again::<M>(self.handle, self.request, self.now, self.attempts - 1);
        };
        Ok(M::selection(Arc::clone(self.handle), self.routed(choice, &request, ticket)))
    }

    /// `None`: somebody else took the worker's last place, or the worker has just left.
    #[inline(always)]
    fn commit(
        self,
        choice: &M::Choice,
        request: &RequestView<'_>,
        prompt_bytes: u32,
    ) -> Option<Ticket> {
        let core = self.core;
        let Some(mut reserved) = core.tickets.reserve() else {
            core.untracked.mine().fetch_add(1, Relaxed);
            return Some(Ticket::UNTRACKED);
        };
        let charge = self.charge(choice, request, prompt_bytes);
        if !core.charge_workers(&charge) {
            core.tickets.cancel(&reserved);
            return None;
        }
        if charge.parties.notify() || request.prefix.is_some() {
            reserved = self.tell(choice, request, charge, reserved);
        }
        let ticket = core.tickets.open(reserved, &charge, self.now.saturating_add(core.deadline));
        if self.is_stale(choice) {
            // An error says that whoever removed the worker has closed it already.
            let _ = core.complete(ticket, Ending::of(Outcome::ClientCancelled), self.now);
            return None;
        }
        Some(ticket)
    }

    #[inline(always)]
    fn charge(self, choice: &M::Choice, request: &RequestView<'_>, prompt_bytes: u32) -> Charge {
        let (main, prefill) = (M::main(choice), M::prefill(choice));
        // The prompt is computed by the prefill worker where there is one.
        let worked = prefill.unwrap_or(main);
        // KV tokens are counted where somebody compares them: for pairs, and for policies that listen.
        let resident_tokens = if M::ROLE == Role::Decode || self.installed.wants_events {
            request.prompt_tokens.saturating_add(request.output_tokens)
        } else {
            0
        };
        Charge {
            parties: Parties::new(
                main.worker.slot() as u16,
                prefill.map(|decision| decision.worker.slot() as u16),
                self.installed.index,
                self.installed.wants_events,
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
    fn compare(self, shadow: &Installed, choice: &M::Choice, request: &RequestView<'_>) {
        let counts = shadow.shadow.mine();
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
    fn routed<'c>(
        self,
        choice: &'c M::Choice,
        request: &RequestView<'_>,
        ticket: Ticket,
    ) -> Routed<'c, M::Choice> {
        let main = M::main(choice);
        let decisions = self.installed.decisions.mine();
        decisions.count(M::ROLE, main.reason);
        if request.prefix.is_some() {
            let worked = M::prefill(choice).unwrap_or(main);
            decisions.count_tokens(request.prompt_tokens, worked.matched_tokens);
        }
        if let Some(prefill) = M::prefill(choice) {
            decisions.count(Role::Prefill, prefill.reason);
        }
        Routed {
            choice,
            ticket,
            total_tokens: request.prompt_tokens,
            user_data: self.view.pool.seat(main.worker.slot()).map_or(0, |seat| seat.user_data),
        }
    }
}

impl Core {
    /// Charges the workers; false, and nothing charged, if one of them is full.
    #[inline(always)]
    fn charge_workers(&self, charge: &Charge) -> bool {
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

    fn release_workers(&self, charge: &Charge) {
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

/// Gives a charge back if a policy panics before its ticket is open.
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
        self.core.release_workers(self.charge);
        self.core.tickets.cancel(self.reserved);
    }
}

fn clamp(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// What a host reports at the end of a request that it knows nothing about.
impl Ending {
    pub(super) fn of(outcome: Outcome) -> Self {
        Ending { outcome, usage: Usage::default(), blamed: None }
    }
}
