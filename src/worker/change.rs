//! What a host changes about a registered worker.

use super::spec::WorkerInfo;

/// A change of a registered worker, for [`Router::update_worker`](crate::Router::update_worker): what is
/// not said stays as it is.
///
/// ```
/// # use pointsman::{Router, RouterConfig, WorkerChange, WorkerSpec};
/// # let router = Router::new(RouterConfig::default())?;
/// let id = router.add_worker(WorkerSpec::new("http://10.0.0.7:8000").max_in_flight(8))?;
/// // It has moved, and holds less now.
/// let change = WorkerChange::new().url("http://10.0.0.9:8000").max_in_flight(Some(4));
/// router.update_worker(id, change)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct WorkerChange {
    pub(crate) url: Option<String>,
    pub(crate) weight: Option<f64>,
    pub(crate) group: Option<Option<String>>,
    pub(crate) kv_capacity_tokens: Option<Option<u64>>,
    pub(crate) max_in_flight: Option<Option<u32>>,
    pub(crate) labels: Option<Vec<(String, String)>>,
}

impl WorkerChange {
    /// Changes nothing yet.
    pub fn new() -> Self {
        WorkerChange::default()
    }

    /// The worker is reached by another URL, which no other worker has. Metrics name it by that from here
    /// on; sessions that rendezvous hashing keeps together may go elsewhere.
    pub fn url(mut self, url: impl Into<String>) -> Self {
        self.url = Some(url.into());
        self
    }

    /// See [`WorkerSpec::weight`](crate::WorkerSpec::weight).
    pub fn weight(mut self, weight: f64) -> Self {
        self.weight = Some(weight);
        self
    }

    /// The group that its pairs stay within from here on; `None`: any.
    pub fn group(mut self, group: Option<&str>) -> Self {
        self.group = Some(group.map(str::to_owned));
        self
    }

    /// Tokens that fit into its KV cache; `None`: not known.
    pub fn kv_capacity_tokens(mut self, tokens: Option<u64>) -> Self {
        self.kv_capacity_tokens = Some(tokens);
        self
    }

    /// Requests that it may hold at once; `None`: no limit.
    pub fn max_in_flight(mut self, requests: Option<u32>) -> Self {
        self.max_in_flight = Some(requests);
        self
    }

    /// All of its labels from here on.
    ///
    /// ```
    /// # use pointsman::WorkerChange;
    /// let change = WorkerChange::new().labels([("tier", "batch"), ("model", "small")]);
    /// ```
    pub fn labels<K: Into<String>, V: Into<String>>(
        mut self,
        labels: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let owned = labels.into_iter().map(|(key, value)| (key.into(), value.into()));
        self.labels = Some(owned.collect());
        self
    }

    /// What the worker is after the change; `digest` is that of a URL.
    pub(crate) fn applied_to(
        self,
        before: &WorkerInfo,
        digest: impl FnOnce(&str) -> u64,
    ) -> WorkerInfo {
        let mut info = before.clone();
        info.group = self.group.unwrap_or(info.group);
        info.kv_capacity_tokens = self.kv_capacity_tokens.unwrap_or(info.kv_capacity_tokens);
        info.labels = self.labels.unwrap_or(info.labels);
        if let Some(url) = self.url {
            info.url_digest = digest(&url);
            info.url = url;
        }
        info
    }
}
