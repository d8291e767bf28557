//! How a prefill and a decode worker are chosen together.

use super::decision::{Decision, PairDecision};
use super::error::RoutingError;
use crate::pool::{candidates::Candidates, filter::Filter, set::SlotSet};
use crate::worker::Role;

/// Chooses a prefill worker, then a decode worker that may work with it: of the same group, where
/// groups are set. If the prefill worker's group has no decode worker to give, its group is ruled
/// out and another prefill worker tried, so a pair is found wherever there is one.
///
/// `choose` decides for one role; it is asked at most (groups + 1) times for each.
pub fn jointly(
    prefill: &Candidates<'_>,
    decode: &Candidates<'_>,
    mut choose: impl FnMut(&Candidates<'_>) -> Result<Decision, RoutingError>,
) -> Result<PairDecision, RoutingError> {
    let pool = prefill.pool();
    let mut admitted = prefill.admitted();
    // Of the policy's own: whatever order the groups come in, it is not told as a lack of workers.
    let mut own = None;
    for _ in 0..=pool.groups() {
        let filter = Filter::of(admitted);
        let first = match choose(&prefill.restricted(&filter)) {
            Ok(first) => first,
            Err(error) => {
                own = own.or_else(|| of_policy(error));
                break;
            }
        };
        let slot = first.worker.slot();
        let found = match pool.companions(slot) {
            None => choose(decode),
            Some(companions) => {
                let filter = Filter::of(decode.admitted().and(companions));
                choose(&decode.restricted(&filter))
            }
        };
        match found {
            Ok(second) => return Ok(PairDecision { prefill: first, decode: second }),
            Err(error) => own = own.or_else(|| of_policy(error)),
        }
        // One without a group may work with any, so there is nothing else to try.
        let Some(members) = pool.group_members(slot) else { break };
        admitted = admitted.without(members);
    }
    Err(own.unwrap_or_else(|| explain(prefill, decode)))
}

/// The error, unless it says no more than that there was no candidate.
fn of_policy(error: RoutingError) -> Option<RoutingError> {
    let no_candidate =
        matches!(error, RoutingError::AllBusy { .. } | RoutingError::NoHealthyWorkers { .. });
    if no_candidate { None } else { Some(error) }
}

/// Why there is no pair, limits aside first: a role without a worker, or no two that fit; and if there are
/// two that fit, the limit that keeps them. O(groups * slots / 64).
#[cold]
fn explain(prefill: &Candidates<'_>, decode: &Candidates<'_>) -> RoutingError {
    let (prefills, decodes) = (prefill.admitted(), decode.admitted());
    if prefills.is_empty() {
        return prefill.none();
    }
    if decodes.is_empty() {
        return decode.none();
    }
    let free: SlotSet = prefill.iter().map(|candidate| candidate.slot()).collect();
    let fitting = fits(prefill, &decodes);
    let full = |role, set: SlotSet| RoutingError::AllBusy { role, busy: set.len() as u32 };
    if fitting.is_empty() {
        RoutingError::NoPair { prefill: prefills.len() as u32, decode: decodes.len() as u32 }
    } else if fitting.and(&free).is_empty() {
        full(Role::Prefill, fitting)
    } else {
        full(Role::Decode, fits(decode, &free))
    }
}

/// The admitted ones that may work with one of these.
fn fits(candidates: &Candidates<'_>, others: &SlotSet) -> SlotSet {
    let pool = candidates.pool();
    let mut fitting = candidates.admitted();
    let mut rest = fitting;
    while let Some(slot) = rest.iter().next() {
        // A group's workers fit all alike.
        let alone = || [slot].into_iter().collect();
        let alike = pool.group_members(slot).copied().unwrap_or_else(alone);
        let companions = pool.companions(slot).map_or(*others, |companions| others.and(companions));
        if companions.is_empty() {
            fitting = fitting.without(&alike);
        }
        rest = rest.without(&alike);
    }
    fitting
}
