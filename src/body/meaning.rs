//! What the values of a body are for.
//!
//! A few scopes have a meaning (see [`Scope`]); every other value is opaque: digested by
//! [`CanonicalDigest`] if it counts, skipped if not.

use super::canonical::CanonicalDigest;
use super::config::BodyOptions;
use super::digest::{Digester, Domain};
use super::facts::{Facts, FieldSet};
use super::fields::Field;
use super::fingerprint::BodyFingerprint;
use super::hasher::{MESSAGE_SEPARATOR, PART_SEPARATOR, PromptHasher};
use super::scope::{Action, Scope};
use super::string::StringBuffer;
use crate::json::MAX_SHORT;
use crate::prefix::HashKey;

/// What was read so far, and where in the body the next value stands.
pub(super) struct Meaning<'k, 'b> {
    pub(super) digester: Digester<'k>,
    pub(super) options: BodyOptions,
    pub(super) scope: Scope,
    /// What the current key of the innermost scope stands for.
    pub(super) field: Field,
    /// Digest of that key, once it is asked for.
    pub(super) label: Option<u64>,
    /// Open containers inside a skipped value.
    pub(super) skipping: usize,
    pub(super) opaque: CanonicalDigest<'k>,
    pub(super) name: StringBuffer<'k>,
    /// The digested string under way.
    pub(super) value: StringBuffer<'k>,
    /// What the string under way is used for.
    pub(super) text: Action,
    /// Bytes and strings digested since the last complete field.
    pub(super) weight: u64,
    pub(super) strings: u64,
    pub(super) message: FieldSet,
    /// Whether the message's content was seen.
    pub(super) content_seen: bool,
    /// Content parts so far.
    pub(super) parts: usize,
    pub(super) part: FieldSet,
    pub(super) prompt: PromptHasher<'k, 'b>,
    pub(super) facts: Facts,
}

impl<'k, 'b> Meaning<'k, 'b> {
    pub(super) fn new(key: &'k HashKey, options: BodyOptions, out: &'b mut [u64]) -> Self {
        let digester = Digester(key);
        Meaning {
            digester,
            options,
            scope: Scope::Root,
            field: Field::Ignored,
            label: None,
            skipping: 0,
            opaque: CanonicalDigest::new(digester),
            name: StringBuffer::new(Domain::Name),
            value: StringBuffer::new(Domain::Text),
            text: Action::Skip,
            weight: 0,
            strings: 0,
            message: FieldSet::default(),
            content_seen: false,
            parts: 0,
            part: FieldSet::default(),
            prompt: PromptHasher::new(key, options.block_bytes, out),
            facts: Facts::default(),
        }
    }

    /// The result. Nothing may follow.
    pub(super) fn finish(&mut self) -> BodyFingerprint<'b> {
        self.facts.finish(self.digester, &self.options, &mut self.prompt)
    }

    pub(super) fn enter(&mut self, scope: Scope) {
        match scope {
            Scope::Message => {
                self.message = FieldSet::default();
                self.content_seen = false;
            }
            Scope::Parts => self.parts = 0,
            Scope::Part => self.part = FieldSet::default(),
            Scope::Tokens => self.separate(),
            Scope::Root | Scope::Top | Scope::Prompt | Scope::Sampling => {}
        }
        self.scope = scope;
    }

    pub(super) fn leave(&mut self) {
        self.scope = match self.scope {
            Scope::Root | Scope::Top => Scope::Root,
            Scope::Prompt | Scope::Sampling => Scope::Top,
            Scope::Tokens => Scope::Prompt,
            Scope::Message => {
                self.end_message();
                Scope::Prompt
            }
            Scope::Parts => Scope::Message,
            Scope::Part => {
                self.end_part();
                Scope::Parts
            }
        };
    }

    /// Separates from an earlier element of the prompt array.
    pub(super) fn separate(&mut self) {
        if self.facts.elements > 0 {
            self.prompt.batch_separator();
        }
        self.facts.elements += 1;
    }

    fn end_message(&mut self) {
        self.prompt.record(MESSAGE_SEPARATOR, self.message.sum, self.message.weight);
        self.facts.rest_ignored = self.options.config.first_message_only;
    }

    /// A part that is only text leaves no record, so that it equals a plain string.
    fn end_part(&mut self) {
        if self.part.count == 0 {
            return;
        }
        let media = self.options.config.media_bytes(self.part.media);
        self.prompt.record(PART_SEPARATOR, self.part.sum, self.part.weight + media);
    }

    pub(super) fn label(&mut self) -> u64 {
        *self.label.get_or_insert_with(|| self.name.digest(self.digester))
    }

    /// Takes the digest of a complete value that has a meaning where it stands.
    pub(super) fn deliver(&mut self, digest: u64) {
        if self.scope == Scope::Parts {
            self.prompt.record(PART_SEPARATOR, digest, self.weight);
        } else {
            let entry = self.digester.pair(Domain::Entry, self.label(), digest);
            self.deliver_entry(entry);
        }
    }

    /// Takes the digest of a complete field.
    fn deliver_entry(&mut self, entry: u64) {
        let (weight, strings) = (self.weight, self.strings);
        match (self.scope, self.field) {
            (Scope::Top, Field::Namespace) => self.facts.namespace.add(entry, 0),
            (Scope::Top, Field::Media(media)) => {
                let each = self.options.config.media_bytes(1 << media as u8);
                self.facts.shaping.add(entry, strings.saturating_mul(each));
            }
            (Scope::Top, Field::Rendered) => self.facts.shaping.add(entry, weight),
            (Scope::Top, _) => self.facts.shaping.add(entry, 0),
            (Scope::Message, _) => self.message.add(entry, weight),
            (Scope::Part, Field::Media(_)) => self.part.add(entry, 0),
            (Scope::Part, _) => self.part.add(entry, weight),
            _ => {}
        }
    }

    /// Adds a complete digest to the opaque value under way, or delivers it if that is all of it.
    pub(super) fn add(&mut self, digest: u64) {
        if let Some(whole) = self.opaque.add(digest) {
            self.deliver(whole);
        }
    }

    /// Adds the digested string that has just ended.
    pub(super) fn end_digested(&mut self) {
        if !self.opaque.is_open() {
            let field = StringBuffer::tiny_field(&self.name, &self.value, self.digester);
            if let Some(entry) = field {
                return self.deliver_entry(entry);
            }
        }
        let digest = self.value.digest(self.digester);
        self.add(digest);
    }

    /// The record that a string in place of an array of messages ends with: that of a message
    /// with this content and the role `user`, which is how engines read it.
    pub(super) fn end_only_message(&mut self) {
        self.message = FieldSet::default();
        let mut block = [0; MAX_SHORT];
        block[..4].copy_from_slice(b"role");
        self.name.set(&block, 4);
        block[..4].copy_from_slice(b"user");
        self.value.set(&block, 4);
        let field = StringBuffer::tiny_field(&self.name, &self.value, self.digester);
        self.message.add(field.unwrap_or(0), 8);
        self.end_message();
    }
}
