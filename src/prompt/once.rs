//! One request's prompt, read when it is first asked for and never again, however often the request is
//! decided anew.

use super::{PromptReader, ReadPrompt};
use crate::error::RoutingError;
use crate::request::{Prompt, Request};

/// Room for the block hashes of the longest prompt. The memory is taken when it is first needed, and
/// touched as far as prompts fill it.
#[derive(Debug, Default)]
pub(crate) struct Window(Vec<u64>);

/// A prompt that is read at most once.
pub(crate) struct PromptOnce<'a> {
    /// Until it is read.
    window: Option<&'a mut Window>,
    read: Option<ReadPrompt<'a>>,
}

impl<'a> PromptOnce<'a> {
    #[inline(always)]
    pub(crate) fn new(window: &'a mut Window) -> Self {
        PromptOnce { window: Some(window), read: None }
    }

    /// The fingerprint of the request's prompt, in as many leading blocks as the window holds. To be
    /// asked with the same reader and request each time.
    pub(crate) fn read(
        &mut self,
        reader: &PromptReader,
        request: &Request<'a>,
    ) -> Result<ReadPrompt<'a>, RoutingError> {
        if let Some(read) = self.read {
            return Ok(read);
        }
        let read = match &request.prompt {
            Prompt::Fingerprint(given) => {
                reader.check(given, request)?;
                ReadPrompt::plain(*given)
            }
            _ => {
                let hashes = self.window.take().map(|window| window.get(reader.max_blocks()));
                reader.read(request, hashes.unwrap_or_default())?
            }
        };
        self.read = Some(read);
        Ok(read)
    }
}

impl Window {
    fn get(&mut self, blocks: usize) -> &mut [u64] {
        if self.0.len() < blocks {
            // Zeroed by the system, so that pages which no prompt reaches are never resident.
            self.0 = vec![0; blocks];
        }
        &mut self.0
    }
}
