//! What a meter makes of ranks, groups, media and missed messages.

use pointsman::engine::{CacheMeter, KvStream, Source};

use super::messages::{Pack, batch};

struct Ear {
    stream: KvStream,
    meter: CacheMeter,
    sequences: [u64; 2],
}

impl Ear {
    fn new() -> Self {
        Ear { stream: KvStream::new(), meter: CacheMeter::new(), sequences: [0; 2] }
    }

    fn hear(&mut self, rank: usize, events: Vec<Pack>) {
        let payload = batch(events, Pack::Int(rank as i128));
        let sequence = self.sequences[rank].to_be_bytes();
        self.sequences[rank] += 1;
        let meter = &mut self.meter;
        let fed =
            self.stream.feed(Source::Live, &[&sequence, &payload], |event| meter.hear(&event));
        assert_eq!(fed.unwrap().refused, 0);
    }
}

/// So many blocks of 16 tokens, without these.
fn event(name: &'static str, blocks: i128, more: &[(&'static str, Pack)]) -> Pack {
    let fields = [
        ("type", Pack::Text(name)),
        ("block_hashes", Pack::ints(0..blocks)),
        ("block_size", Pack::Int(16)),
    ];
    Pack::Map(fields.into_iter().chain(more.iter().cloned()).collect())
}

fn stored(blocks: i128, more: &[(&'static str, Pack)]) -> Pack {
    event("BlockStored", blocks, more)
}

fn removed(blocks: i128, more: &[(&'static str, Pack)]) -> Pack {
    event("BlockRemoved", blocks, more)
}

#[test]
fn ranks_are_summed_and_each_may_be_cleared() {
    let mut ear = Ear::new();
    ear.hear(0, vec![stored(10, &[])]);
    ear.hear(1, vec![stored(5, &[]), stored(1, &[])]);
    assert_eq!((ear.meter.held_tokens(), ear.meter.stored_tokens()), (Some(256), 256));
    ear.hear(1, vec![removed(2, &[]), removed(1, &[])]);
    assert_eq!((ear.meter.held_tokens(), ear.meter.removed_tokens()), (Some(208), 48));
    assert_eq!(ear.meter.capacity_tokens(), Some(256), "what was held before the first of them");
    ear.hear(0, vec![Pack::Array(vec![Pack::Text("AllBlocksCleared")])]);
    assert_eq!((ear.meter.held_tokens(), ear.meter.capacity_tokens()), (Some(48), Some(256)));
    ear.sequences[1] = 0;
    ear.hear(1, vec![stored(1, &[])]);
    assert_eq!((ear.meter.held_tokens(), ear.meter.capacity_tokens()), (Some(16), None));
}

#[test]
fn the_first_group_of_full_attention_counts_and_only_what_is_near() {
    let group = |group| ("group_idx", Pack::Int(group));
    let kind = |kind| ("kv_cache_spec_kind", Pack::Text(kind));
    let mut ear = Ear::new();
    ear.hear(
        0,
        vec![
            stored(2, &[group(0), kind("sliding_window")]),
            stored(9, &[group(1), kind("full_attention")]),
            stored(7, &[group(2), kind("full_attention")]),
            stored(5, &[group(1), ("medium", Pack::Text("CPU"))]),
            stored(3, &[group(1), ("locality", Pack::Text("REMOTE"))]),
        ],
    );
    assert_eq!(ear.meter.held_tokens(), Some(9 * 16));
    ear.hear(
        0,
        vec![
            removed(2, &[group(0)]),
            removed(4, &[group(2)]),
            removed(5, &[group(1), ("medium", Pack::Text("CPU"))]),
            removed(5, &[group(9)]),
        ],
    );
    assert_eq!((ear.meter.removed_tokens(), ear.meter.capacity_tokens()), (0, None));
    ear.hear(0, vec![removed(4, &[group(1)])]);
    assert_eq!((ear.meter.removed_tokens(), ear.meter.capacity_tokens()), (64, Some(144)));
}

#[test]
fn after_missed_messages_only_a_clear_makes_it_exact_again() {
    let mut ear = Ear::new();
    ear.hear(0, vec![stored(10, &[])]);
    ear.hear(0, vec![removed(1, &[])]);
    ear.sequences[0] += 1;
    ear.hear(0, vec![stored(2, &[])]);
    ear.hear(0, vec![removed(11, &[]), removed(3, &[])]);
    assert_eq!((ear.meter.held_tokens(), ear.meter.capacity_tokens()), (None, Some(160)));
    assert_eq!(ear.meter.removed_tokens(), 15 * 16);
    ear.hear(0, vec![Pack::Array(vec![Pack::Text("AllBlocksCleared")]), stored(3, &[])]);
    assert_eq!((ear.meter.held_tokens(), ear.meter.capacity_tokens()), (Some(48), Some(160)));
}

/// Groups without end: some are not metered, and nothing grows.
#[test]
fn there_is_a_most_of_groups() {
    let mut ear = Ear::new();
    for group in 0..5_000 {
        ear.hear(0, vec![stored(1, &[("group_idx", Pack::Int(group))])]);
    }
    ear.hear(0, vec![removed(1, &[("group_idx", Pack::Int(4_999))])]);
    assert_eq!((ear.meter.held_tokens(), ear.meter.removed_tokens()), (Some(16), 0));
}
