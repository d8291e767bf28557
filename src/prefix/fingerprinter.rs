//! Prompts become fingerprints here: whole blocks are hashed as bytes or tokens stream past.

use super::fingerprint::{BlockSize, FORMAT_VERSION, Fingerprint, FingerprintHeader, Unit};
use super::hash::{HashKey, Path};

/// Tells the digests of preamble blocks from others.
const PREAMBLE: u64 = 0x10;

/// Hashes a prompt block by block as it streams past.
///
/// Every byte is read once; nothing is allocated. A last block that is not full counts in the
/// total and has no hash. Once the buffer is full the rest is counted and not hashed.
#[derive(Debug)]
pub struct Fingerprinter<'k, 'b> {
    key: &'k HashKey,
    unit: Unit,
    size: BlockSize,
    out: &'b mut [u64],
    blocks: usize,
    path: Path,
    pending: [u8; 256],
    filled: usize,
    bytes: u64,
}

impl<'k, 'b> Fingerprinter<'k, 'b> {
    /// Starts an empty prompt whose hashes go to `out`.
    pub fn new(key: &'k HashKey, unit: Unit, size: BlockSize, out: &'b mut [u64]) -> Self {
        Fingerprinter {
            key,
            unit,
            size,
            out,
            blocks: 0,
            path: Path::new(key),
            pending: [0; 256],
            filled: 0,
            bytes: 0,
        }
    }

    /// Absorbs prompt bytes; how the prompt is cut into calls makes no difference.
    pub fn push(&mut self, mut bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        if self.filled > 0 {
            bytes = self.fill_pending(bytes);
        }
        if self.filled > 0 || self.is_full() {
            return;
        }
        let whole = self.hash_blocks(bytes);
        let rest = &bytes[whole..];
        if rest.len() < self.size.bytes() {
            self.pending[..rest.len()].copy_from_slice(rest);
            self.filled = rest.len();
        }
    }

    /// Counts so many more bytes and does not hash them, if the buffer is full, so that they would
    /// not be hashed either when pushed. Says whether it did.
    pub fn skip(&mut self, bytes: u64) -> bool {
        if self.is_full() {
            self.bytes += bytes;
        }
        self.is_full()
    }

    /// Absorbs tokens, the same as pushing four little-endian bytes for each.
    pub fn push_tokens(&mut self, mut tokens: &[u32]) {
        while self.filled > 0 {
            let Some((first, rest)) = tokens.split_first() else { return };
            self.push(&first.to_le_bytes());
            tokens = rest;
        }
        self.bytes += 4 * tokens.len() as u64;
        let whole = self.hash_tokens(tokens);
        if self.is_full() {
            return;
        }
        for token in &tokens[whole..] {
            self.pending[self.filled..self.filled + 4].copy_from_slice(&token.to_le_bytes());
            self.filled += 4;
        }
    }

    /// Ends the prompt. `namespace` and `shaping` are digests of what else decides whether two
    /// prompts share a cache entry (see [`Digest`](super::Digest)); 0 stands for none. They may
    /// become known last because they are XORed into the finished hashes.
    pub fn finish(self, namespace: u64, shaping: u64) -> Fingerprint<'b> {
        self.finish_after(0, namespace, shaping)
    }

    /// As [`finish`](Self::finish), for a prompt that the engine renders behind `preamble` bytes
    /// made from what `shaping` digests, tool declarations for instance. Whole blocks of it go
    /// before the others, each told by the digests and its place, so that the preamble counts where
    /// it is shared and is not shared in part.
    pub fn finish_after(self, preamble: u64, namespace: u64, shaping: u64) -> Fingerprint<'b> {
        let shape = (self.size.bytes() as u64) << 8 | self.unit as u64;
        let seed = self.key.seed(namespace, shaping, shape);
        let leading = preamble / self.size.bytes() as u64;
        let inserted = usize::try_from(leading).unwrap_or(usize::MAX).min(self.out.len());
        let kept = self.blocks.min(self.out.len() - inserted);
        if inserted > 0 {
            self.out.copy_within(..kept, inserted);
        }
        for (place, hash) in (0..).zip(&mut self.out[..inserted]) {
            let mut block = [0; 16];
            block[..8].copy_from_slice(&u64::to_le_bytes(place));
            block[8..].copy_from_slice(&seed.to_le_bytes());
            *hash = self.key.digest_block(PREAMBLE, &block);
        }
        for hash in &mut self.out[inserted..inserted + kept] {
            *hash ^= seed;
        }
        let header = FingerprintHeader {
            version: FORMAT_VERSION,
            unit: self.unit,
            block_bytes: self.size.bytes() as u16,
            key_id: self.key.id(),
            namespace,
            total: (self.bytes / self.unit.bytes() as u64)
                .saturating_add(leading.saturating_mul(self.size.units(self.unit) as u64)),
            blocks: (inserted + kept) as u32,
        };
        Fingerprint { header, blocks: &self.out[..inserted + kept] }
    }

    fn is_full(&self) -> bool {
        self.blocks == self.out.len()
    }

    /// Completes the block begun by an earlier call and returns what is left.
    fn fill_pending<'p>(&mut self, bytes: &'p [u8]) -> &'p [u8] {
        let size = self.size.bytes();
        let (head, rest) = bytes.split_at(bytes.len().min(size - self.filled));
        self.pending[self.filled..self.filled + head.len()].copy_from_slice(head);
        self.filled += head.len();
        if self.filled == size {
            self.filled = 0;
            let block = self.pending;
            self.hash_blocks(&block[..size]);
        }
        rest
    }

    /// Hashes the whole blocks of `bytes` and returns how many bytes they are.
    fn hash_blocks(&mut self, bytes: &[u8]) -> usize {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("bmi2") {
            // SAFETY: this processor has BMI2.
            return unsafe { self.hash_blocks_bmi2(bytes) };
        }
        self.hash_blocks_portable(bytes)
    }

    /// The same with a multiplication whose result may go to any register.
    ///
    /// # Safety
    /// Needs BMI2.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "bmi2")]
    unsafe fn hash_blocks_bmi2(&mut self, bytes: &[u8]) -> usize {
        self.hash_blocks_portable(bytes)
    }

    #[inline(always)]
    fn hash_blocks_portable(&mut self, bytes: &[u8]) -> usize {
        let key = self.key;
        match self.size.bytes() {
            // A constant length lets the compiler unroll the usual cases.
            64 => self.extend(bytes, 64, |block| key.nh_bytes(block)),
            128 => self.extend(bytes, 128, |block| key.nh_bytes(block)),
            size => self.extend(bytes, size, |block| key.nh_bytes(block)),
        }
    }

    /// Hashes the whole blocks of `tokens` and returns how many tokens they are.
    fn hash_tokens(&mut self, tokens: &[u32]) -> usize {
        let key = self.key;
        match self.size.bytes() / 4 {
            16 => self.extend(tokens, 16, |block| key.nh_tokens(block)),
            32 => self.extend(tokens, 32, |block| key.nh_tokens(block)),
            size => self.extend(tokens, size, |block| key.nh_tokens(block)),
        }
    }

    #[inline(always)]
    fn extend<T>(&mut self, items: &[T], size: usize, nh: impl Fn(&[T]) -> u128) -> usize {
        let done = self.path.extend(self.key, items, size, nh, &mut self.out[self.blocks..]);
        self.blocks += done;
        done * size
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::{BlockSize, Fingerprinter, HashKey, Unit};

    #[test]
    fn processors_with_and_without_bmi2_make_the_same_fingerprint() {
        if !std::arch::is_x86_feature_detected!("bmi2") {
            eprintln!("not checked: BMI2 missing");
            return;
        }
        let key = HashKey::from_bytes([7; 32]);
        let bytes: Vec<u8> = (0..20_000u32).map(|i| (i.wrapping_mul(i) >> 5) as u8).collect();
        for size in [64, 128, 240] {
            let size = BlockSize::new(size).unwrap_or_default();
            let (mut with, mut without) = ([0; 400], [0; 400]);
            let mut fingerprinter = Fingerprinter::new(&key, Unit::Text, size, &mut with);
            // SAFETY: this processor has BMI2.
            let taken = unsafe { fingerprinter.hash_blocks_bmi2(&bytes) };
            let mut fingerprinter = Fingerprinter::new(&key, Unit::Text, size, &mut without);
            assert_eq!(fingerprinter.hash_blocks_portable(&bytes), taken);
            assert_eq!(taken, bytes.len() / size.bytes() * size.bytes());
            assert_eq!(with, without);
        }
    }
}
