//! The engines' token counts, read from the end of a response that passes through.
//!
//! OpenAI's API puts `usage` last: at the end of a JSON answer, or into the last chunk of a stream. So the last few
//! kilobytes are kept, and read once, when the response is over.

use pointsman::Usage;
use serde::Deserialize;

/// Bytes that are kept at least.
const KEPT: usize = 4096;
const FIELD: &[u8] = b"\"usage\"";

#[derive(Deserialize)]
struct Wire {
    // The first names are those of chat and completions, the second those of responses.
    #[serde(alias = "input_tokens")]
    prompt_tokens: Option<u32>,
    #[serde(alias = "output_tokens")]
    completion_tokens: Option<u32>,
    #[serde(alias = "input_tokens_details")]
    prompt_tokens_details: Option<Details>,
}

#[derive(Deserialize)]
struct Details {
    cached_tokens: Option<u32>,
}

/// The end of a response.
#[derive(Debug, Default)]
pub struct Tail(Vec<u8>);

impl Tail {
    /// The next piece of the response. Copies at most 4 KiB.
    pub fn push(&mut self, piece: &[u8]) {
        let piece = &piece[piece.len().saturating_sub(KEPT)..];
        if self.0.len() + piece.len() > 2 * KEPT {
            let surplus = self.0.len().saturating_sub(KEPT - piece.len());
            self.0.drain(..surplus);
        }
        self.0.extend_from_slice(piece);
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The last usage that it tells.
    pub fn usage(&self) -> Usage {
        let mut usage = Usage::default();
        let found = self.0.windows(FIELD.len()).rposition(|window| window == FIELD);
        let Some(start) = found else { return usage };
        let rest = self.0[start + FIELD.len()..].trim_ascii_start();
        let Some(value) = rest.strip_prefix(b":") else { return usage };
        let mut values = serde_json::Deserializer::from_slice(value).into_iter::<Wire>();
        if let Some(Ok(wire)) = values.next() {
            usage.prompt_tokens = wire.prompt_tokens;
            usage.completion_tokens = wire.completion_tokens;
            usage.cached_tokens = wire.prompt_tokens_details.and_then(|it| it.cached_tokens);
        }
        usage
    }
}
