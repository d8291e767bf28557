//! Any bytes as a body: the raw reader never panics, does not see how the body is cut, takes what
//! `serde_json` takes, and agrees with the reader of parsed values.
//!
//! The first bytes of the input choose the chunks, the rest is the body.
#![no_main]

use std::fmt;

use libfuzzer_sys::fuzz_target;
use pointsman::body::{
    BodyError, BodyFingerprint, BodyOptions, BodyReader, JsonErrorKind, read_body, read_value,
};
use pointsman::prefix::HashKey;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

const BLOCKS: usize = 32;

fuzz_target!(|input: &[u8]| {
    let Some((cuts, body)) = input.split_first_chunk::<4>() else { return };
    let key = HashKey::from_bytes([9; 32]);
    let options = BodyOptions::default();
    let mut out = [[0; BLOCKS]; 3];
    let [whole_out, pieces_out, value_out] = &mut out;
    let whole = read_body(&key, options, body, whole_out);
    assert_eq!(whole, read_pieces(&key, options, body, *cuts, pieces_out));
    match (serde_json::from_slice::<Value>(body), whole) {
        (Ok(value), Ok(whole)) => {
            let read = read_value(&key, options, &value, value_out);
            if !loses_keys(body) {
                assert_eq!(read, Ok(whole));
            }
            // What is written again has the keys as the parsed value has them.
            let mut again_out = [0; BLOCKS];
            let written = value.to_string();
            assert_eq!(read, read_body(&key, options, written.as_bytes(), &mut again_out));
        }
        (Ok(_), Err(BodyError::Json(error))) => {
            assert_eq!(error.kind, JsonErrorKind::NumberTooLong);
        }
        (Ok(_), Err(error)) => panic!("{error}"),
        // A number that does not count is not looked at.
        (Err(error), Ok(_)) => assert!(error.to_string().starts_with("number out of range")),
        (Err(_), Err(_)) => {}
    }
});

/// Reads the body in pieces whose lengths repeat those of `cuts`.
fn read_pieces<'b>(
    key: &HashKey,
    options: BodyOptions,
    mut body: &[u8],
    cuts: [u8; 4],
    out: &'b mut [u64],
) -> Result<BodyFingerprint<'b>, BodyError> {
    let mut reader = BodyReader::new(key, options, out);
    for cut in cuts.into_iter().cycle() {
        if body.is_empty() {
            break;
        }
        let (piece, rest) = body.split_at(usize::from(cut).max(1).min(body.len()));
        reader.push(piece)?;
        body = rest;
    }
    reader.finish()
}

/// Whether an object in the body has a key twice, of which a parsed value keeps the last only, or keys in
/// another order than a parsed value has them, which counts in a user's own object.
fn loses_keys(body: &[u8]) -> bool {
    serde_json::from_slice::<Repeats>(body).is_ok_and(|found| found.0)
}

struct Repeats(bool);

impl<'de> Deserialize<'de> for Repeats {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FindRepeats)
    }
}

struct FindRepeats;

impl<'de> Visitor<'de> for FindRepeats {
    type Value = Repeats;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Repeats, A::Error> {
        let mut last: Option<String> = None;
        let mut found = false;
        while let Some((key, inside)) = map.next_entry::<String, Repeats>()? {
            found |= inside.0 | last.is_some_and(|last| last >= key);
            last = Some(key);
        }
        Ok(Repeats(found))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Repeats, A::Error> {
        let mut found = false;
        while let Some(inside) = seq.next_element::<Repeats>()? {
            found |= inside.0;
        }
        Ok(Repeats(found))
    }

    fn visit_str<E>(self, _: &str) -> Result<Repeats, E> {
        Ok(Repeats(false))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Repeats, E> {
        Ok(Repeats(false))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Repeats, E> {
        Ok(Repeats(false))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Repeats, E> {
        Ok(Repeats(false))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Repeats, E> {
        Ok(Repeats(false))
    }

    fn visit_unit<E>(self) -> Result<Repeats, E> {
        Ok(Repeats(false))
    }
}
