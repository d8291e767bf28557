//! Exhaustive interleavings of the ticket protocol, on one worker and a table of one word. Run with
//! `RUSTFLAGS="--cfg pointsman_loom" cargo test --release --lib loom`.
//!
//! The model takes sequentially consistent accesses for acquire and release only. Where the protocol
//! rests on their total order, the fences below stand for it.
//!
//! The models of room are of [`crate::fleet::room`].
//!
//! Each thread reserves in a stripe of its own, as if it had entered it; [`crate::sync::exclusive`] has a model
//! of that. The last two models are of threads that found every stripe taken.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use loom::sync::Arc;
use loom::sync::atomic::{Ordering::SeqCst, fence};
use loom::thread;

use crate::fleet::room::{Hook, Room};
use crate::sync::stripe::Place;
use crate::ticket::{Charge, Participants, Ticket, Tickets};
use crate::worker::{WorkerId, state::WorkerState};

const SLOT: u16 = 0;
const PREFILL: usize = 1;
const FIRST: u64 = 1;
const SECOND: u64 = 2;

/// What the router holds: tickets, two rows, and who waits for room in them.
struct Model {
    tickets: Tickets,
    rows: [WorkerState; 2],
    room: Room,
    told: std::sync::Arc<AtomicUsize>,
}

impl Model {
    fn new() -> Arc<Self> {
        let rows = [WorkerState::new(), WorkerState::new()];
        rows.iter().for_each(|row| row.occupy(FIRST, None));
        let told = std::sync::Arc::new(AtomicUsize::new(0));
        let counted = std::sync::Arc::clone(&told);
        // No part of the model.
        let hook: Hook = Box::new(move || {
            counted.fetch_add(1, Relaxed);
        });
        Arc::new(Model {
            tickets: Tickets::new(64, false),
            rows,
            room: Room::new(Some(hook)),
            told,
        })
    }

    /// As `commit` does: reserve, charge, open, look at the generation.
    fn open(&self, stripe: Place, prefill: Option<WorkerId>) -> Option<Ticket> {
        let charge = charge(prefill);
        let reserved = self.tickets.reserve(stripe).expect("the share has room");
        assert!(self.rows[usize::from(SLOT)].charge(0));
        fence(SeqCst);
        if let Some(prefill) = prefill {
            assert!(self.rows[prefill.slot()].charge(0));
        }
        let ticket = self.tickets.open(reserved, charge, u64::MAX);
        if self.rows[usize::from(SLOT)].generation() == FIRST {
            return Some(ticket);
        }
        self.complete(ticket);
        None
    }

    /// As `complete` completes; whether this call did it.
    fn complete(&self, ticket: Ticket) -> bool {
        let Ok(closed) = self.tickets.close(ticket) else { return false };
        let held = closed.participants.prefill().filter(|_| closed.prefill_charged());
        let main = closed.participants.slot();
        held.into_iter().for_each(|slot| self.rows[usize::from(slot)].release(0));
        drop(closed);
        self.rows[usize::from(main)].release(0);
        true
    }

    /// As `complete` completes where somebody may wait.
    fn complete_and_tell(&self, ticket: Ticket) {
        assert!(self.complete(ticket));
        fence(SeqCst);
        self.room.given_back();
    }

    /// As `select` takes a place, or is refused, notes that it waits, and looks again; whether it was
    /// refused.
    fn is_refused(&self, take: impl Fn() -> bool) -> bool {
        if take() {
            return false;
        }
        self.room.want();
        !take()
    }

    /// As `complete` takes the first token; whether this call did it.
    fn first_token(&self, ticket: Ticket) -> bool {
        let Ok((charge, charged)) = self.tickets.first_token(ticket, false) else { return false };
        if let Some(prefill) = charge.participants.prefill().filter(|_| charged) {
            self.rows[usize::from(prefill)].release(0);
        }
        true
    }

    /// As the fleet removes: change the generation, sweep.
    fn remove(&self) {
        self.rows[usize::from(SLOT)].vacate();
        fence(SeqCst);
        self.sweep();
    }

    /// As `complete` sweeps: close what is open on workers that have left.
    fn sweep(&self) {
        let open: Vec<_> =
            (0..self.tickets.parts()).flat_map(|part| self.tickets.open_in(part)).collect();
        for (ticket, participants, _) in open {
            if self.rows[usize::from(participants.slot())].is_vacant() {
                self.complete(ticket);
            }
        }
    }

    /// As `complete` sweeps a ticket whose prefill worker has left; whether this call did it.
    fn prefill_leaves(&self, ticket: Ticket) -> bool {
        let left = self.tickets.prefill_left(ticket);
        if left {
            self.rows[PREFILL].release(0);
        }
        left
    }

    fn assert_nothing_is_held(&self) {
        assert!(self.rows.iter().all(|row| row.in_flight() == 0));
        assert_eq!(self.tickets.open_count(), 0);
    }
}

fn mine() -> Place {
    Place::numbered(0)
}

fn other() -> Place {
    Place::numbered(1)
}

fn charge(prefill: Option<WorkerId>) -> Charge {
    Charge { participants: Participants::new(SLOT, prefill, 0, false), ..Charge::default() }
}

fn model(test: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    // A sweep looks at every entry.
    builder.max_branches = 10_000;
    builder.check(test);
}

/// Whichever comes first, removal or opening: no ticket of the removed worker stays open beyond the
/// next sweep, and its slot is empty for a successor then.
#[test]
fn loom_removal_misses_no_ticket() {
    model(|| {
        let model = Model::new();
        let opener = thread::spawn({
            let model = Arc::clone(&model);
            move || model.open(other(), None)
        });
        model.remove();
        opener.join().expect("the opener does not panic");
        model.sweep();
        model.assert_nothing_is_held();
        assert!(model.rows[usize::from(SLOT)].is_idle());
    });
}

/// A slot taken over while its last worker's ticket is opened: the successor inherits no load.
#[test]
fn loom_a_successor_inherits_nothing() {
    model(|| {
        let model = Model::new();
        let opener = thread::spawn({
            let model = Arc::clone(&model);
            move || model.open(other(), None)
        });
        model.remove();
        let row = &model.rows[usize::from(SLOT)];
        // As the registry does: only an idle slot is given to another worker.
        let idle = row.is_idle();
        if idle {
            row.occupy(SECOND, None);
        }
        if let Some(kept) = opener.join().expect("the opener does not panic") {
            // Either closed by the removal, or missed by it, and then the slot was not idle.
            assert!(!model.complete(kept) || !idle);
        }
        model.assert_nothing_is_held();
    });
}

/// Two completions of one ticket, one of them by its owner: one succeeds, and gives back once.
#[test]
fn loom_a_ticket_is_completed_once() {
    model(|| {
        let model = Model::new();
        let ticket = model.open(mine(), None).expect("no thread removes the worker");
        let other = thread::spawn({
            let model = Arc::clone(&model);
            move || model.complete(ticket)
        });
        let mine = model.complete(ticket);
        let theirs = other.join().expect("completing does not panic");
        assert!(mine != theirs);
        assert!(!model.complete(ticket), "an old number completes nothing");
        model.assert_nothing_is_held();
    });
}

/// First token and completion of a pair at once: the prefill worker's load comes back once.
#[test]
fn loom_first_token_and_completion_share_out_a_pair() {
    model(|| {
        let model = Model::new();
        let ticket = model
            .open(mine(), Some(WorkerId::new(PREFILL, FIRST)))
            .expect("no thread removes the worker");
        let other = thread::spawn({
            let model = Arc::clone(&model);
            move || model.first_token(ticket)
        });
        assert!(model.complete(ticket));
        other.join().expect("a first token does not panic");
        model.assert_nothing_is_held();
    });
}

/// A prefill worker leaves while the first token comes and the request ends: its load comes back once,
/// the first token is taken whether the worker is there or not, and whoever is late harms no one.
#[test]
fn loom_a_prefill_worker_leaves_under_first_token_and_completion() {
    model(|| {
        let model = Model::new();
        let prefill = Some(WorkerId::new(PREFILL, FIRST));
        let ticket = model.open(mine(), prefill).expect("no thread removes the worker");
        let sweeper = thread::spawn({
            let model = Arc::clone(&model);
            move || model.prefill_leaves(ticket)
        });
        let reader = thread::spawn({
            let model = Arc::clone(&model);
            move || {
                assert!(model.first_token(ticket), "a worker's leaving takes no first token away");
                assert!(model.complete(ticket));
                model.open(mine(), prefill).expect("no thread removes the worker")
            }
        });
        sweeper.join().expect("a sweep does not panic");
        let next = reader.join().expect("a request does not panic");
        assert!(!model.prefill_leaves(ticket), "an old number names no one");
        assert!(model.complete(next));
        model.assert_nothing_is_held();
    });
}

/// An entry that is given back and taken again: neither ticket closes the other.
#[test]
fn loom_a_reused_entry_is_another_ticket() {
    model(|| {
        let model = Model::new();
        let old = model.open(mine(), None).expect("no thread removes the worker");
        let other = thread::spawn({
            let model = Arc::clone(&model);
            move || {
                model.complete(old);
                model.open(mine(), None).expect("no thread removes the worker")
            }
        });
        model.complete(old);
        let new = other.join().expect("opening does not panic");
        assert!(!model.complete(old));
        assert!(model.complete(new));
        model.assert_nothing_is_held();
    });
}

/// Two threads without a stripe reserve at once: each gets an entry of its own.
#[test]
fn loom_two_without_a_stripe_reserve_different_entries() {
    model(|| {
        let model = Model::new();
        let theirs = thread::spawn({
            let model = Arc::clone(&model);
            move || model.open(Place::SPARE, None).expect("no thread removes the worker")
        });
        let ours = model.open(Place::SPARE, None).expect("no thread removes the worker");
        let theirs = theirs.join().expect("opening does not panic");
        // Of one entry, the two would also have one number.
        assert_ne!(ours, theirs);
        assert_eq!(model.tickets.open_count(), 2);
        assert!(model.complete(ours) && model.complete(theirs));
        model.assert_nothing_is_held();
    });
}

/// One thread without a stripe closes while another reserves, who may take the entry over: neither
/// ticket closes the other.
#[test]
fn loom_without_a_stripe_one_closes_while_another_reserves() {
    model(|| {
        let model = Model::new();
        let old = model.open(Place::SPARE, None).expect("no thread removes the worker");
        let opener = thread::spawn({
            let model = Arc::clone(&model);
            move || model.open(Place::SPARE, None).expect("no thread removes the worker")
        });
        assert!(model.complete(old));
        let new = opener.join().expect("opening does not panic");
        assert_ne!(old, new);
        assert!(!model.complete(old), "an old number completes nothing");
        assert_eq!(model.tickets.open_count(), 1);
        assert!(model.complete(new));
        model.assert_nothing_is_held();
    });
}

/// A worker's last place is given back while two look for it: one takes it or is told, whichever way; a
/// refusal is never forgotten.
#[test]
fn loom_who_finds_no_room_is_told_of_it() {
    model(|| {
        let model = Model::new();
        let row = &model.rows[usize::from(SLOT)];
        row.set_limit(Some(1));
        let ticket = model.open(mine(), None).expect("no thread removes the worker");
        let giver = thread::spawn({
            let model = Arc::clone(&model);
            move || model.complete_and_tell(ticket)
        });
        let refused = model.is_refused(|| row.has_room());
        giver.join().expect("completing does not panic");
        assert!(!refused || model.told.load(Relaxed) == 1);
    });
}

/// The same of a ticket, in a table that is full: its entry is given back before the load.
#[test]
fn loom_who_finds_no_ticket_is_told_of_it() {
    model(|| {
        let model = Model::new();
        let mut last = None;
        while let Some(reserved) = model.tickets.reserve(mine()) {
            assert!(model.rows[usize::from(SLOT)].charge(0));
            last = Some(model.tickets.open(reserved, charge(None), u64::MAX));
        }
        let ticket = last.expect("the share has room");
        let giver = thread::spawn({
            let model = Arc::clone(&model);
            move || model.complete_and_tell(ticket)
        });
        let refused = model.is_refused(|| model.tickets.reserve(mine()).is_some());
        giver.join().expect("completing does not panic");
        assert!(!refused || model.told.load(Relaxed) == 1);
    });
}

/// Two give back at once: one refusal is told once.
#[test]
fn loom_one_refusal_is_told_once() {
    model(|| {
        let model = Model::new();
        model.rows[usize::from(SLOT)].set_limit(Some(2));
        let tickets = [mine(), other()].map(|stripe| model.open(stripe, None).expect("it stays"));
        model.room.want();
        let giver = thread::spawn({
            let model = Arc::clone(&model);
            move || model.complete_and_tell(tickets[0])
        });
        model.complete_and_tell(tickets[1]);
        giver.join().expect("completing does not panic");
        assert_eq!(model.told.load(Relaxed), 1);
    });
}
