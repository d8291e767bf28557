//! The arithmetic of the least-work rule, without state.
//!
//! Work is counted in prompt tokens to be computed. A request waits for the work that its worker has
//! been given and not finished, and causes work for all that come after it; the busier the workers, the
//! more the work caused counts.

/// Tokens of fixed overhead per request: what a request costs besides its own tokens.
pub const OVERHEAD_TOKENS: u32 = 200;

/// Believed cached tokens: the resident ones, at most all but the last token of the prompt, times
/// the reliability of such beliefs for this worker; whole tokens.
#[inline]
pub fn believed(reliability: f64, resident_tokens: u32, prompt_tokens: u32) -> u32 {
    (reliability * f64::from(resident_tokens.min(prompt_tokens.saturating_sub(1)))) as u32
}

/// Tokens that the worker would compute for the request.
#[inline]
pub fn work(prompt_tokens: u32, believed_tokens: u32, overhead_tokens: u32) -> u32 {
    prompt_tokens.saturating_sub(believed_tokens).saturating_add(overhead_tokens)
}

/// How much caused work weighs: the busy workers' share of queueing, rho / (1 - rho), at most `max`.
#[inline]
pub fn kappa(rho: f64, max: f64) -> f64 {
    let rho = rho.clamp(0.0, 1.0);
    if rho >= 1.0 { max } else { (rho / (1.0 - rho)).min(max) }
}

/// The share of workers that this many equal routers keep busy, each of which keeps `rho` of them busy.
#[inline]
pub fn busy_of_all(rho: f64, replicas: u32) -> f64 {
    1.0 - (1.0 - rho.clamp(0.0, 1.0)).powi(i32::try_from(replicas).unwrap_or(i32::MAX))
}

/// Work not yet done on a worker: what is queued, less what the request at its head has had done
/// since it began, at most `head_cap` of that request. `rate` is in tokens per unit of `head_time`.
#[inline]
pub fn backlog(queued: f64, head_work: f64, head_time: f64, rate: f64, head_cap: f64) -> f64 {
    let (most, done) = (head_cap * head_work, head_time.max(0.0) * rate);
    // A plain comparison: what `f64::min` does about values that are no numbers takes four times as long.
    let done = if done < most { done } else { most };
    (queued - done).max(0.0)
}

/// Seconds until `excess` KV tokens are free on a worker full of requests that hold theirs for
/// `hold_seconds` on average: it frees its capacity once in that time.
#[inline]
pub fn room_wait(excess: f64, capacity: f64, hold_seconds: f64) -> f64 {
    excess.max(0.0) / capacity.max(1.0) * hold_seconds.max(0.0)
}

/// How much each token of caused work makes all work count, where works have this mean.
#[inline]
pub fn pressure(kappa: f64, mean_work: f64) -> f64 {
    kappa / (2.0 * mean_work.max(1.0))
}

/// The score: work to wait for and to cause; the smallest wins.
#[inline]
pub fn score(backlog: f64, work: f64, pressure: f64) -> f64 {
    (backlog + work) * (1.0 + pressure * work)
}
