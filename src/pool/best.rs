//! The best two of many offers.

use crate::random::{self, Random};

/// Keeps the offers with the smallest and the second smallest score; among equals each has the same
/// chance of coming first.
#[derive(Debug)]
pub struct Best<'r, T> {
    random: &'r Random,
    /// Not numbers where nothing was offered yet.
    scores: [f64; 2],
    values: [Option<T>; 2],
    /// Offers with the smallest score.
    ties: usize,
    /// The number of the tie that comes first next; drawn once there is a tie after the last such.
    due: usize,
    /// Of all offers with the smallest score, where they are weighted.
    weight: f64,
}

impl<'r, T: Copy> Best<'r, T> {
    /// Nothing offered yet.
    pub fn new(random: &'r Random) -> Self {
        Best { random, scores: [f64::NAN; 2], values: [None; 2], ties: 1, due: 1, weight: 0.0 }
    }

    /// Offers a value. A score that is not a number loses to any number.
    #[inline]
    pub fn offer(&mut self, score: f64, value: T) {
        // Most offers of many are neither first nor second, nor a tie for the first place.
        let [first, second] = self.scores;
        if !(score > first && score >= second) {
            self.place(score, value);
        }
    }

    /// The same, where among equals each has a chance in proportion to its weight. All offers to one `Best`
    /// are made in the same way.
    pub(crate) fn offer_weighted(&mut self, score: f64, weight: f64, value: T) {
        let [first, _] = self.scores;
        if score != first {
            if self.values[0].is_none() || score < first {
                self.weight = weight;
            }
            return self.offer(score, value);
        }
        self.weight += weight;
        let wins = random::unit(self.random.next()) * self.weight < weight;
        let second = if wins { self.values[0].replace(value) } else { Some(value) };
        (self.scores[1], self.values[1]) = (score, second);
    }

    #[inline(never)]
    fn place(&mut self, score: f64, value: T) {
        let score = if score.is_nan() { f64::INFINITY } else { score };
        let ([first, second], [leader, runner_up]) = (self.scores, self.values);
        let is_less = leader.is_none() || score < first;
        if is_less {
            (self.ties, self.due) = (1, 1);
        }
        if is_less || score == first && self.next_tie_wins() {
            (self.scores, self.values) = ([score, first], [Some(value), leader]);
        } else if runner_up.is_none() || score < second {
            (self.scores[1], self.values[1]) = (score, Some(value));
        }
    }

    /// Whether one more tie comes first. The n-th does so with probability 1 / n, so the next after the
    /// n-th to do so is beyond the m-th with probability n / m: one draw tells which it is.
    fn next_tie_wins(&mut self) -> bool {
        if self.ties == self.due {
            let least = self.ties as f64 / random::unit(self.random.next());
            self.due = (least as usize).saturating_add(1);
        }
        self.ties += 1;
        self.ties == self.due
    }

    /// The smallest score and its offer.
    pub fn first(&self) -> Option<(f64, T)> {
        self.values[0].map(|value| (self.scores[0], value))
    }

    /// The second smallest.
    pub fn second(&self) -> Option<(f64, T)> {
        self.values[1].map(|value| (self.scores[1], value))
    }
}
