//! A request: borrowed from the caller, checked, and read in place.

use std::ffi::{c_char, c_void};
use std::mem::MaybeUninit;

use pointsman_core::{Prompt, Request, WorkerId};

use crate::argument::{self, input};
use crate::failure::Failure;
use crate::fingerprint::borrowed;
use crate::label::{each_label, pointsman_label};
use crate::special::{POINTSMAN_UNKNOWN, known};

/// What a request's prompt points to: one of the POINTSMAN_PROMPT_ constants.
#[allow(non_camel_case_types)]
pub type pointsman_prompt_kind = u32;

/// There is no prompt, or none that can be read.
pub const POINTSMAN_PROMPT_NONE: pointsman_prompt_kind = 0;
/// prompt points to text, or any bytes: all of the prompt, as the engine will see it.
pub const POINTSMAN_PROMPT_TEXT: pointsman_prompt_kind = 1;
/// prompt points to token ids, uint32_t; prompt_length counts tokens.
pub const POINTSMAN_PROMPT_TOKENS: pointsman_prompt_kind = 2;
/// prompt points to a pointsman_fingerprint of this router or one with the same key; prompt_length
/// is ignored.
pub const POINTSMAN_PROMPT_FINGERPRINT: pointsman_prompt_kind = 3;

/// prompt points to a JSON request body as it came from the client: OpenAI chat, completions and
/// responses, SGLang generate. Its model, lora_path, cache_salt and extra_key form the namespace
/// unless cache_namespace is set; its token limit counts as expected_output_tokens unless that is set.
/// Read only by policies that want prefixes.
pub const POINTSMAN_PROMPT_JSON: pointsman_prompt_kind = 4;

/// Labels that one request may demand.
pub const POINTSMAN_MAX_REQUEST_LABELS: u32 = 16;

/// One request to be routed: lives on the caller's stack and borrows all that it points to until the
/// call returns. Nothing is copied.
#[allow(non_camel_case_types)]
#[derive(Clone, Copy)]
#[repr(C)]
pub struct pointsman_request {
    /// Set by POINTSMAN_REQUEST_INIT.
    pub size: u32,
    /// What prompt points to.
    pub prompt_kind: pointsman_prompt_kind,
    /// The prompt, in that form.
    pub prompt: *const c_void,
    /// Its length, in bytes or tokens.
    pub prompt_length: usize,
    /// Requests share prefixes within a namespace only: model, LoRA and cache salt, as the host
    /// spells them, UTF-8. NULL: none.
    pub cache_namespace: *const c_char,
    /// Its length; POINTSMAN_NUL_TERMINATED by default.
    pub cache_namespace_length: usize,
    /// What the request belongs to, for example a session, as any bytes: where no prefix says
    /// otherwise, cache-aware policies send equal keys to the same worker. NULL: none.
    pub routing_key: *const c_void,
    /// Its length; POINTSMAN_NUL_TERMINATED by default.
    pub routing_key_length: usize,
    /// Ids of workers that must not be chosen, for example those that failed before a retry. Those that
    /// are not registered rule nothing out.
    pub excluded: *const u64,
    /// How many.
    pub excluded_count: usize,
    /// Ids of the only workers that may be chosen; NULL: all. Not NULL with a count of 0: none. Those that
    /// are not registered admit nothing.
    pub allowed: *const u64,
    /// How many.
    pub allowed_count: usize,
    /// Slots of the only workers that may be chosen, as bits: slot s is bit s % 64 of word s / 64.
    /// NULL: all. With allowed, only workers in both may be chosen.
    pub allowed_words: *const u64,
    /// How many words; missing ones are 0.
    pub allowed_words_count: usize,
    /// Labels that the worker must carry, all of them, at most POINTSMAN_MAX_REQUEST_LABELS.
    pub labels: *const pointsman_label,
    /// How many.
    pub label_count: usize,
    /// Tokens that the answer is expected to have; POINTSMAN_UNKNOWN by default.
    pub expected_output_tokens: u32,
    /// Must be 0.
    pub reserved: u32,
    /// The time of the request; POINTSMAN_NOW by default.
    pub now: u64,
}

sized!(pointsman_request.reserved);

const MAX_LABELS: usize = POINTSMAN_MAX_REQUEST_LABELS as usize;

/// Room for what is made of the caller's struct, where it stays: moving it would cost every request.
pub(crate) struct Room<'a> {
    raw: MaybeUninit<pointsman_request>,
    request: MaybeUninit<Request<'a>>,
    labels: MaybeUninit<Labels<'a>>,
}

type Labels<'a> = [(&'a str, &'a str); MAX_LABELS];

/// A request, and its time as the caller says it.
pub(crate) struct Asked<'a> {
    pub(crate) request: &'a Request<'a>,
    pub(crate) now: u64,
}

/// Reads the caller's struct into a request of the core.
///
/// # Safety
/// `pointer` is NULL or points to a request whose pointers are as the struct says and outlive `'a`.
#[inline(always)]
pub(crate) unsafe fn asked<'a>(
    pointer: *const pointsman_request,
    name: &'static str,
    room: &'a mut MaybeUninit<Room<'a>>,
) -> Result<Asked<'a>, Failure> {
    // SAFETY: any memory is a room, whose fields say themselves that they are uninitialised.
    let room = unsafe { room.assume_init_mut() };
    // SAFETY: the caller keeps this function's `# Safety`.
    let raw = unsafe { input(pointer, name, &mut room.raw) }?;
    if says_no_more(raw) && raw.prompt_kind == POINTSMAN_PROMPT_NONE {
        // One for all requests that say nothing.
        static NOTHING: Request<'static> = Request::none();
        return Ok(Asked { request: &NOTHING, now: raw.now });
    }
    // SAFETY: the caller keeps this function's `# Safety`.
    let request = unsafe {
        let request = room.request.write(Request::new(prompt(raw)?));
        if !says_no_more(raw) {
            read_more(raw, request, &mut room.labels)?;
        }
        request
    };
    Ok(Asked { request, now: raw.now })
}

/// Whether a request says no more than its prompt. All fields are looked at together, as that costs
/// least.
#[inline(always)]
fn says_no_more(raw: &pointsman_request) -> bool {
    const { assert!(POINTSMAN_UNKNOWN == !0) };
    let all = raw.cache_namespace as usize
        | raw.routing_key as usize
        | raw.allowed as usize
        | raw.allowed_words as usize
        | raw.allowed_count
        | raw.allowed_words_count
        | raw.excluded_count
        | raw.label_count
        | !raw.expected_output_tokens as usize;
    all == 0
}

const PROMPT: &str = "request.prompt";

/// Reads what a request says besides its prompt.
///
/// # Safety
/// All pointers are as the struct says and outlive `'a`.
#[inline(never)]
unsafe fn read_more<'a>(
    raw: &'a pointsman_request,
    request: &mut Request<'a>,
    labels: &'a mut MaybeUninit<Labels<'a>>,
) -> Result<(), Failure> {
    // SAFETY: the caller keeps this function's `# Safety`.
    unsafe {
        if let Some(tokens) = known(raw.expected_output_tokens) {
            *request = request.expected_output_tokens(tokens);
        }
        if !raw.cache_namespace.is_null() {
            let (text, length) = (raw.cache_namespace, raw.cache_namespace_length);
            *request = request.namespace(argument::text(text, length, "request.cache_namespace")?);
        }
        if !raw.routing_key.is_null() {
            let (key, length) = (raw.routing_key.cast(), raw.routing_key_length);
            *request = request.routing_key(argument::bytes(key, length, "request.routing_key")?);
        }
        if raw.excluded_count != 0 {
            let (excluded, count) = (raw.excluded, raw.excluded_count);
            *request = request.exclude(ids(excluded, count, "request.excluded")?);
        }
        // NULL allows all, but not with a count: then the list was lost.
        if !raw.allowed.is_null() || raw.allowed_count != 0 {
            *request = request.allow(ids(raw.allowed, raw.allowed_count, "request.allowed")?);
        }
        if !raw.allowed_words.is_null() || raw.allowed_words_count != 0 {
            let (words, count) = (raw.allowed_words, raw.allowed_words_count);
            *request = request.allow_slots(argument::slice(words, count, "request.allowed_words")?);
        }
        if raw.label_count != 0 {
            *request = request.labels(read_labels(raw, labels)?);
        }
        Ok(())
    }
}

/// # Safety
/// The labels are as the struct says and outlive `'a`.
#[inline(never)]
unsafe fn read_labels<'a>(
    raw: &'a pointsman_request,
    place: &'a mut MaybeUninit<Labels<'a>>,
) -> Result<&'a [(&'a str, &'a str)], Failure> {
    if raw.label_count > MAX_LABELS {
        return Err(Failure::argument(
            "request.labels",
            "are more than POINTSMAN_MAX_REQUEST_LABELS, 16",
        ));
    }
    let mut kept = 0;
    let labels = place.write([("", ""); MAX_LABELS]);
    // SAFETY: the caller keeps this function's `# Safety`.
    unsafe {
        each_label(raw.labels, raw.label_count, |key, value| {
            labels[kept] = (key, value);
            kept += 1;
        })?;
    }
    Ok(&labels[..kept])
}

/// # Safety
/// The prompt is as the struct says and outlives `'a`.
#[inline(always)]
unsafe fn prompt<'a>(raw: &'a pointsman_request) -> Result<Prompt<'a>, Failure> {
    let (prompt, length) = (raw.prompt, raw.prompt_length);
    // SAFETY: the caller keeps this function's `# Safety`.
    unsafe {
        Ok(match raw.prompt_kind {
            POINTSMAN_PROMPT_NONE => Prompt::None,
            POINTSMAN_PROMPT_TEXT => Prompt::Text(argument::bytes(prompt.cast(), length, PROMPT)?),
            POINTSMAN_PROMPT_TOKENS => {
                Prompt::Tokens(argument::slice(prompt.cast(), length, PROMPT)?)
            }
            POINTSMAN_PROMPT_JSON => Prompt::Json(argument::bytes(prompt.cast(), length, PROMPT)?),
            POINTSMAN_PROMPT_FINGERPRINT => {
                let mut room = MaybeUninit::uninit();
                Prompt::Fingerprint(borrowed(prompt.cast(), PROMPT, &mut room)?)
            }
            _ => {
                let problem = "is none of the POINTSMAN_PROMPT_ constants";
                return Err(Failure::argument("request.prompt_kind", problem));
            }
        })
    }
}

/// Borrows ids where they lie.
///
/// # Safety
/// `pointer` is NULL or valid for `count` numbers that outlive `'a`.
unsafe fn ids<'a>(
    pointer: *const u64,
    count: usize,
    name: &'static str,
) -> Result<&'a [WorkerId], Failure> {
    // SAFETY: the caller keeps this function's `# Safety`.
    let raw = unsafe { argument::slice(pointer, count, name) }?;
    WorkerId::from_raw_slice(raw).ok_or(Failure::argument(name, "contains 0, which is no worker"))
}
