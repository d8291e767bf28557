//! What a host hands to the router.

pub mod body;
