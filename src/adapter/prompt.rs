//! From a request's `Value` to a fingerprint, and the prefix tree that goes with it.

use serde_json::Value;

use super::options::AdapterOptions;
use crate::error::ConfigError;
use crate::policy::prefix_query::PrefixQuery;
use crate::pool::{MAX_WORKERS, snapshot::PoolSnapshot};
use crate::prefix::{
    BlockSize, Digest, Fingerprint, Fingerprinter, HashKey, PrefixTree, Registration, Unit,
};
use crate::router::URL;

/// Leading blocks that a request is fingerprinted to at most: 512 KiB of text.
const MAX_BLOCKS: usize = 4096;
/// Bytes of prompt text to a token. No usage is reported here to learn it from.
const BYTES_PER_TOKEN: f32 = 4.0;

/// The key, and what only policies need that want prefixes.
pub(super) struct Prompts {
    key: HashKey,
    block: BlockSize,
    tree: Option<PrefixTree>,
}

impl Prompts {
    /// With a tree, if prefixes are wanted.
    pub(super) fn new(options: &AdapterOptions, wanted: bool) -> Result<Self, ConfigError> {
        let tree = &options.tree;
        let of_tree =
            |error: &dyn std::fmt::Display| ConfigError::Document(format!("tree: {error}"));
        let block = BlockSize::new(tree.block_bytes.into()).map_err(|error| of_tree(&error))?;
        let key = tree.key_bytes()?.map_or_else(HashKey::random, HashKey::from_bytes);
        let tree = wanted.then(|| PrefixTree::new(tree.budget_bytes, MAX_WORKERS)).transpose();
        Ok(Prompts { key, block, tree: tree.map_err(|error| of_tree(&error))? })
    }

    /// With the options' defaults, which every tree accepts.
    pub(super) fn with_defaults(wanted: bool) -> Self {
        let budget = AdapterOptions::default().tree.budget_bytes;
        let tree = if wanted { PrefixTree::new(budget, MAX_WORKERS).ok() } else { None };
        Prompts { key: HashKey::random(), block: BlockSize::DEFAULT, tree }
    }

    /// Hands the request's fingerprint to `read`, if it has one and anybody wants it. Each byte of the
    /// prompt is read once; the hashes lie on the stack.
    pub(super) fn read<T>(
        &self,
        body: &Value,
        read: impl FnOnce(Option<Fingerprint<'_>>) -> T,
    ) -> T {
        if self.tree.is_none() {
            return read(None);
        }
        let mut window = [0; MAX_BLOCKS];
        read(self.fingerprint(body, &mut window))
    }

    fn fingerprint<'b>(&self, body: &Value, window: &'b mut [u64]) -> Option<Fingerprint<'b>> {
        let text = body.get("text").or_else(|| body.get("prompt"))?.as_str()?;
        let mut printer = Fingerprinter::new(&self.key, Unit::Text, self.block, window);
        printer.push(text.as_bytes());
        Some(printer.finish(0, 0))
    }

    /// The question that a policy may ask about the fingerprint.
    pub(super) fn query<'a>(
        &'a self,
        pool: &'a PoolSnapshot,
        fingerprint: Option<Fingerprint<'a>>,
    ) -> Option<PrefixQuery<'a>> {
        let fingerprint = fingerprint?;
        let unit = fingerprint.header().unit;
        let per_block = self.block.bytes() as f32 / bytes_per_token(unit);
        Some(PrefixQuery::new(self.tree.as_ref()?, pool, fingerprint, per_block))
    }

    /// Length of the prompt in tokens; 0 if unknown.
    pub(super) fn tokens(fingerprint: Option<&Fingerprint<'_>>) -> u32 {
        fingerprint.map_or(0, |fingerprint| {
            let unit = fingerprint.header().unit;
            let bytes = fingerprint.total() as f32 * unit.bytes() as f32;
            (bytes / bytes_per_token(unit)) as u32
        })
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

fn bytes_per_token(unit: Unit) -> f32 {
    match unit {
        Unit::Text => BYTES_PER_TOKEN,
        Unit::Tokens => Unit::Tokens.bytes() as f32,
    }
}
