//! What is done with a value, by where it stands and what kind it is.

use super::digest::Domain;
use super::fields::{Field, PromptField};
use super::fingerprint::NoPrefix;
use super::hasher::PART_SEPARATOR;
use super::meaning::Meaning;
use super::media::Key;
use super::scope::{Action, Scope, ValueKind};
use crate::prefix::Unit;

impl Meaning<'_, '_> {
    /// What happens with a value that holds no other one.
    pub(super) fn action_for_leaf(&mut self, kind: ValueKind) -> Action {
        if self.skipping > 0 {
            Action::Skip
        } else if self.opaque.is_open() {
            if self.opaque.ignores() { Action::Skip } else { Action::Digest }
        } else {
            self.action_for(kind)
        }
    }

    pub(super) fn action_for(&mut self, kind: ValueKind) -> Action {
        match self.scope {
            Scope::Root if kind == ValueKind::Object => Action::Enter(Scope::Top),
            Scope::Root => self.no_prefix(NoPrefix::NotAnObject),
            Scope::Top => self.action_at_top(kind),
            Scope::Prompt => self.action_in_prompt(kind),
            Scope::Tokens if kind == ValueKind::Number => Action::Token,
            Scope::Tokens => self.no_prefix(NoPrefix::UnknownShape),
            Scope::Message => self.action_in_message(kind),
            Scope::Parts => self.action_in_parts(kind),
            Scope::Part => self.action_in_part(kind),
            Scope::Tools => Action::Digest,
            Scope::Samplings if kind == ValueKind::Object => Action::Enter(Scope::Sampling),
            Scope::Samplings => Action::Skip,
            Scope::Template | Scope::Effort | Scope::Sampling => match self.field {
                Field::Ignored => Action::Skip,
                Field::MaxTokens | Field::Answers => kept(kind),
                _ => Action::Digest,
            },
        }
    }

    fn action_at_top(&mut self, kind: ValueKind) -> Action {
        match (self.field, kind) {
            (Field::Ignored, _) => Action::Skip,
            (Field::Stream | Field::MaxTokens | Field::OldMaxTokens | Field::Answers, _) => {
                kept(kind)
            }
            // For an engine, null is the same as leaving the field out.
            (_, ValueKind::Null) => Action::Skip,
            (Field::Prompt(field), _) => self.action_as_prompt(field, kind),
            (Field::Tools, ValueKind::Array) => Action::Enter(Scope::Tools),
            (Field::System, ValueKind::String | ValueKind::Array) => self.action_as_first(kind),
            (Field::TemplateKwargs, ValueKind::Object) => Action::Enter(Scope::Template),
            (Field::HoldsEffort, ValueKind::Object) => Action::Enter(Scope::Effort),
            (Field::HoldsEffort, _) => Action::Skip,
            (Field::Sampling, ValueKind::Object) => Action::Enter(Scope::Sampling),
            (Field::Sampling, ValueKind::Array) => Action::Enter(Scope::Samplings),
            (Field::Sampling, _) => Action::Skip,
            _ => Action::Digest,
        }
    }

    fn action_as_first(&mut self, kind: ValueKind) -> Action {
        match (self.begin_first(), kind) {
            (false, _) => Action::Skip,
            (true, ValueKind::String) => self.action_as_part_text(),
            (true, _) => Action::Enter(Scope::Parts),
        }
    }

    fn action_as_prompt(&mut self, field: PromptField, kind: ValueKind) -> Action {
        match (field, kind) {
            // The format of the answer.
            (PromptField::Text, ValueKind::Object) => return Action::Skip,
            // A template that the engine has.
            (PromptField::Prompt, ValueKind::Object) => {
                self.field = Field::Digested;
                self.label = Some(self.digester.pair(Domain::Name, field as u64, 0));
                return Action::Digest;
            }
            _ => {}
        }
        if !self.facts.claim(field) {
            return Action::Skip;
        }
        if field == PromptField::InputIds {
            self.prompt.reset_to_tokens();
        }
        match kind {
            ValueKind::Array => Action::Enter(Scope::Prompt),
            ValueKind::String if field.takes_text() => {
                self.facts.templated |= field == PromptField::Input;
                self.action_as_text()
            }
            _ => self.no_prefix(NoPrefix::UnknownShape),
        }
    }

    fn action_in_prompt(&mut self, kind: ValueKind) -> Action {
        if self.facts.rest_ignored {
            return Action::Skip;
        }
        let takes = |takes: fn(PromptField) -> bool| self.facts.prompt_field.is_some_and(takes);
        match kind {
            ValueKind::Object if takes(PromptField::takes_messages) => {
                self.facts.templated = true;
                self.started(Unit::Text, Action::Enter(Scope::Message))
            }
            ValueKind::String if takes(PromptField::takes_text) => {
                let used = self.action_as_text();
                self.separate();
                used
            }
            ValueKind::Number if takes(PromptField::takes_tokens) => {
                self.started(Unit::Tokens, Action::Token)
            }
            ValueKind::Array if takes(PromptField::takes_tokens) => {
                self.started(Unit::Tokens, Action::Enter(Scope::Tokens))
            }
            _ => self.no_prefix(NoPrefix::UnknownShape),
        }
    }

    fn action_in_message(&mut self, kind: ValueKind) -> Action {
        match (self.key, kind) {
            (Key::Ignored, _) | (Key::Content, ValueKind::Null) => Action::Skip,
            (Key::Content, ValueKind::String | ValueKind::Array) if self.content_seen => {
                self.no_prefix(NoPrefix::SeveralPrompts)
            }
            (Key::Content, ValueKind::String) => {
                self.content_seen = true;
                self.turn.says_something = true;
                self.action_as_part_text()
            }
            (Key::Content, ValueKind::Array) => {
                self.content_seen = true;
                Action::Enter(Scope::Parts)
            }
            _ => Action::Digest,
        }
    }

    fn action_in_parts(&mut self, kind: ValueKind) -> Action {
        if self.parts > 0 {
            self.prompt.separator(PART_SEPARATOR);
        }
        self.parts += 1;
        match kind {
            ValueKind::Object => Action::Enter(Scope::Part),
            ValueKind::String => {
                self.turn.says_something = true;
                self.action_as_part_text()
            }
            _ => Action::Digest,
        }
    }

    fn action_in_part(&mut self, kind: ValueKind) -> Action {
        match (self.key, kind) {
            (Key::Ignored, _) => Action::Skip,
            (Key::Text, ValueKind::String) if self.text_seen => {
                self.no_prefix(NoPrefix::SeveralPrompts)
            }
            (Key::Text, ValueKind::String) => {
                self.text_seen = true;
                self.action_as_part_text()
            }
            _ => Action::Digest,
        }
    }

    /// Text before the messages does not begin the prompt.
    fn action_as_part_text(&mut self) -> Action {
        let is_first = self.first.is_some();
        let action = if is_first { Action::Prompt } else { self.action_as_text() };
        let strips = self.options.config.profile.strip_billing_line;
        if strips && (is_first || self.facts.messages == 0) && action == Action::Prompt {
            self.prompt.begin_stripped();
        }
        action
    }

    fn action_as_text(&mut self) -> Action {
        self.started(Unit::Text, Action::Prompt)
    }

    /// `then`, if the prompt is of this unit so far.
    fn started(&mut self, unit: Unit, then: Action) -> Action {
        if self.prompt.start(unit) { then } else { self.no_prefix(NoPrefix::MixedPrompt) }
    }

    pub(super) fn no_prefix(&mut self, reason: NoPrefix) -> Action {
        self.facts.no_prefix(reason);
        Action::Skip
    }
}

/// A number or a literal is reported as it is.
fn kept(kind: ValueKind) -> Action {
    match kind {
        ValueKind::Object | ValueKind::Array | ValueKind::String => Action::Skip,
        _ => Action::Keep,
    }
}
