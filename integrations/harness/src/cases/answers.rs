//! What the router learns of answers, and what it tells.

use std::io::Write;
use std::process::{Command, Stdio};

use axum::body::Bytes;
use axum::http::{Method, Request, header};
use http_body_util::{BodyExt, Full};
use serde_json::json;

use super::{Verdict, demand};
use crate::bench::{Bench, until_ok};
use crate::gateway::sum_of;
use crate::http::call;

/// The engines' counts are read from the answers of every API, streamed or not. What they had cached is what the
/// router is told.
pub(super) async fn usage(bench: &mut Bench) -> Verdict {
    let question = "How many trains pass the junction on a Sunday? ".repeat(20);
    let messages = json!([{ "role": "user", "content": question }]);
    let bodies = [
        ("/v1/chat/completions", json!({ "messages": messages })),
        ("/v1/completions", json!({ "prompt": question })),
        ("/v1/messages", json!({ "system": "Count.", "messages": messages })),
        ("/v1/responses", json!({ "input": question })),
    ];
    let mut told = 0;
    for (path, mut body) in bodies {
        // A long answer, so that what stands at its beginning is not found at its end.
        body["max_tokens"] = 300.into();
        body["stream_options"] = json!({ "include_usage": true });
        for stream in [false, true] {
            body["stream"] = stream.into();
            for _ in 0..3 {
                let url = format!("{}{path}", bench.url());
                let asked = call(&bench.client, Method::POST, &url, body.to_string()).await?;
                demand(asked.0 == 200, || format!("{path}: answered {}", asked.0))?;
            }
            bench.until_in_flight(0).await?;
            let cached: u64 = bench.engines.iter().map(|engine| engine.stats().cached_tokens).sum();
            let what = format!("{path}, streamed: {stream}: {cached} cached tokens are reported");
            until_ok(&what, async || {
                let status = bench.status().await.unwrap_or_default();
                bench.gateway.reported_cached(&status) == Some(cached)
            })
            .await?;
            demand(cached > told, || format!("{path}: nothing was cached"))?;
            told = cached;
        }
    }
    Ok(format!("4 APIs, streamed and not: all {told} cached tokens"))
}

/// The status page is what it says: the OpenMetrics format, as Prometheus' own client reads it.
pub(super) async fn status(bench: &mut Bench) -> Verdict {
    if !bench.gateway.open_metrics() {
        return Ok("the gateway's own page".to_owned());
    }
    for number in 0..5 {
        super::conversations::ask_anew(bench, number).await?;
    }
    // What other processes of the gateway know may be told a moment later.
    until_ok("five requests are told", async || {
        let status = bench.status().await.unwrap_or_default();
        sum_of(&status, "pointsman_worker_selections_total") >= Some(5)
    })
    .await?;
    let url = bench.gateway.status_url(&bench.site);
    let response = bench.client.request(Request::get(&url).body(Full::<Bytes>::default())?).await?;
    let kind = response.headers().get(header::CONTENT_TYPE).cloned().ok_or("no content type")?;
    let expected = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    demand(kind == expected, || format!("its content type is {kind:?}"))?;
    let text = response.into_body().collect().await?.to_bytes();
    let python = std::env::var_os("PROMETHEUS_PYTHON").unwrap_or_else(|| "python3".into());
    let mut reader = Command::new(python)
        .args(["-c", READER])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    reader.stdin.take().ok_or("no input")?.write_all(&text)?;
    let output = reader.wait_with_output()?;
    demand(output.status.success(), || String::from_utf8_lossy(&output.stderr).into_owned())?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Reads a page, and wants the requests that were asked in it.
const READER: &str = r#"
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
families = list(text_string_to_metric_families(sys.stdin.read()))
samples = [sample for family in families for sample in family.samples]
asked = sum(s.value for s in samples if s.name == "pointsman_worker_selections_total")
assert asked >= 5, f"{asked} selections"
print(f"{len(families)} families, {len(samples)} samples")
"#;
