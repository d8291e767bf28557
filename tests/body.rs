//! What a body's fingerprint depends on, and what it does not.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use pointsman::body::{
    BodyKind, BodyOptions, MediaTokens, Messages, NoPrefix, read_body, read_value,
};
use pointsman::prefix::{Fingerprinter, HashKey, Unit};
use serde_json::{Value, json};

/// A body's fingerprint without its borrow.
#[derive(Clone, Debug, PartialEq)]
struct Read {
    blocks: Vec<u64>,
    total: u64,
    unit: Option<Unit>,
    no_prefix: Option<NoPrefix>,
    kind: BodyKind,
    namespace: u64,
    stream: bool,
    max_tokens: Option<u32>,
}

fn key() -> HashKey {
    HashKey::from_bytes([7; 32])
}

/// Reads a body both ways, which must agree.
fn read_with(options: BodyOptions, body: &str) -> Read {
    let key = key();
    let (mut raw_out, mut value_out) = (vec![0; 1024], vec![0; 1024]);
    let raw = read_body(&key, options, body.as_bytes(), &mut raw_out).unwrap();
    let value: Value = serde_json::from_str(body).unwrap();
    let value = read_value(&key, options, &value, &mut value_out).unwrap();
    assert_eq!(raw, value, "the readers disagree about {body}");
    Read {
        blocks: raw.fingerprint.map_or(Vec::new(), |print| print.blocks().to_vec()),
        total: raw.fingerprint.map_or(0, |print| print.total()),
        unit: raw.fingerprint.map(|print| print.header().unit),
        no_prefix: raw.no_prefix,
        kind: raw.kind,
        namespace: raw.namespace,
        stream: raw.stream,
        max_tokens: raw.max_tokens,
    }
}

fn read(body: &Value) -> Read {
    read_text(&body.to_string())
}

fn read_text(body: &str) -> Read {
    read_with(BodyOptions::default(), body)
}

fn shared_blocks(one: &Read, other: &Read) -> usize {
    one.blocks.iter().zip(&other.blocks).take_while(|(one, other)| one == other).count()
}

/// So many bytes of text.
fn words(seed: &str, bytes: usize) -> String {
    let mut text = String::new();
    for number in 0.. {
        if text.len() >= bytes {
            break;
        }
        text.push_str(&format!("{seed} {number} "));
    }
    text.truncate(bytes);
    text
}

fn message(role: &str, content: impl Into<Value>) -> Value {
    json!({"role": role, "content": content.into()})
}

fn chat(messages: Vec<Value>) -> Value {
    json!({"model": "m", "messages": messages})
}

#[test]
fn another_turn_extends_the_prefix_and_changes_nothing_before_it() {
    let mut messages = vec![
        message("system", words("rules", 300)),
        message("user", words("question", 200)),
        json!({"role": "assistant", "content": null, "tool_calls": [
            {"id": "c1", "type": "function",
             "function": {"name": "look", "arguments": words("arguments", 400)}}
        ]}),
        json!({"role": "tool", "tool_call_id": "c1", "content": words("found", 500)}),
        message(
            "user",
            json!([
                {"type": "text", "text": words("look at", 300)},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
            ]),
        ),
        message("assistant", words("answer", 700)),
    ];
    let mut longer = read(&chat(messages.clone()));
    while messages.pop().is_some() && !messages.is_empty() {
        let shorter = read(&chat(messages.clone()));
        assert!(shorter.total < longer.total);
        assert_eq!(shared_blocks(&shorter, &longer), shorter.blocks.len());
        assert_eq!(shorter.blocks.len() as u64, shorter.total / 128);
        longer = shorter;
    }
}

#[test]
fn key_order_and_white_space_do_not_matter() {
    let long = words("long", 400);
    let one = format!(
        r#"{{"model":"m","tools":[{{"type":"function","function":{{"name":"f","strict":true}}}}],
        "messages":[{{"role":"user","name":"ann","content":[
            {{"type":"text","text":"{long}"}},{{"type":"file","file":{{"a":1,"b":[2,3]}}}}]}}]}}"#
    );
    let other = format!(
        "{{\"messages\" : [ {{\"content\":[{{\"text\":\"{long}\",\"type\":\"text\"}},\
        {{\"file\":{{\"b\":[2,\t3],\"a\":1}},\"type\":\"file\"}}],\"name\":\"ann\",\
        \"role\":\"user\"}}]\r\n,\"tools\":[{{\"function\":{{\"strict\": true,\"name\":\"f\"}},\
        \"type\":\"function\"}}], \"model\":\"m\" }}\n\n"
    );
    assert_eq!(read_text(&one), read_text(&other));
    assert!(read_text(&one).blocks.len() > 3);
}

#[test]
fn the_order_of_messages_parts_and_elements_matters() {
    let (first, second) = (message("user", words("a", 200)), message("user", words("b", 200)));
    let one = read(&chat(vec![first.clone(), second.clone()]));
    assert_ne!(one.blocks, read(&chat(vec![second, first])).blocks);

    let call = |arguments: Value| {
        chat(vec![
            json!({"role": "assistant", "tool_calls": arguments}),
            message("user", words("x", 300)),
        ])
    };
    assert_ne!(read(&call(json!([1, 2]))).blocks, read(&call(json!([2, 1]))).blocks);
    assert_ne!(read(&call(json!([[1], 2]))).blocks, read(&call(json!([1, [2]]))).blocks);
    assert_ne!(
        read(&call(json!({"a": 1, "b": 2}))).blocks,
        read(&call(json!({"a": 2, "b": 1}))).blocks
    );
}

#[test]
fn messages_that_differ_in_their_role_share_the_text_only() {
    let follow = message("user", words("follow", 400));
    let one = read(&chat(vec![message("system", words("text", 512)), follow.clone()]));
    let other = read(&chat(vec![message("user", words("text", 512)), follow]));
    assert_eq!(shared_blocks(&one, &other), 4);
}

#[test]
fn shaping_fields_count_wherever_they_stand_and_sampling_does_not() {
    let content = words("text", 600);
    let body = |before: &str, after: &str| {
        read_text(&format!(
            r#"{{{before}"messages":[{{"role":"user","content":"{content}"}}]{after}}}"#
        ))
    };
    let plain = body("", "");
    assert_eq!(
        plain,
        body(r#""temperature":0.5,"#, r#","seed":1,"stop":["a"],"user":"u","top_p":1"#)
    );
    assert_eq!(plain, body(r#""tools":null,"#, r#","response_format":null"#));
    for shaping in [
        r#""tools":[{"type":"function","function":{"name":"f"}}]"#,
        r#""tool_choice":"none""#,
        r#""response_format":{"type":"json_object"}"#,
        r#""chat_template_kwargs":{"enable_thinking":false}"#,
        r#""documents":[{"title":"t","text":"x"}]"#,
        r#""reasoning_effort":"high""#,
    ] {
        let before = body(&format!("{shaping},"), "");
        assert_eq!(before, body("", &format!(",{shaping}")));
        assert_eq!(shared_blocks(&plain, &before), 0, "{shaping}");
    }
}

#[test]
fn the_namespace_comes_from_the_body_unless_the_host_has_one() {
    let body = |fields: &str| {
        format!(r#"{{"messages":[{{"role":"user","content":"{}"}}]{fields}}}"#, words("a", 300))
    };
    let fields = [
        "",
        r#","model":"a""#,
        r#","model":"b""#,
        r#","lora_path":"a""#,
        r#","cache_salt":"a""#,
        r#","extra_key":"a""#,
        r#","model":"a","cache_salt":"b""#,
        r#","model":"b","cache_salt":"a""#,
    ];
    let reads = fields.map(|fields| read_text(&body(fields)));
    for (index, one) in reads.iter().enumerate() {
        for other in &reads[..index] {
            assert_ne!(one.namespace, other.namespace);
            assert_eq!(shared_blocks(one, other), 0);
        }
    }
    assert_eq!(reads[0].namespace, 0);
    assert_eq!(reads[0], read_text(&body(r#","model":null"#)));

    let host = BodyOptions { namespace: Some(5), ..BodyOptions::default() };
    let reads = fields.map(|fields| read_with(host, &body(fields)));
    assert!(reads.iter().all(|read| read.namespace == 5 && read.blocks == reads[0].blocks));
}

#[test]
fn a_single_text_part_equals_a_string() {
    let text = words("part", 300);
    let string = read(&chat(vec![message("user", text.clone())]));
    for part in [
        json!([text]),
        json!([{"type": "text", "text": text}]),
        json!([{"type": "input_text", "text": text, "cache_control": {"type": "ephemeral"}}]),
    ] {
        assert_eq!(string, read(&chat(vec![message("user", part)])));
    }
    let (first, second) = text.split_at(100);
    let parts = json!([{"type": "text", "text": first}, {"type": "text", "text": second}]);
    assert_ne!(string.blocks, read(&chat(vec![message("user", parts)])).blocks);
}

#[test]
fn media_count_as_configured_and_not_by_their_size() {
    let media = MediaTokens { image: 100, audio: 200, video: 300, file: 400 };
    let options = BodyOptions { media, ..BodyOptions::default() };
    let read = |parts: Value| read_with(options, &chat(vec![message("user", parts)]).to_string());
    let text = json!({"type": "text", "text": words("see", 128)});
    let image = |data: String| json!({"type": "image_url", "image_url": {"url": data}});
    let plain = read(json!([text]));
    let short = read(json!([text, image("data:AAAA".into())]));
    let long = read(json!([text, image("data:".to_owned() + &"A".repeat(9000))]));
    assert_eq!(short.total, long.total);
    // A mark between the parts and one before the filler.
    let extra = "type".len() + "image_url".len();
    assert_eq!(short.total, plain.total + 2 + 400 + extra as u64);
    assert_eq!(shared_blocks(&short, &long), 1);
    assert_eq!(short.blocks.len(), 4);

    let audio = json!({"type": "input_audio", "input_audio": {"data": "A", "format": "wav"}});
    let video = json!({"type": "video_url", "video_url": {"url": "v"}});
    let file = json!({"type": "input_file", "file_data": "x", "filename": ""});
    let total = |part: Value| read(json!([part])).total;
    assert_eq!(total(json!({"image_url": 1})) - total(json!({"text": ""})), 401);
    assert!(total(audio) > 800 && total(video) > 1200 && (1600..1700).contains(&total(file)));
}

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
fn a_batch_is_its_prompts_one_behind_the_other() {
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
        json!({"input": text, "text": {"format": {"type": "json_object"}}}),
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
        (r#"{"text":"x","input_ids":[1]}"#, NoPrefix::SeveralPrompts),
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
    let blocks = |tools: &str| {
        let mut out = [0; 8];
        let body = format!(r#"{{"prompt":"{}",{tools}}}"#, words("x", 200));
        let read = read_body(&key, BodyOptions::default(), body.as_bytes(), &mut out).unwrap();
        read.fingerprint.unwrap().blocks().to_vec()
    };
    let twice = blocks(r#""tools":[1],"tools":[2]"#);
    assert_eq!(twice, blocks(r#""tools":[2],"tools":[1]"#));
    assert_ne!(twice, blocks(r#""tools":[2]"#));
    assert_ne!(blocks(r#""tools":[1],"tools":[1]"#), blocks(r#""tools":[1]"#));
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
    assert_eq!(facts(json!({"max_tokens": 1e9, "stream": {"a": true}})), (false, None));
    assert_eq!(facts(json!({"max_tokens": 1u64 << 40, "stream": "true"})), (false, Some(u32::MAX)));
}

#[test]
fn first_only_reads_no_further_than_the_first_message() {
    let options = BodyOptions { messages: Messages::FirstOnly, ..BodyOptions::default() };
    let first = message("system", words("rules", 300));
    let alone = read_with(options, &chat(vec![first.clone()]).to_string());
    let more = chat(vec![first.clone(), message("user", words("more", 900)), json!(3)]);
    assert_eq!(alone, read_with(options, &more.to_string()));
    assert_eq!(alone, read(&chat(vec![first])));
    let tokens = json!({"prompt": (0..100).collect::<Vec<u32>>()}).to_string();
    assert_eq!(read_with(options, &tokens), read_text(&tokens));
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

#[test]
fn what_is_rendered_before_the_messages_counts_as_whole_blocks_before_them() {
    let messages = vec![message("user", words("question", 300))];
    let body = |tools: Value| {
        let mut body = chat(messages.clone());
        body["tools"] = tools;
        read(&body)
    };
    let tool = |seed: &str| json!([{"name": "f", "description": words(seed, 1000)}]);
    let (plain, one, other) = (read(&chat(messages.clone())), body(tool("a")), body(tool("b")));
    assert_eq!(one.total, plain.total + 7 * 128);
    assert_eq!(one.blocks.len(), plain.blocks.len() + 7);
    assert_eq!(shared_blocks(&one, &other), 0);
    assert_eq!(shared_blocks(&one, &body(tool("a"))), one.blocks.len());

    // Another question behind the same tools shares the tools.
    let mut asked = chat(vec![message("user", words("other", 300))]);
    asked["tools"] = tool("a");
    assert_eq!(shared_blocks(&one, &read(&asked)), 7);

    let key = key();
    for length in [0, 3, 7, 8] {
        let mut out = vec![0; length];
        let mut body = chat(messages.clone());
        body["tools"] = tool("a");
        let read = read_value(&key, BodyOptions::default(), &body, &mut out).unwrap();
        let print = read.fingerprint.unwrap();
        assert_eq!((print.blocks(), print.total()), (&one.blocks[..length], one.total));
    }
}

#[test]
fn media_beyond_the_buffer_are_counted_and_cost_nothing() {
    let parts = vec![json!({"video": 0}); 20_000];
    let body = chat(vec![message("user", Value::from(parts))]).to_string();
    let media = MediaTokens { video: u32::MAX, ..MediaTokens::default() };
    let options = BodyOptions { media, ..BodyOptions::default() };
    let print = read_with(options, &body);
    assert_eq!(print.blocks.len(), 1024);
    assert_eq!(print.total, 20_000 * (4 * u64::from(u32::MAX) + 2) + 8);
}
