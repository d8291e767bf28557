//! Figures of whole passes, round by round.

use std::collections::BTreeMap;

use super::measure::Figure;

/// How thorough a benchmark is.
#[derive(Clone, Copy, Debug)]
pub struct Thoroughness {
    /// Rounds of interleaved passes.
    pub rounds: usize,
}

impl Thoroughness {
    /// For figures that are quoted.
    pub const FULL: Thoroughness = Thoroughness { rounds: 9 };
    /// For a first look.
    pub const QUICK: Thoroughness = Thoroughness { rounds: 3 };
}

/// One figure per name and round.
#[derive(Debug, Default)]
pub struct Samples(BTreeMap<String, Vec<f64>>);

impl Samples {
    /// Notes this round's figure of `name`.
    pub fn note(&mut self, name: impl Into<String>, figure: f64) {
        self.0.entry(name.into()).or_default().push(figure);
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub fn figure(&self, name: &str) -> Figure {
        Figure::of(self.0[name].clone()).expect("something was noted")
    }

    /// `name` over `base`, round by round.
    pub fn ratio(&self, name: &str, base: &str) -> Figure {
        let pairs = self.0[name].iter().zip(&self.0[base]);
        Figure::of(pairs.map(|(figure, base)| figure / base).collect()).expect("both were noted")
    }

    /// The name with the smallest median among those that `among` accepts.
    pub fn fastest(&self, among: impl Fn(&str) -> bool) -> Option<&str> {
        let named = self.names().filter(|name| among(name));
        named.min_by(|a, b| self.figure(a).median.total_cmp(&self.figure(b).median))
    }
}
