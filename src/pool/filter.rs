//! What one request rules out.

use super::{set::SlotSet, snapshot::PoolSnapshot};
use crate::request::Request;

/// The slots that a request may use, as far as the request itself is concerned.
///
/// Built once per request on the stack, and only if the request says anything at all.
#[derive(Clone, Copy, Debug)]
pub struct Filter {
    slots: SlotSet,
}

impl Filter {
    /// Admits exactly these slots.
    pub(crate) fn of(slots: SlotSet) -> Self {
        Filter { slots }
    }

    /// The request's exclusions, allow set and labels; `None` if it has none of them. Ids of workers
    /// that have left rule nothing out and admit nothing.
    #[inline]
    pub(crate) fn of_request(request: &Request<'_>, pool: &PoolSnapshot) -> Option<Filter> {
        if request.selective { Some(Self::build(request, pool)) } else { None }
    }

    #[inline(never)]
    fn build(request: &Request<'_>, pool: &PoolSnapshot) -> Filter {
        let mut slots = SlotSet::FULL;
        let known = |id: &&crate::WorkerId| pool.id_at(id.slot()) == Some(**id);
        if let Some(allowed) = request.allowed {
            slots = allowed.iter().filter(known).map(|id| id.slot()).collect();
        }
        if let Some(words) = request.allowed_words {
            slots = slots.and(&SlotSet::from_words(words));
        }
        for id in request.excluded.iter().filter(known) {
            slots.remove(id.slot());
        }
        if !request.labels.is_empty() {
            slots = slots.iter().filter(|&slot| carries(pool, slot, request.labels)).collect();
        }
        Filter { slots }
    }

    /// Whether the request may use the slot.
    #[inline]
    pub(crate) fn admits(&self, slot: usize) -> bool {
        self.slots.contains(slot)
    }

    pub(crate) fn slots(&self) -> &SlotSet {
        &self.slots
    }
}

fn carries(pool: &PoolSnapshot, slot: usize, labels: &[(&str, &str)]) -> bool {
    pool.info(slot).is_some_and(|info| labels.iter().all(|(key, value)| info.has_label(key, value)))
}
