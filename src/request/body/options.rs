//! What a host can set about reading bodies, and what it gets.

use crate::prefix::{BlockSize, Fingerprint};

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

/// What a body says to a router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyFingerprint<'b> {
    /// The prompt's fingerprint.
    pub fingerprint: Option<Fingerprint<'b>>,
    /// Why there is none; set exactly where `fingerprint` is not.
    pub no_prefix: Option<NoPrefix>,
    /// What kind of request it is.
    pub kind: BodyKind,
    /// The namespace digest: the host's, or the one from the body; 0 where there is none.
    pub namespace: u64,
    /// Whether the answer is to be streamed.
    pub stream: bool,
    /// Most tokens to be generated, where the body says it.
    pub max_tokens: Option<u32>,
}

/// The kind of a request, told by the field that holds its prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BodyKind {
    /// `messages`.
    Chat,
    /// `prompt`.
    Completion,
    /// `input`.
    Responses,
    /// `text` or `input_ids`.
    Generate,
    /// None of them, or several.
    Unknown,
}

/// Why a well-formed body has no fingerprint. Of several reasons the first in this order is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum NoPrefix {
    /// The body is not an object.
    NotAnObject,
    /// More than one field holds a prompt, or one that holds text or messages is there twice.
    SeveralPrompts,
    /// The prompt array mixes text and tokens.
    MixedPrompt,
    /// The prompt is of a shape that no engine takes.
    UnknownShape,
    /// The prompt is an array without elements.
    EmptyPrompt,
    /// No known field holds a prompt.
    NoPrompt,
}

impl NoPrefix {
    /// A stable name for metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            NoPrefix::NotAnObject => "not_an_object",
            NoPrefix::SeveralPrompts => "several_prompts",
            NoPrefix::MixedPrompt => "mixed_prompt",
            NoPrefix::UnknownShape => "unknown_shape",
            NoPrefix::EmptyPrompt => "empty_prompt",
            NoPrefix::NoPrompt => "no_prompt",
        }
    }
}
