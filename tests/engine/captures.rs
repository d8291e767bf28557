//! Every captured message says what the second reader (`tests/data/engine/reference.py`) finds in it.

use std::collections::HashMap;
use std::fmt::Write;
use std::fs;

use pointsman::engine::{
    Attention, CacheMeter, EngineErrorKind, KvEvent, KvStream, Message, Place, Source, Stored,
    Token,
};

use super::messages::{capture, folder, names};

fn hashes(hashes: impl Iterator<Item = u64>) -> String {
    Vec::from_iter(hashes.map(|hash| format!("{hash:016x}"))).join(" ")
}

fn place(place: &Place) -> String {
    assert!(!place.is_remote);
    format!("rank {} {:?} group {}", place.rank, place.medium, place.group)
}

fn stored(stored: &Stored<'_>) -> String {
    let attends = match stored.attention {
        Attention::Partial { window } => {
            format!("Partial {}", window.map_or("None".to_owned(), |window| window.to_string()))
        }
        attention => format!("{attention:?}"),
    };
    let token = |token: Token| match token.next {
        Some(next) => format!("{}:{next}", token.id),
        None => token.id.to_string(),
    };
    assert_eq!(stored.hashes.iter().count(), stored.hashes.len());
    assert_eq!(stored.tokens.iter().count(), stored.tokens.len());
    let text = |text: Option<&str>| text.unwrap_or("-").to_owned();
    format!(
        "stored {} {attends} of {} after {} lora {} {} salt {} session {} extra {} | {} | {}",
        place(&stored.place),
        stored.block_size,
        stored.parent.map_or("-".to_owned(), |hash| format!("{hash:016x}")),
        stored.lora_id.map_or("-".to_owned(), |id| id.to_string()),
        text(stored.lora_name),
        text(stored.cache_salt),
        text(stored.session_id),
        stored.has_extra_keys,
        hashes(stored.hashes.iter()),
        Vec::from_iter(stored.tokens.iter().map(token)).join(" "),
    )
}

fn line(event: KvEvent<'_>) -> String {
    match event {
        KvEvent::Stored(event) => stored(&event),
        KvEvent::Removed(event) => {
            format!("removed {} | {}", place(&event.place), hashes(event.hashes.iter()))
        }
        KvEvent::Cleared { rank } => format!("cleared rank {rank}"),
        _ => panic!("{event:?}"),
    }
}

#[test]
fn every_message_says_what_the_second_reader_finds_in_it() {
    let mut told = String::new();
    for name in names() {
        writeln!(told, "{name}").unwrap();
        for message in capture(&name) {
            writeln!(told, "  {}", message.title).unwrap();
            let mut lines = Vec::new();
            // A stream for each, that has heard nothing: what precedes is a gap then.
            let heard = KvStream::new().feed(Source::Live, &message.frames(), |event| {
                if !matches!(event, KvEvent::Gap(_)) {
                    lines.push(line(event));
                }
            });
            match heard {
                Ok(fed) if fed.message == Message::EndOfReplay => {
                    lines.push("end of replay".into())
                }
                Ok(fed) => {
                    let counted =
                        (fed.events as usize, fed.unknown, fed.refused, fed.first_refusal);
                    assert_eq!(counted, (lines.len(), 0, 0, None), "{name}: {}", message.title);
                    assert!(fed.time >= 1.7e9, "{}", fed.time);
                }
                Err(error) => {
                    assert_eq!(error.kind, EngineErrorKind::NotABatch);
                    lines.push("no batch".into());
                }
            }
            lines.iter().for_each(|line| writeln!(told, "    {line}").unwrap());
        }
    }
    let expected = fs::read_to_string(folder().join("expected.txt")).unwrap();
    for (number, (told, expected)) in told.lines().zip(expected.lines()).enumerate() {
        assert_eq!(told, expected, "line {}", number + 1);
    }
    assert_eq!(told.lines().count(), expected.lines().count());
}

#[test]
fn a_whole_run_is_one_stream_without_gaps_and_counted_copies_are_what_is_cached() {
    // How many blocks the engine had, and how many were announced again at a client's wish, which cannot
    // be told from copies.
    for (name, blocks, again) in [
        ("vllm-0.32.0-int.txt", 18, 3),
        ("vllm-0.32.0-hybrid-swa.txt", 40, 18),
        ("vllm-0.32.0-dp2-rank0.txt", 62, 0),
    ] {
        let mut stream = KvStream::new();
        let mut copies: HashMap<(Place, u64), u32> = HashMap::new();
        let mut most = 0;
        for message in capture(name).iter().filter(|message| !message.is_replay()) {
            let fed = stream.feed(Source::Live, &message.frames(), |event| match event {
                KvEvent::Stored(stored) => {
                    stored.hashes.iter().for_each(|hash| {
                        *copies.entry((stored.place, hash)).or_default() += 1;
                    });
                    most = most.max(copies.values().sum());
                }
                KvEvent::Removed(removed) => removed.hashes.iter().for_each(|hash| {
                    let copies = copies.get_mut(&(removed.place, hash)).expect("a known block");
                    *copies = copies.checked_sub(1).expect("a copy less than were stored");
                }),
                KvEvent::Cleared { .. } => copies.clear(),
                _ => panic!("{name}: {event:?}"),
            });
            assert_eq!(fed.unwrap().message, Message::Events);
        }
        assert!(most > blocks / 2 && most <= blocks + again, "{name}: {most} blocks");
    }
}

/// Block, and what the two engines held in their groups of full attention when they began to evict, what was
/// announced again counted with it.
#[test]
fn a_meter_tells_what_a_cache_held_when_it_began_to_evict() {
    for (name, blocks, evicted) in [
        ("vllm-0.32.0-int.txt", 3 + 2 + 3 + 1 + 2 + 1 + 2 + 3, 10),
        ("vllm-0.32.0-hybrid-swa.txt", 9 + 9 + 3 + 1 + 9, 13),
    ] {
        let (mut stream, mut meter) = (KvStream::new(), CacheMeter::new());
        assert_eq!((meter.held_tokens(), meter.capacity_tokens()), (Some(0), None));
        let mut last = None;
        for message in capture(name).iter().filter(|message| !message.is_replay()) {
            stream.feed(Source::Live, &message.frames(), |event| meter.hear(&event)).unwrap();
            if last.is_none() && meter.capacity_tokens().is_some() {
                assert_eq!(meter.capacity_tokens(), Some(32 * blocks), "{name}");
            }
            last = meter.capacity_tokens();
        }
        assert_eq!(meter.removed_tokens(), 32 * evicted, "{name}");
        // Cleared near the end, and one block stored since.
        assert_eq!(meter.held_tokens(), Some(32), "{name}");
    }
}

#[test]
fn a_blocks_tokens_are_told_only_where_they_are_known() {
    let mut blocks = 0;
    for name in names() {
        for message in capture(&name) {
            let _ = KvStream::new().feed(Source::Live, &message.frames(), |event| {
                let KvEvent::Stored(stored) = event else { return };
                let whole = stored.hashes.len() * stored.block_size as usize;
                let known = !stored.hashes.is_empty() && whole == stored.tokens.len();
                assert_eq!(stored.has_tokens_of_blocks(), known);
                let (mut hashes, mut tokens) = (Vec::new(), Vec::new());
                stored.for_each_block(&mut Vec::new(), |hash, of_block| {
                    assert_eq!(of_block.len(), stored.block_size as usize);
                    hashes.push(hash);
                    tokens.extend_from_slice(of_block);
                });
                if known {
                    assert_eq!(hashes, Vec::from_iter(stored.hashes.iter()));
                    assert_eq!(tokens, Vec::from_iter(stored.tokens.iter()));
                    blocks += hashes.len();
                } else {
                    assert!(hashes.is_empty());
                }
            });
        }
    }
    assert!(blocks > 500, "{blocks}");
}
