//! The prefix tree: which worker probably holds how much of a prompt.
//!
//! A prompt comes as chained block hashes: the hash of block `i` names the whole path of blocks
//! `0..=i`. So the tree needs no pointers. It is a hash table of **nodes**, each a run of up to
//! eight consecutive blocks, found under the hash of its first block:
//!
//! ```text
//!            +------+------+------+------+------+------+------+------+
//!   line 0   | h[p] |h[p+1]|h[p+2]|h[p+3]|h[p+4]|  -   |  -   |  -   |   hashes of the run
//!            +------+------+------+------+------+------+------+------+
//!   line 1   | meta | rec. | rec. | rec. | rec. | rec. | rec. | rec. |   up to seven holders
//!            +------+------+------+------+------+------+------+------+
//!   meta  [ nonce : 32 | groups with extra nodes : 28 | length : 4 ]
//!   rec.  [ stamp : 50 | leading blocks of the run that it has : 4 | slot : 10 ]
//! ```
//!
//! A lookup at block `p` finds the node of `h[p]`, compares its hashes with the prompt's, moves `p`
//! on by as many as agree and looks again. A prompt that diverges inside a run starts a node of its
//! own there, so no node is ever split; a run with room is extended in place.
//!
//! A header line and fourteen nodes make a **set**:
//!
//! ```text
//!   +---------+----------------------------+----------------------------+
//!   | version | 14 tags of 16 bits         | 14 recency marks of 16 bits|   header
//!   +---------+----------------------------+----------------------------+
//!   | node 0 (2 lines) | node 1 | ...                         | node 13 |
//!   +-------------------------------------------------------------------+
//! ```
//!
//! # Budget and eviction
//!
//! All memory is taken once, at creation. A key has two sets that it may lie in; it goes to the
//! first as long as that has room to spare, then to the emptier one, and where both are full it
//! replaces the node of the 28 that was used longest ago. That is LRU over a sample: bounded work,
//! no cliff, nothing to sweep. Recency marks count 32nds of a turnover of the whole table and then
//! depth, so that among nodes of one age the tail of a path goes before its head.
//!
//! # Residency
//!
//! Whether a holder still has its blocks is not stored but computed, from the virtual clock that
//! stamped it (see `slots`): the worker's LRU eviction and its removal cost nothing here. Where the
//! worker's engine tells what it evicts, the clock counts that.
//!
//! # Long paths
//!
//! Stamps and recency never rise with depth, and a hash proves everything above it. So a worker
//! resident at some node is resident in all nodes above it, and a long path is galloped over: every
//! 8, then 16, 32, ... blocks. Between two visited nodes a worker that only the upper one lists is
//! searched for by bisection. For the same reason a path whose deepest node was touched within
//! the last 32nd of a turnover needs no touch.
//!
//! # Many holders
//!
//! The holders that seven records have no room for go to **extra nodes**, which are entries of the
//! same table under a key made of run, nonce and `slot / 15`: one probe tells whether a given slot
//! holds a run that 1,024 workers hold. The nonce is new for each node that a set ever had, so
//! that the extra nodes of a replaced node say nothing about a later one.
//!
//! # Concurrency
//!
//! Readers never wait: a set's version that changes under a read makes it be read again, a bounded
//! number of times. A writer takes one set with one compare-exchange; where that fails, the insert
//! or touch is skipped and counted. No thread ever holds two sets.

mod answers;
pub(crate) mod breaks;
mod find;
pub(crate) mod line;
#[cfg(all(test, pointsman_loom))]
mod loom;
mod matches;
mod node;
mod raise;
mod record;
mod remember;
mod slots;
mod stats;
mod table;
mod wide;

pub use matches::{Holder, MAX_HOLDERS, Matches};
pub use remember::Remembered;
pub use slots::Registration;
pub use stats::TreeStats;

use crate::sync::{AtomicU64, Ordering};
use answers::Answers;
use breaks::Breaks;
use node::RUN;
use record::MAX_SLOTS;
use slots::Slots;
use stats::Counters;
use table::{Home, Kind, Table};

/// Recency marks count this many steps per turnover of the table.
const STEPS_PER_TURNOVER: u64 = 32;
/// Bits of a recency mark that hold the depth.
const DEPTH_BITS: u32 = 4;

/// Why a tree cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TreeError {
    /// Less than the smallest tree takes.
    #[error("a prefix tree for {max_workers} workers needs at least {least} bytes")]
    BudgetTooSmall {
        /// The workers asked for.
        max_workers: usize,
        /// The smallest budget.
        least: usize,
    },
    /// More than 1,024 workers, or none.
    #[error("a prefix tree serves 1 to 1024 workers, not {max_workers}")]
    Workers {
        /// The workers asked for.
        max_workers: usize,
    },
    /// More than the table can index: 2^31 sets.
    #[error("a prefix tree holds at most {most} bytes")]
    BudgetTooLarge {
        /// The largest budget.
        most: usize,
    },
    /// The system cannot allocate this much.
    #[error("the system has no {bytes} bytes of memory to give; set a smaller budget")]
    OutOfMemory {
        /// The bytes asked for.
        bytes: usize,
    },
}

/// Which worker probably holds how much of a prompt, in a fixed number of bytes.
///
/// All methods take `&self` and may be called from any thread. None of them blocks or allocates.
pub struct PrefixTree {
    table: Table,
    slots: Slots,
    counters: Counters,
    breaks: Breaks,
    answers: Answers,
    /// Steps of table turnover; advanced by chance, in proportion to the nodes inserted.
    epoch: AtomicU64,
    /// By how many steps an inserted node moves the time on, and the chance of one more, times 2^32.
    steps_per_node: (u64, u64),
    budget: usize,
}

impl PrefixTree {
    /// A tree that never holds more than `budget_bytes`, for workers with slots below
    /// `max_workers` (at most 1,024).
    pub fn new(budget_bytes: usize, max_workers: usize) -> Result<PrefixTree, TreeError> {
        if !(1..=MAX_SLOTS).contains(&max_workers) {
            return Err(TreeError::Workers { max_workers });
        }
        let fixed = Self::fixed_bytes(budget_bytes, max_workers);
        let sets = Table::sets_in(budget_bytes.saturating_sub(fixed));
        if sets < 2 {
            let least = fixed + Table::bytes(2);
            return Err(TreeError::BudgetTooSmall { max_workers, least });
        }
        if sets > i32::MAX as usize {
            let most = fixed + Table::bytes(i32::MAX as usize);
            return Err(TreeError::BudgetTooLarge { most });
        }
        let table = Table::new(sets).ok_or(TreeError::OutOfMemory { bytes: budget_bytes })?;
        let capacity = table.capacity() as u64;
        let rest = ((STEPS_PER_TURNOVER % capacity) << 32) / capacity;
        Ok(PrefixTree {
            table,
            steps_per_node: (STEPS_PER_TURNOVER / capacity, rest),
            slots: Slots::new(max_workers),
            counters: Counters::new(),
            breaks: Breaks::new(budget_bytes),
            answers: Answers::new(budget_bytes),
            epoch: AtomicU64::new(0),
            budget: budget_bytes,
        })
    }

    /// Begins a worker's residency: nothing is resident under `slot` from here on.
    ///
    /// `capacity_blocks` is how many blocks its KV cache holds; unknown means no limit but the
    /// tree's budget. `None` is returned where the slot is not below `max_workers`. Calls for
    /// the same slot must not overlap.
    pub fn register(&self, slot: u16, capacity_blocks: Option<u64>) -> Option<Registration> {
        self.breaks.clear(slot);
        self.slots.register(slot, capacity_blocks)
    }

    /// Ends a worker's residency at once, whatever the tree holds of it.
    pub fn unregister(&self, slot: u16) {
        self.slots.unregister(slot);
        self.breaks.clear(slot);
    }

    /// Changes what the worker's KV cache is believed to hold, in blocks.
    pub fn set_capacity(&self, slot: u16, capacity_blocks: Option<u64>) {
        self.slots.set_capacity(slot, capacity_blocks);
    }

    /// Notes what the engine behind a slot says: that it has evicted so many blocks since it said so last,
    /// how many it holds at most, if it has come to that, and how many it holds now. From here on its clock
    /// follows what it says, until half of what it may hold has been sent there and it has said nothing more.
    pub fn evicted(&self, slot: u16, blocks: u64, capacity_blocks: Option<u64>, held_blocks: u64) {
        if capacity_blocks.is_some() {
            self.slots.set_capacity(slot, capacity_blocks);
        }
        let capacity = self.slots.capacity(slot);
        let trust = capacity.map_or(u64::MAX, |capacity| (capacity.max(held_blocks) / 2).max(1));
        self.slots.evicted(slot, blocks, trust);
    }

    /// The budget that the tree was made with, in bytes.
    pub fn budget_bytes(&self) -> usize {
        self.budget
    }

    /// The bytes that the tree holds: constant, and at most the budget.
    pub fn held_bytes(&self) -> usize {
        let table = Table::bytes(self.table.capacity() / table::WAYS);
        table + Self::fixed_bytes(self.budget, self.slots.len())
    }

    /// What it holds besides the table.
    fn fixed_bytes(budget: usize, workers: usize) -> usize {
        let reports = Breaks::bytes(budget) + Answers::bytes(budget);
        Counters::BYTES + workers * Slots::BYTES + reports
    }

    /// What the tree did so far.
    pub fn stats(&self) -> TreeStats {
        let mut stats = self.counters.sum();
        stats.budget_bytes = self.budget as u64;
        stats.held_bytes = self.held_bytes() as u64;
        stats.node_capacity = self.table.capacity() as u64;
        stats
    }

    fn run_home(&self, block: u64) -> Home {
        self.table.home(block, Kind::Run)
    }

    /// The mark of a node used now whose run starts at block `start`: deeper looks older.
    fn mark(&self, start: usize) -> u16 {
        let depth = (usize::BITS - (start / RUN).leading_zeros()).min((1 << DEPTH_BITS) - 1);
        self.now() - depth as u16
    }

    /// The newest possible mark.
    fn now(&self) -> u16 {
        (self.epoch.load(Ordering::Relaxed) << DEPTH_BITS) as u16 | ((1 << DEPTH_BITS) - 1)
    }

    /// Whether a mark is of the current step.
    fn is_fresh(&self, mark: u16) -> bool {
        mark >> DEPTH_BITS == self.now() >> DEPTH_BITS
    }

    /// Moves the table's time on by one inserted node. Chance, taken from the node's own hash
    /// and the time, stands in for a counter that all threads would write.
    fn age_table(&self, block: u64) {
        let (mut steps, chance) = self.steps_per_node;
        let time = self.epoch.load(Ordering::Relaxed);
        let draw = (block ^ time).wrapping_mul(0xd6e8_feb8_6659_fd93) >> 32;
        if draw < chance {
            steps += 1;
        }
        if steps > 0 {
            self.epoch.fetch_add(steps, Ordering::Relaxed);
        }
    }
}

impl std::fmt::Debug for PrefixTree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PrefixTree").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
