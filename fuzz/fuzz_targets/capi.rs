//! The C interface with arbitrary bytes as structs: every call ends in a status, none in a panic or a
//! read beyond what the caller promised.
//!
//! A caller promises that pointers are NULL or valid for the length given, and that a struct is as long
//! as its first field says. The rest, sizes, lengths beside NULL, kinds, flags, numbers and text, is
//! whatever the input has. Structs and buffers lie on the heap, each as long as promised, so that
//! AddressSanitizer sees a byte too many.
#![no_main]

#[path = "../support/memory.rs"]
mod memory;

use std::ffi::{c_char, c_void};
use std::ptr::{null, null_mut};

use arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use memory::{Memory, NUL_TERMINATED};
use pointsman_capi::{
    builder::*, engine::*, engine_load::*, errors::*, fingerprint::*, fingerprinter::*,
    kv_event::*, label::*, listing::*, log::*, metrics::*,
    outcome::*, policy::*, reason::*, request::*, route::*, router::*, selection::*, status::*,
    version::*, worker::*,
};

fuzz_target!(|input: &[u8]| {
    let mut input = Unstructured::new(input);
    let Ok(mut host) = Host::new(&mut input) else { return };
    while !input.is_empty() && host.call(&mut input).is_ok() {}
    host.end();
});

/// What a host holds of the library.
struct Host {
    router: *mut pointsman_router,
    fingerprinter: *mut pointsman_fingerprinter,
    engine: *mut pointsman_engine,
    workers: Vec<u64>,
    tickets: Vec<u64>,
    added: u8,
}

/// No call may panic.
fn checked(status: pointsman_status) -> pointsman_status {
    assert!((0..=POINTSMAN_BAD_MESSAGE).contains(&status) && status != POINTSMAN_INTERNAL, "{status}");
    status
}

macro_rules! call {
    // SAFETY: every pointer comes from `Memory`, a handle from the library.
    ($function:ident($($argument:expr),* $(,)?)) => { checked(unsafe { $function($($argument),*) }) };
}

impl Host {
    fn new(input: &mut Unstructured<'_>) -> Result<Host> {
        let mut memory = Memory::default();
        let mut builder = null_mut();
        assert_eq!(call!(pointsman_builder_new(&mut builder)), POINTSMAN_OK);
        let (text, length) = memory.text(input)?;
        call!(pointsman_builder_set_config(builder, text, length));
        let policy = memory.structure::<pointsman_policy>(input, |policy, _, input| {
            policy.user_data = null_mut();
            policy.select = input.arbitrary::<bool>()?.then_some(select as _);
            policy.on_event = input.arbitrary::<bool>()?.then_some(on_event as _);
            policy.create = None;
            policy.destroy = None;
            policy.release = None;
            Ok(())
        })?;
        call!(pointsman_builder_add_policy(builder, c"own".as_ptr(), 3, policy));
        let names =
            [c"own", c"random", c"round_robin", c"power_of_two", c"least_work", c"threshold"];
        call!(pointsman_builder_set_policy(
            builder,
            input.choose(&names)?.as_ptr(),
            NUL_TERMINATED
        ));
        let (key, length) = memory.bytes(input)?;
        call!(pointsman_builder_set_hash_key(builder, key.cast(), length));
        call!(pointsman_builder_set_seed(builder, input.arbitrary()?));
        call!(pointsman_builder_set_log(builder, input.arbitrary()?, Some(log), null_mut()));
        let every = u32::from(input.arbitrary::<u8>()?);
        call!(pointsman_builder_set_decision_log(builder, every, Some(decided), null_mut()));
        // Last, so that no document asks for more memory than an input may take.
        call!(pointsman_builder_set_tree_budget(builder, input.int_in_range(0..=150_000)?));
        let limits = [input.int_in_range(1..=1030)?, input.int_in_range(1..=200)?];
        call!(pointsman_builder_set_limits(builder, limits[0], limits[1]));
        let mut router = null_mut();
        if call!(pointsman_builder_build(builder, &mut router)) != POINTSMAN_OK {
            assert_eq!(call!(pointsman_router_new(null(), 0, &mut router)), POINTSMAN_OK);
        }
        // SAFETY: made above, not used again.
        unsafe { pointsman_builder_free(builder) };
        let mut fingerprinter = null_mut();
        call!(pointsman_fingerprinter_new(router, input.int_in_range(0..=64)?, &mut fingerprinter));
        let mut engine = null_mut();
        call!(pointsman_engine_new(&mut engine));
        Ok(Host { router, fingerprinter, engine, workers: Vec::new(), tickets: Vec::new(), added: 0 })
    }

    /// One call, chosen by the input.
    fn call(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let mut memory = Memory::default();
        match input.int_in_range(0..=6)? {
            0 => self.manage(input, &mut memory),
            1 => self.ask(input, &mut memory),
            2 => self.fingerprint(input, &mut memory),
            3 => self.configure(input, &mut memory),
            6 => self.hear(input, &mut memory),
            _ => self.route(input, &mut memory),
        }
    }

    fn worker(&self, input: &mut Unstructured<'_>) -> Result<u64> {
        if self.workers.is_empty() || input.ratio(1, 8)? {
            return input.arbitrary();
        }
        input.choose(&self.workers).copied()
    }

    fn ticket(&self, input: &mut Unstructured<'_>) -> Result<u64> {
        if self.tickets.is_empty() || input.ratio(1, 8)? {
            return input.arbitrary();
        }
        input.choose(&self.tickets).copied()
    }

    fn manage(&mut self, input: &mut Unstructured<'_>, memory: &mut Memory) -> Result<()> {
        let (router, worker, now) = (self.router, self.worker(input)?, time(input)?);
        match input.int_in_range(0..=8)? {
            0 | 1 => self.add(input, memory, now)?,
            2 => {
                call!(pointsman_worker_remove(router, worker, now));
            }
            3 => {
                if input.arbitrary()? {
                    call!(pointsman_worker_drain(router, worker));
                } else {
                    call!(pointsman_worker_resume(router, worker));
                }
                call!(pointsman_worker_slot(router, worker, memory.output::<u32>(input)?));
            }
            4 => {
                call!(pointsman_worker_set_weight(router, worker, input.arbitrary()?));
            }
            5 => {
                let most = input.int_in_range(0..=3)?;
                call!(pointsman_worker_set_max_in_flight(router, worker, most));
            }
            6 => {
                call!(pointsman_worker_set_health(router, worker, input.int_in_range(0..=4)?));
            }
            7 => {
                let load = memory.structure::<pointsman_load>(input, |_, _, _| Ok(()))?;
                call!(pointsman_worker_report_load(router, worker, load));
            }
            _ => {
                call!(pointsman_router_tick(router, now));
            }
        }
        Ok(())
    }

    /// A worker with anything in its description, or a plain one, so that there are some.
    fn add(&mut self, input: &mut Unstructured<'_>, memory: &mut Memory, now: u64) -> Result<()> {
        let plain = input.arbitrary::<bool>()?;
        self.added = self.added.wrapping_add(1);
        let url = [b'a' + self.added / 16, b'a' + self.added % 16];
        let spec = memory.structure::<pointsman_worker_spec>(input, |spec, memory, input| {
            spec.role %= 4;
            (spec.url, spec.url_length) =
                if plain { (memory.keep(&url).cast(), url.len()) } else { memory.text(input)? };
            (spec.group, spec.group_length) = memory.text(input)?;
            (spec.labels, spec.label_count) = labels(input, memory)?;
            if plain {
                spec.weight = 1.0;
                spec.max_in_flight = 0;
            }
            Ok(())
        })?;
        let mut worker = 0;
        if call!(pointsman_worker_add(self.router, spec, now, &mut worker)) == POINTSMAN_OK {
            assert_ne!(worker, 0);
            self.workers.push(worker);
        }
        Ok(())
    }

    fn route(&mut self, input: &mut Unstructured<'_>, memory: &mut Memory) -> Result<()> {
        let (router, ticket, now) = (self.router, self.ticket(input)?, time(input)?);
        match input.int_in_range(0..=7)? {
            0..=2 => {
                let request = self.request(input, memory)?;
                let selection = memory.output::<pointsman_selection>(input)?;
                if call!(pointsman_select(router, request, selection)) == POINTSMAN_OK {
                    self.took(memory, selection);
                }
            }
            3 => {
                let request = self.request(input, memory)?;
                let prefill = memory.output::<pointsman_selection>(input)?;
                let decode = memory.output::<pointsman_selection>(input)?;
                if call!(pointsman_select_pair(router, request, prefill, decode)) == POINTSMAN_OK {
                    self.took(memory, decode);
                }
            }
            4 => {
                call!(pointsman_first_token(router, ticket, input.arbitrary()?, now));
            }
            5 => {
                call!(pointsman_progress(router, ticket, now));
            }
            _ => {
                let completion =
                    memory.structure::<pointsman_completion>(input, |completion, _, _| {
                        completion.outcome %= 8;
                        Ok(())
                    })?;
                call!(pointsman_complete(router, ticket, completion));
            }
        }
        Ok(())
    }

    fn took(&mut self, memory: &Memory, selection: *const pointsman_selection) {
        let selection = memory.read(selection);
        assert!(self.workers.contains(&selection.worker));
        self.tickets.push(selection.ticket);
    }

    fn request(
        &self,
        input: &mut Unstructured<'_>,
        memory: &mut Memory,
    ) -> Result<*const pointsman_request> {
        memory.structure(input, |request: &mut pointsman_request, memory, input| {
            request.prompt_kind %= 6;
            (request.prompt, request.prompt_length) = match request.prompt_kind {
                POINTSMAN_PROMPT_TOKENS => {
                    let (words, count) = memory.words(input)?;
                    (words.cast(), count.saturating_mul(2))
                }
                POINTSMAN_PROMPT_FINGERPRINT => (fingerprint(input, memory)?.cast(), 0),
                _ => memory.bytes(input)?,
            };
            (request.cache_namespace, request.cache_namespace_length) = memory.text(input)?;
            (request.routing_key, request.routing_key_length) = memory.bytes(input)?;
            (request.excluded, request.excluded_count) = self.ids(input, memory)?;
            (request.allowed, request.allowed_count) = self.ids(input, memory)?;
            (request.allowed_words, request.allowed_words_count) = memory.words(input)?;
            let (labels, count) = labels(input, memory)?;
            (request.labels, request.label_count) = (labels, count as usize);
            Ok(())
        })
    }

    fn ids(
        &self,
        input: &mut Unstructured<'_>,
        memory: &mut Memory,
    ) -> Result<(*const u64, usize)> {
        if self.workers.is_empty() || input.arbitrary()? {
            return memory.words(input);
        }
        let worker = *input.choose(&self.workers)?;
        Ok((memory.keep(&worker.to_ne_bytes()).cast(), 1))
    }

    fn ask(&mut self, input: &mut Unstructured<'_>, memory: &mut Memory) -> Result<()> {
        let (router, worker, now) = (self.router, self.worker(input)?, time(input)?);
        let (buffer, capacity) = memory.buffer(input)?;
        let mut length = 0;
        match input.int_in_range(0..=6)? {
            0 => {
                let (url, url_length) = memory.text(input)?;
                call!(pointsman_worker_find(router, url, url_length, &mut 0));
            }
            1 => {
                call!(pointsman_worker_url(router, worker, buffer.cast(), capacity, &mut length));
            }
            2 => {
                let info = memory.output::<pointsman_worker_info>(input)?;
                call!(pointsman_worker_describe(router, worker, now, info));
            }
            3 => {
                call!(pointsman_workers(router, buffer.cast(), capacity / 8, &mut length));
            }
            4 => {
                let metrics = memory.output::<pointsman_metrics>(input)?;
                call!(pointsman_router_metrics(router, now, metrics));
            }
            5 => {
                call!(pointsman_router_prometheus(
                    router,
                    now,
                    buffer.cast(),
                    capacity,
                    &mut length
                ));
            }
            _ => {
                let selection = memory.structure::<pointsman_selection>(input, |_, _, _| Ok(()))?;
                call!(pointsman_selection_print(
                    router,
                    selection,
                    buffer.cast(),
                    capacity,
                    &mut length
                ));
            }
        }
        // SAFETY: these take any number, and the strings are static or the thread's own.
        unsafe {
            assert!(!pointsman_reason_string(input.arbitrary()?).is_null());
            assert!(!pointsman_outcome_string(input.arbitrary()?).is_null());
            assert!(!pointsman_status_string(input.arbitrary()?).is_null());
            assert!(std::ffi::CStr::from_ptr(pointsman_last_error()).to_bytes().len() < 1024);
            assert_eq!(pointsman_abi_version(), POINTSMAN_ABI_VERSION);
        }
        Ok(())
    }

    fn fingerprint(&mut self, input: &mut Unstructured<'_>, memory: &mut Memory) -> Result<()> {
        let printer = self.fingerprinter;
        let (bytes, length) = memory.bytes(input)?;
        let (hashes, capacity) = memory.buffer(input)?;
        let mut needed = 0;
        match input.int_in_range(0..=6)? {
            0 => {
                let request = self.request(input, memory)?;
                let print = memory.output::<pointsman_fingerprint>(input)?;
                let (hashes, capacity) = (hashes.cast(), capacity / 8);
                call!(pointsman_fingerprint_request(self.router, request, hashes, capacity, print));
            }
            1 => {
                let print = fingerprint(input, memory)?;
                call!(pointsman_fingerprint_encode(print, hashes, capacity, &mut needed));
            }
            2 => {
                let print = memory.output::<pointsman_fingerprint>(input)?;
                let length = if length == NUL_TERMINATED { 0 } else { length };
                let (hashes, capacity) = (hashes.cast(), capacity / 8);
                call!(pointsman_fingerprint_decode(bytes, length, hashes, capacity, print));
            }
            3 => {
                let (name, name_length) = memory.text(input)?;
                let kind = input.int_in_range(0..=5)?;
                call!(pointsman_fingerprinter_begin(printer, kind, name, name_length));
            }
            // As tokens, a quarter of the bytes.
            4 => {
                call!(pointsman_fingerprinter_push(printer, hashes, capacity / 4));
            }
            5 => {
                let print = memory.output::<pointsman_fingerprint>(input)?;
                call!(pointsman_fingerprinter_finish(printer, print));
            }
            _ => {
                let body = memory.output::<pointsman_body>(input)?;
                call!(pointsman_fingerprinter_body(printer, body));
            }
        }
        Ok(())
    }

    fn hear(&mut self, input: &mut Unstructured<'_>, memory: &mut Memory) -> Result<()> {
        let (engine, router) = (self.engine, if input.arbitrary()? { self.router } else { null_mut() });
        let worker = self.worker(input)?;
        let (text, length) = memory.bytes(input)?;
        let (payload, length) = (text.cast(), if length == NUL_TERMINATED { 0 } else { length });
        let sequence = input.arbitrary::<u8>()?;
        let sequence = u64::from(sequence).to_be_bytes();
        let sequence = sequence.as_ptr().cast();
        match input.int_in_range(0..=3)? {
            0 => {
                let fed = memory.output::<pointsman_fed>(input)?;
                let source = input.int_in_range(0..=2)?;
                let (heard, data) = (Some(heard as _), null_mut());
                call!(pointsman_engine_feed(
                    engine, router, worker, source, sequence, 8, payload, length, heard, data, fed
                ));
            }
            1 => {
                let (mut from, mut to) = (0, 0);
                let (from, to) = (&mut from, &mut to);
                call!(pointsman_engine_gap(
                    engine, sequence, 8, payload, length, Some(heard), null_mut(), from, to
                ));
            }
            2 => {
                call!(pointsman_engine_restart(engine, router, worker, Some(heard), null_mut()));
            }
            _ => {
                let (source, rank, running) =
                    (input.int_in_range(0..=3)?, input.arbitrary()?, input.arbitrary()?);
                let load = memory.output::<pointsman_engine_load>(input)?;
                call!(pointsman_engine_read_load(
                    engine, router, worker, source, payload, length, rank, running, load
                ));
            }
        }
        Ok(())
    }

    fn configure(&mut self, input: &mut Unstructured<'_>, memory: &mut Memory) -> Result<()> {
        let (router, (policy, length)) = (self.router, memory.text(input)?);
        match input.int_in_range(0..=4)? {
            0 => {
                call!(pointsman_router_set_policy(router, policy, length));
            }
            1 => {
                let ((prefill, first), (decode, second)) =
                    (memory.text(input)?, memory.text(input)?);
                call!(pointsman_router_set_policies(
                    router, policy, length, prefill, first, decode, second
                ));
            }
            2 => {
                call!(pointsman_router_set_split(router, policy, length, input.arbitrary()?));
            }
            3 => {
                call!(pointsman_router_set_shadow(router, policy, length));
            }
            _ => {
                call!(pointsman_router_after_fork(router));
                self.tickets.clear();
            }
        }
        Ok(())
    }

    /// Everything that was charged is given back.
    fn end(mut self) {
        for ticket in std::mem::take(&mut self.tickets) {
            call!(pointsman_complete(self.router, ticket, null()));
        }
        // SAFETY: all zero is a metrics struct; its size is set.
        let mut metrics: pointsman_metrics = unsafe { std::mem::zeroed() };
        metrics.size = size_of::<pointsman_metrics>() as u32;
        call!(pointsman_router_metrics(self.router, 0, &mut metrics));
        assert_eq!((metrics.tickets_open, metrics.in_flight), (0, 0));
        // SAFETY: made by the library, not used again.
        unsafe {
            pointsman_fingerprinter_free(self.fingerprinter);
            pointsman_engine_free(self.engine);
            pointsman_router_free(self.router);
        }
    }
}

/// Reads all that an event points to.
unsafe extern "C" fn heard(_data: *mut c_void, event: *const pointsman_kv_event) {
    // SAFETY: valid during the call, as the library promises.
    unsafe {
        let event = &*event;
        let all = |pointer: *const c_char, length: usize| {
            (0..length).fold(0, |sum: u8, at| sum.wrapping_add(*pointer.add(at) as u8))
        };
        let texts = all(event.lora_name, event.lora_name_length)
            .wrapping_add(all(event.cache_salt, event.cache_salt_length))
            .wrapping_add(all(event.session_id, event.session_id_length));
        let hashes = (0..event.hash_count).fold(0, |sum, at| sum ^ *event.hashes.add(at));
        let tokens = (0..event.token_count).fold(0, |sum, at| sum ^ *event.tokens.add(at));
        std::hint::black_box((texts, hashes, tokens));
    }
}

/// Mostly now or soon, else any number.
fn time(input: &mut Unstructured<'_>) -> Result<u64> {
    if input.ratio(1, 8)? { input.arbitrary() } else { Ok(input.arbitrary::<u32>()?.into()) }
}

fn fingerprint(
    input: &mut Unstructured<'_>,
    memory: &mut Memory,
) -> Result<*const pointsman_fingerprint> {
    memory.structure(input, |print: &mut pointsman_fingerprint, memory, input| {
        let (hashes, count) = memory.words(input)?;
        (print.hashes, print.hash_count) = (hashes, count.min(u32::MAX as usize) as u32);
        Ok(())
    })
}

/// Labels one after another, all of the size that the first one says.
fn labels(
    input: &mut Unstructured<'_>,
    memory: &mut Memory,
) -> Result<(*const pointsman_label, u32)> {
    if input.arbitrary()? {
        return Ok((null(), if input.ratio(1, 8)? { input.arbitrary()? } else { 0 }));
    }
    let count = input.int_in_range(0..=20)?;
    let labels = memory.array::<pointsman_label>(input, count, |label, memory, input| {
        (label.key, label.key_length) = memory.text(input)?;
        (label.value, label.value_length) = memory.text(input)?;
        Ok(())
    })?;
    Ok((labels, count as u32))
}

/// A policy that decides nonsense as often as sense, by the bytes of what it is asked.
unsafe extern "C" fn select(
    _: *mut c_void,
    candidates: *const pointsman_candidates,
    request: *const pointsman_request_view,
    decision: *mut pointsman_decision,
) -> pointsman_status {
    // SAFETY: the library's promise, and each array has `count` elements.
    unsafe {
        let (candidates, seed) = (&*candidates, (*request).now);
        let count = candidates.count as usize;
        let sum: u64 = std::slice::from_raw_parts(candidates.workers, count).iter().sum();
        let draw = (sum ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        (*decision).index = (draw % (u64::from(candidates.count) + 1)) as u32;
        (*decision).runner_up = (draw >> 8) as u32 % (candidates.count + 2);
        (*decision).work_tokens = draw as u32;
        (*decision).score = f64::from_bits(draw << 32);
        if draw % 16 == 0 { draw as i32 } else { POINTSMAN_OK }
    }
}

unsafe extern "C" fn on_event(_: *mut c_void, event: *const pointsman_event) {
    // SAFETY: the library's promise.
    assert!((1..=6).contains(&unsafe { (*event).kind }));
}

unsafe extern "C" fn log(_: *mut c_void, level: i32, message: *const c_char, length: usize) {
    // SAFETY: the library's promise.
    let text = unsafe { std::ffi::CStr::from_ptr(message) };
    assert!((1..=4).contains(&level) && text.to_bytes().len() == length);
    assert!(text.to_str().is_ok());
}

unsafe extern "C" fn decided(_: *mut c_void, record: *const pointsman_decision_record) {
    // SAFETY: the library's promise.
    assert_ne!(unsafe { (*record).worker }, 0);
}
