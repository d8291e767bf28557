//! A streaming chat client: measures the time to the first token and reads usage from the last chunk.

use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use super::chat::Message;
use crate::http::{AnyError, Client, WORKER_HEADER};

/// A complete answer.
pub(crate) struct Answer {
    pub(crate) text: String,
    pub(crate) first_token: Duration,
    pub(crate) prompt_tokens: u64,
    pub(crate) cached_tokens: u64,
    /// The worker that served it, if the gateway names it.
    pub(crate) worker: Option<String>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Nothing of an answer came.
    Lost(AnyError),
    /// The answer broke off after its first token.
    Cut,
}

impl<E: Into<AnyError>> From<E> for Failure {
    fn from(error: E) -> Failure {
        Failure::Lost(error.into())
    }
}

#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    choices: Vec<Choice>,
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Choice {
    delta: Delta,
}

#[derive(Deserialize)]
struct Delta {
    content: Option<String>,
}

#[derive(Deserialize)]
struct Usage {
    prompt_tokens: u64,
    prompt_tokens_details: Option<Details>,
}

#[derive(Deserialize)]
struct Details {
    cached_tokens: Option<u64>,
}

/// Sends one turn and reads the stream to its end.
pub(crate) async fn ask(
    client: &Client,
    target: &str,
    messages: &[Message],
    output_tokens: usize,
) -> Result<Answer, Failure> {
    let body = json!({
        "model": "sim",
        "messages": messages,
        "max_tokens": output_tokens,
        "stream": true,
        "stream_options": { "include_usage": true },
    });
    let request = Request::post(format!("{target}/v1/chat/completions"))
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body.to_string())))?;
    let asked = Instant::now();
    let response = client.request(request).await?;
    if !response.status().is_success() {
        let status = response.status();
        let text = response.into_body().collect().await?.to_bytes();
        return Err(Failure::Lost(format!("{status}: {}", String::from_utf8_lossy(&text)).into()));
    }
    let worker = worker_of(response.headers());
    let mut reader = Reader::new(asked);
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => reader.push(frame.data_ref().map_or(&[], |data| &data[..]))?,
            Err(_) if reader.first_token.is_some() => return Err(Failure::Cut),
            Err(error) => return Err(error.into()),
        }
    }
    reader.answer(worker)
}

fn worker_of(headers: &HeaderMap) -> Option<String> {
    headers.get(WORKER_HEADER)?.to_str().ok().map(str::to_owned)
}

/// Puts events together out of frames, which may split them anywhere.
struct Reader {
    asked: Instant,
    buffer: Vec<u8>,
    text: String,
    first_token: Option<Duration>,
    usage: Option<Usage>,
    done: bool,
}

impl Reader {
    fn new(asked: Instant) -> Reader {
        let (buffer, text) = (Vec::new(), String::new());
        Reader { asked, buffer, text, first_token: None, usage: None, done: false }
    }

    fn push(&mut self, data: &[u8]) -> Result<(), Failure> {
        self.buffer.extend_from_slice(data);
        while let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\n\n") {
            let event: Vec<u8> = self.buffer.drain(..end + 2).collect();
            if let Some(payload) = event.strip_prefix(b"data: ") {
                self.event(payload.trim_ascii())?;
            }
        }
        Ok(())
    }

    fn event(&mut self, payload: &[u8]) -> Result<(), Failure> {
        if payload == b"[DONE]" {
            self.done = true;
            return Ok(());
        }
        let chunk: Chunk = serde_json::from_slice(payload)?;
        if let Some(content) =
            chunk.choices.first().and_then(|choice| choice.delta.content.as_ref())
        {
            self.first_token.get_or_insert_with(|| self.asked.elapsed());
            self.text.push_str(content);
        }
        self.usage = chunk.usage.or(self.usage.take());
        Ok(())
    }

    fn answer(self, worker: Option<String>) -> Result<Answer, Failure> {
        let Some(first_token) = self.first_token else {
            return Err(Failure::Lost("the stream ended without a token".into()));
        };
        if !self.done {
            return Err(Failure::Cut);
        }
        let usage = self.usage.as_ref();
        let details = usage.and_then(|usage| usage.prompt_tokens_details.as_ref());
        Ok(Answer {
            text: self.text,
            first_token,
            prompt_tokens: usage.map_or(0, |usage| usage.prompt_tokens),
            cached_tokens: details.and_then(|details| details.cached_tokens).unwrap_or(0),
            worker,
        })
    }
}
