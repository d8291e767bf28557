//! The raw reader against the reader of parsed values, over generated bodies: written with random
//! white space, escapes and key order, and cut into random chunks.

use pointsman::body::{
    BodyError, BodyFingerprint, BodyOptions, BodyReader, JsonErrorKind, read_body, read_value,
};
use pointsman::prefix::HashKey;
use proptest::prelude::*;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Map, Value, json};

/// Where what a user's own object holds begins, whose keys count in their order.
const VERBATIM: [&str; 6] =
    ["parameters", "input_schema", "inputSchema", "arguments", "input", "args"];

/// Writes a value in one of its many forms.
fn write(value: &Value, rng: &mut SmallRng, out: &mut String) {
    write_inside(value, 0, false, rng, out);
}

fn write_inside(value: &Value, depth: usize, ordered: bool, rng: &mut SmallRng, out: &mut String) {
    space(rng, out);
    match value {
        Value::String(text) => write_text(text, rng, out),
        Value::Array(elements) => {
            out.push('[');
            for (index, element) in elements.iter().enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                write_inside(element, depth + 1, ordered, rng, out);
            }
            space(rng, out);
            out.push(']');
        }
        Value::Object(entries) => {
            let mut entries: Vec<_> = entries.iter().collect();
            if !ordered {
                entries.shuffle(rng);
            }
            out.push('{');
            for (index, (key, value)) in entries.into_iter().enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                space(rng, out);
                write_text(key, rng, out);
                space(rng, out);
                out.push(':');
                let ordered = ordered || (depth > 0 && VERBATIM.contains(&key.as_str()));
                write_inside(value, depth + 1, ordered, rng, out);
            }
            space(rng, out);
            out.push('}');
        }
        plain => out.push_str(&plain.to_string()),
    }
    space(rng, out);
}

fn space(rng: &mut SmallRng, out: &mut String) {
    while rng.random_ratio(1, 5) {
        out.push([' ', '\n', '\t', '\r'][rng.random_range(0..4)]);
    }
}

fn write_text(text: &str, rng: &mut SmallRng, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        let must = character < ' ' || character == '"' || character == '\\';
        if must || rng.random_ratio(1, 20) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            out.push(character);
        }
    }
    out.push('"');
}

/// Reads `body` in random pieces, some of them empty.
fn read_pieces<'b>(
    key: &HashKey,
    options: BodyOptions,
    mut body: &[u8],
    rng: &mut SmallRng,
    out: &'b mut [u64],
) -> Result<BodyFingerprint<'b>, BodyError> {
    let longest = [1, 3, 20, 500][rng.random_range(0..4)];
    let mut reader = BodyReader::new(key, options, out);
    while !body.is_empty() {
        let (piece, rest) = body.split_at(rng.random_range(0..=longest.min(body.len())));
        reader.push(piece)?;
        body = rest;
    }
    reader.finish()
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z \n\"\\\\]{0,40}",
        "\\PC{0,60}",
        ".{0,20}",
        proptest::collection::vec(any::<char>(), 0..200).prop_map(|chars| chars.iter().collect()),
        // Long runs without an escape are read in another way.
        ("[a-z]{1,9} ", 1..600usize).prop_map(|(word, times)| word.repeat(times)),
    ]
}

fn any_number() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (0..300u32).prop_map(Value::from),
    ]
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any_number(),
        any_text().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 40, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::btree_map(any_key(), inner, 0..5)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

/// Names that mean something somewhere, and others.
fn any_key() -> impl Strategy<Value = String> {
    let known = proptest::sample::select(vec![
        "role",
        "content",
        "type",
        "text",
        "image_url",
        "input_audio",
        "file",
        "name",
        "tool_calls",
        "messages",
        "prompt",
        "input",
        "input_ids",
        "max_new_tokens",
        "cache_control",
        "model",
        "source",
        "data",
        "uuid",
        "media_type",
        "parameters",
        "signature",
    ]);
    prop_oneof![4 => known.prop_map(str::to_owned), 1 => any_text()]
}

fn any_message() -> impl Strategy<Value = Value> {
    let part = prop_oneof![
        any_text().prop_map(|text| json!({"type": "text", "text": text})),
        any_text().prop_map(|url| json!({"type": "image_url", "image_url": {"url": url}})),
        any_text().prop_map(|data| json!({"type": "tool_result", "content": [
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}},
        ]})),
        any_value(),
        proptest::collection::btree_map(any_key(), any_value(), 0..4)
            .prop_map(|entries| Value::Object(entries.into_iter().collect())),
    ];
    let content = prop_oneof![
        3 => any_text().prop_map(Value::from),
        2 => proptest::collection::vec(part, 0..4).prop_map(Value::from),
        1 => any_value(),
    ];
    let role = proptest::sample::select(vec!["system", "user", "assistant", "tool"]);
    let rest = proptest::collection::btree_map(any_key(), any_value(), 0..2);
    (role, content, rest).prop_map(|(role, content, rest)| {
        let mut message: Map<_, _> = rest.into_iter().collect();
        message.insert("role".into(), role.into());
        message.insert("content".into(), content);
        Value::Object(message)
    })
}

fn any_prompt() -> impl Strategy<Value = (&'static str, Value)> {
    let messages = || proptest::collection::vec(any_message(), 0..6).prop_map(Value::from);
    let tokens = || proptest::collection::vec(any::<u32>(), 0..300).prop_map(Value::from);
    let texts = || proptest::collection::vec(any_text(), 0..4).prop_map(Value::from);
    let text = || any_text().prop_map(Value::from);
    let batch = || proptest::collection::vec(tokens(), 0..3).prop_map(Value::from);
    let names = vec!["messages", "prompt", "input", "text", "input_ids"];
    prop_oneof![
        6 => (Just("messages"), messages()),
        1 => (Just("input"), messages()),
        1 => (Just("prompt"), prop_oneof![text(), texts(), tokens(), batch()]),
        1 => (Just("input"), prop_oneof![text(), texts(), tokens(), batch()]),
        1 => (Just("text"), prop_oneof![text(), texts()]),
        1 => (Just("input_ids"), prop_oneof![tokens(), batch()]),
        1 => (proptest::sample::select(names), any_value()),
    ]
}

fn any_body() -> impl Strategy<Value = Value> {
    let known = proptest::sample::select(vec![
        "model",
        "cache_salt",
        "lora_path",
        "tools",
        "response_format",
        "instructions",
        "stream",
        "max_tokens",
        "max_completion_tokens",
        "sampling_params",
        "image_data",
        "text",
        "prompt",
        "temperature",
        "logit_bias",
        "chat_template_kwargs",
        "system",
        "input_ids",
        "inputs",
        "reasoning_effort",
        "output_config",
        "n",
        "documents",
    ]);
    let kinds = proptest::sample::select(vec!["text", "image", "base64", "document", "medium"]);
    let value = prop_oneof![
        4 => any_value(),
        1 => kinds.prop_map(Value::from),
        2 => proptest::collection::vec(any_message(), 0..3).prop_map(Value::from),
    ];
    let others = proptest::collection::btree_map(known, value, 0..4);
    (any_prompt(), others).prop_map(|((name, prompt), others)| {
        let mut body: Map<_, _> =
            others.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        body.insert(name.to_owned(), prompt);
        Value::Object(body)
    })
}

fn check(body: &Value, seed: u64) {
    let mut rng = SmallRng::seed_from_u64(seed);
    let key = HashKey::from_bytes([3; 32]);
    let options = BodyOptions::default();
    let mut text = String::new();
    write(body, &mut rng, &mut text);
    let mut out = [[0; 64]; 3];
    let [value_out, whole_out, pieces_out] = &mut out;
    let parsed: Value = serde_json::from_str(&text).unwrap();
    let value = read_value(&key, options, &parsed, value_out).unwrap();
    let whole = read_body(&key, options, text.as_bytes(), whole_out).unwrap();
    let pieces = read_pieces(&key, options, text.as_bytes(), &mut rng, pieces_out).unwrap();
    assert!(whole == value, "the readers disagree about {text}");
    assert!(pieces == value, "the pieces disagree with the whole of {text}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn both_readers_agree_about_bodies(body in any_body(), seed: u64) {
        check(&body, seed);
    }

    #[test]
    fn both_readers_agree_about_any_value(body in any_value(), seed: u64) {
        check(&body, seed);
    }

    #[test]
    fn the_raw_reader_takes_what_serde_json_takes(
        body in any_body(),
        seed: u64,
        places in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut text = String::new();
        write(&body, &mut rng, &mut text);
        let mut bytes = text.into_bytes();
        for (place, byte) in places {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        let key = HashKey::from_bytes([3; 32]);
        let options = BodyOptions::default();
        let (mut whole_out, mut pieces_out) = ([0; 64], [0; 64]);
        let whole = read_body(&key, options, &bytes, &mut whole_out);
        let pieces = read_pieces(&key, options, &bytes, &mut rng, &mut pieces_out);
        prop_assert!(whole == pieces);
        match (serde_json::from_slice::<Value>(&bytes), whole) {
            (Ok(_), Ok(_)) | (Err(_), Err(_)) => {}
            // A number beyond every double is the only thing that serde_json refuses and that is
            // read over where it does not count.
            (Err(error), Ok(_)) => {
                prop_assert!(error.to_string().starts_with("number out of range"));
            }
            (Ok(_), Err(error)) => {
                let BodyError::Json(error) = error else { panic!("{error}") };
                prop_assert_eq!(error.kind, JsonErrorKind::NumberTooLong);
            }
        }
    }
}
