//! The library in the simulator, in every fleet and with every policy.

use pointsman::{PolicyConfig, Request, Router};

use super::library::{self, Prompts};
use super::policies::Policy;
use super::scenario::{Material, Scenario, Shape};
use super::sim::arrivals::Process;
use super::trace::synthetic;

const SHAPES: [Shape; 6] =
    [Shape::Even, Shape::Unequal, Shape::Slow, Shape::Failing, Shape::Joining, Shape::Split];

fn material() -> Material {
    Material::new(synthetic::trace(500, 3)).unwrap()
}

#[test]
fn every_policy_serves_every_request_in_every_fleet() {
    let material = material();
    let tokens = material.trace.input_tokens();
    for shape in SHAPES {
        let scenario = Scenario { shape, load: 0.5, ..Scenario::default() };
        let oracle = scenario.oracle(&material.trace);
        for policy in Policy::ALL {
            let finished = scenario.run(&material, &oracle, policy, 1).unwrap();
            let summary = finished.run.summary(tokens);
            let lost = if shape == Shape::Failing { material.trace.requests.len() / 50 } else { 0 };
            assert!(summary.failed <= lost, "{shape:?} {policy:?}: {} lost", summary.failed);
            assert!(summary.hit_share <= 1.0 && summary.mean > 0.0, "{shape:?} {policy:?}");
        }
    }
}

#[test]
fn a_seed_decides_a_run() {
    let material = material();
    for policy in Policy::ALL {
        let scenario = Scenario { process: Process::Poisson, replicas: 4, ..Scenario::default() };
        let oracle = scenario.oracle(&material.trace);
        let run = |seed| {
            let finished = scenario.run(&material, &oracle, policy, seed).unwrap();
            finished.run.served.iter().map(|served| served.first_token).collect::<Vec<_>>()
        };
        assert_eq!(run(1), run(1), "{policy:?}");
        assert_ne!(run(1), run(2), "{policy:?}");
    }
}

/// Moving a prompt's KV takes time before the first token.
#[test]
fn separate_prefill_pays_for_the_transfer() {
    let material = material();
    let scenario = Scenario { shape: Shape::Split, load: 0.2, ..Scenario::default() };
    let oracle = scenario.oracle(&material.trace);
    let finished = scenario.run(&material, &oracle, Policy::LeastWork, 1).unwrap();
    for (request, served) in material.trace.requests.iter().zip(&finished.run.served) {
        let computed = f64::from(request.input - served.cached) / 10_000.0;
        let moved = f64::from(request.input) * 131_072.0 / 25e9;
        assert!(served.first_token > 0.020 + computed + moved - 1e-9);
        assert!(served.worker < 4);
    }
}

#[test]
fn late_and_missing_first_tokens_change_choices_but_lose_nothing() {
    let material = material();
    for (signal_delay, signal_loss) in [(1.0, 0.0), (0.0, 0.5), (0.0, 1.0)] {
        let scenario = Scenario { signal_delay, signal_loss, ..Scenario::default() };
        let oracle = scenario.oracle(&material.trace);
        for policy in [Policy::LeastWork, Policy::Greedy, Policy::Dynamo] {
            let finished = scenario.run(&material, &oracle, policy, 1).unwrap();
            assert_eq!(finished.summary.failed, 0);
        }
    }
}

/// Gateways that share nothing know of each other's requests by what the workers report.
#[test]
fn load_reports_tell_gateways_of_each_other() {
    let material = Material::new(super::recorded::real_trace()).unwrap();
    let silent = Scenario { replicas: 16, ..Scenario::default() };
    let reporting = Scenario { report_every: 0.1, ..silent.clone() };
    let oracle = silent.oracle(&material.trace);
    let mean = |scenario: &Scenario| {
        scenario.run(&material, &oracle, Policy::LeastWork, 1).unwrap().summary.mean
    };
    assert!(mean(&reporting) < 0.8 * mean(&silent));
}

/// Routing by the prepared fingerprints is routing by the tokens.
#[test]
fn fingerprints_route_as_their_tokens_do() {
    let material = material();
    let trace = &material.trace;
    let by_tokens = Router::new(library::config(PolicyConfig::default(), 1, 5)).unwrap();
    let by_hashes = Router::new(library::config(PolicyConfig::default(), 1, 5)).unwrap();
    for router in [&by_tokens, &by_hashes] {
        for worker in 0..4 {
            let spec = pointsman::WorkerSpec::new(format!("http://{worker}")).user_data(worker);
            router.at(0).add_worker(spec).unwrap();
        }
    }
    let prompts = Prompts::new(trace).unwrap();
    let mut tokens = Vec::new();
    for id in 0..trace.requests.len().min(300) {
        let now = id as u64 * 100_000_000;
        library::spell(trace, id, &mut tokens);
        let spelled = by_tokens.at(now).select(&Request::tokens(&tokens)).unwrap();
        let prompt = prompts.get(id).unwrap();
        let hashed = by_hashes.at(now).select(&Request::fingerprint(prompt)).unwrap();
        let facts =
            |s: &pointsman::Selection| (s.user_data(), s.matched_tokens(), s.total_tokens());
        assert_eq!(facts(&spelled), facts(&hashed), "request {id}");
        assert_eq!(spelled.total_tokens(), trace.requests[id].input);
        for (router, selection) in [(&by_tokens, spelled), (&by_hashes, hashed)] {
            let ticket = selection.into_ticket();
            router.at(now + 1).first_token(ticket, None).unwrap();
            let usage = pointsman::Usage::default();
            router.at(now + 2).complete(ticket, pointsman::Outcome::Success, usage).unwrap();
        }
    }
}

#[test]
fn a_variant_names_known_knobs() {
    let variant = Policy::variant(r#"calm={"max_kappa": 1}"#).unwrap();
    assert_eq!(variant.name(), "calm");
    for wrong in ["calm", r#"calm={"no_such_knob": 1}"#, "calm={"] {
        assert!(Policy::variant(wrong).is_err(), "{wrong}");
    }
    let material = material();
    let scenario = Scenario::default();
    let oracle = scenario.oracle(&material.trace);
    assert_eq!(scenario.run(&material, &oracle, variant, 1).unwrap().summary.failed, 0);
}
