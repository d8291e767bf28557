//! The answers of Anthropic's Messages and OpenAI's Responses, which name things otherwise than chat does, and the
//! events by which they are streamed.

use serde_json::{Value, json};

use super::wire::{Api, Counts, Envelope};

impl Envelope {
    /// What is sent before the first token.
    pub(crate) fn opening(&self, counts: Counts) -> String {
        match self.api {
            Api::Messages => {
                let mut message = self.message("", counts, Value::Null);
                message["content"] = json!([]);
                message["usage"]["output_tokens"] = 0.into();
                event("message_start", json!({ "message": message }))
                    + &event(
                        "content_block_start",
                        json!({ "index": 0, "content_block": { "type": "text", "text": "" } }),
                    )
            }
            Api::Responses => {
                let response = json!({ "id": self.id, "status": "in_progress", "usage": null });
                event("response.created", json!({ "response": response }))
            }
            Api::Chat | Api::Completions => String::new(),
        }
    }

    /// One streamed token.
    pub(crate) fn token(&self, token: &str, first: bool, last: bool) -> String {
        match self.api {
            Api::Messages => event(
                "content_block_delta",
                json!({ "index": 0, "delta": { "type": "text_delta", "text": token } }),
            ),
            Api::Responses => event("response.output_text.delta", json!({ "delta": token })),
            Api::Chat | Api::Completions => {
                format!("data: {}\n\n", self.chunk(token, first, last))
            }
        }
    }

    /// What is sent after the last token; `usage` says whether a client of chat asked for it.
    pub(crate) fn closing(&self, text: &str, counts: Counts, usage: bool) -> String {
        match self.api {
            Api::Messages => {
                let delta = json!({
                    "delta": { "stop_reason": "max_tokens" },
                    "usage": { "output_tokens": counts.output },
                });
                event("content_block_stop", json!({ "index": 0 }))
                    + &event("message_delta", delta)
                    + &event("message_stop", json!({}))
            }
            Api::Responses => {
                event("response.completed", json!({ "response": self.response(text, counts) }))
            }
            Api::Chat | Api::Completions => {
                let chunk = self.usage_chunk(counts);
                let usage = if usage { format!("data: {chunk}\n\n") } else { String::new() };
                usage + "data: [DONE]\n\n"
            }
        }
    }

    /// A whole message. `input_tokens` leaves out what the cache held.
    pub(crate) fn message(&self, text: &str, counts: Counts, stop: Value) -> Value {
        json!({
            "id": self.id,
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": [{ "type": "text", "text": text }],
            "stop_reason": stop,
            "usage": {
                "input_tokens": counts.prompt - counts.cached,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": counts.cached,
                "output_tokens": counts.output,
            },
        })
    }

    /// A whole response. `input_tokens` includes what the cache held.
    pub(crate) fn response(&self, text: &str, counts: Counts) -> Value {
        let content = json!([{ "type": "output_text", "text": text }]);
        json!({
            "id": self.id,
            "object": "response",
            "model": self.model,
            "status": "incomplete",
            "output": [{ "type": "message", "role": "assistant", "content": content }],
            "usage": {
                "input_tokens": counts.prompt,
                "input_tokens_details": { "cached_tokens": counts.cached },
                "output_tokens": counts.output,
                "total_tokens": counts.prompt + counts.output,
            },
        })
    }
}

fn event(name: &str, mut data: Value) -> String {
    data["type"] = name.into();
    format!("event: {name}\ndata: {data}\n\n")
}
