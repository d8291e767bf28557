//! KV room: a worker that is full starts nothing, however little prefill it has to do.

use pointsman::{
    Outcome, Request, Router, Selection, Usage, WorkerChange, WorkerId, WorkerSpec,
    policy::LeastWorkConfig,
};

use super::{SECOND, gauge, router, tokens};

/// Prompt and answer of every request here.
const PROMPT: usize = 4000;
const ANSWER: u32 = 1000;

/// Two workers that hold `fits` such requests each; requests take ten seconds, one of it up to the
/// first token.
fn two_workers(fits: u64, room_weight: f64) -> (Router, u64) {
    let mut rule = LeastWorkConfig::default();
    rule.room_weight = room_weight;
    let router = router(0, rule);
    for url in ["http://a", "http://b"] {
        let capacity = fits * (PROMPT as u64 + u64::from(ANSWER));
        router.add_worker(WorkerSpec::new(url).kv_capacity_tokens(capacity)).unwrap();
    }
    let mut now = SECOND;
    for i in 0..500 {
        let request = send(&router, &tokens(i, 9000), now);
        router.at(now + SECOND).first_token(request.ticket(), None).unwrap();
        router.at(now + 10 * SECOND).complete(request, Outcome::Success, Usage::default()).unwrap();
        now += 10 * SECOND;
    }
    (router, now)
}

fn send(router: &Router, prompt: &[u32], now: u64) -> Selection {
    let request = Request::tokens(prompt).expected_output_tokens(ANSWER);
    router.at(now).select(&request).unwrap()
}

/// Sends the same prompt again and again, each past its first token before the next comes.
fn fill(router: &Router, now: u64, count: u64) -> Vec<Selection> {
    let prompt = tokens(7777, PROMPT);
    let sent = |i: u64| {
        let request = send(router, &prompt, now + i * 1000);
        router.at(now + i * 1000 + 1).first_token(request.ticket(), None).unwrap();
        request
    };
    (0..count).map(sent).collect()
}

fn all_on_one(requests: &[Selection]) -> bool {
    requests.iter().all(|request| request.worker() == requests[0].worker())
}

#[test]
fn a_full_worker_is_passed_over_for_one_that_must_compute_the_prompt() {
    let (router, now) = two_workers(5, 2.0);
    let requests = fill(&router, now, 6);
    assert!(all_on_one(&requests[..5]), "what is held draws while there is room");
    assert_ne!(requests[5].worker(), requests[0].worker());
}

#[test]
fn without_weight_or_a_known_capacity_room_does_not_count() {
    let (router, now) = two_workers(5, 0.0);
    assert!(all_on_one(&fill(&router, now, 20)));
    let unknown = super::router(2, LeastWorkConfig::default());
    assert!(all_on_one(&fill(&unknown, SECOND, 20)));
}

#[test]
fn room_is_given_back_at_the_end_however_it_ends() {
    let (router, now) = two_workers(2, 2.0);
    let ids: Vec<WorkerId> = router.workers().iter().map(|row| row.info.id).collect();
    let excess =
        || ids.iter().map(|&id| gauge(&router, id, "overcommitted_kv_tokens")).sum::<f64>();
    for outcome in [Outcome::Success, Outcome::ClientCancelled, Outcome::Expired] {
        assert_eq!(excess(), 0.0);
        let requests = fill(&router, now, 6);
        assert_eq!(excess(), 2.0 * (PROMPT as f64 + f64::from(ANSWER)));
        for request in requests {
            router.at(now + SECOND).complete(request, outcome, Usage::default()).unwrap();
        }
    }
    assert_eq!(excess(), 0.0);
}

#[test]
fn room_follows_a_capacity_that_changes_and_requests_in_flight_stay_counted() {
    let (router, now) = two_workers(5, 2.0);
    let requests = fill(&router, now, 3);
    let id = requests[0].worker();
    let excess = || gauge(&router, id, "overcommitted_kv_tokens");
    let hold = |fits: Option<u64>| {
        let tokens = fits.map(|fits| fits * (PROMPT as u64 + u64::from(ANSWER)));
        router.update_worker(id, WorkerChange::new().kv_capacity_tokens(tokens)).unwrap();
    };
    assert!(all_on_one(&requests) && excess() == 0.0);
    for (fits, beyond) in [(Some(2), 1.0), (None, 0.0), (Some(1), 2.0), (Some(3), 0.0)] {
        hold(fits);
        assert_eq!(excess(), beyond * (PROMPT as f64 + f64::from(ANSWER)), "{fits:?}");
    }
    let next = fill(&router, now + SECOND, 1);
    assert_ne!(next[0].worker(), id, "it is full");
    for request in requests.into_iter().chain(next) {
        router.at(now + SECOND).complete(request, Outcome::Success, Usage::default()).unwrap();
    }
    hold(Some(0));
    assert_eq!(excess(), 0.0);
}

#[test]
fn the_length_of_answers_is_learned_from_usage() {
    let router = router(1, LeastWorkConfig::default());
    let prompt = tokens(1, 100);
    let resident = || router.metrics().workers[0].resident_tokens;
    let select = |now| router.at(now).select(&Request::tokens(&prompt)).unwrap();
    let first = select(SECOND);
    assert_eq!(resident(), 100 + 256);
    drop(first);
    let usage = Usage { completion_tokens: Some(3000), ..Usage::default() };
    for i in 2..1000 {
        router.at(i * SECOND + 1).complete(select(i * SECOND), Outcome::Success, usage).unwrap();
    }
    let _open = select(2000 * SECOND);
    assert!((3090..=3100).contains(&resident()), "{}", resident());
}

#[test]
fn all_answers_that_a_body_asks_for_are_charged() {
    let resident = |body: &str| {
        let router = router(0, LeastWorkConfig::default());
        router.add_worker(WorkerSpec::new("http://a")).unwrap();
        let selection = router.at(SECOND).select(&Request::json(body.as_bytes())).unwrap();
        let resident = router.metrics().workers[0].resident_tokens;
        router.at(SECOND).complete(selection, Outcome::Success, Usage::default()).unwrap();
        assert_eq!(router.metrics().workers[0].resident_tokens, 0);
        resident
    };
    let one = resident(r#"{"prompt":"abcd","max_tokens":10}"#);
    assert_eq!(resident(r#"{"prompt":"abcd","max_tokens":10,"n":8}"#), one + 70);
    assert_eq!(
        resident(r#"{"text":"abcd","sampling_params":{"max_new_tokens":10,"n":8}}"#),
        one + 70
    );
    let batch = format!(r#"{{"prompt":[{}"abcd"],"max_tokens":10}}"#, r#""abcd","#.repeat(63));
    assert!((640..800).contains(&resident(&batch)));
}
