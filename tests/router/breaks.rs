//! What workers report to have had of a prompt, and what is believed of them from then on.

use pointsman::policy::LeastWorkConfig;
use pointsman::{
    Outcome, PolicyConfig, Request, Role, Router, RouterConfig, Usage, WorkerId, WorkerSpec,
};

/// Tokens to a block.
const BLOCK: u32 = 32;

fn router(workers: usize) -> (Router, Vec<WorkerId>) {
    let mut config = RouterConfig::default();
    config.policy = PolicyConfig::least_work(LeastWorkConfig::default());
    let router = Router::new(config).unwrap();
    let add = |i| router.add_worker(WorkerSpec::new(format!("http://{i}"))).unwrap();
    let ids = (0..workers).map(add).collect();
    (router, ids)
}

/// Sends a prompt of tokens to one worker, which reports what it had: the tokens that it was believed to have.
fn send(
    router: &Router,
    ids: &[WorkerId],
    id: WorkerId,
    prompt: &[u32],
    cached: impl FnOnce(u32) -> Option<u32>,
) -> u32 {
    let others: Vec<_> = ids.iter().copied().filter(|&other| other != id).collect();
    let selection = router.select(&Request::tokens(prompt).exclude(&others)).unwrap();
    assert_eq!(selection.worker(), id);
    let matched = selection.matched_tokens();
    let usage = Usage::including_cached(Some(prompt.len() as u32), cached(matched), Some(1));
    selection.complete(Outcome::Success, usage).unwrap();
    matched
}

/// The first tokens of a conversation; conversations that share a beginning have one `start`.
fn turn(start: u32, shared: usize, own: u32, length: usize) -> Vec<u32> {
    let token = |i: usize| {
        let seed = if i < shared { start } else { own };
        (i as u32).wrapping_mul(2_654_435_761) ^ seed.wrapping_mul(40_503)
    };
    (0..length).map(token).collect()
}

#[test]
fn an_engine_that_always_breaks_at_one_depth_is_believed_that_much() {
    for (depth, grows) in [(800, 400), (160, 1600), (3200, 320), (48, 3000)] {
        let (router, ids) = router(2);
        let one = |length| turn(1, 0, 1, length);
        let (other, close) = (turn(2, 0, 2, 4000), turn(1, depth as usize, 3, 4000));
        let mut length = 4000;
        send(&router, &ids, ids[0], &one(length), |_| Some(0));
        send(&router, &ids, ids[1], &one(length), |_| Some(0));
        send(&router, &ids, ids[0], &other, |_| Some(0));
        send(&router, &ids, ids[0], &close, Some);
        for _ in 0..2 {
            length += grows;
            let believed = send(&router, &ids, ids[0], &one(length), |_| Some(depth));
            assert!(believed as usize >= length - grows - BLOCK as usize, "{depth} {believed}");
        }
        // The next turns are believed to be held that far.
        for _ in 0..5 {
            length += grows;
            let believed = send(&router, &ids, ids[0], &one(length), |_| Some(depth));
            assert!(believed <= depth && believed + BLOCK > depth, "{depth}: {believed}");
        }
        // Neither another conversation is touched, though it begin alike, nor another worker.
        assert!(send(&router, &ids, ids[0], &other, Some) > 3900);
        assert!(send(&router, &ids, ids[0], &close, Some) > 3900);
        assert!(send(&router, &ids, ids[1], &one(length), Some) > 3900);
    }
}

#[test]
fn of_text_the_share_of_the_prompt_counts() {
    let (router, _) = router(1);
    let mut text = String::new();
    let mut believed = Vec::new();
    for turn in 0..6 {
        (0..800).for_each(|word| text += &format!("{turn}{word:04} "));
        let selection = router.select(&Request::text(&text)).unwrap();
        let share = f64::from(selection.matched_tokens()) / f64::from(selection.total_tokens());
        believed.push((share * text.len() as f64) as usize);
        // Three bytes to a token, and a break after 2,048 bytes.
        let tokens = text.len() as u32 / 3;
        let usage = Usage::including_cached(Some(tokens), Some(2048 / 3), Some(1));
        selection.complete(Outcome::Success, usage).unwrap();
    }
    assert!(believed[1] > 4600 && believed[2] > 9300, "{believed:?}");
    assert!(believed[3..].iter().all(|bytes| (1900..2060).contains(bytes)), "{believed:?}");
}

#[test]
fn one_eviction_says_nothing_of_the_next_turn() {
    let (router, ids) = router(1);
    let one = |length| turn(1, 0, 1, length);
    let mut length = 4000;
    send(&router, &ids, ids[0], &one(length), |_| Some(0));
    for lost in [true, false, true, false, false, true] {
        length += 320;
        let believed =
            send(&router, &ids, ids[0], &one(length), |all| Some(if lost { 320 } else { all }));
        assert!(believed as usize >= length - 320 - 16, "{believed} of {length}");
    }
}

#[test]
fn what_branches_off_beyond_the_lost_depth_is_lost_too() {
    let (router, ids) = router(1);
    let branch = |own, length| turn(1, 3200, own, length);
    for own in 1..5 {
        send(&router, &ids, ids[0], &branch(own, 4800), |_| None);
    }
    // The first branch comes again, and nearly all of it was lost.
    send(&router, &ids, ids[0], &branch(1, 5200), |_| Some(160));
    let believed = send(&router, &ids, ids[0], &branch(2, 5200), |_| Some(160));
    assert_eq!(believed, 160, "the second branch went with the first");
    // Both were computed anew since.
    assert!(send(&router, &ids, ids[0], &branch(1, 5600), Some) > 5100);
    assert!(send(&router, &ids, ids[0], &branch(2, 5600), Some) > 5100);
}

#[test]
fn a_report_that_proves_more_is_believed() {
    let (router, ids) = router(1);
    let one = |length| turn(1, 0, 1, length);
    let mut length = 4000;
    let mut next = |cached: &dyn Fn(u32) -> u32| {
        length += 320;
        (send(&router, &ids, ids[0], &one(length), |all| Some(cached(all))), length as u32)
    };
    for _ in 0..4 {
        next(&|_| 800);
    }
    assert_eq!(next(&|_| 800).0, 800);
    // It holds a part of what lies beyond, then all.
    assert_eq!(next(&|_| 2400).0, 800);
    let (believed, length) = next(&|_| 5800);
    assert_eq!(believed, 2400);
    let (believed, now) = next(&|all| all);
    assert!(believed + 16 > length && now > length, "{believed} of {length}");
}

#[test]
fn workers_that_lie_are_believed_to_their_own_cost() {
    let (router, ids) = router(4);
    let turn_of = |conversation, length| turn(9, 1600, conversation, length);
    let mut lies = [0, u32::MAX - 1, 7, 100_000, 3].into_iter().cycle();
    for round in 0..30 {
        for conversation in 0..40 {
            let prompt = turn_of(conversation, 2400 + round * 160);
            for &id in &ids[..3] {
                let lie = lies.next();
                send(&router, &ids, id, &prompt, |_| lie);
            }
            let believed = send(&router, &ids, ids[3], &prompt, Some) as usize;
            assert!(round == 0 || believed + 176 > prompt.len(), "{round} {believed}");
        }
    }
}

#[test]
fn a_worker_that_comes_anew_begins_anew() {
    let (router, ids) = router(1);
    let one = |length| turn(1, 0, 1, length);
    for step in 0..5 {
        send(&router, &ids, ids[0], &one(4000 + 320 * step), |_| Some(800));
    }
    router.remove_worker(ids[0]).unwrap();
    let again = [router.add_worker(WorkerSpec::new("http://0")).unwrap()];
    assert_eq!(send(&router, &again, again[0], &one(5600), |_| Some(0)), 0);
    assert!(send(&router, &again, again[0], &one(5920), Some) >= 5584);
}

#[test]
fn of_a_pair_the_prefill_worker_s_own_word_counts() {
    let mut config = RouterConfig::default();
    config.policy = PolicyConfig::least_work(LeastWorkConfig::default());
    let router = Router::new(config).unwrap();
    router.add_worker(WorkerSpec::new("http://p").role(Role::Prefill)).unwrap();
    router.add_worker(WorkerSpec::new("http://d").role(Role::Decode)).unwrap();
    let mut believed = Vec::new();
    for step in 0..6 {
        let prompt = turn(1, 0, 1, 4000 + step * 320);
        let pair = router.select_pair(&Request::tokens(&prompt)).unwrap();
        believed.push(pair.prefill().matched_tokens());
        pair.first_token(Some(800)).unwrap();
        let length = prompt.len() as u32;
        let all = Usage::including_cached(Some(length), Some(length - 1), Some(1));
        pair.complete(Outcome::Success, all).unwrap();
    }
    assert_eq!(believed, [0, 4000, 4320, 800, 800, 800]);
}
