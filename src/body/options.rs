//! What a host can set about reading bodies.

use crate::prefix::BlockSize;

/// How bodies are read. The same options must be used wherever fingerprints are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyOptions {
    /// Size of a block.
    pub block_bytes: BlockSize,
    /// The host's own namespace digest, which replaces the one that the body's `model`,
    /// `lora_path`, `cache_salt` and `extra_key` form. 0 says that there is none.
    pub namespace: Option<u64>,
    /// How much of a conversation counts.
    pub messages: Messages,
    /// What images and the like count for.
    pub media: MediaTokens,
    /// Longest body in bytes; 128 MiB by default.
    pub max_bytes: u64,
}

impl Default for BodyOptions {
    fn default() -> Self {
        BodyOptions {
            block_bytes: BlockSize::DEFAULT,
            namespace: None,
            messages: Messages::All,
            media: MediaTokens::default(),
            max_bytes: 128 << 20,
        }
    }
}

/// How much of a conversation counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Messages {
    /// Every message.
    #[default]
    All,
    /// The first one only, as simpler routers do it; for comparison.
    FirstOnly,
}

/// Tokens that a piece of media takes in the prompt, whatever its size in bytes. Each counts as
/// four bytes of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaTokens {
    /// Per image; by default 576, which is 24 by 24 patches.
    pub image: u32,
    /// Per audio clip; by default 750, which is 30 seconds at 25 tokens.
    pub audio: u32,
    /// Per video; by default 4,096.
    pub video: u32,
    /// Per file; by default 2,048.
    pub file: u32,
}

impl Default for MediaTokens {
    fn default() -> Self {
        MediaTokens { image: 576, audio: 750, video: 4096, file: 2048 }
    }
}

impl MediaTokens {
    /// Bytes that a content part takes which has the kinds of media whose bits are set.
    pub(super) fn bytes(&self, kinds: u8) -> u64 {
        // In the order of `Media`.
        let each = [self.image, self.audio, self.video, self.file];
        let counted = each.iter().enumerate().filter(|(bit, _)| kinds >> bit & 1 == 1);
        counted.map(|(_, &tokens)| 4 * u64::from(tokens)).sum()
    }
}
