//! Where the prompt's bytes go: into a fingerprinter that starts when text or tokens first show.
//!
//! A text prompt is the unescaped text itself, cut by marks that no UTF-8 text contains. Behind a
//! mark may stand filler bytes made from a digest: they say what the digest says, and they take the
//! room in the prompt that the digested thing takes for the engine.

use super::keyed::Keyed;
use crate::prefix::{BlockSize, Fingerprint, Fingerprinter, Unit};

/// Ends a message; stands between the strings of a batch.
pub(super) const MESSAGE_MARK: u8 = 0xff;
/// Stands between content parts, and before what a part holds besides text.
pub(super) const PART_MARK: u8 = 0xfe;
/// Stands between the token arrays of a batch.
const TOKENS_MARK: u32 = u32::MAX;

/// Tokens handed on at once.
const TOKENS: usize = 64;

#[expect(clippy::large_enum_variant, reason = "a box would allocate; there is one per reader")]
enum Stage<'k, 'b> {
    Idle(&'b mut [u64]),
    Running(Unit, Fingerprinter<'k, 'b>),
}

pub(super) struct Prompt<'k, 'b> {
    keyed: Keyed<'k>,
    block: BlockSize,
    stage: Stage<'k, 'b>,
    tokens: [u32; TOKENS],
    held: usize,
}

impl<'k, 'b> Prompt<'k, 'b> {
    pub(super) fn new(keyed: Keyed<'k>, block: BlockSize, out: &'b mut [u64]) -> Self {
        Prompt { keyed, block, stage: Stage::Idle(out), tokens: [0; TOKENS], held: 0 }
    }

    /// Whether the prompt is of this unit, which the first call decides.
    pub(super) fn start(&mut self, unit: Unit) -> bool {
        if let Stage::Idle(out) = &mut self.stage {
            let out = core::mem::take(out);
            let fingerprinter = Fingerprinter::new(self.keyed.0, unit, self.block, out);
            self.stage = Stage::Running(unit, fingerprinter);
        }
        matches!(&self.stage, Stage::Running(running, _) if *running == unit)
    }

    pub(super) fn text(&mut self, piece: &[u8]) {
        if let Stage::Running(Unit::Text, fingerprinter) = &mut self.stage {
            fingerprinter.push(piece);
        }
    }

    pub(super) fn token(&mut self, token: u32) {
        self.tokens[self.held] = token;
        self.held += 1;
        if self.held == TOKENS {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if let Stage::Running(Unit::Tokens, fingerprinter) = &mut self.stage {
            fingerprinter.push_tokens(&self.tokens[..self.held]);
        }
        self.held = 0;
    }

    pub(super) fn mark(&mut self, mark: u8) {
        self.text(&[mark]);
    }

    /// The border between two prompts of a batch.
    pub(super) fn border(&mut self) {
        match self.stage {
            Stage::Running(Unit::Tokens, _) => self.token(TOKENS_MARK),
            _ => self.mark(MESSAGE_MARK),
        }
    }

    /// A mark and `weight` bytes of filler, at least one digest's worth.
    pub(super) fn record(&mut self, mark: u8, digest: u64, weight: u64) {
        self.mark(mark);
        let mut filler = [0; 256];
        for eight in filler.chunks_exact_mut(8) {
            eight.copy_from_slice(&digest.to_le_bytes());
        }
        let mut left = weight.max(8);
        while left > 0 {
            let now = left.min(filler.len() as u64);
            self.text(&filler[..now as usize]);
            left -= now;
        }
    }

    /// The fingerprint, or nothing if the prompt has not begun.
    pub(super) fn finish(mut self, namespace: u64, shaping: u64) -> Option<Fingerprint<'b>> {
        self.flush();
        match self.stage {
            Stage::Idle(_) => None,
            Stage::Running(_, fingerprinter) => Some(fingerprinter.finish(namespace, shaping)),
        }
    }
}
