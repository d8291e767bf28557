//! Hooks that Envoy's loader asks for and that this module has no use for: it makes no calls of its own, is
//! never the last filter, and has no settings per route.

use std::ffi::c_void;

use crate::abi::{Buffer, EnvoyPtr};
use crate::envoy;

/// Declares hooks that do nothing.
macro_rules! nothing {
    ($($name:ident($($argument:ty),*);)+) => {$(
        /// Never called: see the module.
        #[unsafe(no_mangle)]
        pub extern "C" fn $name($(_: $argument),*) {}
    )+};
}

/// A pointer to one of this module's objects.
type ModulePtr = *const c_void;

nothing! {
    envoy_dynamic_module_on_http_filter_http_callout_done(EnvoyPtr, ModulePtr, u64, u32, EnvoyPtr, usize, EnvoyPtr, usize);
    envoy_dynamic_module_on_http_filter_http_stream_headers(EnvoyPtr, ModulePtr, u64, EnvoyPtr, usize, bool);
    envoy_dynamic_module_on_http_filter_http_stream_data(EnvoyPtr, ModulePtr, u64, EnvoyPtr, usize, bool);
    envoy_dynamic_module_on_http_filter_http_stream_trailers(EnvoyPtr, ModulePtr, u64, EnvoyPtr, usize);
    envoy_dynamic_module_on_http_filter_http_stream_complete(EnvoyPtr, ModulePtr, u64);
    envoy_dynamic_module_on_http_filter_http_stream_reset(EnvoyPtr, ModulePtr, u64, u32);
    envoy_dynamic_module_on_http_filter_scheduled(EnvoyPtr, ModulePtr, u64);
    envoy_dynamic_module_on_http_filter_config_scheduled(EnvoyPtr, ModulePtr, u64);
    envoy_dynamic_module_on_http_filter_config_http_callout_done(EnvoyPtr, ModulePtr, u64, u32, EnvoyPtr, usize, EnvoyPtr, usize);
    envoy_dynamic_module_on_http_filter_config_http_stream_headers(EnvoyPtr, ModulePtr, u64, EnvoyPtr, usize, bool);
    envoy_dynamic_module_on_http_filter_config_http_stream_data(EnvoyPtr, ModulePtr, u64, EnvoyPtr, usize, bool);
    envoy_dynamic_module_on_http_filter_config_http_stream_trailers(EnvoyPtr, ModulePtr, u64, EnvoyPtr, usize);
    envoy_dynamic_module_on_http_filter_config_http_stream_complete(EnvoyPtr, ModulePtr, u64);
    envoy_dynamic_module_on_http_filter_config_http_stream_reset(EnvoyPtr, ModulePtr, u64, u32);
    envoy_dynamic_module_on_http_filter_downstream_above_write_buffer_high_watermark(EnvoyPtr, ModulePtr);
    envoy_dynamic_module_on_http_filter_downstream_below_write_buffer_low_watermark(EnvoyPtr, ModulePtr);
    envoy_dynamic_module_on_http_filter_per_route_config_destroy(ModulePtr);
}

/// Refuses settings per route: there are none.
#[unsafe(no_mangle)]
pub extern "C" fn envoy_dynamic_module_on_http_filter_per_route_config_new(
    _name: Buffer,
    _config: Buffer,
) -> ModulePtr {
    envoy::refuse("typed_per_filter_config", &"the filter has no settings per route");
    std::ptr::null()
}
