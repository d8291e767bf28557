//! The async adapter's table.

use crate::adapter::select_and_complete;
use crate::support::allocations::Counts;
use crate::support::measure::{Effort, Table};
use crate::support::simple;

/// Measures it and prints nanoseconds, and allocations and frees per operation: each is the box of the
/// future that `async_trait` makes.
pub fn report(effort: Effort) {
    const OPERATIONS: u64 = 1000;
    /// Until every worker has had its first request, which makes its queue.
    const WARM: u64 = 20_000;
    let mut table = Table::default();
    for policy in simple::POLICIES {
        for workers in simple::SIZES {
            let name = format!("{policy}, {workers} workers");
            table.add(name, 1, select_and_complete(policy, workers));
        }
    }
    table.measure(effort);
    println!(
        "\nThe async adapter, which looks at every worker's health and weight: ns, allocations, frees\n"
    );
    let names: Vec<String> = table.names().map(str::to_owned).collect();
    for (number, name) in names.iter().enumerate() {
        let case = table.case(name).expect("it is a case");
        case.run(WARM);
        let before = Counts::now();
        case.run(OPERATIONS);
        let (allocations, frees) = Counts::now().per_operation(before, OPERATIONS);
        let figure = table.nanoseconds(number).to_string();
        println!("{name:<28}{figure:>32}{allocations:>8.2}{frees:>8.2}");
    }
}
