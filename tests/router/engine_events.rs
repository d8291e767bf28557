//! A worker that tells what it caches is believed what it tells: beside an engine that evicts the least
//! recently used block first and publishes it in vLLM's form.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use pointsman::engine::{CacheMeter, KvStream, Source};
use pointsman::{HostHealth, PoolError, Request, Router, WorkerChange, WorkerId, WorkerSpec};

use super::messages::{Pack, batch};
use super::support;

/// Tokens in a block of the engine's.
const BLOCK: usize = 16;
/// Tokens in a block of the router's.
const GRAIN: usize = 32;
/// Tokens of each prompt.
const PROMPT: usize = 640;

/// An engine's cache, and the host's ear on it.
struct Engine {
    /// In blocks.
    capacity: usize,
    /// When each cached block was used last, and its place in its chain.
    used: HashMap<u64, (usize, Reverse<usize>)>,
    /// The same in order: of the oldest prompt the deepest block first.
    order: BTreeMap<(usize, Reverse<usize>), u64>,
    time: usize,
    events: Vec<Pack>,
    sequence: u64,
    stream: KvStream,
    meter: CacheMeter,
}

impl Engine {
    fn new(capacity_tokens: usize) -> Self {
        Engine {
            capacity: capacity_tokens / BLOCK,
            used: HashMap::new(),
            order: BTreeMap::new(),
            time: 0,
            events: Vec::new(),
            sequence: 0,
            stream: KvStream::new(),
            meter: CacheMeter::new(),
        }
    }

    /// Computes a prompt; tokens that its cache had.
    fn serve(&mut self, prompt: &[u32]) -> usize {
        self.time += 1;
        let mut hash = 7;
        let chain = prompt.chunks_exact(BLOCK).map(|block| {
            let step = |hash: u64, token: &u32| {
                (hash ^ u64::from(*token)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
            };
            hash = block.iter().fold(hash, step);
            hash
        });
        let chain = Vec::from_iter(chain);
        let held = chain.iter().take_while(|hash| self.used.contains_key(hash)).count();
        for (place, hash) in chain.iter().enumerate() {
            let now = (self.time, Reverse(place));
            if let Some(before) = self.used.insert(*hash, now) {
                self.order.remove(&before);
            }
            self.order.insert(now, *hash);
        }
        while self.used.len() > self.capacity {
            let (_, hash) = self.order.pop_first().unwrap();
            self.used.remove(&hash);
            self.events.push(event("BlockRemoved", &[hash]));
        }
        if held < chain.len() {
            self.events.push(event("BlockStored", &chain[held..]));
        }
        held * BLOCK
    }

    fn clear(&mut self) {
        self.used.clear();
        self.order.clear();
        self.events.push(Pack::Map(vec![("type", Pack::Text("AllBlocksCleared"))]));
    }

    fn restart(&mut self) {
        self.used.clear();
        self.order.clear();
        self.sequence = 0;
    }

    /// Publishes, and has the router hear it.
    fn publish(&mut self, router: &Router, id: WorkerId) -> Result<(), PoolError> {
        let payload = batch(std::mem::take(&mut self.events), Pack::Int(0));
        let sequence = self.sequence.to_be_bytes();
        self.sequence += 1;
        let meter = &mut self.meter;
        let fed =
            self.stream.feed(Source::Live, &[&sequence, &payload], |e| meter.hear(&e)).unwrap();
        assert_eq!((fed.refused, fed.unknown), (0, 0));
        router.report_cache(id, meter)
    }
}

fn event(name: &'static str, hashes: &[u64]) -> Pack {
    Pack::Map(vec![
        ("type", Pack::Text(name)),
        ("block_hashes", Pack::ints(hashes.iter().map(|hash| i128::from(*hash)))),
        ("block_size", Pack::Int(BLOCK as i128)),
        ("medium", Pack::Text("GPU")),
    ])
}

fn prompt(number: usize) -> Vec<u32> {
    (0..PROMPT as u32).map(|token| number as u32 * 100_000 + token).collect()
}

fn fixture(registered: usize) -> (Router, WorkerId) {
    let router = support::router("cache_aware");
    let spec = WorkerSpec::new("http://engine").kv_capacity_tokens(registered as u64);
    let id = support::add(&router, spec);
    (router, id)
}

/// Sends a prompt; tokens that the worker is believed to hold of it.
fn send(router: &Router, prompt: &[u32]) -> usize {
    let selection = router.select(&Request::tokens(prompt)).unwrap();
    // The last token is always computed.
    (selection.matched_tokens() as usize + 1) / GRAIN * GRAIN
}

/// The same by its number: it is sent, too, so each is asked for once.
fn believed(router: &Router, number: usize) -> usize {
    send(router, &prompt(number))
}

/// How far belief and truth lie apart over many requests for some of many documents, as parts of all
/// tokens: what is believed and not there, and what is there and not believed.
fn errors(real: usize, registered: usize, is_told: bool) -> (f64, f64) {
    let (router, id) = fixture(registered);
    let mut engine = Engine::new(real);
    let (mut too_much, mut too_little, mut all) = (0, 0, 0);
    let mut draw: u64 = 11;
    for request in 0..4_000 {
        draw = draw.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        // Some documents are asked for far more often than others.
        let uniform = (draw >> 11) as f64 / (1u64 << 53) as f64;
        let prompt = prompt((uniform * uniform * 300.0) as usize);
        let believed = send(&router, &prompt);
        let had = engine.serve(&prompt) / GRAIN * GRAIN;
        if is_told {
            engine.publish(&router, id).unwrap();
        }
        // Both caches are full by then.
        if request >= 1_000 {
            too_much += believed.saturating_sub(had);
            too_little += had.saturating_sub(believed);
            all += PROMPT;
        }
    }
    (too_much as f64 / all as f64, too_little as f64 / all as f64)
}

/// A worker that has half of what it was registered with, or twice.
#[test]
fn what_an_engine_tells_takes_the_place_of_a_wrong_capacity() {
    let real = 50 * PROMPT;
    for (registered, wrong_side) in [(2 * real, 0), (real / 2, 1), (real, 2)] {
        let guessed = errors(real, registered, false);
        let told = errors(real, registered, true);
        println!("{registered} for {real}: guessed {guessed:.3?}, told {told:.3?}");
        let sum = |(a, b): (f64, f64)| a + b;
        match wrong_side {
            0 => assert!(guessed.0 > 0.1, "{guessed:?}"),
            1 => assert!(guessed.1 > 0.1, "{guessed:?}"),
            _ => {}
        }
        assert!(sum(told) < 0.02, "{told:?}");
        assert!(wrong_side == 2 || sum(told) < sum(guessed) / 5.0, "{told:?}, {guessed:?}");
    }
}

#[test]
fn nothing_is_evicted_that_the_engine_has_not_evicted() {
    // Registered with room for a prompt, it has room for a hundred.
    let (router, id) = fixture(PROMPT);
    let mut engine = Engine::new(100 * PROMPT);
    for number in 0..90 {
        send(&router, &prompt(number));
        engine.serve(&prompt(number));
        engine.publish(&router, id).unwrap();
    }
    assert_eq!(engine.meter.held_tokens(), Some(90 * PROMPT as u64));
    assert_eq!((engine.meter.capacity_tokens(), engine.meter.removed_tokens()), (None, 0));
    (0..90).for_each(|number| assert_eq!(believed(&router, number), PROMPT, "{number}"));
}

#[test]
fn a_clear_and_a_restart_are_forgotten_at_once() {
    let (router, id) = fixture(100 * PROMPT);
    let mut engine = Engine::new(100 * PROMPT);
    let fill = |engine: &mut Engine| {
        send(&router, &prompt(0));
        engine.serve(&prompt(0));
        engine.publish(&router, id).unwrap();
        assert_eq!(believed(&router, 0), PROMPT);
    };
    fill(&mut engine);
    engine.clear();
    engine.publish(&router, id).unwrap();
    assert_eq!(believed(&router, 0), 0);
    fill(&mut engine);
    engine.restart();
    engine.publish(&router, id).unwrap();
    assert_eq!(believed(&router, 0), 0);
    assert_eq!(engine.meter.held_tokens(), Some(0));
}

/// After its first evictions, and before: then by the capacity that it was registered with.
#[test]
fn a_worker_that_falls_silent_is_guessed_at_again() {
    for (real, told) in [(50, 60), (100, 20)] {
        let (router, id) = fixture(50 * PROMPT);
        let mut engine = Engine::new(real * PROMPT);
        for number in 0..told {
            send(&router, &prompt(number));
            engine.serve(&prompt(number));
            engine.publish(&router, id).unwrap();
        }
        assert_eq!(engine.meter.capacity_tokens().is_some(), told > real);
        assert_eq!(believed(&router, told - 1), PROMPT);
        // It says nothing more: after half its cache, what is sent counts, and the rest is forgotten.
        (100..200).for_each(|number| _ = send(&router, &prompt(number)));
        assert_eq!(believed(&router, told - 1), 0);
    }
}

#[test]
fn a_change_of_capacity_and_a_lost_worker_are_heard_of() {
    let (router, id) = fixture(50 * PROMPT);
    let mut engine = Engine::new(50 * PROMPT);
    engine.serve(&prompt(0));
    send(&router, &prompt(0));
    router.update_worker(id, WorkerChange::new().kv_capacity_tokens(Some(GRAIN as u64))).unwrap();
    engine.publish(&router, id).unwrap();
    assert_eq!(believed(&router, 0), PROMPT, "what the engine tells wins");
    router.set_health(id, HostHealth::Unhealthy).unwrap();
    router.set_health(id, HostHealth::Healthy).unwrap();
    assert_eq!(believed(&router, 0), 0, "what was down has lost its cache");
    router.remove_worker(id).unwrap();
    assert!(matches!(engine.publish(&router, id), Err(PoolError::UnknownWorker(_))));
}

/// An ear that has heard nothing changes nothing; missed messages leave the registered capacity.
#[test]
fn what_was_not_heard_is_not_believed() {
    let (router, id) = fixture(2 * PROMPT);
    router.report_cache(id, &mut CacheMeter::new()).unwrap();
    (0..5).for_each(|number| _ = send(&router, &prompt(number)));
    assert_eq!(believed(&router, 0), 0);
    let mut engine = Engine::new(100 * PROMPT);
    engine.sequence = 7;
    engine.serve(&prompt(0));
    engine.publish(&router, id).unwrap();
    assert_eq!((engine.meter.held_tokens(), engine.meter.capacity_tokens()), (None, None));
    engine.clear();
    engine.publish(&router, id).unwrap();
    assert_eq!(engine.meter.held_tokens(), Some(0));
}
