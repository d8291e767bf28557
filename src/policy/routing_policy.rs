//! The trait that every policy implements.

use super::decision::{Decision, PairDecision};
use super::error::RoutingError;
use super::event::{Completion, Dispatch, FirstToken};
use super::pair;
use super::request_view::RequestView;
use crate::pool::candidates::Candidates;
use crate::time::Time;
use crate::worker::{WorkerId, spec::WorkerInfo};

/// A routing algorithm: chooses among candidates, single workers and pairs.
///
/// **Decide, then commit.** `select_single` and `select_pair` only decide: besides random draws, rotation
/// counters and running means they change nothing. The router commits a decision, tells the policy by
/// [`RoutingPolicy::on_dispatch`], and reports the rest of the request by the other callbacks, all
/// empty by default. So a decision can be retried, a shadow policy can watch, and nothing is charged
/// twice.
///
/// **How often each is called.** A dispatched request of a single worker has one `on_dispatch`, at most
/// one `on_first_token`, and one `on_request_complete`. A pair has two `on_dispatch`, for its prefill and
/// its decode worker; the other callbacks are called once and concern both.
///
/// **Threads.** All methods are called from many threads at once. A policy keeps what it knows about a
/// worker under the worker's slot, and cleans that in [`RoutingPolicy::on_worker_added`].
/// `on_worker_added`, `on_worker_changed`, `wants_prefix` and `wants_events` run while the router changes
/// its membership: they must not call the router, which would deadlock. The other methods may.
///
/// **Mistakes.** The router checks every decision: naming a worker that is not a candidate is an error
/// of the request, not a crash. A panic, a shadow's included, leaves through the host's call; what the
/// router had charged is given back, and a worker about which a policy panics is not added.
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

    /// The router has charged the decision, and remembered the prompt if the policy wants prefixes:
    /// count the work. For a pair, called for each role.
    fn on_dispatch(&self, dispatch: &Dispatch<'_>) {
        let _ = dispatch;
    }

    /// The worker has computed the prompt; of a pair, the prefill worker. Called at most once for a
    /// request.
    fn on_first_token(&self, event: &FirstToken) {
        let _ = event;
    }

    /// The request is over. Called exactly once for a dispatched request, so once for a pair.
    fn on_request_complete(&self, event: &Completion) {
        let _ = event;
    }

    /// A worker was registered. Also called for every worker when a policy takes over.
    fn on_worker_added(&self, worker: &WorkerInfo) {
        let _ = worker;
    }

    /// A worker's URL, group, KV capacity or labels have changed; its id and slot are as before, and what
    /// is known of it stays true.
    fn on_worker_changed(&self, worker: &WorkerInfo) {
        let _ = worker;
    }

    /// A worker was removed. Another may have been given its slot by now, and been announced already:
    /// compare ids before forgetting anything.
    fn on_worker_removed(&self, worker: &WorkerInfo) {
        let _ = worker;
    }

    /// Names and values of what the policy knows about a worker, for metrics. Names are lower case with
    /// underscores and end in their unit. Not on the path of a request.
    fn gauges(&self, worker: WorkerId, now: Time, tell: &mut dyn FnMut(&'static str, f64)) {
        let _ = (worker, now, tell);
    }

    /// This process is a forked child: draw new random seeds, forget requests in flight.
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
