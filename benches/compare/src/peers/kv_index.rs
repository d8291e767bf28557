//! kv-index: a radix tree over text, one over tokens, and an index over chained block hashes.

use kv_index::{
    ChainBlockMap, ChainIndex, ContentHash, StoredBlock, TokenTree, Tree,
    compute_request_content_hashes, request_prefix_hashes,
};

use crate::support::cache_aware::speed::{Contestant, Pass, WORKERS, Workloads};
use crate::support::fleet::{per_text, per_tokens};

pub const CONTESTANTS: [Contestant; 6] = [
    Contestant { name: "kv-index Tree", pass: tree, tokens: false },
    Contestant { name: "(kv-index Tree, one call)", pass: tree_in_one, tokens: false },
    Contestant { name: "kv-index TokenTree", pass: token_tree, tokens: true },
    Contestant { name: "(kv-index TokenTree, one call)", pass: token_tree_in_one, tokens: true },
    Contestant { name: "kv-index ChainIndex", pass: chain_index::<BLOCK>, tokens: true },
    Contestant {
        name: "(kv-index ChainIndex, blocks of 32)",
        pass: chain_index::<32>,
        tokens: true,
    },
];

/// Tokens of a block: the engines' events have the engine's own, and 16 is the usual default.
const BLOCK: usize = 16;

/// Names of workers, and whose turn it is where no prefix decides.
pub struct Workers {
    names: Vec<String>,
    turn: usize,
}

impl Workers {
    pub fn new() -> Workers {
        let name = |worker| format!("http://10.0.0.{worker}:8000");
        Workers { names: (0..WORKERS).map(name).collect(), turn: 0 }
    }

    pub fn next(&mut self) -> usize {
        self.turn = (self.turn + 1) % self.names.len();
        self.turn
    }

    /// The holder, if more than .3 of the prompt matches, which is the gateway's threshold; else
    /// the next in turn.
    fn pick<'a>(&'a mut self, holder: &'a str, matched: usize, whole: usize) -> &'a str {
        if matched as f32 > 0.3 * whole as f32 {
            return holder;
        }
        let next = self.next();
        &self.names[next]
    }
}

fn text(prompt: &[u8]) -> &str {
    // SAFETY: the workloads draw their text from a list of ASCII words.
    unsafe { std::str::from_utf8_unchecked(prompt) }
}

fn tree(workloads: &mut Workloads) -> Pass {
    let mut workers = Workers::new();
    Pass::of(workloads, Tree::new(), |tree, workload| {
        per_text(workload, |prompt| {
            let prompt = text(prompt);
            let found = tree.match_prefix_with_counts(prompt);
            let matched = found.matched_char_count;
            let worker = workers.pick(&found.tenant, matched, found.input_char_count);
            tree.insert_text(prompt, worker);
        })
    })
}

fn tree_in_one(workloads: &mut Workloads) -> Pass {
    let mut workers = Workers::new();
    Pass::of(workloads, Tree::new(), |tree, workload| {
        per_text(workload, |prompt| {
            let next = workers.next();
            let names = &workers.names;
            tree.match_and_insert_with(text(prompt), |found| {
                let matched = found.matched_char_count as f32;
                let holds = matched > 0.3 * found.input_char_count as f32;
                Some(&*names[next]).filter(|_| !holds).or_else(|| name(names, &found.tenant))
            });
        })
    })
}

/// The worker's own copy of its name, which lives long enough.
fn name<'a>(names: &'a [String], holder: &str) -> Option<&'a str> {
    names.iter().map(String::as_str).find(|name| *name == holder)
}

fn token_tree(workloads: &mut Workloads) -> Pass {
    let mut workers = Workers::new();
    Pass::of(workloads, TokenTree::new(), |tree, workload| {
        per_tokens(workload, |prompt| {
            let found = tree.match_prefix_with_counts(prompt);
            let matched = found.matched_token_count;
            let worker = workers.pick(&found.tenant, matched, found.input_token_count);
            tree.insert_tokens(prompt, worker);
        })
    })
}

fn token_tree_in_one(workloads: &mut Workloads) -> Pass {
    let mut workers = Workers::new();
    Pass::of(workloads, TokenTree::new(), |tree, workload| {
        per_tokens(workload, |prompt| {
            let next = workers.next();
            let names = &workers.names;
            tree.match_and_insert_with(prompt, |found| {
                let matched = found.matched_token_count as f32;
                let holds = matched > 0.3 * found.input_token_count as f32;
                Some(&*names[next]).filter(|_| !holds).or_else(|| name(names, &found.tenant))
            });
        })
    })
}

/// Fed as by the engines' events: the blocks that the chosen worker does not hold yet.
struct Chains {
    index: ChainIndex,
    ids: Vec<u32>,
    maps: Vec<ChainBlockMap>,
    workers: Workers,
}

impl Chains {
    fn new() -> Chains {
        let index = ChainIndex::with_max_workers(WORKERS);
        let workers = Workers::new();
        let intern = |name: &String| index.intern_worker(name).expect("there is room");
        let ids = workers.names.iter().map(intern).collect();
        let maps = (0..WORKERS).map(|_| ChainBlockMap::new()).collect();
        Chains { index, ids, maps, workers }
    }

    fn serve<const TOKENS: usize>(&mut self, prompt: &[u32]) {
        let contents = compute_request_content_hashes(prompt, TOKENS);
        let mut best = (0, 0);
        let hash = |content: &ContentHash| content.0;
        self.index.score_into(&contents, hash, false, |worker, blocks| {
            if blocks > best.1 {
                best = (worker as usize, blocks);
            }
        });
        let (holder, held) = best;
        let decides = held as usize * TOKENS * 10 > 3 * prompt.len();
        let chosen = if decides { holder } else { self.workers.next() };
        let held = if chosen == holder { held as usize } else { 0 };
        let hashes = request_prefix_hashes(&contents);
        let block = |(&content_hash, &seq_hash)| StoredBlock { seq_hash, content_hash };
        let new: Vec<_> = contents.iter().zip(&hashes).skip(held).map(block).collect();
        let parent = held.checked_sub(1).map(|last| hashes[last]);
        let map = &mut self.maps[chosen];
        self.index.apply_stored(self.ids[chosen], &new, parent, map).expect("the parent is held");
    }
}

fn chain_index<const TOKENS: usize>(workloads: &mut Workloads) -> Pass {
    Pass::of(workloads, Chains::new(), |chains, workload| {
        per_tokens(workload, |prompt| chains.serve::<TOKENS>(prompt))
    })
}
