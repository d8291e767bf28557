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
                let elapsed = case.sample();
                // Per operation of all threads together: the inverse of the throughput.
                let operations = case.operations * case.threads as u64;
                case.samples.push(elapsed.as_nanos() as f64 / operations as f64);
            }
        }
    }

    /// Nanoseconds per operation.
    pub fn nanoseconds(&self, case: usize) -> Figure {
        Figure::of(self.cases[case].samples.clone())
    }

    /// How many times as long an operation of `case` takes as one of `base`, round by round.
    pub fn ratio(&self, case: usize, base: usize) -> Figure {
        let (case, base) = (&self.cases[case].samples, &self.cases[base].samples);
        Figure::of(case.iter().zip(base).map(|(case, base)| case / base).collect())
    }
}

impl Case<'_> {
    /// Runs the case alone, untimed: for instruction counts.
    pub fn run(&self, operations: u64) {
        (self.run)(operations);
    }

    /// Doubles the operations until they fill the slice.
    fn calibrate(&mut self, slice: Duration) {
        loop {
            let elapsed = self.time_alone(self.operations).elapsed;
            if elapsed * 2 >= slice {
                let scale = slice.as_secs_f64() / elapsed.as_secs_f64();
                self.operations = ((self.operations as f64 * scale) as u64).max(1);
                return;
            }
            self.operations *= 2;
        }
    }

    /// Takes a sample that no other process has interrupted, if one of a few tries gives one.
    fn sample(&self) -> Duration {
        let mut shortest = Duration::MAX;
        for _ in 0..TRIES {
            let time = match self.threads {
                1 => self.time_alone(self.operations),
                _ => self.time_together(self.operations),
            };
            if time.undisturbed {
                return time.elapsed;
            }
            shortest = shortest.min(time.elapsed);
        }
        shortest
    }

    fn time_alone(&self, operations: u64) -> Time {
        let waited = waited();
        let start = Instant::now();
        (self.run)(operations);
        Time { elapsed: start.elapsed(), undisturbed: self::waited() == waited }
    }

    /// From the moment that all threads are there until the last one is done.
    fn time_together(&self, operations: u64) -> Time {
        let ready = AtomicUsize::new(0);
        let run = || {
            ready.fetch_add(1, SeqCst);
            while ready.load(SeqCst) < self.threads {
                std::hint::spin_loop();
            }
            let start = Instant::now();
            (start, self.time_alone(operations))
        };
        let times: Vec<(Instant, Time)> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..self.threads).map(|_| scope.spawn(run)).collect();
            threads.into_iter().map(|t| t.join().expect("a case does not panic")).collect()
        });
        let start = times.iter().map(|&(start, _)| start).min();
        let end = times.iter().map(|(start, time)| *start + time.elapsed).max();
        Time {
            elapsed: start.zip(end).map_or(Duration::ZERO, |(start, end)| end - start),
            undisturbed: times.iter().all(|(_, time)| time.undisturbed),
        }
    }
}

/// How long something took.
struct Time {
    elapsed: Duration,
    /// Whether the threads were on a processor all the time.
    undisturbed: bool,
}

/// Nanoseconds that the calling thread has waited for a processor, where the system says so.
fn waited() -> Option<u64> {
    let statistics = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    statistics.split_whitespace().nth(1)?.parse().ok()
}

impl Figure {
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |share: f64| values[((values.len() - 1) as f64 * share).round() as usize];
        Figure { median: at(0.5), low: at(0.25), high: at(0.75) }
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
