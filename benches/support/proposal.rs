//! The "before": simple policies over `&[Arc<dyn Worker>]` as the original proposal sketches them.
//!
//! Every request collects the healthy workers into a list and draws from a generator in a mutex.
//! Its `async` is left out, which spares it one box per call.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
};

use pointsman::Worker;
use rand::{RngExt, SeedableRng, rngs::StdRng};

/// A worker as simple as the trait allows.
#[derive(Debug)]
pub struct PlainWorker {
    url: String,
    healthy: AtomicBool,
    load: AtomicUsize,
}

impl Worker for PlainWorker {
    fn url(&self) -> &str {
        &self.url
    }

    fn is_healthy(&self) -> bool {
        self.healthy.load(Relaxed)
    }

    fn load(&self) -> &AtomicUsize {
        &self.load
    }
}

/// A pool of healthy workers.
pub fn workers(count: usize) -> Vec<Arc<dyn Worker>> {
    let worker = |i| PlainWorker {
        url: format!("http://10.0.{}.{}:8000", i / 256, i % 256),
        healthy: AtomicBool::new(true),
        load: AtomicUsize::new(0),
    };
    (0..count).map(|i| Arc::new(worker(i)) as Arc<dyn Worker>).collect()
}

/// The proposal's trait, synchronous.
pub trait Policy: Send + Sync {
    fn select_single(&self, workers: &[Arc<dyn Worker>]) -> Option<Arc<dyn Worker>>;
}

fn healthy(workers: &[Arc<dyn Worker>]) -> Vec<Arc<dyn Worker>> {
    workers.iter().filter(|worker| worker.is_healthy()).cloned().collect()
}

/// A generator for all threads.
pub struct Shared(Mutex<StdRng>);

impl Default for Shared {
    fn default() -> Self {
        Shared(Mutex::new(StdRng::seed_from_u64(1)))
    }
}

impl Shared {
    fn below(&self, bound: usize) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).random_range(0..bound)
    }
}

#[derive(Default)]
pub struct Random(Shared);

impl Policy for Random {
    fn select_single(&self, workers: &[Arc<dyn Worker>]) -> Option<Arc<dyn Worker>> {
        let healthy = healthy(workers);
        if healthy.is_empty() {
            return None;
        }
        Some(Arc::clone(&healthy[self.0.below(healthy.len())]))
    }
}

#[derive(Default)]
pub struct RoundRobin(AtomicUsize);

impl Policy for RoundRobin {
    fn select_single(&self, workers: &[Arc<dyn Worker>]) -> Option<Arc<dyn Worker>> {
        let healthy = healthy(workers);
        let turn = self.0.fetch_add(1, Relaxed).checked_rem(healthy.len())?;
        Some(Arc::clone(&healthy[turn]))
    }
}

#[derive(Default)]
pub struct PowerOfTwo(Shared);

impl Policy for PowerOfTwo {
    fn select_single(&self, workers: &[Arc<dyn Worker>]) -> Option<Arc<dyn Worker>> {
        let healthy = healthy(workers);
        if healthy.len() < 2 {
            return healthy.first().cloned();
        }
        let first = self.0.below(healthy.len());
        let second = (first + 1 + self.0.below(healthy.len() - 1)) % healthy.len();
        let (a, b) = (&healthy[first], &healthy[second]);
        let less = if b.load().load(Relaxed) < a.load().load(Relaxed) { b } else { a };
        Some(Arc::clone(less))
    }
}
