//! Where the prompt's bytes go: into a fingerprinter that starts when text or tokens first show.
//!
//! A text prompt is the unescaped text itself, cut by marks that no UTF-8 text contains. Behind a
//! mark may stand filler bytes made from a digest: they say what the digest says, and they take the
//! room in the prompt that the digested thing takes for the engine.

use super::events::MIN_ROOM;
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

/// Bytes of text gathered before they are hashed, so that the fingerprinter sees whole blocks only
/// and hashes them where they lie.
const STAGE: usize = 4096;

/// Filler written at once.
const FILLER: usize = 1024;

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
    text: [u8; STAGE],
    filled: usize,
}

impl<'k, 'b> Prompt<'k, 'b> {
    pub(super) fn new(keyed: Keyed<'k>, block: BlockSize, out: &'b mut [u64]) -> Self {
        let stage = Stage::Idle(out);
        Prompt { keyed, block, stage, tokens: [0; TOKENS], held: 0, text: [0; STAGE], filled: 0 }
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

    /// At least [`MIN_ROOM`] bytes for text.
    #[inline]
    pub(super) fn room(&mut self) -> &mut [u8] {
        if STAGE - self.filled < MIN_ROOM {
            self.hash_blocks();
        }
        &mut self.text[self.filled..]
    }

    #[inline]
    pub(super) fn wrote(&mut self, bytes: usize) {
        self.filled += bytes;
    }

    fn write(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = self.room();
            let (now, rest) = bytes.split_at(bytes.len().min(room.len()));
            room[..now.len()].copy_from_slice(now);
            self.wrote(now.len());
            bytes = rest;
        }
    }

    /// Hashes the whole blocks of the gathered text.
    #[inline(never)]
    fn hash_blocks(&mut self) {
        let whole = self.filled - self.filled % self.block.bytes();
        self.push(whole);
        self.text.copy_within(whole..self.filled, 0);
        self.filled -= whole;
    }

    fn push(&mut self, bytes: usize) {
        if let Stage::Running(Unit::Text, fingerprinter) = &mut self.stage {
            fingerprinter.push(&self.text[..bytes]);
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
        self.write(&[mark]);
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
        let digest = digest.to_le_bytes();
        let room = self.room();
        room[0] = mark;
        room[1..9].copy_from_slice(&digest);
        self.wrote(9);
        if weight > 8 {
            self.fill(digest, weight - 8);
        }
    }

    fn fill(&mut self, digest: [u8; 8], mut bytes: u64) {
        let mut filler = [0; FILLER];
        filler.chunks_exact_mut(8).for_each(|eight| eight.copy_from_slice(&digest));
        while bytes > FILLER as u64 {
            // A short body may say that it holds much media: no work for what is not hashed.
            if self.skip(bytes) {
                return;
            }
            self.write(&filler);
            bytes -= FILLER as u64;
        }
        self.write(&filler[..bytes as usize]);
    }

    fn skip(&mut self, bytes: u64) -> bool {
        self.hash_blocks();
        match &mut self.stage {
            Stage::Running(Unit::Text, fingerprinter) => fingerprinter.skip(bytes),
            _ => true,
        }
    }

    /// The fingerprint, or nothing if the prompt has not begun. `shaping` digests what is rendered
    /// before the prompt, in about `preamble` bytes. Nothing may follow.
    pub(super) fn finish(
        &mut self,
        preamble: u64,
        namespace: u64,
        shaping: u64,
    ) -> Option<Fingerprint<'b>> {
        self.flush();
        self.push(self.filled);
        match core::mem::replace(&mut self.stage, Stage::Idle(&mut [])) {
            Stage::Idle(_) => None,
            Stage::Running(_, fingerprinter) => {
                Some(fingerprinter.finish_behind(preamble, namespace, shaping))
            }
        }
    }
}
