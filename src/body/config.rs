//! How bodies are read.

use serde::{Deserialize, Serialize};

use super::media::Media;
use super::profile::RenderProfile;
use crate::prefix::BlockSize;
use crate::range::{self, OutOfRange};

/// How JSON request bodies are read. Routers that share fingerprints need the same settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct BodyConfig {
    /// Whether only the first message counts as the prefix, as in some other routers. For comparison:
    /// the whole conversation matches far more.
    pub first_message_only: bool,
    /// Tokens that an image counts for, whatever its size in bytes; each token counts as four bytes
    /// of text. By default 576, which is 24 by 24 patches.
    pub image_tokens: u32,
    /// Tokens that an audio clip counts for; by default 750, which is 30 seconds at 25 tokens.
    pub audio_tokens: u32,
    /// Tokens that a video counts for; by default 4,096.
    pub video_tokens: u32,
    /// Tokens that a file counts for; by default 2,048.
    pub file_tokens: u32,
    /// What of a conversation the engines' chat template renders, and where. By default `auto`: a router learns it.
    pub profile: RenderProfile,
    /// Longest body in bytes; longer ones are refused. 128 MiB by default.
    pub max_bytes: u64,
}

impl Default for BodyConfig {
    fn default() -> Self {
        BodyConfig {
            first_message_only: false,
            image_tokens: 576,
            audio_tokens: 750,
            video_tokens: 4096,
            file_tokens: 2048,
            profile: RenderProfile::auto(),
            max_bytes: 128 << 20,
        }
    }
}

impl BodyConfig {
    pub(crate) fn check(&self) -> Result<(), OutOfRange> {
        let media = [
            ("body.image_tokens", self.image_tokens),
            ("body.audio_tokens", self.audio_tokens),
            ("body.video_tokens", self.video_tokens),
            ("body.file_tokens", self.file_tokens),
        ];
        for (name, tokens) in media {
            range::check(name, tokens.into(), 0.0, 1e6)?;
        }
        range::check("body.max_bytes", self.max_bytes as f64, 1.0, (1u64 << 40) as f64)
    }

    pub(crate) fn options(&self, block_bytes: BlockSize) -> BodyOptions {
        BodyOptions { block_bytes, namespace: None, config: *self }
    }

    /// Bytes that one of these takes.
    pub(super) fn media_bytes(&self, media: Media) -> u64 {
        let tokens = match media {
            Media::Image => self.image_tokens,
            Media::Audio => self.audio_tokens,
            Media::Video => self.video_tokens,
            Media::File => self.file_tokens,
        };
        4 * u64::from(tokens)
    }
}

/// How one body is read. The same options must be used wherever fingerprints are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BodyOptions {
    /// Size of a block.
    pub block_bytes: BlockSize,
    /// The host's own namespace digest, which replaces the one that the body's `model`,
    /// `lora_path`, `cache_salt` and `extra_key` form. 0 says that there is none.
    pub namespace: Option<u64>,
    /// What a router's configuration says about bodies.
    pub config: BodyConfig,
}
