//! What a host says about a worker at registration.

use serde::Serialize;

use super::{Role, WorkerId};

/// The smallest weight.
pub const MIN_WEIGHT: f64 = 1e-6;
/// The largest weight; larger ones would make every other worker's share vanish in rounding.
pub const MAX_WEIGHT: f64 = 1e6;

/// A worker to be registered. Only the URL is required.
///
/// ```
/// use pointsman::{Role, WorkerSpec};
/// let spec = WorkerSpec::new("http://10.0.0.7:8000").role(Role::Prefill).weight(2.0).group("rack-3");
/// ```
#[derive(Clone, Debug)]
pub struct WorkerSpec {
    pub(crate) url: String,
    pub(crate) role: Role,
    pub(crate) weight: f64,
    pub(crate) group: Option<String>,
    pub(crate) kv_capacity_tokens: Option<u64>,
    pub(crate) max_in_flight: Option<u32>,
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) user_data: u64,
}

impl WorkerSpec {
    /// A regular worker of weight 1 at `url`. The URL only has to be unique; it is never parsed.
    pub fn new(url: impl Into<String>) -> Self {
        WorkerSpec {
            url: url.into(),
            role: Role::Regular,
            weight: 1.0,
            group: None,
            kv_capacity_tokens: None,
            max_in_flight: None,
            labels: Vec::new(),
            user_data: 0,
        }
    }

    /// What the worker does. Default: regular.
    pub fn role(mut self, role: Role) -> Self {
        self.role = role;
        self
    }

    /// The worker's share relative to others of its role: from 0.000001 to 1,000,000. Default 1.
    pub fn weight(mut self, weight: f64) -> Self {
        self.weight = weight;
        self
    }

    /// Pairs are formed within a group only. A worker without a group pairs with any.
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.group = Some(group.into());
        self
    }

    /// Tokens that fit into the worker's KV cache. Unknown: the prefix tree forgets nothing on the
    /// worker's account, only for its own budget.
    pub fn kv_capacity_tokens(mut self, tokens: u64) -> Self {
        self.kv_capacity_tokens = Some(tokens);
        self
    }

    /// Requests that the worker may hold at once, at least 1. Default: no limit.
    pub fn max_in_flight(mut self, requests: u32) -> Self {
        self.max_in_flight = Some(requests);
        self
    }

    /// Adds a label, for the requests' allow filter and for the host's own metrics.
    ///
    /// ```
    /// # use pointsman::{Request, Router, RouterConfig, WorkerSpec};
    /// # let router = Router::new(RouterConfig::default())?;
    /// router.add_worker(WorkerSpec::new("http://10.0.0.7:8000").label("tier", "batch"))?;
    /// let selection = router.select(&Request::text("Why?").labels(&[("tier", "batch")]))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.push((key.into(), value.into()));
        self
    }

    /// A number of the host's own, handed back with every selection of this worker.
    pub fn user_data(mut self, user_data: u64) -> Self {
        self.user_data = user_data;
        self
    }
}

/// What a registered worker is, until [`Router::update_worker`](crate::Router::update_worker) changes it.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct WorkerInfo {
    /// The worker's identity.
    pub id: WorkerId,
    /// Its URL.
    pub url: String,
    /// What it does.
    pub role: Role,
    /// The group that its pairs stay within.
    pub group: Option<String>,
    /// Tokens that fit into its KV cache, if known.
    pub kv_capacity_tokens: Option<u64>,
    /// Its labels, in the order given.
    pub labels: Vec<(String, String)>,
    /// The host's own number.
    pub user_data: u64,
    /// Keyed digest of the URL: what rendezvous hashing ranks the worker by.
    pub url_digest: u64,
}

impl WorkerInfo {
    /// Whether the worker carries the label `key = value`.
    pub fn has_label(&self, key: &str, value: &str) -> bool {
        self.labels.iter().any(|(k, v)| k == key && v == value)
    }
}
