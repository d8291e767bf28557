//! Sixteen threads do everything at once. Afterwards every load is given back, no request was lost,
//! shares are as they should be, and memory is where it was.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

#[path = "support/counting.rs"]
mod counting;
#[allow(dead_code)]
mod support;

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
};
use std::time::Duration;

use parking_lot::Mutex;
use pointsman::{
    ConfigError, LoadReport, Outcome, PolicyConfig, Reason, Request, Role, Router, RoutingError,
    RoutingPolicy, Ticket, Usage, WorkerId, WorkerSpec,
    policy::{
        Candidate, Candidates, Completion, Decision, Dispatch, FirstToken, Random, RequestView,
    },
};

use support::{POLICIES, SECOND, add, add_many, assert_idle, assert_shares, policy};

#[global_allocator]
static ALLOCATOR: counting::Counting = counting::Counting { live: true, refuses: false };

/// Tests of this file run one at a time: they use all cores, and measure memory.
static ALONE: Mutex<()> = Mutex::new(());

/// Requests per selecting thread: millions in all with optimisation, fewer without.
const REQUESTS: u32 = if cfg!(debug_assertions) { 12_000 } else { 300_000 };
const SELECTING: u32 = 12;

/// What all policies of [`Ledger::policy`] were told, together.
#[derive(Default)]
struct Ledger {
    policies: AtomicU32,
    dispatched: AtomicU64,
    completed: AtomicU64,
    misdirected: AtomicU64,
}

/// A counter that threads use without any order, if the environment says so: what ThreadSanitizer must
/// see to be believed where it sees nothing.
struct Seeded(std::cell::UnsafeCell<u64>);

// SAFETY: not sound. The race is wanted, and only where it is asked for.
unsafe impl Sync for Seeded {}

static SEEDED: Seeded = Seeded(std::cell::UnsafeCell::new(0));

impl Seeded {
    fn race(&self) {
        // SAFETY: as above.
        unsafe { *self.0.get() += 1 };
    }
}

/// A policy that knows its own decisions by their number.
struct Numbered {
    number: u32,
    racy: bool,
    ledger: Arc<Ledger>,
    random: Random,
}

impl Ledger {
    fn policy(self: &Arc<Self>) -> Arc<dyn RoutingPolicy> {
        let number = self.policies.fetch_add(1, Relaxed);
        let racy = std::env::var_os("POINTSMAN_SEEDED_RACE").is_some();
        let (ledger, random) = (Arc::clone(self), Random::from_entropy());
        Arc::new(Numbered { number, racy, ledger, random })
    }
}

impl Numbered {
    fn check(&self, number: u32) {
        self.ledger.misdirected.fetch_add(u64::from(number != self.number), Relaxed);
    }
}

impl RoutingPolicy for Numbered {
    fn name(&self) -> &str {
        "numbered"
    }

    fn select_single(
        &self,
        candidates: &Candidates<'_>,
        _request: &RequestView<'_>,
    ) -> Result<Decision, RoutingError> {
        if self.racy {
            SEEDED.race();
        }
        // Insists on one worker as long as that is there, as cache-aware policies do: a retry on an old
        // snapshot would fail.
        let is_guest = |candidate: &Candidate<'_>| {
            candidate.info().is_some_and(|info| info.has_label("guest", ""))
        };
        let guest = candidates.iter().find(is_guest);
        let chosen = guest.or_else(|| candidates.draw(&self.random));
        let chosen = chosen.ok_or_else(|| candidates.none())?;
        Ok(Decision { work_tokens: self.number, ..Decision::new(chosen.id(), Reason::Custom) })
    }

    fn on_dispatch(&self, dispatch: &Dispatch<'_>) {
        self.check(dispatch.decision.work_tokens);
        if dispatch.role != Role::Prefill {
            self.ledger.dispatched.fetch_add(1, Relaxed);
        }
    }

    fn on_first_token(&self, event: &FirstToken) {
        self.check(event.work_tokens);
    }

    fn on_request_complete(&self, event: &Completion) {
        self.check(event.work_tokens);
        self.ledger.completed.fetch_add(1, Relaxed);
    }

    fn wants_events(&self) -> bool {
        true
    }
}

/// What the threads share.
struct Scene {
    router: Router,
    ledger: Arc<Ledger>,
    /// Tickets that one thread opened and another may close.
    passed_on: Mutex<Vec<Ticket>>,
    refused: AtomicU64,
    /// Selecting threads still at it.
    selecting: AtomicU32,
}

impl Scene {
    fn new(max_tickets: usize) -> Scene {
        let ledger = Arc::new(Ledger::default());
        let shared = Arc::clone(&ledger);
        let mut config = support::config("random");
        config.seed = None;
        config.max_tickets = max_tickets;
        config.max_workers = 40;
        let builder = Router::builder()
            .config(config)
            .add_policy("numbered", move |_| Ok(shared.policy()))
            .unwrap();
        let router = builder.build().unwrap();
        // These stay, healthy and without a limit, so that no request need ever be refused.
        Role::ALL.iter().for_each(|&role| drop(add_many(&router, role, 4)));
        for status in router.workers() {
            router.set_health(status.info.id, pointsman::HostHealth::Healthy).unwrap();
        }
        Scene {
            router,
            ledger,
            passed_on: Mutex::default(),
            refused: AtomicU64::new(0),
            selecting: AtomicU32::new(SELECTING),
        }
    }

    fn is_on(&self) -> bool {
        self.selecting.load(Relaxed) > 0
    }

    /// Selects, by all means, and ends the request, by all means.
    fn select(&self, seed: u32) {
        let random = Random::from_seed(seed.into());
        let prompts: Vec<String> = (0..40).map(|i| format!("{i:08}").repeat(i * 20)).collect();
        for _ in 0..REQUESTS {
            let text = &prompts[random.below(prompts.len())];
            let request = Request::text(text).expected_output_tokens(random.below(500) as u32);
            if random.below(3) == 0 {
                self.pair(&request, &random);
            } else {
                self.single(&request, &random);
            }
        }
        self.selecting.fetch_sub(1, Relaxed);
    }

    fn single(&self, request: &Request<'_>, random: &Random) {
        let Ok(selection) = self.router.select(request) else {
            self.refused.fetch_add(1, Relaxed);
            return;
        };
        match random.below(5) {
            0 => drop(selection),
            1 => self.pass_on(selection.into_ticket(), random),
            2 => {
                let _ = selection.first_token(Some(9));
                let _ = selection.complete(outcome(random), Usage::default());
            }
            _ => drop(selection.complete(outcome(random), Usage::default())),
        }
    }

    fn pair(&self, request: &Request<'_>, random: &Random) {
        let Ok(pair) = self.router.select_pair(request) else {
            self.refused.fetch_add(1, Relaxed);
            return;
        };
        match random.below(4) {
            0 => drop(pair),
            1 => self.pass_on(pair.into_ticket(), random),
            _ => {
                let _ = pair.first_token(None);
                let _ = pair.complete(outcome(random), Usage::default());
            }
        }
    }

    /// Leaves a ticket to other threads, and ends up to two that others have left, perhaps at the
    /// same time as they.
    fn pass_on(&self, ticket: Ticket, random: &Random) {
        let taken: Vec<Ticket> = {
            let mut list = self.passed_on.lock();
            list.push(ticket);
            let rest = list.len().saturating_sub(20);
            let tail = list.len().saturating_sub(if rest > 0 { 2 } else { 0 });
            list.split_off(tail)
        };
        for ticket in taken {
            let _ = self.router.first_token(ticket, Some(1));
            let _ = self.router.complete(ticket, outcome(random), Usage::default());
            // A stale number from here on.
            assert!(
                self.router.complete(ticket, Outcome::Success, Usage::default()).is_err()
                    || !ticket.is_tracked()
            );
        }
    }

    /// Workers come, are preferred, and go again with requests open.
    fn come_and_go(&self) {
        let mut round = 0u32;
        while self.is_on() {
            let mut guests = Vec::new();
            for role in Role::ALL {
                let spec = WorkerSpec::new(format!("guest-{role}-{round}")).role(role);
                guests.push(self.router.add_worker(spec.label("guest", "")).unwrap());
            }
            (0..20).for_each(|_| std::thread::yield_now());
            guests.into_iter().for_each(|guest| self.router.remove_worker(guest).unwrap());
            round += 1;
        }
    }

    /// Others change their standing all the time.
    fn change(&self) {
        let random = Random::from_entropy();
        let workers: Vec<WorkerId> = (0..6)
            .map(|i| WorkerSpec::new(format!("moody-{i}")).role(Role::ALL[i % 3]))
            .map(|spec| add(&self.router, spec))
            .collect();
        while self.is_on() {
            let worker = workers[random.below(workers.len())];
            match random.below(6) {
                0 if random.below(2) == 0 => self.router.drain_worker(worker),
                0 => self.router.resume_worker(worker),
                1 => self.router.set_weight(worker, 1.0 + random.below(4) as f64),
                2 => self
                    .router
                    .set_health(worker, crate::support::host_health(random.below(2) == 0)),
                3 => self.router.set_health(worker, pointsman::HostHealth::Unknown),
                4 => self.router.set_max_in_flight(worker, Some(1 + random.below(3) as u32)),
                _ => self.router.report_load(worker, LoadReport::default()),
            }
            .unwrap();
            std::thread::yield_now();
        }
    }

    fn switch(&self) {
        let mut round = 1;
        while self.is_on() {
            let config = match round % 3 {
                0 => policy(POLICIES[round / 3 % POLICIES.len()]),
                _ => PolicyConfig::named("numbered"),
            };
            // All places may be taken for a moment; nothing has changed then.
            let found = self.router.set_policy(&config);
            assert!(matches!(found, Ok(()) | Err(ConfigError::TooManyPolicies(_))), "{found:?}");
            std::thread::yield_now();
            round += 1;
        }
    }

    fn look(&self) {
        while self.is_on() {
            self.router.at(SECOND).tick();
            let metrics = self.router.metrics();
            assert!(metrics.tree.held_bytes <= metrics.tree.budget_bytes);
            assert!(metrics.tickets.open <= metrics.tickets.capacity);
            std::thread::yield_now();
        }
    }

    fn run(&self) {
        // Before the first switch, whatever the threads' order: a ledger that hears of nothing fails.
        self.router.set_policy(&PolicyConfig::named("numbered")).unwrap();
        drop(self.router.select(&Request::none()).unwrap());
        std::thread::scope(|scope| {
            (0..SELECTING).for_each(|seed| drop(scope.spawn(move || self.select(seed))));
            scope.spawn(|| self.come_and_go());
            scope.spawn(|| self.change());
            scope.spawn(|| self.switch());
            scope.spawn(|| self.look());
        });
        for ticket in self.passed_on.lock().drain(..) {
            let _ = self.router.complete(ticket, Outcome::Success, Usage::default());
        }
    }
}

fn outcome(random: &Random) -> Outcome {
    match random.below(12) {
        0 => Outcome::WorkerError,
        1 => Outcome::Timeout,
        2 => Outcome::ClientError,
        3 => Outcome::Overloaded { retry_after: Duration::from_micros(1) },
        _ => Outcome::Success,
    }
}

#[test]
fn whatever_sixteen_threads_do_every_load_comes_back() {
    let _alone = ALONE.lock();
    let scene = Scene::new(4096);
    scene.run();
    assert_idle(&scene.router);
    assert_eq!(scene.refused.load(Relaxed), 0, "a worker could have served each of them");
    let ledger = &scene.ledger;
    assert_eq!(ledger.misdirected.load(Relaxed), 0, "told to a policy that did not decide");
    let (dispatched, completed) = (ledger.dispatched.load(Relaxed), ledger.completed.load(Relaxed));
    assert!(dispatched > 0);
    assert_eq!(dispatched, completed, "each dispatch ends once");
    assert!(scene.router.metrics().tickets.untracked == 0);
}

#[test]
fn no_request_is_refused_for_a_worker_that_is_just_leaving() {
    let _alone = ALONE.lock();
    let ledger = Arc::new(Ledger::default());
    let mut config = support::config("random");
    config.max_tickets = 64;
    let router = support::router_of(config, ledger.policy());
    // Many, so that a snapshot takes its time.
    add_many(&router, Role::Regular, 800);
    let (refused, leaving) = (AtomicU64::new(0), AtomicBool::new(true));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while leaving.load(Relaxed) {
                    let refusals = router.select(&Request::none()).is_err();
                    refused.fetch_add(refusals.into(), Relaxed);
                }
            });
        }
        for round in 0..REQUESTS / 60 {
            let spec = WorkerSpec::new(format!("guest-{round}")).label("guest", "");
            let guest = router.add_worker(spec).unwrap();
            router.remove_worker(guest).unwrap();
        }
        leaving.store(false, Relaxed);
    });
    assert_eq!(refused.load(Relaxed), 0);
    assert_idle(&router);
}

#[test]
fn with_too_few_tickets_as_well() {
    let _alone = ALONE.lock();
    let scene = Scene::new(1);
    // 64 tickets, of which 60 are taken, leave too few for sixteen threads.
    let held: Vec<_> = (0..60).map(|_| scene.router.select(&Request::none()).unwrap()).collect();
    scene.run();
    assert_eq!(scene.router.metrics().tickets.open, 60);
    drop(held);
    assert_idle(&scene.router);
    assert_eq!(scene.refused.load(Relaxed), 0);
    assert_eq!(scene.ledger.misdirected.load(Relaxed), 0);
    assert!(scene.router.metrics().tickets.untracked > 0);
}

#[test]
fn memory_is_bounded_whatever_sixteen_threads_do() {
    let _alone = ALONE.lock();
    let before = counting::live_bytes();
    let scene = Scene::new(1024);
    scene.run();
    scene.router.at(SECOND).tick();
    let first = counting::live_bytes();
    for _ in 0..3 {
        scene.selecting.store(SELECTING, Relaxed);
        // Its moody workers leave, so that they may come again.
        let moody = |url: &str| url.starts_with("moody");
        for status in scene.router.workers() {
            if moody(&status.info.url) {
                scene.router.remove_worker(status.info.id).unwrap();
            }
        }
        scene.run();
    }
    scene.router.at(SECOND).tick();
    let growth = counting::live_bytes() - first;
    assert!(growth < 200_000, "{growth} bytes more after three more rounds");
    assert_idle(&scene.router);
    drop(scene);
    let rest = counting::live_bytes() - before;
    assert!(rest < 100_000, "{rest} bytes outlive the router");
}

/// Each of sixteen threads makes this many requests with this policy; how many each worker served.
fn served(name: &str, weights: &[f64], each: u32) -> Vec<u64> {
    let mut config = support::config(name);
    config.seed = None;
    let router = Router::new(config).unwrap();
    let workers = support::add_weighted(&router, weights);
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| (0..each).for_each(|_| drop(support::pick(&router, &Request::none()))));
        }
    });
    assert_idle(&router);
    workers.iter().map(|&worker| support::status(&router, worker).selections).collect()
}

#[test]
fn shares_are_fair_among_sixteen_threads() {
    let _alone = ALONE.lock();
    let weights = [1.0, 2.0, 3.0, 4.0];
    let each = REQUESTS / 10 * 10;
    let total = u64::from(16 * each);
    let exact: Vec<u64> = (1..=4).map(|weight| total * weight / 10).collect();
    assert_eq!(served("round_robin", &weights, each), exact);
    assert_shares(&served("random", &weights, each), &weights);
    for name in ["power_of_two", "threshold", "least_work"] {
        // Where load decides it depends on the schedule; each worker gets some, none gets all.
        let counts = served(name, &[1.0; 4], each);
        assert_eq!(counts.iter().sum::<u64>(), total);
        assert!(counts.iter().all(|&count| count > total / 16), "{name}: {counts:?}");
    }
}

#[test]
fn the_last_place_is_never_given_out_twice() {
    let _alone = ALONE.lock();
    for name in POLICIES {
        let mut config = support::config(name);
        config.seed = None;
        let router = Router::new(config).unwrap();
        for i in 0..4 {
            add(&router, WorkerSpec::new(format!("w{i}")).max_in_flight(2));
        }
        let (over, served) = (AtomicBool::new(false), AtomicU64::new(0));
        let holding: Vec<AtomicU32> = (0..1024).map(|_| AtomicU32::new(0)).collect();
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    for _ in 0..REQUESTS / 20 {
                        let selection = match router.select(&Request::none()) {
                            Ok(selection) => selection,
                            Err(RoutingError::AllBusy { .. }) => continue,
                            Err(error) => panic!("{name}: {error}"),
                        };
                        let holding = &holding[selection.worker().slot()];
                        if holding.fetch_add(1, Relaxed) >= 2 {
                            over.store(true, Relaxed);
                        }
                        std::thread::yield_now();
                        holding.fetch_sub(1, Relaxed);
                        served.fetch_add(1, Relaxed);
                        drop(selection);
                    }
                });
            }
        });
        assert!(!over.load(Relaxed), "{name}: three at a time on a worker that takes two");
        assert!(served.load(Relaxed) > 0);
        assert_idle(&router);
    }
}
