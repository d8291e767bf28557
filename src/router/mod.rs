//! The router: the door that most users use.
//!
//! Pool, policies, one prefix tree, tickets and counters, joined:
//!
//! - [`config`]: all of it as configuration.
//! - [`builder`]: a router with custom policies.
//! - [`core`]: the shared state, its snapshot, and the writer's side.
//! - [`handle`]: what keeps a router alive as long as there are selections of its.
//! - [`local`]: what a request has to itself while it is routed.
//! - [`policies`]: which policy decides, and how they are switched.
//! - [`route`]: select: read the snapshot, ask the policy, commit.
//! - [`mode`]: one worker or a pair.
//! - [`print`]: from a request to a fingerprint.
//! - [`commit`]: charge what was decided, open the ticket.
//! - [`finish`]: first token, completion, expiry: give back what was charged.
//! - [`explain`]: the decision log.
//! - [`selection`]: what a host gets, and the load coming back when it is dropped.
//! - [`ticket`]: the fixed table of open requests.
//! - [`watch`]: the health log.

pub(crate) mod builder;
mod commit;
pub(crate) mod config;
mod core;
pub(crate) mod explain;
mod finish;
mod handle;
mod local;
#[cfg(all(test, pointsman_loom))]
mod loom;
mod marks;
mod metrics;
mod mode;
mod policies;
mod print;
mod route;
pub(crate) mod selection;
pub(crate) mod ticket;
mod watch;

#[cfg(feature = "async")]
pub(crate) use self::core::{DEFAULT_OUTPUT_TOKENS, URL};

use std::sync::Arc;

use self::builder::RouterBuilder;
use self::config::{RouterConfig, SplitConfig};
use self::core::Core;
use self::explain::DecisionLog;
use self::finish::Ending;
use self::handle::Handles;
use self::mode::{Bare, Pair, Single};
use self::selection::{BareSelection, PairSelection, Selection};
use self::ticket::Ticket;
use crate::body::BodyReader;
use crate::error::{ConfigError, PoolError, RoutingError, TicketError};
use crate::metrics::MetricsSnapshot;
use crate::policy::{RequestView, Usage, config::PolicyConfig};
use crate::pool::{candidates::Candidates, registry::WorkerStatus};
use crate::prefix::{BlockSize, Fingerprint, HashKey};
use crate::request::Request;
use crate::worker::{
    Role, WorkerId,
    health::Outcome,
    spec::{WorkerInfo, WorkerSpec},
    state::LoadReport,
};

/// Names the worker for each request. Cheap to clone; all clones are the same router.
///
/// Every method may be called from any number of threads at once. [`Router::select`],
/// [`Router::select_pair`], [`Router::first_token`] and [`Router::complete`] take no lock that
/// another thread could hold while it works, and allocate nothing; changes of the membership build a
/// new snapshot under a lock of their own.
///
/// **Time.** Every method that depends on time has a form that takes `now`, in nanoseconds of any
/// monotonic clock; the plain form reads the clock. Use one or the other for a router, not both.
/// Where the clock jumps back, nothing is undone and no interval is negative.
///
/// ```
/// use pointsman::{Outcome, Request, Router, RouterConfig, Usage, WorkerSpec};
///
/// let router = Router::new(RouterConfig::default())?;
/// router.add_worker(WorkerSpec::new("http://10.0.0.7:8000"))?;
/// router.add_worker(WorkerSpec::new("http://10.0.0.8:8000"))?;
///
/// let selection = router.select(&Request::text("You are a helpful assistant. ..."))?;
/// let url = selection.url().ok_or("the worker has just been removed: select again")?;
/// println!("{url} because {:?}", selection.reason());
/// // ... send the request there, and when the first token comes back:
/// selection.first_token(None)?;
/// // ... and when the answer is complete:
/// selection.complete(Outcome::Success, Usage::default())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Router {
    shared: Arc<Shared>,
}

struct Shared {
    core: Arc<Core>,
    handles: Handles,
}

impl Router {
    /// A router with the built-in policies.
    pub fn new(config: RouterConfig) -> Result<Self, ConfigError> {
        Self::builder().config(config).build()
    }

    /// A router with policies from outside this crate.
    pub fn builder() -> RouterBuilder {
        RouterBuilder::default()
    }

    fn from_core(core: Core) -> Self {
        let core = Arc::new(core);
        let handles = Handles::new(&core);
        Router { shared: Arc::new(Shared { core, handles }) }
    }

    fn core(&self) -> &Core {
        &self.shared.core
    }

    /// Registers a worker. It takes requests from here on.
    pub fn add_worker(&self, spec: WorkerSpec) -> Result<WorkerId, PoolError> {
        self.add_worker_at(spec, self.core().clock())
    }

    /// As [`Router::add_worker`], at this time.
    pub fn add_worker_at(&self, spec: WorkerSpec, now: u64) -> Result<WorkerId, PoolError> {
        self.core().add_worker(spec, now)
    }

    /// Removes a worker: nothing goes there any more, its open tickets are closed, the prefix tree
    /// and the policies forget it. To let its requests end first, drain it.
    pub fn remove_worker(&self, id: WorkerId) -> Result<(), PoolError> {
        self.remove_worker_at(id, self.core().clock())
    }

    /// As [`Router::remove_worker`], at this time.
    pub fn remove_worker_at(&self, id: WorkerId, now: u64) -> Result<(), PoolError> {
        self.core().remove_worker(id, now)
    }

    /// Stops sending new requests to a worker, or starts again. Requests in flight go on.
    pub fn drain_worker(&self, id: WorkerId, draining: bool) -> Result<(), PoolError> {
        self.core().change(|pool| pool.drain(id, draining))
    }

    /// Changes a worker's weight.
    pub fn set_weight(&self, id: WorkerId, weight: f64) -> Result<(), PoolError> {
        self.core().change(|pool| pool.set_weight(id, weight))
    }

    /// Changes how many requests a worker may hold at once; `None` lifts the limit.
    pub fn set_max_in_flight(&self, id: WorkerId, limit: Option<u32>) -> Result<(), PoolError> {
        self.core().change(|pool| pool.set_max_in_flight(id, limit))
    }

    /// Tells a worker's health as the host sees it, which wins over the outcomes of requests; `None`
    /// leaves it to them again. An unhealthy worker is believed to lose what its cache holds.
    pub fn set_health(&self, id: WorkerId, health: Option<bool>) -> Result<(), PoolError> {
        self.core().set_health(id, health)
    }

    /// Stores what a worker says about its own load.
    ///
    /// A report without a time (`at` = 0) is taken to be from now.
    pub fn report_load(&self, id: WorkerId, load: LoadReport) -> Result<(), PoolError> {
        let at = if load.at == 0 { self.core().clock() } else { load.at };
        self.core().report_load(id, &LoadReport { at, ..load })
    }

    /// What the worker was registered as.
    pub fn worker(&self, id: WorkerId) -> Option<Arc<WorkerInfo>> {
        self.core().info(id)
    }

    /// The worker registered with this URL.
    pub fn worker_by_url(&self, url: &str) -> Option<WorkerId> {
        self.core().by_url(url)
    }

    /// All workers and how they stand.
    pub fn workers(&self) -> Vec<WorkerStatus> {
        self.workers_at(self.core().clock())
    }

    /// As [`Router::workers`], at this time.
    pub fn workers_at(&self, now: u64) -> Vec<WorkerStatus> {
        self.core().statuses(now)
    }

    /// Names the worker for a request. O(1) for policies that do not read the prompt; else each byte
    /// of the prompt is read once.
    ///
    /// At most the first 4,096 blocks of a prompt are matched: 512 KiB of text or 131,072 tokens with
    /// blocks of the default size. The rest counts as work.
    pub fn select(&self, request: &Request<'_>) -> Result<Selection, RoutingError> {
        self.select_at(request, self.core().clock())
    }

    /// As [`Router::select`], at this time.
    // One copy of the path in a program, and the selection is written where the caller wants it.
    #[inline(never)]
    pub fn select_at(&self, request: &Request<'_>, now: u64) -> Result<Selection, RoutingError> {
        let handles = &self.shared.handles;
        match &self.core().log {
            None => self.core().route::<Single>(handles, request, now),
            Some(log) => self.select_logged(log, request, now),
        }
    }

    /// As [`Router::select_at`], for hosts that keep the ticket as a number and complete it by
    /// [`Router::complete`]: nothing is given back when the result is dropped.
    #[inline(never)]
    pub fn select_bare_at(
        &self,
        request: &Request<'_>,
        now: u64,
    ) -> Result<BareSelection, RoutingError> {
        let handles = &self.shared.handles;
        match &self.core().log {
            None => self.core().route::<Bare>(handles, request, now),
            Some(log) => self.select_logged(log, request, now).map(Selection::into_bare),
        }
    }

    #[cold]
    fn select_logged(
        &self,
        log: &DecisionLog,
        request: &Request<'_>,
        now: u64,
    ) -> Result<Selection, RoutingError> {
        let selection = self.core().route::<Single>(&self.shared.handles, request, now)?;
        log.offer(Role::Regular, &selection.chosen(), selection.ticket(), now);
        Ok(selection)
    }

    /// Names a prefill and a decode worker for a request, as one decision under one ticket.
    ///
    /// ```
    /// use pointsman::{Outcome, Request, Role, Router, RouterConfig, Usage, WorkerSpec};
    ///
    /// let router = Router::new(RouterConfig::default())?;
    /// router.add_worker(WorkerSpec::new("http://10.0.0.7:8000").role(Role::Prefill))?;
    /// router.add_worker(WorkerSpec::new("http://10.0.0.8:8000").role(Role::Decode))?;
    ///
    /// let pair = router.select_pair(&Request::text("You are a helpful assistant. ..."))?;
    /// let (prefill, decode) = (pair.prefill().url(), pair.decode().url());
    /// # assert!(prefill.is_some() && decode.is_some());
    /// // The prompt is computed: the prefill worker gets its load back.
    /// pair.first_token(None)?;
    /// // The answer is complete, or a worker has failed: `complete_blaming` says which.
    /// pair.complete(Outcome::Success, Usage::default())?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn select_pair(&self, request: &Request<'_>) -> Result<PairSelection, RoutingError> {
        self.select_pair_at(request, self.core().clock())
    }

    /// As [`Router::select_pair`], at this time.
    pub fn select_pair_at(
        &self,
        request: &Request<'_>,
        now: u64,
    ) -> Result<PairSelection, RoutingError> {
        let pair = self.core().route::<Pair>(&self.shared.handles, request, now)?;
        if let Some(log) = &self.core().log {
            log.offer(Role::Prefill, &pair.prefill(), pair.ticket(), now);
            log.offer(Role::Decode, &pair.decode(), pair.ticket(), now);
        }
        Ok(pair)
    }

    /// Hands `look` what a policy is shown when it chooses a worker of this role for this request;
    /// nothing is charged or counted. For policies on trial, dashboards and tests.
    ///
    /// The prompt is not read: [`RequestView::prefix`] is `None`. Membership changes made by `look`
    /// itself show in the next call.
    pub fn with_candidates<T>(
        &self,
        role: Role,
        request: &Request<'_>,
        look: impl FnOnce(&Candidates<'_>, &RequestView<'_>) -> T,
    ) -> T {
        self.with_candidates_at(role, request, self.core().clock(), look)
    }

    /// As [`Router::with_candidates`], at this time.
    pub fn with_candidates_at<T>(
        &self,
        role: Role,
        request: &Request<'_>,
        now: u64,
        look: impl FnOnce(&Candidates<'_>, &RequestView<'_>) -> T,
    ) -> T {
        self.core().with_candidates(role, request, now, look)
    }

    /// The prompt is computed: `cached_tokens` of it came from the worker's cache, if it says so. A
    /// pair's prefill worker gets its load back.
    pub fn first_token(
        &self,
        ticket: Ticket,
        cached_tokens: Option<u32>,
    ) -> Result<(), TicketError> {
        self.first_token_at(ticket, cached_tokens, self.core().clock())
    }

    /// As [`Router::first_token`], at this time.
    pub fn first_token_at(
        &self,
        ticket: Ticket,
        cached_tokens: Option<u32>,
        now: u64,
    ) -> Result<(), TicketError> {
        self.core().first_token(ticket, cached_tokens, now)
    }

    /// The request is alive: its deadline starts afresh.
    pub fn progress(&self, ticket: Ticket) -> Result<(), TicketError> {
        self.progress_at(ticket, self.core().clock())
    }

    /// As [`Router::progress`], at this time.
    pub fn progress_at(&self, ticket: Ticket, now: u64) -> Result<(), TicketError> {
        self.core().progress(ticket, now)
    }

    /// The request is over: its load is given back, the outcome counts towards the worker's health.
    /// Of a pair, a failure before the first token is the prefill worker's, later the decode
    /// worker's; see [`Router::complete_blaming`].
    pub fn complete(
        &self,
        ticket: Ticket,
        outcome: Outcome,
        usage: Usage,
    ) -> Result<(), TicketError> {
        self.complete_at(ticket, outcome, usage, self.core().clock())
    }

    /// As [`Router::complete`], at this time.
    #[inline]
    pub fn complete_at(
        &self,
        ticket: Ticket,
        outcome: Outcome,
        usage: Usage,
        now: u64,
    ) -> Result<(), TicketError> {
        self.core().complete(ticket, &Ending { outcome, usage, blamed: None }, now)
    }

    /// As [`Router::complete`], naming the worker of a pair whose outcome it is.
    pub fn complete_blaming(
        &self,
        ticket: Ticket,
        blamed: Role,
        outcome: Outcome,
        usage: Usage,
    ) -> Result<(), TicketError> {
        self.complete_blaming_at(ticket, blamed, outcome, usage, self.core().clock())
    }

    /// As [`Router::complete_blaming`], at this time.
    pub fn complete_blaming_at(
        &self,
        ticket: Ticket,
        blamed: Role,
        outcome: Outcome,
        usage: Usage,
        now: u64,
    ) -> Result<(), TicketError> {
        self.core().complete(ticket, &Ending { outcome, usage, blamed: Some(blamed) }, now)
    }

    /// Switches the policy for all roles. Requests in flight complete at the policy that chose their
    /// worker; the prefix tree keeps its contents.
    pub fn set_policy(&self, policy: &PolicyConfig) -> Result<(), ConfigError> {
        self.set_policies(policy, None, None)
    }

    /// Switches the policies, with others for the prefill or decode workers of pairs.
    pub fn set_policies(
        &self,
        policy: &PolicyConfig,
        prefill: Option<&PolicyConfig>,
        decode: Option<&PolicyConfig>,
    ) -> Result<(), ConfigError> {
        self.core().set_policies(policy, prefill, decode)
    }

    /// Sends a share of the requests to a second policy, or stops doing so; see [`SplitConfig`].
    ///
    /// ```
    /// # use pointsman::{PolicyConfig, Router, RouterConfig, SplitConfig};
    /// # let router = Router::new(RouterConfig::default())?;
    /// // A tenth of the requests, and of the sessions, are on trial.
    /// router.set_split(Some(&SplitConfig::new(PolicyConfig::named("power_of_two"), 0.1)))?;
    /// // `Router::metrics` counts both apart. The trial ends:
    /// router.set_split(None)?;
    /// # Ok::<(), pointsman::ConfigError>(())
    /// ```
    pub fn set_split(&self, split: Option<&SplitConfig>) -> Result<(), ConfigError> {
        self.core().set_split(split)
    }

    /// Lets a second policy decide beside the real one without being followed, or stops it. The
    /// metrics say how often the two differ, and by how many tokens to be computed.
    ///
    /// ```
    /// # use pointsman::{PolicyConfig, Router, RouterConfig};
    /// # let router = Router::new(RouterConfig::default())?;
    /// router.set_shadow(Some(&PolicyConfig::named("threshold")))?;
    /// # Ok::<(), pointsman::ConfigError>(())
    /// ```
    pub fn set_shadow(&self, shadow: Option<&PolicyConfig>) -> Result<(), ConfigError> {
        self.core().set_shadow(shadow)
    }

    /// The name of the policy for regular requests.
    pub fn policy(&self) -> String {
        self.core().policy_name()
    }

    /// Housekeeping that calls would otherwise do in small pieces: ends ejections and pauses, steps
    /// up slow starts, closes expired tickets, frees replaced policies. Never needed.
    pub fn tick(&self, now: u64) {
        self.core().tick(now);
    }

    /// The prompt's chained block hashes, as many as the buffer holds. A request made of the result
    /// routes like this one.
    pub fn fingerprint<'b>(
        &self,
        request: &Request<'_>,
        buffer: &'b mut [u64],
    ) -> Result<Fingerprint<'b>, RoutingError> {
        self.core().fingerprint(request, buffer).map(|printed| printed.fingerprint)
    }

    /// A reader for a JSON body that arrives in chunks, set up as this router reads bodies; block
    /// hashes go to `buffer`. A request made of the resulting fingerprint routes like the whole body.
    ///
    /// ```
    /// # use pointsman::{Request, Router, RouterConfig, WorkerSpec};
    /// # let router = Router::new(RouterConfig::default())?;
    /// # router.add_worker(WorkerSpec::new("http://10.0.0.7:8000"))?;
    /// let mut hashes = [0; 1024];
    /// let mut reader = router.body_reader(None, &mut hashes);
    /// for chunk in [&br#"{"messages": [{"role": "user", "#[..], br#""content": "Why?"}]}"#] {
    ///     reader.push(chunk)?;
    /// }
    /// let selection = match reader.finish()?.fingerprint {
    ///     Some(fingerprint) => router.select(&Request::fingerprint(fingerprint))?,
    ///     None => router.select(&Request::none())?,
    /// };
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn body_reader<'r, 'b>(
        &'r self,
        namespace: Option<&str>,
        buffer: &'b mut [u64],
    ) -> BodyReader<'r, 'b> {
        let core = self.core();
        BodyReader::new(&core.key, core.body_options(namespace), buffer)
    }

    /// Everything counted so far.
    pub fn metrics(&self) -> MetricsSnapshot {
        self.metrics_at(self.core().clock())
    }

    /// As [`Router::metrics`], at this time.
    pub fn metrics_at(&self, now: u64) -> MetricsSnapshot {
        self.core().metrics(now)
    }

    /// What the plain methods take for the time: nanoseconds since the router was made.
    #[inline]
    pub fn now(&self) -> u64 {
        self.core().clock()
    }

    /// The key of this router's hashes, for hosts that fingerprint prompts themselves.
    pub fn hash_key(&self) -> &HashKey {
        &self.core().key
    }

    /// The bytes that one block of a fingerprint covers here.
    pub fn block_size(&self) -> BlockSize {
        self.core().block
    }

    /// What a namespace is called in fingerprints.
    pub fn namespace_digest(&self, namespace: &str) -> u64 {
        self.core().digest(core::NAMESPACE, namespace.as_bytes())
    }

    /// To be called in a forked child before its first select: draws new random seeds, and forgets
    /// the parent's requests in flight. The fork must have happened while no other thread was inside
    /// a call.
    pub fn after_fork(&self) {
        self.core().after_fork();
    }
}

impl std::fmt::Debug for Router {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Router")
            .field("policy", &self.policy())
            .field("workers", &self.workers().len())
            .finish_non_exhaustive()
    }
}
