//! Exhaustive interleavings of requests that read a snapshot while the membership changes. Run with
//! `RUSTFLAGS="--cfg pointsman_loom" cargo test --release --lib loom`.
//!
//! What publishes the snapshot (`arc-swap`) is taken for what it promises: every load returns one
//! whole published value. A lock stands for it.

use std::sync::Arc as Shared;

use loom::sync::{Arc, Mutex};
use loom::thread;

use super::candidates::Candidates;
use super::loads::Loads;
use super::registry::Registry;
use super::snapshot::PoolSnapshot;
use crate::policy::round_robin::RoundRobinPolicy;
use crate::policy::{RequestView, RoutingPolicy};
use crate::request::Request;
use crate::worker::{Role, WorkerId, health::HealthConfig, spec::WorkerSpec, state::WorkerState};

/// A pool of two workers, and what requests read of it.
struct Model {
    rows: Shared<[WorkerState]>,
    registry: Mutex<Registry>,
    published: Mutex<Shared<PoolSnapshot>>,
    policy: RoundRobinPolicy,
}

impl Model {
    fn new(position: u64) -> Arc<Model> {
        let rows: Shared<[WorkerState]> = (0..3).map(|_| WorkerState::new()).collect();
        let registry = Registry::new(Shared::clone(&rows), 3, HealthConfig::default(), 0);
        let model = Model {
            rows,
            registry: Mutex::new(registry),
            published: Mutex::new(Shared::default()),
            policy: RoundRobinPolicy::starting_at(position, Some(1)),
        };
        for url in ["a", "b"] {
            model.add(url);
        }
        Arc::new(model)
    }

    fn add(&self, url: &str) -> WorkerId {
        let mut registry = self.registry.lock().unwrap();
        let id = registry.add(WorkerSpec::new(url), 0, |_, _| (0, None)).unwrap().id;
        *self.published.lock().unwrap() = Shared::new(registry.snapshot(0));
        id
    }

    /// As the router removes: publish, then change the slot's generation.
    fn remove(&self, id: WorkerId) {
        let mut registry = self.registry.lock().unwrap();
        registry.remove(id).unwrap();
        *self.published.lock().unwrap() = Shared::new(registry.snapshot(0));
        self.rows[id.slot()].vacate();
    }

    /// As a request chooses: one snapshot, one claim.
    fn select(&self) -> WorkerId {
        let pool = Shared::clone(&self.published.lock().unwrap());
        let candidates = Candidates::new(&pool, Role::Regular, Loads::Rows(&self.rows), None);
        let decision = self.policy.select_single(&candidates, &view(&Request::none())).unwrap();
        assert!(candidates.get(decision.worker.slot()).is_some(), "not of the snapshot it read");
        decision.worker
    }
}

fn view<'a>(request: &'a Request<'a>) -> RequestView<'a> {
    RequestView {
        request,
        now: 0.into(),
        prompt_tokens: 0,
        output_tokens: 0,
        routing_key: None,
        prefix: None,
    }
}

fn model(test: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.max_branches = 10_000;
    builder.check(test);
}

/// A request that begins after a removal is over never gets the removed worker, and one that began
/// before gets a worker of the snapshot that it read.
#[test]
fn loom_round_robin_names_members_only() {
    model(|| {
        let model = Model::new(0);
        let [a, b] = ["a", "b"].map(|url| model.registry.lock().unwrap().by_url(url).unwrap());
        let other = thread::spawn({
            let model = Arc::clone(&model);
            move || [model.select(), model.select()]
        });
        model.remove(a);
        assert_eq!(model.select(), b);
        let chosen = other.join().unwrap();
        assert!(chosen.iter().all(|worker| [a, b].contains(worker)));
        assert_eq!(model.select(), b);
    });
}

/// The slot of a worker that left goes to another one: requests see the old worker or the new one,
/// never a mixture.
#[test]
fn loom_a_slot_is_one_worker_at_a_time() {
    model(|| {
        let model = Model::new(0);
        let [a, b] = ["a", "b"].map(|url| model.registry.lock().unwrap().by_url(url).unwrap());
        let other = thread::spawn({
            let model = Arc::clone(&model);
            move || [model.select(), model.select()]
        });
        model.remove(a);
        let c = model.add("c");
        assert!(c.slot() != a.slot() || c.generation() != a.generation());
        let chosen = other.join().unwrap();
        assert!(chosen.iter().all(|worker| [a, b, c].contains(worker)));
        let mut last = [model.select(), model.select()];
        last.sort_by_key(|worker| worker.slot());
        let mut members = [b, c];
        members.sort_by_key(|worker| worker.slot());
        assert_eq!(last, members, "a whole cycle serves each member once");
    });
}

/// Two threads rotate while the counter is set back: every cycle serves each worker once.
#[test]
fn loom_the_rotation_is_unbroken_where_the_counter_turns() {
    for start in [(1 << 62) - 2, (1 << 62) - 1, 1 << 62] {
        model(move || {
            let model = Model::new(start);
            let other = thread::spawn({
                let model = Arc::clone(&model);
                move || [model.select(), model.select()]
            });
            let mine = [model.select(), model.select()];
            let all = [mine, other.join().unwrap()].concat();
            let first = all.iter().filter(|worker| worker.slot() == 0).count();
            assert_eq!(first, 2, "{all:?}");
        });
    }
}
