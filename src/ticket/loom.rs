//! Exhaustive interleavings of a reader of best matches; those of the table itself are in `crate::router`.

use loom::sync::Arc;
use loom::thread;

use super::{Charge, Ticket, Tickets};
use crate::policy::BestMatch;
use crate::prefix::breaks::{NOTE_WORDS, Note};
use crate::sync::stripe::Place;
use crate::worker::WorkerId;

fn best(tokens: u32) -> BestMatch {
    BestMatch { worker: WorkerId::new(0, tokens.into()), tokens }
}

fn open(tickets: &Tickets, tokens: u32) -> Ticket {
    let reserved = tickets.reserve(Place::numbered(0)).expect("the share has room");
    reserved.note(&Note([0; NOTE_WORDS]), Some(best(tokens)));
    tickets.open(reserved, Charge::default(), u64::MAX)
}

/// Who asks for a ticket that is closed at this moment, and whose entry is opened anew, gets what that ticket
/// had, or nothing.
#[test]
fn loom_a_best_match_is_that_of_the_ticket() {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(|| {
        let tickets = Arc::new(Tickets::new(64, true));
        let first = open(&tickets, 1);
        let reader = thread::spawn({
            let tickets = Arc::clone(&tickets);
            move || tickets.best_match(first)
        });
        drop(tickets.close(first));
        let second = open(&tickets, 2);
        assert!(matches!(reader.join(), Ok(None | Some(BestMatch { tokens: 1, .. }))));
        assert_eq!(tickets.best_match(second), Some(best(2)));
    });
}
