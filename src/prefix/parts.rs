//! A prompt that does not come in the order in which an engine renders it.
//!
//! A request's fields may come in any order, so the text of each part of the prompt is hashed as a path of its
//! own, and the parts are put in order at the end: what stands before a part decides the seed that is
//! XORed into its hashes. What is declared beside the messages (tools) is known by digests and lengths only, and
//! becomes blocks here.

use super::fingerprint::{FORMAT_VERSION, Fingerprint, FingerprintHeader};
use super::fingerprinter::Fingerprinter;
use super::hash::{Digest, HashKey, Path};

/// Domains of the digests made here.
const DECLARED: u64 = 0x10;
const AFTER: u64 = 0x11;
const PLACE: u8 = 0x12;

/// Stands for what will not be kept.
const PASSING: u64 = 1;

/// A place in a part of a prompt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// Whole blocks of the part before it.
    pub(crate) blocks: usize,
    /// Digest of all that stands before it since the path began, unless the buffer is full.
    pub(crate) digest: u64,
}

/// Where what is declared stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeclaredAt {
    /// Before everything.
    Start,
    /// Behind the first part and the head of the second.
    Head,
    /// At this place in the second part.
    Place(Place),
}

/// One thing that is declared: its digest, and the bytes that it takes.
pub(crate) type Declared = (u64, u64);

/// What decides how the parts are put together. A text begins with its first part, if
/// [`Fingerprinter::first_part`] was called, and goes on with its second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rendering<'a> {
    pub(crate) namespace: u64,
    pub(crate) shaping: u64,
    /// Where the head of the second part ends, if it has one.
    pub(crate) head: Option<Place>,
    pub(crate) declared: &'a [Declared],
    pub(crate) declared_at: DeclaredAt,
    /// Blocks of the second part from which on it is rendered as something that will not be kept.
    pub(crate) passing: Option<usize>,
}

impl Rendering<'_> {
    /// A prompt in one part.
    fn plain(namespace: u64, shaping: u64) -> Self {
        let (head, passing) = (None, None);
        Rendering {
            namespace,
            shaping,
            head,
            declared: &[],
            declared_at: DeclaredAt::Start,
            passing,
        }
    }
}

impl HashKey {
    /// The seed of what follows something with this digest.
    fn after(&self, seed: u64, digest: u64) -> u64 {
        self.words(AFTER, seed, digest)
    }

    fn words(&self, tag: u64, first: u64, second: u64) -> u64 {
        let mut block = [0; 16];
        block[..8].copy_from_slice(&first.to_le_bytes());
        block[8..].copy_from_slice(&second.to_le_bytes());
        self.digest_block(tag, &block)
    }
}

impl Fingerprinter<'_, '_> {
    /// Where the part under way has got to. O(block size).
    pub(crate) fn place(&self) -> Place {
        let since = self.blocks - self.origin;
        let last = if since > 0 { self.out[self.blocks - 1] } else { 0 };
        let mut digest = Digest::new(self.key, PLACE);
        digest.push(&last.to_le_bytes());
        digest.push(&(since as u64).to_le_bytes());
        digest.push(&self.pending[..self.filled]);
        Place { blocks: self.blocks - self.start, digest: digest.finish() }
    }

    /// Bytes so far, of all parts.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Ends the path here; what follows is hashed as if nothing stood before it.
    pub(crate) fn restart(&mut self) {
        self.path = Path::new(self.key);
        self.filled = 0;
        self.origin = self.blocks;
    }

    /// Begins the first part. What was hashed so far is the whole of the second one, whose last blocks
    /// give way where there is not room for both. O(blocks so far).
    pub(crate) fn first_part(&mut self) {
        // From the end backwards, so that the first part can be written from the start on.
        let blocks = self.blocks;
        self.out[..blocks].reverse();
        self.out.copy_within(..blocks, self.out.len() - blocks);
        self.aside = (self.bytes > 0).then_some(blocks);
        self.blocks = 0;
        self.restart();
    }

    /// Ends the first part; the second one begins, unless it is there already. One that does not count
    /// has no bytes.
    pub(crate) fn end_first_part(&mut self, counts: bool) {
        self.first = counts.then(|| self.place().digest);
        self.start = self.blocks;
        self.restart();
        if let Some(aside) = self.aside.take() {
            let kept = aside.min(self.out.len() - self.start);
            let from = self.out.len() - kept;
            self.out[from..].reverse();
            self.out.copy_within(from.., self.start);
            self.blocks = self.start + kept;
        }
    }
}

impl<'b> Fingerprinter<'_, 'b> {
    /// The buffer, for another prompt.
    pub(crate) fn into_buffer(self) -> &'b mut [u64] {
        self.out
    }

    /// Ends the prompt. `namespace` and `shaping` are digests of what else decides whether two
    /// prompts share a cache entry (see [`Digest`](super::Digest)); 0 stands for none. They may
    /// become known last because they are XORed into the finished hashes.
    pub fn finish(self, namespace: u64, shaping: u64) -> Fingerprint<'b> {
        self.finish_rendered(&Rendering::plain(namespace, shaping))
    }

    /// Ends the prompt and puts its parts together.
    pub(crate) fn finish_rendered(self, rendering: &Rendering<'_>) -> Fingerprint<'b> {
        let size = self.size.bytes() as u64;
        let shape = size << 8 | self.unit as u64;
        let length = rendering.declared.iter().fold(0u64, |sum, one| sum.saturating_add(one.1));
        let declared = length / size;
        let total = (self.bytes / self.unit.bytes() as u64)
            .saturating_add(declared.saturating_mul(self.size.units(self.unit) as u64));
        let (start, blocks) = (self.start, self.blocks);
        let place = |place: Place| (start + place.blocks).min(blocks);
        let head = rendering.head.map_or(start, place);
        let at = match rendering.declared_at {
            DeclaredAt::Start => 0,
            DeclaredAt::Head => head,
            DeclaredAt::Place(known) => place(known),
        };
        let seed = self.key.seed(rendering.namespace, rendering.shaping, shape);
        let mut sheet =
            Sheet { key: self.key, out: self.out, held: blocks, shift: 0, done: 0, seed };
        let inserted = sheet.make_room(at, declared);
        if rendering.declared_at == DeclaredAt::Start {
            sheet.declare(rendering.declared, size, inserted);
        }
        sheet.pass(start, self.first);
        sheet.pass(head, rendering.head.map(|place| place.digest));
        if let DeclaredAt::Place(known) = rendering.declared_at {
            sheet.pass(at, Some(known.digest));
        }
        if rendering.declared_at != DeclaredAt::Start {
            sheet.declare(rendering.declared, size, inserted);
        }
        if let Some(passing) = rendering.passing {
            sheet.pass((start + passing).min(blocks), Some(PASSING));
        }
        sheet.pass(blocks, None);
        let held = sheet.held;
        let header = FingerprintHeader {
            version: FORMAT_VERSION,
            unit: self.unit,
            block_bytes: self.size.bytes() as u16,
            key_id: self.key.id(),
            namespace: rendering.namespace,
            total,
            blocks: held as u32,
            turn: 0,
        };
        Fingerprint { header, blocks: &sheet.out[..held] }
    }
}

/// The finished hashes, made from the beginning on.
struct Sheet<'k, 'b> {
    key: &'k HashKey,
    out: &'b mut [u64],
    /// Blocks that there are.
    held: usize,
    /// By how many blocks the text that comes next was moved.
    shift: usize,
    /// Finished ones.
    done: usize,
    /// What is XORed into the next ones.
    seed: u64,
}

impl Sheet<'_, '_> {
    /// Moves what begins at block `at` by so many blocks, as far as there is room, and returns how many
    /// that are.
    fn make_room(&mut self, at: usize, blocks: u64) -> usize {
        let room = self.out.len() - at;
        let inserted = usize::try_from(blocks).unwrap_or(usize::MAX).min(room);
        let kept = (self.held - at).min(room - inserted);
        if inserted > 0 {
            self.out.copy_within(at..at + kept, at + inserted);
        }
        self.held = at + inserted + kept;
        inserted
    }

    /// Finishes the text up to block `to`, where something with this digest ends.
    fn pass(&mut self, to: usize, digest: Option<u64>) {
        let to = to.saturating_add(self.shift).min(self.held).max(self.done);
        let seed = self.seed;
        for hash in &mut self.out[self.done..to] {
            *hash ^= seed;
        }
        self.done = to;
        if let Some(digest) = digest {
            self.seed = self.key.after(self.seed, digest);
        }
    }

    /// Writes the blocks of what is declared. A block belongs to the thing that it ends in.
    fn declare(&mut self, declared: &[Declared], size: u64, inserted: usize) {
        let (from, mut bytes) = (self.done, 0u64);
        for &(digest, length) in declared {
            self.seed = self.key.after(self.seed, digest);
            bytes = bytes.saturating_add(length);
            let ends = usize::try_from(bytes / size).unwrap_or(usize::MAX).min(inserted);
            for place in self.done..from + ends {
                self.out[place] = self.key.words(DECLARED, place as u64, self.seed);
            }
            self.done = self.done.max(from + ends);
        }
        self.shift = inserted;
    }
}
