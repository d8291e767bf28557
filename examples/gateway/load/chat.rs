//! What the simulated users say: conversations that share system prompts and grow turn by turn.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde::Serialize;

use super::LoadConfig;

/// One message of a conversation, as the API wants it.
#[derive(Clone, Serialize)]
pub(crate) struct Message {
    pub(crate) role: &'static str,
    pub(crate) content: String,
}

/// A conversation: the same seed and number always say the same.
pub(crate) struct Conversation {
    rng: SmallRng,
    pub(crate) messages: Vec<Message>,
    turns_left: u32,
    message_bytes: usize,
}

impl Conversation {
    /// Conversation `number` of the run: one of the shared system prompts and a number of turns.
    pub(crate) fn new(config: &LoadConfig, number: u64) -> Conversation {
        let mut rng = SmallRng::seed_from_u64(config.seed.wrapping_mul(1_000_003) ^ number);
        let application = rng.random_range(0..config.applications.max(1));
        let turns_left =
            rng.random_range(config.turns / 2..=config.turns + config.turns / 2).max(1);
        Conversation {
            messages: vec![Message {
                role: "system",
                content: system_prompt(config, application as u64),
            }],
            rng,
            turns_left,
            message_bytes: config.message_bytes,
        }
    }

    /// Adds what the user says next; false when the conversation is over.
    pub(crate) fn ask(&mut self) -> bool {
        if self.turns_left == 0 {
            return false;
        }
        self.turns_left -= 1;
        // Between half and one and a half times the mean.
        let bytes = self.message_bytes / 2 + self.rng.random_range(0..=self.message_bytes);
        let content = words(&mut self.rng, bytes);
        self.messages.push(Message { role: "user", content });
        true
    }

    /// Adds what the model answered.
    pub(crate) fn answered(&mut self, content: String) {
        self.messages.push(Message { role: "assistant", content });
    }
}

fn system_prompt(config: &LoadConfig, application: u64) -> String {
    let mut rng = SmallRng::seed_from_u64(config.seed ^ (0x5157_0000 + application));
    words(&mut rng, config.system_bytes)
}

const WORDS: [&str; 32] = [
    "track",
    "signal",
    "lever",
    "switch",
    "junction",
    "yard",
    "freight",
    "express",
    "timetable",
    "platform",
    "whistle",
    "carriage",
    "engine",
    "siding",
    "depot",
    "bridge",
    "tunnel",
    "gauge",
    "sleeper",
    "ballast",
    "coupling",
    "brake",
    "lantern",
    "crossing",
    "guard",
    "driver",
    "fireman",
    "ticket",
    "station",
    "terminus",
    "viaduct",
    "embankment",
];

fn words(rng: &mut SmallRng, bytes: usize) -> String {
    let mut text = String::with_capacity(bytes + 16);
    while text.len() < bytes {
        text.push_str(WORDS[rng.random_range(0..WORDS.len())]);
        text.push(' ');
    }
    text
}
