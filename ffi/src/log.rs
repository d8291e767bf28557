//! Logs: messages, decisions and changes of health.

use std::ffi::{c_char, c_void};
use std::fmt;

use pointsman_core::{DecisionRecord, HealthChange, HealthState};

use crate::callback::{Callback, in_callback};
use crate::reason::pointsman_reason;
use crate::role::pointsman_role;
use crate::text::Text;

/// Writes to a log if it wants the level; formats nothing otherwise.
macro_rules! write {
    ($log:expr, $level:ident, $($message:tt)*) => {
        if $log.wants($crate::log::level::$level) {
            $log.write($crate::log::level::$level, format_args!($($message)*));
        }
    };
}
pub(crate) use write;

/// How much a log receives: one of the POINTSMAN_LOG_ constants, each of which includes those above it.
#[allow(non_camel_case_types)]
pub type pointsman_log_level = i32;

/// Nothing.
pub const POINTSMAN_LOG_NONE: pointsman_log_level = 0;
/// A policy of the host's own failed, or chose no candidate.
pub const POINTSMAN_LOG_ERROR: pointsman_log_level = 1;
/// A request found no worker or could not be read; a worker was ejected.
pub const POINTSMAN_LOG_WARNING: pointsman_log_level = 2;
/// Workers were added, removed, changed or recovered; a policy was switched.
pub const POINTSMAN_LOG_INFO: pointsman_log_level = 3;
/// Every decision, as the line of pointsman_selection_print.
pub const POINTSMAN_LOG_DEBUG: pointsman_log_level = 4;

/// A worker's health by outcomes and time: one of the POINTSMAN_STATE_ constants.
#[allow(non_camel_case_types)]
pub type pointsman_state = u32;

/// A worker takes its share again.
pub const POINTSMAN_STATE_HEALTHY: pointsman_state = 0;
/// A worker gets nothing: it failed too often in a row, or on probation.
pub const POINTSMAN_STATE_EJECTED: pointsman_state = 1;
/// A worker gets one request at a time, to see if it has recovered.
pub const POINTSMAN_STATE_PROBATION: pointsman_state = 2;

/// Receives messages. Called on the thread that caused the message, before the call that caused it
/// returns, possibly by several threads at once; no lock is held. Messages about a worker's health
/// come as pointsman_health_callback says. message is UTF-8, NUL-terminated, at most 1,023 bytes
/// without a line end, and valid during the call only. What callbacks do themselves causes no message.
///
/// It must return, not throw. What it may call is said under "Callbacks" at the top of this header.
#[allow(non_camel_case_types)]
pub type pointsman_log_callback = Option<
    unsafe extern "C" fn(
        user_data: *mut c_void,
        level: pointsman_log_level,
        message: *const c_char,
        length: usize,
    ),
>;

/// One decision, for the decision log. Belongs to the library and is valid during the call.
#[allow(non_camel_case_types)]
#[derive(Clone, Copy)]
#[repr(C)]
pub struct pointsman_decision_record {
    /// sizeof this struct in the library.
    pub size: u32,
    /// The role that a worker was chosen for.
    pub role: pointsman_role,
    /// When, on the clock that the host uses for this router.
    pub now: u64,
    /// The request's ticket.
    pub ticket: u64,
    /// The worker that was chosen.
    pub worker: u64,
    /// The best of those not chosen; 0 where the policy did not compare.
    pub runner_up: u64,
    /// What the policy minimised.
    pub score: f64,
    /// The same for the runner-up.
    pub runner_up_score: f64,
    /// Why.
    pub reason: pointsman_reason,
    /// Leading tokens of the prompt that the worker is believed to hold.
    pub matched_tokens: u32,
    /// Tokens of the prompt.
    pub total_tokens: u32,
    /// Leading tokens of the prompt that best_match is believed to hold.
    pub best_match_tokens: u32,
    /// The candidate with the longest match; 0 where the prompt was not read, or no candidate held any of it.
    pub best_match: u64,
}

/// Receives decisions, on the thread that asked, before pointsman_select returns. It must return, not
/// throw. What it selects itself is not logged. What it may call is said under "Callbacks" at the top of
/// this header.
#[allow(non_camel_case_types)]
pub type pointsman_decision_callback =
    Option<unsafe extern "C" fn(user_data: *mut c_void, record: *const pointsman_decision_record)>;

/// A change of a worker's health by the outcomes of requests or by time. Belongs to the library and is
/// valid during the call.
#[allow(non_camel_case_types)]
#[derive(Clone, Copy)]
#[repr(C)]
pub struct pointsman_health_change {
    /// sizeof this struct in the library.
    pub size: u32,
    /// What the worker has become.
    pub state: pointsman_state,
    /// When, on the clock that the host uses for this router.
    pub now: u64,
    /// Which worker.
    pub worker: u64,
    /// The host's own number of it.
    pub user_data: u64,
    /// When probation begins, if it was ejected; else 0.
    pub until: u64,
}

/// Receives changes of health, in order and by one thread at a time: the one whose call caused the
/// change, before that call returns, or one that is reporting an earlier change at that moment. Other
/// threads do not wait for it. Up to 1,024 changes are queued; further ones are dropped. What the host
/// sets by pointsman_worker_set_health is not reported.
///
/// It must return, not throw. What it may call is said under "Callbacks" at the top of this header.
#[allow(non_camel_case_types)]
pub type pointsman_health_callback =
    Option<unsafe extern "C" fn(user_data: *mut c_void, change: *const pointsman_health_change)>;

type HealthFunction = unsafe extern "C" fn(*mut c_void, *const pointsman_health_change);
type DecisionFunction = unsafe extern "C" fn(*mut c_void, *const pointsman_decision_record);
type LogFunction = unsafe extern "C" fn(*mut c_void, pointsman_log_level, *const c_char, usize);

/// A host's health log.
#[derive(Clone, Copy)]
pub(crate) struct HealthLog(Callback<HealthFunction>);

impl HealthLog {
    pub(crate) fn new(callback: pointsman_health_callback, user_data: *mut c_void) -> Option<Self> {
        Some(HealthLog(Callback::new(callback?, user_data)))
    }

    pub(crate) fn write(&self, change: &HealthChange) {
        let (state, until) = match change.state {
            HealthState::Ejected { until } => (POINTSMAN_STATE_EJECTED, until.as_nanos()),
            HealthState::Probation => (POINTSMAN_STATE_PROBATION, 0),
            _ => (POINTSMAN_STATE_HEALTHY, 0),
        };
        let raw = pointsman_health_change {
            size: size_of::<pointsman_health_change>() as u32,
            state,
            now: change.now.as_nanos(),
            worker: change.worker.id.to_raw(),
            user_data: change.worker.user_data,
            until,
        };
        // SAFETY: the host's promise at registration; the change is valid during the call.
        self.0.call(|function, user_data| unsafe { function(user_data, &raw) });
    }
}

/// A host's decision log.
#[derive(Clone, Copy)]
pub(crate) struct DecisionLog {
    pub(crate) every: u32,
    callback: Callback<DecisionFunction>,
}

impl DecisionLog {
    pub(crate) fn new(
        every: u32,
        callback: pointsman_decision_callback,
        user_data: *mut c_void,
    ) -> Option<Self> {
        Some(DecisionLog { every, callback: Callback::new(callback?, user_data) })
    }

    pub(crate) fn write(&self, record: &DecisionRecord) {
        let (runner_up, best) = (record.runner_up, record.best_match);
        let raw = pointsman_decision_record {
            size: size_of::<pointsman_decision_record>() as u32,
            role: record.role.index() as u32,
            now: record.now.as_nanos(),
            ticket: record.ticket.to_raw(),
            worker: record.worker.to_raw(),
            runner_up: runner_up.map_or(0, |other| other.worker.to_raw()),
            score: record.score,
            runner_up_score: runner_up.map_or(0.0, |other| other.score),
            reason: record.reason as u32,
            matched_tokens: record.matched_tokens,
            total_tokens: record.total_tokens,
            best_match_tokens: best.map_or(0, |best| best.tokens),
            best_match: best.map_or(0, |best| best.worker.to_raw()),
        };
        // SAFETY: the host's promise at registration; the record is valid during the call.
        self.callback.call(|function, user_data| unsafe { function(user_data, &raw) });
    }
}

/// A host's log.
#[derive(Clone, Copy)]
pub(crate) struct Log {
    callback: Option<Callback<LogFunction>>,
    /// The most talkative level that the host wants.
    level: pointsman_log_level,
}

impl Log {
    pub(crate) const NONE: Log = Log { callback: None, level: POINTSMAN_LOG_NONE };

    pub(crate) fn new(
        level: pointsman_log_level,
        callback: pointsman_log_callback,
        user_data: *mut c_void,
    ) -> Self {
        callback.map_or(Log::NONE, |function| Log {
            callback: Some(Callback::new(function, user_data)),
            level,
        })
    }

    #[inline(always)]
    pub(crate) fn wants(&self, level: pointsman_log_level) -> bool {
        level <= self.level
    }

    pub(crate) fn health(&self, change: &HealthChange) {
        let (id, url) = (change.worker.id, &change.worker.url);
        match change.state {
            HealthState::Ejected { until } => {
                let secs = until.abs_diff(change.now).as_secs_f64();
                write!(self, WARNING, "worker {id} ejected for {secs} s: {url}");
            }
            HealthState::Probation => write!(self, INFO, "worker {id} on probation: {url}"),
            _ => write!(self, INFO, "worker {id} healthy again: {url}"),
        }
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn write(&self, level: pointsman_log_level, message: fmt::Arguments<'_>) {
        let Some(callback) = self.callback.filter(|_| !in_callback()) else { return };
        let mut text = Text::<1024>::new();
        text.set(message);
        let (pointer, length) = (text.as_ptr(), text.as_bytes().len());
        // SAFETY: the host's promise at registration; the text is valid and NUL-terminated.
        callback.call(|function, user_data| unsafe { function(user_data, level, pointer, length) });
    }
}

/// The levels under short names, for [`write!`].
pub(crate) mod level {
    pub(crate) use super::{
        POINTSMAN_LOG_DEBUG as DEBUG, POINTSMAN_LOG_ERROR as ERROR, POINTSMAN_LOG_INFO as INFO,
        POINTSMAN_LOG_WARNING as WARNING,
    };
}
