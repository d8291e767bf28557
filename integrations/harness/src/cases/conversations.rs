//! Where conversations go.

use std::collections::BTreeMap;

use futures_util::future::join_all;

use super::{Verdict, demand};
use crate::bench::Bench;
use crate::http::AnyError;
use crate::load::LoadConfig;
use crate::load::chat::Conversation;
use crate::load::client::{self, Answer, Failure};

/// Conversations that share nothing.
fn strangers() -> LoadConfig {
    LoadConfig { applications: 1_000_000, ..LoadConfig::default() }
}

/// Every turn after the first goes to the worker that served the turn before, which finds in its cache
/// what was said so far.
pub(super) async fn stay(bench: &mut Bench) -> Verdict {
    const TURNS: usize = 5;
    let (mut stayed, mut later, mut cached, mut said) = (0, 0, 0, 0);
    for number in 0..8 {
        let mut conversation = Conversation::new(&strangers(), number);
        let (mut last, mut so_far) = (None, 0);
        for _ in 0..TURNS {
            if !conversation.ask() {
                break;
            }
            let answer = ask(bench, &conversation).await?;
            let worker = worker_of(&answer)?;
            if let Some(last) = last.replace(worker.clone()) {
                later += 1;
                stayed += usize::from(last == worker);
                said += so_far;
                cached += answer.cached_tokens;
            }
            so_far = answer.prompt_tokens;
            conversation.answered(answer.text);
        }
    }
    let share = cached as f64 / said as f64;
    demand(stayed == later, || format!("{stayed} of {later} later turns stayed"))?;
    demand(share > 0.95, || format!("{:.1}% of what was said before was cached", share * 100.0))?;
    Ok(format!("{stayed} of {later} turns, {:.1}% of the prefix cached", share * 100.0))
}

/// Conversations that begin at the same time share the workers evenly.
pub(super) async fn spread(bench: &mut Bench) -> Verdict {
    const CONVERSATIONS: u64 = 64;
    let asked = (0..CONVERSATIONS).map(|number| {
        let bench = &*bench;
        async move {
            let mut conversation = Conversation::new(&strangers(), number);
            conversation.ask();
            worker_of(&ask(bench, &conversation).await?)
        }
    });
    let mut by_worker = BTreeMap::<String, u64>::new();
    for worker in join_all(asked).await {
        *by_worker.entry(worker?).or_default() += 1;
    }
    let workers = bench.engines.len();
    let most = by_worker.values().max().copied().unwrap_or(0);
    let least = by_worker.values().min().copied().unwrap_or(0);
    demand(by_worker.len() == workers, || format!("only {} of {workers}", by_worker.len()))?;
    let mean = CONVERSATIONS / workers as u64;
    demand(most <= 2 * mean, || format!("one worker got {most}, the mean is {mean}"))?;
    Ok(format!("{CONVERSATIONS} over {workers} workers: {least} to {most} each"))
}

/// Asks for something new.
pub(super) async fn ask_anew(bench: &Bench, number: u64) -> Result<Answer, AnyError> {
    let mut conversation = Conversation::new(&strangers(), number);
    conversation.ask();
    ask(bench, &conversation).await
}

async fn ask(bench: &Bench, conversation: &Conversation) -> Result<Answer, AnyError> {
    client::ask(&bench.client, &bench.url(), &conversation.messages, 8).await.map_err(|failure| {
        match failure {
            Failure::Lost(error) => error,
            Failure::Cut => "the answer broke off".into(),
        }
    })
}

/// The server that answered: the last one that the gateway names.
fn worker_of(answer: &Answer) -> Result<String, AnyError> {
    let named = answer.worker.as_deref().ok_or("the answer names no worker")?;
    let last = named.rsplit(',').next().unwrap_or_default().trim();
    Ok(last.trim_start_matches("http://").to_owned())
}
