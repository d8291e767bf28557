//! The pool's writer side beside a naive model of it: membership, weights, health and time.

use pointsman::{Outcome, PoolError, Request, Role, Router, Ticket, Usage, WorkerId, WorkerSpec};

use crate::support::{self, SECOND};

const SLOW_START: u64 = 50 * SECOND;
const MAX_WORKERS: usize = 6;

#[derive(Clone, Debug)]
pub enum Step {
    Add { url: u8, role: Role, weight: f64, limit: Option<u32> },
    Remove(usize),
    Drain(usize, bool),
    Weight(usize, f64),
    Limit(usize, Option<u32>),
    Health(usize, Option<bool>),
    Select(usize),
    Complete(usize, Outcome),
    Pass(u64),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Healthy { failures: u32 },
    Ejected { until: u64 },
    Probation { successes: u32 },
}

#[derive(Debug)]
struct Worker {
    id: WorkerId,
    url: String,
    role: Role,
    weight: f64,
    limit: Option<u32>,
    draining: bool,
    host: Option<bool>,
    state: State,
    ejections: u32,
    paused_until: u64,
    ramp_since: u64,
    in_flight: u32,
}

impl Worker {
    fn is_healthy(&self) -> bool {
        self.host.unwrap_or(!matches!(self.state, State::Ejected { .. }))
    }

    fn on_probation(&self) -> bool {
        self.host.is_none() && matches!(self.state, State::Probation { .. })
    }

    fn admits(&self) -> bool {
        let limit = if self.on_probation() { Some(1) } else { self.limit };
        self.is_healthy() && !self.draining && limit.is_none_or(|limit| self.in_flight < limit)
    }

    fn effective_weight(&self, now: u64) -> f64 {
        let steps = ((now - self.ramp_since) / (SLOW_START / 10) + 1).min(10);
        let pause = if self.paused_until > now { 0.1 } else { 1.0 };
        self.weight * (steps as f64 / 10.0) * pause
    }

    fn eject(&mut self, now: u64) {
        let secs = (10 << self.ejections.min(10)).min(300);
        self.state = State::Ejected { until: now + secs * SECOND };
        self.ejections += 1;
    }

    fn recover(&mut self) {
        (self.state, self.ejections) = (State::Healthy { failures: 0 }, 0);
    }

    fn learn(&mut self, outcome: Outcome, now: u64) {
        if let Outcome::Overloaded { retry_after } = outcome {
            self.paused_until = self.paused_until.max(now + retry_after.as_nanos() as u64);
        }
        if self.host.is_some() {
            return;
        }
        match (&mut self.state, outcome) {
            (State::Healthy { failures }, Outcome::Success) => *failures = 0,
            (State::Healthy { failures }, o) if o.is_worker_failure() => {
                *failures += 1;
                if *failures >= 3 {
                    self.eject(now);
                }
            }
            (State::Probation { successes }, Outcome::Success) => {
                *successes += 1;
                if *successes >= 2 {
                    self.recover();
                    self.ramp_since = now;
                }
            }
            (State::Probation { .. }, o) if o.is_worker_failure() => self.eject(now),
            _ => {}
        }
    }
}

#[derive(Default)]
struct Model {
    workers: Vec<Worker>,
    gone: Vec<WorkerId>,
    open: Vec<(Ticket, WorkerId)>,
    now: u64,
}

/// The kind of an error, without what it carries.
fn kind(error: &PoolError) -> &'static str {
    match error {
        PoolError::DuplicateUrl { .. } => "duplicate",
        PoolError::ZeroWeight => "zero weight",
        PoolError::BadWeight { .. } => "bad weight",
        PoolError::ZeroMaxInFlight => "zero limit",
        PoolError::UnknownWorker(_) => "unknown",
        PoolError::TooManyWorkers { max: MAX_WORKERS } => "too many",
        _ => "other",
    }
}

fn weight_error(weight: f64) -> Option<&'static str> {
    match weight {
        0.0 => Some("zero weight"),
        w if (1e-6..=1e6).contains(&w) => None,
        _ => Some("bad weight"),
    }
}

impl Model {
    /// Any worker there is or was.
    fn any(&self, index: usize) -> Option<WorkerId> {
        let all: Vec<_> = self.workers.iter().map(|w| w.id).chain(self.gone.clone()).collect();
        (!all.is_empty()).then(|| all[index % all.len()])
    }

    fn find(&mut self, id: WorkerId) -> Result<&mut Worker, &'static str> {
        self.workers.iter_mut().find(|worker| worker.id == id).ok_or("unknown")
    }

    fn add_error(&self, url: &str, weight: f64, limit: Option<u32>) -> Option<&'static str> {
        weight_error(weight)
            .or((limit == Some(0)).then_some("zero limit"))
            .or(self.workers.iter().any(|w| w.url == url).then_some("duplicate"))
            .or((self.workers.len() >= MAX_WORKERS).then_some("too many"))
    }

    fn pass(&mut self, time: u64) {
        self.now += time;
        for worker in &mut self.workers {
            if matches!(worker.state, State::Ejected { until } if until <= self.now) {
                worker.state = State::Probation { successes: 0 };
            }
        }
    }
}

#[track_caller]
fn same(found: Result<(), PoolError>, expected: Result<(), &'static str>) {
    assert_eq!(found.as_ref().map_err(kind).copied(), expected);
}

fn apply(router: &Router, model: &mut Model, step: Step) {
    match step {
        Step::Add { url, role, weight, limit } => {
            let url = format!("w{url}");
            let mut spec = WorkerSpec::new(&url).role(role).weight(weight);
            if let Some(limit) = limit {
                spec = spec.max_in_flight(limit);
            }
            let found = router.at(model.now).add_worker(spec);
            let expected = model.add_error(&url, weight, limit);
            assert_eq!(found.as_ref().err().map(kind), expected);
            let Ok(id) = found else { return };
            assert!(!model.gone.contains(&id), "an id was given out twice");
            model.workers.push(Worker {
                id,
                url,
                role,
                weight,
                limit,
                draining: false,
                host: None,
                state: State::Healthy { failures: 0 },
                ejections: 0,
                paused_until: 0,
                ramp_since: model.now,
                in_flight: 0,
            });
        }
        Step::Remove(index) => {
            let Some(id) = model.any(index) else { return };
            let expected = model.find(id).map(|_| ());
            same(router.at(model.now).remove_worker(id), expected);
            if expected.is_ok() {
                model.workers.retain(|worker| worker.id != id);
                model.gone.push(id);
            }
        }
        Step::Drain(index, draining) => {
            let Some(id) = model.any(index) else { return };
            let expected = model.find(id).map(|worker| worker.draining = draining);
            let found = if draining { router.drain_worker(id) } else { router.resume_worker(id) };
            same(found, expected);
        }
        Step::Weight(index, weight) => {
            let Some(id) = model.any(index) else { return };
            let expected = match weight_error(weight) {
                Some(error) => Err(error),
                None => model.find(id).map(|worker| worker.weight = weight),
            };
            same(router.set_weight(id, weight), expected);
        }
        Step::Limit(index, limit) => {
            let Some(id) = model.any(index) else { return };
            let expected = match limit {
                Some(0) => Err("zero limit"),
                limit => model.find(id).map(|worker| worker.limit = limit),
            };
            same(router.set_max_in_flight(id, limit), expected);
        }
        Step::Health(index, health) => {
            let Some(id) = model.any(index) else { return };
            let expected = model.find(id).map(|worker| {
                worker.host = health;
                worker.recover();
            });
            let health = match health {
                None => pointsman::HostHealth::Unknown,
                Some(true) => pointsman::HostHealth::Healthy,
                Some(false) => pointsman::HostHealth::Unhealthy,
            };
            same(router.set_health(id, health), expected);
        }
        Step::Select(index) => {
            let Some(id) = model.any(index) else { return };
            let request = Request::none().allow(std::slice::from_ref(&id));
            let found = router.at(model.now).select(&request);
            let expected = model.find(id).is_ok_and(|w| w.role == Role::Regular && w.admits());
            assert_eq!(found.is_ok(), expected, "{:?}", found);
            let Ok(selection) = found else { return };
            assert_eq!(selection.worker(), id);
            model.open.push((selection.into_ticket(), id));
            model.find(id).unwrap().in_flight += 1;
        }
        Step::Complete(index, outcome) => {
            if model.open.is_empty() {
                return;
            }
            let (ticket, id) = model.open.swap_remove(index % model.open.len());
            let found = router.at(model.now).complete(ticket, outcome, Usage::default());
            let now = model.now;
            let expected = model.find(id).map(|worker| {
                worker.in_flight -= 1;
                worker.learn(outcome, now);
            });
            assert_eq!(found.is_ok(), expected.is_ok());
        }
        Step::Pass(time) => model.pass(time),
    }
}

/// Takes the steps, and compares all that can be read after each.
pub fn run(steps: impl Iterator<Item = Step>) {
    let mut config = support::config("random");
    config.max_workers = MAX_WORKERS;
    config.tree.budget_bytes = 100_000;
    config.slow_start_secs = SLOW_START as f64 / 1e9;
    // How many may be out at once is tested by itself.
    config.health.max_ejected_share = 1.0;
    let router = Router::new(config).unwrap();
    let mut model = Model::default();
    for step in steps {
        let told = format!("{step:?}");
        apply(&router, &mut model, step);
        router.at(model.now).tick();
        compare(&router, &mut model, &told);
    }
}

fn compare(router: &Router, model: &mut Model, told: &str) {
    let mut found = router.at(model.now).workers();
    assert_eq!(found.len(), model.workers.len());
    found.sort_by(|a, b| a.info.url.cmp(&b.info.url));
    model.workers.sort_by(|a, b| a.url.cmp(&b.url));
    for (found, expected) in found.iter().zip(&model.workers) {
        assert_eq!(found.info.id, expected.id);
        assert_eq!(&found.info.url, &expected.url);
        assert_eq!(found.info.role, expected.role);
        assert_eq!(router.worker_by_url(&expected.url), Some(expected.id));
        assert_eq!(found.weight, expected.weight);
        assert_eq!(found.draining, expected.draining);
        assert_eq!(found.healthy, expected.is_healthy(), "{} {:?}", told, expected);
        assert_eq!(found.on_probation, expected.on_probation(), "{} {:?}", told, expected);
        assert_eq!(found.in_flight as u32, expected.in_flight);
        let weight = expected.effective_weight(model.now);
        assert!((found.effective_weight - weight).abs() < 1e-9, "{} {:?}", told, expected);
    }
}
