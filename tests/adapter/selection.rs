//! The proposal's trait over synchronous policies: selection, completion, changes of the workers.

use std::collections::HashSet;

use pointsman::adapter::{Adapter, RoutingPolicy};
use pointsman::{PolicyConfig, Role, RoutingError, Worker};
use serde_json::{Value, json};

use crate::engine::{Engine, as_workers, complete, engines, ready};
use crate::recorder::Recorder;

const POLICIES: [&str; 4] = ["random", "round_robin", "power_of_two", "cache_aware"];

fn adapter(policy: &str) -> Adapter {
    Adapter::from_config(&PolicyConfig::named(policy)).unwrap()
}

fn all_policies() -> Vec<Adapter> {
    let threshold = PolicyConfig::threshold(Default::default());
    let adapters = POLICIES.into_iter().map(adapter);
    adapters.chain([Adapter::from_config(&threshold).unwrap()]).collect()
}

fn prompt(text: &str) -> Value {
    json!({"text": text, "sampling_params": {"max_new_tokens": 16}})
}

/// A conversation that is long enough to be remembered.
fn long_prompt(topic: usize) -> Value {
    prompt(&format!("You are expert number {topic} in its field. ").repeat(100))
}

#[test]
fn every_policy_serves_regular_requests() {
    for adapter in all_policies() {
        let (engines, workers) = engines("http://w", 4);
        let mut seen = HashSet::new();
        for i in 0..200 {
            let worker = ready(adapter.select_single(&workers, &long_prompt(i))).unwrap();
            seen.insert(worker.url().to_owned());
            assert_eq!(worker.load().load(std::sync::atomic::Ordering::Relaxed), 1);
            adapter.on_request_complete(worker.url(), i % 7 != 0);
        }
        assert_eq!(seen.len(), 4, "{} leaves a worker out", adapter.name());
        assert!(engines.iter().all(|engine| engine.in_flight() == 0));
    }
}

#[test]
fn every_policy_serves_pairs() {
    for adapter in all_policies() {
        let (prefills, prefill) = engines("http://p", 3);
        let (decodes, decode) = engines("http://d", 2);
        let mut seen = HashSet::new();
        for i in 0..200 {
            let (p, d) = ready(adapter.select_pair(&prefill, &decode, &long_prompt(i))).unwrap();
            assert!(p.url().starts_with("http://p") && d.url().starts_with("http://d"));
            seen.extend([p.url().to_owned(), d.url().to_owned()]);
            adapter.on_request_complete(p.url(), true);
            adapter.on_request_complete(d.url(), true);
        }
        assert_eq!(seen.len(), 5, "{} leaves a worker out", adapter.name());
        assert!(prefills.iter().chain(&decodes).all(|engine| engine.in_flight() == 0));
    }
}

#[test]
fn names_are_those_of_the_policies() {
    assert!(POLICIES.into_iter().all(|name| adapter(name).name() == name));
}

#[test]
fn power_of_two_honours_the_hosts_load() {
    let adapter = adapter("power_of_two");
    let (engines, workers) = engines("http://w", 2);
    engines[0].set_load(10);
    for _ in 0..10 {
        let worker = ready(adapter.select_single(&workers, &json!({}))).unwrap();
        assert_eq!(worker.url(), "http://w1");
    }
    assert_eq!((engines[0].in_flight(), engines[1].in_flight()), (10, 10));
    engines[0].set_load(0);
    let worker = ready(adapter.select_single(&workers, &json!({}))).unwrap();
    assert_eq!(worker.url(), "http://w0");
}

#[test]
fn a_prefix_stays_with_its_worker_in_both_modes() {
    for rule in [PolicyConfig::default(), PolicyConfig::threshold(Default::default())] {
        let adapter = Adapter::from_config(&rule).unwrap();
        let (_, regular) = engines("http://w", 8);
        let (_, prefill) = engines("http://p", 8);
        let (_, decode) = engines("http://d", 2);
        let mut homes = Vec::new();
        for topic in 0..8 {
            let single = ready(adapter.select_single(&regular, &long_prompt(topic))).unwrap();
            let (p, d) =
                ready(adapter.select_pair(&prefill, &decode, &long_prompt(topic))).unwrap();
            complete(&adapter, &[&single, &p, &d]);
            homes.push((single, p));
        }
        for (topic, (single, p)) in homes.iter().enumerate() {
            let again = ready(adapter.select_single(&regular, &long_prompt(topic))).unwrap();
            let (q, d) =
                ready(adapter.select_pair(&prefill, &decode, &long_prompt(topic))).unwrap();
            assert_eq!((again.url(), q.url()), (single.url(), p.url()));
            complete(&adapter, &[&again, &q, &d]);
        }
    }
}

#[test]
fn unhealthy_workers_are_left_out_at_once() {
    for adapter in all_policies() {
        let (engines, workers) = engines("http://w", 3);
        for down in &engines {
            ready(adapter.select_single(&workers, &prompt("warm"))).unwrap();
            down.set_healthy(false);
            for i in 0..30 {
                let worker = ready(adapter.select_single(&workers, &long_prompt(i))).unwrap();
                assert_ne!(worker.url(), down.url(), "{}", adapter.name());
            }
            down.set_healthy(true);
        }
        engines.iter().for_each(|engine| engine.set_healthy(false));
        let error = ready(adapter.select_single(&workers, &json!({}))).unwrap_err();
        assert!(
            matches!(
                error,
                RoutingError::NoHealthyWorkers {
                    role: Role::Regular,
                    workers: 3,
                    unhealthy: 3,
                    ..
                }
            ),
            "{error}"
        );
    }
}

#[test]
fn weights_are_honoured_as_they_change() {
    let adapter = adapter("round_robin");
    let (engines, workers) = engines("http://w", 2);
    let count = || {
        let select = |_| ready(adapter.select_single(&workers, &json!({}))).unwrap();
        (0..40).map(select).filter(|worker| worker.url() == "http://w0").count()
    };
    assert_eq!(count(), 20);
    engines[0].set_weight(3.0);
    assert_eq!(count(), 30);
    // Weight 0, or one that is no number, takes no new work.
    engines[0].set_weight(0.0);
    assert_eq!(count(), 0);
    engines[1].set_weight(f64::NAN);
    assert!(ready(adapter.select_single(&workers, &json!({}))).is_err());
}

#[test]
fn an_empty_slice_is_an_error_that_names_the_role() {
    let adapter = adapter("round_robin");
    let (_, workers) = engines("http://w", 1);
    let role = |result: Result<_, RoutingError>| result.map(|_: ()| ()).unwrap_err().role();
    let single = ready(adapter.select_single(&[], &json!({})));
    assert_eq!(role(single.map(drop)), Some(Role::Regular));
    let pair = ready(adapter.select_pair(&[], &workers, &json!({})));
    assert_eq!(role(pair.map(drop)), Some(Role::Prefill));
    let pair = ready(adapter.select_pair(&workers, &[], &json!({})));
    assert_eq!(role(pair.map(drop)), Some(Role::Decode));
    assert_eq!(workers[0].load().load(std::sync::atomic::Ordering::Relaxed), 0);
}

#[test]
fn workers_come_and_go() {
    let adapter = adapter("cache_aware");
    let (mut engines, _) = engines("http://w", 4);
    for round in 0..100 {
        let workers = as_workers(&engines);
        let worker = ready(adapter.select_single(&workers, &long_prompt(round))).unwrap();
        assert!(engines.iter().any(|engine| engine.url() == worker.url()));
        engines.remove(0);
        engines.push(Engine::new(&format!("http://new{round}")));
        // Also when the worker is no longer among those handed in.
        adapter.on_request_complete(worker.url(), true);
        assert_eq!(worker.load().load(std::sync::atomic::Ordering::Relaxed), 0);
    }
}

#[test]
fn more_urls_than_slots_over_time() {
    let adapter = Adapter::new(Recorder::new());
    for round in 0..40 {
        let (engines, workers) = engines(&format!("http://round{round}/"), 100);
        for _ in 0..100 {
            let worker = ready(adapter.select_single(&workers, &json!({}))).unwrap();
            adapter.on_request_complete(worker.url(), true);
        }
        assert!(engines.iter().all(|engine| engine.in_flight() == 0));
    }
}

#[test]
fn a_url_that_comes_twice_is_one_worker() {
    let adapter = adapter("round_robin");
    let workers = as_workers(&[Engine::new("a"), Engine::new("b"), Engine::new("a")]);
    let urls: Vec<String> = (0..4)
        .map(|_| ready(adapter.select_single(&workers, &json!({}))).unwrap().url().to_owned())
        .collect();
    assert_eq!(urls[0], urls[2]);
    assert_ne!(urls[0], urls[1]);
}
