//! Which experiments a run makes: the grid that was asked for and, for a report, what surrounds it.

use anyhow::Result;

use crate::grid::{self, Cell, Measured};
use crate::policies::Policy;
use crate::scenario::{Material, Scenario, Shape};
use crate::sim::arrivals::Process;

/// The values to combine.
pub(crate) struct Lists<'a> {
    pub(crate) loads: &'a [f64],
    pub(crate) caches: &'a [f64],
    pub(crate) shapes: &'a [Shape],
    pub(crate) replicas: &'a [usize],
}

/// All cells of a run.
pub(crate) struct Experiments {
    /// The middle of the grid: the scenario of the pictures that show only one.
    pub(crate) reference: Scenario,
    grid: Vec<Cell>,
    replicas: Vec<Cell>,
    circumstances: Vec<Cell>,
}

/// All measures of a run.
pub(crate) struct Measurements {
    /// Loads x cache sizes x what else was asked for.
    pub(crate) grid: Vec<Measured>,
    /// The reference scenario with more and more gateways.
    pub(crate) replicas: Vec<Measured>,
    /// The reference scenario under other circumstances.
    pub(crate) circumstances: Vec<Measured>,
}

/// Numbers of gateways that a report compares.
const REPLICAS: [usize; 4] = [1, 4, 16, 64];

impl Experiments {
    /// Every combination of `lists` on top of `base`; with `all` also what a report shows besides.
    pub(crate) fn new(
        base: &Scenario,
        lists: &Lists<'_>,
        policies: Vec<Policy>,
        all: bool,
    ) -> Self {
        let reference = Scenario {
            load: middle(lists.loads),
            cache_share: middle(lists.caches),
            shape: lists.shapes.first().copied().unwrap_or(Shape::Even),
            replicas: lists.replicas.first().copied().unwrap_or(1),
            ..base.clone()
        };
        let cells = |scenarios: Vec<Scenario>| -> Vec<Cell> {
            let of = |scenario: Scenario| {
                policies.iter().map(move |&policy| Cell { scenario: scenario.clone(), policy })
            };
            scenarios.into_iter().flat_map(of).collect()
        };
        let (replicas, circumstances) = match all {
            true => (more_replicas(&reference), other_circumstances(&reference)),
            false => (Vec::new(), Vec::new()),
        };
        Self {
            grid: cells(combine(&reference, lists)),
            replicas: cells(replicas),
            circumstances: cells(circumstances),
            reference,
        }
    }

    /// Runs them all.
    pub(crate) fn run(
        &self,
        material: &Material,
        seeds: u64,
        threads: usize,
    ) -> Result<Measurements> {
        let cells: Vec<Cell> = [&self.grid, &self.replicas, &self.circumstances]
            .into_iter()
            .flatten()
            .cloned()
            .collect();
        let mut grid = grid::run(material, &cells, seeds, threads)?;
        let mut replicas = grid.split_off(self.grid.len());
        let circumstances = replicas.split_off(self.replicas.len());
        Ok(Measurements { grid, replicas, circumstances })
    }
}

impl Measurements {
    /// The parts, in the order of a report.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &[Measured]> {
        [&self.grid, &self.replicas, &self.circumstances].into_iter().map(Vec::as_slice)
    }
}

fn middle(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.7)
}

fn combine(reference: &Scenario, lists: &Lists<'_>) -> Vec<Scenario> {
    let mut scenarios = Vec::new();
    for &shape in lists.shapes {
        for &replicas in lists.replicas {
            for &cache_share in lists.caches {
                for &load in lists.loads {
                    let of = reference.clone();
                    scenarios.push(Scenario { shape, replicas, cache_share, load, ..of });
                }
            }
        }
    }
    scenarios
}

fn more_replicas(reference: &Scenario) -> Vec<Scenario> {
    REPLICAS.map(|replicas| Scenario { replicas, ..reference.clone() }).to_vec()
}

fn other_circumstances(reference: &Scenario) -> Vec<Scenario> {
    let of = || reference.clone();
    let shapes = [Shape::Unequal, Shape::Slow, Shape::Failing, Shape::Joining, Shape::Split];
    let mut scenarios = vec![Scenario { process: Process::Poisson, ..of() }];
    scenarios.extend(shapes.map(|shape| Scenario { shape, ..of() }));
    scenarios.push(Scenario { signal_delay: 0.5, ..of() });
    scenarios.push(Scenario { signal_loss: 0.3, ..of() });
    scenarios.push(Scenario { signal_loss: 1.0, ..of() });
    scenarios
}
