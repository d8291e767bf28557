//! Select: find the snapshot of the slices, ask the policy, commit.

use std::array;
use std::sync::{Arc, atomic::AtomicUsize};
use std::time::Instant;

use async_trait::async_trait;
use serde_json::Value;

use super::finish::Charge;
use super::ledger::{Ledger, Open, Part};
use super::options::{AdapterOptions, LoadKeeping};
use super::prompt::{Printed, Prompts};
use super::proposed;
use super::roster::{Asked, Book, Enrol, Roster};
use crate::error::{ConfigError, PolicyError, RoutingError};
use crate::policy::{
    self, Decision, Dispatch, RequestView, RoutingPolicy, config::PolicyConfig,
    factory::PolicyFactory,
};
use crate::pool::candidates::Candidates;
use crate::prefix::Registration;
use crate::request::Request;
use crate::sync::atomic::{AtomicU64, Ordering::Relaxed};
use crate::worker::{Role, health::Outcome, proposal::Worker, spec::WorkerInfo};

/// Whether a request goes to one worker or to a pair of them.
trait Mode<const N: usize> {
    /// What the host gets.
    type Workers;

    fn decide(
        policy: &dyn RoutingPolicy,
        candidates: &[Candidates<'_>; N],
        request: &RequestView<'_>,
    ) -> Result<[Decision; N], RoutingError>;

    fn workers(chosen: [Option<&Arc<dyn Worker>>; N]) -> Option<Self::Workers>;
}

/// One worker does it all.
enum Single {}

/// A prefill and a decode worker, in this order.
enum Pair {}

impl Mode<1> for Single {
    type Workers = Arc<dyn Worker>;

    fn decide(
        policy: &dyn RoutingPolicy,
        [candidates]: &[Candidates<'_>; 1],
        request: &RequestView<'_>,
    ) -> Result<[Decision; 1], RoutingError> {
        Ok([policy.select_single(candidates, request)?])
    }

    fn workers([worker]: [Option<&Arc<dyn Worker>>; 1]) -> Option<Self::Workers> {
        worker.cloned()
    }
}

impl Mode<2> for Pair {
    type Workers = (Arc<dyn Worker>, Arc<dyn Worker>);

    fn decide(
        policy: &dyn RoutingPolicy,
        [prefill, decode]: &[Candidates<'_>; 2],
        request: &RequestView<'_>,
    ) -> Result<[Decision; 2], RoutingError> {
        let pair = policy.select_pair(prefill, decode, request)?;
        Ok([pair.prefill, pair.decode])
    }

    fn workers([prefill, decode]: [Option<&Arc<dyn Worker>>; 2]) -> Option<Self::Workers> {
        prefill.cloned().zip(decode.cloned())
    }
}

/// Tries before a request is refused whose workers keep giving up their slots.
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
/// cancelled later completes its URL; one that nobody completes gives its load back after
/// [`AdapterOptions::deadline_secs`], or when the host calls [`Adapter::expire`].
pub struct Adapter {
    pub(super) policy: Arc<dyn RoutingPolicy>,
    pub(super) wants_events: bool,
    pub(super) load: LoadKeeping,
    pub(super) deadline: Option<u64>,
    pub(super) book: Book,
    pub(super) ledger: Ledger,
    pub(super) sweep_at: AtomicU64,
    pub(super) sweep_slot: AtomicUsize,
    prompts: Prompts,
    pairs: AtomicU64,
    started: Instant,
}

impl Adapter {
    /// Adapts a policy.
    pub fn new(policy: Arc<dyn RoutingPolicy>) -> Self {
        let prompts = Prompts::with_defaults(policy.wants_prefix());
        Self::build(policy, &AdapterOptions::default(), prompts)
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
        let prompts = Prompts::new(options, policy.wants_prefix())?;
        Ok(Self::build(policy, options, prompts))
    }

    fn build(policy: Arc<dyn RoutingPolicy>, options: &AdapterOptions, prompts: Prompts) -> Self {
        Adapter {
            wants_events: policy.wants_events(),
            policy,
            load: options.load,
            deadline: options.deadline(),
            book: Book::new(),
            ledger: Ledger::new(),
            sweep_at: AtomicU64::new(0),
            sweep_slot: AtomicUsize::new(0),
            prompts,
            pairs: AtomicU64::new(0),
            started: Instant::now(),
        }
    }

    /// Nanoseconds since the adapter was made: the clock by which the policy sees requests, and the
    /// load reports of workers that have a [`Worker::state`].
    pub fn now(&self) -> u64 {
        self.started.elapsed().as_nanos() as u64
    }

    fn route<M: Mode<N>, const N: usize>(
        &self,
        asked: [Asked<'_>; N],
        body: &Value,
    ) -> Result<M::Workers, RoutingError> {
        let now = self.now();
        self.expire_some(now);
        self.prompts.read(body, |printed| {
            let mut roster = self.book.roster(&asked, self);
            for _ in 0..ATTEMPTS {
                if let Some(workers) = self.attempt::<M, N>(&roster, body, &printed, now)? {
                    return Ok(workers);
                }
                roster = self.book.renewed(&asked, self);
            }
            Err(roster.candidates(0, &self.book.rows).none())
        })
    }

    /// `None`: a chosen worker's slot is changing hands.
    fn attempt<M: Mode<N>, const N: usize>(
        &self,
        roster: &Roster,
        body: &Value,
        printed: &Printed<'_>,
        now: u64,
    ) -> Result<Option<M::Workers>, RoutingError> {
        let query = self.prompts.query(&roster.pool, printed);
        let request = RequestView {
            request: &Request::value(body),
            now,
            prompt_tokens: printed.prompt_tokens(),
            output_tokens: printed.output_tokens,
            routing_key: None,
            prefix: query.as_ref(),
        };
        let candidates = array::from_fn(|side| roster.candidates(side, &self.book.rows));
        let decisions = M::decide(&*self.policy, &candidates, &request)?;
        for (candidates, decision) in candidates.iter().zip(&decisions) {
            let worker = decision.worker;
            if !candidates.includes(worker) {
                return Err(policy::failed(
                    self.policy.name(),
                    PolicyError::NotACandidate { worker },
                ));
            }
        }
        let chosen = array::from_fn(|side| roster.worker(side, decisions[side].worker.slot()));
        let committed = self.commit(&decisions, &chosen, &request);
        Ok(committed.and_then(|()| M::workers(chosen)))
    }

    /// Charges the workers, tells the policy, opens the request. `None`, and nothing has happened, if
    /// a worker's slot is changing hands.
    fn commit<const N: usize>(
        &self,
        decisions: &[Decision; N],
        workers: &[Option<&Arc<dyn Worker>>; N],
        request: &RequestView<'_>,
    ) -> Option<()> {
        // The prompt is computed by the first worker, which of a pair is the prefill worker.
        let Decision { worker, work_tokens, matched_tokens, .. } = decisions[0];
        let remember = || request.prefix.iter().for_each(|prefix| prefix.remember(worker.slot()));
        if !self.wants_events && self.load == LoadKeeping::Host {
            // Nobody waits for the completion, so nothing is opened.
            remember();
            return Some(());
        }
        let resident = u64::from(request.prompt_tokens) + u64::from(request.output_tokens);
        let mut charges: [Option<Charge<'_>>; N] = [const { None }; N];
        for side in 0..N {
            let id = decisions[side].worker;
            // The last one generates the answer, so the KV tokens are counted there.
            let resident = if side + 1 == N { resident } else { 0 };
            let mut charge = Charge::new(self.book.rows.get(id.slot())?, resident);
            if !charge.is_of(id) {
                return None;
            }
            if self.load == LoadKeeping::Adapter {
                charge.raise(&**workers[side]?);
            }
            charges[side] = Some(charge);
        }
        remember();
        let parts = self.parts(decisions);
        if self.wants_events {
            for (decision, part) in decisions.iter().zip(&parts) {
                let role = part.role();
                self.policy.on_dispatch(&Dispatch { decision, role, request });
            }
        }
        for side in 0..N {
            let open = Open {
                id: decisions[side].worker,
                worker: Arc::clone(workers[side]?),
                part: parts[side],
                dispatched: request.now,
                work_tokens,
                matched_tokens,
                resident_tokens: charges[side].take()?.keep(),
            };
            if let Some(lost) = self.ledger.push(open) {
                self.close(lost, Outcome::Expired, request.now);
            }
        }
        Some(())
    }

    fn parts<const N: usize>(&self, decisions: &[Decision; N]) -> [Part; N] {
        if N == 1 {
            return [Part::Whole; N];
        }
        let pair = self.pairs.fetch_add(1, Relaxed);
        let (prefill, decode) = (decisions[0].worker, decisions[N - 1].worker);
        let mut parts = [Part::Decode { prefill, pair, over: false }; N];
        parts[0] = Part::Prefill { decode, pair };
        parts
    }
}

#[async_trait]
impl proposed::RoutingPolicy for Adapter {
    async fn select_single(
        &self,
        workers: &[Arc<dyn Worker>],
        request: &Value,
    ) -> Result<Arc<dyn Worker>, RoutingError> {
        self.route::<Single, 1>([Asked { role: Role::Regular, workers }], request)
    }

    async fn select_pair(
        &self,
        prefill_workers: &[Arc<dyn Worker>],
        decode_workers: &[Arc<dyn Worker>],
        request: &Value,
    ) -> Result<(Arc<dyn Worker>, Arc<dyn Worker>), RoutingError> {
        let prefill = Asked { role: Role::Prefill, workers: prefill_workers };
        let decode = Asked { role: Role::Decode, workers: decode_workers };
        self.route::<Pair, 2>([prefill, decode], request)
    }

    fn on_request_complete(&self, worker_url: &str, success: bool) {
        self.complete(worker_url, if success { Outcome::Success } else { Outcome::WorkerError });
    }

    fn name(&self) -> &str {
        self.policy.name()
    }
}

impl Enrol for Adapter {
    fn enrol(&self, slot: usize, url: &str) -> (u64, Option<Registration>) {
        (self.prompts.url_digest(url), self.prompts.register(slot))
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
