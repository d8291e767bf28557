//! What the router counted, as numbers and as text.

use std::ffi::c_char;

use pointsman_core::MetricsSnapshot;

use crate::argument::{self, Output};
use crate::router::{outside_callbacks, pointsman_router, time};
use crate::status::{Failure, pointsman_status};

/// What a router has counted since it was made.
#[allow(non_camel_case_types)]
#[derive(Clone, Copy)]
#[repr(C)]
pub struct pointsman_metrics {
    /// Set by POINTSMAN_METRICS_INIT.
    pub size: u32,
    /// Workers registered now.
    pub workers: u32,
    /// Of these, healthy and not draining.
    pub eligible_workers: u32,
    /// 0.
    pub reserved: u32,
    /// Decisions made; a pair counts as two.
    pub decisions: u64,
    /// Requests in flight now, over all workers.
    pub in_flight: u64,
    /// Tickets open now.
    pub tickets_open: u64,
    /// Most that can be open.
    pub tickets_capacity: u64,
    /// Selections that got no ticket because the table was full.
    pub tickets_untracked: u64,
    /// Tickets that nobody completed in time.
    pub tickets_expired: u64,
    /// Bytes that the ticket table holds.
    pub tickets_bytes: u64,
    /// Bytes that the prefix tree may hold.
    pub tree_budget_bytes: u64,
    /// Bytes that it holds.
    pub tree_held_bytes: u64,
    /// Nodes that it wrote.
    pub tree_inserted_nodes: u64,
    /// Nodes that it replaced to make room.
    pub tree_evicted_nodes: u64,
    /// Inserts and touches skipped because another thread wrote to the same set.
    pub tree_skipped: u64,
}

sized!(pointsman_metrics);

export! {
    /// Tells what was counted so far; workers have counters of their own, see
    /// pointsman_worker_describe. O(workers); allocates.
    ///
    /// Errors: POINTSMAN_INVALID_ARGUMENT, POINTSMAN_IN_CALLBACK.
    fn pointsman_router_metrics(
        router: *const pointsman_router,
        now: u64,
        metrics: *mut pointsman_metrics,
    ) -> pointsman_status => snapshot;

    /// Writes every counter as OpenMetrics text, which Prometheus reads, and a final NUL, into buffer;
    /// serve it as POINTSMAN_METRICS_CONTENT_TYPE. length may be NULL; it gets the text's length without
    /// the NUL. About 4 KiB, and 2 KiB for each worker. The last line is "# EOF".
    ///
    /// Errors: POINTSMAN_INVALID_ARGUMENT; POINTSMAN_BUFFER_TOO_SMALL, where length is written
    /// nevertheless; POINTSMAN_IN_CALLBACK.
    fn pointsman_router_prometheus(
        router: *const pointsman_router,
        now: u64,
        buffer: *mut c_char,
        capacity: usize,
        length: *mut usize,
    ) -> pointsman_status => prometheus;

    /// As pointsman_router_prometheus without the last line, for hosts that write families of their own
    /// behind it and end the text themselves.
    fn pointsman_router_prometheus_families(
        router: *const pointsman_router,
        now: u64,
        buffer: *mut c_char,
        capacity: usize,
        length: *mut usize,
    ) -> pointsman_status => families;
}

/// # Safety
/// See the export.
unsafe fn snapshot(
    router: *const pointsman_router,
    now: u64,
    metrics: *mut pointsman_metrics,
) -> Result<(), Failure> {
    // SAFETY: the caller's promise.
    let (router, output) =
        unsafe { (&outside_callbacks(router)?.router, Output::new(metrics, "metrics")?) };
    let counted = router.at(time(router, now)).metrics();
    let eligible = counted.workers.iter().filter(|worker| worker.healthy && !worker.draining);
    let (tickets, tree) = (&counted.tickets, &counted.tree);
    output.write(pointsman_metrics {
        size: size_of::<pointsman_metrics>() as u32,
        workers: counted.workers.len() as u32,
        eligible_workers: eligible.count() as u32,
        reserved: 0,
        decisions: counted.decisions.iter().map(|row| row.count).sum(),
        in_flight: counted.workers.iter().map(|worker| worker.in_flight as u64).sum(),
        tickets_open: tickets.open as u64,
        tickets_capacity: tickets.capacity as u64,
        tickets_untracked: tickets.untracked,
        tickets_expired: tickets.expired,
        tickets_bytes: tickets.bytes as u64,
        tree_budget_bytes: tree.budget_bytes,
        tree_held_bytes: tree.held_bytes,
        tree_inserted_nodes: tree.inserted_nodes,
        tree_evicted_nodes: tree.evicted_nodes,
        tree_skipped: tree.skipped,
    });
    Ok(())
}

/// # Safety
/// See the export.
unsafe fn prometheus(
    router: *const pointsman_router,
    now: u64,
    buffer: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> Result<(), Failure> {
    // SAFETY: the caller's promise.
    let snapshot = unsafe { counted(router, now) }?;
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = snapshot.write_prometheus(&mut text);
    // SAFETY: the caller's promise.
    unsafe { argument::copy_text(text.as_bytes(), buffer, capacity, length) }
}

/// # Safety
/// See the export.
unsafe fn families(
    router: *const pointsman_router,
    now: u64,
    buffer: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> Result<(), Failure> {
    // SAFETY: the caller's promise.
    let snapshot = unsafe { counted(router, now) }?;
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = snapshot.write_families(&mut text);
    // SAFETY: the caller's promise.
    unsafe { argument::copy_text(text.as_bytes(), buffer, capacity, length) }
}

/// # Safety
/// See the export.
unsafe fn counted(router: *const pointsman_router, now: u64) -> Result<MetricsSnapshot, Failure> {
    // SAFETY: the caller's promise.
    let router = &unsafe { outside_callbacks(router) }?.router;
    Ok(router.at(time(router, now)).metrics())
}
