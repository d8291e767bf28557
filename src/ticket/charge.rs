//! What a ticket remembers of its request.

use crate::worker::WorkerId;

/// Where the generation begins, of which the upper bits are cut off.
const GENERATION: u32 = 49;

/// What was charged, and to which workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Charge {
    pub(crate) participants: Participants,
    /// When the request was dispatched, in nanoseconds.
    pub(crate) dispatched: u64,
    pub(crate) work_tokens: u32,
    pub(crate) matched_tokens: u32,
    pub(crate) prompt_tokens: u32,
    /// KV tokens charged to the worker that answers.
    pub(crate) resident_tokens: u32,
    /// Length of the prompt in bytes where `prompt_tokens` is an estimate; else 0.
    pub(crate) prompt_bytes: u32,
    /// Whether the first token said how much of the prompt was cached.
    pub(crate) cached_known: bool,
    /// What the prompt says about its turn, in 31 bits.
    pub(crate) turn: u32,
}

/// The workers and the policy that a ticket concerns, packed as they are stored:
/// slot | prefill + 1 | policy, 16 bits each | notify | the lowest 15 bits of the prefill worker's
/// generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Participants(pub(super) u64);

impl Participants {
    #[inline]
    pub(crate) fn new(slot: u16, prefill: Option<WorkerId>, policy: u16, notify: bool) -> Self {
        let prefill = prefill.map_or(0, |worker| {
            (worker.slot() as u64 + 1) << 16 | worker.generation() << GENERATION
        });
        let policy = u64::from(policy) << 32;
        Participants(u64::from(slot) | prefill | policy | u64::from(notify) << 48)
    }

    /// The slot that answers: regular or decode.
    #[inline]
    pub(crate) fn slot(self) -> u16 {
        self.0 as u16
    }

    /// The slot that computes the prompt, if it is another one.
    #[inline]
    pub(crate) fn prefill(self) -> Option<u16> {
        ((self.0 >> 16) as u16).checked_sub(1)
    }

    /// Whether the prefill worker can be of this generation; another one of the same slot is not, but for
    /// one in 32,768.
    #[inline]
    pub(crate) fn is_of_prefill(self, generation: u64) -> bool {
        self.0 >> GENERATION == generation << GENERATION >> GENERATION
    }

    /// The slot that computes the prompt.
    #[inline]
    pub(crate) fn prompt_slot(self) -> u16 {
        self.prefill().unwrap_or(self.slot())
    }

    /// Index of the policy that decided.
    #[inline]
    pub(crate) fn policy(self) -> u16 {
        (self.0 >> 32) as u16
    }

    /// Whether that policy listens to events.
    #[inline]
    pub(crate) fn notify(self) -> bool {
        self.0 >> 48 & 1 == 1
    }

    /// Whether there is one worker only, and no policy that listens.
    #[inline]
    pub(crate) fn is_simple(self) -> bool {
        self.0 & (0xffff << 16 | 1 << 48) == 0
    }
}
