//! Completion and expiry: give back what was charged, and tell the policy.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::charge::Held;
use super::open::{Open, Part};
use super::options::LoadKeeping;
use super::route::Adapter;
use crate::policy::{Completion, FirstToken, Usage};
use crate::worker::{Role, WorkerId, health::Outcome};

/// Requests that one call expires at most.
const EXPIRED_PER_CALL: usize = 64;
/// How often every worker is looked at within one deadline.
const LOOKS_PER_DEADLINE: u64 = 8;

impl Adapter {
    pub(super) fn complete(&self, url: &str, outcome: Outcome) {
        let Some(id) = self.book.by_url(url) else { return };
        if let Some(open) = self.open.complete(id) {
            self.close(open, outcome, self.now().as_nanos());
        }
    }

    /// Ends a request's part on one worker. Its load is given back last, whatever a policy does: a
    /// slot changes workers only without load, so no callback about one worker can reach its successor.
    pub(super) fn close(&self, open: Open, outcome: Outcome, now: u64) {
        let _charge = self.charge_of(&open);
        match open.part {
            Part::Whole => self.tell_end(&open, (open.id, open.id), outcome, false, now),
            Part::Prefill { decode, pair } => {
                let is_over = outcome != Outcome::Success && self.open.mark_over(decode, pair);
                if is_over {
                    self.tell_end(&open, (decode, open.id), outcome, false, now);
                } else {
                    self.tell_first_token(&open, now);
                }
            }
            Part::Decode { prefill, pair, over } => {
                let settled = self.open.settle(prefill, pair);
                let _charge = settled.as_ref().map(|open| self.charge_of(open));
                if !over {
                    self.tell_end(&open, (open.id, prefill), outcome, settled.is_none(), now);
                }
            }
        }
    }

    /// Gives back the load of all requests that were selected longer ago than this and are not completed;
    /// the policy sees them as expired.
    pub fn expire(&self, age: Duration) {
        let now = self.now().as_nanos();
        let age = u64::try_from(age.as_nanos()).unwrap_or(u64::MAX);
        for slot in 0..self.book.slots() {
            while self.expire_oldest(slot, now, age) {}
        }
    }

    /// One step of expiry, when it is due: expires one worker's oldest requests.
    pub(super) fn expire_some(&self, now: u64) {
        let Some(deadline) = self.deadline else { return };
        let at = self.sweep_at.load(Relaxed);
        let slots = self.book.slots();
        if now < at || slots == 0 {
            return;
        }
        let next = now.saturating_add(deadline / LOOKS_PER_DEADLINE / slots as u64);
        if self.sweep_at.compare_exchange(at, next, Relaxed, Relaxed).is_ok() {
            let slot = self.sweep_slot.fetch_add(1, Relaxed) % slots;
            for _ in 0..EXPIRED_PER_CALL {
                if !self.expire_oldest(slot, now, deadline) {
                    break;
                }
            }
        }
    }

    fn expire_oldest(&self, slot: usize, now: u64, age: u64) -> bool {
        let Some(before) = now.checked_sub(age) else { return false };
        let oldest = self.open.oldest_until(slot, before);
        let found = oldest.is_some();
        if let Some(open) = oldest {
            self.close(open, Outcome::Expired, now);
        }
        found
    }

    fn tell_end(
        &self,
        open: &Open,
        (worker, prefill): (WorkerId, WorkerId),
        outcome: Outcome,
        first_token_seen: bool,
        now: u64,
    ) {
        if !self.wants_events {
            return;
        }
        self.policy.on_request_complete(&Completion {
            worker,
            prefill: Some(prefill),
            outcome,
            usage: Usage::default(),
            now: now.into(),
            dispatched: open.dispatched.into(),
            first_token_seen,
            cached_known: false,
            work_tokens: open.work_tokens,
            matched_tokens: open.matched_tokens,
            resident_tokens: u32::try_from(open.resident_tokens).unwrap_or(u32::MAX),
        });
    }

    fn tell_first_token(&self, open: &Open, now: u64) {
        if !self.wants_events {
            return;
        }
        self.policy.on_first_token(&FirstToken {
            worker: open.id,
            role: Role::Prefill,
            now: now.into(),
            dispatched: open.dispatched.into(),
            work_tokens: open.work_tokens,
            matched_tokens: open.matched_tokens,
            cached_tokens: None,
        });
    }

    /// The charge of an open request, to be given back when dropped.
    fn charge_of<'a>(&'a self, open: &'a Open) -> Option<Held<'a>> {
        let row = self.book.rows.get(open.id.slot())?;
        let load = (self.load == LoadKeeping::Adapter).then(|| open.worker.load());
        Some(Held { row, resident: open.resident_tokens, load })
    }
}
