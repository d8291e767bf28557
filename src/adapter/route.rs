//! Select: find the snapshot of the slices, ask the policy, commit.

use std::sync::{Arc, atomic::AtomicUsize};
use std::time::Instant;

use arrayvec::ArrayVec;
use async_trait::async_trait;
use serde_json::Value;

use super::book::{Book, Register};
use super::charge::Held;
use super::open::{Open, OpenRequests, Part};
use super::options::{AdapterOptions, LoadKeeping};
use super::proposed;
use super::roster::{Asked, Roster};
use crate::policy::error::ConfigError;
use crate::policy::error::PolicyError;
use crate::policy::error::RoutingError;
use crate::policy::{
    self, Decision, Dispatch, PolicyConfig, RequestView, RoutingPolicy,
    factory::PolicyFactory,
    mode::{Mode, Pair, Single},
    prefix_query::PrefixQuery,
};
use crate::pool::MAX_WORKERS;
use crate::prefix::{BlockSize, HashKey, Registration};
use crate::prompt::{
    PromptReader,
    once::{PromptOnce, Window},
};
use crate::request::Request;
use crate::sync::atomic::{AtomicU64, Ordering::Relaxed};
use crate::sync::exclusive::Exclusive;
use crate::time::Time;
use crate::worker::{Role, WorkerId, health::Outcome, proposal::Worker, spec::WorkerInfo};

/// The worker that computes the prompt and the one that answers: one and the same, or a pair.
type Chosen = [Arc<dyn Worker>; 2];
/// A decision, the worker that it chose, and the role that it plays.
type Choice<'a> = (Role, &'a Decision, &'a Arc<dyn Worker>);

/// Attempts before a request is refused whose workers keep losing their slots.
const ATTEMPTS: usize = 8;

/// The proposal's async trait over any synchronous policy.
///
/// **Slices.** Every call hands in its own workers. The slice that a worker comes in decides its role,
/// not [`Worker::role`]. Hand in the same `Arc`s in the same order whenever they are the same workers:
/// then a call costs one look at each worker's health and weight, without a lock, and its only
/// allocation is the future that `async_trait` boxes. The first call with a new slice, or after a
/// worker's health or weight changed, builds a new snapshot. A worker of weight 0 takes no new work.
///
/// **Identity.** What a policy knows about a worker is kept under its URL. A URL that comes twice in
/// a slice counts once. An adapter knows 1,024 URLs at a time; a new one then takes the place of one
/// that is no longer handed in and has no request open, and where there is none it is left out.
///
/// **Requests.** A policy that wants prefixes sees the prompt that [`crate::body`] finds in the
/// request; where there is none, the request is routed without a prefix. Nesting deeper than
/// [`MAX_DEPTH`](crate::body::MAX_DEPTH) is an error. Other policies do not read the request.
///
/// **Load.** Selection raises [`Worker::load`] and completion lowers it, never below zero, unless
/// [`AdapterOptions::load`] leaves that to the host.
///
/// **Completion.** A completed URL stands for that worker's oldest open request. A URL that is
/// unknown, or has no request open, is ignored. The end of the request takes the place of its first
/// token, which the proposal does not report.
///
/// **Pairs.** Complete both URLs, in any order, or the decode worker's alone. The prefill worker's
/// success means that the prompt is computed, and gives its load back; its failure ends the request as
/// far as the policy is concerned. The decode worker's completion ends the pair, and gives back the
/// load of both; a completion of the prefill worker that follows is recognised and changes nothing.
/// Any prefill worker pairs with any decode worker, as the proposal knows no groups.
///
/// **Cancellation.** The futures do all of their work when they are first polled and are ready then.
/// Dropped before that they have done nothing, so nothing is ever half done. A host whose request is
/// cancelled later completes its URL; one that is never completed gives its load back after
/// [`AdapterOptions::deadline_secs`], or when the host calls [`Adapter::expire`].
pub struct Adapter {
    pub(super) policy: Arc<dyn RoutingPolicy>,
    pub(super) wants_events: bool,
    pub(super) load: LoadKeeping,
    pub(super) deadline: Option<u64>,
    pub(super) book: Book,
    pub(super) open: OpenRequests,
    pub(super) sweep_at: AtomicU64,
    pub(super) sweep_slot: AtomicUsize,
    prompts: PromptReader,
    windows: Exclusive<Window>,
    pairs: AtomicU64,
    started: Instant,
}

impl Adapter {
    /// Adapts a policy.
    pub fn new(policy: Arc<dyn RoutingPolicy>) -> Self {
        let options = AdapterOptions::default();
        // The defaults are in range; where the memory for a tree is not to be had, the policy does
        // without one.
        let prompts = reader(&options, policy.wants_prefix()).unwrap_or_else(|_| {
            PromptReader::new(HashKey::random(), options.body.options(BlockSize::DEFAULT))
        });
        Self::build(policy, &options, prompts)
    }

    /// Adapts a built-in policy.
    ///
    /// # Errors
    /// What is wrong with the configuration.
    pub fn from_config(config: &PolicyConfig) -> Result<Self, ConfigError> {
        Ok(Self::new(PolicyFactory::create(config)?))
    }

    /// Adapts a policy, with options.
    ///
    /// # Errors
    /// What is wrong with the options.
    pub fn with_options(
        policy: Arc<dyn RoutingPolicy>,
        options: &AdapterOptions,
    ) -> Result<Self, ConfigError> {
        options.check()?;
        let prompts = reader(options, policy.wants_prefix())?;
        Ok(Self::build(policy, options, prompts))
    }

    fn build(
        policy: Arc<dyn RoutingPolicy>,
        options: &AdapterOptions,
        prompts: PromptReader,
    ) -> Self {
        Adapter {
            wants_events: policy.wants_events(),
            policy,
            load: options.load,
            deadline: options.deadline(),
            book: Book::new(),
            open: OpenRequests::new(),
            sweep_at: AtomicU64::new(0),
            sweep_slot: AtomicUsize::new(0),
            prompts,
            windows: Exclusive::new(|_| Window::default()),
            pairs: AtomicU64::new(0),
            started: Instant::now(),
        }
    }

    /// The time since the adapter was made: the clock by which the policy sees requests, and the
    /// load reports of workers that have a [`Worker::state`].
    pub fn now(&self) -> Time {
        self.started.elapsed().into()
    }

    fn route<M: Mode>(&self, asked: &[Asked<'_>], body: &Value) -> Result<Chosen, RoutingError> {
        let now = self.now().as_nanos();
        self.expire_some(now);
        let request = Request::value(body);
        let mut window = self.windows.enter();
        let mut prompt = PromptOnce::new(&mut window);
        let mut roster = self.book.roster(asked, self);
        for _ in 0..ATTEMPTS {
            if let Some(workers) = self.attempt::<M>(&roster, &request, &mut prompt, now)? {
                return Ok(workers);
            }
            roster = self.book.renewed(asked, self);
        }
        Err(roster.candidates(M::ROLE).none())
    }

    /// `None`: a chosen worker's slot is being given to another one.
    fn attempt<'a, M: Mode>(
        &self,
        roster: &Roster,
        request: &Request<'a>,
        prompt: &mut PromptOnce<'a>,
        now: u64,
    ) -> Result<Option<Chosen>, RoutingError> {
        let (mut prompt_tokens, mut output_tokens) = (0, self.prompts.estimates().answer_tokens());
        let mut query = None;
        if let Some(tree) = self.prompts.tree() {
            let read = prompt.read(&self.prompts, request)?;
            let per_block = self.prompts.tokens_per_block(read.fingerprint.header().unit);
            prompt_tokens = self.prompts.tokens_of(&read.fingerprint);
            output_tokens = read.output_tokens(output_tokens).unwrap_or(output_tokens);
            query = Some(PrefixQuery::new(tree, &roster.pool, read.fingerprint, per_block));
        }
        let prefix = query.as_ref();
        let routing_key = None;
        let now = now.into();
        let request =
            RequestView { request, now, prompt_tokens, output_tokens, routing_key, prefix };
        let candidates = |role| roster.candidates(role);
        let decided = M::decide(&*self.policy, candidates, &request)?;
        if let Some(worker) = M::non_candidate(&decided, candidates) {
            return Err(policy::error::failed(
                self.policy.name(),
                PolicyError::NotACandidate { worker },
            ));
        }
        let parts = [(Role::Prefill, M::prefill(&decided)), (M::ROLE, Some(M::main(&decided)))];
        let mut choices = ArrayVec::<Choice<'_>, 2>::new();
        for (role, decision) in parts {
            let Some(decision) = decision else { continue };
            let Some(worker) = roster.worker(role, decision.worker.slot()) else { return Ok(None) };
            choices.push((role, decision, worker));
        }
        let [(_, _, prompt), ..] = choices[..] else { return Ok(None) };
        let [.., (_, _, main)] = choices[..] else { return Ok(None) };
        let committed = self.commit(&choices, &request);
        Ok(committed.map(|()| [prompt, main].map(Arc::clone)))
    }

    /// Charges the workers, tells the policy, opens the request. `None`, and nothing has happened, if
    /// a worker's slot is being given to another one.
    fn commit(&self, choices: &[Choice<'_>], request: &RequestView<'_>) -> Option<()> {
        // The prompt is computed by the first worker, which of a pair is the prefill worker.
        let &(_, &Decision { worker, work_tokens, matched_tokens, .. }, _) = choices.first()?;
        let remember = || request.prefix.iter().for_each(|prefix| prefix.remember(worker.slot()));
        if !self.wants_events && self.load == LoadKeeping::Host {
            // Nothing waits for the completion, so nothing is opened.
            remember();
            return Some(());
        }
        let resident = u64::from(request.prompt_tokens) + u64::from(request.output_tokens);
        let mut charges = ArrayVec::<Held<'_>, 2>::new();
        for &(role, decision, worker) in choices {
            // KV tokens are counted where the answer is generated.
            let resident = if role == Role::Prefill { 0 } else { resident };
            let mut charge = Held::new(self.book.row(decision.worker)?, resident);
            if !charge.is_of(decision.worker) {
                return None;
            }
            if self.load == LoadKeeping::Adapter {
                charge.raise(&**worker);
            }
            charges.push(charge);
        }
        remember();
        if self.wants_events {
            for &(role, decision, _) in choices {
                self.policy.on_dispatch(&Dispatch { decision, role, request });
            }
        }
        let pair = self.pair_of(choices);
        for (&(role, decision, worker), charge) in choices.iter().zip(charges) {
            let open = Open {
                id: decision.worker,
                worker: Arc::clone(worker),
                part: pair.map_or(Part::Whole, |pair| pair.part(role)),
                dispatched: request.now.as_nanos(),
                work_tokens,
                matched_tokens,
                resident_tokens: charge.keep(),
            };
            if let Some(lost) = self.open.push(open) {
                self.close(lost, Outcome::Expired, request.now.as_nanos());
            }
        }
        Some(())
    }

    /// The pair that these choices form, if there are two.
    fn pair_of(&self, choices: &[Choice<'_>]) -> Option<PairNumber> {
        let &[(_, prefill, _), (_, decode, _)] = choices else { return None };
        let number = self.pairs.fetch_add(1, Relaxed);
        Some(PairNumber { prefill: prefill.worker, decode: decode.worker, number })
    }
}

/// With a tree, if prefixes are wanted.
fn reader(options: &AdapterOptions, prefixes: bool) -> Result<PromptReader, ConfigError> {
    let tree = &options.tree;
    let prompts = PromptReader::new(tree.key()?, options.body.options(tree.block()?));
    if prefixes { prompts.with_tree(tree.budget_bytes, MAX_WORKERS) } else { Ok(prompts) }
}

/// Two workers that serve one request.
#[derive(Clone, Copy)]
struct PairNumber {
    prefill: WorkerId,
    decode: WorkerId,
    number: u64,
}

impl PairNumber {
    fn part(self, role: Role) -> Part {
        let PairNumber { prefill, decode, number: pair } = self;
        match role {
            Role::Prefill => Part::Prefill { decode, pair },
            _ => Part::Decode { prefill, pair, over: false },
        }
    }
}

#[async_trait]
impl proposed::RoutingPolicy for Adapter {
    async fn select_single(
        &self,
        workers: &[Arc<dyn Worker>],
        request: &Value,
    ) -> Result<Arc<dyn Worker>, RoutingError> {
        let [.., worker] =
            self.route::<Single>(&[Asked { role: Role::Regular, workers }], request)?;
        Ok(worker)
    }

    async fn select_pair(
        &self,
        prefill_workers: &[Arc<dyn Worker>],
        decode_workers: &[Arc<dyn Worker>],
        request: &Value,
    ) -> Result<(Arc<dyn Worker>, Arc<dyn Worker>), RoutingError> {
        let prefill = Asked { role: Role::Prefill, workers: prefill_workers };
        let decode = Asked { role: Role::Decode, workers: decode_workers };
        let [prefill, decode] = self.route::<Pair>(&[prefill, decode], request)?;
        Ok((prefill, decode))
    }

    fn on_request_complete(&self, worker_url: &str, success: bool) {
        self.complete(worker_url, if success { Outcome::Success } else { Outcome::WorkerError });
    }

    fn name(&self) -> &str {
        self.policy.name()
    }
}

impl Register for Adapter {
    fn register(&self, slot: usize, url: &str) -> (u64, Option<Registration>) {
        (self.prompts.url_digest(url), self.prompts.register(slot, None))
    }

    fn added(&self, info: &WorkerInfo) {
        self.policy.on_worker_added(info);
    }

    fn removed(&self, info: &WorkerInfo) {
        self.prompts.unregister(info.id.slot());
        self.policy.on_worker_removed(info);
    }
}

impl std::fmt::Debug for Adapter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Adapter")
            .field("policy", &self.policy.name())
            .field("load", &self.load)
            .finish_non_exhaustive()
    }
}
