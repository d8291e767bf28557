//! Tickets beside a naive map: whatever is done in whatever order, every answer and every count.

use pointsman::{Outcome, Request, Role, Router, Ticket, TicketError, Usage};

use crate::support::{self, SECOND, add_many};

pub const DEADLINE: u64 = 100 * SECOND;
pub const CAPACITY: usize = 64;

#[derive(Clone, Copy, Debug)]
pub enum Step {
    Open,
    OpenPair,
    /// These name any ticket ever given out, by its place.
    FirstToken(usize),
    Complete(usize),
    Progress(usize),
    /// A number that may or may not be a ticket's.
    Forged(u64),
    Pass(u64),
    Fork,
}

#[derive(Clone, Copy, PartialEq)]
enum Phase {
    Waiting,
    Streaming,
    Closed,
}

struct Known {
    ticket: Ticket,
    pair: bool,
    phase: Phase,
    deadline: u64,
}

#[derive(Default)]
struct Model {
    known: Vec<Known>,
    now: u64,
    untracked: u64,
}

impl Model {
    fn open(&self) -> usize {
        self.known.iter().filter(|known| known.phase != Phase::Closed).count()
    }

    fn find(&mut self, ticket: Ticket) -> Result<&mut Known, TicketError> {
        let known = self.known.iter_mut().find(|known| known.ticket == ticket);
        let known = known.ok_or(TicketError::Unknown)?;
        if known.phase == Phase::Closed { Err(TicketError::Closed) } else { Ok(known) }
    }

    fn first_token(&mut self, ticket: Ticket) -> Result<(), TicketError> {
        let known = self.find(ticket)?;
        if known.phase == Phase::Streaming {
            return Err(TicketError::FirstTokenTwice);
        }
        known.phase = Phase::Streaming;
        Ok(())
    }

    fn complete(&mut self, ticket: Ticket) -> Result<(), TicketError> {
        self.find(ticket).map(|known| known.phase = Phase::Closed)
    }

    fn progress(&mut self, ticket: Ticket) -> Result<(), TicketError> {
        let deadline = self.now + DEADLINE;
        self.find(ticket).map(|known| known.deadline = deadline)
    }

    fn opened(&mut self, ticket: Ticket, pair: bool) {
        if ticket.is_tracked() {
            let deadline = self.now + DEADLINE;
            self.known.push(Known { ticket, pair, phase: Phase::Waiting, deadline });
        } else {
            self.untracked += 1;
        }
    }

    fn pass(&mut self, time: u64) {
        self.now += time;
        let now = self.now;
        self.close(|known| known.deadline <= now);
    }

    fn close(&mut self, which: impl Fn(&Known) -> bool) {
        self.known.iter_mut().filter(|k| which(k)).for_each(|k| k.phase = Phase::Closed);
    }

    /// Load by role: regular, prefill, decode.
    fn loads(&self) -> [usize; 3] {
        let count = |test: &dyn Fn(&&Known) -> bool| {
            self.known.iter().filter(|k| k.phase != Phase::Closed).filter(test).count()
        };
        [count(&|k| !k.pair), count(&|k| k.pair && k.phase == Phase::Waiting), count(&|k| k.pair)]
    }
}

fn apply(router: &Router, model: &mut Model, step: Step) {
    let now = model.now;
    let any = |index: usize, model: &Model| {
        (!model.known.is_empty()).then(|| model.known[index % model.known.len()].ticket)
    };
    match step {
        Step::Open => {
            let tracked = model.open() < CAPACITY;
            let ticket = router.at(now).select(&Request::none()).unwrap().into_ticket();
            assert_eq!(ticket.is_tracked(), tracked);
            assert!(model.known.iter().all(|known| known.ticket != ticket));
            model.opened(ticket, false);
        }
        Step::OpenPair => {
            let tracked = model.open() < CAPACITY;
            let ticket = router.at(now).select_pair(&Request::none()).unwrap().into_ticket();
            assert_eq!(ticket.is_tracked(), tracked);
            model.opened(ticket, true);
        }
        Step::FirstToken(index) => {
            if let Some(ticket) = any(index, model) {
                let found = router.at(now).first_token(ticket, None);
                assert_eq!(found, model.first_token(ticket));
            }
        }
        Step::Complete(index) => {
            if let Some(ticket) = any(index, model) {
                let found = router.at(now).complete(ticket, Outcome::Success, Usage::default());
                assert_eq!(found, model.complete(ticket));
            }
        }
        Step::Progress(index) => {
            if let Some(ticket) = any(index, model) {
                assert_eq!(router.at(now).progress(ticket), model.progress(ticket));
            }
        }
        Step::Forged(raw) if raw != 0 => {
            let ticket = Ticket::from_raw(raw);
            assert_eq!(router.at(now).progress(ticket), model.progress(ticket), "{:#x}", raw);
            let found = router.at(now).complete(ticket, Outcome::Success, Usage::default());
            assert_eq!(found, model.complete(ticket), "{:#x}", raw);
        }
        Step::Forged(_) => {}
        Step::Pass(time) => {
            model.pass(time);
            router.at(model.now).tick();
        }
        Step::Fork => {
            model.close(|_| true);
            router.after_fork();
        }
    }
}

/// Takes the steps under this policy, and compares every count after each.
pub fn run(policy: &str, steps: impl Iterator<Item = Step>) {
    let mut config = support::config(policy);
    config.max_tickets = CAPACITY;
    config.max_workers = Role::ALL.len();
    config.tree.budget_bytes = 100_000;
    config.ticket_deadline_secs = DEADLINE as f64 / 1e9;
    let router = Router::new(config).unwrap();
    Role::ALL.iter().for_each(|&role| drop(add_many(&router, role, 1)));
    let mut model = Model::default();
    for step in steps {
        apply(&router, &mut model, step);
        let metrics = router.metrics();
        assert_eq!(metrics.tickets.open, model.open());
        assert_eq!(metrics.tickets.untracked, model.untracked);
        let load = |role| {
            let of_role = metrics.workers.iter().filter(|worker| worker.info.role == role);
            of_role.map(|worker| worker.in_flight).sum::<usize>()
        };
        assert_eq!(Role::ALL.map(load), model.loads());
    }
}
