//! Tickets: the duty to give a request's load back once.
//!
//! - [`number`]: the number that a host keeps.
//! - [`charge`]: what a ticket remembers of its request: the participants, and what they were charged.
//! - [`error`]: why a ticket could not be used.
//! - `entry`: one entry of the table.
//! - `held`: what can be noted and asked while it is opened or closed.
//! - `notes`: what a request notes for the report at its end.
//! - [`table`]: the fixed table of open tickets.

pub(crate) mod charge;
mod entry;
pub(crate) mod error;
mod held;
#[cfg(all(test, pointsman_loom))]
mod loom;
mod notes;
pub(crate) mod number;
pub(crate) mod table;

pub(crate) use self::{
    charge::{Charge, Participants},
    number::{MAX_TICKETS, Ticket},
    table::{Closed, Reserved, Tickets},
};
