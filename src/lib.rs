//! Routing brain for LLM serving.

pub mod prefix;
pub mod request;
mod sync;
