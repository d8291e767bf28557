//! The original proposal's trait with its `async` signatures, over any synchronous policy.
//!
//! A router that holds its workers as `Arc<dyn Worker>` and its requests as `serde_json::Value` is
//! written against [`RoutingPolicy`]; [`Adapter`] gives it every policy of this crate, and any other
//! that implements the synchronous [`crate::RoutingPolicy`]. The two traits share their name with the
//! proposal and differ by their module.
//!
//! - `options`: what a host can set.
//! - `route`: select: find the snapshot, ask the policy, commit.
//! - `book`: slots by URL, and the snapshots in use.
//! - `roster`: one snapshot per distinct slice of workers.
//! - `open`: each worker's open requests, the oldest first.
//! - `charge`: what a request holds of a worker.
//! - `finish`: completion and expiry: give back what was charged.
//! - [`service`] (feature `tower`): a router in front of `tower` services.
//!
//! ```
//! # use std::sync::{Arc, atomic::AtomicUsize};
//! use pointsman::adapter::{Adapter, RoutingPolicy};
//! use pointsman::{PolicyConfig, RoutingError, Worker};
//!
//! # #[derive(Debug)]
//! # struct Engine(&'static str, AtomicUsize);
//! # impl Worker for Engine {
//! #     fn url(&self) -> &str { self.0 }
//! #     fn is_healthy(&self) -> bool { true }
//! #     fn load(&self) -> &AtomicUsize { &self.1 }
//! # }
//! # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
//! # let (a, b) = (Engine("http://a", 0.into()), Engine("http://b", 0.into()));
//! let workers: Vec<Arc<dyn Worker>> = vec![Arc::new(a), Arc::new(b)];
//! let policy: Arc<dyn RoutingPolicy> = Arc::new(Adapter::from_config(&PolicyConfig::default())?);
//!
//! let request = serde_json::json!({"text": "You are a helpful assistant."});
//! let worker = policy.select_single(&workers, &request).await?;
//! // ... send the request there, and when the answer is complete:
//! policy.on_request_complete(worker.url(), true);
//! # Ok(())
//! # }
//! ```

#[cfg(feature = "async")]
mod book;
#[cfg(feature = "async")]
mod charge;
#[cfg(feature = "async")]
mod finish;
#[cfg(feature = "async")]
mod open;
#[cfg(feature = "async")]
mod options;
#[cfg(feature = "async")]
mod proposed;
#[cfg(feature = "async")]
mod roster;
#[cfg(feature = "async")]
mod route;
#[cfg(feature = "tower")]
pub mod service;

#[cfg(feature = "async")]
pub use self::{
    options::{AdapterOptions, LoadKeeping},
    proposed::RoutingPolicy,
    route::Adapter,
};
#[cfg(feature = "async")]
pub use async_trait::async_trait;
