//! Telling those who wait that a place may have come free.
//!
//! A refusal notes that somebody waits, and looks once more; whoever gives something back looks whether
//! somebody waits. So one of the two sees the other: of
//!
//! ```text
//!   waiter:  wanted = true; fence; look for room      giver:  give back; look at wanted
//! ```
//!
//! the waiter's store and fence, and the giver's read-modify-write and load, are sequentially consistent.
//! If the waiter finds no room, its look comes before the giver's read-modify-write in their one order, so
//! its store comes before the giver's load, and the giver tells. A ticket's entry is given back before the
//! load of the worker that answers, so that one read-modify-write orders both. A giver that sees nobody
//! wait has paid one load.

use std::task::Waker;

use parking_lot::Mutex;

use crate::sync::atomic::{AtomicBool, Ordering::SeqCst};
use crate::sync::fence;

/// Called when a place may have come free.
pub(crate) type Hook = Box<dyn Fn() + Send + Sync>;

/// Who waits for room.
pub(crate) struct Room {
    /// Whether somebody waits, and has not been told since.
    wanted: AtomicBool,
    hook: Option<Hook>,
    tasks: Mutex<Vec<Waker>>,
}

impl Room {
    pub(crate) fn new(hook: Option<Hook>) -> Self {
        Room { wanted: AtomicBool::new(false), hook, tasks: Mutex::new(Vec::new()) }
    }

    /// Whether a refused host can be told.
    pub(crate) fn has_hook(&self) -> bool {
        self.hook.is_some()
    }

    /// What is given back from here on is told. The caller then looks for room once more.
    pub(crate) fn want(&self) {
        self.wanted.store(true, SeqCst);
        fence(SeqCst);
    }

    /// The same, of a task.
    pub(crate) fn wake(&self, task: &Waker) {
        let mut tasks = self.tasks.lock();
        if !tasks.iter().any(|known| known.will_wake(task)) {
            tasks.push(task.clone());
        }
        drop(tasks);
        self.want();
    }

    /// Something was given back, by a sequentially consistent read-modify-write or before a fence.
    #[inline(always)]
    pub(crate) fn given_back(&self) {
        if self.wanted.load(SeqCst) {
            self.tell();
        }
    }

    /// Tells once, whoever else gives back at this moment. The caller holds no lock.
    #[cold]
    #[inline(never)]
    fn tell(&self) {
        if !self.wanted.swap(false, SeqCst) {
            return;
        }
        // Those that come from here on note that they wait, and are told the next time.
        let tasks = std::mem::take(&mut *self.tasks.lock());
        tasks.into_iter().for_each(Waker::wake);
        if let Some(hook) = &self.hook {
            hook();
        }
    }
}
