//! Bars: limits that figures are held against.

use super::measure::Figure;

/// Where a bar lies.
#[derive(Clone, Copy, Debug)]
pub enum Limit {
    AtMost(f64),
    AtLeast(f64),
}

/// The worst of several figures held against a limit.
#[derive(Debug)]
pub struct Bar {
    pub what: String,
    pub limit: Limit,
    /// Where it was measured, and what.
    pub figures: Vec<(String, Figure)>,
}

impl Bar {
    pub fn new(what: impl Into<String>, limit: Limit, figure: Figure) -> Bar {
        Bar { what: what.into(), limit, figures: vec![(String::new(), figure)] }
    }

    fn worst(&self) -> Option<&(String, Figure)> {
        self.figures.iter().max_by(|a, b| {
            let (a, b) = (a.1.median, b.1.median);
            match self.limit {
                Limit::AtMost(_) => a.total_cmp(&b),
                Limit::AtLeast(_) => b.total_cmp(&a),
            }
        })
    }

    /// Whether every median keeps the limit.
    pub fn is_met(&self) -> bool {
        self.worst().is_some_and(|(_, figure)| match self.limit {
            Limit::AtMost(limit) => figure.median <= limit,
            Limit::AtLeast(limit) => figure.median >= limit,
        })
    }
}

impl std::fmt::Display for Bar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Some((at, figure)) = self.worst() else { return write!(f, "{}: nothing", self.what) };
        let verdict = if self.is_met() { "meets" } else { "falls short of" };
        let (words, limit) = match self.limit {
            Limit::AtMost(limit) => ("at most", limit),
            Limit::AtLeast(limit) => ("at least", limit),
        };
        write!(f, "{:<64}{:>26} {verdict} {words} {limit}", self.what, figure.to_string())?;
        if at.is_empty() { Ok(()) } else { write!(f, " ({at})") }
    }
}
