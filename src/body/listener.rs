//! The listener that both readers of JSON drive.

use super::fields::{self, Field};
use super::fingerprint::NoPrefix;
use super::meaning::Meaning;
use super::scope::{Action, Scope, ValueKind};
use crate::json::{Container, Events, Literal, MAX_SHORT, Number, StringKind};

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
        let in_object =
            matches!(self.scope, Scope::Top | Scope::Message | Scope::Part | Scope::Sampling);
        self.skipping == 0 && (self.opaque.is_open() || !in_object || self.field != Field::Ignored)
    }

    fn number(&mut self, number: Number) {
        match (self.action_for_leaf(ValueKind::Number), number) {
            (Action::Digest, _) => {
                self.weight += 1;
                self.add(self.digester.number(number));
            }
            (Action::Token, Number::Unsigned(token)) if token <= u32::MAX.into() => {
                self.prompt.token(token as u32);
            }
            (Action::Token, _) => {
                self.no_prefix(NoPrefix::UnknownShape);
            }
            (Action::Keep, Number::Unsigned(tokens)) => self.facts.max_tokens(self.field, tokens),
            _ => {}
        }
    }

    fn literal(&mut self, literal: Literal) {
        let kind = if literal == Literal::Null { ValueKind::Null } else { ValueKind::Bool };
        match self.action_for_leaf(kind) {
            Action::Digest => {
                self.weight += 1;
                self.add(self.digester.literal(literal));
            }
            Action::Keep if self.field == Field::Stream => {
                self.facts.stream = literal == Literal::True;
            }
            _ => {}
        }
    }

    fn begin(&mut self, container: Container) {
        if self.skipping > 0 {
            self.skipping += 1;
        } else if self.opaque.is_open() {
            self.opaque.begin(container);
        } else {
            let kind =
                if container == Container::Object { ValueKind::Object } else { ValueKind::Array };
            match self.action_for(kind) {
                Action::Enter(scope) => self.enter(scope),
                Action::Digest => {
                    // The keys inside take the place of this one.
                    self.label();
                    self.opaque.begin(container);
                }
                _ => self.skipping = 1,
            }
        }
    }

    fn end(&mut self) {
        if self.skipping > 0 {
            self.skipping -= 1;
        } else if !self.opaque.is_open() {
            self.leave();
        } else if let Some(whole) = self.opaque.end() {
            self.deliver(whole);
        }
    }
}

impl Meaning<'_, '_> {
    fn key_end(&mut self) {
        if self.skipping > 0 {
            return;
        }
        if self.opaque.is_open() {
            self.weight += self.name.length();
            self.opaque.key(self.name.digest(self.digester));
            return;
        }
        (self.weight, self.strings) = (self.name.length(), 0);
        self.label = None;
        let name = self.name.held();
        self.field = match self.scope {
            Scope::Top => fields::top(name),
            Scope::Message => fields::message(name),
            Scope::Part => fields::part(name),
            _ => fields::sampling(name),
        };
    }

    fn value_end(&mut self) {
        match self.text {
            Action::Digest => {
                let opaque = self.opaque.is_open() || self.field != Field::Type;
                if opaque || !fields::is_plain_type(self.value.held()) {
                    self.strings += 1;
                    self.weight += self.value.length();
                    self.end_digested();
                }
            }
            Action::Prompt if self.scope == Scope::Top && self.facts.templated => {
                self.end_only_message();
            }
            _ => {}
        }
    }
}
