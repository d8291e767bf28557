//! The original proposal's trait.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;

use crate::policy::error::RoutingError;
use crate::worker::proposal::Worker;

/// A routing algorithm as the original proposal has it: chooses among the slices of workers that
/// it is handed, in both modes.
///
/// Name and signatures are the proposal's, so that a router written against it compiles. It is not
/// the trait that a policy of this crate implements: that is [`crate::RoutingPolicy`], which
/// [`Adapter`](super::Adapter) turns into this one. Where both are needed, import one of them under
/// another name.
#[async_trait]
pub trait RoutingPolicy: Send + Sync {
    /// Names the worker that serves the whole request.
    async fn select_single(
        &self,
        workers: &[Arc<dyn Worker>],
        request: &Value,
    ) -> Result<Arc<dyn Worker>, RoutingError>;

    /// Names the worker that computes the prompt and the one that generates the answer.
    async fn select_pair(
        &self,
        prefill_workers: &[Arc<dyn Worker>],
        decode_workers: &[Arc<dyn Worker>],
        request: &Value,
    ) -> Result<(Arc<dyn Worker>, Arc<dyn Worker>), RoutingError>;

    /// A request that was sent to this URL is over.
    fn on_request_complete(&self, worker_url: &str, success: bool) {
        let _ = (worker_url, success);
    }

    /// The policy's name.
    fn name(&self) -> &str;
}
