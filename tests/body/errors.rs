//! Bodies that are wrong, deep, long or cut: a typed error at the right byte, whatever the chunks.

use pointsman::body::{
    BodyError, BodyOptions, BodyReader, JsonError, JsonErrorKind, MAX_DEPTH, NoPrefix, read_value,
};
use pointsman::prefix::HashKey;
use serde_json::Value;

fn key() -> HashKey {
    HashKey::from_bytes([1; 32])
}

/// Reads a body in pieces of `size`; the result without its borrow.
fn read_pieces(body: &[u8], size: usize) -> Result<Option<NoPrefix>, BodyError> {
    let key = key();
    let mut out = [0; 16];
    let mut reader = BodyReader::new(&key, BodyOptions::default(), &mut out);
    for piece in body.chunks(size.max(1)) {
        reader.push(piece)?;
    }
    reader.finish().map(|read| read.no_prefix)
}

/// The fault that such a body must have.
fn fault(result: Result<impl Sized, BodyError>) -> JsonError {
    match result.err() {
        Some(BodyError::Json(error)) => error,
        other => panic!("no JSON error: {other:?}"),
    }
}

#[test]
fn each_fault_is_named_and_located_whatever_the_chunks() {
    use JsonErrorKind::*;
    let faults: &[(&[u8], JsonErrorKind, u64)] = &[
        (b"", UnexpectedEnd, 0),
        (b"   ", UnexpectedEnd, 3),
        (b"{", UnexpectedEnd, 1),
        (br#"{"a":"#, UnexpectedEnd, 5),
        (br#"{"a":"b"#, UnexpectedEnd, 7),
        (br#"{"a":"b\"#, UnexpectedEnd, 8),
        (b"tru", UnexpectedEnd, 3),
        (b"-", UnexpectedEnd, 1),
        (b"1.", UnexpectedEnd, 2),
        (b"[1", UnexpectedEnd, 2),
        (b"\"\xe4\xb8", UnexpectedEnd, 3),
        (b"{} x", TrailingData, 3),
        (b"1 2", TrailingData, 2),
        (b"1,2", TrailingData, 1),
        (b"{}{}", TrailingData, 2),
        (b"{]", UnexpectedByte, 1),
        (b"[}", UnexpectedByte, 1),
        (b"[1,]", UnexpectedByte, 3),
        (b"[,1]", UnexpectedByte, 1),
        (b"[1 2]", UnexpectedByte, 3),
        (br#"{"a" 1}"#, UnexpectedByte, 5),
        (br#"{"a":1,}"#, UnexpectedByte, 7),
        (b"{1:2}", UnexpectedByte, 1),
        (b"[1}", UnexpectedByte, 2),
        (br#"{"a":1]"#, UnexpectedByte, 6),
        (b"trux", UnexpectedByte, 3),
        (b"[nul]", UnexpectedByte, 4),
        (b"[01]", UnexpectedByte, 2),
        (b"[1.x]", UnexpectedByte, 3),
        (b"[1e]", UnexpectedByte, 3),
        (b"[-a]", UnexpectedByte, 2),
        (b"[+1]", UnexpectedByte, 1),
        (b"[.5]", UnexpectedByte, 1),
        (b"'a'", UnexpectedByte, 0),
        (b"\xef\xbb\xbf{}", UnexpectedByte, 0),
        (b"[NaN]", UnexpectedByte, 1),
        (b"[\x0c1]", UnexpectedByte, 1),
        (b"\"a\nb\"", ControlCharacter, 2),
        (b"\"\x00\"", ControlCharacter, 1),
        (br#""\x""#, InvalidEscape, 2),
        (br#""\u12g4""#, InvalidEscape, 5),
        (br#""\u+123""#, InvalidEscape, 3),
        (br#""\ud800""#, UnpairedSurrogate, 7),
        (br#""\ud800x""#, UnpairedSurrogate, 7),
        (br#""\ud800\n""#, UnpairedSurrogate, 8),
        (br#""\ud800\u0041""#, UnpairedSurrogate, 12),
        (br#""\udc00""#, UnpairedSurrogate, 6),
        (b"\"ab\xff\"", InvalidUtf8, 3),
        (b"\"ab\xc0\xaf\"", InvalidUtf8, 3),
        (b"\"ab\xed\xa0\x80\"", InvalidUtf8, 3),
        (b"\"ab\xf4\x90\x80\x80\"", InvalidUtf8, 3),
        (b"\"ab\xe4\xb8\"", InvalidUtf8, 3),
        (b"\"ab\xe4\xb8\\n\"", InvalidUtf8, 3),
        (b"\"ab\x80\"", InvalidUtf8, 3),
        (b"{\xff", InvalidUtf8, 1),
        (br#"{"tools":1e999}"#, NumberOutOfRange, 14),
    ];
    for &(body, kind, position) in faults {
        for size in 1..=body.len().max(1) {
            let found = fault(read_pieces(body, size));
            let body = String::from_utf8_lossy(body);
            assert_eq!((found.kind, found.position), (kind, position), "{body}");
        }
        // With `arbitrary_precision`, a parsed value can hold a number that is beyond every double.
        if let Ok(value) = serde_json::from_slice::<Value>(body) {
            let key = key();
            let read = read_value(&key, BodyOptions::default(), &value, &mut []);
            assert_eq!(fault(read).kind, kind, "{}", String::from_utf8_lossy(body));
        }
    }
}

#[test]
fn an_error_stays() {
    let key = key();
    let mut out = [0; 16];
    let mut reader = BodyReader::new(&key, BodyOptions::default(), &mut out);
    let error = reader.push(b"{]").unwrap_err();
    assert_eq!(reader.push(b"}"), Err(error));
    assert_eq!(reader.finish().unwrap_err(), error);
    assert_eq!(error.to_string(), "unexpected byte at byte 1");
}

#[test]
fn numbers_that_do_not_count_may_be_of_any_length() {
    let long = "1".repeat(500);
    let skipped = format!(r#"{{"prompt":"x","seed":{long},"logit_bias":{{"a":[{long}]}}}}"#);
    assert_eq!(read_pieces(skipped.as_bytes(), 7), Ok(None));
    let counted = format!(r#"{{"prompt":"x","tools":{long}}}"#);
    let error = fault(read_pieces(counted.as_bytes(), 7));
    assert_eq!(error.kind, JsonErrorKind::NumberTooLong);
}

fn nested(depth: usize, open: &str, close: &str) -> String {
    format!("{}1{}", open.repeat(depth), close.repeat(depth))
}

#[test]
fn depth_is_bounded_wherever_it_is() {
    for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
        for key in ["tools", "messages", "logit_bias", "model", "prompt"] {
            let body = |depth| format!(r#"{{"{key}":{}}}"#, nested(depth, open, close));
            assert!(read_pieces(body(MAX_DEPTH - 1).as_bytes(), 3).is_ok());
            for depth in [MAX_DEPTH, 1000, 100_000] {
                let error = fault(read_pieces(body(depth).as_bytes(), 1000));
                assert_eq!(error.kind, JsonErrorKind::TooDeep);
            }
        }
    }
}

#[test]
fn a_parsed_value_may_be_too_deep_as_well() {
    let nest = |depth: usize| (0..depth).fold(Value::Null, |inner, _| Value::Array(vec![inner]));
    let key = key();
    let read = |depth| {
        let value = nest(depth);
        read_value(&key, BodyOptions::default(), &value, &mut []).map(|read| read.no_prefix)
    };
    assert_eq!(read(MAX_DEPTH), Ok(Some(NoPrefix::NotAnObject)));
    assert_eq!(fault(read(MAX_DEPTH + 1)).kind, JsonErrorKind::TooDeep);
    assert_eq!(fault(read(1000)).kind, JsonErrorKind::TooDeep);
}

#[test]
fn a_body_longer_than_allowed_is_refused_at_the_same_byte() {
    let key = key();
    let body = format!(r#"{{"prompt":"{}"}}"#, "x".repeat(1000));
    for max_bytes in [0, 1, 100, 1012, 1013] {
        for size in [1, 99, 5000] {
            let options = crate::options(|config| config.max_bytes = max_bytes);
            let mut out = [0; 16];
            let mut reader = BodyReader::new(&key, options, &mut out);
            let error = body.as_bytes().chunks(size).find_map(|piece| reader.push(piece).err());
            let fits = body.len() as u64 <= max_bytes;
            assert_eq!(error, (!fits).then_some(BodyError::TooLong { max_bytes }));
            assert_eq!(reader.finish().is_ok(), fits);
        }
    }
}

#[test]
fn a_hundred_megabytes_pass_through_a_fixed_reader() {
    let key = key();
    let piece = vec![b'x'; 1 << 20];
    let mut out = [0; 16];
    let mut reader = BodyReader::new(&key, BodyOptions::default(), &mut out);
    reader.push(br#"{"prompt":""#).unwrap();
    for _ in 0..100 {
        reader.push(&piece).unwrap();
    }
    reader.push(br#""}"#).unwrap();
    let print = reader.finish().unwrap().fingerprint.unwrap();
    assert_eq!((print.total(), print.blocks().len()), (100 << 20, 16));
}

#[test]
fn large_hostile_bodies_are_read_to_their_end() {
    let empty = Some(NoPrefix::NoPrompt);
    let bodies = [
        (
            format!(
                r#"{{"messages":[{}{{}}]}}"#,
                r#"{"content":[{"image":0},{"file":0}]},"#.repeat(20_000)
            ),
            None,
        ),
        (format!(r#"{{"tools":[{}0]}}"#, "[{}],".repeat(100_000)), empty),
        (format!(r#"{{"prompt":"{}"}}"#, r"\u0041\n".repeat(100_000)), None),
        (format!(r#"{{{}"a":0}}"#, r#""max_tokens":1,"#.repeat(50_000)), empty),
        (format!("{}{{}}", " ".repeat(1 << 20)), empty),
    ];
    for (body, no_prefix) in bodies {
        assert_eq!(read_pieces(body.as_bytes(), body.len()), Ok(no_prefix));
        assert!(read_pieces(&body.as_bytes()[..body.len() - 1], 1000).is_err());
    }
}

#[test]
fn a_reader_is_small_enough_for_a_stack() {
    assert!(size_of::<BodyReader<'_, '_>>() < 24 << 10, "{}", size_of::<BodyReader<'_, '_>>());
}
