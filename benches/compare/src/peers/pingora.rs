//! pingora-load-balancing: round-robin and random, the bare iterators and with health.

use std::collections::BTreeSet;
use std::hint::black_box;
use std::sync::Arc;

use pingora_load_balancing::selection::{BackendIter, BackendSelection, Random, RoundRobin};
use pingora_load_balancing::{Backend, LoadBalancer};

use crate::support::measure::Run;

fn addresses(workers: usize) -> impl Iterator<Item = String> {
    (0..workers).map(|worker| format!("10.0.{}.{}:8000", worker / 256, worker % 256))
}

fn bare<S>(workers: usize) -> Run<'static>
where
    S: BackendSelection + Send + Sync + 'static,
    S::Iter: BackendIter,
{
    let backend = |address: String| Backend::new(&address).expect("an address");
    let backends: BTreeSet<Backend> = addresses(workers).map(backend).collect();
    let selection = Arc::new(S::build(&backends));
    Box::new(move |operations| {
        for _ in 0..operations {
            let mut iter = selection.iter(black_box(b""));
            black_box(iter.next());
        }
    })
}

fn with_health<S>(workers: usize) -> Run<'static>
where
    S: BackendSelection<Config = ()> + Send + Sync + 'static,
    S::Iter: BackendIter,
{
    let balancer: LoadBalancer<S> =
        LoadBalancer::try_from_iter(addresses(workers)).expect("addresses need no look-up");
    Box::new(move |operations| {
        for _ in 0..operations {
            black_box(balancer.select(black_box(b""), 256).expect("all are healthy"));
        }
    })
}

/// From a number of workers.
type Make = fn(usize) -> Run<'static>;

/// Name and maker of each case.
pub const CASES: [(&str, Make); 4] = [
    ("pingora RoundRobin iterator", bare::<RoundRobin>),
    ("pingora Random iterator", bare::<Random>),
    ("pingora LoadBalancer RoundRobin", with_health::<RoundRobin>),
    ("pingora LoadBalancer Random", with_health::<Random>),
];
