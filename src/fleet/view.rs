//! What requests read, and the state that each of them owns while it is routed.

use std::sync::Arc;

use super::policies::Policies;
use crate::pool::snapshot::PoolSnapshot;
use crate::prompt::once::Window;
use crate::sync::stripe::Place;

/// Membership, health and policies of one moment.
pub(crate) struct View {
    pub(super) version: u64,
    pub(crate) pool: PoolSnapshot,
    pub(crate) policies: Policies,
}

/// Per-stripe state used while one request is routed: a reference to the published view, so that a
/// request touches no reference count and frees nothing; room for its prompt's hashes; and the right to
/// reserve tickets and to count in that stripe.
///
/// A stripe keeps the view that it saw last. Publishing gives the new one to every stripe that no thread
/// is in; another one follows when it is next entered. So at most as many replaced views are kept as
/// there are stripes.
pub(crate) struct Local {
    pub(crate) stripe: Place,
    pub(crate) view: Arc<View>,
    pub(crate) window: Window,
}
