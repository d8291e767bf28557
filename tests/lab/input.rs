//! The readers: what they accept, and what they say about what they do not.

use std::io::Write;

use super::trace::{self, Trace, synthetic};

fn parse(text: &str) -> Trace {
    trace::parse(text.as_bytes(), "trace.jsonl").unwrap()
}

fn refused(text: &str) -> String {
    format!("{:#}", trace::parse(text.as_bytes(), "trace.jsonl").unwrap_err())
}

const HEADER: &str = r#"{"name":"x","block":16,"n":2}"#;

#[test]
fn the_native_format_plain_and_gzip() {
    let text = format!(
        "{HEADER}\n{}\n{}\n",
        r#"{"t":0.5,"in":40,"out":20,"b":[7,8]}"#,
        r#"{"t":1.5,"in":64,"out":1,"b":[7,8,9,10],"ob":[],"dep":0,"gap":2}"#
    );
    let plain = parse(&text);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    let gzip = trace::parse(&encoder.finish().unwrap(), "trace.gz").unwrap();
    for trace in [plain, gzip] {
        assert_eq!((trace.requests.len(), trace.block, trace.distinct_input), (2, 16, 4));
        assert_eq!(trace.input_blocks(0).len(), 2);
        // 40 + 20 tokens fill a third block.
        assert_eq!(trace.all_blocks(0).len(), 3);
        assert_eq!(trace.input_blocks(1)[..2], *trace.input_blocks(0));
        assert_eq!(trace.requests[1].after, Some(0));
    }
}

#[test]
fn mooncakes_format_has_milliseconds_and_blocks_of_512() {
    let trace = parse(concat!(
        r#"{"timestamp": 27482, "input_length": 1100, "output_length": 52, "hash_ids": [46, 47, 2]}"#,
        "\n",
        r#"{"timestamp": 30535, "input_length": 600, "output_length": 26, "hash_ids": [46, 48]}"#,
    ));
    assert_eq!(trace.block, 512);
    assert_eq!(trace.requests[0].arrival, 27.482);
    // The partly filled last block is not shared.
    assert_eq!((trace.input_blocks(0).len(), trace.input_blocks(1).len()), (2, 1));
    assert_eq!(trace.input_blocks(0)[0], trace.input_blocks(1)[0]);
}

#[test]
fn openai_bodies_share_what_their_rendered_prompts_share() {
    let system = "You are a helpful assistant. ".repeat(40);
    let body = |question: &str| {
        serde_json::json!({
            "model": "m",
            "messages": [
                {"role": "system", "content": system},
                {"role": "user", "content": [{"type": "text", "text": question}]},
            ],
            "max_tokens": 33,
        })
    };
    let wrapped = serde_json::json!({"timestamp": 1e9 + 2.0, "body": body("Why?")});
    let mut bare = body("How?");
    bare["timestamp"] = 1e9.into();
    let trace = parse(&format!("{wrapped}\n{bare}\n"));
    assert_eq!((trace.requests[0].arrival, trace.requests[1].arrival), (0.0, 2.0));
    assert_eq!(trace.requests[0].output, 33);
    let (first, second) = (trace.input_blocks(0), trace.input_blocks(1));
    assert!(first.len() > 8);
    assert_eq!(first[..8], second[..8]);
}

#[test]
fn the_synthetic_workload_is_the_same_for_a_seed_and_waits_for_its_turns() {
    let (one, same, other) =
        (synthetic::trace(500, 1), synthetic::trace(500, 1), synthetic::trace(500, 2));
    assert_eq!(format!("{one:?}"), format!("{same:?}"));
    assert_ne!(format!("{one:?}"), format!("{other:?}"));
    assert!(
        one.requests.iter().enumerate().all(|(id, r)| r.after.is_none_or(|before| before < id))
    );
    assert!(one.requests.iter().any(|request| request.after.is_some()));
}

#[test]
fn bad_input_names_file_and_line() {
    let line = r#"{"t":0,"in":40,"out":20,"b":[]}"#;
    let cases = [
        ("", "trace.jsonl: the file is empty"),
        ("\n \n", "trace.jsonl: the file is empty"),
        ("nonsense", "trace.jsonl:1: expected"),
        ("{\"a\":1}", "trace.jsonl:1: neither a trace header nor"),
        (HEADER, "trace.jsonl:1: the header announces 2 requests, the file has 0"),
        (r#"{"name":"x","block":0}"#, "trace.jsonl:1: \"block\" must be at least 1"),
        (r#"{"name":"x","block":16}"#, "trace.jsonl: the trace has no requests"),
        (&format!("{HEADER}\n{line}\n{{\"t\":1"), "trace.jsonl:3: EOF"),
        (&format!("{HEADER}\n{}", line.replace("40", "-4")), "trace.jsonl:2: invalid value"),
        (&format!("{HEADER}\n{}", line.replace("40", "0")), "trace.jsonl:2: \"in\" must be"),
        (&format!("{HEADER}\n{}", line.replace(":0", ":-1")), "trace.jsonl:2: \"t\" must be"),
        (
            &format!("{HEADER}\n{}", line.replace("[]", "[],\"dep\":0")),
            "trace.jsonl:2: \"dep\" must name an earlier request",
        ),
        (
            "{\"timestamp\":0,\"input_length\":5,\"output_length\":1,\"hash_ids\":[1]}\n{\"x\":1}",
            "trace.jsonl:2: missing field",
        ),
        ("{\"messages\":[]}", "trace.jsonl:1: \"timestamp\" must be"),
        ("{\"timestamp\":1,\"messages\":[]}", "trace.jsonl:1: the body has no"),
    ];
    for (text, message) in cases {
        let refused = refused(text);
        assert!(refused.starts_with(message), "{text:?}: {refused}");
    }
}

#[test]
fn bad_bytes_and_missing_files_are_errors() {
    let broken_gzip = [0x1f, 0x8b, 8, 0, 1, 2, 3];
    assert!(trace::parse(&broken_gzip, "trace.gz").is_err());
    assert!(trace::parse(&[0xff, 0xfe, 0x00], "trace.jsonl").is_err());
    let missing = trace::load(std::path::Path::new("/no/such/trace")).unwrap_err();
    assert!(format!("{missing:#}").starts_with("cannot read /no/such/trace"));
}

#[test]
fn longer_answers_complete_more_blocks_of_their_own() {
    let text = format!(
        "{HEADER}\n{}\n{}\n",
        r#"{"t":0.5,"in":40,"out":20,"b":[7,8]}"#, r#"{"t":1.5,"in":64,"out":1,"b":[7,8,9,10]}"#
    );
    let mut trace = parse(&text);
    let ids = trace.ids;
    trace.stretch_outputs(4.0);
    assert_eq!(trace.output_tokens(), 84);
    assert_eq!(trace.input_blocks(1)[..2], *trace.input_blocks(0));
    // 40 + 80 tokens fill seven blocks, three of which the trace knew.
    assert_eq!(trace.all_blocks(0).len(), 7);
    assert_eq!(trace.ids, ids + 4);
    trace.stretch_outputs(0.01);
    assert_eq!(trace.requests[0].output, 1);
    assert_eq!(trace.all_blocks(0), trace.input_blocks(0));
}
