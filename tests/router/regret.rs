//! The longest match that another choice would have found, and which tokens were lost to what.

use pointsman::{BestMatch, Outcome, Request, Role, Router, Usage, WorkerId};

use crate::support::{self, SECOND, add_many};

/// 64 blocks of text, and the same again with another ending.
fn prompts() -> [String; 2] {
    let head = "The cat sat on the mat. ".repeat(256);
    ["One more line. ", "Another line. "].map(|tail| format!("{head}{}", tail.repeat(64)))
}

fn lost(router: &Router) -> [u64; 4] {
    let metrics = router.metrics();
    let row = metrics.policies.iter().find(|row| row.policy == "cache_aware").unwrap();
    [row.prompt_tokens, row.best_tokens, row.matched_tokens, row.refuted_tokens]
}

fn best(router: &Router, request: &Request<'_>) -> (WorkerId, u32, Option<BestMatch>) {
    let selection = router.at(SECOND).select(request).unwrap();
    (selection.worker(), selection.matched_tokens(), selection.best_match())
}

#[test]
fn the_best_match_is_the_longest_of_the_candidates() {
    let router = support::router("cache_aware");
    add_many(&router, Role::Regular, 3);
    let [first, second] = prompts();
    let (holder, matched, nothing) = best(&router, &Request::text(&first));
    assert_eq!((matched, nothing), (0, None), "nothing is held yet");
    let (chosen, matched, found) = best(&router, &Request::text(&second));
    let found = found.expect("the shared beginning");
    assert_eq!(found.worker, holder);
    assert!(found.tokens >= matched && found.tokens > 1000, "{found:?}");
    assert!(chosen != holder || found.tokens == matched);
    // Ruled out, the holder is no candidate; what others hold is found instead, or nothing.
    let without = [holder];
    let (other, _, found) = best(&router, &Request::text(&first).exclude(&without));
    assert!(other != holder && found.is_none_or(|found| found.worker != holder));
    // A worker is preferred that has less.
    let only = [other];
    let longer = format!("{first}{first}");
    let others: Vec<_> = router.workers().iter().map(|status| status.info.id).collect();
    let long = [*others.iter().find(|&&id| id != other && id != holder).unwrap()];
    drop(router.at(SECOND).select(&Request::text(&longer).allow(&long)).unwrap());
    let both = [long[0], other];
    let selection = router.at(SECOND).select(&Request::text(&longer).allow(&both)).unwrap();
    let found = selection.best_match().expect("all of it is held");
    assert_eq!(found.worker, long[0]);
    assert_eq!(router.best_match(&selection), Some(found));
    let ticket = selection.into_ticket();
    assert_eq!(router.best_match(ticket), Some(found));
    router.at(SECOND).complete(ticket, Outcome::Success, Usage::default()).unwrap();
    assert_eq!(router.best_match(ticket), None, "over");
    // The entry is used again, by a request that has no prompt.
    let next = router.at(SECOND).select(&Request::none().allow(&only)).unwrap();
    assert_eq!(next.best_match(), None);
}

#[test]
fn a_pair_s_best_match_is_a_prefill_worker_s() {
    let router = support::router("cache_aware");
    let prefill = add_many(&router, Role::Prefill, 2);
    add_many(&router, Role::Decode, 2);
    let [first, _] = prompts();
    drop(router.at(SECOND).select_pair(&Request::text(&first)).unwrap());
    let pair = router.at(SECOND).select_pair(&Request::text(&first)).unwrap();
    let found = pair.best_match().expect("it was computed before");
    assert!(prefill.contains(&found.worker));
}

#[test]
fn lost_tokens_are_split_by_cause() {
    let router = support::router("cache_aware");
    add_many(&router, Role::Regular, 1);
    let [first, _] = prompts();
    let mut total = 0;
    for cached in [0, 700] {
        let selection = router.at(SECOND).select(&Request::text(&first)).unwrap();
        total = u64::from(selection.total_tokens());
        let usage = Usage { cached_tokens: Some(cached), ..Usage::default() };
        router.at(SECOND).complete(selection, Outcome::Success, usage).unwrap();
    }
    let [prompt, best, matched, refuted] = lost(&router);
    assert_eq!(prompt, 2 * total);
    assert!(best == matched && matched > 1000, "one worker: nothing is passed over");
    assert_eq!(refuted, matched - 700);
    let mut text = String::new();
    router.metrics().write_prometheus(&mut text).unwrap();
    for (cause, tokens) in [("cold", prompt - best), ("routing", 0), ("belief", refuted)] {
        let line = format!("cause=\"{cause}\"}} {tokens}\n");
        assert!(text.contains(&line), "{line} is not in\n{text}");
    }
}

#[test]
fn what_the_first_token_refutes_counts_once() {
    let router = support::router("cache_aware");
    add_many(&router, Role::Regular, 1);
    let [first, _] = prompts();
    drop(router.at(SECOND).select(&Request::text(&first)).unwrap());
    let selection = router.at(SECOND).select(&Request::text(&first)).unwrap();
    let matched = u64::from(selection.matched_tokens());
    selection.first_token(Some(300)).unwrap();
    assert_eq!(lost(&router)[3], matched - 300);
    let usage = Usage { cached_tokens: Some(100), ..Usage::default() };
    router.at(SECOND).complete(selection, Outcome::Success, usage).unwrap();
    assert_eq!(lost(&router)[3], matched - 300, "it was told before");
}

#[test]
fn the_decision_log_shows_the_best_match() {
    use std::sync::{Arc, Mutex};
    let seen = Arc::new(Mutex::new(Vec::new()));
    let list = Arc::clone(&seen);
    let builder = Router::builder().config(support::config("cache_aware"));
    let router =
        builder.decision_log(1, move |record| list.lock().unwrap().push(*record)).build().unwrap();
    add_many(&router, Role::Regular, 1);
    let [first, _] = prompts();
    let found =
        [(); 2].map(|()| router.at(SECOND).select(&Request::text(&first)).unwrap().best_match());
    let logged: Vec<_> = seen.lock().unwrap().iter().map(|record| record.best_match).collect();
    assert_eq!(logged, found);
    assert!(found[0].is_none() && found[1].is_some());
}
