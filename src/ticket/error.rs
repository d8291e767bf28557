//! Why a ticket could not be used.

use thiserror::Error;

/// Why a ticket could not be used; nothing has changed.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum TicketError {
    /// The number was never given out by this router.
    #[error("no such ticket")]
    Unknown,
    /// The ticket was completed, expired, or closed because its worker was removed.
    #[error("the ticket is closed: it was completed or expired, or its worker was removed")]
    Closed,
    /// The first token was reported before.
    #[error("the first token of this ticket was reported before")]
    FirstTokenTwice,
}
