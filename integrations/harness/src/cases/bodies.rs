//! Request bodies that gateways handle in their own ways.

use axum::body::Bytes;
use axum::http::{Method, Request, Response};
use futures_util::stream;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

use super::{Verdict, demand};
use crate::bench::Bench;
use crate::http::{AnyError, WORKER_HEADER, call};

const MEGABYTE: usize = 1_000_000;

/// What an engine said about one request.
pub(super) struct Served {
    worker: String,
    prompt: u64,
    pub(super) cached: u64,
}

/// Bodies of a megabyte arrive whole, in one piece or in chunks, and the same beginning again goes to
/// the same worker.
pub(super) async fn large(bench: &mut Bench) -> Verdict {
    let mut cached = 0.0;
    for (number, piece) in [(1, 2 * MEGABYTE), (2, 10_000)] {
        let text = format!("{number} {}", "long ".repeat(MEGABYTE / 5));
        let first = send(bench, &text, piece).await?;
        let tokens = MEGABYTE as u64 / 4;
        demand(first.prompt >= tokens, || format!("{} of {tokens} tokens", first.prompt))?;
        let second = send(bench, &format!("{text} And?"), piece).await?;
        demand(first.worker == second.worker, || "the second went elsewhere".to_owned())?;
        cached = second.cached as f64 / first.prompt as f64;
        demand(cached > 0.95, || format!("{:.1}% of it cached", cached * 100.0))?;
    }
    Ok(format!("whole and in chunks; {:.1}% cached the second time", cached * 100.0))
}

/// Bodies without a content-length are read like others.
pub(super) async fn chunked(bench: &mut Bench) -> Verdict {
    const PROMPTS: usize = 12;
    for number in 0..PROMPTS {
        let text = format!("{number} {}", "piece by piece ".repeat(300));
        // Pieces that cut the JSON anywhere, the last ones byte by byte.
        let piece = [1, 7, 100, 1_500][number % 4];
        let first = send(bench, &text, piece).await?;
        let second = send(bench, &format!("{text} And?"), piece).await?;
        demand(first.worker == second.worker, || format!("prompt {number} went elsewhere"))?;
        demand(second.cached * 10 > first.prompt * 9, || format!("prompt {number} not cached"))?;
    }
    Ok(format!("{PROMPTS} of {PROMPTS} prompts found again"))
}

/// Requests without a body, with an empty one and with one that is no JSON are served, too.
pub(super) async fn none(bench: &mut Bench) -> Verdict {
    let url = bench.url();
    for (method, path, body, expected) in [
        (Method::GET, "/v1/models", "", 200),
        (Method::GET, "/health", "", 200),
        (Method::HEAD, "/v1/models", "", 200),
        (Method::POST, "/v1/chat/completions", "", 400),
        (Method::POST, "/v1/chat/completions", "no JSON", 400),
        (Method::POST, "/v1/chat/completions", "{\"messages\": [{\"role\": \"user\"", 400),
        (Method::POST, "/v1/chat/completions", "{}", 400),
        (Method::POST, "/nowhere", "{}", 404),
    ] {
        for _ in 0..5 {
            let (status, _) =
                call(&bench.client, method.clone(), &format!("{url}{path}"), body).await?;
            demand(status == expected, || format!("{method} {path} {body:?}: {status}"))?;
        }
    }
    Ok("8 kinds, as the engine answers them".to_owned())
}

/// Bodies that the router cannot read come to an engine as they are, and its answer comes back.
pub(super) async fn unread(bench: &mut Bench) -> Verdict {
    let chat = br#"{"messages": [{"role": "user", "content": "What is in there?"}]}"#;
    let marked = [b"\xef\xbb\xbf", &chat[..]].concat();
    let multipart = b"--b\r\ncontent-disposition: form-data; name=model\r\n\r\nw\r\n--b--\r\n";
    let kinds: [(&[u8], &str, &str); 5] = [
        (&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xab, 0xae, 5, 0], "application/json", "gzip"),
        (&[0x28, 0xb5, 0x2f, 0xfd, 0x20, 2, 0x11, 0, 0, b'{', b'}'], "application/json", "zstd"),
        (multipart, "multipart/form-data; boundary=b", "identity"),
        (&marked, "application/json", "identity"),
        (b"{\"messages\": [", "application/json; charset=utf-8", "identity"),
    ];
    for (body, kind, encoding) in kinds {
        for _ in 0..4 {
            let request = Request::post(format!("{}/v1/chat/completions", bench.url()))
                .header("content-type", kind)
                .header("content-encoding", encoding)
                .body(Full::new(Bytes::copy_from_slice(body)))?;
            let response = bench.client.request(request).await?;
            // The engine understands none of them either: 400 is its word, with its name on it.
            let named = response.headers().contains_key(WORKER_HEADER);
            let status = response.status();
            demand(status == 400 && named, || format!("{kind}, {encoding}: {status}"))?;
            response.into_body().collect().await?;
        }
    }
    let blamed = bench.blamed().await?.unwrap_or(0);
    demand(blamed == 0, || format!("{blamed} requests counted against their workers"))?;
    Ok("5 kinds, as the engine answers them".to_owned())
}

/// Sends a prompt in chunks of this many bytes.
pub(super) async fn send(bench: &Bench, prompt: &str, piece: usize) -> Result<Served, AnyError> {
    let body = json!({
        "model": "sim",
        "messages": [{ "role": "user", "content": prompt }],
        "max_tokens": 1,
    })
    .to_string();
    let pieces: Vec<_> = body
        .as_bytes()
        .chunks(piece)
        .map(|piece| Ok::<_, AnyError>(Frame::data(Bytes::copy_from_slice(piece))))
        .collect();
    let request = Request::post(format!("{}/v1/chat/completions", bench.url()))
        .header("content-type", "application/json")
        .body(StreamBody::new(stream::iter(pieces)))?;
    // The body's length is unknown to this client, so it is sent chunked.
    let client = Client::builder(TokioExecutor::new()).build_http();
    served(client.request(request).await?).await
}

async fn served(response: Response<Incoming>) -> Result<Served, AnyError> {
    let (head, body) = response.into_parts();
    let text = body.collect().await?.to_bytes();
    demand(head.status.is_success(), || {
        format!("answered {}: {}", head.status, String::from_utf8_lossy(&text))
    })?;
    let worker = head.headers.get(WORKER_HEADER).ok_or("the answer names no worker")?;
    let usage = &serde_json::from_slice::<Value>(&text)?["usage"];
    let count = |value: &Value| value.as_u64().unwrap_or(0);
    Ok(Served {
        worker: worker.to_str()?.to_owned(),
        prompt: count(&usage["prompt_tokens"]),
        cached: count(&usage["prompt_tokens_details"]["cached_tokens"]),
    })
}
