//! The health log: workers that were ejected, admitted on probation, or recovered.
//!
//! A change is queued under the writer lock and reported after the lock is released, so that a hook may
//! use the router. A thread that finds changes in the queue reports them, unless another thread is doing
//! so: that one looks again when it is done. So hooks run one at a time and in order, and no thread waits
//! for them.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use parking_lot::Mutex;

use crate::sync::atomic::{AtomicIsize, Ordering::SeqCst, fence};
use crate::worker::health::HealthChange;

/// Changes that may wait for a slow hook. Further ones are dropped.
const WAITING: usize = 1024;

/// Called with each change.
pub(crate) type Hook = Box<dyn Fn(&HealthChange) + Send + Sync>;

/// The hook, and the changes to be reported.
pub(crate) struct HealthLog {
    hook: Hook,
    sender: SyncSender<HealthChange>,
    receiver: Mutex<Receiver<HealthChange>>,
    /// Changes in the queue; may be lower by one while a change is being queued.
    waiting: AtomicIsize,
}

impl HealthLog {
    pub(crate) fn new(hook: Hook) -> Self {
        let (sender, receiver) = sync_channel(WAITING);
        HealthLog { hook, sender, receiver: Mutex::new(receiver), waiting: AtomicIsize::new(0) }
    }

    /// Queues a change. The caller holds the writer lock, so changes are queued in order.
    pub(crate) fn note(&self, change: HealthChange) {
        if self.sender.try_send(change).is_ok() {
            self.waiting.fetch_add(1, SeqCst);
        }
    }

    /// Reports what is queued. The caller holds no lock.
    pub(crate) fn tell(&self) {
        while self.waiting.load(SeqCst) > 0 {
            // Pairs with the fence below: either this sees the lock free, or its holder sees what
            // this thread has queued.
            fence(SeqCst);
            let Some(receiver) = self.receiver.try_lock() else { return };
            while let Ok(change) = receiver.try_recv() {
                self.waiting.fetch_sub(1, SeqCst);
                (self.hook)(&change);
            }
            drop(receiver);
            fence(SeqCst);
        }
    }
}
