//! The engine's JSON: OpenAI requests in, completions and SSE chunks out.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde::Deserialize;
use serde_json::{Value, json};

/// The fields that the simulation understands; others are ignored, as engines mostly do.
#[derive(Deserialize)]
pub(crate) struct ApiRequest {
    #[serde(default)]
    pub(crate) model: String,
    messages: Option<Vec<Message>>,
    prompt: Option<Value>,
    input: Option<Value>,
    system: Option<Value>,
    tools: Option<Value>,
    cache_salt: Option<String>,
    #[serde(default)]
    pub(crate) stream: bool,
    #[serde(default)]
    stream_options: StreamOptions,
    max_tokens: Option<usize>,
    max_completion_tokens: Option<usize>,
    max_output_tokens: Option<usize>,
    min_tokens: Option<usize>,
    pub(crate) kv_transfer_params: Option<KvTransfer>,
}

#[derive(Deserialize)]
struct Message {
    role: String,
    content: Option<Value>,
}

#[derive(Deserialize, Default)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
}

/// vLLM's `kv_transfer_params`, as far as the simulated engines need them.
#[derive(Deserialize, Default)]
pub(crate) struct KvTransfer {
    #[serde(default)]
    pub(crate) do_remote_decode: bool,
    #[serde(default)]
    pub(crate) do_remote_prefill: bool,
    pub(crate) remote_request_id: Option<String>,
    pub(crate) remote_host: Option<String>,
    pub(crate) remote_port: Option<u16>,
}

/// Which API a request came through.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Api {
    Chat,
    Completions,
    /// Anthropic's.
    Messages,
    Responses,
}

impl ApiRequest {
    /// The text that the model would see.
    pub(crate) fn render(&self, api: Api) -> Result<String, &'static str> {
        let mut text = String::new();
        if let Some(tools) = &self.tools {
            text.push_str(&tools.to_string());
        }
        if self.min_tokens > Some(self.output_tokens(usize::MAX)) {
            return Err("`min_tokens` is above `max_tokens`");
        }
        match api {
            Api::Chat | Api::Messages => {
                push_text(&mut text, self.system.as_ref());
                for message in self.messages.as_ref().ok_or("`messages` is required")? {
                    text.push_str(&format!("<|{}|>", message.role));
                    push_text(&mut text, message.content.as_ref());
                    text.push('\n');
                }
                text.push_str("<|assistant|>");
            }
            Api::Completions => {
                push_text(&mut text, Some(self.prompt.as_ref().ok_or("`prompt` is required")?));
            }
            Api::Responses => {
                push_text(&mut text, Some(self.input.as_ref().ok_or("`input` is required")?));
            }
        }
        Ok(text)
    }

    /// Requests of different model or salt share no cache.
    pub(crate) fn cache_seed(&self, model: &str) -> u64 {
        let mut hasher = DefaultHasher::new();
        (model, &self.cache_salt).hash(&mut hasher);
        hasher.finish()
    }

    /// Output tokens asked for; the simulated model never stops earlier.
    pub(crate) fn output_tokens(&self, default: usize) -> usize {
        self.max_completion_tokens
            .or(self.max_output_tokens)
            .or(self.max_tokens)
            .unwrap_or(default)
            .max(1)
    }

    pub(crate) fn wants_usage(&self) -> bool {
        self.stream_options.include_usage
    }
}

fn push_text(text: &mut String, content: Option<&Value>) {
    match content {
        Some(Value::String(part)) => text.push_str(part),
        Some(Value::Array(parts)) => {
            for part in parts {
                push_text(text, part.get("text").or(Some(part)));
            }
        }
        Some(Value::Number(token)) => text.push_str(&format!("{token:>4}")),
        Some(other) => text.push_str(&other.to_string()),
        None => {}
    }
}

/// Prompt, cached and output tokens of one request.
#[derive(Clone, Copy)]
pub(crate) struct Counts {
    pub(crate) prompt: usize,
    pub(crate) cached: usize,
    pub(crate) output: usize,
}

impl Counts {
    fn json(self) -> Value {
        json!({
            "prompt_tokens": self.prompt,
            "completion_tokens": self.output,
            "total_tokens": self.prompt + self.output,
            "prompt_tokens_details": { "cached_tokens": self.cached },
        })
    }
}

/// What every answer to one request has in common.
pub(crate) struct Envelope {
    pub(crate) api: Api,
    pub(crate) id: String,
    pub(crate) model: String,
}

impl Envelope {
    /// The answer to a request without `stream`.
    pub(crate) fn whole(&self, text: &str, counts: Counts, kv: Option<Value>) -> Value {
        let mut body = match self.api {
            Api::Chat => {
                let message = json!({ "role": "assistant", "content": text });
                let choice = json!({ "index": 0, "message": message, "finish_reason": "length" });
                self.base("chat.completion", json!([choice]), counts.json())
            }
            Api::Completions => {
                let choice = json!({ "index": 0, "text": text, "finish_reason": "length" });
                self.base("text_completion", json!([choice]), counts.json())
            }
            Api::Messages => self.message(text, counts, "max_tokens".into()),
            Api::Responses => self.response(text, counts),
        };
        if let Some(kv) = kv {
            body["kv_transfer_params"] = kv;
        }
        body
    }

    /// One streamed token.
    pub(crate) fn chunk(&self, token: &str, first: bool, last: bool) -> Value {
        let finish = if last { json!("length") } else { Value::Null };
        let choice = match self.api {
            Api::Chat if first => json!({
                "index": 0,
                "delta": { "role": "assistant", "content": token },
                "finish_reason": finish,
            }),
            Api::Chat => {
                json!({ "index": 0, "delta": { "content": token }, "finish_reason": finish })
            }
            _ => json!({ "index": 0, "text": token, "finish_reason": finish }),
        };
        self.base(self.chunk_object(), json!([choice]), Value::Null)
    }

    /// The last chunk of a stream whose client asked for usage.
    pub(crate) fn usage_chunk(&self, counts: Counts) -> Value {
        self.base(self.chunk_object(), json!([]), counts.json())
    }

    fn chunk_object(&self) -> &'static str {
        match self.api {
            Api::Chat => "chat.completion.chunk",
            _ => "text_completion",
        }
    }

    fn base(&self, object: &str, choices: Value, usage: Value) -> Value {
        let mut body =
            json!({ "id": self.id, "object": object, "model": self.model, "choices": choices });
        if !usage.is_null() {
            body["usage"] = usage;
        }
        body
    }
}
