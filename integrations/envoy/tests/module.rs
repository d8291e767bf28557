//! The module as Envoy drives it, with a double in Envoy's place.

mod double;

use std::collections::HashMap;
use std::time::Duration;

use double::{Cluster, Context, Stream, filter, host, log, metric, policy, serve};
use pointsman::Outcome;
use pointsman_envoy::boundary::guard;
use pointsman_envoy::config::BalancerConfig;
use pointsman_envoy::exchange::Exchange;
use pointsman_envoy::outcome::End;

fn chat(text: &str) -> String {
    let text = text.repeat(60);
    format!(r#"{{"model":"m","messages":[{{"role":"user","content":"{text}"}}]}}"#)
}

/// Nothing is left of any request.
fn assert_idle() {
    assert_eq!(metric("in_flight"), 0);
    assert_eq!(Exchange::count(), 0);
}

#[test]
fn a_prefix_stays_with_its_worker_and_new_ones_spread() {
    let cluster = Cluster::new(policy("{}"), "stay", (1..=4).map(host).collect());
    let filter = filter("{}");
    let mut by_host = HashMap::<String, u32>::new();
    for number in 0..32 {
        let (first, second) =
            (chat(&format!("{number} first words ")), format!("{number} first words "));
        let chosen = serve(&cluster, filter, &first);
        let longer = chat(&second).replace("\"}]}", " and more\"}]}");
        assert_eq!(serve(&cluster, filter, &longer), chosen);
        *by_host.entry(chosen).or_default() += 1;
    }
    assert_eq!(by_host.len(), 4);
    assert!(metric("matched_tokens") > 0);
    assert_eq!((metric("body.read"), metric("outcome.success")), (64, 64));
    assert_eq!(metric("first_token_ms"), 64);
    assert_idle();
}

#[test]
fn a_body_in_pieces_is_the_same_prompt() {
    let cluster = Cluster::new(policy("{}"), "pieces", (1..=8).map(host).collect());
    let filter = filter("{}");
    for number in 0..10 {
        let body = chat(&format!("{number} in pieces "));
        let chosen = serve(&cluster, filter, &body);
        let mut stream = Stream::new(filter);
        let pieces: Vec<_> = body.as_bytes().chunks(1 + number * 37).collect();
        assert!(stream.ask(&pieces));
        assert_eq!(cluster.choose(&stream.context()), Some(chosen));
    }
    // Dropped without an end: given back all the same.
    assert_eq!(metric("outcome.client_cancelled"), 10);
    assert_idle();
}

#[test]
fn what_is_not_read_passes_at_once() {
    let cluster = Cluster::new(policy("{}"), "unread", vec![host(1), host(2)]);
    let filter = filter(r#"{"max_body_bytes": 5000}"#);
    let ask = |header: (&str, &str), pieces: &[&[u8]]| {
        let mut stream = Stream::new(filter);
        stream.limit = 2000;
        stream.request.insert(header.0.to_owned(), header.1.to_owned());
        let held = stream.ask(pieces);
        assert!(cluster.choose(&stream.context()).is_some());
        held
    };
    assert!(!ask(("content-type", "text/plain"), &[b"hello"]));
    // A client that sends these may wait for an answer before the end.
    assert!(!ask(("content-type", "application/x-ndjson"), &[b"{}"]));
    assert!(!ask(("content-type", "application/grpc+json"), &[b"{}"]));
    assert!(!ask((":method", "GET"), &[b"{}"]));
    assert!(!ask(("upgrade", "websocket"), &[b"{}"]));
    assert!(!ask(("content-length", "5001"), &[&[b' '; 5001]]));
    assert!(!ask(("x-a", "b"), &[]));
    assert!(!ask(("content-encoding", "gzip"), &[&[0x1f, 0x8b, 8]]));
    assert_eq!((metric("body.none"), metric("body.too_long")), (3, 1));
    assert_eq!((metric("body.other_type"), metric("body.compressed")), (3, 1));
    // Too long without saying so before: released, and never beyond Envoy's limit.
    let piece = [b' '; 1500];
    ask(("x-a", "b"), &[&piece, &piece, &piece, &piece, &piece]);
    assert_eq!(metric("body.too_long"), 2);
    assert!(ask(("x-a", "b"), &[b"{\"messages\": "]));
    assert!(ask(("x-a", "b"), &[b"{\"input_text\": 1}"]));
    assert_eq!((metric("body.malformed"), metric("body.no_prompt")), (1, 1));
    assert_idle();
}

#[test]
fn a_retry_leaves_out_who_failed() {
    let cluster = Cluster::new(policy("{}"), "retry", (1..=3).map(host).collect());
    let mut stream = Stream::new(filter("{}"));
    stream.ask(&[chat("again and again ").as_bytes()]);
    let context = stream.context();
    let mut tried: Vec<_> = (0..3).map(|_| cluster.choose(&context).unwrap()).collect();
    assert_eq!(metric("in_flight"), 1);
    tried.sort();
    tried.dedup();
    assert_eq!(tried.len(), 3);
    // No other host is left: all are considered again.
    assert!(cluster.choose(&context).is_some());
    assert_eq!((metric("retries"), metric("outcome.worker_error")), (3, 3));
    stream.answer(200, true);
    stream.complete("via_upstream");
    assert_eq!(metric("outcome.success"), 1);
    assert_idle();
}

#[test]
fn a_retry_heeds_what_envoy_rules_out() {
    // Failures must not eject the one that is left.
    let settings = r#"{"router": {"health": {"failures": 0}}}"#;
    let cluster = Cluster::new(policy(settings), "ruled", (1..=6).map(host).collect());
    let filter = filter("{}");
    for _ in 0..20 {
        let mut stream = Stream::new(filter);
        stream.ask(&[chat("ruled out ").as_bytes()]);
        let mut context = stream.context();
        let first = cluster.choose(&context).unwrap();
        let left = if first.ends_with(":4") { 5 } else { 4 };
        let ruled_out = (1..=6).filter(|&port| port != left).map(|port| host(port).address);
        context.ruled_out = ruled_out.collect();
        assert_eq!(cluster.choose(&context), Some(host(left).address));
    }
    assert_idle();
}

#[test]
fn health_weight_priority_and_membership_are_followed() {
    let mut cluster = Cluster::new(policy("{}"), "follow", (1..=3).map(host).collect());
    let filter = filter("{}");
    let spread = |cluster: &Cluster| {
        let mut by_host = HashMap::<String, u32>::new();
        for number in 0..60 {
            let body = chat(&format!("{number} {} ", by_host.len()));
            *by_host.entry(serve(cluster, filter, &body)).or_default() += 1;
        }
        by_host
    };
    cluster.priorities[0][0].healthy = false;
    cluster.update();
    let by_host = spread(&cluster);
    assert!(!by_host.contains_key(&host(1).address) && by_host.len() == 2);
    cluster.priorities[0][0].healthy = true;
    cluster.priorities[0].remove(1);
    cluster.priorities[0].push(host(4));
    cluster.update();
    let by_host = spread(&cluster);
    assert!(!by_host.contains_key(&host(2).address) && by_host.len() == 3);
    // The next priority comes into force while the first has no healthy host.
    cluster.priorities[0].iter_mut().for_each(|host| host.healthy = false);
    cluster.priorities.push(vec![host(8), host(9)]);
    cluster.update();
    let by_host = spread(&cluster);
    assert!(by_host.contains_key(&host(8).address) && by_host.len() == 2);
    cluster.priorities[0][0].healthy = true;
    cluster.update();
    assert_eq!(spread(&cluster).keys().cloned().collect::<Vec<_>>(), [host(1).address]);
    cluster.priorities = vec![vec![]];
    cluster.update();
    assert_eq!(cluster.choose(&Context::default()), None);
    assert_idle();
}

#[test]
fn weights_are_followed() {
    let settings = r#"{"router": {"policy": "round_robin"}}"#;
    let mut cluster = Cluster::new(policy(settings), "weights", vec![host(1), host(2)]);
    let filter = filter("{}");
    cluster.priorities[0][0].weight = 3;
    cluster.update();
    let heavy = (0..40).filter(|_| serve(&cluster, filter, "{}") == host(1).address).count();
    assert_eq!(heavy, 30);
}

#[test]
fn threads_may_differ_in_what_they_have() {
    let policy = policy("{}");
    let filter = filter("{}");
    let here = Cluster::new(policy, "threads", vec![host(1), host(2)]);
    let mut there = Cluster::new(policy, "threads", vec![host(2), host(3)]);
    for number in 0..40 {
        let body = chat(&format!("{number} "));
        assert_ne!(serve(&here, filter, &body), host(3).address);
        assert_ne!(serve(&there, filter, &body), host(1).address);
    }
    // A worker goes when the last thread has let it go, and what is remembered of it as late.
    let body = chat("kept by one ");
    let mut only = Cluster::new(policy, "threads", vec![host(7)]);
    assert_eq!(serve(&only, filter, &body), host(7).address);
    there.priorities = vec![vec![host(7)]];
    there.update();
    only.priorities = vec![vec![]];
    only.update();
    let before = metric("matched_tokens");
    assert_eq!(serve(&there, filter, &body), host(7).address);
    assert!(metric("matched_tokens") > before);
    assert_idle();
}

#[test]
fn an_updated_cluster_forgets_nothing() {
    let filter = filter("{}");
    let old = Cluster::new(policy("{}"), "updated", (1..=8).map(host).collect());
    let body = chat("to be remembered ");
    let chosen = serve(&old, filter, &body);
    let new = Cluster::new(policy("{}"), "updated", (1..=8).map(host).collect());
    drop(old);
    let before = metric("matched_tokens");
    assert_eq!(serve(&new, filter, &body), chosen);
    assert!(metric("matched_tokens") > before);
    // With other settings it is another router.
    let other = Cluster::new(policy(r#"{"max_in_flight": 9}"#), "updated", vec![host(1)]);
    let before = metric("matched_tokens");
    serve(&other, filter, &body);
    assert_eq!(metric("matched_tokens"), before);
}

#[test]
fn pairs_name_the_prefill_worker_in_a_header() {
    let settings = r#"{"prefill_header": "x-prefiller-host-port"}"#;
    let part = |port, role| {
        let mut host = host(port);
        host.texts.insert("role", role);
        host
    };
    let hosts = vec![part(1, "prefill"), part(2, "prefill"), part(3, "decode"), part(4, "decode")];
    let cluster = Cluster::new(policy(settings), "pairs", hosts);
    let filter = filter("{}");
    let ask = |text: &str| {
        let mut stream = Stream::new(filter);
        stream.ask(&[chat(text).as_bytes()]);
        let decode = cluster.choose(&stream.context()).unwrap();
        assert!(decode.ends_with(":3") || decode.ends_with(":4"), "{decode}");
        let prefill = stream.request["x-prefiller-host-port"].clone();
        assert!(prefill.ends_with(":1") || prefill.ends_with(":2"), "{prefill}");
        stream.answer(200, false);
        stream.piece(b"x", true);
        stream.complete("via_upstream");
        prefill
    };
    for number in 0..10 {
        let text = format!("{number} a pair ");
        assert_eq!(ask(&text), ask(&text));
    }
    // A request without a pair gets no header, least of all the client's own.
    let alone = Cluster::new(policy(settings), "alone", vec![part(3, "decode")]);
    let mut stream = Stream::new(filter);
    stream.request.insert("x-prefiller-host-port".to_owned(), "10.0.0.1:1".to_owned());
    stream.ask(&[]);
    assert!(alone.choose(&stream.context()).is_some());
    assert_eq!(stream.request.get("x-prefiller-host-port"), None);
    drop(stream);
    assert_eq!(metric("untracked"), 1);
    assert_idle();
}

#[test]
fn full_workers_shed_and_metadata_counts() {
    let (mut narrow, mut roomy) = (host(1), host(2));
    narrow.numbers.insert("max_in_flight", 1.0);
    roomy.texts.insert("max_in_flight", "2");
    let cluster = Cluster::new(policy(r#"{"max_in_flight": 9}"#), "full", vec![narrow, roomy]);
    let filter = filter("{}");
    let mut open: Vec<_> = (0..4)
        .map(|_| {
            let mut stream = Stream::new(filter);
            stream.ask(&[]);
            let chosen = cluster.choose(&stream.context());
            (stream, chosen)
        })
        .collect();
    assert!(open.iter().take(3).all(|(_, chosen)| chosen.is_some()));
    assert_eq!((open.pop().unwrap().1, metric("refused")), (None, 1));
    open.clear();
    assert_idle();
}

#[test]
fn every_ending_gives_the_load_back() {
    let cluster = Cluster::new(policy("{}"), "endings", vec![host(1), host(2)]);
    let filter = filter(r#"{"response_headers": true}"#);
    let begin = || {
        let mut stream = Stream::new(filter);
        stream.ask(&[chat("an ending ").as_bytes()]);
        let chosen = cluster.choose(&stream.context()).unwrap();
        (stream, chosen)
    };
    let (mut stream, chosen) = begin();
    stream.answer(200, false);
    assert_eq!(stream.response["x-pointsman-worker"], chosen);
    assert_eq!(stream.response["x-pointsman-reason"], "least_work");
    assert_eq!(stream.response["x-pointsman-matched"], "0");
    stream.piece(b"half", false);
    stream.complete("upstream_reset_after_response_started{connection_termination}");
    assert_eq!(metric("outcome.worker_error"), 1);

    let (mut stream, _) = begin();
    stream.answer(200, false);
    stream.complete("downstream_remote_disconnect");
    assert_eq!(metric("outcome.client_cancelled"), 1);

    let (mut stream, _) = begin();
    stream.local_reply(504, "response_timeout");
    stream.complete("response_timeout");
    assert_eq!(metric("outcome.timeout"), 1);

    let (mut stream, _) = begin();
    stream.response.insert("retry-after".to_owned(), "7".to_owned());
    stream.answer(429, true);
    stream.complete("via_upstream");
    assert_eq!(metric("outcome.overloaded"), 1);
    assert_idle();
}

#[test]
fn requests_that_no_filter_saw_are_served() {
    let cluster = Cluster::new(policy("{}"), "unseen", vec![host(1), host(2)]);
    for _ in 0..10 {
        assert!(cluster.choose(&Context::default()).is_some());
        assert!(cluster.choose(&Context { hash: Some(7), ..Context::default() }).is_some());
    }
    assert_eq!(metric("unseen"), 20);
    assert_eq!(log().matches("hash_policy").count(), 1);
}

#[test]
fn mistakes_are_named() {
    let mut said = String::new();
    let mut refused = |made: *const std::ffi::c_void, named: &str| {
        assert!(made.is_null(), "{named}");
        let line = log()[said.len()..].to_owned();
        assert!(line.contains(named), "{line:?} does not name {named}");
        said = log();
    };
    refused(policy("{"), "lb_policy_config refused: EOF");
    refused(policy(r#"{"router": {"polcy": 1}}"#), "unknown field `polcy`");
    refused(policy(r#"{"router": {"policy": "nonesuch"}}"#), "nonesuch");
    refused(policy(r#"{"router": {"max_workers": 0}}"#), "router: max_workers = 0");
    refused(policy(r#"{"max_in_flight": 0}"#), "max_in_flight = 0");
    refused(policy(r#"{"prefill_header": "X y"}"#), "prefill_header = \"X y\"");
    refused(filter(r#"{"max_body_bytes": 0}"#), "max_body_bytes = 0");
    refused(filter(r#"{"max_body": 1}"#), "unknown field `max_body`");
    refused(filter(r#"{"routing_key_header": ""}"#), "routing_key_header = \"\"");
    // One process has one way to make fingerprints.
    assert!(!policy("{}").is_null());
    refused(policy(r#"{"router": {"tree": {"block_bytes": 64}}}"#), "router.tree.block_bytes");
    let key = format!(r#"{{"router": {{"tree": {{"hash_key": "{}"}}}}}}"#, "ab".repeat(32));
    refused(policy(&key), "router.tree.hash_key");
    refused(policy(r#"{"router": {"body": {"image_tokens": 1}}}"#), "router.body");
}

#[test]
fn numbers_that_envoy_made_strings_of_are_read() {
    let settings = r#"{"kv_capacity_tokens": "4294967296", "router": {"slow_start_secs": "0.5"}}"#;
    let read = BalancerConfig::read(b"pointsman", settings.as_bytes()).unwrap();
    assert_eq!(read.kv_capacity_tokens, Some(1 << 32));
    assert_eq!(read.router.slow_start_secs, 0.5);
}

#[test]
fn panics_stay_inside() {
    assert_eq!(guard("a_hook", 7, || panic!("on purpose")), 7);
    assert!(log().contains("panic in a_hook"));
}

#[test]
fn endings_are_told_apart() {
    let whole = End { status: 200, finished: true, ..End::default() };
    let of = |end: End<'_>| end.outcome().as_str();
    assert_eq!(of(whole), "success");
    assert_eq!(of(End { status: 404, ..whole }), "client_error");
    assert_eq!(of(End { status: 500, ..whole }), "worker_error");
    assert_eq!(of(End { status: 504, ..whole }), "timeout");
    let pause = End { status: 503, retry_after: Some(7), ..whole }.outcome();
    assert_eq!(pause, Outcome::Overloaded { retry_after: Duration::from_secs(7) });
    let local = |details| of(End { status: 503, local: true, finished: true, details, ..whole });
    assert_eq!(
        local(b"upstream_reset_before_response_started{connection_failure}"),
        "worker_error"
    );
    assert_eq!(local(b"upstream_reset_before_response_started{overflow}"), "client_cancelled");
    assert_eq!(local(b"upstream_per_try_timeout"), "timeout");
    assert_eq!(local(b"no_healthy_upstream"), "client_cancelled");
    let broken = |details| of(End { status: 200, details, ..End::default() });
    assert_eq!(broken(b"downstream_remote_disconnect"), "client_cancelled");
    assert_eq!(broken(b"upstream_max_stream_duration_reached"), "timeout");
}

#[test]
fn what_engines_report_is_counted_whatever_the_api() {
    #[derive(serde::Deserialize)]
    struct Vector {
        name: String,
        answer: String,
        usage: [Option<u32>; 3],
    }
    let answers = include_str!("../../../tests/data/usage.json");
    let cluster = Cluster::new(policy("{}"), "usage", vec![host(1), host(2)]);
    let filter = filter("{}");
    for Vector { name, answer, usage: [prompt, cached, _] } in
        serde_json::from_str::<Vec<Vector>>(answers).unwrap()
    {
        let before = [metric("reported_prompt_tokens"), metric("reported_cached_tokens")];
        let mut stream = Stream::new(filter);
        stream.ask(&[chat("usage ").as_bytes()]);
        assert!(cluster.choose(&stream.context()).is_some());
        stream.answer(200, false);
        answer.as_bytes().chunks(11).for_each(|piece| stream.piece(piece, false));
        stream.piece(b"\n", true);
        stream.complete("via_upstream");
        let after = [metric("reported_prompt_tokens"), metric("reported_cached_tokens")];
        let told = [0, 1].map(|which| (after[which] - before[which]) as u32);
        assert_eq!(told, [prompt.unwrap_or(0), cached.unwrap_or(0)], "{name}");
    }
    assert_idle();
}

#[test]
fn a_host_taken_in_turn_is_not_one_that_was_tried() {
    // Without decode workers the router names nobody.
    let settings = r#"{"prefill_header": "x-prefiller-host-port"}"#;
    let cluster = Cluster::new(policy(settings), "turns", (1..=3).map(host).collect());
    let mut stream = Stream::new(filter("{}"));
    stream.ask(&[chat("in turn ").as_bytes()]);
    let mut tried: Vec<_> = (0..3).map(|_| cluster.choose(&stream.context()).unwrap()).collect();
    tried.sort();
    tried.dedup();
    assert_eq!(tried.len(), 3, "each was taken once");
    assert_eq!((metric("untracked"), metric("retries")), (3, 2));
    drop(stream);
    // Without any host nothing is taken, and nothing counted.
    let empty = Cluster::new(policy(settings), "nobody", Vec::new());
    let mut stream = Stream::new(self::filter("{}"));
    stream.ask(&[chat("nobody ").as_bytes()]);
    assert_eq!(empty.choose(&stream.context()), None);
    drop(stream);
    assert_eq!(metric("untracked"), 3);
    assert_idle();
}

#[test]
fn a_host_that_is_registered_anew_was_tried_all_the_same() {
    let settings = r#"{"router": {"health": {"failures": 0}}}"#;
    let mut cluster = Cluster::new(policy(settings), "anew", vec![host(1), host(2)]);
    let mut stream = Stream::new(filter("{}"));
    stream.ask(&[chat("anew ").as_bytes()]);
    let first = cluster.choose(&stream.context()).unwrap();
    // The failed host leaves and comes back before the retry: its worker is another one.
    let (failed, other): (Vec<_>, Vec<_>) =
        [host(1), host(2)].into_iter().partition(|host| host.address == first);
    cluster.priorities = vec![other.clone()];
    cluster.update();
    cluster.priorities = vec![other.into_iter().chain(failed).collect()];
    cluster.update();
    assert_ne!(cluster.choose(&stream.context()).unwrap(), first);
    drop(stream);
    assert_idle();
}
