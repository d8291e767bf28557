//! Once warm, select and complete neither allocate nor free, by any policy and in any form.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

#[path = "support/counting.rs"]
mod counting;
#[allow(dead_code)]
#[path = "engine/messages.rs"]
mod messages;
#[allow(dead_code)]
mod support;

use pointsman::engine::{CacheMeter, KvEvent, KvStream, Loads, Source};
use pointsman::{Outcome, Request, Role, Router, Usage, WorkerId, WorkerSpec};

use counting::counted;
use support::{POLICIES, add, policy};

#[global_allocator]
static ALLOCATOR: counting::Counting = counting::Counting { live: false, refuses: false };

const ROUNDS: usize = 200;

fn router(name: &str, workers: usize) -> Router {
    let router = support::router(name);
    for role in Role::ALL {
        for i in 0..workers {
            let spec = WorkerSpec::new(format!("http://{role}-{i}")).role(role);
            let spec = spec.label("zone", if i % 2 == 0 { "a" } else { "b" });
            // Unequal weights and limits, so that the costlier tables are in use.
            add(&router, spec.weight(1.0 + (i % 3) as f64).max_in_flight(100));
        }
    }
    router
}

/// Prompts that share beginnings, and some that share nothing.
fn prompts() -> Vec<String> {
    let shared = "You are a helpful assistant. ".repeat(100);
    let lengths = [0, 10, 1_000, 10_000, 150_000];
    let text = |i: usize| format!("{shared}{i} ").repeat(1 + lengths[i % 5] / 3_000);
    let own = |i: usize| format!("{i:08}").repeat(1 + lengths[i % 5] / 8);
    (0..30).map(text).chain((0..30).map(own)).collect()
}

const BODY: &[u8] = br#"{"model": "m", "stream": true, "messages": [
    {"role": "system", "content": "You are a helpful assistant.\nBe brief."},
    {"role": "user", "content": [{"type": "text", "text": "caf\u00e9?"}]}]}"#;

const USAGE: Usage =
    Usage { prompt_tokens: Some(700), cached_tokens: Some(300), completion_tokens: Some(9) };

/// One request, which must be served, in one of the ways in which hosts end them.
fn single(router: &Router, request: &Request<'_>, way: usize) {
    let selection = router.select(request).unwrap();
    let _ = (selection.worker(), selection.user_data(), selection.reason(), selection.runner_up());
    match way % 5 {
        0 => drop(selection),
        1 => selection.complete(Outcome::Success, Usage::default()).unwrap(),
        2 => {
            selection.first_token(Some(3)).unwrap();
            selection.progress().unwrap();
            selection.complete(Outcome::Success, USAGE).unwrap();
        }
        3 => {
            let ticket = selection.into_ticket();
            router.first_token(ticket, None).unwrap();
            router.complete(ticket, Outcome::ClientError, USAGE).unwrap();
            assert!(router.complete(ticket, Outcome::Success, USAGE).is_err());
        }
        // One failure, and a success right after it: no worker is ejected.
        _ => {
            let worker = selection.worker();
            selection.complete(Outcome::WorkerError, USAGE).unwrap();
            let again = router.select(&Request::none().allow(&[worker])).unwrap();
            again.complete(Outcome::Success, USAGE).unwrap();
        }
    }
}

/// As [`single`].
fn pair(router: &Router, request: &Request<'_>, way: usize) {
    let pair = router.select_pair(request).unwrap();
    let _ = (pair.prefill().worker(), pair.decode().worker());
    match way % 3 {
        0 => drop(pair),
        1 => {
            pair.first_token(Some(5)).unwrap();
            pair.complete(Outcome::Success, USAGE).unwrap();
        }
        _ => {
            let ticket = pair.into_ticket();
            router.progress(ticket).unwrap();
            router.complete(ticket, Outcome::Success, USAGE).unwrap();
        }
    }
}

/// Runs every round twice, to be warm and to be counted.
#[track_caller]
fn assert_none(told: &str, mut round: impl FnMut(usize)) {
    (0..ROUNDS).for_each(&mut round);
    let ((), found) = counted(|| (0..ROUNDS).for_each(&mut round));
    assert_eq!((found.allocations, found.frees), (0, 0), "allocations and frees: {told}");
}

#[test]
fn plain_requests_of_every_kind() {
    let prompts = prompts();
    let tokens: Vec<u32> = (0..20_000).collect();
    for name in POLICIES {
        for workers in [1, 9, 200] {
            let router = router(name, workers);
            assert_none(&format!("{name}, {workers} workers"), |i| {
                let text = &prompts[i % prompts.len()];
                let kinds = [
                    Request::none(),
                    Request::text(text),
                    Request::tokens(&tokens[i % 100..i * 90 % 20_000 + 100]),
                    Request::json(BODY),
                    Request::text(text).namespace("a model").routing_key("a session"),
                    Request::none().routing_key("a session").expected_output_tokens(900),
                ];
                single(&router, &kinds[i % kinds.len()], i / kinds.len());
                pair(&router, &kinds[i % kinds.len()], i / kinds.len());
            });
            support::assert_idle(&router);
        }
    }
}

#[test]
fn fingerprints_in_a_buffer_of_the_host_s() {
    let prompts = prompts();
    for name in POLICIES {
        let router = router(name, 9);
        assert_none(name, |i| {
            let mut buffer = [0; 256];
            let request = Request::text(&prompts[i % prompts.len()]);
            let fingerprint = router.fingerprint(&request, &mut buffer).unwrap();
            single(&router, &Request::fingerprint(fingerprint), i);
            pair(&router, &Request::fingerprint(fingerprint), i);
        });
    }
}

#[test]
fn restricted_requests_and_refused_ones() {
    for name in POLICIES {
        let router = router(name, 40);
        let members = router.workers();
        let all: Vec<WorkerId> = members.iter().map(|status| status.info.id).collect();
        let (most, few) = all.split_at(all.len() - 3);
        let words = [0b1011, 0, u64::MAX];
        assert_none(name, |i| {
            let (former, rest) = all.split_at(i % all.len());
            // Each with workers that it leaves, among them one of every role that is left.
            let kinds = [
                (Request::none().exclude(former), rest),
                (Request::none().exclude(most), few),
                (Request::none().allow(rest), rest),
                (Request::none().allow_slots(&words), &all[..2]),
                (Request::none().labels(&[("zone", "b")]), &all[..]),
                (Request::none().exclude(&all), &[]),
                (Request::none().allow(&[]), &[]),
            ];
            let (request, left) = &kinds[i % kinds.len()];
            let has = |role| left.iter().any(|id| members[id.slot()].info.role == role);
            if has(Role::Regular) {
                single(&router, request, i / kinds.len());
            } else {
                assert!(router.select(request).is_err());
            }
            if has(Role::Prefill) && has(Role::Decode) {
                pair(&router, request, i / kinds.len());
            } else {
                assert!(router.select_pair(request).is_err());
            }
        });
    }
}

#[test]
fn a_full_ticket_table() {
    for name in POLICIES {
        let mut config = support::config(name);
        config.max_tickets = 64;
        let router = Router::new(config).unwrap();
        Role::ALL.iter().for_each(|&role| drop(support::add_many(&router, role, 4)));
        let held: Vec<_> = (0..64).map(|_| router.select(&Request::none()).unwrap()).collect();
        assert_none(name, |i| {
            let selection = router.select(&Request::none()).unwrap();
            assert!(!selection.ticket().is_tracked());
            drop(selection);
            pair(&router, &Request::none(), i % 2);
        });
        drop(held);
    }
}

/// What routers of two sizes take beyond each other is what they say that their tables take.
#[test]
fn the_bytes_of_the_ticket_table_are_told() {
    let made = |max_tickets| {
        let mut config = support::config("random");
        config.max_tickets = max_tickets;
        let (router, found) = counted(|| Router::new(config).unwrap());
        let tickets = router.metrics().tickets;
        assert_eq!(tickets.capacity, max_tickets);
        (tickets.bytes as i64, found.bytes)
    };
    let (small, large) = (made(1 << 7), made(1 << 14));
    assert!(small.0 > 0 && small.0 <= small.1, "{small:?}");
    assert_eq!(large.0 - small.0, large.1 - small.1);
}

#[test]
fn right_after_a_switch_of_policies() {
    let router = router("random", 9);
    let mut held = Vec::new();
    for name in POLICIES {
        held.push(router.select(&Request::none()).unwrap().into_ticket());
        router.set_policy(&policy(name)).unwrap();
        assert_none(name, |i| single(&router, &Request::text("the prompt"), i));
    }
    // Completions reach policies that were replaced long ago.
    let ((), found) = counted(|| {
        for &ticket in &held {
            router.first_token(ticket, None).unwrap();
            router.complete(ticket, Outcome::Success, USAGE).unwrap();
        }
    });
    assert_eq!((found.allocations, found.frees), (0, 0));
}

#[test]
fn what_engines_say() {
    for name in messages::names() {
        let captured = messages::capture(&name);
        let frames: Vec<_> = captured.iter().map(messages::Captured::frames).collect();
        let (mut stream, mut tokens, mut sum) = (KvStream::new(), Vec::new(), 0);
        let mut hear = |event: KvEvent<'_>| match event {
            KvEvent::Stored(stored) => {
                sum += stored.hashes.iter().count();
                stored.for_each_block(&mut tokens, |_, tokens| sum += tokens.len());
            }
            KvEvent::Removed(removed) => sum += removed.hashes.iter().count(),
            _ => {}
        };
        assert_none(&name, |i| {
            let frames = &frames[i % frames.len()];
            let _ = stream.gap_before(frames, &mut hear);
            let _ = stream.feed(Source::Live, frames, &mut hear);
            let _ = stream.feed(Source::Replay, &frames[1..], &mut hear);
        });
        assert!(sum > 0, "{name}");
    }
}

/// What is held for a worker that tells what it caches, beside the objects themselves.
#[test]
fn the_bytes_of_an_ear() {
    let captured = messages::capture("vllm-0.32.0-hybrid-swa.txt");
    let ((stream, meter), found) = counted(|| {
        let (mut stream, mut meter) = (KvStream::new(), CacheMeter::new());
        for message in &captured {
            stream.feed(Source::Live, &message.frames(), |event| meter.hear(&event)).unwrap();
        }
        (stream, meter)
    });
    let own = size_of_val(&stream) + size_of_val(&meter);
    println!("{} bytes, and {own} of the objects", found.bytes);
    // Of one rank and two cache groups.
    assert!(found.bytes <= 512 && own <= 256, "{} and {own}", found.bytes);
}

#[test]
fn the_loads_that_engines_tell() {
    let ranks =
        |name| -> String { (0..8).map(|i| format!("{name}{{engine=\"{i}\"}} {i}\n")).collect() };
    let metrics: String =
        ["vllm:num_requests_running", "vllm:num_requests_waiting"].map(ranks).concat();
    let orca = "TEXT ".to_owned() + &"named_metrics.num_requests_waiting=3.0, ".repeat(8);
    let list = (0..8).map(|i| format!(r#"{{"dp_rank":{i},"num_running_reqs":1}}"#));
    let list = format!(r#"{{"version":"1","loads":[{}]}}"#, Vec::from_iter(list).join(","));
    let mut loads = Loads::new();
    assert_none("loads", |i| {
        match i % 4 {
            0 => loads.read_metrics(metrics.as_bytes()).unwrap(),
            1 => loads.read_orca(orca.as_bytes()).unwrap(),
            2 => loads.read_listing(list.as_bytes()).unwrap(),
            _ => _ = loads.read_metrics(&metrics.as_bytes()[..i]),
        }
        assert!(loads.sum().report().is_some() == (i % 4 == 0));
        assert!(loads.ranks().count() == 8 || i % 4 == 3);
    });
}

#[test]
fn the_counter_counts() {
    let count = |work: &mut dyn FnMut()| {
        let ((), found) = counted(work);
        (found.allocations, found.frees, found.bytes)
    };
    assert_eq!(count(&mut || drop(Box::new(5))), (1, 1, 0));
    let mut list = Vec::with_capacity(1);
    assert_eq!(count(&mut || list.extend([1u8; 9])), (1, 1, list.capacity() as i64 - 1));
}
