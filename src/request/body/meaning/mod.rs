//! What a body means: the one listener that both readers drive.
//!
//! It knows a few places in a body (see [`Place`]) and treats every other value as opaque: digested
//! by [`Canon`] if it counts, skipped if not.

mod uses;

use super::canon::Canon;
use super::events::{Events, Literal, MAX_SHORT, Num, Role, Shape};
use super::fields::{self, Field};
use super::keyed::{Domain, Keyed};
use super::outcome::{Fields, Outcome};
use super::prompt::{MESSAGE_MARK, PART_MARK, Prompt};
use super::small::Small;
use super::{BodyFingerprint, BodyOptions, Messages, NoPrefix};
use crate::prefix::HashKey;
use uses::{Kind, Use};

/// The innermost open container that has a meaning. Each has one parent, so the path is no stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Outside of the body's value.
    Root,
    /// The body's object.
    Top,
    /// The array that is the prompt: messages, strings, tokens or token arrays.
    Prompt,
    /// A token array in the prompt array.
    Tokens,
    /// A message.
    Message,
    /// The array of a message's content parts.
    Parts,
    /// A content part.
    Part,
    /// The object of sampling parameters.
    Sampling,
}

pub(super) struct Meaning<'k, 'b> {
    keyed: Keyed<'k>,
    options: BodyOptions,
    place: Place,
    /// What the current key of the innermost place stands for.
    field: Field,
    /// Digest of that key, once it is asked for.
    label: Option<u64>,
    /// Open containers inside a skipped value.
    skipping: usize,
    canon: Canon<'k>,
    name: Small<'k>,
    /// The digested string under way.
    value: Small<'k>,
    /// What the string under way is used for.
    text: Use,
    /// Bytes and strings digested since the last complete field.
    weight: u64,
    strings: u64,
    message: Fields,
    /// Whether the message's content was seen.
    content_seen: bool,
    /// Content parts so far.
    parts: usize,
    part: Fields,
    prompt: Prompt<'k, 'b>,
    outcome: Outcome,
}

impl<'k, 'b> Meaning<'k, 'b> {
    pub(super) fn new(key: &'k HashKey, options: BodyOptions, out: &'b mut [u64]) -> Self {
        let keyed = Keyed(key);
        Meaning {
            keyed,
            options,
            place: Place::Root,
            field: Field::Ignored,
            label: None,
            skipping: 0,
            canon: Canon::new(keyed),
            name: Small::new(Domain::Name),
            value: Small::new(Domain::Text),
            text: Use::Skip,
            weight: 0,
            strings: 0,
            message: Fields::default(),
            content_seen: false,
            parts: 0,
            part: Fields::default(),
            prompt: Prompt::new(keyed, options.block_bytes, out),
            outcome: Outcome::default(),
        }
    }

    /// What the body says. Nothing may follow.
    pub(super) fn finish(&mut self) -> BodyFingerprint<'b> {
        self.outcome.finish(self.keyed, &self.options, &mut self.prompt)
    }

    fn enter(&mut self, place: Place) {
        match place {
            Place::Message => {
                self.message = Fields::default();
                self.content_seen = false;
            }
            Place::Parts => self.parts = 0,
            Place::Part => self.part = Fields::default(),
            Place::Tokens => self.separate(),
            Place::Root | Place::Top | Place::Prompt | Place::Sampling => {}
        }
        self.place = place;
    }

    fn leave(&mut self) {
        self.place = match self.place {
            Place::Root | Place::Top => Place::Root,
            Place::Prompt | Place::Sampling => Place::Top,
            Place::Tokens => Place::Prompt,
            Place::Message => {
                self.end_message();
                Place::Prompt
            }
            Place::Parts => Place::Message,
            Place::Part => {
                self.end_part();
                Place::Parts
            }
        };
    }

    /// Marks the border to an earlier element of the prompt array.
    fn separate(&mut self) {
        if self.outcome.elements > 0 {
            self.prompt.border();
        }
        self.outcome.elements += 1;
    }

    fn end_message(&mut self) {
        self.prompt.record(MESSAGE_MARK, self.message.sum, self.message.weight);
        self.outcome.rest_ignored = self.options.messages == Messages::FirstOnly;
    }

    /// A part that is only text leaves no record, so that it equals a plain string.
    fn end_part(&mut self) {
        if self.part.count == 0 {
            return;
        }
        let media = self.options.media.bytes(self.part.media);
        self.prompt.record(PART_MARK, self.part.sum, self.part.weight + media);
    }

    fn label(&mut self) -> u64 {
        *self.label.get_or_insert_with(|| self.name.digest(self.keyed))
    }

    /// Takes the digest of a complete value that has a meaning where it stands.
    fn deliver(&mut self, digest: u64) {
        if self.place == Place::Parts {
            self.prompt.record(PART_MARK, digest, self.weight);
        } else {
            let entry = self.keyed.pair(Domain::Entry, self.label(), digest);
            self.deliver_entry(entry);
        }
    }

    /// Takes the digest of a complete field.
    fn deliver_entry(&mut self, entry: u64) {
        let (weight, strings) = (self.weight, self.strings);
        match (self.place, self.field) {
            (Place::Top, Field::Namespace) => self.outcome.namespace.add(entry, 0),
            (Place::Top, Field::Media(media)) => {
                let each = self.options.media.bytes(1 << media as u8);
                self.outcome.shaping.add(entry, strings.saturating_mul(each));
            }
            (Place::Top, Field::Rendered) => self.outcome.shaping.add(entry, weight),
            (Place::Top, _) => self.outcome.shaping.add(entry, 0),
            (Place::Message, _) => self.message.add(entry, weight),
            (Place::Part, Field::Media(_)) => self.part.add(entry, 0),
            (Place::Part, _) => self.part.add(entry, weight),
            _ => {}
        }
    }

    /// Adds a complete digest to the opaque value under way, or delivers it if that is all of it.
    fn add(&mut self, digest: u64) {
        if let Some(whole) = self.canon.add(digest) {
            self.deliver(whole);
        }
    }

    /// Adds the digested string that has just ended.
    fn end_digested(&mut self) {
        if !self.canon.is_open() {
            let field = Small::tiny_field(&self.name, &self.value, self.keyed);
            if let Some(entry) = field {
                return self.deliver_entry(entry);
            }
        }
        let digest = self.value.digest(self.keyed);
        self.add(digest);
    }

    /// What happens with a value that holds no other one.
    fn use_of_leaf(&mut self, kind: Kind) -> Use {
        if self.skipping > 0 {
            Use::Skip
        } else if self.canon.is_open() {
            Use::Digest
        } else {
            self.use_of(kind)
        }
    }

    /// The record that a string in place of an array of messages ends with: that of a message
    /// with this content and the role `user`, which is how engines read it.
    fn end_only_message(&mut self) {
        self.message = Fields::default();
        let mut block = [0; MAX_SHORT];
        block[..4].copy_from_slice(b"role");
        self.name.set(&block, 4);
        block[..4].copy_from_slice(b"user");
        self.value.set(&block, 4);
        let field = Small::tiny_field(&self.name, &self.value, self.keyed);
        self.message.add(field.unwrap_or(0), 8);
        self.end_message();
    }
}

impl Events for Meaning<'_, '_> {
    #[inline]
    fn room(&mut self, role: Role) -> &mut [u8] {
        match (role, self.text) {
            (Role::Key, _) => self.name.room(self.keyed),
            (Role::Text, Use::Prompt) => self.prompt.room(),
            (Role::Text, _) => self.value.room(self.keyed),
        }
    }

    #[inline]
    fn wrote(&mut self, role: Role, bytes: usize) {
        match (role, self.text) {
            (Role::Key, _) => self.name.wrote(bytes),
            (Role::Text, Use::Prompt) => self.prompt.wrote(bytes),
            (Role::Text, Use::Digest) => self.value.wrote(bytes),
            // The room is written over and over.
            (Role::Text, _) => {}
        }
    }

    #[inline]
    fn short(&mut self, role: Role, block: &[u8; MAX_SHORT], length: usize) {
        match (role, self.text) {
            (Role::Key, _) => self.name.set(block, length),
            (Role::Text, Use::Digest) => self.value.set(block, length),
            (Role::Text, Use::Prompt) => {
                self.prompt.room()[..MAX_SHORT].copy_from_slice(block);
                self.prompt.wrote(length);
            }
            (Role::Text, _) => {}
        }
    }

    fn key_begin(&mut self) {
        self.name.clear();
    }

    fn key_end(&mut self) {
        if self.skipping > 0 {
            return;
        }
        if self.canon.is_open() {
            self.weight += self.name.length();
            self.canon.key(self.name.digest(self.keyed));
            return;
        }
        (self.weight, self.strings) = (self.name.length(), 0);
        self.label = None;
        let name = self.name.held();
        self.field = match self.place {
            Place::Top => fields::top(name),
            Place::Message => fields::message(name),
            Place::Part => fields::part(name),
            _ => fields::sampling(name),
        };
    }

    fn text_begin(&mut self) {
        self.text = self.use_of_leaf(Kind::Text);
        self.value.clear();
    }

    fn text_end(&mut self) {
        match self.text {
            Use::Digest => {
                let opaque = self.canon.is_open() || self.field != Field::Type;
                if opaque || !fields::is_plain_type(self.value.held()) {
                    self.strings += 1;
                    self.weight += self.value.length();
                    self.end_digested();
                }
            }
            Use::Prompt if self.place == Place::Top && self.outcome.templated => {
                self.end_only_message();
            }
            _ => {}
        }
    }

    fn wants_number(&self) -> bool {
        let in_object =
            matches!(self.place, Place::Top | Place::Message | Place::Part | Place::Sampling);
        self.skipping == 0 && (self.canon.is_open() || !in_object || self.field != Field::Ignored)
    }

    fn number(&mut self, number: Num) {
        match (self.use_of_leaf(Kind::Number), number) {
            (Use::Digest, _) => {
                self.weight += 1;
                self.add(self.keyed.number(number));
            }
            (Use::Token, Num::Unsigned(token)) if token <= u32::MAX.into() => {
                self.prompt.token(token as u32);
            }
            (Use::Token, _) => {
                self.no_prefix(NoPrefix::UnknownShape);
            }
            (Use::Fact, Num::Unsigned(tokens)) => self.outcome.max_tokens(self.field, tokens),
            _ => {}
        }
    }

    fn number_skipped(&mut self) {}

    fn literal(&mut self, literal: Literal) {
        let kind = if literal == Literal::Null { Kind::Null } else { Kind::Bool };
        match self.use_of_leaf(kind) {
            Use::Digest => {
                self.weight += 1;
                self.add(self.keyed.literal(literal));
            }
            Use::Fact if self.field == Field::Stream => {
                self.outcome.stream = literal == Literal::True;
            }
            _ => {}
        }
    }

    fn begin(&mut self, shape: Shape) {
        if self.skipping > 0 {
            self.skipping += 1;
        } else if self.canon.is_open() {
            self.canon.begin(shape);
        } else {
            let kind = if shape == Shape::Object { Kind::Object } else { Kind::Array };
            match self.use_of(kind) {
                Use::Enter(place) => self.enter(place),
                Use::Digest => {
                    // The keys inside take the place of this one.
                    self.label();
                    self.canon.begin(shape);
                }
                _ => self.skipping = 1,
            }
        }
    }

    fn end(&mut self) {
        if self.skipping > 0 {
            self.skipping -= 1;
        } else if !self.canon.is_open() {
            self.leave();
        } else if let Some(whole) = self.canon.end() {
            self.deliver(whole);
        }
    }
}
