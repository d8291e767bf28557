//! Workers are added, changed and removed.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use super::Fleet;
use super::writer::Writer;
use crate::engine::CacheMeter;
use crate::pool::error::PoolError;
use crate::pool::{registry::Registry, status::WorkerStatus};
use crate::worker::{
    WorkerId,
    change::WorkerChange,
    health::HostHealth,
    report::LoadReport,
    spec::{WorkerInfo, WorkerSpec},
};

impl Fleet {
    pub(crate) fn add(&self, spec: WorkerSpec, now: u64) -> Result<WorkerId, PoolError> {
        self.write(Some(now), |writer| {
            let prompts = &self.prompts;
            let info = writer.registry.add(spec, writer.now, |slot, spec| {
                let residency = prompts.register(slot, spec.kv_capacity_tokens);
                (prompts.url_digest(&spec.url), residency)
            })?;
            let tell = catch_unwind(AssertUnwindSafe(|| {
                for installed in writer.policies.iter() {
                    installed.policy.on_worker_added(&info);
                }
            }));
            // A worker about which a policy panics is not added: registered and never published, it would be
            // refused as a duplicate the next time.
            tell.or_else(|panic| {
                self.expel(writer, info.id)?;
                resume_unwind(panic)
            })
            .map(|()| info.id)
        })
    }

    /// Takes a worker out: no request gets it from here on. `close` then closes the tickets that are
    /// open on it, before the policies hear that it has left.
    ///
    /// The slot's generation has changed by then, so a thread that opens a ticket on it closes it again;
    /// the ones opened before are found by `close`.
    pub(crate) fn remove(
        &self,
        id: WorkerId,
        now: u64,
        close: impl FnOnce(),
    ) -> Result<(), PoolError> {
        let info = self.locked(|writer| {
            writer.advance(now);
            self.expel(writer, id)
        })?;
        close();
        for installed in self.view().policies.iter() {
            installed.policy.on_worker_removed(&info);
        }
        self.tell_change();
        Ok(())
    }

    /// Takes a worker out of the registry, and publishes that.
    fn expel(&self, writer: &mut Writer, id: WorkerId) -> Result<Arc<WorkerInfo>, PoolError> {
        let info = writer.registry.remove(id)?;
        self.publish(writer);
        // After publishing: a request that finds its worker gone reads a view without it when it tries
        // again.
        if let Some(row) = self.rows.get(id.slot()) {
            row.vacate();
        }
        self.prompts.unregister(id.slot());
        Ok(info)
    }

    /// Changes what a worker was registered as, and tells the policies.
    pub(crate) fn update(&self, id: WorkerId, change: WorkerChange) -> Result<(), PoolError> {
        self.write(None, |writer| {
            let info = writer.registry.update(id, change, |url| self.prompts.url_digest(url))?;
            self.prompts.set_capacity(id.slot(), info.kv_capacity_tokens);
            for installed in writer.policies.iter() {
                installed.policy.on_worker_changed(&info);
            }
            Ok(())
        })
    }

    /// Changes one worker's entry.
    pub(crate) fn change(
        &self,
        change: impl FnOnce(&mut Registry) -> Result<(), PoolError>,
    ) -> Result<(), PoolError> {
        self.write(None, |writer| change(&mut writer.registry))
    }

    /// Sets a worker's health as the host sees it.
    pub(crate) fn set_health(&self, id: WorkerId, health: HostHealth) -> Result<(), PoolError> {
        self.write(None, |writer| {
            writer.registry.set_health(id, health)?;
            if health == HostHealth::Unhealthy {
                self.forget_residency(writer, id.slot());
            }
            Ok(())
        })
    }

    /// A worker that was down has probably lost its cache: forgets what it was believed to hold.
    pub(super) fn forget_residency(&self, writer: &mut Writer, slot: usize) {
        writer
            .registry
            .begin_residency(slot, |info| self.prompts.register(slot, info.kv_capacity_tokens));
    }

    pub(crate) fn report_load(&self, id: WorkerId, load: &LoadReport) -> Result<(), PoolError> {
        self.locked(|writer| {
            writer.registry.check(id)?;
            if let Some(row) = self.rows.get(id.slot()) {
                row.store_report(load);
            }
            Ok(())
        })
    }

    /// Takes what the worker's events have told of its cache; one that was emptied holds nothing.
    pub(crate) fn report_cache(
        &self,
        id: WorkerId,
        meter: &mut CacheMeter,
    ) -> Result<(), PoolError> {
        let (slot, block) = (id.slot(), self.prompts.tokens_of_a_block());
        let is_emptied = self.locked(|writer| {
            writer.registry.check(id)?;
            let drained = meter.drain(block);
            if !drained.is_emptied {
                self.prompts.hear(slot, &drained);
            }
            Ok(drained.is_emptied.then_some(drained))
        })?;
        let Some(drained) = is_emptied else { return Ok(()) };
        self.write(None, |writer| {
            writer.registry.check(id)?;
            self.forget_residency(writer, slot);
            self.prompts.hear(slot, &drained);
            Ok(())
        })
    }

    /// What the worker was registered as.
    pub(crate) fn info(&self, id: WorkerId) -> Option<Arc<WorkerInfo>> {
        self.view().pool.info(id.slot()).filter(|info| info.id == id).map(Arc::clone)
    }

    pub(crate) fn by_url(&self, url: &str) -> Option<WorkerId> {
        self.locked(|writer| writer.registry.by_url(url))
    }

    pub(crate) fn statuses(&self, now: u64) -> Vec<WorkerStatus> {
        self.locked(|writer| writer.registry.statuses(now))
    }
}
