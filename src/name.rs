//! Names of values of which there are few: how text becomes one of them.

use thiserror::Error;

/// A name that no value of its kind has.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("unknown {kind} {name:?}; known are {known}")]
#[non_exhaustive]
pub struct UnknownName {
    /// What was asked for, such as a role.
    pub kind: &'static str,
    /// The name.
    pub name: String,
    /// The names that there are, comma separated.
    pub known: String,
}

/// The value of this name among `all`.
pub(crate) fn find<T: Copy>(
    kind: &'static str,
    name: &str,
    all: &[T],
    name_of: fn(T) -> &'static str,
) -> Result<T, UnknownName> {
    all.iter().copied().find(|value| name_of(*value) == name).ok_or_else(|| {
        let known: Vec<_> = all.iter().map(|value| name_of(*value)).collect();
        UnknownName { kind, name: name.to_owned(), known: known.join(", ") }
    })
}
