//! The grammar and the value of a JSON number that may arrive in pieces.

use arrayvec::ArrayVec;

use super::error::JsonErrorKind;
use super::events::Number;

/// Longest number, in bytes, whose value can count.
pub const MAX_NUMBER_BYTES: usize = 64;

/// What has been read of the number: where it stands in the grammar of RFC 8259, section 6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Minus,
    Zero,
    Digits,
    Point,
    Fraction,
    ExponentMark,
    ExponentSign,
    Exponent,
}

/// A number under way.
pub(super) struct NumberReader {
    stage: Stage,
    /// The number as far as it was read, unless it is too long.
    text: Option<ArrayVec<u8, MAX_NUMBER_BYTES>>,
}

/// Any number of this many digits fits a `u64`.
const PLAIN_DIGITS: usize = 19;

/// What a byte does to a number under way.
pub(super) enum Step {
    /// It belongs to the number.
    Inside,
    /// It ends the number and belongs to what follows.
    Ends,
    /// It cannot stand here.
    Unexpected,
}

impl NumberReader {
    pub(super) const fn new() -> Self {
        NumberReader { stage: Stage::Minus, text: None }
    }

    /// Reads a number of few digits and nothing else that ends within `bytes`, and where it ends.
    #[inline]
    pub(super) fn read_plain(bytes: &[u8]) -> Option<(u64, usize)> {
        let mut value = 0;
        for (length, &byte) in bytes.iter().enumerate().take(PLAIN_DIGITS) {
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

    pub(super) fn starts(byte: u8) -> bool {
        byte == b'-' || byte.is_ascii_digit()
    }

    /// Begins a number with a byte of which [`NumberReader::starts`] is true.
    pub(super) fn begin(&mut self, byte: u8) {
        self.stage = match byte {
            b'-' => Stage::Minus,
            b'0' => Stage::Zero,
            _ => Stage::Digits,
        };
        self.text = Some(ArrayVec::new());
        self.keep(byte);
    }

    pub(super) fn step(&mut self, byte: u8) -> Step {
        let Some(next) = self.stage.after(byte) else {
            return if self.is_complete() { Step::Ends } else { Step::Unexpected };
        };
        self.stage = next;
        self.keep(byte);
        Step::Inside
    }

    fn keep(&mut self, byte: u8) {
        if self.text.as_mut().is_some_and(|text| text.try_push(byte).is_err()) {
            self.text = None;
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        matches!(self.stage, Stage::Zero | Stage::Digits | Stage::Fraction | Stage::Exponent)
    }

    /// The value of a complete number.
    pub(super) fn value(&self) -> Result<Number, JsonErrorKind> {
        let text = self.text.as_ref().ok_or(JsonErrorKind::NumberTooLong)?;
        match std::str::from_utf8(text).map(Number::from_text) {
            Ok(Number::Float(value)) if !value.is_finite() => Err(JsonErrorKind::NumberOutOfRange),
            Ok(number) => Ok(number),
            Err(_) => Err(JsonErrorKind::NumberOutOfRange),
        }
    }
}

impl Stage {
    fn after(self, byte: u8) -> Option<Stage> {
        match (self, byte) {
            (Stage::Minus, b'0') => Some(Stage::Zero),
            (Stage::Minus | Stage::Digits, b'0'..=b'9') => Some(Stage::Digits),
            (Stage::Zero | Stage::Digits, b'.') => Some(Stage::Point),
            (Stage::Point | Stage::Fraction, b'0'..=b'9') => Some(Stage::Fraction),
            (Stage::Zero | Stage::Digits | Stage::Fraction, b'e' | b'E') => {
                Some(Stage::ExponentMark)
            }
            (Stage::ExponentMark, b'+' | b'-') => Some(Stage::ExponentSign),
            (Stage::ExponentMark | Stage::ExponentSign | Stage::Exponent, b'0'..=b'9') => {
                Some(Stage::Exponent)
            }
            _ => None,
        }
    }
}
