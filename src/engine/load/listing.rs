//! SGLang's `/v1/loads`: a document with a list of loads, one for each data-parallel rank.

use super::loads::{Loads, Numbers};
use super::metric;
use super::walk::{self, Listener, Path};
use crate::engine::error::EngineError;

impl Loads {
    /// Reads the answer of SGLang's `/v1/loads`.
    ///
    /// # Errors
    /// It is not JSON. Nothing is known then.
    pub fn read_listing(&mut self, json: &[u8]) -> Result<(), EngineError> {
        self.gather(|loads| read(json, loads))
    }
}

fn read(json: &[u8], loads: &mut Loads) -> Result<(), EngineError> {
    let mut listing =
        Listing { loads, elements: 0, rank: None, numbers: Numbers::default(), failed: None };
    walk::walk(json, &mut listing)?;
    listing.failed.map_or(Ok(()), Err)
}

struct Listing<'a> {
    loads: &'a mut Loads,
    /// Elements before the one under way.
    elements: u32,
    /// The element's own, if it tells it.
    rank: Option<u32>,
    numbers: Numbers,
    failed: Option<EngineError>,
}

/// Whether what lies there belongs to an element, and not to what that holds.
fn is_in_element(path: &Path) -> bool {
    path.depth() == 3 && path.key(0) == b"loads"
}

impl Listener for Listing<'_> {
    fn number(&mut self, path: &Path, value: f64) {
        if !is_in_element(path) {
            return;
        }
        let key = path.key(2);
        if key == b"dp_rank" && value >= 0.0 {
            self.rank = Some(value as u32);
        } else if let Some(metric) = metric::listed(key) {
            self.numbers.put(metric, value);
        }
    }

    fn end(&mut self, path: &Path) {
        if !is_in_element(path) {
            return;
        }
        let rank = self.rank.take().unwrap_or(self.elements);
        let numbers = std::mem::take(&mut self.numbers);
        match self.loads.rank(rank, 0) {
            Ok(known) => *known = numbers,
            Err(error) => self.failed = Some(error),
        }
        self.elements = self.elements.saturating_add(1);
    }
}
