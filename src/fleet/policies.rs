//! The installed policies: which one decides for a request, and what is counted for each.

use std::sync::Arc;

use crate::metrics::{Decisions, ShadowCounts, add_alone, add_shared};
use crate::policy::error::ConfigError;
use crate::policy::{Decision, RoutingPolicy, mode::Mode};
use crate::sync::atomic::AtomicU64;
use crate::sync::stripe::{Place, Striped};
use crate::worker::{Role, spec::WorkerInfo};

/// Policies that may be installed at once: the current ones and those with requests in flight.
const MAX_POLICIES: usize = 64;

/// The installed policies, by place.
#[derive(Clone, Default)]
pub(crate) struct Policies {
    installed: Vec<Option<Arc<Installed>>>,
    /// One per policy name and arm that was ever installed.
    counters: Vec<Arc<Counters>>,
    regular: Plan,
    pair: Plan,
}

/// Which policies take part in one mode.
#[derive(Clone, Default)]
pub(crate) struct Plan {
    main: Option<Arc<Installed>>,
    /// The second policy and its share of the requests.
    split: Option<(Arc<Installed>, f64)>,
    /// The shadow: decides beside the main one and is not followed.
    shadow: Option<Arc<Installed>>,
    /// Whether one of them wants the prompt read.
    reads_prompt: bool,
    /// The main policy, where no other takes part, and it neither wants the prompt read nor listens.
    alone: Option<Arc<Installed>>,
}

impl Plan {
    /// The policy that decides for a request; `coin` is a number from 0 to 1 that belongs to it.
    #[inline]
    pub(crate) fn choose(&self, coin: impl FnOnce() -> f64) -> Option<&Installed> {
        match &self.split {
            Some((second, share)) if coin() < *share => Some(second),
            _ => self.main.as_deref(),
        }
    }

    /// The shadow: decides beside the main one and is not followed.
    #[inline]
    pub(crate) fn shadow(&self) -> Option<&Installed> {
        self.shadow.as_deref()
    }

    /// Whether the prompt is to be read.
    #[inline]
    pub(crate) fn reads_prompt(&self) -> bool {
        self.reads_prompt
    }

    /// The policy that decides for every request, where it neither needs the prompt nor listens.
    #[inline]
    pub(crate) fn alone(&self) -> Option<&Installed> {
        self.alone.as_deref()
    }

    /// To be called after a change.
    fn note(&mut self) {
        let reads_prompt = self.all().any(|installed| installed.wants_prefix);
        let alone = self.all().count() == 1 && !reads_prompt;
        self.reads_prompt = reads_prompt;
        self.alone = self.main.clone().filter(|main| alone && !main.wants_events);
    }

    fn all(&self) -> impl Iterator<Item = &Arc<Installed>> {
        let split = self.split.as_ref().map(|(policy, _)| policy);
        [self.main.as_ref(), split, self.shadow.as_ref()].into_iter().flatten()
    }
}

/// A policy at work.
pub(crate) struct Installed {
    pub(crate) policy: Arc<dyn RoutingPolicy>,
    /// Its place among the installed.
    pub(crate) index: u16,
    pub(crate) wants_prefix: bool,
    pub(crate) wants_events: bool,
    pub(crate) counters: Arc<Counters>,
}

/// What is counted under one policy name and arm. Outlives the policy, so that counters never go back
/// when policies are switched: the next one of that name goes on counting here.
pub(crate) struct Counters {
    pub(crate) name: String,
    pub(crate) arm: Arm,
    /// Counted by the thread that has entered the stripe.
    decisions: Striped<Decisions>,
    /// Counted by threads in spare stripes.
    shared: Decisions,
    /// What a shadow has seen.
    pub(crate) shadow: Striped<ShadowCounts>,
}

impl Counters {
    fn new(name: &str, arm: Arm) -> Self {
        Counters {
            name: name.to_owned(),
            arm,
            decisions: Striped::new(|_| Decisions::default()),
            shared: Decisions::default(),
            shadow: Striped::new(|_| ShadowCounts::default()),
        }
    }

    /// Counts a decision in the stripe that the thread has entered. `prefix` is the prompt's length in
    /// tokens, where it was read.
    #[inline(always)]
    pub(crate) fn count<M: Mode>(&self, stripe: Place, choice: &M::Choice, prefix: Option<u32>) {
        match stripe.number() {
            Some(stripe) => count::<M>(self.decisions.of(stripe), choice, prefix, add_alone),
            None => count::<M>(&self.shared, choice, prefix, add_shared),
        }
    }

    /// Counts the longest match of a request's candidates, in tokens.
    pub(crate) fn count_best(&self, stripe: Place, tokens: u32) {
        match stripe.number() {
            Some(stripe) => self.decisions.of(stripe).count_best(tokens, add_alone),
            None => self.shared.count_best(tokens, add_shared),
        }
    }

    /// The counters of the calling thread, for what any thread may count at any time.
    pub(crate) fn mine(&self) -> &Decisions {
        self.decisions.mine()
    }

    /// Every copy, for sums.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Decisions> {
        self.decisions.iter().chain([&self.shared])
    }
}

#[inline(always)]
fn count<M: Mode>(
    decisions: &Decisions,
    choice: &M::Choice,
    prefix: Option<u32>,
    add: impl Fn(&AtomicU64, u32) + Copy,
) {
    decisions.count(M::ROLE, M::main(choice).reason, add);
    if let Some(prompt_tokens) = prefix {
        decisions.count_tokens(prompt_tokens, M::prompt(choice).matched_tokens, add);
    }
    if let Some(Decision { reason, .. }) = M::prefill(choice) {
        decisions.count(Role::Prefill, *reason, add);
    }
}

/// The part that a policy has in deciding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arm {
    Main,
    Split,
    Shadow,
}

impl Arm {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Arm::Main => "main",
            Arm::Split => "split",
            Arm::Shadow => "shadow",
        }
    }
}

impl Policies {
    /// Which policies take part where the worker that answers has this role.
    #[inline]
    pub(crate) fn plan(&self, role: Role) -> &Plan {
        if role == Role::Regular { &self.regular } else { &self.pair }
    }

    /// The policy that decides for a role unless a split says otherwise.
    pub(crate) fn main_of(&self, role: Role) -> Option<&Installed> {
        self.plan(role).main.as_deref()
    }

    /// The policy in this place: of an open ticket the one that issued it.
    #[inline]
    pub(crate) fn get(&self, index: u16) -> Option<&Installed> {
        self.installed.get(usize::from(index))?.as_deref()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Installed> {
        self.installed.iter().flatten().map(|installed| &**installed)
    }

    /// What is counted under each policy name and arm.
    pub(crate) fn counters(&self) -> impl Iterator<Item = &Counters> {
        self.counters.iter().map(|counters| &**counters)
    }

    /// Installs a policy, and tells it of the workers.
    pub(super) fn install(
        &mut self,
        (name, policy): Named,
        arm: Arm,
        workers: impl Iterator<Item = Arc<WorkerInfo>>,
    ) -> Result<Arc<Installed>, ConfigError> {
        let free = self.installed.iter().position(Option::is_none);
        let index = free.unwrap_or(self.installed.len());
        if index >= MAX_POLICIES {
            return Err(ConfigError::TooManyPolicies(MAX_POLICIES));
        }
        workers.for_each(|info| policy.on_worker_added(&info));
        let installed = Arc::new(Installed {
            index: index as u16,
            wants_prefix: policy.wants_prefix(),
            wants_events: policy.wants_events(),
            counters: self.counters_of(&name, arm),
            policy,
        });
        if index == self.installed.len() {
            self.installed.push(None);
        }
        self.installed[index] = Some(Arc::clone(&installed));
        Ok(installed)
    }

    fn counters_of(&mut self, name: &str, arm: Arm) -> Arc<Counters> {
        let known = self.counters.iter().find(|known| known.name == name && known.arm == arm);
        if let Some(known) = known {
            return Arc::clone(known);
        }
        let counters = Arc::new(Counters::new(name, arm));
        self.counters.push(Arc::clone(&counters));
        counters
    }

    pub(super) fn set_main(&mut self, regular: Arc<Installed>, pair: Arc<Installed>) {
        (self.regular.main, self.pair.main) = (Some(regular), Some(pair));
        self.plans().for_each(Plan::note);
    }

    pub(super) fn set_split(&mut self, split: Option<(Arc<Installed>, f64)>) {
        self.plans().for_each(|plan| plan.split.clone_from(&split));
        self.plans().for_each(Plan::note);
    }

    pub(super) fn set_shadow(&mut self, shadow: Option<Arc<Installed>>) {
        self.plans().for_each(|plan| plan.shadow.clone_from(&shadow));
        self.plans().for_each(Plan::note);
    }

    fn plans(&mut self) -> impl Iterator<Item = &mut Plan> {
        [&mut self.regular, &mut self.pair].into_iter()
    }

    /// Frees the replaced policies that no request can reach: no view that lets them decide is still read,
    /// so none of their tickets can be opened any more, and none is open.
    pub(super) fn free_retired(
        &mut self,
        still_decides: impl Fn(usize) -> bool,
        in_use: impl Fn(u16) -> bool,
    ) {
        for place in 0..self.installed.len() {
            let reachable = self.is_current(place)
                || still_decides(place)
                || self.installed[place].is_some() && in_use(place as u16);
            if !reachable {
                self.installed[place] = None;
            }
        }
    }

    pub(super) fn is_current(&self, place: usize) -> bool {
        let mut taking_part = self.regular.all().chain(self.pair.all());
        taking_part.any(|installed| usize::from(installed.index) == place)
    }
}

/// A policy, and its name in the configuration, which metrics and errors use, too.
pub(super) type Named = (String, Arc<dyn RoutingPolicy>);
