//! Where in a body a value stands, and what can be done with it.

/// The innermost open container that has a meaning. Each has one parent, so no stack is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
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
    /// The array of tools.
    Tools,
    /// What the chat template is told.
    Template,
    /// An object that holds how much to think.
    Effort,
    /// The array of sampling parameters, one for each prompt.
    Samplings,
    /// The object of sampling parameters.
    Sampling,
}

impl Scope {
    /// Whether its values have names.
    pub(super) fn is_object(self) -> bool {
        matches!(
            self,
            Scope::Top
                | Scope::Message
                | Scope::Part
                | Scope::Template
                | Scope::Effort
                | Scope::Sampling
        )
    }

    /// Whether its names are those of the body's own fields.
    pub(super) fn is_setting(self) -> bool {
        matches!(self, Scope::Top | Scope::Template | Scope::Effort)
    }
}

/// What kind of value comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ValueKind {
    Object,
    Array,
    String,
    Number,
    Bool,
    Null,
}

/// What happens with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Skip,
    Digest,
    /// Its inside has a meaning of its own.
    Enter(Scope),
    /// It is text of the prompt.
    Prompt,
    /// It is a token of the prompt.
    Token,
    /// Its value is reported as it is.
    Keep,
}
