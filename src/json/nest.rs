//! Which containers are open: one bit each, so that nesting costs neither stack nor memory.

use super::events::Container;

/// Most arrays and objects inside each other; as many as `serde_json` reads by default.
pub const MAX_DEPTH: usize = 127;

const _: () = assert!(MAX_DEPTH < u128::BITS as usize);

/// The open containers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Nest {
    /// Bit `n` is set where the container at depth `n + 1` is an object.
    objects: u128,
    depth: usize,
}

impl Nest {
    pub(super) const fn new() -> Self {
        Nest { objects: 0, depth: 0 }
    }

    /// Open containers.
    pub(super) fn depth(self) -> usize {
        self.depth
    }

    /// The innermost one.
    #[inline]
    pub(super) fn innermost(self) -> Option<Container> {
        let level = self.depth.checked_sub(1)?;
        Some(if self.objects >> level & 1 == 1 { Container::Object } else { Container::Array })
    }

    /// Opens a container; false if that would be one too many.
    #[inline]
    pub(super) fn open(&mut self, container: Container) -> bool {
        if self.depth == MAX_DEPTH {
            return false;
        }
        let bit = 1 << self.depth;
        match container {
            Container::Object => self.objects |= bit,
            Container::Array => self.objects &= !bit,
        }
        self.depth += 1;
        true
    }

    /// Closes the innermost one, if there is one.
    #[inline]
    pub(super) fn close(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }
}
