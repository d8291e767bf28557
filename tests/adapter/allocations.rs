//! Once warm, a selection through the adapter allocates the future that `async_trait` boxes, and a
//! completion allocates nothing.

use pointsman::PolicyConfig;
use pointsman::adapter::{Adapter, RoutingPolicy};
use serde_json::json;

use crate::counting::counted;
use crate::engine::{complete, engines, ready};

#[test]
fn one_box_per_call_once_warm() {
    let threshold = PolicyConfig::threshold(Default::default());
    let named = ["random", "round_robin", "power_of_two", "cache_aware"].map(PolicyConfig::named);
    for config in named.into_iter().chain([threshold]) {
        let adapter = Adapter::from_config(&config).unwrap();
        let (_, workers) = engines("http://w", 16);
        let (_, decode) = engines("http://d", 4);
        let request = json!({
            "model": "m",
            "messages": [{"role": "user", "content": "Tell me about the weather. ".repeat(200)}],
        });
        let call = || {
            let ((p, d), pair) =
                counted(|| ready(adapter.select_pair(&workers, &decode, &request)).unwrap());
            let (single, one) =
                counted(|| ready(adapter.select_single(&workers, &request)).unwrap());
            let ((), done) = counted(|| complete(&adapter, &[&single, &p, &d]));
            [one, pair, done].map(|counts| (counts.allocations, counts.frees))
        };
        for _ in 0..1000 {
            call();
        }
        for _ in 0..1000 {
            assert_eq!(call(), [(1, 1), (1, 1), (0, 0)], "{}", adapter.name());
        }
    }
}
