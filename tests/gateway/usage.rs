//! The engines' token counts, in each API's own words.

use axum::http::Method;
use pointsman::Role::Regular;
use pointsman::Usage;
use serde_json::json;

use crate::proxy::usage::UsageReader;
use crate::rig::{Rig, fast};

/// Answers, and what they report: prompt, cached and generated tokens.
const ANSWERS: &str = include_str!("../data/usage.json");

#[derive(serde::Deserialize)]
struct Vector {
    name: String,
    answer: String,
    usage: [Option<u32>; 3],
}

#[test]
fn every_api_is_read_however_the_bytes_are_cut() {
    let vectors: Vec<Vector> = serde_json::from_str(ANSWERS).unwrap();
    assert!(vectors.len() > 10);
    for Vector { name, answer, usage: [prompt_tokens, cached_tokens, completion_tokens] } in vectors
    {
        let expected = Usage { prompt_tokens, cached_tokens, completion_tokens };
        for piece in [1, 2, 3, 7, 64, answer.len().max(1)] {
            let mut reader = UsageReader::default();
            answer.as_bytes().chunks(piece).for_each(|piece| reader.push(piece));
            assert_eq!(reader.usage(), expected, "{name}, {piece} bytes at a time");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_engine_had_cached_is_learned_through_every_api() {
    let rig = Rig::new(&[(Regular, fast())]).await;
    let question = "How many trains pass the junction on a Sunday? ".repeat(20);
    let messages = json!([{ "role": "user", "content": question }]);
    let bodies = [
        ("/v1/chat/completions", json!({ "messages": messages })),
        ("/v1/messages", json!({ "system": "Count.", "messages": messages })),
        ("/v1/responses", json!({ "input": question })),
    ];
    for (path, mut body) in bodies {
        body["max_tokens"] = 3.into();
        for stream in [false, true] {
            body["stream"] = stream.into();
            body["stream_options"] = json!({ "include_usage": true });
            for _ in 0..2 {
                assert_eq!(rig.call(Method::POST, path, body.clone()).await.0, 200);
            }
        }
        rig.idle().await;
        let cached = rig.engines[0].stats().cached_tokens as f64;
        assert!(cached > 600.0);
        let reported = rig.metric("pointsman_worker_reported_cached_tokens_total").await;
        assert_eq!(reported, cached, "{path}");
    }
}
