//! Seeded prompts for the benches: chat, long context, nothing shared.
//!
//! Text is drawn from a word list; tokens are one `u32` per four bytes of it. A workload keeps
//! every text once and builds each prompt in place, so that even 4,000 prompts of 128 KiB fit.

const WORDS: &str = "a able about above act add after again age ago air all also always among and \
    animal answer any appear area as ask at back base be bear beauty because bed been before began \
    begin behind best better between big bird black blue boat body book both box boy bring brought \
    build busy but by call came can car care carry cause center certain change check children city \
    class clear close cold color come common complete contain correct could country course cover \
    cross cry cut dark day decide deep develop did differ direct do does dog done door down draw \
    drive dry during each early earth ease east eat end enough equate even ever every example eye \
    face fact fall family far farm fast father feel feet few field figure fill final find fine fire \
    first fish five fly follow food foot for force form found four free friend from front full game \
    gave get girl give go gold good got govern great green ground group grow had half hand happen \
    hard has have he head hear heat help her here high him his hold home horse hot hour house how \
    hundred idea if in inch interest into is island it just keep kind king knew know land language";

/// A small generator, enough for text that looks like words.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed ^ 0x9e37_79b9_7f4a_7c15)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        ((u128::from(self.next()) * limit as u128) >> 64) as usize
    }

    /// Appends `length` bytes of words.
    pub fn text(&mut self, words: &[&str], length: usize, out: &mut Vec<u8>) {
        let end = out.len() + length;
        while out.len() < end {
            out.extend_from_slice(words[self.below(words.len())].as_bytes());
            out.push(b' ');
        }
        out.truncate(end);
    }
}

struct Recipe {
    text: u32,
    /// Bytes of the text that the prompt begins with.
    length: u32,
    /// Which tail follows, if any.
    tail: Option<u32>,
}

/// Prompts in order, each built in place when asked for.
pub struct Workload {
    pub name: &'static str,
    /// Bytes that a perfect store of all prompts would hold.
    pub unique_bytes: usize,
    texts: Vec<Vec<u8>>,
    tokens: Vec<Vec<u32>>,
    tails: Vec<Vec<u8>>,
    tail_tokens: Vec<Vec<u32>>,
    prompts: Vec<Recipe>,
}

impl Workload {
    /// W1: 64 system prompts of 2 KiB, 2,000 conversations of 10 turns of about 600 bytes,
    /// 20,000 requests interleaved.
    pub fn chat(seed: u64) -> Workload {
        let (random, words) = (&mut Random::new(seed), &words()[..]);
        let mut systems = Vec::new();
        for _ in 0..64 {
            let mut system = Vec::new();
            random.text(words, 2048, &mut system);
            systems.push(system);
        }
        let mut unique_bytes = 64 * 2048;
        let mut texts = Vec::new();
        let mut lengths = Vec::new();
        for _ in 0..2000 {
            let mut text = systems[random.below(64)].clone();
            let mut ends = Vec::new();
            for _ in 0..10 {
                let turn = 4 * (100 + random.below(101));
                random.text(words, turn, &mut text);
                ends.push(text.len() as u32);
            }
            unique_bytes += text.len() - 2048;
            texts.push(text);
            lengths.push(ends);
        }
        let mut open: Vec<u32> = (0..2000).collect();
        let mut turns = vec![0; 2000];
        let mut prompts = Vec::new();
        while !open.is_empty() {
            let index = random.below(open.len());
            let text = open[index];
            let turn = &mut turns[text as usize];
            prompts.push(Recipe { text, length: lengths[text as usize][*turn], tail: None });
            *turn += 1;
            if *turn == 10 {
                open.swap_remove(index);
            }
        }
        Workload::new("W1 chat", unique_bytes, texts, Vec::new(), prompts)
    }

    /// W2: 200 documents of 128 KiB, each asked 20 times with a question of 200 bytes.
    pub fn long_context(seed: u64) -> Workload {
        let (random, words) = (&mut Random::new(seed), &words()[..]);
        let mut texts = Vec::new();
        for _ in 0..200 {
            let mut text = Vec::new();
            random.text(words, 128 * 1024, &mut text);
            text.resize(128 * 1024 + 200, 0);
            texts.push(text);
        }
        let mut tails = Vec::new();
        let mut prompts = Vec::new();
        for index in 0..4000 {
            let mut tail = Vec::new();
            random.text(words, 200, &mut tail);
            tails.push(tail);
            let (text, tail) = (index % 200, Some(index));
            prompts.push(Recipe { text, length: 128 * 1024, tail });
        }
        for index in (1..prompts.len()).rev() {
            prompts.swap(index, random.below(index + 1));
        }
        let unique_bytes = 200 * 128 * 1024 + 4000 * 200;
        Workload::new("W2 long context", unique_bytes, texts, tails, prompts)
    }

    /// W3: `count` prompts of 4 KiB that share nothing.
    pub fn unique(seed: u64, count: usize) -> Workload {
        let (random, words) = (&mut Random::new(seed), &words()[..]);
        let mut texts = Vec::new();
        let mut prompts = Vec::new();
        for index in 0..count {
            let mut text = Vec::new();
            random.text(words, 4096, &mut text);
            texts.push(text);
            prompts.push(Recipe { text: index as u32, length: 4096, tail: None });
        }
        Workload::new("W3 nothing shared", count * 4096, texts, Vec::new(), prompts)
    }

    /// Prompts that share nothing with any of the others, to be served before the clock starts: a
    /// tenth of W3, enough to have touched all memory that a default tree takes.
    pub fn warm_up() -> Workload {
        Workload::unique(99, 2_000)
    }

    fn new(
        name: &'static str,
        unique_bytes: usize,
        texts: Vec<Vec<u8>>,
        tails: Vec<Vec<u8>>,
        prompts: Vec<Recipe>,
    ) -> Workload {
        Workload {
            name,
            unique_bytes,
            texts,
            tokens: Vec::new(),
            tails,
            tail_tokens: Vec::new(),
            prompts,
        }
    }

    /// Number of prompts.
    pub fn len(&self) -> usize {
        self.prompts.len()
    }

    /// Prompt number `index` as text.
    pub fn text(&mut self, index: usize) -> &[u8] {
        let prompt = &self.prompts[index];
        let text = &mut self.texts[prompt.text as usize];
        let mut end = prompt.length as usize;
        if let Some(tail) = prompt.tail {
            let tail = &self.tails[tail as usize];
            text[end..end + tail.len()].copy_from_slice(tail);
            end += tail.len();
        }
        &text[..end]
    }

    /// Prompt number `index` as text, for several threads at once; not for a workload of long
    /// contexts, whose prompts are put together in place.
    pub fn shared_text(&self, index: usize) -> &[u8] {
        let prompt = &self.prompts[index];
        assert!(prompt.tail.is_none(), "this prompt has to be put together");
        &self.texts[prompt.text as usize][..prompt.length as usize]
    }

    /// Makes the token form of all texts; call it before [`tokens`](Self::tokens).
    pub fn tokenize(&mut self) {
        let all = |texts: &[Vec<u8>]| texts.iter().map(|text| to_tokens(text)).collect();
        self.tokens = all(&self.texts);
        self.tail_tokens = all(&self.tails);
    }

    /// Prompt number `index` as tokens.
    pub fn tokens(&mut self, index: usize) -> &[u32] {
        let prompt = &self.prompts[index];
        let tokens = &mut self.tokens[prompt.text as usize];
        let mut end = prompt.length as usize / 4;
        if let Some(tail) = prompt.tail {
            let tail = &self.tail_tokens[tail as usize];
            tokens[end..end + tail.len()].copy_from_slice(tail);
            end += tail.len();
        }
        &tokens[..end]
    }
}

fn words() -> Vec<&'static str> {
    WORDS.split_whitespace().collect()
}

fn to_tokens(text: &[u8]) -> Vec<u32> {
    let four = |bytes: &[u8]| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    text.chunks_exact(4).map(four).collect()
}
