//! Memory that is refused.
//!
//! A router takes its memory when it is made; where that fails, making it is an error. From then on
//! routing needs none. (Membership changes do allocate; there Rust's own rule holds, which is to end
//! the process.)

use pointsman::{Outcome, Request, Role, Router, Usage};

use super::{SECOND, assert_recovered};
use crate::counting::refusing;
use crate::support::{POLICIES, add_many, config};

#[test]
fn a_tree_that_does_not_fit_is_an_error() {
    let mut config = config("least_work");
    config.tree.budget_bytes = 256 << 20;
    let error = refusing(16 << 20, || Router::new(config.clone())).map(drop).unwrap_err();
    assert!(error.to_string().contains("set a smaller budget"), "{error}");
    config.tree.budget_bytes = 1 << 20;
    assert!(refusing(16 << 20, || Router::new(config)).is_ok());
}

#[test]
fn routing_goes_on_without_memory() {
    let prompts: Vec<String> = (0..50).map(|i| format!("{i:08}").repeat(i * 30)).collect();
    for name in POLICIES {
        let router = Router::new(config(name)).unwrap();
        let workers = add_many(&router, Role::Regular, 8);
        add_many(&router, Role::Prefill, 2);
        add_many(&router, Role::Decode, 2);
        refusing(0, || {
            for (round, prompt) in prompts.iter().cycle().take(2_000).enumerate() {
                let request = Request::text(prompt);
                let selection = router.select(&request).unwrap();
                selection.first_token(Some(7)).unwrap();
                let outcome = if round % 9 == 0 { Outcome::ClientError } else { Outcome::Success };
                selection.complete(outcome, Usage::default()).unwrap();
                drop(router.select_pair(&request).unwrap());
            }
        });
        assert_recovered(&router, &workers, SECOND);
    }
}
