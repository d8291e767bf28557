//! Routing brain for LLM serving.

pub mod prefix;
mod sync;
