//! What engines keep once the user speaks, learned from what they report. The engines here render conversations as
//! text and keep the longest beginning that they rendered or generated before.

use pointsman::body::{History, RenderProfile};
use pointsman::{Outcome, Request, Router, Usage, WorkerSpec};
use serde_json::{Value, json};

use crate::support::{self, SECOND, add};

/// How an engine's template renders what an agent did before the user's last word.
#[derive(Clone, Copy, PartialEq)]
enum Template {
    Keeps,
    DropsReasoning,
    RendersAnew,
}

/// The engine's prompt for a conversation.
fn rendered(template: Template, messages: &[Value]) -> String {
    let last = messages.iter().rposition(|message| message["role"] == "user").unwrap();
    let mut text = String::new();
    for (place, message) in messages.iter().enumerate() {
        let word = |name: &str| message[name].as_str().unwrap_or_default().to_owned();
        let past = place < last;
        let reasoning = match template {
            Template::Keeps => word("reasoning_content"),
            Template::DropsReasoning if past => String::new(),
            Template::DropsReasoning => word("reasoning_content"),
            // An empty thought stands where there was none to be returned.
            Template::RendersAnew if past => String::new(),
            Template::RendersAnew => format!("<think>{}</think>", word("reasoning_content")),
        };
        text += &format!("<{}>{reasoning}{}", word("role"), word("content"));
    }
    text
}

struct Engine {
    template: Template,
    held: Vec<String>,
}

impl Engine {
    /// Prompt tokens, and of these the cached ones.
    fn serve(&mut self, messages: &[Value]) -> (u32, u32) {
        let prompt = rendered(self.template, messages);
        let common =
            |held: &String| held.bytes().zip(prompt.bytes()).take_while(|(a, b)| a == b).count();
        let cached = self.held.iter().map(common).max().unwrap_or(0);
        let tokens = (prompt.len() as u32 / 4, cached as u32 / 4);
        self.held.push(prompt);
        tokens
    }
}

fn words(what: &str, count: usize) -> String {
    (0..count).map(|i| format!("{what}{} ", i * i % 977)).collect()
}

/// One conversation: a user who speaks again and again, and an agent that works in between. What is believed at the
/// user's turns but the first, and what is true, in shares of the prompt.
struct Talk {
    messages: Vec<Value>,
    turns: Vec<(f64, f64)>,
    loops: Vec<(f64, f64)>,
}

impl Talk {
    fn new(number: usize) -> Talk {
        let system = json!({"role": "system", "content": words(&format!("rule{number}."), 300)});
        Talk { messages: vec![system], turns: Vec::new(), loops: Vec::new() }
    }

    fn ask(&mut self, router: &Router, engines: &mut [Engine], is_users: bool) {
        let body = json!({"model": "m", "messages": self.messages}).to_string();
        // As a gateway may do that sees the body and the workers at different moments.
        let mut room = vec![0; 4096];
        let read = router.fingerprint(&Request::json(body.as_bytes()), &mut room).unwrap();
        let given = [Request::json(body.as_bytes()), Request::fingerprint(read)];
        let given = &given[self.turns.len() % 2];
        let selection = router.at(SECOND).select(given).unwrap();
        let (prompt, cached) = engines[selection.user_data() as usize].serve(&self.messages);
        let believed = f64::from(selection.matched_tokens()) / f64::from(selection.total_tokens());
        let found = f64::from(cached) / f64::from(prompt);
        let list = if is_users { &mut self.turns } else { &mut self.loops };
        list.push((believed, found));
        let usage =
            Usage { prompt_tokens: Some(prompt), cached_tokens: Some(cached), ..Usage::default() };
        router.at(SECOND).complete(selection, Outcome::Success, usage).unwrap();
    }

    fn turn(&mut self, router: &Router, engines: &mut [Engine], number: usize, reasons: bool) {
        self.messages.push(json!({"role": "user", "content": words(&format!("ask{number}."), 40)}));
        self.ask(router, engines, true);
        for step in 0..6 {
            let name = format!("t{number}.{step}.");
            let mut call = json!({"role": "assistant", "content": words(&name, 30)});
            if reasons {
                call["reasoning_content"] = words(&format!("because{name}"), 80).into();
            }
            self.messages.push(call);
            self.messages
                .push(json!({"role": "tool", "content": words(&format!("result{name}"), 60)}));
            self.ask(router, engines, false);
        }
        self.messages
            .push(json!({"role": "assistant", "content": words(&format!("so{number}."), 30)}));
    }
}

fn engines(router: &Router, templates: &[Template]) -> Vec<Engine> {
    let engine = |(number, &template): (usize, &Template)| {
        add(router, WorkerSpec::new(format!("http://w{number}")).user_data(number as u64));
        Engine { template, held: Vec::new() }
    };
    templates.iter().enumerate().map(engine).collect()
}

fn history(router: &Router) -> History {
    router.metrics().profile.expect("the default profile is learned").history
}

/// By how much less than the truth is believed at most, and by how much more.
fn farthest(of: &[(f64, f64)]) -> (f64, f64) {
    let errors = || of.iter().map(|(believed, found)| believed - found);
    (-errors().fold(0.0, f64::min), errors().fold(0.0, f64::max))
}

#[test]
fn what_engines_keep_is_learned_within_twenty_turns_of_the_user() {
    for (template, reasons, expected) in [
        (Template::Keeps, true, History::Keep),
        (Template::Keeps, false, History::Keep),
        (Template::DropsReasoning, true, History::DropReturned),
        (Template::DropsReasoning, false, History::Keep),
        (Template::RendersAnew, true, History::DropReturned),
        (Template::RendersAnew, false, History::DropAlways),
    ] {
        let router = support::router("cache_aware");
        let mut engines = engines(&router, &[template; 2]);
        for number in 0..5 {
            let mut talk = Talk::new(number);
            (0..4).for_each(|turn| talk.turn(&router, &mut engines, turn, reasons));
        }
        assert_eq!(history(&router), expected, "reasoning returned: {reasons}");
        let mut talk = Talk::new(9);
        (0..5).for_each(|turn| talk.turn(&router, &mut engines, turn, reasons));
        // Reasoning that is dropped counts in the prompt's length: less is believed than is true where the user
        // speaks, and a little more in the loop.
        let exact = expected == History::Keep || !reasons;
        let (least, most) = if exact { (0.05, 0.05) } else { (0.2, 0.1) };
        for list in [&talk.turns[1..], &talk.loops] {
            let (less, more) = farthest(list);
            assert!(less < least && more < most, "{expected:?}: {less:.3} {more:.3} {list:?}");
        }
    }
}

#[test]
fn until_it_is_learned_a_users_turn_does_not_discount_the_steps_of_loops() {
    let router = support::router("cache_aware");
    let mut engines = engines(&router, &[Template::DropsReasoning]);
    let mut talk = Talk::new(0);
    (0..3).for_each(|turn| talk.turn(&router, &mut engines, turn, true));
    assert!(
        talk.turns[1].0 - talk.turns[1].1 > 0.3,
        "the first turns are believed too much: {:?}",
        talk.turns
    );
    let gauges = &router.metrics().workers[0].policy_gauges;
    let reliability = gauges.iter().find(|(name, _)| *name == "reliability_ratio").unwrap().1;
    // It is .86 where they do, and not 1, as reasoning that is dropped counts in the prompts' lengths.
    assert!(reliability > 0.88, "{reliability}");
}

#[test]
fn two_versions_of_an_engine_do_not_make_it_flap() {
    let router = support::router("cache_aware");
    let mut engines = engines(&router, &[Template::Keeps, Template::DropsReasoning]);
    let (mut last, mut changes) = (History::Keep, 0);
    for number in 0..12 {
        let mut talk = Talk::new(number);
        for turn in 0..4 {
            talk.turn(&router, &mut engines, turn, true);
            let now = history(&router);
            changes += usize::from(now != last);
            last = now;
        }
    }
    assert!(changes <= 2, "{changes} changes");
}

#[test]
fn what_was_evicted_and_what_is_configured_teach_nothing() {
    let router = support::router("cache_aware");
    let mut all = engines(&router, &[Template::Keeps]);
    for number in 0..6 {
        let mut talk = Talk::new(number);
        talk.turn(&router, &mut all, 0, true);
        // All of it is lost.
        all[0].held.clear();
        talk.turn(&router, &mut all, 1, true);
    }
    let profile = router.metrics().profile.unwrap();
    assert_eq!((profile.history, profile.reasoned), (History::Keep, [0, 0]));
    let mut config = support::config("cache_aware");
    config.body.profile = RenderProfile::named("qwen3").unwrap();
    assert_eq!(Router::new(config).unwrap().metrics().profile, None);
}
