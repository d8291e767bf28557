//! One worker's stream: frames, sequences, gaps, restarts.

use super::batch::{Batch, Counts};
use super::event::{Gap, KvEvent};
use crate::engine::error::{EngineError, EngineErrorKind};

/// Most data-parallel ranks that one worker's stream may have.
pub const MAX_RANKS: usize = 256;

/// Sequence of the message that ends a replay.
const END_OF_REPLAY: u64 = u64::MAX;

/// Which of the engine's sockets a message came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The one that it publishes on.
    Live,
    /// The one that answers what is asked for again.
    Replay,
}

/// What a message was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Message {
    /// Events, which were handed out.
    #[default]
    Events,
    /// A message that came before, by a replay as a rule: nothing was handed out.
    Known,
    /// The mark at the end of a replay.
    EndOfReplay,
}

/// What has become of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Fed {
    /// What it was.
    pub message: Message,
    /// The data-parallel rank that it is of.
    pub rank: u32,
    /// When the engine made it, in seconds of its time of day.
    pub time: f64,
    /// Events that were handed out, not counting gaps and restarts.
    pub events: u32,
    /// Events of a name that this library does not know: passed over.
    pub unknown: u32,
    /// Events that could not be understood: passed over.
    pub refused: u32,
    /// What was wrong with the first of those.
    pub first_refusal: Option<EngineError>,
}

/// One worker's stream of KV events: a decoder without a socket.
///
/// The host subscribes to the engine's ZeroMQ socket, or to those of all its data-parallel ranks, and
/// hands each message's frames to [`KvStream::feed`]. What is known of a stream is 24 bytes a rank.
///
/// # Gaps
///
/// Where messages are missing, [`KvEvent::Gap`] is handed out before the events that follow. A host that
/// can ask for a replay asks [`KvStream::gap_before`] first; has the engine replay from
/// [`Gap::from`]; feeds the answers as [`Source::Replay`] up to the end; and feeds the message then, which
/// the replay has brought as a rule and which is [`Message::Known`] then. What the engine no longer had is
/// a gap again. Between, it feeds no other message of that rank.
///
/// # Restarts
///
/// A live sequence that is lower than the one before is of another process: [`KvEvent::Restarted`] is
/// handed out, and counting begins anew. A process that has come further than the one before, before its
/// first message is heard, cannot be told from a gap; a host that sees the connection break calls
/// [`KvStream::restart`].
#[derive(Clone, Debug, Default)]
pub struct KvStream {
    /// In order of rank.
    ranks: Vec<Rank>,
}

/// Where one rank's stream has come to.
#[derive(Clone, Copy, Debug)]
struct Rank {
    rank: u32,
    /// The sequence that comes next, counting what a replay has brought.
    next: u64,
    /// The one that comes next on the live socket, which knows nothing of replays. Never above `next`.
    next_live: u64,
}

/// A message's frames, told apart.
enum Frames<'a> {
    Events { sequence: u64, batch: Batch<'a> },
    EndOfReplay,
}

impl<'a> Frames<'a> {
    /// From the last frame backward: engines put a topic before, or an empty frame, or both, or neither.
    fn read(frames: &[&'a [u8]]) -> Result<Self, EngineError> {
        let [.., sequence, payload] = frames else {
            return Err(EngineError::new(EngineErrorKind::TooFewFrames, frames.len()));
        };
        let sequence: [u8; 8] = (*sequence)
            .try_into()
            .map_err(|_| EngineError::new(EngineErrorKind::Sequence, sequence.len()))?;
        let sequence = u64::from_be_bytes(sequence);
        if sequence == END_OF_REPLAY {
            return Ok(Frames::EndOfReplay);
        }
        Ok(Frames::Events { sequence, batch: Batch::read(payload)? })
    }
}

impl KvStream {
    /// A stream of which nothing has been heard.
    pub fn new() -> Self {
        KvStream::default()
    }

    /// Takes a message's frames, as they came from the socket, and hands out what it says, in order.
    ///
    /// Work is proportional to the message's length, whatever its bytes are; nothing is allocated but on
    /// the first message of a rank. An event that cannot be understood is counted, and the others are
    /// handed out.
    ///
    /// # Errors
    ///
    /// The message as a whole cannot be read: nothing of it was handed out and nothing has changed, so the
    /// next message will show a gap.
    pub fn feed(
        &mut self,
        source: Source,
        frames: &[&[u8]],
        mut hear: impl FnMut(KvEvent<'_>),
    ) -> Result<Fed, EngineError> {
        let Frames::Events { sequence, batch } = Frames::read(frames)? else {
            return Ok(Fed { message: Message::EndOfReplay, ..Fed::default() });
        };
        let (rank, time) = (batch.rank, batch.time);
        let state = self.rank(rank)?;
        let told = Fed { message: Message::Known, rank, time, ..Fed::default() };
        if source == Source::Live {
            if state.is_restarted_by(sequence) {
                state.forget();
                hear(KvEvent::Restarted { rank });
            }
            state.next_live = sequence + 1;
        }
        if sequence < state.next {
            return Ok(told);
        }
        if sequence > state.next {
            hear(KvEvent::Gap(Gap { rank, from: state.next, to: sequence }));
        }
        state.next = sequence + 1;
        let Counts { events, unknown, refused, first_refusal } = batch.deliver(&mut hear)?;
        Ok(Fed { message: Message::Events, events, unknown, refused, first_refusal, ..told })
    }

    /// The gap that [`KvStream::feed`] of these frames, from the live socket, would hand out: what to ask
    /// a replay for before. If the message shows a restart, that is handed out now.
    ///
    /// # Errors
    ///
    /// As [`KvStream::feed`].
    pub fn gap_before(
        &mut self,
        frames: &[&[u8]],
        mut hear: impl FnMut(KvEvent<'_>),
    ) -> Result<Option<Gap>, EngineError> {
        let Frames::Events { sequence, batch: Batch { rank, .. } } = Frames::read(frames)? else {
            return Ok(None);
        };
        let state = self.rank(rank)?;
        if state.is_restarted_by(sequence) {
            state.forget();
            hear(KvEvent::Restarted { rank });
        }
        Ok((sequence > state.next).then_some(Gap { rank, from: state.next, to: sequence }))
    }

    /// Forgets where the streams of all ranks have come to, and says so of each that was heard of: for
    /// hosts that know of a restart.
    pub fn restart(&mut self, mut hear: impl FnMut(KvEvent<'_>)) {
        for rank in self.ranks.drain(..) {
            hear(KvEvent::Restarted { rank: rank.rank });
        }
    }

    fn rank(&mut self, rank: u32) -> Result<&mut Rank, EngineError> {
        let place = match self.ranks.binary_search_by_key(&rank, |known| known.rank) {
            Ok(place) => place,
            Err(_) if self.ranks.len() >= MAX_RANKS => {
                return Err(EngineError::new(EngineErrorKind::TooManyRanks, 0));
            }
            Err(place) => {
                self.ranks.insert(place, Rank { rank, next: 0, next_live: 0 });
                place
            }
        };
        Ok(&mut self.ranks[place])
    }
}

impl Rank {
    fn is_restarted_by(&self, live: u64) -> bool {
        live < self.next_live
    }

    fn forget(&mut self) {
        (self.next, self.next_live) = (0, 0);
    }
}
