//! Policies: one trait, and one file per policy.
//!
//! - [`random`]: uniform among the eligible, by weight.
//! - [`round_robin`]: each in turn, by weight, evenly spread.
//! - [`power_of_two`]: the less loaded of two random ones.
//! - [`cache_aware`]: the worker that already holds the prompt's prefix, unless another is better.
//! - [`prefix_query`]: what a policy can ask of the prefix tree.
//! - [`pair`]: how a prefill and a decode worker are chosen together.
//! - [`config`] and [`factory`]: the table of the built-in policies, policies from configuration, and
//!   policies from outside this crate. `builtins` says what a line of the table stands for.
//! - [`load_balancing`]: helpers for a host's own fallbacks.

mod builtins;
pub mod cache_aware;
pub mod config;
pub mod factory;
pub mod load_balancing;
pub(crate) mod mode;
pub mod pair;
pub mod power_of_two;
pub mod prefix_query;
pub mod random;
pub mod round_robin;

use self::prefix_query::PrefixQuery;
use crate::error::{PolicyError, PolicyFailure, RoutingError};
use crate::pool::candidates::Candidates;
use crate::request::Request;
use crate::worker::{Role, WorkerId, health::Outcome, spec::WorkerInfo};

/// A routing algorithm: chooses among candidates, in both modes.
///
/// **Decide, then commit.** `select_single` and `select_pair` only decide; random draws and rotation
/// counters are their sole effect. The router commits by calling [`RoutingPolicy::on_dispatch`], and
/// tells the policy what became of the request by the other callbacks, all empty by default. So a
/// pair can be retried, a shadow policy can watch, and nothing is charged twice.
///
/// All methods are called from many threads at once. A policy keeps what it knows about a worker
/// under the worker's slot, and cleans that in [`RoutingPolicy::on_worker_added`].
///
/// `on_worker_added` and `after_fork` run while the router changes its membership: they must not call
/// the router, which would wait for itself. Everything else may.
///
/// # Panics
///
/// A panic leaves through the host's call; whatever the router had charged is given back, and a worker
/// that it could not be told of is not added. A shadow's panic is no exception.
///
/// The router checks every decision: naming a worker that is not a candidate is an error of the
/// request, not a crash.
pub trait RoutingPolicy: Send + Sync {
    /// The policy's name. A router calls it by the name it was registered under.
    fn name(&self) -> &str;

    /// Chooses one worker. If there is no candidate, returns [`Candidates::none`].
    fn select_single(
        &self,
        candidates: &Candidates<'_>,
        request: &RequestView<'_>,
    ) -> Result<Decision, RoutingError>;

    /// Chooses a prefill and a decode worker that may work together, as one decision. The default
    /// asks `select_single` for each, trying other prefill workers where the first one's group has
    /// no decode worker; see [`pair::jointly`].
    fn select_pair(
        &self,
        prefill: &Candidates<'_>,
        decode: &Candidates<'_>,
        request: &RequestView<'_>,
    ) -> Result<PairDecision, RoutingError> {
        pair::jointly(prefill, decode, |candidates| self.select_single(candidates, request))
    }

    /// The router has charged the decision, and remembered the prefix if the policy wants prefixes:
    /// count the work.
    fn on_dispatch(&self, dispatch: &Dispatch<'_>) {
        let _ = dispatch;
    }

    /// The worker has computed the prompt.
    fn on_first_token(&self, event: &FirstToken) {
        let _ = event;
    }

    /// The request is over; called exactly once per dispatch.
    fn on_request_complete(&self, event: &Completion) {
        let _ = event;
    }

    /// A worker was registered. Also called for every worker when a policy takes over.
    fn on_worker_added(&self, worker: &WorkerInfo) {
        let _ = worker;
    }

    /// A worker was removed. Another may have been given its slot by now, and been announced already:
    /// compare ids before forgetting anything.
    fn on_worker_removed(&self, worker: &WorkerInfo) {
        let _ = worker;
    }

    /// Names and values of what the policy knows about a worker, for metrics. Names are lower case with
    /// underscores and end in their unit. Not on the path of a request.
    fn gauges(&self, worker: WorkerId, now: u64, tell: &mut dyn FnMut(&'static str, f64)) {
        let _ = (worker, now, tell);
    }

    /// This process is a fork's child: draw new random seeds, forget requests in flight.
    fn after_fork(&self) {}

    /// Whether the router should fingerprint the prompt and lend its prefix tree, as
    /// [`RequestView::prefix`], and remember dispatched prompts there. `false` by default: then
    /// [`RequestView::prefix`] is `None`. Asked once, when the policy takes over.
    fn wants_prefix(&self) -> bool {
        false
    }

    /// Whether the policy listens to `on_dispatch`, `on_first_token` and `on_request_complete`.
    /// `true` by default; a policy that leaves all three empty should say `false`, which saves the
    /// router the calls. Asked once, when the policy takes over.
    fn wants_events(&self) -> bool {
        true
    }
}

/// A request as a policy sees it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct RequestView<'a> {
    /// The host's request.
    pub request: &'a Request<'a>,
    /// Monotonic nanoseconds.
    pub now: u64,
    /// Length of the prompt in tokens, estimated where only bytes are known; 0 if unknown.
    pub prompt_tokens: u32,
    /// Length that the answer is expected to have, in tokens.
    pub output_tokens: u32,
    /// The request's routing key as a keyed digest.
    pub routing_key: Option<u64>,
    /// The prompt's fingerprint and the router's prefix tree, for policies that want them.
    pub prefix: Option<&'a PrefixQuery<'a>>,
}

/// Which worker a policy chose, and why.
///
/// New fields may come. Written as `Decision { score, ..Decision::new(worker, reason) }`, a policy
/// compiles with them, too.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decision {
    /// The chosen worker.
    pub worker: WorkerId,
    /// Why.
    pub reason: Reason,
    /// Leading tokens of the prompt that the worker is believed to hold.
    pub matched_tokens: u32,
    /// What the policy minimised, in its own unit; 0 where it compares nothing.
    pub score: f64,
    /// The best of those that lost.
    pub runner_up: Option<RunnerUp>,
    /// Prompt tokens that the worker will have to compute, for policies that track work; handed
    /// back with the callbacks.
    pub work_tokens: u32,
}

impl Decision {
    /// A decision that compared nothing.
    #[inline]
    pub fn new(worker: WorkerId, reason: Reason) -> Self {
        Decision { worker, reason, matched_tokens: 0, score: 0.0, runner_up: None, work_tokens: 0 }
    }
}

/// The best worker that was not chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RunnerUp {
    /// Who.
    pub worker: WorkerId,
    /// Its score, in the unit of the decision's.
    pub score: f64,
}

/// A prefill and a decode worker, chosen together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PairDecision {
    /// Who computes the prompt.
    pub prefill: Decision,
    /// Who generates the answer.
    pub decode: Decision,
}

/// Why a worker was chosen.
// A whole word, so that decisions and selections have no padding: moving them copies words, and no
// load straddles two stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u64)]
#[non_exhaustive]
pub enum Reason {
    /// A random draw.
    Random = 0,
    /// Its turn.
    RoundRobin = 1,
    /// The less loaded of two random candidates.
    PowerOfTwo = 2,
    /// It holds the longest part of the prompt.
    PrefixMatch = 3,
    /// Least loaded, as no worker holds enough of the prompt.
    LeastLoaded = 4,
    /// Least loaded, as the loads are out of balance.
    Imbalanced = 5,
    /// Least work to wait for and to cause.
    LeastWork = 6,
    /// The rendezvous worker of the request's routing key.
    RoutingKey = 7,
    /// The only candidate.
    OnlyCandidate = 8,
    /// Least resident KV tokens, for decode.
    LeastResident = 9,
    /// A reason of a policy from outside this crate.
    Custom = 10,
}

impl Reason {
    /// How many reasons there are.
    pub const COUNT: usize = 11;
    /// Every reason, in the order of its number.
    pub const ALL: [Reason; Self::COUNT] = [
        Reason::Random,
        Reason::RoundRobin,
        Reason::PowerOfTwo,
        Reason::PrefixMatch,
        Reason::LeastLoaded,
        Reason::Imbalanced,
        Reason::LeastWork,
        Reason::RoutingKey,
        Reason::OnlyCandidate,
        Reason::LeastResident,
        Reason::Custom,
    ];

    /// The reason's name, as in metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Random => "random",
            Reason::RoundRobin => "round_robin",
            Reason::PowerOfTwo => "power_of_two",
            Reason::PrefixMatch => "prefix_match",
            Reason::LeastLoaded => "least_loaded",
            Reason::Imbalanced => "imbalanced",
            Reason::LeastWork => "least_work",
            Reason::RoutingKey => "routing_key",
            Reason::OnlyCandidate => "only_candidate",
            Reason::LeastResident => "least_resident",
            Reason::Custom => "custom",
        }
    }
}

/// A charged decision. For a pair the policy is told twice, once for each role.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Dispatch<'a> {
    /// The decision.
    pub decision: &'a Decision,
    /// The role that the worker plays in it.
    pub role: Role,
    /// The request.
    pub request: &'a RequestView<'a>,
}

/// The first token of a dispatched request.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct FirstToken {
    /// Who computed the prompt.
    pub worker: WorkerId,
    /// Its role: regular or prefill.
    pub role: Role,
    /// Monotonic nanoseconds.
    pub now: u64,
    /// When the request was dispatched.
    pub dispatched: u64,
    /// The decision's `work_tokens`.
    pub work_tokens: u32,
    /// The decision's `matched_tokens`.
    pub matched_tokens: u32,
    /// Prompt tokens that the worker says it found in its cache.
    pub cached_tokens: Option<u32>,
}

/// The end of a dispatched request.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Completion {
    /// Who served it: the regular or the decode worker.
    pub worker: WorkerId,
    /// Who computed the prompt: the prefill worker of a pair, else the same worker.
    pub prefill: WorkerId,
    /// How it ended.
    pub outcome: Outcome,
    /// What the worker reported.
    pub usage: Usage,
    /// Monotonic nanoseconds.
    pub now: u64,
    /// When it was dispatched.
    pub dispatched: u64,
    /// Whether its first token had been reported.
    pub first_token_seen: bool,
    /// Whether that report said how many tokens were cached.
    pub cached_known: bool,
    /// The decision's `work_tokens`.
    pub work_tokens: u32,
    /// The decision's `matched_tokens`.
    pub matched_tokens: u32,
    /// KV tokens that the request was expected to hold at its end: its prompt's and its answer's, as
    /// the request's view gave them.
    pub resident_tokens: u32,
}

/// Token counts that a worker reported; unknown by default.
///
/// New fields may come. Written as `Usage { prompt_tokens, ..Usage::default() }`, a host compiles with
/// them, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt_tokens: Option<u32>,
    /// Prompt tokens found in the worker's cache.
    pub cached_tokens: Option<u32>,
    /// Tokens generated.
    pub completion_tokens: Option<u32>,
}

/// Turns a policy's own failure into the error of a request.
#[cold]
pub(crate) fn failed(name: &str, source: PolicyError) -> RoutingError {
    RoutingError::Policy(Box::new(PolicyFailure::new(name, source)))
}
