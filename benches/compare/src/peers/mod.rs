//! The peers, each used the way its own router uses it.
//!
//! - [`kv_index`]: the trees of the SGLang gateway's router.
//! - [`dynamo`]: NVIDIA Dynamo's indexes.
//! - [`pingora`]: selection algorithms without and with health.

pub mod dynamo;
pub mod kv_index;
pub mod pingora;
