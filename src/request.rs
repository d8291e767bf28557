//! What a host asks: a prompt in any form, and what the request demands of a worker.

use crate::prefix::Fingerprint;
use crate::worker::WorkerId;

/// The prompt, in the form that the host has it in.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
// Its kind in a byte of its own: in the fingerprint's unit, it would cost each request five instructions.
#[repr(u8)]
pub enum Prompt<'a> {
    /// None, or none that can be read: routed without a prefix.
    #[default]
    None,
    /// Text, or any bytes; UTF-8 is not required.
    Text(&'a [u8]),
    /// Token ids.
    Tokens(&'a [u32]),
    /// A JSON request body as it came from the client: OpenAI chat, completions and responses, SGLang
    /// generate. Read only by policies that want the prefix; so a malformed body is an error under
    /// those, and passes unread under others.
    Json(&'a [u8]),
    /// The same, parsed by the host.
    Value(&'a serde_json::Value),
    /// The chained block hashes, computed earlier by the same router or one with the same key.
    Fingerprint(Fingerprint<'a>),
}

/// One request to be routed: borrowed, built on the stack, nothing is copied.
///
/// ```
/// use pointsman::Request;
/// let request = Request::text("You are a helpful assistant.").routing_key("session-17");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub(crate) prompt: Prompt<'a>,
    pub(crate) namespace: Option<&'a str>,
    pub(crate) routing_key: Option<&'a [u8]>,
    pub(crate) excluded: &'a [WorkerId],
    pub(crate) allowed: Option<&'a [WorkerId]>,
    pub(crate) allowed_words: Option<&'a [u64]>,
    pub(crate) labels: &'a [(&'a str, &'a str)],
    pub(crate) expected_output_tokens: Option<u32>,
    /// Whether the request rules any worker out.
    pub(crate) selective: bool,
}

impl<'a> Request<'a> {
    /// A request with this prompt.
    pub fn new(prompt: Prompt<'a>) -> Self {
        Request { prompt, ..Request::none() }
    }

    /// A request whose prompt is unknown or unreadable.
    pub const fn none() -> Self {
        Request {
            prompt: Prompt::None,
            namespace: None,
            routing_key: None,
            excluded: &[],
            allowed: None,
            allowed_words: None,
            labels: &[],
            expected_output_tokens: None,
            selective: false,
        }
    }

    /// A request whose prompt is this text: all of it, as the engine will see it.
    pub fn text(text: &'a str) -> Self {
        Self::new(Prompt::Text(text.as_bytes()))
    }

    /// A request whose prompt is these bytes.
    pub fn bytes(bytes: &'a [u8]) -> Self {
        Self::new(Prompt::Text(bytes))
    }

    /// A request whose prompt is these token ids.
    pub fn tokens(tokens: &'a [u32]) -> Self {
        Self::new(Prompt::Tokens(tokens))
    }

    /// A request whose prompt is in this JSON body. The body's `model`, `lora_path`, `cache_salt` and
    /// `extra_key` form the namespace unless [`Request::namespace`] sets one.
    pub fn json(body: &'a [u8]) -> Self {
        Self::new(Prompt::Json(body))
    }

    /// As [`Request::json`], for a body that the host has parsed.
    pub fn value(body: &'a serde_json::Value) -> Self {
        Self::new(Prompt::Value(body))
    }

    /// A request whose prompt was fingerprinted before.
    pub fn fingerprint(fingerprint: Fingerprint<'a>) -> Self {
        Self::new(Prompt::Fingerprint(fingerprint))
    }

    /// Requests share prefixes within a namespace only: model, LoRA and cache salt, as the host
    /// spells them.
    pub fn namespace(mut self, namespace: &'a str) -> Self {
        self.namespace = Some(namespace);
        self
    }

    /// What the request belongs to, for example a session: where no prefix says otherwise,
    /// cache-aware policies send equal keys to the same worker while that is not overloaded.
    pub fn routing_key(mut self, key: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        self.routing_key = Some(key.as_ref());
        self
    }

    /// Workers that must not be chosen, for example those that failed before a retry:
    ///
    /// ```
    /// # use pointsman::{Outcome, Request, Router, RouterConfig, Usage, WorkerSpec};
    /// # let router = Router::new(RouterConfig::default())?;
    /// # router.add_worker(WorkerSpec::new("http://10.0.0.7:8000"))?;
    /// # router.add_worker(WorkerSpec::new("http://10.0.0.8:8000"))?;
    /// let first = router.select(&Request::text("Why?"))?;
    /// let failed = [first.worker()];
    /// first.complete(Outcome::WorkerError, Usage::default())?;
    /// let second = router.select(&Request::text("Why?").exclude(&failed))?;
    /// assert_ne!(second.worker(), failed[0]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn exclude(mut self, workers: &'a [WorkerId]) -> Self {
        self.excluded = workers;
        self.selective |= !workers.is_empty();
        self
    }

    /// The only workers that may be chosen.
    pub fn allow(mut self, workers: &'a [WorkerId]) -> Self {
        self.allowed = Some(workers);
        self.selective = true;
        self
    }

    /// The only slots that may be chosen, as bits, lowest slots first.
    pub fn allow_slots(mut self, words: &'a [u64]) -> Self {
        self.allowed_words = Some(words);
        self.selective = true;
        self
    }

    /// Labels that the worker must carry, all of them.
    pub fn labels(mut self, labels: &'a [(&'a str, &'a str)]) -> Self {
        self.labels = labels;
        self.selective |= !labels.is_empty();
        self
    }

    /// Tokens that the answer is expected to have: they count as load of the decode worker, and as KV
    /// space of a worker whose capacity is known. Where a request does not say, the mean of the
    /// answers that usage reported takes its place, 256 before the first.
    pub fn expected_output_tokens(mut self, tokens: u32) -> Self {
        self.expected_output_tokens = Some(tokens);
        self
    }
}

impl Default for Request<'_> {
    fn default() -> Self {
        Self::none()
    }
}
