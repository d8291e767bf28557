//! The least-work rule: per worker, the prompt tokens that this request would wait for and cause.
//!
//! What a new request waits for is prefill work not yet done, so the rule keeps, per worker, the work
//! dispatched and not past its first token. What it causes is the part of its prompt that the worker
//! does not hold. The score joins them (see [`formula`]); the smallest wins, ties at random. Where the
//! smallest is that of an idle worker which holds nothing, all such workers share the request by weight.
//!
//! A worker that is full of KV starts nothing, however little prefill it has to do. So where its KV
//! capacity is known, the score adds the time until the requests in flight leave room for this one.
//!
//! **What is simplified.** No queue is kept: the work at the head of a worker's queue is taken as the
//! mean of what is queued, and its start as the start of the worker's busy period. Estimates shared
//! by all threads (busy share, mean work, rates, reliability) are plain stores that may lose each
//! other's samples. What is queued is counted exactly.
//!
//! - [`config`]: what can be set.
//! - [`formula`]: the arithmetic, without state.
//! - `estimates`, of one `row` per worker: what is known about the workers.
//! - `scoring`: which candidates are looked at, and the score of each.

pub mod config;
mod estimates;
#[doc(hidden)]
pub mod formula;
mod row;
mod scoring;

use self::config::LeastWorkConfig;
use self::scoring::{Scoring, resident_tokens};
use super::decode;
use crate::policy::decision::{Decision, RunnerUp};
use crate::policy::error::RoutingError;
use crate::policy::event::{Completion, Dispatch, FirstToken};
use crate::policy::reason::Reason;
use crate::policy::request_view::RequestView;
use crate::policy::routing_policy::RoutingPolicy;
use crate::pool::candidates::Candidates;
use crate::time::Time;
use crate::worker::{Role, WorkerId, health::Outcome, spec::WorkerInfo};

/// Cache-aware by the least-work rule.
#[derive(Debug)]
pub struct LeastWorkPolicy {
    scoring: Scoring,
}

impl LeastWorkPolicy {
    /// A policy with these settings.
    pub fn new(config: LeastWorkConfig, seed: Option<u64>) -> Self {
        LeastWorkPolicy { scoring: Scoring::new(config, seed) }
    }

    fn prefilled(&self, slot: usize, event: &FirstToken) {
        let Scoring { config, estimates, .. } = &self.scoring;
        let (dispatched, now) = (event.dispatched.as_nanos(), event.now.as_nanos());
        let seconds = estimates.finish(slot, event.work_tokens, dispatched, now);
        if let Some(seconds) = seconds {
            estimates.sample_rate(slot, event.work_tokens, seconds, config.rate_decay);
        }
        if let Some(cached) = event.cached_tokens {
            let step = config.reliability_step;
            estimates.sample_reliability(slot, event.matched_tokens, cached, step);
        }
    }
}

impl RoutingPolicy for LeastWorkPolicy {
    fn name(&self) -> &str {
        "cache_aware"
    }

    fn select_single(
        &self,
        candidates: &Candidates<'_>,
        request: &RequestView<'_>,
    ) -> Result<Decision, RoutingError> {
        if candidates.role() == Role::Decode {
            let Scoring { config, random, .. } = &self.scoring;
            return decode::least_resident(candidates, config.sequence_tokens, random);
        }
        let ranking = self.scoring.score_all(candidates, request);
        let Some((score, first)) = ranking.first() else { return Err(candidates.none()) };
        let runner_up = ranking
            .second(first.worker)
            .map(|(score, second)| RunnerUp { worker: second.worker, score });
        if first.matched == 0 {
            if let Some((score, scored)) = self.scoring.by_key(candidates, request) {
                return Ok(Decision {
                    score,
                    runner_up,
                    work_tokens: scored.work,
                    ..Decision::new(scored.worker, Reason::RoutingKey)
                });
            }
        }
        Ok(Decision {
            matched_tokens: first.matched,
            score,
            runner_up,
            work_tokens: first.work,
            ..Decision::new(first.worker, Reason::LeastWork)
        })
    }

    fn on_dispatch(&self, dispatch: &Dispatch<'_>) {
        if dispatch.role == Role::Decode {
            return;
        }
        let Scoring { config, estimates, .. } = &self.scoring;
        let slot = dispatch.decision.worker.slot();
        let work = dispatch.decision.work_tokens;
        estimates.start(slot, work, dispatch.request.now.as_nanos());
        estimates.sample_work(work, config.work_step);
        // A prefill worker passes its KV on soon.
        if dispatch.role == Role::Regular {
            estimates.occupy(slot, resident_tokens(dispatch.request).into());
        }
    }

    fn on_first_token(&self, event: &FirstToken) {
        if event.role == Role::Regular {
            let (dispatched, now) = (event.dispatched.as_nanos(), event.now.as_nanos());
            self.scoring.estimates.sample_first(dispatched, now);
        }
        self.prefilled(event.worker.slot(), event);
    }

    fn on_request_complete(&self, event: &Completion) {
        let Scoring { config, estimates, .. } = &self.scoring;
        let Some(prefill) = event.prefill else { return };
        let slot = prefill.slot();
        if event.worker == prefill {
            estimates.occupy(slot, -i64::from(event.resident_tokens));
            // Without first tokens the backlog lasts until the end of requests, so it covers this wait.
            if event.first_token_seen && event.outcome == Outcome::Success {
                estimates.sample_whole(event.dispatched.as_nanos(), event.now.as_nanos());
            }
        }
        if event.first_token_seen {
            // Engines that stream tell what was cached at the very end.
            if let Some(cached) = event.usage.cached_tokens.filter(|_| !event.cached_known) {
                let step = config.reliability_step;
                estimates.sample_reliability(slot, event.matched_tokens, cached, step);
            }
            return;
        }
        if event.outcome != Outcome::Success {
            estimates.cancel(slot, event.work_tokens);
            return;
        }
        // The host reports no first tokens: the end of the request takes its place.
        self.prefilled(
            slot,
            &FirstToken {
                worker: prefill,
                role: Role::Regular,
                now: event.now,
                dispatched: event.dispatched,
                work_tokens: event.work_tokens,
                matched_tokens: event.matched_tokens,
                cached_tokens: event.usage.cached_tokens,
            },
        );
    }

    fn on_worker_added(&self, worker: &WorkerInfo) {
        self.scoring.estimates.reset(worker.id.slot(), capacity_of(worker));
    }

    fn on_worker_changed(&self, worker: &WorkerInfo) {
        self.scoring.estimates.resize(worker.id.slot(), capacity_of(worker));
    }

    fn wants_prefix(&self) -> bool {
        true
    }

    fn gauges(&self, worker: WorkerId, now: Time, tell: &mut dyn FnMut(&'static str, f64)) {
        let Scoring { config, estimates, .. } = &self.scoring;
        let slot = worker.slot();
        let rate = estimates.rate() / 1e9;
        let backlog = estimates.backlog(slot, now.as_nanos(), rate, config.head_cap);
        tell("backlog_tokens", backlog);
        tell("reliability_ratio", estimates.reliability(slot));
        tell("prefill_tokens_per_second", estimates.own_rate(slot));
        tell("overcommitted_kv_tokens", estimates.overcommitted(slot) as f64);
    }

    fn after_fork(&self) {
        self.scoring.random.reseed();
        self.scoring.estimates.forget_pending();
    }
}

/// The KV capacity that requests share: those of pairs are not counted.
fn capacity_of(worker: &WorkerInfo) -> Option<u64> {
    worker.kv_capacity_tokens.filter(|_| worker.role == Role::Regular)
}
