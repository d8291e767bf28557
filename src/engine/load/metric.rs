//! What a name of an engine's means.

/// What is known of a rank's load, one number each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Metric {
    Running,
    Waiting,
    /// The part of the KV cache that is in use, from 0 to 1.
    Usage,
    UsedTokens,
    TotalTokens,
    /// Tokens of prompts that were looked for in the cache.
    QueriedTokens,
    /// Those that were found.
    HitTokens,
    HitRate,
    /// Tokens in a block: what counts of blocks are worth.
    BlockTokens,
    UsedBlocks,
    TotalBlocks,
}

/// How many [`Metric`]s there are.
pub(super) const METRICS: usize = Metric::TotalBlocks as usize + 1;

/// Where the meaning of a series stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Series {
    /// The value is this.
    Value(Metric),
    /// Labels are: of vLLM and SGLang, how their caches are set up.
    CacheConfig,
    /// The label `request_type` says what the value is: Triton's.
    Requests,
    /// The label `kv_cache_block_type` does.
    Blocks,
}

/// By a series' name in a text of Prometheus.
pub(super) fn series(name: &[u8]) -> Option<Series> {
    if let Some(name) = name.strip_prefix(b"vllm:") {
        return vllm(name);
    }
    if let Some(name) = name.strip_prefix(b"sglang:").or(name.strip_prefix(b"sglang_")) {
        return sglang(name);
    }
    if let Some(name) = name.strip_prefix(b"trtllm_").or(name.strip_prefix(b"trtllm:")) {
        return trtllm(name).map(Series::Value);
    }
    match name {
        b"nv_trt_llm_request_metrics" => Some(Series::Requests),
        b"nv_trt_llm_kv_cache_block_metrics" => Some(Series::Blocks),
        _ => None,
    }
}

fn vllm(name: &[u8]) -> Option<Series> {
    Some(Series::Value(match name {
        b"num_requests_running" => Metric::Running,
        b"num_requests_waiting" => Metric::Waiting,
        b"kv_cache_usage_perc" | b"gpu_cache_usage_perc" => Metric::Usage,
        b"prefix_cache_queries_total" | b"gpu_prefix_cache_queries_total" => Metric::QueriedTokens,
        b"prefix_cache_hits_total" | b"gpu_prefix_cache_hits_total" => Metric::HitTokens,
        b"cache_config_info" => return Some(Series::CacheConfig),
        _ => return None,
    }))
}

fn sglang(name: &[u8]) -> Option<Series> {
    Some(Series::Value(match name {
        b"num_running_reqs" => Metric::Running,
        b"num_queue_reqs" => Metric::Waiting,
        b"token_usage" => Metric::Usage,
        b"num_used_tokens" => Metric::UsedTokens,
        b"max_total_num_tokens" => Metric::TotalTokens,
        b"cache_hit_rate" => Metric::HitRate,
        b"cache_config_info" => return Some(Series::CacheConfig),
        _ => return None,
    }))
}

fn trtllm(name: &[u8]) -> Option<Metric> {
    Some(match name {
        b"num_requests_running" => Metric::Running,
        b"num_requests_waiting" => Metric::Waiting,
        b"kv_cache_utilization" => Metric::Usage,
        b"kv_cache_hit_rate" => Metric::HitRate,
        b"kv_cache_tokens_per_block" => Metric::BlockTokens,
        b"kv_cache_used_blocks" => Metric::UsedBlocks,
        b"kv_cache_max_blocks" => Metric::TotalBlocks,
        _ => return None,
    })
}

/// By the value of Triton's label `request_type`.
pub(super) fn requests(kind: &[u8]) -> Option<Metric> {
    match kind {
        b"scheduled" => Some(Metric::Running),
        b"waiting" => Some(Metric::Waiting),
        _ => None,
    }
}

/// By the value of Triton's label `kv_cache_block_type`.
pub(super) fn blocks(kind: &[u8]) -> Option<Metric> {
    match kind {
        b"fraction" => Some(Metric::Usage),
        b"tokens_per" => Some(Metric::BlockTokens),
        b"used" => Some(Metric::UsedBlocks),
        b"max" => Some(Metric::TotalBlocks),
        _ => None,
    }
}

/// By a label of a cache's configuration.
pub(super) fn config(label: &[u8]) -> Option<Metric> {
    match label {
        b"block_size" | b"page_size" => Some(Metric::BlockTokens),
        b"num_gpu_blocks" | b"num_pages" => Some(Metric::TotalBlocks),
        b"kv_cache_size_tokens" => Some(Metric::TotalTokens),
        _ => None,
    }
}

/// By a name in an ORCA report: vLLM's, and Triton's.
pub(super) fn named(name: &[u8]) -> Option<Metric> {
    match name {
        b"num_requests_running" => Some(Metric::Running),
        b"num_requests_waiting" => Some(Metric::Waiting),
        b"kv_cache_usage_perc" | b"kv_cache_utilization" => Some(Metric::Usage),
        b"max_token_capacity" => Some(Metric::TotalTokens),
        _ => None,
    }
}

/// By a key of an element of SGLang's `/v1/loads`.
pub(super) fn listed(key: &[u8]) -> Option<Metric> {
    match key {
        b"num_running_reqs" => Some(Metric::Running),
        b"num_waiting_reqs" => Some(Metric::Waiting),
        b"token_usage" => Some(Metric::Usage),
        b"num_used_tokens" => Some(Metric::UsedTokens),
        b"max_total_num_tokens" => Some(Metric::TotalTokens),
        b"cache_hit_rate" => Some(Metric::HitRate),
        _ => None,
    }
}
