//! The score of each candidate: which are looked at, and what each would have the request wait for and
//! cause.

use std::time::Duration;

use super::config::{LeastWorkConfig, Speed};
use super::estimates::Estimates;
use super::formula;
use crate::policy::builtin::cache_aware::rendezvous;
use crate::policy::request_view::RequestView;
use crate::pool::{best::Best, candidate::Candidate, candidates::Candidates, set::SlotSet};
use crate::random::Random;
use crate::time::Time;
use crate::worker::WorkerId;

/// Scores candidates by the settings and by what is known about workers.
#[derive(Debug)]
pub(super) struct Scoring {
    pub(super) config: LeastWorkConfig,
    pub(super) estimates: Estimates,
    pub(super) random: Random,
}

/// A scored candidate, without its score.
#[derive(Clone, Copy)]
pub(super) struct Scored {
    pub(super) worker: WorkerId,
    /// Prompt tokens that it would have to compute.
    pub(super) work: u32,
    /// Prompt tokens that it holds.
    pub(super) matched: u32,
}

/// Scored candidates: the best two, and where weights differ and the best one is idle and holds nothing of
/// the prompt, one of all that are, each as often as its weight says.
pub(super) struct Ranking<'r> {
    best: Best<'r, Scored>,
    idle: Best<'r, (f64, Scored)>,
    least_idle: f64,
}

impl Ranking<'_> {
    /// The worker to choose, with its score.
    #[inline]
    pub(super) fn first(&self) -> Option<(f64, Scored)> {
        let first = self.best.first()?;
        let idle = self.idle.first().filter(|_| first.0 == self.least_idle && first.1.matched == 0);
        Some(idle.map_or(first, |(_, idle)| idle))
    }

    /// The best of the others.
    #[inline]
    pub(super) fn second(&self, first: WorkerId) -> Option<(f64, Scored)> {
        self.best.first().filter(|(_, best)| best.worker != first).or(self.best.second())
    }
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
    /// Score of such a worker if it has weight 1 and is idle, where weights alone tell workers apart.
    idle: Option<f64>,
    /// Whether which of the idle workers serves goes by their weights, which differ.
    idle_by_weight: bool,
    /// The slot that other routers would choose, with its discount of work in tokens.
    agreed: Option<(usize, f64)>,
}

impl Scoring {
    pub(super) fn new(config: LeastWorkConfig, seed: Option<u64>) -> Self {
        Scoring {
            estimates: Estimates::new(config.initial_rate),
            random: Random::new(seed),
            config,
        }
    }

    /// Scores the holders of the prefix and, up to the limit, others; the best two come out.
    pub(super) fn score_all<'r>(
        &'r self,
        candidates: &Candidates<'_>,
        request: &RequestView<'_>,
    ) -> Ranking<'r> {
        let terms = self.terms(candidates, request);
        let mut ranking = Ranking {
            best: Best::new(&self.random),
            idle: Best::new(&self.random),
            least_idle: f64::INFINITY,
        };
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
                        ranking.best.offer(score, scored);
                    }
                }
            });
        }
        let unlisted = request.prefix.filter(|_| !complete);
        self.others(candidates, &seen, |candidate| {
            let held = unlisted.map_or(0, |prefix| prefix.tokens_of(candidate.slot()));
            let (score, scored) = self.score(&candidate, held, request, &terms);
            ranking.best.offer(score, scored);
            if terms.idle_by_weight && held == 0 {
                self.offer_idle(&mut ranking, &candidate, (score, scored), &terms);
            }
        });
        ranking
    }

    #[inline(never)]
    fn offer_idle(
        &self,
        ranking: &mut Ranking<'_>,
        candidate: &Candidate<'_>,
        scored: (f64, Scored),
        terms: &Terms,
    ) {
        if self.estimates.is_idle(candidate.slot(), terms.resident) {
            ranking.least_idle = ranking.least_idle.min(scored.0);
            ranking.idle.offer_weighted(0.0, candidate.weight(), scored);
        }
    }

    /// Visits candidates that have not been seen: all of them while there are few, else a random
    /// sample. Beside the holders, only a worker's backlog tells it from others, and the least of a
    /// sample of 60 is among the least 5% of all with a probability of 95%.
    #[inline(always)]
    fn others<'a>(
        &self,
        candidates: &Candidates<'a>,
        seen: &SlotSet,
        mut visit: impl FnMut(Candidate<'a>),
    ) {
        if candidates.len() <= self.config.scored_workers {
            candidates.visit(seen, visit);
        } else {
            self.sample(candidates, *seen, &mut visit);
        }
    }

    /// The same for large pools, of which the request may still admit few.
    #[inline(never)]
    fn sample<'a>(
        &self,
        candidates: &Candidates<'a>,
        mut seen: SlotSet,
        visit: &mut dyn FnMut(Candidate<'a>),
    ) {
        let limit = self.config.scored_workers;
        if candidates.admitted_len() <= limit {
            return candidates.visit(&seen, visit);
        }
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
        let pressure = formula::pressure(kappa, self.estimates.mean_work());
        let terms = self.terms_under(pressure, request);
        let idle_by_weight = terms.idle.is_some() && candidates.are_weighted();
        Terms { agreed: self.agreed(candidates, request), idle_by_weight, ..terms }
    }

    /// Terms that weigh caused work with this pressure, without an agreed worker.
    #[inline]
    fn terms_under(&self, pressure: f64, request: &RequestView<'_>) -> Terms {
        let whole = formula::work(request.prompt_tokens, 0, self.config.overhead_tokens);
        Terms {
            pressure,
            mean_work: self.estimates.mean_work(),
            rate: self.estimates.rate() / 1e9,
            resident: resident_tokens(request).into(),
            whole,
            idle: (self.config.replicas < 2 && self.config.speed == Speed::Weight)
                .then(|| formula::score(0.0, whole.into(), pressure)),
            idle_by_weight: false,
            agreed: None,
        }
    }

    /// The worker that all replicas agree on for a prompt whose beginning no worker holds.
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

    /// The score of a worker that holds this many tokens of the prompt. Most workers of a fleet with
    /// little to do share one.
    #[inline(always)]
    fn score(
        &self,
        candidate: &Candidate<'_>,
        held: u32,
        request: &RequestView<'_>,
        terms: &Terms,
    ) -> (f64, Scored) {
        match terms.idle {
            Some(idle)
                if held == 0
                    && candidate.weight() == 1.0
                    && self.estimates.is_idle(candidate.slot(), terms.resident) =>
            {
                (idle, Scored { worker: candidate.id(), work: terms.whole, matched: 0 })
            }
            _ => self.own_score(candidate, held, request, terms),
        }
    }

    /// The same for any worker.
    #[inline(never)]
    fn own_score(
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
            other => self.speed(slot, request.now.as_nanos(), other),
        };
        let rate = terms.rate * speed;
        let backlog =
            self.estimates.backlog(slot, request.now.as_nanos(), rate, self.config.head_cap);
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

    /// With replicas: what waits on the worker and what the request causes there, with the other routers'
    /// share estimated.
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
    fn queued_by_others(&self, candidate: &Candidate<'_>, now: Time) -> f64 {
        let max_age = Duration::from_secs_f64(self.config.max_report_age_secs);
        let Some(report) = candidate.fresh_report(now, max_age) else { return 0.0 };
        let own = self.estimates.pending(candidate.slot()).saturating_sub(1);
        f64::from(report.waiting.saturating_sub(own))
    }

    /// Where no candidate holds any of the prompt: the routing key's worker, unless that is overloaded.
    pub(super) fn by_key(
        &self,
        candidates: &Candidates<'_>,
        request: &RequestView<'_>,
    ) -> Option<(f64, Scored)> {
        let candidate = rendezvous::unless_loaded(candidates, request.routing_key?)?;
        Some(self.score(&candidate, 0, request, &self.terms_under(0.0, request)))
    }
}

// Out of line: inline, compilers divide for all workers and then choose.
#[inline(never)]
fn divided((backlog, caused): (f64, f64), speed: f64) -> (f64, f64) {
    (backlog / speed, caused / speed)
}

/// KV tokens that the request will hold at its end.
#[inline]
pub(super) fn resident_tokens(request: &RequestView<'_>) -> u32 {
    request.prompt_tokens.saturating_add(request.output_tokens)
}
