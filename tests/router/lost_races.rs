//! Lost races for a worker's last place: the other workers are tried, the prompt is the same in every
//! attempt, and nothing stays charged that is not in flight.
//!
//! A race is lost without a second thread: while a request is being decided, the policy itself routes
//! another one, which takes the place.

use std::sync::{
    Arc, Mutex, OnceLock, Weak,
    atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
};

use pointsman::{
    Outcome, PolicyConfig, PolicyError, Reason, Request, Role, Router, RoutingError, RoutingPolicy,
    Ticket, Usage, WorkerId, WorkerSpec,
    policy::{Candidates, Decision, RequestView},
};

use crate::support::{self, POLICIES, add_many, assert_idle, in_flight, refusal, router_of};

/// Takes the first candidate, and before it says so, the last place of that one.
#[derive(Default)]
struct Thief {
    /// Not owned: the router owns its policy.
    router: OnceLock<Weak<Router>>,
    /// Races that are still to be lost, by role.
    races: [AtomicUsize; 3],
    /// Whether the request that takes the place is being decided.
    inside: AtomicBool,
    stolen: Mutex<Vec<Ticket>>,
    /// What each attempt of the request was told of its prompt.
    prompts: Mutex<Vec<Vec<u64>>>,
    /// What pairs are completed by, in the request that takes the place.
    partners: Mutex<Vec<WorkerId>>,
    reads: bool,
    listens: bool,
}

impl Thief {
    /// A router with that many workers of each of these roles, which serve one request at a time.
    fn router(thief: Thief, workers: &[(Role, usize)]) -> (Arc<Router>, Arc<Thief>, Vec<WorkerId>) {
        let thief = Arc::new(thief);
        let router = Arc::new(router_of(support::config("random"), Arc::clone(&thief) as Arc<_>));
        let add = |&(role, count)| add_many(&router, role, count);
        let ids: Vec<WorkerId> = workers.iter().flat_map(add).collect();
        ids.iter().for_each(|&id| router.set_max_in_flight(id, Some(1)).unwrap());
        thief.router.set(Arc::downgrade(&router)).expect("set once");
        (router, thief, ids)
    }

    fn loses(&self, role: Role, races: usize) {
        self.races[role as usize].store(races, Relaxed);
    }

    fn steal(&self, worker: WorkerId, role: Role) {
        let router = self.router.get().and_then(Weak::upgrade).unwrap();
        let mut both = self.partners.lock().unwrap().clone();
        both.push(worker);
        let request = Request::none().allow(&both);
        self.inside.store(true, Relaxed);
        let ticket = if role == Role::Regular {
            router.select(&request).unwrap().into_ticket()
        } else {
            router.select_pair(&request).unwrap().into_ticket()
        };
        self.inside.store(false, Relaxed);
        self.stolen.lock().unwrap().push(ticket);
    }

    /// Ends the requests that took a place.
    fn give_back(&self, router: &Router) {
        let stolen = std::mem::take(&mut *self.stolen.lock().unwrap());
        for ticket in stolen {
            router.complete(ticket, Outcome::Success, Usage::default()).unwrap();
        }
    }
}

impl RoutingPolicy for Thief {
    fn name(&self) -> &str {
        "thief"
    }

    fn select_single(
        &self,
        candidates: &Candidates<'_>,
        request: &RequestView<'_>,
    ) -> Result<Decision, RoutingError> {
        let outer = !self.inside.load(Relaxed);
        if let Some(prefix) = request.prefix.filter(|_| outer) {
            self.prompts.lock().unwrap().push(prefix.fingerprint().blocks().to_vec());
        }
        let first = candidates.iter().next().ok_or_else(|| candidates.none())?.id();
        let role = candidates.role();
        let races = &self.races[role as usize];
        if outer && races.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok() {
            self.steal(first, role);
        }
        Ok(Decision::new(first, Reason::Custom))
    }

    fn wants_prefix(&self) -> bool {
        self.reads
    }

    fn wants_events(&self) -> bool {
        self.listens
    }
}

/// Decisions counted.
fn decisions(router: &Router) -> u64 {
    router.metrics().decisions.iter().map(|row| row.count).sum()
}

/// Each with and without a look at prompts, and listening or not: the ways through the router differ.
fn thieves() -> impl Iterator<Item = Thief> {
    let all = [(false, false), (false, true), (true, false), (true, true)];
    all.into_iter().map(|(reads, listens)| Thief { reads, listens, ..Default::default() })
}

const WORKERS: usize = 5;

#[test]
fn the_last_worker_serves_where_the_races_for_all_others_are_lost() {
    let prompt = "What is asked for. ".repeat(100);
    for thief in thieves() {
        let (router, thief, ids) = Thief::router(thief, &[(Role::Regular, WORKERS)]);
        for lost in 0..WORKERS {
            thief.loses(Role::Regular, lost);
            let before = decisions(&router);
            let chosen = router.select(&Request::text(&prompt)).unwrap();
            assert_eq!(chosen.worker(), ids[lost], "after {lost} lost races");
            let loads: Vec<usize> = ids.iter().map(|&id| in_flight(&router, id)).collect();
            let expected: Vec<usize> = (0..WORKERS).map(|i| usize::from(i <= lost)).collect();
            assert_eq!(loads, expected);
            assert_eq!(router.metrics().tickets.open, lost + 1);
            assert_eq!(decisions(&router) - before, lost as u64 + 1, "each request counts once");
            drop(chosen);
            thief.give_back(&router);
            assert_idle(&router);
        }
    }
}

#[test]
fn where_all_races_are_lost_all_workers_are_busy() {
    let prompt = "What is asked for. ".repeat(100);
    for thief in thieves() {
        let (router, thief, ids) = Thief::router(thief, &[(Role::Regular, WORKERS)]);
        thief.loses(Role::Regular, WORKERS);
        let error = refusal(router.select(&Request::text(&prompt)));
        let busy = WORKERS as u32;
        assert_eq!(error, RoutingError::AllBusy { role: Role::Regular, busy });
        assert!(ids.iter().all(|&id| in_flight(&router, id) == 1));
        assert_eq!(router.metrics().tickets.open, WORKERS);
        assert_eq!(decisions(&router), WORKERS as u64);
        thief.give_back(&router);
        assert_idle(&router);
        // Of those that the request may use.
        thief.loses(Role::Regular, WORKERS);
        let error = refusal(router.select(&Request::text(&prompt).allow(&ids[..2])));
        assert_eq!(error, RoutingError::AllBusy { role: Role::Regular, busy: 2 });
        thief.give_back(&router);
        assert_idle(&router);
    }
}

/// As many workers of both roles as races, and one of each more that serves any number of requests,
/// for the thief alone.
fn pairs(thief: Thief) -> (Arc<Router>, Arc<Thief>, Vec<WorkerId>, [WorkerId; 2]) {
    let roles = [(Role::Prefill, WORKERS), (Role::Decode, WORKERS)];
    let (router, thief, ids) = Thief::router(thief, &roles);
    let partner = |role| support::add(&router, WorkerSpec::new(format!("own-{role}")).role(role));
    let partners = [partner(Role::Prefill), partner(Role::Decode)];
    (router, thief, ids, partners)
}

#[test]
fn a_pair_is_formed_of_those_that_are_left() {
    let prompt = "What is asked for. ".repeat(100);
    for (prefills, decodes) in [(2, 0), (0, 3), (2, 3), (WORKERS - 1, WORKERS - 1)] {
        for thief in thieves() {
            let (router, thief, ids, partners) = pairs(thief);
            *thief.partners.lock().unwrap() = partners.to_vec();
            thief.loses(Role::Prefill, prefills);
            thief.loses(Role::Decode, decodes);
            let pair = router.select_pair(&Request::text(&prompt).exclude(&partners)).unwrap();
            assert_eq!(pair.prefill().worker(), ids[prefills]);
            assert_eq!(pair.decode().worker(), ids[WORKERS + decodes]);
            assert_eq!(router.metrics().tickets.open, prefills + decodes + 1);
            for (i, &id) in ids.iter().enumerate() {
                let taken = if i < WORKERS { i <= prefills } else { i - WORKERS <= decodes };
                assert_eq!(
                    in_flight(&router, id),
                    usize::from(taken),
                    "{prefills}, {decodes}: {i}"
                );
            }
            drop(pair);
            thief.give_back(&router);
            assert_idle(&router);
        }
    }
}

#[test]
fn a_pair_is_refused_in_the_name_of_the_role_that_has_none_left() {
    for role in [Role::Prefill, Role::Decode] {
        for thief in thieves() {
            let (router, thief, _, partners) = pairs(thief);
            *thief.partners.lock().unwrap() = partners.to_vec();
            thief.loses(role, WORKERS);
            let error = refusal(router.select_pair(&Request::none().exclude(&partners)));
            assert_eq!(error, RoutingError::AllBusy { role, busy: WORKERS as u32 });
            assert_eq!(router.metrics().tickets.open, WORKERS);
            thief.give_back(&router);
            assert_idle(&router);
        }
    }
}

#[test]
fn the_prompt_is_the_same_in_every_attempt() {
    let thief = Thief { reads: true, ..Default::default() };
    let (router, thief, _) = Thief::router(thief, &[(Role::Regular, WORKERS)]);
    thief.loses(Role::Regular, WORKERS - 1);
    let body = format!(r#"{{"prompt": "{}"}}"#, "What is asked for. ".repeat(100));
    let request = Request::json(body.as_bytes());
    let mut buffer = [0; 64];
    let blocks = router.fingerprint(&request, &mut buffer).unwrap().blocks().to_vec();
    assert!(blocks.len() > 10);
    drop(router.select(&request).unwrap());
    assert_eq!(*thief.prompts.lock().unwrap(), vec![blocks; WORKERS]);
}

/// Names one worker, or one pair, whatever it is told.
struct Stubborn {
    asked: AtomicUsize,
    named: Mutex<Vec<WorkerId>>,
}

impl RoutingPolicy for Stubborn {
    fn name(&self) -> &str {
        "stubborn"
    }

    fn select_single(
        &self,
        candidates: &Candidates<'_>,
        _request: &RequestView<'_>,
    ) -> Result<Decision, RoutingError> {
        self.asked.fetch_add(1, Relaxed);
        let named = self.named.lock().unwrap();
        let mine = named.iter().find(|id| id.slot() / 2 == candidates.role() as usize);
        Ok(Decision::new(*mine.unwrap(), Reason::Custom))
    }
}

#[test]
fn a_policy_that_insists_on_a_full_worker_has_failed() {
    let policy = Arc::new(Stubborn { asked: AtomicUsize::new(0), named: Mutex::default() });
    let router = router_of(support::config("random"), Arc::clone(&policy) as Arc<_>);
    // Two of each role, in slots 0 and 1, 2 and 3, 4 and 5.
    let roles = [Role::Regular, Role::Prefill, Role::Decode];
    let ids: Vec<WorkerId> = roles.iter().flat_map(|&role| add_many(&router, role, 2)).collect();
    assert!(ids.iter().enumerate().all(|(i, id)| id.slot() == i));
    *policy.named.lock().unwrap() = vec![ids[0], ids[2], ids[4]];
    for (full, role) in [(ids[0], Role::Regular), (ids[2], Role::Prefill), (ids[4], Role::Decode)] {
        router.set_max_in_flight(full, Some(1)).unwrap();
        let ask = || -> Result<Ticket, RoutingError> {
            Ok(match role {
                Role::Regular => router.select(&Request::none())?.into_ticket(),
                _ => router.select_pair(&Request::none())?.into_ticket(),
            })
        };
        let held = ask().unwrap();
        let before = (policy.asked.load(Relaxed), decisions(&router));
        let RoutingError::Policy(failure) = refusal(ask()) else { panic!("{role}") };
        assert_eq!(failure.source, PolicyError::NotACandidate { worker: full });
        // Once to lose the race, once to insist; of a pair, about both roles.
        let asked = policy.asked.load(Relaxed) - before.0;
        assert_eq!(asked, if role == Role::Regular { 2 } else { 4 }, "{role}");
        assert_eq!(decisions(&router), before.1, "{role}");
        assert_eq!(in_flight(&router, full), 1);
        assert_eq!(router.metrics().tickets.open, 1);
        router.complete(held, Outcome::Success, Usage::default()).unwrap();
        router.set_max_in_flight(full, None).unwrap();
        assert_idle(&router);
    }
}

/// A shadow that takes the last places of all workers but one, between the decision and its commitment.
struct Crowd {
    router: OnceLock<Weak<Router>>,
    left: OnceLock<WorkerId>,
    full: Mutex<Vec<Ticket>>,
}

impl RoutingPolicy for Crowd {
    fn name(&self) -> &str {
        "crowd"
    }

    fn select_single(
        &self,
        candidates: &Candidates<'_>,
        _request: &RequestView<'_>,
    ) -> Result<Decision, RoutingError> {
        let router = self.router.get().and_then(Weak::upgrade).unwrap();
        let left = *self.left.get().unwrap();
        if let Ok(mut full) = self.full.try_lock() {
            for worker in candidates.iter().filter(|worker| worker.id() != left) {
                let taken = router.select(&Request::none().allow(&[worker.id()])).unwrap();
                full.push(taken.into_ticket());
            }
        }
        Ok(Decision::new(left, Reason::Custom))
    }
}

#[test]
fn every_policy_finds_the_last_place() {
    for name in POLICIES {
        let crowd = Arc::new(Crowd {
            router: OnceLock::new(),
            left: OnceLock::new(),
            full: Mutex::default(),
        });
        let own = Arc::clone(&crowd);
        let mut config = support::config(name);
        config.shadow = Some(PolicyConfig::named("crowd"));
        let builder = Router::builder().config(config);
        let builder = builder.add_policy("crowd", move |_| Ok(Arc::clone(&own) as _)).unwrap();
        let router = Arc::new(builder.build().unwrap());
        let ids = add_many(&router, Role::Regular, WORKERS);
        ids.iter().for_each(|&id| router.set_max_in_flight(id, Some(1)).unwrap());
        crowd.router.set(Arc::downgrade(&router)).unwrap();
        crowd.left.set(ids[2]).unwrap();
        let text = "What is asked for. ".repeat(100);
        for _ in 0..20 {
            let chosen = router.select(&Request::text(&text)).unwrap();
            assert_eq!(chosen.worker(), ids[2], "{name}");
            drop(chosen);
            for ticket in std::mem::take(&mut *crowd.full.lock().unwrap()) {
                router.complete(ticket, Outcome::Success, Usage::default()).unwrap();
            }
            assert_idle(&router);
        }
        let shadow = router.metrics().shadow.unwrap();
        assert_eq!(shadow.compared + shadow.failed, decisions(&router), "{name}: {shadow:?}");
    }
}
