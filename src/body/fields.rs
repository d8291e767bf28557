//! Which fields of a body mean what. Everything not named here does not count at the top, where most
//! fields are sampling parameters. What stands in a message is told by [`super::media::key`].

use super::media::Media;
use super::profile::RenderProfile;

/// What the value of a field at the top is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    /// Nothing.
    Ignored,
    /// It shapes the prompt: digested.
    Digested,
    /// It is rendered before the messages: digested, and its length counts.
    Rendered,
    /// The tools, digested one by one.
    Tools,
    /// The text of a message before the others.
    System,
    /// What the chat template is told.
    TemplateKwargs,
    /// How much a model shall think: counts where it is rendered at the head.
    Effort,
    /// Whether it shall think, which tool it shall call, what it shall answer: the same.
    Thinking,
    ToolChoice,
    ResponseFormat,
    /// An object that holds it.
    HoldsEffort,
    /// Images or the like: digested, and counted as configured.
    Media(Media),
    /// Part of the namespace: digested.
    Namespace,
    /// The prompt itself.
    Prompt(PromptField),
    /// Whether the answer is streamed.
    Stream,
    /// Most tokens to be generated.
    MaxTokens,
    /// The same under an older name, which the newer one overrides.
    OldMaxTokens,
    /// Answers to be generated.
    Answers,
    /// The object that holds the sampling parameters, among them the most tokens.
    Sampling,
}

/// The field that the prompt is in, which tells the kind of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum PromptField {
    Messages,
    Prompt,
    Input,
    Text,
    InputIds,
    Inputs,
}

impl PromptField {
    /// Whether the prompt, or an element of it, may be a string.
    pub(super) fn takes_text(self) -> bool {
        !matches!(self, PromptField::Messages | PromptField::InputIds)
    }

    /// Whether its elements may be numbers, or arrays of numbers.
    pub(super) fn takes_tokens(self) -> bool {
        matches!(self, PromptField::Prompt | PromptField::Input | PromptField::InputIds)
    }

    /// Whether its elements may be messages.
    pub(super) fn takes_messages(self) -> bool {
        matches!(self, PromptField::Messages | PromptField::Input)
    }

    /// Whether token ids beside it take its place.
    pub(super) fn yields_to_ids(self) -> bool {
        matches!(self, PromptField::Messages | PromptField::Text)
    }

    /// One bit of its own.
    pub(super) fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// Fields of the body. The digested ones are those which an engine renders into the prompt, or
/// which change how it renders or cuts it.
pub(super) fn top(name: &[u8]) -> Field {
    match name {
        b"messages" => Field::Prompt(PromptField::Messages),
        b"prompt" => Field::Prompt(PromptField::Prompt),
        b"input" => Field::Prompt(PromptField::Input),
        b"text" => Field::Prompt(PromptField::Text),
        b"input_ids" => Field::Prompt(PromptField::InputIds),
        b"inputs" => Field::Prompt(PromptField::Inputs),
        b"model" | b"lora_path" | b"cache_salt" | b"extra_key" => Field::Namespace,
        b"tools" | b"functions" => Field::Tools,
        b"system" | b"instructions" => Field::System,
        b"documents" => Field::Rendered,
        b"chat_template_kwargs" => Field::TemplateKwargs,
        b"reasoning_effort" => Field::Effort,
        b"reasoning" | b"output_config" => Field::HoldsEffort,
        b"enable_thinking" | b"thinking" => Field::Thinking,
        b"tool_choice" | b"function_call" => Field::ToolChoice,
        b"response_format" => Field::ResponseFormat,
        b"chat_template"
        | b"task"
        | b"previous_response_id"
        | b"conversation"
        | b"session_params"
        | b"prompt_embeds"
        | b"input_embeds"
        | b"suffix"
        | b"add_special_tokens"
        | b"truncate_prompt_tokens"
        | b"mm_processor_kwargs"
        | b"media_io_kwargs" => Field::Digested,
        b"image_data" => Field::Media(Media::Image),
        b"audio_data" => Field::Media(Media::Audio),
        b"video_data" => Field::Media(Media::Video),
        b"stream" => Field::Stream,
        b"max_completion_tokens" | b"max_output_tokens" => Field::MaxTokens,
        b"max_tokens" => Field::OldMaxTokens,
        b"n" | b"best_of" => Field::Answers,
        b"sampling_params" | b"parameters" => Field::Sampling,
        _ => Field::Ignored,
    }
}

impl Field {
    /// What it is under this profile: a field that is rendered behind the messages does not count.
    pub(super) fn under(self, profile: &RenderProfile) -> Field {
        let counts = match self {
            Field::Effort | Field::HoldsEffort => profile.effort_at_head,
            Field::Thinking => profile.thinking_at_head,
            Field::ToolChoice => profile.tool_choice_at_head,
            Field::ResponseFormat => profile.response_format_at_head,
            _ => true,
        };
        if counts { self } else { Field::Ignored }
    }
}

/// Fields of `chat_template_kwargs`.
pub(super) fn template(name: &[u8]) -> Field {
    match name {
        b"enable_thinking" | b"thinking" | b"thinking_budget" => Field::Thinking,
        b"reasoning_effort" => Field::Effort,
        _ => Field::Digested,
    }
}

/// Fields of `reasoning` and `output_config`.
pub(super) fn effort(name: &[u8]) -> Field {
    if name == b"effort" { Field::Effort } else { Field::Ignored }
}

/// Fields of the sampling parameters.
pub(super) fn sampling(name: &[u8]) -> Field {
    match name {
        b"max_new_tokens" => Field::MaxTokens,
        b"n" | b"best_of" => Field::Answers,
        _ => Field::Ignored,
    }
}

/// The effort that leaving it out means.
pub(super) const USUAL_EFFORT: &[u8] = b"medium";
