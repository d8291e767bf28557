//! What of a body reaches the prompt, and what does not.

use pointsman::body::{BodyOptions, RenderProfile, ToolsAt, read_body};
use serde_json::{Value, json};

use crate::{
    chat, key, message, options, read, read_text, read_with, read_written, shared_blocks, words,
};

fn user(part: Value) -> Value {
    chat(vec![message("user", json!([{"type": "text", "text": words("see", 300)}, part]))])
}

/// Bytes that a part counts for, besides the separators.
fn bytes(part: Value) -> u64 {
    read(&user(part)).total - read(&user(json!(""))).total - 1
}

#[test]
fn media_count_as_media_in_every_shape() {
    let data = "A".repeat(50_000);
    let uri = format!("data:image/png;base64,{data}");
    let inside =
        |part: Value| json!({"type": "tool_result", "tool_use_id": "t", "content": [part]});
    let shapes = [
        (
            576,
            json!({"type": "image", "source":
            {"type": "base64", "media_type": "image/png", "data": data}}),
        ),
        (576, json!({"type": "image", "source": {"type": "url", "url": uri}})),
        (576, json!({"type": "image", "source": {"type": "file", "file_id": "f"}})),
        (
            2048,
            json!({"type": "document", "source":
            {"type": "base64", "media_type": "application/pdf", "data": data}}),
        ),
        (576, json!({"type": "image_url", "image_url": {"url": uri, "detail": "high"}})),
        (750, json!({"type": "input_audio", "input_audio": {"data": data, "format": "wav"}})),
        (2048, json!({"type": "file", "file": {"file_data": data, "filename": "a.pdf"}})),
        (2048, json!({"type": "file", "file": {"file_id": "f"}})),
        (576, json!({"type": "input_image", "image_url": uri})),
        (576, json!({"type": "input_image", "file_id": "f"})),
        (2048, json!({"type": "input_file", "file_data": data, "filename": "a.pdf"})),
        (576, json!({"type": "image", "data": data, "mimeType": "image/png"})),
        (750, json!({"type": "audio", "data": data, "mimeType": "audio/wav"})),
        (576, json!({"type": "file", "data": data, "mediaType": "image/png"})),
        (2048, json!({"type": "media", "data": data, "mediaType": "application/pdf"})),
        (576, json!({"inline_data": {"mime_type": "image/png", "data": data}})),
        (4096, json!({"type": "video_url", "video_url": {"url": uri}})),
    ];
    for (tokens, part) in shapes {
        assert_eq!(bytes(part.clone()), 4 * tokens, "{part:.200}");
        let nested = bytes(inside(part.clone()));
        assert!(
            (4 * tokens..4 * tokens + 100).contains(&nested),
            "{nested} for nested {part:.200}"
        );
    }
    let resource = json!({"type": "resource", "resource":
        {"uri": "file:///a", "mimeType": "image/png", "blob": data}});
    assert!((2304..2400).contains(&bytes(resource)));
    // Text in the place of data is text.
    let text = json!({"type": "document", "source":
        {"type": "text", "media_type": "text/plain", "data": data}});
    assert!((50_000..50_200).contains(&bytes(text)));

    let item = |item: Value| read(&json!({"input": [message("user", "x"), item]})).total;
    let shot = json!({"type": "computer_call_output", "call_id": "c", "output":
        {"type": "computer_screenshot", "image_url": uri}});
    assert!((2304..2500).contains(&item(shot)));
    assert!((2304..2500).contains(&item(json!({"type": "image_generation_call", "result": data}))));

    for (images, given) in [
        (1, json!(data)),
        (1, json!({"url": uri, "detail": "auto"})),
        (2, json!([{"url": uri, "detail": "auto"}, {"url": uri}])),
        (3, json!([[data], [data, {"url": uri, "format": "x"}]])),
    ] {
        let with = read(&json!({"text": words("t", 512), "image_data": given}));
        assert_eq!(with.total, 512 + images * 4 * 576);
    }
}

#[test]
fn an_image_is_known_again_by_its_identifier() {
    let image =
        |url: Value, uuid: &str| user(json!({"type": "image_url", "image_url": url, "uuid": uuid}));
    let given = read(&image(json!({"url": "data:image/png;base64,AAAA"}), "u1"));
    assert_eq!(given, read(&image(Value::Null, "u1")));
    assert_eq!(given, read(&image(json!({"url": "data:image/png;base64,BBBB"}), "u1")));
    assert_ne!(given.blocks, read(&image(Value::Null, "u2")).blocks);
    let plain = |url: &str| read(&user(json!({"type": "image_url", "image_url": {"url": url}})));
    assert_ne!(plain("a").blocks, plain("b").blocks);
}

#[test]
fn what_is_empty_null_or_the_default_is_as_if_absent() {
    let with = |field: &str, value: Value| {
        let mut body = chat(vec![message("user", words("x", 500))]);
        body[field] = value;
        read(&body)
    };
    let plain = read(&chat(vec![message("user", words("x", 500))]));
    for (field, value) in [
        ("tools", json!([])),
        ("tools", json!(null)),
        ("functions", json!([])),
        ("documents", json!([])),
        ("system", json!("")),
        ("system", json!([])),
        ("system", json!([{"type": "text", "text": ""}])),
        ("instructions", json!("")),
        ("chat_template", json!("")),
        ("chat_template_kwargs", json!({})),
        ("chat_template_kwargs", json!({"x": null, "y": [], "enable_thinking": true})),
        ("mm_processor_kwargs", json!({"a": {"b": null}})),
        ("reasoning", json!({"effort": null, "summary": "auto"})),
        ("reasoning_effort", json!("medium")),
        ("cache_salt", json!("")),
        ("image_data", json!([])),
        ("tool_choice", json!("required")),
        ("response_format", json!({"type": "json_object"})),
        ("thinking", json!({"type": "enabled", "budget_tokens": 5})),
    ] {
        assert_eq!(with(field, value.clone()), plain, "{field}: {value}");
    }
    let said = |extra: Value| {
        let mut said = json!({"role": "assistant", "content": [{"type": "text", "text": words("y", 300)}],
            "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]});
        for (name, value) in extra.as_object().unwrap() {
            if name == "part" {
                said["content"][0]
                    .as_object_mut()
                    .unwrap()
                    .extend(value.as_object().unwrap().clone());
            } else if name == "call" {
                said["tool_calls"][0]
                    .as_object_mut()
                    .unwrap()
                    .extend(value.as_object().unwrap().clone());
            } else {
                said[name.as_str()] = value.clone();
            }
        }
        read(&chat(vec![said, message("user", words("z", 300))]))
    };
    let plain = said(json!({}));
    for extra in [
        json!({"refusal": null, "annotations": [], "audio": null, "id": "msg_1", "status": "completed"}),
        json!({"part": {"annotations": [{"a": 1}], "cache_control": {"type": "ephemeral"}, "citations": null}}),
        json!({"call": {"id": "call_7", "type": "function", "index": 0}}),
        json!({"reasoning_content": "", "partial": false}),
    ] {
        assert_eq!(said(extra.clone()), plain, "{extra}");
    }
    assert_ne!(said(json!({"reasoning_content": "hm"})).blocks, plain.blocks);
}

#[test]
fn cache_control_and_signatures_are_ignored_at_every_depth() {
    let body = |mark: Value, signature: &str| {
        let content = json!([{"type": "text", "text": words("r", 200), "cache_control": mark}]);
        read(&json!({
            "system": [{"type": "text", "text": words("s", 300), "cache_control": mark}],
            "tools": [{"name": "f", "input_schema": {"type": "object"}, "cache_control": mark}],
            "messages": [
                message("assistant", json!([
                    {"type": "thinking", "thinking": "hm", "signature": signature},
                    {"type": "tool_use", "id": signature, "name": "f", "input": {"a": 1}},
                ])),
                message("user", json!([
                    {"type": "tool_result", "tool_use_id": signature, "content": content,
                     "is_error": false, "cache_control": mark},
                ])),
            ],
        }))
    };
    let marked = body(json!({"type": "ephemeral"}), "abc");
    assert_eq!(marked, body(Value::Null, "xyz"));
    assert!(marked.blocks.len() > 3);

    // In what belongs to the user, nothing is ignored.
    let call = |input: Value| {
        let part = json!({"type": "tool_use", "name": "f", "input": input});
        read(&chat(vec![message("assistant", json!([part])), message("user", words("x", 300))]))
    };
    assert_ne!(call(json!({"signature": "a"})).blocks, call(json!({"signature": "b"})).blocks);
    assert_ne!(call(json!({"id": null})).blocks, call(json!({})).blocks);
}

#[test]
fn system_text_is_a_first_message_whatever_holds_it_and_wherever_it_stands() {
    let (rules, question) = (words("rules", 700), words("question", 500));
    let messages = json!([message("user", question.clone())]);
    let string = read(&json!({"system": rules, "messages": messages}));
    let block = json!([{"type": "text", "text": rules}]);
    assert_eq!(string, read(&json!({"system": block, "messages": messages})));
    let first = json!([message("system", rules.clone()), message("user", question.clone())]);
    assert_eq!(string, read(&json!({"messages": first})));
    let behind = format!(r#"{{"messages":{messages},"system":{}}}"#, json!(rules));
    assert_eq!(string, read_text(&behind));

    let asked = read(&json!({"instructions": rules, "input": question}));
    assert_eq!(string.blocks, asked.blocks);
    let other = json!([message("user", words("other", 500))]);
    assert_eq!(shared_blocks(&string, &read(&json!({"system": rules, "messages": other}))), 5);

    // The beginning fits a small buffer whichever comes first.
    for length in 0..12 {
        for body in [&behind, &json!({"system": rules, "messages": messages}).to_string()] {
            let mut out = vec![0; length];
            let read =
                read_body(&key(), BodyOptions::default(), body.as_bytes(), &mut out).unwrap();
            let print = read.fingerprint.unwrap();
            let kept = length.min(string.blocks.len());
            assert_eq!((print.blocks(), print.total()), (&string.blocks[..kept], string.total));
        }
    }
}

#[test]
fn tools_are_kept_up_to_the_one_that_differs() {
    let tool = |seed: &str| json!({"name": seed, "description": words(seed, 1000)});
    let body = |tools: &[&str]| {
        let tools: Vec<Value> = tools.iter().map(|seed| tool(seed)).collect();
        let messages =
            vec![message("system", words("rules", 256)), message("user", words("q", 300))];
        read(&json!({"messages": messages, "tools": tools}))
    };
    let two = body(&["a", "b"]);
    assert_eq!(shared_blocks(&two, &body(&["a", "b", "c"])), 2 + 16);
    assert_eq!(shared_blocks(&two, &body(&["a", "c"])), 2 + 8);
    assert_eq!(shared_blocks(&two, &body(&["b", "a"])), 2);
    assert_eq!(shared_blocks(&two, &body(&[])), 2);

    let many = |last: &str| {
        let tools: Vec<Value> =
            (0..300).map(|i| json!(format!("t{i}"))).chain([json!(last)]).collect();
        read(&json!({"messages": [message("user", words("q", 300))], "tools": tools}))
    };
    let (one, other) = (many("x"), many("y"));
    assert!(shared_blocks(&one, &other) == 1 && one.blocks.last() != other.blocks.last());
}

#[test]
fn the_order_of_a_schemas_keys_counts_and_that_of_a_tools_own_does_not() {
    let body = |tool: &str| {
        let body = format!(
            r#"{{"tools":[{tool}],"messages":[{{"role":"user","content":"{}"}}]}}"#,
            words("q", 300)
        );
        read_written(BodyOptions::default(), &body)
    };
    let one = body(r#"{"name":"f","parameters":{"type":"object","properties":{}}}"#);
    let own = body(r#"{"parameters":{"type":"object","properties":{}},"name":"f"}"#);
    let schema = body(r#"{"name":"f","parameters":{"properties":{},"type":"object"}}"#);
    assert_eq!(one, own);
    assert_eq!(shared_blocks(&one, &schema), 0);
}

#[test]
fn how_much_to_think_shapes_the_prompt_wherever_it_is_said() {
    let read = |fields: Value| {
        let mut body = chat(vec![message("user", words("x", 500))]);
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        read(&body)
    };
    let high = read(json!({"reasoning_effort": "high"}));
    assert_eq!(high, read(json!({"output_config": {"effort": "high"}})));
    assert_eq!(high, read(json!({"reasoning": {"effort": "high"}})));
    assert_eq!(high, read(json!({"chat_template_kwargs": {"reasoning_effort": "high"}})));
    assert_eq!(shared_blocks(&high, &read(json!({"reasoning_effort": "low"}))), 0);
    assert_eq!(shared_blocks(&high, &read(json!({}))), 0);
}

#[test]
fn token_ids_take_the_place_of_messages() {
    let ids: Vec<u32> = (0..300).collect();
    let bare = read(&json!({"input_ids": ids}));
    for body in [
        json!({"input_ids": ids, "messages": [message("system", words("s", 300)), message("user", "x")]}),
        json!({"input_ids": ids, "messages": [3], "tools": [{"name": "f"}], "system": words("s", 300)}),
        json!({"input_ids": ids, "text": "x"}),
    ] {
        assert_eq!(read(&body), bare);
        let text = body["messages"].to_string();
        let behind = format!(
            r#"{{"system":"{}","messages":{text},"input_ids":{}}}"#,
            words("s", 300),
            json!(ids)
        );
        assert_eq!(read_text(&behind), bare);
    }
    let embeds = |data: &str| read(&json!({"prompt": words("p", 300), "prompt_embeds": data}));
    assert_eq!(shared_blocks(&embeds("a"), &embeds("b")), 0);
    let session = |id: &str| read(&json!({"input_ids": ids, "session_params": {"id": id}}));
    assert_eq!(shared_blocks(&session("a"), &session("b")), 0);
    assert_eq!(read(&json!({"inputs": words("p", 300)})).total, 300);
}

#[test]
fn several_answers_are_told() {
    let answers = |body: Value| read(&body).answers;
    assert_eq!(answers(json!({"prompt": "abc"})), 1);
    assert_eq!(answers(json!({"prompt": "abc", "n": 8})), 8);
    assert_eq!(answers(json!({"prompt": "abc", "n": null, "best_of": 3})), 3);
    assert_eq!(answers(json!({"text": "abc", "sampling_params": {"n": 4}})), 4);
    assert_eq!(answers(json!({"text": ["a", "b"], "sampling_params": [{"n": 4}, {"n": 2}]})), 8);
    assert_eq!(answers(json!({"prompt": vec!["a"; 64], "max_tokens": 100})), 64);
    assert_eq!(answers(json!({"input_ids": [[1], [2], [3]], "messages": []})), 3);
    assert_eq!(answers(json!({"messages": [message("user", "x")], "n": 0})), 1);
}

#[test]
fn a_billing_line_is_dropped_where_the_engine_drops_it() {
    let options = |strips| options(|config| config.profile.strip_billing_line = strips);
    let line = |id: &str| format!("x-anthropic-billing-header: cch={id};");
    let blocks = |id: &str, strips| {
        let system =
            json!([{"type": "text", "text": line(id)}, {"type": "text", "text": words("s", 300)}]);
        let body = json!({"system": system, "messages": [message("user", "x")]});
        read_with(options(strips), &body.to_string())
    };
    assert_eq!(shared_blocks(&blocks("a", false), &blocks("b", false)), 0);
    let without = json!({"system": words("s", 300), "messages": [message("user", "x")]});
    assert_eq!(blocks("a", true), blocks("b", true));
    assert_eq!(blocks("a", true), read(&without));
    for length in [300, 5000] {
        let chat = |id: &str| {
            let text = format!("{}\n{}", line(id), words("s", length));
            read_with(
                options(true),
                &chat(vec![message("system", text), message("user", "x")]).to_string(),
            )
        };
        assert_eq!(chat("a"), chat("b"));
    }
}

#[test]
fn a_profile_is_a_name_or_fields() {
    let profile = |document: Value| serde_json::from_value::<RenderProfile>(document);
    for name in RenderProfile::names() {
        assert_eq!(profile(json!(name)).unwrap(), RenderProfile::named(name).unwrap());
    }
    let mut known = RenderProfile::named("qwen3").unwrap();
    known.strip_billing_line = true;
    assert_eq!(profile(json!({"name": "qwen3", "strip_billing_line": true})).unwrap(), known);
    let mut learning = RenderProfile::auto();
    learning.tools = ToolsAt::BeforeSystem;
    for known in [known, learning, RenderProfile::auto(), RenderProfile::default()] {
        let written = serde_json::to_value(known).unwrap();
        assert_eq!(profile(written).unwrap(), known);
    }
    assert!(!profile(json!({"name": "auto", "history": "keep"})).unwrap().is_auto());
    assert!(profile(json!("gpt-9")).unwrap_err().to_string().contains("known: auto, qwen3"));
    assert!(profile(json!({"historic": 1})).is_err());
}
