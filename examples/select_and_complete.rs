//! Select a worker, send the request there, say how it ended; once more if it failed.
//!
//! `cargo run --example select_and_complete`

use pointsman::{Outcome, Request, Router, RouterConfig, Usage, WorkerSpec};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let router = Router::new(RouterConfig::default())?;
    for url in ["http://10.0.0.7:8000", "http://10.0.0.8:8000"] {
        router.add_worker(WorkerSpec::new(url))?;
    }
    for attempt in 0..4 {
        let body = br#"{"messages": [{"role": "user", "content": "Why is the sky blue?"}]}"#;
        let mut failed = Vec::new();
        loop {
            let selection = router.select(&Request::json(body).exclude(&failed))?;
            let worker = selection.worker();
            let url = selection.url().ok_or("removed in the meantime: select again")?;
            println!("{url} because {}", selection.reason());
            // Here the body is sent. Say that the very first worker refuses the connection:
            if attempt == 0 && failed.is_empty() {
                selection.complete(Outcome::WorkerError, Usage::default())?;
                failed.push(worker);
                continue;
            }
            // The first byte of the answer is there, and then all of it.
            selection.first_token(None)?;
            let usage = Usage { completion_tokens: Some(120), ..Usage::default() };
            selection.complete(Outcome::Success, usage)?;
            break;
        }
    }
    let in_flight: usize = router.workers().iter().map(|worker| worker.in_flight).sum();
    println!("{in_flight} requests are still in flight");
    Ok(())
}
