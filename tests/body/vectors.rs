//! The fingerprints of bodies are those of `data/body_reference.py`, whatever the format of the JSON.

use pointsman::body::{BodyOptions, read_body, read_value};
use pointsman::prefix::HashKey;
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Vector {
    key: String,
    /// As it was written: the order of a user's own keys counts. Here they are sorted, because a parsed
    /// body keeps them so.
    body: String,
    wire: String,
}

fn unhex(hex: &str) -> Vec<u8> {
    let pairs = hex.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

#[test]
fn fingerprints_are_those_of_the_reference() {
    let vectors: Vec<Vector> = serde_json::from_str(include_str!("../data/bodies.json")).unwrap();
    assert!(vectors.len() > 20);
    for vector in vectors {
        let key = HashKey::from_bytes(unhex(&vector.key).try_into().unwrap());
        let options = BodyOptions::default();
        let parsed: Value = serde_json::from_str(&vector.body).unwrap();
        let (compact, pretty) = (&vector.body, format!("{parsed:#}"));
        let mut out = [[0; 256]; 3];
        let [first, second, third] = &mut out;
        for read in [
            read_body(&key, options, compact.as_bytes(), first).unwrap(),
            read_body(&key, options, pretty.as_bytes(), second).unwrap(),
            read_value(&key, options, &parsed, third).unwrap(),
        ] {
            let print = read.fingerprint.unwrap();
            let mut wire = vec![0; print.encoded_len()];
            print.encode(&mut wire).unwrap();
            assert_eq!(wire, unhex(&vector.wire), "{compact}");
        }
    }
}
