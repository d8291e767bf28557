//! The same events from a parsed value. It is walked with one stack frame per level, at most
//! [`MAX_DEPTH`] of them.

use serde_json::Value;

use super::error::{JsonError, JsonErrorKind};
use super::events::{Container, Events, Literal, Number, StringKind};
use super::nest::MAX_DEPTH;

/// Reports the whole of `value` to `events`.
pub(crate) fn report(value: &Value, events: &mut impl Events) -> Result<(), JsonError> {
    walk(value, 0, events)
}

/// The same for a value that lies inside `depth` containers.
fn walk(value: &Value, depth: usize, events: &mut impl Events) -> Result<(), JsonError> {
    if matches!(value, Value::Array(_) | Value::Object(_)) && depth == MAX_DEPTH {
        return Err(JsonError { kind: JsonErrorKind::TooDeep, position: 0 });
    }
    match value {
        Value::Null => events.literal(Literal::Null),
        Value::Bool(true) => events.literal(Literal::True),
        Value::Bool(false) => events.literal(Literal::False),
        Value::Number(number) if events.wants_number() => match Number::from(number) {
            Number::Float(value) if !value.is_finite() => {
                return Err(JsonError { kind: JsonErrorKind::NumberOutOfRange, position: 0 });
            }
            number => events.number(number),
        },
        Value::Number(_) => {}
        Value::String(text) => string(text, StringKind::Value, events),
        Value::Array(elements) => {
            events.begin(Container::Array);
            for element in elements {
                walk(element, depth + 1, events)?;
            }
            events.end();
        }
        Value::Object(entries) => {
            events.begin(Container::Object);
            for (key, value) in entries {
                string(key, StringKind::Key, events);
                walk(value, depth + 1, events)?;
            }
            events.end();
        }
    }
    Ok(())
}

fn string(text: &str, kind: StringKind, events: &mut impl Events) {
    events.string_begin(kind);
    events.piece(kind, text.as_bytes());
    events.string_end(kind);
}
