//! The prefix tree as a naive model: exact, slow, and of a few lines.

use std::collections::HashMap;

/// Per slot, the clock and when each block was last sent.
#[derive(Default)]
pub(crate) struct ReferenceTree {
    slots: HashMap<u16, Slot>,
}

#[derive(Default)]
struct Slot {
    registered: bool,
    capacity: Option<u64>,
    clock: u64,
    stamps: HashMap<u64, u64>,
}

impl ReferenceTree {
    pub(crate) fn register(&mut self, slot: u16, capacity: Option<u64>) {
        let slot = self.slots.entry(slot).or_default();
        slot.registered = true;
        slot.capacity = capacity;
        slot.stamps.clear();
    }

    pub(crate) fn unregister(&mut self, slot: u16) {
        self.slots.entry(slot).or_default().registered = false;
    }

    pub(crate) fn capacity(&self, slot: u16) -> Option<u64> {
        self.slots.get(&slot)?.capacity
    }

    pub(crate) fn set_capacity(&mut self, slot: u16, capacity: Option<u64>) {
        self.slots.entry(slot).or_default().capacity = capacity;
    }

    /// Leading blocks of `path` that `slot` still holds.
    pub(crate) fn leading(&self, path: &[u64], slot: u16) -> u32 {
        let Some(slot) = self.slots.get(&slot).filter(|slot| slot.registered) else { return 0 };
        let resident = |block: &u64| {
            slot.stamps.get(block).is_some_and(|stamp| {
                slot.capacity.is_none_or(|capacity| slot.clock - stamp < capacity)
            })
        };
        path.iter().take_while(|block| resident(block)).count() as u32
    }

    /// Leading blocks of `path` that were ever sent to `slot` since it was registered.
    pub(crate) fn sent(&self, path: &[u64], slot: u16) -> u32 {
        let Some(slot) = self.slots.get(&slot).filter(|slot| slot.registered) else { return 0 };
        path.iter().take_while(|block| slot.stamps.contains_key(block)).count() as u32
    }

    /// Sends the whole path to `slot`, whose clock moves on by `advance`.
    pub(crate) fn remember(&mut self, path: &[u64], slot: u16, advance: u64) {
        let slot = self.slots.entry(slot).or_default();
        slot.clock += advance;
        for &block in path {
            slot.stamps.insert(block, slot.clock);
        }
    }
}

/// Paths over small alphabets as block numbers, a number of its own for every path: the hash
/// that never collides.
#[derive(Default)]
pub(crate) struct Paths {
    numbers: HashMap<(u64, u8), u64>,
}

impl Paths {
    pub(crate) fn blocks(&mut self, symbols: &[u8]) -> Vec<u64> {
        let mut parent = 0;
        symbols
            .iter()
            .map(|&symbol| {
                let next = self.numbers.len() as u64 + 1;
                parent = *self.numbers.entry((parent, symbol)).or_insert(next);
                parent
            })
            .collect()
    }
}
