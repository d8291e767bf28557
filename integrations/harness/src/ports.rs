//! Free ports that nothing else on the machine takes by chance.

use std::collections::HashSet;
use std::net::TcpListener;
use std::ops::Range;
use std::sync::{LazyLock, Mutex, PoisonError};

use rand::RngExt;

use crate::http::AnyError;

/// Ports handed out already.
static TAKEN: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);

/// A free port below those that the system gives to outgoing connections: the port of an engine that
/// is down for a while must not become the local end of a connection, least of all of one to
/// that very port, which would then be connected to itself.
pub(crate) fn free() -> Result<u16, AnyError> {
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    let range = candidates();
    for _ in 0..10_000 {
        let port = rand::rng().random_range(range.clone());
        if !taken.contains(&port) && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            taken.insert(port);
            return Ok(port);
        }
    }
    Err(format!("no free port in {range:?}").into())
}

fn candidates() -> Range<u16> {
    let ephemeral = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok();
    let low = ephemeral.and_then(|text| text.split_whitespace().next()?.parse().ok());
    10_240..low.filter(|&low| low > 12_000).unwrap_or(32_768)
}
