//! Routers that a document alone cannot describe: with the host's own policies and logs.

use std::ffi::{c_char, c_void};
use std::sync::Arc;

use pointsman_core::{Router, RouterConfig, policy::PolicyFactory};

use crate::argument::{Out, input, optional_text, out, slice, text};
use crate::failure::Failure;
use crate::handle::{Handle, exclusive_outside, hand_out, outside, taken_outside};
use crate::log::{
    DecisionLog, HealthLog, Log, POINTSMAN_LOG_DEBUG, POINTSMAN_LOG_NONE, level,
    pointsman_decision_callback, pointsman_health_callback, pointsman_log_callback,
    pointsman_log_level,
};
use crate::own_policy::RegisteredPolicy;
use crate::policy::pointsman_policy;
use crate::room::{Room, pointsman_room_callback};
use crate::router::{pointsman_router, read_config, read_policy};
use crate::status::pointsman_status;

/// The settings of routers to be built. Used by one thread at a time; makes any number of routers.
///
/// Lifetime: from pointsman_builder_new to pointsman_builder_free, which may come before the routers
/// are freed.
#[allow(non_camel_case_types)]
pub struct pointsman_builder {
    magic: u64,
    config: RouterConfig,
    policies: Vec<Arc<RegisteredPolicy>>,
    log: Log,
    decision_log: Option<DecisionLog>,
    health_log: Option<HealthLog>,
    room: Option<Room>,
}

handle!(pointsman_builder, b"PMbuildr");

export! {
    /// Makes a builder with every setting at its default.
    ///
    /// Errors: POINTSMAN_INVALID_ARGUMENT.
    fn pointsman_builder_new(builder: *mut *mut pointsman_builder) -> pointsman_status => new(out(builder));

    /// Frees a builder; NULL is allowed. Inside a callback it does nothing.
    fn pointsman_builder_free(builder: *mut pointsman_builder) => free(taken_outside(builder));

    /// Replaces all settings by those of a configuration document; see pointsman_router_new.
    ///
    /// Errors: POINTSMAN_INVALID_ARGUMENT, POINTSMAN_INVALID_CONFIG, POINTSMAN_IN_CALLBACK.
    fn pointsman_builder_set_config(
        builder: *mut pointsman_builder,
        config: *const c_char,
        config_length: usize,
    ) -> pointsman_status => set_config(exclusive_outside(builder), optional_text(config, config_length));

    /// Sets the policy, as pointsman_router_set_policy does later. Its name is looked up when the
    /// router is built.
    ///
    /// Errors: POINTSMAN_INVALID_ARGUMENT, POINTSMAN_INVALID_CONFIG, POINTSMAN_IN_CALLBACK.
    fn pointsman_builder_set_policy(
        builder: *mut pointsman_builder,
        policy: *const c_char,
        policy_length: usize,
    ) -> pointsman_status => set_policy(exclusive_outside(builder), text(policy, policy_length));

    /// Sets the bytes that the prefix tree may hold; never exceeded. Default 64 MiB.
    ///
    /// Errors: POINTSMAN_INVALID_ARGUMENT, POINTSMAN_IN_CALLBACK. The range is checked when the router
    /// is built.
    fn pointsman_builder_set_tree_budget(
        builder: *mut pointsman_builder,
        bytes: u64,
    ) -> pointsman_status => set_tree_budget(exclusive_outside(builder), bytes);

    /// Sets how many workers (1 to 1,024, the default) and how many open tickets (1 to 1,048,576, rounded
    /// up to a multiple of 64; default 65,536) the router has room for; 0 leaves a number as it is. With all
    /// tickets open, a request is not tracked (ticket 0): it goes to a random worker without a limit of
    /// requests in flight, or, where all have one, to none: POINTSMAN_ALL_BUSY.
    ///
    /// Errors: POINTSMAN_INVALID_ARGUMENT, POINTSMAN_IN_CALLBACK. The range is checked when the router
    /// is built.
    fn pointsman_builder_set_limits(
        builder: *mut pointsman_builder,
        max_workers: u32,
        max_tickets: u32,
    ) -> pointsman_status => set_limits(exclusive_outside(builder), max_workers, max_tickets);

    /// Sets the 32-byte key of the router's hashes. Only routers that share fingerprints, or must
    /// agree with each other, need the same key; by default each draws its own. Keep it secret.
    ///
    /// Errors: POINTSMAN_INVALID_ARGUMENT, POINTSMAN_IN_CALLBACK.
    fn pointsman_builder_set_hash_key(
        builder: *mut pointsman_builder,
        key: *const u8,
        key_length: usize,
    ) -> pointsman_status => set_hash_key(exclusive_outside(builder), slice(key, key_length));

    /// Makes every random draw repeatable as long as one thread calls: for tests and simulations.
    ///
    /// Errors: POINTSMAN_INVALID_ARGUMENT, POINTSMAN_IN_CALLBACK.
    fn pointsman_builder_set_seed(
        builder: *mut pointsman_builder,
        seed: u64,
    ) -> pointsman_status => set_seed(exclusive_outside(builder), seed);

    /// Registers a policy of the host's own under a name that configuration can use. The struct is
    /// copied.
    ///
    /// Errors: POINTSMAN_INVALID_ARGUMENT (also if it has no select callback),
    /// POINTSMAN_ALREADY_EXISTS, POINTSMAN_IN_CALLBACK.
    fn pointsman_builder_add_policy(
        builder: *mut pointsman_builder,
        name: *const c_char,
        name_length: usize,
        policy: *const pointsman_policy,
    ) -> pointsman_status => add_policy(exclusive_outside(builder), text(name, name_length), input[policy]);

    /// Sets the callback that the routers built from here on write messages up to this level to; a NULL
    /// callback or POINTSMAN_LOG_NONE keeps them silent, which is the default.
    /// What user_data points to must outlive those routers.
    ///
    /// Errors: POINTSMAN_INVALID_ARGUMENT, POINTSMAN_IN_CALLBACK.
    fn pointsman_builder_set_log(
        builder: *mut pointsman_builder,
        level: pointsman_log_level,
        callback: pointsman_log_callback,
        user_data: *mut c_void,
    ) -> pointsman_status => set_log(exclusive_outside(builder), level, callback, user_data);

    /// Passes one in every decisions, chosen at random, to a callback; a NULL callback stops it. What
    /// user_data points to must outlive the routers built.
    ///
    /// Errors: POINTSMAN_INVALID_ARGUMENT, also if every is 0; POINTSMAN_IN_CALLBACK.
    fn pointsman_builder_set_decision_log(
        builder: *mut pointsman_builder,
        every: u32,
        callback: pointsman_decision_callback,
        user_data: *mut c_void,
    ) -> pointsman_status => set_decision_log(exclusive_outside(builder), every, callback, user_data);

    /// Calls back when outcomes or time have ejected a worker, admitted it on probation, or made it
    /// healthy again; a NULL callback stops it. What user_data points to must outlive the routers
    /// built.
    ///
    /// Errors: POINTSMAN_INVALID_ARGUMENT, POINTSMAN_IN_CALLBACK.
    fn pointsman_builder_set_health_log(
        builder: *mut pointsman_builder,
        callback: pointsman_health_callback,
        user_data: *mut c_void,
    ) -> pointsman_status => set_health_log(exclusive_outside(builder), callback, user_data);

    /// Calls back when a place may have come free since a request was refused with POINTSMAN_ALL_BUSY; a
    /// NULL callback stops it. What user_data points to must outlive the routers built.
    ///
    /// To let a request wait: put it where the callback finds it, then select once more; whatever comes
    /// free after that is told, once. Then select for the waiting requests until one is refused again. A
    /// change of workers or policies is told, too, as it may leave nothing to wait for. Time alone frees
    /// nothing: where ejected workers or forgotten tickets may be what is missing, call
    /// pointsman_router_tick once in a while. A completion that nobody waits for costs one load more.
    ///
    /// Errors: POINTSMAN_INVALID_ARGUMENT, POINTSMAN_IN_CALLBACK.
    fn pointsman_builder_set_room_callback(
        builder: *mut pointsman_builder,
        callback: pointsman_room_callback,
        user_data: *mut c_void,
    ) -> pointsman_status => set_room(exclusive_outside(builder), callback, user_data);

    /// Builds a router. The builder can be used again.
    ///
    /// Errors: POINTSMAN_INVALID_ARGUMENT; POINTSMAN_INVALID_CONFIG, also if the policy's create
    /// callback refuses the options; POINTSMAN_IN_CALLBACK.
    fn pointsman_builder_build(
        builder: *const pointsman_builder,
        router: *mut *mut pointsman_router,
    ) -> pointsman_status => build(outside(builder), out(router));
}

fn new(out: Out<*mut pointsman_builder>) -> Result<(), Failure> {
    out.write(hand_out(pointsman_builder {
        magic: pointsman_builder::MAGIC,
        config: RouterConfig::default(),
        policies: Vec::new(),
        log: Log::NONE,
        decision_log: None,
        health_log: None,
        room: None,
    }));
    Ok(())
}

fn free(builder: Box<pointsman_builder>) -> Result<(), Failure> {
    drop(builder);
    Ok(())
}

fn set_config(builder: &mut pointsman_builder, config: Option<&str>) -> Result<(), Failure> {
    builder.config = read_config(config)?;
    Ok(())
}

fn set_policy(builder: &mut pointsman_builder, policy: &str) -> Result<(), Failure> {
    builder.config.policy =
        read_policy(policy)?.ok_or(Failure::argument("policy", "is NULL or empty"))?;
    Ok(())
}

fn set_tree_budget(builder: &mut pointsman_builder, bytes: u64) -> Result<(), Failure> {
    builder.config.tree.budget_bytes = usize::try_from(bytes)
        .map_err(|_| Failure::argument("bytes", "is more than this machine can address"))?;
    Ok(())
}

fn set_limits(
    builder: &mut pointsman_builder,
    max_workers: u32,
    max_tickets: u32,
) -> Result<(), Failure> {
    if max_workers != 0 {
        builder.config.max_workers = max_workers as usize;
    }
    if max_tickets != 0 {
        builder.config.max_tickets = max_tickets as usize;
    }
    Ok(())
}

fn set_hash_key(builder: &mut pointsman_builder, key: &[u8]) -> Result<(), Failure> {
    if key.len() != 32 {
        return Err(Failure::argument("key", "is not 32 bytes long"));
    }
    builder.config.tree.hash_key = Some(key.iter().map(|byte| format!("{byte:02x}")).collect());
    Ok(())
}

fn set_seed(builder: &mut pointsman_builder, seed: u64) -> Result<(), Failure> {
    builder.config.seed = Some(seed);
    Ok(())
}

fn add_policy(
    builder: &mut pointsman_builder,
    name: &str,
    policy: &pointsman_policy,
) -> Result<(), Failure> {
    if name.is_empty() {
        return Err(Failure::argument("name", "is NULL or empty"));
    }
    if policy.select.is_none() {
        return Err(Failure::argument("policy", "has no select callback"));
    }
    if !RegisteredPolicy::knows(policy.flags) {
        return Err(Failure::argument("policy.flags", "has bits of no known meaning"));
    }
    // A factory of its own checks the name against the built-in ones and those added before.
    let mut factory = PolicyFactory::with_builtins();
    for taken in builder.policies.iter().map(|known| known.name.as_str()).chain([name]) {
        factory.register(taken, |_| Err(pointsman_core::PolicyError::Failed(String::new())))?;
    }
    builder.policies.push(Arc::new(RegisteredPolicy::new(name, *policy)));
    Ok(())
}

fn set_log(
    builder: &mut pointsman_builder,
    level: pointsman_log_level,
    callback: pointsman_log_callback,
    user_data: *mut c_void,
) -> Result<(), Failure> {
    if !(POINTSMAN_LOG_NONE..=POINTSMAN_LOG_DEBUG).contains(&level) {
        return Err(Failure::argument("level", "is none of the POINTSMAN_LOG_ levels"));
    }
    builder.log = Log::new(level, callback, user_data);
    Ok(())
}

fn set_decision_log(
    builder: &mut pointsman_builder,
    every: u32,
    callback: pointsman_decision_callback,
    user_data: *mut c_void,
) -> Result<(), Failure> {
    if every == 0 {
        return Err(Failure::argument("every", "is 0"));
    }
    builder.decision_log = DecisionLog::new(every, callback, user_data);
    Ok(())
}

fn set_health_log(
    builder: &mut pointsman_builder,
    callback: pointsman_health_callback,
    user_data: *mut c_void,
) -> Result<(), Failure> {
    builder.health_log = HealthLog::new(callback, user_data);
    Ok(())
}

fn set_room(
    builder: &mut pointsman_builder,
    callback: pointsman_room_callback,
    user_data: *mut c_void,
) -> Result<(), Failure> {
    builder.room = Room::new(callback, user_data);
    Ok(())
}

fn build(builder: &pointsman_builder, out: Out<*mut pointsman_router>) -> Result<(), Failure> {
    let mut factory = PolicyFactory::with_builtins();
    for registration in &builder.policies {
        let made_by = Arc::clone(registration);
        factory.register(registration.name.as_str(), move |options| made_by.create(options))?;
    }
    let mut core = Router::builder().config(builder.config.clone()).factory(factory);
    if let Some(log) = builder.decision_log {
        core = core.decision_log(log.every, move |record| log.write(record));
    }
    let (log, health_log) = (builder.log, builder.health_log);
    if log.wants(level::WARNING) || health_log.is_some() {
        core = core.health_log(move |change| {
            log.health(change);
            if let Some(health_log) = health_log {
                health_log.write(change);
            }
        });
    }
    if let Some(room) = builder.room {
        core = core.on_room(move || room.tell());
    }
    let built = core.build()?;
    out.write(pointsman_router::hand_out(built, builder.log));
    Ok(())
}
