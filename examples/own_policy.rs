//! A policy of your own: a batch job, told by its routing key, goes to the busiest worker that is not full,
//! so that the others stay free for chats.
//!
//! `cargo run --example own_policy`

use std::sync::Arc;

use pointsman::policy::{Candidates, Decision, Random, RequestView};
use pointsman::{PolicyConfig, Reason, Request, Router, RoutingError, RoutingPolicy, WorkerSpec};

struct PackBatches(Random);

impl RoutingPolicy for PackBatches {
    fn name(&self) -> &str {
        "pack_batches"
    }

    fn select_single(
        &self,
        workers: &Candidates<'_>,
        request: &RequestView<'_>,
    ) -> Result<Decision, RoutingError> {
        let chosen = match request.routing_key {
            Some(_) => workers.iter().max_by_key(|worker| worker.in_flight()),
            None => workers.least_loaded(&self.0),
        };
        Ok(Decision::new(chosen.ok_or_else(|| workers.none())?.id(), Reason::Custom))
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let router = Router::builder()
        .add_policy("pack_batches", |_| Ok(Arc::new(PackBatches(Random::from_entropy()))))?
        .set_policy(PolicyConfig::named("pack_batches"))
        .build()?;
    for url in ["http://10.0.0.7:8000", "http://10.0.0.8:8000", "http://10.0.0.9:8000"] {
        router.add_worker(WorkerSpec::new(url).max_in_flight(4))?;
    }
    let batch = Request::none().routing_key("batch");
    let jobs: Vec<_> = (0..6).map(|_| router.select(&batch)).collect::<Result<_, _>>()?;
    let chat = router.select(&Request::none())?;
    println!("{} batch jobs on two workers, the chat on a third: {:?}", jobs.len(), chat.url());
    Ok(())
}
