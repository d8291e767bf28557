//! Prompts made into fingerprints: whole, or as they arrive in pieces.

use std::ffi::{c_char, c_void};

use pointsman_core::Router;
use pointsman_core::body::{BodyFingerprint, BodyKind, BodyReader};
use pointsman_core::prefix::{Fingerprinter, Unit};

use crate::argument::{self, Out, Output, optional_text, out, output, slice_mut};
use crate::failure::Failure;
use crate::fingerprint::{pointsman_fingerprint, raw_of};
use crate::handle::{Handle, exclusive, hand_out, handle, taken};
use crate::request::{self, Asked, asked, pointsman_prompt_kind, pointsman_request};
use crate::router::pointsman_router;
use crate::special::POINTSMAN_UNKNOWN;
use crate::status::pointsman_status;

/// What kind of request a JSON body is: one of the POINTSMAN_BODY_ constants, given by the field that
/// holds the prompt.
#[allow(non_camel_case_types)]
pub type pointsman_body_kind = u32;

/// No field holds a prompt, or several do.
pub const POINTSMAN_BODY_NONE: pointsman_body_kind = 0;

/// `messages`.
pub const POINTSMAN_BODY_CHAT: pointsman_body_kind = 1;

/// `prompt`.
pub const POINTSMAN_BODY_COMPLETION: pointsman_body_kind = 2;

/// `input`.
pub const POINTSMAN_BODY_RESPONSES: pointsman_body_kind = 3;

/// `text` or `input_ids`.
pub const POINTSMAN_BODY_GENERATE: pointsman_body_kind = 4;

/// What a JSON body says besides its prompt.
#[allow(non_camel_case_types)]
#[derive(Clone, Copy)]
#[repr(C)]
pub struct pointsman_body {
    /// Set by POINTSMAN_BODY_INIT.
    pub size: u32,
    /// What kind of request it is.
    pub kind: pointsman_body_kind,
    /// 1 if the answer is to be streamed, else 0.
    pub stream: u32,
    /// Most tokens to be generated for all answers together; POINTSMAN_UNKNOWN if the body does not say.
    pub max_tokens: u32,
    /// 1 if a prompt was found that can be read, else 0: the fingerprint is empty then.
    pub has_prompt: u32,
    /// 0.
    pub reserved: u32,
}

sized!(pointsman_body.reserved);

/// Fingerprints a prompt that arrives in pieces. Used by one thread at a time, for one prompt after
/// another.
///
/// Lifetime: from pointsman_fingerprinter_new to pointsman_fingerprinter_free; keeps what it needs of
/// the router alive, so the order of freeing does not matter.
#[allow(non_camel_case_types)]
pub struct pointsman_fingerprinter {
    magic: u64,
    /// Borrows `hashes` and the router's key: declared before them, so it is dropped first.
    prompt: Option<OpenPrompt>,
    body: Option<pointsman_body>,
    hashes: Box<[u64]>,
    router: Router,
}

/// A prompt that is begun and not finished. Its lifetimes are those of its [`pointsman_fingerprinter`].
// There is one at a time, on the heap already: boxing the larger one would save nothing.
#[allow(clippy::large_enum_variant)]
enum OpenPrompt {
    Plain { unit: Unit, namespace: u64, printer: Fingerprinter<'static, 'static> },
    Body(BodyReader<'static, 'static>),
}

handle!(pointsman_fingerprinter, b"PMfinger");

export! {
    /// Fingerprints a request's prompt into hashes, as many blocks as capacity has room for: 4,096
    /// cover 512 KiB of text with the default block size. The result borrows hashes, which may be
    /// overwritten in any case. A request with POINTSMAN_PROMPT_FINGERPRINT then routes like this one.
    ///
    /// Errors: POINTSMAN_INVALID_ARGUMENT, POINTSMAN_BAD_FINGERPRINT, POINTSMAN_BAD_BODY.
    fn pointsman_fingerprint_request(
        router: *const pointsman_router,
        request: *const pointsman_request,
        hashes: *mut u64,
        capacity: usize,
        fingerprint: *mut pointsman_fingerprint,
    ) -> pointsman_status => fingerprint_request(
        handle(router),
        asked[request],
        slice_mut(hashes, capacity),
        output(fingerprint)
    );

    /// Makes a fingerprinter with room for capacity hashes of 8 bytes each, at most 16,777,216: one for
    /// each block of a prompt, of which tree.block_bytes bytes of text (128 by default), or a quarter as
    /// many tokens, make one. Of a longer prompt the rest is counted and not hashed; with a capacity of 0
    /// only its length is known.
    ///
    /// Errors: POINTSMAN_INVALID_ARGUMENT.
    fn pointsman_fingerprinter_new(
        router: *const pointsman_router,
        capacity: usize,
        fingerprinter: *mut *mut pointsman_fingerprinter,
    ) -> pointsman_status => new(handle(router), capacity, out(fingerprinter));

    /// Frees a fingerprinter and its last result; NULL is allowed.
    fn pointsman_fingerprinter_free(fingerprinter: *mut pointsman_fingerprinter) => free(taken(fingerprinter));

    /// Begins a prompt: POINTSMAN_PROMPT_TEXT, POINTSMAN_PROMPT_TOKENS or POINTSMAN_PROMPT_JSON, in
    /// this namespace (NULL: none, or the one that the JSON body forms). Forgets a prompt that was
    /// begun before and not finished. The result of the last one becomes invalid.
    ///
    /// Errors: POINTSMAN_INVALID_ARGUMENT.
    fn pointsman_fingerprinter_begin(
        fingerprinter: *mut pointsman_fingerprinter,
        prompt_kind: pointsman_prompt_kind,
        cache_namespace: *const c_char,
        cache_namespace_length: usize,
    ) -> pointsman_status => begin(
        exclusive(fingerprinter),
        prompt_kind,
        optional_text(cache_namespace, cache_namespace_length)
    );

    /// Adds the next piece: bytes, or tokens (uint32_t, length counts tokens), as begun. How the
    /// prompt is cut makes no difference.
    ///
    /// Errors: POINTSMAN_INVALID_ARGUMENT, also if no prompt is begun; POINTSMAN_BAD_BODY, now and until
    /// the next begin.
    fn pointsman_fingerprinter_push(
        fingerprinter: *mut pointsman_fingerprinter,
        piece: *const c_void,
        length: usize,
    ) -> pointsman_status => push(exclusive(fingerprinter), any_form(piece, length));

    /// Ends the prompt. The result borrows the fingerprinter's memory until the next begin.
    ///
    /// A body without a prompt that can be read has a fingerprint without hashes, which is routed like
    /// POINTSMAN_PROMPT_NONE.
    ///
    /// Errors: POINTSMAN_INVALID_ARGUMENT, also if no prompt is begun; POINTSMAN_BAD_BODY.
    fn pointsman_fingerprinter_finish(
        fingerprinter: *mut pointsman_fingerprinter,
        fingerprint: *mut pointsman_fingerprint,
    ) -> pointsman_status => finish(exclusive(fingerprinter), output(fingerprint));

    /// Reads what the JSON body that was finished last says besides its prompt.
    ///
    /// Errors: POINTSMAN_INVALID_ARGUMENT; POINTSMAN_NOT_FOUND if the last prompt was no JSON body or
    /// is not finished.
    fn pointsman_fingerprinter_body(
        fingerprinter: *const pointsman_fingerprinter,
        body: *mut pointsman_body,
    ) -> pointsman_status => tell_body(handle(fingerprinter), output(body));
}

fn fingerprint_request(
    router: &pointsman_router,
    asked: Asked<'_>,
    hashes: &mut [u64],
    output: Output<pointsman_fingerprint>,
) -> Result<(), Failure> {
    output.write(raw_of(&router.router.fingerprint(asked.request, hashes)?));
    Ok(())
}

fn new(
    router: &pointsman_router,
    capacity: usize,
    out: Out<*mut pointsman_fingerprinter>,
) -> Result<(), Failure> {
    if capacity > 1 << 24 {
        return Err(Failure::argument("capacity", "is more than 16,777,216 hashes"));
    }
    out.write(hand_out(pointsman_fingerprinter {
        magic: pointsman_fingerprinter::MAGIC,
        prompt: None,
        body: None,
        hashes: vec![0; capacity].into_boxed_slice(),
        router: router.router.clone(),
    }));
    Ok(())
}

fn free(fingerprinter: Box<pointsman_fingerprinter>) -> Result<(), Failure> {
    drop(fingerprinter);
    Ok(())
}

fn begin(
    this: &mut pointsman_fingerprinter,
    prompt_kind: pointsman_prompt_kind,
    namespace: Option<&str>,
) -> Result<(), Failure> {
    let unit = match prompt_kind {
        request::POINTSMAN_PROMPT_TEXT => Some(Unit::Text),
        request::POINTSMAN_PROMPT_TOKENS => Some(Unit::Tokens),
        request::POINTSMAN_PROMPT_JSON => None,
        _ => return Err(Failure::argument("prompt_kind", "is neither text, tokens nor JSON")),
    };
    (this.prompt, this.body) = (None, None);
    // SAFETY: what is borrowed here stays where it is while `prompt` lives, which is dropped or taken
    // before either changes: the router's clone holds the key in an `Arc`, the hashes are boxed.
    let (router, hashes) = unsafe {
        (
            &*std::ptr::from_ref(&this.router),
            std::slice::from_raw_parts_mut(this.hashes.as_mut_ptr(), this.hashes.len()),
        )
    };
    this.prompt = Some(match unit {
        Some(unit) => OpenPrompt::Plain {
            unit,
            namespace: namespace.map_or(0, |text| router.namespace_digest(text)),
            printer: Fingerprinter::new(router.hash_key(), unit, router.block_size(), hashes),
        },
        None => OpenPrompt::Body(router.body_reader(namespace, hashes)),
    });
    Ok(())
}

fn not_begun() -> Failure {
    Failure::argument("fingerprinter", "has no prompt begun")
}

/// A piece of a prompt, in the form that the prompt was begun in.
struct Piece {
    pointer: *const c_void,
    length: usize,
    name: &'static str,
}

/// # Safety
/// `pointer` is NULL or valid for `length` bytes or tokens, as the prompt was begun, until the call
/// ends.
unsafe fn any_form(
    pointer: *const c_void,
    length: usize,
    name: &'static str,
) -> Result<Piece, Failure> {
    Ok(Piece { pointer, length, name })
}

impl Piece {
    fn tokens(&self) -> Result<&[u32], Failure> {
        // SAFETY: the promise given to `any_form`; only asked for where tokens were begun.
        unsafe { argument::slice(self.pointer.cast(), self.length, self.name) }
    }

    fn bytes(&self) -> Result<&[u8], Failure> {
        // SAFETY: the promise given to `any_form`; only asked for where bytes were begun.
        unsafe { argument::bytes(self.pointer.cast(), self.length, self.name) }
    }
}

fn push(this: &mut pointsman_fingerprinter, piece: Piece) -> Result<(), Failure> {
    match this.prompt.as_mut().ok_or_else(not_begun)? {
        OpenPrompt::Plain { unit: Unit::Tokens, printer, .. } => {
            printer.push_tokens(piece.tokens()?)
        }
        OpenPrompt::Plain { printer, .. } => printer.push(piece.bytes()?),
        OpenPrompt::Body(reader) => reader.push(piece.bytes()?)?,
    }
    Ok(())
}

fn finish(
    this: &mut pointsman_fingerprinter,
    output: Output<pointsman_fingerprint>,
) -> Result<(), Failure> {
    match this.prompt.take().ok_or_else(not_begun)? {
        OpenPrompt::Plain { namespace, printer, .. } => {
            output.write(raw_of(&printer.finish(namespace, 0)));
        }
        OpenPrompt::Body(reader) => {
            let read = reader.finish()?;
            let router = &this.router;
            let empty =
                || Fingerprinter::new(router.hash_key(), Unit::Text, router.block_size(), &mut []);
            output.write(raw_of(&read.fingerprint.unwrap_or_else(|| empty().finish(0, 0))));
            this.body = Some(body_of(&read));
        }
    }
    Ok(())
}

fn body_of(read: &BodyFingerprint<'_>) -> pointsman_body {
    pointsman_body {
        size: size_of::<pointsman_body>() as u32,
        kind: match read.kind {
            BodyKind::Chat => POINTSMAN_BODY_CHAT,
            BodyKind::Completion => POINTSMAN_BODY_COMPLETION,
            BodyKind::Responses => POINTSMAN_BODY_RESPONSES,
            BodyKind::Generate => POINTSMAN_BODY_GENERATE,
            _ => POINTSMAN_BODY_NONE,
        },
        stream: read.stream.into(),
        max_tokens: read.most_output_tokens().unwrap_or(POINTSMAN_UNKNOWN),
        has_prompt: read.fingerprint.is_some().into(),
        reserved: 0,
    }
}

fn tell_body(
    this: &pointsman_fingerprinter,
    output: Output<pointsman_body>,
) -> Result<(), Failure> {
    output.write(this.body.ok_or(Failure::NoJsonBody)?);
    Ok(())
}
