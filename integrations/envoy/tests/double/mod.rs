//! An Envoy of one's own: the callbacks that the module calls, over plain objects that a test arranges.

// Helpers of tests, which may fail as tests do.
#![allow(clippy::expect_used, clippy::panic)]

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::ffi::c_void;

use pointsman_envoy::abi::{Buffer, EnvoyPtr, attribute, body, headers};
use pointsman_envoy::balancer::*;
use pointsman_envoy::filter::*;

thread_local! {
    /// Metrics by id, and what they stand at; the log's lines.
    static NAMES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    static VALUES: RefCell<HashMap<String, i64>> = RefCell::default();
    static LOG: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// What a metric of this thread stands at.
pub fn metric(name: &str) -> i64 {
    VALUES.with_borrow(|values| values.get(&format!("pointsman.{name}")).copied().unwrap_or(0))
}

/// The lines of this thread's log.
pub fn log() -> String {
    LOG.with_borrow(|lines| lines.join("\n"))
}

/// A host of a cluster.
#[derive(Clone)]
pub struct Host {
    pub address: String,
    pub weight: u32,
    pub healthy: bool,
    pub texts: HashMap<&'static str, &'static str>,
    pub numbers: HashMap<&'static str, f64>,
}

pub fn host(port: u16) -> Host {
    Host {
        address: format!("10.0.0.1:{port}"),
        weight: 1,
        healthy: true,
        texts: HashMap::new(),
        numbers: HashMap::new(),
    }
}

/// The configuration of a policy; null if it is refused.
pub fn policy(json: &str) -> *const c_void {
    // SAFETY: all of it outlives the call.
    unsafe {
        envoy_dynamic_module_on_lb_config_new(
            std::ptr::null_mut(),
            Buffer::of(b"pointsman"),
            Buffer::of(json.as_bytes()),
        )
    }
}

/// The configuration of a filter; null if it is refused.
pub fn filter(json: &str) -> *const c_void {
    // SAFETY: all of it outlives the call.
    unsafe {
        envoy_dynamic_module_on_http_filter_config_new(
            std::ptr::null_mut(),
            Buffer::of(b"pointsman"),
            Buffer::of(json.as_bytes()),
        )
    }
}

/// One thread's cluster: what Envoy knows of its hosts, and the module's balancer.
pub struct Cluster {
    pub name: String,
    pub priorities: Vec<Vec<Host>>,
    module: *const c_void,
}

impl Cluster {
    pub fn new(policy: *const c_void, name: &str, hosts: Vec<Host>) -> Box<Cluster> {
        let (name, module) = (name.to_owned(), std::ptr::null());
        let mut cluster = Box::new(Cluster { name, priorities: vec![Vec::new()], module });
        // SAFETY: the policy is the module's, the cluster outlives its balancer.
        cluster.module = unsafe { envoy_dynamic_module_on_lb_new(policy, cluster.ptr()) };
        assert!(!cluster.module.is_null());
        cluster.priorities = vec![hosts];
        cluster.update();
        cluster
    }

    fn ptr(&self) -> EnvoyPtr {
        std::ptr::from_ref(self).cast_mut().cast()
    }

    /// Tells the module that something has changed.
    pub fn update(&self) {
        // SAFETY: both live.
        unsafe {
            envoy_dynamic_module_on_lb_on_host_membership_update(self.ptr(), self.module, 0, 0);
        }
    }

    /// Asks for a host, and says its address.
    pub fn choose(&self, context: &Context) -> Option<String> {
        let (mut priority, mut index) = (99, 99);
        let context = std::ptr::from_ref(context).cast_mut().cast();
        // SAFETY: all of them live.
        let chosen = unsafe {
            envoy_dynamic_module_on_lb_choose_host(
                self.ptr(),
                self.module,
                context,
                &mut priority,
                &mut index,
            )
        };
        chosen.then(|| self.healthy(priority)[index as usize].address.clone())
    }

    fn healthy(&self, priority: u32) -> Vec<&Host> {
        self.priorities[priority as usize].iter().filter(|host| host.healthy).collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // SAFETY: made in `new`, destroyed once.
        unsafe { envoy_dynamic_module_on_lb_destroy(self.module) }
    }
}

/// What the balancer may know of a request.
#[derive(Default)]
pub struct Context {
    pub hash: Option<u64>,
    pub ruled_out: HashSet<String>,
}

/// A stream through the filter.
#[derive(Default)]
pub struct Stream {
    pub request: HashMap<String, String>,
    pub response: HashMap<String, String>,
    pub filter_state: HashMap<String, Vec<u8>>,
    pub limit: u64,
    pub details: String,
    buffered: Vec<u8>,
    received: Vec<u8>,
    answer: Vec<u8>,
    module: Option<*const c_void>,
}

impl Stream {
    pub fn new(filter: *const c_void) -> Box<Stream> {
        let mut stream = Box::<Stream>::default();
        stream.limit = 1 << 20;
        stream.request.insert(":method".to_owned(), "POST".to_owned());
        // SAFETY: the filter is the module's, the stream outlives its part in the module.
        stream.module =
            Some(unsafe { envoy_dynamic_module_on_http_filter_new(filter, stream.ptr()) });
        stream
    }

    fn ptr(&self) -> EnvoyPtr {
        std::ptr::from_ref(self).cast_mut().cast()
    }

    fn module(&self) -> *const c_void {
        self.module.expect("the stream is open")
    }

    /// A whole request that came in these pieces; says whether the filter held it back until the last one.
    pub fn ask(&mut self, pieces: &[&[u8]]) -> bool {
        let (ptr, module) = (self.ptr(), self.module());
        // SAFETY: both live, here and below.
        let mut held = unsafe {
            envoy_dynamic_module_on_http_filter_request_headers(ptr, module, pieces.is_empty()) == 1
        };
        for (number, piece) in pieces.iter().enumerate() {
            let end = number + 1 == pieces.len();
            self.received = piece.to_vec();
            // SAFETY: as above.
            let status =
                unsafe { envoy_dynamic_module_on_http_filter_request_body(ptr, module, end) };
            let size = self.buffered.len() + piece.len();
            if held {
                assert!(size as u64 <= self.limit, "Envoy answers 413");
                self.buffered.append(&mut self.received);
            }
            held &= end || status == 1;
        }
        held
    }

    /// The context in which the stream's host is chosen: the route hashes the filter state.
    pub fn context(&self) -> Context {
        let id = self.filter_state.get("envoy.hashable_string");
        let hash = id.map(|id| xxhash_rust::xxh64::xxh64(id, 0));
        Context { hash, ..Context::default() }
    }

    /// The response's headers.
    pub fn answer(&mut self, status: u16, end: bool) {
        self.response.insert(":status".to_owned(), status.to_string());
        // SAFETY: both live.
        unsafe {
            envoy_dynamic_module_on_http_filter_response_headers(self.ptr(), self.module(), end);
        }
    }

    /// A piece of the response's body.
    pub fn piece(&mut self, piece: &[u8], end: bool) {
        self.answer = piece.to_vec();
        // SAFETY: both live.
        unsafe {
            envoy_dynamic_module_on_http_filter_response_body(self.ptr(), self.module(), end);
        }
    }

    /// Envoy answers by itself.
    pub fn local_reply(&mut self, status: u16, details: &str) {
        self.details = details.to_owned();
        let (code, reply) = (u32::from(status), Buffer::of(details.as_bytes()));
        // SAFETY: all of it lives.
        unsafe {
            envoy_dynamic_module_on_http_filter_local_reply(
                self.ptr(),
                self.module(),
                code,
                reply,
                false,
            );
        }
        self.answer(status, true);
    }

    /// The stream is over.
    pub fn complete(mut self: Box<Self>, details: &str) {
        self.details = details.to_owned();
        // SAFETY: both live.
        unsafe { envoy_dynamic_module_on_http_filter_stream_complete(self.ptr(), self.module()) }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(module) = self.module.take() {
            // SAFETY: made in `new`, destroyed once.
            unsafe { envoy_dynamic_module_on_http_filter_destroy(module) }
        }
    }
}

/// A whole request, answered by the host that is chosen.
pub fn serve(cluster: &Cluster, filter: *const c_void, body: &str) -> String {
    let mut stream = Stream::new(filter);
    stream.ask(&[body.as_bytes()]);
    let address = cluster.choose(&stream.context()).expect("there are hosts");
    stream.answer(200, false);
    stream.piece(b"{}", true);
    stream.complete("via_upstream");
    address
}

fn text(buffer: Buffer) -> String {
    // SAFETY: the module lends it for the call.
    String::from_utf8(unsafe { buffer.bytes() }.to_vec()).expect("text")
}

/// # Safety
/// The pointer is one that this double gave to the module, to an object that lives.
unsafe fn object<'a, T>(ptr: EnvoyPtr) -> &'a mut T {
    // SAFETY: by the caller; tests are done with their own reference while a hook runs.
    unsafe { &mut *ptr.cast::<T>() }
}

fn lend(bytes: Option<&[u8]>, into: *mut Buffer) -> bool {
    // SAFETY: the module's, to be written.
    unsafe { *into = bytes.map_or(Buffer::EMPTY, Buffer::of) }
    bytes.is_some()
}

/// Declares callbacks: the bodies are safe enough for a test, since the module passes what the test gave it.
macro_rules! callbacks {
    ($(fn $name:ident($($argument:ident: $kind:ty),*) $(-> $result:ty)? $body:block)+) => {$(
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name($($argument: $kind),*) $(-> $result)? {
            // SAFETY: see the macro.
            #[allow(unused_unsafe)]
            unsafe { $body }
        }
    )+};
}

type Labels = *const Buffer;

fn define(name: Buffer, id: *mut usize) -> u32 {
    NAMES.with_borrow_mut(|names| {
        names.push(text(name));
        // SAFETY: the module's, to be written.
        unsafe { *id = names.len() - 1 };
    });
    0
}

fn add(id: usize, value: i64) -> u32 {
    let name = NAMES.with_borrow(|names| names[id].clone());
    VALUES.with_borrow_mut(|values| *values.entry(name).or_default() += value);
    0
}

fn body_of(stream: EnvoyPtr, which: u32) -> &'static [u8] {
    // SAFETY: a stream of the test's; what is lent is not used after the hook.
    let stream: &mut Stream = unsafe { object(stream) };
    match which {
        body::RECEIVED_REQUEST => &stream.received,
        body::BUFFERED_REQUEST => &stream.buffered,
        body::RECEIVED_RESPONSE => &stream.answer,
        _ => panic!("no such body"),
    }
}

fn host_of(cluster: EnvoyPtr, priority: u32, index: usize) -> &'static Host {
    // SAFETY: a cluster of the test's; what is lent is not used after the hook.
    let cluster: &mut Cluster = unsafe { object(cluster) };
    &cluster.priorities[priority as usize][index]
}

callbacks! {
    fn envoy_dynamic_module_callback_log(_level: u32, line: Buffer) {
        LOG.with_borrow_mut(|lines| lines.push(text(line)));
    }
    fn envoy_dynamic_module_callback_http_filter_config_define_counter(_c: EnvoyPtr, name: Buffer, _l: Labels, _n: usize, id: *mut usize) -> u32 { define(name, id) }
    fn envoy_dynamic_module_callback_http_filter_config_define_gauge(_c: EnvoyPtr, name: Buffer, _l: Labels, _n: usize, id: *mut usize) -> u32 { define(name, id) }
    fn envoy_dynamic_module_callback_http_filter_config_define_histogram(_c: EnvoyPtr, name: Buffer, _l: Labels, _n: usize, id: *mut usize) -> u32 { define(name, id) }
    fn envoy_dynamic_module_callback_lb_config_define_counter(_c: EnvoyPtr, name: Buffer, _l: Labels, _n: usize, id: *mut usize) -> u32 { define(name, id) }
    fn envoy_dynamic_module_callback_http_filter_increment_counter(_f: EnvoyPtr, id: usize, _l: Labels, _n: usize, value: u64) -> u32 { add(id, value as i64) }
    fn envoy_dynamic_module_callback_http_filter_increment_gauge(_f: EnvoyPtr, id: usize, _l: Labels, _n: usize, value: u64) -> u32 { add(id, value as i64) }
    fn envoy_dynamic_module_callback_http_filter_decrement_gauge(_f: EnvoyPtr, id: usize, _l: Labels, _n: usize, value: u64) -> u32 { add(id, -(value as i64)) }
    fn envoy_dynamic_module_callback_http_filter_record_histogram_value(_f: EnvoyPtr, id: usize, _l: Labels, _n: usize, _value: u64) -> u32 { add(id, 1) }
    fn envoy_dynamic_module_callback_lb_config_increment_counter(_c: EnvoyPtr, id: usize, _l: Labels, _n: usize, value: u64) -> u32 { add(id, value as i64) }

    fn envoy_dynamic_module_callback_http_get_header(stream: EnvoyPtr, map: u32, key: Buffer, value: *mut Buffer, _index: usize, _count: *mut usize) -> bool {
        let stream: &mut Stream = object(stream);
        let map = if map == headers::REQUEST { &stream.request } else { &stream.response };
        lend(map.get(&text(key)).map(|value| value.as_bytes()), value)
    }
    fn envoy_dynamic_module_callback_http_set_header(stream: EnvoyPtr, map: u32, key: Buffer, value: Buffer) -> bool {
        let stream: &mut Stream = object(stream);
        let map = if map == headers::REQUEST { &mut stream.request } else { &mut stream.response };
        let value = text(value);
        if value.is_empty() {
            map.remove(&text(key));
        } else {
            map.insert(text(key), value);
        }
        true
    }
    fn envoy_dynamic_module_callback_http_get_body_size(stream: EnvoyPtr, which: u32) -> usize { body_of(stream, which).len() }
    fn envoy_dynamic_module_callback_http_get_body_chunks_size(stream: EnvoyPtr, which: u32) -> usize { body_of(stream, which).chunks(1000).count() }
    fn envoy_dynamic_module_callback_http_get_body_chunks(stream: EnvoyPtr, which: u32, chunks: *mut Buffer) -> bool {
        for (number, chunk) in body_of(stream, which).chunks(1000).enumerate() {
            *chunks.add(number) = Buffer::of(chunk);
        }
        true
    }
    fn envoy_dynamic_module_callback_http_received_buffered_request_body(_s: EnvoyPtr) -> bool { false }
    fn envoy_dynamic_module_callback_http_get_buffer_limit(stream: EnvoyPtr) -> u64 { object::<Stream>(stream).limit }
    fn envoy_dynamic_module_callback_http_set_buffer_limit(stream: EnvoyPtr, bytes: u64) { object::<Stream>(stream).limit = bytes; }
    fn envoy_dynamic_module_callback_http_set_filter_state_typed(stream: EnvoyPtr, key: Buffer, value: Buffer) -> bool {
        object::<Stream>(stream).filter_state.insert(text(key), text(value).into_bytes());
        true
    }
    fn envoy_dynamic_module_callback_http_filter_get_attribute_string(stream: EnvoyPtr, which: u32, value: *mut Buffer) -> bool {
        assert_eq!(which, attribute::RESPONSE_CODE_DETAILS);
        lend(Some(object::<Stream>(stream).details.as_bytes()), value)
    }

    fn envoy_dynamic_module_callback_lb_get_cluster_name(cluster: EnvoyPtr, name: *mut Buffer) { lend(Some(object::<Cluster>(cluster).name.as_bytes()), name); }
    fn envoy_dynamic_module_callback_lb_get_priority_set_size(cluster: EnvoyPtr) -> usize { object::<Cluster>(cluster).priorities.len() }
    fn envoy_dynamic_module_callback_lb_get_hosts_count(cluster: EnvoyPtr, priority: u32) -> usize { object::<Cluster>(cluster).priorities[priority as usize].len() }
    fn envoy_dynamic_module_callback_lb_get_host_address(cluster: EnvoyPtr, priority: u32, index: usize, address: *mut Buffer) -> bool {
        lend(Some(host_of(cluster, priority, index).address.as_bytes()), address)
    }
    fn envoy_dynamic_module_callback_lb_get_host_weight(cluster: EnvoyPtr, priority: u32, index: usize) -> u32 { host_of(cluster, priority, index).weight }
    fn envoy_dynamic_module_callback_lb_get_host_metadata_string(cluster: EnvoyPtr, priority: u32, index: usize, namespace: Buffer, key: Buffer, value: *mut Buffer) -> bool {
        assert_eq!(text(namespace), "pointsman");
        lend(host_of(cluster, priority, index).texts.get(&*text(key)).map(|text| text.as_bytes()), value)
    }
    fn envoy_dynamic_module_callback_lb_get_host_metadata_number(cluster: EnvoyPtr, priority: u32, index: usize, _namespace: Buffer, key: Buffer, value: *mut f64) -> bool {
        let number = host_of(cluster, priority, index).numbers.get(&*text(key)).copied();
        *value = number.unwrap_or(0.0);
        number.is_some()
    }
    fn envoy_dynamic_module_callback_lb_get_healthy_hosts_count(cluster: EnvoyPtr, priority: u32) -> usize { object::<Cluster>(cluster).healthy(priority).len() }
    fn envoy_dynamic_module_callback_lb_get_healthy_host_address(cluster: EnvoyPtr, priority: u32, index: usize, address: *mut Buffer) -> bool {
        lend(Some(object::<Cluster>(cluster).healthy(priority)[index].address.as_bytes()), address)
    }
    fn envoy_dynamic_module_callback_lb_context_compute_hash_key(context: EnvoyPtr, hash: *mut u64) -> bool {
        if context.is_null() { return false; }
        let known = object::<Context>(context).hash;
        *hash = known.unwrap_or(0);
        known.is_some()
    }
    fn envoy_dynamic_module_callback_lb_context_should_select_another_host(cluster: EnvoyPtr, context: EnvoyPtr, priority: u32, index: usize) -> bool {
        object::<Context>(context).ruled_out.contains(&host_of(cluster, priority, index).address)
    }
}
