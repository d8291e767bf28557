//! Sequences: gaps, replays, restarts, ranks.

use pointsman::engine::{EngineErrorKind, Fed, Gap, KvEvent, KvStream, MAX_RANKS, Message, Source};

use super::messages::{Pack, batch, capture, stored};

/// What was heard, in short.
#[derive(Clone, Debug, PartialEq)]
enum Heard {
    Stored(u32, Vec<u64>),
    Gap(u32, u64, u64),
    Restarted(u32),
}

fn short(event: KvEvent<'_>) -> Heard {
    match event {
        KvEvent::Stored(event) => Heard::Stored(event.place.rank, event.hashes.iter().collect()),
        KvEvent::Gap(Gap { rank, from, to }) => Heard::Gap(rank, from, to),
        KvEvent::Restarted { rank } => Heard::Restarted(rank),
        _ => panic!("{event:?}"),
    }
}

struct Ear {
    stream: KvStream,
    heard: Vec<Heard>,
}

impl Ear {
    fn new() -> Self {
        Ear { stream: KvStream::new(), heard: Vec::new() }
    }

    /// A message of `rank` that stores one block, whose hash is the sequence.
    fn feed(&mut self, source: Source, rank: u32, sequence: u64) -> Fed {
        let payload = batch(vec![stored(&[sequence.into()])], Pack::Int(rank.into()));
        let frames: [&[u8]; 3] = [b"topic", &sequence.to_be_bytes(), &payload];
        self.stream.feed(source, &frames, |event| self.heard.push(short(event))).unwrap()
    }

    fn gap_before(&mut self, sequence: u64) -> Option<Gap> {
        let payload = batch(Vec::new(), Pack::Int(0));
        let frames: [&[u8]; 2] = [&sequence.to_be_bytes(), &payload];
        self.stream.gap_before(&frames, |event| self.heard.push(short(event))).unwrap()
    }

    fn take(&mut self) -> Vec<Heard> {
        std::mem::take(&mut self.heard)
    }
}

fn one(sequence: u64) -> Heard {
    Heard::Stored(0, vec![sequence])
}

#[test]
fn what_is_missing_is_told_before_what_follows() {
    let mut ear = Ear::new();
    ear.feed(Source::Live, 0, 5);
    assert_eq!(ear.take(), [Heard::Gap(0, 0, 5), one(5)], "one that was joined late");
    ear.feed(Source::Live, 0, 6);
    ear.feed(Source::Live, 0, 9);
    assert_eq!(ear.take(), [one(6), Heard::Gap(0, 7, 9), one(9)]);
}

#[test]
fn a_replay_before_the_message_fills_the_gap() {
    let mut ear = Ear::new();
    assert_eq!(ear.gap_before(0), None);
    ear.feed(Source::Live, 0, 0);
    let gap = ear.gap_before(3);
    assert_eq!(gap, Some(Gap { rank: 0, from: 1, to: 3 }));
    assert_eq!(ear.gap_before(3), gap, "asking changes nothing");
    // The engine has published one more in the meantime.
    (1..=4).for_each(|sequence| assert_eq!(ear.feed(Source::Replay, 0, sequence).events, 1));
    for known in [3, 4] {
        assert_eq!(ear.gap_before(known), None);
        assert_eq!(ear.feed(Source::Live, 0, known).message, Message::Known);
    }
    ear.feed(Source::Live, 0, 5);
    assert_eq!(ear.take(), (0..=5).map(one).collect::<Vec<_>>());
}

#[test]
fn what_the_engine_no_longer_has_stays_a_gap() {
    let mut ear = Ear::new();
    ear.feed(Source::Live, 0, 0);
    assert_eq!(ear.gap_before(6), Some(Gap { rank: 0, from: 1, to: 6 }));
    (4..=6).for_each(|sequence| _ = ear.feed(Source::Replay, 0, sequence));
    ear.feed(Source::Live, 0, 6);
    assert_eq!(ear.take(), [one(0), Heard::Gap(0, 1, 4), one(4), one(5), one(6)]);
}

#[test]
fn a_lower_sequence_is_a_restart_and_its_replay_begins_anew() {
    let mut ear = Ear::new();
    (0..10).for_each(|sequence| _ = ear.feed(Source::Live, 0, sequence));
    ear.take();
    ear.feed(Source::Live, 0, 0);
    ear.feed(Source::Live, 0, 0);
    assert_eq!(ear.take(), [Heard::Restarted(0), one(0), Heard::Restarted(0), one(0)]);
    ear.feed(Source::Live, 0, 8);
    ear.take();
    // Asked first: the restart is told once, and what was before is replayed.
    assert_eq!(ear.gap_before(2), Some(Gap { rank: 0, from: 0, to: 2 }));
    (0..=2).for_each(|sequence| _ = ear.feed(Source::Replay, 0, sequence));
    assert_eq!(ear.feed(Source::Live, 0, 2).message, Message::Known);
    assert_eq!(ear.take(), [Heard::Restarted(0), one(0), one(1), one(2)]);
    // Not asked: the gap is told after it.
    ear.feed(Source::Live, 0, 1);
    assert_eq!(ear.take(), [Heard::Restarted(0), Heard::Gap(0, 0, 1), one(1)]);
}

#[test]
fn ranks_are_counted_apart_and_there_is_a_most_of_them() {
    let mut ear = Ear::new();
    for rank in [7, 0, 3] {
        ear.feed(Source::Live, rank, 0);
        ear.feed(Source::Live, rank, 1);
    }
    ear.feed(Source::Live, 3, 4);
    let gaps: Vec<_> = ear.take().into_iter().filter(|h| !matches!(h, Heard::Stored(..))).collect();
    assert_eq!(gaps, [Heard::Gap(3, 2, 4)]);
    ear.stream.restart(|event| ear.heard.push(short(event)));
    assert_eq!(ear.take(), [0, 3, 7].map(Heard::Restarted));
    (0..MAX_RANKS as u32).for_each(|rank| _ = ear.feed(Source::Live, rank, 0));
    ear.take();
    let payload = batch(Vec::new(), Pack::Int(i128::from(u32::MAX)));
    let refused = ear.stream.feed(Source::Live, &[&[0; 8], &payload], |_| panic!("heard"));
    assert_eq!(refused.unwrap_err().kind, EngineErrorKind::TooManyRanks);
}

#[test]
fn a_message_that_cannot_be_read_changes_nothing() {
    let mut ear = Ear::new();
    ear.feed(Source::Live, 0, 0);
    let payload = batch(vec![stored(&[1])], Pack::Int(0));
    let sequence = 1u64.to_be_bytes();
    for end in 0..payload.len() {
        let error =
            ear.stream.feed(Source::Live, &[&sequence, &payload[..end]], |_| panic!("heard"));
        let error = error.unwrap_err();
        assert!(error.position <= end, "{error}");
        assert_eq!(error.kind, EngineErrorKind::UnexpectedEnd, "{end} bytes");
    }
    let long = [&payload[..], &[0]].concat();
    let error =
        ear.stream.feed(Source::Live, &[&sequence, &long], |_| panic!("heard")).unwrap_err();
    assert_eq!((error.kind, error.position), (EngineErrorKind::TrailingData, payload.len()));
    let frames: [(&[&[u8]], _); 4] = [
        (&[], EngineErrorKind::TooFewFrames),
        (&[&payload], EngineErrorKind::TooFewFrames),
        (&[b"seven b", &payload], EngineErrorKind::Sequence),
        (&[&[], &payload], EngineErrorKind::Sequence),
    ];
    for (frames, kind) in frames {
        let refused = ear.stream.feed(Source::Live, frames, |_| panic!("heard"));
        assert_eq!(refused.unwrap_err().kind, kind);
    }
    ear.feed(Source::Live, 0, 1);
    assert_eq!(ear.take(), [one(0), one(1)]);
}

/// The frames that vLLM and SGLang sent over their sockets, replays and end marks among them.
#[test]
fn captured_replays_bring_what_was_missed() {
    for (name, last, held_from) in [("vllm-0.32.0-int.txt", 11, 6), ("sglang-0.5.23-zmq.txt", 4, 2)]
    {
        let messages = capture(name);
        let mut stream = KvStream::new();
        let mut gaps = Vec::new();
        let live: Vec<_> = messages.iter().filter(|message| !message.is_replay()).collect();
        // All but the first are lost; the last one shows it.
        stream.feed(Source::Live, &live[0].frames(), |_| {}).unwrap();
        let gap = stream.gap_before(&live[last].frames(), |_| {}).unwrap().unwrap();
        assert_eq!((gap.from, gap.to), (1, last as u64));
        let too_old = messages.iter().filter(|message| message.title.starts_with("replay from 0 "));
        let mut replayed = 0;
        for message in too_old {
            let fed = stream.feed(Source::Replay, &message.frames(), |event| {
                if let KvEvent::Gap(gap) = event {
                    gaps.push((gap.from, gap.to));
                }
            });
            match fed.unwrap().message {
                Message::Events => replayed += 1,
                other => assert_eq!(other, Message::EndOfReplay),
            }
        }
        assert_eq!((gaps, replayed), (vec![(1, held_from)], last as u64 + 1 - held_from));
        let fed = stream.feed(Source::Live, &live[last].frames(), |_| panic!("heard")).unwrap();
        assert_eq!(fed.message, Message::Known);
        let future = messages.iter().find(|m| m.title.contains("future")).unwrap();
        let fed = stream.feed(Source::Replay, &future.frames(), |_| panic!("heard")).unwrap();
        assert_eq!(fed.message, Message::EndOfReplay);
    }
}
