//! Validates a text as UTF-8, chunk by chunk.
//!
//! The whole text is validated, not each string: outside of strings JSON is ASCII, and a sequence
//! cannot be interrupted by an escape. So the cost does not depend on how many escapes there are.

/// The bytes at the end of a chunk that begin a sequence which the next chunk must complete.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    bytes: [u8; 4],
    length: u8,
}

/// How a chunk begins, given what was pending.
pub(super) enum Joint {
    /// Nothing was pending.
    None,
    /// The pending sequence is now complete: its bytes, their number, and how many came from
    /// the new chunk.
    Whole([u8; 4], usize, usize),
    /// The chunk was too short to complete it.
    More,
    /// It is not UTF-8.
    Invalid,
}

/// The part of a chunk that is known to be UTF-8.
pub(super) struct Checked {
    /// Leading bytes that are whole, valid sequences.
    pub(super) valid: usize,
    /// Whether an invalid sequence begins right after them.
    pub(super) broken: bool,
}

impl Pending {
    pub(super) const fn new() -> Self {
        Pending { bytes: [0; 4], length: 0 }
    }

    pub(super) fn length(&self) -> usize {
        usize::from(self.length)
    }

    /// Tries to complete the pending sequence from the start of `chunk`.
    pub(super) fn join(&mut self, chunk: &[u8]) -> Joint {
        if self.length == 0 {
            return Joint::None;
        }
        for (taken, &byte) in (1..).zip(chunk) {
            // A pending sequence has at most three bytes, so the fourth place is free.
            self.bytes[self.length()] = byte;
            self.length += 1;
            match core::str::from_utf8(&self.bytes[..self.length()]) {
                Ok(_) => {
                    let whole = Joint::Whole(self.bytes, self.length(), taken);
                    self.length = 0;
                    return whole;
                }
                Err(error) if error.error_len().is_some() => return Joint::Invalid,
                Err(_) => {}
            }
        }
        Joint::More
    }

    /// Validates `chunk`, whose start is the start of a sequence. A sequence that it does not
    /// finish is not in the valid part; where `is_last`, it is kept for [`Pending::join`].
    pub(super) fn check(&mut self, chunk: &[u8], is_last: bool) -> Checked {
        let (valid, broken) = match simdutf8::compat::from_utf8(chunk) {
            Ok(_) => (chunk.len(), false),
            Err(error) => (error.valid_up_to(), error.error_len().is_some()),
        };
        if is_last && !broken {
            let rest = &chunk[valid..];
            self.bytes[..rest.len()].copy_from_slice(rest);
            self.length = rest.len() as u8;
        }
        Checked { valid, broken }
    }
}
