//! What a worker's engine says about its load.

use std::ffi::c_void;

use pointsman_core::engine::EngineLoad;

use crate::argument::{Output, memory, optional_output};
use crate::engine::pointsman_engine;
use crate::failure::Failure;
use crate::handle::{exclusive_outside, optional_handle};
use crate::router::pointsman_router;
use crate::special::{POINTSMAN_NONE, POINTSMAN_UNKNOWN, POINTSMAN_UNKNOWN64, known};
use crate::status::pointsman_status;
use crate::worker::id;

/// What a load is read from: one of the POINTSMAN_LOAD_FROM_ constants.
#[allow(non_camel_case_types)]
pub type pointsman_load_source = u32;

/// The text of `/metrics`: of vLLM, SGLang, TensorRT-LLM's own server, or Triton.
pub const POINTSMAN_LOAD_FROM_METRICS: pointsman_load_source = 0;
/// The value of an answer's header `endpoint-load-metrics` (ORCA), of vLLM or Triton. It lacks what is
/// running: the host adds that.
pub const POINTSMAN_LOAD_FROM_ORCA: pointsman_load_source = 1;
/// The answer of SGLang's `/v1/loads`.
pub const POINTSMAN_LOAD_FROM_LISTING: pointsman_load_source = 2;

/// What an engine says about its load. What it does not say is not known, never 0.
#[allow(non_camel_case_types)]
#[derive(Clone, Copy)]
#[repr(C)]
pub struct pointsman_engine_load {
    /// Set by POINTSMAN_ENGINE_LOAD_INIT.
    pub size: u32,
    /// Requests that it is running; POINTSMAN_UNKNOWN if that is not known.
    pub running: u32,
    /// Requests in its queue; POINTSMAN_UNKNOWN if that is not known.
    pub waiting: u32,
    /// Data-parallel ranks that the text tells of.
    pub ranks: u32,
    /// The part of its KV cache that is in use, from 0 to 1; below 0 if that is not known.
    pub kv_usage: f64,
    /// The part of prompts' tokens that it finds in its cache, from 0 to 1; below 0 if that is not known.
    pub hit_rate: f64,
    /// KV cache tokens in use; POINTSMAN_UNKNOWN64 if that is not known.
    pub kv_used_tokens: u64,
    /// KV cache tokens in all; POINTSMAN_UNKNOWN64 if that is not known.
    pub kv_total_tokens: u64,
    /// Tokens of prompts that it has looked for in its cache; POINTSMAN_UNKNOWN64 if that is not known.
    pub queried_tokens: u64,
    /// Those that it found; POINTSMAN_UNKNOWN64 if that is not known.
    pub hit_tokens: u64,
    /// 1 if the router got it as a report, else 0.
    pub reported: u32,
    /// 0.
    pub reserved: u32,
}

sized!(pointsman_engine_load.reserved);

export! {
    /// Reads a worker's load from what its engine answers. With a router (NULL: without) it is stored as the
    /// worker's report, if requests running and waiting are known: a worker without a report is not one
    /// without load. load may be NULL.
    ///
    /// rank is a data-parallel rank, or POINTSMAN_NONE for all together, where a number that one of them
    /// does not tell is not known. running is what the host counts itself, for texts that lack it;
    /// POINTSMAN_UNKNOWN: it does not.
    ///
    /// Errors: POINTSMAN_BAD_MESSAGE; POINTSMAN_INVALID_ARGUMENT; POINTSMAN_NOT_FOUND (the worker);
    /// POINTSMAN_IN_CALLBACK.
    fn pointsman_engine_read_load(
        engine: *mut pointsman_engine,
        router: *const pointsman_router,
        worker: u64,
        source: pointsman_load_source,
        text: *const c_void,
        length: usize,
        rank: u32,
        running: u32,
        load: *mut pointsman_engine_load,
    ) -> pointsman_status => read_load(
        exclusive_outside(engine),
        optional_handle(router),
        worker,
        source,
        memory(text, length),
        rank,
        running,
        optional_output(load)
    );
}

#[allow(clippy::too_many_arguments, reason = "as many as the function in C has")]
fn read_load(
    engine: &mut pointsman_engine,
    router: Option<&pointsman_router>,
    worker: u64,
    source: pointsman_load_source,
    text: &[u8],
    rank: u32,
    running: u32,
    output: Option<Output<pointsman_engine_load>>,
) -> Result<(), Failure> {
    let loads = &mut engine.loads;
    match source {
        POINTSMAN_LOAD_FROM_METRICS => loads.read_metrics(text)?,
        POINTSMAN_LOAD_FROM_ORCA => loads.read_orca(text)?,
        POINTSMAN_LOAD_FROM_LISTING => loads.read_listing(text)?,
        _ => {
            let problem = "is none of the POINTSMAN_LOAD_FROM_ constants";
            return Err(Failure::argument("source", problem));
        }
    }
    let mut load = if rank == POINTSMAN_NONE {
        loads.sum()
    } else {
        loads.ranks().find(|(known, _)| *known == rank).map(|(_, load)| load).unwrap_or_default()
    };
    load.running = load.running.or(known(running));
    let report = router.zip(load.report());
    if let Some((router, report)) = report {
        router.router.report_load(id(worker)?, report)?;
    }
    if let Some(output) = output {
        output.write(raw_of(&load, loads.ranks().count() as u32, report.is_some()));
    }
    Ok(())
}

fn raw_of(load: &EngineLoad, ranks: u32, is_reported: bool) -> pointsman_engine_load {
    let known = |number: Option<u64>| number.unwrap_or(POINTSMAN_UNKNOWN64);
    pointsman_engine_load {
        size: size_of::<pointsman_engine_load>() as u32,
        running: load.running.unwrap_or(POINTSMAN_UNKNOWN),
        waiting: load.waiting.unwrap_or(POINTSMAN_UNKNOWN),
        ranks,
        kv_usage: load.kv_usage.unwrap_or(-1.0),
        hit_rate: load.hit_rate.unwrap_or(-1.0),
        kv_used_tokens: known(load.kv_used_tokens),
        kv_total_tokens: known(load.kv_total_tokens),
        queried_tokens: known(load.queried_tokens),
        hit_tokens: known(load.hit_tokens),
        reported: is_reported.into(),
        reserved: 0,
    }
}
