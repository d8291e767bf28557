//! From a request's prompt to a fingerprint, its lengths, and the prefix tree that goes with it.
//!
//! - [`estimates`]: what reported usage teaches about lengths.
//! - [`learned`]: what it teaches about the engines' templates.
//! - [`once`]: one request's prompt, read when it is first asked for and never again.

pub(crate) mod estimates;
pub(crate) mod learned;
pub(crate) mod once;

use self::estimates::Estimates;
use self::learned::{Learned, TurnNote};
use crate::body::{BodyFingerprint, BodyOptions, BodyReader, History, read_body, read_value};
use crate::engine::Drained;
use crate::policy::error::ConfigError;
use crate::policy::error::RoutingError;
use crate::prefix::breaks::Note;
use crate::prefix::{
    BlockSize, Digest, Fingerprint, FingerprintError, Fingerprinter, HashKey, PrefixTree,
    Registration, Unit,
};
use crate::request::{Prompt, Request};

/// Bytes of text, or a quarter as many tokens, of which a prompt's beginning is matched at most.
const LONGEST: usize = 4 << 20;

/// Domains of the keyed digests, so that equal bytes with different meanings differ.
const NAMESPACE: u8 = 1;
const URL: u8 = 2;
const ROUTING_KEY: u8 = 3;

/// What reads prompts: key, block size, body options, and the tree that remembers them.
pub(crate) struct PromptReader {
    key: HashKey,
    block: BlockSize,
    body: BodyOptions,
    tree: Option<PrefixTree>,
    estimates: Estimates,
    learned: Learned,
}

/// A prompt's fingerprint, and what its body says besides.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadPrompt<'b> {
    pub(crate) fingerprint: Fingerprint<'b>,
    /// Most tokens that the body allows the answer.
    pub(crate) max_tokens: Option<u32>,
    /// Answers that it asks for.
    pub(crate) answers: u32,
}

impl<'b> ReadPrompt<'b> {
    fn plain(fingerprint: Fingerprint<'b>) -> Self {
        ReadPrompt { fingerprint, max_tokens: None, answers: 1 }
    }

    /// Whether it is a user's turn after an agent's loop.
    pub(crate) fn turn(&self) -> TurnNote {
        TurnNote(self.fingerprint.header().turn)
    }

    /// Tokens that will be generated, where the body tells more of it than that an answer has `usual` tokens.
    pub(crate) fn output_tokens(&self, usual: u32) -> Option<u32> {
        let each = self.max_tokens.map_or(usual, |most| most.min(usual));
        let known = self.max_tokens.is_some() || self.answers > 1;
        known.then(|| each.saturating_mul(self.answers))
    }
}

impl PromptReader {
    /// Without a tree.
    pub(crate) fn new(key: HashKey, body: BodyOptions) -> Self {
        let block = body.block_bytes;
        let (estimates, learned) = (Estimates::default(), Learned::default());
        PromptReader { key, block, body, tree: None, estimates, learned }
    }

    /// With a tree of this many bytes for that many workers.
    pub(crate) fn with_tree(self, budget: usize, workers: usize) -> Result<Self, ConfigError> {
        let tree = PrefixTree::new(budget, workers)
            .map_err(|error| ConfigError::Document(format!("tree.budget_bytes: {error}")))?;
        Ok(PromptReader { tree: Some(tree), ..self })
    }

    pub(crate) fn key(&self) -> &HashKey {
        &self.key
    }

    pub(crate) fn block(&self) -> BlockSize {
        self.block
    }

    pub(crate) fn estimates(&self) -> &Estimates {
        &self.estimates
    }

    /// Blocks of a prompt that are matched, at most.
    fn most_blocks(&self) -> usize {
        LONGEST / self.block.bytes()
    }

    /// Blocks of the request's prompt, as far as its length tells: a body may declare more beside its
    /// text, and the length of a parsed one is not known.
    fn likely_blocks(&self, request: &Request<'_>) -> usize {
        let bytes = match &request.prompt {
            Prompt::Text(bytes) | Prompt::Json(bytes) => bytes.len(),
            Prompt::Tokens(tokens) => size_of_val(*tokens),
            _ => 0,
        };
        bytes / self.block.bytes()
    }

    /// Begins the residency of a worker whose KV cache holds this many tokens.
    pub(crate) fn register(
        &self,
        slot: usize,
        capacity_tokens: Option<u64>,
    ) -> Option<Registration> {
        self.tree.as_ref()?.register(slot as u16, self.capacity_blocks(capacity_tokens))
    }

    /// Changes what a worker's KV cache is believed to hold.
    pub(crate) fn set_capacity(&self, slot: usize, capacity_tokens: Option<u64>) {
        if let Some(tree) = &self.tree {
            tree.set_capacity(slot as u16, self.capacity_blocks(capacity_tokens));
        }
    }

    /// Takes what a worker's events have told of its cache since the last time.
    pub(crate) fn hear(&self, slot: usize, drained: &Drained) {
        let capacity = self.capacity_blocks(drained.capacity_tokens);
        let held = self.capacity_blocks(Some(drained.held_tokens)).unwrap_or(0);
        if let Some(tree) = self.tree.as_ref().filter(|_| drained.is_heard) {
            tree.evicted(slot as u16, drained.removed_blocks, capacity, held);
        }
    }

    /// Tokens that a block of a worker's capacity stands for: see [`PromptReader::capacity_blocks`].
    pub(crate) fn tokens_of_a_block(&self) -> u64 {
        self.block.bytes() as u64 / 4
    }

    /// A token counts four bytes, in text as in tokens.
    fn capacity_blocks(&self, tokens: Option<u64>) -> Option<u64> {
        tokens.map(|tokens| tokens.saturating_mul(4) / self.block.bytes() as u64)
    }

    /// Ends the residency of a worker.
    pub(crate) fn unregister(&self, slot: usize) {
        if let Some(tree) = &self.tree {
            tree.unregister(slot as u16);
        }
    }

    /// A keyed digest, equal in routers that share the key.
    fn digest(&self, domain: u8, bytes: &[u8]) -> u64 {
        let mut digest = Digest::new(&self.key, domain);
        digest.push(bytes);
        digest.finish()
    }

    pub(crate) fn namespace_digest(&self, namespace: &str) -> u64 {
        self.digest(NAMESPACE, namespace.as_bytes())
    }

    pub(crate) fn url_digest(&self, url: &str) -> u64 {
        self.digest(URL, url.as_bytes())
    }

    pub(crate) fn routing_key_digest(&self, key: &[u8]) -> u64 {
        self.digest(ROUTING_KEY, key)
    }

    fn namespace_of(&self, request: &Request<'_>) -> u64 {
        request.namespace.map_or(0, |namespace| self.namespace_digest(namespace))
    }

    /// The options for a body in this namespace; without one, the body's own fields form it.
    pub(crate) fn body_options(&self, namespace: Option<&str>) -> BodyOptions {
        let namespace = namespace.map(|text| self.namespace_digest(text));
        let mut options = BodyOptions { namespace, ..self.body };
        options.config.profile.history = self.history();
        options
    }

    /// What of a conversation the engines keep: as configured, or as learned so far.
    fn history(&self) -> History {
        let profile = &self.body.config.profile;
        if profile.is_auto() { self.learned.history() } else { profile.history }
    }

    /// What is learned of it, where the profile says so.
    pub(crate) fn learned(&self) -> Option<&Learned> {
        Some(&self.learned).filter(|_| self.body.config.profile.is_auto())
    }

    /// The prompt's length in tokens, without reading it; 0 if that is unknown.
    #[inline(always)]
    pub(crate) fn estimated_tokens(&self, request: &Request<'_>) -> u32 {
        // First, as this is the usual one.
        if let Prompt::Text(bytes) | Prompt::Json(bytes) = &request.prompt {
            return self.estimates.tokens(bytes.len() as u64);
        }
        match &request.prompt {
            Prompt::Tokens(tokens) => clamp(tokens.len() as u64),
            Prompt::Fingerprint(fingerprint) => self.tokens_of(fingerprint),
            // The length of a parsed body is not known without reading it.
            _ => 0,
        }
    }

    /// The length of a fingerprint's prompt in tokens.
    pub(crate) fn tokens_of(&self, fingerprint: &Fingerprint<'_>) -> u32 {
        match fingerprint.header().unit {
            Unit::Tokens => clamp(fingerprint.total()),
            Unit::Text => self.estimates.tokens(fingerprint.total()),
        }
    }

    /// The worker in this slot says that it held so many tokens of a prompt before it was sent it. Of text,
    /// tokens are told in blocks by the length that the worker gives the whole; without that they are not.
    pub(crate) fn correct(
        &self,
        slot: u16,
        note: &Note,
        cached: u32,
        (bytes, tokens): (u32, Option<u32>),
    ) {
        let Some(tree) = &self.tree else { return };
        let cached = u64::from(cached);
        let blocks = match (bytes, tokens) {
            (0, _) => cached / self.block.units(Unit::Tokens) as u64,
            (bytes, Some(tokens)) if tokens > 0 => {
                cached * u64::from(bytes) / u64::from(tokens) / self.block.bytes() as u64
            }
            _ => return,
        };
        tree.report(slot, note, clamp(blocks));
    }

    /// The worker in this slot has answered the prompt of this note by so many tokens, which the next turn brings
    /// again, where the profile keeps them.
    pub(crate) fn answered(
        &self,
        slot: u16,
        note: &Note,
        tokens: u32,
        (bytes, prompt_tokens): (u32, Option<u32>),
    ) {
        let Some(tree) = &self.tree else { return };
        // The last token is sampled, but not computed.
        let tokens = u64::from(tokens.saturating_sub(1));
        let blocks = match (bytes, prompt_tokens) {
            (0, _) => tokens / self.block.units(Unit::Tokens) as u64,
            _ if self.history() != History::Keep => 0,
            (bytes, Some(of)) if of > 0 => {
                tokens * u64::from(bytes) / u64::from(of) / self.block.bytes() as u64
            }
            _ => (tokens as f32 / self.tokens_per_block(Unit::Text)) as u64,
        };
        tree.answered(slot, note, blocks);
    }

    /// The tree, if there is one.
    #[inline]
    pub(crate) fn tree(&self) -> Option<&PrefixTree> {
        self.tree.as_ref()
    }

    /// Tokens to a block: exact for token prompts, estimated for text.
    pub(crate) fn tokens_per_block(&self, unit: Unit) -> f32 {
        match unit {
            Unit::Tokens => self.block.units(Unit::Tokens) as f32,
            Unit::Text => self.block.bytes() as f32 / self.estimates.bytes_per_token(),
        }
    }

    /// Reads the prompt; block hashes go to `buffer`, as many as it holds.
    pub(crate) fn read<'b>(
        &self,
        request: &Request<'_>,
        buffer: &'b mut [u64],
    ) -> Result<ReadPrompt<'b>, RoutingError> {
        let print = |unit, buffer, push: &dyn Fn(&mut Fingerprinter<'_, '_>)| {
            let mut printer = Fingerprinter::new(&self.key, unit, self.block, buffer);
            push(&mut printer);
            ReadPrompt::plain(printer.finish(self.namespace_of(request), 0))
        };
        Ok(match &request.prompt {
            Prompt::None => print(Unit::Text, buffer, &|_| {}),
            Prompt::Text(text) => print(Unit::Text, buffer, &|printer| printer.push(text)),
            Prompt::Tokens(tokens) => {
                print(Unit::Tokens, buffer, &|printer| printer.push_tokens(tokens))
            }
            Prompt::Json(body) => {
                let options = self.body_options(request.namespace);
                self.of_body(read_body(&self.key, options, body, buffer)?)
            }
            Prompt::Value(body) => {
                let options = self.body_options(request.namespace);
                self.of_body(read_value(&self.key, options, body, buffer)?)
            }
            Prompt::Fingerprint(given) => ReadPrompt::plain(self.copy(given, request, buffer)?),
        })
    }

    /// A reader of a body that comes in chunks.
    pub(crate) fn body_reader<'r, 'b>(
        &'r self,
        namespace: Option<&str>,
        buffer: &'b mut [u64],
    ) -> BodyReader<'r, 'b> {
        BodyReader::new(&self.key, self.body_options(namespace), buffer)
    }

    /// A body without a prompt that can be read has an empty fingerprint.
    fn of_body<'b>(&self, body: BodyFingerprint<'b>) -> ReadPrompt<'b> {
        let empty = || Fingerprinter::new(&self.key, Unit::Text, self.block, &mut []).finish(0, 0);
        let fingerprint = body.fingerprint.unwrap_or_else(empty);
        ReadPrompt { fingerprint, max_tokens: body.max_tokens, answers: body.answers }
    }

    fn copy<'b>(
        &self,
        given: &Fingerprint<'_>,
        request: &Request<'_>,
        buffer: &'b mut [u64],
    ) -> Result<Fingerprint<'b>, FingerprintError> {
        self.check(given, request)?;
        let kept = given.blocks().len().min(buffer.len());
        let (buffer, blocks) = (&mut buffer[..kept], &given.blocks()[..kept]);
        buffer.copy_from_slice(blocks);
        let mut header = *given.header();
        header.blocks = kept as u32;
        Fingerprint::from_parts(header, buffer)
    }

    /// A fingerprint must come from this key and block size, and, where the request names a
    /// namespace, from that.
    fn check(
        &self,
        given: &Fingerprint<'_>,
        request: &Request<'_>,
    ) -> Result<(), FingerprintError> {
        let namespace = match request.namespace {
            Some(_) => self.namespace_of(request),
            None => given.header().namespace,
        };
        given.check(&self.key, self.block, namespace)
    }
}

/// As many as a `u32` holds.
pub(crate) fn clamp(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
