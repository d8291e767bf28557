//! The async adapter: one selection and its completion, polled once.

use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use pointsman::PolicyConfig;
use pointsman::adapter::{Adapter, RoutingPolicy};

use crate::support::measure::Run;
use crate::support::proposal;

pub fn select_and_complete(policy: &str, workers: usize) -> Run<'static> {
    let workers = proposal::workers(workers);
    let adapter = Adapter::from_config(&PolicyConfig::named(policy)).expect("a built-in policy");
    Box::new(move |operations| {
        let request = serde_json::json!({"model": "m", "prompt": "Why is the sky blue?"});
        for _ in 0..operations {
            let chosen = ready(adapter.select_single(&workers, black_box(&request)));
            let chosen = chosen.expect("all are healthy");
            adapter.on_request_complete(chosen.url(), true);
        }
    })
}

/// The output of a future that is ready when it is first polled.
fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => unreachable!("the adapter's futures are ready at once"),
    }
}
