//! A built-in workload: chats that grow turn by turn and agents that call tools in a loop, over a
//! few system prompts. Every turn waits for the one before it and a think time.

use super::{RawRequest, Trace, TraceBuilder};
use crate::sim::rng::{Rng, mix};

const BLOCK_TOKENS: u32 = 64;
const SYSTEM_PROMPTS: usize = 12;
const SPAN_SECONDS: f64 = 1200.0;

/// A kind of conversation.
struct Kind {
    turns: (usize, usize),
    system: u32,
    question: f64,
    answer: f64,
    think: f64,
}

const CHAT: Kind =
    Kind { turns: (1, 4), system: 1_200, question: 3_000.0, answer: 350.0, think: 10.0 };
const AGENT: Kind =
    Kind { turns: (2, 8), system: 4_000, question: 3_000.0, answer: 120.0, think: 1.5 };

/// About `requests` requests in conversations, one in four of an agent.
pub(crate) fn trace(requests: usize, seed: u64) -> Trace {
    let mut rng = Rng::new(seed ^ 0x7ace);
    let mut turns: Vec<Turn> = Vec::new();
    let mut conversation = 0;
    while turns.len() < requests {
        let kind = if rng.below(4) == 0 { &AGENT } else { &CHAT };
        let start = rng.unit() * SPAN_SECONDS;
        converse(&mut turns, kind, conversation, start, &mut rng);
        conversation += 1;
    }
    turns.sort_by(|a, b| a.raw.arrival.total_cmp(&b.raw.arrival));
    let mut last = vec![None; conversation];
    let mut builder = TraceBuilder::new("synthetic chat and agents", BLOCK_TOKENS);
    for mut turn in turns {
        turn.raw.after = last[turn.conversation].replace(builder.len());
        builder.push(turn.raw);
    }
    builder.build()
}

struct Turn {
    conversation: usize,
    raw: RawRequest,
}

fn converse(turns: &mut Vec<Turn>, kind: &Kind, conversation: usize, start: f64, rng: &mut Rng) {
    let system =
        (rng.below(SYSTEM_PROMPTS) * rng.below(SYSTEM_PROMPTS)) as u64 % SYSTEM_PROMPTS as u64;
    let shared = u64::from(kind.system / BLOCK_TOKENS);
    let count = kind.turns.0 + rng.below(kind.turns.1 - kind.turns.0 + 1);
    let (mut context, mut now) = (kind.system, start);
    for turn in 0..count {
        let input = context + 1 + rng.exponential(kind.question) as u32;
        let output = 1 + rng.exponential(kind.answer) as u32;
        let gap = if turn == 0 { 0.0 } else { rng.exponential(kind.think) };
        now += gap;
        let id = |index: u64| {
            let own = if index < shared { system } else { 1_000 + conversation as u64 };
            mix((own << 40) | (u64::from(kind.system) << 24) | index)
        };
        let ids = |from: u32, to: u32| {
            (u64::from(from / BLOCK_TOKENS)..u64::from(to / BLOCK_TOKENS)).map(id).collect()
        };
        turns.push(Turn {
            conversation,
            raw: RawRequest {
                arrival: now,
                input,
                output,
                blocks: ids(0, input),
                output_blocks: Some(ids(input, input + output)),
                after: None,
                gap,
            },
        });
        // What the answer takes, at an unloaded worker: only a guess at the order of arrivals.
        now += 0.5 + f64::from(output) * 0.02;
        context = input + output;
    }
}
