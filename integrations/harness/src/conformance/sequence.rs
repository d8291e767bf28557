//! Sequences of requests at which the rule leaves no choice: at each of them it allows one worker only, or
//! several that nothing tells apart. So all routers that keep to it serve a sequence alike, up to the names
//! of the workers, however they break ties.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::routers::Policy;
use crate::rule::{self, Because, Threshold, Worker};

/// What a sequence is made of.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) requests: usize,
    /// Bytes of a piece of conversation, and most pieces in a turn.
    pub(crate) chunk: usize,
    pub(crate) chunks: usize,
    /// Share of the requests that stay in flight until they are ended.
    pub(crate) hold: f64,
    /// Share of the steps that end one.
    pub(crate) end: f64,
    pub(crate) seed: u64,
}

/// One step.
pub(crate) enum Step {
    /// Sends a request, for which the rule chooses this worker; what is not held is answered at once.
    Ask { prompt: String, hold: bool, worker: usize, because: Because },
    /// Answers the held request that is the n-th of those still held.
    End(usize),
}

/// All of them.
pub(crate) struct Sequence {
    pub(crate) steps: Vec<Step>,
}

impl Sequence {
    /// Requests decided for this reason.
    pub(crate) fn count(&self, wanted: Because) -> usize {
        let decided =
            |step: &&Step| matches!(step, Step::Ask { because, .. } if *because == wanted);
        self.steps.iter().filter(decided).count()
    }
}

/// A share this close to the threshold might be told apart by rounding.
const MARGIN: f32 = 0.02;

struct Maker {
    rng: SmallRng,
    shape: Shape,
    workers: Vec<Worker>,
    /// What was said so far, by conversation.
    conversations: Vec<String>,
    /// The workers that hold requests, oldest first.
    held: Vec<usize>,
    pieces: u32,
    asked: usize,
}

/// Makes the sequence of this shape and seed.
pub(crate) fn make(policy: &Policy, shape: &Shape, workers: usize) -> Sequence {
    let mut maker = Maker {
        rng: SmallRng::seed_from_u64(shape.seed),
        shape: shape.clone(),
        workers: vec![Worker::default(); workers],
        conversations: Vec::new(),
        held: Vec::new(),
        pieces: 0,
        asked: 0,
    };
    let mut steps = Vec::new();
    while maker.asked < shape.requests {
        if !maker.held.is_empty() && maker.rng.random_bool(shape.end) {
            let ended = maker.rng.random_range(0..maker.held.len());
            let worker = maker.held.remove(ended);
            maker.workers[worker].in_flight -= 1;
            steps.push(Step::End(ended));
        } else if let Some(step) = maker.ask(policy) {
            steps.push(step);
            maker.asked += 1;
        }
    }
    Sequence { steps }
}

impl Maker {
    /// A request that the rule leaves no choice about, if the one drawn is one.
    fn ask(&mut self, policy: &Policy) -> Option<Step> {
        let (conversation, prompt) = self.draw();
        let (worker, because) = match policy {
            Policy::RoundRobin => (self.asked % self.workers.len(), Because::Turn),
            Policy::CacheAware(flags) => self.decided(*flags, &prompt)?,
        };
        match conversation {
            Some(number) => self.conversations[number].clone_from(&prompt),
            None => self.conversations.push(prompt.clone()),
        }
        let hold = self.rng.random_bool(self.shape.hold);
        self.workers[worker].prompts.push(prompt.clone());
        if hold {
            self.workers[worker].in_flight += 1;
            self.held.push(worker);
        }
        Some(Step::Ask { prompt, hold, worker, because })
    }

    fn decided(&self, flags: Threshold, prompt: &str) -> Option<(usize, Because)> {
        let (allowed, because, margin) = rule::allowed(flags, &self.workers, prompt);
        let alike = allowed.iter().all(|&number| self.workers[number].is_untouched());
        let clear = margin > MARGIN && (allowed.len() == 1 || alike);
        clear.then(|| (allowed[0], because))
    }

    /// The next turn of a conversation, a new turn in place of its later ones, or something new.
    fn draw(&mut self) -> (Option<usize>, String) {
        let known = self.conversations.len();
        let kind = self.rng.random_range(0.0..1.0);
        let mut text = String::new();
        let mut number = None;
        if known > 0 && kind < 0.7 {
            // Some conversations are much busier than others: that is what brings workers out of balance.
            let uniform: f64 = self.rng.random_range(0.0..1.0);
            let chosen = (known as f64 * uniform.powi(4)) as usize;
            text.clone_from(&self.conversations[chosen]);
            if kind > 0.5 {
                let pieces = text.len() / self.shape.chunk;
                text.truncate(self.rng.random_range(0..=pieces) * self.shape.chunk);
            } else {
                number = Some(chosen);
            }
        }
        for _ in 0..self.rng.random_range(1..=self.shape.chunks) {
            self.pieces += 1;
            text.push_str(&piece(self.pieces, self.shape.chunk));
        }
        (number, text)
    }
}

/// A piece of text of this many bytes that differs from all others in its first character.
fn piece(number: u32, bytes: usize) -> String {
    let first = char::from_u32(0x4e00 + number).unwrap_or('?');
    let mut text = String::from(first);
    text.extend(std::iter::repeat_n('.', bytes - text.len()));
    text
}
