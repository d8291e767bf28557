//! Any text as a configuration document: read or refused, never a panic; what is read says the same when
//! written and read again, and makes a router that routes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pointsman::{PolicyConfig, Request, Router, RouterConfig, WorkerSpec};

/// Most bytes of tree and most tickets of a router that is built, so that inputs stay fast.
const MOST_BYTES: usize = 1 << 20;
const MOST_TICKETS: usize = 1 << 12;

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(policy) = serde_json::from_str::<PolicyConfig>(text) {
        let written = serde_json::to_string(&policy).expect("a policy can be written");
        assert_eq!(serde_json::from_str::<PolicyConfig>(&written).expect(&written), policy);
    }
    let config = match RouterConfig::from_json(text) {
        Ok(config) => config,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let written = serde_json::to_string(&config).expect("a configuration can be written");
    assert_eq!(RouterConfig::from_json(&written).expect(&written), config);
    if config.tree.budget_bytes <= MOST_BYTES && config.max_tickets <= MOST_TICKETS {
        route(config);
    }
});

/// A router is made, or refused for what only its parts can tell; a made one serves.
fn route(config: RouterConfig) {
    let Ok(router) = Router::new(config) else { return };
    let worker = router.at(1).add_worker(WorkerSpec::new("w")).expect("a first worker");
    for text in ["", "a prompt", &"a long prompt ".repeat(40)] {
        let selection = router.at(2).select(&Request::text(text)).expect("a healthy worker");
        assert_eq!(selection.worker(), worker);
    }
    assert_eq!(router.at(3).metrics().tickets.open, 0);
}
