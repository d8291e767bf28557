//! What the router counted, as numbers and as text.

use std::ffi::c_char;

use crate::argument::{Output, TextRoom, output, text_room};
use crate::failure::Failure;
use crate::handle::outside;
use crate::router::pointsman_router;
use crate::status::pointsman_status;

/// A router's counters since it was made.
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
    /// Tickets that were not completed in time.
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

sized!(pointsman_metrics.reserved);

export! {
    /// Reads the counters; workers have counters of their own, see
    /// pointsman_worker_describe. O(workers); allocates.
    ///
    /// Errors: POINTSMAN_INVALID_ARGUMENT, POINTSMAN_IN_CALLBACK.
    fn pointsman_router_metrics(
        router: *const pointsman_router,
        now: u64,
        metrics: *mut pointsman_metrics,
    ) -> pointsman_status => snapshot(outside(router), now, output(metrics));

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
    ) -> pointsman_status => prometheus(outside(router), now, text_room(buffer, capacity, length));

    /// As pointsman_router_prometheus without the last line, for hosts that write families of their own
    /// after it and end the text themselves.
    ///
    /// Errors: as pointsman_router_prometheus.
    fn pointsman_router_prometheus_families(
        router: *const pointsman_router,
        now: u64,
        buffer: *mut c_char,
        capacity: usize,
        length: *mut usize,
    ) -> pointsman_status => families(outside(router), now, text_room(buffer, capacity, length));
}

fn snapshot(
    router: &pointsman_router,
    now: u64,
    output: Output<pointsman_metrics>,
) -> Result<(), Failure> {
    let counted = router.at(now).metrics();
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

fn prometheus(router: &pointsman_router, now: u64, buffer: TextRoom) -> Result<(), Failure> {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = router.at(now).metrics().write_prometheus(&mut text);
    buffer.write(&text)
}

fn families(router: &pointsman_router, now: u64, buffer: TextRoom) -> Result<(), Failure> {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = router.at(now).metrics().write_families(&mut text);
    buffer.write(&text)
}
