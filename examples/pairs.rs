//! Prefill and decode workers: one selection names a pair that may work together.
//!
//! `cargo run --example pairs`

use pointsman::{Outcome, Request, Role, Router, RouterConfig, Usage, WorkerSpec};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The rule that reads prefixes chooses who computes the prompt; who has room, who answers.
    let router = Router::new(RouterConfig::default())?;
    for rack in ["a", "b"] {
        let worker = |role: Role, name: &str| {
            // Pairs are formed within a group, here a rack with a fast link.
            WorkerSpec::new(format!("http://{name}.{rack}:8000")).role(role).group(rack)
        };
        router.add_worker(worker(Role::Prefill, "prefill"))?;
        router.add_worker(worker(Role::Decode, "decode-1"))?;
        router.add_worker(worker(Role::Decode, "decode-2"))?;
    }
    let document = "A long document. ".repeat(500);
    for question in ["Who wrote it?", "When?", "What does it say?"] {
        let prompt = format!("{document}{question}");
        let pair = router.select_pair(&Request::text(&prompt).expected_output_tokens(200))?;
        let (prefill, decode) = (pair.prefill(), pair.decode());
        println!(
            "{} computes {} of {} tokens, {} answers",
            prefill.url().ok_or("removed in the meantime")?,
            prefill.total_tokens() - prefill.matched_tokens(),
            prefill.total_tokens(),
            decode.url().ok_or("removed in the meantime")?,
        );
        // The first token gives the prefill worker's load back, the end the decode worker's.
        pair.first_token(None)?;
        pair.complete(Outcome::Success, Usage::default())?;
    }
    Ok(())
}
