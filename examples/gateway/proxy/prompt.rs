//! What the router is shown of a request.

use std::borrow::Cow;

use pointsman::Request;
use serde::Deserialize;

/// Which part of a request counts as its prompt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum PromptSource {
    /// The whole body: every message, tools, whatever the engine will render.
    #[default]
    Conversation,
    /// The first message only, as some routers do: for comparison.
    FirstMessage,
}

/// A prompt that a [`Request`] can borrow from.
pub(crate) enum ReadPrompt<'a> {
    Body(&'a [u8]),
    Text(Cow<'a, str>),
    None,
}

impl PromptSource {
    /// Reads the prompt of a body; one without a prompt is routed by load alone.
    pub(crate) fn read(self, body: &[u8]) -> ReadPrompt<'_> {
        match self {
            _ if body.is_empty() => ReadPrompt::None,
            PromptSource::Conversation => ReadPrompt::Body(body),
            PromptSource::FirstMessage => {
                first_message(body).map_or(ReadPrompt::None, ReadPrompt::Text)
            }
        }
    }
}

impl ReadPrompt<'_> {
    pub(crate) fn request(&self) -> Request<'_> {
        match self {
            ReadPrompt::Body(body) => Request::json(body),
            ReadPrompt::Text(text) => Request::text(text),
            ReadPrompt::None => Request::none(),
        }
    }
}

#[derive(Deserialize)]
struct Chat<'a> {
    #[serde(borrow)]
    messages: Vec<Message<'a>>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    content: Cow<'a, str>,
}

fn first_message(body: &[u8]) -> Option<Cow<'_, str>> {
    let chat: Chat<'_> = serde_json::from_slice(body).ok()?;
    chat.messages.into_iter().next().map(|message| message.content)
}
