//! The load-balancing policy: names the host that takes a request.
//!
//! Envoy makes one balancer per cluster and thread. They share a [`Pool`]; each keeps its thread's own
//! view of the hosts, since a choice is an index into that thread's lists.

// The hooks are called by Envoy alone, as its header says: with live pointers of its own and of this
// module's, one hook at a time per object, on the object's thread.
#![allow(clippy::missing_safety_doc)]

use std::ffi::c_void;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use pointsman::{Outcome, Prompt, Reason, Request, RoutingError, Ticket, Usage, WorkerId};

use crate::abi::{Buffer, EnvoyPtr, headers, level};
use crate::boundary::guard;
use crate::config::BalancerConfig;
use crate::envoy::{self, Context, Stream};
use crate::exchange::{Attempt, Chosen, Exchange, State};
use crate::filter::Filter;
use crate::hosts::{Hosts, Position, Turn};
use crate::metrics::Unseen;
use crate::pool::{Handle, Pool};

/// Choices for one request that may turn out to be none of this thread's hosts, or ruled out by Envoy.
const MAX_CHOICES: usize = 8;

/// What a policy that works blindly lacks.
const UNSEEN: &str = "a request came without its prompt and is routed by load only: it needs the pointsman \
    filter before the router filter, and on its route hash_policy: [{filter_state: {key: envoy.hashable_string}}]";

/// One cluster's policy.
struct Policy {
    /// Made of the configuration.
    fresh: Arc<Pool>,
    /// The one in use: that, or the one that the cluster had before.
    pool: OnceLock<Arc<Pool>>,
    unseen: Unseen,
    /// Whether it was said that requests come without their prompts.
    warned: AtomicBool,
}

/// One thread's balancer of one cluster.
struct Balancer {
    policy: *const Policy,
    pool: Rc<Handle>,
    hosts: Hosts,
}

/// Makes a policy's configuration; null refuses it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn envoy_dynamic_module_on_lb_config_new(
    config_envoy: EnvoyPtr,
    name: Buffer,
    config: Buffer,
) -> *const c_void {
    guard("lb_config_new", std::ptr::null(), || {
        // SAFETY: both are lent for this hook.
        let (name, json) = unsafe { (name.bytes(), config.bytes()) };
        let made = BalancerConfig::read(name, json).and_then(Pool::new).and_then(|fresh| {
            // SAFETY: the pointer is this hook's; Envoy keeps it as long as the policy.
            let unseen = unsafe { Unseen::define(config_envoy) }?;
            let (pool, warned) = (OnceLock::new(), AtomicBool::new(false));
            Ok(Box::into_raw(Box::new(Policy { fresh, pool, unseen, warned })))
        });
        made.map_or_else(
            |error| {
                envoy::refuse("lb_policy_config", &error);
                std::ptr::null()
            },
            |policy| policy.cast_const().cast(),
        )
    })
}

/// Frees a policy's configuration.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn envoy_dynamic_module_on_lb_config_destroy(policy: *const c_void) {
    if !policy.is_null() {
        // SAFETY: made by `lb_config_new`; Envoy destroys it once, after the last of its balancers.
        guard("lb_config_destroy", (), || unsafe {
            drop(Box::from_raw(policy.cast::<Policy>().cast_mut()));
        });
    }
}

/// Makes a thread's balancer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn envoy_dynamic_module_on_lb_new(
    policy: *const c_void,
    balancer: EnvoyPtr,
) -> *const c_void {
    guard("lb_new", std::ptr::null(), || {
        let policy: *const Policy = policy.cast();
        // SAFETY: the policy lives as long as its balancers; the pointer is this hook's.
        let (shared, envoy) = unsafe { (&*policy, envoy::Balancer::new(balancer)) };
        let pool = shared.pool.get_or_init(|| Pool::of_cluster(&envoy.cluster(), &shared.fresh));
        let mut hosts = Hosts::default();
        // Usually there are none yet.
        hosts.update(envoy, pool);
        let pool = Rc::new(Handle(Arc::clone(pool)));
        Box::into_raw(Box::new(Balancer { policy, pool, hosts })).cast_const().cast()
    })
}

/// Ends a thread's balancer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn envoy_dynamic_module_on_lb_destroy(balancer: *const c_void) {
    if !balancer.is_null() {
        // SAFETY: made by `lb_new`; Envoy destroys it once, on its thread.
        guard("lb_destroy", (), || unsafe {
            let mut balancer = Box::from_raw(balancer.cast::<Balancer>().cast_mut());
            balancer.hosts.leave(&balancer.pool);
        });
    }
}

/// Hosts came, went, or changed in health or weight.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn envoy_dynamic_module_on_lb_on_host_membership_update(
    balancer_envoy: EnvoyPtr,
    balancer: *const c_void,
    _added: usize,
    _removed: usize,
) {
    guard("membership_update", (), || {
        // SAFETY: made by `lb_new`; Envoy calls a balancer's hooks one at a time, on its thread.
        let balancer = unsafe { &mut *balancer.cast::<Balancer>().cast_mut() };
        // SAFETY: the pointer is this hook's.
        balancer.hosts.update(unsafe { envoy::Balancer::new(balancer_envoy) }, &balancer.pool);
    });
}

/// Chooses a host: an index into the healthy hosts of a priority. False: there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn envoy_dynamic_module_on_lb_choose_host(
    balancer_envoy: EnvoyPtr,
    balancer: *const c_void,
    context: EnvoyPtr,
    priority: *mut u32,
    index: *mut u32,
) -> bool {
    let chosen = guard("choose_host", None, || {
        // SAFETY: made by `lb_new`; Envoy calls a balancer's hooks one at a time, on its thread.
        let balancer = unsafe { &*balancer.cast::<Balancer>() };
        // SAFETY: the pointers are this hook's.
        let (envoy, context) =
            unsafe { (envoy::Balancer::new(balancer_envoy), Context::new(context)) };
        balancer.choose(envoy, context)
    });
    let Some(chosen) = chosen else { return false };
    // SAFETY: Envoy's, to be written.
    unsafe {
        (*priority, *index) = chosen;
    }
    true
}

/// Whom the router named, and under which ticket.
struct Named {
    worker: WorkerId,
    /// Of a pair, the worker that computes the prompt.
    prefill: Option<WorkerId>,
    ticket: Ticket,
    reason: Reason,
    matched: u32,
    total: u32,
}

/// Why no host is chosen.
enum NoHost {
    /// All hosts are full: the request is to be shed.
    Full,
    /// No host is left.
    Left,
}

impl Balancer {
    fn choose(&self, envoy: envoy::Balancer, context: Context) -> Option<(u32, u32)> {
        let Some(exchange) = context.hash().and_then(Exchange::find) else {
            return self.choose_unseen();
        };
        exchange.with(|state| {
            let (stream, filter) = state.owner?;
            if let Some(failed) = state.picked.take() {
                // Envoy asks again for a request whose last host has failed it.
                state.close(Outcome::WorkerError, Usage::default());
                state.chosen = None;
                state.tried.push(failed);
                filter.metrics.retried(stream);
            }
            if let Some(header) = &self.pool.config.prefill_header {
                // Not the client's to say.
                stream.set_header(headers::REQUEST, header, b"");
            }
            match self.seek(envoy, context, state) {
                Ok((position, named)) => {
                    self.commit(state, stream, filter, position, &named);
                    Some((position.priority, position.healthy))
                }
                Err(NoHost::Full) => {
                    filter.metrics.refused(stream);
                    None
                }
                Err(NoHost::Left) => {
                    let retry = !state.tried.is_empty();
                    let host = self.hosts.any(|host| {
                        let Turn { address, priority, index, .. } = host;
                        state.tried.contains(address)
                            || retry && envoy.ruled_out(context, *priority, *index)
                    })?;
                    filter.metrics.untracked(stream);
                    state.picked = Some(Rc::clone(&host.address));
                    Some((host.priority, host.healthy))
                }
            }
        })
    }

    /// For a request that no filter of this module follows: nothing is known of it, not even its end.
    fn choose_unseen(&self) -> Option<(u32, u32)> {
        // SAFETY: the policy lives as long as its balancers.
        let policy = unsafe { &*self.policy };
        policy.unseen.count();
        if !policy.warned.swap(true, Relaxed) {
            envoy::log(level::WARN, UNSEEN);
        }
        // Dropped at once, which gives the load back.
        let named = self.pool.router.select(&Request::none()).ok();
        let position = named.and_then(|selection| self.hosts.position(selection.worker()));
        let position = position.map(|position| (position.priority, position.healthy));
        position.or_else(|| self.hosts.any(|_| false).map(|host| (host.priority, host.healthy)))
    }

    /// Asks the router until it names a host that this thread has and Envoy does not rule out. The workers that
    /// failed the request are considered again only where no other is left.
    fn seek(
        &self,
        envoy: envoy::Balancer,
        context: Context,
        state: &State,
    ) -> Result<(&Position, Named), NoHost> {
        let retry = !state.tried.is_empty();
        let tried = state.tried.iter().filter_map(|address| self.hosts.worker(address));
        let mut excluded: Vec<WorkerId> = tried.collect();
        for choice in 0..MAX_CHOICES {
            let named = match self.name(state, &excluded) {
                Err(NoHost::Left) if !excluded.is_empty() => {
                    excluded.clear();
                    self.name(state, &[])?
                }
                named => named?,
            };
            let prefill = named.prefill.map(|prefill| self.hosts.position(prefill));
            let here = self.hosts.position(named.worker).filter(|_| !matches!(prefill, Some(None)));
            let last = choice + 1 == MAX_CHOICES;
            if let Some(position) = here
                && (!retry || last || !envoy.ruled_out(context, position.priority, position.index))
            {
                return Ok((position, named));
            }
            self.withdraw(&named);
            excluded.push(if here.is_none() { named.stranger(self) } else { named.worker });
        }
        Err(NoHost::Left)
    }

    fn withdraw(&self, named: &Named) {
        // Fails where it is closed already.
        let router = &self.pool.router;
        let _ = router.complete(named.ticket, Outcome::ClientCancelled, Usage::default());
    }

    fn name(&self, state: &State, excluded: &[WorkerId]) -> Result<Named, NoHost> {
        let request = |prompt| {
            let mut request = Request::new(prompt).exclude(excluded);
            if !state.routing_key.is_empty() {
                request = request.routing_key(&state.routing_key);
            }
            match state.max_tokens {
                Some(tokens) => request.expected_output_tokens(tokens),
                None => request,
            }
        };
        let named = match self.ask(&request(state.prompt())) {
            Err(RoutingError::Fingerprint(_)) => self.ask(&request(Prompt::None)),
            named => named,
        };
        named.map_err(|error| match error {
            RoutingError::AllBusy { .. } => NoHost::Full,
            _ => NoHost::Left,
        })
    }

    fn ask(&self, request: &Request<'_>) -> Result<Named, RoutingError> {
        let router = &self.pool.router;
        if self.pool.config.prefill_header.is_some() {
            let pair = router.select_pair(request)?;
            let (prefill, decode) = (pair.prefill(), pair.decode());
            return Ok(Named {
                worker: decode.worker(),
                prefill: Some(prefill.worker()),
                reason: prefill.reason(),
                matched: prefill.matched_tokens(),
                total: prefill.total_tokens(),
                ticket: pair.into_ticket(),
            });
        }
        let chosen = router.at(router.now()).select_detached(request)?;
        Ok(Named {
            worker: chosen.decision.worker,
            prefill: None,
            ticket: chosen.ticket,
            reason: chosen.decision.reason,
            matched: chosen.decision.matched_tokens,
            total: chosen.total_tokens(),
        })
    }

    fn commit(
        &self,
        state: &mut State,
        stream: Stream,
        filter: &Filter,
        position: &Position,
        named: &Named,
    ) {
        let (pool, since) = (Rc::clone(&self.pool), self.pool.router.now().as_nanos());
        let Named { ticket, reason, matched, total, .. } = *named;
        state.attempt = Some(Attempt { pool, ticket, since });
        state.picked = Some(Rc::clone(&position.address));
        state.chosen = Some(Chosen { address: Rc::clone(&position.address), reason, matched });
        filter.metrics.selected(stream, reason, matched, total);
        let prefill = named.prefill.and_then(|prefill| self.hosts.position(prefill));
        if let (Some(header), Some(prefill)) = (&self.pool.config.prefill_header, prefill) {
            // The request's headers go out after its host is chosen, so this one goes with them.
            stream.set_header(headers::REQUEST, header, prefill.address.as_bytes());
        }
    }
}

impl Named {
    /// Of a pair, the worker that this thread does not have.
    fn stranger(&self, balancer: &Balancer) -> WorkerId {
        match self.prefill {
            Some(prefill) if balancer.hosts.position(self.worker).is_some() => prefill,
            _ => self.worker,
        }
    }
}
