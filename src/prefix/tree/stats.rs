//! What the tree did, counted without a line that all threads write.

use crate::sync::{AtomicU64, Ordering};

const STRIPES: usize = 8;
const KINDS: usize = 3;

/// Counters of a tree, since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TreeStats {
    /// The budget in bytes.
    pub budget_bytes: u64,
    /// Bytes held; never more than the budget.
    pub held_bytes: u64,
    /// Nodes (runs of up to eight blocks, or groups of fifteen holders) that fit.
    pub node_capacity: u64,
    /// Nodes written.
    pub inserted_nodes: u64,
    /// Nodes that were replaced to make room.
    pub evicted_nodes: u64,
    /// Inserts and touches skipped because another thread wrote to the same set.
    pub skipped: u64,
}

impl TreeStats {
    /// Nodes in use.
    pub fn nodes(&self) -> u64 {
        self.inserted_nodes.saturating_sub(self.evicted_nodes)
    }
}

/// One call's share of the counters.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) inserted: u64,
    pub(super) evicted: u64,
    pub(super) skipped: u64,
}

#[repr(align(64))]
struct Stripe([AtomicU64; KINDS]);

pub(super) struct Counters {
    stripes: Box<[Stripe]>,
}

impl Counters {
    pub(super) const BYTES: usize = STRIPES * size_of::<Stripe>();

    pub(super) fn new() -> Counters {
        let stripe = || Stripe(std::array::from_fn(|_| AtomicU64::new(0)));
        Counters { stripes: (0..STRIPES).map(|_| stripe()).collect() }
    }

    /// Adds a call's share; `key` spreads calls over the stripes.
    pub(super) fn add(&self, key: u64, tally: Tally) {
        let stripe = &self.stripes[(key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 61) as usize];
        for (counter, value) in stripe.0.iter().zip([tally.inserted, tally.evicted, tally.skipped])
        {
            if value != 0 {
                counter.fetch_add(value, Ordering::Relaxed);
            }
        }
    }

    pub(super) fn sum(&self) -> TreeStats {
        let sum = |kind: usize| {
            self.stripes.iter().map(|stripe| stripe.0[kind].load(Ordering::Relaxed)).sum()
        };
        TreeStats {
            inserted_nodes: sum(0),
            evicted_nodes: sum(1),
            skipped: sum(2),
            ..TreeStats::default()
        }
    }
}
