//! The cluster to simulate: its workers, what happens to them, and how the gateways see them.

/// What a worker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Prefill and decode.
    Both,
    /// Prefill only.
    Prefill,
    /// Decode only.
    Decode,
}

/// One inference engine.
#[derive(Clone, Debug)]
pub(crate) struct WorkerModel {
    /// What it does.
    pub(crate) stage: Stage,
    /// Prefill tokens per second; one request at a time, first come first served.
    pub(crate) prefill_rate: f64,
    /// Seconds per request before its prefill.
    pub(crate) overhead: f64,
    /// Seconds per generated token, whatever the batch.
    pub(crate) step: f64,
    /// Seconds per generated token and sequence of the batch.
    pub(crate) step_per_sequence: f64,
    /// Sequences at most.
    pub(crate) max_sequences: usize,
    /// KV cache, blocks.
    pub(crate) capacity: usize,
    /// Serves from the start; false for a worker that joins later.
    pub(crate) present: bool,
}

impl WorkerModel {
    /// The worker of the gates with room for `capacity` blocks.
    pub(crate) fn standard(capacity: usize) -> Self {
        Self {
            stage: Stage::Both,
            prefill_rate: 10_000.0,
            overhead: 0.020,
            step: 0.015,
            step_per_sequence: 0.0003,
            max_sequences: 256,
            capacity,
            present: true,
        }
    }
}

/// What happens to a worker at a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Change {
    /// Its speed becomes this factor of its model's, prefill and decode.
    Speed(f64),
    /// It dies: requests fail, its cache is lost.
    Fail,
    /// It comes back, or joins for the first time, with an empty cache.
    Join,
}

/// The cluster and its circumstances.
#[derive(Clone, Debug)]
pub(crate) struct Fleet {
    pub(crate) workers: Vec<WorkerModel>,
    /// (seconds, worker, what happens).
    pub(crate) changes: Vec<(f64, usize, Change)>,
    /// Seconds per token to move a prompt's KV from a prefill to a decode worker.
    pub(crate) transfer_per_token: f64,
    /// Seconds by which the gateway hears of a first token too late.
    pub(crate) signal_delay: f64,
    /// Share of the first tokens of which the gateway never hears.
    pub(crate) signal_loss: f64,
    /// Seconds until the gateway's health probe sees a failure or a recovery.
    pub(crate) probe_delay: f64,
    /// Seconds between load reports; none when 0.
    pub(crate) report_every: f64,
}

impl Fleet {
    /// `count` standard workers of `capacity` blocks each.
    pub(crate) fn standard(count: usize, capacity: usize) -> Self {
        Self {
            workers: vec![WorkerModel::standard(capacity); count],
            changes: Vec::new(),
            transfer_per_token: 0.0,
            signal_delay: 0.0,
            signal_loss: 0.0,
            probe_delay: 1.0,
            report_every: 0.0,
        }
    }

    /// Whether prefill and decode are separate workers.
    pub(crate) fn disaggregated(&self) -> bool {
        self.workers.iter().any(|worker| worker.stage == Stage::Decode)
    }

    /// Prefill tokens per second of all workers.
    pub(crate) fn prefill_rate(&self) -> f64 {
        let prefill = |worker: &&WorkerModel| worker.stage != Stage::Decode && worker.present;
        self.workers.iter().filter(prefill).map(|worker| worker.prefill_rate).sum()
    }
}
