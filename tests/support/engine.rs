//! A host's own worker type, as a router written against the proposal has it, and a way to run
//! futures that are ready at once.

#![allow(dead_code)]

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, Waker};

use pointsman::Worker;
use pointsman::adapter::RoutingPolicy;

#[derive(Debug)]
pub struct Engine {
    url: String,
    healthy: AtomicBool,
    weight: AtomicU64,
    load: AtomicUsize,
}

impl Engine {
    pub fn new(url: &str) -> Arc<Engine> {
        Arc::new(Engine {
            url: url.to_owned(),
            healthy: AtomicBool::new(true),
            weight: AtomicU64::new(1f64.to_bits()),
            load: AtomicUsize::new(0),
        })
    }

    pub fn in_flight(&self) -> usize {
        self.load.load(Relaxed)
    }

    pub fn set_load(&self, load: usize) {
        self.load.store(load, Relaxed);
    }

    pub fn set_healthy(&self, healthy: bool) {
        self.healthy.store(healthy, Relaxed);
    }

    pub fn set_weight(&self, weight: f64) {
        self.weight.store(weight.to_bits(), Relaxed);
    }
}

impl Worker for Engine {
    fn url(&self) -> &str {
        &self.url
    }

    fn is_healthy(&self) -> bool {
        self.healthy.load(Relaxed)
    }

    fn load(&self) -> &AtomicUsize {
        &self.load
    }

    fn weight(&self) -> f64 {
        f64::from_bits(self.weight.load(Relaxed))
    }
}

/// `n` engines named `prefix0`, `prefix1`, ..., as the host's type and as the proposal's.
pub fn engines(prefix: &str, n: usize) -> (Vec<Arc<Engine>>, Vec<Arc<dyn Worker>>) {
    let engines: Vec<_> = (0..n).map(|i| Engine::new(&format!("{prefix}{i}"))).collect();
    let workers = as_workers(&engines);
    (engines, workers)
}

pub fn as_workers(engines: &[Arc<Engine>]) -> Vec<Arc<dyn Worker>> {
    engines.iter().map(|engine| Arc::clone(engine) as Arc<dyn Worker>).collect()
}

/// Completes a request of each of these workers with success.
pub fn complete(policy: &dyn RoutingPolicy, workers: &[&Arc<dyn Worker>]) {
    workers.iter().for_each(|worker| policy.on_request_complete(worker.url(), true));
}

/// The output of a future that is ready when it is first polled.
pub fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the adapter's futures are ready at once"),
    }
}
