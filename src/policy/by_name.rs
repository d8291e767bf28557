//! Reads from JSON what has a name and settings: `"name"` or `{"name": {...}}`.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserializer, Error, MapAccess, Unexpected, Visitor};

/// What a name stands for, with its defaults or with the settings under it.
pub(super) trait ByName: Sized {
    /// What to say where something else is found.
    const EXPECTED: &'static str;

    /// Every name.
    fn names() -> impl Iterator<Item = &'static str>;

    /// What has this name, with its defaults.
    fn by_name(name: &str) -> Option<Self>;

    /// What has this name, with its settings as the map's next value; `None` if there is no such name.
    fn with_settings<'de, M: MapAccess<'de>>(
        name: &str,
        map: &mut M,
    ) -> Result<Option<Self>, M::Error>;
}

/// Reads either form; errors in the settings keep their position.
pub(super) fn read<'de, T: ByName, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    deserializer.deserialize_any(EitherForm(PhantomData))
}

struct EitherForm<T>(PhantomData<T>);

impl<'de, T: ByName> Visitor<'de> for EitherForm<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<T, E> {
        T::by_name(name).ok_or_else(|| E::invalid_value(Unexpected::Str(name), &self))
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<T, M::Error> {
        let Some(name) = map.next_key::<String>()? else {
            return Err(M::Error::invalid_value(Unexpected::Map, &self));
        };
        T::with_settings(&name, &mut map)?.ok_or_else(|| {
            let known: Vec<_> = T::names().map(|known| format!("`{known}`")).collect();
            let known = known.join(", ");
            M::Error::custom(format_args!("unknown name `{name}`, expected one of {known}"))
        })
    }
}
