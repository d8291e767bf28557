//! Numbers and their ranges: how every configuration refuses one that lies outside.

use std::fmt;

use thiserror::Error;

/// A number of a configuration is outside of its range.
#[derive(Clone, Debug, Error, PartialEq)]
#[error(
    "{field} = {} is out of range: it must be between {} and {}",
    Brief(*value), Brief(*min), Brief(*max)
)]
#[non_exhaustive]
pub struct OutOfRange {
    /// The field, with its path.
    pub field: &'static str,
    /// What was given.
    pub value: f64,
    /// Smallest allowed.
    pub min: f64,
    /// Largest allowed.
    pub max: f64,
}

/// Checks that a number is within a closed range; NaN never is.
pub(crate) fn check(field: &'static str, value: f64, min: f64, max: f64) -> Result<(), OutOfRange> {
    if (min..=max).contains(&value) { Ok(()) } else { Err(OutOfRange { field, value, min, max }) }
}

/// A number of a message: with an exponent where it would take a line of digits.
pub(crate) struct Brief(pub(crate) f64);

impl fmt::Display for Brief {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Brief(value) = *self;
        if value != 0.0 && value.is_finite() && !(1e-9..1e15).contains(&value.abs()) {
            write!(f, "{value:e}")
        } else {
            write!(f, "{value}")
        }
    }
}
