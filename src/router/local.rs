//! What a request has to itself while it is routed: a stripe's own reference to the published
//! snapshot, and the right to reserve tickets and to count in that stripe.
//!
//! **Snapshot.** A stripe keeps the snapshot that it saw last. Entering compares one number and fetches
//! the newer one, if there is one; so a request counts no reference, and frees none. Publishing gives
//! the new snapshot to every stripe that nobody is in; a stripe that somebody is in follows when it is
//! next entered. So at most as many replaced snapshots are kept as there are stripes.
//!
//! **Foreign code.** Nobody stays in a stripe while a prompt is read or a policy that listens to events
//! works: threads that are slow there, or lose their processor, would keep others from the stripes. They
//! take a reference of their own to the snapshot, and enter a stripe again for the commit. A policy that
//! does call the router while its thread is in a stripe finds the next one.

use std::sync::Arc;

use super::core::{Core, View};
use super::ticket::Reserved;
use crate::exclusive::Entered;
use crate::sync::atomic::Ordering::Acquire;

/// One stripe's share of the router.
pub(super) struct Local {
    pub(super) stripe: usize,
    pub(super) view: Arc<View>,
}

impl Core {
    /// Enters a stripe and brings its snapshot up to date; `None` if all of them are taken.
    #[inline]
    pub(super) fn enter(&self) -> Option<Entered<'_, Local>> {
        let mut local = self.locals.enter()?;
        // Acquire pairs with the release of whoever published this version.
        if local.view.version != self.version.load(Acquire) {
            self.renew(&mut local);
        }
        Some(local)
    }

    #[cold]
    fn renew(&self, local: &mut Local) {
        // The replaced one is not freed here: whoever replaced it holds it until nobody reads it.
        local.view = self.view.load_full();
    }

    /// Reserves a ticket's entry in the stripe, or, if its share is full, in another one.
    #[inline]
    pub(super) fn reserve(&self, local: &Local) -> Option<Reserved> {
        match self.tickets.reserve(local.stripe) {
            Some(reserved) => Some(reserved),
            None => self.reserve_elsewhere(),
        }
    }

    #[cold]
    fn reserve_elsewhere(&self) -> Option<Reserved> {
        self.locals.enter_each().find_map(|other| self.tickets.reserve(other.stripe))
    }
}
