//! The part of Envoy's dynamic-module interface that this module uses, version [`VERSION`].
//!
//! Envoy (1.40) describes the interface in the C header `abi.h` of its dynamic modules extension: types, hooks
//! that a module exports (`envoy_dynamic_module_on_*`) and callbacks that Envoy exports
//! (`envoy_dynamic_module_callback_*`). Only what is called here is declared here; the hooks stand in
//! `filter.rs`, `balancer.rs` and `unused.rs`.
//!
//! What keeps declarations and Envoy together: [`VERSION`] is what the module answers when it is loaded, and
//! Envoy logs whether it matches; the layouts below are checked when this file is compiled; every
//! callback is resolved when the library is loaded (see `build.rs`), so that a missing one is refused at start.
//!
//! Conventions of the interface: strings are a pointer and a length, without a NUL; what Envoy lends in a
//! hook is valid until the hook returns, or until the lent thing is changed by a callback.

use std::ffi::{CStr, c_void};

/// The version of the interface that is declared here.
pub const VERSION: &CStr = c"v0.2.0";

/// A pointer to one of Envoy's objects, handed back to it in callbacks.
pub type EnvoyPtr = *mut c_void;

/// Bytes in memory of Envoy or of the module.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Buffer {
    /// The first byte; may be null where `length` is 0.
    pub ptr: *const u8,
    /// Their number.
    pub length: usize,
}

const _: () = assert!(size_of::<Buffer>() == 2 * size_of::<usize>());

impl Buffer {
    /// No bytes: what out parameters begin as.
    pub const EMPTY: Buffer = Buffer { ptr: std::ptr::null(), length: 0 };

    /// Lends bytes to Envoy.
    pub fn of(bytes: &[u8]) -> Buffer {
        Buffer { ptr: bytes.as_ptr(), length: bytes.len() }
    }

    /// The bytes.
    ///
    /// # Safety
    /// The buffer comes from Envoy, and what it lends is valid for `'a`.
    pub unsafe fn bytes<'a>(self) -> &'a [u8] {
        if self.ptr.is_null() {
            return &[];
        }
        // SAFETY: by the caller; Envoy's buffers are initialised bytes.
        unsafe { std::slice::from_raw_parts(self.ptr, self.length) }
    }
}

/// Declares a C enumeration as numbers: a value that Envoy adds later must not be undefined behaviour.
macro_rules! numbers {
    ($($(#[$doc:meta])* $module:ident { $($name:ident = $value:expr),+ $(,)? })+) => {$(
        $(#[$doc])*
        #[allow(missing_docs)]
        pub mod $module { $(pub const $name: u32 = $value;)+ }
    )+};
}

numbers! {
    /// Levels of Envoy's log.
    level { INFO = 2, WARN = 3, ERROR = 4 }
    /// Header maps of a stream.
    headers { REQUEST = 0, RESPONSE = 2 }
    /// Bodies of a stream: the piece that just came, and what was held back before it.
    body { RECEIVED_REQUEST = 0, BUFFERED_REQUEST = 1, RECEIVED_RESPONSE = 2 }
    /// What a filter answers to headers, data and trailers.
    status { CONTINUE = 0, STOP_ITERATION = 1, STOP_ITERATION_AND_BUFFER = 1 }
    /// Attributes of a stream.
    attribute { RESPONSE_CODE_DETAILS = 16 }
    /// Whether a metric could be defined or changed.
    metric { SUCCESS = 0 }
}

unsafe extern "C" {
    // ---- log
    pub(crate) fn envoy_dynamic_module_callback_log(level: u32, message: Buffer);

    // ---- HTTP filter: metrics. Labels are not used here: null and 0.
    pub(crate) fn envoy_dynamic_module_callback_http_filter_config_define_counter(
        config: EnvoyPtr,
        name: Buffer,
        label_names: *const Buffer,
        labels: usize,
        id: *mut usize,
    ) -> u32;
    pub(crate) fn envoy_dynamic_module_callback_http_filter_config_define_gauge(
        config: EnvoyPtr,
        name: Buffer,
        label_names: *const Buffer,
        labels: usize,
        id: *mut usize,
    ) -> u32;
    pub(crate) fn envoy_dynamic_module_callback_http_filter_config_define_histogram(
        config: EnvoyPtr,
        name: Buffer,
        label_names: *const Buffer,
        labels: usize,
        id: *mut usize,
    ) -> u32;
    pub(crate) fn envoy_dynamic_module_callback_http_filter_increment_counter(
        filter: EnvoyPtr,
        id: usize,
        label_values: *const Buffer,
        labels: usize,
        value: u64,
    ) -> u32;
    pub(crate) fn envoy_dynamic_module_callback_http_filter_increment_gauge(
        filter: EnvoyPtr,
        id: usize,
        label_values: *const Buffer,
        labels: usize,
        value: u64,
    ) -> u32;
    pub(crate) fn envoy_dynamic_module_callback_http_filter_decrement_gauge(
        filter: EnvoyPtr,
        id: usize,
        label_values: *const Buffer,
        labels: usize,
        value: u64,
    ) -> u32;
    pub(crate) fn envoy_dynamic_module_callback_http_filter_record_histogram_value(
        filter: EnvoyPtr,
        id: usize,
        label_values: *const Buffer,
        labels: usize,
        value: u64,
    ) -> u32;

    // ---- HTTP filter: the stream
    pub(crate) fn envoy_dynamic_module_callback_http_get_header(
        filter: EnvoyPtr,
        map: u32,
        key: Buffer,
        value: *mut Buffer,
        index: usize,
        count: *mut usize,
    ) -> bool;
    pub(crate) fn envoy_dynamic_module_callback_http_set_header(
        filter: EnvoyPtr,
        map: u32,
        key: Buffer,
        value: Buffer,
    ) -> bool;
    pub(crate) fn envoy_dynamic_module_callback_http_get_body_size(
        filter: EnvoyPtr,
        body: u32,
    ) -> usize;
    pub(crate) fn envoy_dynamic_module_callback_http_get_body_chunks_size(
        filter: EnvoyPtr,
        body: u32,
    ) -> usize;
    pub(crate) fn envoy_dynamic_module_callback_http_get_body_chunks(
        filter: EnvoyPtr,
        body: u32,
        chunks: *mut Buffer,
    ) -> bool;
    /// Whether the piece that just came is what an earlier filter held back: then both bodies are one.
    pub(crate) fn envoy_dynamic_module_callback_http_received_buffered_request_body(
        filter: EnvoyPtr,
    ) -> bool;
    pub(crate) fn envoy_dynamic_module_callback_http_get_buffer_limit(filter: EnvoyPtr) -> u64;
    pub(crate) fn envoy_dynamic_module_callback_http_set_buffer_limit(filter: EnvoyPtr, bytes: u64);
    /// Stores an object made from `value` by the factory that is called `key`, under that key.
    pub(crate) fn envoy_dynamic_module_callback_http_set_filter_state_typed(
        filter: EnvoyPtr,
        key: Buffer,
        value: Buffer,
    ) -> bool;
    pub(crate) fn envoy_dynamic_module_callback_http_filter_get_attribute_string(
        filter: EnvoyPtr,
        attribute: u32,
        value: *mut Buffer,
    ) -> bool;

    // ---- load balancer: metrics
    pub(crate) fn envoy_dynamic_module_callback_lb_config_define_counter(
        config: EnvoyPtr,
        name: Buffer,
        label_names: *const Buffer,
        labels: usize,
        id: *mut usize,
    ) -> u32;
    pub(crate) fn envoy_dynamic_module_callback_lb_config_increment_counter(
        config: EnvoyPtr,
        id: usize,
        label_values: *const Buffer,
        labels: usize,
        value: u64,
    ) -> u32;

    // ---- load balancer: hosts, as this thread knows them. Indices count the hosts of one priority:
    // all of them, or, where the name says so, the healthy ones.
    pub(crate) fn envoy_dynamic_module_callback_lb_get_cluster_name(
        balancer: EnvoyPtr,
        name: *mut Buffer,
    );
    pub(crate) fn envoy_dynamic_module_callback_lb_get_priority_set_size(
        balancer: EnvoyPtr,
    ) -> usize;
    pub(crate) fn envoy_dynamic_module_callback_lb_get_hosts_count(
        balancer: EnvoyPtr,
        priority: u32,
    ) -> usize;
    pub(crate) fn envoy_dynamic_module_callback_lb_get_host_address(
        balancer: EnvoyPtr,
        priority: u32,
        index: usize,
        address: *mut Buffer,
    ) -> bool;
    pub(crate) fn envoy_dynamic_module_callback_lb_get_host_weight(
        balancer: EnvoyPtr,
        priority: u32,
        index: usize,
    ) -> u32;
    pub(crate) fn envoy_dynamic_module_callback_lb_get_host_metadata_string(
        balancer: EnvoyPtr,
        priority: u32,
        index: usize,
        namespace: Buffer,
        key: Buffer,
        value: *mut Buffer,
    ) -> bool;
    pub(crate) fn envoy_dynamic_module_callback_lb_get_host_metadata_number(
        balancer: EnvoyPtr,
        priority: u32,
        index: usize,
        namespace: Buffer,
        key: Buffer,
        value: *mut f64,
    ) -> bool;
    pub(crate) fn envoy_dynamic_module_callback_lb_get_healthy_hosts_count(
        balancer: EnvoyPtr,
        priority: u32,
    ) -> usize;
    pub(crate) fn envoy_dynamic_module_callback_lb_get_healthy_host_address(
        balancer: EnvoyPtr,
        priority: u32,
        index: usize,
        address: *mut Buffer,
    ) -> bool;

    // ---- load balancer: the request
    /// The hash that the route's hash policy makes of the request; false where there is none.
    pub(crate) fn envoy_dynamic_module_callback_lb_context_compute_hash_key(
        context: EnvoyPtr,
        hash: *mut u64,
    ) -> bool;
    /// Whether the route's retry policy rules this host out for the request.
    pub(crate) fn envoy_dynamic_module_callback_lb_context_should_select_another_host(
        balancer: EnvoyPtr,
        context: EnvoyPtr,
        priority: u32,
        index: usize,
    ) -> bool;
}
