//! Prompts that are not conversations, and what else a body says.

use pointsman::body::{BodyKind, BodyOptions, NoPrefix, read_body};
use pointsman::prefix::{Fingerprinter, Unit};
use serde_json::{Value, json};

use crate::{chat, key, message, read, read_text, shared_blocks, words};

#[test]
fn a_bare_prompt_equals_its_text_or_tokens() {
    let key = key();
    let mut out = vec![0; 1024];
    let text = words("Prompt \u{1f682} ", 1000);
    let mut fingerprinter = Fingerprinter::new(&key, Unit::Text, Default::default(), &mut out);
    fingerprinter.push(text.as_bytes());
    let blocks = fingerprinter.finish(0, 0).blocks().to_vec();
    for body in [json!({"prompt": text}), json!({"prompt": [text]}), json!({"text": text})] {
        assert_eq!(read(&body).blocks, blocks);
    }

    let tokens: Vec<u32> = (0..333).map(|token| token * 77).collect();
    let mut out = vec![0; 1024];
    let mut fingerprinter = Fingerprinter::new(&key, Unit::Tokens, Default::default(), &mut out);
    fingerprinter.push_tokens(&tokens);
    let blocks = fingerprinter.finish(0, 0).blocks().to_vec();
    for body in [
        json!({"prompt": tokens}),
        json!({"prompt": [tokens]}),
        json!({"input_ids": tokens}),
        json!({"input_ids": [tokens], "sampling_params": {"max_new_tokens": 5}}),
    ] {
        let read = read(&body);
        assert_eq!((read.blocks, read.total, read.unit), (blocks.clone(), 333, Some(Unit::Tokens)));
    }
}

#[test]
fn a_batch_is_its_prompts_one_after_the_other() {
    let (one, two) = (words("one", 400), words("two", 400));
    let single = read(&json!({"prompt": one}));
    let batch = read(&json!({"prompt": [one, two]}));
    assert_eq!(shared_blocks(&single, &batch), 3);
    assert_eq!(batch.total, 801);
    assert_ne!(batch.blocks, read(&json!({"prompt": [two, one]})).blocks);

    let tokens: Vec<u32> = (0..100).collect();
    let batch = read(&json!({"input_ids": [tokens, tokens]}));
    assert_eq!((batch.total, batch.kind), (201, BodyKind::Generate));
}

#[test]
fn the_responses_api_is_read_like_a_chat() {
    let text = words("hello", 300);
    let string = read(&json!({"input": text}));
    let message = json!({"type": "message", "role": "user", "content": text});
    assert_eq!(string, read(&json!({"input": [message]})));
    assert_eq!(string.kind, BodyKind::Responses);
    let parts = json!({"role": "user", "content": [{"type": "input_text", "text": text}]});
    assert_eq!(string, read(&json!({"input": [parts]})));

    for shaping in [
        json!({"input": text, "instructions": "Be brief."}),
        json!({"input": text, "previous_response_id": "resp_1"}),
        json!({"input": text, "prompt": {"id": "template"}}),
    ] {
        let read = read(&shaping);
        assert_eq!(read.no_prefix, None);
        assert_eq!(shared_blocks(&string, &read), 0, "{shaping}");
    }
    let call = json!({"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"});
    let output = json!({"type": "function_call_output", "call_id": "c", "output": words("o", 500)});
    let longer = read(&json!({"input": [message, call, output]}));
    assert_eq!(shared_blocks(&string, &longer), string.blocks.len());
    assert!(longer.total > string.total + 500);
}

#[test]
fn unknown_shapes_have_no_prefix_and_a_reason() {
    for (body, reason) in [
        ("[]", NoPrefix::NotAnObject),
        ("1", NoPrefix::NotAnObject),
        ("\"text\"", NoPrefix::NotAnObject),
        ("{}", NoPrefix::NoPrompt),
        (r#"{"messages":null}"#, NoPrefix::NoPrompt),
        (r#"{"model":"m","query":"x"}"#, NoPrefix::NoPrompt),
        (r#"{"messages":[]}"#, NoPrefix::EmptyPrompt),
        (r#"{"messages":"x"}"#, NoPrefix::UnknownShape),
        (r#"{"messages":["x"]}"#, NoPrefix::UnknownShape),
        (r#"{"messages":{"a":1}}"#, NoPrefix::UnknownShape),
        (r#"{"prompt":true}"#, NoPrefix::UnknownShape),
        (r#"{"prompt":[{"a":1}]}"#, NoPrefix::UnknownShape),
        (r#"{"prompt":[1.5]}"#, NoPrefix::UnknownShape),
        (r#"{"prompt":[-1]}"#, NoPrefix::UnknownShape),
        (r#"{"prompt":[4294967296]}"#, NoPrefix::UnknownShape),
        (r#"{"input_ids":[[1,[2]]]}"#, NoPrefix::UnknownShape),
        (r#"{"input_ids":"x"}"#, NoPrefix::UnknownShape),
        (r#"{"prompt":["x",1]}"#, NoPrefix::MixedPrompt),
        (r#"{"prompt":[1,"x"]}"#, NoPrefix::MixedPrompt),
        (r#"{"input":[[1],{"role":"user"}]}"#, NoPrefix::MixedPrompt),
        (r#"{"prompt":"x","messages":[]}"#, NoPrefix::SeveralPrompts),
        (r#"{"prompt":"x","input_ids":[1]}"#, NoPrefix::SeveralPrompts),
        (r#"{"text":"x","messages":[]}"#, NoPrefix::SeveralPrompts),
        (r#"{"system":"x"}"#, NoPrefix::NoPrompt),
        (r#"{"system":"x","messages":[]}"#, NoPrefix::EmptyPrompt),
        (r#"{"system":"x","instructions":"y","input":"z"}"#, NoPrefix::SeveralPrompts),
        (r#"{"prompt":7,"messages":[]}"#, NoPrefix::SeveralPrompts),
    ] {
        let read = read_text(body);
        assert_eq!(read.no_prefix, Some(reason), "{body}");
        assert!(read.blocks.is_empty());
    }
}

#[test]
fn a_prompt_given_twice_has_no_prefix() {
    let key = key();
    for body in [
        r#"{"prompt":"x","prompt":"y"}"#,
        r#"{"messages":[{"content":"x","content":"y"}]}"#,
        r#"{"messages":[{"content":["x"],"content":[]}]}"#,
        r#"{"messages":[{"content":[{"text":"x","text":"y"}]}]}"#,
    ] {
        let mut out = [0; 8];
        let read = read_body(&key, BodyOptions::default(), body.as_bytes(), &mut out).unwrap();
        assert_eq!(read.no_prefix, Some(NoPrefix::SeveralPrompts), "{body}");
    }
}

#[test]
fn other_keys_given_twice_count_twice() {
    let key = key();
    let blocks = |fields: &str| {
        let mut out = [0; 8];
        let body = format!(r#"{{"prompt":"{}",{fields}}}"#, words("x", 200));
        let read = read_body(&key, BodyOptions::default(), body.as_bytes(), &mut out).unwrap();
        read.fingerprint.unwrap().blocks().to_vec()
    };
    let twice = blocks(r#""suffix":[1],"suffix":[2]"#);
    assert_eq!(twice, blocks(r#""suffix":[2],"suffix":[1]"#));
    assert_ne!(twice, blocks(r#""suffix":[2]"#));
    assert_ne!(blocks(r#""suffix":[1],"suffix":[1]"#), blocks(r#""suffix":[1]"#));
}

#[test]
fn stream_and_most_tokens_are_read_from_where_each_api_has_them() {
    let facts = |body: Value| {
        let read = read(&body);
        (read.stream, read.max_tokens)
    };
    assert_eq!(facts(json!({"stream": true, "max_tokens": 9})), (true, Some(9)));
    assert_eq!(facts(json!({"max_tokens": 9, "max_completion_tokens": 8})), (false, Some(8)));
    assert_eq!(facts(json!({"max_completion_tokens": 8, "zmax": 1})), (false, Some(8)));
    assert_eq!(facts(json!({"max_output_tokens": 7, "stream": false})), (false, Some(7)));
    assert_eq!(facts(json!({"sampling_params": {"max_new_tokens": 6}})), (false, Some(6)));
    assert_eq!(
        facts(json!({"sampling_params": {"n": 6, "x": {"max_new_tokens": 1}}})),
        (false, None)
    );
    assert_eq!(facts(json!({"max_tokens": null, "stream": null})), (false, None));
    assert_eq!(facts(json!({"max_tokens": -1, "stream": 1})), (false, None));
    assert_eq!(
        facts(json!({"max_tokens": 1e9, "stream": {"a": true}})),
        (false, Some(1_000_000_000))
    );
    assert_eq!(facts(json!({"max_tokens": 100.0})), (false, Some(100)));
    assert_eq!(facts(json!({"max_tokens": 0.5, "stream": []})), (false, None));
    assert_eq!(facts(json!({"parameters": {"max_new_tokens": 4}})), (false, Some(4)));
    let listed = json!({"sampling_params": [{"max_new_tokens": 6}, {"max_new_tokens": 9}]});
    assert_eq!(facts(listed), (false, Some(9)));
    assert_eq!(facts(json!({"max_tokens": 1u64 << 40, "stream": "true"})), (false, Some(u32::MAX)));
}

#[test]
fn a_small_buffer_holds_the_leading_blocks() {
    let key = key();
    let body = chat(vec![message("user", words("text", 3000))]).to_string();
    let full = read_text(&body);
    for length in [0, 1, 5] {
        let mut out = vec![0; length];
        let read = read_body(&key, BodyOptions::default(), body.as_bytes(), &mut out).unwrap();
        let print = read.fingerprint.unwrap();
        assert_eq!((print.blocks(), print.total()), (&full.blocks[..length], full.total));
    }
}

#[test]
fn every_escape_gives_the_text_that_it_stands_for() {
    let plain = read(&json!({"prompt": words("\"\\/\n\t\r\u{8}\u{c}é\u{1f682}\0", 600)}));
    let escaped = words("\"\\/\n\t\r\u{8}\u{c}é\u{1f682}\0", 600)
        .encode_utf16()
        .map(|unit| format!("\\u{unit:04X}"))
        .collect::<String>();
    assert_eq!(plain, read_text(&format!(r#"{{"pro\u006dpt":"{escaped}"}}"#)));
    let short = r#"{"prompt":"\"\\\/\n\t\r\b\f"}"#;
    assert_eq!(read_text(short).total, 8);
}
