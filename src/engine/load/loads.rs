//! The load of each data-parallel rank of a worker, or of all together.

use super::metric::{METRICS, Metric};
use crate::engine::error::{EngineError, EngineErrorKind};
use crate::engine::kv::stream::MAX_RANKS;
use crate::worker::report::LoadReport;

/// What an engine says about its load. What it does not say is `None`, never 0.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct EngineLoad {
    /// Requests that it is running.
    pub running: Option<u32>,
    /// Requests in its queue.
    pub waiting: Option<u32>,
    /// The part of its KV cache that is in use, from 0 to 1.
    pub kv_usage: Option<f64>,
    /// KV cache tokens in use; made of the part and of all, where it tells only these.
    pub kv_used_tokens: Option<u64>,
    /// KV cache tokens in all.
    pub kv_total_tokens: Option<u64>,
    /// Tokens of prompts that it has looked for in its cache since it started.
    pub queried_tokens: Option<u64>,
    /// Those that it found.
    pub hit_tokens: Option<u64>,
    /// The part of them that it finds, from 0 to 1; over its whole life where it only counts tokens.
    pub hit_rate: Option<f64>,
}

impl EngineLoad {
    /// The load report for [`Router::report_load`](crate::Router::report_load), as of when it is handed
    /// in. `None` where requests running or waiting are missing: a worker without a report is not one
    /// without load. A host that knows one of them otherwise sets it first, as for ORCA headers, which
    /// lack `running`.
    pub fn report(&self) -> Option<LoadReport> {
        Some(LoadReport {
            running: self.running?,
            waiting: self.waiting?,
            kv_used_tokens: self.kv_used_tokens,
            kv_total_tokens: self.kv_total_tokens,
            ..LoadReport::default()
        })
    }
}

/// The loads that a worker's text tells, by data-parallel rank. Kept and read into again, it allocates
/// only while it hears of new ranks.
///
/// Reading forgets what was read before. Names that this library does not know are passed over, and a
/// text without any that it knows leaves no rank.
///
/// ```
/// use pointsman::engine::Loads;
///
/// let mut loads = Loads::new();
/// loads.read_metrics(br#"
/// vllm:num_requests_running{engine="0",model_name="m"} 3.0
/// vllm:num_requests_running{engine="1",model_name="m"} 1.0
/// vllm:num_requests_waiting{engine="0",model_name="m"} 0.0
/// vllm:num_requests_waiting{engine="1",model_name="m"} 2.0
/// "#)?;
/// let report = loads.sum().report().expect("both are told");
/// assert_eq!((report.running, report.waiting, report.kv_used_tokens), (4, 2, None));
/// # Ok::<(), pointsman::engine::EngineError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Loads {
    /// In order of rank.
    ranks: Vec<(u32, Numbers)>,
}

/// What a text tells of one rank.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Numbers([Option<f64>; METRICS]);

impl Loads {
    /// No load.
    pub fn new() -> Self {
        Loads::default()
    }

    /// Each rank's load, in order of rank.
    pub fn ranks(&self) -> impl Iterator<Item = (u32, EngineLoad)> + '_ {
        self.ranks.iter().map(|(rank, numbers)| (*rank, numbers.load()))
    }

    /// The load of all ranks together: counts are added, parts are of the whole. What one rank does not
    /// say is missing.
    pub fn sum(&self) -> EngineLoad {
        let mut loads = self.ranks().map(|(_, load)| load);
        let Some(first) = loads.next() else { return EngineLoad::default() };
        if self.ranks.len() == 1 {
            return first;
        }
        let mut sum = loads.fold(first, |sum, load| EngineLoad {
            running: add(sum.running, load.running, u32::saturating_add),
            waiting: add(sum.waiting, load.waiting, u32::saturating_add),
            kv_usage: add(sum.kv_usage, load.kv_usage, |a, b| a + b),
            kv_used_tokens: add(sum.kv_used_tokens, load.kv_used_tokens, u64::saturating_add),
            kv_total_tokens: add(sum.kv_total_tokens, load.kv_total_tokens, u64::saturating_add),
            queried_tokens: add(sum.queried_tokens, load.queried_tokens, u64::saturating_add),
            hit_tokens: add(sum.hit_tokens, load.hit_tokens, u64::saturating_add),
            hit_rate: add(sum.hit_rate, load.hit_rate, |a, b| a + b),
        });
        // Of ranks that tell no sizes, each counts the same.
        let mean = |sum: Option<f64>| sum.map(|sum| sum / self.ranks.len() as f64);
        sum.kv_usage = ratio(sum.kv_used_tokens, sum.kv_total_tokens).or(mean(sum.kv_usage));
        sum.hit_rate = ratio(sum.hit_tokens, sum.queried_tokens).or(mean(sum.hit_rate));
        sum
    }

    /// Forgets what was read before, and reads; where that fails, nothing is known.
    pub(super) fn gather(
        &mut self,
        read: impl FnOnce(&mut Loads) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        self.ranks.clear();
        read(self).inspect_err(|_| self.ranks.clear())
    }

    /// What is known of a rank, to be added to.
    pub(super) fn rank(&mut self, rank: u32, position: usize) -> Result<&mut Numbers, EngineError> {
        let place = match self.ranks.binary_search_by_key(&rank, |(known, _)| *known) {
            Ok(place) => place,
            Err(_) if self.ranks.len() >= MAX_RANKS => {
                return Err(EngineError::new(EngineErrorKind::TooManyRanks, position));
            }
            Err(place) => {
                self.ranks.insert(place, (rank, Numbers::default()));
                place
            }
        };
        Ok(&mut self.ranks[place].1)
    }
}

impl Numbers {
    /// A number that is none, infinite or below 0 says nothing.
    pub(super) fn put(&mut self, metric: Metric, value: f64) {
        if value.is_finite() && value >= 0.0 {
            let known = &mut self.0[metric as usize];
            *known = Some(known.map_or(value, |known| known.max(value)));
        }
    }

    pub(super) fn get(&self, metric: Metric) -> Option<f64> {
        self.0[metric as usize]
    }

    fn load(&self) -> EngineLoad {
        let of = |metric| self.get(metric);
        let whole = |value: Option<f64>| value.map(|value| value.round() as u64);
        let count = |value: Option<f64>| value.map(|value| value.round() as u32);
        let finite = |value: f64| value.is_finite().then_some(value);
        let of_blocks =
            |blocks| of(blocks).zip(of(Metric::BlockTokens)).and_then(|(a, b)| finite(a * b));
        let total = of(Metric::TotalTokens).or(of_blocks(Metric::TotalBlocks));
        let usage = of(Metric::Usage);
        let used = of(Metric::UsedTokens).or(of_blocks(Metric::UsedBlocks));
        let (queried, hit) = (whole(of(Metric::QueriedTokens)), whole(of(Metric::HitTokens)));
        let part = |used: f64, total: f64| finite(used / total);
        EngineLoad {
            running: count(of(Metric::Running)),
            waiting: count(of(Metric::Waiting)),
            kv_usage: usage.or(used.zip(total).and_then(|(used, total)| part(used, total))),
            kv_used_tokens: whole(used.or(usage.zip(total).map(|(usage, total)| usage * total))),
            kv_total_tokens: whole(total),
            queried_tokens: queried,
            hit_tokens: hit,
            hit_rate: of(Metric::HitRate).or(ratio(hit, queried)),
        }
    }
}

fn add<T>(a: Option<T>, b: Option<T>, add: impl FnOnce(T, T) -> T) -> Option<T> {
    a.zip(b).map(|(a, b)| add(a, b))
}

fn ratio(part: Option<u64>, whole: Option<u64>) -> Option<f64> {
    let (part, whole) = part.zip(whole)?;
    (whole > 0).then(|| part as f64 / whole as f64)
}
