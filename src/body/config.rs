//! Reading bodies as a part of a router's configuration.

use serde::{Deserialize, Serialize};

use super::options::{BodyOptions, MediaTokens, Messages};
use crate::error::ConfigError;
use crate::prefix::BlockSize;

/// How JSON request bodies are read. Routers that exchange fingerprints need the same settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct BodyConfig {
    /// Whether only the first message counts as the prefix, as simpler routers have it. For
    /// comparison: the whole conversation matches far more.
    pub first_message_only: bool,
    /// Tokens that an image counts for.
    pub image_tokens: u32,
    /// Tokens that an audio clip counts for.
    pub audio_tokens: u32,
    /// Tokens that a video counts for.
    pub video_tokens: u32,
    /// Tokens that a file counts for.
    pub file_tokens: u32,
    /// Longest body in bytes; longer ones are refused.
    pub max_bytes: u64,
}

impl Default for BodyConfig {
    fn default() -> Self {
        let BodyOptions { media, max_bytes, .. } = BodyOptions::default();
        BodyConfig {
            first_message_only: false,
            image_tokens: media.image,
            audio_tokens: media.audio,
            video_tokens: media.video,
            file_tokens: media.file,
            max_bytes,
        }
    }
}

impl BodyConfig {
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let media = [
            ("body.image_tokens", self.image_tokens),
            ("body.audio_tokens", self.audio_tokens),
            ("body.video_tokens", self.video_tokens),
            ("body.file_tokens", self.file_tokens),
        ];
        for (name, tokens) in media {
            ConfigError::range(name, tokens.into(), 0.0, 1e6)?;
        }
        ConfigError::range("body.max_bytes", self.max_bytes as f64, 1.0, (1u64 << 40) as f64)
    }

    pub(crate) fn options(&self, block_bytes: BlockSize) -> BodyOptions {
        BodyOptions {
            block_bytes,
            namespace: None,
            messages: if self.first_message_only { Messages::FirstOnly } else { Messages::All },
            media: MediaTokens {
                image: self.image_tokens,
                audio: self.audio_tokens,
                video: self.video_tokens,
                file: self.file_tokens,
            },
            max_bytes: self.max_bytes,
        }
    }
}
