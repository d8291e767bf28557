//! The router: fleet, prompts and tickets, joined.
//!
//! - [`select`]: how a request is routed: the one loop.
//! - `commit`: charges what was decided, opens the ticket.
//! - `complete`: first token, completion, expiry: gives back what was charged.
//! - [`at`]: the methods of a router that depend on time.
//! - `inner`: all of one router, and how it is made and maintained.
//! - [`selection`]: what a host gets; dropping it gives the load back.
//! - `poll`: waiting for room, for async hosts.
//! - [`builder`], [`config`]: how a router is made.
//! - [`decision_log`], `metrics`: what a host can read back.

pub(crate) mod at;
pub(crate) mod builder;
mod commit;
mod complete;
pub(crate) mod config;
pub(crate) mod decision_log;
mod inner;
#[cfg(all(test, pointsman_loom))]
mod loom;
mod metrics;
mod poll;
mod select;
pub(crate) mod selection;
mod usage;

use std::sync::Arc;

use self::at::At;
use self::config::{RouterConfig, SplitConfig};
use self::inner::{Inner, Shared};
use self::selection::{PairSelection, Selection};
use crate::body::BodyReader;
use crate::engine::CacheMeter;
use crate::metrics::MetricsSnapshot;
use crate::policy::error::{ConfigError, RoutingError};
use crate::policy::{BestMatch, PolicyConfig, RequestView, Usage};
use crate::pool::{candidates::Candidates, error::PoolError, status::WorkerStatus};
use crate::prefix::{BlockSize, Fingerprint, HashKey};
use crate::request::Request;
use crate::ticket::{Ticket, error::TicketError};
use crate::time::Time;
use crate::worker::{
    Role, WorkerId,
    change::WorkerChange,
    health::{HostHealth, Outcome},
    report::LoadReport,
    spec::{WorkerInfo, WorkerSpec},
};

/// Names the worker for each request. Cheap to clone; all clones are the same router.
///
/// Every method may be called from any number of threads at once. [`Router::select`],
/// [`Router::select_pair`], [`Router::first_token`] and [`Router::complete`] take no lock that
/// another thread could hold while it works, and allocate nothing; changes of the membership build a
/// new snapshot under a lock of their own.
///
/// **Time.** Methods that depend on time read the clock; [`Router::at`] has the same ones for a host that
/// passes the time itself. Use one or the other for a router, not both. Where the clock jumps back,
/// nothing is undone and no interval is negative.
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

impl Router {
    /// A router with the built-in policies.
    pub fn new(config: RouterConfig) -> Result<Self, ConfigError> {
        Self::builder().config(config).build()
    }

    fn from_inner(inner: Inner) -> Self {
        Router { shared: Arc::new(Shared::new(inner)) }
    }

    fn inner(&self) -> &Inner {
        &self.shared.inner
    }

    /// The same router, at a time that the host passes.
    #[inline]
    pub fn at(&self, now: impl Into<Time>) -> At<'_> {
        At::new(&self.shared, now.into())
    }

    /// What the plain methods take for the time: the time since the router was made.
    #[inline]
    pub fn now(&self) -> Time {
        self.inner().clock().into()
    }

    /// Registers a worker. It takes requests from here on.
    pub fn add_worker(&self, spec: WorkerSpec) -> Result<WorkerId, PoolError> {
        self.at(self.now()).add_worker(spec)
    }

    /// Removes a worker: nothing goes there any more, its open tickets are closed, the prefix tree
    /// and the policies forget it. To let its requests end first, drain it.
    pub fn remove_worker(&self, id: WorkerId) -> Result<(), PoolError> {
        self.at(self.now()).remove_worker(id)
    }

    /// Stops sending new requests to a worker. Requests in flight go on.
    pub fn drain_worker(&self, id: WorkerId) -> Result<(), PoolError> {
        self.inner().fleet.change(|pool| pool.set_draining(id, true))
    }

    /// Sends requests to a drained worker again.
    pub fn resume_worker(&self, id: WorkerId) -> Result<(), PoolError> {
        self.inner().fleet.change(|pool| pool.set_draining(id, false))
    }

    /// Changes a worker's weight.
    pub fn set_weight(&self, id: WorkerId, weight: f64) -> Result<(), PoolError> {
        self.inner().fleet.change(|pool| pool.set_weight(id, weight))
    }

    /// Changes how many requests a worker may hold at once; `None` lifts the limit.
    pub fn set_max_in_flight(&self, id: WorkerId, limit: Option<u32>) -> Result<(), PoolError> {
        self.inner().fleet.change(|pool| pool.set_max_in_flight(id, limit))
    }

    /// Changes what a worker was registered as: URL, weight, group, KV capacity, limit and labels, all of
    /// it or, with an error, nothing. The worker keeps its id, its slot, what the prefix tree knows of it,
    /// its requests in flight and its health. Where its KV capacity shrinks, what was sent there longest
    /// ago counts as forgotten.
    pub fn update_worker(&self, id: WorkerId, change: WorkerChange) -> Result<(), PoolError> {
        self.inner().fleet.update(id, change)
    }

    /// Sets a worker's health as the host sees it, which overrides the outcomes of requests. An
    /// unhealthy worker is believed to lose what its cache holds.
    pub fn set_health(&self, id: WorkerId, health: HostHealth) -> Result<(), PoolError> {
        self.inner().fleet.set_health(id, health)
    }

    /// Stores what a worker says about its own load.
    ///
    /// A report without a time is taken to be from now.
    pub fn report_load(&self, id: WorkerId, load: LoadReport) -> Result<(), PoolError> {
        self.at(self.now()).report_load(id, load)
    }

    /// Takes what a worker's KV events have told of its cache since the last call: once after each message
    /// that was [fed](crate::engine::KvStream::feed). From then on the worker's own evictions, not a guessed
    /// capacity, decide how long it is believed to hold a prompt, and what it was believed to hold is
    /// forgotten at once where it was cleared or restarted. A worker that falls silent is guessed at again
    /// once half of its cache has been sent there.
    pub fn report_cache(&self, id: WorkerId, meter: &mut CacheMeter) -> Result<(), PoolError> {
        self.inner().fleet.report_cache(id, meter)
    }

    /// What the worker was registered as.
    pub fn worker(&self, id: WorkerId) -> Option<Arc<WorkerInfo>> {
        self.inner().fleet.info(id)
    }

    /// The worker registered with this URL.
    pub fn worker_by_url(&self, url: &str) -> Option<WorkerId> {
        self.inner().fleet.by_url(url)
    }

    /// All workers and their state. O(workers).
    pub fn workers(&self) -> Vec<WorkerStatus> {
        self.at(self.now()).workers()
    }

    /// Names the worker for a request. O(1) for policies that do not read the prompt; else each byte
    /// of the prompt is read once.
    ///
    /// The first 4 MiB of a prompt's text, or its first 1,048,576 tokens, are matched and remembered, to
    /// the last full block. The rest counts as work.
    ///
    /// # Errors
    /// No worker is eligible, or all of them are busy; a body that cannot be read; a policy's own error.
    pub fn select(&self, request: &Request<'_>) -> Result<Selection, RoutingError> {
        self.at(self.now()).select(request)
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
    /// // The answer is complete, or a worker has failed: `complete_by` says which.
    /// pair.complete(Outcome::Success, Usage::default())?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn select_pair(&self, request: &Request<'_>) -> Result<PairSelection, RoutingError> {
        self.at(self.now()).select_pair(request)
    }

    /// Shows `look` what a policy sees when it chooses a worker of this role for this request;
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
        self.at(self.now()).with_candidates(role, request, look)
    }

    /// The prompt is computed: `cached_tokens` of it came from the worker's cache, if it says so. A
    /// pair's prefill worker gets its load back.
    pub fn first_token(
        &self,
        ticket: impl Into<Ticket>,
        cached_tokens: Option<u32>,
    ) -> Result<(), TicketError> {
        self.at(self.now()).first_token(ticket, cached_tokens)
    }

    /// The request is alive: its deadline starts again.
    pub fn progress(&self, ticket: impl Into<Ticket>) -> Result<(), TicketError> {
        self.at(self.now()).progress(ticket)
    }

    /// The longest match that any candidate for the prompt of an open request had: the chosen worker, where none
    /// had more. What another choice would have found, and where the prompt's KV could be fetched from. `None`
    /// where the prompt was not read, no candidate held any of it, or the request is over or untracked. O(1).
    pub fn best_match(&self, ticket: impl Into<Ticket>) -> Option<BestMatch> {
        self.inner().tickets.best_match(ticket.into())
    }

    /// The request is over: its load is given back, the outcome counts towards the worker's health.
    /// Of a pair, a failure before the first token is the prefill worker's, later the decode
    /// worker's; see [`Router::complete_by`].
    pub fn complete(
        &self,
        ticket: impl Into<Ticket>,
        outcome: Outcome,
        usage: Usage,
    ) -> Result<(), TicketError> {
        self.at(self.now()).complete(ticket, outcome, usage)
    }

    /// As [`Router::complete`], naming the worker of a pair whose outcome it is.
    pub fn complete_by(
        &self,
        ticket: impl Into<Ticket>,
        role: Role,
        outcome: Outcome,
        usage: Usage,
    ) -> Result<(), TicketError> {
        self.at(self.now()).complete_by(ticket, role, outcome, usage)
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
        self.inner().set_policies(policy, prefill, decode)
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
        self.inner().set_split(split)
    }

    /// Lets a second policy decide beside the real one and does not follow it, or stops it. The
    /// metrics say how often the two differ, and by how many tokens to be computed.
    ///
    /// ```
    /// # use pointsman::{PolicyConfig, Router, RouterConfig};
    /// # let router = Router::new(RouterConfig::default())?;
    /// router.set_shadow(Some(&PolicyConfig::named("threshold")))?;
    /// # Ok::<(), pointsman::ConfigError>(())
    /// ```
    pub fn set_shadow(&self, shadow: Option<&PolicyConfig>) -> Result<(), ConfigError> {
        self.inner().set_shadow(shadow)
    }

    /// The name of the policy for regular requests.
    pub fn policy(&self) -> String {
        self.inner().fleet.policy_name()
    }

    /// The prompt's chained block hashes, as many as the buffer holds. A request made of the result
    /// routes like this one.
    pub fn fingerprint<'b>(
        &self,
        request: &Request<'_>,
        buffer: &'b mut [u64],
    ) -> Result<Fingerprint<'b>, RoutingError> {
        self.inner().prompts.read(request, buffer).map(|read| read.fingerprint)
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
        self.inner().prompts.body_reader(namespace, buffer)
    }

    /// Everything counted so far. O(workers + policies); allocates.
    pub fn metrics(&self) -> MetricsSnapshot {
        self.at(self.now()).metrics()
    }

    /// The key of this router's hashes, for hosts that fingerprint prompts themselves.
    pub fn hash_key(&self) -> &HashKey {
        self.inner().prompts.key()
    }

    /// The bytes that one block of a fingerprint covers here.
    pub fn block_size(&self) -> BlockSize {
        self.inner().prompts.block()
    }

    /// The digest that stands for a namespace in fingerprints.
    pub fn namespace_digest(&self, namespace: &str) -> u64 {
        self.inner().prompts.namespace_digest(namespace)
    }

    /// Call this in a forked child before its first select: it draws new random seeds, and forgets the
    /// parent's requests in flight. The fork must have happened while no other thread was inside a call.
    pub fn after_fork(&self) {
        self.inner().after_fork();
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
