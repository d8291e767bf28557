//! A payload's events, in each of the forms that engines have written them: a tagged array up to vLLM
//! 0.23 and SGLang 0.5.19, a map since then. What is unknown is passed over: keys, slots at the end,
//! names of events.

use super::event::{Attention, KvEvent, Medium, Place, Removed, Stored};
use super::values::{self, Hashes, Tokens};
use crate::engine::error::{EngineError, EngineErrorKind};
use crate::engine::msgpack::{Head, Reader};

/// A payload that is msgpack from its first byte to its last, and a batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Batch<'a> {
    /// When it was made, in seconds of the engine's time of day.
    pub(super) time: f64,
    pub(super) rank: u32,
    events: Reader<'a>,
    count: u32,
}

/// What has become of a batch's events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) events: u32,
    pub(super) unknown: u32,
    pub(super) refused: u32,
    pub(super) first_refusal: Option<EngineError>,
}

impl<'a> Batch<'a> {
    /// Reads over the whole payload, as the rank comes last: so nothing is said of one that is cut off.
    pub(super) fn read(payload: &'a [u8]) -> Result<Self, EngineError> {
        let not_a_batch = EngineError::new(EngineErrorKind::NotABatch, 0);
        let mut reader = Reader::new(payload);
        let Head::Array(slots @ 2..) = reader.head()? else { return Err(not_a_batch) };
        let time = match reader.head()? {
            Head::Float(time) => time,
            Head::Unsigned(time) => time as f64,
            _ => return Err(not_a_batch),
        };
        let mut events = reader;
        reader.skip()?;
        let Head::Array(count) = events.head()? else { return Err(not_a_batch) };
        let mut rank = 0;
        for slot in 2..slots {
            let here = reader;
            if slot == 2 {
                rank = small(here)?.ok_or(here.error(EngineErrorKind::Rank))?;
            }
            reader.skip()?;
        }
        if !reader.is_at_end() {
            return Err(reader.error(EngineErrorKind::TrailingData));
        }
        Ok(Batch { time, rank, events, count })
    }

    /// Hands out its events, in order. One that cannot be understood is counted, and the next one read.
    pub(super) fn deliver(
        &self,
        hear: &mut impl FnMut(KvEvent<'_>),
    ) -> Result<Counts, EngineError> {
        let mut counts = Counts::default();
        let mut reader = self.events;
        for _ in 0..self.count {
            let start = reader;
            match event(&mut reader, self.rank) {
                Ok(Some(event)) => {
                    counts.events += 1;
                    hear(event);
                }
                Ok(None) => counts.unknown += 1,
                Err(error) => {
                    reader = start;
                    reader.skip()?;
                    // A field of an event that is unknown may be of any type.
                    match name(start) {
                        Ok([]) | Ok(b"BlockStored" | b"BlockRemoved") | Err(_) => {
                            counts.refused += 1;
                            counts.first_refusal.get_or_insert(error);
                        }
                        Ok(_) => counts.unknown += 1,
                    }
                }
            }
        }
        Ok(counts)
    }
}

/// The fields of an event that mean something here, each at its place in the payload; nil is none.
#[derive(Clone, Copy, Debug, Default)]
struct Fields<'a> {
    name: &'a [u8],
    hashes: Option<Hashes<'a>>,
    parent: Option<Reader<'a>>,
    tokens: Option<Tokens<'a>>,
    block_size: Option<Reader<'a>>,
    lora_id: Option<Reader<'a>>,
    medium: Option<Reader<'a>>,
    lora_name: Option<Reader<'a>>,
    cache_salt: Option<Reader<'a>>,
    extra_keys: Option<Reader<'a>>,
    group: Option<Reader<'a>>,
    attention: Option<Reader<'a>>,
    window: Option<Reader<'a>>,
    locality: Option<Reader<'a>>,
    session_id: Option<Reader<'a>>,
}

/// The fields' names in the order of the array forms. Behind the window no engine has written an array.
const STORED: [&[u8]; 11] = [
    b"block_hashes",
    b"parent_block_hash",
    b"token_ids",
    b"block_size",
    b"lora_id",
    b"medium",
    b"lora_name",
    b"extra_keys",
    b"group_idx",
    b"kv_cache_spec_kind",
    b"kv_cache_spec_sliding_window",
];
const REMOVED: [&[u8]; 3] = [b"block_hashes", b"medium", b"group_idx"];

impl<'a> Fields<'a> {
    /// Takes the value of this name.
    fn put(&mut self, name: &[u8], reader: &mut Reader<'a>) -> Result<(), EngineError> {
        let value = *reader;
        let field = match name {
            b"type" => {
                self.name = text(value)?.map_or(&[][..], str::as_bytes);
                return reader.skip();
            }
            b"block_hashes" => {
                self.hashes = Hashes::read(reader)?;
                return Ok(());
            }
            b"token_ids" => {
                self.tokens = Tokens::read(reader)?;
                return Ok(());
            }
            b"parent_block_hash" => &mut self.parent,
            b"block_size" => &mut self.block_size,
            b"lora_id" => &mut self.lora_id,
            b"medium" => &mut self.medium,
            b"lora_name" => &mut self.lora_name,
            b"cache_salt" => &mut self.cache_salt,
            b"extra_keys" => &mut self.extra_keys,
            b"group_idx" => &mut self.group,
            b"kv_cache_spec_kind" => &mut self.attention,
            b"kv_cache_spec_sliding_window" => &mut self.window,
            b"locality" => &mut self.locality,
            b"session_id" => &mut self.session_id,
            _ => return reader.skip(),
        };
        *field = Some(value).filter(|value| !value.is_at_nil());
        reader.skip()
    }

    /// A map's, whose keys may stand in any order.
    fn read_map(reader: &mut Reader<'a>, keys: u32) -> Result<Self, EngineError> {
        let mut fields = Fields::default();
        for _ in 0..keys {
            let key = *reader;
            match reader.head()? {
                Head::Text(name) => fields.put(name, reader)?,
                // No engine's key, but a value may be one: pass over both.
                _ => {
                    *reader = key;
                    reader.skip()?;
                    reader.skip()?;
                }
            }
        }
        Ok(fields)
    }

    fn read_array(reader: &mut Reader<'a>, slots: u32) -> Result<Self, EngineError> {
        let not_named = reader.error(EngineErrorKind::NotAnEvent);
        let (1.., Head::Text(name)) = (slots, reader.head()?) else { return Err(not_named) };
        let order: &[&[u8]] = match name {
            b"BlockStored" => &STORED,
            b"BlockRemoved" => &REMOVED,
            _ => &[],
        };
        let mut fields = Fields { name, ..Fields::default() };
        for slot in 0..slots as usize - 1 {
            let mut value = *reader;
            match (order.get(slot).copied(), value.head()?) {
                // SGLang 0.5.18 and 0.5.19 write what is new as a map where vLLM has the adapter's name.
                (Some(b"lora_name"), Head::Map(keys)) => {
                    let new = Fields::read_map(&mut value, keys)?;
                    fields.cache_salt = new.cache_salt;
                    fields.session_id = new.session_id;
                    fields.lora_name = new.lora_name;
                    *reader = value;
                }
                (Some(field), _) => fields.put(field, reader)?,
                (None, _) => reader.skip()?,
            }
        }
        Ok(fields)
    }
}

/// An event's name alone; nothing if it has none.
#[cold]
fn name<'a>(mut reader: Reader<'a>) -> Result<&'a [u8], EngineError> {
    let keys = match reader.head()? {
        Head::Map(keys) => keys,
        Head::Array(1..) => {
            return Ok(text(reader)?.map_or(&[], str::as_bytes));
        }
        _ => 0,
    };
    for _ in 0..keys {
        let is_name = matches!(text(reader), Ok(Some("type")));
        reader.skip()?;
        if is_name {
            return Ok(text(reader)?.map_or(&[], str::as_bytes));
        }
        reader.skip()?;
    }
    Ok(&[])
}

/// `None` for an event whose name says nothing to this library.
fn event<'a>(reader: &mut Reader<'a>, rank: u32) -> Result<Option<KvEvent<'a>>, EngineError> {
    let start = *reader;
    let fields = match reader.head()? {
        Head::Map(keys) => Fields::read_map(reader, keys)?,
        Head::Array(slots) => Fields::read_array(reader, slots)?,
        _ => return Err(start.error(EngineErrorKind::NotAnEvent)),
    };
    let missing = start.error(EngineErrorKind::MissingField);
    match fields.name {
        b"BlockStored" => {
            let hashes = fields.hashes.ok_or(missing)?;
            stored(&fields, hashes, rank).map(|stored| Some(KvEvent::Stored(stored)))
        }
        b"BlockRemoved" => {
            let (place, hashes) = (place(&fields, rank)?, fields.hashes.ok_or(missing)?);
            Ok(Some(KvEvent::Removed(Removed { place, hashes })))
        }
        b"AllBlocksCleared" => Ok(Some(KvEvent::Cleared { rank })),
        b"" => Err(start.error(EngineErrorKind::NotAnEvent)),
        _ => Ok(None),
    }
}

fn stored<'a>(
    fields: &Fields<'a>,
    hashes: Hashes<'a>,
    rank: u32,
) -> Result<Stored<'a>, EngineError> {
    // What only describes a block costs no event where it is of another type than it was so far.
    let described = |field: Option<Reader<'a>>| field.and_then(|at| text(at).ok().flatten());
    let block_size = match fields.block_size {
        Some(size) => small(size)?.ok_or(size.error(EngineErrorKind::WrongType))?,
        None => 0,
    };
    let parent = match fields.parent {
        Some(mut parent) => values::hash(&mut parent)?,
        None => None,
    };
    Ok(Stored {
        place: place(fields, rank)?,
        parent,
        hashes,
        tokens: fields.tokens.unwrap_or_else(Tokens::none),
        block_size,
        attention: attention(fields)?,
        lora_id: fields.lora_id.and_then(|at| whole(at).ok().flatten()),
        lora_name: described(fields.lora_name),
        cache_salt: described(fields.cache_salt),
        has_extra_keys: fields.cache_salt.is_some()
            || fields.lora_name.is_some()
            || fields.lora_id.is_some()
            || fields.extra_keys.map_or(Ok(false), any_not_nil)?,
        session_id: described(fields.session_id),
    })
}

fn place(fields: &Fields<'_>, rank: u32) -> Result<Place, EngineError> {
    let group = match fields.group {
        Some(group) => small(group)?.ok_or(group.error(EngineErrorKind::WrongType))?,
        None => 0,
    };
    let medium = fields.medium.map_or(Ok(None), text)?;
    let locality = fields.locality.map_or(Ok(None), text)?;
    Ok(Place {
        rank,
        medium: medium.map_or(Medium::Device, |name| Medium::from_name(name.as_bytes())),
        group,
        is_remote: locality.is_some_and(|name| name.eq_ignore_ascii_case("REMOTE")),
    })
}

fn attention(fields: &Fields<'_>) -> Result<Attention, EngineError> {
    let window = fields.window.map_or(Ok(None), small)?;
    Ok(match fields.attention.map_or(Ok(None), text)? {
        None if window.is_none() => Attention::Unknown,
        // All that attend to everything, by the names of vLLM's kinds.
        Some("full_attention" | "mla_attention" | "sink_full_attention") => Attention::Full,
        _ => Attention::Partial { window },
    })
}

/// Whether an array holds anything but nil, or a value is no array.
fn any_not_nil(mut reader: Reader<'_>) -> Result<bool, EngineError> {
    let Head::Array(count) = reader.head()? else { return Ok(true) };
    for _ in 0..count {
        if reader.head()? != Head::Nil {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A number below 2³²; nil is 0. `None` for all else.
fn small(mut reader: Reader<'_>) -> Result<Option<u32>, EngineError> {
    Ok(match reader.head()? {
        Head::Nil => Some(0),
        Head::Unsigned(number) => u32::try_from(number).ok(),
        _ => None,
    })
}

/// A whole number.
fn whole(at: Reader<'_>) -> Result<Option<i64>, EngineError> {
    let mut reader = at;
    match reader.head()? {
        Head::Nil => Ok(None),
        Head::Unsigned(number) => Ok(i64::try_from(number).ok()),
        Head::Negative(number) => Ok(Some(number)),
        _ => Err(at.error(EngineErrorKind::WrongType)),
    }
}

/// A text that is UTF-8.
fn text(at: Reader<'_>) -> Result<Option<&str>, EngineError> {
    let mut reader = at;
    let wrong = at.error(EngineErrorKind::WrongType);
    match reader.head()? {
        Head::Nil => Ok(None),
        Head::Text(bytes) => std::str::from_utf8(bytes).map(Some).map_err(|_| wrong),
        _ => Err(wrong),
    }
}
