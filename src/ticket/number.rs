//! The number of an open request: an entry's index and its generation.

use std::num::ParseIntError;
use std::{fmt, str::FromStr};

use serde::Serialize;

/// Bits of the index. The table has at most [`MAX_TICKETS`] entries, and a shared part on top.
pub(super) const INDEX_BITS: u32 = 21;
/// The largest table, without its shared part.
pub(crate) const MAX_TICKETS: usize = 1 << 20;

/// The bits in which a state word has its phase, and a ticket's number its index. Above them, both have
/// the generation.
pub(super) const LOW: u64 = (1 << INDEX_BITS) - 1;

/// The number of an open request, by which the host completes it.
///
/// 0 is a request that could not be tracked because the table was full. Such requests are spread at
/// random; they count neither as load nor towards limits, so they go to workers without a limit only: where
/// all have one, they are refused as [`AllBusy`](crate::RoutingError::AllBusy). Completing them teaches
/// nothing. Watch
/// `pointsman_tickets_untracked_total`: where it rises, tickets are not completed, or `max_tickets` is
/// too small. A ticket means something only to the router that issued it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Ticket(u64);

impl Ticket {
    /// The ticket of a request that is not tracked.
    pub const UNTRACKED: Ticket = Ticket(0);

    /// The ticket as a number, for foreign interfaces.
    pub fn to_raw(self) -> u64 {
        self.0
    }

    /// A ticket from [`Ticket::to_raw`].
    pub fn from_raw(raw: u64) -> Self {
        Ticket(raw)
    }

    /// Whether the request is tracked and its load charged.
    pub fn is_tracked(self) -> bool {
        self.0 != 0
    }

    /// The ticket of this entry while it is in this state.
    pub(super) fn of(index: usize, state: u64) -> Self {
        Ticket(state & !LOW | index as u64)
    }

    /// The state of the ticket's entry in this phase.
    #[inline]
    pub(super) fn state(self, phase: u64) -> u64 {
        self.0 & !LOW | phase
    }

    pub(super) fn index(self) -> usize {
        (self.0 & LOW) as usize
    }

    pub(super) fn generation(self) -> u64 {
        self.0 >> INDEX_BITS
    }
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// From the number that it is displayed as.
impl FromStr for Ticket {
    type Err = ParseIntError;

    fn from_str(number: &str) -> Result<Self, ParseIntError> {
        number.parse().map(Ticket)
    }
}
