//! The answer that a worker has given is held by it, too, when the next turn brings it again.

use pointsman::policy::LeastWorkConfig;
use pointsman::{
    Outcome, PolicyConfig, Request, Role, Router, RouterConfig, Usage, WorkerId, WorkerSpec,
    body::History,
};

/// Tokens to a block.
const BLOCK: u32 = 32;

fn router(workers: usize, history: History) -> (Router, Vec<WorkerId>) {
    let mut config = RouterConfig::default();
    config.policy = PolicyConfig::least_work(LeastWorkConfig::default());
    config.body.profile.history = history;
    let router = Router::new(config).unwrap();
    let add = |i| router.add_worker(WorkerSpec::new(format!("http://{i}"))).unwrap();
    let ids = (0..workers).map(add).collect();
    (router, ids)
}

/// Sends a prompt to one worker, which answers by so many tokens: the tokens that it was believed to have.
fn send(router: &Router, id: WorkerId, prompt: &Request<'_>, usage: Usage) -> u32 {
    let others: Vec<_> = router.workers().iter().map(|worker| worker.info.id).collect();
    let others: Vec<_> = others.into_iter().filter(|&other| other != id).collect();
    let selection = router.select(&prompt.exclude(&others)).unwrap();
    let matched = selection.matched_tokens();
    selection.complete(Outcome::Success, usage).unwrap();
    matched
}

fn answer(tokens: u32) -> Usage {
    Usage { completion_tokens: Some(tokens), ..Usage::default() }
}

fn tokens(length: usize) -> Vec<u32> {
    (0..length as u32).map(|i| i.wrapping_mul(2_654_435_761)).collect()
}

#[test]
fn the_next_turn_is_held_by_the_answer_s_length_more() {
    for (prompt, generated, next, held) in [
        (1000, 500, 1700, 992 + 15 * BLOCK),
        (1024, 33, 1200, 1024 + BLOCK),
        // The last token is not computed.
        (1024, 32, 1200, 1024),
        (1024, 0, 1200, 1024),
        // What is too short to contain it does not: never more than the prompt has.
        (1024, 500, 1300, 1024),
        (1024, u32::MAX - 1, 1300, 1024),
        (1024, 257, 1280, 1280 - 1),
    ] {
        let (router, ids) = router(2, History::Keep);
        let whole = tokens(4000);
        send(&router, ids[0], &Request::tokens(&whole[..prompt]), answer(generated));
        send(&router, ids[1], &Request::tokens(&whole[..prompt]), Usage::default());
        let longer = Request::tokens(&whole[..next]);
        // Only the worker that gave the answer.
        let plain = prompt as u32 / BLOCK * BLOCK;
        assert_eq!(send(&router, ids[1], &longer, Usage::default()), plain);
        let believed = send(&router, ids[0], &longer, Usage::default());
        assert_eq!(believed, held, "{prompt} {generated} {next}");
    }
}

#[test]
fn a_worker_that_took_the_slot_has_answered_nothing() {
    let (router, ids) = router(1, History::Keep);
    let whole = tokens(4000);
    send(&router, ids[0], &Request::tokens(&whole[..1024]), answer(500));
    router.remove_worker(ids[0]).unwrap();
    let id = router.add_worker(WorkerSpec::new("http://0")).unwrap();
    send(&router, id, &Request::tokens(&whole[..1024]), Usage::default());
    assert_eq!(send(&router, id, &Request::tokens(&whole[..2048]), Usage::default()), 1024);
}

#[test]
fn an_answer_that_is_rendered_otherwise_is_corrected_by_reports() {
    let (router, ids) = router(1, History::Keep);
    let whole = tokens(20_000);
    let mut believed = Vec::new();
    for turn in 0..6 {
        let prompt = &whole[..4096 + turn * 2048];
        let held = if turn == 0 { 0 } else { prompt.len() as u32 - 2048 };
        let usage = Usage::including_cached(Some(prompt.len() as u32), Some(held), Some(1600));
        let matched = send(&router, ids[0], &Request::tokens(prompt), usage);
        believed.push(i64::from(matched) - i64::from(held));
    }
    // Never more than an answer's length beyond what is held, and as much as that at first.
    assert_eq!(believed[1], 1568, "{believed:?}");
    assert!(believed.iter().all(|&error| error <= 1600), "{believed:?}");
}

#[test]
fn of_bodies_the_profile_says_whether_answers_come_again() {
    let text = |words: usize| "one more word ".repeat(words);
    let body = |next: bool| {
        let user = text(300);
        let mut messages = vec![serde_json::json!({"role": "user", "content": user})];
        if next {
            messages.push(serde_json::json!({"role": "assistant", "content": text(200)}));
            messages.push(serde_json::json!({"role": "user", "content": text(100)}));
        }
        serde_json::json!({ "messages": messages }).to_string()
    };
    let believed = [History::Keep, History::DropAlways].map(|history| {
        let (router, ids) = router(1, history);
        let first = Usage::including_cached(Some(1050), None, Some(700));
        send(&router, ids[0], &Request::json(body(false).as_bytes()), first);
        send(&router, ids[0], &Request::json(body(true).as_bytes()), Usage::default())
    });
    assert!(believed[0] > believed[1] + 500, "{believed:?}");
}

#[test]
fn the_decode_worker_s_answer_is_not_the_prefill_worker_s() {
    let (router, _) = router(0, History::Keep);
    router.add_worker(WorkerSpec::new("http://p").role(Role::Prefill)).unwrap();
    router.add_worker(WorkerSpec::new("http://d").role(Role::Decode)).unwrap();
    let whole = tokens(2048);
    let pair = router.select_pair(&Request::tokens(&whole[..1024])).unwrap();
    pair.complete(Outcome::Success, answer(500)).unwrap();
    let pair = router.select_pair(&Request::tokens(&whole)).unwrap();
    assert_eq!(pair.prefill().matched_tokens(), 1024);
}
