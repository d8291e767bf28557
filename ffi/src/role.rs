//! What workers do.

use pointsman_core::Role;

use crate::failure::Failure;

/// What a worker does: one of the POINTSMAN_ROLE_ constants.
#[allow(non_camel_case_types)]
pub type pointsman_role = u32;

/// Serves whole requests.
pub const POINTSMAN_ROLE_REGULAR: pointsman_role = 0;

/// Computes the prompt of a prefill/decode pair.
pub const POINTSMAN_ROLE_PREFILL: pointsman_role = 1;

/// Generates the answer of a prefill/decode pair.
pub const POINTSMAN_ROLE_DECODE: pointsman_role = 2;

/// A role from its number.
pub(crate) fn role_of(number: pointsman_role, name: &'static str) -> Result<Role, Failure> {
    let role = Role::ALL.get(number as usize).copied();
    role.ok_or(Failure::argument(name, "is none of the POINTSMAN_ROLE_ constants"))
}

/// The numbers here and in the core must not drift apart.
const _: () = assert!(POINTSMAN_ROLE_DECODE == Role::Decode as u32);
