//! One request's prompt, read when it is first asked for and never again, however often the request is
//! decided anew.

use super::{PromptReader, ReadPrompt};
use crate::policy::error::RoutingError;
use crate::prefix::Fingerprint;
use crate::request::{Prompt, Request};

/// Room for the block hashes of a prompt. It grows to what the longest prompt has needed, rounded up to a
/// power of two, at most 32,768 blocks of the default size, 256 KiB, and is kept.
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
        let read = match (&request.prompt, self.window.take()) {
            (Prompt::Fingerprint(given), _) => {
                reader.check(given, request)?;
                ReadPrompt::plain(given.leading(reader.most_blocks()))
            }
            (_, Some(window)) => window.read(reader, request)?,
            (_, None) => reader.read(request, &mut [])?,
        };
        self.read = Some(read);
        Ok(read)
    }
}

impl Window {
    /// Reads the prompt; a second time, where the window turns out to be too small for what a body declares
    /// beside its text, and can grow. Where the memory is not to be had, the beginning of the prompt is
    /// matched.
    fn read<'a>(
        &'a mut self,
        reader: &PromptReader,
        request: &Request<'_>,
    ) -> Result<ReadPrompt<'a>, RoutingError> {
        let most = reader.most_blocks();
        self.grow(most.min(reader.likely_blocks(request)));
        let (header, max_tokens, answers) = loop {
            let room = most.min(self.0.len());
            let read = reader.read(request, &mut self.0[..room])?;
            let header = *read.fingerprint.header();
            let (max_tokens, answers) = (read.max_tokens, read.answers);
            let units = reader.block().units(header.unit) as u64;
            let needed = most.min((header.total / units) as usize);
            if (header.blocks as usize) < room || !self.grow(needed) {
                break (header, max_tokens, answers);
            }
        };
        let fingerprint = Fingerprint::from_parts(header, &self.0[..header.blocks as usize])?;
        Ok(ReadPrompt { fingerprint, max_tokens, answers })
    }

    /// Makes room for this many blocks; whether that took more memory, and it was to be had.
    #[inline]
    fn grow(&mut self, blocks: usize) -> bool {
        self.0.len() < blocks && self.take_memory(blocks.next_power_of_two())
    }

    #[cold]
    fn take_memory(&mut self, blocks: usize) -> bool {
        let reserved = self.0.try_reserve_exact(blocks - self.0.len());
        if reserved.is_ok() {
            self.0.resize(blocks, 0);
        }
        reserved.is_ok()
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
    fn a_window_takes_what_prompts_need() {
        let reader = PromptReader::new(HashKey::from_bytes([7; 32]), Default::default());
        let text = "What is asked for. ".repeat(50);
        let image = r#"{"type":"image_url","image_url":{"url":"https://a.example/1.png"}}"#;
        let plain = format!(r#"{{"messages":[{{"role":"user","content":"{text}"}}]}}"#);
        let media = format!(
            r#"{{"messages":[{{"role":"user","content":[{image},{image},{{"type":"text","text":"{text}"}}]}}]}}"#
        );
        let parsed: serde_json::Value = serde_json::from_str(&media).expect("valid");
        // Of the default 576 tokens for an image, two take 36 blocks.
        for (request, room) in [
            (Request::text(&text), 8),
            (Request::json(plain.as_bytes()), 8),
            (Request::json(media.as_bytes()), 64),
            (Request::value(&parsed), 64),
        ] {
            let mut ample = vec![0; 1000];
            let whole = reader.read(&request, &mut ample).expect("it can be read").fingerprint;
            let mut window = Window::default();
            for _ in 0..2 {
                let read = window.read(&reader, &request).expect("it can be read").fingerprint;
                assert_eq!(read, whole);
                assert_eq!(window.0.len(), room, "{request:?}");
            }
        }
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
