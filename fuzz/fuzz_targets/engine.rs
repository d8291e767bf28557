//! Any bytes as what an engine says: decoders end with an answer or an error, hand out nothing that the
//! bytes do not hold, and say the same of the same bytes.
//!
//! The first byte chooses the decoder and how the rest is cut into messages.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pointsman::engine::{
    Attention, CacheMeter, EngineError, Fed, KvEvent, KvStream, Loads, MAX_RANKS, Message, Source, Token,
};

fuzz_target!(|input: &[u8]| {
    let Some((&first, rest)) = input.split_first() else { return };
    match first % 8 {
        2 => loads(rest, Loads::read_metrics),
        3 => loads(rest, Loads::read_orca),
        4 => loads(rest, Loads::read_listing),
        _ => events(rest, first),
    }
});

/// A text, and its beginnings.
fn loads(text: &[u8], read: fn(&mut Loads, &[u8]) -> Result<(), EngineError>) {
    let mut loads = Loads::new();
    for length in [text.len(), text.len() / 2, text.len().saturating_sub(1), text.len()] {
        let result = read(&mut loads, &text[..length]);
        let ranks: Vec<_> = loads.ranks().collect();
        assert!(ranks.len() <= MAX_RANKS && ranks.is_sorted_by(|a, b| a.0 < b.0));
        match result {
            // A rank is only known by a number.
            Ok(()) => assert!(ranks.len() <= length),
            Err(error) => {
                assert!(error.position <= length, "{error}");
                assert!(ranks.is_empty());
            }
        }
        let sum = loads.sum();
        assert_eq!(sum.report().is_some(), sum.running.is_some() && sum.waiting.is_some());
        let each = |missing: bool| missing || ranks.is_empty();
        assert_eq!(sum.running.is_none(), each(ranks.iter().any(|(_, load)| load.running.is_none())));
        assert_eq!(sum.waiting.is_none(), each(ranks.iter().any(|(_, load)| load.waiting.is_none())));
        assert!(sum.kv_usage.is_none_or(|usage| usage >= 0.0), "{sum:?}");
    }
}

/// What was heard, as numbers that can be compared.
#[derive(Default, PartialEq, Debug)]
struct Heard {
    events: Vec<(u8, u64, u64)>,
    restarts: u32,
}

impl Heard {
    fn hear(&mut self, event: KvEvent<'_>, most: usize, tokens: &mut Vec<Token>) {
        match event {
            KvEvent::Stored(stored) => {
                let hashes = stored.hashes.iter();
                assert!(stored.hashes.len() + stored.tokens.len() <= most);
                assert_eq!(stored.tokens.iter().count(), stored.tokens.len());
                let (mut sum, mut blocks) = (u64::from(stored.has_extra_keys), 0);
                hashes.for_each(|hash| (sum, blocks) = (sum.rotate_left(1) ^ hash, blocks + 1));
                assert_eq!(blocks, stored.hashes.len());
                let mut whole = 0;
                stored.for_each_block(tokens, |_, tokens| whole += tokens.len());
                assert_eq!(
                    whole,
                    if stored.has_tokens_of_blocks() { stored.tokens.len() } else { 0 }
                );
                if let Attention::Partial { window: Some(window) } = stored.attention {
                    sum ^= u64::from(window);
                }
                self.events.push((0, sum, stored.block_tokens()));
            }
            KvEvent::Removed(removed) => {
                assert_eq!(removed.hashes.iter().count(), removed.hashes.len());
                self.events.push((1, removed.hashes.iter().fold(0, |a, b| a ^ b), 0));
            }
            KvEvent::Cleared { rank } => self.events.push((2, rank.into(), 0)),
            KvEvent::Gap(gap) => {
                assert!(gap.from < gap.to);
                self.events.push((3, gap.from, gap.to));
            }
            KvEvent::Restarted { rank } => {
                self.restarts += 1;
                self.events.push((4, rank.into(), 0));
            }
            _ => unreachable!("{event:?}"),
        }
    }
}

/// Messages of a stream: each a byte of sequence, two of length, and a payload.
fn events(input: &[u8], first: u8) {
    let source = if first & 1 == 0 { Source::Live } else { Source::Replay };
    let (told, again) = (run(input, source), run(input, source));
    assert_eq!(told, again);
}

/// What a message was, and its counts.
type Answer = Result<(Message, u32, [u32; 3], Option<EngineError>), EngineError>;

fn run(mut input: &[u8], source: Source) -> (Heard, Vec<Answer>) {
    let (mut stream, mut heard, mut results) = (KvStream::new(), Heard::default(), Vec::new());
    let (mut tokens, mut meter) = (Vec::new(), CacheMeter::new());
    while let [sequence, high, low, rest @ ..] = input {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
        let (payload, rest) = rest.split_at(length);
        input = rest;
        // The end mark, too.
        let sequence = if *sequence == 255 { u64::MAX } else { u64::from(*sequence) };
        let sequence = sequence.to_be_bytes();
        let frames: [&[u8]; 3] = [b"", &sequence, payload];
        let before = heard.events.len();
        let asked = stream.gap_before(&frames, |event| {
            meter.hear(&event);
            heard.hear(event, 0, &mut tokens);
        });
        let restarted = heard.events.len() > before;
        let fed = stream.feed(source, &frames, |event| {
            meter.hear(&event);
            heard.hear(event, length, &mut tokens);
        });
        assert!(meter.capacity_tokens() != Some(0), "a cache that evicts holds something");
        assert_eq!(asked.err(), fed.as_ref().err().copied());
        if let Ok(fed) = &fed {
            let handed = fed.events as usize;
            let extra = heard.events.len() - before - handed;
            assert!(extra <= 2, "a restart and a gap at most");
            assert!(!restarted || heard.restarts > 0);
            // An event has a byte at least.
            assert!((fed.events + fed.unknown + fed.refused) as usize <= length);
            assert_eq!(fed.first_refusal.is_some(), fed.refused > 0);
        } else {
            assert_eq!(heard.events.len(), before);
        }
        let counts = |fed: Fed| [fed.events, fed.unknown, fed.refused];
        results.push(fed.map(|fed| (fed.message, fed.rank, counts(fed), fed.first_refusal)));
    }
    (heard, results)
}
