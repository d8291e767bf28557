//! A whole fleet that comes, goes, and comes again, at once.

use std::sync::Mutex;

use pointsman::{
    MAX_WORKERS, PoolError, Request, Role, Router, RoutingError, WorkerId, WorkerSpec,
};

use super::{SECOND, assert_recovered};
use crate::support::{add_many, assert_idle, config, refusal};

#[test]
fn a_thousand_and_twenty_four_workers_at_once() {
    let router = Router::new(config("round_robin")).unwrap();
    let first = add_many(&router, Role::Regular, 1);
    let ids = Mutex::new(Vec::<WorkerId>::new());
    for round in 0..2 {
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let (router, ids) = (&router, &ids);
                scope.spawn(move || {
                    for i in 0..128 {
                        let spec = WorkerSpec::new(format!("http://{round}-{thread}-{i}"));
                        // One place is taken already.
                        match router.at(SECOND).add_worker(spec) {
                            Ok(id) => ids.lock().unwrap().push(id),
                            Err(error) => assert!(
                                matches!(error, PoolError::TooManyWorkers { .. }),
                                "{error}"
                            ),
                        }
                    }
                });
            }
            for _ in 0..4 {
                scope.spawn(|| {
                    (0..2_000).for_each(|_| drop(router.select(&Request::none()).unwrap()));
                });
            }
        });
        let mut workers = std::mem::take(&mut *ids.lock().unwrap());
        assert_eq!(workers.len(), MAX_WORKERS - 1);
        workers.push(first[0]);
        assert_recovered(&router, &workers, SECOND);
        workers.retain(|&worker| worker != first[0]);
        std::thread::scope(|scope| {
            for leaving in workers.chunks(128) {
                let router = &router;
                let leave = move || leaving.iter().for_each(|&w| router.remove_worker(w).unwrap());
                scope.spawn(leave);
            }
            scope.spawn(|| {
                (0..2_000).for_each(|_| drop(router.select(&Request::none()).unwrap()));
            });
        });
        assert_recovered(&router, &first, SECOND);
    }
    router.remove_worker(first[0]).unwrap();
    let error = refusal(router.select(&Request::none()));
    assert!(matches!(error, RoutingError::NoHealthyWorkers { workers: 0, .. }));
    assert_idle(&router);
}
