//! Each worker's open requests, the oldest first.
//!
//! The proposal completes a request by its worker's URL alone, so a completion is taken to be that of
//! the worker's oldest open request. One short lock per worker, held to push or pop one entry; no two
//! are ever held together, and nothing of the host's or the policy's runs under one.

use std::collections::VecDeque;
use std::sync::Arc;

use crossbeam_utils::CachePadded;
use parking_lot::Mutex;

use crate::pool::MAX_WORKERS;
use crate::worker::{WorkerId, proposal::Worker};

/// Most open requests of one worker; beyond that the oldest is taken as lost.
const MAX_OPEN: usize = 65_536;

/// Every worker's queue, by slot.
pub(super) struct OpenRequests {
    queues: Box<[CachePadded<Mutex<Queue>>]>,
}

#[derive(Default)]
struct Queue {
    /// The worker of these requests. A slot changes workers only when none is open.
    owner: Option<WorkerId>,
    open: VecDeque<Open>,
    /// Completions still to come of requests that are not open any more: see [`OpenRequests::settle`].
    settled: u64,
}

/// A request that a worker was charged for.
pub(super) struct Open {
    pub(super) id: WorkerId,
    pub(super) worker: Arc<dyn Worker>,
    pub(super) part: Part,
    pub(super) dispatched: u64,
    pub(super) work_tokens: u32,
    pub(super) matched_tokens: u32,
    pub(super) resident_tokens: u64,
}

/// What the worker does of the request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// All of it.
    Whole,
    /// The prompt, of the pair of this number; the answer is this worker's.
    Prefill { decode: WorkerId, pair: u64 },
    /// The answer; the prompt is this worker's. `over` once the policy was told of the pair's end.
    Decode { prefill: WorkerId, pair: u64, over: bool },
}

impl Part {
    fn pair(self) -> Option<u64> {
        match self {
            Part::Whole => None,
            Part::Prefill { pair, .. } | Part::Decode { pair, .. } => Some(pair),
        }
    }

    fn is_prefill_of(self, number: u64) -> bool {
        matches!(self, Part::Prefill { pair, .. } if pair == number)
    }
}

impl OpenRequests {
    pub(super) fn new() -> Self {
        OpenRequests { queues: (0..MAX_WORKERS).map(|_| CachePadded::default()).collect() }
    }

    /// Notes a request. Returns the oldest one of the worker where there are too many.
    pub(super) fn push(&self, open: Open) -> Option<Open> {
        let mut queue = self.queues.get(open.id.slot())?.lock();
        if queue.owner != Some(open.id) {
            (queue.owner, queue.settled) = (Some(open.id), 0);
        }
        queue.open.push_back(open);
        if queue.open.len() > MAX_OPEN { queue.open.pop_front() } else { None }
    }

    /// The request that a completion of this worker is for: the oldest one. None if all of them are
    /// complete, or if it is for one that [`OpenRequests::settle`] has closed.
    pub(super) fn complete(&self, id: WorkerId) -> Option<Open> {
        let mut queue = self.of(id)?.lock();
        if queue.owner != Some(id) {
            return None;
        }
        if queue.settled > 0 {
            queue.settled -= 1;
            return None;
        }
        queue.open.pop_front()
    }

    /// The slot's oldest request, if it was dispatched at that time or before.
    pub(super) fn oldest_until(&self, slot: usize, time: u64) -> Option<Open> {
        let mut queue = self.queues.get(slot)?.lock();
        let is_older = queue.open.front().is_some_and(|open| open.dispatched <= time);
        if is_older { queue.open.pop_front() } else { None }
    }

    /// Closes the prefill part of a pair whose decode part is complete. The completion of the
    /// prefill worker's URL that may come yet finds nothing to do.
    pub(super) fn settle(&self, prefill: WorkerId, pair: u64) -> Option<Open> {
        let mut queue = self.of(prefill)?.lock();
        let place = queue.open.iter().position(|open| open.part.is_prefill_of(pair))?;
        queue.settled = queue.settled.saturating_add(1);
        queue.open.remove(place)
    }

    /// Notes that the policy is told of a pair's end before its decode part is complete. False if
    /// it is complete already.
    pub(super) fn mark_over(&self, decode: WorkerId, pair: u64) -> bool {
        let Some(queue) = self.of(decode) else { return false };
        let mut queue = queue.lock();
        let mut parts = queue.open.iter_mut().map(|open| &mut open.part);
        // A worker in both roles has two parts of the pair, of which the prefill part is gone.
        match parts.find(|part| part.pair() == Some(pair)) {
            Some(Part::Decode { over, .. }) => {
                *over = true;
                true
            }
            _ => false,
        }
    }

    fn of(&self, id: WorkerId) -> Option<&CachePadded<Mutex<Queue>>> {
        self.queues.get(id.slot())
    }
}
