//! The whole `Router::select` + `complete`, cache-aware with its default rule, eviction, tickets and
//! counters included: one file per family of bars. Each prints what it measures and returns its bars.

pub mod body;
pub mod floor;
pub mod full;
pub mod growth;
pub mod long;
pub mod memory;
pub mod speed;
pub mod threads;
pub mod workers;
