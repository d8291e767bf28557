//! A multi-turn chat load: a fixed number of users, each in a conversation, each waiting for its
//! answer before it thinks and asks on.
//!
//! Conversations are taken from one seeded list, so every run says the same things in the same order;
//! how far it gets in the given time depends on the answers.

pub(crate) mod chat;
pub(crate) mod client;
mod report;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::chat::Conversation;
use self::client::Failure;
pub(crate) use self::report::{Report, Tally};
use crate::http::{Client, client_keeping};

/// The load on one gateway.
#[derive(Clone, Debug)]
pub(crate) struct LoadConfig {
    /// Users that talk at the same time.
    pub(crate) users: usize,
    /// How long new turns are begun; those under way then are waited for.
    pub(crate) length: Duration,
    /// Distinct system prompts; every conversation starts with one of them.
    pub(crate) applications: usize,
    pub(crate) system_bytes: usize,
    /// Mean size of what a user says.
    pub(crate) message_bytes: usize,
    /// Mean number of turns of a conversation.
    pub(crate) turns: u32,
    pub(crate) output_tokens: usize,
    /// Mean pause between an answer and the next question, exponentially distributed.
    pub(crate) think: Duration,
    pub(crate) seed: u64,
    /// Whether connections are used again.
    pub(crate) keep_connections: bool,
}

impl Default for LoadConfig {
    fn default() -> LoadConfig {
        LoadConfig {
            users: 48,
            length: Duration::from_secs(7),
            applications: 4,
            system_bytes: 6_000,
            message_bytes: 2_000,
            turns: 8,
            output_tokens: 16,
            think: Duration::from_millis(150),
            seed: 7,
            keep_connections: true,
        }
    }
}

/// What the users of one run share.
struct Run {
    config: LoadConfig,
    target: String,
    client: Client,
    next_conversation: AtomicU64,
    end: Instant,
    tally: Arc<Tally>,
}

/// Talks to `target` for the configured time. `tally` may be read meanwhile.
pub(crate) async fn run(config: LoadConfig, target: &str, tally: Arc<Tally>) -> Report {
    let started = Instant::now();
    let users = config.users;
    let idle = if config.keep_connections { usize::MAX } else { 0 };
    let run = Arc::new(Run {
        end: started + config.length,
        target: target.trim_end_matches('/').to_owned(),
        client: client_keeping(idle, Duration::from_secs(2)),
        next_conversation: AtomicU64::new(0),
        tally,
        config,
    });
    let mut tasks = JoinSet::new();
    for user in 0..users {
        tasks.spawn(talk(run.clone(), user as u64));
    }
    while tasks.join_next().await.is_some() {}
    run.tally.report(started.elapsed())
}

async fn talk(run: Arc<Run>, user: u64) {
    let mut rng = SmallRng::seed_from_u64(run.config.seed ^ (0x7468_0000 + user));
    // Users do not all arrive in the same millisecond.
    pause(&run, &mut rng).await;
    while Instant::now() < run.end {
        let number = run.next_conversation.fetch_add(1, Relaxed);
        let mut conversation = Conversation::new(&run.config, number);
        while Instant::now() < run.end && conversation.ask() {
            match turn(&run, &conversation).await {
                Some(text) => conversation.answered(text),
                None => break,
            }
            pause(&run, &mut rng).await;
        }
        pause(&run, &mut rng).await;
    }
}

/// One question and its answer. A user whose answer breaks off asks once more.
async fn turn(run: &Run, conversation: &Conversation) -> Option<String> {
    for _ in 0..2 {
        let output = run.config.output_tokens;
        match client::ask(&run.client, &run.target, &conversation.messages, output).await {
            Ok(answer) => {
                run.tally.answered(&answer);
                return Some(answer.text);
            }
            Err(Failure::Cut) => run.tally.cut(),
            Err(Failure::Lost(error)) => {
                run.tally.lost(&error);
                return None;
            }
        }
    }
    run.tally.lost(&"the answer broke off twice".into());
    None
}

async fn pause(run: &Run, rng: &mut SmallRng) {
    let uniform: f64 = rng.random_range(f64::EPSILON..1.0);
    let length = run.config.think.mul_f64(-uniform.ln());
    tokio::time::sleep_until((Instant::now() + length).min(run.end)).await;
}
