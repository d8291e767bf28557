//! What reported token counts teach, and that a worker which errs spoils nothing for others.

use pointsman::policy::LeastWorkConfig;
use pointsman::{Outcome, PolicyConfig, Request, Role, Router, Usage, WorkerId, WorkerSpec};
use pointsman::{RouterConfig, metrics::WorkerMetrics};

const PROMPT: usize = 4096;

fn router(prefill: bool) -> (Router, WorkerId) {
    let mut config = RouterConfig::default();
    config.policy = PolicyConfig::least_work(LeastWorkConfig::default());
    let router = Router::new(config).unwrap();
    let role = if prefill { Role::Prefill } else { Role::Regular };
    let id = router.add_worker(WorkerSpec::new("http://one").role(role)).unwrap();
    if prefill {
        router.add_worker(WorkerSpec::new("http://two").role(Role::Decode)).unwrap();
    }
    (router, id)
}

fn tokens() -> Vec<u32> {
    (0..PROMPT as u32).collect()
}

fn of(router: &Router, id: WorkerId) -> WorkerMetrics {
    router.metrics().workers.into_iter().find(|worker| worker.info.id == id).unwrap()
}

fn gauge(router: &Router, id: WorkerId, name: &str) -> f64 {
    of(router, id).policy_gauges.iter().find(|gauge| gauge.0 == name).unwrap().1
}

/// Contradictory reports, predicted and reported cached tokens, reliability.
fn learned(router: &Router, id: WorkerId) -> (u64, u64, u64, f64) {
    let worker = of(router, id);
    let (predicted, reported) = (worker.predicted_cached_tokens, worker.reported_cached_tokens);
    (worker.contradictory_reports, predicted, reported, gauge(router, id, "reliability_ratio"))
}

#[test]
fn what_contradicts_itself_teaches_nothing() {
    let (router, id) = router(false);
    let (tokens, text) = (tokens(), "What is asked for, at length. ".repeat(100));
    let length = |router: &Router| router.select(&Request::text(&text)).unwrap().total_tokens();
    router
        .select(&Request::tokens(&tokens))
        .unwrap()
        .complete(Outcome::Success, Usage::default())
        .unwrap();
    let before = length(&router);
    let lies = [
        Usage::including_cached(Some(100), Some(101), Some(90_000)),
        Usage::including_cached(Some(0), Some(1), None),
        Usage::including_cached(None, Some(u32::MAX - 1), Some(90_000)),
    ];
    for (count, lie) in (1..).zip(lies.into_iter().cycle().take(300)) {
        let selection = router.select(&Request::tokens(&tokens)).unwrap();
        selection.complete(Outcome::Success, lie).unwrap();
        assert_eq!(learned(&router, id), (count, 0, 0, 1.0));
    }
    // The same with a text, whose length in tokens could be learned from it.
    for _ in 0..100 {
        let selection = router.select(&Request::text(&text)).unwrap();
        selection.complete(Outcome::Success, lies[0]).unwrap();
    }
    assert_eq!(length(&router), before);
    // At the first token only the cached ones are told.
    let selection = router.select(&Request::tokens(&tokens)).unwrap();
    selection.first_token(Some(PROMPT as u32 * 2)).unwrap();
    assert_eq!(learned(&router, id), (401, 0, 0, 1.0));
    // What the completion then tells counts.
    let truth = Usage::including_cached(Some(4096), Some(1024), Some(9));
    selection.complete(Outcome::Success, truth).unwrap();
    let (contradictory, predicted, reported, reliability) = learned(&router, id);
    assert_eq!((contradictory, reported), (401, 1024));
    assert!(predicted > 4000 && reliability < 1.0, "{predicted} {reliability}");
}

#[test]
fn both_conventions_teach_the_same() {
    let all = [
        Usage::including_cached(Some(4100), Some(1024), Some(9)),
        Usage::excluding_cached(Some(3000), Some(1024), Some(76), Some(9)),
    ];
    let [one, other] = all.map(|usage| {
        let (router, id) = router(false);
        for _ in 0..3 {
            let selection = router.select(&Request::tokens(&tokens())).unwrap();
            selection.complete(Outcome::Success, usage).unwrap();
        }
        learned(&router, id)
    });
    assert_eq!(one, other);
    assert_eq!(one.2, 3 * 1024);
}

#[test]
fn a_cached_prompt_is_counted_once() {
    let (router, id) = router(false);
    let selection = router.select(&Request::tokens(&tokens())).unwrap();
    selection.first_token(Some(512)).unwrap();
    let usage = Usage { cached_tokens: Some(512), ..Usage::default() };
    selection.complete(Outcome::Success, usage).unwrap();
    assert_eq!(of(&router, id).reported_cached_tokens, 512);
}

#[test]
fn a_decode_worker_that_was_sent_the_prompt_does_not_speak_for_the_prefill_worker() {
    let everything = Usage::including_cached(Some(PROMPT as u32), Some(PROMPT as u32 - 1), Some(9));
    let tokens = tokens();
    // Whether the prefill worker has told how much it had, and what of the completion counts then.
    for (told, usage, reported) in [
        (None, everything, 0),
        (Some(16), everything, 16),
        (Some(16), Usage { cached_tokens: Some(2000), ..everything }, 16),
        (None, Usage { cached_tokens: Some(2000), ..everything }, 2000),
    ] {
        let (router, prefill) = router(true);
        let first = router.select_pair(&Request::tokens(&tokens)).unwrap();
        first.complete(Outcome::Success, Usage::default()).unwrap();
        let pair = router.select_pair(&Request::tokens(&tokens)).unwrap();
        pair.first_token(told).unwrap();
        let reliability = gauge(&router, prefill, "reliability_ratio");
        assert_eq!(reliability < 1.0, told.is_some());
        pair.complete(Outcome::Success, usage).unwrap();
        assert_eq!(of(&router, prefill).reported_cached_tokens, reported, "{told:?} {usage:?}");
        let after = gauge(&router, prefill, "reliability_ratio");
        assert_eq!(after < reliability, told.is_none() && reported > 0, "{told:?} {usage:?}");
        assert!(after <= reliability, "{told:?} {usage:?}");
    }
}
