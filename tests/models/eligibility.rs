//! Which workers may serve a request, against a naive list of the workers: the router names one exactly
//! when there is one that may serve, and never another; otherwise its error counts why.

use pointsman::{
    ConfigError, Outcome, Request, Role, Router, RoutingError, Ticket, TicketError, Usage,
    WorkerId, WorkerSpec,
};

use crate::support::{self, POLICIES, policy};

const MAX_WORKERS: usize = 12;

/// What a request demands beside a role. Bit `i` of a set stands for the `i`-th worker.
#[derive(Clone, Copy, Debug)]
pub struct Demand {
    pub prompt: u8,
    pub key: Option<u8>,
    pub excluded: u16,
    pub allowed: Option<u16>,
    /// The allowed slots themselves.
    pub slots: Option<u16>,
    pub label: Option<u8>,
}

#[derive(Clone, Debug)]
pub enum Step {
    Add { role: Role, group: Option<u8>, label: u8, limit: Option<u32> },
    Remove(usize),
    Drain(usize, bool),
    Health(usize, bool),
    Limit(usize, Option<u32>),
    Policy(usize),
    Select(Demand),
    SelectPair(Demand),
    FirstToken(usize),
    Complete(usize),
}

#[derive(Debug)]
struct Worker {
    id: WorkerId,
    role: Role,
    group: Option<u8>,
    label: u8,
    limit: Option<u32>,
    healthy: bool,
    draining: bool,
    in_flight: u32,
}

impl Worker {
    fn is_up(&self) -> bool {
        self.healthy && !self.draining
    }

    fn has_room(&self) -> bool {
        self.limit.is_none_or(|limit| self.in_flight < limit)
    }
}

struct Open {
    ticket: Ticket,
    prefill: Option<WorkerId>,
    worker: WorkerId,
    first_token_seen: bool,
}

#[derive(Default)]
struct Model {
    workers: Vec<Worker>,
    open: Vec<Open>,
    added: u32,
    now: u64,
}

impl Model {
    fn any(&mut self, index: usize) -> Option<&mut Worker> {
        let count = self.workers.len();
        if count == 0 { None } else { self.workers.get_mut(index % count) }
    }

    fn find(&mut self, id: WorkerId) -> &mut Worker {
        self.workers.iter_mut().find(|worker| worker.id == id).expect("a registered worker")
    }

    /// The ids whose bits are set.
    fn ids(&self, bits: u16) -> Vec<WorkerId> {
        let set = self.workers.iter().enumerate().filter(|(i, _)| bits >> i & 1 == 1);
        set.map(|(_, worker)| worker.id).collect()
    }

    /// The workers that a request of this role may use, full ones too.
    fn candidates(&self, role: Role, demand: &Demand) -> Vec<&Worker> {
        let is_set = |bits: u16, place: usize| bits >> place & 1 == 1;
        let of_role = self.workers.iter().enumerate().filter(|(_, worker)| worker.role == role);
        let may = |(place, worker): &(usize, &Worker)| {
            worker.is_up()
                && !is_set(demand.excluded, *place)
                && demand.allowed.is_none_or(|bits| is_set(bits, *place))
                && demand.slots.is_none_or(|bits| u64::from(bits) >> worker.id.slot() & 1 == 1)
                && demand.label.is_none_or(|label| worker.label == label)
        };
        of_role.filter(may).map(|(_, worker)| worker).collect()
    }

    /// What the error must be where no worker of the role can be named, `None` where one can.
    fn refusal(&self, role: Role, demand: &Demand) -> Option<RoutingError> {
        let candidates = self.candidates(role, demand);
        if candidates.iter().any(|worker| worker.has_room()) {
            return None;
        }
        if !candidates.is_empty() {
            return Some(RoutingError::AllBusy { role, busy: candidates.len() as u32 });
        }
        let count = |test: &dyn Fn(&&Worker) -> bool| {
            self.workers.iter().filter(|worker| worker.role == role).filter(test).count() as u32
        };
        Some(RoutingError::NoHealthyWorkers {
            role,
            workers: count(&|_| true),
            unhealthy: count(&|worker| !worker.healthy),
            draining: count(&|worker| worker.healthy && worker.draining),
            excluded: count(&|worker| worker.is_up()),
        })
    }

    /// What the error must be where no pair can be named, `None` where one can: limits are to blame exactly
    /// where there would be a pair without them.
    fn pair_refusal(&self, demand: &Demand) -> Option<RoutingError> {
        let prefill = self.candidates(Role::Prefill, demand);
        let decode = self.candidates(Role::Decode, demand);
        for (role, candidates) in [(Role::Prefill, &prefill), (Role::Decode, &decode)] {
            if candidates.is_empty() {
                return self.refusal(role, demand);
            }
        }
        let free = |worker: &&&Worker| worker.has_room();
        let count = |found: usize| found as u32;
        let fitting: Vec<_> =
            prefill.iter().filter(|p| decode.iter().any(|d| may_pair(p, d))).collect();
        if fitting.is_empty() {
            let (prefill, decode) = (count(prefill.len()), count(decode.len()));
            return Some(RoutingError::NoPair { prefill, decode });
        }
        let had: Vec<_> = fitting.iter().copied().filter(free).collect();
        if had.is_empty() {
            let busy = count(fitting.len());
            return Some(RoutingError::AllBusy { role: Role::Prefill, busy });
        }
        let beside: Vec<_> = decode.iter().filter(|d| had.iter().any(|p| may_pair(p, d))).collect();
        if beside.iter().copied().any(|worker| worker.has_room()) {
            return None;
        }
        Some(RoutingError::AllBusy { role: Role::Decode, busy: count(beside.len()) })
    }
}

fn may_pair(prefill: &Worker, decode: &Worker) -> bool {
    prefill.group.is_none() || decode.group.is_none() || prefill.group == decode.group
}

/// Calls with the request that the demand describes.
fn with_request<T>(model: &Model, demand: &Demand, call: impl FnOnce(&Request<'_>) -> T) -> T {
    let text = format!("{} ", demand.prompt % 4).repeat(usize::from(demand.prompt) * 8);
    let excluded = model.ids(demand.excluded);
    let allowed = demand.allowed.map(|bits| model.ids(bits));
    let words = demand.slots.map(|bits| [u64::from(bits)]);
    let key = demand.key.map(|key| [key]);
    let value = demand.label.map(|label| label.to_string());
    let labels = value.as_deref().map(|value| [("kind", value)]);
    let mut request = Request::text(&text).exclude(&excluded);
    if let Some(allowed) = &allowed {
        request = request.allow(allowed);
    }
    if let Some(words) = &words {
        request = request.allow_slots(words);
    }
    if let Some(key) = &key {
        request = request.routing_key(key);
    }
    if let Some(labels) = &labels {
        request = request.labels(labels);
    }
    call(&request)
}

fn apply(router: &Router, model: &mut Model, step: &Step) {
    let now = model.now;
    match *step {
        Step::Add { role, group, label, limit } => add(router, model, role, group, label, limit),
        Step::Remove(index) => {
            let Some(id) = model.any(index).map(|worker| worker.id) else { return };
            router.at(now).remove_worker(id).unwrap();
            model.workers.retain(|worker| worker.id != id);
            close_those_of(router, model, id);
        }
        Step::Drain(index, draining) => {
            let Some(worker) = model.any(index) else { return };
            worker.draining = draining;
            let changed = if draining {
                router.drain_worker(worker.id)
            } else {
                router.resume_worker(worker.id)
            };
            changed.unwrap();
        }
        Step::Health(index, healthy) => {
            let Some(worker) = model.any(index) else { return };
            worker.healthy = healthy;
            let health = if healthy {
                pointsman::HostHealth::Healthy
            } else {
                pointsman::HostHealth::Unhealthy
            };
            router.set_health(worker.id, health).unwrap();
        }
        Step::Limit(index, limit) => {
            let Some(worker) = model.any(index) else { return };
            worker.limit = limit;
            router.set_max_in_flight(worker.id, limit).unwrap();
        }
        Step::Policy(index) => {
            let found = router.set_policy(&policy(POLICIES[index % POLICIES.len()]));
            // Refused while too many replaced ones have requests in flight.
            assert!(matches!(found, Ok(()) | Err(ConfigError::TooManyPolicies(_))), "{found:?}");
        }
        Step::Select(demand) => select(router, model, &demand),
        Step::SelectPair(demand) => select_pair(router, model, &demand),
        Step::FirstToken(index) => first_token(router, model, index),
        Step::Complete(index) => {
            if !model.open.is_empty() {
                let open = model.open.swap_remove(index % model.open.len());
                let done = router.at(now).complete(open.ticket, Outcome::Success, Usage::default());
                assert_eq!(done, Ok(()));
                for id in open.prefill.into_iter().chain([open.worker]) {
                    model.find(id).in_flight -= 1;
                }
            }
        }
    }
}

fn add(
    router: &Router,
    model: &mut Model,
    role: Role,
    group: Option<u8>,
    label: u8,
    limit: Option<u32>,
) {
    let mut spec = WorkerSpec::new(format!("w{}", model.added)).role(role);
    spec = spec.label("kind", label.to_string());
    if let Some(group) = group {
        spec = spec.group(group.to_string());
    }
    if let Some(limit) = limit {
        spec = spec.max_in_flight(limit);
    }
    let found = router.at(model.now).add_worker(spec);
    assert_eq!(found.is_ok(), model.workers.len() < MAX_WORKERS);
    let Ok(id) = found else { return };
    router.set_health(id, pointsman::HostHealth::Healthy).unwrap();
    let (healthy, draining, in_flight) = (true, false, 0);
    model.added += 1;
    let worker = Worker { id, role, group, label, limit, healthy, draining, in_flight };
    model.workers.push(worker);
}

/// A worker that leaves takes its requests with it; one that was to compute a prompt for another takes
/// no more than its own load.
fn close_those_of(router: &Router, model: &mut Model, gone: WorkerId) {
    for mut open in std::mem::take(&mut model.open) {
        if open.worker != gone {
            open.prefill = open.prefill.filter(|&prefill| prefill != gone);
            model.open.push(open);
            continue;
        }
        if let Some(prefill) = open.prefill {
            model.find(prefill).in_flight -= 1;
        }
        let late = router.at(model.now).complete(open.ticket, Outcome::Success, Usage::default());
        assert!(late.is_err(), "closed by the removal");
    }
}

fn select(router: &Router, model: &mut Model, demand: &Demand) {
    let found = with_request(model, demand, |request| router.at(model.now).select(request));
    match (found, model.refusal(Role::Regular, demand)) {
        (Ok(selection), None) => {
            let worker = selection.worker();
            let candidates = model.candidates(Role::Regular, demand);
            assert!(candidates.iter().any(|known| known.id == worker && known.has_room()));
            model.find(worker).in_flight += 1;
            let ticket = selection.into_ticket();
            assert!(ticket.is_tracked());
            model.open.push(Open { ticket, prefill: None, worker, first_token_seen: false });
        }
        (Err(error), Some(expected)) => assert_eq!(error, expected),
        (found, expected) => panic!("{found:?}, expected {expected:?}"),
    }
}

fn select_pair(router: &Router, model: &mut Model, demand: &Demand) {
    let found = with_request(model, demand, |request| router.at(model.now).select_pair(request));
    let pair = match (found, model.pair_refusal(demand)) {
        (Ok(pair), None) => pair,
        (Err(error), Some(expected)) => return assert_eq!(error, expected),
        (found, expected) => panic!("{found:?}, expected {expected:?}"),
    };
    let [prefill, worker] = [pair.prefill().worker(), pair.decode().worker()];
    for (role, id) in [(Role::Prefill, prefill), (Role::Decode, worker)] {
        let candidates = model.candidates(role, demand);
        assert!(candidates.iter().any(|known| known.id == id && known.has_room()));
        model.find(id).in_flight += 1;
    }
    let group = |id| model.workers.iter().find(|known| known.id == id).and_then(|w| w.group);
    assert!(group(prefill).is_none() || group(worker).is_none() || group(prefill) == group(worker));
    model.open.push(Open {
        ticket: pair.into_ticket(),
        prefill: Some(prefill),
        worker,
        first_token_seen: false,
    });
}

/// The prefill worker of a pair gets its load back.
fn first_token(router: &Router, model: &mut Model, index: usize) {
    if model.open.is_empty() {
        return;
    }
    let place = index % model.open.len();
    let open = &mut model.open[place];
    let expected = if open.first_token_seen { Err(TicketError::FirstTokenTwice) } else { Ok(()) };
    assert_eq!(router.at(model.now).first_token(open.ticket, None), expected);
    open.first_token_seen = true;
    if let Some(prefill) = model.open[place].prefill.take() {
        model.find(prefill).in_flight -= 1;
    }
}

/// Takes the steps, beginning with this policy, and compares loads after each.
pub fn run(policy: &str, steps: impl Iterator<Item = Step>) {
    let mut config = support::config(policy);
    config.max_workers = MAX_WORKERS;
    config.tree.budget_bytes = 100_000;
    let router = Router::new(config).unwrap();
    let mut model = Model::default();
    for step in steps.take(500) {
        model.now += 1000;
        apply(&router, &mut model, &step);
        let found = router.at(model.now).workers();
        assert_eq!(found.len(), model.workers.len());
        for status in found {
            assert_eq!(status.in_flight as u32, model.find(status.info.id).in_flight, "{step:?}");
        }
        assert_eq!(router.at(model.now).metrics().tickets.open, model.open.len());
    }
}
