//! How a prefill and a decode worker are chosen together.

use super::decision::{Decision, PairDecision};
use super::error::RoutingError;
use crate::pool::{candidates::Candidates, filter::Filter};

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
    let mut last = None;
    for _ in 0..=pool.groups() {
        let filter = Filter::of(admitted);
        let first = match choose(&prefill.restricted(&filter)) {
            Ok(first) => first,
            Err(error) => return Err(explain(prefill, decode, last.unwrap_or(error))),
        };
        let slot = first.worker.slot();
        let found = match pool.companions(slot) {
            None => choose(decode),
            Some(companions) => {
                let filter = Filter::of(decode.admitted().and(companions));
                choose(&decode.restricted(&filter))
            }
        };
        let error = match found {
            Ok(second) => return Ok(PairDecision { prefill: first, decode: second }),
            Err(error) => error,
        };
        let Some(members) = pool.group_members(slot) else { return Err(error) };
        admitted = admitted.without(members);
        last = Some(error);
    }
    Err(explain(prefill, decode, last.unwrap_or_else(|| prefill.none())))
}

/// The error that helps most: a role without a worker or without a free one, or no two that fit.
fn explain(prefill: &Candidates<'_>, decode: &Candidates<'_>, error: RoutingError) -> RoutingError {
    if matches!(error, RoutingError::Policy(_)) {
        return error;
    }
    let (prefills, decodes) = (prefill.iter().count() as u32, decode.iter().count() as u32);
    if prefills == 0 {
        prefill.none()
    } else if decodes == 0 {
        decode.none()
    } else {
        RoutingError::NoPair { prefill: prefills, decode: decodes }
    }
}
