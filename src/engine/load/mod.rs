//! What engines say about their loads, in each of the forms that they say it in.
//!
//! - [`loads`]: what is handed out: the load of each data-parallel rank, or of all together.
//! - [`metric`]: what a name of an engine's means.
//! - [`prometheus`]: the text of `/metrics`.
//! - [`orca`]: the answer header `endpoint-load-metrics`.
//! - [`listing`]: SGLang's `/v1/loads`.
//! - [`walk`]: a JSON document's numbers, with their keys.

mod listing;
pub(super) mod loads;
mod metric;
mod orca;
mod prometheus;
mod walk;
