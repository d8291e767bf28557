//! Points in time, as a host passes them.

use std::time::Duration;

use serde::Serialize;

/// A point in time: nanoseconds of any monotonic clock, counted from any moment that stays the same for
/// one router. Lengths of time are [`Duration`]s.
///
/// ```
/// use std::time::Duration;
/// use pointsman::Time;
/// assert_eq!(Time::from(1_500_000_000), Time::from(Duration::from_millis(1500)));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Time(u64);

impl Time {
    /// Nanoseconds since the clock's beginning.
    #[inline]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How far two times are apart, whichever is earlier.
    pub fn abs_diff(self, other: Time) -> Duration {
        Duration::from_nanos(self.0.abs_diff(other.0))
    }
}

impl From<u64> for Time {
    /// Nanoseconds since the clock's beginning.
    #[inline]
    fn from(nanos: u64) -> Self {
        Time(nanos)
    }
}

impl From<Duration> for Time {
    /// The time since the clock's beginning; after 584 years it stands still.
    fn from(since: Duration) -> Self {
        Time(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }
}
