//! More requests inside `select` at once than there are stripes: none of them is second class.

use std::collections::HashSet;
use std::sync::{
    Arc, Barrier, Mutex, OnceLock, Weak,
    atomic::{AtomicUsize, Ordering::Relaxed},
};
use std::thread;

use pointsman::{
    Outcome, Reason, Request, Role, Router, RoutingError, RoutingPolicy, Ticket, Usage, WorkerId,
    policy::{Candidates, Decision, RequestView},
};

use crate::support::{self, add_many, assert_idle, in_flight, router_of};

/// Two and a half times as many as there are stripes.
const AT_ONCE: usize = 80;
const WORKERS: usize = 7;

/// Deals the workers out in turn. The score says whose turn it was.
fn deal(candidates: &Candidates<'_>, turn: usize) -> Result<Decision, RoutingError> {
    let worker = candidates.iter().nth(turn % WORKERS).ok_or_else(|| candidates.none())?;
    let decision = Decision::new(worker.id(), Reason::Custom);
    Ok(Decision { score: turn as f64, ..decision })
}

/// Ends in a router in which nothing is in flight any more.
fn check(router: &Router, ids: &[WorkerId], chosen: &[(Ticket, WorkerId, f64)], role: Role) {
    assert_eq!(chosen.len(), AT_ONCE);
    let tickets: HashSet<Ticket> = chosen.iter().map(|&(ticket, ..)| ticket).collect();
    assert_eq!(tickets.len(), AT_ONCE, "distinct tickets");
    assert!(tickets.iter().all(|ticket| ticket.is_tracked()));
    let mut turns: Vec<usize> = chosen.iter().map(|&(.., turn)| turn as usize).collect();
    turns.sort_unstable();
    assert_eq!(turns, (0..AT_ONCE).collect::<Vec<_>>(), "each decided by the policy, once");
    for &(_, worker, turn) in chosen {
        assert_eq!(worker, ids[turn as usize % WORKERS]);
    }
    for (place, &id) in ids.iter().enumerate() {
        let load = (0..AT_ONCE).filter(|turn| turn % WORKERS == place).count();
        assert_eq!(in_flight(router, id), load);
        assert_eq!(support::status(router, id).selections, load as u64);
    }
    let metrics = router.metrics();
    assert_eq!((metrics.tickets.open, metrics.tickets.untracked), (AT_ONCE, 0));
    let counted = |role| {
        let rows = metrics.decisions.iter().filter(|row| row.role == role);
        rows.map(|row| (row.reason, row.count)).collect::<Vec<_>>()
    };
    assert_eq!(counted(role), [(Reason::Custom, AT_ONCE as u64)]);
    for ticket in tickets {
        router.complete(ticket, Outcome::Success, Usage::default()).unwrap();
        assert!(router.complete(ticket, Outcome::Success, Usage::default()).is_err());
    }
    assert_idle(router);
}

/// Routes the next request while it decides on one.
struct Nested {
    /// Not owned: the router owns its policy.
    router: OnceLock<Weak<Router>>,
    turn: AtomicUsize,
    chosen: Mutex<Vec<(Ticket, WorkerId, f64)>>,
    reads: bool,
}

impl Nested {
    fn ask(&self, role: Role) {
        let router = self.router.get().and_then(Weak::upgrade).unwrap();
        let text = format!("{:080}", self.turn.load(Relaxed)).repeat(100);
        let request = Request::text(&text);
        let told = if role == Role::Regular {
            let chosen = router.select(&request).unwrap();
            let told = (chosen.ticket(), chosen.worker(), chosen.score());
            let _ = chosen.into_ticket();
            told
        } else {
            let pair = router.select_pair(&request).unwrap();
            let told = (pair.ticket(), pair.decode().worker(), pair.decode().score());
            let _ = pair.into_ticket();
            told
        };
        self.chosen.lock().unwrap().push(told);
    }
}

impl RoutingPolicy for Nested {
    fn name(&self) -> &str {
        "nested"
    }

    fn select_single(
        &self,
        candidates: &Candidates<'_>,
        request: &RequestView<'_>,
    ) -> Result<Decision, RoutingError> {
        let role = candidates.role();
        if role == Role::Prefill {
            return support::First.select_single(candidates, request);
        }
        let turn = self.turn.fetch_add(1, Relaxed);
        if turn + 1 < AT_ONCE {
            self.ask(role);
        }
        deal(candidates, turn)
    }

    fn wants_prefix(&self) -> bool {
        self.reads
    }
}

#[test]
fn nested_in_one_thread() {
    for (role, reads) in
        [(Role::Regular, false), (Role::Regular, true), (Role::Decode, false), (Role::Decode, true)]
    {
        let policy = Arc::new(Nested {
            router: OnceLock::new(),
            turn: AtomicUsize::new(0),
            chosen: Mutex::default(),
            reads,
        });
        let router = Arc::new(router_of(support::config("random"), Arc::clone(&policy) as Arc<_>));
        add_many(&router, Role::Prefill, 2);
        let ids = add_many(&router, role, WORKERS);
        policy.router.set(Arc::downgrade(&router)).unwrap();
        // As deep as the calls are.
        let deep = thread::Builder::new().stack_size(64 << 20);
        let asked = Arc::clone(&policy);
        deep.spawn(move || asked.ask(role)).unwrap().join().unwrap();
        check(&router, &ids, &policy.chosen.lock().unwrap(), role);
    }
}

/// Decides when all requests are being decided.
struct Meeting {
    all: Barrier,
    turn: AtomicUsize,
    reads: bool,
}

impl RoutingPolicy for Meeting {
    fn name(&self) -> &str {
        "meeting"
    }

    fn select_single(
        &self,
        candidates: &Candidates<'_>,
        _request: &RequestView<'_>,
    ) -> Result<Decision, RoutingError> {
        self.all.wait();
        deal(candidates, self.turn.fetch_add(1, Relaxed))
    }

    fn wants_prefix(&self) -> bool {
        self.reads
    }
}

#[test]
fn from_as_many_threads() {
    for reads in [false, true] {
        let (all, turn) = (Barrier::new(AT_ONCE), AtomicUsize::new(0));
        let policy = Arc::new(Meeting { all, turn, reads });
        let router = router_of(support::config("random"), policy);
        let ids = add_many(&router, Role::Regular, WORKERS);
        let chosen: Vec<_> = thread::scope(|scope| {
            let ask = |number: usize| {
                let router = &router;
                scope.spawn(move || {
                    let text = format!("{number:080}").repeat(100);
                    let chosen = router.select(&Request::text(&text)).unwrap();
                    let told = (chosen.worker(), chosen.score());
                    (chosen.into_ticket(), told.0, told.1)
                })
            };
            let threads: Vec<_> = (0..AT_ONCE).map(ask).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        check(&router, &ids, &chosen, Role::Regular);
    }
}
