//! What a run shows: a table, JSON, an HTML page with pictures.

pub(crate) mod html;
pub(crate) mod json;
mod look;
mod plot;
mod strips;
pub(crate) mod table;
