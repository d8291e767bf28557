//! Prompts become fingerprints here: whole blocks are hashed as bytes or tokens stream past.

use super::fingerprint::{BlockSize, Unit};
use super::hash::{HashKey, Path};

/// Hashes a prompt block by block as it streams past.
///
/// Every byte is read once; nothing is allocated. A last block that is not full counts in the
/// total and has no hash. Once the buffer is full the rest is counted and not hashed.
#[derive(Debug)]
pub struct Fingerprinter<'k, 'b> {
    pub(super) key: &'k HashKey,
    pub(super) unit: Unit,
    pub(super) size: BlockSize,
    pub(super) out: &'b mut [u64],
    pub(super) blocks: usize,
    pub(super) path: Path,
    /// Blocks before the path's first one.
    pub(super) origin: usize,
    pub(super) pending: [u8; 256],
    pub(super) filled: usize,
    pub(super) bytes: u64,
    /// Blocks of the first part, and its digest once it has ended.
    pub(super) start: usize,
    pub(super) first: Option<u64>,
    /// Blocks of the second part, where it came before the first one.
    pub(super) aside: Option<usize>,
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
            origin: 0,
            pending: [0; 256],
            filled: 0,
            bytes: 0,
            start: 0,
            first: None,
            aside: None,
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

    /// If the buffer is full, counts this many more bytes, which would not be hashed if they were pushed.
    /// Returns whether it did.
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
