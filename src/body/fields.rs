//! Which fields of a body mean what. Everything not named here counts inside a message and does
//! not count at the top, where most fields are sampling parameters.

/// What the value of a field is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    /// Nothing.
    Ignored,
    /// It shapes the prompt: digested.
    Digested,
    /// It is part of what is rendered before the messages: digested, and its length counts.
    Rendered,
    /// What kind of message or part this is: digested, save for the plain kinds.
    Type,
    /// An image or the like: digested, and counted as configured.
    Media(Media),
    /// Part of the namespace: digested.
    Namespace,
    /// The prompt itself.
    Prompt(PromptField),
    /// A message's content.
    Content,
    /// A content part's text.
    Text,
    /// Whether the answer is streamed.
    Stream,
    /// Most tokens to be generated.
    MaxTokens,
    /// The same under an older name, which the newer one overrides.
    OldMaxTokens,
    /// The object that holds the sampling parameters, among them the most tokens.
    Sampling,
}

/// What is not text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Media {
    Image,
    Audio,
    Video,
    File,
}

/// The field that the prompt is in, which tells the kind of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PromptField {
    Messages,
    Prompt,
    Input,
    Text,
    InputIds,
}

impl PromptField {
    /// Whether the prompt, or an element of it, may be a string.
    pub(super) fn takes_text(self) -> bool {
        matches!(self, PromptField::Prompt | PromptField::Input | PromptField::Text)
    }

    /// Whether its elements may be numbers, or arrays of numbers.
    pub(super) fn takes_tokens(self) -> bool {
        matches!(self, PromptField::Prompt | PromptField::Input | PromptField::InputIds)
    }

    /// Whether its elements may be messages.
    pub(super) fn takes_messages(self) -> bool {
        matches!(self, PromptField::Messages | PromptField::Input)
    }

    /// Whether an object in its place is a setting of the responses API and not a prompt.
    pub(super) fn may_be_setting(self) -> bool {
        matches!(self, PromptField::Prompt | PromptField::Text)
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
        b"model" | b"lora_path" | b"cache_salt" | b"extra_key" => Field::Namespace,
        b"tools" | b"functions" | b"documents" | b"instructions" | b"system" => Field::Rendered,
        b"tool_choice"
        | b"function_call"
        | b"response_format"
        | b"chat_template"
        | b"chat_template_kwargs"
        | b"reasoning_effort"
        | b"reasoning"
        | b"thinking"
        | b"task"
        | b"previous_response_id"
        | b"conversation"
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
        b"sampling_params" => Field::Sampling,
        _ => Field::Ignored,
    }
}

/// Fields of a message, or of an item of the responses API.
pub(super) fn message(name: &[u8]) -> Field {
    match name {
        b"content" => Field::Content,
        b"type" => Field::Type,
        b"cache_control" => Field::Ignored,
        _ => Field::Digested,
    }
}

/// Fields of a content part.
pub(super) fn part(name: &[u8]) -> Field {
    match name {
        b"text" => Field::Text,
        b"type" => Field::Type,
        b"image_url" | b"image" | b"image_embeds" | b"image_pil" => Field::Media(Media::Image),
        b"input_audio" | b"audio_url" | b"audio" => Field::Media(Media::Audio),
        b"video_url" | b"video" => Field::Media(Media::Video),
        b"file" | b"file_data" | b"file_url" | b"file_id" => Field::Media(Media::File),
        b"cache_control" => Field::Ignored,
        _ => Field::Digested,
    }
}

/// Fields of `sampling_params`.
pub(super) fn sampling(name: &[u8]) -> Field {
    if name == b"max_new_tokens" { Field::MaxTokens } else { Field::Ignored }
}

/// The types of messages and parts that are the same as leaving the type out.
pub(super) fn is_plain_type(name: &[u8]) -> bool {
    matches!(name, b"message" | b"text" | b"input_text" | b"output_text")
}
