//! The parser with and without vector instructions, and against the walk over parsed values.

use super::events::{Container, Events, Literal, MAX_SHORT, Number, StringKind};
use super::special::portable;
use super::{JsonError, Parser, report};

#[derive(Clone, Debug, PartialEq)]
enum Event {
    String(StringKind, Vec<u8>),
    Number(Number),
    Literal(Literal),
    Begin(Container),
    End,
}

/// Keeps every event, and strings in one piece.
struct Recorder {
    events: Vec<Event>,
    string: Vec<u8>,
    room: [u8; 200],
}

impl Recorder {
    fn new() -> Self {
        Recorder { events: Vec::new(), string: Vec::new(), room: [0; 200] }
    }
}

impl Events for Recorder {
    fn string_begin(&mut self, _: StringKind) {
        assert!(self.string.is_empty());
    }

    fn room(&mut self, _: StringKind) -> &mut [u8] {
        &mut self.room
    }

    fn wrote(&mut self, _: StringKind, bytes: usize) {
        self.string.extend_from_slice(&self.room[..bytes]);
    }

    fn piece(&mut self, _: StringKind, piece: &[u8]) {
        self.string.extend_from_slice(piece);
    }

    fn short(&mut self, _: StringKind, block: &[u8; MAX_SHORT], length: usize) {
        self.string.extend_from_slice(&block[..length]);
    }

    fn string_end(&mut self, kind: StringKind) {
        self.events.push(Event::String(kind, std::mem::take(&mut self.string)));
    }

    fn wants_number(&self) -> bool {
        true
    }

    fn number(&mut self, number: Number) {
        self.events.push(Event::Number(number));
    }

    fn literal(&mut self, literal: Literal) {
        self.events.push(Event::Literal(literal));
    }

    fn begin(&mut self, container: Container) {
        self.events.push(Event::Begin(container));
    }

    fn end(&mut self) {
        self.events.push(Event::End);
    }
}

/// Events of `document` in chunks of `size`, with the fastest form that this processor has.
fn fast(document: &str, size: usize) -> Result<Vec<Event>, JsonError> {
    let (mut parser, mut recorder) = (Parser::new(), Recorder::new());
    for chunk in document.as_bytes().chunks(size) {
        parser.push(chunk, &mut recorder)?;
    }
    parser.finish(&mut recorder)?;
    Ok(recorder.events)
}

/// The same without vector instructions. A chunk is not validated, so any cut will do.
fn plain(document: &str, size: usize) -> Result<Vec<Event>, JsonError> {
    let (mut parser, mut recorder) = (Parser::new(), Recorder::new());
    for chunk in document.as_bytes().chunks(size) {
        parser.read_with(chunk, &mut recorder, portable)?;
    }
    parser.finish(&mut recorder)?;
    Ok(recorder.events)
}

/// Miri, a thousand times slower, tries every 37th length.
const STEP: usize = if cfg!(miri) { 37 } else { 1 };

/// A document whose strings have every length up to a few blocks, and every kind of escape
/// everywhere in a block.
fn document() -> String {
    let mut document = String::from("[0");
    for length in (0..300).step_by(STEP) {
        let text = "plain é words \u{1f682} ".chars().cycle().take(length).collect::<String>();
        let escape = [r"\n", r#"\""#, r"\u20ac", r"\ud83d\ude82", r"\\\\"][length % 5];
        document += &format!(r#",{{"{text}":"{text}{escape}{text}"}},"{}""#, escape.repeat(length));
    }
    document
        + &format!(
            r#",-1.5e3,18446744073709551615,-7,{{"":[true,false,null]}},"{}"]"#,
            "x".repeat(5000)
        )
}

#[test]
fn every_form_and_every_cut_tells_the_events_of_the_parsed_value() {
    let document = document();
    let mut recorder = Recorder::new();
    report(&serde_json::from_str(&document).unwrap(), &mut recorder).unwrap();
    assert!(recorder.events.len() > 1500 / STEP);
    for size in [1, 2, 3, 7, 63, 64, 65, 127, 128, 129, 700, usize::MAX] {
        assert!(fast(&document, size).as_ref() == Ok(&recorder.events), "chunks of {size}");
        assert!(plain(&document, size).as_ref() == Ok(&recorder.events), "chunks of {size}");
    }
}

#[test]
fn every_form_finds_the_same_fault_at_the_same_byte() {
    for fault in ["\u{1}", r"\x", r"\u12g4", r"\ud800 ", r"\udc00", r"\ud83d\u0041"] {
        for before in (0..200).chain([4000, 20_000]).step_by(STEP) {
            let document = format!(r#"["{}{fault}{}"]"#, "x".repeat(before), "y".repeat(150));
            let expected = fast(&document, 1).unwrap_err();
            assert!(expected.position >= before as u64 + 2);
            for size in [64, 200, usize::MAX] {
                assert_eq!(fast(&document, size), Err(expected));
                assert_eq!(plain(&document, size), Err(expected));
            }
        }
    }
}

#[test]
fn a_number_has_one_value_whatever_reads_it() {
    for (text, value) in [
        ("0", Number::Unsigned(0)),
        ("18446744073709551615", Number::Unsigned(u64::MAX)),
        ("18446744073709551616", Number::Float(18_446_744_073_709_551_616.0)),
        ("-9223372036854775808", Number::Negative(i64::MIN)),
        ("-9223372036854775809", Number::Float(-9_223_372_036_854_775_808.0)),
        ("-0", Number::Float(-0.0)),
        ("-0.0", Number::Float(-0.0)),
        ("1.0", Number::Float(1.0)),
        ("1e2", Number::Float(100.0)),
        // Halfway cases and long ones, which a quick reading of the digits gets wrong by a bit.
        ("9007199254740993.0", Number::Float(9_007_199_254_740_992.0)),
        ("1.7976931348623157e308", Number::Float(f64::MAX)),
        ("5e-324", Number::Float(f64::from_bits(1))),
        ("2.2250738585072011e-308", Number::Float(f64::from_bits(0x000f_ffff_ffff_ffff))),
        ("8.41e21", Number::Float(f64::from_bits(0x447c7e83209e90b2))),
        ("0.1234567890123456789012345678901234567890", Number::Float(0.123_456_789_012_345_68)),
    ] {
        let parsed: serde_json::Number = serde_json::from_str(text).unwrap_or_else(|_| 1.into());
        for number in [Number::from_text(text), Number::from(&parsed)] {
            assert_eq!(bits(number), bits(value), "{text}");
        }
    }
}

/// Tells the zeros apart.
fn bits(number: Number) -> (Number, u64) {
    (number, if let Number::Float(value) = number { value.to_bits() } else { 0 })
}
