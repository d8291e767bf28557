//! dynamo-kv-router: its radix tree in a mutex, and its concurrent tree with a writer thread.

use std::sync::Mutex;

use dynamo_kv_router::indexer::{SyncIndexer, ThreadPoolIndexer};
use dynamo_kv_router::protocols::{
    BlockHashOptions, ExternalSequenceBlockHash, KvCacheEvent, KvCacheEventData, KvCacheStoreData,
    KvCacheStoredBlockData, LocalBlockHash, OverlapScores, RouterEvent, compute_block_hash_for_seq,
    compute_seq_hash_for_block,
};
use dynamo_kv_router::{ConcurrentRadixTreeCompressed, RadixTree};

use super::kv_index::Workers;
use crate::support::cache_aware::speed::{Contestant, Pass, Workloads};
use crate::support::fleet::per_tokens;

pub const CONTESTANTS: [Contestant; 3] = [
    Contestant { name: "Dynamo RadixTree", pass: radix_tree::<BLOCK>, tokens: true },
    Contestant { name: "Dynamo compressed, caller only", pass: compressed, tokens: true },
    Contestant { name: "(Dynamo RadixTree, blocks of 32)", pass: radix_tree::<32>, tokens: true },
];

/// Tokens of a block: the engines' events have the engine's own, and 16 is the usual default.
const BLOCK: u32 = 16;

fn hashes(prompt: &[u32], block: u32) -> Vec<LocalBlockHash> {
    compute_block_hash_for_seq(prompt, block, BlockHashOptions::default())
}

/// The holder of the longest match, if that is more than .3 of the prompt, else the next in turn;
/// and the blocks that it holds.
fn pick(scores: &OverlapScores, blocks: usize, workers: &mut Workers) -> (u64, usize) {
    let best = scores.scores.iter().max_by_key(|(_, blocks)| **blocks);
    match best {
        Some((worker, &held)) if held as usize * 10 > 3 * blocks => {
            (worker.worker_id, held as usize)
        }
        _ => {
            let next = workers.next() as u64;
            let held = scores.scores.iter().find(|(worker, _)| worker.worker_id == next);
            (next, held.map_or(0, |(_, &blocks)| blocks as usize))
        }
    }
}

/// What the worker's engine would report: the blocks from `held` on.
fn stored(locals: &[LocalBlockHash], held: usize, worker: u64) -> Option<RouterEvent> {
    let sequence = compute_seq_hash_for_block(locals);
    let block = |(&tokens_hash, &hash): (&LocalBlockHash, &u64)| KvCacheStoredBlockData {
        tokens_hash,
        block_hash: ExternalSequenceBlockHash(hash),
        mm_extra_info: None,
    };
    let blocks: Vec<_> = locals.iter().zip(&sequence).skip(held).map(block).collect();
    if blocks.is_empty() {
        return None;
    }
    let parent_hash = held.checked_sub(1).map(|last| ExternalSequenceBlockHash(sequence[last]));
    let data = KvCacheStoreData { parent_hash, start_position: None, blocks };
    let data = KvCacheEventData::Stored(data);
    Some(RouterEvent::new(worker, KvCacheEvent { event_id: 0, data, dp_rank: 0 }))
}

fn radix_tree<const TOKENS: u32>(workloads: &mut Workloads) -> Pass {
    let mut workers = Workers::new();
    Pass::of(workloads, Mutex::new(RadixTree::new()), |tree, workload| {
        let tree = &*tree;
        per_tokens(workload, |prompt| {
            let locals = hashes(prompt, TOKENS);
            let lock = || tree.lock().expect("no thread panics");
            let scores = lock().find_matches(locals.clone(), false);
            let (worker, held) = pick(&scores, locals.len(), &mut workers);
            if let Some(event) = stored(&locals, held, worker) {
                lock().apply_event(event).expect("the parent is held");
            }
        })
    })
}

/// Only what the caller waits for; a thread of the index does the rest in the meantime, so this takes
/// a second processor, and a holder may be a little out of date.
fn compressed(workloads: &mut Workloads) -> Pass {
    let mut workers = Workers::new();
    let index = ThreadPoolIndexer::new(ConcurrentRadixTreeCompressed::new(), 1, BLOCK);
    let pass = Pass::of(workloads, index, |index, workload| {
        per_tokens(workload, |prompt| {
            let locals = hashes(prompt, BLOCK);
            let scores = index.backend().find_matches(&locals, false);
            let (worker, held) = pick(&scores, locals.len(), &mut workers);
            if let Some(event) = stored(&locals, held, worker) {
                index.enqueue_event(event).expect("the index is running");
            }
        })
    });
    // Held by another thread, so not counted.
    Pass { bytes: f64::NAN, ..pass }
}
