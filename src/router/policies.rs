//! The policies at work: which one decides for a request, how they are switched, and when a replaced
//! one is let go.

use std::sync::Arc;

use super::core::{Core, ROUTING_KEY, View, Writer};
use crate::metrics::{Decisions, ShadowCounts};
use crate::policy::error::ConfigError;
use crate::policy::{PerRole, PolicyConfig, RoutingPolicy};
use crate::random;
use crate::request::Request;
use crate::stripe::Striped;
use crate::worker::Role;

use super::config::SplitConfig;

/// Policies that may be installed at once: the current ones and those with requests in flight.
const MAX_POLICIES: usize = 64;

/// The installed policies, by place.
#[derive(Clone, Default)]
pub(super) struct Policies {
    installed: Vec<Option<Arc<Installed>>>,
    /// One per policy name and arm that was ever installed.
    pub(super) ledgers: Vec<Arc<Ledger>>,
    regular: Plan,
    pair: Plan,
}

/// Who decides in one mode.
#[derive(Clone, Copy, Debug, Default)]
struct Plan {
    main: usize,
    /// The second policy and its share of the requests.
    split: Option<(usize, f64)>,
    shadow: Option<usize>,
    /// The main policy, where nobody else takes part and it neither reads prompts nor listens to events.
    brief: Option<usize>,
}

/// A policy at work.
pub(super) struct Installed {
    pub(super) policy: Arc<dyn RoutingPolicy>,
    /// Its place among the installed.
    pub(super) index: u16,
    pub(super) wants_prefix: bool,
    pub(super) wants_events: bool,
    pub(super) ledger: Arc<Ledger>,
}

/// What is counted under one policy name and arm. Outlives the policy, so that counters never go back
/// when policies are switched: the next one of that name goes on counting here.
pub(super) struct Ledger {
    pub(super) name: String,
    pub(super) arm: Arm,
    pub(super) decisions: Striped<Decisions>,
    /// What a shadow has seen.
    pub(super) shadow: Striped<ShadowCounts>,
}

/// The part that a policy plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arm {
    Main,
    Split,
    Shadow,
}

impl Arm {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Arm::Main => "main",
            Arm::Split => "split",
            Arm::Shadow => "shadow",
        }
    }
}

impl Policies {
    #[inline]
    fn plan(&self, role: Role) -> &Plan {
        if role == Role::Regular { &self.regular } else { &self.pair }
    }

    /// The policy that decides for this request.
    #[inline]
    pub(super) fn choose(
        &self,
        core: &Core,
        role: Role,
        request: &Request<'_>,
    ) -> Option<&Installed> {
        let plan = self.plan(role);
        let index = match plan.split {
            None => plan.main,
            Some((second, share)) if core.coin(request) < share => second,
            Some(_) => plan.main,
        };
        self.installed.get(index)?.as_deref()
    }

    /// The policy that decides for every request of this mode, if it does no more than that: then the
    /// request may stay in its stripe.
    #[inline]
    pub(super) fn brief(&self, role: Role) -> Option<&Installed> {
        self.installed.get(self.plan(role).brief?)?.as_deref()
    }

    fn note_brief(&mut self) {
        let brief = |plan: Plan| {
            let alone = plan.split.is_none() && plan.shadow.is_none();
            let main = self.installed.get(plan.main)?.as_ref()?;
            (alone && !main.wants_prefix && !main.wants_events).then_some(plan.main)
        };
        (self.regular.brief, self.pair.brief) = (brief(self.regular), brief(self.pair));
    }

    /// The policy that watches.
    #[inline]
    pub(super) fn shadow(&self, role: Role) -> Option<&Installed> {
        self.installed.get(self.plan(role).shadow?)?.as_deref()
    }

    /// The policy that decides for a role unless a split says otherwise.
    pub(super) fn main_of(&self, role: Role) -> Option<&Installed> {
        self.installed.get(self.plan(role).main)?.as_deref()
    }

    /// The policy in this place: of an open ticket the one that issued it.
    #[inline]
    pub(super) fn get(&self, index: u16) -> Option<&Installed> {
        self.installed.get(usize::from(index))?.as_deref()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Installed> {
        self.installed.iter().flatten().map(|installed| &**installed)
    }

    /// Where the policy of this name counts in this part.
    fn ledger(&mut self, name: &str, arm: Arm) -> Arc<Ledger> {
        let known = self.ledgers.iter().find(|ledger| ledger.name == name && ledger.arm == arm);
        if let Some(ledger) = known {
            return Arc::clone(ledger);
        }
        let ledger = Arc::new(Ledger {
            name: name.to_owned(),
            arm,
            decisions: Striped::new(|_| Decisions::default()),
            shadow: Striped::new(|_| ShadowCounts::default()),
        });
        self.ledgers.push(Arc::clone(&ledger));
        ledger
    }

    fn is_current(&self, index: usize) -> bool {
        [self.regular, self.pair].iter().any(|plan| {
            plan.main == index
                || plan.split.is_some_and(|(second, _)| second == index)
                || plan.shadow == Some(index)
        })
    }
}

/// The policies of a switch, built but not installed.
struct Built {
    main: Named,
    pair: Option<Named>,
}

/// A policy, and the name that configuration has for it: whatever it calls itself, this is what
/// metrics and errors call it.
type Named = (String, Arc<dyn RoutingPolicy>);

impl Core {
    /// A number from 0 to 1 that is the same for all requests with the same routing key.
    fn coin(&self, request: &Request<'_>) -> f64 {
        let uniform = match request.routing_key {
            Some(key) => self.digest(ROUTING_KEY, key),
            None => self.random.next(),
        };
        random::unit(uniform)
    }

    pub(super) fn policy_name(&self) -> String {
        let view = self.view();
        view.policies
            .main_of(Role::Regular)
            .map_or(String::new(), |installed| installed.ledger.name.clone())
    }

    pub(super) fn set_policies(
        &self,
        policy: &PolicyConfig,
        prefill: Option<&PolicyConfig>,
        decode: Option<&PolicyConfig>,
    ) -> Result<(), ConfigError> {
        self.switch(|core, writer| {
            let built = build(writer, policy, prefill, decode)?;
            let main = core.install(writer, built.main, Arm::Main)?;
            let pair = match built.pair {
                Some(pair) => core.install(writer, pair, Arm::Main)?,
                None => main,
            };
            writer.policies.regular.main = main;
            writer.policies.pair.main = pair;
            Ok(())
        })
    }

    pub(super) fn set_split(&self, split: Option<&SplitConfig>) -> Result<(), ConfigError> {
        self.switch(|core, writer| {
            let second = match split {
                None => None,
                Some(split) => {
                    split.check()?;
                    let policy = named(writer, &split.policy)?;
                    Some((core.install(writer, policy, Arm::Split)?, split.share))
                }
            };
            writer.policies.regular.split = second;
            writer.policies.pair.split = second;
            Ok(())
        })
    }

    pub(super) fn set_shadow(&self, shadow: Option<&PolicyConfig>) -> Result<(), ConfigError> {
        self.switch(|core, writer| {
            let watcher = match shadow {
                None => None,
                Some(config) => {
                    let policy = named(writer, config)?;
                    Some(core.install(writer, policy, Arm::Shadow)?)
                }
            };
            writer.policies.regular.shadow = watcher;
            writer.policies.pair.shadow = watcher;
            Ok(())
        })
    }

    /// Changes the policies and publishes the result; an error changes nothing.
    fn switch(
        &self,
        change: impl FnOnce(&Core, &mut Writer) -> Result<(), ConfigError>,
    ) -> Result<(), ConfigError> {
        self.write(None, |core, writer| {
            core.free_retired(writer);
            let before = writer.policies.clone();
            let result = change(core, writer);
            if result.is_err() {
                writer.policies = before;
            }
            writer.policies.note_brief();
            result
        })
    }

    fn install(
        &self,
        writer: &mut Writer,
        (name, policy): Named,
        arm: Arm,
    ) -> Result<usize, ConfigError> {
        let free = writer.policies.installed.iter().position(Option::is_none);
        let index = free.unwrap_or(writer.policies.installed.len());
        if index >= MAX_POLICIES {
            return Err(ConfigError::TooManyPolicies(MAX_POLICIES));
        }
        for info in writer.registry.infos() {
            policy.on_worker_added(info);
        }
        let installed = Arc::new(Installed {
            index: index as u16,
            wants_prefix: policy.wants_prefix(),
            wants_events: policy.wants_events(),
            ledger: writer.policies.ledger(&name, arm),
            policy,
        });
        if index == writer.policies.installed.len() {
            writer.policies.installed.push(None);
        }
        writer.policies.installed[index] = Some(installed);
        Ok(index)
    }

    /// Lets go of replaced policies that no request can reach: no snapshot that lets them decide is
    /// still read, so no ticket of theirs can be opened any more, and none is open.
    pub(super) fn free_retired(&self, writer: &mut Writer) {
        for place in 0..writer.policies.installed.len() {
            let decides = |view: &Arc<View>| view.policies.is_current(place);
            let reachable = writer.policies.installed[place].is_none()
                || writer.policies.is_current(place)
                || writer.still_read().iter().any(decides)
                || self.tickets.in_use(place as u16);
            if !reachable {
                writer.policies.installed[place] = None;
            }
        }
    }
}

fn build(
    writer: &Writer,
    policy: &PolicyConfig,
    prefill: Option<&PolicyConfig>,
    decode: Option<&PolicyConfig>,
) -> Result<Built, ConfigError> {
    let main = named(writer, policy)?;
    if prefill.is_none() && decode.is_none() {
        return Ok(Built { main, pair: None });
    }
    let of_role = |config: Option<&PolicyConfig>| named(writer, config.unwrap_or(policy));
    let (prefill, decode) = (of_role(prefill)?, of_role(decode)?);
    let name = format!("{}/{}", prefill.0, decode.0);
    let pair = Arc::new(PerRole::new(prefill.1, decode.1));
    Ok(Built { main, pair: Some((name, pair)) })
}

fn named(writer: &Writer, config: &PolicyConfig) -> Result<Named, ConfigError> {
    Ok((config.name().to_owned(), writer.factory.build(config)?))
}
