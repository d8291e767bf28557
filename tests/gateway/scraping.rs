//! What is read from an engine's `/metrics`.

use crate::proxy::scrape::Scrape;

#[test]
fn vllm_is_understood() {
    let metrics = r#"# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 3.0
vllm:num_requests_waiting{engine="0",model_name="m"} 2.0
vllm:num_requests_waiting_by_reason{engine="0",reason="capacity"} 9.0
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.25
vllm:cache_config_info{block_size="16",engine="0",num_gpu_blocks="1000"} 1.0
process_start_time_seconds 1.7e+09
"#;
    let expected = Scrape {
        running: Some(3),
        waiting: Some(2),
        kv_used_tokens: Some(4_000),
        kv_total_tokens: Some(16_000),
        started: Some(1.7e9),
    };
    assert_eq!(Scrape::parse(metrics), expected);
}

#[test]
fn ranks_of_one_engine_are_one_worker() {
    let metrics = r#"vllm:num_requests_running{engine="0"} 3.0
vllm:num_requests_running{engine="1"} 4.0
vllm:num_requests_waiting{engine="0"} 0.0
vllm:num_requests_waiting{engine="1"} 1.0
vllm:kv_cache_usage_perc{engine="0"} 0.2
vllm:kv_cache_usage_perc{engine="1"} 0.6
vllm:cache_config_info{block_size="16",engine="0",num_gpu_blocks="500"} 1.0
vllm:cache_config_info{block_size="16",engine="1",num_gpu_blocks="500"} 1.0
"#;
    let scrape = Scrape::parse(metrics);
    assert_eq!((scrape.running, scrape.waiting), (Some(7), Some(1)));
    assert_eq!((scrape.kv_used_tokens, scrape.kv_total_tokens), (Some(6_400), Some(16_000)));
}

#[test]
fn sglang_is_understood() {
    let metrics = r#"sglang:num_running_reqs{model_name="m"} 8
sglang:num_queue_reqs{model_name="m"} 4
sglang:token_usage{model_name="m"} 0.5
sglang:max_total_num_tokens{model_name="m"} 471258
"#;
    let expected = Scrape {
        running: Some(8),
        waiting: Some(4),
        kv_used_tokens: Some(235_629),
        kv_total_tokens: Some(471_258),
        started: None,
    };
    assert_eq!(Scrape::parse(metrics), expected);
}

#[test]
fn nothing_said_is_nothing_known() {
    assert_eq!(Scrape::parse(""), Scrape::default());
    assert_eq!(Scrape::parse("vllm:num_requests_running NaN?\n"), Scrape::default());
}
