//! One request's prompt, read when it is first asked for and never again, however often the request is
//! decided anew.

use super::{PromptReader, ReadPrompt};
use crate::policy::error::RoutingError;
use crate::request::{Prompt, Request};

/// Room for the block hashes of a prompt. It grows to what the longest prompt has needed, at most
/// 32,768 blocks of the default size, 256 KiB, and is kept.
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

    /// The fingerprint of the request's prompt, in as many leading blocks as are matched. To be
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
                ReadPrompt::plain(given.leading(reader.blocks_for(request)))
            }
            _ => {
                let hashes =
                    self.window.take().map(|window| window.get(reader.blocks_for(request)));
                reader.read(request, hashes.unwrap_or_default())?
            }
        };
        self.read = Some(read);
        Ok(read)
    }
}

impl Window {
    /// Room for this many blocks, or, where the memory is not to be had, for fewer: then the beginning
    /// of the prompt is matched.
    #[inline]
    fn get(&mut self, blocks: usize) -> &mut [u64] {
        if self.0.len() < blocks {
            self.grow(blocks);
        }
        let blocks = blocks.min(self.0.len());
        &mut self.0[..blocks]
    }

    #[cold]
    fn grow(&mut self, blocks: usize) {
        let blocks = blocks.next_power_of_two();
        if self.0.try_reserve_exact(blocks - self.0.len()).is_ok() {
            self.0.resize(blocks, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prefix::HashKey;

    #[test]
    fn a_prompt_is_read_once() {
        let reader = PromptReader::new(HashKey::from_bytes([7; 32]), Default::default());
        let text = "What is asked for. ".repeat(100);
        let bad = Request::json(b"{");
        for request in [Request::text(&text), Request::tokens(&[7; 999]), Request::none()] {
            let mut window = Window::default();
            let mut once = PromptOnce::new(&mut window);
            let first = once.read(&reader, &request).expect("it can be read").fingerprint;
            // What could not be read does no harm, as it is not read.
            let again = once.read(&reader, &bad).expect("it is not read again").fingerprint;
            assert_eq!(first, again);
            assert_eq!(first.blocks().as_ptr(), again.blocks().as_ptr());
        }
        let mut window = Window::default();
        assert!(PromptOnce::new(&mut window).read(&reader, &bad).is_err(), "it cannot be read");
    }

    #[test]
    fn a_given_fingerprint_ends_where_other_prompts_do() {
        let reader = PromptReader::new(HashKey::from_bytes([7; 32]), Default::default());
        let text = "What is asked for. ".repeat(300_000);
        let mut buffer = vec![0; text.len() / reader.block().bytes()];
        let given = reader.read(&Request::text(&text), &mut buffer).expect("text").fingerprint;
        let mut windows = [Window::default(), Window::default()];
        let [own, other] = &mut windows;
        let read = PromptOnce::new(own).read(&reader, &Request::text(&text));
        let same = PromptOnce::new(other).read(&reader, &Request::fingerprint(given));
        let (read, same) =
            (read.expect("text").fingerprint, same.expect("its own key").fingerprint);
        assert!(read.blocks().len() < given.blocks().len());
        assert_eq!(read, same);
    }
}
