//! Allocations and frees per request once warm: in `Router` and through C, and the adapter's box.

use pointsman::{Outcome, PolicyConfig, Request, Role, Router, RouterConfig, policy::ThresholdConfig, Usage, WorkerSpec};

use crate::adapter;
use crate::c_abi;
use crate::support::allocations::Counts;
use crate::support::bars::{Bar, Limit};
use crate::support::measure::Figure;

const POLICIES: [&str; 4] = ["random", "round_robin", "power_of_two", "cache_aware"];
const REQUESTS: u64 = 2_000;

pub fn measure() -> Vec<Bar> {
    let named = POLICIES.map(|name| (name.to_owned(), PolicyConfig::named(name)));
    let threshold = PolicyConfig::threshold(ThresholdConfig::default());
    let all = named.into_iter().chain([("threshold".to_owned(), threshold)]);
    let mut figures = Vec::new();
    for (name, config) in all {
        let router = router(&config);
        let prompts = prompts();
        let mut turn = prompts.iter().cycle();
        figures.push((format!("{name}, single"), counted(|| single(&router, turn.next()))));
        figures.push((format!("{name}, pair"), counted(|| pair(&router, turn.next()))));
    }
    for policy in POLICIES {
        figures.push((format!("{policy}, C"), counted(c_abi::select_and_complete(policy))));
    }
    let mut boxes = Vec::new();
    for policy in POLICIES {
        let run = adapter::select_and_complete(policy, 16);
        run(REQUESTS);
        let before = Counts::now();
        run(REQUESTS);
        // The request that the run makes for itself is not counted: it is a share of a request.
        let (allocations, _) = Counts::now().per_operation(before, REQUESTS);
        boxes.push((policy.to_owned(), Figure::exactly(allocations.floor())));
    }
    let what = |what: &str| format!("allocations per request: {what}");
    let Some(most) = boxes.iter().map(|(_, figure)| figure.median).reduce(f64::max) else {
        return Vec::new();
    };
    println!("the adapter allocates {most} times per request");
    vec![
        Bar {
            what: format!("{} and frees", what("Router and C")),
            limit: Limit::AtMost(0.0),
            figures,
        },
        Bar { what: what("adapter"), limit: Limit::AtMost(1.0), figures: boxes.clone() },
        Bar { what: what("adapter"), limit: Limit::AtLeast(1.0), figures: boxes },
    ]
}

fn counted(mut request: impl FnMut()) -> Figure {
    (0..REQUESTS).for_each(|_| request());
    let before = Counts::now();
    (0..REQUESTS).for_each(|_| request());
    let (allocations, frees) = Counts::now().per_operation(before, REQUESTS);
    Figure::exactly(allocations + frees)
}

fn router(policy: &PolicyConfig) -> Router {
    let mut config = RouterConfig::default();
    config.policy = policy.clone();
    let router = Router::new(config).expect("the configuration is valid");
    for role in Role::ALL {
        for worker in 0..16 {
            let spec = WorkerSpec::new(format!("http://{role}-{worker}")).role(role);
            router.add_worker(spec).expect("there is room");
        }
    }
    router
}

/// Prompts with common beginnings, of up to 60 KiB.
fn prompts() -> Vec<String> {
    let prompt = |i: usize| format!("{}{i}", "You are a helpful assistant. ".repeat(i * i / 2));
    (0..64).map(prompt).collect()
}

fn single(router: &Router, prompt: Option<&String>) {
    let request = prompt.map_or(Request::none(), |prompt| Request::text(prompt));
    let selection = router.select(&request).expect("all are healthy");
    let ended = selection.complete(Outcome::Success, Usage::default());
    ended.expect("the ticket is open");
}

fn pair(router: &Router, prompt: Option<&String>) {
    let request = prompt.map_or(Request::none(), |prompt| Request::text(prompt));
    let selection = router.select_pair(&request).expect("all are healthy");
    let ended = selection.complete(Outcome::Success, Usage::default());
    ended.expect("the ticket is open");
}
