//! Captured messages, and msgpack written by hand.

use std::fs;
use std::path::{Path, PathBuf};

/// A message as a capture has it.
#[derive(Clone)]
pub struct Captured {
    pub title: String,
    pub frames: Vec<Vec<u8>>,
}

impl Captured {
    /// Its frames; a payload alone gets the sequence 0.
    pub fn frames(&self) -> Vec<&[u8]> {
        match &self.frames[..] {
            [payload] => vec![&[0; 8], payload],
            frames => frames.iter().map(Vec::as_slice).collect(),
        }
    }

    pub fn payload(&self) -> &[u8] {
        self.frames.last().unwrap()
    }

    pub fn is_replay(&self) -> bool {
        self.title.starts_with("replay")
    }
}

pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/engine")
}

/// The captures' names, in order.
pub fn names() -> Vec<String> {
    let entries = fs::read_dir(folder()).unwrap();
    let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
    let mut names: Vec<_> = entries.map(|entry| name(entry.unwrap())).collect();
    names.retain(|name| name.contains('-') && name.ends_with(".txt"));
    names.sort();
    assert!(names.len() >= 9, "only {names:?}");
    names
}

fn bytes(hex: &str) -> Vec<u8> {
    if hex == "(empty)" {
        return Vec::new();
    }
    let digits = hex.as_bytes().chunks(2);
    digits.map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap()).collect()
}

/// A capture's messages, in order.
pub fn capture(name: &str) -> Vec<Captured> {
    let text = fs::read_to_string(folder().join(name)).unwrap();
    let mut messages: Vec<Captured> = Vec::new();
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            messages.push(Captured { title: title.to_owned(), frames: Vec::new() });
        } else if line.starts_with("frame") {
            let hex = line.split_once(' ').unwrap().1;
            messages.last_mut().unwrap().frames.push(bytes(hex.trim()));
        }
    }
    messages.retain(|message| !message.frames.is_empty());
    messages
}

/// A value to be written as msgpack.
#[derive(Clone)]
pub enum Pack {
    Nil,
    Int(i128),
    Float(f64),
    Text(&'static str),
    Bytes(Vec<u8>),
    Array(Vec<Pack>),
    Map(Vec<(&'static str, Pack)>),
    /// Written as it is.
    Raw(Vec<u8>),
}

impl Pack {
    pub fn ints(values: impl IntoIterator<Item = i128>) -> Pack {
        Pack::Array(values.into_iter().map(Pack::Int).collect())
    }

    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Pack::Nil => out.push(0xc0),
            Pack::Int(value @ 0..=0x7f) => out.push(*value as u8),
            Pack::Int(value @ 0..) => {
                out.push(0xcf);
                out.extend(u64::try_from(*value).unwrap().to_be_bytes());
            }
            Pack::Int(value) => {
                out.push(0xd3);
                out.extend(i64::try_from(*value).unwrap().to_be_bytes());
            }
            Pack::Float(value) => {
                out.push(0xcb);
                out.extend(value.to_be_bytes());
            }
            Pack::Text(text) => {
                out.extend([0xd9, u8::try_from(text.len()).unwrap()]);
                out.extend(text.as_bytes());
            }
            Pack::Bytes(bytes) => {
                out.extend([0xc4, u8::try_from(bytes.len()).unwrap()]);
                out.extend(bytes);
            }
            Pack::Array(values) => {
                out.push(0xdc);
                out.extend(u16::try_from(values.len()).unwrap().to_be_bytes());
                values.iter().for_each(|value| value.write(out));
            }
            Pack::Map(entries) => {
                out.push(0xde);
                out.extend(u16::try_from(entries.len()).unwrap().to_be_bytes());
                for (key, value) in entries {
                    Pack::Text(key).write(out);
                    value.write(out);
                }
            }
            Pack::Raw(bytes) => out.extend(bytes),
        }
    }
}

/// A batch's payload.
pub fn batch(events: Vec<Pack>, rank: Pack) -> Vec<u8> {
    let mut payload = Vec::new();
    Pack::Array(vec![Pack::Float(1.5), Pack::Array(events), rank]).write(&mut payload);
    payload
}

/// Blocks of two tokens each, which no block comes before.
pub fn stored(hashes: &[i128]) -> Pack {
    Pack::Map(vec![
        ("type", Pack::Text("BlockStored")),
        ("block_hashes", Pack::ints(hashes.iter().copied())),
        ("parent_block_hash", Pack::Nil),
        ("token_ids", Pack::ints(1..=2 * hashes.len() as i128)),
        ("block_size", Pack::Int(2)),
    ])
}
