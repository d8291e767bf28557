//! Digest of one JSON value of any container, independent of white space, and of key order but where
//! engines render a user's own object as it stands (a tool's parameters).
//!
//! A key that occurs twice in an object counts twice.

use arrayvec::ArrayVec;

use super::config::BodyConfig;
use super::digest::{Digester, Domain};
use super::media::{self, Key};
use super::object::{Entries, Whole};
use crate::json::{Container, MAX_DEPTH};

/// Bytes that templates put around what is in a container, which they mostly write as JSON: a comma or
/// a bracket, a colon, and quotes.
const COMMA: u64 = 2;
const COLON: u64 = 2;
pub(super) const QUOTES: u64 = 2;

/// A container that is open inside the value.
#[derive(Clone, Copy, Debug)]
struct Level {
    container: Container,
    /// Whether what is in it belongs to the user.
    verbatim: bool,
    /// The current key: what it stands for, its digest and length.
    key: Key,
    label: u64,
    name_bytes: u64,
    /// An array's elements are a chain.
    entries: Entries,
}

/// The containers that are open inside the value.
pub(super) struct CanonicalDigest<'k> {
    digester: Digester<'k>,
    /// Both readers bound the depth, so there is room for every level.
    levels: ArrayVec<Level, MAX_DEPTH>,
    /// Whether the value stands in a message, where more is ignored than elsewhere.
    in_message: bool,
    /// Open objects.
    objects: usize,
}

impl<'k> CanonicalDigest<'k> {
    #[inline(always)]
    pub(super) fn new(digester: Digester<'k>) -> Self {
        CanonicalDigest { digester, levels: ArrayVec::new(), in_message: false, objects: 0 }
    }

    /// Whether a container is open, so that what comes next belongs to it.
    #[inline]
    pub(super) fn is_open(&self) -> bool {
        !self.levels.is_empty()
    }

    /// Begins a value whose outermost container stands under `key`.
    pub(super) fn open(&mut self, container: Container, key: Key, in_message: bool) {
        self.in_message = in_message;
        self.push(container, key == Key::Verbatim);
    }

    /// Opens a container in the innermost one.
    pub(super) fn begin(&mut self, container: Container) {
        let verbatim =
            self.levels.last().is_some_and(|level| level.verbatim || level.key == Key::Verbatim);
        self.push(container, verbatim);
    }

    /// Whether an object is open.
    #[inline]
    pub(super) fn in_object(&self) -> bool {
        self.objects > 0
    }

    fn push(&mut self, container: Container, verbatim: bool) {
        self.objects += usize::from(container == Container::Object);
        let _ = self.levels.try_push(Level {
            container,
            verbatim,
            key: Key::Plain,
            label: 0,
            name_bytes: 0,
            entries: Entries::default(),
        });
    }

    /// Whether the value that comes next has no meaning.
    #[inline]
    pub(super) fn ignores(&self) -> bool {
        self.levels.last().is_some_and(|level| level.key == Key::Ignored)
    }

    /// Takes the innermost object's next key; whether its digest is needed.
    pub(super) fn key(&mut self, name: &[u8], name_bytes: u64) -> bool {
        let in_message = self.in_message;
        let Some(level) = self.levels.last_mut() else { return false };
        level.key = if level.verbatim { Key::Plain } else { media::key(name, in_message) };
        level.name_bytes = name_bytes;
        level.key != Key::Ignored
    }

    /// Takes the digest of that key.
    pub(super) fn label(&mut self, digest: u64) {
        if let Some(level) = self.levels.last_mut() {
            level.label = digest;
        }
    }

    /// Takes a complete string that may say what the innermost object is; whether that is nothing.
    pub(super) fn told(&mut self, value: &[u8]) -> bool {
        match self.levels.last_mut() {
            Some(level) if !level.verbatim => level.entries.told(level.key, value),
            _ => false,
        }
    }

    /// Adds a complete value to the innermost container; gives it back if none is open, because it
    /// is then the whole value.
    pub(super) fn add(&mut self, value: Whole) -> Option<Whole> {
        let digester = self.digester;
        let Some(level) = self.levels.last_mut() else { return Some(value) };
        match level.container {
            Container::Array => {
                level.entries.chain(digester, value.digest, value.weight.saturating_add(COMMA));
            }
            Container::Object => {
                let entry = digester.pair(Domain::Entry, level.label, value.digest);
                let name_bytes = level.name_bytes + QUOTES + COLON + COMMA;
                if level.verbatim {
                    let bytes = value.weight.saturating_add(name_bytes);
                    level.entries.chain(digester, entry, bytes);
                } else {
                    level.entries.add(level.key, entry, name_bytes, &value);
                }
            }
        }
        None
    }

    /// Closes the innermost container; gives the whole value if it was the outermost.
    pub(super) fn end(&mut self, config: &BodyConfig) -> Option<Whole> {
        let level = self.levels.pop()?;
        self.objects -= usize::from(level.container == Container::Object);
        let entries = &level.entries;
        let media = match level.container {
            Container::Object if !level.verbatim => entries.media(),
            _ => None,
        };
        let (sum, weight) = entries.total(media);
        let digest = self.digester.container(level.container, sum);
        let weight = media.map_or(weight, |media| config.media_bytes(media));
        // Inside a user's own object everything counts, but for that object itself.
        let inside_verbatim = self.levels.last().is_some_and(|outer| outer.verbatim);
        let empty = entries.count == 0 && !inside_verbatim;
        self.add(Whole { digest, weight, media, empty })
    }
}
