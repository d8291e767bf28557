//! A set of slots as bits: 128 bytes, copied freely, intersected word by word.

use super::MAX_WORKERS;

/// Words of 64 bits in a [`SlotSet`].
pub const WORDS: usize = MAX_WORKERS / 64;

/// A set of slots below [`MAX_WORKERS`]. Slots beyond that are never members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotSet {
    words: [u64; WORDS],
}

impl SlotSet {
    /// No slot.
    pub const EMPTY: SlotSet = SlotSet { words: [0; WORDS] };
    /// Every slot.
    pub const FULL: SlotSet = SlotSet { words: [u64::MAX; WORDS] };

    /// The words, lowest slots first.
    pub fn words(&self) -> &[u64; WORDS] {
        &self.words
    }

    /// A set from words, lowest slots first; missing words are empty.
    pub fn from_words(words: &[u64]) -> Self {
        let mut set = SlotSet::EMPTY;
        set.words.iter_mut().zip(words).for_each(|(to, from)| *to = *from);
        set
    }

    /// Adds a slot.
    #[inline]
    pub fn insert(&mut self, slot: usize) {
        if let Some(word) = self.words.get_mut(slot / 64) {
            *word |= 1 << (slot % 64);
        }
    }

    /// Takes a slot out.
    #[inline]
    pub fn remove(&mut self, slot: usize) {
        if let Some(word) = self.words.get_mut(slot / 64) {
            *word &= !(1 << (slot % 64));
        }
    }

    /// Whether the slot is a member.
    #[inline]
    pub fn contains(&self, slot: usize) -> bool {
        self.words.get(slot / 64).is_some_and(|word| word >> (slot % 64) & 1 == 1)
    }

    /// How many slots are members.
    pub fn len(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether no slot is a member.
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|&word| word == 0)
    }

    /// The slots in both sets.
    #[must_use]
    pub fn and(&self, other: &SlotSet) -> SlotSet {
        SlotSet { words: std::array::from_fn(|i| self.words[i] & other.words[i]) }
    }

    /// The slots in this set that are not in the other.
    #[must_use]
    pub fn without(&self, other: &SlotSet) -> SlotSet {
        SlotSet { words: std::array::from_fn(|i| self.words[i] & !other.words[i]) }
    }

    /// The slots in either set.
    #[must_use]
    pub fn or(&self, other: &SlotSet) -> SlotSet {
        SlotSet { words: std::array::from_fn(|i| self.words[i] | other.words[i]) }
    }

    /// The members, ascending; empty words cost one comparison each.
    pub fn iter(&self) -> Slots {
        Slots { words: self.words, index: 0 }
    }
}

impl Default for SlotSet {
    fn default() -> Self {
        SlotSet::EMPTY
    }
}

impl FromIterator<usize> for SlotSet {
    fn from_iter<I: IntoIterator<Item = usize>>(slots: I) -> Self {
        let mut set = SlotSet::EMPTY;
        slots.into_iter().for_each(|slot| set.insert(slot));
        set
    }
}

impl IntoIterator for SlotSet {
    type Item = usize;
    type IntoIter = Slots;

    fn into_iter(self) -> Slots {
        self.iter()
    }
}

impl IntoIterator for &SlotSet {
    type Item = usize;
    type IntoIter = Slots;

    fn into_iter(self) -> Slots {
        self.iter()
    }
}

/// The members of a [`SlotSet`], ascending.
#[derive(Clone, Debug)]
pub struct Slots {
    /// What is left; all words before `index` are empty.
    words: [u64; WORDS],
    index: usize,
}

impl Iterator for Slots {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        loop {
            let word = self.words.get_mut(self.index)?;
            if *word != 0 {
                let slot = self.index * 64 + word.trailing_zeros() as usize;
                *word &= *word - 1;
                return Some(slot);
            }
            self.index += 1;
        }
    }
}
