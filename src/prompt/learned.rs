//! Whether the engines keep what an agent did once the user speaks again: learned from what they report.
//!
//! At a user's turn after an agent's loop an engine that keeps history and one that does not hold lengths of the prompt
//! that lie far apart (see [`UserTurn`]), so one report of cached tokens tells which it is. Reports that fit neither
//! (the engine has evicted the conversation, or had never seen it) tell nothing. Where the client returned
//! reasoning, both kinds of dropping hold the same; where it did not, only one of them drops anything. So two votes are
//! kept. Each changes sides only where three in five of the recent reports say so, so that a fleet of two versions of
//! an engine does not flap.
//!
//! Relaxed throughout: a vote that two threads cast at the same moment may be lost, and nothing else depends on it.

use crate::body::{History, UserTurn};
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// Units to the whole of a prompt, or of a vote.
const WHOLE: u32 = UserTurn::WHOLE;
/// How far apart the two lengths must be for a report to tell them apart, and how far from one it may lie.
const APART: u32 = WHOLE / 10;
const NEAR: u32 = WHOLE / 25;
/// Votes that count fully; later ones move the share by a sixteenth.
const MOST_VOTES: u32 = 16;
/// Votes before any of it is believed.
const ENOUGH: u32 = 3;

/// A user's turn as fingerprints and tickets carry it: [`UserTurn::packed`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TurnNote(pub(crate) u32);

impl TurnNote {
    /// The two lengths, in units of [`WHOLE`], and whether there was reasoning; nothing where the lengths lie too
    /// close together.
    fn parts(self) -> Option<(u32, u32, bool)> {
        let (kept, dropped, reasoned) = UserTurn::unpacked(self.0);
        (kept >= dropped + APART).then_some((kept, dropped, reasoned))
    }
}

/// Reports of one kind of turn.
#[derive(Debug, Default)]
struct Votes {
    /// Of the recent ones, the share that says that history is dropped, in units of [`WHOLE`].
    dropping: AtomicU32,
    kept: AtomicU64,
    dropped: AtomicU64,
    /// 1 once dropping is believed.
    believed: AtomicU32,
}

impl Votes {
    fn count(&self) -> u64 {
        self.kept.load(Relaxed) + self.dropped.load(Relaxed)
    }

    fn is_enough(&self) -> bool {
        self.count() >= ENOUGH.into()
    }

    fn cast(&self, dropped: bool) {
        let counter = if dropped { &self.dropped } else { &self.kept };
        counter.fetch_add(1, Relaxed);
        let votes = self.count().min(MOST_VOTES.into()).max(1) as u32;
        let (before, vote) = (self.dropping.load(Relaxed), if dropped { WHOLE } else { 0 });
        let after = (before * (votes - 1) + vote) / votes;
        self.dropping.store(after, Relaxed);
        if !self.is_enough() {
            return;
        }
        match self.believed.load(Relaxed) {
            0 if after > WHOLE * 3 / 5 => self.believed.store(1, Relaxed),
            1 if after < WHOLE * 2 / 5 => self.believed.store(0, Relaxed),
            _ => {}
        }
    }

    fn is_dropping(&self) -> bool {
        self.believed.load(Relaxed) == 1
    }
}

/// What is learned of the engines' history.
#[derive(Debug, Default)]
pub(crate) struct Learned {
    /// Of loops whose reasoning the client returned, and of others.
    reasoned: Votes,
    plain: Votes,
}

impl Learned {
    pub(crate) fn history(&self) -> History {
        match (self.plain.is_dropping(), self.reasoned.is_dropping()) {
            (true, _) => History::DropAlways,
            (false, true) => History::DropReturned,
            (false, false) => History::Keep,
        }
    }

    /// Whether it is not known yet what engines hold at such a turn.
    pub(crate) fn is_open(&self, turn: TurnNote) -> bool {
        turn.parts().is_some_and(|(_, _, reasoned)| !self.votes(reasoned).is_enough())
    }

    /// A worker was believed to hold some of all the prompt's tokens, and found some of all.
    pub(crate) fn learn(&self, turn: TurnNote, believed: (u32, u32), found: (u32, u32)) {
        let Some((kept, dropped, reasoned)) = turn.parts() else { return };
        let [matched, found] =
            [believed, found].map(|(part, whole)| UserTurn::share(part.into(), whole.into()));
        // It must have been sent the loop.
        if matched + NEAR < dropped {
            return;
        }
        let gap = kept - dropped;
        if found + NEAR >= dropped && found <= dropped + gap / 3 {
            self.votes(reasoned).cast(true);
        } else if found >= dropped + gap * 3 / 5 {
            self.votes(reasoned).cast(false);
        }
    }

    /// Reports that said that history was kept, and that it was dropped, with and without reasoning returned.
    pub(crate) fn counts(&self) -> [[u64; 2]; 2] {
        [&self.reasoned, &self.plain]
            .map(|votes| [votes.kept.load(Relaxed), votes.dropped.load(Relaxed)])
    }

    fn votes(&self, reasoned: bool) -> &Votes {
        if reasoned { &self.reasoned } else { &self.plain }
    }
}
