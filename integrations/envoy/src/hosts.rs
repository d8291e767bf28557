//! One thread's view of a cluster: which worker stands where in Envoy's lists.

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;

use pointsman::WorkerId;

use crate::abi::level;
use crate::envoy::{self, Balancer};
use crate::pool::{HostSpec, Pool};

/// Where a worker stands in Envoy's lists, as this thread knows them.
#[derive(Clone, Debug)]
pub struct Position {
    /// Its id.
    pub id: WorkerId,
    /// Its address.
    pub address: Rc<str>,
    /// Its priority.
    pub priority: u32,
    /// Its index among the healthy hosts of the priority.
    pub healthy: u32,
    /// Its index among all hosts of the priority.
    pub index: usize,
}

struct Known {
    id: Option<WorkerId>,
    eligible: bool,
}

/// What one reading of the lists found out about a host.
struct Seen {
    priority: u32,
    index: usize,
    weight: u32,
    healthy: Option<u32>,
}

/// One thread's hosts.
#[derive(Default)]
pub struct Hosts {
    known: HashMap<Rc<str>, Known>,
    /// The eligible ones by their worker's slot.
    positions: Vec<Option<Position>>,
    /// The healthy hosts of the priority in force, for when the router names none.
    count: u32,
    priority: u32,
    next: Cell<u32>,
}

impl Hosts {
    /// Where a worker stands; `None` where this thread does not have it, or not as eligible.
    pub fn position(&self, id: WorkerId) -> Option<&Position> {
        self.positions.get(id.slot())?.as_ref().filter(|position| position.id == id)
    }

    /// Every eligible host.
    pub fn positions(&self) -> impl Iterator<Item = &Position> {
        self.positions.iter().flatten()
    }

    /// Any healthy host, in turn.
    pub fn any(&self) -> Option<(u32, u32)> {
        let turn = self.next.get();
        self.next.set(turn.wrapping_add(1));
        (self.count > 0).then(|| (self.priority, turn % self.count))
    }

    /// Reads Envoy's lists anew and tells the pool what has changed. O(hosts).
    pub fn update(&mut self, balancer: Balancer, pool: &Pool) {
        let seen = self.read(balancer);
        self.known.retain(|address, known| {
            let stays = seen.contains_key(address);
            if !stays && known.id.is_some() {
                pool.leave(address);
            }
            stays
        });
        self.positions.clear();
        for (address, host) in seen {
            self.meet(balancer, pool, address, host);
        }
    }

    fn read(&mut self, balancer: Balancer) -> HashMap<Rc<str>, Seen> {
        let priorities = 0..balancer.priorities();
        let in_force = priorities.clone().find(|&p| balancer.healthy_hosts(p) > 0);
        self.priority = in_force.unwrap_or(0);
        self.count = balancer.healthy_hosts(self.priority) as u32;
        let mut seen = HashMap::new();
        for priority in priorities {
            for index in 0..balancer.hosts(priority) {
                let Some(address) = text(balancer.address(priority, index)) else { continue };
                let weight = balancer.weight(priority, index);
                let host = Seen { priority, index, weight, healthy: None };
                seen.entry(Rc::from(address)).or_insert(host);
            }
        }
        for healthy in 0..self.count {
            let Some(address) = text(balancer.healthy_address(self.priority, healthy as usize))
            else {
                continue;
            };
            if let Some(host) = seen.get_mut(address)
                && host.priority == self.priority
            {
                host.healthy = Some(healthy);
            }
        }
        seen
    }

    fn meet(&mut self, balancer: Balancer, pool: &Pool, address: Rc<str>, host: Seen) {
        let eligible = host.healthy.is_some();
        let known = self.known.entry(Rc::clone(&address)).or_insert_with(|| {
            let spec = describe(balancer, &address, &host);
            // Registered as eligible, which the comparison below then mends.
            Known { id: pool.join(&address, &spec), eligible: true }
        });
        let Some(id) = known.id else { return };
        pool.set_weight(&address, host.weight);
        if known.eligible != eligible {
            known.eligible = eligible;
            pool.set_eligible(id, eligible);
        }
        let Some(healthy) = host.healthy else { return };
        if self.positions.len() <= id.slot() {
            self.positions.resize(id.slot() + 1, None);
        }
        let Seen { priority, index, .. } = host;
        self.positions[id.slot()] = Some(Position { id, address, priority, healthy, index });
    }

    /// This thread lets go of all its hosts.
    pub fn leave(&mut self, pool: &Pool) {
        for (address, known) in self.known.drain() {
            if known.id.is_some() {
                pool.leave(&address);
            }
        }
        self.positions.clear();
    }
}

/// A host's address as text; one without an address cannot be chosen.
fn text(address: Option<&[u8]>) -> Option<&str> {
    std::str::from_utf8(address?).ok().filter(|address| !address.is_empty())
}

fn describe(balancer: Balancer, address: &str, host: &Seen) -> HostSpec {
    let text = |key| balancer.metadata(host.priority, host.index, key);
    let number = |key| {
        // Large numbers in YAML are texts in Envoy.
        let number = balancer
            .metadata_number(host.priority, host.index, key)
            .or_else(|| text(key)?.parse().ok())?;
        if number >= 1.0 {
            return Some(number as u64);
        }
        let line =
            format!("host {address}: metadata {key} = {number} is ignored: it must be at least 1");
        envoy::log(level::WARN, &line);
        None
    };
    HostSpec {
        weight: host.weight,
        role: text("role"),
        group: text("group"),
        kv_capacity_tokens: number("kv_capacity_tokens"),
        max_in_flight: number("max_in_flight").map(|limit| limit.min(u32::MAX.into()) as u32),
    }
}
