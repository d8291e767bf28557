//! Timing on a machine that other work shares.
//!
//! Absolute times drift, so all cases are run in turn, round after round, and a bar is a ratio of two
//! cases within one round: what slows a round slows both. Reported is the median over the rounds and
//! the spread from the lower to the upper quartile. Samples during which a thread had to wait for a
//! processor are taken again.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// Tries to get a sample that nothing disturbs.
const TRIES: usize = 20;

/// Laps of several threads per sample.
const LAPS: usize = 20;

/// Something to be timed: runs this many operations.
pub type Run<'a> = Box<dyn Fn(u64) + Sync + 'a>;

/// One case: what runs, on how many threads.
pub struct Case<'a> {
    pub name: String,
    pub threads: usize,
    run: Run<'a>,
    /// Operations per thread and round.
    operations: u64,
    /// Nanoseconds per operation, one entry per round.
    samples: Vec<f64>,
}

/// How long to measure.
#[derive(Clone, Copy)]
pub struct Effort {
    pub rounds: usize,
    /// Time per case and round.
    pub slice: Duration,
}

/// Median and quartiles of a figure over the rounds.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    pub median: f64,
    pub low: f64,
    pub high: f64,
}

/// All cases of a benchmark.
#[derive(Default)]
pub struct Table<'a> {
    cases: Vec<Case<'a>>,
}

impl<'a> Table<'a> {
    /// Adds a case; returns its number.
    pub fn add(&mut self, name: String, threads: usize, run: Run<'a>) -> usize {
        self.cases.push(Case { name, threads, run, operations: 1, samples: Vec::new() });
        self.cases.len() - 1
    }

    /// The case of this name.
    pub fn case(&self, name: &str) -> Option<&Case<'a>> {
        self.cases.iter().find(|case| case.name == name)
    }

    /// The number of the case of this name.
    pub fn number(&self, name: &str) -> Option<usize> {
        self.cases.iter().position(|case| case.name == name)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.cases.iter().map(|case| case.name.as_str())
    }

    /// Runs every case once per round, in turn.
    pub fn measure(&mut self, effort: Effort) {
        self.cases.iter_mut().for_each(|case| case.calibrate(effort.slice));
        for _ in 0..effort.rounds {
            for case in &mut self.cases {
                let sample = case.sample();
                case.samples.push(sample);
            }
        }
    }

    /// Nanoseconds per operation.
    pub fn nanoseconds(&self, case: usize) -> Figure {
        Figure::of(self.cases[case].samples.clone()).expect("the table was measured")
    }

    /// How many times as long an operation of `case` takes as one of `base`, round by round.
    pub fn ratio(&self, case: usize, base: usize) -> Figure {
        let (case, base) = (&self.cases[case].samples, &self.cases[base].samples);
        let ratios = case.iter().zip(base).map(|(case, base)| case / base).collect();
        Figure::of(ratios).expect("the table was measured")
    }
}

impl Case<'_> {
    /// Runs the case alone, untimed: for instruction counts.
    pub fn run(&self, operations: u64) {
        (self.run)(operations);
    }

    /// Doubles the operations until they fill the slice on one thread.
    fn calibrate(&mut self, slice: Duration) {
        loop {
            let elapsed = self.undisturbed(|case| case.time_alone(case.operations));
            if elapsed * 2 >= slice {
                let scale = slice.as_secs_f64() / elapsed.as_secs_f64();
                self.operations = ((self.operations as f64 * scale) as u64).max(1);
                return;
            }
            self.operations *= 2;
        }
    }

    /// Nanoseconds per operation, of all threads together: the inverse of the throughput.
    fn sample(&self) -> f64 {
        match self.threads {
            1 => {
                let elapsed = self.undisturbed(|case| case.time_alone(case.operations));
                elapsed.as_nanos() as f64 / self.operations as f64
            }
            _ => self.sample_together(),
        }
    }

    /// Times until no other process interrupts; the shortest of a few tries if each is interrupted.
    fn undisturbed(&self, time: impl Fn(&Self) -> Time) -> Duration {
        let mut shortest = Duration::MAX;
        for _ in 0..TRIES {
            let time = time(self);
            if time.undisturbed {
                return time.elapsed();
            }
            shortest = shortest.min(time.elapsed());
        }
        shortest
    }

    fn time_alone(&self, operations: u64) -> Time {
        let waited = waited();
        let start = Instant::now();
        (self.run)(operations);
        let end = Instant::now();
        Time { start, end, undisturbed: self::waited() == waited }
    }

    /// The median of the laps that nothing disturbed, in the first of a few tries that has one.
    fn sample_together(&self) -> f64 {
        let mut shortest = f64::INFINITY;
        for _ in 0..TRIES {
            let operations = (self.operations / LAPS as u64).max(1);
            let per_operation = |time: &Time| {
                time.elapsed().as_nanos() as f64 / (operations * self.threads as u64) as f64
            };
            let laps = self.laps(operations);
            let clean = laps.iter().filter(|lap| lap.undisturbed).map(per_operation).collect();
            if let Some(figure) = Figure::of(clean) {
                return figure.median;
            }
            shortest = laps.iter().map(per_operation).fold(shortest, f64::min);
        }
        shortest
    }

    /// Short laps of all threads together, each begun when all of them are on a processor.
    fn laps(&self, operations: u64) -> Vec<Time> {
        let arrived = AtomicUsize::new(0);
        let lap = |number: usize| {
            // From before the wait for the others: a thread that lost its processor in there starts late.
            let waited = waited();
            arrived.fetch_add(1, SeqCst);
            while arrived.load(SeqCst) < (number + 1) * self.threads {
                std::hint::spin_loop();
            }
            let start = Instant::now();
            (self.run)(operations);
            let end = Instant::now();
            Time { start, end, undisturbed: self::waited() == waited }
        };
        let run = || (0..LAPS).map(lap).collect::<Vec<Time>>();
        let times: Vec<Vec<Time>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..self.threads).map(|_| scope.spawn(run)).collect();
            threads.into_iter().map(|t| t.join().expect("a case does not panic")).collect()
        });
        // The first lap brings the threads' own lines into their caches.
        (1..LAPS)
            .filter_map(|lap| times.iter().map(|of_thread| of_thread[lap]).reduce(Time::both))
            .collect()
    }
}

/// When something ran.
#[derive(Clone, Copy)]
struct Time {
    start: Instant,
    end: Instant,
    /// Whether the thread was on a processor all the time.
    undisturbed: bool,
}

impl Time {
    fn elapsed(&self) -> Duration {
        self.end - self.start
    }

    /// From the first start to the last end.
    fn both(self, other: Time) -> Time {
        Time {
            start: self.start.min(other.start),
            end: self.end.max(other.end),
            undisturbed: self.undisturbed && other.undisturbed,
        }
    }
}

/// Nanoseconds that the calling thread has waited for a processor, where the system says so.
fn waited() -> Option<u64> {
    let statistics = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    statistics.split_whitespace().nth(1)?.parse().ok()
}

impl Figure {
    /// Of these values, unless there are none.
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let at = |share: f64| {
            values.get((values.len().saturating_sub(1) as f64 * share).round() as usize).copied()
        };
        Some(Figure { median: at(0.5)?, low: at(0.25)?, high: at(0.75)? })
    }

    /// A figure without spread.
    pub fn exactly(value: f64) -> Self {
        Figure { median: value, low: value, high: value }
    }
}

impl std::fmt::Display for Figure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&format!("{:.2} [{:.2} to {:.2}]", self.median, self.low, self.high))
    }
}
