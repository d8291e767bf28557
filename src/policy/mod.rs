//! Policies: one trait, and one file per policy. What a policy's author needs is here.
//!
//! - [`RoutingPolicy`]: the trait. A policy reads [`Candidates`] and a [`RequestView`], and answers with a
//!   [`Decision`] and its [`Reason`].
//! - [`prefix_query`]: what a policy can ask of the prefix tree.
//! - [`random`], [`round_robin`], [`power_of_two`], [`cache_aware`]: the built-in policies.
//! - [`PolicyConfig`]: which policy, and how it is set; [`PolicyFactory`] builds it, and knows policies
//!   from outside this crate.
//! - [`pair`]: how a prefill and a decode worker are chosen together, by one policy or one for each role.
//! - [`LoadBalancing`]: helpers for a host's own fallbacks.

mod builtin;
mod by_name;
pub(crate) mod decision;
pub(crate) mod error;
pub(crate) mod event;
pub(crate) mod factory;
pub(crate) mod load_balancing;
pub(crate) mod mode;
pub mod pair;
pub(crate) mod per_role;
pub mod prefix_query;
pub(crate) mod reason;
pub(crate) mod request_view;
pub(crate) mod routing_policy;

pub use self::builtin::*;
pub use self::decision::{BestMatch, Decision, PairDecision, RunnerUp};
pub use self::event::{Completion, Dispatch, FirstToken, Usage};
pub use self::factory::PolicyFactory;
pub use self::load_balancing::LoadBalancing;
pub use self::per_role::PerRole;
pub use self::reason::Reason;
pub use self::request_view::RequestView;
pub use self::routing_policy::RoutingPolicy;
pub use crate::pool::{
    best::Best,
    candidate::Candidate,
    candidates::{Candidates, CandidatesIter},
    set::{SlotSet, Slots},
};
pub use crate::prefix::tree::{Holder, MAX_HOLDERS};
pub use crate::random::Random;
