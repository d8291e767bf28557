//! The policies that do not read the prompt, beside pingora's.

use std::time::Duration;

use crate::adapter;
use crate::peers::pingora;
use crate::support::bars::Bar;
use crate::support::measure::Effort;
use crate::support::samples::Thoroughness;
use crate::support::simple::{POLICIES, Report, SIZES, cases};

pub fn measure(thoroughness: Thoroughness) -> Vec<Bar> {
    let mut table = cases(None);
    let ours: usize = table.names().count();
    for (name, make) in pingora::CASES {
        for (workers, threads) in SIZES.into_iter().map(|size| (size, 1)).chain([(8, 2)]) {
            let name = format!("{name}, {workers} workers, {threads} threads");
            table.add(name, threads, make(workers));
        }
    }
    for policy in POLICIES {
        for workers in SIZES {
            let name = format!("adapter {policy}, {workers} workers, 1 threads");
            table.add(name, 1, adapter::select_and_complete(policy, workers));
        }
    }
    let slice = Duration::from_millis(2);
    table.measure(Effort { rounds: thoroughness.rounds, slice });
    let others: Vec<String> = table.names().skip(ours).map(str::to_owned).collect();
    let report = Report { table };
    report.costs();
    report.throughput();
    report.allocations();
    println!("\nPeers, and the async adapter with its completion: ns per operation\n");
    for name in others {
        let case = report.table.number(&name).expect("it was added");
        println!("{name:<60}{:>26}", report.table.nanoseconds(case));
    }
    report.bars()
}
