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

/// A host that may be taken in turn.
#[derive(Clone, Debug)]
pub struct Turn {
    /// Its address.
    pub address: Rc<str>,
    /// Its priority.
    pub priority: u32,
    /// Its index among the healthy hosts of the priority.
    pub healthy: u32,
    /// Its index among all hosts of the priority.
    pub index: usize,
}

/// One thread's hosts.
#[derive(Default)]
pub struct Hosts {
    known: HashMap<Rc<str>, Known>,
    /// The eligible ones by their worker's slot.
    positions: Vec<Option<Position>>,
    /// The healthy hosts of the priority in force, as Envoy lists them, for when the router names none.
    healthy: Vec<Turn>,
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

    /// The worker at an address; `None` where this thread does not have it.
    pub fn worker(&self, address: &str) -> Option<WorkerId> {
        self.known.get(address)?.id
    }

    /// The next healthy host in turn that is not `passed` over; where all are, the next one. O(hosts).
    pub fn any(&self, passed: impl Fn(&Turn) -> bool) -> Option<&Turn> {
        let turn = self.next.get();
        self.next.set(turn.wrapping_add(1));
        let count = self.healthy.len();
        let first = turn as usize % count.max(1);
        let mut hosts = self.healthy.iter().cycle().skip(first).take(count);
        hosts.find(|host| !passed(host)).or_else(|| self.healthy.get(first))
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
        self.healthy.clear();
        let mut seen = HashMap::new();
        for priority in priorities {
            for index in 0..balancer.hosts(priority) {
                let Some(address) = text(balancer.address(priority, index)) else { continue };
                let weight = balancer.weight(priority, index);
                let host = Seen { priority, index, weight, healthy: None };
                seen.entry(Rc::from(address)).or_insert(host);
            }
        }
        let priority = self.priority;
        for healthy in 0..balancer.healthy_hosts(priority) {
            let Some(address) = text(balancer.healthy_address(priority, healthy)) else { continue };
            let (address, healthy) = (Rc::<str>::from(address), healthy as u32);
            let Some(host) = seen.get_mut(&address) else { continue };
            if host.priority == priority {
                host.healthy = Some(healthy);
                self.healthy.push(Turn { address, priority, healthy, index: host.index });
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
