//! What the values of a body are for.
//!
//! A few scopes have a meaning (see [`Scope`]); every other value is opaque: digested by
//! [`CanonicalDigest`] if it counts, skipped if not.

use super::canonical::{CanonicalDigest, QUOTES};
use super::config::BodyOptions;
use super::digest::{Digester, Domain};
use super::facts::Facts;
use super::fields::Field;
use super::fingerprint::{BodyFingerprint, NoPrefix};
use super::hasher::{MESSAGE_SEPARATOR, PART_SEPARATOR, PromptHasher};
use super::media::Key;
use super::object::{Entries, Whole};
use super::profile::ToolsAt;
use super::scope::{Action, Scope};
use super::string::StringBuffer;
use super::turn::{Speaker, Turn};
use crate::json::MAX_SHORT;
use crate::prefix::{HashKey, Place};

/// What was read so far, and where in the body the next value stands.
pub(super) struct Meaning<'k, 'b> {
    pub(super) digester: Digester<'k>,
    pub(super) options: BodyOptions,
    pub(super) scope: Scope,
    /// What the current key of the innermost scope stands for: at the top and in its settings, or
    /// in a message and in a part.
    pub(super) field: Field,
    pub(super) key: Key,
    /// Whether the message's field under way holds reasoning.
    pub(super) key_reasons: bool,
    /// Digest of that key, once it is asked for, and its length.
    pub(super) label: Option<u64>,
    pub(super) name_bytes: u64,
    /// Open containers inside a skipped value.
    pub(super) skipping: usize,
    pub(super) opaque: CanonicalDigest<'k>,
    pub(super) name: StringBuffer<'k>,
    /// The digested string under way.
    pub(super) value: StringBuffer<'k>,
    /// What the string under way is used for.
    pub(super) text: Action,
    /// Images or the like since the last field at the top.
    pub(super) items: u64,
    /// Whether the text under way stands before the messages, and how much text there was before it.
    pub(super) first: Option<u64>,
    pub(super) turn: Turn,
    /// Where the message under way begins, and the text before it.
    message_start: Place,
    message_text: u64,
    pub(super) message: Entries,
    /// Whether the message's content, and the part's text, was seen.
    pub(super) content_seen: bool,
    pub(super) text_seen: bool,
    /// Content parts so far.
    pub(super) parts: usize,
    pub(super) part: Entries,
    pub(super) prompt: PromptHasher<'k, 'b>,
    pub(super) facts: Facts,
}

impl<'k, 'b> Meaning<'k, 'b> {
    /// In place: it is large.
    #[inline(always)]
    pub(super) fn new(key: &'k HashKey, options: BodyOptions, out: &'b mut [u64]) -> Self {
        let digester = Digester(key);
        Meaning {
            digester,
            options,
            scope: Scope::Root,
            field: Field::Ignored,
            key: Key::Ignored,
            key_reasons: false,
            label: None,
            name_bytes: 0,
            skipping: 0,
            opaque: CanonicalDigest::new(digester),
            name: StringBuffer::new(Domain::Name),
            value: StringBuffer::new(Domain::Text),
            text: Action::Skip,
            items: 0,
            first: None,
            turn: Turn::default(),
            message_start: Place::default(),
            message_text: 0,
            message: Entries::default(),
            content_seen: false,
            text_seen: false,
            parts: 0,
            part: Entries::default(),
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
            Scope::Message => self.begin_message(),
            Scope::Parts => self.parts = 0,
            Scope::Part => {
                (self.part, self.text_seen) = (Entries::default(), false);
                self.turn.begin_part();
            }
            Scope::Tokens => self.separate(),
            Scope::Samplings => self.facts.sampling_listed = true,
            _ => {}
        }
        self.scope = scope;
    }

    pub(super) fn leave(&mut self) {
        self.scope = match self.scope {
            Scope::Root | Scope::Top => Scope::Root,
            Scope::Samplings => {
                self.facts.sampling_listed = false;
                Scope::Top
            }
            Scope::Prompt | Scope::Tools | Scope::Template | Scope::Effort => Scope::Top,
            Scope::Sampling if self.facts.sampling_listed => Scope::Samplings,
            Scope::Sampling => Scope::Top,
            Scope::Tokens => Scope::Prompt,
            Scope::Message => {
                self.end_message();
                Scope::Prompt
            }
            Scope::Parts if self.first.is_some() => {
                self.end_first();
                Scope::Top
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

    fn begin_message(&mut self) {
        self.message = Entries::default();
        (self.content_seen, self.turn) = (false, Turn::default());
        self.message_text = self.prompt.written();
        if self.options.config.profile.tools == ToolsAt::LastUser && self.first.is_none() {
            self.message_start = self.prompt.place();
        }
    }

    fn end_message(&mut self) {
        let media = self.message.media();
        let (sum, weight) = self.message.total(media);
        let media = media.map_or(0, |media| self.options.config.media_bytes(media));
        self.prompt.record(MESSAGE_SEPARATOR, sum, weight + media);
        if self.first.is_some() {
            return;
        }
        if self.facts.messages == 0 && self.turn.speaker == Speaker::System {
            self.facts.head = Some(self.prompt.end_head());
        }
        self.end_turn();
        self.facts.messages = self.facts.messages.saturating_add(1);
        self.facts.rest_ignored = self.options.config.first_message_only;
    }

    /// Notes where the user last spoke, and whether there was reasoning since.
    fn end_turn(&mut self) {
        if !self.options.config.profile.follows_turns() {
            return;
        }
        if self.turn.is_users() {
            let text = (self.message_text, self.prompt.written());
            let blocks = self.prompt.place().blocks;
            self.facts.user_spoke(self.message_start, blocks, text);
        } else {
            self.facts.other_spoke(self.turn.reasons);
        }
    }

    /// A part that is only text leaves no record, so that it equals a plain string.
    fn end_part(&mut self) {
        self.turn.end_part();
        if self.part.count == 0 {
            return;
        }
        let media = self.part.media();
        let (sum, weight) = self.part.total(media);
        let media = media.map_or(0, |media| self.options.config.media_bytes(media));
        self.prompt.record(PART_SEPARATOR, sum, weight + media);
    }

    /// Begins the text that stands before the messages; false if the prompt is not text.
    pub(super) fn begin_first(&mut self) -> bool {
        if self.facts.first_seen {
            self.no_prefix(NoPrefix::SeveralPrompts);
            return false;
        }
        self.facts.first_seen = true;
        if !self.prompt.begin_first() {
            return false;
        }
        self.first = Some(self.prompt.written());
        true
    }

    /// Ends that text with the record of a system message that has it for its content.
    pub(super) fn end_first(&mut self) {
        let counts = self.first.is_some_and(|before| self.prompt.written() > before);
        if counts {
            self.end_only_message(b"system");
        }
        self.prompt.end_first(counts);
        self.first = None;
    }

    pub(super) fn label(&mut self) -> u64 {
        *self.label.get_or_insert_with(|| self.name.digest(self.digester))
    }

    /// Takes a complete value that has a meaning where it stands.
    pub(super) fn deliver(&mut self, whole: Whole) {
        match self.scope {
            Scope::Parts => self.prompt.record(PART_SEPARATOR, whole.digest, whole.weight),
            Scope::Tools if whole.empty => {}
            Scope::Tools => self.facts.tool(self.digester, whole.digest, whole.weight),
            Scope::Top if self.field == Field::Tools => {
                self.facts.tool(self.digester, whole.digest, whole.weight);
            }
            _ => {
                let entry = self.digester.pair(Domain::Entry, self.label(), whole.digest);
                self.deliver_entry(entry, &whole);
            }
        }
    }

    /// Takes the digest of a complete field.
    fn deliver_entry(&mut self, entry: u64, whole: &Whole) {
        match self.scope {
            Scope::Message => {
                self.message.add(self.key, entry, self.name_bytes, whole);
                self.turn.reasons |= self.key_reasons && !whole.empty;
            }
            Scope::Part => self.part.add(self.key, entry, self.name_bytes, whole),
            _ if whole.empty => {}
            Scope::Top => match self.field {
                Field::Namespace => self.facts.namespace.add(entry, 0),
                Field::Media(media) => {
                    let each = self.options.config.media_bytes(media);
                    self.facts.shaping.add(entry, self.items.saturating_mul(each));
                }
                Field::Rendered => {
                    self.facts.rendering.add(entry, self.name_bytes.saturating_add(whole.weight));
                }
                Field::Effort => self.facts.rendering.add(entry, 0),
                _ => self.facts.shaping.add(entry, 0),
            },
            Scope::Template | Scope::Effort => self.facts.rendering.add(entry, 0),
            _ => {}
        }
    }

    /// Adds a complete value to the opaque one under way, or delivers it if that is all of it.
    pub(super) fn add(&mut self, whole: Whole) {
        if let Some(whole) = self.opaque.add(whole) {
            self.deliver(whole);
        }
    }

    /// Adds the digested string that has just ended.
    pub(super) fn end_digested(&mut self) {
        let (length, is_open) = (self.value.length(), self.opaque.is_open());
        let weight = length + if is_open { QUOTES } else { 0 };
        let mut whole = Whole { digest: 0, weight, media: None, empty: length == 0 };
        if !is_open && self.scope.is_object() && self.field != Field::Effort {
            let field = StringBuffer::tiny_field(&self.name, &self.value, self.digester);
            if let Some(entry) = field {
                return self.deliver_entry(entry, &whole);
            }
        }
        whole.digest = self.value.digest(self.digester);
        self.add(whole);
    }

    /// The record of a message that has nothing but content and this role, which is how engines read
    /// a string in place of messages.
    pub(super) fn end_only_message(&mut self, role: &[u8]) {
        self.begin_message();
        let mut block = [0; MAX_SHORT];
        block[..4].copy_from_slice(b"role");
        self.name.set(&block, 4);
        block[..role.len()].copy_from_slice(role);
        self.value.set(&block, role.len());
        let weight = role.len() as u64;
        let whole = Whole { digest: 0, weight, media: None, empty: false };
        let field = StringBuffer::tiny_field(&self.name, &self.value, self.digester);
        self.message.add(Key::Plain, field.unwrap_or(0), 4, &whole);
        self.end_message();
    }
}
