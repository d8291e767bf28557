//! The listener that both readers of JSON drive.

use super::digest::Domain;
use super::fields::{self, Field};
use super::fingerprint::NoPrefix;
use super::meaning::Meaning;
use super::media::{self, Key};
use super::object::Whole;
use super::scope::{Action, Scope, ValueKind};
use super::turn;
use crate::json::{Container, Events, Literal, MAX_SHORT, Number, StringKind};

/// Stands for the name of the field that says how much to think.
const EFFORT: u64 = 0x100;

impl Events for Meaning<'_, '_> {
    fn string_begin(&mut self, kind: StringKind) {
        match kind {
            StringKind::Key => self.name.clear(),
            StringKind::Value => {
                self.text = self.action_for_leaf(ValueKind::String);
                self.value.clear();
            }
        }
    }

    #[inline]
    fn room(&mut self, kind: StringKind) -> &mut [u8] {
        match (kind, self.text) {
            (StringKind::Key, _) => self.name.room(self.digester),
            (StringKind::Value, Action::Prompt) => self.prompt.room(),
            (StringKind::Value, _) => self.value.room(self.digester),
        }
    }

    #[inline]
    fn wrote(&mut self, kind: StringKind, bytes: usize) {
        match (kind, self.text) {
            (StringKind::Key, _) => self.name.wrote(bytes),
            (StringKind::Value, Action::Prompt) => self.prompt.wrote(bytes),
            (StringKind::Value, Action::Digest) => self.value.wrote(bytes),
            // The room is written over and over.
            (StringKind::Value, _) => {}
        }
    }

    fn piece(&mut self, kind: StringKind, piece: &[u8]) {
        match (kind, self.text) {
            (StringKind::Key, _) => self.name.write(self.digester, piece),
            (StringKind::Value, Action::Prompt) => self.prompt.write(piece),
            (StringKind::Value, Action::Digest) => self.value.write(self.digester, piece),
            (StringKind::Value, _) => {}
        }
    }

    #[inline]
    fn short(&mut self, kind: StringKind, block: &[u8; MAX_SHORT], length: usize) {
        match (kind, self.text) {
            (StringKind::Key, _) => self.name.set(block, length),
            (StringKind::Value, Action::Digest) => self.value.set(block, length),
            (StringKind::Value, Action::Prompt) => {
                self.prompt.room()[..MAX_SHORT].copy_from_slice(block);
                self.prompt.wrote(length);
            }
            (StringKind::Value, _) => {}
        }
    }

    fn string_end(&mut self, kind: StringKind) {
        match kind {
            StringKind::Key => self.key_end(),
            StringKind::Value => self.value_end(),
        }
    }

    fn wants_number(&self) -> bool {
        if self.skipping > 0 {
            return false;
        }
        if self.opaque.is_open() {
            return !self.opaque.ignores();
        }
        match self.scope {
            Scope::Message | Scope::Part => self.key != Key::Ignored,
            scope if scope.is_object() => self.field != Field::Ignored,
            _ => true,
        }
    }

    fn number(&mut self, number: Number) {
        match (self.action_for_leaf(ValueKind::Number), number) {
            (Action::Digest, _) => self.add(Whole::scalar(self.digester.number(number))),
            (Action::Token, Number::Unsigned(token)) if token <= u32::MAX.into() => {
                self.prompt.token(token as u32);
            }
            (Action::Token, _) => {
                self.no_prefix(NoPrefix::UnknownShape);
            }
            (Action::Keep, _) => {
                if let Some(amount) = number.whole() {
                    self.facts.amount(self.field, amount);
                }
            }
            _ => {}
        }
    }

    fn literal(&mut self, literal: Literal) {
        let kind = if literal == Literal::Null { ValueKind::Null } else { ValueKind::Bool };
        match self.action_for_leaf(kind) {
            Action::Digest => {
                let mut whole = Whole::scalar(self.digester.literal(literal));
                // What may be left out in messages and tools is mostly false then.
                let by_default = self.scope != Scope::Top && self.scope != Scope::Template;
                whole.empty = match literal {
                    Literal::Null => true,
                    Literal::False => by_default,
                    Literal::True => false,
                };
                self.add(whole);
            }
            Action::Keep if self.field == Field::Stream => {
                self.facts.stream = literal == Literal::True;
            }
            _ => {}
        }
    }

    fn begin(&mut self, container: Container) {
        if self.skipping > 0 || self.opaque.ignores() {
            self.skipping += 1;
            return;
        }
        let is_object = container == Container::Object;
        self.items += u64::from(is_object && !self.opaque.in_object());
        if self.opaque.is_open() {
            return self.opaque.begin(container);
        }
        match self.action_for(if is_object { ValueKind::Object } else { ValueKind::Array }) {
            Action::Enter(scope) => self.enter(scope),
            Action::Digest => {
                if self.scope.is_object() {
                    // The keys inside take the place of this one.
                    self.label();
                }
                let in_message = matches!(self.scope, Scope::Message | Scope::Part | Scope::Parts);
                let named = in_message && self.scope != Scope::Parts;
                let key = if named { self.key } else { Key::Plain };
                self.opaque.open(container, key, in_message);
            }
            _ => self.skipping = 1,
        }
    }

    fn end(&mut self) {
        if self.skipping > 0 {
            self.skipping -= 1;
        } else if !self.opaque.is_open() {
            self.leave();
        } else if let Some(whole) = self.opaque.end(&self.options.config) {
            self.deliver(whole);
        }
    }
}

impl Meaning<'_, '_> {
    fn key_end(&mut self) {
        if self.skipping > 0 {
            return;
        }
        let (name, bytes) = (self.name.held(), self.name.length());
        if self.opaque.is_open() {
            if self.opaque.key(name, bytes) {
                self.opaque.label(self.name.digest(self.digester));
            }
            return;
        }
        (self.name_bytes, self.label) = (bytes, None);
        match self.scope {
            Scope::Message => {
                (self.key, self.key_reasons) = (media::key(name, true), turn::is_reasoning(name));
            }
            Scope::Part => self.key = media::key(name, true),
            Scope::Top => (self.field, self.items) = (fields::top(name), 0),
            Scope::Template => self.field = fields::template(name),
            Scope::Effort => self.field = fields::effort(name),
            _ => self.field = fields::sampling(name),
        }
        self.field = self.field.under(&self.options.config.profile);
        if self.field == Field::Effort && self.scope.is_setting() {
            // The same wherever it stands.
            self.label = Some(self.digester.pair(Domain::Name, EFFORT, 0));
        }
    }

    fn value_end(&mut self) {
        let is_prompt = self.text == Action::Prompt;
        if is_prompt && self.prompt.end_stripped() && self.parts == 1 {
            // As if the part had not been there.
            self.parts = 0;
        }
        match self.text {
            Action::Digest => {
                self.items += u64::from(!self.opaque.in_object());
                if !self.means_nothing() {
                    self.end_digested();
                }
            }
            Action::Prompt if self.scope == Scope::Top && self.first.is_some() => self.end_first(),
            Action::Prompt if self.scope == Scope::Top && self.facts.templated => {
                self.end_only_message(b"user");
            }
            _ => {}
        }
    }

    /// Looks at what the string that has just ended says; whether that is nothing.
    fn means_nothing(&mut self) -> bool {
        let value = self.value.held();
        if self.opaque.is_open() {
            return self.opaque.told(value);
        }
        match self.scope {
            Scope::Message => {
                let name = self.name.held();
                self.turn.told(name, value);
                self.message.told(self.key, value)
            }
            Scope::Part => {
                if self.key == Key::Type {
                    self.turn.part_is(value);
                }
                self.part.told(self.key, value)
            }
            _ => self.field == Field::Effort && value == fields::USUAL_EFFORT,
        }
    }
}
