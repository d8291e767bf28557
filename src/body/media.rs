//! What is not text: its kinds, and how an object says that it is one.
//!
//! An object is an image, a sound, a video or a file by a key that only such objects have
//! (`image_url`), or by its type (`image`, `document`) or its media type beside a key that holds or
//! names the data (`data`, `url`). So it is known in every shape of the chat, Messages, Responses, MCP
//! and AI SDK formats, wherever it stands, once it ends; keys may come in any order.

/// What is not text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Media {
    Image,
    Audio,
    Video,
    File,
}

/// What a key inside a message, a content part or anything in them stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// No engine renders it.
    Ignored,
    /// It counts, and has no meaning of its own.
    Plain,
    /// What kind of message or part this is.
    Type,
    /// A message's content.
    Content,
    /// A content part's text.
    Text,
    /// It holds media, whatever stands beside it.
    Holds(Media),
    /// It holds the data of media, if the object is one.
    Data,
    /// The same, but only where it holds media itself: it may be text.
    Source,
    /// It says of which media type the data are.
    MediaType,
    /// It names the media: whatever data stand beside it are the same.
    Identity,
    /// What is in it belongs to the user: every key counts, in its order.
    Verbatim,
}

/// The meaning of a key, in a message or in another value that shapes the prompt.
pub(super) fn key(name: &[u8], in_message: bool) -> Key {
    match name {
        b"cache_control" => Key::Ignored,
        b"type" => Key::Type,
        b"content" => Key::Content,
        b"text" => Key::Text,
        b"image_url" | b"image" | b"image_embeds" | b"image_pil" => Key::Holds(Media::Image),
        b"input_audio" | b"audio_url" | b"audio" | b"audio_embeds" => Key::Holds(Media::Audio),
        b"video_url" | b"video" | b"input_video" => Key::Holds(Media::Video),
        b"file" | b"file_data" | b"file_url" | b"inline_data" | b"inlineData" | b"blob" => {
            Key::Holds(Media::File)
        }
        b"data" | b"url" | b"uri" | b"base64" | b"bytes" | b"result" => Key::Data,
        b"source" => Key::Source,
        b"media_type" | b"mediaType" | b"mime_type" | b"mimeType" => Key::MediaType,
        b"uuid" | b"file_id" | b"fileId" => Key::Identity,
        b"parameters" | b"input_schema" | b"inputSchema" | b"arguments" | b"input" | b"args" => {
            Key::Verbatim
        }
        _ if in_message && is_unrendered(name) => Key::Ignored,
        _ => Key::Plain,
    }
}

/// What stands in messages and is rendered by no chat template, or by hardly one.
fn is_unrendered(name: &[u8]) -> bool {
    matches!(
        name,
        b"id"
            | b"call_id"
            | b"tool_call_id"
            | b"tool_use_id"
            | b"toolCallId"
            | b"signature"
            | b"encrypted_content"
            | b"annotations"
            | b"citations"
            | b"logprobs"
            | b"status"
            | b"index"
            | b"detail"
            | b"created_at"
            | b"metadata"
            | b"providerOptions"
            | b"provider_options"
            | b"providerMetadata"
    )
}

/// What a `type` says about the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    /// The same as leaving it out.
    Plain,
    /// An object with data is media of this kind.
    Media(Media),
    /// How the media that the outer object is are given.
    Given,
    Other,
}

/// The meaning of a value of `type`.
pub(super) fn object_type(name: &[u8]) -> Type {
    match name {
        b"message" | b"text" | b"input_text" | b"output_text" | b"function" => Type::Plain,
        b"image"
        | b"image_url"
        | b"input_image"
        | b"image_embeds"
        | b"image_pil"
        | b"image-data"
        | b"image-url"
        | b"image-file-id"
        | b"computer_screenshot"
        | b"image_generation_call" => Type::Media(Media::Image),
        b"audio" | b"input_audio" | b"audio_url" | b"audio_embeds" => Type::Media(Media::Audio),
        b"video" | b"video_url" | b"input_video" => Type::Media(Media::Video),
        b"file" | b"input_file" | b"document" | b"media" | b"file-data" | b"file-url"
        | b"file-id" => Type::Media(Media::File),
        b"base64" | b"url" => Type::Given,
        _ => Type::Other,
    }
}

/// What a media type says of the data beside it: nothing for text, which counts as text.
pub(super) fn of_media_type(name: &[u8]) -> Option<Media> {
    let starts =
        |with: &[u8]| name.len() >= with.len() && name[..with.len()].eq_ignore_ascii_case(with);
    if starts(b"text/") {
        None
    } else if starts(b"image/") {
        Some(Media::Image)
    } else if starts(b"audio/") {
        Some(Media::Audio)
    } else if starts(b"video/") {
        Some(Media::Video)
    } else {
        Some(Media::File)
    }
}
