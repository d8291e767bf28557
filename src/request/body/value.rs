//! The front end for a parsed value. It walks the value with one stack frame per level, at most
//! [`MAX_DEPTH`] of them.

use serde_json::Value;

use super::MAX_DEPTH;
use super::error::{BodyError, BodyErrorKind};
use super::events::{Events, Literal, Num, Role, Shape};

/// Tells `events` the whole of `value`, which lies inside `depth` containers.
pub(super) fn walk(value: &Value, depth: usize, events: &mut impl Events) -> Result<(), BodyError> {
    if matches!(value, Value::Array(_) | Value::Object(_)) && depth == MAX_DEPTH {
        return Err(BodyError { kind: BodyErrorKind::TooDeep, position: 0 });
    }
    match value {
        Value::Null => events.literal(Literal::Null),
        Value::Bool(true) => events.literal(Literal::True),
        Value::Bool(false) => events.literal(Literal::False),
        Value::Number(number) if events.wants_number() => events.number(Num::from(number)),
        Value::Number(_) => events.number_skipped(),
        Value::String(text) => {
            events.text_begin();
            events.write(Role::Text, text.as_bytes());
            events.text_end();
        }
        Value::Array(elements) => {
            events.begin(Shape::Array);
            for element in elements {
                walk(element, depth + 1, events)?;
            }
            events.end();
        }
        Value::Object(entries) => {
            events.begin(Shape::Object);
            for (key, value) in entries {
                events.key_begin();
                events.write(Role::Key, key.as_bytes());
                events.key_end();
                walk(value, depth + 1, events)?;
            }
            events.end();
        }
    }
    Ok(())
}
