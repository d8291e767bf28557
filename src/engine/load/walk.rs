//! A JSON document's numbers, with the keys that lead to them.

use crate::engine::error::EngineError;
use crate::json::{Container, Events, Literal, MAX_SHORT, MIN_ROOM, Number, Parser, StringKind};

/// Longest key, in bytes, that is told; a longer one is told as empty.
const MAX_KEY: usize = 32;

/// Levels whose keys are kept.
const LEVELS: usize = 3;

/// Hears a document.
pub(super) trait Listener {
    /// A number, which is the value of the last key of the path.
    fn number(&mut self, path: &Path, value: f64);
    /// The container that the path leads into ends.
    fn end(&mut self, _path: &Path) {}
}

/// Where something lies in a document.
pub(super) struct Path {
    depth: usize,
    /// The last key of each of the outermost objects; of an array's level, none.
    keys: [Key; LEVELS],
}

#[derive(Clone, Copy)]
struct Key {
    bytes: [u8; MAX_KEY],
    length: usize,
}

const NO_KEY: Key = Key { bytes: [0; MAX_KEY], length: 0 };

impl Path {
    /// How many containers are open around it.
    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    /// The key of this level that leads to it, the outermost being 0. Empty for what has none, also
    /// where it is too deep to be kept.
    pub(super) fn key(&self, level: usize) -> &[u8] {
        self.keys.get(level).and_then(|key| key.bytes.get(..key.length)).unwrap_or_default()
    }

    /// The innermost key.
    fn last(&mut self) -> Option<&mut Key> {
        self.keys.get_mut(self.depth.checked_sub(1)?)
    }
}

/// Hands a whole document's numbers to a listener. Neither allocates nor recurses.
pub(super) fn walk(json: &[u8], listener: &mut impl Listener) -> Result<(), EngineError> {
    let path = Path { depth: 0, keys: [NO_KEY; LEVELS] };
    let mut walk = Walk { path, room: [0; MIN_ROOM], listener };
    let mut parser = Parser::new();
    parser.push(json, &mut walk)?;
    Ok(parser.finish(&mut walk)?)
}

struct Walk<'a, L> {
    path: Path,
    room: [u8; MIN_ROOM],
    listener: &'a mut L,
}

impl<L: Listener> Events for Walk<'_, L> {
    fn string_begin(&mut self, kind: StringKind) {
        if let (StringKind::Key, Some(key)) = (kind, self.path.last()) {
            key.length = 0;
        }
    }

    fn room(&mut self, _kind: StringKind) -> &mut [u8] {
        &mut self.room
    }

    fn wrote(&mut self, kind: StringKind, bytes: usize) {
        let room = self.room;
        self.piece(kind, room.get(..bytes).unwrap_or_default());
    }

    fn piece(&mut self, kind: StringKind, piece: &[u8]) {
        let (StringKind::Key, Some(key)) = (kind, self.path.last()) else { return };
        let end = key.length.saturating_add(piece.len());
        match key.bytes.get_mut(key.length..end) {
            Some(place) => place.copy_from_slice(piece),
            // Beyond every length that is told, and so are the pieces that follow.
            None => return key.length = usize::MAX,
        }
        key.length = end;
    }

    fn short(&mut self, kind: StringKind, block: &[u8; MAX_SHORT], length: usize) {
        self.piece(kind, block.get(..length).unwrap_or_default());
    }

    fn string_end(&mut self, _kind: StringKind) {}

    fn wants_number(&self) -> bool {
        self.path.depth <= LEVELS
    }

    fn number(&mut self, number: Number) {
        let value = match number {
            Number::Unsigned(value) => value as f64,
            Number::Negative(value) => value as f64,
            Number::Float(value) => value,
        };
        self.listener.number(&self.path, value);
    }

    fn literal(&mut self, _literal: Literal) {}

    fn begin(&mut self, _container: Container) {
        self.path.depth += 1;
        if let Some(key) = self.path.last() {
            key.length = 0;
        }
    }

    fn end(&mut self) {
        self.listener.end(&self.path);
        self.path.depth -= 1;
    }
}
