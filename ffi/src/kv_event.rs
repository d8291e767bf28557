//! One thing that an engine says about its KV cache.

use std::ffi::{c_char, c_void};
use std::ptr::null;

use pointsman_core::engine::{Attention, KvEvent, Medium, Place, Removed, Stored};

use crate::special::POINTSMAN_UNKNOWN;

/// What an event says: one of the POINTSMAN_KV_ constants.
#[allow(non_camel_case_types)]
pub type pointsman_kv_kind = u32;

/// Blocks are cached from now on.
pub const POINTSMAN_KV_STORED: pointsman_kv_kind = 0;
/// One copy of each of these blocks is cached no more.
pub const POINTSMAN_KV_REMOVED: pointsman_kv_kind = 1;
/// Nothing is cached any more by this rank.
pub const POINTSMAN_KV_CLEARED: pointsman_kv_kind = 2;
/// The messages from gap_from up to, but not with, gap_to are missing.
pub const POINTSMAN_KV_GAP: pointsman_kv_kind = 3;
/// The rank's engine is another process than before: nothing that it has said holds.
pub const POINTSMAN_KV_RESTARTED: pointsman_kv_kind = 4;

/// What a block lies in: one of the POINTSMAN_MEDIUM_ constants, or, for a name that this library does
/// not know, a number above them that is made of the name.
#[allow(non_camel_case_types)]
pub type pointsman_medium = u32;

/// The accelerator's memory.
pub const POINTSMAN_MEDIUM_DEVICE: pointsman_medium = 0;
/// The host's memory.
pub const POINTSMAN_MEDIUM_HOST: pointsman_medium = 1;
/// A disk.
pub const POINTSMAN_MEDIUM_DISK: pointsman_medium = 2;
/// A store that several workers share.
pub const POINTSMAN_MEDIUM_SHARED: pointsman_medium = 3;

/// How the layers of a cache group attend: one of the POINTSMAN_ATTENTION_ constants.
#[allow(non_camel_case_types)]
pub type pointsman_attention = u32;

/// The engine does not say: it has one group, whose blocks describe prefixes.
pub const POINTSMAN_ATTENTION_UNKNOWN: pointsman_attention = 0;
/// To all tokens: the group's blocks describe prefixes.
pub const POINTSMAN_ATTENTION_FULL: pointsman_attention = 1;
/// Otherwise: the group's blocks describe no prefixes.
pub const POINTSMAN_ATTENTION_PARTIAL: pointsman_attention = 2;

/// One thing that an engine says about its KV cache. Belongs to the library and is valid during the call,
/// with all that it points to. Fields that its kind does not have are 0 or NULL.
#[allow(non_camel_case_types)]
#[derive(Clone, Copy)]
#[repr(C)]
pub struct pointsman_kv_event {
    /// sizeof this struct in the library.
    pub size: u32,
    /// What it says.
    pub kind: pointsman_kv_kind,
    /// The data-parallel rank.
    pub rank: u32,
    /// What the blocks lie in. An engine counts copies by rank, medium, group and hash: a block that was
    /// stored twice is cached until it has been removed twice.
    pub medium: pointsman_medium,
    /// The cache group of a model whose layers cache differently, else 0.
    pub group: u32,
    /// 1 if the blocks lie outside of the worker, else 0.
    pub is_remote: u32,
    /// How the group's layers attend.
    pub attention: pointsman_attention,
    /// Tokens of the group's window; POINTSMAN_UNKNOWN if it has none.
    pub window: u32,
    /// Tokens in a block; 0 if the engine does not say.
    pub block_size: u32,
    /// 1 if parent is the hash of the block that the first one continues, 0 at a prompt's beginning.
    pub has_parent: u32,
    /// 1 if more than its tokens makes a block what it is: an image, an adapter, a salt; else 0.
    pub has_extra_keys: u32,
    /// 1 if the engine caches pairs of neighbouring tokens, of which tokens has the first ones; else 0.
    pub has_pairs: u32,
    /// See has_parent.
    pub parent: u64,
    /// The blocks' hashes, in the order of the blocks: the low 64 bits of the engine's.
    pub hashes: *const u64,
    /// How many.
    pub hash_count: usize,
    /// The blocks' tokens. Whose they are is only known where there are block_size for each hash.
    pub tokens: *const u32,
    /// How many; 0 if the engine does not tell them.
    pub token_count: usize,
    /// The name of the LoRA adapter, not terminated; NULL if there is none.
    pub lora_name: *const c_char,
    /// Its length.
    pub lora_name_length: usize,
    /// What keeps this content apart from others', not terminated; NULL if it is not told.
    pub cache_salt: *const c_char,
    /// Its length.
    pub cache_salt_length: usize,
    /// The conversation, where clients name it, not terminated; else NULL.
    pub session_id: *const c_char,
    /// Its length.
    pub session_id_length: usize,
    /// The first message that is missing.
    pub gap_from: u64,
    /// The first message after those.
    pub gap_to: u64,
}

/// Receives events, on the thread that feeds, before the call that feeds returns. It must return, not
/// throw. What it may call is said under "Callbacks" at the top of this header.
#[allow(non_camel_case_types)]
pub type pointsman_kv_callback =
    Option<unsafe extern "C" fn(user_data: *mut c_void, event: *const pointsman_kv_event)>;

/// An event as C gets it; what it points to is put into the two lists.
pub(crate) fn event_of(
    event: &KvEvent<'_>,
    hashes: &mut Vec<u64>,
    tokens: &mut Vec<u32>,
) -> pointsman_kv_event {
    hashes.clear();
    tokens.clear();
    let mut raw = nothing();
    match event {
        KvEvent::Stored(stored) => tell_stored(&mut raw, stored, hashes, tokens),
        KvEvent::Removed(Removed { place, hashes: removed, .. }) => {
            raw.kind = POINTSMAN_KV_REMOVED;
            tell_place(&mut raw, place);
            hashes.extend(removed.iter());
        }
        KvEvent::Cleared { rank } => (raw.kind, raw.rank) = (POINTSMAN_KV_CLEARED, *rank),
        KvEvent::Gap(gap) => {
            (raw.kind, raw.rank) = (POINTSMAN_KV_GAP, gap.rank);
            (raw.gap_from, raw.gap_to) = (gap.from, gap.to);
        }
        KvEvent::Restarted { rank } => (raw.kind, raw.rank) = (POINTSMAN_KV_RESTARTED, *rank),
        // Kinds to come, which this interface has no number for.
        _ => {}
    }
    (raw.hashes, raw.hash_count) = (hashes.as_ptr(), hashes.len());
    (raw.tokens, raw.token_count) = (tokens.as_ptr(), tokens.len());
    raw
}

/// An event without anything.
fn nothing() -> pointsman_kv_event {
    pointsman_kv_event {
        size: size_of::<pointsman_kv_event>() as u32,
        kind: POINTSMAN_KV_STORED,
        rank: 0,
        medium: POINTSMAN_MEDIUM_DEVICE,
        group: 0,
        is_remote: 0,
        attention: POINTSMAN_ATTENTION_UNKNOWN,
        window: POINTSMAN_UNKNOWN,
        block_size: 0,
        has_parent: 0,
        has_extra_keys: 0,
        has_pairs: 0,
        parent: 0,
        hashes: null(),
        hash_count: 0,
        tokens: null(),
        token_count: 0,
        lora_name: null(),
        lora_name_length: 0,
        cache_salt: null(),
        cache_salt_length: 0,
        session_id: null(),
        session_id_length: 0,
        gap_from: 0,
        gap_to: 0,
    }
}

fn tell_place(raw: &mut pointsman_kv_event, place: &Place) {
    (raw.rank, raw.group, raw.is_remote) = (place.rank, place.group, place.is_remote.into());
    raw.medium = match place.medium {
        Medium::Device => POINTSMAN_MEDIUM_DEVICE,
        Medium::Host => POINTSMAN_MEDIUM_HOST,
        Medium::Disk => POINTSMAN_MEDIUM_DISK,
        Medium::Shared => POINTSMAN_MEDIUM_SHARED,
        // Above every constant that there will be.
        Medium::Other(number) => number | 1 << 31,
        _ => u32::MAX,
    };
}

fn tell_stored(
    raw: &mut pointsman_kv_event,
    stored: &Stored<'_>,
    hashes: &mut Vec<u64>,
    tokens: &mut Vec<u32>,
) {
    tell_place(raw, &stored.place);
    hashes.extend(stored.hashes.iter());
    tokens.extend(stored.tokens.iter().map(|token| token.id));
    (raw.attention, raw.window) = match stored.attention {
        Attention::Full => (POINTSMAN_ATTENTION_FULL, POINTSMAN_UNKNOWN),
        Attention::Partial { window } => {
            (POINTSMAN_ATTENTION_PARTIAL, window.unwrap_or(POINTSMAN_UNKNOWN))
        }
        _ => (POINTSMAN_ATTENTION_UNKNOWN, POINTSMAN_UNKNOWN),
    };
    raw.block_size = stored.block_size;
    (raw.has_parent, raw.parent) = (stored.parent.is_some().into(), stored.parent.unwrap_or(0));
    raw.has_extra_keys = stored.has_extra_keys.into();
    raw.has_pairs = stored.tokens.iter().any(|token| token.next.is_some()).into();
    (raw.lora_name, raw.lora_name_length) = text_of(stored.lora_name);
    (raw.cache_salt, raw.cache_salt_length) = text_of(stored.cache_salt);
    (raw.session_id, raw.session_id_length) = text_of(stored.session_id);
}

fn text_of(text: Option<&str>) -> (*const c_char, usize) {
    text.map_or((null(), 0), |text| (text.as_ptr().cast(), text.len()))
}
