//! What routers and trees do, beside naive models of it. Property tests draw the steps at random, fuzz
//! targets from their input.

pub mod eligibility;
pub mod pool;
pub mod tickets;
