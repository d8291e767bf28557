//! Reads `usage` out of an answer that passes through, without holding it back or changing it.

use pointsman::Usage;
use serde::Deserialize;

/// A line of a stream, or a whole answer, longer than this is passed on unread.
const MAX_READ: usize = 4 << 20;

#[derive(Deserialize)]
struct Answer {
    usage: Option<WireUsage>,
}

#[derive(Deserialize)]
struct WireUsage {
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

/// Fed with the bytes of an answer as they pass.
pub(crate) struct UsageReader {
    events: bool,
    buffer: Vec<u8>,
    overlong: bool,
    usage: Usage,
}

impl UsageReader {
    /// `events` says whether the answer is a stream of server-sent events or one JSON document.
    pub(crate) fn new(events: bool) -> UsageReader {
        UsageReader { events, buffer: Vec::new(), overlong: false, usage: Usage::default() }
    }

    pub(crate) fn push(&mut self, data: &[u8]) {
        if !self.events {
            return self.keep(data);
        }
        let mut lines = data.split(|&byte| byte == b'\n');
        // The first piece continues the line that the last frame left open; so does the last one for the next.
        if let Some(piece) = lines.next() {
            self.keep(piece);
        }
        for piece in lines {
            self.end_of_line();
            self.keep(piece);
        }
    }

    /// What has been reported so far; for a JSON answer, once it is complete.
    pub(crate) fn usage(&mut self) -> Usage {
        if !self.events && !self.overlong {
            let document = std::mem::take(&mut self.buffer);
            self.read(&document);
        }
        self.usage
    }

    fn keep(&mut self, data: &[u8]) {
        if self.buffer.len() + data.len() > MAX_READ {
            self.overlong = true;
            self.buffer.clear();
        } else if !self.overlong {
            self.buffer.extend_from_slice(data);
        }
    }

    fn end_of_line(&mut self) {
        let mut line = std::mem::take(&mut self.buffer);
        let overlong = std::mem::take(&mut self.overlong);
        if let (false, Some(payload)) = (overlong, line.strip_prefix(b"data:")) {
            // Most chunks carry no usage: a search for its name is cheaper than reading the JSON.
            if payload.windows(7).any(|window| window == b"\"usage\"") {
                self.read(payload);
            }
        }
        line.clear();
        self.buffer = line;
    }

    fn read(&mut self, json: &[u8]) {
        let Ok(Answer { usage: Some(wire) }) = serde_json::from_slice(json) else { return };
        self.usage.prompt_tokens = wire.prompt_tokens;
        self.usage.completion_tokens = wire.completion_tokens;
        self.usage.cached_tokens = wire.prompt_tokens_details.and_then(|d| d.cached_tokens);
    }
}
