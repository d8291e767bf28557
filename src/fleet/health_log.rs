//! The health log: workers that were ejected, let in on probation, or recovered.
//!
//! A change is noted under the writer lock and told after it is let go, so that a hook may use the
//! router. Whoever finds changes waiting tells them, unless another thread is at it: that one looks
//! again when it is done. So hooks run one at a time and in order, and nobody waits for them.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use parking_lot::Mutex;

use crate::sync::atomic::{AtomicIsize, Ordering::SeqCst, fence};
use crate::worker::health::HealthChange;

/// Changes that may wait for a slow hook. What comes on top is dropped.
const WAITING: usize = 1024;

/// Called with each change.
pub(crate) type Hook = Box<dyn Fn(&HealthChange) + Send + Sync>;

/// The hook, and what is still to be told.
pub(crate) struct HealthLog {
    hook: Hook,
    sender: SyncSender<HealthChange>,
    receiver: Mutex<Receiver<HealthChange>>,
    /// To whoever holds the receiver: at most what is in the queue, less while one is being noted.
    waiting: AtomicIsize,
}

impl HealthLog {
    pub(crate) fn new(hook: Hook) -> Self {
        let (sender, receiver) = sync_channel(WAITING);
        HealthLog { hook, sender, receiver: Mutex::new(receiver), waiting: AtomicIsize::new(0) }
    }

    /// Notes a change. The caller holds the writer lock, so changes are noted in order.
    pub(crate) fn note(&self, change: HealthChange) {
        if self.sender.try_send(change).is_ok() {
            self.waiting.fetch_add(1, SeqCst);
        }
    }

    /// Tells what is waiting. The caller holds no lock.
    pub(crate) fn tell(&self) {
        while self.waiting.load(SeqCst) > 0 {
            // Pairs with the fence below: either this sees the lock free, or its holder sees what
            // this thread has noted.
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
