//! What a request says about its prompt, as an extension.

use std::fmt;
use std::sync::Arc;

use crate::prefix::{Fingerprint, FingerprintHeader};
use crate::request::Request;
use crate::worker::WorkerId;

/// What the router is to know of a request's prompt. The layer that has read the body puts it into the
/// extensions of the `http::Request`. A request without a hint, or with one that cannot be read, is
/// routed without a prefix.
///
/// Cheap to clone. To compute it from the request, put a `map_request` layer before the service.
#[derive(Clone, Default)]
pub struct PromptHint {
    prompt: OwnedPrompt,
    namespace: Option<Arc<str>>,
    routing_key: Option<Arc<[u8]>>,
    excluded: Arc<[WorkerId]>,
}

#[derive(Clone, Default)]
enum OwnedPrompt {
    #[default]
    None,
    Text(Arc<[u8]>),
    Tokens(Arc<[u32]>),
    Json(Arc<[u8]>),
    Fingerprint(FingerprintHeader, Arc<[u64]>),
}

impl PromptHint {
    /// Nothing is known of the prompt.
    pub fn none() -> Self {
        Self::default()
    }

    /// The prompt is this text.
    pub fn text(text: impl Into<Arc<[u8]>>) -> Self {
        Self::of(OwnedPrompt::Text(text.into()))
    }

    /// The prompt is these tokens.
    pub fn tokens(tokens: impl Into<Arc<[u32]>>) -> Self {
        Self::of(OwnedPrompt::Tokens(tokens.into()))
    }

    /// The prompt is in this JSON body.
    pub fn json(body: impl Into<Arc<[u8]>>) -> Self {
        Self::of(OwnedPrompt::Json(body.into()))
    }

    /// The prompt has this fingerprint.
    pub fn fingerprint(fingerprint: &Fingerprint<'_>) -> Self {
        Self::of(OwnedPrompt::Fingerprint(*fingerprint.header(), fingerprint.blocks().into()))
    }

    /// Requests share prefixes within a namespace only.
    pub fn namespace(mut self, namespace: impl Into<Arc<str>>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }

    /// What the request belongs to, for example a session.
    pub fn routing_key(mut self, key: impl Into<Arc<[u8]>>) -> Self {
        self.routing_key = Some(key.into());
        self
    }

    /// Workers that must not be chosen: those that have failed, on a retry.
    pub fn exclude(mut self, workers: impl Into<Arc<[WorkerId]>>) -> Self {
        self.excluded = workers.into();
        self
    }

    fn of(prompt: OwnedPrompt) -> Self {
        PromptHint { prompt, ..Self::default() }
    }

    pub(super) fn request(&self) -> Request<'_> {
        let prompt = match &self.prompt {
            OwnedPrompt::None => Request::none(),
            OwnedPrompt::Text(text) => Request::bytes(text),
            OwnedPrompt::Tokens(tokens) => Request::tokens(tokens),
            OwnedPrompt::Json(body) => Request::json(body),
            // The parts come from a fingerprint, so they fit together.
            OwnedPrompt::Fingerprint(header, blocks) => Fingerprint::from_parts(*header, blocks)
                .map_or(Request::none(), Request::fingerprint),
        };
        self.complete(prompt)
    }

    /// The request without its prompt.
    pub(super) fn without_prompt(&self) -> Request<'_> {
        self.complete(Request::none())
    }

    fn complete<'a>(&'a self, mut request: Request<'a>) -> Request<'a> {
        if let Some(namespace) = &self.namespace {
            request = request.namespace(namespace);
        }
        if let Some(key) = &self.routing_key {
            request = request.routing_key(&**key);
        }
        request.exclude(&self.excluded)
    }
}

impl fmt::Debug for PromptHint {
    /// Lengths only: prompts are long, and not for logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, length) = match &self.prompt {
            OwnedPrompt::None => ("none", 0),
            OwnedPrompt::Text(text) => ("text", text.len()),
            OwnedPrompt::Tokens(tokens) => ("tokens", tokens.len()),
            OwnedPrompt::Json(body) => ("json", body.len()),
            OwnedPrompt::Fingerprint(_, blocks) => ("fingerprint", blocks.len()),
        };
        f.debug_struct("PromptHint")
            .field(kind, &length)
            .field("namespace", &self.namespace)
            .field("routing_key", &self.routing_key.is_some())
            .field("excluded", &self.excluded)
            .finish()
    }
}
