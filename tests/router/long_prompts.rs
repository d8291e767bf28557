//! The longest prompts: 4 MiB of text or 1,048,576 tokens are matched and remembered to their last
//! full block, in whatever form they come; what lies beyond is work.

use pointsman::{Request, Role, Router};
use serde_json::json;

use crate::support::{self, add_many, assert_idle};

/// Bytes of text, or a quarter as many tokens.
const LONGEST: usize = 4 << 20;
/// Tokens that the policy counts for each request beside its prompt.
const OVERHEAD: u32 = 200;

/// Makes a request of a text, and hands it on.
type Form = fn(&Router, &str, &mut dyn FnMut(&Request<'_>));

const FORMS: [(&str, Form); 6] = [
    ("text", |_, text, ask| ask(&Request::text(text))),
    ("tokens", |_, text, ask| ask(&Request::tokens(&tokens(text)))),
    ("JSON body", |_, text, ask| {
        ask(&Request::json(format!(r#"{{"prompt": "{text}"}}"#).as_bytes()));
    }),
    ("parsed body", |_, text, ask| ask(&Request::value(&json!({"prompt": text})))),
    ("fingerprint of text", |router, text, ask| fingerprinted(router, Request::text(text), ask)),
    ("fingerprint of tokens", |router, text, ask| {
        fingerprinted(router, Request::tokens(&tokens(text)), ask);
    }),
];

/// Of other shapes.
const BODIES: [(&str, Form); 2] = [
    ("JSON chat", |_, text, ask| {
        let body = format!(r#"{{"messages": [{{"role": "user", "content": "{text}"}}]}}"#);
        ask(&Request::json(body.as_bytes()));
    }),
    ("JSON tokens", |_, text, ask| {
        let tokens: Vec<String> = tokens(text).iter().map(u32::to_string).collect();
        ask(&Request::json(format!(r#"{{"input_ids": [{}]}}"#, tokens.join(",")).as_bytes()));
    }),
];

/// Text in which no two blocks are equal, and nothing needs an escape.
fn text(length: usize) -> String {
    let line = |number: usize| format!("{number:063} ");
    let mut text: String = (0..length.div_ceil(64)).map(line).collect();
    text.truncate(length);
    text
}

fn tokens(text: &str) -> Vec<u32> {
    let fours = text.as_bytes().chunks_exact(4);
    assert!(fours.remainder().is_empty());
    fours.map(|four| u32::from_le_bytes(four.try_into().unwrap())).collect()
}

/// In a buffer with room for more than is matched.
fn fingerprinted(router: &Router, request: Request<'_>, ask: &mut dyn FnMut(&Request<'_>)) {
    let mut hashes = vec![0; 2 * LONGEST / router.block_size().bytes()];
    ask(&Request::fingerprint(router.fingerprint(&request, &mut hashes).unwrap()));
}

/// A cache-aware router with three workers, and the budget that `TreeConfig` asks for one such prompt.
fn router(block: u16) -> Router {
    let mut config = support::config("least_work");
    config.tree.block_bytes = block;
    config.tree.budget_bytes = 24 * (LONGEST / usize::from(block));
    let router = Router::new(config).unwrap();
    add_many(&router, Role::Regular, 3);
    router
}

/// Tokens that the workers have yet to compute, as the policy counts them.
fn backlog(router: &Router) -> f64 {
    let workers = router.at(0).metrics().workers;
    let gauges = workers.iter().flat_map(|worker| worker.policy_gauges.clone());
    gauges.filter(|(name, _)| *name == "backlog_tokens").map(|(_, tokens)| tokens).sum()
}

/// Asks one router four times, and holds it to what it says.
fn check(block: u16, forms: &[(&str, Form)]) {
    let size = usize::from(block);
    // Ends within its last block; fills it; goes on by one block; goes on by that block again.
    let lengths = [LONGEST - size + 12, LONGEST, LONGEST + size, LONGEST + size];
    let matched = [0, LONGEST - size, LONGEST, LONGEST];
    let text = text(LONGEST + size);
    for (form, make) in forms {
        let router = router(block);
        let mut holder = None;
        for (length, matched) in lengths.into_iter().zip(matched) {
            make(&router, &text[..length], &mut |request| {
                let told = format!("{form}, blocks of {block}, {length} bytes");
                let chosen = router.at(0).select(request).unwrap();
                assert_eq!(chosen.matched_tokens(), matched as u32 / 4, "{told}");
                let worker = *holder.get_or_insert(chosen.worker());
                assert_eq!(chosen.worker(), worker, "{told}");
                // A body has more to it than the prompt's text.
                let (least, total) = (length as u32 / 4, chosen.total_tokens());
                let most = if form.contains("JSON") { least + 32 } else { least };
                assert!((least..=most).contains(&total), "{told}: {total} tokens");
                let work = total - chosen.matched_tokens();
                assert_eq!(backlog(&router), f64::from(work + OVERHEAD), "{told}");
            });
        }
        assert_eq!(router.metrics().tree.evicted_nodes, 0, "{form}, blocks of {block}");
        assert_idle(&router);
    }
}

#[test]
fn to_the_last_full_block_of_64_bytes_and_no_further() {
    check(64, &FORMS);
}

#[test]
fn to_the_last_full_block_of_128_bytes_and_no_further() {
    check(128, &FORMS);
}

#[test]
fn to_the_last_full_block_of_256_bytes_and_no_further() {
    check(256, &FORMS);
}

#[test]
fn in_bodies_of_other_shapes_too() {
    check(128, &BODIES);
}
