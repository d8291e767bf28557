//! Envoy's callbacks as safe functions, for use inside hooks.
//!
//! [`Stream`], [`Balancer`] and [`Context`] wrap pointers that Envoy hands to a hook. They may be used
//! on the thread of that hook while the object that they point to lives; making one is what needs care.

use crate::abi::{self, Buffer, EnvoyPtr, level};

/// Writes a line to Envoy's log.
pub fn log(level: u32, message: &str) {
    let line = format!("pointsman: {message}");
    // SAFETY: the line outlives the call.
    unsafe { abi::envoy_dynamic_module_callback_log(level, Buffer::of(line.as_bytes())) }
}

/// Says why a configuration is refused.
pub fn refuse(what: &str, error: &dyn std::fmt::Display) {
    log(level::ERROR, &format!("{what} refused: {error}"));
}

/// An HTTP stream, by its filter.
#[derive(Clone, Copy)]
pub struct Stream(EnvoyPtr);

impl Stream {
    /// # Safety
    /// `filter` came with a hook of this thread; the result is not used after the filter is destroyed.
    pub unsafe fn new(filter: EnvoyPtr) -> Stream {
        Stream(filter)
    }

    /// A header's first value, lent until the headers are changed.
    pub fn header<'a>(self, map: u32, key: &str) -> Option<&'a [u8]> {
        let mut value = Buffer::EMPTY;
        let (key, count) = (Buffer::of(key.as_bytes()), std::ptr::null_mut());
        // SAFETY: the filter lives (`new`); the value is lent for the rest of the hook.
        unsafe {
            abi::envoy_dynamic_module_callback_http_get_header(
                self.0, map, key, &mut value, 0, count,
            )
            .then(|| value.bytes())
        }
    }

    /// Sets a header; an empty value removes it.
    pub fn set_header(self, map: u32, key: &str, value: &[u8]) {
        let (key, value) = (Buffer::of(key.as_bytes()), Buffer::of(value));
        // SAFETY: the filter lives (`new`); Envoy copies both.
        unsafe { abi::envoy_dynamic_module_callback_http_set_header(self.0, map, key, value) };
    }

    /// Bytes of one of the stream's bodies.
    pub fn body_size(self, body: u32) -> usize {
        // SAFETY: the filter lives (`new`).
        unsafe { abi::envoy_dynamic_module_callback_http_get_body_size(self.0, body) }
    }

    /// Shows the pieces of one of the stream's bodies, in order.
    pub fn each_chunk(self, body: u32, room: &mut Vec<Buffer>, mut show: impl FnMut(&[u8])) {
        // SAFETY: the filter lives (`new`).
        let count =
            unsafe { abi::envoy_dynamic_module_callback_http_get_body_chunks_size(self.0, body) };
        room.clear();
        room.resize(count, Buffer::EMPTY);
        // SAFETY: there is room for as many chunks as Envoy said there are.
        let told = count > 0
            && unsafe {
                abi::envoy_dynamic_module_callback_http_get_body_chunks(
                    self.0,
                    body,
                    room.as_mut_ptr(),
                )
            };
        if told {
            for chunk in room.iter() {
                // SAFETY: lent until the body is changed, which `show` cannot do.
                show(unsafe { chunk.bytes() });
            }
        }
    }

    /// Whether the piece of the request body that just came is what was held back before.
    pub fn received_is_buffered(self) -> bool {
        // SAFETY: the filter lives (`new`).
        unsafe { abi::envoy_dynamic_module_callback_http_received_buffered_request_body(self.0) }
    }

    /// Lets Envoy hold back at least this much of the request.
    pub fn raise_buffer_limit(self, bytes: u64) {
        // SAFETY: the filter lives (`new`).
        unsafe {
            if abi::envoy_dynamic_module_callback_http_get_buffer_limit(self.0) < bytes {
                abi::envoy_dynamic_module_callback_http_set_buffer_limit(self.0, bytes);
            }
        }
    }

    /// Stores a value in the stream's filter state by the factory called `key`.
    pub fn set_filter_state(self, key: &str, value: &[u8]) -> bool {
        let (key, value) = (Buffer::of(key.as_bytes()), Buffer::of(value));
        // SAFETY: the filter lives (`new`); Envoy copies both.
        unsafe {
            abi::envoy_dynamic_module_callback_http_set_filter_state_typed(self.0, key, value)
        }
    }

    /// What Envoy says about how the stream went.
    pub fn details<'a>(self) -> &'a [u8] {
        let mut value = Buffer::EMPTY;
        // SAFETY: the filter lives (`new`); the value is lent for the rest of the hook.
        unsafe {
            abi::envoy_dynamic_module_callback_http_filter_get_attribute_string(
                self.0,
                abi::attribute::RESPONSE_CODE_DETAILS,
                &mut value,
            );
            value.bytes()
        }
    }

    /// Adds to a counter of the filter.
    pub fn count(self, id: usize, value: u64) {
        // SAFETY: the filter lives (`new`); an unknown id is refused by Envoy.
        unsafe {
            abi::envoy_dynamic_module_callback_http_filter_increment_counter(
                self.0,
                id,
                std::ptr::null(),
                0,
                value,
            );
        }
    }

    /// Moves a gauge of the filter by one.
    pub fn step(self, id: usize, up: bool) {
        let step = if up {
            abi::envoy_dynamic_module_callback_http_filter_increment_gauge
        } else {
            abi::envoy_dynamic_module_callback_http_filter_decrement_gauge
        };
        // SAFETY: the filter lives (`new`); an unknown id is refused by Envoy.
        unsafe { step(self.0, id, std::ptr::null(), 0, 1) };
    }

    /// Records a value in a histogram of the filter.
    pub fn record(self, id: usize, value: u64) {
        // SAFETY: the filter lives (`new`); an unknown id is refused by Envoy.
        unsafe {
            abi::envoy_dynamic_module_callback_http_filter_record_histogram_value(
                self.0,
                id,
                std::ptr::null(),
                0,
                value,
            );
        }
    }
}

/// One thread's load balancer of one cluster.
#[derive(Clone, Copy)]
pub struct Balancer(EnvoyPtr);

impl Balancer {
    /// # Safety
    /// `balancer` came with a hook of this thread; the result is not used after that hook.
    pub unsafe fn new(balancer: EnvoyPtr) -> Balancer {
        Balancer(balancer)
    }

    /// The cluster's name.
    pub fn cluster(self) -> String {
        let mut name = Buffer::EMPTY;
        // SAFETY: the balancer lives (`new`), and the name as long.
        let name = unsafe {
            abi::envoy_dynamic_module_callback_lb_get_cluster_name(self.0, &mut name);
            name.bytes()
        };
        String::from_utf8_lossy(name).into_owned()
    }

    /// How many priorities there are.
    pub fn priorities(self) -> u32 {
        // SAFETY: the balancer lives (`new`).
        let count = unsafe { abi::envoy_dynamic_module_callback_lb_get_priority_set_size(self.0) };
        count as u32
    }

    /// How many hosts a priority has.
    pub fn hosts(self, priority: u32) -> usize {
        // SAFETY: the balancer lives (`new`).
        unsafe { abi::envoy_dynamic_module_callback_lb_get_hosts_count(self.0, priority) }
    }

    /// A host's address.
    pub fn address<'a>(self, priority: u32, index: usize) -> Option<&'a [u8]> {
        let mut address = Buffer::EMPTY;
        // SAFETY: the balancer lives (`new`), and a host's address for the rest of the hook.
        unsafe {
            abi::envoy_dynamic_module_callback_lb_get_host_address(
                self.0,
                priority,
                index,
                &mut address,
            )
            .then(|| address.bytes())
        }
    }

    /// A host's weight.
    pub fn weight(self, priority: u32, index: usize) -> u32 {
        // SAFETY: the balancer lives (`new`).
        unsafe { abi::envoy_dynamic_module_callback_lb_get_host_weight(self.0, priority, index) }
    }

    /// How many healthy hosts a priority has.
    pub fn healthy_hosts(self, priority: u32) -> usize {
        // SAFETY: the balancer lives (`new`).
        unsafe { abi::envoy_dynamic_module_callback_lb_get_healthy_hosts_count(self.0, priority) }
    }

    /// A healthy host's address.
    pub fn healthy_address<'a>(self, priority: u32, index: usize) -> Option<&'a [u8]> {
        let mut address = Buffer::EMPTY;
        // SAFETY: the balancer lives (`new`), and a host's address for the rest of the hook.
        unsafe {
            abi::envoy_dynamic_module_callback_lb_get_healthy_host_address(
                self.0,
                priority,
                index,
                &mut address,
            )
            .then(|| address.bytes())
        }
    }

    /// A text in a host's metadata.
    pub fn metadata(self, priority: u32, index: usize, key: &str) -> Option<String> {
        let mut value = Buffer::EMPTY;
        let (namespace, key) = (Buffer::of(METADATA), Buffer::of(key.as_bytes()));
        // SAFETY: the balancer lives (`new`), and a host's metadata for the rest of the hook.
        let value = unsafe {
            abi::envoy_dynamic_module_callback_lb_get_host_metadata_string(
                self.0, priority, index, namespace, key, &mut value,
            )
            .then(|| value.bytes())
        };
        value.map(|text| String::from_utf8_lossy(text).into_owned())
    }

    /// A number in a host's metadata.
    pub fn metadata_number(self, priority: u32, index: usize, key: &str) -> Option<f64> {
        let mut value = 0.0;
        let (namespace, key) = (Buffer::of(METADATA), Buffer::of(key.as_bytes()));
        // SAFETY: the balancer lives (`new`).
        unsafe {
            abi::envoy_dynamic_module_callback_lb_get_host_metadata_number(
                self.0, priority, index, namespace, key, &mut value,
            )
        }
        .then_some(value)
    }

    /// Whether the request's retry policy rules a host out.
    pub fn ruled_out(self, context: Context, priority: u32, index: usize) -> bool {
        // SAFETY: both live (`new`).
        unsafe {
            abi::envoy_dynamic_module_callback_lb_context_should_select_another_host(
                self.0, context.0, priority, index,
            )
        }
    }
}

/// Where the metadata of an endpoint is looked for.
const METADATA: &[u8] = b"pointsman";

/// What the balancer may know of the request it chooses for.
#[derive(Clone, Copy)]
pub struct Context(EnvoyPtr);

impl Context {
    /// # Safety
    /// `context` came with a hook of this thread; the result is not used after that hook. It may be null.
    pub unsafe fn new(context: EnvoyPtr) -> Context {
        Context(context)
    }

    /// The hash that the route's hash policy makes of the request.
    pub fn hash(self) -> Option<u64> {
        let mut hash = 0;
        // SAFETY: the context lives (`new`); Envoy takes null for a request without a hash.
        unsafe { abi::envoy_dynamic_module_callback_lb_context_compute_hash_key(self.0, &mut hash) }
            .then_some(hash)
    }
}
