//! The candidates of a request, as the arrays that a host's policy reads.

use pointsman_core::policy::{Candidates, Decision, MAX_HOLDERS, RequestView, RunnerUp};
use pointsman_core::{Reason, Role, WorkerId};

use crate::policy::{pointsman_candidates, pointsman_decision};
use crate::special::POINTSMAN_NONE;

/// What the arrays of a [`pointsman_candidates`] point to, on the stack.
pub(super) struct Arrays<const N: usize> {
    workers: [u64; N],
    user_data: [u64; N],
    weights: [f64; N],
    slots: [u32; N],
    in_flight: [u32; N],
    matched: [u32; N],
    pub(super) count: usize,
}

impl<const N: usize> Arrays<N> {
    #[inline(always)]
    pub(super) fn new() -> Self {
        Arrays {
            workers: [0; N],
            user_data: [0; N],
            weights: [0.0; N],
            slots: [0; N],
            in_flight: [0; N],
            matched: [0; N],
            count: 0,
        }
    }

    /// Filled where they lie: returned by value they would be on the stack twice.
    pub(super) fn fill(&mut self, candidates: &Candidates<'_>) {
        for (i, candidate) in candidates.iter().take(N).enumerate() {
            self.workers[i] = candidate.id().to_raw();
            self.user_data[i] = candidate.info().map_or(0, |info| info.user_data);
            self.weights[i] = candidate.weight();
            self.slots[i] = candidate.slot() as u32;
            self.in_flight[i] = u32::try_from(candidate.in_flight()).unwrap_or(u32::MAX);
            self.count = i + 1;
        }
    }

    /// Fills in how much each candidate holds. The list of holders is exact unless it is full.
    pub(super) fn match_prefix(&mut self, request: &RequestView<'_>) {
        let Some(prefix) = request.prefix else { return };
        let slots = &self.slots[..self.count];
        let full = prefix.holders(|holders| {
            for holder in holders {
                if let Ok(i) = slots.binary_search(&holder.slot.into()) {
                    self.matched[i] = prefix.tokens(holder.blocks);
                }
            }
            holders.len() >= MAX_HOLDERS
        });
        if full {
            for (matched, &slot) in self.matched.iter_mut().zip(slots) {
                *matched = prefix.tokens(prefix.blocks_of(slot as usize));
            }
        }
    }

    pub(super) fn view(&self, role: Role, wants_prefix: bool) -> pointsman_candidates {
        pointsman_candidates {
            size: size_of::<pointsman_candidates>() as u32,
            role: role.index() as u32,
            count: self.count as u32,
            reserved: 0,
            workers: self.workers.as_ptr(),
            user_data: self.user_data.as_ptr(),
            weights: self.weights.as_ptr(),
            slots: self.slots.as_ptr(),
            in_flight: self.in_flight.as_ptr(),
            matched_tokens: if wants_prefix { self.matched.as_ptr() } else { std::ptr::null() },
        }
    }

    /// The decision that the host's indices stand for.
    pub(super) fn decide(&self, decided: &pointsman_decision) -> Option<Decision> {
        let worker = |index: u32| {
            let id = self.workers[..self.count].get(index as usize)?;
            Some(WorkerId::from_raw(*id))
        };
        let runner_up = match decided.runner_up {
            POINTSMAN_NONE => None,
            index => Some(RunnerUp { worker: worker(index)?, score: decided.runner_up_score }),
        };
        Some(Decision {
            matched_tokens: self.matched.get(decided.index as usize).copied().unwrap_or(0),
            score: decided.score,
            runner_up,
            work_tokens: decided.work_tokens,
            ..Decision::new(worker(decided.index)?, Reason::Custom)
        })
    }
}
