//! Policies from outside that panic and talk nonsense.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use pointsman::{
    Outcome, PolicyConfig, Reason, Request, Role, Router, RoutingError, RoutingPolicy, Usage,
    WorkerId,
    policy::{
        Candidates, Completion, Decision, Dispatch, FirstToken, Random, RequestView, RunnerUp,
    },
};

use super::{SECOND, assert_recovered};
use crate::support::{POLICIES, add_many, assert_idle, config, policy};

/// Does whatever the dice say.
struct Dice(Random);

impl Dice {
    fn may_panic(&self) {
        if self.0.below(8) == 0 {
            // Without the message of a panic hook.
            std::panic::resume_unwind(Box::new("thrown"));
        }
    }

    fn nonsense(&self, candidates: &Candidates<'_>) -> WorkerId {
        match self.0.below(4) {
            0 => WorkerId::from_raw(self.0.below(usize::MAX) as u64),
            1 => WorkerId::from_raw(0),
            2 => WorkerId::from_raw(u64::MAX),
            _ => candidates.iter().next().map_or(WorkerId::from_raw(1), |first| first.id()),
        }
    }
}

impl RoutingPolicy for Dice {
    fn name(&self) -> &str {
        "dice"
    }

    fn select_single(
        &self,
        candidates: &Candidates<'_>,
        _request: &RequestView<'_>,
    ) -> Result<Decision, RoutingError> {
        self.may_panic();
        Ok(Decision {
            score: [f64::NAN, f64::INFINITY, -1.0][self.0.below(3)],
            runner_up: Some(RunnerUp { worker: self.nonsense(candidates), score: f64::NAN }),
            matched_tokens: u32::MAX,
            work_tokens: u32::MAX,
            ..Decision::new(self.nonsense(candidates), Reason::Custom)
        })
    }

    fn on_dispatch(&self, _dispatch: &Dispatch<'_>) {
        self.may_panic();
    }

    fn on_first_token(&self, _event: &FirstToken) {
        self.may_panic();
    }

    fn on_request_complete(&self, _event: &Completion) {
        self.may_panic();
    }

    fn gauges(
        &self,
        _worker: WorkerId,
        _now: pointsman::Time,
        tell: &mut dyn FnMut(&'static str, f64),
    ) {
        tell("nonsense_ratio", f64::NAN);
    }

    fn wants_prefix(&self) -> bool {
        true
    }
}

fn request(router: &Router, round: usize) {
    let prompt = Request::text("a prompt");
    let usage =
        Usage { prompt_tokens: Some(u32::MAX), cached_tokens: Some(u32::MAX), ..Usage::default() };
    if round % 2 == 0 {
        let Ok(selection) = router.select(&prompt) else { return };
        let _ = selection.first_token(Some(u32::MAX));
        let _ = selection.complete(Outcome::Success, usage);
    } else {
        let Ok(pair) = router.select_pair(&prompt) else { return };
        let _ = pair.first_token(Some(u32::MAX));
        let _ = pair.complete(Outcome::Success, usage);
    }
}

#[test]
fn dice_leave_nothing_behind() {
    let dice: Arc<dyn RoutingPolicy> = Arc::new(Dice(Random::from_seed(3)));
    let mut config = config("random");
    config.policy = PolicyConfig::named("dice");
    let builder = Router::builder().config(config);
    let router =
        builder.add_policy("dice", move |_| Ok(Arc::clone(&dice))).unwrap().build().unwrap();
    let workers = add_many(&router, Role::Regular, 6);
    add_many(&router, Role::Prefill, 2);
    add_many(&router, Role::Decode, 2);
    let mut panics = 0;
    for round in 0..20_000 {
        let call = AssertUnwindSafe(|| request(&router, round));
        panics += u32::from(catch_unwind(call).is_err());
    }
    assert!(panics > 1_000);
    assert_idle(&router);
    // The text of the metrics stays readable, whatever a policy tells.
    let mut text = String::new();
    router.metrics().write_prometheus(&mut text).unwrap();
    assert!(text.contains("nonsense_ratio") && text.ends_with("# EOF\n"), "{text}");
    for name in POLICIES {
        router.set_policy(&policy(name)).unwrap();
        assert_recovered(&router, &workers, SECOND);
    }
}
