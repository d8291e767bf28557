//! Random draws that many threads make at once without waiting for each other.
//!
//! Each stripe has a state of its own. It advances by a constant, with a load and a store, as an atomic
//! read-modify-write would cost as much as all the rest. Threads that share a stripe can therefore undo
//! each other's steps. That repeats numbers of the stripe's past, which are as uniform as new ones; and
//! as each thread adds a mark of its own, two threads that find the same state still draw different
//! numbers. The output is one long multiplication of the state, folded (wyrand: Wang Yi, 2019).
//!
//! A seeded source is SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators",
//! OOPSLA 2014) on one state, each number claimed by an atomic read-modify-write.

use rand::TryRng;

use crate::sync::atomic::{AtomicU64, Ordering::Relaxed};
use crate::sync::stripe::{self, Striped};

const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;
const WYRAND_STEP: u64 = 0x2d35_8dcc_aa6c_78a5;
const WYRAND_MASK: u64 = 0x8bb8_4b93_962e_acc9;

/// A source of uniform 64-bit numbers, shared by any number of threads.
///
/// Not for secrets: the numbers can be predicted from enough of them.
#[derive(Debug)]
pub struct Random {
    states: Source,
}

#[derive(Debug)]
enum Source {
    /// One state per stripe.
    Striped(Striped<AtomicU64>),
    /// One state for all threads, so that a single thread sees the same sequence on every run.
    Seeded(AtomicU64),
}

impl Default for Random {
    /// Seeded by the operating system.
    fn default() -> Self {
        Random::from_entropy()
    }
}

impl Random {
    /// Seeded by the operating system.
    pub fn from_entropy() -> Self {
        Random { states: Source::Striped(Striped::new(|_| AtomicU64::new(entropy()))) }
    }

    /// The same sequence for the same seed, as long as one thread draws.
    pub fn from_seed(seed: u64) -> Self {
        Random { states: Source::Seeded(AtomicU64::new(mix(seed ^ GAMMA))) }
    }

    /// From the seed if there is one, else from the operating system.
    pub fn new(seed: Option<u64>) -> Self {
        seed.map_or_else(Self::from_entropy, Self::from_seed)
    }

    /// A uniform 64-bit number.
    #[inline]
    pub fn next(&self) -> u64 {
        match &self.states {
            Source::Striped(states) => {
                let state = states.mine();
                let next = state.load(Relaxed).wrapping_add(WYRAND_STEP);
                state.store(next, Relaxed);
                fold(next.wrapping_add(stripe::thread_mark()))
            }
            Source::Seeded(state) => mix(state.fetch_add(GAMMA, Relaxed).wrapping_add(GAMMA)),
        }
    }

    /// A uniform number below `bound`; 0 if `bound` is 0. The bias is below `bound / 2^64`.
    #[inline]
    pub fn below(&self, bound: usize) -> usize {
        scale(self.next(), bound)
    }

    /// Draws fresh seeds from the operating system, in place: what a forked child needs so that it
    /// does not repeat its parent's draws. A seeded source is reseeded, too.
    pub fn reseed(&self) {
        match &self.states {
            Source::Striped(states) => {
                states.iter().for_each(|state| state.store(entropy(), Relaxed));
            }
            Source::Seeded(state) => state.store(entropy(), Relaxed),
        }
    }
}

/// A number from the operating system itself. Children of a fork would inherit the state of a generator
/// in this process, and all draw the same.
pub(crate) fn entropy() -> u64 {
    rand::rngs::SysRng.try_next_u64().unwrap_or_else(|_| {
        use std::hash::{BuildHasher, RandomState};
        RandomState::new().hash_one(std::process::id())
    })
}

/// Maps a uniform 64-bit number to one below `bound` (Lemire's multiply-shift).
#[inline]
pub(crate) fn scale(uniform: u64, bound: usize) -> usize {
    ((u128::from(uniform) * bound as u128) >> 64) as usize
}

/// Maps a uniform 64-bit number to [0, 1).
#[inline]
pub(crate) fn unit(uniform: u64) -> f64 {
    (uniform >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
}

/// The output function of wyrand: shorter by half than [`mix`], but not a bijection.
#[inline]
fn fold(state: u64) -> u64 {
    let product = u128::from(state) * u128::from(state ^ WYRAND_MASK);
    (product >> 64) as u64 ^ product as u64
}

/// The finaliser of SplitMix64: a bijection in which every input bit reaches every output bit.
#[inline]
pub(crate) fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
