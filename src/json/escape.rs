//! What the escapes in JSON strings stand for.

use super::error::JsonErrorKind;

/// Longest escape without its backslash: a surrogate pair.
pub(super) const MAX_ESCAPE: usize = r"ud83d\ude82".len();

/// What the byte after a backslash stands for; 0 if that takes more than the byte.
const SHORT: [u8; 256] = {
    let mut table = [0; 256];
    table[b'"' as usize] = b'"';
    table[b'\\' as usize] = b'\\';
    table[b'/' as usize] = b'/';
    table[b'b' as usize] = 0x08;
    table[b'f' as usize] = 0x0c;
    table[b'n' as usize] = b'\n';
    table[b'r' as usize] = b'\r';
    table[b't' as usize] = b'\t';
    table
};

/// The character that `byte` after a backslash stands for by itself.
#[inline]
pub(super) fn short(byte: u8) -> Option<u8> {
    Some(SHORT[usize::from(byte)]).filter(|&plain| plain != 0)
}

/// Decodes the escape whose backslash comes before `source`: its character, and the bytes it takes.
/// Nothing if `source` ends too early. An error means the first byte that makes it one.
pub(super) fn decode(source: &[u8]) -> Result<Option<(char, usize)>, JsonErrorKind> {
    let Some((&kind, digits)) = source.split_first() else { return Ok(None) };
    if kind != b'u' {
        let plain = short(kind).ok_or(JsonErrorKind::InvalidEscape)?;
        return Ok(Some((plain.into(), 1)));
    }
    let Some(first) = code_unit(digits)? else { return Ok(None) };
    if let Some(character) = char::from_u32(first.into()) {
        return Ok(Some((character, 5)));
    }
    let second = &digits[4..];
    let continues = second.iter().zip(br"\u").all(|(byte, expected)| byte == expected);
    if first >= 0xdc00 || !continues {
        return Err(JsonErrorKind::UnpairedSurrogate);
    }
    let Some(second) = code_unit(second.get(2..).unwrap_or(&[]))? else { return Ok(None) };
    match char::decode_utf16([first, second]).next() {
        Some(Ok(character)) => Ok(Some((character, MAX_ESCAPE))),
        _ => Err(JsonErrorKind::UnpairedSurrogate),
    }
}

/// The value of four hexadecimal digits.
fn code_unit(digits: &[u8]) -> Result<Option<u16>, JsonErrorKind> {
    let mut code = 0;
    for &digit in digits.iter().take(4) {
        let digit = char::from(digit).to_digit(16).ok_or(JsonErrorKind::InvalidEscape)?;
        code = code << 4 | digit as u16;
    }
    Ok((digits.len() >= 4).then_some(code))
}
