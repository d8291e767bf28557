//! The least-work rule: per worker, the prompt tokens that this request would wait for and cause.
//!
//! What a new request waits for is prefill work not yet done, so the rule keeps, per worker, the work
//! dispatched and not past its first token. What it causes is the part of its prompt that the worker
//! does not hold. The score joins them (see [`super::formula`]); the smallest wins, ties at random.
//!
//! A worker that is full of KV starts nothing, however little prefill it has to do. So where its KV
//! capacity is known, the score adds the time until the requests in flight leave room for this one.
//!
//! **What is simplified.** No queue is kept: the work at the head of a worker's queue is taken as the
//! mean of what is queued, and its start as the start of the worker's busy period. Estimates shared
//! by all threads (busy share, mean work, rates, reliability) are plain stores that may lose each
//! other's samples. What is queued is counted exactly.

use serde::{Deserialize, Serialize};

use super::{estimates::Estimates, formula, least_resident, rendezvous};
use crate::policy::error::{ConfigError, RoutingError};
use crate::policy::{
    Completion, Decision, Dispatch, FirstToken, Reason, RequestView, RoutingPolicy, RunnerUp,
};
use crate::pool::{
    candidates::{Best, Candidate, Candidates},
    set::SlotSet,
};
use crate::random::Random;
use crate::range;
use crate::worker::{Role, WorkerId, health::Outcome, spec::WorkerInfo};

/// The least-work rule's knobs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct LeastWorkConfig {
    /// Tokens added to every request's work for what it costs beside its own tokens. Raise it where
    /// short requests are slow on your engines.
    pub overhead_tokens: u32,
    /// Most that caused work may weigh. Lower it if idle workers are passed over for cached ones
    /// under overload.
    pub max_kappa: f64,
    /// Share of a new sample in the busy share of workers.
    pub busy_step: f64,
    /// Share of a new sample in the mean work.
    pub work_step: f64,
    /// What is kept of the measured prefill rates with each new sample, at most 0.9999; nearer to 1
    /// is slower to follow.
    pub rate_decay: f64,
    /// Prefill rate assumed before the first sample, in tokens per second.
    pub initial_rate: f64,
    /// Most of the head request's work that is counted as done before its first token.
    pub head_cap: f64,
    /// Share of a new sample in a worker's reliability; 0 ignores reported cached tokens.
    pub reliability_step: f64,
    /// How much the wait for KV space counts, where a worker's capacity is known: 1 as much as work of
    /// that length, 0 not at all. Lower it if requests that share much of their prompts run at the
    /// same time, so that workers fit in more than prompts and answers add up to.
    pub room_weight: f64,
    /// How workers of unequal speed are told apart.
    pub speed: Speed,
    /// Routers in front of the same workers that share nothing. Above 1, prompts that no worker holds
    /// the beginning of are drawn to one worker that all routers agree on; they must share a hash key.
    pub replicas: u32,
    /// With replicas: the share of the unmatched prompt that the agreed worker is credited with.
    pub replica_discount: f64,
    /// With replicas: tokens whose blocks decide the agreed worker; a match that long needs no
    /// agreement.
    pub replica_tokens: u32,
    /// With replicas: seconds after which a worker's load report counts as missing; 0 ignores
    /// reports. A fresh one tells of the requests that other replicas have queued. Raise it to twice
    /// the interval at which the host polls its workers.
    pub max_report_age_secs: f64,
    /// Decode load of a running sequence, in KV tokens, on top of its own. Raise it if decode workers
    /// with many short sequences fall behind.
    pub sequence_tokens: u64,
    /// Most workers that are scored for one request: the holders of its prefix, then a random sample.
    pub scored_workers: usize,
}

/// How workers of unequal speed are told apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Speed {
    /// By their weights: a worker of weight 2 computes twice as fast.
    #[default]
    Weight,
    /// By the prefill rates that their first tokens show.
    Measured,
    /// Not at all.
    Equal,
}

impl Default for LeastWorkConfig {
    fn default() -> Self {
        LeastWorkConfig {
            overhead_tokens: formula::OVERHEAD_TOKENS,
            max_kappa: 9.0,
            busy_step: 0.005,
            work_step: 0.01,
            rate_decay: 0.99,
            initial_rate: 8000.0,
            head_cap: 0.95,
            reliability_step: 0.03,
            room_weight: 2.0,
            speed: Speed::Weight,
            replicas: 1,
            replica_discount: 0.6,
            replica_tokens: 1024,
            max_report_age_secs: 2.0,
            sequence_tokens: 4000,
            scored_workers: 64,
        }
    }
}

impl LeastWorkConfig {
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let range = range::check;
        range("least_work.overhead_tokens", self.overhead_tokens.into(), 0.0, 1e6)?;
        range("least_work.max_kappa", self.max_kappa, 0.0, 1e6)?;
        range("least_work.busy_step", self.busy_step, 0.0, 1.0)?;
        range("least_work.work_step", self.work_step, 0.0, 1.0)?;
        range("least_work.rate_decay", self.rate_decay, 0.0, 0.9999)?;
        range("least_work.initial_rate", self.initial_rate, 1.0, 1e9)?;
        range("least_work.head_cap", self.head_cap, 0.0, 1.0)?;
        range("least_work.reliability_step", self.reliability_step, 0.0, 1.0)?;
        range("least_work.room_weight", self.room_weight, 0.0, 100.0)?;
        range("least_work.replicas", self.replicas.into(), 1.0, 65_536.0)?;
        range("least_work.replica_discount", self.replica_discount, 0.0, 1.0)?;
        range("least_work.replica_tokens", self.replica_tokens.into(), 0.0, 1e6)?;
        range("least_work.max_report_age_secs", self.max_report_age_secs, 0.0, 3600.0)?;
        range("least_work.sequence_tokens", self.sequence_tokens as f64, 0.0, 1e9)?;
        range("least_work.scored_workers", self.scored_workers as f64, 2.0, 1024.0)?;
        Ok(())
    }
}

/// Cache-aware by the least-work rule.
#[derive(Debug)]
pub struct LeastWorkPolicy {
    config: LeastWorkConfig,
    estimates: Estimates,
    random: Random,
}

/// A scored candidate, beside its score.
#[derive(Clone, Copy)]
struct Scored {
    worker: WorkerId,
    work: u32,
    matched: u32,
}

/// What is the same for all candidates of one request.
struct Terms {
    pressure: f64,
    mean_work: f64,
    /// Tokens per nanosecond that a worker computes.
    rate: f64,
    /// KV tokens that the request will hold at its end.
    resident: i64,
    /// Work of a worker that holds nothing of the prompt.
    whole: u32,
    /// The slot that other routers would choose, with its discount of work in tokens.
    agreed: Option<(usize, f64)>,
}

impl LeastWorkPolicy {
    /// A policy with these knobs.
    pub fn new(config: LeastWorkConfig, seed: Option<u64>) -> Self {
        LeastWorkPolicy {
            estimates: Estimates::new(config.initial_rate),
            random: Random::new(seed),
            config,
        }
    }

    /// Scores the holders of the prefix and, up to the limit, others; the best two come out.
    fn score_all<'r>(
        &'r self,
        candidates: &Candidates<'_>,
        request: &RequestView<'_>,
    ) -> Best<'r, Scored> {
        let terms = self.terms(candidates, request);
        let mut best = Best::new(&self.random);
        let mut seen = SlotSet::EMPTY;
        let mut complete = true;
        let limit = self.config.scored_workers;
        if let Some(prefix) = request.prefix {
            // However many hold the prefix, some are drawn from all: one of them may be idle.
            let most = if candidates.len() > limit { limit - (limit / 4).max(1) } else { limit };
            prefix.listed(|holders, all| {
                complete = all;
                for holder in holders.iter().take(most) {
                    if let Some(candidate) = candidates.get(holder.slot.into()) {
                        seen.insert(holder.slot.into());
                        let held = prefix.tokens(holder.blocks);
                        let (score, scored) = self.score(&candidate, held, request, &terms);
                        best.offer(score, scored);
                    }
                }
            });
        }
        let unlisted = request.prefix.filter(|_| !complete);
        self.others(candidates, &seen, |candidate| {
            let held = unlisted.map_or(0, |prefix| prefix.tokens_of(candidate.slot()));
            let (score, scored) = self.score(&candidate, held, request, &terms);
            best.offer(score, scored);
        });
        best
    }

    /// Visits candidates that have not been seen: all of them while there are few, else a random
    /// sample. Beside the holders, only a worker's backlog tells it from others, and the least of a
    /// sample of 60 is among the least 5% of all with a probability of 95%.
    fn others<'a>(
        &self,
        candidates: &Candidates<'a>,
        seen: &SlotSet,
        mut visit: impl FnMut(Candidate<'a>),
    ) {
        let limit = self.config.scored_workers;
        if candidates.len() <= limit || candidates.admitted_len() <= limit {
            return candidates.visit(seen, visit);
        }
        let mut seen = *seen;
        for _ in seen.len()..limit {
            let Some(candidate) = candidates.draw(&self.random) else { return };
            if !seen.contains(candidate.slot()) {
                seen.insert(candidate.slot());
                visit(candidate);
            }
        }
    }

    fn terms(&self, candidates: &Candidates<'_>, request: &RequestView<'_>) -> Terms {
        let rho = self.estimates.sample_busy(candidates.len(), self.config.busy_step);
        let rho = formula::busy_of_all(rho, self.config.replicas);
        let kappa = formula::kappa(rho, self.config.max_kappa);
        Terms {
            pressure: formula::pressure(kappa, self.estimates.mean_work()),
            agreed: self.agreed(candidates, request),
            ..self.plain_terms(request)
        }
    }

    /// Terms under which caused work counts as any other.
    fn plain_terms(&self, request: &RequestView<'_>) -> Terms {
        Terms {
            pressure: 0.0,
            mean_work: self.estimates.mean_work(),
            rate: self.estimates.rate() / 1e9,
            resident: resident_tokens(request).into(),
            whole: formula::work(request.prompt_tokens, 0, self.config.overhead_tokens),
            agreed: None,
        }
    }

    /// The worker that all replicas agree on for a prompt that nobody holds the beginning of.
    fn agreed(
        &self,
        candidates: &Candidates<'_>,
        request: &RequestView<'_>,
    ) -> Option<(usize, f64)> {
        if self.config.replicas < 2 {
            return None;
        }
        let prefix = request.prefix?;
        let blocks = prefix.fingerprint().blocks();
        let per_block = prefix.tokens_per_block().max(1.0);
        let deciding =
            (f64::from(self.config.replica_tokens) / f64::from(per_block)).ceil() as usize;
        let longest = prefix.longest();
        if blocks.is_empty() || longest as usize >= deciding.max(1) {
            return None;
        }
        let key = blocks[deciding.clamp(1, blocks.len()) - 1];
        let agreed = rendezvous::highest(candidates, key)?;
        let unmatched = request.prompt_tokens.saturating_sub(prefix.tokens(longest));
        Some((agreed.slot(), self.config.replica_discount * f64::from(unmatched)))
    }

    /// The score of a worker that holds so many tokens of the prompt.
    #[inline(always)]
    fn score(
        &self,
        candidate: &Candidate<'_>,
        held: u32,
        request: &RequestView<'_>,
        terms: &Terms,
    ) -> (f64, Scored) {
        let slot = candidate.slot();
        let (mut matched, mut work) = (0, terms.whole);
        if held > 0 {
            matched = held.min(request.prompt_tokens.saturating_sub(1));
            let reliability = self.estimates.reliability(slot);
            let believed = formula::believed(reliability, held, request.prompt_tokens);
            work = formula::work(request.prompt_tokens, believed, self.config.overhead_tokens);
        }
        let speed = match self.config.speed {
            Speed::Weight => candidate.weight(),
            other => self.speed(slot, request.now, other),
        };
        let rate = terms.rate * speed;
        let backlog = self.estimates.backlog(slot, request.now, rate, self.config.head_cap);
        let mut sides = (backlog, f64::from(work));
        if self.config.replicas > 1 {
            sides = self.shared(sides, candidate, request, terms);
        }
        if speed != 1.0 {
            sides = divided(sides, speed);
        }
        let mut score = formula::score(sides.0, sides.1, terms.pressure);
        let room_wait = self.estimates.room_wait(slot, terms.resident);
        if room_wait > 0.0 {
            score += self.config.room_weight * room_wait * terms.rate * 1e9;
        }
        (score, Scored { worker: candidate.id(), work, matched })
    }

    // Out of line, as is what follows: most fleets need none of it, and the path of every request should
    // fit into the processor's smallest cache.
    #[inline(never)]
    fn speed(&self, slot: usize, now: u64, speed: Speed) -> f64 {
        if speed == Speed::Equal { 1.0 } else { self.estimates.relative_rate(slot, now) }
    }

    /// With replicas: what waits on the worker and what the request causes there, in the light of what
    /// the other routers do.
    #[inline(never)]
    fn shared(
        &self,
        (backlog, caused): (f64, f64),
        candidate: &Candidate<'_>,
        request: &RequestView<'_>,
        terms: &Terms,
    ) -> (f64, f64) {
        let queued = self.queued_by_others(candidate, request.now) * terms.mean_work;
        let agreed = terms.agreed.filter(|&(agreed, _)| agreed == candidate.slot());
        let discount = agreed.map_or(0.0, |(_, discount)| discount);
        (backlog + queued, (caused - discount).max(0.0))
    }

    /// With replicas: requests in a worker's reported queue beyond those that this router put there,
    /// of which the worker is computing one.
    fn queued_by_others(&self, candidate: &Candidate<'_>, now: u64) -> f64 {
        let max_age = (self.config.max_report_age_secs * 1e9) as u64;
        let Some(report) = candidate.fresh_report(now, max_age) else { return 0.0 };
        let own = self.estimates.pending(candidate.slot()).saturating_sub(1);
        f64::from(report.waiting.saturating_sub(own))
    }

    fn prefilled(&self, slot: usize, event: &FirstToken) {
        let seconds = self.estimates.finish(slot, event.work_tokens, event.dispatched, event.now);
        if let Some(seconds) = seconds {
            self.estimates.sample_rate(slot, event.work_tokens, seconds, self.config.rate_decay);
        }
        if let Some(cached) = event.cached_tokens {
            let step = self.config.reliability_step;
            self.estimates.sample_reliability(slot, event.matched_tokens, cached, step);
        }
    }
}

// Out of line: inline, compilers divide for all workers and then choose.
#[inline(never)]
fn divided((backlog, caused): (f64, f64), speed: f64) -> (f64, f64) {
    (backlog / speed, caused / speed)
}

/// KV tokens that the request will hold at its end.
#[inline]
fn resident_tokens(request: &RequestView<'_>) -> u32 {
    request.prompt_tokens.saturating_add(request.output_tokens)
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
            return least_resident(candidates, self.config.sequence_tokens, &self.random);
        }
        let best = self.score_all(candidates, request);
        let Some((score, first)) = best.first() else { return Err(candidates.none()) };
        let runner_up =
            best.second().map(|(score, second)| RunnerUp { worker: second.worker, score });
        if first.matched == 0 {
            if let Some(decision) = self.by_key(candidates, request, runner_up) {
                return Ok(decision);
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
        let slot = dispatch.decision.worker.slot();
        let work = dispatch.decision.work_tokens;
        self.estimates.start(slot, work, dispatch.request.now);
        self.estimates.sample_work(work, self.config.work_step);
        // A prefill worker hands its KV over, and soon.
        if dispatch.role == Role::Regular {
            self.estimates.occupy(slot, resident_tokens(dispatch.request).into());
        }
    }

    fn on_first_token(&self, event: &FirstToken) {
        if event.role == Role::Regular {
            self.estimates.sample_first(event.dispatched, event.now);
        }
        self.prefilled(event.worker.slot(), event);
    }

    fn on_request_complete(&self, event: &Completion) {
        let slot = event.prefill.slot();
        if event.worker == event.prefill {
            self.estimates.occupy(slot, -i64::from(event.resident_tokens));
            // Without first tokens the backlog lasts until the end of requests, so it covers this wait.
            if event.first_token_seen && event.outcome == Outcome::Success {
                self.estimates.sample_whole(event.dispatched, event.now);
            }
        }
        if event.first_token_seen {
            // Engines that stream tell what was cached at the very end.
            if let Some(cached) = event.usage.cached_tokens.filter(|_| !event.cached_known) {
                let step = self.config.reliability_step;
                self.estimates.sample_reliability(slot, event.matched_tokens, cached, step);
            }
            return;
        }
        if event.outcome != Outcome::Success {
            self.estimates.cancel(slot, event.work_tokens);
            return;
        }
        // The host reports no first tokens: the end of the request takes its place.
        self.prefilled(
            slot,
            &FirstToken {
                worker: event.prefill,
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
        let regular = worker.role == Role::Regular;
        let capacity = worker.kv_capacity_tokens.filter(|_| regular);
        self.estimates.reset(worker.id.slot(), capacity);
    }

    fn wants_prefix(&self) -> bool {
        true
    }

    fn gauges(&self, worker: WorkerId, now: u64, tell: &mut dyn FnMut(&'static str, f64)) {
        let slot = worker.slot();
        let rate = self.estimates.rate() / 1e9;
        let backlog = self.estimates.backlog(slot, now, rate, self.config.head_cap);
        tell("backlog_tokens", backlog);
        tell("reliability_ratio", self.estimates.reliability(slot));
        tell("prefill_tokens_per_second", self.estimates.own_rate(slot));
        tell("overcommitted_kv_tokens", self.estimates.overcommitted(slot) as f64);
    }

    fn after_fork(&self) {
        self.random.reseed();
        self.estimates.forget_pending();
    }
}

impl LeastWorkPolicy {
    /// Nobody holds any of the prompt: the routing key's worker, unless that is overloaded.
    fn by_key(
        &self,
        candidates: &Candidates<'_>,
        request: &RequestView<'_>,
        runner_up: Option<RunnerUp>,
    ) -> Option<Decision> {
        let candidate = rendezvous::unless_loaded(candidates, request.routing_key?)?;
        let (score, scored) = self.score(&candidate, 0, request, &self.plain_terms(request));
        Some(Decision {
            score,
            runner_up,
            work_tokens: scored.work,
            ..Decision::new(candidate.id(), Reason::RoutingKey)
        })
    }
}
