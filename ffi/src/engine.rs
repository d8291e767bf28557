//! What a worker's engine says about its KV cache.

use std::ffi::c_void;

use pointsman_core::engine::{CacheMeter, Fed, KvEvent, KvStream, Loads, Message, Source};

use crate::argument::{Out, Output, memory, optional_output, out};
use crate::callback::Callback;
use crate::failure::Failure;
use crate::handle::{Handle, exclusive_outside, hand_out, optional_handle, taken_outside};
use crate::kv_event::{event_of, pointsman_kv_callback};
use crate::router::pointsman_router;
use crate::special::POINTSMAN_UNKNOWN64;
use crate::status::pointsman_status;
use crate::worker::id;

/// Which of an engine's sockets a message came from: one of the POINTSMAN_SOURCE_ constants.
#[allow(non_camel_case_types)]
pub type pointsman_source = u32;

/// The one that it publishes on.
pub const POINTSMAN_SOURCE_LIVE: pointsman_source = 0;
/// The one that answers what is asked for again.
pub const POINTSMAN_SOURCE_REPLAY: pointsman_source = 1;

/// What a message was: one of the POINTSMAN_MESSAGE_ constants.
#[allow(non_camel_case_types)]
pub type pointsman_message = u32;

/// Events, which were handed out.
pub const POINTSMAN_MESSAGE_EVENTS: pointsman_message = 0;
/// A message that came before, by a replay as a rule: nothing was handed out.
pub const POINTSMAN_MESSAGE_KNOWN: pointsman_message = 1;
/// The mark at the end of a replay.
pub const POINTSMAN_MESSAGE_END_OF_REPLAY: pointsman_message = 2;

/// What has become of a message, and what is known of the cache now.
#[allow(non_camel_case_types)]
#[derive(Clone, Copy)]
#[repr(C)]
pub struct pointsman_fed {
    /// Set by POINTSMAN_FED_INIT.
    pub size: u32,
    /// What the message was.
    pub message: pointsman_message,
    /// The data-parallel rank that it is of.
    pub rank: u32,
    /// Events that were handed out, not counting gaps and restarts.
    pub events: u32,
    /// Events of a name that this library does not know: passed over.
    pub unknown: u32,
    /// Events that could not be understood: passed over.
    pub refused: u32,
    /// The byte of the payload that shows what is wrong with the first of those; else
    /// POINTSMAN_UNKNOWN64.
    pub refused_at: u64,
    /// When the engine made the message, in seconds of its time of day.
    pub time: f64,
    /// Tokens that the cache holds, counting each copy; POINTSMAN_UNKNOWN64 after missed messages.
    pub held_tokens: u64,
    /// What it held when it last began to evict: its true capacity; POINTSMAN_UNKNOWN64 before.
    pub capacity_tokens: u64,
    /// Tokens that it has evicted since the engine was made.
    pub removed_tokens: u64,
}

sized!(pointsman_fed);

/// Hears one worker's engine: decodes what it says about its cache and its load. Has no socket: the host
/// fetches the bytes. Used by one thread at a time.
///
/// Lifetime: from pointsman_engine_new to pointsman_engine_free. It does not belong to a router.
#[allow(non_camel_case_types)]
pub struct pointsman_engine {
    magic: u64,
    stream: KvStream,
    meter: CacheMeter,
    pub(crate) loads: Loads,
    /// What events point to.
    hashes: Vec<u64>,
    tokens: Vec<u32>,
}

handle!(pointsman_engine, b"PMengine");

export! {
    /// Makes a worker's engine of which nothing has been heard.
    ///
    /// Errors: POINTSMAN_INVALID_ARGUMENT.
    fn pointsman_engine_new(engine: *mut *mut pointsman_engine) -> pointsman_status => new(out(engine));

    /// Frees an engine; NULL is allowed. Inside a callback it does nothing.
    fn pointsman_engine_free(engine: *mut pointsman_engine) => free(taken_outside(engine));

    /// Decodes a message of vLLM's or SGLang's KV events: the last two frames of what came from the ZeroMQ
    /// socket. Each event is handed to the callback (NULL: to none). With a router (NULL: without) the
    /// worker is believed what it says: how long it holds a prompt is decided by what it evicts, not by a
    /// capacity, and what was cleared or restarted is forgotten at once. fed may be NULL.
    ///
    /// Where messages are missing, POINTSMAN_KV_GAP comes before the events that follow; see
    /// pointsman_engine_gap for having them replayed.
    ///
    /// Errors: POINTSMAN_BAD_MESSAGE, nothing has changed then; POINTSMAN_INVALID_ARGUMENT;
    /// POINTSMAN_NOT_FOUND (the worker), the events have been handed out then; POINTSMAN_IN_CALLBACK.
    fn pointsman_engine_feed(
        engine: *mut pointsman_engine,
        router: *const pointsman_router,
        worker: u64,
        source: pointsman_source,
        sequence: *const c_void,
        sequence_length: usize,
        payload: *const c_void,
        payload_length: usize,
        callback: pointsman_kv_callback,
        user_data: *mut c_void,
        fed: *mut pointsman_fed,
    ) -> pointsman_status => feed(
        exclusive_outside(engine),
        optional_handle(router),
        worker,
        source,
        memory(sequence, sequence_length),
        memory(payload, payload_length),
        callback,
        user_data,
        optional_output(fed)
    );

    /// Says which messages are missing before this one, from the live socket: a replay is to be asked for
    /// from `from` on. Where none is missing, from and to are equal. To fill a gap, feed the replay's answers
    /// as POINTSMAN_SOURCE_REPLAY, and this message after them. If the message shows a restart, that is
    /// handed to the callback now.
    ///
    /// Errors: POINTSMAN_BAD_MESSAGE, POINTSMAN_INVALID_ARGUMENT, POINTSMAN_IN_CALLBACK.
    fn pointsman_engine_gap(
        engine: *mut pointsman_engine,
        sequence: *const c_void,
        sequence_length: usize,
        payload: *const c_void,
        payload_length: usize,
        callback: pointsman_kv_callback,
        user_data: *mut c_void,
        from: *mut u64,
        to: *mut u64,
    ) -> pointsman_status => gap(
        exclusive_outside(engine),
        memory(sequence, sequence_length),
        memory(payload, payload_length),
        callback,
        user_data,
        out(from),
        out(to)
    );

    /// Tells that the worker's engine is another process from here on, for hosts that see its connection
    /// break: nothing that it has said holds. A lower sequence tells the same by itself.
    ///
    /// Errors: POINTSMAN_INVALID_ARGUMENT, POINTSMAN_NOT_FOUND, POINTSMAN_IN_CALLBACK.
    fn pointsman_engine_restart(
        engine: *mut pointsman_engine,
        router: *const pointsman_router,
        worker: u64,
        callback: pointsman_kv_callback,
        user_data: *mut c_void,
    ) -> pointsman_status => restart(
        exclusive_outside(engine),
        optional_handle(router),
        worker,
        callback,
        user_data
    );
}

fn new(out: Out<*mut pointsman_engine>) -> Result<(), Failure> {
    out.write(hand_out(pointsman_engine {
        magic: pointsman_engine::MAGIC,
        stream: KvStream::new(),
        meter: CacheMeter::new(),
        loads: Loads::new(),
        hashes: Vec::new(),
        tokens: Vec::new(),
    }));
    Ok(())
}

fn free(engine: Box<pointsman_engine>) -> Result<(), Failure> {
    drop(engine);
    Ok(())
}

#[allow(clippy::too_many_arguments, reason = "as many as the function in C has")]
fn feed(
    engine: &mut pointsman_engine,
    router: Option<&pointsman_router>,
    worker: u64,
    source: pointsman_source,
    sequence: &[u8],
    payload: &[u8],
    callback: pointsman_kv_callback,
    user_data: *mut c_void,
    output: Option<Output<pointsman_fed>>,
) -> Result<(), Failure> {
    let source = match source {
        POINTSMAN_SOURCE_LIVE => Source::Live,
        POINTSMAN_SOURCE_REPLAY => Source::Replay,
        _ => {
            let problem = "is none of the POINTSMAN_SOURCE_ constants";
            return Err(Failure::argument("source", problem));
        }
    };
    let fed = engine.hear(callback, user_data, |stream, hear| {
        stream.feed(source, &[sequence, payload], hear)
    })?;
    if let Some(output) = output {
        output.write(fed_of(&fed, &engine.meter));
    }
    engine.report(router, worker)
}

fn gap(
    engine: &mut pointsman_engine,
    sequence: &[u8],
    payload: &[u8],
    callback: pointsman_kv_callback,
    user_data: *mut c_void,
    from: Out<u64>,
    to: Out<u64>,
) -> Result<(), Failure> {
    let gap = engine
        .hear(callback, user_data, |stream, hear| stream.gap_before(&[sequence, payload], hear))?;
    from.write(gap.map_or(0, |gap| gap.from));
    to.write(gap.map_or(0, |gap| gap.to));
    Ok(())
}

fn restart(
    engine: &mut pointsman_engine,
    router: Option<&pointsman_router>,
    worker: u64,
    callback: pointsman_kv_callback,
    user_data: *mut c_void,
) -> Result<(), Failure> {
    engine.hear(callback, user_data, |stream, hear| stream.restart(hear));
    engine.report(router, worker)
}

impl pointsman_engine {
    /// Has `read` hand its events to the meter and the callback.
    fn hear<T>(
        &mut self,
        callback: pointsman_kv_callback,
        user_data: *mut c_void,
        read: impl FnOnce(&mut KvStream, &mut dyn FnMut(KvEvent<'_>)) -> T,
    ) -> T {
        let callback = callback.map(|callback| Callback::new(callback, user_data));
        let (meter, hashes, tokens) = (&mut self.meter, &mut self.hashes, &mut self.tokens);
        read(&mut self.stream, &mut |event| {
            meter.hear(&event);
            if let Some(callback) = &callback {
                let raw = event_of(&event, hashes, tokens);
                // SAFETY: the host's function and data, and an event that lives as long as the call.
                callback.call(|function, user_data| unsafe { function(user_data, &raw) });
            }
        })
    }

    fn report(&mut self, router: Option<&pointsman_router>, worker: u64) -> Result<(), Failure> {
        let Some(router) = router else { return Ok(()) };
        Ok(router.router.report_cache(id(worker)?, &mut self.meter)?)
    }
}

fn fed_of(fed: &Fed, meter: &CacheMeter) -> pointsman_fed {
    pointsman_fed {
        size: size_of::<pointsman_fed>() as u32,
        message: match fed.message {
            Message::Known => POINTSMAN_MESSAGE_KNOWN,
            Message::EndOfReplay => POINTSMAN_MESSAGE_END_OF_REPLAY,
            _ => POINTSMAN_MESSAGE_EVENTS,
        },
        rank: fed.rank,
        events: fed.events,
        unknown: fed.unknown,
        refused: fed.refused,
        refused_at: fed.first_refusal.map_or(POINTSMAN_UNKNOWN64, |error| error.position as u64),
        time: fed.time,
        held_tokens: meter.held_tokens().unwrap_or(POINTSMAN_UNKNOWN64),
        capacity_tokens: meter.capacity_tokens().unwrap_or(POINTSMAN_UNKNOWN64),
        removed_tokens: meter.removed_tokens(),
    }
}
