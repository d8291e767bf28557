//! An object whose entries are summed up, and what they make of it.

use super::digest::{Digester, Domain};
use super::media::{self, Key, Media, Type};

/// A complete value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whole {
    pub(super) digest: u64,
    /// Bytes that it takes in the prompt, unless it is media.
    pub(super) weight: u64,
    pub(super) media: Option<Media>,
    /// Whether it is the same as leaving it out.
    pub(super) empty: bool,
}

impl Whole {
    /// A number or a literal.
    pub(super) fn scalar(digest: u64) -> Self {
        Whole { digest, weight: 1, media: None, empty: false }
    }
}

/// The entries of an object so far. Where the order of keys does not matter, they are summed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Entries {
    sum: u64,
    /// Of the entries that hold media, and of those that name them.
    data: u64,
    identity: u64,
    weight: u64,
    pub(super) count: u32,
    has_data: bool,
    has_identity: bool,
    has_text: bool,
    /// What a key that only media have says.
    by_key: Option<Media>,
    by_type: Option<Media>,
    by_media_type: Option<Media>,
    /// What the object inside is: a part's `source` or `inline_data`.
    inner: Option<Media>,
    /// Whether a media type says that it is text.
    is_text: bool,
    given: bool,
}

impl Entries {
    /// Takes the digest of a complete entry.
    pub(super) fn add(&mut self, key: Key, entry: u64, name_bytes: u64, value: &Whole) {
        if let Key::Holds(media) = key {
            self.by_key = first(self.by_key, media);
        }
        if value.empty {
            return;
        }
        self.count = self.count.saturating_add(1);
        self.weight = self.weight.saturating_add(value.weight).saturating_add(name_bytes);
        match key {
            Key::Holds(_) | Key::Data => self.data = self.data.wrapping_add(entry),
            Key::Source if value.media.is_some() => self.data = self.data.wrapping_add(entry),
            Key::Identity => self.identity = self.identity.wrapping_add(entry),
            _ => self.sum = self.sum.wrapping_add(entry),
        }
        self.has_data |= match key {
            Key::Holds(_) | Key::Data => true,
            Key::Source => value.media.is_some(),
            _ => false,
        };
        self.has_identity |= key == Key::Identity;
        self.has_text |= key == Key::Text;
        if let (Key::Holds(Media::File) | Key::Source, Some(media)) = (key, value.media) {
            self.inner = first(self.inner, media);
        }
    }

    /// Takes a string that says what the object is; whether that is nothing.
    pub(super) fn told(&mut self, key: Key, value: &[u8]) -> bool {
        match (key, media::object_type(value)) {
            (Key::Type, Type::Plain) => return true,
            (Key::Type, Type::Media(media)) => self.by_type = Some(media),
            (Key::Type, Type::Given) => self.given = true,
            (Key::MediaType, _) => match media::of_media_type(value) {
                Some(media) => self.by_media_type = first(self.by_media_type, media),
                None => self.is_text = true,
            },
            _ => {}
        }
        false
    }

    /// What kind of media the object is.
    pub(super) fn media(&self) -> Option<Media> {
        if !self.has_data && !self.has_identity {
            return None;
        }
        // Text is text, whatever holds it.
        if self.is_text || (self.has_text && self.by_key.is_none()) {
            return None;
        }
        let told = self.by_media_type.or(self.inner);
        let kind = match (self.by_key, self.by_type) {
            (Some(Media::File) | None, Some(Media::File) | None) => None,
            (Some(Media::File) | None, typed) => typed,
            (keyed, _) => keyed,
        };
        let by_default = self.by_key.or(self.by_type).or(self.given.then_some(Media::File));
        kind.or(told).or(by_default)
    }

    /// The sum of what counts, and the bytes that it takes beside media.
    pub(super) fn total(&self, media: Option<Media>) -> (u64, u64) {
        match media {
            None => (self.sum.wrapping_add(self.data).wrapping_add(self.identity), self.weight),
            Some(_) if self.has_identity => (self.sum.wrapping_add(self.identity), 0),
            Some(_) => (self.sum.wrapping_add(self.data), 0),
        }
    }

    /// Takes an entry where the order of keys matters.
    pub(super) fn chain(&mut self, digester: Digester<'_>, entry: u64, bytes: u64) {
        self.sum = digester.pair(Domain::Element, self.sum, entry);
        self.count = self.count.saturating_add(1);
        self.weight = self.weight.saturating_add(bytes);
    }
}

/// The first of both in the order of [`Media`], because the order of keys must not decide.
fn first(known: Option<Media>, media: Media) -> Option<Media> {
    Some(known.map_or(media, |known| known.min(media)))
}
