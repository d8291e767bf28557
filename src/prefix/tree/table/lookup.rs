//! Finding a key's node: headers first, then the lines whose tag agrees.

use super::{Found, Home, LOCKED, Located, SPILLED, Table, way_of};
use crate::prefix::tree::line::prefetch;
use crate::prefix::tree::node::{META, Meta, agreeing};
use crate::sync::{Ordering, spin};

const ATTEMPTS: usize = 64;

impl Table {
    /// Prefetches the header that the key is looked for in, and the second one where keys often lie there:
    /// a processor has few outstanding prefetches at a time.
    #[inline]
    pub(crate) fn prefetch(&self, home: &Home) {
        let often = self.spilled.load(Ordering::Relaxed) * 8 > u64::from(self.sets);
        for &set in &home.sets[..1 + usize::from(often)] {
            if self.is_written(set) {
                prefetch(self.header(set));
            }
        }
    }

    /// Looks at headers only and fetches the lines that [`read`](Self::read) will want.
    #[inline(always)]
    pub(crate) fn locate(&self, home: Home) -> Located {
        let [first, second] = home.sets;
        let mut located = self.locate_in(first, home);
        if located.ways == 0 && located.version & SPILLED != 0 {
            located = self.locate_in(second, home);
        }
        if located.ways != 0 {
            let way = way_of(located.ways);
            prefetch(self.line(located.set, way, 0));
            prefetch(self.line(located.set, way, 1));
        }
        located
    }

    #[inline(always)]
    fn locate_in(&self, set: u32, home: Home) -> Located {
        if !self.is_written(set) {
            return Located { home, set, version: 0, ways: 0 };
        }
        let version = self.version(set).load(Ordering::Acquire);
        Located { home, set, version, ways: self.tagged(set, home.tag) }
    }

    /// The located node compared with `path` (whose first block is the key).
    #[inline]
    pub(crate) fn read(&self, located: &Located, path: &[u64]) -> Option<Found> {
        if located.version & LOCKED == 0 {
            let found = self.compare(located, path);
            let [first, _] = located.home.sets;
            let elsewhere = located.set == first && located.version & SPILLED != 0;
            if self.is_current(located.set, located.version) && (found.is_some() || !elsewhere) {
                return found;
            }
        }
        self.probe(&located.home, path)
    }

    /// The node of `home`'s key, compared with `path`: located and read in one call, with retries.
    pub(crate) fn probe(&self, home: &Home, path: &[u64]) -> Option<Found> {
        for set in home.sets {
            let mut spilled = true;
            for _ in 0..ATTEMPTS {
                let located = self.locate_in(set, *home);
                if located.version & LOCKED != 0 {
                    spin();
                    continue;
                }
                let found = self.compare(&located, path);
                if self.is_current(set, located.version) {
                    if found.is_some() {
                        return found;
                    }
                    spilled = located.version & SPILLED != 0;
                    break;
                }
            }
            if !spilled {
                return None;
            }
        }
        None
    }

    #[inline]
    fn compare(&self, located: &Located, path: &[u64]) -> Option<Found> {
        let Located { home, set, version, mut ways } = *located;
        while ways != 0 {
            let way = way_of(ways);
            ways &= ways - 1;
            let hashes = self.line(set, way, 0);
            if hashes.0[0].load(Ordering::Relaxed) != home.key {
                continue;
            }
            let length = Meta(self.word(set, way, META).load(Ordering::Relaxed)).length();
            let same = agreeing(hashes, path).min(length);
            return Some(Found {
                set,
                way: way as u8,
                same: same as u8,
                length: length as u8,
                mark: self.mark(set, way),
                version,
            });
        }
        None
    }
}
