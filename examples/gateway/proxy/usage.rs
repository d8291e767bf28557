//! Reads the engines' token counts out of an answer that passes through, without holding it back.
//!
//! One pass over the bytes, however they are cut: of a JSON answer or a stream of events, the last number under each
//! name in an object `usage` or `meta_info` (SGLang's), wherever that object lies: `usage` of chat, completions and
//! Messages, `response.usage` of a Responses stream, `message.usage` of a Messages stream. Generated text cannot be
//! taken for it: the quotes in it are escaped.

use pointsman::Usage;

/// What is counted, by the engines' names.
const NAMES: [&[u8]; 7] = [
    b"prompt_tokens",
    b"input_tokens",
    b"completion_tokens",
    b"output_tokens",
    b"cached_tokens",
    b"cache_read_input_tokens",
    b"cache_creation_input_tokens",
];
/// Stands one level deeper, in `prompt_tokens_details` or `input_tokens_details`; the others do not.
const CACHED: usize = 4;
/// The longest name, and one byte more by which a longer one is seen to be another.
const LONGEST: usize = 28;

/// Fed with the bytes of an answer as they pass.
#[derive(Clone, Debug, Default)]
pub struct UsageReader {
    counts: [Option<u32>; NAMES.len()],
    /// The last string, while it lasts and until something other than a colon follows it.
    text: [u8; LONGEST],
    length: usize,
    in_text: bool,
    escaped: bool,
    /// The name before the value that comes now.
    key: Key,
    number: Option<u64>,
    depth: u32,
    /// Depth of the object that counts; 0 outside of one.
    counting: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Key {
    #[default]
    None,
    /// An object of counts begins, if one does.
    Counts,
    Count(usize),
}

impl UsageReader {
    /// The next bytes of the answer.
    pub fn push(&mut self, piece: &[u8]) {
        piece.iter().for_each(|&byte| if self.in_text { self.text(byte) } else { self.mark(byte) });
    }

    /// What has been reported so far, as the library counts: prompt tokens include the cached ones. Messages say how
    /// many were read from the cache or written into it *beside* `input_tokens`.
    pub fn usage(&self) -> Usage {
        let [prompt, input, completion, output, cached, read, written] = self.counts;
        match prompt {
            Some(_) => Usage::including_cached(prompt, cached.or(read), completion.or(output)),
            // Responses count as chat does: without the names that Messages have, nothing is on top.
            None => {
                let usage = Usage::excluding_cached(input, read, written, completion.or(output));
                Usage { cached_tokens: cached.or(read), ..usage }
            }
        }
    }

    /// A byte of a string. JSON has no line break in one: after something that is no JSON, the next line counts again.
    fn text(&mut self, byte: u8) {
        match byte {
            b'\n' => self.in_text = false,
            _ if self.escaped => self.escaped = false,
            b'"' => self.in_text = false,
            b'\\' => (self.escaped, self.length) = (true, LONGEST),
            _ if self.length < LONGEST => {
                self.text[self.length] = byte;
                self.length += 1;
            }
            _ => {}
        }
    }

    fn mark(&mut self, byte: u8) {
        if byte.is_ascii_digit() && matches!(self.key, Key::Count(_)) {
            let number = self.number.unwrap_or(0);
            self.number = Some(number.saturating_mul(10).saturating_add(u64::from(byte - b'0')));
            return;
        }
        if let (Some(number), Key::Count(name)) = (self.number.take(), self.key) {
            self.counts[name] = u32::try_from(number).ok();
            self.key = Key::None;
        }
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => {}
            b'"' => {
                (self.in_text, self.escaped, self.length, self.key) = (true, false, 0, Key::None)
            }
            b':' => self.key = self.named(),
            b'{' => {
                self.depth += 1;
                if self.counting == 0 && self.key == Key::Counts {
                    self.counting = self.depth;
                }
                self.key = Key::None;
            }
            b'}' => {
                if self.depth == self.counting {
                    self.counting = 0;
                }
                self.depth = self.depth.saturating_sub(1);
            }
            _ => (self.key, self.length) = (Key::None, 0),
        }
    }

    /// What the last string means as a name; a string is one for the colon right after it only.
    fn named(&mut self) -> Key {
        let name = &self.text[..std::mem::take(&mut self.length)];
        if self.counting == 0 {
            return if name == b"usage" || name == b"meta_info" { Key::Counts } else { Key::None };
        }
        let found = NAMES.iter().position(|known| *known == name);
        let deeper = self.depth - self.counting;
        match found {
            Some(CACHED) if deeper <= 1 => Key::Count(CACHED),
            Some(count) if deeper == 0 => Key::Count(count),
            _ => Key::None,
        }
    }
}
