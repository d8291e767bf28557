//! Where the prompt's bytes go: into a fingerprinter that starts when text or tokens first show.
//!
//! A text prompt is the unescaped text itself, cut by separators that no UTF-8 text contains. After a
//! separator may stand filler bytes made from a digest: they say what the digest says, and they take
//! the room in the prompt that the digested thing takes for the engine.

use arrayvec::ArrayVec;

use crate::json::MIN_ROOM;
use crate::prefix::{BlockSize, Fingerprint, Fingerprinter, HashKey, Place, Rendering, Unit};

/// Ends a message; stands between the strings of a batch.
pub(super) const MESSAGE_SEPARATOR: u8 = 0xff;
/// Stands between content parts, and before what a part holds besides text.
pub(super) const PART_SEPARATOR: u8 = 0xfe;
/// Stands between the token arrays of a batch.
const TOKENS_SEPARATOR: u32 = u32::MAX;

/// Some clients put a line before the system text that is another one with every request.
const BILLING_LINE: &[u8] = b"x-anthropic-billing-header:";

/// Tokens passed on at once.
const TOKENS: usize = 64;

/// Bytes of text gathered before they are hashed, so that the fingerprinter sees whole blocks only
/// and hashes them where they lie.
const BUFFER: usize = 2048;

/// Filler written at once.
const FILLER: usize = 1024;

#[expect(clippy::large_enum_variant, reason = "a box would allocate; there is one per reader")]
enum Output<'k, 'b> {
    /// Where the block hashes will go.
    Idle(&'b mut [u64]),
    Running(Unit, Fingerprinter<'k, 'b>),
}

pub(super) struct PromptHasher<'k, 'b> {
    key: &'k HashKey,
    block: BlockSize,
    output: Output<'k, 'b>,
    tokens: ArrayVec<u32, TOKENS>,
    text: [u8; BUFFER],
    filled: usize,
    /// Whether nothing has come yet but the text before the messages.
    only_first: bool,
    /// Whether the text under way loses its first line, if that is a [`BILLING_LINE`].
    strips: bool,
}

impl<'k, 'b> PromptHasher<'k, 'b> {
    #[inline(always)]
    pub(super) fn new(key: &'k HashKey, block: BlockSize, out: &'b mut [u64]) -> Self {
        let output = Output::Idle(out);
        PromptHasher {
            key,
            block,
            output,
            tokens: ArrayVec::new(),
            text: [0; BUFFER],
            filled: 0,
            only_first: false,
            strips: false,
        }
    }

    /// Whether the prompt is of this unit, which the first call decides.
    pub(super) fn start(&mut self, unit: Unit) -> bool {
        if self.only_first && unit == Unit::Tokens {
            // No engine puts text before given tokens.
            self.reset_to_tokens();
        }
        self.only_first = false;
        self.open(unit)
    }

    fn open(&mut self, unit: Unit) -> bool {
        if let Output::Idle(out) = &mut self.output {
            let out = core::mem::take(out);
            let fingerprinter = Fingerprinter::new(self.key, unit, self.block, out);
            self.output = Output::Running(unit, fingerprinter);
        }
        matches!(&self.output, Output::Running(running, _) if *running == unit)
    }

    /// Forgets what was hashed: given tokens take its place.
    pub(super) fn reset_to_tokens(&mut self) {
        self.tokens.clear();
        (self.filled, self.only_first) = (0, false);
        self.output = match core::mem::replace(&mut self.output, Output::Idle(&mut [])) {
            Output::Running(_, fingerprinter) => Output::Idle(fingerprinter.into_buffer()),
            other => other,
        };
    }

    /// Begins the text that stands before the messages, whether these were there already or not. False
    /// if the prompt is not text.
    pub(super) fn begin_first(&mut self) -> bool {
        self.only_first |= matches!(self.output, Output::Idle(_));
        if !self.open(Unit::Text) {
            return false;
        }
        self.hash_buffer();
        if let Output::Running(_, fingerprinter) = &mut self.output {
            fingerprinter.first_part();
        }
        true
    }

    /// Bytes of text so far.
    pub(super) fn written(&self) -> u64 {
        match &self.output {
            Output::Running(_, fingerprinter) => fingerprinter.bytes() + self.filled as u64,
            Output::Idle(_) => 0,
        }
    }

    /// Ends the text that stands before the messages; `counts` says whether there was any.
    pub(super) fn end_first(&mut self, counts: bool) {
        self.hash_buffer();
        if let Output::Running(_, fingerprinter) = &mut self.output {
            fingerprinter.end_first_part(counts);
        }
    }

    /// Where the text has got to.
    pub(super) fn place(&mut self) -> Place {
        self.hash_buffer();
        match &self.output {
            Output::Running(_, fingerprinter) => fingerprinter.place(),
            Output::Idle(_) => Place::default(),
        }
    }

    /// Ends the head of the messages, and says where.
    pub(super) fn end_head(&mut self) -> Place {
        let place = self.place();
        if let Output::Running(_, fingerprinter) = &mut self.output {
            fingerprinter.restart();
        }
        place
    }

    /// At least [`MIN_ROOM`] bytes for text.
    #[inline]
    pub(super) fn room(&mut self) -> &mut [u8] {
        if BUFFER - self.filled < MIN_ROOM {
            self.hash_blocks();
        }
        &mut self.text[self.filled..]
    }

    #[inline]
    pub(super) fn wrote(&mut self, bytes: usize) {
        self.filled += bytes;
    }

    /// Takes text that lies elsewhere. Long text is hashed there.
    pub(super) fn write(&mut self, mut bytes: &[u8]) {
        if bytes.len() >= BUFFER && !self.strips {
            self.hash_buffer();
            return push_text(&mut self.output, bytes);
        }
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
        self.strip();
        let whole = self.filled - self.filled % self.block.bytes();
        push_text(&mut self.output, &self.text[..whole]);
        self.text.copy_within(whole..self.filled, 0);
        self.filled -= whole;
    }

    fn hash_buffer(&mut self) {
        self.strip();
        push_text(&mut self.output, &self.text[..self.filled]);
        self.filled = 0;
    }

    /// The text that begins now loses its first line, if that is a billing line.
    pub(super) fn begin_stripped(&mut self) {
        self.hash_buffer();
        self.strips = true;
    }

    /// Ends the text that began then; whether nothing of it is left.
    pub(super) fn end_stripped(&mut self) -> bool {
        self.strip() && self.filled == 0
    }

    fn strip(&mut self) -> bool {
        let text = &self.text[..self.filled];
        let strips = core::mem::take(&mut self.strips) && text.starts_with(BILLING_LINE);
        if strips {
            let end = text.iter().position(|&byte| byte == b'\n');
            let end = end.map_or(self.filled, |newline| newline + 1);
            self.text.copy_within(end..self.filled, 0);
            self.filled -= end;
        }
        strips
    }

    pub(super) fn token(&mut self, token: u32) {
        self.tokens.push(token);
        if self.tokens.is_full() {
            self.hash_tokens();
        }
    }

    fn hash_tokens(&mut self) {
        if let Output::Running(Unit::Tokens, fingerprinter) = &mut self.output {
            fingerprinter.push_tokens(&self.tokens);
        }
        self.tokens.clear();
    }

    pub(super) fn separator(&mut self, separator: u8) {
        self.write(&[separator]);
    }

    /// Separates two prompts of a batch.
    pub(super) fn batch_separator(&mut self) {
        match self.output {
            Output::Running(Unit::Tokens, _) => self.token(TOKENS_SEPARATOR),
            _ => self.separator(MESSAGE_SEPARATOR),
        }
    }

    /// A separator and `weight` bytes of filler, at least one digest's worth.
    pub(super) fn record(&mut self, separator: u8, digest: u64, weight: u64) {
        let digest = digest.to_le_bytes();
        let room = self.room();
        room[0] = separator;
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
            // A short body may claim much media: filler beyond the last hash is counted, not written.
            if self.skip(bytes) {
                return;
            }
            self.write(&filler);
            bytes -= FILLER as u64;
        }
        self.write(&filler[..bytes as usize]);
    }

    fn skip(&mut self, bytes: u64) -> bool {
        self.hash_buffer();
        match &mut self.output {
            Output::Running(Unit::Text, fingerprinter) => fingerprinter.skip(bytes),
            _ => true,
        }
    }

    /// The fingerprint, or nothing if the prompt has not begun. Nothing may follow.
    pub(super) fn finish(&mut self, rendering: &Rendering<'_>) -> Option<Fingerprint<'b>> {
        self.hash_tokens();
        self.hash_buffer();
        match core::mem::replace(&mut self.output, Output::Idle(&mut [])) {
            Output::Running(_, fingerprinter) if !self.only_first => {
                Some(fingerprinter.finish_rendered(rendering))
            }
            _ => None,
        }
    }
}

fn push_text(output: &mut Output<'_, '_>, text: &[u8]) {
    if let Output::Running(Unit::Text, fingerprinter) = output {
        fingerprinter.push(text);
    }
}
