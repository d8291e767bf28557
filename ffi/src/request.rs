//! A request: borrowed from the caller, checked, and read in place.

use std::ffi::{c_char, c_void};
use std::mem::MaybeUninit;

use pointsman_core::{Request, WorkerId};

use crate::argument;
use crate::fingerprint::{self, pointsman_fingerprint};
use crate::status::Failure;
use crate::worker::{each_label, pointsman_label};

/// A number of tokens that is not known.
pub const POINTSMAN_UNKNOWN: u32 = 0xffff_ffff;

/// There is no prompt, or none that can be read.
pub const POINTSMAN_PROMPT_NONE: u32 = 0;
/// prompt points to text, or any bytes: all of the prompt, as the engine will see it.
pub const POINTSMAN_PROMPT_TEXT: u32 = 1;
/// prompt points to token ids, uint32_t; prompt_length counts tokens.
pub const POINTSMAN_PROMPT_TOKENS: u32 = 2;
/// prompt points to a pointsman_fingerprint of this router or one with the same key; prompt_length
/// is ignored.
pub const POINTSMAN_PROMPT_FINGERPRINT: u32 = 3;

/// prompt points to a JSON request body as it came from the client: OpenAI chat, completions and
/// responses, SGLang generate. Its model, lora_path, cache_salt and extra_key form the namespace
/// unless cache_namespace is set; its token limit counts as expected_output_tokens unless that is set.
/// Read only by policies that want prefixes.
pub const POINTSMAN_PROMPT_JSON: u32 = 4;

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
    /// One of the POINTSMAN_PROMPT_ constants.
    pub prompt_kind: u32,
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
    /// Ids of workers that must not be chosen, for example those that failed before a retry.
    pub excluded: *const u64,
    /// How many.
    pub excluded_count: usize,
    /// Ids of the only workers that may be chosen; NULL: all. Not NULL with a count of 0: none.
    pub allowed: *const u64,
    /// How many.
    pub allowed_count: usize,
    /// Slots of the only workers that may be chosen, as bits: slot s is bit s % 64 of word s / 64.
    /// NULL: all.
    pub allowed_words: *const u64,
    /// How many words; missing ones are 0.
    pub allowed_words_count: usize,
    /// Labels that the worker must carry, all of them, at most POINTSMAN_MAX_REQUEST_LABELS.
    pub labels: *const pointsman_label,
    /// How many.
    pub label_count: usize,
    /// Tokens that the answer is expected to have; POINTSMAN_UNKNOWN by default.
    pub expected_output_tokens: u32,
    /// 0.
    pub reserved: u32,
    /// The time of the request; POINTSMAN_NOW by default.
    pub now: u64,
}

sized!(pointsman_request);

const MAX_LABELS: usize = POINTSMAN_MAX_REQUEST_LABELS as usize;

/// Room for what cannot be borrowed from the caller as it lies.
pub(crate) type Labels<'a> = [(&'a str, &'a str); MAX_LABELS];

/// Reads a request that says nothing but a prompt that needs no looking at, as most do; `None` if it
/// says more, or if something is wrong: [`read`] is to tell.
///
/// # Safety
/// As for [`read`].
#[inline(always)]
pub(crate) unsafe fn read_plain<'a>(
    raw: &'a pointsman_request,
    place: &'a mut MaybeUninit<Request<'a>>,
) -> Option<&'a Request<'a>> {
    static NONE: Request<'static> = Request::none();
    const _: () = assert!(POINTSMAN_UNKNOWN == !0);
    let more = raw.cache_namespace as usize
        | raw.routing_key as usize
        | raw.allowed as usize
        | raw.allowed_words as usize
        | raw.allowed_count
        | raw.allowed_words_count
        | raw.excluded_count
        | raw.label_count
        | !raw.expected_output_tokens as usize;
    let kind = raw.prompt_kind;
    const { assert!(POINTSMAN_PROMPT_NONE == 0) };
    if more | kind as usize == 0 {
        // Not built anew for each of the requests that say nothing.
        return Some(&NONE);
    }
    if more != 0 {
        return None;
    }
    // SAFETY: the caller's promise.
    let bytes = unsafe { argument::plain_slice(raw.prompt.cast::<u8>(), raw.prompt_length) };
    let request = match kind {
        POINTSMAN_PROMPT_TEXT => bytes.map(Request::bytes),
        POINTSMAN_PROMPT_JSON => bytes.map(Request::json),
        POINTSMAN_PROMPT_TOKENS => {
            // SAFETY: the caller's promise.
            unsafe { argument::plain_slice(raw.prompt.cast(), raw.prompt_length) }
                .map(Request::tokens)
        }
        _ => None,
    };
    Some(place.write(request?))
}

/// Reads the caller's struct into a request of the core.
///
/// # Safety
/// All pointers are as the struct says and outlive `'a`.
pub(crate) unsafe fn read<'a>(
    raw: &'a pointsman_request,
    labels: &'a mut MaybeUninit<Labels<'a>>,
) -> Result<Request<'a>, Failure> {
    // SAFETY: the caller's promise.
    let mut request = unsafe {
        if raw.prompt_kind == POINTSMAN_PROMPT_FINGERPRINT {
            let pointer = raw.prompt.cast::<pointsman_fingerprint>();
            Request::fingerprint(fingerprint::read(pointer, PROMPT)?)
        } else {
            read_prompt(raw)?
        }
    };
    if let Some(tokens) = known(raw.expected_output_tokens) {
        request = request.expected_output_tokens(tokens);
    }
    if !raw.cache_namespace.is_null() {
        let (text, length) = (raw.cache_namespace, raw.cache_namespace_length);
        // SAFETY: the caller's promise.
        let text = unsafe { argument::text(text, length, "request.cache_namespace") }?;
        request = request.namespace(text);
    }
    if !raw.routing_key.is_null() {
        let (key, length) = (raw.routing_key.cast(), raw.routing_key_length);
        // SAFETY: the caller's promise.
        request =
            request.routing_key(unsafe { argument::bytes(key, length, "request.routing_key") }?);
    }
    let selective = raw.excluded_count != 0
        || !raw.allowed.is_null()
        || raw.allowed_count != 0
        || !raw.allowed_words.is_null()
        || raw.allowed_words_count != 0
        || raw.label_count != 0;
    if selective {
        // SAFETY: the caller's promise.
        request = unsafe { read_selection(request, raw, labels) }?;
    }
    Ok(request)
}

const PROMPT: &str = "request.prompt";

/// Reads any prompt but a fingerprint.
///
/// # Safety
/// The prompt is as the struct says and outlives `'a`.
#[inline(always)]
unsafe fn read_prompt<'a>(raw: &'a pointsman_request) -> Result<Request<'a>, Failure> {
    let (prompt, length) = (raw.prompt, raw.prompt_length);
    // SAFETY: the caller's promise.
    unsafe {
        Ok(match raw.prompt_kind {
            POINTSMAN_PROMPT_NONE => Request::none(),
            POINTSMAN_PROMPT_TEXT => {
                Request::bytes(argument::bytes(prompt.cast(), length, PROMPT)?)
            }
            POINTSMAN_PROMPT_TOKENS => {
                Request::tokens(argument::slice(prompt.cast(), length, PROMPT)?)
            }
            POINTSMAN_PROMPT_JSON => Request::json(argument::bytes(prompt.cast(), length, PROMPT)?),
            _ => return Err(unknown_kind()),
        })
    }
}

#[cold]
fn unknown_kind() -> Failure {
    Failure::argument("request.prompt_kind", "is none of the POINTSMAN_PROMPT_ constants")
}

/// # Safety
/// All pointers are as the struct says and outlive `'a`.
#[inline(never)]
unsafe fn read_selection<'a>(
    mut request: Request<'a>,
    raw: &'a pointsman_request,
    labels: &'a mut MaybeUninit<Labels<'a>>,
) -> Result<Request<'a>, Failure> {
    // SAFETY: the caller's promise.
    unsafe {
        request = request.exclude(ids(raw.excluded, raw.excluded_count, "request.excluded")?);
        // NULL allows all, but not where somebody has counted: that list was lost.
        if !raw.allowed.is_null() || raw.allowed_count != 0 {
            request = request.allow(ids(raw.allowed, raw.allowed_count, "request.allowed")?);
        }
        if !raw.allowed_words.is_null() || raw.allowed_words_count != 0 {
            let (words, count) = (raw.allowed_words, raw.allowed_words_count);
            request = request.allow_slots(argument::slice(words, count, "request.allowed_words")?);
        }
        if raw.label_count > MAX_LABELS {
            return Err(Failure::argument(
                "request.labels",
                "are more than POINTSMAN_MAX_REQUEST_LABELS, 16",
            ));
        }
        let mut kept = 0;
        let labels = labels.write([("", ""); MAX_LABELS]);
        each_label(raw.labels, raw.label_count, |key, value| {
            labels[kept] = (key, value);
            kept += 1;
            Ok(())
        })?;
        Ok(request.labels(&labels[..kept]))
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
    // SAFETY: the caller's promise.
    let raw = unsafe { argument::slice(pointer, count, name) }?;
    WorkerId::from_raw_slice(raw).ok_or(Failure::argument(name, "contains 0, which is no worker"))
}

/// The number that says "unknown", as an option.
#[inline(always)]
pub(crate) fn known(tokens: u32) -> Option<u32> {
    if tokens == POINTSMAN_UNKNOWN { None } else { Some(tokens) }
}
