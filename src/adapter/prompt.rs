//! From a request's `Value` to a fingerprint, and the prefix tree that goes with it.

use serde_json::Value;

use super::options::AdapterOptions;
use crate::body::{BodyOptions, read_value};
use crate::error::{ConfigError, RoutingError};
use crate::policy::prefix_query::PrefixQuery;
use crate::pool::{MAX_WORKERS, snapshot::PoolSnapshot};
use crate::prefix::{
    BlockSize, Digest, Fingerprint, Fingerprinter, HashKey, PrefixTree, Registration, Unit,
};
use crate::router::{DEFAULT_OUTPUT_TOKENS, URL};

/// Leading blocks that a request is fingerprinted to at most: 512 KiB of text.
const MAX_BLOCKS: usize = 4096;
/// Bytes of prompt text to a token. No usage is reported here to learn it from.
const BYTES_PER_TOKEN: f32 = 4.0;

/// The key, and what only policies need that want prefixes.
pub(super) struct Prompts {
    key: HashKey,
    options: BodyOptions,
    tree: Option<PrefixTree>,
}

/// What was read of one request.
#[derive(Clone, Copy)]
pub(super) struct Printed<'a> {
    /// Only for policies that want prefixes. Empty where the body holds no prompt that can be read.
    fingerprint: Option<Fingerprint<'a>>,
    /// Tokens that the answer is expected to have.
    pub(super) output_tokens: u32,
}

impl Prompts {
    /// With a tree, if prefixes are wanted.
    pub(super) fn new(options: &AdapterOptions, wanted: bool) -> Result<Self, ConfigError> {
        let tree = &options.tree;
        let invalid = |error: String| ConfigError::Document(format!("tree: {error}"));
        let block = BlockSize::new(tree.block_bytes.into());
        let block = block.map_err(|error| invalid(error.to_string()))?;
        let key = tree.key_bytes()?.map_or_else(HashKey::random, HashKey::from_bytes);
        let tree = wanted.then(|| PrefixTree::new(tree.budget_bytes, MAX_WORKERS)).transpose();
        let tree = tree.map_err(|error| invalid(error.to_string()))?;
        Ok(Prompts { key, options: options.body.options(block), tree })
    }

    /// With the options' defaults, which every tree accepts.
    pub(super) fn with_defaults(wanted: bool) -> Self {
        let AdapterOptions { tree, body, .. } = AdapterOptions::default();
        let tree = if wanted { PrefixTree::new(tree.budget_bytes, MAX_WORKERS).ok() } else { None };
        Prompts { key: HashKey::random(), options: body.options(BlockSize::DEFAULT), tree }
    }

    /// Hands the request's fingerprint to `then`, if anybody wants it. Each byte of the prompt is read
    /// once; the hashes lie on the stack.
    pub(super) fn read<T>(
        &self,
        body: &Value,
        then: impl FnOnce(Printed<'_>) -> Result<T, RoutingError>,
    ) -> Result<T, RoutingError> {
        if self.tree.is_none() {
            return then(Printed { fingerprint: None, output_tokens: DEFAULT_OUTPUT_TOKENS });
        }
        let mut window = [0; MAX_BLOCKS];
        let body = read_value(&self.key, self.options, body, &mut window)?;
        let block = self.options.block_bytes;
        let empty = || Fingerprinter::new(&self.key, Unit::Text, block, &mut []).finish(0, 0);
        then(Printed {
            fingerprint: Some(body.fingerprint.unwrap_or_else(empty)),
            output_tokens: body
                .max_tokens
                .map_or(DEFAULT_OUTPUT_TOKENS, |most| most.min(DEFAULT_OUTPUT_TOKENS)),
        })
    }

    /// The question that a policy may ask about the fingerprint.
    pub(super) fn query<'a>(
        &'a self,
        pool: &'a PoolSnapshot,
        printed: &Printed<'a>,
    ) -> Option<PrefixQuery<'a>> {
        let fingerprint = printed.fingerprint?;
        let per_token = bytes_per_token(fingerprint.header().unit);
        let per_block = self.options.block_bytes.bytes() as f32 / per_token;
        Some(PrefixQuery::new(self.tree.as_ref()?, pool, fingerprint, per_block))
    }

    pub(super) fn url_digest(&self, url: &str) -> u64 {
        let mut digest = Digest::new(&self.key, URL);
        digest.push(url.as_bytes());
        digest.finish()
    }

    pub(super) fn register(&self, slot: usize) -> Option<Registration> {
        self.tree.as_ref()?.register(slot as u16, None)
    }

    pub(super) fn unregister(&self, slot: usize) {
        if let Some(tree) = &self.tree {
            tree.unregister(slot as u16);
        }
    }
}

impl Printed<'_> {
    /// Length of the prompt in tokens; 0 if unknown.
    pub(super) fn prompt_tokens(&self) -> u32 {
        let Some(fingerprint) = &self.fingerprint else { return 0 };
        let unit = fingerprint.header().unit;
        (fingerprint.total() as f32 * unit.bytes() as f32 / bytes_per_token(unit)) as u32
    }
}

fn bytes_per_token(unit: Unit) -> f32 {
    match unit {
        Unit::Text => BYTES_PER_TOKEN,
        Unit::Tokens => Unit::Tokens.bytes() as f32,
    }
}
