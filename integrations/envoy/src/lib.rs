//! pointsman inside Envoy: a dynamic module with a load-balancing policy and an HTTP filter.
//!
//! ```text
//! filter     reads the prompt, makes its fingerprint          filter.rs, config.rs
//!   |  an id in the filter state; the route's hash policy     exchange.rs
//! policy     names a worker for it, among this thread's hosts balancer.rs, hosts.rs, pool.rs
//!   |  response
//! filter     first token, usage, outcome: closes the ticket   filter.rs, usage.rs, outcome.rs
//! ```
//!
//! `abi.rs` declares Envoy's interface, `envoy.rs` makes it safe to call, `boundary.rs` keeps panics inside,
//! `metrics.rs` names what is counted, `unused.rs` holds the hooks that only have to exist.

pub mod abi;
pub mod balancer;
pub mod boundary;
pub mod config;
pub mod envoy;
pub mod exchange;
pub mod filter;
pub mod hosts;
pub mod metrics;
pub mod outcome;
pub mod pool;
pub mod unused;
/// The reader of the example gateway: one for both.
#[path = "../../../examples/gateway/proxy/usage.rs"]
pub mod usage;

use std::ffi::c_char;

/// The module is loaded: tells Envoy which version of the interface it is made for.
#[unsafe(no_mangle)]
pub extern "C" fn envoy_dynamic_module_on_program_init() -> *const c_char {
    abi::VERSION.as_ptr()
}
