//! What the tree did, counted without a line that all threads write.

use crate::sync::stripe::Striped;
use crate::sync::{AtomicU64, Ordering};

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

#[derive(Debug)]
pub(super) struct Counters(Striped<[AtomicU64; KINDS]>);

impl Counters {
    pub(super) const BYTES: usize = Striped::<[AtomicU64; KINDS]>::BYTES;

    pub(super) fn new() -> Counters {
        Counters(Striped::new(|_| std::array::from_fn(|_| AtomicU64::new(0))))
    }

    /// Adds a call's share.
    pub(super) fn add(&self, tally: Tally) {
        let mine = self.0.mine();
        for (counter, value) in mine.iter().zip([tally.inserted, tally.evicted, tally.skipped]) {
            if value != 0 {
                counter.fetch_add(value, Ordering::Relaxed);
            }
        }
    }

    pub(super) fn sum(&self) -> TreeStats {
        let sum = |kind: usize| {
            self.0.iter().map(|counters| counters[kind].load(Ordering::Relaxed)).sum()
        };
        TreeStats {
            inserted_nodes: sum(0),
            evicted_nodes: sum(1),
            skipped: sum(2),
            ..TreeStats::default()
        }
    }
}
