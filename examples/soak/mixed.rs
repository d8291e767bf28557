//! A router under all that hosts do to it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use pointsman::{
    LoadReport, Outcome, PairSelection, PolicyConfig, Random, Request, Role, Router, RouterConfig,
    RoutingError, Selection, Usage, WorkerId, WorkerSpec,
};

use crate::Plan;
use crate::prompts::Prompts;
use crate::sample::{Sample, Tally, Window, cpu_time};

/// Workers of each role that stay.
const WORKERS: usize = 16;
/// Requests that each thread has open.
const OPEN: usize = 64;
/// Requests between two looks at the clock of the processor.
const BATCH: usize = 1024;
/// Between two changes of workers or policy.
const BEAT: Duration = Duration::from_millis(5);
/// In turn, 31 beats each: the policies that fill the tree.
const CACHE_AWARE: [&str; 2] = ["least_work", "threshold"];
/// In turn, one beat between those.
const PLAIN: [&str; 3] = ["power_of_two", "round_robin", "random"];

enum Open {
    Single(Selection),
    Pair(PairSelection),
}

struct Scene {
    router: Router,
    window: Window,
    stop: AtomicBool,
}

pub(crate) fn run(plan: &Plan) -> Result<Vec<Sample>> {
    let mut config = RouterConfig::default();
    config.tree.budget_bytes = plan.budget;
    config.max_tickets = 4096;
    let router = Router::new(config)?;
    for role in Role::ALL {
        for i in 0..WORKERS {
            let id = router.add_worker(WorkerSpec::new(format!("{role}-{i}")).role(role))?;
            // Always there, so that no request need ever be refused.
            router.set_health(id, pointsman::HostHealth::Healthy)?;
        }
    }
    let scene = Scene { router, window: Window::new(), stop: AtomicBool::new(false) };
    let samples = std::thread::scope(|scope| {
        for thread in 0..plan.threads {
            let scene = &scene;
            scope.spawn(move || scene.work(thread));
        }
        let manager = scope.spawn(|| scene.manage());
        let samples = scene.watch(plan);
        scene.stop.store(true, Relaxed);
        manager.join().map_err(|_| anyhow::anyhow!("the managing thread panicked"))??;
        anyhow::Ok(samples)
    })?;
    scene.check_idle()?;
    Ok(samples)
}

impl Scene {
    fn work(&self, thread: usize) {
        let mut prompts = Prompts::new(thread);
        let random = Random::from_seed(thread as u64 + 100);
        let mut tally = Tally::new();
        let mut open = VecDeque::new();
        let mut tokens = Vec::new();
        let mut body = Vec::new();
        while !self.stop.load(Relaxed) {
            let before = cpu_time();
            for _ in 0..BATCH {
                let prompt = prompts.next();
                let kind = random.below(10);
                if kind == 0 {
                    to_tokens(prompt, &mut tokens);
                } else if kind < 3 {
                    to_body(prompt, &mut body);
                }
                let request = match kind {
                    0 => Request::tokens(&tokens),
                    1 | 2 => Request::json(&body),
                    _ => Request::bytes(prompt),
                };
                let request = request.expected_output_tokens(random.below(400) as u32);
                let start = Instant::now();
                let found = self.select(kind, &request);
                tally.latency.saturating_record(start.elapsed().as_nanos() as u64);
                match found {
                    Ok(found) => open.push_back(found),
                    Err(_) => tally.refused += 1,
                }
                if open.len() > OPEN {
                    open.pop_front().into_iter().for_each(|ended| end(ended, &random, &mut tally));
                }
            }
            tally.cpu = cpu_time() - before;
            self.window.add(&mut tally);
        }
    }

    /// A fifth of the text is for pairs, another is fingerprinted before.
    fn select(&self, kind: usize, request: &Request<'_>) -> Result<Open, RoutingError> {
        match kind {
            3 => self.router.select_pair(request).map(Open::Pair),
            4 => {
                let mut hashes = [0; 128];
                let print = self.router.fingerprint(request, &mut hashes)?;
                self.router.select(&Request::fingerprint(print)).map(Open::Single)
            }
            _ => self.router.select(request).map(Open::Single),
        }
    }

    /// Workers come, change their standing, and go; policies are switched.
    fn manage(&self) -> Result<()> {
        let random = Random::from_seed(7);
        let mut guests: VecDeque<WorkerId> = VecDeque::new();
        let mut wanted = None;
        for beat in 1usize.. {
            std::thread::sleep(BEAT);
            if self.stop.load(Relaxed) {
                break;
            }
            if beat % 4 == 0 {
                let spec = WorkerSpec::new(format!("guest-{beat}"));
                let spec = spec.role(Role::ALL[random.below(3)]).max_in_flight(20);
                guests.push_back(self.router.add_worker(spec)?);
            }
            if guests.len() > 12 {
                guests.pop_front().into_iter().try_for_each(|id| self.router.remove_worker(id))?;
            }
            if let Some(&guest) = guests.get(random.below(12)) {
                if random.below(3) == 0 {
                    self.router.drain_worker(guest)
                } else {
                    self.router.resume_worker(guest)
                }?;
                self.router.set_weight(guest, 0.5 + random.below(4) as f64)?;
                self.router.report_load(guest, LoadReport::default())?;
            }
            wanted = match beat % 32 {
                0 => Some(PLAIN[beat / 32 % 3]),
                1 => Some(CACHE_AWARE[beat / 32 % 2]),
                _ => wanted,
            };
            // Refused while too many replaced ones have requests in flight, and asked for again.
            let switch = |name: &&str| self.router.set_policy(&PolicyConfig::named(name)).is_err();
            wanted = wanted.filter(switch);
        }
        guests.into_iter().try_for_each(|id| self.router.remove_worker(id))?;
        Ok(())
    }

    fn watch(&self, plan: &Plan) -> Vec<Sample> {
        let start = Instant::now();
        let mut samples: Vec<Sample> = Vec::new();
        for window in 1..=plan.windows {
            std::thread::sleep((plan.window * window).saturating_sub(start.elapsed()));
            let metrics = self.router.metrics();
            let tree = metrics.tree;
            samples.push(Sample {
                turnovers: tree.evicted_nodes as f64 / tree.node_capacity as f64,
                tree: tree.held_bytes,
                open: metrics.tickets.open,
                ..self.window.end(start, samples.last())
            });
        }
        samples
    }

    /// Everything has been given back.
    fn check_idle(&self) -> Result<()> {
        let metrics = self.router.metrics();
        ensure!(metrics.tickets.open == 0, "{} tickets stayed open", metrics.tickets.open);
        ensure!(metrics.tickets.untracked == 0, "{} requests untracked", metrics.tickets.untracked);
        ensure!(metrics.tree.held_bytes <= metrics.tree.budget_bytes, "the budget was exceeded");
        for worker in &metrics.workers {
            ensure!(
                worker.in_flight == 0 && worker.resident_tokens == 0,
                "{} keeps load",
                worker.info.url
            );
        }
        Ok(())
    }
}

/// Ends a request in one of the ways that requests end.
fn end(open: Open, random: &Random, tally: &mut Tally) {
    let outcome = match random.below(50) {
        // Dropped, as when a client goes away.
        0 | 1 => return,
        2 => Outcome::WorkerError,
        3 => Outcome::Timeout,
        4 => Outcome::ClientError,
        5 => Outcome::Overloaded { retry_after: Duration::from_millis(1) },
        _ => Outcome::Success,
    };
    // A worker that has left took its tickets with it: an error that harms nothing.
    let _ = match open {
        Open::Single(selection) => {
            tally.matched += u64::from(selection.matched_tokens());
            tally.tokens += u64::from(selection.total_tokens());
            let _ = selection.first_token(Some(selection.matched_tokens()));
            selection.complete(outcome, Usage::default())
        }
        Open::Pair(pair) => {
            let _ = pair.first_token(None);
            pair.complete(outcome, Usage::default())
        }
    };
}

fn to_tokens(prompt: &[u8], tokens: &mut Vec<u32>) {
    let token = |four: &[u8]| u32::from_le_bytes([four[0], four[1], four[2], four[3]]);
    tokens.clear();
    tokens.extend(prompt.chunks_exact(4).map(token));
}

fn to_body(prompt: &[u8], body: &mut Vec<u8>) {
    body.clear();
    body.extend_from_slice(
        br#"{"model":"m","max_tokens":99,"messages":[{"role":"user","content":""#,
    );
    body.extend_from_slice(prompt);
    body.extend_from_slice(br#""}],"stream":true}"#);
}
