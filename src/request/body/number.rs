//! The grammar and the value of a JSON number that may arrive in pieces.

use super::MAX_NUMBER_BYTES;
use super::error::BodyErrorKind;
use super::events::Num;

/// What has been read of the number: where it stands in the grammar of RFC 8259, section 6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Minus,
    Zero,
    Digits,
    Point,
    Fraction,
    Mark,
    Sign,
    Exponent,
}

/// A number under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Number {
    stage: Stage,
    /// Whether it is digits only, which is read without a buffer.
    plain: bool,
    length: u32,
    /// Value of the digits while `plain` and at most [`PLAIN_DIGITS`] long.
    value: u64,
    text: [u8; MAX_NUMBER_BYTES],
}

/// So many digits fit a `u64` whatever they are.
const PLAIN_DIGITS: u32 = 19;

/// What a byte does to a number under way.
pub(super) enum Step {
    /// It belongs to the number.
    Inside,
    /// It ends the number and belongs to what follows.
    Ends,
    /// It cannot stand here.
    Unexpected,
}

impl Number {
    pub(super) const fn new() -> Self {
        Number {
            stage: Stage::Minus,
            plain: true,
            length: 0,
            value: 0,
            text: [0; MAX_NUMBER_BYTES],
        }
    }

    /// Reads a number of few digits and nothing else that ends within `bytes`, and where it ends.
    #[inline]
    pub(super) fn read_plain(bytes: &[u8]) -> Option<(u64, usize)> {
        let mut value = 0;
        for (length, &byte) in bytes.iter().enumerate().take(PLAIN_DIGITS as usize) {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                let is_whole = length > 0 && !matches!(byte, b'.' | b'e' | b'E');
                return is_whole.then_some((value, length));
            }
            if length == 1 && value == 0 {
                // No digit may follow a leading zero.
                return None;
            }
            value = value * 10 + u64::from(digit);
        }
        None
    }

    /// Begins a number with a byte of which [`Number::starts`] is true.
    pub(super) fn begin(&mut self, byte: u8) {
        self.stage = match byte {
            b'-' => Stage::Minus,
            b'0' => Stage::Zero,
            _ => Stage::Digits,
        };
        self.plain = byte != b'-';
        self.length = 0;
        self.value = 0;
        self.keep(byte);
    }

    pub(super) fn starts(byte: u8) -> bool {
        byte == b'-' || byte.is_ascii_digit()
    }

    pub(super) fn step(&mut self, byte: u8) -> Step {
        let Some(next) = self.stage.after(byte) else {
            return if self.complete() { Step::Ends } else { Step::Unexpected };
        };
        // `012` ends after its zero by the grammar, but no JSON goes on with a digit there.
        self.plain &= next == Stage::Digits;
        self.stage = next;
        self.keep(byte);
        Step::Inside
    }

    pub(super) fn complete(&self) -> bool {
        matches!(self.stage, Stage::Zero | Stage::Digits | Stage::Fraction | Stage::Exponent)
    }

    fn keep(&mut self, byte: u8) {
        if let Some(place) = self.text.get_mut(self.length as usize) {
            *place = byte;
        }
        self.value = self.value.wrapping_mul(10).wrapping_add(u64::from(byte & 0x0f));
        self.length = self.length.saturating_add(1);
    }

    /// The value of a complete number, told apart and rounded as `serde_json` does it.
    pub(super) fn value(&self) -> Result<Num, BodyErrorKind> {
        if self.plain && self.length <= PLAIN_DIGITS {
            return Ok(Num::Unsigned(self.value));
        }
        let text = self.text.get(..self.length as usize).ok_or(BodyErrorKind::NumberTooLong)?;
        let number: serde_json::Number =
            serde_json::from_slice(text).map_err(|_| BodyErrorKind::NumberOutOfRange)?;
        Ok(Num::from(&number))
    }
}

impl Stage {
    fn after(self, byte: u8) -> Option<Stage> {
        match (self, byte) {
            (Stage::Minus, b'0') => Some(Stage::Zero),
            (Stage::Minus | Stage::Digits, b'0'..=b'9') => Some(Stage::Digits),
            (Stage::Zero | Stage::Digits, b'.') => Some(Stage::Point),
            (Stage::Point | Stage::Fraction, b'0'..=b'9') => Some(Stage::Fraction),
            (Stage::Zero | Stage::Digits | Stage::Fraction, b'e' | b'E') => Some(Stage::Mark),
            (Stage::Mark, b'+' | b'-') => Some(Stage::Sign),
            (Stage::Mark | Stage::Sign | Stage::Exponent, b'0'..=b'9') => Some(Stage::Exponent),
            _ => None,
        }
    }
}

impl From<&serde_json::Number> for Num {
    fn from(number: &serde_json::Number) -> Num {
        if let Some(value) = number.as_u64() {
            Num::Unsigned(value)
        } else if let Some(value) = number.as_i64() {
            Num::Negative(value)
        } else {
            // A double is all that is left, save for `arbitrary_precision` switched on elsewhere in
            // the build, where a number beyond every double has no value to tell it by.
            Num::Float(number.as_f64().unwrap_or(f64::NAN))
        }
    }
}
