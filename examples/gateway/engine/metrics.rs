//! The engine's `/metrics`: the names that vLLM exposes, as far as the simulation has the numbers.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::scheduler::Scheduler;

/// Prometheus text. `started` is the process start in seconds since the epoch: scrapers see a restart by it.
pub(crate) fn render(scheduler: &Scheduler, started: f64) -> String {
    let counters = &scheduler.counters;
    let config = &scheduler.config;
    let usage = scheduler.kv_usage();
    let model = &config.model;
    let mut out = String::new();
    let mut metric = |name: &str, kind: &str, samples: &[(&str, f64)]| {
        let _ = writeln!(out, "# TYPE {name} {kind}");
        for (labels, value) in samples {
            let _ =
                writeln!(out, "{name}{{model_name=\"{model}\",engine=\"0\"{labels}}} {value:?}");
        }
    };
    metric("vllm:num_requests_running", "gauge", &[("", counters.running.load(Relaxed) as f64)]);
    metric("vllm:num_requests_waiting", "gauge", &[("", counters.waiting.load(Relaxed) as f64)]);
    metric("vllm:kv_cache_usage_perc", "gauge", &[("", usage)]);
    // The name before vLLM 0.10; some scrapers still ask for it.
    metric("vllm:gpu_cache_usage_perc", "gauge", &[("", usage)]);
    let total = |counter: &AtomicU64| counter.load(Relaxed) as f64;
    let prompt = total(&counters.prompt_tokens);
    metric("vllm:prefix_cache_queries_total", "counter", &[("", prompt)]);
    metric("vllm:prefix_cache_hits_total", "counter", &[("", total(&counters.cached_tokens))]);
    metric("vllm:prompt_tokens_total", "counter", &[("", prompt)]);
    metric("vllm:generation_tokens_total", "counter", &[("", total(&counters.generated_tokens))]);
    let ended = [
        (",finished_reason=\"length\"", total(&counters.succeeded)),
        (",finished_reason=\"abort\"", total(&counters.cancelled)),
    ];
    metric("vllm:request_success_total", "counter", &ended);
    let labels = format!(
        ",block_size=\"{}\",num_gpu_blocks=\"{}\",enable_prefix_caching=\"True\"",
        config.block_tokens,
        config.kv_capacity_tokens / config.block_tokens
    );
    metric("vllm:cache_config_info", "gauge", &[(&labels, 1.0)]);
    let _ = writeln!(out, "# TYPE process_start_time_seconds gauge");
    let _ = writeln!(out, "process_start_time_seconds {started:?}");
    out
}
