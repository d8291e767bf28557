//! The HTTP filter: reads the prompt before the request is routed, and tells the router how it went.
//!
//! A request with a JSON body is held back until the body is there; the response passes piece by piece as it
//! comes.

// The hooks are called by Envoy alone, as its header says: with live pointers of its own and of this
// module's, one hook at a time per object, on the object's thread.
#![allow(clippy::missing_safety_doc)]

use std::ffi::c_void;
use std::rc::Rc;

use pointsman::body::BodyReader;

use crate::abi::{Buffer, EnvoyPtr, body, headers, level, status};
use crate::boundary::guard;
use crate::config::{FilterConfig, reader};
use crate::envoy::{self, Stream};
use crate::exchange::{Exchange, FILTER_STATE, State, with_room};
use crate::metrics::{Body, Metrics};
use crate::outcome::End;

/// Pieces of a response between two renewals of its ticket's deadline.
const RENEWAL: u32 = 256;

/// One filter's settings and metrics.
pub struct Filter {
    config: FilterConfig,
    pub(crate) metrics: Metrics,
}

/// Makes a filter's configuration; null refuses it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn envoy_dynamic_module_on_http_filter_config_new(
    config_envoy: EnvoyPtr,
    name: Buffer,
    config: Buffer,
) -> *const c_void {
    guard("filter_config_new", std::ptr::null(), || {
        // SAFETY: both are lent for this hook.
        let (name, json) = unsafe { (name.bytes(), config.bytes()) };
        let made = FilterConfig::read(name, json).and_then(|config| {
            // SAFETY: the pointer is this hook's.
            let metrics = unsafe { Metrics::define(config_envoy) }?;
            Ok(Box::into_raw(Box::new(Filter { config, metrics })))
        });
        made.map_or_else(
            |error| {
                envoy::refuse("filter_config", &error);
                std::ptr::null()
            },
            |filter| filter.cast_const().cast(),
        )
    })
}

/// Frees a filter's configuration.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn envoy_dynamic_module_on_http_filter_config_destroy(filter: *const c_void) {
    if !filter.is_null() {
        // SAFETY: made by `filter_config_new`; Envoy destroys it once, after the last of its streams.
        guard("filter_config_destroy", (), || unsafe {
            drop(Box::from_raw(filter.cast::<Filter>().cast_mut()));
        });
    }
}

/// Begins a stream.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn envoy_dynamic_module_on_http_filter_new(
    filter: *const c_void,
    stream: EnvoyPtr,
) -> *const c_void {
    guard("filter_new", std::ptr::null(), || {
        // SAFETY: Envoy keeps the configuration until every stream of it is destroyed, and the exchange
        // forgets the reference when its stream is.
        let filter = unsafe { &*filter.cast::<Filter>() };
        // SAFETY: as above, of the stream.
        let exchange = Exchange::open(unsafe { Stream::new(stream) }, filter);
        Rc::into_raw(exchange).cast()
    })
}

/// Ends a stream.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn envoy_dynamic_module_on_http_filter_destroy(exchange: *const c_void) {
    if !exchange.is_null() {
        // SAFETY: made by `filter_new`, which gave Envoy one count; Envoy gives it back once.
        guard("filter_destroy", (), || unsafe { Rc::from_raw(exchange.cast::<Exchange>()) }.end());
    }
}

/// Runs a hook of a stream.
fn on<T>(
    hook: &str,
    exchange: *const c_void,
    otherwise: T,
    run: impl FnOnce(&mut State, Stream, &Filter) -> T,
) -> T
where
    T: Copy,
{
    guard(hook, otherwise, || {
        // SAFETY: made by `filter_new` and not destroyed yet, on this thread.
        let exchange = unsafe { &*exchange.cast::<Exchange>() };
        exchange.with(|state| match state.owner {
            Some((stream, filter)) => run(state, stream, filter),
            None => otherwise,
        })
    })
}

/// The request's headers are there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn envoy_dynamic_module_on_http_filter_request_headers(
    _stream: EnvoyPtr,
    exchange: *const c_void,
    end: bool,
) -> u32 {
    on("request_headers", exchange, status::CONTINUE, |state, stream, filter| {
        if !stream.set_filter_state(FILTER_STATE, &state.id) {
            envoy::log(level::WARN, "the filter state cannot be set: routing by load only");
        }
        let key = filter.config.routing_key_header.as_deref();
        if let Some(value) = key.and_then(|key| stream.header(headers::REQUEST, key)) {
            state.routing_key.extend_from_slice(value);
        }
        let verdict = if end { Err(Body::None) } else { wanted(stream, &filter.config) };
        match verdict {
            Ok(()) => {
                state.reading = true;
                stream.raise_buffer_limit(filter.config.max_body_bytes);
                status::STOP_ITERATION
            }
            Err(body) => {
                filter.metrics.body(stream, body);
                status::CONTINUE
            }
        }
    })
}

/// Whether a body is worth holding the request back for: one that ends before an answer is expected, and
/// may hold a prompt.
fn wanted(stream: Stream, config: &FilterConfig) -> Result<(), Body> {
    let header = |key| stream.header(headers::REQUEST, key);
    let plain = header(":method") == Some(b"POST") && header("upgrade").is_none();
    if !plain || reader().is_none() {
        return Err(Body::None);
    }
    if !header("content-type").is_none_or(is_json) {
        return Err(Body::OtherType);
    }
    if header("content-encoding").is_some_and(|coding| !coding.eq_ignore_ascii_case(b"identity")) {
        return Err(Body::Compressed);
    }
    let length = stream.header(headers::REQUEST, "content-length").and_then(number);
    if length.is_some_and(|length| length > config.max_body_bytes) {
        return Err(Body::TooLong);
    }
    Ok(())
}

/// Whether a media type is one JSON document: not a stream of them, nor of messages.
fn is_json(kind: &[u8]) -> bool {
    let has =
        |part: &[u8]| kind.windows(part.len()).any(|window| window.eq_ignore_ascii_case(part));
    has(b"json") && !has(b"ndjson") && !has(b"jsonl") && !has(b"json-seq") && !has(b"grpc")
}

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.trim().parse().ok()
}

/// A piece of the request's body is there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn envoy_dynamic_module_on_http_filter_request_body(
    _stream: EnvoyPtr,
    exchange: *const c_void,
    end: bool,
) -> u32 {
    on("request_body", exchange, status::CONTINUE, |state, stream, filter| {
        if !state.reading {
            return status::CONTINUE;
        }
        let again = stream.received_is_buffered();
        let held = if again { 0 } else { stream.body_size(body::BUFFERED_REQUEST) };
        let size = held + stream.body_size(body::RECEIVED_REQUEST);
        if size as u64 > filter.config.max_body_bytes {
            state.reading = false;
            // What was held back goes through Envoy's buffer once more on its way; beyond its limit Envoy
            // would refuse the request.
            stream.raise_buffer_limit(size as u64 + 1);
            filter.metrics.body(stream, Body::TooLong);
            return status::CONTINUE;
        }
        if !end {
            return status::STOP_ITERATION_AND_BUFFER;
        }
        let bodies = [body::BUFFERED_REQUEST, body::RECEIVED_REQUEST];
        read(state, stream, filter, if again { &bodies[1..] } else { &bodies });
        status::CONTINUE
    })
}

/// The request has ended with trailers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn envoy_dynamic_module_on_http_filter_request_trailers(
    _stream: EnvoyPtr,
    exchange: *const c_void,
) -> u32 {
    on("request_trailers", exchange, status::CONTINUE, |state, stream, filter| {
        if state.reading {
            read(state, stream, filter, &[body::BUFFERED_REQUEST]);
        }
        status::CONTINUE
    })
}

/// Reads the whole body, each byte once. O(its length), on Envoy's thread.
fn read(state: &mut State, stream: Stream, filter: &Filter, bodies: &[u32]) {
    state.reading = false;
    let Some(router) = reader() else { return };
    let outcome = with_room(|blocks, pieces| {
        let mut reader: BodyReader<'_, '_> = router.body_reader(None, blocks);
        for &body in bodies {
            // What is wrong with a piece is told again at the end.
            stream.each_chunk(body, pieces, |piece| {
                let _ = reader.push(piece);
            });
        }
        let Ok(print) = reader.finish() else { return Body::Malformed };
        state.max_tokens = print.most_output_tokens();
        match print.fingerprint {
            Some(fingerprint) => {
                state.keep(&fingerprint);
                Body::Read
            }
            None => Body::NoPrompt,
        }
    });
    filter.metrics.body(stream, outcome);
}

/// The response's headers are there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn envoy_dynamic_module_on_http_filter_response_headers(
    _stream: EnvoyPtr,
    exchange: *const c_void,
    end: bool,
) -> u32 {
    on("response_headers", exchange, status::CONTINUE, |state, stream, filter| {
        let told = |key| stream.header(headers::RESPONSE, key).and_then(number);
        state.status = told(":status").and_then(|code| code.try_into().ok()).unwrap_or(0);
        state.retry_after = told("retry-after");
        state.finished |= end;
        if filter.config.response_headers
            && let Some(chosen) = &state.chosen
        {
            let set = |key, value: &[u8]| stream.set_header(headers::RESPONSE, key, value);
            set("x-pointsman-worker", chosen.address.as_bytes());
            set("x-pointsman-reason", chosen.reason.as_str().as_bytes());
            set("x-pointsman-matched", chosen.matched.to_string().as_bytes());
        }
        status::CONTINUE
    })
}

/// A piece of the response's body is there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn envoy_dynamic_module_on_http_filter_response_body(
    _stream: EnvoyPtr,
    exchange: *const c_void,
    end: bool,
) -> u32 {
    on("response_body", exchange, status::CONTINUE, |state, stream, filter| {
        state.finished |= end;
        if state.local || stream.body_size(body::RECEIVED_RESPONSE) == 0 {
            return status::CONTINUE;
        }
        let Some(attempt) = &state.attempt else { return status::CONTINUE };
        let router = &attempt.pool.router;
        if state.pieces == 0 && state.status < 400 {
            // Fails where the ticket is closed: it expired, or its worker is gone.
            let _ = router.first_token(attempt.ticket, None);
            filter
                .metrics
                .first_token(stream, router.now().as_nanos().saturating_sub(attempt.since));
        } else if state.pieces % RENEWAL == RENEWAL - 1 {
            let _ = router.progress(attempt.ticket);
        }
        state.pieces = state.pieces.wrapping_add(1).max(1);
        if filter.config.read_usage {
            with_room(|_, pieces| {
                stream.each_chunk(body::RECEIVED_RESPONSE, pieces, |piece| state.usage.push(piece));
            });
        }
        status::CONTINUE
    })
}

/// The response has ended with trailers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn envoy_dynamic_module_on_http_filter_response_trailers(
    _stream: EnvoyPtr,
    exchange: *const c_void,
) -> u32 {
    on("response_trailers", exchange, status::CONTINUE, |state, _, _| {
        state.finished = true;
        status::CONTINUE
    })
}

/// Envoy answers by itself.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn envoy_dynamic_module_on_http_filter_local_reply(
    _stream: EnvoyPtr,
    exchange: *const c_void,
    _code: u32,
    _details: Buffer,
    _reset: bool,
) -> u32 {
    on("local_reply", exchange, status::CONTINUE, |state, _, _| {
        state.local = true;
        status::CONTINUE
    })
}

/// The stream is over, whatever the way.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn envoy_dynamic_module_on_http_filter_stream_complete(
    _stream: EnvoyPtr,
    exchange: *const c_void,
) {
    on("stream_complete", exchange, (), |state, stream, _| {
        let State { status, retry_after, local, finished, .. } = *state;
        let end = End { status, retry_after, local, finished, details: stream.details() };
        let usage = state.usage.usage();
        state.close(end.outcome(), usage);
    });
}
