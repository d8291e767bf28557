//! Where the load of a worker is found.

use crate::worker::state::WorkerState;

/// Where the load of a slot is found.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Loads<'a> {
    /// In the router's own rows.
    Rows(&'a [WorkerState]),
    /// Wherever a host keeps its workers.
    #[cfg_attr(not(feature = "async"), expect(dead_code))]
    Host(HostLoads<'a>),
}

/// Where the load of one worker is found.
#[derive(Clone, Copy, Debug)]
pub(super) enum Load<'a> {
    Row(&'a WorkerState),
    Host(HostLoads<'a>),
}

/// The load of workers that a host counts itself.
#[cfg(feature = "async")]
pub(crate) trait LoadSource: std::fmt::Debug {
    /// Whether there is a worker in this slot.
    fn has(&self, slot: usize) -> bool;
    /// Requests in flight.
    fn in_flight(&self, slot: usize) -> usize;
    /// KV tokens that the requests in flight are expected to hold at their end.
    fn resident_tokens(&self, slot: usize) -> u64;
    /// The row that has the worker's last report, if it embeds one.
    fn state(&self, slot: usize) -> Option<&WorkerState>;
}

#[cfg(feature = "async")]
pub(crate) type HostLoads<'a> = &'a dyn LoadSource;

/// Only the adapter has hosts' loads: without it there is no such value, and no code that asks for one.
#[cfg(not(feature = "async"))]
#[derive(Clone, Copy, Debug)]
pub(crate) struct HostLoads<'a>(std::convert::Infallible, std::marker::PhantomData<&'a ()>);

#[cfg(not(feature = "async"))]
impl<'a> HostLoads<'a> {
    pub(super) fn has(self, _slot: usize) -> bool {
        match self.0 {}
    }

    pub(super) fn in_flight(self, _slot: usize) -> usize {
        match self.0 {}
    }

    pub(super) fn resident_tokens(self, _slot: usize) -> u64 {
        match self.0 {}
    }

    pub(super) fn state(self, _slot: usize) -> Option<&'a WorkerState> {
        match self.0 {}
    }
}

impl<'a> Load<'a> {
    #[inline]
    pub(super) fn in_flight(self, slot: usize) -> usize {
        match self {
            Load::Row(row) => row.in_flight(),
            Load::Host(source) => source.in_flight(slot),
        }
    }

    #[inline]
    pub(super) fn resident_tokens(self, slot: usize) -> u64 {
        match self {
            Load::Row(row) => row.resident_tokens(),
            Load::Host(source) => source.resident_tokens(slot),
        }
    }

    #[inline]
    pub(super) fn state(self, slot: usize) -> Option<&'a WorkerState> {
        match self {
            Load::Row(row) => Some(row),
            Load::Host(source) => source.state(slot),
        }
    }
}

impl<'a> Loads<'a> {
    #[inline(always)]
    pub(super) fn of(self, slot: usize) -> Option<Load<'a>> {
        match self {
            Loads::Rows(rows) => Some(Load::Row(rows.get(slot)?)),
            Loads::Host(source) if source.has(slot) => Some(Load::Host(source)),
            Loads::Host(_) => None,
        }
    }

    /// The router's own row of this slot: where a limit is looked up.
    #[inline(always)]
    pub(super) fn row(self, slot: usize) -> Option<&'a WorkerState> {
        match self {
            Loads::Rows(rows) => rows.get(slot),
            Loads::Host(_) => None,
        }
    }
}
