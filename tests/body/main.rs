//! JSON request bodies: what their fingerprints depend on, what is wrong with others.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod cases;
mod chat;
mod differential;
mod errors;
mod prompts;
mod rendering;
mod vectors;

use pointsman::body::{
    BodyConfig, BodyFingerprint, BodyKind, BodyOptions, NoPrefix, read_body, read_value,
};
use pointsman::prefix::{HashKey, Unit};
use serde_json::{Value, json};

/// A body's fingerprint without its borrow.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Read {
    pub(crate) blocks: Vec<u64>,
    pub(crate) total: u64,
    pub(crate) unit: Option<Unit>,
    pub(crate) no_prefix: Option<NoPrefix>,
    pub(crate) kind: BodyKind,
    pub(crate) namespace: u64,
    pub(crate) stream: bool,
    pub(crate) max_tokens: Option<u32>,
    pub(crate) answers: u32,
}

pub(crate) fn key() -> HashKey {
    HashKey::from_bytes([7; 32])
}

pub(crate) fn options(set: impl FnOnce(&mut BodyConfig)) -> BodyOptions {
    let mut options = BodyOptions::default();
    set(&mut options.config);
    options
}

/// Reads a body both ways, which must agree.
pub(crate) fn read_with(options: BodyOptions, body: &str) -> Read {
    let key = key();
    let (mut raw_out, mut value_out) = (vec![0; 1024], vec![0; 1024]);
    let raw = read_body(&key, options, body.as_bytes(), &mut raw_out).unwrap();
    let value: Value = serde_json::from_str(body).unwrap();
    let value = read_value(&key, options, &value, &mut value_out).unwrap();
    assert_eq!(raw, value, "the readers disagree about {body}");
    Read::from(raw)
}

/// Reads a body as it was written: a parsed one loses the order of keys, which counts in a tool's parameters.
pub(crate) fn read_written(options: BodyOptions, body: &str) -> Read {
    let mut out = vec![0; 1024];
    Read::from(read_body(&key(), options, body.as_bytes(), &mut out).unwrap())
}

impl From<BodyFingerprint<'_>> for Read {
    fn from(read: BodyFingerprint<'_>) -> Read {
        Read {
            blocks: read.fingerprint.map_or(Vec::new(), |print| print.blocks().to_vec()),
            total: read.fingerprint.map_or(0, |print| print.total()),
            unit: read.fingerprint.map(|print| print.header().unit),
            no_prefix: read.no_prefix,
            kind: read.kind,
            namespace: read.namespace,
            stream: read.stream,
            max_tokens: read.max_tokens,
            answers: read.answers,
        }
    }
}

pub(crate) fn read(body: &Value) -> Read {
    read_text(&body.to_string())
}

pub(crate) fn read_text(body: &str) -> Read {
    read_with(BodyOptions::default(), body)
}

/// Leading blocks that two prompts have in common; both must have some.
pub(crate) fn shared_blocks(one: &Read, other: &Read) -> usize {
    assert!(!one.blocks.is_empty() && !other.blocks.is_empty());
    one.blocks.iter().zip(&other.blocks).take_while(|(one, other)| one == other).count()
}

/// So many bytes of text.
pub(crate) fn words(seed: &str, bytes: usize) -> String {
    let mut text = String::new();
    for number in 0.. {
        if text.len() >= bytes {
            break;
        }
        text.push_str(&format!("{seed} {number} "));
    }
    text.truncate(bytes);
    text
}

pub(crate) fn message(role: &str, content: impl Into<Value>) -> Value {
    json!({"role": role, "content": content.into()})
}

pub(crate) fn chat(messages: Vec<Value>) -> Value {
    json!({"model": "m", "messages": messages})
}
