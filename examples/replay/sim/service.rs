//! What workers do with a request: prefill, transfer, decode.

use super::engine::{Event, Simulation};
use super::fleet::Stage;
use super::oracle::saved;
use crate::gateway::Gateway;

impl Simulation<'_> {
    /// Starts the prefill of the queue's head if the worker is free and has room for it.
    pub(super) fn start_prefill(&mut self, now: f64, index: usize) {
        let worker = &mut self.workers[index];
        if worker.prefilling.is_some() {
            return;
        }
        let Some(&id) = worker.queue.front() else { return };
        if worker.running.len() >= worker.model.max_sequences {
            return;
        }
        let request = &self.trace.requests[id];
        let blocks = self.trace.input_blocks(id);
        let hits = worker.cache.leading(blocks);
        let output = if worker.model.stage == Stage::Prefill { 0 } else { request.output };
        let total = (u64::from(request.input) + u64::from(output))
            .div_ceil(u64::from(self.trace.block)) as usize;
        let fresh = total.saturating_sub(hits);
        if !worker.cache.admit(&blocks[..hits], fresh, worker.running.is_empty()) {
            return;
        }
        worker.queue.pop_front();
        worker.running.push(id);
        worker.prefilling = Some((id, now));
        let cached = saved(hits, self.trace.block, request.input);
        let job = &mut self.jobs[id];
        (job.hits, job.fresh, job.cached) = (hits, fresh, cached);
        let end = now + worker.prefill_seconds(request.input - cached);
        let life = worker.life;
        self.at(end, Event::PrefillEnd { worker: index, life });
    }

    pub(super) fn prefill_end(
        &mut self,
        now: f64,
        index: usize,
        gateways: &mut [Box<dyn Gateway + '_>],
    ) {
        let worker = &mut self.workers[index];
        let Some((id, since)) = worker.prefilling.take() else { return };
        worker.busy += now - since;
        let blocks = self.trace.input_blocks(id);
        let hits = self.jobs[id].hits;
        worker.cache.fill(&blocks[hits..]);
        self.served[id].cached = self.jobs[id].cached;
        self.served[id].worker = index;
        if worker.model.stage == Stage::Prefill {
            worker.cache.unreserve(self.jobs[id].fresh.saturating_sub(blocks.len() - hits));
            worker.cache.release(blocks);
            worker.running.retain(|&job| job != id);
            let moved = f64::from(self.trace.requests[id].input) * self.fleet.transfer_per_token;
            let attempt = self.jobs[id].attempt;
            self.at(now + moved, Event::Transferred { job: id, attempt });
        } else {
            self.first_token(now, id, gateways);
            self.decode(now, id, index, gateways);
        }
        self.start_prefill(now, index);
    }

    pub(super) fn transferred(
        &mut self,
        now: f64,
        id: usize,
        gateways: &mut [Box<dyn Gateway + '_>],
    ) {
        let index = self.jobs[id].decode;
        if !self.workers[index].alive {
            return self.lost(now, id, index, gateways);
        }
        self.workers[index].queue.push_back(id);
        self.admit_decode(now, index, gateways);
    }

    /// Lets waiting requests into a decode worker while it has room.
    fn admit_decode(&mut self, now: f64, index: usize, gateways: &mut [Box<dyn Gateway + '_>]) {
        loop {
            let worker = &mut self.workers[index];
            let Some(&id) = worker.queue.front() else { return };
            let request = &self.trace.requests[id];
            let total = (u64::from(request.input) + u64::from(request.output))
                .div_ceil(u64::from(self.trace.block)) as usize;
            let full = worker.running.len() >= worker.model.max_sequences;
            if full || !worker.cache.admit(&[], total, worker.running.is_empty()) {
                return;
            }
            worker.queue.pop_front();
            worker.running.push(id);
            self.jobs[id].fresh = total;
            self.first_token(now, id, gateways);
            self.decode(now, id, index, gateways);
        }
    }

    fn decode(
        &mut self,
        now: f64,
        id: usize,
        index: usize,
        gateways: &mut [Box<dyn Gateway + '_>],
    ) {
        let tokens = self.trace.requests[id].output.saturating_sub(1);
        self.workers[index].start_decode(now, id, tokens);
        self.plan_decode(now, index);
        if tokens == 0 {
            self.decode_end(now, index, gateways);
        }
    }

    pub(super) fn plan_decode(&mut self, now: f64, index: usize) {
        if let Some(end) = self.workers[index].next_end(now) {
            let version = self.workers[index].batch_version;
            self.at(end, Event::DecodeEnd { worker: index, version });
        }
    }

    pub(super) fn decode_end(
        &mut self,
        now: f64,
        index: usize,
        gateways: &mut [Box<dyn Gateway + '_>],
    ) {
        while let Some(id) = self.workers[index].pop_ended(now) {
            let worker = &mut self.workers[index];
            worker.running.retain(|&job| job != id);
            if worker.model.stage == Stage::Decode {
                worker.cache.unreserve(self.jobs[id].fresh);
            } else {
                let prompt = self.trace.input_blocks(id);
                let all = self.trace.all_blocks(id);
                worker.cache.unreserve(self.jobs[id].fresh + self.jobs[id].hits - prompt.len());
                worker.cache.release_with(prompt, all);
            }
            self.served[id].finished = now - self.served[id].arrival;
            self.end(now, id, gateways);
            self.finish(now, id);
        }
        self.plan_decode(now, index);
        if self.workers[index].model.stage == Stage::Decode {
            self.admit_decode(now, index, gateways);
        } else {
            self.start_prefill(now, index);
        }
    }
}
