//! What a body says to a router.

use super::fields::PromptField;
use super::turn::UserTurn;
use crate::prefix::Fingerprint;

/// What a body says to a router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyFingerprint<'b> {
    /// The prompt's fingerprint.
    pub fingerprint: Option<Fingerprint<'b>>,
    /// Why there is none; set exactly where `fingerprint` is not.
    pub no_prefix: Option<NoPrefix>,
    /// What kind of request it is.
    pub kind: BodyKind,
    /// The namespace digest: the host's, or the one from the body; 0 where there is none.
    pub namespace: u64,
    /// Whether the answer is to be streamed.
    pub stream: bool,
    /// Most tokens to be generated for one answer, where the body says it.
    pub max_tokens: Option<u32>,
    /// Answers to be generated: `n` or `best_of` for each prompt of a batch; at least 1.
    pub answers: u32,
    /// Whether the user speaks after an agent's loop, and what engines hold then. Known under the profile
    /// `auto` and those that drop history.
    pub turn: Option<UserTurn>,
}

impl BodyFingerprint<'_> {
    /// Most tokens to be generated for all answers together, where the body says it.
    pub fn most_output_tokens(&self) -> Option<u32> {
        self.max_tokens.map(|tokens| tokens.saturating_mul(self.answers))
    }
}

/// The kind of a request, given by the field that holds its prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BodyKind {
    /// `messages`.
    Chat,
    /// `prompt`.
    Completion,
    /// `input`.
    Responses,
    /// `text`, `input_ids` or `inputs`.
    Generate,
    /// None of them, or several.
    Unknown,
}

impl From<PromptField> for BodyKind {
    fn from(field: PromptField) -> BodyKind {
        match field {
            PromptField::Messages => BodyKind::Chat,
            PromptField::Prompt => BodyKind::Completion,
            PromptField::Input => BodyKind::Responses,
            PromptField::Text | PromptField::InputIds | PromptField::Inputs => BodyKind::Generate,
        }
    }
}

/// Why a well-formed body has no fingerprint. Of several reasons the first in this order is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum NoPrefix {
    /// The body is not an object.
    NotAnObject,
    /// More than one field holds a prompt, or one that holds text or messages is there twice.
    SeveralPrompts,
    /// The prompt array mixes text and tokens.
    MixedPrompt,
    /// The prompt is of a shape that no engine takes.
    UnknownShape,
    /// The prompt is an array without elements.
    EmptyPrompt,
    /// No known field holds a prompt.
    NoPrompt,
}

impl NoPrefix {
    /// A stable name for metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            NoPrefix::NotAnObject => "not_an_object",
            NoPrefix::SeveralPrompts => "several_prompts",
            NoPrefix::MixedPrompt => "mixed_prompt",
            NoPrefix::UnknownShape => "unknown_shape",
            NoPrefix::EmptyPrompt => "empty_prompt",
            NoPrefix::NoPrompt => "no_prompt",
        }
    }
}
