//! Reads an engine's `/metrics`: how busy it is, how much it holds, when its process began.
//!
//! vLLM and SGLang say the same under different names. An engine of several ranks has one sample for
//! each; to the gateway they are one worker.

/// What an engine says about itself; `None` where it says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Scrape {
    pub(crate) running: Option<u32>,
    pub(crate) waiting: Option<u32>,
    pub(crate) kv_used_tokens: Option<u64>,
    pub(crate) kv_total_tokens: Option<u64>,
    /// Start of the engine's process, in seconds since the epoch.
    pub(crate) started: Option<f64>,
}

const RUNNING: [&str; 2] = ["vllm:num_requests_running", "sglang:num_running_reqs"];
const WAITING: [&str; 2] = ["vllm:num_requests_waiting", "sglang:num_queue_reqs"];
/// Shares from 0 to 1. The second name is that of older versions of vLLM.
const KV_USAGE: [&str; 3] =
    ["vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc", "sglang:token_usage"];

impl Scrape {
    pub(crate) fn parse(metrics: &str) -> Scrape {
        let total = kv_total(metrics);
        let usage = KV_USAGE.iter().find_map(|name| mean(metrics, name));
        Scrape {
            running: RUNNING.iter().find_map(|name| sum(metrics, name)).map(|n| n as u32),
            waiting: WAITING.iter().find_map(|name| sum(metrics, name)).map(|n| n as u32),
            kv_used_tokens: usage.zip(total).map(|(usage, total)| (usage * total as f64) as u64),
            kv_total_tokens: total,
            started: mean(metrics, "process_start_time_seconds"),
        }
    }
}

/// SGLang has a gauge; vLLM has the labels of its configuration metric.
fn kv_total(metrics: &str) -> Option<u64> {
    if let Some(tokens) = sum(metrics, "sglang:max_total_num_tokens") {
        return Some(tokens as u64);
    }
    let of_rank = |labels: &str| -> Option<u64> {
        let label = |name: &str| -> Option<u64> {
            labels.split_once(&format!("{name}=\""))?.1.split('"').next()?.parse().ok()
        };
        label("num_gpu_blocks")?.checked_mul(label("block_size")?)
    };
    samples(metrics, "vllm:cache_config_info").filter_map(of_rank).reduce(u64::saturating_add)
}

fn sum(metrics: &str, name: &str) -> Option<f64> {
    values(metrics, name).reduce(|sum, value| sum + value)
}

fn mean(metrics: &str, name: &str) -> Option<f64> {
    Some(sum(metrics, name)? / values(metrics, name).count() as f64)
}

fn values<'a>(metrics: &'a str, name: &'a str) -> impl Iterator<Item = f64> {
    samples(metrics, name).filter_map(|sample| sample.rsplit(' ').next()?.parse().ok())
}

/// What follows the name in every sample of the metric.
fn samples<'a>(metrics: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    metrics
        .lines()
        .filter_map(move |line| line.strip_prefix(name))
        .filter(|rest| rest.starts_with(['{', ' ']))
}
