//! What has been found out about a body besides its prompt.

use super::config::BodyOptions;
use super::digest::{Digester, Domain};
use super::fields::{Field, PromptField};
use super::fingerprint::{BodyFingerprint, BodyKind, NoPrefix};
use super::hasher::PromptHasher;

/// An unordered set of digested fields.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FieldSet {
    /// Sum of the fields' digests.
    pub(super) sum: u64,
    /// Number of fields.
    pub(super) count: u32,
    /// Bytes that they stand for in the prompt.
    pub(super) weight: u64,
    /// In a content part: the kinds of media in it, one bit each.
    pub(super) media: u8,
    /// In a content part: whether its text was seen.
    pub(super) text_seen: bool,
}

impl FieldSet {
    pub(super) fn add(&mut self, entry: u64, weight: u64) {
        self.sum = self.sum.wrapping_add(entry);
        self.count = self.count.saturating_add(1);
        self.weight = self.weight.saturating_add(weight);
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Facts {
    /// The field that holds the prompt.
    pub(super) prompt_field: Option<PromptField>,
    /// Whether the engine puts the prompt through a chat template.
    pub(super) templated: bool,
    /// Prompts of a batch so far.
    pub(super) elements: u32,
    /// Whether what follows in the prompt array does not count.
    pub(super) rest_ignored: bool,
    pub(super) shaping: FieldSet,
    pub(super) namespace: FieldSet,
    pub(super) stream: bool,
    max_tokens: Option<u32>,
    old_max_tokens: Option<u32>,
    no_prefix: Option<NoPrefix>,
}

impl Facts {
    /// Takes `field` as the one field that holds the prompt; false if there was one already.
    pub(super) fn claim(&mut self, field: PromptField) -> bool {
        self.prompt_field.replace(field).is_none()
    }

    /// Notes why there will be no fingerprint. Of several reasons the first in the order of
    /// [`NoPrefix`] stays, because the order of keys must not decide.
    pub(super) fn no_prefix(&mut self, reason: NoPrefix) {
        self.no_prefix = Some(self.no_prefix.map_or(reason, |known| known.min(reason)));
    }

    pub(super) fn max_tokens(&mut self, field: Field, tokens: u64) {
        let tokens = Some(u32::try_from(tokens).unwrap_or(u32::MAX));
        match field {
            Field::OldMaxTokens => self.old_max_tokens = tokens,
            Field::MaxTokens => self.max_tokens = tokens,
            _ => {}
        }
    }

    pub(super) fn finish<'b>(
        &self,
        digester: Digester<'_>,
        options: &BodyOptions,
        prompt: &mut PromptHasher<'_, 'b>,
    ) -> BodyFingerprint<'b> {
        let namespace = options.namespace.unwrap_or_else(|| self.namespace_digest(digester));
        let fingerprint = match self.no_prefix {
            Some(_) => None,
            None => prompt.finish(self.shaping.weight, namespace, self.shaping_digest(digester)),
        };
        let absent = match self.prompt_field {
            None => NoPrefix::NoPrompt,
            Some(_) => NoPrefix::EmptyPrompt,
        };
        let no_prefix = self.no_prefix.or(fingerprint.is_none().then_some(absent));
        let field = self.prompt_field.filter(|_| no_prefix != Some(NoPrefix::SeveralPrompts));
        BodyFingerprint {
            fingerprint,
            no_prefix,
            kind: field.map_or(BodyKind::Unknown, BodyKind::from),
            namespace,
            stream: self.stream,
            max_tokens: self.max_tokens.or(self.old_max_tokens),
        }
    }

    fn namespace_digest(&self, digester: Digester<'_>) -> u64 {
        match self.namespace.count {
            0 => 0,
            // 0 says that there is none.
            _ => digester.pair(Domain::Namespace, self.namespace.sum, 0).max(1),
        }
    }

    /// 0 for a bare prompt, so that it equals the same prompt given as text or tokens.
    fn shaping_digest(&self, digester: Digester<'_>) -> u64 {
        if self.shaping.count == 0 && !self.templated {
            return 0;
        }
        digester.pair(Domain::Seed, self.shaping.sum, self.templated.into())
    }
}
