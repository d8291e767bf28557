//! One state of the membership, made ready for choosing.

use std::sync::Arc;

use super::{chances::Chances, schedule, set::SlotSet};
use crate::prefix::Registration;
use crate::worker::{Role, WorkerId, spec::WorkerInfo};

/// A member as the registry sees it at the moment of the snapshot.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) info: Arc<WorkerInfo>,
    pub(crate) residency: Option<Registration>,
    /// Weight in force: configured, ramped, lowered.
    pub(crate) weight: f64,
    pub(crate) healthy: bool,
    pub(crate) draining: bool,
    pub(crate) limited: bool,
}

impl Member {
    fn is_eligible(&self) -> bool {
        self.healthy && !self.draining
    }
}

impl Seat {
    /// Whether this worker sits here, eligible in this role.
    #[inline]
    pub(crate) fn seats(&self, worker: WorkerId, role: Role) -> bool {
        self.id == Some(worker) && self.eligible >> role.index() & 1 == 1
    }
}

/// Immutable once built. Everything is reached by slot or index.
#[derive(Clone, Debug, Default)]
pub(crate) struct PoolSnapshot {
    infos: Vec<Option<Arc<WorkerInfo>>>,
    /// What requests read of each worker, by slot.
    seats: Vec<Seat>,
    /// By slot: 0 = no group, else an index into `groups` plus 1.
    group_of: Vec<u16>,
    groups: Vec<Group>,
    roles: [RoleView; 3],
}

/// What requests read of one slot, on a cache line of its own.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
pub(crate) struct Seat {
    pub(crate) id: Option<WorkerId>,
    /// The roles in which the worker is eligible, as bits by their index: it is healthy, and not
    /// draining.
    eligible: u8,
    /// Weight in force.
    pub(crate) weight: f64,
    pub(crate) user_data: u64,
    pub(crate) url_digest: u64,
    pub(crate) residency: Option<Registration>,
}

/// The slots of one group.
#[derive(Clone, Debug)]
struct Group {
    members: SlotSet,
    /// Members, and all workers without a group.
    companions: SlotSet,
}

/// The workers of one role.
#[derive(Clone, Debug, Default)]
pub(crate) struct RoleView {
    /// Slots of the healthy, not draining ones, dense.
    pub(crate) eligible: Vec<u16>,
    /// The same as bits.
    pub(crate) bits: SlotSet,
    /// For weighted draws; `None` while all weights are equal.
    pub(crate) chances: Option<Chances>,
    /// For weighted rotation; `None` while all weights are equal.
    pub(crate) cycle: Option<Vec<u16>>,
    /// Whether any eligible worker has a limit of in-flight requests.
    pub(crate) limited: bool,
    pub(crate) workers: u32,
    pub(crate) unhealthy: u32,
    pub(crate) draining: u32,
}

impl PoolSnapshot {
    /// Builds the snapshot of these members. O(n log n); allocates.
    pub(crate) fn new(members: &[Member]) -> Self {
        let slots = members.iter().map(|m| m.info.id.slot() + 1).max().unwrap_or(0);
        let mut snapshot = PoolSnapshot {
            infos: vec![None; slots],
            seats: vec![Seat::default(); slots],
            group_of: vec![0; slots],
            ..Default::default()
        };
        for member in members {
            let slot = member.info.id.slot();
            snapshot.infos[slot] = Some(Arc::clone(&member.info));
            let role = u8::from(member.is_eligible()) << member.info.role.index();
            snapshot.seats[slot] = Seat {
                id: Some(member.info.id),
                // An adapter's worker may play two roles in one request.
                eligible: snapshot.seats[slot].eligible | role,
                weight: member.weight,
                user_data: member.info.user_data,
                url_digest: member.info.url_digest,
                residency: member.residency,
            };
        }
        snapshot.form_groups(members);
        for role in Role::ALL {
            snapshot.roles[role.index()] = RoleView::new(role, members);
        }
        snapshot
    }

    fn form_groups(&mut self, members: &[Member]) {
        let mut names = std::collections::HashMap::new();
        let mut loners = SlotSet::EMPTY;
        for member in members {
            let slot = member.info.id.slot();
            let Some(name) = &member.info.group else {
                loners.insert(slot);
                continue;
            };
            let number = *names.entry(name.as_str()).or_insert_with(|| {
                self.groups.push(Group { members: SlotSet::EMPTY, companions: SlotSet::EMPTY });
                self.groups.len()
            });
            self.group_of[slot] = number as u16;
            self.groups[number - 1].members.insert(slot);
        }
        for group in &mut self.groups {
            group.companions = group.members.or(&loners);
        }
    }

    #[inline]
    pub(crate) fn role(&self, role: Role) -> &RoleView {
        &self.roles[role.index()]
    }

    /// One more than the highest slot in use.
    pub(crate) fn slots(&self) -> usize {
        self.infos.len()
    }

    #[inline]
    pub(crate) fn info(&self, slot: usize) -> Option<&Arc<WorkerInfo>> {
        self.infos.get(slot)?.as_ref()
    }

    /// What requests read of the worker in this slot.
    #[inline]
    pub(crate) fn seat(&self, slot: usize) -> Option<&Seat> {
        self.seats.get(slot)
    }

    #[inline]
    pub(crate) fn id_at(&self, slot: usize) -> Option<WorkerId> {
        self.seat(slot)?.id
    }

    fn group(&self, slot: usize) -> Option<&Group> {
        let number = *self.group_of.get(slot)?;
        self.groups.get(usize::from(number).checked_sub(1)?)
    }

    /// Slots that may work with this one: its group and those without one. `None`: any.
    pub(crate) fn companions(&self, slot: usize) -> Option<&SlotSet> {
        self.group(slot).map(|group| &group.companions)
    }

    /// Slots of the same group, itself included. `None`: it has no group.
    pub(crate) fn group_members(&self, slot: usize) -> Option<&SlotSet> {
        self.group(slot).map(|group| &group.members)
    }

    /// How many groups there are.
    pub(crate) fn groups(&self) -> usize {
        self.groups.len()
    }
}

impl RoleView {
    fn new(role: Role, members: &[Member]) -> Self {
        let mine = || members.iter().filter(|member| member.info.role == role);
        let eligible = || mine().filter(|member| member.is_eligible());
        let weighted: Vec<(u16, f64)> =
            eligible().map(|member| (member.info.id.slot() as u16, member.weight)).collect();
        let cycle = schedule::cycle(&weighted);
        RoleView {
            eligible: weighted.iter().map(|&(slot, _)| slot).collect(),
            bits: weighted.iter().map(|&(slot, _)| usize::from(slot)).collect(),
            chances: cycle.is_some().then(|| Chances::new(&weighted)),
            cycle,
            limited: eligible().any(|member| member.limited),
            workers: mine().count() as u32,
            unhealthy: mine().filter(|member| !member.healthy).count() as u32,
            draining: mine().filter(|member| member.healthy && member.draining).count() as u32,
        }
    }
}
