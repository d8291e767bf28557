//! Helpers over slices of workers, for a host's own fallbacks: the proposal's `LoadBalancing`.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use crate::pool::best::Best;
use crate::random::{self, Random};
use crate::worker::proposal::Worker;

/// What a host can ask of its own list of workers. Implemented for slices of `Arc<dyn Worker>`.
pub trait LoadBalancing {
    /// The healthy worker with the least (load + 1) / weight; ties at random. O(n).
    fn select_least_loaded(&self) -> Option<Arc<dyn Worker>>;

    /// The healthy workers, in order. O(n); allocates.
    fn get_healthy_workers(&self) -> Vec<Arc<dyn Worker>>;
}

impl LoadBalancing for [Arc<dyn Worker>] {
    fn select_least_loaded(&self) -> Option<Arc<dyn Worker>> {
        let random = Random::from_seed(random::entropy());
        let mut best = Best::new(&random);
        for worker in self.iter().filter(|worker| worker.is_healthy()) {
            let load = (worker.load().load(Relaxed) + 1) as f64 / worker.weight();
            best.offer(load, worker);
        }
        best.first().map(|(_, worker)| Arc::clone(worker))
    }

    fn get_healthy_workers(&self) -> Vec<Arc<dyn Worker>> {
        self.iter().filter(|worker| worker.is_healthy()).map(Arc::clone).collect()
    }
}
