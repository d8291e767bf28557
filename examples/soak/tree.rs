//! The prefix tree alone: find and remember, sixteen workers, of which one is registered anew now and
//! then.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Instant;

use anyhow::{Context, Result};
use parking_lot::Mutex;
use pointsman::policy::Random;
use pointsman::{
    internals::{Matches, PrefixTree, Registration},
    prefix::{BlockSize, Fingerprinter, HashKey, Unit},
};

use crate::Plan;
use crate::prompts::Prompts;
use crate::sample::{Sample, Tally, Window, cpu_time};

const SLOTS: u16 = 16;
/// Requests between two looks at the clock of the processor.
const BATCH: usize = 1024;
const MOST_BLOCKS: usize = 80;

struct Scene {
    tree: PrefixTree,
    key: HashKey,
    registrations: Vec<Mutex<Registration>>,
    window: Window,
    stop: AtomicBool,
}

pub(crate) fn run(plan: &Plan) -> Result<Vec<Sample>> {
    let tree = PrefixTree::new(plan.budget, SLOTS.into())?;
    let register = |slot| tree.register(slot, None).map(Mutex::new).context("a valid slot");
    let registrations = (0..SLOTS).map(register).collect::<Result<_>>()?;
    let (key, window) = (HashKey::random(), Window::new());
    let scene = Scene { tree, key, registrations, window, stop: AtomicBool::new(false) };
    Ok(std::thread::scope(|scope| {
        for thread in 0..plan.threads {
            let scene = &scene;
            scope.spawn(move || scene.work(thread));
        }
        let samples = scene.watch(plan);
        scene.stop.store(true, Relaxed);
        samples
    }))
}

impl Scene {
    fn work(&self, thread: usize) {
        let mut prompts = Prompts::new(thread);
        let random = Random::from_seed(thread as u64);
        let (mut matches, mut tally) = (Matches::new(), Tally::new());
        let mut hashes = [0; MOST_BLOCKS];
        while !self.stop.load(Relaxed) {
            let before = cpu_time();
            for _ in 0..BATCH {
                let prompt = prompts.next();
                let mut printer =
                    Fingerprinter::new(&self.key, Unit::Text, BlockSize::DEFAULT, &mut hashes);
                printer.push(prompt);
                let blocks = printer.finish(0, 0).blocks();
                let start = Instant::now();
                self.tree.find(blocks, &mut matches);
                let holder = matches.holders().first().copied();
                let slot = holder.map_or_else(|| random.below(SLOTS.into()) as u16, |h| h.slot);
                let registration = *self.registrations[usize::from(slot)].lock();
                self.tree.remember(blocks, &matches, slot, registration);
                tally.latency.saturating_record(start.elapsed().as_nanos() as u64);
                tally.matched += u64::from(holder.map_or(0, |holder| holder.blocks));
                tally.tokens += blocks.len() as u64;
            }
            tally.cpu = cpu_time() - before;
            self.window.add(&mut tally);
        }
    }

    fn watch(&self, plan: &Plan) -> Vec<Sample> {
        let start = Instant::now();
        let mut samples: Vec<Sample> = Vec::new();
        for window in 0..plan.windows {
            std::thread::sleep((plan.window * (window + 1)).saturating_sub(start.elapsed()));
            let slot = (window % u32::from(SLOTS)) as u16;
            let mut registration = self.registrations[usize::from(slot)].lock();
            self.tree.unregister(slot);
            *registration = self.tree.register(slot, None).unwrap_or(*registration);
            drop(registration);
            let stats = self.tree.stats();
            samples.push(Sample {
                turnovers: stats.evicted_nodes as f64 / stats.node_capacity as f64,
                tree: stats.held_bytes,
                ..self.window.end(start, samples.last())
            });
        }
        samples
    }
}
