//! Clients that mean harm, and have nothing but requests to do it with. SECURITY.md says for each what
//! is protected and what is not; here it is shown.

use std::collections::HashSet;

use pointsman::{Outcome, Request, Role, Router, Selection, Usage, policy::Random};

use crate::support::{SECOND, add_many, assert_idle, config, router};

/// The prompt of a customer that comes again and again.
fn customer() -> String {
    "I am a customer of long standing, and this is my document. ".repeat(70)
}

fn matched(router: &Router, request: &Request<'_>) -> u32 {
    let selection = router.at(SECOND).select(request).unwrap();
    let matched = selection.matched_tokens();
    router.at(SECOND).complete(selection, Outcome::Success, Usage::default()).unwrap();
    matched
}

/// Sends this many unique prompts of 4 KiB.
fn flood(router: &Router, random: &Random, prompts: u32) {
    for _ in 0..prompts {
        let bytes: Vec<u8> =
            (0..512).flat_map(|_| random.below(usize::MAX).to_le_bytes()).collect();
        matched(router, &Request::bytes(&bytes));
    }
}

#[test]
fn unique_prompts_exhaust_no_memory_and_forget_only_the_longest_unused() {
    let router = router("least_work");
    add_many(&router, Role::Regular, 8);
    let (random, prompt) = (Random::from_seed(1), customer());
    let whole = prompt.len() as u32 / 4;
    matched(&router, &Request::text(&prompt));
    // A budget of 1 MiB holds about 1,700 such prompts. As long as a quarter of that passes between two
    // visits of the customer, his document is remembered, for as long as the flood lasts.
    for _ in 0..40 {
        flood(&router, &random, 425);
        let kept = matched(&router, &Request::text(&prompt));
        assert!(kept >= whole - 64, "{kept} of {whole} tokens");
    }
    // A customer that stays away for three times the budget is forgotten, as in any cache of this size.
    flood(&router, &random, 5_100);
    assert!(matched(&router, &Request::text(&prompt)) < whole / 4);
    let tree = router.metrics().tree;
    assert!(tree.held_bytes <= tree.budget_bytes);
    assert!(tree.evicted_nodes > 10_000);
}

#[test]
fn crafted_prompts_match_no_more_than_they_share() {
    let random = Random::from_seed(2);
    let block = |random: &Random| -> [u8; 128] { std::array::from_fn(|_| random.below(256) as u8) };
    let victim: Vec<[u8; 128]> = (0..16).map(|_| block(&random)).collect();
    let mut forged: Vec<Vec<[u8; 128]>> = Vec::new();
    for i in 0..16 {
        let mut swapped = victim.clone();
        swapped.swap(0, i.max(1));
        forged.push(swapped);
        // The same blocks without the first, shifted, mirrored, masked, and with one bit turned.
        forged.push(victim[1..=i.max(1)].to_vec());
        forged.push(victim.iter().rev().copied().collect());
        forged
            .push(victim.iter().map(|b| std::array::from_fn(|k| b[k] ^ (1 << (i % 8)))).collect());
        let mut turned = victim.clone();
        turned[0][i * 8] ^= 1;
        forged.push(turned);
        let mut rotated = victim.clone();
        rotated.as_flattened_mut().rotate_left(i * 8 + 8);
        forged.push(rotated);
    }
    for forgery in forged {
        let router = router("least_work");
        add_many(&router, Role::Regular, 1);
        matched(&router, &Request::bytes(victim.as_flattened()));
        // Each differs in its first block, so it shares nothing.
        assert_eq!(matched(&router, &Request::bytes(forgery.as_flattened())), 0);
    }
}

#[test]
fn what_one_router_s_hashes_teach_does_not_hold_for_another() {
    let (one, other) = (router("least_work"), router("least_work"));
    let (mut seen, mut collisions) = (HashSet::new(), 0);
    let mut buffers = ([0; 8], [0; 8]);
    for i in 0..20_000u32 {
        // Low entropy: long runs of one byte, and a counter.
        let mut prompt = [b'a'; 1024];
        prompt[i as usize % 1024..][..1].copy_from_slice(&[i as u8]);
        prompt[1020..].copy_from_slice(&i.to_le_bytes());
        let request = Request::bytes(&prompt);
        let here = one.fingerprint(&request, &mut buffers.0).unwrap();
        let there = other.fingerprint(&request, &mut buffers.1).unwrap();
        assert!(here.blocks().iter().zip(there.blocks()).all(|(a, b)| a != b));
        collisions += u32::from(!seen.insert(*here.blocks().last().unwrap()));
    }
    assert_eq!(collisions, 0);
    // And the other refuses the first one's fingerprints, rather than missing silently.
    let foreign = one.fingerprint(&Request::text(&customer()), &mut buffers.0).unwrap();
    add_many(&other, Role::Regular, 1);
    assert!(other.select(&Request::fingerprint(foreign)).is_err());
}

/// A body of this customer's, with the same messages as all others'.
fn body(fields: &str) -> String {
    let document = "the same confidential document ".repeat(100);
    format!(r#"{{{fields}, "messages": [{{"role": "user", "content": "{document}"}}]}}"#)
}

#[test]
fn customers_with_a_salt_of_their_own_learn_nothing_of_each_other() {
    let router = router("least_work");
    add_many(&router, Role::Regular, 4);
    let spellings = [
        r#""model": "m", "cache_salt": "alice""#,
        r#""model": "m", "cache_salt": "bob""#,
        r#""model": "m""#,
        r#""model": "malice""#,
        r#""model": "mal", "cache_salt": "ice""#,
        r#""model": "m", "lora_path": "alice""#,
        r#""model": "m", "extra_key": "alice""#,
        r#""model": "m", "lora_path": "al", "cache_salt": "ice""#,
        r#""model": "m", "lora_path": "alice", "cache_salt": "alice""#,
    ];
    let bodies: Vec<String> = spellings.iter().map(|fields| body(fields)).collect();
    for body in &bodies {
        assert_eq!(matched(&router, &Request::json(body.as_bytes())), 0, "{}", &body[..60]);
    }
    for body in &bodies {
        // Each finds its own again.
        assert!(matched(&router, &Request::json(body.as_bytes())) > 600, "{}", &body[..60]);
    }
    // An empty salt is none; engines refuse it, or take it so.
    let unsalted = body(r#""model": "m", "cache_salt": """#);
    assert!(matched(&router, &Request::json(unsalted.as_bytes())) > 600);
    // A host's own namespaces are as separate, also where one is the beginning of the other.
    let text = customer();
    for namespace in ["a", "ab", "abc", "b", " a", "A"] {
        assert_eq!(matched(&router, &Request::text(&text).namespace(namespace)), 0);
    }
}

#[test]
fn metrics_and_decisions_tell_nothing_of_what_was_asked() {
    let router = router("least_work");
    add_many(&router, Role::Regular, 2);
    let body = body(r#""model": "secret-model", "cache_salt": "secret-salt""#);
    let request = Request::json(body.as_bytes()).routing_key("secret-session");
    drop(router.select(&request.namespace("secret-namespace")).unwrap());
    drop(router.select(&request).unwrap());
    let mut text = String::new();
    router.metrics().write_prometheus(&mut text).unwrap();
    text += &format!("{:?}", router.metrics());
    assert!(!text.contains("secret") && !text.contains("confidential"), "{text}");
}

/// Holds this many requests of the prompt open at a time, until `total` were made; how many of them the
/// busiest worker got, and the worker of each request that is open at the end.
fn pin(router: &Router, prompt: &str, open: usize, total: usize) -> (usize, Vec<Selection>) {
    let mut held: std::collections::VecDeque<Selection> = std::collections::VecDeque::new();
    let mut counts = std::collections::HashMap::new();
    for step in 0..total {
        let now = SECOND + step as u64 * SECOND / 1_000;
        let selection = router.at(now).select(&Request::text(prompt)).unwrap();
        *counts.entry(selection.worker()).or_insert(0) += 1;
        held.push_back(selection);
        if held.len() > open {
            let oldest = held.pop_front().unwrap();
            router.at(now).first_token(&oldest, None).unwrap();
            router.at(now).complete(oldest, Outcome::Success, Usage::default()).unwrap();
        }
    }
    (counts.into_values().max().unwrap(), held.into())
}

#[test]
fn a_hot_prefix_pins_no_worker() {
    let router = router("least_work");
    add_many(&router, Role::Regular, 8);
    // Both short, so that the prompt's work is mostly overhead, and long, so that a match is worth much:
    // then workers join in once its queue costs more than computing the prompt once again.
    for length in [1, 400] {
        let prompt = "the hot prefix of them all, ".repeat(length);
        let (busiest, held) = pin(&router, &prompt, 512, 4_000);
        assert!(busiest < 4_000 / 4, "{busiest} of 4,000 requests on one of eight workers");
        drop(held);
    }
    assert_idle(&router);
}

#[test]
fn others_are_not_sent_where_a_flood_waits() {
    let router = router("least_work");
    let workers = add_many(&router, Role::Regular, 8);
    // Routing keys do not bind the flood's neighbours to it, either.
    let flooded = workers[0];
    let only = [flooded];
    let long = "a long prompt ".repeat(2_000);
    let held: Vec<Selection> = (0..50)
        .map(|i| format!("{i} {long}"))
        .map(|prompt| router.at(SECOND).select(&Request::text(&prompt).allow(&only)).unwrap())
        .collect();
    for i in 0..500 {
        let (prompt, key) = (format!("customer {i}: a question"), i.to_string());
        let request = Request::text(&prompt).routing_key(&key);
        let selection = router.at(SECOND).select(&request).unwrap();
        assert_ne!(selection.worker(), flooded);
        router.at(SECOND).complete(selection, Outcome::Success, Usage::default()).unwrap();
    }
    drop(held);
    assert_idle(&router);
}

#[test]
fn all_of_it_at_once_stays_within_the_budget_and_the_ticket_table() {
    let mut config = config("least_work");
    config.tree.budget_bytes = 256 << 10;
    let router = Router::new(config).unwrap();
    add_many(&router, Role::Regular, 8);
    let before = router.metrics();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let router = &router;
            scope.spawn(move || {
                let random = Random::from_seed(thread);
                let hot = "hot ".repeat(1_000);
                for round in 0..300 {
                    flood(router, &random, 3);
                    drop(router.select(&Request::text(&hot)).unwrap());
                    let salt = body(&format!(r#""model": "m", "cache_salt": "{thread}-{round}""#));
                    drop(router.select(&Request::json(salt.as_bytes())).unwrap());
                    // Never to be completed.
                    let _ = router.select(&Request::text(&hot)).unwrap().into_ticket();
                }
            });
        }
    });
    let after = router.metrics();
    assert_eq!(after.tree.held_bytes, before.tree.held_bytes);
    assert!(after.tree.held_bytes <= after.tree.budget_bytes);
    assert_eq!(after.tickets.capacity, before.tickets.capacity);
    assert!(after.tickets.open <= after.tickets.capacity);
    // 1,200 tickets never come back to a table of 1,024: the rest went untracked, and none was refused.
    assert_eq!(after.tickets.open, after.tickets.capacity);
    assert!(after.tickets.untracked >= 1_200 - after.tickets.capacity as u64);
}
