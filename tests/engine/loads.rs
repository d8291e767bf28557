//! Loads: the texts of `/metrics`, ORCA headers, SGLang's list.

use pointsman::engine::{EngineError, EngineErrorKind, EngineLoad, Loads, MAX_RANKS};

/// vLLM with two data-parallel ranks, in the form and order of its text; names and labels are its own.
const VLLM: &str = r##"# HELP python_info Platform.
# TYPE python_info gauge
python_info{implementation="CPython",major="3",minor="12"} 1.0
# HELP vllm:num_requests_running Running.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="org/model-8B"} 24.0
vllm:num_requests_running{engine="1",model_name="org/model-8B"} 3.0
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="org/model-8B"} 72.0
vllm:num_requests_waiting{engine="1",model_name="org/model-8B"} 0.0
vllm:num_requests_waiting_by_reason{engine="0",model_name="org/model-8B",reason="capacity"} 70.0
vllm:num_requests_waiting_by_reason{engine="0",model_name="org/model-8B",reason="deferred"} 2.0
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{engine="0",model_name="org/model-8B"} 0.75
vllm:kv_cache_usage_perc{engine="1",model_name="org/model-8B"} 0.25
# TYPE vllm:prefix_cache_queries_total counter
vllm:prefix_cache_queries_total{engine="0",model_name="org/model-8B"} 4.0e+03
vllm:prefix_cache_queries_created{engine="0",model_name="org/model-8B"} 1.7e+09
vllm:prefix_cache_queries_total{engine="1",model_name="org/model-8B"} 1000.0
# TYPE vllm:prefix_cache_hits_total counter
vllm:prefix_cache_hits_total{engine="0",model_name="org/model-8B"} 3968.0
vllm:prefix_cache_hits_total{engine="1",model_name="org/model-8B"} 32.0
vllm:e2e_request_latency_seconds_bucket{engine="0",le="+Inf",model_name="org/model-8B"} 9.0
vllm:cache_config_info{block_size="16",cache_dtype="auto",engine="0",gpu_memory_utilization="0.9",note="a \"quoted\" \\",num_cpu_blocks="None",num_gpu_blocks="1000",num_gpu_blocks_override="None"} 1.0
vllm:cache_config_info{block_size="16",cache_dtype="auto",engine="1",num_gpu_blocks="1000",sliding_window="None"} 1.0
"##;

/// SGLang with two data-parallel ranks of two tensor-parallel ranks each, all of which write the series.
const SGLANG: &str = r#"# TYPE sglang:num_running_reqs gauge
sglang:num_running_reqs{dp_rank="0",engine_type="unified",model_name="m",pp_rank="0",tp_rank="0"} 5.0
sglang:num_running_reqs{dp_rank="0",engine_type="unified",model_name="m",pp_rank="0",tp_rank="1"} 5.0
sglang:num_running_reqs{dp_rank="1",engine_type="unified",model_name="m",pp_rank="0",tp_rank="2"} 7.0
sglang:num_running_reqs_offline_batch{dp_rank="1",model_name="m"} 99.0
sglang:num_queue_reqs{dp_rank="0",engine_type="unified",model_name="m",pp_rank="0",tp_rank="0"} 2826.0
sglang:num_queue_reqs{dp_rank="1",engine_type="unified",model_name="m",pp_rank="0",tp_rank="2"} 0.0
sglang:num_used_tokens{dp_rank="0",model_name="m"} 123859.0
sglang:num_used_tokens{dp_rank="1",model_name="m"} 1000.0
sglang:max_total_num_tokens{dp_rank="0",model_name="m"} 442353.0
sglang:max_total_num_tokens{dp_rank="1",model_name="m"} 442353.0
sglang:token_usage{dp_rank="0",model_name="m"} 0.28
sglang:cache_hit_rate{dp_rank="0",model_name="m"} 0.0075
"#;

const TRTLLM: &str = r#"trtllm_num_requests_running{engine_type="trtllm",model_name="m"} 4.0
trtllm_num_requests_waiting{engine_type="trtllm",model_name="m"} 1.0
trtllm_kv_cache_utilization{engine_type="trtllm",model_name="m"} 0.5
trtllm_kv_cache_tokens_per_block{engine_type="trtllm",model_name="m"} 32.0
trtllm_kv_cache_max_blocks{engine_type="trtllm",model_name="m"} 1000.0
trtllm_kv_cache_used_blocks{engine_type="trtllm",model_name="m"} 501.0
trtllm_request_success_total{engine_type="trtllm",finished_reason="stop",model_name="m"} 7.0
"#;

const TRITON: &str = r#"nv_inference_request_success{model="tensorrt_llm",version="1"} 12
nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="waiting",version="1"} 2
nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="context",version="1"} 1
nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="scheduled",version="1"} 3
nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="max",version="1"} 512
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="tokens_per",model="tensorrt_llm",version="1"} 64
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="used",model="tensorrt_llm",version="1"} 10
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="free",model="tensorrt_llm",version="1"} 6229
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="max",model="tensorrt_llm",version="1"} 6239
"#;

const LISTING: &str = r#"{"timestamp": "2026-11-02T10:00:00Z", "version": "0.5.23", "accelerator": "H100",
    "num_accelerators": 8, "num_running_reqs": 77, "loads": [
    {"dp_rank": 0, "timestamp": 1.5, "num_running_reqs": 3, "num_waiting_reqs": 1, "num_used_tokens": 1000,
     "max_total_num_tokens": 50000, "token_usage": 0.02, "gen_throughput": 1.5, "cache_hit_rate": 0.4,
     "queues": {"waiting": 9, "num_waiting_reqs": 9, "dp_rank": 7}, "memory": null},
    {"num_running_reqs": 4, "num_waiting_reqs": null, "dp_rank": 1, "max_total_num_tokens": 50000,
     "a_key_that_is_longer_than_any_that_has_a_meaning": 3}]}"#;

fn metrics(text: &str) -> Loads {
    let mut loads = Loads::new();
    loads.read_metrics(text.as_bytes()).unwrap();
    loads
}

fn orca(header: &str) -> Result<Loads, EngineError> {
    let mut loads = Loads::new();
    loads.read_orca(header.as_bytes()).map(|()| loads)
}

fn ranks(loads: &Loads) -> Vec<(u32, EngineLoad)> {
    loads.ranks().collect()
}

fn about(a: Option<f64>, b: f64) {
    assert!((a.unwrap() - b).abs() < 1e-9, "{a:?} is not {b}");
}

#[test]
fn vllm_by_rank_and_summed() {
    let loads = metrics(VLLM);
    let first = EngineLoad {
        running: Some(24),
        waiting: Some(72),
        kv_usage: Some(0.75),
        kv_used_tokens: Some(12_000),
        kv_total_tokens: Some(16_000),
        queried_tokens: Some(4_000),
        hit_tokens: Some(3_968),
        hit_rate: Some(0.992),
    };
    let found = ranks(&loads);
    assert_eq!((found.len(), found[0], found[1].0), (2, (0, first), 1));
    let sum = loads.sum();
    assert_eq!((sum.running, sum.waiting), (Some(27), Some(72)));
    assert_eq!((sum.kv_used_tokens, sum.kv_total_tokens), (Some(16_000), Some(32_000)));
    assert_eq!((sum.queried_tokens, sum.hit_tokens), (Some(5_000), Some(4_000)));
    about(sum.kv_usage, 0.5);
    about(sum.hit_rate, 0.8);
    let report = sum.report().unwrap();
    assert_eq!((report.running, report.waiting, report.at.as_nanos()), (27, 72, 0));
    assert_eq!((report.kv_used_tokens, report.kv_total_tokens), (Some(16_000), Some(32_000)));
}

#[test]
fn sglang_counts_a_request_once_and_what_a_rank_lacks_is_missing() {
    let loads = metrics(SGLANG);
    let sum = loads.sum();
    assert_eq!((sum.running, sum.waiting), (Some(12), Some(2826)));
    assert_eq!(sum.kv_used_tokens, Some(124_859));
    about(sum.kv_usage, 124_859.0 / 884_706.0);
    assert_eq!((sum.hit_rate, sum.queried_tokens), (None, None), "one rank does not say it");
    let found = ranks(&loads);
    assert_eq!((found[0].1.kv_usage, found[0].1.hit_rate), (Some(0.28), Some(0.0075)));
    about(found[1].1.kv_usage, 1000.0 / 442_353.0);
}

#[test]
fn tensorrt_llm_by_its_own_server_and_by_triton() {
    let load = metrics(TRTLLM).sum();
    assert_eq!((load.running, load.waiting, load.kv_usage), (Some(4), Some(1), Some(0.5)));
    assert_eq!((load.kv_used_tokens, load.kv_total_tokens), (Some(16_032), Some(32_000)));
    let load = metrics(TRITON).sum();
    assert_eq!((load.running, load.waiting), (Some(3), Some(2)));
    assert_eq!((load.kv_used_tokens, load.kv_total_tokens), (Some(640), Some(399_296)));
    about(load.kv_usage, 10.0 / 6239.0);
}

/// Without one of its series, each text lacks just that.
#[test]
fn what_a_text_lacks_is_missing_never_0() {
    for (text, name, left) in [
        (VLLM, "vllm:num_requests_running{", (None, Some(72))),
        (VLLM, "vllm:num_requests_waiting{", (Some(27), None)),
        (SGLANG, "sglang:num_queue_reqs{", (Some(12), None)),
        (TRTLLM, "trtllm_num_requests_running{", (None, Some(1))),
    ] {
        let lines = text.lines().filter(|line| !line.starts_with(name));
        let load = metrics(&Vec::from_iter(lines).join("\n")).sum();
        assert_eq!((load.running, load.waiting), left);
        assert_eq!(load.report(), None, "no report is made of what is missing");
    }
    for nothing in ["", "\n\n", "# HELP vllm:num_requests_running\n", "up 1\n", "# EOF"] {
        let loads = metrics(nothing);
        assert_eq!((ranks(&loads), loads.sum()), (vec![], EngineLoad::default()));
    }
    for nothing in ["NaN", "+Inf", "-1"] {
        let loads = metrics(&format!("vllm:num_requests_running {nothing}\n"));
        assert_eq!(loads.sum().running, None, "{nothing}");
    }
}

#[test]
fn odd_but_allowed_lines_are_read() {
    for line in [
        "vllm:num_requests_waiting 3",
        "vllm:num_requests_waiting{} 3",
        "  vllm:num_requests_waiting\t{ engine = \"0\" , model_name=\"a}b\\\"\" , }  3.0 1700000000000\r",
        "vllm:num_requests_waiting{engine=\"zero\"} 3e0 # {trace=\"x\"} 1",
    ] {
        let loads = metrics(&format!("{line}\nvllm:num_requests_running 1"));
        assert_eq!((loads.sum().running, loads.sum().waiting), (Some(1), Some(3)), "{line}");
    }
}

#[test]
fn a_series_that_cannot_be_read_is_an_error_at_its_byte() {
    let start = "up 1\n";
    for (line, at) in [
        ("vllm:num_requests_waiting", 25),
        ("vllm:num_requests_waiting x", 26),
        ("vllm:num_requests_waiting{engine=\"0\"}", 37),
        ("vllm:num_requests_waiting{engine=\"0} 3", 38),
        ("vllm:num_requests_waiting{engine=0} 3", 33),
        ("vllm:num_requests_waiting{engine 3", 33),
    ] {
        let mut loads = metrics(VLLM);
        let error = loads.read_metrics(format!("{start}{line}\nup 1").as_bytes()).unwrap_err();
        assert_eq!(error.kind, EngineErrorKind::Metric);
        assert_eq!(error.position, start.len() + at, "{line}");
        assert_eq!(ranks(&loads), [], "nothing is known");
    }
    let mut text = String::new();
    for rank in 0..=MAX_RANKS {
        text += &format!("vllm:num_requests_running{{engine=\"{rank}\"}} 1\n");
    }
    let error = Loads::new().read_metrics(text.as_bytes()).unwrap_err();
    assert_eq!(error.kind, EngineErrorKind::TooManyRanks);
    assert!(text[error.position..].starts_with("vllm:num_requests_running{engine=\"256\"}"));
}

#[test]
fn orca_text_tells_its_ranks_by_repeating_names() {
    let one =
        orca("TEXT named_metrics.kv_cache_usage_perc=0.25, named_metrics.num_requests_waiting=3.0");
    let load = one.unwrap().sum();
    assert_eq!((load.kv_usage, load.waiting, load.running), (Some(0.25), Some(3), None));
    assert_eq!(load.report(), None);
    let known = EngineLoad { running: Some(7), kv_total_tokens: Some(1_000), ..load };
    assert_eq!(known.report().unwrap().running, 7);
    let two = "text cpu_utilization=0.3,named_metrics.kv_cache_usage_perc=0.5,\
        named_metrics.kv_cache_usage_perc=0.1,named_metrics.num_requests_waiting=2.0, \
        named_metrics.num_requests_waiting = 0.0 ,";
    let loads = orca(two).unwrap();
    let waiting = ranks(&loads).into_iter().map(|(rank, load)| (rank, load.waiting, load.kv_usage));
    assert_eq!(Vec::from_iter(waiting), [(0, Some(2), Some(0.5)), (1, Some(0), Some(0.1))]);
    about(loads.sum().kv_usage, 0.3);
    assert_eq!(ranks(&orca("TEXT ").unwrap()), []);
}

#[test]
fn orca_json_and_what_is_neither() {
    let json = r#"JSON {"cpu_utilization": 0.3, "num_requests_waiting": 9, "named_metrics":
        {"kv_cache_usage_perc": 0.5, "num_requests_waiting": 2, "other": {"kv_cache_usage_perc": 1}}}"#;
    let load = orca(json).unwrap().sum();
    assert_eq!((load.kv_usage, load.waiting), (Some(0.5), Some(2)));
    let triton = r#"JSON {"named_metrics":{"kv_cache_utilization":0.5,"max_token_capacity":2000}}"#;
    let load = orca(triton).unwrap().sum();
    assert_eq!((load.kv_used_tokens, load.kv_total_tokens), (Some(1_000), Some(2_000)));
    for (header, kind, position) in [
        ("", EngineErrorKind::Format, 0),
        ("BIN CZqZ", EngineErrorKind::Format, 0),
        ("TEXTS a=1", EngineErrorKind::Format, 0),
        ("TEXT num_requests_waiting", EngineErrorKind::Metric, 4),
        ("TEXT a=1,num_requests_waiting=two", EngineErrorKind::Metric, 9),
    ] {
        let error = orca(header).unwrap_err();
        assert_eq!((error.kind, error.position), (kind, position), "{header}");
    }
    let error = orca(r#"JSON {"named_metrics": }"#).unwrap_err();
    assert!(matches!(error.kind, EngineErrorKind::Json(_)));
    assert_eq!(error.position, 23);
}

#[test]
fn sglangs_list_tells_elements_not_what_they_hold() {
    let mut loads = Loads::new();
    loads.read_listing(LISTING.as_bytes()).unwrap();
    let first = EngineLoad {
        running: Some(3),
        waiting: Some(1),
        kv_usage: Some(0.02),
        kv_used_tokens: Some(1_000),
        kv_total_tokens: Some(50_000),
        hit_rate: Some(0.4),
        ..EngineLoad::default()
    };
    let second =
        EngineLoad { running: Some(4), kv_total_tokens: Some(50_000), ..EngineLoad::default() };
    assert_eq!(ranks(&loads), [(0, first), (1, second)]);
    assert_eq!(loads.sum().report(), None);
    // Without ranks they are in order; no list is no load.
    loads.read_listing(br#"{"loads":[{"num_running_reqs":1},{"num_running_reqs":2}]}"#).unwrap();
    assert_eq!(loads.sum().running, Some(3));
    for nothing in ["{}", "[]", "3", r#"{"loads":{"a":{"num_running_reqs":1}}, "load":[{}]}"#] {
        loads.read_listing(nothing.as_bytes()).unwrap();
        assert_eq!(loads.sum().running.is_some(), nothing.contains("\"a\""), "{nothing}");
    }
    let error = loads.read_listing(&LISTING.as_bytes()[..100]).unwrap_err();
    assert_eq!((error.position, ranks(&loads).len()), (100, 0));
}

/// Cut anywhere and with any byte changed: an answer or an error, whose byte lies in the text.
#[test]
fn any_cut_and_changed_byte_is_survived() {
    let header =
        "TEXT named_metrics.kv_cache_usage_perc=0.25, named_metrics.num_requests_waiting=3.0";
    let mut loads = Loads::new();
    let mut errors = 0;
    for text in [&VLLM[..1_200], SGLANG, TRITON, LISTING, header] {
        let mut bytes = text.as_bytes().to_vec();
        for place in 0..bytes.len() {
            let byte = bytes[place];
            for other in [byte ^ 1, b'"', b'\\', b'{', 0xff] {
                bytes[place] = other;
                for result in [
                    loads.read_metrics(&bytes),
                    loads.read_orca(&bytes),
                    loads.read_listing(&bytes),
                    loads.read_metrics(&bytes[..place]),
                    loads.read_orca(&bytes[..place]),
                ] {
                    if let Err(error) = result {
                        assert!(error.position <= bytes.len(), "{error}");
                        errors += 1;
                    }
                }
            }
            bytes[place] = byte;
        }
    }
    assert!(errors > 10_000, "{errors}");
}
