//! The library as the simulator drives it: a `Router`, called through its public interface with
//! simulated time.

use anyhow::Result;
use pointsman::prefix::FingerprintHeader;
use pointsman::{
    Fingerprint, LoadReport, Outcome, PolicyConfig, Request, Role, Router, RouterConfig, Ticket,
    Usage, WorkerId, WorkerSpec,
};

use crate::gateway::{Ending, Gateway, Report, Route};
use crate::sim::fleet::{Fleet, Stage};
use crate::sim::rng::mix;
use crate::trace::Trace;

/// All routers of a run share the key, as replicas must, and so can share fingerprints.
const HASH_KEY: &str = "706f696e74736d616e2073696d756c61746f722c207075626c6963206b657921";
/// Leading blocks of a prompt that are fingerprinted.
const MAX_BLOCKS: usize = 4096;

/// Every prompt of a trace as the library's fingerprint.
pub(crate) struct Prompts {
    headers: Vec<FingerprintHeader>,
    ends: Vec<usize>,
    hashes: Vec<u64>,
}

impl Prompts {
    /// Makes up tokens for every prompt, so that equal blocks have equal tokens, and lets a router
    /// fingerprint them.
    pub(crate) fn new(trace: &Trace) -> Result<Self> {
        let router = Router::new(config(PolicyConfig::Random, 1, 0))?;
        let mut prompts = Prompts { headers: Vec::new(), ends: Vec::new(), hashes: Vec::new() };
        let mut tokens = Vec::new();
        let mut buffer = vec![0; MAX_BLOCKS];
        for id in 0..trace.requests.len() {
            spell(trace, id, &mut tokens);
            let fingerprint = router.fingerprint(&Request::tokens(&tokens), &mut buffer)?;
            prompts.headers.push(*fingerprint.header());
            prompts.hashes.extend_from_slice(fingerprint.blocks());
            prompts.ends.push(prompts.hashes.len());
        }
        Ok(prompts)
    }

    /// The prompt of a request.
    pub(crate) fn get(&self, id: usize) -> Option<Fingerprint<'_>> {
        let start = id.checked_sub(1).map_or(0, |before| self.ends[before]);
        Fingerprint::from_parts(self.headers[id], &self.hashes[start..self.ends[id]]).ok()
    }
}

/// Writes the prompt's tokens: those of its blocks, then some that no other request has.
pub(crate) fn spell(trace: &Trace, id: usize, tokens: &mut Vec<u32>) {
    tokens.clear();
    let mut write = |seed: u64, count: u32| {
        let word = mix(seed);
        tokens.extend((0..count).map(|index| (word as u32).wrapping_add(index * 0x9e37)));
    };
    for &block in trace.input_blocks(id) {
        write(u64::from(block), trace.block);
    }
    let shared = trace.input_blocks(id).len() as u32 * trace.block;
    write(1 << 40 | id as u64, trace.requests[id].input.saturating_sub(shared));
}

/// A router's configuration for a simulation with this many routers, up to sixteen of which share
/// one default memory budget.
pub(crate) fn config(policy: PolicyConfig, replicas: usize, seed: u64) -> RouterConfig {
    let mut config = RouterConfig::default();
    config.tree.budget_bytes /= replicas.clamp(1, 16);
    config.policy = policy;
    config.tree.hash_key = Some(HASH_KEY.to_owned());
    config.seed = Some(seed);
    config
}

/// One gateway with a router of its own.
pub(crate) struct Library<'a> {
    trace: &'a Trace,
    prompts: &'a Prompts,
    fleet: Fleet,
    router: Router,
    ids: Vec<Option<WorkerId>>,
    tickets: Vec<Ticket>,
    excluded: Vec<WorkerId>,
}

impl<'a> Library<'a> {
    /// Registers the fleet's present workers.
    pub(crate) fn new(
        trace: &'a Trace,
        prompts: &'a Prompts,
        fleet: &Fleet,
        config: RouterConfig,
    ) -> Result<Self> {
        let mut library = Self {
            trace,
            prompts,
            router: Router::new(config)?,
            ids: vec![None; fleet.workers.len()],
            tickets: vec![Ticket::default(); trace.requests.len()],
            excluded: Vec::new(),
            fleet: fleet.clone(),
        };
        for worker in 0..fleet.workers.len() {
            if fleet.workers[worker].present {
                library.add(worker, 0)?;
            }
        }
        Ok(library)
    }

    /// A worker of less speed has less weight, as an operator would set it.
    fn add(&mut self, worker: usize, now: u64) -> Result<()> {
        let model = &self.fleet.workers[worker];
        let fastest =
            self.fleet.workers.iter().map(|worker| worker.prefill_rate).fold(0.0, f64::max);
        let role = match model.stage {
            Stage::Both => Role::Regular,
            Stage::Prefill => Role::Prefill,
            Stage::Decode => Role::Decode,
        };
        let spec = WorkerSpec::new(format!("http://worker-{worker}"))
            .role(role)
            .weight(model.prefill_rate / fastest)
            .kv_capacity_tokens(model.capacity as u64 * u64::from(self.trace.block))
            .user_data(worker as u64);
        self.ids[worker] = Some(self.router.at(now).add_worker(spec)?);
        Ok(())
    }

    fn select(&self, request: &Request<'_>, now: u64) -> Option<(Route, Ticket)> {
        if self.fleet.disaggregated() {
            let pair = self.router.at(now).select_pair(request).ok()?;
            let worker = pair.prefill().user_data()? as usize;
            let decode = Some(pair.decode().user_data()? as usize);
            Some((Route { worker, decode }, pair.into_ticket()))
        } else {
            let selection = self.router.at(now).select(request).ok()?;
            let worker = selection.user_data() as usize;
            Some((Route { worker, decode: None }, selection.into_ticket()))
        }
    }
}

/// Simulated seconds as the router's clock.
fn nanoseconds(seconds: f64) -> u64 {
    (seconds * 1e9) as u64
}

impl Gateway for Library<'_> {
    fn route(&mut self, now: f64, id: usize, excluded: &[usize]) -> Option<Route> {
        self.excluded.clear();
        self.excluded.extend(excluded.iter().filter_map(|&worker| self.ids[worker]));
        let request = Request::fingerprint(self.prompts.get(id)?).exclude(&self.excluded);
        let (route, ticket) = self.select(&request, nanoseconds(now))?;
        self.tickets[id] = ticket;
        Some(route)
    }

    fn first_token(&mut self, now: f64, id: usize, cached: u32) {
        // A ticket of a worker that has been removed is closed already.
        let _ = self.router.at(nanoseconds(now)).first_token(self.tickets[id], Some(cached));
    }

    fn ended(&mut self, now: f64, id: usize, ending: Ending, cached: u32) {
        let ticket = std::mem::take(&mut self.tickets[id]);
        let now = nanoseconds(now);
        let request = &self.trace.requests[id];
        let _ = match ending {
            Ending::Success => {
                let usage = Usage {
                    prompt_tokens: Some(request.input),
                    cached_tokens: Some(cached),
                    completion_tokens: Some(request.output),
                };
                self.router.at(now).complete(ticket, Outcome::Success, usage)
            }
            Ending::WorkerError { worker } => {
                let outcome = Outcome::WorkerError;
                match self.fleet.workers[worker].stage {
                    Stage::Both => self.router.at(now).complete(ticket, outcome, Usage::default()),
                    stage => {
                        let prefill = stage == Stage::Prefill;
                        let blamed = if prefill { Role::Prefill } else { Role::Decode };
                        self.router.at(now).complete_by(ticket, blamed, outcome, Usage::default())
                    }
                }
            }
        };
    }

    /// A worker that comes back has lost its cache, so it is registered anew.
    fn probed(&mut self, now: f64, worker: usize, up: bool) {
        let now = nanoseconds(now);
        if let Some(id) = self.ids[worker].take() {
            let _ = self.router.at(now).remove_worker(id);
        }
        if up {
            // The specification was accepted before.
            let _ = self.add(worker, now);
        }
    }

    fn reported(&mut self, now: f64, worker: usize, report: &Report) {
        let Some(id) = self.ids[worker] else { return };
        let load = LoadReport {
            running: report.running,
            waiting: report.waiting,
            kv_used_tokens: Some(report.kv_used_tokens),
            kv_total_tokens: Some(report.kv_total_tokens),
            at: nanoseconds(now).into(),
        };
        let _ = self.router.report_load(id, load);
    }
}
