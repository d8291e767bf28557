//! How full a worker's cache is, and how fast it evicts: what its events tell without any tokens.

use super::event::{Attention, Gap, KvEvent, Medium, Place, Removed, Stored};
use super::stream::MAX_RANKS;

/// Most cache groups of all ranks that are metered.
const MAX_GROUPS: usize = 4 * MAX_RANKS;

/// Meters one worker's cache by the events of its stream: what it holds, and what it has evicted.
///
/// Only what lies in the accelerator's memory counts, and of a model with several cache groups the first
/// one of full attention. Handed to [`Router::report_cache`](crate::Router::report_cache), it takes the
/// place of a guessed capacity: nothing counts as evicted that the engine has not evicted.
///
/// It takes some 40 bytes a rank and cache group, and allocates only when it first hears of one.
#[derive(Clone, Debug, Default)]
pub struct CacheMeter {
    ranks: Vec<Rank>,
    /// In order of rank and group.
    groups: Vec<Group>,
    stored: u64,
    removed: u64,
    /// Of `removed`, what the router has taken.
    taken: u64,
    /// What was held when eviction last began.
    capacity: Option<u64>,
    /// Whether the last event removed something.
    is_evicting: bool,
    is_emptied: bool,
}

#[derive(Clone, Copy, Debug)]
struct Rank {
    rank: u32,
    /// Whether every message since its cache was empty was heard.
    is_exact: bool,
}

#[derive(Clone, Copy, Debug)]
struct Group {
    rank: u32,
    group: u32,
    block_size: u32,
    /// Blocks, counting copies.
    held: u64,
    describes_prefixes: bool,
}

/// What a router takes from a meter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Drained {
    /// Everything that was held before is gone.
    pub(crate) is_emptied: bool,
    /// Whether blocks that describe prefixes were heard of: else nothing is known.
    pub(crate) is_heard: bool,
    /// Blocks of the router's that were evicted since.
    pub(crate) removed_blocks: u64,
    /// What the cache held when eviction last began, if it has.
    pub(crate) capacity_tokens: Option<u64>,
    /// What it holds, as far as that is known.
    pub(crate) held_tokens: u64,
}

impl CacheMeter {
    /// Of a cache that holds nothing.
    pub fn new() -> Self {
        CacheMeter::default()
    }

    /// Takes an event of the worker's stream.
    pub fn hear(&mut self, event: &KvEvent<'_>) {
        match event {
            KvEvent::Stored(stored) if is_here(&stored.place) => self.store(stored),
            KvEvent::Removed(removed) if is_here(&removed.place) => self.remove(removed),
            KvEvent::Cleared { rank } => self.empty(*rank),
            KvEvent::Restarted { rank } => {
                self.empty(*rank);
                // Of another process, perhaps of another size.
                self.groups.retain(|group| group.rank != *rank);
                self.capacity = None;
            }
            KvEvent::Gap(Gap { rank, .. }) => {
                if let Some(rank) = self.rank(*rank) {
                    rank.is_exact = false;
                }
            }
            _ => {}
        }
    }

    /// Tokens that the cache holds, counting each copy; `None` after messages were missed, until the
    /// cache is cleared.
    pub fn held_tokens(&self) -> Option<u64> {
        self.is_exact().then(|| self.held())
    }

    /// What the cache held when it last began to evict: its true capacity, less what running requests
    /// have not filled. `None` if it has not been seen to evict.
    pub fn capacity_tokens(&self) -> Option<u64> {
        self.capacity
    }

    /// Tokens stored since the meter was made.
    pub fn stored_tokens(&self) -> u64 {
        self.stored
    }

    /// Tokens evicted since the meter was made; those of clears and restarts are not counted.
    pub fn removed_tokens(&self) -> u64 {
        self.removed
    }

    /// What was not drained before, in whole blocks of so many tokens; the rest stays for the next time.
    pub(crate) fn drain(&mut self, block_tokens: u64) -> Drained {
        let removed_blocks = (self.removed - self.taken) / block_tokens.max(1);
        self.taken += removed_blocks * block_tokens.max(1);
        let is_heard = self.groups.iter().any(|group| group.describes_prefixes);
        Drained {
            is_emptied: std::mem::take(&mut self.is_emptied),
            is_heard,
            removed_blocks,
            capacity_tokens: self.capacity,
            held_tokens: self.held(),
        }
    }

    fn is_exact(&self) -> bool {
        self.ranks.iter().all(|rank| rank.is_exact)
    }

    fn held(&self) -> u64 {
        let (mut held, mut counted) = (0u64, None);
        for group in self.groups.iter().filter(|group| group.describes_prefixes) {
            // The first one of each rank.
            if counted != Some(group.rank) {
                counted = Some(group.rank);
                held = held.saturating_add(group.held.saturating_mul(group.block_size.into()));
            }
        }
        held
    }

    /// Whether the group at this place is the first of its rank whose blocks describe prefixes.
    fn is_counted(&self, place: usize) -> bool {
        let Some((group, before)) = self.groups[..=place].split_last() else { return false };
        let mut of_rank = before.iter().rev().take_while(|other| other.rank == group.rank);
        group.describes_prefixes && !of_rank.any(|other| other.describes_prefixes)
    }

    fn find(&self, place: &Place) -> Result<usize, usize> {
        let wanted = (place.rank, place.group);
        self.groups.binary_search_by_key(&wanted, |known| (known.rank, known.group))
    }

    fn store(&mut self, stored: &Stored<'_>) {
        let Place { rank, group, .. } = stored.place;
        self.is_evicting = false;
        if self.rank(rank).is_none() {
            return;
        }
        let place = match self.find(&stored.place) {
            Ok(place) => place,
            Err(_) if self.groups.len() >= MAX_GROUPS => return,
            Err(place) => {
                let new = Group { rank, group, block_size: 0, held: 0, describes_prefixes: false };
                self.groups.insert(place, new);
                place
            }
        };
        let known = &mut self.groups[place];
        known.describes_prefixes = !matches!(stored.attention, Attention::Partial { .. });
        if stored.block_size > 0 {
            known.block_size = stored.block_size;
        }
        let blocks = stored.hashes.len() as u64;
        known.held = known.held.saturating_add(blocks);
        let tokens = blocks * u64::from(known.block_size);
        if self.is_counted(place) {
            self.stored = self.stored.saturating_add(tokens);
        }
    }

    fn remove(&mut self, removed: &Removed<'_>) {
        let Ok(place) = self.find(&removed.place) else { return };
        let is_counted = self.is_counted(place);
        if is_counted && !self.is_evicting {
            self.is_evicting = true;
            self.capacity = self.held_tokens().filter(|tokens| *tokens > 0).or(self.capacity);
        }
        let known = &mut self.groups[place];
        let blocks = removed.hashes.len() as u64;
        known.held = known.held.saturating_sub(blocks);
        if is_counted {
            let tokens = blocks * u64::from(known.block_size);
            self.removed = self.removed.saturating_add(tokens);
        }
    }

    fn empty(&mut self, rank: u32) {
        self.is_evicting = false;
        self.is_emptied = true;
        self.groups.iter_mut().filter(|group| group.rank == rank).for_each(|group| group.held = 0);
        if let Some(rank) = self.rank(rank) {
            rank.is_exact = true;
        }
    }

    /// `None` beyond as many as a stream has.
    fn rank(&mut self, rank: u32) -> Option<&mut Rank> {
        let place = self.ranks.iter().position(|known| known.rank == rank);
        if place.is_none() && self.ranks.len() < MAX_RANKS {
            self.ranks.push(Rank { rank, is_exact: true });
            return self.ranks.last_mut();
        }
        self.ranks.get_mut(place?)
    }
}

/// Whether blocks lie where the worker computes.
fn is_here(place: &Place) -> bool {
    place.medium == Medium::Device && !place.is_remote
}
