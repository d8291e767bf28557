//! What is done with a value, by where it stands and what kind it is.

use super::super::NoPrefix;
use super::super::fields::{Field, Source};
use super::super::keyed::Domain;
use super::super::prompt::PART_MARK;
use super::{Meaning, Place};
use crate::prefix::Unit;

/// What kind of value comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Object,
    Array,
    Text,
    Number,
    Bool,
    Null,
}

/// What happens with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    Skip,
    Digest,
    /// Its inside has a meaning of its own.
    Enter(Place),
    /// It is text of the prompt.
    Prompt,
    /// It is a token of the prompt.
    Token,
    /// It is kept as it is.
    Fact,
}

impl Meaning<'_, '_> {
    pub(super) fn use_of(&mut self, kind: Kind) -> Use {
        match self.place {
            Place::Root if kind == Kind::Object => Use::Enter(Place::Top),
            Place::Root => self.no_prefix(NoPrefix::NotAnObject),
            Place::Top => self.use_at_top(kind),
            Place::Prompt => self.use_in_prompt(kind),
            Place::Tokens if kind == Kind::Number => Use::Token,
            Place::Tokens => self.no_prefix(NoPrefix::UnknownShape),
            Place::Message => self.use_in_message(kind),
            Place::Parts => self.use_in_parts(kind),
            Place::Part => self.use_in_part(kind),
            Place::Sampling if self.field == Field::MaxTokens => Use::Fact,
            Place::Sampling => Use::Skip,
        }
    }

    fn use_at_top(&mut self, kind: Kind) -> Use {
        match self.field {
            Field::Stream | Field::MaxTokens | Field::OldMaxTokens => match kind {
                Kind::Object | Kind::Array | Kind::Text => Use::Skip,
                _ => Use::Fact,
            },
            // For an engine, null is the same as leaving the field out.
            _ if kind == Kind::Null => Use::Skip,
            Field::Prompt(source) => self.use_as_prompt(source, kind),
            Field::Digested | Field::Rendered | Field::Media(_) | Field::Namespace => Use::Digest,
            Field::Sampling if kind == Kind::Object => Use::Enter(Place::Sampling),
            _ => Use::Skip,
        }
    }

    fn use_as_prompt(&mut self, source: Source, kind: Kind) -> Use {
        if kind == Kind::Object && source.may_be_setting() {
            self.field = Field::Digested;
            self.label = Some(self.keyed.pair(Domain::Name, source as u64, 0));
            return Use::Digest;
        }
        if !self.outcome.claim(source) {
            return self.no_prefix(NoPrefix::SeveralPrompts);
        }
        match kind {
            Kind::Array => Use::Enter(Place::Prompt),
            Kind::Text if source.takes_text() => {
                self.outcome.templated |= source == Source::Input;
                self.use_as_text()
            }
            _ => self.no_prefix(NoPrefix::UnknownShape),
        }
    }

    fn use_in_prompt(&mut self, kind: Kind) -> Use {
        if self.outcome.rest_ignored {
            return Use::Skip;
        }
        let takes = |takes: fn(Source) -> bool| self.outcome.source.is_some_and(takes);
        match kind {
            Kind::Object if takes(Source::takes_messages) => {
                self.outcome.templated = true;
                self.started(Unit::Text, Use::Enter(Place::Message))
            }
            Kind::Text if takes(Source::takes_text) => {
                let used = self.use_as_text();
                self.separate();
                used
            }
            Kind::Number if takes(Source::takes_tokens) => self.started(Unit::Tokens, Use::Token),
            Kind::Array if takes(Source::takes_tokens) => {
                self.started(Unit::Tokens, Use::Enter(Place::Tokens))
            }
            _ => self.no_prefix(NoPrefix::UnknownShape),
        }
    }

    fn use_in_message(&mut self, kind: Kind) -> Use {
        match (self.field, kind) {
            (Field::Ignored, _) | (_, Kind::Null) => Use::Skip,
            (Field::Content, Kind::Text | Kind::Array) if self.content_seen => {
                self.no_prefix(NoPrefix::SeveralPrompts)
            }
            (Field::Content, Kind::Text) => {
                self.content_seen = true;
                self.use_as_text()
            }
            (Field::Content, Kind::Array) => {
                self.content_seen = true;
                Use::Enter(Place::Parts)
            }
            _ => Use::Digest,
        }
    }

    fn use_in_parts(&mut self, kind: Kind) -> Use {
        if self.parts > 0 {
            self.prompt.mark(PART_MARK);
        }
        self.parts += 1;
        (self.weight, self.strings) = (0, 0);
        match kind {
            Kind::Object => Use::Enter(Place::Part),
            Kind::Text => self.use_as_text(),
            _ => Use::Digest,
        }
    }

    fn use_in_part(&mut self, kind: Kind) -> Use {
        match (self.field, kind) {
            (Field::Ignored, _) | (_, Kind::Null) => Use::Skip,
            (Field::Text, Kind::Text) if self.part.text_seen => {
                self.no_prefix(NoPrefix::SeveralPrompts)
            }
            (Field::Text, Kind::Text) => {
                self.part.text_seen = true;
                self.use_as_text()
            }
            (Field::Media(media), _) => {
                self.part.media |= 1 << media as u8;
                Use::Digest
            }
            _ => Use::Digest,
        }
    }

    fn use_as_text(&mut self) -> Use {
        self.started(Unit::Text, Use::Prompt)
    }

    /// `then`, if the prompt is of this unit so far.
    fn started(&mut self, unit: Unit, then: Use) -> Use {
        if self.prompt.start(unit) { then } else { self.no_prefix(NoPrefix::MixedPrompt) }
    }

    pub(super) fn no_prefix(&mut self, reason: NoPrefix) -> Use {
        self.outcome.no_prefix(reason);
        Use::Skip
    }
}
