//! Endless prompts at no cost: slices of one text, made different by a stamp.

use pointsman::policy::Random;

const TEXT: usize = 1 << 20;
const SYSTEMS: usize = 64;
const SYSTEM: usize = 2048;
const TURN: usize = 600;
const TURNS: usize = 10;
/// Conversations of one thread that are under way at once.
const CONVERSATIONS: usize = 1000;

/// One thread's prompts: two thirds are turns of conversations, one third is like nothing before.
pub(crate) struct Prompts {
    text: Vec<u8>,
    conversations: Vec<Conversation>,
    stamp: u64,
    random: Random,
    buffer: Vec<u8>,
}

#[derive(Clone, Copy)]
struct Conversation {
    stamp: u64,
    system: usize,
    turns: usize,
}

impl Prompts {
    pub(crate) fn new(thread: usize) -> Self {
        // The same for all threads, so that they share system prompts.
        let shared = Random::from_seed(99);
        let letters = b"abcdefghijklmnopqrstuvwxyz      ";
        let text = (0..TEXT).map(|_| letters[shared.below(letters.len())]).collect();
        let random = Random::from_seed(thread as u64);
        let mut prompts = Prompts {
            text,
            conversations: Vec::new(),
            // No two threads ever have the same stamp.
            stamp: (thread as u64 + 1) << 48,
            random,
            buffer: Vec::with_capacity(SYSTEM + TURN * TURNS + 4096),
        };
        for _ in 0..CONVERSATIONS {
            let fresh = prompts.conversation();
            prompts.conversations.push(fresh);
        }
        prompts
    }

    fn conversation(&mut self) -> Conversation {
        self.stamp += 1;
        Conversation { stamp: self.stamp, system: self.random.below(SYSTEMS), turns: 0 }
    }

    /// The next prompt: printable bytes without quotes, a multiple of four.
    pub(crate) fn next(&mut self) -> &[u8] {
        self.buffer.clear();
        if self.random.below(3) == 0 {
            self.stamp += 1;
            let stamp = self.stamp;
            self.push_stamped(stamp, 4096 - 16);
        } else {
            let place = self.random.below(CONVERSATIONS);
            if self.conversations[place].turns == TURNS {
                self.conversations[place] = self.conversation();
            }
            let conversation = &mut self.conversations[place];
            conversation.turns += 1;
            let Conversation { stamp, system, turns } = *conversation;
            self.buffer.extend_from_slice(&self.text[system * SYSTEM..][..SYSTEM]);
            self.push_stamped(stamp, turns * TURN - 16);
        }
        &self.buffer
    }

    /// The stamp in hexadecimal and text chosen by it.
    fn push_stamped(&mut self, stamp: u64, length: usize) {
        use std::io::Write;
        write!(self.buffer, "{stamp:016x}").expect("a vector takes all");
        let start = (stamp.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 46) as usize;
        self.buffer.extend_from_slice(&self.text[start..][..length]);
    }
}
