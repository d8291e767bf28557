//! The threshold rule, as plain as it can be written: what a run that keeps to it must do next.

use std::fmt;

/// The flags `--cache-threshold`, `--balance-abs-threshold` and `--balance-rel-threshold`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Threshold {
    pub(crate) cache: f32,
    pub(crate) abs: usize,
    pub(crate) rel: f32,
}

impl Default for Threshold {
    fn default() -> Threshold {
        Threshold { cache: 0.3, abs: 64, rel: 1.5 }
    }
}

/// Why a worker is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Because {
    Turn,
    Match,
    LeastLoaded,
    Imbalanced,
}

impl fmt::Display for Because {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Because::Turn => "by turn",
            Because::Match => "by match",
            Because::LeastLoaded => "least loaded",
            Because::Imbalanced => "out of balance",
        })
    }
}

/// What one worker was given.
#[derive(Clone, Default)]
pub(crate) struct Worker {
    pub(crate) in_flight: usize,
    pub(crate) prompts: Vec<String>,
}

impl Worker {
    /// Bytes of `prompt` that begin a prompt it was given, in whole characters.
    fn held(&self, prompt: &str) -> usize {
        let common = |other: &String| {
            let pairs = prompt.chars().zip(other.chars());
            pairs.take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8()).sum()
        };
        self.prompts.iter().map(common).max().unwrap_or(0)
    }

    /// Nothing tells it from another worker of which this is true.
    pub(crate) fn is_untouched(&self) -> bool {
        self.prompts.is_empty()
    }
}

/// The workers that the rule allows, why, and how close the share that matches is to the threshold.
pub(crate) fn allowed(
    flags: Threshold,
    workers: &[Worker],
    prompt: &str,
) -> (Vec<usize>, Because, f32) {
    let loads: Vec<_> = workers.iter().map(|worker| worker.in_flight).collect();
    let least = loads.iter().min().copied().unwrap_or(0);
    let most = loads.iter().max().copied().unwrap_or(0);
    let those = |values: &[usize], wanted| {
        (0..values.len()).filter(|&number| values[number] == wanted).collect::<Vec<_>>()
    };
    if most - least > flags.abs && most as f32 > flags.rel * least as f32 {
        return (those(&loads, least), Because::Imbalanced, 1.0);
    }
    let held: Vec<_> = workers.iter().map(|worker| worker.held(prompt)).collect();
    let longest = held.iter().max().copied().unwrap_or(0);
    let share = longest as f32 / prompt.len() as f32;
    let margin = (share - flags.cache).abs();
    match share > flags.cache {
        true => (those(&held, longest), Because::Match, margin),
        false => (those(&loads, least), Because::LeastLoaded, margin),
    }
}
