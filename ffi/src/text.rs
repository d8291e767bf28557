//! Text in fixed memory, for messages that must not allocate.

use std::ffi::c_char;
use std::fmt::{self, Write};

/// A NUL-terminated line of text in fixed memory: what does not fit is cut off at a character, and
/// control characters, which names from outside may have, become spaces.
pub(crate) struct Text<const BYTES: usize> {
    bytes: [u8; BYTES],
    length: usize,
}

impl<const BYTES: usize> Text<BYTES> {
    pub(crate) const fn new() -> Self {
        Text { bytes: [0; BYTES], length: 0 }
    }

    pub(crate) fn set(&mut self, text: fmt::Arguments<'_>) {
        self.length = 0;
        // Fails where the rest was cut off, or where a message failed to print itself.
        let _ = self.write_fmt(text);
        if let Some(end) = self.bytes.get_mut(self.length) {
            *end = 0;
        }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    pub(crate) fn as_ptr(&self) -> *const c_char {
        self.bytes.as_ptr().cast()
    }
}

impl<const BYTES: usize> Write for Text<BYTES> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // One byte stays free for the NUL.
        let room = BYTES.saturating_sub(1).saturating_sub(self.length);
        let mut fits = text.len().min(room);
        while !text.is_char_boundary(fits) {
            fits -= 1;
        }
        let target = self.bytes.get_mut(self.length..self.length + fits).ok_or(fmt::Error)?;
        target.copy_from_slice(text.as_bytes().get(..fits).ok_or(fmt::Error)?);
        target.iter_mut().filter(|byte| byte.is_ascii_control()).for_each(|byte| *byte = b' ');
        self.length += fits;
        if fits == text.len() { Ok(()) } else { Err(fmt::Error) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_at_a_character_and_ends_with_nul() {
        let mut text = Text::<8>::new();
        text.set(format_args!("{}", "1234567"));
        assert_eq!((text.as_bytes(), text.bytes[7]), (&b"1234567"[..], 0));
        text.set(format_args!("123456\u{e4}"));
        assert_eq!((text.as_bytes(), text.bytes[6]), (&b"123456"[..], 0));
        text.set(format_args!("a\n\0\u{7f}b"));
        assert_eq!(text.as_bytes(), b"a   b");
        text.set(format_args!("{}{}", "ab", "c"));
        assert_eq!((text.as_bytes(), text.bytes[3]), (&b"abc"[..], 0));
    }
}
