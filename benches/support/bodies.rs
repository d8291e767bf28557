//! Request bodies as JSON.

use serde_json::{Value, json};

pub const ENGLISH: &str = "the train leaves at nine from a small station near the river and nobody \
    knows which track it will take because signals were changed during night \"so\" we wait";
pub const CODE: &str = "let self.next = fn push(&mut self) -> Result<(), Error> { return Err(\"no\") } \
    if x == 0 {\t for i in 0..n \\d+ // comment";
pub const CHINESE: &str =
    "火车 九点 从 小站 出发 没有 人 知道 它 会 走 哪 条 轨道 因为 信号 在 夜里 改变 了";

/// Words of a text in a random but fixed order, with line breaks.
pub struct Words {
    words: Vec<&'static str>,
    per_line: usize,
    state: u64,
}

impl Words {
    pub fn new(text: &'static str, per_line: usize) -> Words {
        Words { words: text.split(' ').collect(), per_line, state: 1 }
    }

    fn text(&mut self, bytes: usize) -> String {
        let mut text = String::new();
        for count in 1.. {
            if text.len() >= bytes {
                break;
            }
            self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            text.push_str(self.words[(self.state >> 33) as usize % self.words.len()]);
            text.push(if count % self.per_line == 0 { '\n' } else { ' ' });
        }
        text
    }
}

/// A conversation: a system prompt of a quarter, then turns of about 600 bytes.
pub fn chat(bytes: usize, mut words: Words) -> Vec<u8> {
    let mut messages = vec![json!({"role": "system", "content": words.text(bytes / 4)})];
    let mut length = 0;
    for turn in 0.. {
        if length >= bytes * 3 / 4 - 100 {
            break;
        }
        let role = if turn % 2 == 0 { "user" } else { "assistant" };
        messages.push(json!({"role": role, "content": words.text(600.min(bytes / 4))}));
        length += 600.min(bytes / 4) + 32;
    }
    json!({
        "model": "some/model-70B", "messages": messages, "temperature": 0.7, "top_p": 0.95,
        "max_tokens": 1024, "stream": true, "stop": ["</s>"], "user": "u-1",
    })
    .to_string()
    .into_bytes()
}

/// A short question after this many bytes of tool declarations.
pub fn agent(bytes: usize) -> Vec<u8> {
    let mut words = Words::new(ENGLISH, 1000);
    let tools: Vec<Value> = (0..bytes / 512)
        .map(|number| {
            json!({"type": "function", "function": {
                "name": format!("tool_{number}"), "description": words.text(220),
                "parameters": {"type": "object", "properties": {
                    "path": {"type": "string", "description": words.text(60)},
                    "limit": {"type": "integer", "minimum": 0},
                }, "required": ["path"]},
            }})
        })
        .collect();
    json!({"model": "m", "tools": tools, "messages": [{"role": "user", "content": "Go on."}]})
        .to_string()
        .into_bytes()
}

/// Token ids, as SGLang's own generate takes them.
pub fn tokens(bytes: usize) -> Vec<u8> {
    let tokens: Vec<u32> =
        (0..bytes as u32 / 6).map(|token| token * 7919 % 100_000 + 10_000).collect();
    json!({"input_ids": tokens, "sampling_params": {"max_new_tokens": 64}}).to_string().into_bytes()
}
