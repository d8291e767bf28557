//! Workers: looked up and listed.

use std::ffi::c_char;
use std::sync::Arc;

use pointsman_core::{PoolError, WorkerInfo, WorkerStatus};

use crate::argument::{
    Out, Output, Outputs, TextRoom, out, output, output_array, slice_mut, text, text_room,
};
use crate::failure::Failure;
use crate::handle::{handle, outside};
use crate::role::pointsman_role;
use crate::router::pointsman_router;
use crate::status::pointsman_status;
use crate::worker::id;

/// A worker's state and counters.
#[allow(non_camel_case_types)]
#[derive(Clone, Copy)]
#[repr(C)]
pub struct pointsman_worker_info {
    /// Set by POINTSMAN_WORKER_INFO_INIT.
    pub size: u32,
    /// What it does.
    pub role: pointsman_role,
    /// Its id.
    pub worker: u64,
    /// The host's own number.
    pub user_data: u64,
    /// The weight as configured.
    pub weight: f64,
    /// The weight in force: lowered during slow start or overload.
    pub effective_weight: f64,
    /// 1 if its health lets it take new work, else 0.
    pub healthy: u32,
    /// 1 if it gets one request at a time, to see if it has recovered; else 0.
    pub on_probation: u32,
    /// 1 if it is draining, else 0.
    pub draining: u32,
    /// Its slot.
    pub slot: u32,
    /// Requests in flight.
    pub in_flight: u64,
    /// Requests ever sent to it.
    pub selections: u64,
    /// KV tokens that its requests in flight are expected to hold at their end.
    pub resident_tokens: u64,
    /// Cached tokens predicted, over the requests whose usage was reported.
    pub predicted_cached_tokens: u64,
    /// Cached tokens that it reported for those requests.
    pub reported_cached_tokens: u64,
    /// Requests that ended with POINTSMAN_OUTCOME_CLIENT_CANCELLED.
    pub client_cancelled: u64,
    /// Requests that ended with POINTSMAN_OUTCOME_CLIENT_ERROR.
    pub client_error: u64,
    /// Requests that ended with POINTSMAN_OUTCOME_WORKER_ERROR.
    pub worker_error: u64,
    /// Requests that ended with POINTSMAN_OUTCOME_TIMEOUT.
    pub timeout: u64,
    /// Requests that ended with POINTSMAN_OUTCOME_OVERLOADED.
    pub overloaded: u64,
    /// Requests that were not completed in time.
    pub expired: u64,
    /// Requests that it may hold at once; 0: no limit.
    pub max_in_flight: u32,
    /// 0.
    pub reserved: u32,
}

sized!(pointsman_worker_info.reserved);

export! {
    /// Finds the worker registered with a URL.
    ///
    /// Errors: POINTSMAN_INVALID_ARGUMENT, POINTSMAN_NOT_FOUND, POINTSMAN_IN_CALLBACK.
    fn pointsman_worker_find(
        router: *const pointsman_router,
        url: *const c_char,
        url_length: usize,
        worker: *mut u64,
    ) -> pointsman_status => find(outside(router), text(url, url_length), out(worker));

    /// Copies a worker's URL and a final NUL into buffer. length may be NULL; it gets the URL's
    /// length without the NUL. Neither locks nor allocates.
    ///
    /// Errors: POINTSMAN_INVALID_ARGUMENT; POINTSMAN_NOT_FOUND; POINTSMAN_BUFFER_TOO_SMALL, where
    /// length is written nevertheless.
    fn pointsman_worker_url(
        router: *const pointsman_router,
        worker: u64,
        buffer: *mut c_char,
        capacity: usize,
        length: *mut usize,
    ) -> pointsman_status => url(handle(router), worker, text_room(buffer, capacity, length));

    /// Reads a worker's slot, below 1,024: what pointsman_request's allowed_words counts, until the
    /// worker is removed. O(1); neither locks nor allocates.
    ///
    /// Errors: POINTSMAN_INVALID_ARGUMENT, POINTSMAN_NOT_FOUND.
    fn pointsman_worker_slot(
        router: *const pointsman_router,
        worker: u64,
        slot: *mut u32,
    ) -> pointsman_status => slot(handle(router), worker, out(slot));

    /// Describes a worker. O(workers), allocates: for listings, not for requests.
    ///
    /// Errors: POINTSMAN_INVALID_ARGUMENT, POINTSMAN_NOT_FOUND, POINTSMAN_IN_CALLBACK.
    fn pointsman_worker_describe(
        router: *const pointsman_router,
        worker: u64,
        now: u64,
        info: *mut pointsman_worker_info,
    ) -> pointsman_status => describe(outside(router), worker, now, output(info));

    /// Lists the ids of all workers, in the order of their slots. capacity and count are numbers of ids;
    /// count gets how many there are. O(workers), allocates.
    ///
    /// Errors: POINTSMAN_INVALID_ARGUMENT; POINTSMAN_BUFFER_TOO_SMALL, where count is written
    /// nevertheless; POINTSMAN_IN_CALLBACK.
    fn pointsman_workers(
        router: *const pointsman_router,
        workers: *mut u64,
        capacity: usize,
        count: *mut usize,
    ) -> pointsman_status => list(outside(router), slice_mut(workers, capacity), out(count));

    /// Describes all workers, in the order of their slots, as of one moment. infos is an array of capacity
    /// elements; the first one's size, set by POINTSMAN_WORKER_INFO_INIT, says how far they lie apart, the
    /// others need none. capacity and count are numbers of elements; count gets how many workers there
    /// are. infos may be NULL with a capacity of 0, to ask for the count. URLs are read by
    /// pointsman_worker_url. O(workers), allocates.
    ///
    /// Errors: POINTSMAN_INVALID_ARGUMENT; POINTSMAN_BUFFER_TOO_SMALL, where count is written
    /// nevertheless; POINTSMAN_IN_CALLBACK.
    fn pointsman_workers_describe(
        router: *const pointsman_router,
        now: u64,
        infos: *mut pointsman_worker_info,
        capacity: usize,
        count: *mut usize,
    ) -> pointsman_status => describe_all(outside(router), now, output_array(infos, capacity), out(count));
}

fn find(router: &pointsman_router, url: &str, out: Out<u64>) -> Result<(), Failure> {
    let found = router.router.worker_by_url(url).ok_or(Failure::NoSuchUrl)?;
    out.write(found.to_raw());
    Ok(())
}

/// A registered worker.
fn known(router: &pointsman_router, worker: u64) -> Result<Arc<WorkerInfo>, Failure> {
    let id = id(worker)?;
    Ok(router.router.worker(id).ok_or(PoolError::UnknownWorker(id))?)
}

fn url(router: &pointsman_router, worker: u64, buffer: TextRoom) -> Result<(), Failure> {
    buffer.write(&known(router, worker)?.url)
}

fn slot(router: &pointsman_router, worker: u64, out: Out<u32>) -> Result<(), Failure> {
    out.write(known(router, worker)?.id.slot() as u32);
    Ok(())
}

fn describe(
    router: &pointsman_router,
    worker: u64,
    now: u64,
    output: Output<pointsman_worker_info>,
) -> Result<(), Failure> {
    let id = id(worker)?;
    let status = router.at(now).workers().into_iter().find(|status| status.info.id == id);
    output.write(info_of(&status.ok_or(PoolError::UnknownWorker(id))?));
    Ok(())
}

fn describe_all(
    router: &pointsman_router,
    now: u64,
    infos: Outputs<pointsman_worker_info>,
    count: Out<usize>,
) -> Result<(), Failure> {
    let statuses = router.at(now).workers();
    count.write(statuses.len());
    infos.write(statuses.len(), statuses.iter().map(info_of))
}

fn info_of(status: &WorkerStatus) -> pointsman_worker_info {
    let id = status.info.id;
    let [_, client_cancelled, client_error, worker_error, timeout, overloaded, expired] =
        status.outcomes;
    pointsman_worker_info {
        size: size_of::<pointsman_worker_info>() as u32,
        role: status.info.role.index() as u32,
        worker: id.to_raw(),
        user_data: status.info.user_data,
        weight: status.weight,
        effective_weight: status.effective_weight,
        healthy: status.healthy.into(),
        on_probation: status.on_probation.into(),
        draining: status.draining.into(),
        slot: id.slot() as u32,
        in_flight: status.in_flight as u64,
        selections: status.selections,
        resident_tokens: status.resident_tokens,
        predicted_cached_tokens: status.predicted_cached_tokens,
        reported_cached_tokens: status.reported_cached_tokens,
        client_cancelled,
        client_error,
        worker_error,
        timeout,
        overloaded,
        expired,
        max_in_flight: status.max_in_flight.unwrap_or(0),
        reserved: 0,
    }
}

fn list(router: &pointsman_router, out: &mut [u64], count: Out<usize>) -> Result<(), Failure> {
    let statuses = router.router.workers();
    count.write(statuses.len());
    let target = out.get_mut(..statuses.len()).ok_or(Failure::ArrayTooSmall(statuses.len()))?;
    for (place, status) in target.iter_mut().zip(&statuses) {
        *place = status.info.id.to_raw();
    }
    Ok(())
}
