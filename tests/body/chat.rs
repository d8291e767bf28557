//! What the fingerprint of a conversation depends on, and what it does not.

use pointsman::body::{BodyOptions, read_value};
use serde_json::{Value, json};

use crate::{chat, key, message, options, read, read_text, read_with, shared_blocks, words};

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
        // The system message is a part of its own, and so may leave a block that is not full.
        assert!((0..=1).contains(&(shorter.total / 128 - shorter.blocks.len() as u64)));
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
        r#""chat_template":"t""#,
        r#""chat_template_kwargs":{"date":"today"}"#,
        r#""output_config":{"effort":"low"}"#,
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
    let options = options(|config| {
        (config.image_tokens, config.audio_tokens) = (100, 200);
        (config.video_tokens, config.file_tokens) = (300, 400);
    });
    let read = |parts: Value| read_with(options, &chat(vec![message("user", parts)]).to_string());
    let text = json!({"type": "text", "text": words("see", 128)});
    let image = |data: String| json!({"type": "image_url", "image_url": {"url": data}});
    let plain = read(json!([text]));
    let short = read(json!([text, image("data:AAAA".into())]));
    let long = read(json!([text, image("data:".to_owned() + &"A".repeat(9000))]));
    assert_eq!(short.total, long.total);
    // A separator between the parts and one before the filler.
    assert_eq!(short.total, plain.total + 2 + 400);
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
fn first_only_reads_no_further_than_the_first_message() {
    let options = options(|config| config.first_message_only = true);
    let first = message("system", words("rules", 300));
    let alone = read_with(options, &chat(vec![first.clone()]).to_string());
    let more = chat(vec![first.clone(), message("user", words("more", 900)), json!(3)]);
    assert_eq!(alone, read_with(options, &more.to_string()));
    assert_eq!(alone, read(&chat(vec![first])));
    let tokens = json!({"prompt": (0..100).collect::<Vec<u32>>()}).to_string();
    assert_eq!(read_with(options, &tokens), read_text(&tokens));
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
    assert_eq!(one.total, plain.total + 8 * 128);
    assert_eq!(one.blocks.len(), plain.blocks.len() + 8);
    assert_eq!(shared_blocks(&one, &other), 0);
    assert_eq!(shared_blocks(&one, &body(tool("a"))), one.blocks.len());

    // Another question after the same tools shares the tools.
    let mut asked = chat(vec![message("user", words("other", 300))]);
    asked["tools"] = tool("a");
    assert_eq!(shared_blocks(&one, &read(&asked)), 8);

    let key = key();
    for length in [0, 3, 8, 9] {
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
    let options = options(|config| config.video_tokens = u32::MAX);
    let print = read_with(options, &body);
    assert_eq!(print.blocks.len(), 1024);
    assert_eq!(print.total, 20_000 * (4 * u64::from(u32::MAX) + 2) + 8);
}
